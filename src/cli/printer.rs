//! What the server prints of its clients' messages.
//!
//! A thread of its own prints, behind a bounded queue, so that no echo waits
//! for a terminal. What the queue or standard output cannot take (a disk may be
//! full) is counted, and said at most once a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{io, thread};

use bytes::Bytes;

use super::batch::Batch;
use super::queue::{Load, Queue};
use super::stdio::{ReadEnd, Writer};
use super::{log as journal, text};

/// How much may wait: bytes, of which each message counts [`OVERHEAD`] more.
const ROOM: usize = 4 * 1024 * 1024;
const OVERHEAD: usize = 64;
const TOO_SLOW: &str = "standard output is too slow";
const ANSWERED: &str = "standard output is too slow (they were answered)";

/// Messages of a client.
struct Messages(u64, Vec<Bytes>);

impl Load for Messages {
    fn weight(&self) -> usize {
        self.1.iter().map(|message| message.len() + OVERHEAD).sum()
    }

    fn lines(&self) -> u64 {
        self.1.len() as u64
    }
}

/// Prints messages as `client-N> text`.
#[derive(Clone)]
pub struct Printer {
    /// `None` prints nothing.
    shared: Option<Arc<Shared>>,
}

struct Shared {
    queue: Queue<Messages>,
    /// Nothing reads standard output, and nothing is printed any more.
    closed: AtomicBool,
}

impl Printer {
    /// Starts the printing thread, if anything is to be printed.
    pub fn start(prints: bool) -> io::Result<Printer> {
        if !prints {
            return Ok(Printer { shared: None });
        }
        let shared = Arc::new(Shared { queue: Queue::new(ROOM), closed: AtomicBool::new(false) });
        let printing = shared.clone();
        thread::Builder::new().name("printer".into()).spawn(move || printing.print())?;
        if let Some(output) = ReadEnd::of_output() {
            let watching = shared.clone();
            let watch = move || {
                if output.wait() {
                    watching.close();
                }
            };
            thread::Builder::new().name("output".into()).spawn(watch)?;
        }
        Ok(Printer { shared: Some(shared) })
    }

    fn open(&self) -> Option<&Shared> {
        self.shared.as_deref().filter(|shared| !shared.closed.load(Ordering::Relaxed))
    }

    /// Prints messages if there is room for them in the queue. Never blocks.
    /// Takes them out of the list.
    pub fn offer(&self, client: u64, messages: &mut Vec<Bytes>) {
        let Some(shared) = self.open() else { return messages.clear() };
        if !shared.queue.offer(Messages(client, std::mem::take(messages)), ANSWERED) {
            shared.say_dropped();
        }
    }

    /// Prints a message; waits while too much is in the queue.
    pub fn print(&self, client: u64, message: Bytes) {
        if let Some(shared) = self.open() {
            shared.queue.push(Messages(client, vec![message]));
        }
    }

    /// Before the end of the process: waits until what came so far is printed, but
    /// no longer than this, and says what was not.
    pub fn finish(&self, most: Duration) {
        let Some(shared) = self.open() else { return };
        let waiting = shared.queue.flush(most);
        let (dropped, why) = shared.queue.last_dropped();
        let why = if waiting > 0 { TOO_SLOW } else { &why };
        if waiting + dropped > 0 && self.open().is_some() {
            log::warn!("{} not printed: {why}", text::messages(waiting + dropped));
        }
    }
}

impl Shared {
    /// The printing thread.
    fn print(&self) {
        let output = Writer::output();
        let terminal = output.is_terminal();
        let mut batch = Batch::default();
        // Of clients up to this one the log says that they have come.
        let mut told = 0;
        loop {
            let mut taken = self.queue.take().into_iter().peekable();
            let (mut weight, mut lines) = (0, 0);
            while let Some(messages) = taken.next() {
                let Messages(client, texts) = &messages;
                if *client > told {
                    // If the log is stuck, it is not waited for again.
                    told = if journal::flush() { *client } else { u64::MAX };
                }
                let prefix = format!("client-{client}> ");
                texts.iter().for_each(|text| batch.push_line(&prefix, text, terminal));
                (weight, lines) = (weight + messages.weight(), lines + messages.lines());
                if batch.is_full() || taken.peek().is_none() {
                    self.write(&mut batch, &output);
                    self.queue.done(weight, lines);
                    (weight, lines) = (0, 0);
                }
            }
            self.say_dropped();
        }
    }

    fn write(&self, batch: &mut Batch, output: &Writer) {
        if !self.closed.load(Ordering::Relaxed)
            && let Err(error) = batch.write(output)
        {
            if output.has_lost_reader(&error) {
                self.close();
            } else {
                let why = format!("standard output: {}", text::system(&error));
                self.queue.drop_lines(batch.unwritten(), &why);
            }
        }
        batch.forget();
    }

    /// Nothing reads standard output any more. Says so once.
    fn close(&self) {
        if !self.closed.swap(true, Ordering::Relaxed) {
            log::warn!("messages are no longer printed: nothing reads standard output any more");
        }
    }

    fn say_dropped(&self) {
        if let Some((count, why)) = self.queue.dropped() {
            log::warn!("{} not printed: {why}", text::messages(count));
        }
    }
}
