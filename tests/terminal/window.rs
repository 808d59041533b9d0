//! A window: a pseudo-terminal, the program in it, and what is seen.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use vt100::Parser;

use crate::process::{CLIENT, terminal};
use crate::wait::until;

pub(crate) struct Window {
    /// The side of whoever types.
    hand: File,
    /// The side of the program, which keeps the terminal open after its end.
    program: File,
    before: Termios,
    child: Child,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    parser: Parser,
    bytes: Vec<u8>,
}

/// The number of rows and columns.
pub(crate) type Size = (u16, u16);

pub(crate) const SIZE: Size = (24, 80);

fn nonzero((rows, columns): Size) -> (NonZeroU16, NonZeroU16) {
    (NonZeroU16::new(rows).unwrap(), NonZeroU16::new(columns).unwrap())
}

fn winsize((ws_row, ws_col): Size) -> Winsize {
    Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Window {
    pub(crate) fn open(program: &str, args: &[&str]) -> Window {
        Window::open_as(SIZE, program, args, |_| {})
    }

    /// A client of a server on this port, and connected.
    pub(crate) fn client(port: &str, args: &[&str]) -> Window {
        Window::client_as(SIZE, port, args, |_| {})
    }

    pub(crate) fn client_as(
        size: Size,
        port: &str,
        args: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Window {
        let args = [&["127.0.0.1", "--port", port], args].concat();
        let window = Window::open_as(size, CLIENT, &args, prepare);
        window.shows_rows("it is connected", |rows| {
            let has = |text: &str| rows.iter().any(|row| row.contains(text));
            has("up>") && (has("connected to") || args.contains(&"-q"))
        });
        window
    }

    /// Starts a program whose terminal this is, as that of a session of its own.
    pub(crate) fn open_as(
        size: Size,
        program: &str,
        args: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Window {
        let (hand, theirs) = terminal().unwrap();
        tcsetwinsize(&hand, winsize(size)).unwrap();
        let before = tcgetattr(&theirs).unwrap();
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program).args(args);
        command.stdin(end()).stdout(end()).stderr(end());
        // This terminal cuts off what becomes too wide, as xterm does.
        command.env("TERM", "xterm-256color").env("XTERM_VERSION", "XTerm(390)");
        command.env_remove("RUST_LOG").env_remove("NO_COLOR").env_remove("TMUX");
        prepare(&mut command);
        let child = command.spawn().unwrap();
        drop(command);
        let (rows, columns) = nonzero(size);
        let parser = Parser::new(rows, columns, 1000);
        let seen = Arc::new(Mutex::new(Seen { parser, bytes: Vec::new() }));
        let (mut screen, looking) = (hand.try_clone().unwrap(), seen.clone());
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(read @ 1..) = screen.read(&mut buffer) {
                let mut seen = looking.lock().unwrap_or_else(PoisonError::into_inner);
                seen.parser.process(&buffer[..read]);
                seen.bytes.extend_from_slice(&buffer[..read]);
            }
        });
        Window { hand, program: theirs, before, child, seen }
    }

    pub(crate) fn types(&self, text: &str) {
        self.types_bytes(text.as_bytes());
    }

    pub(crate) fn types_bytes(&self, bytes: &[u8]) {
        (&self.hand).write_all(bytes).unwrap();
    }

    pub(crate) fn resize(&self, size: Size) {
        let (rows, columns) = nonzero(size);
        let mut seen = self.seen.lock().unwrap();
        seen.parser.set_size(rows, columns);
        tcsetwinsize(&self.hand, winsize(size)).unwrap();
    }

    /// The rows down to the last that has anything on it, without blanks at
    /// their ends.
    pub(crate) fn rows(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let screen = seen.parser.screen();
        let columns = screen.size().1.get();
        let mut rows: Vec<String> =
            screen.rows(0, columns).map(|row| row.trim_end().to_string()).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    /// Row and column of the cursor.
    pub(crate) fn cursor(&self) -> (u16, u16) {
        self.seen.lock().unwrap().parser.screen().cursor_position()
    }

    /// All that was ever written, control sequences and all.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).bytes.clone()
    }

    #[track_caller]
    pub(crate) fn shows_rows(&self, what: &str, is_so: impl Fn(&[String]) -> bool) {
        until(what, || is_so(&self.rows()));
    }

    /// Waits for a row with this text.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) {
        self.shows_rows(text, |rows| rows.iter().any(|row| row.contains(text)));
    }

    /// Waits until these are the last rows.
    #[track_caller]
    pub(crate) fn ends_with(&self, wanted: &[&str]) {
        self.shows_rows(&format!("{wanted:#?}"), |rows| ends_with(rows, wanted));
    }

    /// Holds what the window was shown so far; nothing more is taken from the program
    /// until the function returns.
    pub(crate) fn look_away(&self, meanwhile: impl FnOnce(&File)) {
        let _seen = self.seen.lock().unwrap();
        meanwhile(&self.program);
    }

    /// The side of the program.
    pub(crate) fn program(&self) -> &File {
        &self.program
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for such last rows, with one between them that says why it has ended.
    #[track_caller]
    pub(crate) fn ended_with(&self, above: &[&str], why: &str, below: &[&str]) {
        let said = format!(" info] {why}");
        self.shows_rows(&format!("{above:#?}{said}{below:?}"), |rows| {
            let (rows, last) = rows.split_at(rows.len().saturating_sub(below.len()));
            let Some((row, rows)) = rows.split_last() else { return false };
            last == below && row.ends_with(&said) && ends_with(rows, above)
        });
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    /// Whether keys come one by one.
    pub(crate) fn is_raw(&self) -> bool {
        format!("{:?}", tcgetattr(&self.program).unwrap()) != format!("{:?}", self.before)
    }

    /// Waits until the program has ended by itself: its exit code, or 128 and
    /// the signal. The terminal is what it was then.
    #[track_caller]
    pub(crate) fn closes(&mut self) -> i32 {
        let code = self.ends();
        until("pastes are unmarked", || {
            !self.seen.lock().unwrap().parser.screen().bracketed_paste()
        });
        code
    }

    /// The same for a terminal that shows nothing any more.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> i32 {
        let mut status = None;
        until("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let mode = tcgetattr(&self.program).unwrap();
        assert_eq!(format!("{mode:?}"), format!("{:?}", self.before));
        let status = status.unwrap();
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
    }
}

pub(crate) fn ends_with(rows: &[String], wanted: &[&str]) -> bool {
    rows.len() >= wanted.len() && rows[rows.len() - wanted.len()..] == *wanted
}

impl Drop for Window {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let (rows, bytes) = (self.rows(), self.bytes());
            let end =
                String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(2000)..]).into_owned();
            eprintln!("=== screen\n{}\n=== of {end:?}", rows.join("\n"));
        }
    }
}
