//! [`Listener`]: accepts sessions, and keeps them while their links come and go.

use std::fmt;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::time::Duration;

use crate::config::Builder;
use crate::connection::Connection;
use crate::driver::DriverHandle;
use crate::error::{Error, Result};
use crate::foreign;
use crate::identity::Who;
use crate::net::Socket;
use crate::secure::Security;
use crate::server::{AcceptQueue, Restart, Server};
use crate::sync::{self, Arc};

/// So long a server that goes away has for its last words.
const FAREWELL: Duration = Duration::from_millis(200);

/// So long a reload waits for a driver that does not go on.
#[cfg(any(test, feature = "tls"))]
const RELOAD: Duration = Duration::from_secs(1);

/// Listens for connections.
///
/// One thread of the library serves all connections of a listener: it accepts, greets, resumes lost
/// sessions, sends heartbeats, and removes sessions whose time is over. A slow or hostile peer
/// delays no other.
///
/// Dropping a listener is [`close`](Listener::close).
///
/// # Examples
///
/// ```
/// use longlink::{Connection, Listener};
///
/// let listener = Listener::bind("127.0.0.1:0")?;
/// let client = Connection::connect(listener.local_addr())?;
/// let server = listener.accept()?;
/// client.send(b"hello")?;
/// assert_eq!(server.recv()?.as_deref(), Some(&b"hello"[..]));
/// # Ok::<(), longlink::Error>(())
/// ```
pub struct Listener {
    queue: Arc<AcceptQueue>,
    driver: Arc<DriverHandle>,
    addr: SocketAddr,
    #[cfg(any(test, feature = "tls"))]
    secured: bool,
}

impl Listener {
    /// Listens on an address, with the default settings; port 0 takes a free
    /// one. See [`Builder::bind`](crate::Builder::bind).
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if none of the addresses can be listened on.
    ///
    /// # Examples
    ///
    /// ```
    /// let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// println!("listening on {}", listener.local_addr());
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn bind(addr: impl ToSocketAddrs) -> Result<Listener> {
        Builder::default().bind(addr)
    }

    fn start(builder: Builder, socket: Socket) -> Result<Listener> {
        let addr = socket.local_addr()?;
        let lets_in = |security: &Security| security.trusts(&Who::Anonymous);
        match &builder.security {
            _ if addr.ip().to_canonical().is_loopback() => {}
            None => foreign::log!(
                warn,
                "{addr}: listening without security: whoever reaches it is let in"
            ),
            Some(security) if lets_in(security) => foreign::log!(
                warn,
                "{addr}: listening for clients that show nothing: whoever reaches it is let in"
            ),
            Some(_) => {}
        }
        let queue = Arc::new(AcceptQueue::new());
        let driver = Arc::new(DriverHandle::new()?);
        #[cfg(any(test, feature = "tls"))]
        let secured = builder.security.is_some();
        let server = Server::new(builder, socket, queue.clone(), driver.clone())?;
        sync::spawn("longlink-server", move || server.run())?;
        Ok(Listener {
            queue,
            driver,
            addr,
            #[cfg(any(test, feature = "tls"))]
            secured,
        })
    }

    /// Returns the connection of the next new client. Blocks until there is one.
    ///
    /// A client that comes back to a session which is still known is not a new one: its connection
    /// goes on. A client that begins another session, because it [was started
    /// again](crate::Builder::client_id) for instance, has ended its old connection before the new
    /// one is accepted. A session that has ended before it was accepted is not handed out; its
    /// client knows what was not acknowledged.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the listener is closed.
    /// [`Error::WouldBlock`] in an [event callback](Builder::on_event), if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// let server = listener.accept()?;
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn accept(&self) -> Result<Connection> {
        self.queue.next().map(Connection::new)
    }

    /// The new connections, one after the other, until the listener is closed.
    /// After an error it ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::{Connection, Listener};
    /// use std::thread;
    ///
    /// let listener = Listener::bind("127.0.0.1:0")?;
    /// # let client = Connection::connect(listener.local_addr())?;
    /// thread::spawn(move || {
    ///     for connection in listener.incoming().flatten() {
    ///         thread::spawn(move || connection.incoming().count());
    ///     }
    /// });
    /// # client.close()?;
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn incoming(&self) -> Accepted<'_> {
        Accepted { listener: Some(self) }
    }

    /// Stops accepting: every blocked [`accept`](Listener::accept) returns.
    ///
    /// The connections that were handed out go on. The port stays open until the last of them has
    /// ended, so that their clients can come back; new clients are told meanwhile that the server
    /// is shutting down. Those that nobody has accepted are aborted: they get
    /// [`Error::PeerClosed`], which is final. [`restart`](Listener::restart) has them come back.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// listener.close();
    /// assert!(listener.accept().is_err());
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn close(&self) {
        self.queue.close();
        self.driver.wake();
    }

    /// Ends all connections, for a server that is started again soon, and tells their clients to
    /// come back `after` this time.
    ///
    /// A client then reports that [the server is restarting](crate::Cause::Restarting). It asks its
    /// other hosts at once, and this one when the time has come, so that no attempt is wasted.
    /// Clients come back one after the other, within 2 ms for each of them: a thousand within 2 s.
    /// `after` is the earliest time at which a new server listens; one that takes longer is found
    /// by the attempts that the client has. A client waits for ten minutes at most.
    ///
    /// Blocks for 0.3 s at most, and less if all clients have heard it; in an [event
    /// callback](Builder::on_event) it only begins. It does not wait for a link that is blocked, or
    /// busy for so long: the client is told nothing, and finds the link lost. So do clients that
    /// are away, and those over [plain text](crate::Protocol::Plain). Afterwards the port is free,
    /// and the listener accepts nothing any more. ([`close`](Listener::close), in contrast, ends no
    /// connection, and lets clients come back.)
    ///
    /// All connections end with [`Error::GaveUp`] and
    /// [`Cause::Restarting`](crate::Cause::Restarting). What their handlers are done with by then
    /// is acknowledged before. The clients send all else again in their new sessions, where it is
    /// processed again. What handlers have sent and clients have not acknowledged is lost with the
    /// connections. To lose nothing of that, end each conversation and [`drain`](Listener::drain).
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::{Cause, Connection, Error, Listener};
    /// use std::time::Duration;
    ///
    /// let listener = Listener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr();
    /// let client = Connection::connect(address)?;
    /// let connection = listener.accept()?;
    /// client.send("hello")?;
    /// listener.restart(Duration::from_millis(100));
    /// let error = connection.send("too late").unwrap_err();
    /// assert!(matches!(error, Error::GaveUp { cause: Cause::Restarting, .. }));
    ///
    /// // The new server.
    /// let listener = Listener::bind(address)?;
    /// let connection = listener.accept()?;
    /// assert_eq!(connection.recv()?.as_deref(), Some(&b"hello"[..]));
    /// # client.abort();
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn restart(&self, after: Duration) {
        let until = sync::later(FAREWELL);
        self.queue.restart(Restart { after, until });
        self.driver.wake();
        // It ends all by itself, and would be late only behind a callback that blocks.
        let _ = self.queue.wait_drained(sync::add(until, FAREWELL / 2).into());
    }

    /// [Closes](Listener::close) the listener, and waits until every connection that it handed out
    /// has ended, for at most `timeout`. Afterwards the port is free.
    ///
    /// It ends no connection itself: their handlers do, or their clients. A connection has ended
    /// when it was closed, aborted or dropped and the peer was told, or the
    /// [`close_timeout`](Builder::close_timeout) is over. One whose client is away ends after
    /// [`resume_within`](Builder::resume_within) at the latest. A thread that goes on after its
    /// connection's end is not waited for.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if there were connections left, and
    /// [`Error::WouldBlock`] in an [event callback](Builder::on_event). The listener
    /// stays closed, they live on, and it may be called again.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::{Connection, Listener};
    /// use std::{thread, time::Duration};
    ///
    /// let listener = Listener::bind("127.0.0.1:0")?;
    /// let client = Connection::connect(listener.local_addr())?;
    /// let connection = listener.accept()?;
    /// thread::spawn(move || connection.incoming().count());
    /// # assert!(listener.drain(Duration::ZERO).is_err());
    /// client.send("the last word")?;
    /// client.close()?;
    /// listener.drain(Duration::from_secs(10))?; // every connection has ended
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn drain(&self, timeout: Duration) -> Result<()> {
        let deadline = sync::after(timeout);
        self.close();
        self.queue.wait_drained(deadline)
    }

    /// The address that is listened on.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// assert!(listener.local_addr().ip().is_loopback());
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sets whether new clients are told that the server is full, as they are beyond
    /// [`max_clients`](crate::Builder::max_clients): they try again later, or elsewhere. For
    /// servers that run out of something of their own which a client takes, such as threads.
    ///
    /// Nothing changes for the connections that exist, including those that wait to be
    /// [`accept`](Listener::accept)ed, nor for clients that come back to them. Plain text clients
    /// are disconnected, since they cannot be told. Does not block.
    ///
    /// # Examples
    ///
    /// ```
    /// let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// let connection = listener.accept()?;
    /// // There is one worker, and it is busy now.
    /// listener.set_full(true);
    /// # client.abort();
    /// connection.incoming().count();
    /// listener.set_full(false);
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn set_full(&self, full: bool) {
        self.queue.set_full(full);
    }

    /// Replaces the [`Security`] from now on: another key of this side, or other peers that are
    /// trusted.
    ///
    /// Clients that it does not let in lose their sessions. These end with
    /// [`Cause::Revoked`](crate::Cause::Revoked), also while the client is away, and before they
    /// were [`accept`](Listener::accept)ed. What counts is the key by which the client was let in
    /// last, and the name of that key. A client with a new key goes on if it has come back by that
    /// before the old one is taken from it. All others notice nothing.
    ///
    /// Blocks until that is done. With keys that is a moment; by certificates, each client is
    /// judged anew, as in a handshake, while the others are served: ten thousand take seconds.
    /// Only an [event callback](Builder::on_event) of this listener's connections that blocks
    /// can hold it up: then this returns after one second, and it is done when the callback has
    /// returned. In such a callback it does not block, and is done after it.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if the listener was bound without [security](Builder::security),
    /// since clear text does not become secure by this; or if no listener can have this one.
    /// Then nothing changes.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use longlink::{Identity, Listener, Security, Trust};
    ///
    /// /// Somebody was added to the peers, or taken away.
    /// fn read_again(listener: &Listener) -> longlink::Result<()> {
    ///     let (key, peers) = (Identity::from_file("server.key")?, Trust::peers_file("peers")?);
    ///     listener.reload(Security::keys(key, peers))
    /// }
    /// ```
    #[cfg(any(test, feature = "tls"))]
    pub fn reload(&self, security: Security) -> Result<()> {
        if !self.secured {
            let what = "a listener of clear text cannot be given security later";
            return Err(Error::Config(what.into()));
        }
        security.check_listener()?;
        let number = self.queue.reload(security);
        self.driver.wake();
        self.queue.wait_reloaded(number, RELOAD);
        Ok(())
    }
}

impl Builder {
    /// Listens on an address; port 0 takes a free one.
    ///
    /// Without security, or with one that lets in clients which show nothing, an address that
    /// other machines can reach is logged as a warning: whoever reaches it is let in.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if none of the addresses can be listened on; [`Error::Config`] if a
    /// listener cannot have this security.
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
        self.security.as_ref().map(Security::check_listener).transpose()?;
        let mut failure = None;
        for addr in addr.to_socket_addrs()? {
            match Socket::listen(addr) {
                Ok(socket) => return Listener::start(self, socket),
                Err(e) => failure = Some(e),
            }
        }
        Err(failure.map_or_else(|| Error::Config("no address to listen on".into()), Error::from))
    }

    /// Listens on a socket that was made elsewhere: by a service manager that starts the
    /// server (systemd's socket activation), or with options of your own.
    ///
    /// Whoever keeps a handle of the socket keeps the port. While one server ends and the
    /// next one starts, clients are not refused: they wait in the socket's queue.
    ///
    /// # Notes
    ///
    /// The socket becomes non-blocking, for all handles of it, and its queue as long as that of
    /// [`bind`](Builder::bind).
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the socket cannot listen; [`Error::Config`] if a listener cannot have
    /// this security.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::Connection;
    /// use std::net::TcpListener;
    /// use std::thread;
    ///
    /// let socket = TcpListener::bind("127.0.0.1:0")?;
    /// let address = socket.local_addr()?;
    /// let client = thread::spawn(move || Connection::connect(address));
    /// // However late it starts, the client waits.
    /// let listener = Connection::builder().listen(socket)?;
    /// let connection = listener.accept()?;
    /// # drop(client.join());
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn listen(self, socket: TcpListener) -> Result<Listener> {
        self.security.as_ref().map(Security::check_listener).transpose()?;
        Listener::start(self, Socket::inherit(socket)?)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// The connections of a [`Listener`]; see [`Listener::incoming`].
///
/// # Examples
///
/// ```
/// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
/// let mut clients: longlink::Accepted<'_> = listener.incoming();
/// listener.close();
/// assert!(clients.next().is_none());
/// # Ok::<(), longlink::Error>(())
/// ```
#[derive(Debug)]
pub struct Accepted<'a> {
    listener: Option<&'a Listener>,
}

impl Iterator for Accepted<'_> {
    type Item = Result<Connection>;

    fn next(&mut self) -> Option<Result<Connection>> {
        let error = match self.listener?.accept() {
            Ok(connection) => return Some(Ok(connection)),
            Err(error) => error,
        };
        self.listener = None;
        (!error.is_final()).then_some(Err(error))
    }
}
