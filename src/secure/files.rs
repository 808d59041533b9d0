//! Files that decide who is trusted: how they are read and made.
//!
//! It is the opened file that is judged, not its name. What is wrong is said in words that
//! follow the file's name, with the command that mends it, and without what is in the file.

#[cfg(all(test, not(shuttle), not(miri)))]
pub(super) mod tests;

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::O_NONBLOCK;
use rustix::process::geteuid;

use crate::error::{Error, Result};
use crate::words::{printable, shell_word};

/// What is in a file decides what others may do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// A secret.
    Key,
    /// Who is trusted.
    Peers,
    /// What everybody may know, and what this side itself can check: certificates that are of
    /// no use without their key.
    Chain,
}

impl Holds {
    /// No such file has more bytes.
    fn most(self) -> u64 {
        match self {
            Holds::Key | Holds::Chain => 64 * 1024,
            // Some forty thousand peers.
            Holds::Peers => 4 * 1024 * 1024,
        }
    }
}

/// Something is wrong with this file.
pub(super) fn refuse(path: &Path, what: impl Display) -> Error {
    Error::Config(format!("{}: {what}", displayed(path)))
}

/// Reads a whole file.
pub(super) fn read(path: &Path, holds: Holds) -> Result<String> {
    let file = open_judged(OpenOptions::new().read(true), path, holds)?;
    contents(file, holds).map_err(|what| refuse(path, what))
}

/// Makes a file that only its owner may read. One that exists stays as it is.
pub(super) fn create(path: &Path, text: &str) -> Result<()> {
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = open.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => {
            refuse(path, "it exists, and is not overwritten; remove it, or choose another name")
        }
        _ => refuse(path, e),
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|e| {
        // A part of it is of no use.
        let _ = std::fs::remove_file(path);
        refuse(path, e)
    })
}

/// A file of lines, which can be added to.
pub(super) struct Lines<'a> {
    path: &'a Path,
    holds: Holds,
    file: File,
    pub(super) text: String,
}

impl<'a> Lines<'a> {
    /// Opens it, or makes an empty one.
    pub(super) fn open(path: &'a Path, holds: Holds) -> Result<Lines<'a>> {
        let mut open = OpenOptions::new();
        let open = open.read(true).append(true).create(true).mode(0o600);
        let file = open_judged(open, path, holds)?;
        let text = contents(&file, holds).map_err(|what| refuse(path, what))?;
        Ok(Lines { path, holds, file, text })
    }

    /// Adds a line, by one write: two that do so at once do not mix.
    pub(super) fn add(mut self, line: &str) -> Result<()> {
        let before = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { "\n" };
        let line = format!("{before}{line}\n");
        let [begin, end] = [self.text.len(), self.text.len() + line.len()].map(|len| len as u64);
        if end > self.holds.most() {
            let most = self.holds.most();
            return Err(refuse(self.path, format!("it would have more than {most} bytes")));
        }
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_all());
        written.map_err(|e| {
            // A part of a line would make the whole file unreadable. Behind it is nothing.
            if self.file.metadata().is_ok_and(|found| found.len() < end) {
                let _ = self.file.set_len(begin);
            }
            refuse(self.path, e)
        })
    }
}

fn open_judged(open: &mut OpenOptions, path: &Path, holds: Holds) -> Result<File> {
    // Opening a pipe would wait for its other end.
    let file = open.custom_flags(O_NONBLOCK).open(path).map_err(|e| refuse(path, e))?;
    let found = file.metadata().map_err(|e| refuse(path, e))?;
    if !found.is_file() {
        return Err(refuse(path, if found.is_dir() { "it is a folder" } else { "it is no file" }));
    }
    let me = geteuid().as_raw();
    match judge(holds, found.mode(), found.uid(), me) {
        None => Ok(file),
        Some((what, mend)) => Err(refuse(
            path,
            format!("{what}; mend it with: {mend} {}", shell_word(&path.to_string_lossy())),
        )),
    }
}

/// What is wrong with who may do what with a file, and the command that mends it.
fn judge(holds: Holds, mode: u32, owner: u32, me: u32) -> Option<(&'static str, String)> {
    const ROOT: u32 = 0;
    if holds == Holds::Chain {
        return None;
    }
    if owner != me && owner != ROOT {
        return Some(("it belongs to another user", format!("chown {me}")));
    }
    // Root lets a group read what a service is to have: systemd and containers do so.
    let readers = if owner == ROOT { 0o004 } else { 0o044 };
    let mend = match holds {
        Holds::Peers | Holds::Chain => "chmod go-w",
        Holds::Key if owner == me => "chmod 600",
        Holds::Key => "chmod 640",
    };
    match holds {
        Holds::Key if mode & readers != 0 => Some(("others may read it", mend.into())),
        _ if mode & 0o022 != 0 => Some(("others may write to it", mend.into())),
        _ => None,
    }
}

fn contents(file: impl Read, holds: Holds) -> Result<String, String> {
    let mut bytes = Vec::new();
    file.take(holds.most() + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > holds.most() {
        return Err(format!("it has more than {} bytes", holds.most()));
    }
    String::from_utf8(bytes).map_err(|_| "it is no text".into())
}

/// Its name, for a text.
pub(super) fn displayed(path: &Path) -> String {
    printable(&path.to_string_lossy())
}
