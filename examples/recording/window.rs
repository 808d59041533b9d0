//! A terminal with a shell in it, in front of which somebody sits and types.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::Winsize;
use vt100::Parser;

use crate::film::{Camera, Place, lock};
use crate::programs::Result;
use crate::screen;
use crate::story::WINDOWS;
use crate::typist::Typist;

pub(crate) const COLUMNS: u16 = 88;
const PROMPT: &str = "$ ";
/// The patience of every wait.
const DEADLINE: Duration = Duration::from_secs(30);
/// Of the record of all that was shown, which is higher than any window.
const RECORD: NonZeroU16 = NonZeroU16::new(300).unwrap();

pub(crate) struct Window {
    name: &'static str,
    shell: Child,
    keyboard: File,
    glass: Arc<Glass>,
    reader: Option<JoinHandle<()>>,
    typist: Typist,
}

/// What is seen of the terminal.
struct Glass {
    terminal: Mutex<Terminal>,
    changed: Condvar,
}

struct Terminal {
    shown: Parser,
    record: Parser,
}

impl Window {
    /// The shell finds the programs first.
    pub(crate) fn open(
        number: usize,
        programs: &Path,
        camera: &Camera,
        typist: Typist,
    ) -> Result<Window> {
        let (name, rows) = WINDOWS[number];
        let (ours, theirs) = terminal(rows)?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(
            [programs.to_path_buf()].into_iter().chain(std::env::split_paths(&path)),
        )?;
        let size = |rows| Parser::new(rows, NonZeroU16::new(COLUMNS).expect("some"), 0);
        let terminal =
            Terminal { shown: size(NonZeroU16::new(rows).ok_or("no rows")?), record: size(RECORD) };
        let glass = Arc::new(Glass { terminal: Mutex::new(terminal), changed: Condvar::new() });
        let (output, seen, camera) = (ours.try_clone()?, glass.clone(), camera.clone());
        let shell = Command::new("setsid")
            .args(["-c", "bash", "--norc", "--noprofile", "-i"])
            .env_clear()
            .envs([("PS1", PROMPT), ("TERM", "xterm-256color"), ("LANG", "C.UTF-8")])
            .envs([("HISTFILE", ""), ("INPUTRC", "/dev/null")])
            .env("PATH", path)
            .stdin(theirs.try_clone()?)
            .stdout(theirs.try_clone()?)
            .stderr(theirs)
            .spawn()?;
        let reader = thread::spawn(move || seen.watch(number, output, &camera));
        let window = Window { name, shell, keyboard: ours, glass, reader: Some(reader), typist };
        window.wait_for_prompt()?;
        Ok(window)
    }

    /// Types a text, at a human pace.
    pub(crate) fn type_in(&mut self, text: &str) -> Result<()> {
        for key in text.bytes() {
            self.typist.rest_before(key);
            self.keyboard.write_all(&[key])?;
        }
        Ok(())
    }

    /// Waits until the text has been shown so often.
    pub(crate) fn wait_for(&self, text: &str, times: usize) -> Result<()> {
        self.wait(text, |terminal| terminal.count(text) >= times)
    }

    pub(crate) fn wait_for_prompt(&self) -> Result<()> {
        self.wait("the shell's prompt", |terminal| {
            let screen = terminal.record.screen();
            let (row, column) = screen.cursor_position();
            let line = screen.rows(0, COLUMNS).nth(row.into()).unwrap_or_default();
            line.trim_end() == PROMPT.trim_end() && usize::from(column) == PROMPT.len()
        })
    }

    /// How often the text has been shown.
    pub(crate) fn count(&self, text: &str) -> usize {
        lock(&self.glass.terminal).count(text)
    }

    /// kill -9 of what the shell has started; returns its number.
    pub(crate) fn kill_program(&self) -> Result<i32> {
        let programs = self.programs()?;
        let [program] = *programs else {
            return Err(format!("the {} is not the only program there", self.name).into());
        };
        kill_process(program, Signal::KILL)?;
        Ok(program.as_raw_nonzero().get())
    }

    fn programs(&self) -> Result<Vec<Pid>> {
        let shell = self.shell.id();
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"))?;
        let pids = children.split_whitespace().map(|pid| Ok(Pid::from_raw(pid.parse()?)));
        pids.map(|pid: Result<_>| pid?.ok_or("process 0".into())).collect()
    }

    fn wait(&self, what: &str, done: impl Fn(&Terminal) -> bool) -> Result<()> {
        let terminal = lock(&self.glass.terminal);
        let waited =
            self.glass.changed.wait_timeout_while(terminal, DEADLINE, |terminal| !done(terminal));
        let (terminal, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            let shown = terminal.record.screen().contents();
            return Err(format!("the {} never showed {what:?}:\n{shown}", self.name).into());
        }
        Ok(())
    }
}

impl Terminal {
    fn count(&self, text: &str) -> usize {
        self.record.screen().contents().matches(text).count()
    }
}

impl Glass {
    /// Until nobody has the terminal open any more.
    fn watch(&self, number: usize, mut output: File, camera: &Camera) {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = output.read(&mut buffer) {
            let mut terminal = lock(&self.terminal);
            terminal.shown.process(&buffer[..read]);
            terminal.record.process(&buffer[..read]);
            let rows = screen::rows(terminal.shown.screen()).into_iter().enumerate();
            camera.show(rows.map(|(row, runs)| (Place::Row { window: number, row }, runs)));
            drop(terminal);
            self.changed.notify_all();
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        for program in self.programs().unwrap_or_default() {
            let _ = kill_process(program, Signal::KILL);
        }
        let _ = (self.shell.kill(), self.shell.wait());
        self.reader.take().map(JoinHandle::join);
    }
}

/// A terminal, as a window of one sees it, and as the program does.
fn terminal(rows: u16) -> rustix::io::Result<(File, File)> {
    use rustix::fs::{Mode, OFlags};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let size = Winsize { ws_row: rows, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&ours, size)?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = rustix::fs::open(ptsname(&ours, Vec::new())?, flags, Mode::empty())?;
    Ok((ours.into(), theirs.into()))
}
