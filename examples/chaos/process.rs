//! A player as the referee sees it: a process, what it reports, what it holds.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::{self, JoinHandle};

use crate::report::Report;

pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts this program again. Its reports are handed to `hear`, and `None` at their end.
    pub(crate) fn start(
        args: &[String],
        hear: impl Fn(Option<Report>) + Send + 'static,
    ) -> io::Result<Process> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--play").args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().expect("it is piped");
        let reports = BufReader::new(child.stdout.take().expect("it is piped"));
        let reader = thread::spawn(move || {
            for line in reports.lines().map_while(Result::ok) {
                let unknown = || Report::Wrong { id: 0, text: format!("said {line:?}") };
                hear(Some(Report::parse(&line).unwrap_or_else(unknown)));
            }
            hear(None);
        });
        Ok(Process { child, stdin, reader: Some(reader) })
    }

    pub(crate) fn tell(&mut self, what: &str) -> io::Result<()> {
        writeln!(self.stdin, "{what}")
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {signal} {pid} failed");
    }

    /// kill -9. When it returns, everything that was reported before has been heard.
    pub(crate) fn kill(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }

    /// What it holds, where the system tells.
    pub(crate) fn held(&self) -> Option<Held> {
        let proc = format!("/proc/{}", self.child.id());
        let count =
            |entries: &str| fs::read_dir(format!("{proc}/{entries}")).ok().map(Iterator::count);
        let status = fs::read_to_string(format!("{proc}/status")).ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: u64 = resident.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(Held {
            threads: count("task")? as u64,
            descriptors: count("fd")? as u64,
            resident: kilobytes * 1024,
            heap: 0,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a process holds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    pub(crate) threads: u64,
    pub(crate) descriptors: u64,
    pub(crate) resident: u64,
    /// What its allocator has handed out and not got back.
    pub(crate) heap: u64,
}
