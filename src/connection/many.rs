//! Many small messages by one call: what a call costs beyond the message itself
//! (the lock, above all, which the other threads want as well) is paid once for
//! as many as [`PIECE`].

use bytes::Bytes;

use super::Connection;
use super::send::look_for_room;
use crate::error::Result;
use crate::foreign;
use crate::link::{Patience, State};
use crate::proto::cost::cost;
use crate::proto::report::Payload;

/// So many messages are fed without another thread's turn. Their bytes are asked
/// for before, since that may run code of the caller.
const PIECE: usize = 64;
/// No more are fed once those behind the first have so many bytes.
const ENOUGH: usize = 64 * 1024;

/// How many messages [`Connection::feed_some`] took.
///
/// # Examples
///
/// ```
/// use longlink::Taken;
///
/// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
/// # let client = longlink::Connection::connect(listener.local_addr())?;
/// let Taken(count) = client.feed_some(&["one", "two"])?;
/// assert_eq!(count, 2);
/// # Ok::<(), longlink::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the messages behind those that were taken are not sent"]
pub struct Taken(pub usize);

/// Many messages by one call.
impl Connection {
    /// Feeds several messages, all of them, in order.
    ///
    /// Like [`feed`](Connection::feed) it does not write them yet, and blocks
    /// while there is no room for the next. No other thread's message comes
    /// between those for which there is room at once, up to 64 messages and
    /// 64 KiB; between more, others may come.
    ///
    /// # Errors
    ///
    /// As [`feed`](Connection::feed). All sizes are looked at first: if one of the
    /// messages is too large, none was taken. Nor was any if the connection was
    /// over or finished before. What ends it while this call waits for room
    /// leaves a part taken, from the first message on: after a final error
    /// [`take_unacknowledged`](Connection::take_unacknowledged) has what of it was
    /// not acknowledged, and nothing of the rest.
    /// [`feed_some`](Connection::feed_some) tells how many were taken.
    /// In an [event callback](crate::Builder::on_event) it takes all or none, and returns
    /// [`WouldBlock`](crate::Error::WouldBlock).
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// client.feed_many(&["one", "two", "three"])?;
    /// client.flush()?;
    /// assert_eq!(server.recv()?.as_deref(), Some(&b"one"[..]));
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn feed_many<M: AsRef<[u8]>>(&self, messages: &[M]) -> Result<()> {
        if foreign::is_running() {
            return self.feed_all_or_none(messages);
        }
        let mut largest = largest(messages.iter().map(AsRef::as_ref));
        let mut rest = messages;
        while !rest.is_empty() {
            rest = &rest[self.feed_piece(rest, std::mem::take(&mut largest))?..];
        }
        Ok(())
    }

    /// Feeds the first of several messages, and those behind it for which there
    /// is room at once, up to 64 and 64 KiB. Returns how many were taken; the rest is the
    /// caller's. No other thread's message comes between them.
    ///
    /// For a caller that has to know, when the connection ends, what was taken
    /// until then; [`feed_many`](Connection::feed_many) takes all. It does not
    /// write them yet, and blocks while there is no room for the first. An empty
    /// list is taken at once.
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
    /// use longlink::Taken;
    ///
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// let mut rest = &["one", "two", "three"][..];
    /// while !rest.is_empty() {
    ///     let Taken(count) = client.feed_some(rest)?;
    ///     rest = &rest[count..]; // if the next call fails, these were not taken
    /// }
    /// client.flush()?;
    /// assert_eq!(server.recv()?.as_deref(), Some(&b"one"[..]));
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn feed_some<M: AsRef<[u8]>>(&self, messages: &[M]) -> Result<Taken> {
        self.feed_piece(messages, &[]).map(Taken)
    }

    /// Where nothing waits for room: of a part, the caller would not know how much it is.
    fn feed_all_or_none<M: AsRef<[u8]>>(&self, messages: &[M]) -> Result<()> {
        let messages: Vec<&[u8]> = messages.iter().map(AsRef::as_ref).collect();
        let Some((_, before)) = messages.split_last() else { return Ok(()) };
        let largest = largest(messages.iter().copied());
        let before: usize = before.iter().map(|message| cost(message.len())).sum();
        self.append(|state| {
            let room = look_for_room(state, state.protocol.size(largest))?;
            if room.is_ok() && before >= state.protocol.status().room {
                return None;
            }
            let feed = |message: &&[u8]| state.protocol.feed(&Payload::Slice(message));
            Some(room.map(|()| messages.iter().for_each(feed)))
        })
    }

    /// Feeds at least the first message, if there is one. Fails if that is too
    /// large, or `largest` is.
    fn feed_piece<M: AsRef<[u8]>>(&self, messages: &[M], largest: &[u8]) -> Result<usize> {
        let mut piece = [&[][..]; PIECE];
        let count = piece.len().min(messages.len());
        for (slice, message) in piece.iter_mut().zip(messages) {
            *slice = message.as_ref();
        }
        let Some((first, rest)) = piece[..count].split_first() else { return Ok(0) };
        self.append(|state| {
            let size = state.protocol.size(first).max(state.protocol.size(largest));
            let room = look_for_room(state, size)?;
            Some(room.map(|()| {
                state.protocol.feed(&Payload::Slice(first));
                1 + feed_what_fits(state, rest)
            }))
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
        self.receive_by(Patience::Forever, |state| state.receive_many(messages, most))
    }
}

/// The largest of them, also if each is to be a line.
fn largest<'a>(messages: impl Iterator<Item = &'a [u8]>) -> &'a [u8] {
    let size =
        |message: &&[u8]| (message.len() + usize::from(!message.ends_with(b"\n")), message.len());
    messages.max_by_key(size).unwrap_or_default()
}

/// Feeds the messages that there is room for, and returns how many.
fn feed_what_fits(state: &mut State, messages: &[&[u8]]) -> usize {
    let protocol = &mut state.protocol;
    let limit = protocol.status().max_message;
    let (mut fed, mut bytes) = (0, 0);
    for message in messages {
        if protocol.size(message) > limit || bytes >= ENOUGH || protocol.status().room == 0 {
            break;
        }
        protocol.feed(&Payload::Slice(message));
        fed += 1;
        bytes += message.len();
    }
    fed
}
