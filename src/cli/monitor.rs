//! A value that threads share, and wait for.

use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

/// A value behind a lock. A thread that panics while it holds the lock leaves it as it is.
#[derive(Debug, Default)]
pub(super) struct Monitor<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Monitor<T> {
    /// A value that no thread waits for yet.
    pub(super) const fn new(value: T) -> Monitor<T> {
        Monitor { value: Mutex::new(value), changed: Condvar::new() }
    }

    /// The value, for the time that the lock is held.
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock()
    }

    /// Waits until something is so.
    pub(super) fn wait(&self, is_so: impl Fn(&T) -> bool) -> MutexGuard<'_, T> {
        self.wait_for(Duration::MAX, is_so)
    }

    /// Waits until something is so, but no longer than this.
    pub(super) fn wait_for(&self, time: Duration, is_so: impl Fn(&T) -> bool) -> MutexGuard<'_, T> {
        let mut value = self.lock();
        self.changed.wait_while_for(&mut value, |value| !is_so(value), time);
        value
    }

    /// Wakes the threads that wait, after a change. No system call if there are none.
    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }
}
