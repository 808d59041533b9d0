//! `server --stats FILE`: totals for Prometheus, in a file that node_exporter collects. There is
//! no series for each client: nobody bounds how many of those come and go.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::clients::{Clients, Counts};
use super::text;

/// The file is never older while the server runs.
const EVERY: Duration = Duration::from_secs(1);

/// Writes the file, and keeps it up to date on a thread of its own.
///
/// # Errors
///
/// If it cannot be written now. Later that is logged, and tried again.
pub fn keep(file: &Path, clients: Arc<Clients>) -> io::Result<()> {
    // A device, such as /dev/stdout, would be gone.
    if fs::symlink_metadata(file).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("it is there, and no regular file"));
    }
    write(file, &clients.metrics())?;
    let (file, mut failed) = (PathBuf::from(file), false);
    let keep = move || loop {
        thread::park_timeout(EVERY);
        let written = write(&file, &clients.metrics());
        if let (Err(error), false) = (&written, failed) {
            log::warn!("cannot write {}: {}", file.display(), text::system(error));
        }
        failed = written.is_err();
    };
    thread::Builder::new().name("stats".into()).spawn(keep).map(drop)
}

/// Replaces the file: whoever reads it finds all of the old one or all of the new one.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut fresh = OsString::from(file);
    fresh.push(".new");
    // One of before, or a link that leads elsewhere: it is not written through.
    let _ = fs::remove_file(&fresh);
    OpenOptions::new().write(true).create_new(true).open(&fresh)?.write_all(text.as_bytes())?;
    fs::rename(&fresh, file)
}

/// In the [text format](https://prometheus.io/docs/instrumenting/exposition_formats/).
pub(super) fn exposition(all: &Counts, up: u64, lost: u64, unacknowledged: u64) -> String {
    let mut text = format!(
        "# HELP longlink_sessions Sessions that there are, by whether they have a link.\n\
         # TYPE longlink_sessions gauge\n\
         longlink_sessions{{link=\"up\"}} {up}\nlonglink_sessions{{link=\"lost\"}} {lost}\n"
    );
    for (name, kind, help, value) in [
        (
            "messages_unacknowledged",
            "gauge",
            "Messages to these clients under way.",
            unacknowledged,
        ),
        ("sessions_served_total", "counter", "Sessions that there were or are.", all.clients),
        ("sessions_lost_total", "counter", "Sessions whose client did not end them.", all.lost),
        ("links_resumed_total", "counter", "Links that brought a client back.", all.resumed),
        ("messages_received_total", "counter", "Messages from clients.", all.received),
        ("messages_sent_total", "counter", "Messages to clients.", all.sent),
        ("bytes_received_total", "counter", "Their bytes.", all.bytes_received),
        ("bytes_sent_total", "counter", "Their bytes.", all.bytes_sent),
    ] {
        text += &format!(
            "# HELP longlink_{name} {help}\n# TYPE longlink_{name} {kind}\nlonglink_{name} {value}\n"
        );
    }
    text
}
