//! The four calls that most programs need.

use bytes::Bytes;

use super::Connection;
use crate::error::Result;
use crate::host::ToHosts;
use crate::link::Patience;
use crate::proto::report::Payload;

/// What most programs need.
impl Connection {
    /// Connects to a server with the default settings, and stays connected.
    ///
    /// Blocks until the first link is up. See [`Builder::connect`](crate::Builder::connect).
    ///
    /// # Errors
    ///
    /// As [`Builder::connect`](crate::Builder::connect).
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

    /// Sends a message.
    ///
    /// Returns when the message is in the memory of the connection, not when it has arrived. From
    /// there it is written, and written again after a lost link. Blocks while the
    /// [window](crate::Builder::window) is full, also while a lost link is made again.
    ///
    /// The message is written at once, on this thread, together with everything that was
    /// [fed](Connection::feed) before. When messages follow each other quickly, they are written
    /// together from the third on: by the thread that fills a batch (a quarter of the window, at
    /// most 256 KiB), or by the heartbeat thread some 200 µs later. This ends when fewer than 8
    /// messages are sent in that time, or when this connection waits for the peer. So no
    /// timer delays a lone message.
    ///
    /// # Errors
    ///
    /// [`TooLarge`](crate::Error::TooLarge) and [`Finished`](crate::Error::Finished), which leave
    /// the connection as it is, and the [final](crate::Error::is_final) ones. After each of them
    /// the message was not taken.
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
        self.submit(Patience::Forever, Payload::Slice(message.as_ref())).map(drop)
    }

    /// Receives the next message, or `Ok(None)` once the peer has [finished](Connection::finish).
    ///
    /// Blocks for as long as the peer is alive and sends nothing, also while a lost link is made
    /// again.
    ///
    /// Acknowledges the messages that were handed out before. Small messages that arrived together
    /// share a piece of memory of at most 4 KiB, which is freed when the last of them is dropped.
    ///
    /// # Errors
    ///
    /// The [final](crate::Error::is_final) ones. What had arrived is handed out first, unless the
    /// client has [another connection](crate::Cause::Replaced) now, where it sends that again.
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

    /// Closes the connection in order: [finishes](Connection::finish), and blocks until the peer's
    /// application has taken everything.
    ///
    /// How long it may block:
    ///
    /// * In an outage, for as long as an open connection would wait: a client until its attempts
    ///   are spent, a server until it no longer [keeps the session](crate::Builder::resume_within).
    /// * On a slow path, for as long as messages move.
    /// * On a link on which nothing moves, because the peer's application takes nothing, for the
    ///   [`close_timeout`](crate::Builder::close_timeout) and up to an eighth of it more, however
    ///   many links that takes.
    /// * Without a link, if every message is acknowledged, for the `close_timeout` as well, where
    ///   it would otherwise wait for ever: with [unlimited](crate::RetryPolicy::unlimited)
    ///   attempts, for as long as the session is [kept](crate::RetryPolicy::while_kept), or for a
    ///   server that [restarts](crate::Listener::restart).
    ///
    /// Then both sides take leave, which takes at most the `close_timeout` again.
    /// [`close_within`](Connection::close_within) bounds the whole call.
    ///
    /// What was handed out before is acknowledged, unless it is [held](Connection::recv_held). What
    /// was not handed out is not acknowledged: the peer learns how far this side has read. If both
    /// sides close and neither has read what the other sent, both wait in vain and return an error.
    ///
    /// While `close` blocks, sends fail with [`Finished`](crate::Error::Finished). Afterwards they
    /// fail with what ended the connection, such as [`Closed`](crate::Error::Closed). What had
    /// arrived can still be received. Further calls of `close` return the same result.
    ///
    /// When it returns, the peer knows of the end or cannot be told, and the event callback has
    /// seen every event, unless that took longer than the `close_timeout`.
    ///
    /// # Errors
    ///
    /// The [final](crate::Error::is_final) ones, if not every message was acknowledged. If all
    /// were: [`Refused`](crate::Error::Refused); and [`GaveUp`](crate::Error::GaveUp) or
    /// [`SessionLost`](crate::Error::SessionLost), if the peer could not be told of the end
    /// because the attempts are spent or the server no longer knows the session.
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
}
