//! The keyboard: one thread reads keys, and keeps the prompt up to date.
//!
//! The thread waits for the next key, and this wait is also the prompt's clock and the
//! place where signals arrive: a prompt counts down, and a resized window is drawn anew,
//! while no key is pressed. Complete lines wait in a queue for the thread that takes
//! them; while the queue is full, nothing is read. The keyboard's thread waits for
//! nothing but the terminal.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, kill_current_process_group};
use rustyline::Cmd;
use signal_hook::consts::{SIGCONT, SIGWINCH};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

use super::editor::Editor;
use super::keys::Keys;
use super::monitor::Monitor;
use super::stdio::{self, ReadEnd};
use super::terminal::{self, Bottom, Prompter};

/// How many lines may wait to be taken.
const QUEUE: usize = 1024;
/// How often the thread looks whether the queue has room again, and whether a
/// terminal that was stopped goes on.
const RETRY: Duration = Duration::from_millis(50);
/// How often a process in the background looks whether it still is: not every
/// shell says when it is not.
const LOOK: Duration = Duration::from_millis(250);
/// How long Ctrl-Z may take to stop the process. Where no shell could continue it,
/// it does not stop.
const STOPPING: Duration = Duration::from_millis(200);

static WAKE: OnceLock<UnixStream> = OnceLock::new();
static LINES: Monitor<Lines> =
    Monitor::new(Lines { done: 0, read: 0, shown: 0, rest: VecDeque::new() });

/// The lines that were typed.
struct Lines {
    /// So many are done with.
    done: u64,
    /// So many bytes of the first of the others were read.
    read: usize,
    /// So many of the others are on the screen, and can be read. An answer comes
    /// below its question.
    shown: usize,
    /// The others, each with its newline. The last is empty, which is the end, or an error:
    /// nothing reads standard output any more ([`ErrorKind::BrokenPipe`]), or the terminal
    /// cannot be read.
    rest: VecDeque<io::Result<Vec<u8>>>,
}

/// The lines that were typed after the first `number`, and are not done with.
pub(super) fn lines_after(number: u64) -> Vec<Vec<u8>> {
    let lines = LINES.lock();
    let rest = lines.rest.iter().skip(number.saturating_sub(lines.done) as usize);
    rest.flatten().filter(|line| !line.is_empty()).cloned().collect()
}

/// Has the prompt asked for again. Never blocks.
pub(super) fn wake() {
    if let Some(mut stream) = WAKE.get() {
        // If it is full, the thread will wake in any case.
        let _ = stream.write(&[0]);
    }
}

/// Starts the thread that reads keys. A line can have at least `limit` bytes.
/// [`terminal::close`] ends the thread. When `output` has gone, if that is given, the lines
/// end.
pub(super) fn start(limit: usize, prompter: Prompter, output: Option<ReadEnd>) -> io::Result<()> {
    let (theirs, ours) = UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    let wake = theirs.try_clone()?;
    let signals = SignalDelivery::with_pipe(ours, theirs, SignalOnly, [SIGCONT, SIGWINCH])?;
    let _ = WAKE.set(wake);
    if let Some(output) = output {
        output.watch(|| fail(ErrorKind::BrokenPipe.into()))?;
    }
    let mut keyboard = Keyboard { signals, keys: Keys::default(), editor: Editor::new(limit) };
    let work = move || {
        let read = catch_unwind(AssertUnwindSafe(|| keyboard.read(prompter)));
        if let Err(error) = read.unwrap_or_else(|_| Err(io::Error::other("a panic"))) {
            fail(error);
        }
    };
    thread::Builder::new().name("keyboard".into()).spawn(work).map(drop)
}

/// Reads lines, a part of one at a time; waits for one. The line that was read to its end
/// before is done with. It is for one thread.
pub(super) fn read(mut to: &mut [u8]) -> io::Result<usize> {
    let mut lines = LINES.lock();
    if lines.read > 0 && matches!(&lines.rest[0], Ok(line) if line.len() == lines.read) {
        lines.rest.pop_front();
        lines.shown -= 1;
        lines.done += 1;
        lines.read = 0;
    }
    drop(lines);
    let mut lines = LINES.wait(|lines| lines.shown > 0);
    let Lines { read, rest, .. } = &mut *lines;
    match &mut rest[0] {
        Ok(line) => {
            let taken = to.write(&line[*read..])?;
            *read += taken;
            Ok(taken)
        }
        Err(error) => Err(std::mem::replace(error, ErrorKind::Other.into())),
    }
}

/// There are no more lines behind those that were typed.
fn fail(error: io::Error) {
    LINES.lock().rest.push_back(Err(error));
    show();
}

/// Lines that were typed are on the screen.
fn show() {
    let mut lines = LINES.lock();
    lines.shown = lines.rest.len();
    LINES.notify();
}

struct Keyboard {
    /// Signals that concern the screen. They wake the thread; so does [`wake`]. Those that
    /// end the process are in [`end`](super::end).
    signals: SignalDelivery<UnixStream, SignalOnly>,
    keys: Keys,
    editor: Editor,
}

impl Keyboard {
    /// Reads lines until there are no more, or the terminal is closed.
    fn read(&mut self, prompter: Prompter) -> io::Result<()> {
        terminal::begin(prompter)?;
        let mut above = String::new();
        let mut bytes = [0; 4096];
        loop {
            let mut changes = Some(RETRY);
            if stdio::takes_output(stdio::stderr(), Duration::ZERO) {
                let search = self.editor.search.as_ref().map(|term| format!("search: {term}> "));
                let (line, at) = self.editor.line();
                changes = terminal::show(&above, Bottom::Line(line.to_string(), at, search));
                above.clear();
                show();
                if matches!(LINES.lock().rest.back(), Some(Ok(line)) if line.is_empty()) {
                    return Ok(());
                }
            }
            if terminal::is_closed() {
                return Ok(());
            }
            if !self.wait(changes) || terminal::is_closed() {
                continue;
            }
            match rustix::io::read(io::stdin(), &mut bytes) {
                Ok(0) => LINES.lock().rest.push_back(Ok(Vec::new())),
                Ok(count) => above += &self.type_in(&bytes[..count]),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn woken(&self) -> PollFd<'_> {
        PollFd::new(self.signals.get_read(), PollFlags::IN)
    }

    /// Waits for something to do; says whether a key can be read.
    fn wait(&mut self, changes: Option<Duration>) -> bool {
        let full = LINES.lock().rest.len() >= QUEUE;
        let ours = terminal::is_ours();
        let most = match ours {
            _ if full => Some(RETRY),
            true => changes,
            false => Some(LOOK),
        };
        let most = most.and_then(|most| Timespec::try_from(most).ok());
        let mut fds = vec![self.woken()];
        fds.extend((ours && !full).then(stdio::input));
        let polled = poll(&mut fds, most.as_ref());
        let readable = polled.is_ok() && fds[1..].iter().any(|fd| !fd.revents().is_empty());
        // The process that had the terminal meanwhile may have changed its mode.
        if self.was_continued() {
            terminal::resume();
        }
        readable
    }

    /// Does what was typed; returns what of it stays on the screen.
    fn type_in(&mut self, bytes: &[u8]) -> String {
        let mut above = String::new();
        for key in self.keys.take(bytes) {
            match key {
                Cmd::Suspend => self.suspend(),
                Cmd::ClearScreen => terminal::clear_screen(),
                Cmd::AcceptLine => above.push_str(&terminal::left_behind(self.editor.line().0)),
                _ => {}
            }
            let entered = self.editor.press(key);
            let ends = entered.as_ref().is_some_and(Vec::is_empty);
            LINES.lock().rest.extend(entered.map(Ok));
            if ends {
                break;
            }
        }
        above
    }

    /// Ctrl-Z: all processes that were started together stop, until told to go on.
    fn suspend(&mut self) {
        terminal::suspend();
        self.was_continued();
        if kill_current_process_group(Signal::TSTP).is_ok() {
            let most = Timespec::try_from(STOPPING).ok();
            while !self.was_continued() {
                if poll(&mut [self.woken()], most.as_ref()).is_ok_and(|ready| ready == 0) {
                    break;
                }
            }
        }
        terminal::resume();
    }

    /// Takes the signals that have come. Returns whether the process was continued.
    fn was_continued(&mut self) -> bool {
        self.signals.pending().fold(false, |continued, signal| continued | (signal == SIGCONT))
    }
}
