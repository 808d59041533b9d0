//! Numbers that outlive sessions and processes; see [the guide](crate#exactly-once).

use std::ops::Range;

use bytes::Bytes;

use super::Connection;
use crate::error::Result;
use crate::link::Patience;
use crate::proto::report::Payload;

/// Numbers that outlive sessions and processes.
impl Connection {
    /// What the client calls itself: at the server, the client of this connection; at the
    /// client, [itself](crate::Builder::client_id). `None` if the client says nothing of the
    /// kind, as over [plain text](crate::Protocol::Plain). Does not block.
    ///
    /// Without [security](crate#exactly-once) a client may have taken it from another.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::{Connection, Listener};
    ///
    /// let listener = Listener::bind("127.0.0.1:0")?;
    /// let id = *b"not so random id";
    /// let client = Connection::builder().client_id(id).connect(listener.local_addr())?;
    /// let server = listener.accept()?;
    /// assert_eq!(server.client_id(), Some(id));
    /// assert_eq!(client.client_id(), Some(id));
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn client_id(&self) -> Option<[u8; 16]> {
        let mut state = self.shared.lock();
        Some(state.protocol.framed()?.client_id()?.0)
    }

    /// [`send`](Connection::send), and the number that the message has for good: one more than
    /// that of the message before, whichever call or thread sent it. A client's first message
    /// has the [`first_number`](crate::Builder::first_number); a server counts from 1 in each
    /// session.
    ///
    /// The message keeps it when it is sent again, in the same session or in the next one.
    ///
    /// # Errors
    ///
    /// As [`send`](Connection::send): the message was not taken, and the next one that is
    /// has its number.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::{Connection, Listener};
    ///
    /// let listener = Listener::bind("127.0.0.1:0")?;
    /// let client = Connection::builder().first_number(43).connect(listener.local_addr())?;
    /// assert_eq!(client.send_numbered("one")?, 43);
    /// assert_eq!(client.send_numbered("two")?, 44);
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn send_numbered(&self, message: impl AsRef<[u8]>) -> Result<u64> {
        self.submit(Patience::Forever, Payload::Slice(message.as_ref()))
    }

    /// The number of the last message that is acknowledged, and with it all before: the
    /// peer's application is done with them, and they need not be kept any more. Before any
    /// is, it is the one before the first: of a client, `first_number - 1`. Does not block;
    /// [`sync`](Connection::sync) waits.
    ///
    /// When the connection is over, take what is left first: the messages that
    /// [`take_unacknowledged`](Connection::take_unacknowledged) returned have the numbers that
    /// follow this one, which stays from then on. Before, an answer of the peer may still add to
    /// it. Over [plain text](crate::Protocol::Plain), acknowledged means written.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// # std::thread::spawn(move || server.incoming().count());
    ///
    /// assert_eq!(client.acknowledged_number(), 0);
    /// let number = client.send_numbered("a payment")?;
    /// client.sync(Duration::from_secs(5))?;
    /// assert_eq!(client.acknowledged_number(), number); // and may be forgotten
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn acknowledged_number(&self) -> u64 {
        self.shared.lock().protocol.status().acknowledged_number()
    }

    /// [`recv`](Connection::recv), and the number of the message.
    ///
    /// Of a client, it is the one that [`send_numbered`](Connection::send_numbered) gave it:
    /// from 1 to 2^63 - 1, and within a connection always one more than the last. Between two
    /// connections of a [client](Connection::client_id) it may go back, since what was not
    /// acknowledged is sent again. What an application has to do is in
    /// [the guide](crate#exactly-once).
    ///
    /// Where the peer gives no numbers (a server, or a client without a
    /// [`client_id`](Connection::client_id)), it counts the messages of this connection from 1.
    ///
    /// # Errors
    ///
    /// As [`recv`](Connection::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// # client.send("a payment")?;
    /// # client.finish()?;
    /// let mut last = 0; // of this client, from a database
    /// while let Some((number, payment)) = server.recv_numbered()? {
    ///     if number <= last {
    ///         continue; // it is booked
    ///     }
    ///     assert_eq!(number, last + 1, "something is missing");
    ///     last = number; // in one transaction with the booking
    ///     println!("{payment:?} is booked");
    /// }
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn recv_numbered(&self) -> Result<Option<(u64, Bytes)>> {
        self.receive_by(Patience::Forever, |state| {
            let received = state.receive()?;
            let number = state.protocol.status().totals.received_number();
            Some(received.map(|message| Some((number, message?))))
        })
    }

    /// [`recv_many`](Connection::recv_many), and the numbers of the messages that were
    /// appended, in their order; none only once the peer has finished.
    ///
    /// Many messages in one transaction cost little more than one.
    ///
    /// # Errors
    ///
    /// As [`recv_many`](Connection::recv_many).
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
    /// loop {
    ///     let numbers = server.recv_many_numbered(&mut messages, 1000)?;
    ///     if numbers.is_empty() {
    ///         break;
    ///     }
    ///     for (number, message) in numbers.zip(messages.drain(..)) {
    ///         println!("{number}: {message:?}");
    ///     }
    /// }
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn recv_many_numbered(&self, messages: &mut Vec<Bytes>, most: usize) -> Result<Range<u64>> {
        self.receive_by(Patience::Forever, |state| {
            let received = state.receive_many(messages, most)?;
            let next = state.protocol.status().totals.received_number() + 1;
            Some(received.map(|count| next - count as u64..next))
        })
    }
}
