//! Code of the application's that runs in the midst of this crate's: its event
//! callback, its logger, and what is dropped with the things it gave us.
//!
//! It may do anything, so none of it runs while a lock is held; a panic in it goes
//! no further; and the calls of this crate that would block do not block in it,
//! since other connections may wait for the thread that runs it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sync;

sync::thread_local! {
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs such code at the moment.
pub(crate) fn is_running() -> bool {
    RUNNING.with(Cell::get)
}

/// Runs such code. Returns whether it did not panic.
fn contain(code: impl FnOnce()) -> bool {
    let before = RUNNING.with(|running| running.replace(true));
    let result = catch_unwind(AssertUnwindSafe(code));
    let fine = result.is_ok();
    // What it panicked with may panic when it is dropped, and so on.
    if let Err(payload) = result.or_else(|it| catch_unwind(AssertUnwindSafe(|| drop(it)))) {
        std::mem::forget(payload);
    }
    RUNNING.with(|running| running.set(before));
    fine
}

/// Runs such code. A panic in it is logged.
pub(crate) fn run(what: &str, code: impl FnOnce()) {
    if !contain(code) {
        log!(error, "{what} panicked");
    }
}

/// Drops what the application gave us. Of several things each by itself: of two
/// that panic in one drop, the second would abort the process.
pub(crate) fn discard<T>(value: T) {
    run("the drop of what the application owns", || drop(value));
}

/// Logs. The logger, too, is the application's.
pub(crate) fn tell(log: impl FnOnce()) {
    let _ = contain(log);
}

/// The macros of the crate `log`, for where the logger must not do harm.
macro_rules! log {
    ($level:ident, $($text:tt)+) => {
        $crate::foreign::tell(|| ::log::$level!($($text)+))
    };
}
pub(crate) use log;
