//! Why a link is lost, and what a server says that takes none.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::Fingerprint;
use crate::proto::reject::{Class, Reject};
use crate::words::{count, humane};

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
    /// The server does not speak TLS, and this client has `Builder::security`.
    NotTls,
    /// The peer shows a key that this side does not trust. Another machine may stand in the
    /// server's place; or the server has a new key.
    #[non_exhaustive]
    Untrusted {
        /// The key that the peer shows. It has not proven yet that it is its own.
        shown: Box<Fingerprint>,
        /// The keys that a client trusts. On a server this is empty.
        expected: Arc<[Fingerprint]>,
    },
    /// TLS failed; the text says how.
    Tls(Arc<str>),
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
    /// On a server: the client's key or certificate is no longer trusted, since its listener
    /// goes by other ones now (`Listener::reload`).
    Revoked,
    /// The link was secured a day ago, so another is made, over which both sides show again who
    /// they are. This costs none of a client's [attempts](crate::RetryPolicy::attempts).
    Aged,
    /// The peer's certificate has expired meanwhile. It may come back with another. This costs
    /// none of a client's [attempts](crate::RetryPolicy::attempts).
    Expired,
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
            Cause::NotTls => f.write_str("the server does not speak TLS"),
            Cause::Untrusted { shown, expected } => {
                write!(f, "the peer shows {shown}, ")?;
                match &**expected {
                    [] => f.write_str("which is not trusted"),
                    [one] => write!(f, "expected {one}"),
                    [one, others @ ..] => {
                        write!(f, "expected {one} or {}", count(others.len() as u64, "other key"))
                    }
                }
            }
            Cause::Tls(what) => write!(f, "TLS: {what}"),
            Cause::Resolve { host, error } => write!(f, "cannot resolve {host}: {error}"),
            Cause::NoProgress { links, last } => {
                let links = count((*links).into(), "link");
                write!(f, "no message got through over the last {links}: {last}")
            }
            Cause::Protocol(what) => write!(f, "protocol violation: {what}"),
            Cause::Rejected(rejection) => write!(f, "rejected: {rejection}"),
            Cause::Replaced => f.write_str("replaced by a newer link"),
            Cause::Revoked => f.write_str("the client is no longer trusted"),
            Cause::Aged => f.write_str("a day old, keys are checked again"),
            Cause::Expired => f.write_str("the peer's certificate has expired"),
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
    /// the client, or the server, [wants no other](crate::SessionLoss::GiveUp).
    Ended,
    /// What the client said in its hello cannot be. Trying again may help, after a
    /// new session.
    Protocol,
    /// The server takes only clients that prove who they are.
    AuthenticationRequired,
    /// The server does not speak clear text, only TLS: see
    /// `Builder::security`.
    TlsRequired,
    /// The server does not trust the key that this client shows.
    Untrusted,
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
        use Rejection::{AuthenticationRequired, TlsRequired, Untrusted};
        use Rejection::{Ended, Full, Protocol, ShuttingDown, Stale, Version};
        let retryable = class != Class::Never;
        let known = [Full, ShuttingDown, Version, Stale, Ended, Protocol];
        let secured = [AuthenticationRequired, TlsRequired, Untrusted];
        let known = known.into_iter().chain(secured).find(|known| known.code() == code);
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
            Rejection::AuthenticationRequired => 7,
            Rejection::TlsRequired => 8,
            Rejection::Untrusted => 9,
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
            Rejection::Version
            | Rejection::Ended
            | Rejection::AuthenticationRequired
            | Rejection::TlsRequired
            | Rejection::Untrusted => false,
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
            Rejection::AuthenticationRequired => {
                f.write_str("the server takes only clients that prove who they are")
            }
            Rejection::TlsRequired => f.write_str("the server speaks TLS only"),
            Rejection::Untrusted => f.write_str("the server does not trust this client's key"),
            Rejection::Other { code, .. } => write!(f, "code {code}"),
        }
    }
}
