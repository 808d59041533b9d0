//! [`Connection`]: the handle that the user holds.

mod callback;
mod handles;
mod many;

pub use many::Taken;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use crate::config::Builder;
use crate::dial::Dialler;
use crate::error::{Error, Result};
use crate::foreign;
use crate::heartbeat::Heartbeat;
use crate::host::ToHosts;
use crate::keeper::{Keeper, Trade};
use crate::link::{Patience, Shared, State, Summons, Waiter};
use crate::proto::handshake::{Limits, Token};
use crate::proto::plain::Exchange;
use crate::proto::session::Session;
use crate::proto::talk::Talk;
use crate::protocol::Protocol;
use crate::retry::Budget;
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
/// acknowledgement therefore comes before processing.
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
        let hosts = addr.to_hosts()?;
        if hosts.is_empty() {
            return Err(Error::Config("there is no host to connect to".into()));
        }
        if foreign::is_running() {
            return Err(Error::WouldBlock);
        }
        let now = sync::now();
        let limits = Limits { window: self.window, max_message: self.largest_message() };
        let Heartbeat { interval, misses } = self.heartbeat;
        let session: Talk = match self.plain {
            None => {
                let token = Token(sync::random()?);
                Session::client(token, limits, interval, misses, now).into()
            }
            Some(plain) => Exchange::client(limits, plain.manners(interval), now).into(),
        };
        let summons = Arc::new(Summons::new()?);
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let shared = Arc::new(Shared::new(self.terms(None), session, nowhere, 0, summons.clone()));
        let budget = Budget::new(self.retry, now);
        let timeout = self.connect_timeout;
        let dialler = Dialler::new(hosts, timeout, self.heartbeat, budget);
        let mut keeper = Keeper::new(summons, Trade::Client(Box::new(dialler)));
        keeper.adopt(shared.clone());
        sync::spawn("longlink-keeper", move || keeper.run())?;
        let connection = Connection::new(shared);
        connection.shared.wait(Waiter::Other, Patience::Forever, |state| {
            match state.has_connected() {
                true => Some(Ok(())),
                false => state.check().err().map(Err),
            }
        })?;
        Ok(connection)
    }
}

/// Sending.
impl Connection {
    /// Sends a message: feeds it, and has everything fed so far written: at once,
    /// on this thread, but from the third message in a row on by the heartbeat
    /// thread, which writes together what piles up while it wakes and writes. No
    /// message waits for a clock or for another. A row ends when this connection
    /// waits for the peer.
    ///
    /// Returns when the message is in the memory from which it is written, and
    /// written again if need be; not when it has arrived. Blocks while the
    /// window is full, also through a reconnection.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] and [`Error::Finished`], which leave the connection
    /// as it is, and the final ones. In all of them the message was not taken.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// client.send("first")?; // or anything else that is bytes
    /// client.send(b"")?; // an empty message is one, too
    /// assert_eq!(server.recv()?.as_deref(), Some(&b"first"[..]));
    /// assert_eq!(server.recv()?.as_deref(), Some(&b""[..]));
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn send(&self, message: impl AsRef<[u8]>) -> Result<()> {
        self.submit_slice(Patience::Forever, message.as_ref())
    }

    /// [`send`](Connection::send) of a message that is kept without being copied:
    /// `Bytes`, or what becomes such by itself, as a `Vec<u8>` or a `String` does.
    ///
    /// It is dropped when nothing needs it any more, by any thread that uses the
    /// connection or by the heartbeat thread. If it has an
    /// [owner](Bytes::from_owner), the owner's drop may do what an
    /// [event callback](Builder::on_event) may.
    ///
    /// # Errors
    ///
    /// As [`send`](Connection::send).
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::Bytes;
    ///
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// let image = Bytes::from(vec![0; 100_000]);
    /// client.send_bytes(image.clone())?; // counts a reference, copies nothing
    /// client.send_bytes(format!("{} bytes", image.len()))?;
    /// assert_eq!(server.recv()?, Some(image));
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn send_bytes(&self, message: impl Into<Bytes>) -> Result<()> {
        self.submit_bytes(message.into())
    }

    /// [`send`](Connection::send) if it need not block.
    ///
    /// # Errors
    ///
    /// [`Error::WouldBlock`] if the window is full; else as [`send`](Connection::send).
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::{Connection, Error, Listener};
    ///
    /// let listener = Connection::builder().window(1024).bind("127.0.0.1:0")?;
    /// let client = Connection::connect(listener.local_addr())?;
    /// let reading = loop {
    ///     // Nobody receives, so the window is full soon: drop what does not fit.
    ///     match client.try_send(b"23.5") {
    ///         Ok(()) => {}
    ///         Err(Error::WouldBlock) => break "dropped",
    ///         Err(e) => return Err(e),
    ///     }
    /// };
    /// # assert_eq!(reading, "dropped");
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn try_send(&self, message: impl AsRef<[u8]>) -> Result<()> {
        self.submit_slice(Patience::None, message.as_ref())
    }

    /// [`send`](Connection::send) that blocks for at most `timeout`.
    ///
    /// May end late, see [Blocking](crate#blocking).
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if the window stayed full; else as [`send`](Connection::send).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use longlink::{Connection, Error, Listener};
    ///
    /// let listener = Connection::builder().window(1).bind("127.0.0.1:0")?;
    /// let client = Connection::connect(listener.local_addr())?;
    /// client.send(b"1")?;
    /// let result = client.send_timeout(b"2", Duration::from_millis(5));
    /// assert!(matches!(result, Err(Error::TimedOut)));
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn send_timeout(&self, message: impl AsRef<[u8]>, timeout: Duration) -> Result<()> {
        self.submit_slice(Patience::For(timeout), message.as_ref())
    }

    /// Appends a message without writing it yet, so that many small ones go
    /// out together with [`flush`](Connection::flush).
    ///
    /// A fed message is also written along with whatever is written next, and
    /// before this connection waits for anything. Blocks while the window is
    /// full.
    ///
    /// # Errors
    ///
    /// As [`send`](Connection::send).
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// for n in 0..100_u32 {
    ///     client.feed(n.to_be_bytes())?;
    /// }
    /// client.flush()?;
    /// assert_eq!(server.incoming().take(100).count(), 100);
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn feed(&self, message: impl AsRef<[u8]>) -> Result<()> {
        self.append_slice(message.as_ref())
    }

    /// [`feed`](Connection::feed) of a message that is kept without being copied,
    /// as [`send_bytes`](Connection::send_bytes) keeps it.
    ///
    /// # Errors
    ///
    /// As [`send`](Connection::send).
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::Bytes;
    ///
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// client.feed_bytes(Bytes::from_static(b"head"))?;
    /// client.feed_bytes(vec![0; 10_000])?;
    /// client.flush()?;
    /// assert_eq!(server.recv()?.as_deref(), Some(&b"head"[..]));
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn feed_bytes(&self, message: impl Into<Bytes>) -> Result<()> {
        self.append_bytes(message.into())
    }

    /// Has what was fed written. Never blocks: what the socket does not take at
    /// once, and what has no link at the moment, is written as soon as it can be.
    ///
    /// As with [`send`](Connection::send), the heartbeat thread may be left to
    /// write it from the third flush in a row on, until this connection waits for
    /// the peer. So a process that is about to exit calls [`close`](Connection::close).
    ///
    /// # Errors
    ///
    /// The final ones: the connection is over.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// client.feed(b"two")?;
    /// client.feed(b"together")?;
    /// client.flush()?;
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn flush(&self) -> Result<()> {
        let state = self.shared.lock();
        let result = state.check();
        self.shared.post(state);
        result
    }

    /// Waits until everything sent so far is acknowledged: the peer's
    /// application is done with it. At most for `timeout`.
    ///
    /// An acknowledgement comes behind all that the peer sent before it. If that is more
    /// than the window holds, it comes only when messages are received meanwhile.
    ///
    /// May end late, see [Blocking](crate#blocking).
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], and the final ones.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// client.send(b"a payment")?;
    /// let teller = std::thread::spawn(move || {
    ///     let payment = server.recv();
    ///     // ... book it, and then say so by asking for the next one:
    ///     (payment, server.recv())
    /// });
    /// client.sync(Duration::from_secs(5))?; // it is booked
    /// client.finish()?;
    /// # assert!(teller.join().unwrap().1?.is_none());
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn sync(&self, timeout: Duration) -> Result<()> {
        let mut target = None;
        self.shared.wait(Waiter::Other, Patience::For(timeout), |state| {
            let target = *target.get_or_insert(state.session.totals().messages_sent);
            match state.session.acknowledged() >= target {
                true => Some(Ok(())),
                false => state.check().err().map(Err),
            }
        })
    }

    /// Ends this direction: the peer's [`recv`](Connection::recv) returns
    /// `Ok(None)` once it has received everything. Receiving goes on.
    /// Does not block; a second time it does nothing.
    ///
    /// # Errors
    ///
    /// The final ones.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// client.send(b"a question, and no other")?;
    /// client.finish()?;
    /// assert!(server.recv()?.is_some());
    /// assert!(server.recv()?.is_none());
    /// server.send(b"the answer")?;
    /// assert!(client.recv()?.is_some());
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn finish(&self) -> Result<()> {
        let mut state = self.shared.lock();
        let result = state.check();
        if result.is_ok() {
            state.session.finish();
        }
        self.shared.settle(state);
        result
    }

    fn submit_slice(&self, patience: Patience, message: &[u8]) -> Result<()> {
        self.submit(patience, message.len(), |session| session.feed(message))
    }

    fn submit_bytes(&self, message: Bytes) -> Result<()> {
        let result = self.submit(Patience::Forever, message.len(), |session| {
            session.feed_bytes(message.clone());
        });
        foreign::discard(message);
        result
    }

    fn append_slice(&self, message: &[u8]) -> Result<()> {
        self.append(|state| offer(state, message.len(), &mut |session| session.feed(message)))
    }

    fn append_bytes(&self, message: Bytes) -> Result<()> {
        let mut feed = |session: &mut Talk| session.feed_bytes(message.clone());
        let result = self.append(|state| offer(state, message.len(), &mut feed));
        foreign::discard(message);
        result
    }

    fn submit(
        &self,
        patience: Patience,
        len: usize,
        mut feed: impl FnMut(&mut Talk),
    ) -> Result<()> {
        let mut state = self.shared.lock();
        if let Some(result) = offer(&mut state, len, &mut feed) {
            match result {
                Ok(()) => self.shared.post(state),
                Err(_) => drop(state),
            }
            return result;
        }
        drop(state);
        self.shared.wait(Waiter::Other, patience, |state| offer(state, len, &mut feed))
    }

    fn append<T>(&self, mut feed: impl FnMut(&mut State) -> Option<Result<T>>) -> Result<T> {
        let mut state = self.shared.lock();
        if let Some(result) = feed(&mut state) {
            // A whole batch does not wait for more, so that the peer has work
            // before the window is full.
            if state.session.fills_batch() {
                self.shared.settle(state);
            }
            return result;
        }
        drop(state);
        self.shared.wait(Waiter::Other, Patience::Forever, feed)
    }
}

/// Feeds a message if there is room; `None` if there is not.
fn offer(state: &mut State, len: usize, feed: &mut impl FnMut(&mut Talk)) -> Option<Result<()>> {
    if let Err(e) = state.check() {
        return Some(Err(e));
    }
    if state.session.is_finished() {
        return Some(Err(Error::Finished));
    }
    let limit = state.session.max_message();
    if len > limit {
        return Some(Err(Error::TooLarge { size: len, limit }));
    }
    state.session.has_room().then(|| {
        feed(&mut state.session);
        Ok(())
    })
}

/// Receiving.
impl Connection {
    /// The next message, or `Ok(None)` once the peer has finished. Blocks as
    /// long as the peer lives and says nothing, also through a reconnection.
    ///
    /// Acknowledges the messages that were handed out before. Small ones that
    /// came together share a piece of memory of at most 4 KiB, which stays as
    /// long as one of them is kept.
    ///
    /// # Errors
    ///
    /// The final ones; what had arrived is handed out first.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// client.send(b"hello")?;
    /// client.finish()?;
    /// while let Some(message) = server.recv()? {
    ///     assert_eq!(message, "hello");
    /// }
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn recv(&self) -> Result<Option<Bytes>> {
        self.receive(Patience::Forever)
    }

    /// [`recv`](Connection::recv) that blocks for at most `timeout`.
    ///
    /// May end late, see [Blocking](crate#blocking).
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], and the final ones.
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
    /// let result = client.recv_timeout(Duration::from_millis(5));
    /// assert!(matches!(result, Err(Error::TimedOut)));
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<Bytes>> {
        self.receive(Patience::For(timeout))
    }

    /// [`recv`](Connection::recv) that does not block.
    ///
    /// # Errors
    ///
    /// [`Error::WouldBlock`] if nothing has come, and the final ones.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::Error;
    ///
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// assert!(matches!(client.try_recv(), Err(Error::WouldBlock)));
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn try_recv(&self) -> Result<Option<Bytes>> {
        self.receive(Patience::None)
    }

    /// The messages, until the peer has finished or the connection is over.
    /// Each step is a [`recv`](Connection::recv). After an error it ends.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// client.send(b"one")?;
    /// client.send(b"two")?;
    /// client.finish()?;
    /// let mut lengths = Vec::new();
    /// for message in server.incoming() {
    ///     lengths.push(message?.len());
    /// }
    /// assert_eq!(lengths, [3, 3]);
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { connection: Some(self) }
    }

    /// Says that the application is done with all messages that it was handed, as
    /// coming back for the next one does. Does not block.
    ///
    /// For a handler that receives, replies and returns: what it was handed is not
    /// acknowledged by dropping the connection.
    ///
    /// # Examples
    ///
    /// ```
    /// # use longlink::{Connection, Listener};
    /// fn answer(connection: Connection) -> longlink::Result<()> {
    ///     if let Some(question) = connection.recv()? {
    ///         connection.send(&question)?; // an error here acknowledges nothing
    ///         connection.done();
    ///     }
    ///     Ok(())
    /// }
    /// # let listener = Listener::bind("127.0.0.1:0")?;
    /// # let client = Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// # client.send(b"?")?;
    /// # answer(server)?;
    /// # assert_eq!(client.recv()?.as_deref(), Some(&b"?"[..]));
    /// # client.close()?;
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn done(&self) {
        let mut state = self.shared.lock();
        state.done();
        self.shared.settle(state);
    }

    fn receive(&self, patience: Patience) -> Result<Option<Bytes>> {
        let mut entered = false;
        self.shared.wait(Waiter::Receiver, patience, |state| {
            state.receive(!std::mem::replace(&mut entered, true))
        })
    }
}

/// Ending.
impl Connection {
    /// Ends the connection in order: [finishes](Connection::finish), and blocks
    /// until the peer's application has taken everything.
    ///
    /// It survives what the open connection would survive: an outage, for as long as
    /// a client has attempts left, or a server [keeps the
    /// session](Builder::resume_within); and a slow path on which messages move.
    /// While there is a link and nothing moves, since the peer's application takes
    /// nothing, it waits for the [`close_timeout`](Builder::close_timeout) (and up to
    /// an eighth of it more), on as many links as it takes. So long it also waits for a
    /// link if it would wait for ever, as with [unlimited](crate::RetryPolicy::unlimited)
    /// attempts, and every message is acknowledged. The parting that follows takes at
    /// most as long again.
    /// [`close_within`](Connection::close_within) bounds the call whatever happens.
    ///
    /// What was handed out before is acknowledged, what was not is not: the
    /// peer learns how far this side has read. If both sides close and neither
    /// has read what the other sent, both therefore wait in vain, and err.
    ///
    /// Later sends fail with [`Error::Closed`]; what had arrived can still be
    /// received. Further calls return the same result. When it returns, the peer
    /// knows of the end or cannot be told, and the event callback has seen
    /// everything, unless that took longer than the `close_timeout`.
    ///
    /// # Errors
    ///
    /// The final ones, if not every message was acknowledged; and [`Error::GaveUp`] if
    /// all were, but the attempts are spent and the end could not be told.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// client.send(b"the last word")?;
    /// let handler = std::thread::spawn(move || -> longlink::Result<()> {
    ///     for message in server.incoming() {
    ///         message?;
    ///     }
    ///     server.close()
    /// });
    /// client.close()?; // the handler is done with the last word
    /// # handler.join().unwrap()?;
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn close(&self) -> Result<()> {
        self.end_in_order(None)
    }

    /// [`close`](Connection::close) that takes at most so long, whatever happens.
    ///
    /// May end late, see [Blocking](crate#blocking).
    ///
    /// # Errors
    ///
    /// As [`close`](Connection::close).
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
    /// client.send(b"nobody takes this")?;
    /// let closed = client.close_within(Duration::from_millis(20));
    /// assert!(matches!(closed, Err(Error::Closed { .. })));
    /// assert_eq!(client.take_unacknowledged(), ["nobody takes this"]);
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn close_within(&self, time: Duration) -> Result<()> {
        self.end_in_order(Some(time))
    }

    fn end_in_order(&self, within: Option<Duration>) -> Result<()> {
        let until = within.map(sync::later);
        let left = || until.map(|until| until.saturating_duration_since(sync::now()));
        let patience = self.shared.close_timeout();
        let mut state = self.shared.lock();
        state.leave(true, patience);
        self.shared.settle(state);
        let time = left().map_or(Patience::Forever, Patience::For);
        let ended =
            self.shared.wait(Waiter::Other, time, |state| state.has_ended().then_some(Ok(())));
        if let Err(Error::WouldBlock) = ended {
            // In the callback, whose thread is the one that closes.
            return ended;
        }
        if ended.is_err() {
            let mut state = self.shared.lock();
            state.stop_closing();
            self.shared.settle(state);
        }
        // Our last word should arrive, but the verdict does not depend on it.
        let time = left().map_or(patience, |left| left.min(patience));
        let _ = self.shared.wait(Waiter::Other, Patience::For(time), |state| {
            state.has_taken_leave().then_some(Ok(()))
        });
        let state = self.shared.lock();
        match state.check() {
            Err(e) if e.unacknowledged() == Some(0) && !matches!(e, Error::GaveUp { .. }) => Ok(()),
            result => result,
        }
    }

    /// Ends the connection at once, whatever is unacknowledged. The peer is
    /// told if it can be without waiting. Does not block.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::Error;
    ///
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// client.abort();
    /// assert!(matches!(client.send(b"too late"), Err(Error::Closed { .. })));
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn abort(&self) {
        // What the socket takes at once is not held back.
        let mut state = self.shared.settle_within(self.shared.lock());
        state.abort();
        self.shared.settle(state);
    }

    /// After an error that ended the connection: the messages that were not
    /// acknowledged, in order. They may or may not have arrived. Empty before.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// client.send(b"nobody received this")?;
    /// client.abort();
    /// assert_eq!(client.take_unacknowledged(), ["nobody received this"]);
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn take_unacknowledged(&self) -> Vec<Bytes> {
        let mut state = self.shared.lock();
        if state.has_ended() { state.session.take_unacknowledged() } else { Vec::new() }
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
    /// The peer is sent a ping, whether or not there are [heartbeats](Heartbeat). If
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
        self.shared.settle(state);
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
        match self.shared.lock().session {
            Talk::Framed(_) => Protocol::Framed,
            Talk::Plain(_) => Protocol::Plain,
        }
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
        self.shared.lock().session.max_message()
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

/// The messages of a [`Connection`]; see [`Connection::incoming`].
///
/// # Examples
///
/// ```
/// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
/// # let client = longlink::Connection::connect(listener.local_addr())?;
/// # let server = listener.accept()?;
/// client.finish()?;
/// let mut messages: longlink::Incoming<'_> = server.incoming();
/// assert!(messages.next().is_none());
/// # Ok::<(), longlink::Error>(())
/// ```
#[derive(Debug)]
pub struct Incoming<'a> {
    connection: Option<&'a Connection>,
}

impl Iterator for Incoming<'_> {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Result<Bytes>> {
        match self.connection?.recv() {
            Ok(Some(message)) => Some(Ok(message)),
            Ok(None) => {
                self.connection = None;
                None
            }
            Err(e) => {
                self.connection = None;
                Some(Err(e))
            }
        }
    }
}
