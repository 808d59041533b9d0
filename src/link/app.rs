//! The application's view of the state.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::life::Telling;
use super::{Ending, LINGER, OnEvent, State};
use crate::error::{Error, Result};
use crate::identity::Who;
use crate::proto::close::{CloseCode, Refusal};
use crate::proto::closing::Closing;
use crate::proto::inbox::Received;
use crate::stats::Stats;
use crate::sync;

impl State {
    /// Fails if the connection has ended.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        self.life.ending().map_or(Ok(()), |ending| Err(self.error(ending)))
    }

    #[cold]
    pub(super) fn error(&self, ending: &Ending) -> Error {
        let unacknowledged = self.protocol.status().unacknowledged;
        match ending {
            Ending::GaveUp(cause) => Error::GaveUp { unacknowledged, cause: cause.clone() },
            Ending::SessionLost => Error::SessionLost { unacknowledged },
            Ending::Refused(Refusal { code, text }) => {
                Error::Refused { code: *code, text: text.clone(), unacknowledged }
            }
            Ending::PeerClosed => Error::PeerClosed { unacknowledged },
            Ending::Closed => Error::Closed { unacknowledged },
        }
    }

    /// The application is done with what it was handed.
    pub(crate) fn done(&mut self) {
        self.protocol.consume(sync::now());
    }

    /// The same, when it comes for the next: often, and without asking the clock.
    pub(crate) fn come_back(&mut self) {
        self.protocol.consume(self.clock);
    }

    /// It is done with a message that it holds.
    pub(crate) fn done_with(&mut self, place: u64) {
        self.protocol.done_with(place, sync::now());
    }

    /// It never will be done with one that it holds. What comes behind would not be
    /// acknowledged, and be processed again.
    pub(crate) fn leave(&mut self) {
        (self.left, self.news) = (true, true);
    }

    /// No more sends. Those that wait for room hear of it.
    pub(crate) fn finish(&mut self) {
        self.protocol.finish();
        self.news = true;
    }

    /// A close begins: no more sends, no more messages. `done`: the application is
    /// done with those it was handed.
    pub(crate) fn detach(&mut self, done: bool) {
        if !self.life.has_ended() {
            let now = sync::now();
            self.protocol.detach(done, now);
            self.news = true;
            self.life.close(Closing::new(self.terms.close_timeout, now));
            self.look_soon();
        }
    }

    /// The close has taken its time.
    pub(crate) fn stop_closing(&mut self) {
        if !self.life.has_ended() {
            self.end(Ending::Closed);
            let told = LINGER.min(self.terms.close_timeout);
            self.life.tell(Telling::Until(sync::later(told)));
        }
    }

    /// When a close without a link ends, although there are attempts left: only if nothing
    /// but the end is unacknowledged, and either they may take long, or the server has gone
    /// away, and no other would know what has ended.
    pub(super) fn closes_alone_at(&self) -> Option<Instant> {
        let unacknowledged = self.protocol.status().unacknowledged;
        let lost = self.lost.as_ref();
        let long = self.terms.patient || lost.is_some_and(|lost| lost.away.is_some());
        let alone = long && self.link.is_none() && unacknowledged == 0;
        let closing = self.life.closing().filter(|_| alone)?;
        closing.alone_until(lost.map(|lost| lost.at))
    }

    /// The end, at once; the peer is told if that is possible without waiting.
    pub(crate) fn abort(&mut self) {
        self.abort_within(LINGER);
    }

    /// The same, and the peer is told if that is possible within this time.
    pub(crate) fn abort_within(&mut self, time: Duration) {
        self.end_at_once(CloseCode::Aborted, time);
    }

    /// The same, and the client is told why. A client cannot say so, nor can plain text.
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        let may_say_so = self.is_server() && self.protocol.status().framed;
        let code = if may_say_so { CloseCode::Refused(refusal) } else { CloseCode::Aborted };
        self.end_at_once(code, LINGER);
    }

    fn end_at_once(&mut self, code: CloseCode, told: Duration) {
        if !self.life.has_ended() {
            self.protocol.close(code);
        }
        self.end(Ending::Closed);
        self.tell_at_once(told);
    }

    /// The last handle was dropped, and no message will be asked for. A server
    /// remembers for a while how the session ended, but not what was in it.
    pub(crate) fn drop_handles(&mut self) {
        self.dropped = true;
        if self.life.is_over() {
            self.protocol.discard();
        }
    }

    /// A client dials instead of waiting to be resumed.
    pub(super) fn is_server(&self) -> bool {
        self.terms.resume_within.is_some()
    }

    pub(crate) fn close_timeout(&self) -> Duration {
        self.terms.close_timeout
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.life.has_ended()
    }

    pub(crate) fn has_link(&self) -> bool {
        self.link.is_some()
    }

    /// The peer cannot be told any more, or need not be, and the application
    /// has been told everything.
    pub(crate) fn has_taken_leave(&self) -> bool {
        // Only a framed peer answers an end. What ends plain text is its last byte.
        let status = self.protocol.status();
        let answered = self.link.is_none() || !status.framed;
        let told = self.life.is_over() || (answered && status.end_told);
        told && self.events.is_empty() && !self.reporting
    }

    /// Whether a client that comes back is to be told of the end, because one of the
    /// applications chose it.
    pub(crate) fn was_closed(&self) -> bool {
        matches!(self.life.ending(), Some(Ending::Closed | Ending::PeerClosed))
    }

    /// Whether there was ever a link.
    pub(crate) fn has_connected(&self) -> bool {
        self.protocol.status().generation > 0
    }

    pub(crate) fn is_up(&self) -> bool {
        self.link.is_some() && !self.life.has_ended()
    }

    /// The next message, or the end.
    #[inline]
    pub(crate) fn receive(&mut self) -> Option<Result<Option<Bytes>>> {
        if self.left {
            let ending = self.life.ending().unwrap_or(&Ending::Closed);
            return Some(Err(self.error(ending)));
        }
        let paused = !self.protocol.status().may_read;
        let item = self.protocol.take(self.clock);
        // There is room again for what the driver has left in the socket.
        self.driver_due |= paused && self.protocol.status().may_read;
        match item {
            Some(Received::Message(message)) => Some(Ok(Some(message))),
            Some(Received::End) => Some(Ok(None)),
            None => self.check().err().map(Err),
        }
    }

    /// The same for several at once, without the end; 0 tells of that.
    pub(crate) fn receive_many(
        &mut self,
        messages: &mut Vec<Bytes>,
        most: usize,
    ) -> Option<Result<usize>> {
        let before = messages.len();
        match self.receive()? {
            Ok(Some(message)) => messages.push(message),
            none => return Some(none.map(|_| 0)),
        }
        let paused = !self.protocol.status().may_read;
        self.protocol.take_many(most.saturating_sub(1), messages);
        self.driver_due |= paused && self.protocol.status().may_read;
        Some(Ok(messages.len() - before))
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(crate) fn who(&self) -> &Who {
        &self.who
    }

    /// Returns the callback that has served: what it holds may use the
    /// connection when it is dropped, which is to be done without the lock.
    pub(crate) fn set_on_event(&mut self, on_event: OnEvent) -> Option<OnEvent> {
        match self.life.is_over() {
            // It might hold the connection, and nothing would let go of it.
            true => Some(on_event),
            false => self.terms.on_event.replace(on_event),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let status = self.protocol.status();
        let totals = status.totals;
        Stats {
            messages_sent: totals.messages_sent,
            bytes_sent: totals.bytes_sent,
            messages_received: totals.messages_received,
            bytes_received: totals.bytes_received,
            replayed: totals.replayed,
            unanswered: totals.unanswered,
            reconnects: self.reconnects,
            sessions_lost: self.sessions_lost,
            last_round_trip: status.round_trip,
            unacknowledged: status.unacknowledged,
            unacknowledged_bytes: status.unacknowledged_bytes,
            connected_since: self.link.as_ref().map(|link| link.since),
            lost_since: self.lost.as_ref().map(|lost| lost.at),
            last_heard: self.heard,
        }
    }
}
