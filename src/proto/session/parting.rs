//! The end of a session: CLOSE, and how this side knows that it is told.
//!
//! The peer answers CLOSE with its own, and only that tells that it has read ours: its kernel, or
//! a proxy's, may have acknowledged what it never reads. But an application that ends at once wants
//! its threads back, and a thread that reads returns only when reading is shut down. What arrives
//! after that can still be read, as far as the system keeps it (Linux does), but not waited for. So
//! the driver looks for the answer soon, and then ever less often. A link on which none comes is
//! given up, and a client tells the end over the next one.

use std::time::{Duration, Instant};

use super::{Session, Stage};
use crate::proto::Violation;
use crate::proto::batch::Batch;
use crate::proto::close::{Close, CloseCode};
use crate::proto::frame::Frame;
use crate::proto::report::Unanswered;

/// The first look comes after this, and each other one twice as long after the one before it.
pub(super) const FIRST_LOOK: Duration = Duration::from_millis(1);
/// The last look comes after 255 ms: an abort is told for a second, and a client may have to dial.
const LOOKS: u32 = 8;

/// When to look for the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    at: Instant,
    /// From 1 on.
    number: u32,
}

impl Session {
    /// The session is to end, whatever is unacknowledged; the first code stays.
    pub(crate) fn close(&mut self, code: CloseCode) {
        self.closing.get_or_insert(code);
    }

    /// Writes our last word.
    #[cold]
    pub(super) fn part(&mut self, batch: &mut Batch) {
        let Some(code) = self.closing.clone() else { return };
        let consumed = self.acks.covered(self.outbox.written());
        batch.push_frame(&Frame::Close(Close { code, consumed }));
        self.stage = Stage::Parting;
    }

    /// The session has ended. A client that comes back learns it from the answer to its
    /// hello.
    pub(crate) fn on_close(&mut self, close: Close) -> Result<(), Violation> {
        // It may count less than an acknowledgement that came before, if what
        // it was to follow was never written.
        let consumed = close.consumed.max(self.outbox.acknowledged());
        self.up.moved |= self.outbox.acknowledge(consumed)?;
        self.peer_closed = Some(close.code);
        self.close(CloseCode::Done);
        Ok(())
    }

    /// Both directions have ended, and everything was taken: nothing is left
    /// to say but that.
    pub(super) fn complete(&mut self) {
        if self.is_complete() && self.leaving.is_none() {
            self.close(CloseCode::Done);
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.outbox.is_finished() && self.outbox.is_empty() && self.inbox.is_done()
    }

    /// Whether closing was begun by either side.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some() || self.peer_closed.is_some()
    }

    /// How the peer has ended it.
    pub(crate) fn peer_closed(&self) -> Option<&CloseCode> {
        self.peer_closed.as_ref()
    }
}

/// An end at once.
impl Session {
    /// The application waits for no answer, and reading was shut down on the present link.
    pub(crate) fn end_at_once(&mut self, now: Instant) {
        if self.is_up() && self.closing.is_some() {
            self.up.look.get_or_insert(Look { at: now + FIRST_LOOK, number: 1 });
        }
    }

    /// The stream has ended: `None` if the link is lost by that. If reading was shut down, that
    /// is not the peer's word.
    pub(crate) fn end_of_stream(&self) -> Option<Unanswered> {
        self.up.look.map(|_| Unanswered::default())
    }

    pub(crate) fn looks_at(&self) -> Option<Instant> {
        self.up.look.map(|look| look.at)
    }

    /// Returns whether the link is still of use, if there was no answer.
    pub(crate) fn look(&mut self, now: Instant) -> bool {
        let next = self.up.look.take().map(|Look { number, .. }| Look {
            at: now + FIRST_LOOK * (1 << number),
            number: number + 1,
        });
        self.up.look = next.filter(|look| look.number <= LOOKS);
        self.up.look.is_some()
    }
}
