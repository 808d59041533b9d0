//! Programs between the two ends.
//!
//! Those of the far end are started by the harness's server, which is killed. So each has a guard,
//! this program started again, which sees that its own standard input ends, and kills it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::parent_id;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::{env, fs, process};

use bytes::Bytes;

use crate::harness::Result;
use crate::harness::ages::{Ages, Messages};
use crate::harness::ends::{End, How, Listening, RAW};

/// The argument of a process that is a guard.
const GUARD: &str = "guard";

/// If this process was started as a guard, is one until its standard input ends. Returns whether
/// it was.
pub(crate) fn stand() -> Result<bool> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [role, program, args @ ..] = &args[..] else { return Ok(false) };
    if role != GUARD {
        return Ok(false);
    }
    let mut child = Command::new(program).args(args).stdin(Stdio::null()).spawn()?;
    let ended = std::io::stdin().read_to_end(&mut Vec::new());
    child.kill()?;
    child.wait()?;
    ended?;
    Ok(true)
}

/// A program that runs until this is dropped, or this process ends.
pub(crate) struct Between {
    guard: Child,
    /// It stays open: the program may say more.
    said: BufReader<ChildStderr>,
}

impl Between {
    pub(crate) fn start<S: AsRef<std::ffi::OsStr>>(program: &str, args: &[S]) -> Result<Between> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(GUARD).arg(program).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut guard = command.spawn()?;
        let said = BufReader::new(guard.stderr.take().ok_or("no pipe")?);
        Ok(Between { guard, said })
    }

    /// Waits for a line with this text on its standard error. Returns the word that follows.
    pub(crate) fn says(&mut self, text: &str) -> Result<String> {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            if self.said.read_line(&mut line)? == 0 {
                return Err(format!("never said {text:?}, but:\n{all}").into());
            }
            if let Some((_, rest)) = line.split_once(text) {
                return Ok(rest.split_whitespace().next().unwrap_or_default().to_string());
            }
            all += &line;
        }
    }

    /// The address that it says to listen on.
    pub(crate) fn listens(&mut self) -> Result<SocketAddr> {
        Ok(self.says("listening on ")?.parse()?)
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// Starts a program that leads to this address. Returns where it listens.
pub(crate) type Start = fn(SocketAddr) -> Result<(SocketAddr, Between)>;

/// A service behind such a program.
pub(crate) fn listen(start: Start) -> Result<Listening> {
    let (service, accept) = (RAW.listen)()?;
    let (entry, between) = start(service)?;
    Ok((entry, Box::new(move || Ok(Box::new(Through { end: accept()?, _between: between })))))
}

/// A program that connects through such a program.
pub(crate) fn connect(start: Start, to: SocketAddr) -> Result<Box<dyn End>> {
    let (entry, between) = start(to)?;
    Ok(Box::new(Through { end: (RAW.connect)(entry)?, _between: between }))
}

struct Through {
    end: Box<dyn End>,
    _between: Between,
}

impl End for Through {
    fn trips(&mut self, message: &Bytes, count: u64) -> Result<()> {
        self.end.trips(message, count)
    }

    fn echo(&mut self, size: usize, count: u64) -> Result<()> {
        self.end.echo(size, count)
    }

    fn stream(&mut self, how: How, messages: &mut Messages, count: u64) -> Result<()> {
        self.end.stream(how, messages, count)
    }

    fn drain(&mut self, how: How, size: usize, count: u64, ages: &mut Ages) -> Result<()> {
        self.end.drain(how, size, count, ages)
    }
}

/// A folder for keys that is removed with this.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Nobody else may look into it.
    pub(crate) fn new() -> Result<Folder> {
        let folder = Folder(path(process::id()));
        fs::DirBuilder::new().mode(0o700).create(&folder.0)?;
        Ok(folder)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file in the folder of the benchmark: of this process, or of the one whose server this is.
pub(crate) fn file(name: &str) -> String {
    let ours = path(process::id());
    let folder = if ours.exists() { ours } else { path(parent_id()) };
    folder.join(name).display().to_string()
}

fn path(process: u32) -> PathBuf {
    env::temp_dir().join(format!("longlink-tunnel-{process}"))
}
