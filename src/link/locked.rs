//! The lock on a connection's state, and how a thread lets go of it for a while.

use std::ops::{Deref, DerefMut};
use std::time::Instant;

use super::{Shared, State, Waiter};
use crate::sync::{self, MutexGuard, Ordering};

/// The state of a connection, for the thread that has locked it. After a change,
/// [`settle`](Locked::settle) does what follows and releases it.
pub(crate) struct Locked<'a> {
    pub(super) shared: &'a Shared,
    /// Taken out only while the lock is released.
    state: Option<MutexGuard<'a, State>>,
}

impl Shared {
    pub(crate) fn lock(&self) -> Locked<'_> {
        Locked::new(self, self.state.lock())
    }

    /// Locks it for a thread that sends. In a rush it lets others go first if it is taken: four
    /// threads that sent without a pause moved the state from cache to cache for each message,
    /// and made two thirds of the messages of one (`benches/peers`, not pinned). In turn they make
    /// as many. Outside a rush it waits like any other: on a busy machine, a core that is yielded
    /// is gone for milliseconds.
    pub(crate) fn lock_to_send(&self) -> Locked<'_> {
        let rush = self.rush.load(Ordering::Relaxed);
        Locked::new(self, if rush { self.state.lock_in_turn() } else { self.state.lock() })
    }
}

impl<'a> Locked<'a> {
    fn new(shared: &'a Shared, state: MutexGuard<'a, State>) -> Locked<'a> {
        #[cfg(all(test, not(shuttle)))]
        crate::testing::counters::count(|counters| counters.locks += 1);
        Locked { shared, state: Some(state) }
    }

    /// Does something while the lock is released: a system call, or code of the
    /// application's. What was known of the state before may be wrong afterwards.
    pub(super) fn unlocked<T>(&mut self, action: impl FnOnce() -> T) -> T {
        self.state = None;
        let result = action();
        *self = self.shared.lock();
        result
    }

    /// Waits to be woken, at most until `deadline`.
    pub(super) fn sleep(&mut self, waiter: Waiter, deadline: Option<Instant>) {
        self.waiters(waiter).sleep();
        let state = self.state.take().expect("locked");
        self.state = Some(sync::wait(self.shared.condvar(waiter), state, deadline));
        self.waiters(waiter).wake();
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.state.as_ref().expect("locked")
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.state.as_mut().expect("locked")
    }
}
