//! [`Connection`]: the handle that the user holds.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::config::{Builder, Heartbeat, Host, ToHosts};
use crate::dial::Dialler;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::keeper::{Keeper, Trade};
use crate::link::{Patience, Shared, State, Summons, Waiter};
use crate::net::USER_TIMEOUT;
use crate::proto::handshake::{Limits, Token};
use crate::proto::plain::Exchange;
use crate::proto::session::Session;
use crate::proto::talk::Talk;
use crate::protocol::Protocol;
use crate::retry::Budget;
use crate::sync::{self, Arc};

/// A long-lived connection that carries messages both ways and survives the
/// loss of its link.
///
/// All methods take `&self`: any number of threads may send and receive at
/// once. Messages of one thread stay in order.
///
/// Receiving a message acknowledges those handed out before, by any thread: an
/// application that comes back for the next one is done with the last. With
/// several receiving threads, or a queue behind one, acknowledgement therefore
/// comes before processing.
///
/// Dropping a connection closes it in the background, for at most the
/// [`close_timeout`](Builder::close_timeout), without blocking; a process that
/// exits first loses what was not sent by then, so call
/// [`close`](Connection::close) before. Dropped by a panic, it is
/// [aborted](Connection::abort), so that the peer does not take an unprocessed
/// message for a processed one.
///
/// # Examples
///
/// ```no_run
/// use longlink::Connection;
///
/// let connection = Connection::connect("127.0.0.1:6666")?;
/// connection.send(b"hello")?;
/// if let Some(reply) = connection.recv()? {
///     println!("{}", String::from_utf8_lossy(&reply));
/// }
/// connection.close()?;
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
    pub fn connect(addr: impl ToHosts) -> Result<Connection> {
        Connection::builder().connect(addr)
    }

    /// Settings for a connection or a listener.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Connection {
        Connection { shared }
    }

    pub(crate) fn open(builder: Builder, hosts: Vec<Host>) -> Result<Connection> {
        let now = sync::now();
        let limits = Limits { window: builder.window, max_message: builder.largest_message() };
        let Heartbeat { interval, misses } = builder.heartbeat;
        let (session, silence): (Talk, _) = match builder.plain {
            None => {
                let token = Token(sync::random()?);
                let session = Session::client(token, limits, interval, misses, now);
                (session.into(), interval.is_none().then_some(USER_TIMEOUT))
            }
            Some(plain) => {
                let exchange = Exchange::client(limits, plain.manners(interval), now);
                (exchange.into(), Some(interval.map_or(USER_TIMEOUT, |interval| interval * misses)))
            }
        };
        let summons = Arc::new(Summons::new()?);
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let shared = Arc::new(Shared::new(&builder, session, nowhere, 0, summons.clone(), None));
        let budget = Budget::new(builder.retry, now);
        let timeout = builder.connect_timeout;
        let dialler = Dialler::new(hosts, timeout, interval, silence, budget);
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
    /// Sends a message: feeds it, and writes everything fed so far.
    ///
    /// Returns when the message is in the memory from which it is written, and
    /// written again if need be; not when it has arrived. Blocks while the
    /// window is full, also through a reconnection.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] and [`Error::Finished`], which leave the connection
    /// as it is, and the final ones. In all of them the message was not taken.
    pub fn send(&self, message: &[u8]) -> Result<()> {
        self.submit(Patience::Forever, message.len(), |session| session.feed(message))
    }

    /// [`send`](Connection::send) of a message that is kept without being copied.
    ///
    /// # Errors
    ///
    /// As [`send`](Connection::send).
    pub fn send_bytes(&self, message: Bytes) -> Result<()> {
        self.submit(Patience::Forever, message.len(), |session| {
            session.feed_bytes(message.clone());
        })
    }

    /// [`send`](Connection::send) if it need not block.
    ///
    /// # Errors
    ///
    /// [`Error::WouldBlock`] if the window is full; else as [`send`](Connection::send).
    pub fn try_send(&self, message: &[u8]) -> Result<()> {
        self.submit(Patience::None, message.len(), |session| session.feed(message))
    }

    /// [`send`](Connection::send) that blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if the window stayed full; else as [`send`](Connection::send).
    pub fn send_timeout(&self, message: &[u8], timeout: Duration) -> Result<()> {
        self.submit(Patience::For(timeout), message.len(), |session| session.feed(message))
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
    pub fn feed(&self, message: &[u8]) -> Result<()> {
        self.append(message.len(), |session| session.feed(message))
    }

    /// [`feed`](Connection::feed) of a message that is kept without being copied.
    ///
    /// # Errors
    ///
    /// As [`send`](Connection::send).
    pub fn feed_bytes(&self, message: Bytes) -> Result<()> {
        self.append(message.len(), |session| session.feed_bytes(message.clone()))
    }

    /// Writes what was fed. Never blocks: what the socket does not take at
    /// once, and what has no link at the moment, is written as soon as it can be.
    ///
    /// # Errors
    ///
    /// The final ones: the connection is over.
    pub fn flush(&self) -> Result<()> {
        let state = self.shared.lock();
        let result = state.check();
        self.shared.settle(state);
        result
    }

    /// Waits until everything sent so far is acknowledged: the peer's
    /// application is done with it. At most for `timeout`.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], and the final ones.
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
    pub fn finish(&self) -> Result<()> {
        let mut state = self.shared.lock();
        let result = state.check();
        if result.is_ok() {
            state.session.finish();
        }
        self.shared.settle(state);
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

    fn append(&self, len: usize, mut feed: impl FnMut(&mut Talk)) -> Result<()> {
        let mut state = self.shared.lock();
        if let Some(result) = offer(&mut state, len, &mut feed) {
            // A whole batch does not wait for more, so that the peer has work
            // before the window is full.
            if state.session.has_urgent_output() {
                self.shared.settle(state);
            }
            return result;
        }
        drop(state);
        self.shared.wait(Waiter::Other, Patience::Forever, |state| offer(state, len, &mut feed))
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
    pub fn recv(&self) -> Result<Option<Bytes>> {
        self.receive(Patience::Forever)
    }

    /// [`recv`](Connection::recv) that blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], and the final ones.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<Bytes>> {
        self.receive(Patience::For(timeout))
    }

    /// [`recv`](Connection::recv) that does not block.
    ///
    /// # Errors
    ///
    /// [`Error::WouldBlock`] if nothing has come, and the final ones.
    pub fn try_recv(&self) -> Result<Option<Bytes>> {
        self.receive(Patience::None)
    }

    /// The messages, until the peer has finished or the connection is over.
    /// Each step is a [`recv`](Connection::recv). After an error it ends.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { connection: Some(self) }
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
    /// Ends the connection in order: [finishes](Connection::finish), and waits
    /// until the peer's application has taken everything. At most for the
    /// [`close_timeout`](Builder::close_timeout), through a reconnection too.
    ///
    /// What was handed out before is acknowledged, what was not is not: the
    /// peer learns how far this side has read. If both sides close and neither
    /// has read what the other sent, both therefore wait in vain, and err.
    ///
    /// Later sends fail with [`Error::Closed`]; what had arrived can still be
    /// received. Closing again only tells the result again. When it returns in
    /// time, the event callback has seen everything.
    ///
    /// # Errors
    ///
    /// The final ones, if not every message was acknowledged.
    pub fn close(&self) -> Result<()> {
        let timeout = self.shared.close_timeout();
        let until = sync::later(timeout);
        let mut state = self.shared.lock();
        state.leave(until);
        self.shared.settle(state);
        let ended = self.shared.wait(Waiter::Other, Patience::For(timeout), |state| {
            state.has_ended().then_some(Ok(()))
        });
        if ended.is_err() {
            let mut state = self.shared.lock();
            state.stop_closing();
            self.shared.settle(state);
        }
        // Our last word should arrive, but the verdict does not depend on it.
        let left = until.saturating_duration_since(sync::now());
        let _ = self.shared.wait(Waiter::Other, Patience::For(left), |state| {
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
    pub fn abort(&self) {
        // What the socket takes at once is not held back.
        let _ = self.flush();
        let mut state = self.shared.lock();
        state.abort();
        self.shared.settle(state);
    }

    /// After an error that ended the connection: the messages that were not
    /// acknowledged, in order. They may or may not have arrived. Empty before.
    pub fn take_unacknowledged(&self) -> Vec<Bytes> {
        let mut state = self.shared.lock();
        if state.has_ended() { state.session.take_unacknowledged() } else { Vec::new() }
    }
}

/// Looking.
impl Connection {
    /// The address at the other end of the present link, or of the last one.
    pub fn peer_addr(&self) -> SocketAddr {
        self.shared.lock().peer()
    }

    /// Whether there is a link at the moment, as far as this side can tell.
    pub fn is_connected(&self) -> bool {
        self.shared.lock().is_up()
    }

    /// What is spoken over this connection.
    pub fn protocol(&self) -> Protocol {
        self.shared.lock().session.protocol()
    }

    /// The largest message that both sides accept, in bytes. It can change
    /// when a session is lost and another server answers.
    pub fn max_message(&self) -> usize {
        self.shared.lock().session.max_message()
    }

    /// What has happened so far.
    pub fn stats(&self) -> Stats {
        self.shared.lock().stats()
    }

    /// Calls `callback` for the events of this connection, instead of the one
    /// given to [`Builder::on_event`], of which the same is true.
    pub fn on_event(&self, callback: impl Fn(Event) + Send + Sync + 'static) {
        let served = self.shared.lock().set_on_event(Arc::new(callback));
        drop(served);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.abort();
        }
        let mut state = self.shared.lock();
        // After an abort that does nothing.
        state.leave(sync::later(self.shared.close_timeout()));
        state.forsake();
        self.shared.settle(state);
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

/// Counters and times of a [`Connection`], over all its links.
///
/// # Examples
///
/// ```no_run
/// # let connection = longlink::Connection::connect("127.0.0.1:6666")?;
/// let stats = connection.stats();
/// match (stats.lost_since, stats.last_heard) {
///     (Some(since), _) => println!("no link for {:?}", since.elapsed()),
///     (None, Some(at)) => println!("the peer was heard {:?} ago", at.elapsed()),
///     (None, None) => println!("not connected yet"),
/// }
/// # Ok::<(), longlink::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages that were sent, written or not.
    pub messages_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Messages that were handed out.
    pub messages_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Messages that were written again on a later link.
    pub replayed: u64,
    /// Messages over [plain text](Protocol::Plain) that were written to a link
    /// which was lost, and not answered.
    pub unanswered: u64,
    /// Links regained.
    pub reconnects: u64,
    /// How often the peer no longer knew the session.
    pub sessions_lost: u64,
    /// From the last heartbeat's ping to its pong.
    pub last_round_trip: Option<Duration>,
    /// Messages sent and not acknowledged yet.
    pub unacknowledged: u64,
    /// When the present link came up; `None` while there is none.
    pub connected_since: Option<Instant>,
    /// When the link was lost; `None` while there is one, and before the first.
    pub lost_since: Option<Instant>,
    /// When bytes were last read from the peer, over any link: a message, an
    /// acknowledgement or a heartbeat. With [heartbeats](Heartbeat::every) a live
    /// peer is heard at least once in an interval, or a little more.
    pub last_heard: Option<Instant>,
}
