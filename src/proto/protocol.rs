//! The seam between the two protocols and all that carries them.
//!
//! The monitor ([`crate::link`]) knows links, threads and times, and asks a
//! [`Protocol`] what is to be said, what was heard, and when it is over. Which of
//! the two protocols answers is decided here and nowhere else. Only those that make
//! links know which one they make: the dialler, since a framed session begins with a
//! handshake, and the acceptor, which sees the first byte.
//!
//! # The order of calls
//!
//! * **A link begins.** The handshake starts a new [`generation`](Protocol::generation):
//!   [`Session::welcomed`], [`Session::resume`], or [`PlainSession::connected`].
//! * **Bytes come**, if [`may_read`](Protocol::may_read): [`heard`](Protocol::heard), then
//!   [`hear`](Protocol::hear) until it has no more; at the stream's end,
//!   [`end_of_stream`](Protocol::end_of_stream).
//! * **The application sends** if it [`has_room`](Protocol::has_room):
//!   [`feed`](Protocol::feed). It receives by [`consume`](Protocol::consume), which is
//!   done with the messages before, and [`take`](Protocol::take).
//! * **After any change**, if it [`has_output`](Protocol::has_output):
//!   [`fill`](Protocol::fill), write the batch, and when all of it is written
//!   [`sent`](Protocol::sent) and [`take_fin`](Protocol::take_fin).
//! * **At its [`deadline`](Protocol::deadline)**: [`tick`](Protocol::tick). Before a
//!   verdict counts, [`reached`](Protocol::reached), if it
//!   [`counts_bytes`](Protocol::counts_bytes), and [`has_queued`](Protocol::has_queued).
//! * **The link is lost**: [`link_lost`](Protocol::link_lost), then
//!   [`progress`](Protocol::progress) and [`take_unanswered`](Protocol::take_unanswered),
//!   until the next link begins.
//! * **It ends**: [`finish`](Protocol::finish), [`leave`](Protocol::leave) or
//!   [`close`](Protocol::close). The connection is over for the application when it
//!   [`is_complete`](Protocol::is_complete) or
//!   [`was_closed_by_peer`](Protocol::was_closed_by_peer); the link has served when it
//!   [`has_parted`](Protocol::has_parted).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Violation;
use super::batch::Batch;
use super::frame::{CloseCode, Decoder};
use super::inbox::Item;
use super::plain::{PlainSession, Unanswered};
use super::pulse::Verdict;
use super::report::{Progress, Seen, Totals};
use super::session::Session;
use super::spent::Spent;

/// What a connection says and hears, over all its links.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each connection, in an Arc")]
pub(crate) enum Protocol {
    Framed(Session),
    Plain(PlainSession),
}

impl From<Session> for Protocol {
    fn from(session: Session) -> Protocol {
        Protocol::Framed(session)
    }
}

impl From<PlainSession> for Protocol {
    fn from(session: PlainSession) -> Protocol {
        Protocol::Plain(session)
    }
}

/// The same question to either.
macro_rules! ask {
    ($self:ident, $protocol:ident => $answer:expr) => {
        match $self {
            Protocol::Framed($protocol) => $answer,
            Protocol::Plain($protocol) => $answer,
        }
    };
}

impl Protocol {
    /// The session, for its handshake: nothing else has one.
    pub(crate) fn framed(&mut self) -> Option<&mut Session> {
        match self {
            Protocol::Framed(session) => Some(session),
            Protocol::Plain(_) => None,
        }
    }
}

/// The application's side.
impl Protocol {
    pub(crate) fn max_message(&self) -> usize {
        ask!(self, protocol => protocol.max_message())
    }

    /// Whether another message may be fed.
    pub(crate) fn has_room(&self) -> bool {
        ask!(self, protocol => protocol.has_room())
    }

    /// Whether one may be fed behind others that cost so much.
    pub(crate) fn has_room_behind(&self, cost: usize) -> bool {
        ask!(self, protocol => protocol.has_room_behind(cost))
    }

    pub(crate) fn feed(&mut self, message: &[u8]) {
        ask!(self, protocol => protocol.feed(message));
    }

    pub(crate) fn feed_bytes(&mut self, message: Bytes) {
        ask!(self, protocol => protocol.feed_bytes(message));
    }

    pub(crate) fn finish(&mut self) {
        ask!(self, protocol => protocol.finish());
    }

    pub(crate) fn is_finished(&self) -> bool {
        ask!(self, protocol => protocol.is_finished())
    }

    /// The application is done with the messages before.
    pub(crate) fn consume(&mut self, now: Instant) {
        match self {
            Protocol::Framed(session) => session.consume(now),
            // The peer takes no acknowledgement.
            Protocol::Plain(_) => {}
        }
    }

    /// The next message, or the end.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Item> {
        match self {
            Protocol::Framed(session) => session.take(now),
            Protocol::Plain(session) => session.take(),
        }
    }

    /// Appends messages to `to`, at most so many, and never the end.
    pub(crate) fn take_many(&mut self, most: usize, to: &mut Vec<Bytes>) {
        ask!(self, protocol => protocol.take_many(most, to));
    }

    /// Whether there is something to take.
    pub(crate) fn has_item(&self) -> bool {
        ask!(self, protocol => protocol.has_item())
    }

    /// The application sends no more and takes no more; see [`Session::leave`].
    pub(crate) fn leave(&mut self, done: bool, now: Instant) {
        match self {
            Protocol::Framed(session) => session.leave(done, now),
            Protocol::Plain(session) => session.leave(),
        }
    }

    /// It is to end, whatever is unacknowledged.
    pub(crate) fn close(&mut self, code: CloseCode) {
        ask!(self, protocol => protocol.close(code));
    }

    /// Both directions have ended, and everything was taken.
    pub(crate) fn is_complete(&self) -> bool {
        ask!(self, protocol => protocol.is_complete())
    }

    /// Whether the peer has everything that was sent, as far as can be known.
    pub(crate) fn is_acknowledged(&self) -> bool {
        ask!(self, protocol => protocol.is_acknowledged())
    }

    pub(crate) fn unacknowledged(&self) -> u64 {
        ask!(self, protocol => protocol.unacknowledged())
    }

    /// Their bytes.
    pub(crate) fn unacknowledged_bytes(&self) -> u64 {
        ask!(self, protocol => protocol.unacknowledged_bytes())
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        ask!(self, protocol => protocol.acknowledged())
    }

    pub(crate) fn take_unacknowledged(&mut self) -> Vec<Bytes> {
        ask!(self, protocol => protocol.take_unacknowledged())
    }

    /// Messages of unknown fate, once: neither sent again nor acknowledged.
    pub(crate) fn take_unanswered(&mut self) -> Unanswered {
        match self {
            // Every message of a session is one or the other.
            Protocol::Framed(_) => Unanswered::default(),
            Protocol::Plain(session) => session.take_unanswered(),
        }
    }

    /// Whether it may end by what is left of it.
    pub(crate) fn is_closing(&self) -> bool {
        ask!(self, protocol => protocol.is_closing())
    }

    /// Whether the peer has ended it.
    pub(crate) fn was_closed_by_peer(&self) -> bool {
        match self {
            Protocol::Framed(session) => session.peer_closed().is_some(),
            // An end of the stream ends one direction, or is a lost link.
            Protocol::Plain(_) => false,
        }
    }

    /// Whether nothing is left to tell the peer, it being over.
    pub(crate) fn has_told_end(&self) -> bool {
        match self {
            Protocol::Framed(session) => session.peer_closed().is_some(),
            Protocol::Plain(session) => session.has_told_end(),
        }
    }

    /// The link has served.
    pub(crate) fn has_parted(&self) -> bool {
        ask!(self, protocol => protocol.has_parted())
    }

    pub(crate) fn totals(&self) -> Totals {
        ask!(self, protocol => protocol.totals())
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        match self {
            Protocol::Framed(session) => session.round_trip(),
            Protocol::Plain(_) => None,
        }
    }

    /// Whether a client can come back to it.
    pub(crate) fn is_resumable(&self) -> bool {
        matches!(self, Protocol::Framed(_))
    }

    /// Whether the peer ever said something that counts.
    pub(crate) fn has_received(&self) -> bool {
        match self {
            Protocol::Framed(session) => session.has_received(),
            // It does not outlive its link, and is not asked.
            Protocol::Plain(_) => false,
        }
    }

    /// Frees the messages.
    pub(crate) fn discard(&mut self) {
        ask!(self, protocol => protocol.discard());
    }

    /// What is to be dropped where that does no harm.
    pub(crate) fn spent(&mut self) -> &mut Spent {
        ask!(self, protocol => protocol.spent())
    }

    #[inline]
    pub(crate) fn has_spent(&self) -> bool {
        ask!(self, protocol => protocol.has_spent())
    }
}

/// The link's side.
impl Protocol {
    pub(crate) fn generation(&self) -> u64 {
        ask!(self, protocol => protocol.generation())
    }

    /// The link is gone, and with it so many bytes of the last batch. Of what a
    /// thread is just writing nothing is known, and it does not count.
    pub(crate) fn link_lost(&mut self, unwritten: usize) {
        match self {
            Protocol::Framed(session) => session.link_lost(),
            Protocol::Plain(session) => session.link_lost(unwritten),
        }
    }

    /// What the present link has done, or the last one, as long as the driver has not taken
    /// what was unanswered on it.
    pub(crate) fn progress(&self) -> Progress {
        ask!(self, protocol => protocol.progress())
    }

    /// Whether the link is to be read at present.
    pub(crate) fn may_read(&self) -> bool {
        match self {
            // The peer keeps to a window.
            Protocol::Framed(_) => true,
            Protocol::Plain(session) => session.may_read(),
        }
    }

    /// Whether the peer says what it is done with, and when it is over: what
    /// senders and closers wait for comes by reading.
    pub(crate) fn has_answers(&self) -> bool {
        matches!(self, Protocol::Framed(_))
    }

    /// Whether nothing more can be read from a link that is still written to.
    pub(crate) fn is_deaf(&self) -> bool {
        match self {
            Protocol::Framed(_) => false,
            Protocol::Plain(session) => session.is_deaf(),
        }
    }

    /// Bytes came over the present link.
    pub(crate) fn heard(&mut self, now: Instant) {
        ask!(self, protocol => protocol.heard(now));
    }

    /// Takes the next thing that came over the link of that generation; `None`
    /// when there is no more.
    pub(crate) fn hear(
        &mut self,
        generation: u64,
        decoder: &mut Decoder,
        now: Instant,
    ) -> Result<Option<Seen>, Violation> {
        match self {
            // Whatever follows a CLOSE is not even looked at.
            Protocol::Framed(session) if session.peer_closed().is_some() => {
                decoder.discard();
                Ok(None)
            }
            Protocol::Framed(session) => match decoder.next()? {
                Some(frame) => session.on_frame(generation, frame, now).map(Some),
                None => Ok(None),
            },
            Protocol::Plain(session) => {
                Ok(session.hear(generation, decoder, now)?.then_some(Seen::Item))
            }
        }
    }

    /// The peer's stream has ended. Returns whether the link is lost by that.
    pub(crate) fn end_of_stream(&mut self, now: Instant) -> Result<bool, Violation> {
        match self {
            Protocol::Framed(_) => Ok(true),
            Protocol::Plain(session) => session.end(now),
        }
    }

    /// Moves what is to be written next into `batch`.
    pub(crate) fn fill(&mut self, batch: &mut Batch) {
        ask!(self, protocol => protocol.fill(batch));
    }

    /// Whether [`fill`](Protocol::fill) has something that should not wait.
    pub(crate) fn has_output(&self) -> bool {
        ask!(self, protocol => protocol.has_output())
    }

    /// The same, but messages may wait until they fill a batch.
    pub(crate) fn has_urgent_output(&self) -> bool {
        match self {
            Protocol::Framed(session) => session.has_urgent_output(),
            Protocol::Plain(session) => session.has_output(),
        }
    }

    /// Whether what may be written is worth a system call by the thread that fed it.
    #[inline]
    pub(crate) fn fills_batch(&self) -> bool {
        match self {
            Protocol::Framed(session) => session.fills_batch(),
            Protocol::Plain(session) => session.has_output(),
        }
    }

    /// The last batch went out over the present link. Returns whether a thread
    /// may have waited for that.
    pub(crate) fn sent(&mut self, now: Instant) -> bool {
        ask!(self, protocol => protocol.sent(now));
        matches!(self, Protocol::Plain(_))
    }

    /// Whether the stream is to be ended now; once for each link.
    pub(crate) fn take_fin(&mut self) -> bool {
        match self {
            // It has a frame for that.
            Protocol::Framed(_) => false,
            Protocol::Plain(session) => session.take_fin(),
        }
    }

    /// Looks after the times.
    pub(crate) fn tick(&mut self, now: Instant) -> Verdict {
        match self {
            Protocol::Framed(session) => session.tick(now),
            Protocol::Plain(session) => session.tick(now).map_or(Verdict::Alive, Verdict::Dead),
        }
    }

    /// Asks the peer whether it lives, if there is a way to ask. If nothing was heard
    /// `within` this time, nor acknowledged by its kernel, [`tick`](Protocol::tick) calls
    /// it dead. `acknowledged` is how many bytes of the link are so far, if that is known.
    pub(crate) fn check(&mut self, within: Duration, acknowledged: Option<u64>, now: Instant) {
        ask!(self, protocol => protocol.check(within, acknowledged, now));
    }

    /// Whether [`reached`](Protocol::reached) wants to be told.
    pub(crate) fn counts_bytes(&self) -> bool {
        match self {
            Protocol::Framed(session) => session.counts_bytes(),
            Protocol::Plain(session) => session.is_checking(),
        }
    }

    /// The peer's kernel has acknowledged the bytes before this position.
    pub(crate) fn reached(&mut self, acknowledged: u64, now: Instant) {
        match self {
            Protocol::Framed(session) => session.reached(acknowledged, now),
            Protocol::Plain(session) => session.reached(acknowledged),
        }
    }

    /// The machine has slept, and the clock stood still: a check follows.
    pub(crate) fn woke(&mut self) {
        ask!(self, protocol => protocol.woke());
    }

    /// When [`tick`](Protocol::tick) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        ask!(self, protocol => protocol.deadline())
    }

    /// Whether an acknowledgement waits for its time to come.
    pub(crate) fn owes_ack(&self) -> bool {
        match self {
            Protocol::Framed(session) => session.owes_ack(),
            Protocol::Plain(_) => false,
        }
    }

    /// The driver came `late`. Returns whether a
    /// [`check`](Protocol::check) is to begin anew.
    pub(crate) fn overslept(&mut self, late: Duration) -> bool {
        ask!(self, protocol => protocol.overslept(late))
    }

    /// Bytes of the peer wait to be read.
    pub(crate) fn has_queued(&mut self) {
        ask!(self, protocol => protocol.has_queued());
    }

    /// The largest message that may come in.
    pub(crate) fn own_max_message(&self) -> u32 {
        ask!(self, protocol => protocol.own_max_message())
    }
}

#[cfg(test)]
mod tests;
