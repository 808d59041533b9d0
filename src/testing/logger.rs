//! An application's logger, for tests: it does on each thread what that thread wants.

use std::cell::RefCell;

use log::{LevelFilter, Log, Metadata, Record};

type Hook = Box<dyn FnMut(&Record<'_>)>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    /// What is logged by the hook itself goes nowhere.
    fn log(&self, record: &Record<'_>) {
        let Some(mut hook) = HOOK.take() else { return };
        hook(record);
        HOOK.set(Some(hook));
    }

    fn flush(&self) {}
}

/// From now on this is called with what this thread logs.
pub(crate) fn listen(hook: impl FnMut(&Record<'_>) + 'static) {
    // It is there already if another test has come first.
    let _ = log::set_logger(&Logger);
    log::set_max_level(LevelFilter::Trace);
    HOOK.set(Some(Box::new(hook)));
}
