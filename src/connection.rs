//! [`Connection`]: the handle that the user holds.

// rustdoc lists the methods in the order of these lines, and those of this file last.
mod basics;
mod open;
mod send;

mod receive;

mod end;
mod held;
mod many;
mod numbers;

mod callback;
mod handles;

pub use held::Held;
pub use many::Taken;
pub use receive::Incoming;

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::identity::PeerIdentity;
use crate::link::Shared;
use crate::proto::protocol;
use crate::protocol::Protocol;
use crate::stats::Stats;
use crate::sync::Arc;

pub use handles::WeakConnection;

/// A long-lived connection that carries messages both ways and survives the
/// loss of its link.
///
/// All methods take `&self`: any number of threads may send and receive at
/// once. Messages of one thread stay in order.
///
/// A message is acknowledged when the application is done with it: when it comes back for the next
/// one, sees the end, or calls [`done`](Connection::done) or [`close`](Connection::close). Each of
/// these speaks for all messages that were handed out before, to any thread. So with several
/// receiving threads, or a queue behind one, a message is acknowledged before it is processed,
/// unless they receive by [`recv_held`](Connection::recv_held).
///
/// A clone is another handle of the same connection. Dropping the last handle acknowledges nothing,
/// so a handler may leave by `?` or `return` when it fails. It closes the connection in the
/// background, without blocking, and takes as long as [`close`](Connection::close) would. A process
/// that exits before that loses what was not sent by then: so call `close`. A handle that is
/// dropped by a panic [aborts](Connection::abort) the connection, whatever other handles there are,
/// so that the peer does not take an unprocessed message for a processed one. A [`WeakConnection`]
/// does not keep the connection open.
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

/// The state of the connection.
impl Connection {
    /// The address at the other end of the present link, or of the last one. A peer that came by IPv4
    /// has an IPv4 address, also where the listener takes both kinds on `[::]`.
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

    /// Who the peer is, as it has proven when the present link or the last one was made. `None` if
    /// the peer has shown nothing, and in clear text, where nobody can prove anything: all links
    /// are in clear text, unless the feature `tls` secures them. Does not block.
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

    /// Checks the link now, for an application that knows more than the link shows: that the
    /// network has changed, or is back. Does not block; the result is an [`Event`](crate::Event).
    ///
    /// The peer is sent a ping, whether or not there are [heartbeats](crate::Heartbeat). If
    /// within the [connect timeout](crate::Builder::connect_timeout) not one byte of it has
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
    /// session which was accepted; at the client, its [own](crate::Builder::greeting). Empty if
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
