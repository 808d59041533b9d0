//! A value that threads share, and wait for. Pure std.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A value behind a lock. A thread that panics while it holds the lock leaves it as it is.
#[derive(Debug, Default)]
pub(super) struct Monitor<T> {
    value: Mutex<T>,
    changed: Condvar,
    /// How many threads wait. Changed while the lock is held.
    waiting: AtomicUsize,
}

impl<T> Monitor<T> {
    /// A value that no thread waits for yet.
    pub(super) const fn new(value: T) -> Monitor<T> {
        Monitor { value: Mutex::new(value), changed: Condvar::new(), waiting: AtomicUsize::new(0) }
    }

    /// The value, for the time that the lock is held.
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is so.
    pub(super) fn wait(&self, is_so: impl Fn(&T) -> bool) -> MutexGuard<'_, T> {
        self.wait_for(Duration::MAX, is_so)
    }

    /// Waits until something is so, but no longer than this.
    pub(super) fn wait_for(&self, time: Duration, is_so: impl Fn(&T) -> bool) -> MutexGuard<'_, T> {
        let value = self.lock();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waited = self.changed.wait_timeout_while(value, time, |value| !is_so(value));
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Wakes the threads that wait, after a change. No system call if there are none.
    pub(super) fn notify(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.changed.notify_all();
        }
    }
}
