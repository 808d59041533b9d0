//! What arrived of one direction of a conversation.

use std::collections::BTreeSet;

use crate::plan::{PerThread, Plan, SENDERS, Side};

#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    threads: [Thread; SENDERS],
    pub(crate) doubled: u64,
    pub(crate) reordered: u64,
    pub(crate) corrupted: u64,
}

/// What arrived of one sending thread.
#[derive(Debug, Default, Clone)]
struct Thread {
    /// All before it are here.
    next: u64,
    ahead: BTreeSet<u64>,
}

impl Tally {
    /// A reader has received a message; `seen` is the number behind the last one that it got, of
    /// each thread.
    pub(crate) fn take(&mut self, plan: &Plan, from: Side, message: &[u8], seen: &mut PerThread) {
        let expected = |thread: usize| self.threads[thread].next;
        match plan.identify(from, message, expected) {
            Some((thread, seq)) => self.count(thread, seq, seen),
            None => self.corrupted += 1,
        }
    }

    pub(crate) fn count(&mut self, thread: usize, seq: u64, seen: &mut PerThread) {
        let Thread { next, ahead } = &mut self.threads[thread];
        if seq < *next || !ahead.insert(seq) {
            self.doubled += 1;
        } else if seq < seen[thread] {
            self.reordered += 1;
        }
        while ahead.remove(next) {
            *next += 1;
        }
        seen[thread] = seq + 1;
    }

    /// How many different messages arrived, of each thread.
    pub(crate) fn delivered(&self) -> PerThread {
        self.threads.each_ref().map(|thread| thread.next + thread.ahead.len() as u64)
    }

    /// How many are missing in front of others that arrived.
    pub(crate) fn missing(&self) -> u64 {
        let missing = self.threads.iter().filter_map(|Thread { next, ahead }| {
            ahead.last().map(|last| last + 1 - next - ahead.len() as u64)
        });
        missing.sum()
    }
}
