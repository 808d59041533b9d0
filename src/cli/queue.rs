//! What waits for a standard stream: a bounded queue in front of the thread that writes
//! there, so that no other thread waits for a terminal. The queue counts what finds no room,
//! and what could not be written.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::monitor::Monitor;
use super::now;

const SECOND: Duration = Duration::from_secs(1);

/// Something to be written.
pub(super) trait Load {
    /// What it counts for in the queue.
    fn weight(&self) -> usize {
        1
    }

    /// How many lines it has.
    fn lines(&self) -> u64 {
        1
    }
}

/// A queue, and an account of what came through it.
pub(super) struct Queue<T> {
    most: usize,
    state: Monitor<State<T>>,
}

struct State<T> {
    entries: VecDeque<T>,
    /// Of what is not written yet.
    weight: usize,
    /// Lines that came, and those of them that are written or dropped.
    came: u64,
    gone: u64,
    dropped: Dropped,
}

/// Lines that were dropped, and are to be told of.
struct Dropped {
    count: u64,
    /// Why the last was dropped.
    why: String,
    pace: Pace,
}

impl<T: Load> Queue<T> {
    /// A queue that takes entries up to this weight, or one.
    pub(super) const fn new(most: usize) -> Queue<T> {
        let dropped = Dropped { count: 0, why: String::new(), pace: Pace::of(1) };
        let state = State { entries: VecDeque::new(), weight: 0, came: 0, gone: 0, dropped };
        Queue { most, state: Monitor::new(state) }
    }

    /// Takes an entry if there is room for it, or else counts it as dropped. Never blocks.
    pub(super) fn offer(&self, entry: T, why: &str) -> bool {
        let mut state = self.state.lock();
        let fits = state.fits(&entry, self.most);
        match fits {
            true => state.push(entry),
            false => state.dropped.add(entry.lines(), why),
        }
        self.state.notify();
        fits
    }

    /// Takes an entry; waits while there is no room for it.
    pub(super) fn push(&self, entry: T) {
        self.state.wait(|state| state.fits(&entry, self.most)).push(entry);
        self.state.notify();
    }

    /// All that has come. Waits for it; where there are dropped lines to be told of, no
    /// longer than a second.
    pub(super) fn take(&self) -> VecDeque<T> {
        let has_come = |state: &State<T>| !state.entries.is_empty();
        drop(self.state.wait(|state| has_come(state) || state.dropped.count > 0));
        std::mem::take(&mut self.state.wait_for(SECOND, has_come).entries)
    }

    /// An entry of this weight and so many lines is written, or dropped.
    pub(super) fn done(&self, weight: usize, lines: u64) {
        let mut state = self.state.lock();
        state.weight -= weight;
        state.gone += lines;
        self.state.notify();
    }

    /// Waits until what has come so far is written, but no longer than this. Returns how
    /// many lines are not.
    pub(super) fn flush(&self, time: Duration) -> u64 {
        let came = self.state.lock().came;
        came.saturating_sub(self.state.wait_for(time, |state| state.gone >= came).gone)
    }

    /// Counts lines as dropped.
    pub(super) fn drop_lines(&self, count: u64, why: &str) {
        self.state.lock().dropped.add(count, why);
        self.state.notify();
    }

    /// How many lines were dropped, and why the last was, if it is time to tell.
    pub(super) fn dropped(&self) -> Option<(u64, String)> {
        let dropped = &mut self.state.lock().dropped;
        let told = dropped.count > 0 && dropped.pace.allows(now());
        told.then(|| (std::mem::take(&mut dropped.count), dropped.why.clone()))
    }

    /// The same, whenever it was told last.
    pub(super) fn last_dropped(&self) -> (u64, String) {
        let dropped = &mut self.state.lock().dropped;
        (std::mem::take(&mut dropped.count), std::mem::take(&mut dropped.why))
    }
}

impl<T: Load> State<T> {
    fn fits(&self, entry: &T, most: usize) -> bool {
        self.weight == 0 || self.weight + entry.weight() <= most
    }

    fn push(&mut self, entry: T) {
        self.weight += entry.weight();
        self.came += entry.lines();
        self.entries.push_back(entry);
    }
}

impl Dropped {
    fn add(&mut self, count: u64, why: &str) {
        self.count += count;
        self.why.clear();
        self.why.push_str(why);
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

    impl Load for Vec<u8> {
        fn weight(&self) -> usize {
            self.len()
        }
    }

    #[test]
    fn a_full_queue_drops_and_counts_without_waiting() {
        let queue = Queue::new(3);
        let offer = |size: usize| queue.offer(vec![0; size], "why");
        // One that is larger than all the room is taken alone.
        assert!(offer(4) && !offer(1));
        assert_eq!(queue.take().len(), 1);
        assert!(!offer(1), "it is not written yet");
        assert_eq!(queue.flush(Duration::ZERO), 1);
        queue.done(4, 1);
        assert_eq!(queue.flush(Duration::MAX), 0);
        assert!(offer(2) && offer(1) && !offer(1));
        assert_eq!(queue.dropped(), Some((3, "why".to_string())));
        // The next one waits for its second.
        assert!(!offer(1));
        assert_eq!(queue.dropped(), None);
        assert_eq!(queue.last_dropped().0, 1);
    }
}
