//! [`Stream`]: the bytes of a connection, for code that knows no messages.

use std::io::{self, BufRead, Read, Write};

use bytes::Bytes;

use crate::connection::Connection;
use crate::error::Error;

/// A [`Connection`] as a stream of bytes, for protocols that were written for a
/// `TcpStream`; see [`Connection::stream`].
///
/// Each write is a message, or several if it is larger than
/// [`max_message`](Connection::max_message), and the reader does not see where
/// one ends: put a [`BufWriter`](io::BufWriter) before many small writes. A
/// reader needs no `BufReader`. Reading blocks as [`Connection::recv`] does, and
/// 0 bytes are the peer's end; writing does as [`Connection::feed`]. What was
/// written goes out with `flush`, at the latest when this connection waits.
///
/// A message is acknowledged when more is asked for after its last byte. What
/// was not read of it is gone with the stream. For two threads,
/// [split](Stream::split) it.
///
/// An `io::Error` of a stream wraps the [`Error`] of the connection; its `kind` is near to that.
///
/// Over [plain text](crate::Protocol::Plain) each write would become a line:
/// use it with frames.
///
/// # Examples
///
/// ```
/// use std::io::{BufRead, Write};
///
/// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
/// # let client = longlink::Connection::connect(listener.local_addr())?;
/// # let server = listener.accept()?;
/// let mut stream = client.stream();
/// write!(stream, "HELO {}\r\nQU", "example.org")?;
/// write!(stream, "IT\r\n")?;
/// stream.flush()?;
/// client.finish()?;
/// let lines: Vec<String> = server.stream().lines().collect::<Result<_, _>>()?;
/// assert_eq!(lines, ["HELO example.org", "QUIT"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Stream<'a> {
    reader: StreamReader<'a>,
    writer: StreamWriter<'a>,
}

/// The half of a [`Stream`] that reads; see [`Stream::split`].
///
/// # Examples
///
/// ```
/// use std::io::BufRead;
///
/// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
/// # let client = longlink::Connection::connect(listener.local_addr())?;
/// # let server = listener.accept()?;
/// server.send("220 ready\r\n")?;
/// let (mut reader, _writer) = client.stream().split();
/// let mut line = String::new();
/// reader.read_line(&mut line)?;
/// assert_eq!(line, "220 ready\r\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StreamReader<'a> {
    connection: &'a Connection,
    rest: Bytes,
}

/// The half of a [`Stream`] that writes; see [`Stream::split`].
///
/// # Examples
///
/// ```
/// use std::io::Write;
///
/// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
/// # let client = longlink::Connection::connect(listener.local_addr())?;
/// # let server = listener.accept()?;
/// let (_reader, mut writer) = client.stream().split();
/// writer.write_all(b"QUIT\r\n")?;
/// writer.flush()?;
/// assert_eq!(server.recv()?.as_deref(), Some(&b"QUIT\r\n"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StreamWriter<'a> {
    connection: &'a Connection,
}

/// Bytes instead of messages.
impl Connection {
    /// The connection as a stream of bytes: `Read`, `BufRead` and `Write`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    ///
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// client.stream().write_all(b"a file")?;
    /// client.finish()?;
    /// let mut file = String::new();
    /// server.stream().read_to_string(&mut file)?;
    /// assert_eq!(file, "a file");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stream(&self) -> Stream<'_> {
        let reader = StreamReader { connection: self, rest: Bytes::new() };
        Stream { reader, writer: StreamWriter { connection: self } }
    }
}

impl<'a> Stream<'a> {
    /// Two halves, for two threads. What was read ahead goes to the reader.
    ///
    /// They end neither the connection nor a direction of it: that is for
    /// [`finish`](Connection::finish), [`close`](Connection::close) and
    /// [`abort`](Connection::abort), which end the calls of both.
    ///
    /// # Examples
    ///
    /// Bytes in both directions at once, between a connection and a socket. What the
    /// socket was not given is not acknowledged: `carry` asks for more only behind that.
    ///
    /// ```
    /// use std::io::{self, BufRead, BufReader, Write};
    /// use std::net::{Shutdown, TcpStream};
    /// use std::thread;
    /// use longlink::Connection;
    ///
    /// fn carry(mut from: impl BufRead, mut to: impl Write) -> io::Result<()> {
    ///     loop {
    ///         let bytes = from.fill_buf()?;
    ///         let len = bytes.len();
    ///         if len == 0 {
    ///             return Ok(());
    ///         }
    ///         to.write_all(bytes)?;
    ///         to.flush()?;
    ///         from.consume(len);
    ///     }
    /// }
    ///
    /// fn bridge(connection: &Connection, socket: &TcpStream) -> io::Result<()> {
    ///     let (reader, writer) = connection.stream().split();
    ///     // The other direction must not wait for ever.
    ///     let end = |_: &io::Error| {
    ///         connection.abort();
    ///         let _ = socket.shutdown(Shutdown::Both);
    ///     };
    ///     thread::scope(|scope| {
    ///         let up = scope.spawn(move || {
    ///             let carried = carry(BufReader::new(socket), writer);
    ///             carried.and_then(|()| Ok(connection.finish()?)).inspect_err(end)
    ///         });
    ///         let carried = carry(reader, socket);
    ///         let down = carried.and_then(|()| socket.shutdown(Shutdown::Write)).inspect_err(end);
    ///         up.join().expect("it does not panic").and(down)
    ///     })?;
    ///     Ok(connection.close()?)
    /// }
    ///
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// # let front = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let address = front.local_addr()?;
    /// # let inner = thread::spawn(move || -> io::Result<()> {
    /// #     let socket = TcpStream::connect(address)?;
    /// #     carry(BufReader::new(&socket), &socket)
    /// # });
    /// # let socket = front.accept()?.0;
    /// # let bridge = thread::spawn(move || bridge(&server, &socket));
    /// client.send("there and back")?;
    /// client.finish()?;
    /// assert_eq!(client.recv()?.as_deref(), Some(&b"there and back"[..]));
    /// assert_eq!(client.recv()?, None); // else the close would come before the other's end
    /// client.close()?;
    /// # inner.join().unwrap()?;
    /// # bridge.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Why a half has failed is in the `io::Error`:
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// server.abort();
    /// let (mut reader, _writer) = client.stream().split();
    /// let error = reader.read(&mut [0; 16]).unwrap_err();
    /// let error = error.downcast::<longlink::Error>()?;
    /// assert!(matches!(error, longlink::Error::PeerClosed { .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn split(self) -> (StreamReader<'a>, StreamWriter<'a>) {
        (self.reader, self.writer)
    }
}

impl BufRead for StreamReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // An empty message is not the end.
        while self.rest.is_empty() {
            match self.connection.recv()? {
                Some(message) => self.rest = message,
                None => break,
            }
        }
        Ok(&self.rest)
    }

    fn consume(&mut self, amount: usize) {
        drop(self.rest.split_to(amount));
    }
}

impl Read for StreamReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let len = self.fill_buf()?.read(buf)?;
        self.consume(len);
        Ok(len)
    }
}

impl Write for StreamWriter<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut len = buf.len();
        while len > 0 {
            match self.connection.feed(&buf[..len]) {
                Err(Error::TooLarge { limit, .. }) => len = limit,
                result => return result.map(|()| len).map_err(io::Error::from),
            }
        }
        Ok(0)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.connection.flush()?)
    }
}

impl BufRead for Stream<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buf)
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.writer.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
