//! Messages that several threads work on, and are done with in any order. What is
//! acknowledged stays a prefix.

use std::collections::VecDeque;

use super::cost::{OVERHEAD, Position};
#[cfg(test)]
use super::testing::sim::{Fault, planted};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Held,
    Done,
    /// It never will be.
    Left,
}

#[derive(Debug)]
struct Entry {
    from: Position,
    len: u32,
    stage: Stage,
}

/// Messages that were handed out to be held, in order: those that are not done with, and
/// those behind them. Each is known by its place: how many frames were received before it.
/// All of them count in the window, so there is no more of this than fits into it.
#[derive(Debug, Default)]
pub(crate) struct HeldQueue {
    entries: VecDeque<Entry>,
    /// The application has come back for the next one after it was handed everything
    /// before. So it is done with that, but for what it holds.
    returned: Position,
}

impl HeldQueue {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A message of that many bytes, which stands there, is held. Returns its place.
    pub(crate) fn push(&mut self, from: Position, len: usize) -> u64 {
        self.entries.push_back(Entry { from, len: len as u32, stage: Stage::Held });
        from.frames
    }

    /// The application is done with this one. Returns whether that is news.
    pub(crate) fn finish(&mut self, place: u64) -> bool {
        let index = self.entries.binary_search_by_key(&place, |entry| entry.from.frames);
        let entry = index.ok().map(|index| &mut self.entries[index]);
        let Some(entry) = entry.filter(|entry| entry.stage == Stage::Held) else { return false };
        entry.stage = Stage::Done;
        true
    }

    /// Up to where the application is done with everything. So far it was `consumed`, and
    /// it has come back after it was handed what is before `returned`.
    pub(crate) fn advance(&mut self, consumed: Position, returned: Position) -> Position {
        self.returned = self.returned.max(returned);
        let mut done = consumed.max(self.returned);
        while let Some(front) = self.entries.front()
            && front.from <= done
        {
            if !front.is_done() {
                return front.from;
            }
            done = done.max(front.end());
            self.entries.pop_front();
        }
        done
    }

    /// Where the first is. If everything before was returned from, it is not done.
    #[inline]
    pub(crate) fn first(&self) -> Option<Position> {
        self.entries.front().map(|entry| entry.from)
    }

    /// Where the first is that is not done.
    pub(crate) fn first_open(&self) -> Option<Position> {
        self.entries.iter().find(|entry| entry.stage != Stage::Done).map(|entry| entry.from)
    }

    #[cfg(test)]
    pub(crate) fn is_slim(&self) -> bool {
        self.entries.capacity() == 0
    }

    /// Nothing more becomes done. Frees the memory.
    pub(crate) fn leave(&mut self) {
        let first = self.entries.pop_front();
        self.entries =
            first.map(|first| Entry { stage: Stage::Left, ..first }).into_iter().collect();
    }
}

impl Entry {
    fn is_done(&self) -> bool {
        #[cfg(test)]
        if planted(Fault::AckPassesHeld) {
            return true;
        }
        self.stage == Stage::Done
    }

    fn end(&self) -> Position {
        let mut end = self.from;
        end.pass(self.len as usize);
        end
    }
}

/// One takes less memory than what a message counts for.
const _: () = assert!(size_of::<Entry>() < OVERHEAD);
