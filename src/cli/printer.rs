//! What the server prints of its clients' messages.
//!
//! A thread of its own prints, behind a bounded queue, so that no echo waits
//! for a terminal. What the queue or standard output cannot take (a disk may be
//! full) is counted, and said at most once a second.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::batch::Batch;
use super::queue::Queue;
use super::stdio::{ReadEnd, has_lost_reader, stdout};
use super::{log as journal, text};

/// How much may wait: bytes, of which each message counts [`OVERHEAD`] more.
const ROOM: usize = 4 * 1024 * 1024;
const OVERHEAD: usize = 64;
/// So much of it is written in one go.
const ONE_WRITE: usize = 128 * 1024;
const ANSWERED: &str = "standard output is too slow (they were answered)";

/// A message of a client.
struct Message(u64, Bytes);

/// Prints messages as `client-N> text`.
pub struct Printer {
    queue: Queue<Message>,
    /// Nothing is printed, or nothing reads standard output any more.
    closed: AtomicBool,
    /// Something was not printed that should have been.
    missed: AtomicBool,
}

impl Printer {
    /// Starts the printing thread, if anything is to be printed.
    pub fn start(prints: bool) -> io::Result<Arc<Printer>> {
        let closed = AtomicBool::new(!prints);
        let queue = Queue::new(ROOM, |Message(_, text)| text.len() + OVERHEAD);
        let printer = Arc::new(Printer { queue, closed, missed: AtomicBool::new(false) });
        if prints {
            let printing = printer.clone();
            thread::Builder::new().name("printer".into()).spawn(move || printing.work())?;
        }
        if let Some(output) = ReadEnd::of_output().filter(|_| prints) {
            let watching = printer.clone();
            output.watch(move || watching.close())?;
        }
        Ok(printer)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Prints messages if there is room for them in the queue. Never blocks.
    /// Takes them out of the list.
    pub fn offer(&self, client: u64, messages: &mut Vec<Bytes>) {
        let messages = messages.drain(..).map(|message| Message(client, message));
        if !self.is_closed() && !self.queue.offer(messages, ANSWERED) {
            self.say_dropped();
        }
    }

    /// Prints a message; waits while too much is in the queue.
    pub fn print(&self, client: u64, message: Bytes) {
        if !self.is_closed() {
            self.queue.push(Message(client, message));
        }
    }

    /// Before the end of the process: waits until what came so far is printed, but
    /// no longer than this, and says what was not. Returns whether everything was printed, from
    /// the first message on.
    pub fn finish(&self, most: Duration) -> bool {
        let waiting = self.queue.flush(most);
        let (dropped, why) = self.queue.dropped(true);
        match waiting {
            0 => self.say_missed("", dropped, &why),
            // A part of them may be written.
            _ => self.say_missed("at most ", waiting + dropped, "standard output is too slow"),
        }
        !self.missed.load(Ordering::Relaxed)
    }

    /// [`finish`](Printer::finish) without a limit where standard output is no terminal: a file or a
    /// pipe has no reader who knows that something is missing. For messages that are acknowledged.
    pub fn finish_all(&self, most: Duration) -> bool {
        if !stdout().is_terminal() && self.queue.flush(most) > 0 {
            log::info!("waiting for what reads standard output (Ctrl-C leaves)");
            self.queue.flush(Duration::MAX);
        }
        self.finish(most)
    }

    /// The printing thread.
    fn work(&self) {
        let output = stdout();
        let terminal = output.is_terminal();
        let mut batch = Batch::default();
        // Of clients up to this one the log says that they have come.
        let mut told = 0;
        // Of the client whose messages were the last.
        let (mut named, mut prefix) = (0, String::new());
        loop {
            for Message(client, text) in self.queue.take(ONE_WRITE) {
                if client > told {
                    // If the log is stuck, it is not waited for again.
                    told = if journal::flush() { client } else { u64::MAX };
                }
                if named != client {
                    (named, prefix) = (client, format!("client-{client}> "));
                }
                batch.push_line(&prefix, &text, terminal);
            }
            if !self.is_closed()
                && let Err(error) = batch.write(output)
            {
                if has_lost_reader(output, &error) {
                    self.close();
                } else {
                    let why = format!("standard output: {}", text::system(&error));
                    self.queue.drop_entries(batch.unwritten(), &why);
                }
            }
            batch.forget();
            self.say_dropped();
        }
    }

    /// Nothing reads standard output any more. Says so once.
    fn close(&self) {
        if !self.closed.swap(true, Ordering::Relaxed) {
            log::warn!("messages are no longer printed: nothing reads standard output any more");
        }
    }

    fn say_dropped(&self) {
        let (count, why) = self.queue.dropped(false);
        self.say_missed("", count, &why);
    }

    fn say_missed(&self, about: &str, count: u64, why: &str) {
        // Nobody misses what nothing reads.
        if count > 0 && !self.is_closed() {
            self.missed.store(true, Ordering::Relaxed);
            log::warn!("{about}{} not printed: {why}", text::messages(count));
        }
    }
}
