//! The log on standard error.
//!
//! Lines are written by a thread of their own, since the threads that log,
//! the heartbeat's above all, must not wait for a terminal that somebody has
//! stopped. What does not fit into the queue is counted, and so is what goes
//! beyond the pace: peers, who can bring a line about by connecting, are not to
//! fill a disk. So is what standard error does not take.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use log::{Level, LevelFilter, Record};

use super::batch::Batch;
use super::stdio::Writer;
use super::{terminal, text};

/// How many lines may wait to be written.
const QUEUE: usize = 4096;
/// How many lines of a level are written in a second.
const PACE: u32 = 1000;
const SECOND: Duration = Duration::from_secs(1);
/// How long the end of the process waits for a stuck standard error.
const FLUSH: Duration = Duration::from_millis(500);

enum Item {
    Line(Vec<u8>),
    Prompt(String),
    /// Answered when everything before it has been written.
    Flush(SyncSender<()>),
}

static WRITER: OnceLock<SyncSender<Item>> = OnceLock::new();
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Starts the log. `RUST_LOG` wins over `level`.
pub fn start(level: LevelFilter) -> io::Result<()> {
    let (sender, receiver) = mpsc::sync_channel(QUEUE);
    thread::Builder::new().name("log".into()).spawn(move || write(&receiver))?;
    if WRITER.set(sender).is_err() {
        return Ok(());
    }
    // Each level has its own, so that no flood of one hides another.
    let paces: [Mutex<Pace>; Level::Trace as usize + 1] = Default::default();
    let colour = terminal::has_colours();
    // What is kept, or goes elsewhere, says the time in a way that holds everywhere.
    let zone = io::stderr().is_terminal().then(|| TimeZone::try_system().ok()).flatten();
    env_logger::Builder::new()
        .filter_level(level)
        // What the editor's library tells itself.
        .filter_module("rustyline", LevelFilter::Off)
        .parse_default_env()
        .target(env_logger::Target::Pipe(Box::new(Queue)))
        .format(move |to, record| {
            let pace = &paces[record.level() as usize];
            if !pace.lock().unwrap_or_else(PoisonError::into_inner).allows(now()) {
                LEFT_OUT.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            let time = time(Timestamp::now(), zone.as_ref());
            to.write_all(format(&time, record, colour).as_bytes())
        })
        .try_init()
        .map_err(io::Error::other)
}

/// Waits, but not for long, until everything logged before is written. `false` if it
/// is not: standard error is stuck.
pub fn flush() -> bool {
    let Some(writer) = WRITER.get() else { return true };
    let (sender, receiver) = mpsc::sync_channel(1);
    writer.try_send(Item::Flush(sender)).is_ok() && receiver.recv_timeout(FLUSH).is_ok()
}

/// Writes lines that were asked for, whatever is logged: behind what was
/// logged before, and not at its pace.
pub fn answer(lines: String) {
    if let Some(writer) = WRITER.get() {
        let _ = writer.try_send(Item::Line(lines.into_bytes()));
    }
}

/// Shows a prompt below what was logged, in the place of the one before.
pub fn show_prompt(text: &str) {
    if let Some(writer) = WRITER.get() {
        let _ = writer.try_send(Item::Prompt(text.to_string()));
    }
}

/// The time of day: in this zone, or else `12:03:04Z`, which is UTC. The day is known
/// to those who are watching.
fn time(now: Timestamp, zone: Option<&TimeZone>) -> String {
    match zone {
        Some(zone) => now.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string(),
        None => now.strftime("%H:%M:%SZ").to_string(),
    }
}

/// One line: `[12:03:04Z info] text`.
fn format(time: &str, record: &Record<'_>, colour: bool) -> String {
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
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts the lines of a second.
#[derive(Debug, Default)]
struct Pace {
    since: Option<Instant>,
    lines: u32,
}

impl Pace {
    fn allows(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= SECOND) {
            *self = Pace { since: Some(now), lines: 0 };
        }
        self.lines = self.lines.saturating_add(1);
        self.lines <= PACE
    }
}

#[expect(clippy::disallowed_methods, reason = "the pace of lines for people")]
fn now() -> Instant {
    Instant::now()
}

/// The log's thread.
fn write(items: &Receiver<Item>) {
    let (mut said, mut lines) = (None, Lines::new());
    loop {
        // Wakes by itself only to say what was left out.
        let patience = match LEFT_OUT.load(Ordering::Relaxed) {
            1.. if lines.are_taken => SECOND,
            _ => Duration::from_secs(3600),
        };
        match items.recv_timeout(patience) {
            Ok(Item::Line(line)) => lines.write(&line, 1),
            Ok(Item::Prompt(text)) => terminal::show_row(&text),
            Ok(Item::Flush(done)) => {
                let _ = done.try_send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if lines.are_taken
            && LEFT_OUT.load(Ordering::Relaxed) > 0
            && said.is_none_or(|said| now().duration_since(said) >= SECOND)
        {
            said = Some(now());
            let count = LEFT_OUT.swap(0, Ordering::Relaxed);
            let note = format!(
                "[{count} lines of the log are left out: more than {PACE} a second, or than \
                 standard error takes]\n"
            );
            lines.write(note.as_bytes(), count);
        }
    }
}

/// Lines on standard error.
struct Lines {
    output: Writer,
    batch: Batch,
    /// The last was written: more can be.
    are_taken: bool,
}

impl Lines {
    fn new() -> Lines {
        Lines { output: Writer::error(), batch: Batch::default(), are_taken: true }
    }

    /// Writes a line, or counts it as so many that are left out.
    fn write(&mut self, line: &[u8], count: u64) {
        self.batch.push(line);
        let written = self.batch.write(&self.output);
        self.batch.forget();
        self.are_taken = written.is_ok();
        // One that nothing reads misses nothing.
        if written.is_err_and(|error| !self.output.has_lost_reader(&error)) {
            LEFT_OUT.fetch_add(count, Ordering::Relaxed);
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
        let line = format("12:03:04Z", &record, false);
        assert_eq!(line, "[12:03:04Z warn] lost: \\x1b[2J\\nforged\n");
        let line = format("12:03:04Z", &record, true);
        assert!(line.starts_with("[12:03:04Z \x1b[33mwarn\x1b[0m] "), "{line}");
    }

    #[test]
    fn the_time_of_a_zone_or_of_all() {
        let now: Timestamp = "2026-01-02T23:03:04Z".parse().unwrap();
        assert_eq!(time(now, None), "23:03:04Z");
        let zone = TimeZone::posix("ZONE-5:30").unwrap();
        assert_eq!(time(now, Some(&zone)), "04:33:04");
    }

    #[test]
    fn a_flood_is_cut_to_its_pace() {
        let (start, mut pace) = (now(), Pace::default());
        for second in 0..3 {
            let at = |n: u32| start + SECOND * second + SECOND * n / (5 * PACE);
            assert_eq!((0..5 * PACE).filter(|n| pace.allows(at(*n))).count(), PACE as usize);
        }
    }
}
