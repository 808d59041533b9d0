//! The lines that are sent, and what is known of their fate.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Settings, Unanswered};
use crate::proto::batch::Batch;
use crate::proto::cost::{OVERHEAD, cost};
use crate::proto::handshake::Limits;
use crate::proto::spent::Spent;

/// Lines in order: written and not answered (on a client, which hears of
/// replies), handed to the writer, waiting.
#[derive(Debug)]
pub(super) struct Outgoing {
    lines: VecDeque<Bytes>,
    /// Lines that are done with.
    spent: Spent,
    written: usize,
    /// Those written and those in the writer's hands.
    handed: usize,
    /// Lines before these that were written and not answered, and are not
    /// remembered any more.
    forgotten: u64,
    /// What the written ones count for in the window, and what the others do.
    written_cost: usize,
    cost: usize,
    window: usize,
    client: bool,
    lock_step: bool,
}

impl Outgoing {
    pub(super) fn of_client(limits: Limits, settings: Settings) -> Outgoing {
        Outgoing { client: true, lock_step: settings.lock_step, ..Outgoing::of_server(limits) }
    }

    pub(super) fn of_server(limits: Limits) -> Outgoing {
        Outgoing {
            lines: VecDeque::new(),
            spent: Spent::default(),
            written: 0,
            handed: 0,
            forgotten: 0,
            written_cost: 0,
            cost: 0,
            window: limits.window as usize,
            client: false,
            lock_step: false,
        }
    }

    pub(super) fn room(&self) -> usize {
        self.window.saturating_sub(self.cost)
    }

    pub(super) fn feed(&mut self, line: Bytes) {
        self.cost += cost(line.len());
        self.lines.push_back(line);
    }

    /// Moves lines to `batch`, until it is full or nothing more may be written.
    pub(super) fn fill(&mut self, batch: &mut Batch) {
        while !batch.is_full() && self.has_output() {
            batch.push(self.lines[self.handed].clone());
            self.handed += 1;
        }
    }

    pub(super) fn has_output(&self) -> bool {
        self.handed < self.lines.len() && !(self.lock_step && self.waits_for_reply())
    }

    /// What was handed to the writer is written. Returns how many lines that were.
    pub(super) fn written(&mut self) -> usize {
        let lines = self.handed - self.written;
        while self.written < self.handed {
            let cost = cost(self.lines[self.written].len());
            self.cost -= cost;
            self.written_cost += cost;
            self.written += 1;
        }
        if !self.client {
            // It has nothing to wait for.
            while self.written > 0 {
                self.pop();
            }
        }
        // There may never be replies, so these lines must not add up.
        while self.written > 1 && self.written_cost > self.window {
            self.pop();
            self.forgotten += 1;
        }
        lines
    }

    /// The oldest line was answered. It may not be known yet that it is written.
    pub(super) fn answered(&mut self) {
        if self.forgotten > 0 {
            self.forgotten -= 1;
        } else if self.handed > 0 {
            self.pop();
        }
    }

    fn pop(&mut self) {
        let line = self.lines.pop_front().unwrap_or_default();
        let cost = cost(line.len());
        self.spent.push(line);
        self.handed -= 1;
        match self.written.checked_sub(1) {
            Some(written) => {
                self.written = written;
                self.written_cost -= cost;
            }
            None => self.cost -= cost,
        }
    }

    /// The link is gone; so many bytes of the lines in the writer's hands were
    /// not written. A line of which any byte is among them waits again. Returns
    /// the others: what became of them is unknown.
    pub(super) fn cut(&mut self, mut unwritten: usize) -> Unanswered {
        let mut known = self.handed;
        while unwritten > 0 && known > self.written {
            known -= 1;
            unwritten = unwritten.saturating_sub(self.lines[known].len());
        }
        self.handed = known;
        self.written();
        let lines = self.lines.drain(..self.written).collect();
        (self.written, self.handed, self.written_cost) = (0, 0, 0);
        Unanswered { lines, forgotten: std::mem::take(&mut self.forgotten) }
    }

    pub(super) fn is_written(&self) -> bool {
        self.written == self.lines.len()
    }

    pub(super) fn unwritten(&self) -> usize {
        self.lines.len() - self.written
    }

    /// The bytes of those.
    pub(super) fn unwritten_bytes(&self) -> usize {
        self.cost - self.unwritten() * OVERHEAD
    }

    /// Whether a line was written, or is being written, and not answered.
    pub(super) fn waits_for_reply(&self) -> bool {
        self.handed > 0 || self.forgotten > 0
    }

    /// Whether no line waits, neither to be written nor for its reply.
    pub(super) fn is_idle(&self) -> bool {
        self.lines.is_empty() && self.forgotten == 0
    }

    /// The lines that are not written.
    pub(super) fn kept(&self) -> Vec<Bytes> {
        self.lines.range(self.written..).cloned().collect()
    }

    /// What is to be dropped where that does no harm.
    pub(super) fn spent(&mut self) -> &mut Spent {
        &mut self.spent
    }

    pub(super) fn has_spent(&self) -> bool {
        !self.spent.is_empty()
    }

    pub(super) fn discard(&mut self) {
        self.spent.extend(std::mem::take(&mut self.lines));
        (self.written, self.handed, self.forgotten) = (0, 0, 0);
        (self.written_cost, self.cost) = (0, 0);
    }
}
