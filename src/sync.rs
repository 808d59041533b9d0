//! The one place where the crate reaches for threads, locks, the clock and
//! randomness, so that the model checker (`--cfg shuttle`) can stand in for them.

use std::time::{Duration, Instant};

pub(crate) use std::sync::Arc;

#[cfg(not(shuttle))]
mod os;

#[cfg(shuttle)]
pub(crate) use crate::testing::model::*;
#[cfg(not(shuttle))]
pub(crate) use os::*;

/// The moment `time` from now, or `None` if there is no such moment.
pub(crate) fn after(time: Duration) -> Option<Instant> {
    now().checked_add(time)
}

/// The moment `time` from now, or one that will not come.
pub(crate) fn later(time: Duration) -> Instant {
    add(now(), time)
}

/// The moment `time` after another, or one that will not come.
pub(crate) fn add(moment: Instant, time: Duration) -> Instant {
    moment.checked_add(time).unwrap_or(moment + Duration::from_secs(1 << 31))
}
