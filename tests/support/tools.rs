//! Programs of others that tests use, where they are installed.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::env;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use crate::process::Process;

/// Whether these are all there. The gate reads what is printed if not.
pub(crate) fn has(tools: &[&str]) -> bool {
    let Some(missing) = tools.iter().find(|tool| find(tool).is_none()) else { return true };
    println!("skipped: {}, for want of {missing}", thread::current().name().unwrap_or("a test"));
    false
}

/// A program on the path, or where Debian has it.
fn find(tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    folders.iter().map(|folder| folder.join(tool)).find(|file| file.is_file())
}

pub(crate) fn command(tool: &str) -> Command {
    Command::new(find(tool).unwrap_or_else(|| panic!("{tool} is not installed")))
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a tool that has to do well, and returns what it printed.
#[track_caller]
pub(crate) fn run(tool: &'static str, args: &[impl AsRef<str>]) -> String {
    let mut process = start(tool, args);
    assert_eq!(process.ends(), 0, "{tool}");
    process.out.text()
}

/// Starts a tool whose input is empty.
pub(crate) fn start(tool: &'static str, args: &[impl AsRef<str>]) -> Process {
    let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
    start_on(tool, &args, [Stdio::null(), Stdio::piped()])
}

/// Starts a tool on this input and output.
pub(crate) fn start_on(tool: &'static str, args: &[&str], [stdin, stdout]: [Stdio; 2]) -> Process {
    Process::start_on(command(tool), tool, args, [stdin, stdout, Stdio::piped()])
}

pub(crate) fn reads(file: &str) -> Stdio {
    File::open(file).unwrap().into()
}

pub(crate) fn writes(file: &str) -> Stdio {
    File::create(file).unwrap().into()
}
