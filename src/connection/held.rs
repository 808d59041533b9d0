//! [`Held`]: a message that is done with by itself, for a pool of threads.

use std::fmt;
use std::ops::Deref;
use std::sync::Weak;

use bytes::Bytes;

use super::Connection;
use crate::error::Result;
use crate::link::{Patience, Shared};
use crate::sync::Arc;

/// A message that is acknowledged when its holder is [done](Held::done) with it; see
/// [`Connection::recv_held`]. It dereferences to the message.
///
/// Dropped without `done`, it was not processed, and is never acknowledged, nor is what came
/// behind it: no thread receives any more. Since the peer would sooner or later wait for
/// that in vain, the connection ends, as by the drop of its last handle: it closes in the
/// background, and delivers what was sent before. Dropped by a panic, it
/// [aborts](Connection::abort) the connection. The peer finds the
/// message among its [unacknowledged](Connection::take_unacknowledged) ones. So a message
/// that is not to be processed, since it makes no sense or comes too late, is `done`, too.
///
/// It is no handle of the connection: it does not keep that open.
///
/// # Examples
///
/// ```
/// use longlink::{Connection, Held};
///
/// fn work(connection: &Connection, request: Held) -> longlink::Result<()> {
///     connection.send(request.to_ascii_uppercase())?; // an error here acknowledges nothing
///     request.done();
///     Ok(())
/// }
/// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
/// # let client = Connection::connect(listener.local_addr())?;
/// # let server = listener.accept()?;
/// # client.send("a")?;
/// # work(&server, server.recv_held()?.unwrap())?;
/// # assert_eq!(client.recv()?.as_deref(), Some(&b"A"[..]));
/// # Ok::<(), longlink::Error>(())
/// ```
#[must_use = "a message that is dropped and not done ends the connection"]
pub struct Held {
    message: Bytes,
    number: u64,
    /// Its place in what was received.
    place: u64,
    /// Until it is done.
    shared: Option<Weak<Shared>>,
}

/// Receiving for a pool of threads.
impl Connection {
    /// [`recv`](Connection::recv) of a message that is acknowledged when its holder is
    /// [done](Held::done) with it: by any thread, and in any order.
    ///
    /// For one thread that receives, and a pool of others that process. Acknowledged is at
    /// any time the longest row of messages, from the first on, that are all done with. So
    /// one that takes long holds back the acknowledgement of those behind it. What is
    /// received and not acknowledged counts in the [window](crate::Builder::window), which
    /// bounds how much the peer sends meanwhile. So the pool must be able to finish without
    /// receiving more.
    ///
    /// Coming back for the next message, its end, [`done`](Connection::done) and
    /// [`close`](Connection::close) say nothing of what is held: it is acknowledged if it is
    /// done before the connection has ended, and else not. So end the pool before
    /// `close`. After a [lost session](crate::Event::SessionLost), what was held before
    /// counts in the window until it is done, and acknowledges nothing.
    ///
    /// Over [plain text](crate::Protocol::Plain) nothing is acknowledged.
    ///
    /// # Errors
    ///
    /// As [`recv`](Connection::recv); and [`Error::Closed`](crate::Error::Closed) once one
    /// was dropped that was not done.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::{Mutex, mpsc};
    /// use std::thread;
    /// # use longlink::{Connection, Listener};
    ///
    /// # fn serve(connection: &Connection) -> longlink::Result<()> {
    /// let (queue, requests) = mpsc::channel();
    /// let requests = Mutex::new(requests);
    /// thread::scope(|scope| {
    ///     for _ in 0..4 {
    ///         scope.spawn(|| -> longlink::Result<()> {
    ///             loop {
    ///                 let Ok(request) = requests.lock().unwrap().recv() else { return Ok(()) };
    ///                 let request: longlink::Held = request;
    ///                 connection.send(request.to_ascii_uppercase())?;
    ///                 request.done();
    ///             }
    ///         });
    ///     }
    ///     while let Some(request) = connection.recv_held()? {
    ///         let _ = queue.send(request);
    ///     }
    ///     drop(queue); // the workers finish what is left
    ///     Ok(())
    /// })
    /// # }
    /// # let listener = Listener::bind("127.0.0.1:0")?;
    /// # let client = Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// # client.send("a")?;
    /// # client.finish()?;
    /// # serve(&server)?;
    /// # server.finish()?;
    /// # assert_eq!(client.recv()?.as_deref(), Some(&b"A"[..]));
    /// # client.close()?;
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn recv_held(&self) -> Result<Option<Held>> {
        self.receive_by(Patience::Forever, |state| {
            let received = state.receive()?;
            let number = state.protocol.status().totals.received_number();
            Some(received.map(|message| {
                let message = message?;
                let place = state.protocol.hold(message.len());
                Some(Held { message, number, place, shared: Some(Arc::downgrade(&self.shared)) })
            }))
        })
    }
}

impl Held {
    /// The number of the message, as [`recv_numbered`](Connection::recv_numbered) tells it.
    ///
    /// A pool is done with messages in any order. So to process each [exactly
    /// once](crate#exactly-once), the last number is not enough: the application keeps that
    /// of every message which it has processed, with its effect, or processes them in their
    /// order.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let address = listener.local_addr();
    /// let client = longlink::Connection::builder().first_number(43).connect(address)?;
    /// # let server = listener.accept()?;
    /// client.send("first")?;
    /// let first = server.recv_held()?.unwrap();
    /// assert_eq!(first.number(), 43);
    /// first.done();
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Says that the application is done with this message. Does not block.
    ///
    /// What was [sent](Connection::send) before is written before the acknowledgement. After the
    /// end of the connection it does nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// client.send("first")?;
    /// client.send("second")?;
    /// let (first, second) = (server.recv_held()?.unwrap(), server.recv_held()?.unwrap());
    /// second.done(); // acknowledged together with the first
    /// first.done();
    /// client.sync(std::time::Duration::from_secs(5))?;
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn done(mut self) {
        if let Some(shared) = self.shared.take().and_then(|shared| shared.upgrade()) {
            let mut state = shared.lock();
            state.done_with(self.place);
            state.settle();
        }
    }
}

impl Deref for Held {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.message
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.message).finish()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take().and_then(|shared| shared.upgrade()) {
            let mut state = shared.lock();
            state.leave();
            if std::thread::panicking() {
                state.settle_within();
                state.abort();
            } else {
                state.detach(false);
            }
            state.settle();
        }
    }
}
