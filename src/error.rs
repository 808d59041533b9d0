//! What can go wrong: whose fault it is, and what the caller can do.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::proto::reject::{Class, Reject};
use crate::words::{count, humane, messages, printable};

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
/// The first group leaves the connection as it was, and the call may be made
/// again; the second says that the connection is over, and every later call
/// says the same. No program has to read the text to tell them apart:
/// [`Error::is_final`] does.
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

    /// The link was lost and could not be regained within the retry budget
    /// (or, on the server, the client did not come back in time, or began
    /// [another connection](Cause::Replaced), or the listener
    /// [restarts](crate::Listener::restart)).
    #[non_exhaustive]
    GaveUp {
        /// How many messages were not acknowledged;
        /// [`take_unacknowledged`](crate::Connection::take_unacknowledged) returns them.
        unacknowledged: u64,
        /// Why the last attempt failed, or why the link was lost.
        cause: Cause,
    },
    /// The server no longer knows the session, and this client was told
    /// [not to begin another](crate::SessionLoss::GiveUp).
    #[non_exhaustive]
    SessionLost {
        /// How many messages were not acknowledged;
        /// [`take_unacknowledged`](crate::Connection::take_unacknowledged) returns them.
        unacknowledged: u64,
    },
    /// The server's application [refused](crate::Connection::refuse) this client: no host is
    /// asked any more.
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

/// Why a link was lost, or could not be made.
///
/// # Examples
///
/// ```
/// use longlink::{Cause, Connection, Event};
///
/// let builder = Connection::builder().on_event(|_, event| match event {
///     Event::Lost { cause: Cause::Silent(time), .. } => eprintln!("no heartbeat for {time:?}"),
///     Event::Lost { cause, .. } => eprintln!("{cause}"),
///     _ => {}
/// });
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Cause {
    /// The socket failed: connection refused, reset, unreachable...
    Io(Arc<io::Error>),
    /// The peer closed the socket without ending the session.
    Eof,
    /// The server goes away, and says when to come back. On the server: its listener
    /// [restarts](crate::Listener::restart).
    Restarting,
    /// Nothing was heard for this long, while heartbeats should have been, the
    /// answer to a [check](crate::Connection::check), or the reply to a line of plain
    /// text. Bytes of ours that moved count as heard.
    Silent(Duration),
    /// Connecting took longer than this.
    ConnectTimeout(Duration),
    /// The server took the connection, and did not answer the hello within this: it
    /// hangs, or waits for another protocol, such as [plain text](crate::Plain).
    WelcomeTimeout(Duration),
    /// The server does not speak longlink, but another protocol, such as
    /// [plain text](crate::Plain).
    NotLonglink,
    /// The name could not be resolved.
    #[non_exhaustive]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        error: Arc<io::Error>,
    },
    /// Nothing got through: links could be made, but each was lost before the
    /// peer had received the message that comes next.
    #[non_exhaustive]
    NoProgress {
        /// How many links in a row.
        links: u32,
        /// Why the last of them was lost.
        last: Arc<Cause>,
    },
    /// The peer broke the protocol; the text says how.
    Protocol(&'static str),
    /// The server refused the connection.
    Rejected(Rejection),
    /// The peer came back over another link, which took this one's place. As the end of a
    /// connection, on a server: the client has [another one](crate::Builder::client_id) now.
    Replaced,
    /// The peer, restarted, accepts only smaller messages than one that still
    /// has to be sent again.
    #[non_exhaustive]
    TooLarge {
        /// The size of the message in bytes.
        size: usize,
        /// The largest size that the peer accepts.
        limit: usize,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Io(error) => write!(f, "{error}"),
            Cause::Eof => f.write_str("the peer closed the socket"),
            Cause::Restarting => f.write_str("the server is restarting"),
            Cause::Silent(time) => write!(f, "nothing heard for {}", humane(*time)),
            Cause::ConnectTimeout(time) => write!(f, "no answer within {}", humane(*time)),
            Cause::WelcomeTimeout(time) => {
                let time = humane(*time);
                write!(f, "connected, but the hello was not answered within {time}")
            }
            Cause::NotLonglink => f.write_str("the server does not speak longlink"),
            Cause::Resolve { host, error } => write!(f, "cannot resolve {host}: {error}"),
            Cause::NoProgress { links, last } => {
                let links = count((*links).into(), "link");
                write!(f, "no message got through over the last {links}: {last}")
            }
            Cause::Protocol(what) => write!(f, "protocol violation: {what}"),
            Cause::Rejected(rejection) => write!(f, "rejected: {rejection}"),
            Cause::Replaced => f.write_str("replaced by a newer link"),
            Cause::TooLarge { size, limit } => write!(
                f,
                "a message of {} waits to be sent again, and the peer now accepts {limit}",
                count(*size as u64, "byte")
            ),
        }
    }
}

// `Display` has said all there is to say, the inner error included, since a
// cause is usually printed alone, as part of a line.
impl StdError for Cause {}

/// The reason a server gives for not taking a connection.
///
/// # Examples
///
/// ```
/// use longlink::{Cause, Error, Rejection};
///
/// fn is_full(error: &Error) -> bool {
///     matches!(error, Error::GaveUp { cause: Cause::Rejected(Rejection::Full), .. })
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// The server has all the clients it takes. Trying again may help.
    Full,
    /// The server takes no new sessions any more. Trying again may help.
    ShuttingDown,
    /// The server does not speak this version of the protocol.
    Version,
    /// A newer attempt of the same client came first. Trying again may help.
    Stale,
    /// The server does not know the session that was asked for, be it to end it or because
    /// the client [wants no other](crate::SessionLoss::GiveUp).
    Ended,
    /// What the client said in its hello cannot be. Trying again may help, after a
    /// new session.
    Protocol,
    /// A reason that this version does not know, or a code that the server means in another
    /// way than this version.
    #[non_exhaustive]
    Other {
        /// What the server gave as its reason.
        code: u8,
        /// Whether another attempt could end differently.
        retryable: bool,
    },
}

impl Rejection {
    /// A client goes by the class: a code only gives it its name. One that a server means
    /// in another way has none.
    pub(crate) fn from_wire(code: u8, class: Class) -> Rejection {
        use Rejection::{Ended, Full, Protocol, ShuttingDown, Stale, Version};
        let retryable = class != Class::Never;
        let known = [Full, ShuttingDown, Version, Stale, Ended, Protocol];
        let known = known.into_iter().find(|known| known.code() == code);
        // That a session has ended is so in any class.
        let agrees = |known: &Rejection| *known == Ended || known.is_retryable() == retryable;
        known.filter(agrees).unwrap_or(Rejection::Other { code, retryable })
    }

    pub(crate) fn to_wire(self) -> Reject {
        let class = if self.is_retryable() { Class::Later } else { Class::Never };
        Reject::new(self.code(), class, self.to_string())
    }

    fn code(self) -> u8 {
        match self {
            Rejection::Full => 1,
            Rejection::ShuttingDown => 2,
            Rejection::Version => 3,
            Rejection::Stale => 4,
            Rejection::Ended => 5,
            Rejection::Protocol => 6,
            Rejection::Other { code, .. } => code,
        }
    }

    /// Whether another attempt could end differently.
    ///
    /// If not, it is the host's last word until it says something else. A client gives
    /// up before its attempts are spent when that is so of every host.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::Rejection;
    ///
    /// assert!(Rejection::Full.is_retryable());
    /// assert!(!Rejection::Version.is_retryable());
    /// ```
    pub fn is_retryable(self) -> bool {
        match self {
            Rejection::Full | Rejection::ShuttingDown | Rejection::Stale | Rejection::Protocol => {
                true
            }
            Rejection::Version | Rejection::Ended => false,
            Rejection::Other { retryable, .. } => retryable,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::Full => f.write_str("the server is full"),
            Rejection::ShuttingDown => f.write_str("the server is shutting down"),
            Rejection::Version => f.write_str("the server speaks another version"),
            Rejection::Stale => f.write_str("a newer attempt came first"),
            Rejection::Ended => f.write_str("the session has ended"),
            Rejection::Protocol => f.write_str("the server found our hello impossible"),
            Rejection::Other { code, .. } => write!(f, "code {code}"),
        }
    }
}
