//! Waiting for what nobody announces.

use std::thread;
use std::time::{Duration, Instant};

/// The patience of these tests.
use crate::SOON;

#[expect(clippy::disallowed_methods, reason = "waits have a deadline")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits until something is true.
#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = now() + SOON;
    while !done() {
        assert!(now() < deadline, "not within {SOON:?}: {what}");
        thread::park_timeout(Duration::from_millis(1));
    }
}
