//! The application's side of a session: what is sent, received, and ended.

use std::time::Instant;

use bytes::Bytes;

use super::{Session, Stage};
use crate::proto::away::GoingAway;
use crate::proto::cost::Position;
use crate::proto::handshake::Token;
use crate::proto::inbox::{Received, Slot};
use crate::proto::numbers::{ClientId, Numbers};
use crate::proto::report::{Payload, Status};
use crate::proto::spent::Spent;

/// What a client says of itself.
impl Session {
    /// A client's session, which begins with this.
    pub(crate) fn greeting_with(self, greeting: Bytes) -> Session {
        Session { greeting, ..self }
    }

    /// A session of a client that calls itself so, and whose messages have numbers from the
    /// first one's on.
    pub(crate) fn numbered(mut self, numbers: Numbers) -> Session {
        self.client_id = Some(numbers.client);
        self.totals.numbers_sent(numbers);
        self
    }

    /// What it says at the beginning of the session.
    pub(crate) fn greeting(&self) -> &Bytes {
        &self.greeting
    }

    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// What it calls itself.
    pub(crate) fn client_id(&self) -> Option<ClientId> {
        self.client_id
    }
}

impl Session {
    /// Where it stands.
    #[inline(always)]
    pub(crate) fn status(&self) -> Status {
        Status {
            framed: true,
            generation: self.generation,
            max_message: self.own.max_message.min(self.peer.max_message) as usize,
            own_max_message: self.own.max_message,
            room: self.send_window().saturating_sub(self.outbox.cost()),
            unacknowledged: self.outbox.messages(),
            unacknowledged_bytes: self.outbox.bytes(),
            totals: self.totals,
            moved: self.up.moved,
            round_trip: self.pulse.round_trip(),
            has_received: self.inbox.received().frames > 0,
            has_next: !self.inbox.is_empty(),
            may_read: self.up.look.is_none(),
            deaf: false,
            owes_ack: self.acks.is_waiting(),
            counts_bytes: self.counts_bytes(),
            finished: self.outbox.is_finished(),
            acknowledged: self.outbox.is_empty(),
            complete: self.is_complete(),
            closing: self.is_closing(),
            closed_by_peer: self.peer_closed.is_some(),
            end_told: self.peer_closed.is_some(),
            parted: self.stage == Stage::Parting && self.peer_closed.is_some(),
            has_spent: !self.outbox.spent.is_empty(),
        }
    }

    #[inline]
    pub(crate) fn feed(&mut self, message: &Payload<'_>) {
        self.totals.messages_sent += 1;
        self.totals.bytes_sent += message.len() as u64;
        match message {
            Payload::Slice(bytes) => self.outbox.feed(bytes),
            Payload::Owned(bytes) => self.outbox.feed_bytes(bytes),
        }
    }

    pub(crate) fn finish(&mut self) {
        self.outbox.finish();
    }

    /// The application asks for the next message, so it is done with the ones before.
    #[inline]
    pub(crate) fn consume(&mut self, now: Instant) {
        let freed = self.inbox.consume();
        if freed > 0 {
            self.owe(self.inbox.consumed(), freed, now);
        }
    }

    /// The message that was just taken, of that many bytes, is held. Returns its place.
    pub(crate) fn hold(&mut self, len: usize) -> u64 {
        self.inbox.hold(len)
    }

    /// The application is done with a message that it holds.
    pub(crate) fn done_with(&mut self, place: u64, now: Instant) {
        let freed = self.inbox.finish(place);
        if freed > 0 {
            self.owe(self.inbox.consumed(), freed, now);
        }
        if self.inbox.is_done() {
            self.acks.hurry();
            self.complete();
        }
    }

    /// The application is done with so much. If the server goes away, that comes too late:
    /// no reply to it can be given any more, and it is processed again.
    #[inline]
    pub(super) fn owe(&mut self, consumed: Position, freed: usize, now: Instant) {
        if self.leaving.is_some() {
            return;
        }
        self.acks.record(Slot { consumed, after: self.outbox.end() }, freed, now);
    }

    /// The next message, or the end; the end is acknowledged with it.
    #[inline]
    pub(crate) fn take(&mut self, now: Instant) -> Option<Received> {
        let seen_end = self.inbox.is_over();
        let item = self.inbox.take()?;
        match &item {
            Received::Message(message) => {
                self.totals.messages_received += 1;
                self.totals.bytes_received += message.len() as u64;
            }
            Received::End if !seen_end => {
                self.consume(now);
                self.acks.hurry();
                self.complete();
            }
            Received::End => {}
        }
        Some(item)
    }

    /// See [`take_many`](crate::proto::inbox::Inbox::take_many).
    pub(crate) fn take_many(&mut self, most: usize, to: &mut Vec<Bytes>) {
        let before = to.len();
        self.totals.bytes_received += self.inbox.take_many(most, to);
        self.totals.messages_received += (to.len() - before) as u64;
    }

    /// The application sends no more and takes no more. It is `done` with what it was
    /// handed, or nothing is known of that, and nothing is acknowledged.
    pub(crate) fn detach(&mut self, done: bool, now: Instant) {
        if done {
            self.detached = true;
            self.consume(now);
        }
        self.finish();
        self.skip_end(now);
    }

    pub(super) fn skip_end(&mut self, now: Instant) {
        if self.detached && !self.inbox.is_over() && self.inbox.is_at_end() {
            self.take(now);
        }
    }

    /// This server goes away, and resumes the session on no other link. What is done with
    /// is acknowledged before it says so.
    pub(crate) fn go_away(&mut self, notice: GoingAway) {
        self.leaving = Some(notice);
        self.acks.hurry();
    }

    /// When the server said on the last link that it goes away, and how.
    pub(crate) fn away(&self) -> Option<(Instant, GoingAway)> {
        self.up.away
    }

    /// The messages that are not acknowledged, once. The session is ending; what
    /// it still has to tell the peer does not depend on them.
    pub(crate) fn take_unacknowledged(&mut self) -> Vec<Bytes> {
        self.totals.give_back(|| self.outbox.give_back())
    }

    /// Frees the messages and the greeting, which will not be asked for any more.
    pub(crate) fn discard(&mut self) {
        self.greeting = Bytes::new();
        self.inbox.discard();
        self.outbox.discard();
    }

    /// What was not handed out never will be: the client sends it again, in another session.
    pub(crate) fn leave_to_another(&mut self) {
        self.inbox.discard();
    }

    /// What is to be dropped where that does no harm.
    pub(crate) fn spent(&mut self) -> &mut Spent {
        &mut self.outbox.spent
    }
}
