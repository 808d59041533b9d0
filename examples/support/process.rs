//! What the examples have in common and nobody copies: which side is asked for, and for the
//! demonstrations the example once more, as a process of its own.

#![allow(dead_code, reason = "no example uses all of it")]

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const PATIENCE: Duration = Duration::from_secs(20);

/// Does what the arguments ask for.
pub(crate) fn run(
    server: fn(&str) -> Result<()>,
    client: fn(&str) -> Result<()>,
    demonstrate: fn() -> Result<()>,
) -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    report(match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", address] => server(address),
        ["client", address] => client(address),
        [] => demonstrate(),
        _ => Err("arguments: none, or server HOST:PORT, or client HOST:PORT".into()),
    })
}

/// Prints an error, with its causes, on one line.
pub(crate) fn report(result: Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let mut causes = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    eprintln!("{}", causes.join(": "));
    ExitCode::FAILURE
}

/// It is killed when this is dropped.
pub(crate) struct Process {
    who: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    /// All that it says is printed, behind `who`.
    pub(crate) fn start(who: &'static str, args: &[&str]) -> Result<Process> {
        let mut command = Command::new(std::env::current_exe()?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.args(args).spawn()?;
        let (sender, lines) = mpsc::channel();
        pass_on(who, child.stdout.take().ok_or("no pipe")?, sender.clone());
        pass_on(who, child.stderr.take().ok_or("no pipe")?, sender);
        Ok(Process { who, input: child.stdin.take(), child, lines })
    }

    /// The server, with the address that it listens on.
    pub(crate) fn server(address: &str) -> Result<(Process, String)> {
        let server = Process::start("server", &["server", address])?;
        let line = server.says("listening on ")?;
        Ok((server, line.trim_start_matches("listening on ").to_string()))
    }

    pub(crate) fn types(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.input.as_ref().ok_or("no pipe")?, "{line}")?)
    }

    /// Waits for a line that has this in it.
    pub(crate) fn says(&self, text: &str) -> Result<String> {
        let line = self.says_within(text, PATIENCE);
        line.ok_or_else(|| format!("{} never says {text:?}", self.who).into())
    }

    /// `None` if there is no other line for so long.
    pub(crate) fn says_within(&self, text: &str, time: Duration) -> Option<String> {
        loop {
            match self.lines.recv_timeout(time) {
                Ok(line) if line.contains(text) => return Some(line),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Its input ends. Waits until it has ended, and returns whether it has succeeded.
    pub(crate) fn ends(mut self) -> Result<bool> {
        self.input = None;
        Ok(self.child.wait()?.success())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

fn pass_on(who: &'static str, from: impl Read + Send + 'static, to: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(std::io::Result::ok) {
            println!("{who:>6}: {line}");
            let _ = to.send(line);
        }
    });
}
