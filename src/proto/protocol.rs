//! The seam between the two protocols and all that carries them.
//!
//! The monitor ([`crate::link`]) knows links, threads and times. A [`Protocol`] says what
//! is to be written, takes what was heard, and its [`Status`] says where it stands.
//! Which of the two protocols answers is decided here. Besides, only those know that
//! begin a link: a framed one has a handshake (`client/dial.rs`), and its first byte tells
//! a server what it is (`server/acceptor.rs`, `server/sessions.rs`).
//!
//! # The order of calls
//!
//! * **A link begins.** The handshake starts a new [generation](Status::generation):
//!   [`Session::welcomed`], [`Session::resume`], or [`PlainSession::connected`]; a server's
//!   session is made with its first link.
//! * **Bytes come**, if the link [may be read](Status::may_read): [`hear`](Protocol::hear)
//!   until it has no more; at the stream's end, [`end_of_stream`](Protocol::end_of_stream).
//! * **The application sends** if there is [room](Status::room): [`feed`](Protocol::feed).
//!   It receives by [`consume`](Protocol::consume), which is done with the messages
//!   before, and [`take`](Protocol::take). One that it [holds](Protocol::hold) from there on
//!   is done by itself: [`done_with`](Protocol::done_with).
//! * **After any change**, if there is [`output`](Protocol::output):
//!   [`fill`](Protocol::fill), write the batch, and when all of it is written
//!   [`sent`](Protocol::sent).
//! * **At its [`deadline`](Protocol::deadline)**: [`tick`](Protocol::tick), again with what the
//!   peer's kernel has acknowledged if the protocol [counts](Status::counts_bytes) that, and
//!   before a verdict counts, [`excuse`](Protocol::excuse) if bytes wait to be read.
//! * **The link is lost**: [`link_lost`](Protocol::link_lost), until the next link begins.
//! * **It ends**: [`finish`](Protocol::finish), [`detach`](Protocol::detach) or
//!   [`close`](Protocol::close). The connection ends for the application when it is
//!   [complete](Status::complete), [closed by the peer](Status::closed_by_peer), or closing
//!   and all [acknowledged](Status::acknowledged); the link has served when both have
//!   [parted](Status::parted).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Violation;
use super::batch::Batch;
use super::close::CloseCode;
use super::frame::Decoder;
use super::inbox::Received;
use super::plain::PlainSession;
use super::pulse::Verdict;
use super::report::{Excuse, Loss, Output, Payload, Seen, Status, Unanswered};
use super::session::Session;
use super::spent::Spent;

/// What a connection says and hears, over all its links.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each connection, in an Arc")]
pub(crate) enum Protocol {
    Framed(Session),
    Plain(PlainSession),
}

/// The same question to either.
macro_rules! either {
    ($self:ident, $protocol:ident => $answer:expr) => {
        match $self {
            Protocol::Framed($protocol) => $answer,
            Protocol::Plain($protocol) => $answer,
        }
    };
}

impl Protocol {
    /// The session, for its handshake and what that says: plain text has none.
    pub(crate) fn framed(&mut self) -> Option<&mut Session> {
        match self {
            Protocol::Framed(session) => Some(session),
            Protocol::Plain(_) => None,
        }
    }

    /// Where it stands. What is not looked at is not computed.
    #[inline(always)]
    pub(crate) fn status(&self) -> Status {
        either!(self, protocol => protocol.status())
    }
}

/// The application's side.
impl Protocol {
    /// What a message counts for against the limit: in plain text, with its newline.
    #[inline]
    pub(crate) fn size(&self, message: &[u8]) -> usize {
        match self {
            Protocol::Framed(_) => message.len(),
            Protocol::Plain(session) => session.line_len(message),
        }
    }

    /// Takes a message, for which there is room.
    pub(crate) fn feed(&mut self, message: &Payload<'_>) {
        either!(self, protocol => protocol.feed(message));
    }

    /// The application is done with the messages before. Plain text acknowledges nothing.
    #[inline]
    pub(crate) fn consume(&mut self, now: Instant) {
        if let Some(session) = self.framed() {
            session.consume(now);
        }
    }

    /// The next message, or the end.
    #[inline]
    pub(crate) fn take(&mut self, now: Instant) -> Option<Received> {
        match self {
            Protocol::Framed(session) => session.take(now),
            Protocol::Plain(session) => session.take(),
        }
    }

    /// The message that was just taken, of that many bytes, is held: coming back says
    /// nothing of it. Returns its place in what was received.
    pub(crate) fn hold(&mut self, len: usize) -> u64 {
        self.framed().map_or(0, |session| session.hold(len))
    }

    /// The application is done with a message that it holds.
    pub(crate) fn done_with(&mut self, place: u64, now: Instant) {
        if let Some(session) = self.framed() {
            session.done_with(place, now);
        }
    }

    /// Appends messages to `to`, at most so many, and never the end.
    pub(crate) fn take_many(&mut self, most: usize, to: &mut Vec<Bytes>) {
        either!(self, protocol => protocol.take_many(most, to));
    }

    /// The application sends no more.
    pub(crate) fn finish(&mut self) {
        either!(self, protocol => protocol.finish());
    }

    /// The application sends no more and takes no more; see [`Session::detach`].
    pub(crate) fn detach(&mut self, done: bool, now: Instant) {
        match self {
            Protocol::Framed(session) => session.detach(done, now),
            Protocol::Plain(session) => session.detach(),
        }
    }

    /// It is to end, whatever is unacknowledged.
    pub(crate) fn close(&mut self, code: CloseCode) {
        either!(self, protocol => protocol.close(code));
    }

    /// The messages that are not acknowledged, once.
    pub(crate) fn take_unacknowledged(&mut self) -> Vec<Bytes> {
        either!(self, protocol => protocol.take_unacknowledged())
    }

    /// Frees the messages.
    pub(crate) fn discard(&mut self) {
        either!(self, protocol => protocol.discard());
    }

    /// What is to be dropped where that does no harm.
    pub(crate) fn spent(&mut self) -> &mut Spent {
        either!(self, protocol => protocol.spent())
    }
}

/// The link's side.
impl Protocol {
    /// The link is gone, and with it so many bytes of the last batch. Of what a
    /// thread is just writing nothing is known, and it counts as written.
    pub(crate) fn link_lost(&mut self, unwritten: usize) -> Loss {
        match self {
            Protocol::Framed(session) => {
                session.link_lost();
                // Every message of a session is acknowledged or sent again.
                let (progress, away) = (session.progress(), session.away());
                let kept = Some(session.kept());
                Loss { progress, away, kept, unanswered: Unanswered::default() }
            }
            Protocol::Plain(session) => session.link_lost(unwritten),
        }
    }

    /// Bytes came over the link of that generation: takes the next thing that they
    /// brought; `None` when there is no more.
    pub(crate) fn hear(
        &mut self,
        generation: u64,
        decoder: &mut Decoder,
        now: Instant,
    ) -> Result<Option<Seen>, Violation> {
        match self {
            Protocol::Framed(session) => session.hear(generation, decoder, now),
            Protocol::Plain(session) => {
                Ok(session.hear(generation, decoder, now)?.then_some(Seen::Received))
            }
        }
    }

    /// The peer's stream has ended. `None` if the link is lost by that; else it goes on,
    /// and nothing answers these messages any more.
    pub(crate) fn end_of_stream(&mut self, now: Instant) -> Result<Option<Unanswered>, Violation> {
        match self {
            Protocol::Framed(session) => Ok(session.end_of_stream()),
            Protocol::Plain(session) => session.end(now),
        }
    }

    /// What [`fill`](Protocol::fill) has to write, and whether that may wait.
    #[inline(always)]
    pub(crate) fn output(&self) -> Output {
        either!(self, protocol => protocol.output())
    }

    /// Moves what is to be written next into `batch`.
    pub(crate) fn fill(&mut self, batch: &mut Batch) {
        either!(self, protocol => protocol.fill(batch));
    }

    /// The last batch went out over the present link. Returns whether a thread
    /// may have waited for that.
    pub(crate) fn sent(&mut self, now: Instant) -> bool {
        either!(self, protocol => protocol.sent(now));
        matches!(self, Protocol::Plain(_))
    }

    /// When the times are to be looked after.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        either!(self, protocol => protocol.deadline())
    }

    /// Looks after the times. `acknowledged` is how many bytes of the link the peer's
    /// kernel has acknowledged, if that was asked.
    pub(crate) fn tick(&mut self, acknowledged: Option<u64>, now: Instant) -> Verdict {
        either!(self, protocol => protocol.tick(acknowledged, now))
    }

    /// Asks the peer whether it lives, if there is a way to ask. If nothing was heard
    /// `within` this time, nor acknowledged by its kernel, [`tick`](Protocol::tick) calls
    /// it dead.
    pub(crate) fn check(&mut self, within: Duration, acknowledged: Option<u64>, now: Instant) {
        either!(self, protocol => protocol.check(within, acknowledged, now));
    }

    /// The peer is not judged by its silence yet. Returns whether a
    /// [`check`](Protocol::check) is to begin anew.
    pub(crate) fn excuse(&mut self, excuse: Excuse) -> bool {
        either!(self, protocol => protocol.excuse(excuse))
    }
}

#[cfg(test)]
mod tests;
