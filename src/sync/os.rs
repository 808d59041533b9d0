//! Threads, locks, the clock and randomness of the operating system.

use std::sync::{PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime};

pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
pub(crate) use std::sync::{Condvar, MutexGuard};
pub(crate) use std::thread_local;

/// A mutex whose data stays usable when a thread panicked with the lock held.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(std::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks it, and lets other threads run first if it is taken: twice at most.
    pub(crate) fn lock_in_turn(&self) -> MutexGuard<'_, T> {
        for _ in 0..2 {
            match self.0.try_lock() {
                Ok(guard) => return guard,
                Err(TryLockError::Poisoned(error)) => return error.into_inner(),
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        }
        self.lock()
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits to be notified, at most until `deadline`. May wake early.
pub(crate) fn wait<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> MutexGuard<'a, T> {
    match deadline {
        None => condvar.wait(guard).unwrap_or_else(PoisonError::into_inner),
        Some(deadline) => {
            let left = deadline.saturating_duration_since(now());
            let waited = condvar.wait_timeout(guard, left);
            waited.unwrap_or_else(PoisonError::into_inner).0
        }
    }
}

/// The clock.
#[expect(clippy::disallowed_methods, reason = "the one place where it is read")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time of the day, by which credentials expire. It may be set, and is no measure.
#[expect(clippy::disallowed_methods, reason = "the one place where it is read")]
pub(crate) fn wall_clock() -> SystemTime {
    #[cfg(test)]
    if let Some(time) = SHOWN.get() {
        return time;
    }
    SystemTime::now()
}

/// How long the machine has slept so far, counted from anywhere: while it does, the
/// clock of [`now`] stands still.
pub(crate) fn asleep() -> Duration {
    let asleep = ahead();
    #[cfg(test)]
    let asleep = asleep + DREAMT.get();
    asleep
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn ahead() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    // In this order, a pause between the two is no sleep.
    let clocks = [ClockId::Boottime, ClockId::Monotonic].map(clock_gettime);
    let [all, awake] = clocks.map(|time| Duration::try_from(time).unwrap_or_default());
    all.saturating_sub(awake)
}

/// No clock of all these systems tells that and nothing else. The wall clock may be
/// set, which costs a check that was not needed.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn ahead() -> Duration {
    static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let wall = wall_clock().duration_since(SystemTime::UNIX_EPOCH);
    wall.unwrap_or_default().saturating_sub(ORIGIN.get_or_init(now).elapsed())
}

#[cfg(test)]
thread_local! {
    static DREAMT: std::cell::Cell<Duration> = const { std::cell::Cell::new(Duration::ZERO) };
    static SHOWN: std::cell::Cell<Option<SystemTime>> = const { std::cell::Cell::new(None) };
}

/// The clock shows this thread another time from now on.
#[cfg(all(test, feature = "tls"))]
pub(crate) fn set_wall_clock(time: SystemTime) {
    SHOWN.set(Some(time));
}

/// The machine sleeps for so long, as far as this thread can tell.
#[cfg(test)]
pub(crate) fn sleep(time: Duration) {
    DREAMT.set(DREAMT.get() + time);
}

/// Starts a named thread.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    // Nothing joins it: it ends by itself when its work is done.
    std::thread::Builder::new().name(name.into()).spawn(body).map(drop)
}

/// Randomness of the operating system, for tokens, epochs and jitter.
pub(crate) fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_held_that_panicked_can_be_locked() {
        let mutex = std::sync::Arc::new(Mutex::new(7));
        let held = mutex.clone();
        let panics = std::thread::spawn(move || {
            let _guard = held.lock();
            panic!("with the lock held");
        });
        panics.join().unwrap_err();
        assert_eq!(*mutex.lock(), 7);
        assert_eq!(*mutex.lock_in_turn(), 7);
    }
}
