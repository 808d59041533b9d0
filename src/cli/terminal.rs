//! The terminal, and everything that appears on it.
//!
//! One owner behind one lock: messages, lines of the log, the prompt with the line being
//! typed, and the progress of a piped input are all written here, by the thread that has
//! them, while it holds the lock. It takes away what stands at the bottom, writes the lines,
//! and draws the bottom again below them; nothing else writes to a terminal, so nothing
//! appears within a line. A thread that holds the lock waits for nothing but the terminal.
//!
//! While a line is edited, the terminal's mode is changed (`begin`). However the process
//! ends, it goes through [`close`], which never waits long for the lock: its holder may wait
//! for a terminal that was stopped. In the background the mode is left alone, since changing
//! it would stop the process, even one that was just told to end.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::getpgrp;
use rustix::termios::{
    self, InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp,
    tcsetattr,
};

use super::layout::{Layout, Prompt};
use super::stdio::{Stream, stderr, takes_output, write_all};

/// How long the end of the process waits for others to have written.
const PATIENCE: Duration = Duration::from_millis(500);

/// Marks what is pasted, so that nothing of it is taken for a command.
const PASTES_MARKED: &str = "\x1b[?2004h";
const PASTES_UNMARKED: &str = "\x1b[?2004l";

/// Says what stands before the line being typed. It is called with the terminal's lock held,
/// and must not write to it.
pub(super) type Prompter = Box<dyn Fn() -> Prompt + Send + Sync>;

#[derive(Debug)]
struct Screen {
    bottom: Bottom,
    /// How the line being typed stands on the screen now.
    drawn: Option<Layout>,
    /// The terminal is not ours for a while, or belongs to another job.
    away: bool,
    /// What is to be written.
    out: String,
}

/// What stands below everything else.
#[derive(Debug)]
pub(super) enum Bottom {
    /// One row of text, or nothing, on a terminal that itself echoes what is typed.
    Row(String),
    /// A line being typed, the byte before which the cursor stands, and what
    /// stands in the place of the prompt, if anything does.
    Line(String, usize, Option<String>),
}

pub(super) const NOTHING: Bottom = Bottom::Row(String::new());

static SCREEN: Mutex<Screen> =
    Mutex::new(Screen { bottom: NOTHING, drawn: None, away: false, out: String::new() });
/// Each drawing of the prompt asks it anew.
static PROMPTER: OnceLock<Prompter> = OnceLock::new();
/// The terminal's mode before it was changed. A shell has another one while a
/// job is in the background.
static MODE: OnceLock<Termios> = OnceLock::new();
/// The process ends, or nothing more is read: there is no prompt any more.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether a person types, and sees what is said.
pub(super) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Whether lines can be edited: a person types at a terminal that can move its
/// cursor.
pub(super) fn can_edit() -> bool {
    io::stdin().is_terminal() && shows_progress()
}

/// Whether standard error is a terminal on which a row can be written over.
pub(super) fn shows_progress() -> bool {
    let capable = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    capable && io::stderr().is_terminal()
}

/// Whether standard error may have colours.
pub(super) fn has_colours() -> bool {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    wanted && shows_progress()
}

/// Shows this at the bottom, below lines that are complete. Returns for how long it is right.
pub(super) fn show(above: &str, bottom: Bottom) -> Option<Duration> {
    let mut screen = SCREEN.lock();
    if is_closed() {
        return None;
    }
    match (&screen.bottom, &bottom) {
        (Bottom::Line(..), Bottom::Line(..)) if above.is_empty() => screen.rise(),
        _ => screen.clear(),
    }
    screen.out.push_str(above);
    screen.bottom = bottom;
    screen.draw()
}

/// Writes whole lines. If they go to the terminal, they appear above what
/// stands at its bottom. After an error, `lines` is what was not written.
pub(super) fn write(to: Stream, lines: &mut &[u8]) -> io::Result<()> {
    if !to.is_terminal() {
        return write_all(to, lines);
    }
    let mut screen = SCREEN.lock();
    screen.clear();
    screen.flush();
    let written = write_all(to, lines);
    screen.draw();
    written
}

/// Takes the terminal for lines to be edited, once.
pub(super) fn begin(prompter: Prompter) -> io::Result<()> {
    tcgetattr(io::stdin())?;
    PROMPTER.get_or_init(|| prompter);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        suspend();
        hook(panic);
        if thread::current().name() != Some("main") {
            resume();
        }
    }));
    resume();
    Ok(())
}

/// Draws everything anew, on a screen that is cleared.
pub(super) fn clear_screen() {
    let mut screen = SCREEN.lock();
    screen.drawn = None;
    screen.out.push_str("\x1b[H\x1b[2J");
    screen.draw();
}

/// How a line that is complete stays on the screen.
pub(super) fn left_behind(line: &str) -> String {
    let mut to = String::new();
    Layout::new(&prompt(), (line, line.len()), size().0, usize::MAX).draw(&mut to);
    to.push_str("\r\n");
    to
}

fn prompt() -> Prompt {
    let prompt = PROMPTER.get().map_or_else(Default::default, |prompter| prompter());
    let colour = if has_colours() { prompt.colour } else { "" };
    Prompt { colour, ..prompt }
}

/// Gives the terminal back for a while.
pub(super) fn suspend() {
    give_back(|screen| {
        screen.clear();
        screen.away = true;
    });
}

/// Takes the terminal again, unless it is another job's now.
pub(super) fn resume() {
    let Some(mut screen) = SCREEN.try_lock_for(PATIENCE) else { return };
    if is_closed() {
        return;
    }
    screen.drawn = None;
    screen.away = !is_in_foreground();
    if screen.away {
        return;
    }
    let Ok(now) = tcgetattr(io::stdin()) else { return };
    let mut raw = MODE.get_or_init(|| now).clone();
    // Keys come one by one and are not echoed. Ctrl-C stays a signal.
    raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN;
    // And as they are.
    raw.input_modes -=
        InputModes::ICRNL | InputModes::INLCR | InputModes::IGNCR | InputModes::ISTRIP;
    raw.special_codes[SpecialCodeIndex::VSUSP] = 0;
    raw.special_codes[SpecialCodeIndex::VMIN] = 1;
    raw.special_codes[SpecialCodeIndex::VTIME] = 0;
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, &raw);
    screen.out.push_str(PASTES_MARKED);
    screen.draw();
}

/// Whether lines can be typed here now; if that is so again, takes the terminal.
pub(super) fn is_ours() -> bool {
    let ours = is_in_foreground();
    if ours && SCREEN.try_lock().is_some_and(|screen| screen.away) {
        resume();
    }
    ours
}

/// Whether the terminal is not that of another job.
fn is_in_foreground() -> bool {
    !tcgetpgrp(io::stdin()).is_ok_and(|foreground| foreground != getpgrp())
}

/// Whether [`close`] was called.
pub(super) fn is_closed() -> bool {
    CLOSED.load(Ordering::SeqCst)
}

/// Gives the terminal back for good: in its old mode, and without the prompt, unless it stands
/// before text. A shell's comes next.
pub(super) fn close() {
    if CLOSED.swap(true, Ordering::SeqCst) {
        return;
    }
    give_back(|screen| {
        match &screen.bottom {
            Bottom::Line(line, ..) if !screen.away && !line.is_empty() => {
                let line = left_behind(line);
                screen.rise();
                screen.out.push_str(&line);
            }
            _ => screen.clear(),
        }
        screen.bottom = NOTHING;
    });
}

/// Writes last words, if the terminal takes them, and restores the mode.
fn give_back(last_words: impl FnOnce(&mut Screen)) {
    if let Some(mut screen) = SCREEN.try_lock_for(PATIENCE) {
        last_words(&mut screen);
        if !takes_output(stderr(), PATIENCE) {
            // Later they would be wrong.
            screen.out.clear();
        } else if MODE.get().is_some() && is_in_foreground() {
            screen.out.push_str(PASTES_UNMARKED);
        }
        screen.flush();
    }
    restore_mode();
}

/// The terminal's mode is what it was. Never blocks.
pub(super) fn restore_mode() {
    if let Some(mode) = MODE.get()
        && is_in_foreground()
    {
        // At once: output that is stopped is not waited for.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, mode);
    }
}

impl Screen {
    /// Goes to the start of what stands at the bottom.
    fn rise(&mut self) {
        let Some(drawn) = self.drawn.take() else { return };
        self.out.push('\r');
        let (columns, _) = size();
        let depth = drawn.depth(columns, reflows());
        if depth > 0 {
            self.out.push_str(&format!("\x1b[{depth}A"));
        }
        if columns != drawn.columns {
            // Rows that were broken would be joined again if only written over.
            self.out.push_str("\x1b[J");
        }
    }

    /// Takes away what stands at the bottom.
    fn clear(&mut self) {
        if self.drawn.is_some() {
            self.rise();
            self.out.push_str("\x1b[J");
        } else if let Bottom::Row(text) = &self.bottom
            && !text.is_empty()
        {
            let blanks = text.chars().count();
            self.out.push_str(&format!("\r{:blanks$}\r", ""));
        }
    }

    /// Draws what stands at the bottom, and writes it; returns for how long it is right.
    fn draw(&mut self) -> Option<Duration> {
        let mut changes = None;
        match &self.bottom {
            _ if self.away => {}
            Bottom::Row(text) => self.out.push_str(text),
            Bottom::Line(line, at, instead) => {
                let prompt = instead.as_ref().map_or_else(prompt, Prompt::of);
                // The row above stays in sight.
                let (columns, rows) = size();
                let layout = Layout::new(&prompt, (line, *at), columns, rows.saturating_sub(1));
                layout.draw(&mut self.out);
                self.drawn = Some(layout);
                changes = prompt.changes;
            }
        }
        self.flush();
        changes
    }

    /// Writes what there is to write. What cannot be drawn is lost.
    fn flush(&mut self) {
        if !self.out.is_empty() {
            let _ = write_all(stderr(), &mut self.out.as_bytes());
            self.out.clear();
        }
    }
}

/// Columns and rows.
pub(super) fn size() -> (usize, usize) {
    match termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// Whether rows that become too wide are broken when the window is narrowed.
/// Most terminals do that; xterm and screen cut them off.
fn reflows() -> bool {
    let has = |name: &str| std::env::var_os(name).is_some();
    has("TMUX") || !(has("XTERM_VERSION") || has("STY"))
}
