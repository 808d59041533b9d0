//! The keyboard: one thread reads keys, and keeps the prompt up to date.
//!
//! Its wait for the next key is also the prompt's clock and where signals
//! arrive, so that a prompt counts down, and a resized window is drawn anew,
//! while nobody types. Complete lines are handed over in a bounded queue; while
//! it is full, nothing is read. The thread waits for nothing but the terminal.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, kill_current_process_group};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGQUIT, SIGWINCH};
use signal_hook::{flag, low_level};

use super::editor::{Editor, Entered};
use super::keys::{Key, Keys};
use super::raw;
use super::stdio::ReadEnd;
use super::terminal::{self, Prompter};

/// How many lines may wait to be taken.
const QUEUE: usize = 1024;
/// How often it is tried to hand over lines that found no room, and to draw on
/// a terminal that was stopped.
const RETRY: Duration = Duration::from_millis(50);
/// How often a process in the background looks whether it still is: not every
/// shell says when it is not.
const LOOK: Duration = Duration::from_millis(250);
/// How long Ctrl-Z may take to stop the process; nobody may be there to
/// continue it, and then it does not.
const STOPPING: Duration = Duration::from_millis(200);

/// What was typed.
#[derive(Debug)]
pub enum Typed {
    /// A line, with its newline.
    Line(Vec<u8>),
    /// A line beyond the limit: its size in bytes, newline included.
    TooLong(u64),
    /// Ctrl-D on an empty line, or the terminal is gone.
    End,
    /// Nothing reads standard output any more.
    Unread,
    /// The terminal cannot be read.
    Failed(io::Error),
}

static WAKE: OnceLock<UnixStream> = OnceLock::new();
static LINES: Mutex<Lines> = Mutex::new(Lines { done: 0, rest: VecDeque::new() });

/// The lines that were typed, handed over or not.
struct Lines {
    /// So many are done with.
    done: u64,
    rest: VecDeque<Vec<u8>>,
}

fn lines() -> MutexGuard<'static, Lines> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many lines were typed.
pub(super) fn typed() -> u64 {
    let lines = lines();
    lines.done + lines.rest.len() as u64
}

/// The lines that were typed after the first `number`, and are not done with.
pub(super) fn lines_after(number: u64) -> Vec<Vec<u8>> {
    let lines = lines();
    lines.rest.iter().skip(number.saturating_sub(lines.done) as usize).cloned().collect()
}

/// The oldest line is done with.
pub(super) fn done() {
    let mut lines = lines();
    lines.done += u64::from(lines.rest.pop_front().is_some());
}

/// Has the prompt asked for again. Never blocks.
pub fn wake() {
    if let Some(mut stream) = WAKE.get() {
        // If it is full, the thread will wake in any case.
        let _ = stream.write(&[0]);
    }
}

/// Starts the thread that reads lines of at most `limit` bytes with their
/// newlines; longer ones are only measured. It ends when `output` has gone, if that is
/// given. [`terminal::close`] ends it as well.
pub(super) fn start(
    limit: usize,
    prompter: Prompter,
    output: Option<ReadEnd>,
) -> io::Result<Receiver<Typed>> {
    let (theirs, ours) = UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    ours.set_nonblocking(true)?;
    let signals = Signals::watch(&theirs)?;
    let _ = WAKE.set(theirs);
    let (lines, receiver) = mpsc::sync_channel(QUEUE);
    let keyboard = Keyboard {
        wake: ours,
        signals,
        lines,
        output,
        waiting: VecDeque::new(),
        keys: Keys::default(),
        editor: Editor::new(limit),
    };
    let work = move || keyboard.run(prompter);
    thread::Builder::new().name("keyboard".into()).spawn(work)?;
    Ok(receiver)
}

struct Keyboard {
    wake: UnixStream,
    signals: Signals,
    lines: SyncSender<Typed>,
    /// What is to read standard output.
    output: Option<ReadEnd>,
    waiting: VecDeque<Typed>,
    keys: Keys,
    editor: Editor,
}

impl Keyboard {
    fn run(mut self, prompter: Prompter) {
        if let Err(error) = terminal::begin(prompter) {
            let _ = self.lines.send(Typed::Failed(error));
            return;
        }
        let mut above = String::new();
        let mut bytes = [0; 4096];
        loop {
            // Lines are shown before they are handed over: an answer comes below
            // its question.
            let draws = terminal::takes_output(Duration::ZERO);
            let changes = if draws {
                let search = self.editor.search().map(|term| format!("search: {term}> "));
                let changes = terminal::show_line(&above, self.editor.line(), search);
                above.clear();
                changes
            } else {
                Some(RETRY)
            };
            if terminal::is_closed() || (draws && !self.hand_over()) {
                break;
            }
            if !self.wait(changes) || terminal::is_closed() {
                continue;
            }
            match rustix::io::read(io::stdin(), &mut bytes) {
                Ok(0) => self.waiting.push_back(Typed::End),
                Ok(count) => above += &self.type_in(&bytes[..count]),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(error) => self.waiting.push_back(Typed::Failed(error.into())),
            }
        }
        self.signals.let_go();
    }

    /// Waits for something to do; says whether a key can be read.
    fn wait(&mut self, changes: Option<Duration>) -> bool {
        let full = !self.waiting.is_empty();
        let ours = terminal::is_ours();
        let most = match ours {
            _ if full => Some(RETRY),
            true => changes,
            false => Some(LOOK),
        };
        let most = most.and_then(|most| Timespec::try_from(most).ok());
        let stdin = io::stdin();
        let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
        let reads = ours && !full;
        if reads {
            fds.push(PollFd::new(&stdin, PollFlags::IN));
        }
        fds.extend(self.output.as_ref().filter(|_| !full).map(ReadEnd::poll_fd));
        if poll(&mut fds, most.as_ref()).is_err() {
            return false;
        }
        let mut found = fds.iter().map(PollFd::revents);
        let woken = found.next().is_some_and(|found| !found.is_empty());
        let readable = reads && found.next().is_some_and(|found| !found.is_empty());
        let of_output = found.next().filter(|found| !found.is_empty());
        if woken {
            let _ = (&self.wake).read(&mut [0; 256]);
            self.signals.obey();
        }
        // What is typed comes first.
        if let Some(found) = of_output
            && !readable
            && self.output.take().is_some_and(|output| output.has_gone(found))
        {
            self.waiting.push_back(Typed::Unread);
        }
        readable
    }

    /// Does what was typed; returns what of it stays on the screen.
    fn type_in(&mut self, bytes: &[u8]) -> String {
        let mut above = String::new();
        let mut keys = Vec::new();
        for &byte in bytes {
            self.keys.take(byte, |key| keys.push(key));
        }
        for key in keys {
            match key {
                Key::Suspend => self.suspend(),
                Key::ClearScreen => terminal::clear_screen(),
                key => {
                    let before = (key == Key::Enter).then(|| self.editor.line().0.to_string());
                    let Some(entered) = self.editor.press(key) else { continue };
                    if let Some(line) = before {
                        above.push_str(&terminal::left_behind(&line));
                        lines().rest.push_back(raw::bytes(&line));
                    }
                    self.waiting.push_back(match entered {
                        Entered::Line(mut line) => {
                            line.push(b'\n');
                            Typed::Line(line)
                        }
                        Entered::TooLong(size) => Typed::TooLong(size + 1),
                        Entered::End => Typed::End,
                    });
                }
            }
        }
        above
    }

    /// Hands lines over as far as there is room. `false` if nobody takes them,
    /// or there will be no more.
    fn hand_over(&mut self) -> bool {
        while let Some(line) = self.waiting.pop_front() {
            let last = matches!(line, Typed::End | Typed::Unread | Typed::Failed(_));
            match self.lines.try_send(line) {
                Ok(()) if last => return false,
                Ok(()) => {}
                Err(TrySendError::Full(line)) => {
                    self.waiting.push_front(line);
                    return true;
                }
                Err(TrySendError::Disconnected(_)) => return false,
            }
        }
        true
    }

    /// Ctrl-Z: everybody who was started together stops, until told to go on.
    fn suspend(&self) {
        terminal::suspend();
        self.signals.continued.store(false, Ordering::SeqCst);
        if kill_current_process_group(Signal::TSTP).is_ok() {
            let most = Timespec::try_from(STOPPING).ok();
            while !self.signals.continued.swap(false, Ordering::SeqCst) {
                let mut fds = [PollFd::new(&self.wake, PollFlags::IN)];
                if poll(&mut fds, most.as_ref()).is_ok_and(|ready| ready == 0) {
                    break;
                }
                let _ = (&self.wake).read(&mut [0; 256]);
            }
        }
        terminal::resume();
    }
}

/// Signals that concern the terminal. They wake the thread.
struct Signals {
    continued: Arc<AtomicBool>,
    /// Those that end the process, and whether it was told to. What Ctrl-C and SIGTERM
    /// do is told in [`end`](super::end).
    ends: [(i32, Arc<AtomicBool>); 2],
    /// Whether they do so without us.
    let_go: Arc<AtomicBool>,
}

impl Signals {
    fn watch(wake: &UnixStream) -> io::Result<Signals> {
        let continued = Arc::default();
        flag::register(SIGCONT, Arc::clone(&continued))?;
        let ends = [SIGHUP, SIGQUIT].map(|signal| (signal, Arc::default()));
        let let_go = Arc::default();
        for (signal, told) in &ends {
            flag::register_conditional_default(*signal, Arc::clone(&let_go))?;
            flag::register(*signal, Arc::clone(told))?;
        }
        for signal in [SIGCONT, SIGWINCH, SIGHUP, SIGQUIT] {
            low_level::pipe::register(signal, wake.try_clone()?)?;
        }
        Ok(Signals { continued, ends, let_go })
    }

    fn obey(&self) {
        for (signal, told) in &self.ends {
            if told.load(Ordering::SeqCst) {
                terminal::close();
                let _ = low_level::emulate_default_handler(*signal);
            }
        }
        // Whoever had the terminal meanwhile may have changed its mode.
        if self.continued.swap(false, Ordering::SeqCst) {
            terminal::resume();
        }
    }

    /// The signals do what they always do.
    fn let_go(&self) {
        self.let_go.store(true, Ordering::SeqCst);
    }
}
