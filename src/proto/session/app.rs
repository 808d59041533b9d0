//! The application's side of a session: what is sent, received, and ended.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Session, State};
use crate::proto::cost::Position;
use crate::proto::frame::CloseCode;
use crate::proto::inbox::{Item, Slot};
use crate::proto::report::Totals;
use crate::proto::spent::Spent;

impl Session {
    /// The largest message that both sides take.
    pub(crate) fn max_message(&self) -> usize {
        self.own.max_message.min(self.peer.max_message) as usize
    }

    /// Whether another message may be fed; one may overshoot the window.
    pub(crate) fn has_room(&self) -> bool {
        self.has_room_behind(0)
    }

    /// The same behind others that cost so much.
    pub(crate) fn has_room_behind(&self, cost: usize) -> bool {
        self.outbox.cost().saturating_add(cost) < self.send_window()
    }

    pub(crate) fn feed(&mut self, message: &[u8]) {
        self.outbox.feed(message);
        self.totals.messages_sent += 1;
        self.totals.bytes_sent += message.len() as u64;
    }

    pub(crate) fn feed_bytes(&mut self, message: Bytes) {
        self.totals.messages_sent += 1;
        self.totals.bytes_sent += message.len() as u64;
        self.outbox.feed_bytes(message);
    }

    pub(crate) fn finish(&mut self) {
        self.outbox.finish();
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.outbox.is_finished()
    }

    /// The application asks for the next message, so it is done with the ones before.
    pub(crate) fn consume(&mut self, now: Instant) {
        let freed = self.inbox.consume();
        if freed > 0 {
            self.owe(self.inbox.consumed(), freed, now);
        }
    }

    pub(super) fn owe(&mut self, consumed: Position, freed: usize, now: Instant) {
        self.acks.record(Slot { consumed, after: self.outbox.end() }, freed, now);
    }

    /// The next message, or the end; the end is acknowledged with it.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Item> {
        let seen_end = self.inbox.is_over();
        let item = self.inbox.take()?;
        match &item {
            Item::Message(message) => {
                self.totals.messages_received += 1;
                self.totals.bytes_received += message.len() as u64;
            }
            Item::End if !seen_end => {
                self.consume(now);
                self.acks.hurry();
                self.complete();
            }
            Item::End => {}
        }
        Some(item)
    }

    /// See [`take_many`](crate::proto::inbox::Inbox::take_many).
    pub(crate) fn take_many(&mut self, most: usize, to: &mut Vec<Bytes>) {
        let before = to.len();
        self.totals.bytes_received += self.inbox.take_many(most, to);
        self.totals.messages_received += (to.len() - before) as u64;
    }

    /// Whether there is something to take.
    pub(crate) fn has_item(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// The application sends no more and takes no more. It is `done` with what it was
    /// handed, or nothing is known of that, and nothing is acknowledged.
    pub(crate) fn leave(&mut self, done: bool, now: Instant) {
        if done {
            self.leaving = true;
            self.consume(now);
        }
        self.finish();
        self.skip_end(now);
    }

    pub(super) fn skip_end(&mut self, now: Instant) {
        if self.leaving && !self.inbox.is_over() && self.inbox.is_at_end() {
            self.take(now);
        }
    }

    /// The session is to end, whatever is unacknowledged; the first code stays.
    pub(crate) fn close(&mut self, code: CloseCode) {
        self.closing.get_or_insert(code);
    }

    /// Both directions have ended, and everything was taken: nothing is left
    /// to say but that.
    pub(super) fn complete(&mut self) {
        if self.is_complete() {
            self.close(CloseCode::Done);
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.outbox.is_finished() && self.outbox.is_empty() && self.inbox.is_over()
    }

    /// Whether everything that was sent is acknowledged.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.outbox.is_empty()
    }

    /// How many messages are not acknowledged.
    pub(crate) fn unacknowledged(&self) -> u64 {
        self.outbox.messages()
    }

    /// Their bytes.
    pub(crate) fn unacknowledged_bytes(&self) -> u64 {
        self.outbox.bytes()
    }

    /// How many messages were acknowledged, over all sessions.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.totals.messages_sent - self.outbox.messages()
    }

    /// The messages that are not acknowledged, once. The session is ending; what
    /// it still has to tell the peer does not depend on them.
    pub(crate) fn take_unacknowledged(&mut self) -> Vec<Bytes> {
        if self.totals.taken > 0 {
            return Vec::new();
        }
        let messages = self.outbox.kept();
        self.totals.taken = messages.len() as u64;
        messages
    }

    /// Whether closing was begun by either side.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_some() || self.peer_closed.is_some()
    }

    pub(crate) fn peer_closed(&self) -> Option<CloseCode> {
        self.peer_closed
    }

    /// Both sides know that it is over: the link has served.
    pub(crate) fn has_parted(&self) -> bool {
        self.state == State::Parting && self.peer_closed.is_some()
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.pulse.round_trip()
    }

    /// Whether a sequenced frame of the peer ever came.
    pub(crate) fn has_received(&self) -> bool {
        self.inbox.received().frames > 0
    }

    /// Frees the messages, which will not be asked for any more.
    pub(crate) fn discard(&mut self) {
        self.inbox.discard();
        self.outbox.discard();
    }

    /// What is to be dropped where that does no harm.
    pub(crate) fn spent(&mut self) -> &mut Spent {
        self.outbox.spent()
    }

    pub(crate) fn has_spent(&self) -> bool {
        self.outbox.has_spent()
    }
}
