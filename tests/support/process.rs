//! The programs as processes. What a process said is printed when a test
//! fails; no test outlives its processes, and no wait is without a deadline.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::port::Reserved;

/// The patience of every wait: for machines that do much else meanwhile.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a process wrote to one of its outputs.
#[derive(Default)]
pub(crate) struct Output {
    written: Mutex<Written>,
    changed: Condvar,
}

#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    closed: bool,
}

impl Output {
    fn of(mut pipe: impl Read + Send + 'static) -> Arc<Output> {
        let output = Arc::new(Output::default());
        let ours = output.clone();
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            loop {
                let read = pipe.read(&mut buffer).unwrap_or(0);
                let mut written = ours.written.lock().unwrap();
                written.bytes.extend_from_slice(&buffer[..read]);
                written.closed = read == 0;
                ours.changed.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        output
    }

    fn closed() -> Arc<Output> {
        let output = Output::default();
        output.written.lock().unwrap().closed = true;
        Arc::new(output)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).bytes.clone()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    pub(crate) fn count(&self, text: &str) -> usize {
        self.text().lines().filter(|line| line.contains(text)).count()
    }

    /// Waits until something is true of the output; `None` when it ends, or
    /// the deadline passes, before.
    fn wait<T>(&self, mut find: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
        let mut found = None;
        let written = self.written.lock().unwrap();
        let waited = self.changed.wait_timeout_while(written, DEADLINE, |written| {
            found = find(&written.bytes);
            found.is_none() && !written.closed
        });
        drop(waited.unwrap());
        found
    }

    /// Whether the process, or what has its output, has ended it.
    #[allow(dead_code, reason = "of use to some tests")]
    pub(crate) fn has_closed(&self) -> bool {
        self.written.lock().unwrap().closed
    }

    fn wait_closed(&self, within: Duration) -> bool {
        let written = self.written.lock().unwrap();
        let waited = self.changed.wait_timeout_while(written, within, |written| !written.closed);
        waited.unwrap().0.closed
    }

    /// Waits for a complete line that contains the text, the `nth` such line from 1.
    fn wait_line(&self, text: &str, nth: usize) -> Option<String> {
        self.wait(|bytes| {
            let end = bytes.iter().rposition(|&byte| byte == b'\n')?;
            let said = String::from_utf8_lossy(&bytes[..end]);
            said.lines().filter(|line| line.contains(text)).nth(nth - 1).map(str::to_string)
        })
    }
}

/// A running program. It is killed when it goes out of scope.
pub(crate) struct Process {
    name: &'static str,
    args: Vec<String>,
    child: Child,
    stdin: Option<ChildStdin>,
    pub(crate) out: Arc<Output>,
    pub(crate) err: Arc<Output>,
}

/// What becomes of a program's standard output.
pub(crate) enum Stdout {
    Read,
    /// The pipe is closed at the other end.
    Closed,
    /// Nobody reads the pipe.
    #[allow(dead_code, reason = "of use to some tests")]
    Stuck,
    /// It takes everything, and keeps nothing.
    #[allow(dead_code, reason = "of use to some tests")]
    Null,
    /// A terminal, and standard error with it.
    #[allow(dead_code, reason = "of use to some tests")]
    Terminal,
}

pub(crate) const SERVER: &str = env!("CARGO_BIN_EXE_server");
pub(crate) const CLIENT: &str = env!("CARGO_BIN_EXE_client");

impl Process {
    pub(crate) fn start(program: &'static str, args: &[&str], stdout: Stdout) -> Process {
        Process::start_by(Command::new(program), program, args, stdout)
    }

    /// Starts a program by a command that becomes it, once it has its arguments.
    pub(crate) fn start_by(
        mut command: Command,
        program: &'static str,
        args: &[&str],
        stdout: Stdout,
    ) -> Process {
        command.args(args).env_remove("RUST_LOG");
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        command.stdout(match stdout {
            Stdout::Null => Stdio::null(),
            _ => Stdio::piped(),
        });
        Process::spawn(command, program, args, stdout)
    }

    /// Starts a program on these streams; what is piped of them is as usual.
    #[allow(dead_code, reason = "of use to some tests")]
    pub(crate) fn start_on(
        mut command: Command,
        program: &'static str,
        args: &[&str],
        [stdin, stdout, stderr]: [Stdio; 3],
    ) -> Process {
        command.args(args).env_remove("RUST_LOG").stdin(stdin).stdout(stdout).stderr(stderr);
        Process::spawn(command, program, args, Stdout::Read)
    }

    fn spawn(
        mut command: Command,
        program: &'static str,
        args: &[&str],
        stdout: Stdout,
    ) -> Process {
        let mut controller = None;
        if let Stdout::Terminal = stdout {
            let (ours, theirs) = terminal().unwrap();
            command.stdout(theirs.try_clone().unwrap()).stderr(theirs);
            controller = Some(ours);
        }
        let mut child = command.spawn().unwrap();
        // What it has of ours must not keep the terminal, or a pipe, open.
        drop(command);
        let out = match stdout {
            Stdout::Terminal => Output::of(controller.unwrap()),
            Stdout::Read => child.stdout.take().map_or_else(Output::closed, Output::of),
            Stdout::Closed => {
                child.stdout = None;
                Output::closed()
            }
            Stdout::Stuck | Stdout::Null => Output::closed(),
        };
        let err = match child.stderr.take() {
            Some(pipe) => Output::of(pipe),
            None if matches!(stdout, Stdout::Terminal) => out.clone(),
            None => Output::closed(),
        };
        let name = match program {
            CLIENT => "client",
            SERVER => "server",
            other => other,
        };
        let args = args.iter().map(|arg| arg.to_string()).collect();
        let stdin = child.stdin.take();
        Process { name, args, child, stdin, out, err }
    }

    /// Writes to its standard input; what fits into a pipe is taken at once.
    pub(crate) fn send(&mut self, input: impl AsRef<[u8]>) {
        // A program that has ended does not read on; the test sees that elsewhere.
        let _ = self.stdin.as_mut().unwrap().write_all(input.as_ref());
    }

    pub(crate) fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Writes everything from a thread, then ends the input.
    pub(crate) fn send_all<I>(&mut self, input: I)
    where
        I: IntoIterator<Item: AsRef<[u8]>> + Send + 'static,
    {
        let mut stdin = self.stdin.take().unwrap();
        thread::spawn(move || input.into_iter().all(|part| stdin.write_all(part.as_ref()).is_ok()));
    }

    /// Waits for a line on standard error that contains this text.
    pub(crate) fn says(&self, text: &str) -> String {
        self.says_nth(text, 1)
    }

    /// Waits for the nth such line, counted from 1.
    pub(crate) fn says_nth(&self, text: &str, nth: usize) -> String {
        let line = self.err.wait_line(text, nth);
        line.unwrap_or_else(|| panic!("{} never said {text:?} ({nth})", self.name))
    }

    /// Waits for a line on standard output that contains this text.
    pub(crate) fn prints(&self, text: &str) -> String {
        let line = self.out.wait_line(text, 1);
        line.unwrap_or_else(|| panic!("{} never printed {text:?}", self.name))
    }

    /// Waits until it has ended by itself, and returns its exit code.
    pub(crate) fn ends(&mut self) -> i32 {
        self.ends_within(DEADLINE)
    }

    /// Waits longer, or less long, for the same.
    pub(crate) fn ends_within(&mut self, within: Duration) -> i32 {
        self.wait_closed(within);
        let status = self.child.wait().unwrap();
        status.code().unwrap_or_else(|| panic!("{} was killed: {status}", self.name))
    }

    /// Waits until it has ended, and returns by which signal.
    #[allow(dead_code, reason = "of use to some tests")]
    pub(crate) fn ends_by(&mut self) -> Option<i32> {
        self.wait_closed(DEADLINE);
        self.child.wait().unwrap().signal()
    }

    fn wait_closed(&self, within: Duration) {
        let closed = self.err.wait_closed(within) && self.out.wait_closed(within);
        assert!(closed, "{} does not end", self.name);
    }

    /// kill -9, and gone when this returns.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.id().to_string();
        let args = [OsStr::new("-s"), OsStr::new(signal), OsStr::new(&pid)];
        assert!(Command::new("kill").args(args).status().unwrap().success());
        if signal == "STOP" {
            self.wait_until_stopped();
        }
    }

    /// Each thread stops by itself, the next time that it is looked at.
    fn wait_until_stopped(&self) {
        let tasks = format!("/proc/{}/task", self.child.id());
        let stopped = || {
            std::fs::read_dir(&tasks).unwrap().flatten().all(|task| {
                let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('T'))
            })
        };
        while !stopped() {
            thread::yield_now();
        }
    }
}

/// Whether a process has a thread of this name.
#[allow(dead_code, reason = "of use to some tests")]
pub(crate) fn has_thread(id: u32, name: &str) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{id}/task"));
    let mut tasks = tasks.into_iter().flatten().flatten();
    tasks.any(|task| {
        let comm = std::fs::read_to_string(task.path().join("comm"));
        comm.is_ok_and(|comm| comm.trim_end() == name)
    })
}

/// A terminal, as a window of one sees it, and as the program does.
pub(crate) fn terminal() -> rustix::io::Result<(File, File)> {
    use rustix::fs::{Mode, OFlags};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = rustix::fs::open(ptsname(&ours, Vec::new())?, flags, Mode::empty())?;
    Ok((ours.into(), theirs.into()))
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            const END: usize = 4000;
            let tail = |text: String| match text.char_indices().rev().nth(END) {
                Some((at, _)) => format!("...{}", &text[at..]),
                None => text,
            };
            let (out, err) = (tail(self.out.text()), tail(self.err.text()));
            eprintln!("=== {} {}\n--- stderr\n{err}", self.name, self.args.join(" "));
            eprintln!("--- stdout\n{out}\n===");
        }
    }
}

/// A server on a port of its own.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) port: String,
    #[allow(dead_code, reason = "of use to some tests")]
    reserved: Arc<Reserved>,
}

impl Server {
    /// Starts, and waits until it listens.
    #[allow(dead_code, reason = "of use to some tests")]
    pub(crate) fn start(args: &[&str]) -> Server {
        Server::start_on(&Arc::new(Reserved::new()), args, Stdout::Read)
    }

    /// A server that listens on this port already.
    #[allow(dead_code, reason = "of use to some tests")]
    pub(crate) fn running(process: Process, reserved: &Arc<Reserved>) -> Server {
        Server { process, port: reserved.port(), reserved: reserved.clone() }
    }

    /// Starts once more, after the end of this one.
    #[allow(dead_code, reason = "of use to some tests")]
    pub(crate) fn start_again(&self) -> Server {
        Server::start_on(&self.reserved, &[], Stdout::Read)
    }

    pub(crate) fn start_on(reserved: &Arc<Reserved>, args: &[&str], stdout: Stdout) -> Server {
        let port = reserved.port();
        let process = Process::start(SERVER, &[&["--port", &port], args].concat(), stdout);
        process.says(&format!("listening on 127.0.0.1:{port} "));
        Server { process, port, reserved: reserved.clone() }
    }

    /// Starts a client of this server, and waits until it is connected.
    #[allow(dead_code, reason = "of use to some tests")]
    pub(crate) fn client(&self, args: &[&str]) -> Process {
        let client = self.client_unseen(args);
        client.says(&format!("connected to 127.0.0.1:{}", self.port));
        client
    }

    /// Starts a client of this server.
    pub(crate) fn client_unseen(&self, args: &[&str]) -> Process {
        let args = [&["127.0.0.1", "--port", &self.port], args].concat();
        Process::start(CLIENT, &args, Stdout::Read)
    }
}
