//! What a thread asks of the system and of other threads, counted in tests.

use std::cell::Cell;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Calls that read from a socket, those that write, and all others.
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) other_calls: u64,
    /// How often a connection's state was locked.
    pub(crate) locks: u64,
    /// Wake-ups of waiting threads, and of the driver.
    pub(crate) notices: u64,
    pub(crate) calls: u64,
}

impl Counters {
    pub(crate) fn times(self, n: u64) -> Counters {
        Counters {
            reads: self.reads * n,
            writes: self.writes * n,
            other_calls: self.other_calls * n,
            locks: self.locks * n,
            notices: self.notices * n,
            calls: self.calls * n,
        }
    }
}

thread_local! {
    static COUNTERS: Cell<Counters> = Cell::default();
}

pub(crate) fn count(what: impl FnOnce(&mut Counters)) {
    let mut counters = COUNTERS.get();
    what(&mut counters);
    COUNTERS.set(counters);
}

/// What this thread has counted since the last time.
pub(crate) fn take() -> Counters {
    COUNTERS.take()
}
