//! What a link speaks, as users see it.

use std::time::Duration;

use crate::proto::plain::Settings;

/// What a [`Connection`](crate::Connection) speaks.
///
/// Both carry messages both ways and keep to the same limits; what each gives
/// is [compared](crate#plain-or-framed) in the guide.
///
/// # Examples
///
/// ```
/// use longlink::{Listener, Protocol};
/// use std::io::Write;
///
/// let listener = Listener::bind("127.0.0.1:0")?;
/// let mut netcat = std::net::TcpStream::connect(listener.local_addr())?;
/// netcat.write_all(b"hello\n")?;
/// let connection = listener.accept()?;
/// assert_eq!(connection.protocol(), Protocol::Plain);
/// assert_eq!(connection.recv()?.as_deref(), Some(&b"hello\n"[..]));
/// # Ok::<(), longlink::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// The [wire](crate::wire) of this crate, at both ends.
    Framed,
    /// Lines, as `nc` and telnet speak them.
    ///
    /// * A message is a line, and carries its newline; the last one before the
    ///   end of the stream may come without. One that is sent without gets one;
    ///   newlines within a message make several lines of it. Lines are any
    ///   bytes, of at most [`max_message`](crate::Builder::max_message) with their
    ///   newline, also if that is added; a longer one that comes ends the link with
    ///   [`Cause::Protocol`](crate::Cause::Protocol).
    /// * A listener takes the 9 bytes `keepalive` at the start of a line, and
    ///   without a newline behind them, for a heartbeat: it answers nothing and
    ///   hands nothing out. A client that has sent one (two, before it was sent
    ///   anything) is given up when it falls silent for three times the longest
    ///   time between two of them, and at least 30 s, while no line of it waits
    ///   for a reply. Of any other, only its kernel tells whether it lives. An empty line
    ///   right behind a heartbeat makes a line of text of it, `keepalive`. To a
    ///   client whose first line ended in `\r\n`, lines go out with `\r\n`, and
    ///   come in without the `\r`.
    /// * [Acknowledged](crate::Connection::sync) means written, that is, handed to
    ///   the system. [`finish`](crate::Connection::finish) ends the stream
    ///   when everything is written. [`close`](crate::Connection::close) waits
    ///   for no more than that; a peer that says something more may lose what it
    ///   has not read. To be sure that it has, finish, and receive to its end.
    /// * On a listener the peer's end of the stream is `Ok(None)`, and replies
    ///   still reach it. On a client it is a lost link, unless it comes after
    ///   [`finish`](crate::Connection::finish).
    Plain,
}

/// How a client speaks [plain text](Protocol::Plain) to a server of lines; see
/// [`Builder::plain`](crate::Builder::plain).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use longlink::{Connection, Event, Plain};
///
/// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
/// # let address = listener.local_addr();
/// # std::thread::spawn(move || -> longlink::Result<()> {
/// #     let connection = listener.accept()?;
/// #     connection.send_bytes(connection.recv()?.unwrap())?;
/// #     connection.close()
/// # });
/// // One question at a time, and a server that does not answer within 20 s hangs.
/// let connection = Connection::builder()
///     .plain(Plain::new().lock_step(true).reply_timeout(Duration::from_secs(20)))
///     .on_event(|_, event| match event {
///         Event::Unanswered { messages, .. } => eprintln!("nobody knows of {messages:?}"),
///         other => eprintln!("{other}"),
///     })
///     .connect(address)?;
/// connection.send(b"hello\n")?;
/// println!("{:?}", connection.recv()?);
/// # Ok::<(), longlink::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Plain {
    reply_timeout: Option<Duration>,
    lock_step: bool,
}

impl Plain {
    /// Lines are written as they are sent, and may wait for a reply for ever.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::Plain;
    ///
    /// assert_eq!(Plain::new(), Plain::default());
    /// ```
    pub fn new() -> Plain {
        Plain::default()
    }

    /// No reply to a line within this is a lost link (default: never). It is
    /// the only way to notice a server that hangs while its kernel lives. Each
    /// reply gives the next line its full time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let plain = longlink::Plain::new().reply_timeout(Duration::from_secs(20));
    /// ```
    #[must_use]
    pub fn reply_timeout(self, timeout: Duration) -> Plain {
        Plain { reply_timeout: Some(timeout.max(Duration::from_millis(1))), ..self }
    }

    /// Whether a line is written only when the one before was answered by a
    /// line (default: no), for servers that take whatever they read for one message.
    ///
    /// # Examples
    ///
    /// ```
    /// let plain = longlink::Plain::new().lock_step(true);
    /// ```
    #[must_use]
    pub fn lock_step(self, lock_step: bool) -> Plain {
        Plain { lock_step, ..self }
    }

    pub(crate) fn settings(self, interval: Option<Duration>) -> Settings {
        let Plain { reply_timeout, lock_step } = self;
        Settings { interval, reply_timeout, lock_step }
    }
}
