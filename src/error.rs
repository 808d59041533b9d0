//! What can go wrong: whose fault it is, and what the caller can do.

mod cause;

pub use cause::{Cause, Rejection};

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::words::{count, messages, printable};

/// A `Result` with this crate's [`Error`].
///
/// # Examples
///
/// ```
/// fn greet(connection: &longlink::Connection) -> longlink::Result<()> {
///     connection.send(b"hello")
/// }
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
///
/// The variants up to [`Io`](Error::Io) leave the connection as it was, and the call may be made
/// again. The others say that the connection is over: every later call says the same. No program
/// has to read the text to tell them apart: [`Error::is_final`] does.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use longlink::Error;
///
/// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
/// # let client = longlink::Connection::connect(listener.local_addr())?;
/// # let server = listener.accept()?;
/// server.abort();
/// let error = loop {
///     match client.recv_timeout(Duration::from_secs(5)) {
///         Ok(message) => println!("{message:?}"),
///         Err(Error::TimedOut) => println!("nothing new"),
///         Err(e) if e.is_final() => break e,
///         Err(e) => return Err(e),
///     }
/// };
/// println!("{error}; to be sent elsewhere: {:?}", client.take_unacknowledged());
/// # Ok::<(), longlink::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// The time given to the call ran out first. Nothing was lost: what was
    /// not sent was not taken, and what was not received will be.
    TimedOut,
    /// A call that does not block would have had to; in an
    /// [event callback](crate::Builder::on_event), any call.
    WouldBlock,
    /// The message is larger than this side or the peer accepts. It was not taken.
    #[non_exhaustive]
    TooLarge {
        /// The size of the message in bytes.
        size: usize,
        /// The largest size that both sides accept.
        limit: usize,
    },
    /// [`finish`](crate::Connection::finish) was called before, or a
    /// [`close`](crate::Connection::close) is under way: there are no more sends.
    Finished,
    /// The builder's settings or the address make no sense; the text says which.
    Config(String),
    /// The operating system refused something local: a thread, a socket, a
    /// port to listen on.
    Io(Arc<io::Error>),

    /// The link was lost, or never made, and the attempts to connect are spent. On a server: the
    /// client did not come back in time, began [another connection](Cause::Replaced), or is [no
    /// longer trusted](Cause::Revoked), or the listener [restarts](crate::Listener::restart).
    #[non_exhaustive]
    GaveUp {
        /// How many messages were not acknowledged;
        /// [`take_unacknowledged`](crate::Connection::take_unacknowledged) returns them.
        unacknowledged: u64,
        /// Why the last attempt failed, or why the link was lost.
        cause: Cause,
    },
    /// The server no longer knows the session, and this client, or the server, is
    /// [to begin no other](crate::SessionLoss::GiveUp).
    #[non_exhaustive]
    SessionLost {
        /// How many messages were not acknowledged;
        /// [`take_unacknowledged`](crate::Connection::take_unacknowledged) returns them.
        unacknowledged: u64,
    },
    /// The server's application [refused](crate::Connection::refuse) this client. The client asks
    /// no host any more.
    #[non_exhaustive]
    Refused {
        /// What the application means by it.
        code: u32,
        /// What it says, at most 256 bytes: the peer's words, which may be anything.
        /// `Display` escapes in them what would command a terminal.
        text: Box<str>,
        /// How many messages were not acknowledged;
        /// [`take_unacknowledged`](crate::Connection::take_unacknowledged) returns them.
        unacknowledged: u64,
    },
    /// The peer ended the connection before it had taken everything.
    #[non_exhaustive]
    PeerClosed {
        /// How many messages were not acknowledged;
        /// [`take_unacknowledged`](crate::Connection::take_unacknowledged) returns them.
        unacknowledged: u64,
    },
    /// This side closed or aborted the connection.
    #[non_exhaustive]
    Closed {
        /// How many messages were not acknowledged;
        /// [`take_unacknowledged`](crate::Connection::take_unacknowledged) returns them.
        unacknowledged: u64,
    },
}

impl Error {
    /// Whether the connection is over: no later call on it will do better.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::Error;
    ///
    /// assert!(!Error::WouldBlock.is_final());
    /// ```
    pub fn is_final(&self) -> bool {
        self.unacknowledged().is_some()
    }

    /// How many messages were not acknowledged when the connection ended;
    /// `None` if it has not.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// client.send(b"lost?")?;
    /// client.abort();
    /// let error = client.send(b"more").unwrap_err();
    /// assert_eq!(error.unacknowledged(), Some(1));
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn unacknowledged(&self) -> Option<u64> {
        match self {
            Error::GaveUp { unacknowledged, .. }
            | Error::SessionLost { unacknowledged }
            | Error::Refused { unacknowledged, .. }
            | Error::PeerClosed { unacknowledged }
            | Error::Closed { unacknowledged } => Some(*unacknowledged),
            _ => None,
        }
    }
}

/// It is part of what each call returns: with 8 bytes more, four threads that send reach a
/// receiver with 5 % fewer messages in a second.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Error>() <= 40);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::TimedOut => f.write_str("timed out"),
            Error::WouldBlock => f.write_str("the call would block"),
            Error::TooLarge { size, limit } => {
                write!(
                    f,
                    "the message has {}, and the limit is {limit}",
                    count(*size as u64, "byte")
                )
            }
            Error::Finished => f.write_str("nothing can be sent after finish"),
            Error::Config(what) => write!(f, "invalid configuration: {what}"),
            Error::Io(_) => f.write_str("the operating system refused"),
            Error::GaveUp { unacknowledged, .. } => {
                write!(f, "gave up, {} not acknowledged", messages(*unacknowledged))
            }
            Error::SessionLost { unacknowledged } => {
                write!(f, "the session is lost, {} not acknowledged", messages(*unacknowledged))
            }
            Error::Refused { code, text, unacknowledged } => {
                write!(f, "refused (code {code})")?;
                if !text.is_empty() {
                    write!(f, ": {}", printable(text))?;
                }
                match unacknowledged {
                    0 => Ok(()),
                    some => write!(f, ", {} not acknowledged", messages(*some)),
                }
            }
            Error::PeerClosed { unacknowledged } => {
                write!(f, "the peer closed, {} not acknowledged", messages(*unacknowledged))
            }
            Error::Closed { unacknowledged: 0 } => f.write_str("the connection is closed"),
            Error::Closed { unacknowledged } => {
                let messages = messages(*unacknowledged);
                write!(f, "the connection is closed, {messages} not acknowledged")
            }
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::Io(error) => Some(&**error),
            Error::GaveUp { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Io(Arc::new(error))
    }
}

/// For code that knows only `io`. The [`Error`] is what it wraps.
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match &error {
            Error::TimedOut => io::ErrorKind::TimedOut,
            Error::WouldBlock => io::ErrorKind::WouldBlock,
            Error::TooLarge { .. } | Error::Config(_) => io::ErrorKind::InvalidInput,
            Error::Finished => io::ErrorKind::BrokenPipe,
            Error::Io(inner) => inner.kind(),
            Error::GaveUp { .. } | Error::SessionLost { .. } => io::ErrorKind::ConnectionAborted,
            Error::Refused { .. } => io::ErrorKind::ConnectionRefused,
            Error::PeerClosed { .. } => io::ErrorKind::ConnectionReset,
            Error::Closed { .. } => io::ErrorKind::NotConnected,
        };
        io::Error::new(kind, error)
    }
}
