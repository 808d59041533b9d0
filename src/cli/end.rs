//! The end of the process: once, by whoever comes first.

use std::process;
use std::sync::{Mutex, MutexGuard};

static ENDING: Mutex<()> = Mutex::new(());

/// The right to end the process. Whoever holds it says the last words.
pub struct Ending {
    _turn: MutexGuard<'static, ()>,
}

impl Ending {
    /// Takes the right; blocks for ever if another thread has it, since the
    /// process then ends.
    pub fn begin() -> Ending {
        Ending { _turn: ENDING.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) }
    }

    /// Ends the process when the log is written. Other threads are not
    /// waited for, nor is anything dropped.
    pub fn exit(self, code: u8) -> ! {
        super::log::flush();
        process::exit(code.into())
    }
}
