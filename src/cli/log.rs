//! The log on standard error.
//!
//! A thread of its own writes the lines: the threads that log, above all that of the
//! heartbeat, must not wait for a terminal that is stopped. What does not fit into the queue
//! is counted, and so is what exceeds the pace: peers, which can cause a line by connecting,
//! must not fill a disk. What standard error does not take is counted as well.

use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use log::{Level, LevelFilter, Record};
use parking_lot::Mutex;

use super::batch::Batch;
use super::queue::{Pace, Queue};
use super::stdio::{has_lost_reader, stderr};
use super::terminal::{self, Bottom};
use super::{now, text};

/// How many lines may wait to be written.
const ROOM: usize = 4096;
/// One write takes so many.
const MANY: usize = 64;
/// How many lines of a level are written in a second.
const PACE: u32 = 1000;
/// How long the end of the process waits for a stuck standard error.
const FLUSH: Duration = Duration::from_millis(500);

enum Item {
    Line(Vec<u8>),
    Prompt(String),
}

static QUEUE: Queue<Item> = Queue::new(ROOM, |_| 1);

/// Starts the log. `RUST_LOG` wins over `level`.
pub fn start(level: LevelFilter) -> io::Result<()> {
    thread::Builder::new().name("log".into()).spawn(write)?;
    // Each level has its own, so that no flood of one hides another.
    let paces = [const { Mutex::new(Pace::of(PACE)) }; Level::Trace as usize + 1];
    let colour = terminal::has_colours();
    // A person who watches knows the day and the zone. What is kept, or goes elsewhere, says
    // the time in a way that holds everywhere.
    let (zone, time) = match io::stderr().is_terminal().then(TimeZone::try_system) {
        Some(Ok(zone)) => (zone, "%H:%M:%S"),
        _ => (TimeZone::UTC, "%H:%M:%SZ"),
    };
    env_logger::Builder::new()
        .filter_level(level)
        .parse_default_env()
        .target(env_logger::Target::Pipe(Box::new(io::sink())))
        .format(move |_, record| {
            let pace = &paces[record.level() as usize];
            if !pace.lock().allows(now()) {
                QUEUE.drop_entries(1, "");
                return Ok(());
            }
            let now = Timestamp::now().to_zoned(zone.clone());
            answer(format(now.strftime(time), record, colour));
            Ok(())
        })
        .try_init()
        .map_err(io::Error::other)
}

/// Waits, but not for long, until everything logged before is written. `false` if it
/// is not: standard error is stuck.
pub fn flush() -> bool {
    QUEUE.flush(FLUSH) == 0
}

/// Writes lines that were asked for, whatever is logged: behind what was
/// logged before, and not at its pace.
pub fn answer(lines: String) {
    QUEUE.offer([Item::Line(lines.into_bytes())], "");
}

/// Shows a prompt below what was logged, in the place of the one before.
pub fn show_prompt(text: String) {
    QUEUE.offer([Item::Prompt(text)], "");
}

/// One line: `[12:03:04Z info] text`.
fn format(time: impl Display, record: &Record<'_>, colour: bool) -> String {
    let level = record.level().as_str().to_lowercase();
    let start = match record.level() {
        Level::Error => "\x1b[31m",
        Level::Warn => "\x1b[33m",
        _ => "",
    };
    let message = text::escaped(record.args().to_string().as_bytes());
    match colour && !start.is_empty() {
        true => format!("[{time} {start}{level}\x1b[0m] {message}\n"),
        false => format!("[{time} {level}] {message}\n"),
    }
}

/// The log's thread.
fn write() {
    let (output, mut batch) = (stderr(), Batch::default());
    loop {
        for item in QUEUE.take(MANY) {
            match item {
                Item::Line(line) => batch.push(&line),
                Item::Prompt(text) => drop(terminal::show("", Bottom::Row(text))),
            }
        }
        let (dropped, _) = QUEUE.dropped(false);
        if dropped > 0 {
            let note = format!(
                "[{dropped} lines of the log are left out: more than {PACE} of a level a \
                 second, or than standard error takes]\n"
            );
            batch.push(note.as_bytes());
        }
        // One that nothing reads misses nothing.
        if let Err(error) = batch.write(output)
            && !has_lost_reader(output, &error)
        {
            // The note is the last, and says so again.
            QUEUE.drop_entries(batch.unwritten() + dropped.saturating_sub(1), "");
        }
        batch.forget();
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
}
