//! What waits for a standard stream: a bounded queue in front of the thread that writes
//! there, so that no other thread waits for a terminal. The queue counts what finds no room,
//! and what could not be written.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::monitor::Monitor;
use super::now;

const SECOND: Duration = Duration::from_secs(1);

/// A queue, and an account of what came through it.
pub(super) struct Queue<T> {
    most: usize,
    /// What an entry counts for.
    weight: fn(&T) -> usize,
    state: Monitor<State<T>>,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// Of what is not written yet.
    weight: usize,
    /// What was taken last, and is being written: its weight, and how many entries it has.
    taken: (usize, u64),
    /// How many entries came.
    came: u64,
    /// How many threads have one for which there is no room yet.
    held: u64,
    /// Entries that were dropped, and are to be told of.
    dropped: u64,
    /// Why the last was dropped.
    why: String,
    pace: Pace,
}

impl<T> Queue<T> {
    /// A queue that takes entries up to this weight, or one.
    pub(super) const fn new(most: usize, weight: fn(&T) -> usize) -> Queue<T> {
        let state = State {
            waiting: VecDeque::new(),
            weight: 0,
            taken: (0, 0),
            came: 0,
            held: 0,
            dropped: 0,
            why: String::new(),
            pace: Pace::of(1),
        };
        Queue { most, weight, state: Monitor::new(state) }
    }

    /// Takes the entries for which there is room, and counts the others as dropped. Never
    /// blocks. Returns whether there was room for all.
    pub(super) fn offer(&self, entries: impl IntoIterator<Item = T>, why: &str) -> bool {
        let (mut state, mut dropped) = (self.state.lock(), 0);
        for entry in entries {
            match self.fits(&state, &entry) {
                true => self.add(&mut state, entry),
                false => dropped += 1,
            }
        }
        if dropped > 0 {
            state.dropped += dropped;
            why.clone_into(&mut state.why);
        }
        self.state.notify();
        dropped == 0
    }

    /// Takes an entry; waits while there is no room for it.
    pub(super) fn push(&self, entry: T) {
        self.state.lock().held += 1;
        let mut state = self.state.wait(|state| self.fits(state, &entry));
        state.held -= 1;
        self.add(&mut state, entry);
        self.state.notify();
    }

    /// What comes next, up to this weight, or one entry. What was taken before is written, or
    /// dropped. Waits for it; where there are dropped entries to be told of, no longer than a
    /// second.
    pub(super) fn take(&self, most: usize) -> Vec<T> {
        let mut state = self.state.lock();
        state.weight -= std::mem::take(&mut state.taken).0;
        self.state.notify();
        drop(state);
        let has_come = |state: &State<T>| !state.waiting.is_empty();
        drop(self.state.wait(|state| has_come(state) || state.dropped > 0));
        let mut state = self.state.wait_for(SECOND, has_come);
        let mut taken = Vec::new();
        while state.taken.0 < most
            && let Some(entry) = state.waiting.pop_front()
        {
            state.taken = (state.taken.0 + (self.weight)(&entry), state.taken.1 + 1);
            taken.push(entry);
        }
        taken
    }

    /// Waits until what has come so far is written, but no longer than this. Returns how
    /// many entries are not.
    pub(super) fn flush(&self, time: Duration) -> u64 {
        let came = {
            let state = self.state.lock();
            state.came + state.held
        };
        let left = |state: &State<T>| {
            came.saturating_sub(state.came - state.waiting.len() as u64 - state.taken.1)
        };
        left(&self.state.wait_for(time, |state| left(state) == 0))
    }

    /// Counts entries as dropped.
    pub(super) fn drop_entries(&self, count: u64, why: &str) {
        let mut state = self.state.lock();
        state.dropped += count;
        why.clone_into(&mut state.why);
        self.state.notify();
    }

    /// How many entries were dropped and not told of, and why the last was. None if they were
    /// told of within a second, unless it has to be `at_once`.
    pub(super) fn dropped(&self, at_once: bool) -> (u64, String) {
        let mut state = self.state.lock();
        let told = at_once || state.dropped > 0 && state.pace.allows(now());
        let count = if told { std::mem::take(&mut state.dropped) } else { 0 };
        (count, state.why.clone())
    }

    fn fits(&self, state: &State<T>, entry: &T) -> bool {
        state.weight == 0 || state.weight + (self.weight)(entry) <= self.most
    }

    fn add(&self, state: &mut State<T>, entry: T) {
        state.weight += (self.weight)(&entry);
        state.came += 1;
        state.waiting.push_back(entry);
    }
}

/// Allows so many of something in a second.
#[derive(Debug)]
pub(super) struct Pace {
    most: u32,
    since: Option<Instant>,
    count: u32,
}

impl Pace {
    /// So many in a second.
    pub(super) const fn of(most: u32) -> Pace {
        Pace { most, since: None, count: 0 }
    }

    /// Whether one more is allowed.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= SECOND) {
            (self.since, self.count) = (Some(now), 0);
        }
        self.count = self.count.saturating_add(1);
        self.count <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_to_its_pace() {
        const PACE: u32 = 1000;
        let (start, mut pace) = (now(), Pace::of(PACE));
        for second in 0..3 {
            let at = |n: u32| start + SECOND * second + SECOND * n / (5 * PACE);
            assert_eq!((0..5 * PACE).filter(|n| pace.allows(at(*n))).count(), PACE as usize);
        }
    }

    /// Whoever sent it does not send it again.
    #[test]
    fn an_entry_that_waits_for_room_counts() {
        let queue = Queue::new(1, Vec::<u8>::len);
        queue.push(vec![0]);
        std::thread::scope(|scope| {
            scope.spawn(|| queue.push(vec![0]));
            let deadline = now() + 20 * SECOND;
            while queue.flush(Duration::ZERO) < 2 && now() < deadline {
                std::thread::yield_now();
            }
            let waiting = queue.flush(Duration::ZERO);
            // One is written when the next is asked for.
            for _ in 0..2 {
                assert_eq!(queue.take(1).len(), 1);
            }
            assert_eq!(waiting, 2);
        });
    }

    #[test]
    fn a_full_queue_drops_and_counts_without_waiting() {
        let queue = Queue::new(3, Vec::<u8>::len);
        let offer = |size: usize| queue.offer([vec![0; size]], "why");
        // One that is larger than all the room is taken alone.
        assert!(offer(4) && !offer(1));
        assert_eq!(queue.take(1).len(), 1);
        assert!(!offer(1), "it is not written yet");
        assert_eq!(queue.flush(Duration::ZERO), 1);
        // There is nothing to take, but something to tell.
        assert_eq!(queue.take(1).len(), 0);
        assert_eq!(queue.flush(Duration::MAX), 0);
        assert!(!queue.offer([2, 1, 1].map(|size| vec![0; size]), "why"));
        assert_eq!(queue.dropped(false), (3, "why".to_string()));
        // The next one waits for its second.
        assert!(!offer(1));
        assert_eq!(queue.dropped(false).0, 0);
        assert_eq!(queue.dropped(true).0, 1);
        assert_eq!([queue.take(2).len(), queue.take(2).len()], [1, 1]);
    }
}
