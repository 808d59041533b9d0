//! [`Connection`]: the handle that the user holds.

mod callback;
mod end;
mod handles;
mod held;
mod many;
mod numbers;
mod receive;
mod send;

pub use held::Held;
pub use many::Taken;
pub use receive::Incoming;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;

use crate::client::Client;
use crate::config::Builder;
use crate::driver::DriverHandle;
use crate::error::{Error, Result};
use crate::foreign;
use crate::host::ToHosts;
use crate::identity::PeerIdentity;
use crate::link::{Patience, Shared, Waiter};
use crate::proto::plain::PlainSession;
use crate::proto::protocol;
use crate::proto::session::Session;
use crate::protocol::Protocol;
use crate::secure::{self, Security};
use crate::stats::Stats;
use crate::sync::{self, Arc};

pub use handles::WeakConnection;

/// A long-lived connection that carries messages both ways and survives the
/// loss of its link.
///
/// All methods take `&self`: any number of threads may send and receive at
/// once. Messages of one thread stay in order.
///
/// Done means done: a message is acknowledged when the application comes back for
/// the next one, sees the end, or calls [`done`](Connection::done) or
/// [`close`](Connection::close). Each speaks for all messages handed out before, to
/// any thread. With several receiving threads, or a queue behind one,
/// acknowledgement therefore comes before processing, unless they receive by
/// [`recv_held`](Connection::recv_held).
///
/// A clone is another handle of the same connection. Dropping the last handle
/// acknowledges nothing, so a handler may leave by `?` or `return` when it fails. It
/// closes the connection in the background, without blocking and for as long as
/// [`close`](Connection::close) would take; a process that exits first loses what
/// was not sent by then, so call `close` before. A handle dropped by a panic
/// [aborts](Connection::abort) the connection, whatever other handles there are,
/// so that the peer does not take an unprocessed message for a processed one. A
/// [`WeakConnection`] does not keep the connection open.
///
/// # Examples
///
/// ```
/// use longlink::Connection;
///
/// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
/// # let address = listener.local_addr();
/// # let server = std::thread::spawn(move || -> longlink::Result<()> {
/// #     let connection = listener.accept()?;
/// #     connection.send_bytes(connection.recv()?.unwrap())?;
/// #     connection.close()
/// # });
/// let connection = Connection::connect(address)?;
/// connection.send(b"hello")?;
/// if let Some(reply) = connection.recv()? {
///     println!("{}", String::from_utf8_lossy(&reply));
/// }
/// connection.close()?;
/// # server.join().unwrap()?;
/// # Ok::<(), longlink::Error>(())
/// ```
pub struct Connection {
    shared: Arc<Shared>,
}

/// Opening.
impl Connection {
    /// Connects with the default settings. See [`Builder::connect`].
    ///
    /// # Errors
    ///
    /// As [`Builder::connect`].
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::{Connection, Listener};
    ///
    /// let listener = Listener::bind("127.0.0.1:0")?;
    /// let connection = Connection::connect(listener.local_addr())?;
    /// assert!(connection.is_connected());
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn connect(addr: impl ToHosts) -> Result<Connection> {
        Connection::builder().connect(addr)
    }

    /// Settings for a connection or a listener.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::Connection;
    ///
    /// let builder = Connection::builder().max_message(64 * 1024);
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// Connects, and stays connected.
    ///
    /// Blocks until the first link is up, or the retry policy has spent its attempts.
    /// See [`ToHosts`] for what an address can be; with several, each attempt
    /// tries them in turn, the last good one first. They are taken for different servers
    /// unless [`Host::alias_of`](crate::Host::alias_of) says that they are paths to one.
    /// After the first link, [`on_session_lost`](Builder::on_session_lost) can bind a client
    /// to the server of that link.
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
    /// address cannot be one, the [greeting](Builder::greeting) is too long, the
    /// [first number](Builder::first_number) out of range, or the
    /// security none that a client can have; [`Error::Io`] if no thread
    /// could be started, or there is no randomness. [`Error::Refused`] if the first link was
    /// lost before it was up, and the server has refused us meanwhile: as a rule that comes
    /// from the calls that follow.
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
        let hosts = addr.to_hosts()?;
        if hosts.is_empty() {
            return Err(Error::Config("there is no host to connect to".into()));
        }
        if foreign::is_running() || secure::is_inside() {
            return Err(Error::WouldBlock);
        }
        self.security.as_ref().map(Security::check_client).transpose()?;
        let greeting = self.checked_greeting()?;
        let numbers = self.checked_numbers()?;
        let now = sync::now();
        let limits = self.limits();
        let protocol = match self.plain {
            None => {
                let session = Session::client(limits, self.heartbeat, now)
                    .on_loss(self.on_session_lost)
                    .greeting_with(greeting)
                    .numbered(numbers);
                protocol::Protocol::Framed(session)
            }
            Some(plain) => {
                let settings = plain.settings(self.heartbeat.interval);
                let session = PlainSession::client(limits, settings, now).numbered(numbers);
                protocol::Protocol::Plain(session)
            }
        };
        let driver = Arc::new(DriverHandle::new()?);
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let shared = Arc::new(Shared::new(self.terms(None), protocol, nowhere, 0, driver.clone()));
        let client = Client::new(shared.clone(), driver, hosts, &self)?;
        client.start(self.on_event.is_some())?;
        let connection = Connection::new(shared);
        connection.shared.lock().wait(Waiter::Other, Patience::Forever, |state| {
            match state.has_connected() {
                true => Some(Ok(())),
                false => state.check().err().map(Err),
            }
        })?;
        Ok(connection)
    }
}

/// Looking.
impl Connection {
    /// The address at the other end of the present link, or of the last one.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// assert_eq!(client.peer_addr(), listener.local_addr());
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn peer_addr(&self) -> SocketAddr {
        self.shared.lock().peer()
    }

    /// Who the peer is, as it has proven when the present link was made, or the last one.
    /// `None` of a peer that has shown nothing, and in clear text, where nobody can prove
    /// anything: all links are, unless the feature `tls` secures them. Does not block.
    ///
    /// At a server it stays the same for as long as the connection lives, since only the
    /// identity that began a session resumes it.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// assert_eq!(server.peer_identity(), None);
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn peer_identity(&self) -> Option<PeerIdentity> {
        self.shared.lock().who().identity()
    }

    /// Whether there is a link at the moment, as far as this side can tell.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// assert!(client.is_connected());
    /// client.abort();
    /// assert!(!client.is_connected());
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn is_connected(&self) -> bool {
        self.shared.lock().is_up()
    }

    /// Has the link checked now, for an application that knows more than the link
    /// shows: the network has changed, or came back. Does not block; what is found
    /// comes as an [`Event`](crate::Event).
    ///
    /// The peer is sent a ping, whether or not there are [heartbeats](crate::Heartbeat). If
    /// within the [connect timeout](Builder::connect_timeout) not one byte of it has
    /// come, and its kernel has acknowledged none, the link is lost, and a client looks
    /// for another. A check that is under way is not begun anew. A client that waits for
    /// its next attempt to connect makes one at once. That one does not count, so asking
    /// often brings the end no nearer; but it is made no more than 32 times in a row, and
    /// then once a second. A connection of a listener that has no link waits for its
    /// client as before.
    ///
    /// After the machine was suspended, all this is done without being asked for: on Linux
    /// at once, elsewhere with the next heartbeat that is due.
    ///
    /// Over [plain text](Protocol::Plain) only a heartbeat can be asked, which the
    /// server's kernel acknowledges: a client sends one if no line waits for its reply,
    /// and it is not the second before the server has said anything. Otherwise the
    /// kernel finds out in its own time.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// // The system says that another network is in use.
    /// let network_changed = || client.check();
    /// network_changed();
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn check(&self) {
        let mut state = self.shared.lock();
        state.request_check();
        state.settle();
    }

    /// What is spoken over this connection.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// assert_eq!(client.protocol(), longlink::Protocol::Framed);
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn protocol(&self) -> Protocol {
        match self.shared.lock().protocol {
            protocol::Protocol::Framed(_) => Protocol::Framed,
            protocol::Protocol::Plain(_) => Protocol::Plain,
        }
    }

    /// What the client says at the beginning of each session: at the server, that of the
    /// session which was accepted; at the client, its [own](Builder::greeting). Empty if
    /// there is none, and over [plain text](Protocol::Plain). Does not block.
    ///
    /// It is the peer's, who may have said anything of at most 2048 bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::Connection;
    ///
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let address = listener.local_addr();
    /// let client = Connection::builder().greeting("ann").connect(address)?;
    /// let server = listener.accept()?;
    /// assert_eq!(server.greeting(), "ann");
    /// assert_eq!(client.greeting(), "ann");
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn greeting(&self) -> Bytes {
        let mut state = self.shared.lock();
        state.protocol.framed().map_or_else(Bytes::new, |session| session.greeting().clone())
    }

    /// The largest message that both sides accept, in bytes. It can change
    /// when a session is lost and another server answers.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// assert_eq!(client.max_message(), 256 * 1024);
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn max_message(&self) -> usize {
        self.shared.lock().protocol.status().max_message
    }

    /// What has happened so far.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// client.send(b"hello")?;
    /// assert_eq!(client.stats().messages_sent, 1);
    /// assert_eq!(client.stats().reconnects, 0);
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn stats(&self) -> Stats {
        self.shared.lock().stats()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("Connection")
            .field("peer", &state.peer())
            .field("connected", &state.is_up())
            .finish_non_exhaustive()
    }
}
