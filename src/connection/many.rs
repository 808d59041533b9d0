//! Many small messages by one call: what a call costs beyond the message itself
//! (the lock, above all, which the other threads want as well) is paid once.

use bytes::Bytes;

use super::{Connection, offer};
use crate::error::Result;
use crate::link::{Patience, State, Waiter};

/// A call that has fed so many bytes returns, so that others get their turn.
const ENOUGH: usize = 64 * 1024;

/// Many at once.
impl Connection {
    /// Feeds several messages, in order, and returns how many were taken: at
    /// least the first, and those behind it as far as there is room for them
    /// at once. So a long list takes several calls. No other thread's message
    /// comes between those of one call.
    ///
    /// Like [`feed`](Connection::feed) it does not write them yet, and blocks
    /// while there is no room for the first. An empty list is taken at once.
    /// Asks each message for its bytes while it holds the connection, which
    /// `as_ref` therefore must not use.
    ///
    /// # Errors
    ///
    /// As [`feed`](Connection::feed), about the first message: of those given,
    /// none was taken. A message that is too large ends the call before it, and
    /// fails the next, of which it is the first.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// let mut rest = &["one", "two", "three"][..];
    /// while !rest.is_empty() {
    ///     rest = &rest[client.feed_many(rest)?..];
    /// }
    /// client.flush()?;
    /// assert_eq!(server.recv()?.as_deref(), Some(&b"one"[..]));
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn feed_many<M: AsRef<[u8]>>(&self, messages: &[M]) -> Result<usize> {
        let Some((first, rest)) = messages.split_first() else { return Ok(0) };
        self.append(|state| {
            let first = first.as_ref();
            let fed = offer(state, first.len(), &mut |session| session.feed(first))?;
            Some(fed.map(|()| 1 + feed_what_fits(state, rest)))
        })
    }

    /// Receives what has come: appends to `messages` at least one and at most
    /// `most` (of which 0 counts as 1), and returns how many; 0 only once the
    /// peer has finished. Blocks like [`recv`](Connection::recv) until there is
    /// one, and does not wait for more.
    ///
    /// Acknowledges what was handed out before, and the next call that receives
    /// acknowledges all of these together. Until then they count in the peer's
    /// window: with a `most` that stands for a part of it, the peer goes on
    /// sending while these are worked on.
    ///
    /// # Errors
    ///
    /// As [`recv`](Connection::recv); nothing was appended.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// # client.feed_many(&["one", "two"])?;
    /// # client.finish()?;
    /// let mut messages = Vec::new();
    /// while server.recv_many(&mut messages, 1000)? > 0 {
    ///     println!("{} messages, the first is {:?}", messages.len(), messages[0]);
    ///     messages.clear();
    /// }
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn recv_many(&self, messages: &mut Vec<Bytes>, most: usize) -> Result<usize> {
        let mut entered = false;
        self.shared.wait(Waiter::Receiver, Patience::Forever, |state| {
            state.receive_many(!std::mem::replace(&mut entered, true), messages, most)
        })
    }
}

/// Feeds the messages that there is room for, and returns how many.
fn feed_what_fits<M: AsRef<[u8]>>(state: &mut State, messages: &[M]) -> usize {
    let session = &mut state.session;
    let limit = session.max_message();
    let (mut fed, mut bytes) = (0, 0);
    for message in messages {
        let message = message.as_ref();
        if message.len() > limit || bytes >= ENOUGH || !session.has_room() {
            break;
        }
        session.feed(message);
        fed += 1;
        bytes += message.len();
    }
    fed
}
