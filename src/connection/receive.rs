//! Receiving: what a message's receiver is done with is acknowledged when it comes back.

use std::time::Duration;

use bytes::Bytes;

use super::Connection;
use crate::error::Result;
use crate::link::{Patience, State, Waiter};

/// More ways to receive.
impl Connection {
    /// [`recv`](Connection::recv) that blocks for at most `timeout`.
    ///
    /// May end late, see [Blocking](crate#blocking).
    ///
    /// # Errors
    ///
    /// [`TimedOut`](crate::Error::TimedOut), and the final ones.
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
    /// [`WouldBlock`](crate::Error::WouldBlock) if nothing has come, and the final ones.
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
    /// coming back for the next one does, but for those that it
    /// [holds](Connection::recv_held). Does not block.
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
        state.settle();
    }

    pub(super) fn receive(&self, patience: Patience) -> Result<Option<Bytes>> {
        self.receive_by(patience, State::receive)
    }

    pub(super) fn receive_by<T>(
        &self,
        patience: Patience,
        receive: impl FnMut(&mut State) -> Option<Result<T>>,
    ) -> Result<T> {
        let mut state = self.shared.lock();
        state.come_back();
        state.wait(Waiter::Receiver, patience, receive)
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
        let next = self.connection?.recv().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.connection = None;
        }
        next
    }
}
