//! A process that is killed and started again.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, thread};

use fastrand::Rng;

use super::now;
use crate::Result;
use crate::booking::Booking;

const BOOKINGS_EVERY: Duration = Duration::from_millis(8);
const LOOK: Duration = Duration::from_millis(5);

/// Something that is not installed.
#[derive(Debug)]
pub struct Missing(pub String);

impl std::error::Error for Missing {}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not installed", self.0)
    }
}

/// A program, on the path or where Debian has it.
pub fn find(program: &str) -> Result<PathBuf> {
    let mut folders: Vec<PathBuf> =
        env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    folders.push("/usr/sbin".into());
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    let mut files = folders.iter().map(|folder| folder.join(program));
    files.find(|file| file.is_file()).ok_or_else(|| Missing(program.into()).into())
}

/// Runs a program that ends with the driver, however that ends, where the system can do so.
pub fn command(program: &Path) -> Command {
    let Ok(setpriv) = find("setpriv") else { return Command::new(program) };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

pub struct Process {
    pub name: String,
    pub kills: usize,
    command: Command,
    child: Option<Child>,
    user: Option<User>,
    /// The lines that it has printed, and how often.
    said: Arc<Mutex<HashMap<String, u64>>>,
}

impl Process {
    pub fn new(name: String, mut command: Command, log: &File) -> Result<Process> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.try_clone()?);
        Ok(Process { name, kills: 0, command, child: None, user: None, said: Arc::default() })
    }

    /// Bookings are made by it.
    pub fn used(mut self, rng: Rng) -> Process {
        self.command.stdin(Stdio::piped());
        self.user = Some(User { rng, over: Arc::default() });
        self
    }

    pub fn start(&mut self) -> Result<()> {
        let mut child = self.command.spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no pipe")?).lines();
        let said = Arc::clone(&self.said);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                *said.lock().unwrap().entry(line).or_default() += 1;
            }
        });
        if let (Some(input), Some(user)) = (child.stdin.take(), &mut self.user) {
            user.sit_down(input);
        }
        self.child = Some(child);
        Ok(())
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// kill -9. False if it is not running.
    pub fn kill(&mut self) -> bool {
        let Some(mut child) = self.child.take() else { return false };
        let _ = (child.kill(), child.wait());
        self.kills += 1;
        true
    }

    /// An error if it has ended by itself.
    pub fn must_run(&mut self) -> Result<()> {
        match self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
            Some(status) => Err(format!("{} has ended: {status}", self.name).into()),
            None => Ok(()),
        }
    }

    /// No more bookings.
    pub fn end_input(&self) {
        if let Some(user) = &self.user {
            user.over.store(true, SeqCst);
        }
    }

    /// Waits until it has ended well.
    pub fn must_end(&mut self, by: Instant) -> Result<()> {
        let child = self.child.as_mut().ok_or("it is not running")?;
        while now() < by {
            match child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("{} has ended: {status}", self.name).into()),
                None => thread::park_timeout(LOOK),
            }
        }
        Err(format!("{} does not end", self.name).into())
    }

    /// How often it has printed this line.
    pub fn count(&self, line: &str) -> u64 {
        self.said.lock().unwrap().get(line).copied().unwrap_or(0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Who makes bookings, until the process is killed or it is over.
struct User {
    rng: Rng,
    over: Arc<AtomicBool>,
}

impl User {
    fn sit_down(&mut self, mut input: ChildStdin) {
        let (mut rng, over) = (self.rng.fork(), Arc::clone(&self.over));
        thread::spawn(move || {
            while !over.load(SeqCst) {
                let booking = Booking { account: rng.u32(..10), amount: rng.i32(-999..=999) };
                if writeln!(input, "{booking}").is_err() {
                    break;
                }
                thread::park_timeout(BOOKINGS_EVERY.mul_f64(2.0 * rng.f64()));
            }
        });
    }
}
