//! The log on standard error.
//!
//! Lines are written by a thread of their own, since the threads that log,
//! the heartbeat's above all, must not wait for a terminal that somebody has
//! stopped. What does not fit into the queue is counted.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use log::{Level, LevelFilter, Record};

use super::{terminal, text};

/// How many lines may wait to be written.
const QUEUE: usize = 4096;
/// How long the end of the process waits for a stuck standard error.
const FLUSH: Duration = Duration::from_millis(500);

enum Item {
    Line(Vec<u8>),
    Prompt(String),
    /// Answered when everything before it has been written.
    Flush(SyncSender<()>),
}

static WRITER: OnceLock<SyncSender<Item>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Starts the log. `RUST_LOG` wins over `level`.
pub fn start(level: LevelFilter) -> io::Result<()> {
    let (sender, receiver) = mpsc::sync_channel(QUEUE);
    thread::Builder::new().name("log".into()).spawn(move || write(&receiver))?;
    if WRITER.set(sender).is_err() {
        return Ok(());
    }
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    env_logger::Builder::new()
        .filter_level(level)
        .parse_default_env()
        .target(env_logger::Target::Pipe(Box::new(Queue)))
        .format(move |to, record| {
            let time = to.timestamp_seconds().to_string();
            to.write_all(format(&time, record, colour).as_bytes())
        })
        .try_init()
        .map_err(io::Error::other)
}

/// Waits, but not for long, until everything logged before is written.
pub fn flush() {
    let Some(writer) = WRITER.get() else { return };
    let (sender, receiver) = mpsc::sync_channel(1);
    if writer.try_send(Item::Flush(sender)).is_ok() {
        let _ = receiver.recv_timeout(FLUSH);
    }
}

/// Shows a prompt below what was logged, in the place of the one before.
pub fn show_prompt(text: &str) {
    if let Some(writer) = WRITER.get() {
        let _ = writer.try_send(Item::Prompt(text.to_string()));
    }
}

/// One line: `[12:03:04Z info] text`. The time is UTC, and says so.
fn format(time: &str, record: &Record<'_>, colour: bool) -> String {
    // Of 2026-01-02T12:03:04Z the day is known to whoever is watching.
    let time = time.split_once('T').map_or(time, |(_, time)| time);
    let (level, start) = match record.level() {
        Level::Error => ("error", "\x1b[31m"),
        Level::Warn => ("warn", "\x1b[33m"),
        Level::Info => ("info", ""),
        Level::Debug => ("debug", ""),
        Level::Trace => ("trace", ""),
    };
    let message = text::escaped(record.args().to_string().as_bytes());
    match colour && !start.is_empty() {
        true => format!("[{time} {start}{level}\x1b[0m] {message}\n"),
        false => format!("[{time} {level}] {message}\n"),
    }
}

/// Where `env_logger` writes each record, in one piece.
struct Queue;

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(writer) = WRITER.get()
            && writer.try_send(Item::Line(line.to_vec())).is_err()
        {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log's thread. A standard error that fails is nobody's concern.
fn write(items: &Receiver<Item>) {
    while let Ok(item) = items.recv() {
        match item {
            Item::Line(line) => {
                let _ = terminal::write(io::stderr(), &line);
            }
            Item::Prompt(text) => terminal::show_prompt(&text),
            Item::Flush(done) => {
                let _ = done.try_send(());
            }
        }
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let note =
                format!("[{dropped} lines of the log were dropped: standard error is slow]\n");
            let _ = terminal::write(io::stderr(), note.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_terse_and_harmless() {
        let arguments = format_args!("lost: \x1b[2J\nforged");
        let record = Record::builder().level(Level::Warn).args(arguments).build();
        let line = format("2026-01-02T12:03:04Z", &record, false);
        assert_eq!(line, "[12:03:04Z warn] lost: \\x1b[2J\\nforged\n");
        let line = format("2026-01-02T12:03:04Z", &record, true);
        assert!(line.starts_with("[12:03:04Z \x1b[33mwarn\x1b[0m] "), "{line}");
    }
}
