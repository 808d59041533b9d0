//! Ending: in order, within a time, or at once.

use std::time::Duration;

use bytes::Bytes;

use super::Connection;
use crate::error::{Error, Result};
use crate::link::{Patience, State, Waiter};
use crate::proto::close::Refusal;
use crate::sync;

/// More ways to end.
impl Connection {
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

    pub(super) fn end_in_order(&self, within: Option<Duration>) -> Result<()> {
        let until = within.map(sync::later);
        let left = || until.map(|until| until.saturating_duration_since(sync::now()));
        let mut state = self.shared.lock();
        let patience = state.close_timeout();
        state.detach(true);
        let time = left().map_or(Patience::Forever, Patience::For);
        let ended = state.wait(Waiter::Other, time, |state| state.has_ended().then_some(Ok(())));
        if let Err(Error::WouldBlock) = ended {
            // In the callback, whose thread is the one that closes.
            return ended;
        }
        if ended.is_err() {
            let mut state = self.shared.lock();
            state.stop_closing();
            state.settle();
        }
        // Our last word should arrive, but the verdict does not depend on it.
        let time = left().map_or(patience, |left| left.min(patience));
        let _ = self.shared.lock().wait(Waiter::Other, Patience::For(time), |state| {
            state.has_taken_leave().then_some(Ok(()))
        });
        let state = self.shared.lock();
        match state.check() {
            // The peer knows of the end, or could not be told within the time for that.
            Err(Error::PeerClosed { unacknowledged: 0 } | Error::Closed { unacknowledged: 0 }) => {
                Ok(())
            }
            result => result,
        }
    }

    /// Ends the connection at once, and tells the client why: it gets [`Error::Refused`] with this
    /// code and the first 256 bytes of this text. Does not block.
    ///
    /// For a server that does not want a client, because of its [greeting](Connection::greeting)
    /// for instance. The client tries no other host, nor this one again. If its link is lost before
    /// it hears the refusal, it hears it when it comes back, for as long as a lost session is
    /// [kept](crate::Builder::resume_within).
    ///
    /// What the client sent is acknowledged as far as this side is done with it. What was
    /// sent to the client and is not written yet is dropped. A client whose messages and
    /// whose end are all acknowledged has closed, and hears no refusal any more.
    ///
    /// After a refusal, an abort, or a close that is over, this does nothing. It ends a close under
    /// way, as an abort does. At a client, and over [plain text](crate::Protocol::Plain), which
    /// have no words for it, it is an abort.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::{Connection, Error};
    ///
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let address = listener.local_addr();
    /// let client = Connection::builder().greeting("ann").connect(address)?;
    /// let server = listener.accept()?;
    /// if server.greeting() == "ann" {
    ///     server.refuse(7, "there is an ann");
    /// }
    /// match client.recv() {
    ///     Err(Error::Refused { code: 7, text, .. }) => println!("{text:?}"),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn refuse(&self, code: u32, text: &str) {
        self.end_at_once(|state| state.refuse(Refusal::new(code, text)));
    }

    /// Ends the connection at once, whatever is unacknowledged. Does not block. The peer is told in
    /// the background, if that is possible within a second.
    ///
    /// The peer's calls then fail with [`Error::PeerClosed`], behind what had arrived: no
    /// abort looks like an end in order. If it cannot be told, a server waits for as long as it
    /// [keeps the session](crate::Builder::resume_within), and fails with
    /// [`Error::GaveUp`]; see [`abort_within`](Connection::abort_within).
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
        self.end_at_once(State::abort);
    }

    /// [`abort`](Connection::abort) that goes on for that time, in the background, to tell the
    /// peer. Does not block.
    ///
    /// For a client whose link may be out for longer than a second: it goes on to look for one
    /// in the background, as its [retry policy](crate::RetryPolicy) says, so that the server
    /// does not keep the session for nothing. The process has to last for that. A server
    /// tells a client that comes back in any case.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// client.abort_within(Duration::from_secs(3600));
    /// assert!(matches!(server.recv(), Err(longlink::Error::PeerClosed { .. })));
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn abort_within(&self, time: Duration) {
        self.end_at_once(|state| state.abort_within(time));
    }

    fn end_at_once(&self, end: impl FnOnce(&mut State)) {
        // What the socket takes at once is not held back.
        let mut state = self.shared.lock();
        state.settle_within();
        end(&mut state);
        state.settle();
    }

    /// After an error that ended the connection: the messages that were not
    /// acknowledged, in order, once. They may or may not have arrived. Empty before.
    /// [`acknowledged_number`](Connection::acknowledged_number) is that of the one before them.
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
        if state.has_ended() { state.protocol.take_unacknowledged() } else { Vec::new() }
    }
}
