//! What goes to a plain text peer: lines, and what is known of their fate.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Settings, Unanswered};
use crate::proto::batch::Batch;
use crate::proto::cost::Position;
use crate::proto::spent::Spent;

/// The lines of one direction.
///
/// Four positions: `start <= written <= handed <= end`. What lies between two of them is
/// their difference.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// From `start` to `end`.
    lines: VecDeque<Bytes>,
    /// Lines that are not needed any more.
    pub(super) spent: Spent,
    /// The oldest line that is kept: on a client, the oldest that is not answered, or not
    /// forgotten; on a server, the oldest that is not written.
    start: Position,
    /// Written, over all links.
    written: Position,
    /// Handed to the writer of the present link.
    handed: Position,
    /// Fed by the application.
    end: Position,
    /// Written lines before `start` that are not answered.
    forgotten: u64,
    /// What the unanswered lines that are kept may count for.
    window: usize,
    /// A client's: only a client hears of replies.
    settings: Option<Settings>,
}

impl Outgoing {
    pub(super) fn new(window: u32, settings: Option<Settings>) -> Outgoing {
        Outgoing { window: window as usize, settings, ..Outgoing::default() }
    }

    pub(super) fn feed(&mut self, line: Bytes) {
        self.end.pass(line.len());
        self.lines.push_back(line);
    }

    /// Moves lines to `batch`, until it is full or nothing more may be written.
    pub(super) fn fill(&mut self, batch: &mut Batch) {
        while !batch.is_full() && self.has_output() {
            let line = &self.lines[self.index(self.handed)];
            self.handed.pass(line.len());
            batch.push(line.clone());
        }
    }

    /// Whether [`fill`](Outgoing::fill) would move something.
    pub(super) fn has_output(&self) -> bool {
        let lock_step = self.settings.is_some_and(|settings| settings.lock_step);
        self.handed < self.end && !(lock_step && self.waits_for_reply())
    }

    /// What was handed to the writer is written. Returns how many lines it was.
    pub(super) fn written(&mut self) -> u64 {
        let lines = (self.handed - self.written).frames;
        self.written = self.handed;
        while self.settings.is_none() && self.start < self.written {
            self.pop();
        }
        // There may never be replies, and then these lines must not add up.
        while self.index(self.written) > 1 && (self.written - self.start).cost() > self.window {
            self.pop();
            self.forgotten += 1;
        }
        lines
    }

    /// The oldest line was answered.
    pub(super) fn answered(&mut self) {
        if self.forgotten > 0 {
            self.forgotten -= 1;
        } else if self.start < self.handed {
            self.pop();
        }
    }

    fn pop(&mut self) {
        let line = self.lines.pop_front().unwrap_or_default();
        self.start.pass(line.len());
        // The reply may be here before it is known that the line is written.
        self.written = self.written.max(self.start);
        self.spent.push(line);
    }

    /// The link is lost, and the last `unwritten` bytes of what was handed to the writer
    /// were not written. A line with any of these bytes waits again. Returns the others
    /// that are not answered: their fate is unknown.
    pub(super) fn cut(&mut self, mut unwritten: usize) -> Unanswered {
        while unwritten > 0 && self.written < self.handed {
            let len = self.lines[self.index(self.handed) - 1].len();
            self.handed = self.handed - Position { frames: 1, bytes: len as u64 };
            unwritten = unwritten.saturating_sub(len);
        }
        self.written();
        let lines = self.lines.drain(..self.index(self.written)).collect();
        self.start = self.written;
        Unanswered { lines, forgotten: std::mem::take(&mut self.forgotten) }
    }

    /// Where in `lines` the line at this position is.
    fn index(&self, at: Position) -> usize {
        (at - self.start).frames as usize
    }

    /// How far the end is from what is written.
    pub(super) fn unwritten(&self) -> Position {
        self.end - self.written
    }

    pub(super) fn is_written(&self) -> bool {
        self.written == self.end
    }

    /// Whether a line was written, or is being written, and not answered.
    pub(super) fn waits_for_reply(&self) -> bool {
        self.start < self.handed || self.forgotten > 0
    }

    /// Whether no line waits, neither to be written nor for its reply.
    pub(super) fn is_idle(&self) -> bool {
        self.start == self.end && self.forgotten == 0
    }

    /// The lines that are not written.
    pub(super) fn kept(&self) -> Vec<Bytes> {
        self.lines.range(self.index(self.written)..).cloned().collect()
    }

    pub(super) fn discard(&mut self) {
        self.spent.extend(std::mem::take(&mut self.lines));
        (self.start, self.written, self.handed) = (self.end, self.end, self.end);
        self.forgotten = 0;
    }
}
