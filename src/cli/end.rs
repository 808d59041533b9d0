//! The end of the process: once, by the thread that comes first, and at once when
//! the process is told to end a second time.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, process, thread};

use parking_lot::{Mutex, MutexGuard};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::{code, log, terminal};

/// Signals that come within this time of the first are the same wish: `timeout` signals
/// its child, and then its process group.
const ONE_WISH: Duration = Duration::from_millis(500);

static ENDING: Mutex<()> = Mutex::new(());

/// Calls `leave` on a thread of its own when the process is told to end, by
/// Ctrl-C or SIGTERM, with the exit code that shells have for that: 128 and the
/// signal's number. Told again half a second later or more, the process ends at once
/// with that code, whatever `leave` is stuck in.
///
/// SIGHUP, unless it is [caught](HangUps), and SIGQUIT do what they always do: with its terminal a
/// program ends, and under `nohup` it does not. Where lines are edited, the terminal gets its mode
/// back before. It is this thread that does so, since that of the keyboard may be stuck in a write.
pub fn when_told(leave: impl FnOnce(u8) + Send + 'static) -> io::Result<()> {
    when(&[SIGINT, SIGTERM], leave)
}

/// [`when_told`] that counts SIGHUP as well, unless whoever started the program has it ignored,
/// as `nohup` does.
pub fn when_told_or_hung_up(leave: impl FnOnce(u8) + Send + 'static) -> io::Result<()> {
    match is_ignored(SIGHUP) {
        true => when(&[SIGINT, SIGTERM], leave),
        false => when(&[SIGINT, SIGTERM, SIGHUP], leave),
    }
}

/// Whether a signal is ignored, where that can be told
/// ([proc(5)](https://man7.org/linux/man-pages/man5/proc_pid_status.5.html)).
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

fn when(ours: &'static [i32], leave: impl FnOnce(u8) + Send + 'static) -> io::Result<()> {
    let mut others = vec![];
    if terminal::can_edit() {
        others.extend([SIGHUP, SIGQUIT]);
        others.retain(|signal| !ours.contains(signal) && !is_ignored(*signal));
    }
    let mut signals = Signals::new(ours.iter().chain(&others))?;
    let again = Arc::new(AtomicBool::new(false));
    for signal in ours {
        flag::register_conditional_shutdown(*signal, code_of(*signal).into(), again.clone())?;
    }
    for signal in others {
        flag::register_conditional_default(signal, again.clone())?;
    }
    let wait = move || match signals.forever().next() {
        Some(signal) if ours.contains(&signal) => {
            arm(again);
            leave(code_of(signal));
        }
        Some(signal) => {
            terminal::close();
            let _ = emulate_default_handler(signal);
        }
        None => {}
    };
    thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(())
}

/// What tells a program to read its files again: SIGHUP, if its standard input is no terminal.
/// Else it ends, as all programs do that lose theirs.
pub struct HangUps(Option<Signals>);

impl HangUps {
    /// Whether there are any: not where a terminal tells of its end by them.
    pub fn can_be() -> bool {
        !io::stdin().is_terminal()
    }

    /// From now on none is missed.
    pub fn catch() -> io::Result<HangUps> {
        HangUps::can_be().then(|| Signals::new([SIGHUP])).transpose().map(HangUps)
    }

    /// Calls `work` after each, on a thread of its own.
    pub fn each(self, mut work: impl FnMut() + Send + 'static) -> io::Result<()> {
        let Some(mut signals) = self.0 else { return Ok(()) };
        let work = move || signals.forever().for_each(|_| work());
        thread::Builder::new().name("reload".into()).spawn(work).map(drop)
    }
}

/// Lets the next signal end the process, once it can be no part of the same wish.
fn arm(again: Arc<AtomicBool>) {
    let armed = again.clone();
    let wait = move || {
        thread::park_timeout(ONE_WISH);
        armed.store(true, Ordering::SeqCst);
    };
    if thread::Builder::new().name("patience".into()).spawn(wait).is_err() {
        again.store(true, Ordering::SeqCst);
    }
}

/// The code for [`when_told_or_hung_up`].
pub(super) const HUNG_UP: u8 = code_of(SIGHUP);

const fn code_of(signal: i32) -> u8 {
    // There are no 128 signals.
    128 + signal as u8
}

/// Ends the process after its work: with the code that `conclude` finds for what came of it, or
/// with [`code::FAILED`] and what kept it from working.
pub fn exit_after<T>(outcome: anyhow::Result<T>, conclude: impl FnOnce(T) -> u8) -> ! {
    let ending = Ending::begin();
    let code = outcome.map(conclude).unwrap_or_else(|error| {
        ::log::error!("{error:#}");
        code::FAILED
    });
    ending.exit(code)
}

/// The right to end the process. The thread that holds it says the last words.
pub struct Ending {
    _turn: MutexGuard<'static, ()>,
}

impl Ending {
    /// Takes the right; blocks for ever if another thread has it, since the
    /// process then ends.
    pub fn begin() -> Ending {
        let turn = ENDING.lock();
        // A second signal may end the process anywhere from here on.
        terminal::restore_mode();
        Ending { _turn: turn }
    }

    /// Writes the log, gives the terminal back, and ends the process. It waits for no other
    /// thread, and drops nothing.
    pub fn exit(self, code: u8) -> ! {
        log::flush();
        terminal::close();
        process::exit(code.into())
    }
}
