//! The settings of a connection, and where it is to go.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::event::Event;
use crate::foreign;
use crate::protocol::Plain;
use crate::retry::RetryPolicy;
use crate::{Connection, Listener};

/// How often a silent side says that it is alive, and how long it believes
/// in a silent peer.
///
/// A side that has sent nothing for an interval sends a ping, which the peer
/// answers. A peer that has not been heard at all for `misses` intervals is
/// dead: the link is given up and a new one is made. A message that takes longer to
/// cross a slow path is no silence: as long as it comes, its receiver says a word once
/// in an interval.
///
/// The client announces its interval; a server keeps to it rather than to its
/// own (it pings after 1.25 intervals, and grants one interval of grace). A
/// server's own setting serves for clients that announce none. A server whose
/// heartbeats are [off](Heartbeat::off) neither pings nor judges any client.
///
/// A side with heartbeats judges by itself: on its sockets the kernel asks nothing
/// (keepalive), and gives up nothing before that (`TCP_USER_TIMEOUT`).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use longlink::Heartbeat;
///
/// // Behind a NAT that forgets after 30 s; dead after 25 s of silence.
/// let heartbeat = Heartbeat::every(Duration::from_secs(5)).misses(5);
/// # drop(heartbeat);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    pub(crate) interval: Option<Duration>,
    pub(crate) misses: u32,
}

impl Heartbeat {
    /// The shortest interval; shorter ones are taken as this.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::Heartbeat;
    ///
    /// let zero = Heartbeat::every(std::time::Duration::ZERO);
    /// assert_eq!(zero, Heartbeat::every(Heartbeat::SHORTEST));
    /// ```
    pub const SHORTEST: Duration = Duration::from_millis(100);
    /// The longest interval; longer ones are taken as this.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::Heartbeat;
    ///
    /// let years = Heartbeat::every(std::time::Duration::MAX);
    /// assert_eq!(years, Heartbeat::every(Heartbeat::LONGEST));
    /// ```
    pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    /// A ping after `interval` without sending anything. 3 misses are death.
    ///
    /// The interval is kept between 100 ms and 24 h, in whole milliseconds.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use longlink::Heartbeat;
    ///
    /// assert_eq!(Heartbeat::every(Duration::from_secs(10)), Heartbeat::default());
    /// ```
    pub fn every(interval: Duration) -> Heartbeat {
        let interval = interval.clamp(Heartbeat::SHORTEST, Heartbeat::LONGEST);
        let interval = Duration::from_millis(interval.as_millis() as u64);
        Heartbeat { interval: Some(interval), misses: 3 }
    }

    /// No pings, and no judgement, whatever the peer announces. Pings of the peer
    /// are answered all the same, and while bytes come, the peer hears a word once in
    /// its interval.
    ///
    /// A dead peer is then noticed by the kernel's keepalive and
    /// `TCP_USER_TIMEOUT`, which cannot see a peer that hangs while its kernel
    /// lives. Keepalive asks after 10 s of silence, and the link ends after 30 s
    /// in which nothing is acknowledged. If the peer has heartbeats, these times are
    /// 1.25 of its intervals and [`misses`](Heartbeat::misses) + 1 of them, where
    /// that is longer: the kernel wakes no peer that chose a long interval, and
    /// grants what the peer grants.
    ///
    /// # Examples
    ///
    /// ```
    /// let builder = longlink::Connection::builder().heartbeat(longlink::Heartbeat::off());
    /// ```
    pub fn off() -> Heartbeat {
        Heartbeat { interval: None, misses: 3 }
    }

    /// How many intervals of silence mean death; from 1 to 1000.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use longlink::Heartbeat;
    ///
    /// // A peer is dead after 4 s of silence.
    /// let heartbeat = Heartbeat::every(Duration::from_secs(2)).misses(2);
    /// ```
    #[must_use]
    pub fn misses(self, misses: u32) -> Heartbeat {
        Heartbeat { misses: misses.clamp(1, 1000), ..self }
    }
}

impl Default for Heartbeat {
    /// Every 10 s, dead after 3 misses.
    fn default() -> Heartbeat {
        Heartbeat::every(Duration::from_secs(10))
    }
}

type Code = Box<dyn Fn(&Connection, Event) + Send + Sync>;

/// The callback for events.
pub(crate) struct Callback(Option<Code>);

/// All connections of a builder share it.
pub(crate) type OnEvent = Arc<Callback>;

impl Callback {
    pub(crate) fn new(callback: impl Fn(&Connection, Event) + Send + Sync + 'static) -> OnEvent {
        Arc::new(Callback(Some(Box::new(callback))))
    }

    pub(crate) fn call(&self, connection: &Connection, event: Event) {
        if let Some(callback) = &self.0 {
            foreign::run("the event callback", || callback(connection, event));
        }
    }
}

/// What it holds is dropped by whatever thread happens to have it last.
impl Drop for Callback {
    fn drop(&mut self) {
        foreign::discard(self.0.take());
    }
}

/// Settings of a [`Connection`] or a [`Listener`], to be made before it is.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use longlink::{Connection, Heartbeat, RetryPolicy};
///
/// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
/// # let address = listener.local_addr();
/// let connection = Connection::builder()
///     .heartbeat(Heartbeat::every(Duration::from_secs(2)))
///     .retry(RetryPolicy::exponential(Duration::from_millis(200), Duration::from_secs(30)).unlimited())
///     .on_event(|_, event| eprintln!("{event}"))
///     .connect(address)?;
/// connection.send(b"hello")?;
/// # Ok::<(), longlink::Error>(())
/// ```
#[derive(Clone)]
pub struct Builder {
    pub(crate) heartbeat: Heartbeat,
    pub(crate) retry: RetryPolicy,
    pub(crate) connect_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) window: u32,
    pub(crate) max_message: u32,
    pub(crate) resume_within: Duration,
    pub(crate) max_clients: usize,
    pub(crate) plain: Option<Plain>,
    pub(crate) accept_plain: bool,
    pub(crate) on_event: Option<OnEvent>,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            heartbeat: Heartbeat::default(),
            retry: RetryPolicy::default(),
            connect_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(5),
            window: 1024 * 1024,
            max_message: 256 * 1024,
            resume_within: Duration::from_secs(60),
            max_clients: 1024,
            plain: None,
            accept_plain: true,
            on_event: None,
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("heartbeat", &self.heartbeat)
            .field("retry", &self.retry)
            .field("connect_timeout", &self.connect_timeout)
            .field("close_timeout", &self.close_timeout)
            .field("window", &self.window)
            .field("max_message", &self.max_message)
            .field("resume_within", &self.resume_within)
            .field("max_clients", &self.max_clients)
            .field("plain", &self.plain)
            .field("accept_plain", &self.accept_plain)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// When to ping, and when to take the peer for dead (default: every 10 s, 3 misses).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use longlink::{Connection, Heartbeat};
    ///
    /// let builder = Connection::builder().heartbeat(Heartbeat::every(Duration::from_secs(30)));
    /// ```
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Heartbeat) -> Builder {
        self.heartbeat = heartbeat;
        self
    }

    /// How often to try to connect again, and how long to wait in between
    /// (default: at once, then every 3 s, 5 attempts). A listener has no use for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use longlink::{Connection, RetryPolicy};
    ///
    /// let builder = Connection::builder().retry(RetryPolicy::fixed(Duration::from_secs(1), 60));
    /// ```
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Builder {
        self.retry = retry;
        self
    }

    /// How long one address may take to accept the connection and to welcome
    /// us (default 5 s). The addresses of a name are not waited for in turn: each
    /// is asked 250 ms after the one before, and the first that accepts is taken.
    ///
    /// A name may take as long to be resolved. After one second the other hosts are
    /// tried before it. A resolver that hangs goes on in the background, one for
    /// each name at most, and its answer serves the attempts that follow.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use longlink::{Connection};
    ///
    /// let builder = Connection::builder().connect_timeout(Duration::from_secs(2));
    /// ```
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Builder {
        self.connect_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// How long a closing connection goes on while there is a link and nothing moves
    /// on it, and how long the parting takes at most once everything is
    /// acknowledged (default 5 s). See [`close`](Connection::close). The same bounds
    /// hold for a dropped connection, in the background.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use longlink::{Connection};
    ///
    /// let builder = Connection::builder().close_timeout(Duration::from_secs(30));
    /// ```
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Builder {
        self.close_timeout = timeout;
        self
    }

    /// How many bytes may be under way unacknowledged, in each direction
    /// (default 1 MiB).
    ///
    /// It bounds what this side keeps for sending again and what it holds for
    /// the application to receive. Each message counts its length and 64 bytes.
    /// When the peer's window is smaller, that one counts for sending.
    ///
    /// # Examples
    ///
    /// ```
    /// let builder = longlink::Connection::builder().window(64 * 1024);
    /// ```
    #[must_use]
    pub fn window(mut self, bytes: usize) -> Builder {
        self.window = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, 1 << 30);
        self
    }

    /// The largest message that this side sends or accepts, in bytes (default
    /// 256 KiB). Never more than the window.
    ///
    /// # Examples
    ///
    /// ```
    /// let builder = longlink::Connection::builder().max_message(4 * 1024);
    /// ```
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Builder {
        self.max_message = u32::try_from(bytes).unwrap_or(u32::MAX);
        self
    }

    /// How long a listener keeps a session whose link is lost (default 60 s),
    /// whether anything was said in it or not. Time that its machine spends
    /// suspended does not count.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use longlink::{Connection};
    ///
    /// let builder = Connection::builder().resume_within(Duration::from_secs(600));
    /// ```
    #[must_use]
    pub fn resume_within(mut self, time: Duration) -> Builder {
        self.resume_within = time;
        self
    }

    /// How many sessions a listener keeps at once, live and lost ones
    /// together (default 1024). When there are as many, a newcomer takes the
    /// place of a lost one: of those from which nothing ever came, if there are
    /// any, and among them of the one that was lost first. Without a lost one it
    /// is rejected, and tries again.
    ///
    /// This bounds what peers can make a listener use. In memory it is
    /// `max_clients` × (4 × (window + `max_message`) + 256 KiB), and a few
    /// megabytes in all: what messages count for in both directions, as much
    /// again for keeping them if they are tiny, and buffers. What is held by
    /// the kernel comes on top, and so do connections that are over and not
    /// dropped. In descriptors it is one for each, 256 for peers that have not
    /// introduced themselves, and five. With fewer (`ulimit -n`), silent peers
    /// are dropped and new clients rejected when they run out; clients that
    /// come back are taken.
    ///
    /// # Examples
    ///
    /// ```
    /// let builder = longlink::Connection::builder().max_clients(100);
    /// ```
    #[must_use]
    pub fn max_clients(mut self, clients: usize) -> Builder {
        self.max_clients = clients.max(1);
        self
    }

    /// Makes a client speak [plain text](crate::Protocol::Plain), to any
    /// server of lines. A listener has no use for it.
    ///
    /// Its heartbeat is the text `keepalive` without a newline, after an
    /// interval without sending anything, while no line waits for its reply;
    /// one at most before the server has said something on this link. Servers
    /// that would take it for text need [`Heartbeat::off`]. Nothing answers it:
    /// after `misses` intervals (30 s without heartbeats) in which the server's
    /// kernel acknowledges nothing, ours ends the link. Ours asks no more often than
    /// once an interval; that of a listener, which knows of none, does after 10 s.
    ///
    /// # Examples
    ///
    /// ```
    /// let builder = longlink::Connection::builder().plain(longlink::Plain::new());
    /// ```
    #[must_use]
    pub fn plain(mut self, plain: Plain) -> Builder {
        self.plain = Some(plain);
        self
    }

    /// Whether a listener accepts peers that speak [plain
    /// text](crate::Protocol::Plain), which it tells by their first byte
    /// (default: yes). Otherwise they are dropped. A client has no use for it.
    ///
    /// They count against [`max_clients`](Builder::max_clients), and
    /// [`Connection::protocol`] tells them apart. The first byte is that of a
    /// letter in any alphabet, a space or an end of line; control characters
    /// begin other protocols. A peer is a connection once it has said something.
    ///
    /// # Examples
    ///
    /// ```
    /// let builder = longlink::Connection::builder().accept_plain(false);
    /// ```
    #[must_use]
    pub fn accept_plain(mut self, accept: bool) -> Builder {
        self.accept_plain = accept;
        self
    }

    /// Calls `callback` for everything that happens to the link, with the
    /// connection it happens to: on a listener, any of its connections.
    ///
    /// It runs on the heartbeat thread, with no lock held. A panic in it is logged
    /// and goes no further. It must not block: heartbeats, reconnects and streams
    /// of messages wait for it, on a listener those of all its connections.
    ///
    /// Therefore it may call any method of this crate, on any connection or
    /// listener, and what would block fails at once with [`Error::WouldBlock`]
    /// instead: a [`send`](Connection::send) for which there is no room, a
    /// [`recv`](Connection::recv) when nothing has come, [`sync`](Connection::sync),
    /// [`connect`](Builder::connect), [`Listener::accept`], [`Listener::drain`].
    /// [`close`](Connection::close) and [`close_within`](Connection::close_within)
    /// begin to close, which then goes on in the background as after a `close`. Only a [`bind`](Builder::bind) to a name may wait, for the
    /// resolver. The same is true wherever else this crate runs code of the
    /// application's: what a logger does, and the drop of a message's
    /// [owner](crate::Bytes::from_owner).
    ///
    /// The connection it is given does not count as a handle: when the application
    /// has dropped the last one, the callback is given one all the same while the
    /// connection closes in the background. A clone of it is a handle like any
    /// other; one that is made after the last was dropped does not keep the
    /// connection from closing. A callback that holds a handle of its own connection
    /// keeps it open for ever: it has no need of one.
    ///
    /// # Examples
    ///
    /// ```
    /// let builder = longlink::Connection::builder().on_event(|_, event| eprintln!("{event}"));
    /// ```
    #[must_use]
    pub fn on_event(
        mut self,
        callback: impl Fn(&Connection, Event) + Send + Sync + 'static,
    ) -> Builder {
        self.on_event = Some(Callback::new(callback));
        self
    }

    /// Connects, and stays connected.
    ///
    /// Blocks until the first link is up, or the retry policy has spent its attempts.
    /// See [`ToHosts`] for what an address can be; with several, each attempt
    /// tries them in turn, the last good one first.
    ///
    /// A host that refuses, rejects us, or has a name that cannot be resolved (yet)
    /// fails in this attempt, and is tried again in the next one. Only when the last
    /// word of every host is final is there no next one: a
    /// [rejection](crate::Rejection::is_retryable) of that kind, or, after a loss, a
    /// limit that is [too small](crate::Cause::TooLarge). A host that cannot be reached
    /// says nothing, so its last word stays what it was.
    ///
    /// # Errors
    ///
    /// [`Error::GaveUp`] with the cause of the last failure; [`Error::Config`] if the
    /// address cannot be one; [`Error::Io`] if no thread could be started.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::{Connection, Error, RetryPolicy};
    /// # let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    ///
    /// let result = Connection::builder().retry(RetryPolicy::never()).connect(nobody);
    /// assert!(matches!(result, Err(Error::GaveUp { .. })));
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn connect(self, addr: impl ToHosts) -> Result<Connection> {
        Connection::open(self, addr.to_hosts()?)
    }

    /// Listens on an address; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if none of the addresses can be listened on.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::Connection;
    ///
    /// let listener = Connection::builder().max_clients(10).bind("127.0.0.1:0")?;
    /// assert_ne!(listener.local_addr().port(), 0);
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn bind(self, addr: impl ToSocketAddrs) -> Result<Listener> {
        Listener::open(self, addr)
    }

    /// The largest message: the window bounds it.
    pub(crate) fn largest_message(&self) -> u32 {
        self.max_message.min(self.window)
    }
}

/// One place to connect to: a name or an address, and a port. Names are
/// resolved anew at each attempt.
///
/// # Examples
///
/// ```
/// use longlink::{Host, ToHosts};
///
/// let places = [Host::new("one.example", 6666), Host::new("two.example", 6666)];
/// assert_eq!(places.to_hosts()?.len(), 2);
/// # Ok::<(), longlink::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host {
    pub(crate) name: String,
    pub(crate) port: u16,
}

impl Host {
    /// A name or an IP address (without brackets), and a port.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::Host;
    ///
    /// assert_eq!(Host::new("::1", 6666).to_string(), "[::1]:6666");
    /// ```
    pub fn new(name: impl Into<String>, port: u16) -> Host {
        Host { name: name.into(), port }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

/// What [`Connection::connect`] takes: `"host:port"`, `("host", port)`, a
/// [`SocketAddr`], a [`Host`], or several of one of these.
///
/// It is std's [`ToSocketAddrs`] put off: the name is kept, and resolved at
/// every attempt.
///
/// # Examples
///
/// ```
/// use longlink::ToHosts;
///
/// assert_eq!("example.org:6666".to_hosts()?.len(), 1);
/// assert_eq!([("::1", 6666), ("127.0.0.1", 6667)].to_hosts()?[0].to_string(), "[::1]:6666");
/// assert!("no-port".to_hosts().is_err());
/// # Ok::<(), longlink::Error>(())
/// ```
pub trait ToHosts {
    /// The hosts, in the order in which they are to be tried.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if a string is not `host:port`, or there is no host at all.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::{Host, ToHosts};
    ///
    /// assert_eq!("localhost:6666".to_hosts()?, [Host::new("localhost", 6666)]);
    /// # Ok::<(), longlink::Error>(())
    /// ```
    fn to_hosts(&self) -> Result<Vec<Host>>;
}

impl ToHosts for str {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        let invalid = || Error::Config(format!("{self:?} is not host:port"));
        let (name, port) = self.rsplit_once(':').ok_or_else(invalid)?;
        let port = port.parse().map_err(|_| invalid())?;
        let name = match name.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(invalid)?,
            None if name.contains(':') => return Err(invalid()),
            None => name,
        };
        if name.is_empty() {
            return Err(invalid());
        }
        Ok(vec![Host::new(name, port)])
    }
}

impl ToHosts for String {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        self.as_str().to_hosts()
    }
}

impl ToHosts for SocketAddr {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        // A scope such as fe80::1%eth0 is part of the name.
        let name = match self {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            _ => self.ip().to_string(),
        };
        Ok(vec![Host::new(name, self.port())])
    }
}

impl ToHosts for (&str, u16) {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        Ok(vec![Host::new(self.0, self.1)])
    }
}

impl ToHosts for (String, u16) {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        Ok(vec![Host::new(self.0.as_str(), self.1)])
    }
}

impl ToHosts for (IpAddr, u16) {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        SocketAddr::from(*self).to_hosts()
    }
}

impl ToHosts for Host {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        Ok(vec![self.clone()])
    }
}

impl<T: ToHosts> ToHosts for [T] {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        if self.is_empty() {
            return Err(Error::Config("there is no host to connect to".into()));
        }
        let mut hosts = Vec::with_capacity(self.len());
        for host in self {
            hosts.extend(host.to_hosts()?);
        }
        Ok(hosts)
    }
}

impl<T: ToHosts, const N: usize> ToHosts for [T; N] {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        self.as_slice().to_hosts()
    }
}

impl<T: ToHosts> ToHosts for Vec<T> {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        self.as_slice().to_hosts()
    }
}

impl<T: ToHosts + ?Sized> ToHosts for &T {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        (**self).to_hosts()
    }
}
