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
/// was not read of it is gone with the stream. For two threads make a stream
/// for each, one that reads and one that writes.
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
    connection: &'a Connection,
    rest: Bytes,
}

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
        Stream { connection: self, rest: Bytes::new() }
    }
}

impl BufRead for Stream<'_> {
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

impl Read for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let len = self.fill_buf()?.read(buf)?;
        self.consume(len);
        Ok(len)
    }
}

impl Write for Stream<'_> {
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
