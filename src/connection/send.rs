//! Sending: messages are fed to the protocol while the window has room, and written.

use std::time::Duration;

use bytes::Bytes;

use super::Connection;
use crate::error::{Error, Result};
use crate::foreign;
use crate::link::{Patience, State, Waiter};
use crate::proto::report::{Output, Payload};

/// More ways to send.
impl Connection {
    /// [`send`](Connection::send) of a message that is kept without being copied:
    /// `Bytes`, or what becomes such by itself, as a `Vec<u8>` or a `String` does.
    ///
    /// It is dropped when nothing needs it any more, by any thread that uses the
    /// connection or by the heartbeat thread. If it has an
    /// [owner](Bytes::from_owner), the owner's drop may do what an
    /// [event callback](crate::Builder::on_event) may.
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
        self.submit(Patience::Forever, Payload::Owned(message.into())).map(drop)
    }

    /// [`send`](Connection::send) that does not block.
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
    ///     // No message is received, so the window is full soon: drop what does not fit.
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
        self.submit(Patience::None, Payload::Slice(message.as_ref())).map(drop)
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
        self.submit(Patience::For(timeout), Payload::Slice(message.as_ref())).map(drop)
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
        self.append_message(Payload::Slice(message.as_ref()))
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
        self.append_message(Payload::Owned(message.into()))
    }

    /// Writes everything that was fed so far. Never blocks: what the socket does not take at once,
    /// and what has no link at the moment, is written as soon as it can be.
    ///
    /// As with [`send`](Connection::send), the heartbeat thread may be left to
    /// write it, some 200 µs later, from the third flush in a row on, until this connection
    /// waits for the peer. So a process that is about to exit calls [`close`](Connection::close).
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
        let state = self.shared.lock_to_send();
        let result = state.check();
        state.post();
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
        self.shared.lock().wait(Waiter::Other, Patience::For(timeout), |state| {
            let target = *target.get_or_insert(state.protocol.status().totals.messages_sent);
            match state.protocol.status().acknowledged_messages() >= target {
                true => Some(Ok(())),
                false => state.check().err().map(Err),
            }
        })
    }

    /// Ends this direction: the peer's [`recv`](Connection::recv) returns
    /// `Ok(None)` once it has received everything. Receiving goes on.
    /// Does not block; a second time it does nothing.
    ///
    /// Sends that wait for room fail with [`Finished`](crate::Error::Finished): at once, but for
    /// one that reads meanwhile and finds out with what the peer says next.
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
            state.finish();
        }
        state.settle();
        result
    }

    /// Feeds a message, and sees to it that it is written. Returns its number.
    pub(super) fn submit(&self, patience: Patience, message: Payload<'_>) -> Result<u64> {
        let mut state = self.shared.lock_to_send();
        let result = match offer(&mut state, &message) {
            Some(Ok(number)) => {
                state.post();
                Ok(number)
            }
            Some(result) => {
                drop(state);
                result
            }
            None => state.wait(Waiter::Other, patience, |state| offer(state, &message)),
        };
        discard(message);
        result
    }

    fn append_message(&self, message: Payload<'_>) -> Result<()> {
        let result = self.append(|state| offer(state, &message));
        discard(message);
        result.map(drop)
    }

    /// Feeds what is to be written later.
    pub(super) fn append<T>(
        &self,
        mut feed: impl FnMut(&mut State) -> Option<Result<T>>,
    ) -> Result<T> {
        let mut state = self.shared.lock();
        if let Some(result) = feed(&mut state) {
            // A whole batch does not wait for more, so that the peer has work
            // before the window is full.
            if state.protocol.output() == Output::Batch {
                state.settle();
            }
            return result;
        }
        state.wait(Waiter::Other, Patience::Forever, feed)
    }
}

/// The application's part of it, which may have an owner.
fn discard(message: Payload<'_>) {
    if let Payload::Owned(bytes) = message {
        foreign::discard(bytes);
    }
}

/// Feeds a message if there is room, and returns its number; `None` if there is not.
#[inline]
fn offer(state: &mut State, message: &Payload<'_>) -> Option<Result<u64>> {
    let room = look_for_room(state, state.protocol.size(message.as_slice()))?;
    Some(room.map(|()| {
        state.protocol.feed(message);
        state.protocol.status().totals.sent_number()
    }))
}

/// Whether a message of that size may be fed; `None` if there is no room yet.
#[inline]
pub(super) fn look_for_room(state: &State, size: usize) -> Option<Result<()>> {
    if let Err(e) = state.check() {
        return Some(Err(e));
    }
    let status = state.protocol.status();
    if status.finished {
        return Some(Err(Error::Finished));
    }
    if size > status.max_message {
        return Some(Err(Error::TooLarge { size, limit: status.max_message }));
    }
    (status.room > 0).then_some(Ok(()))
}
