//! What the server prints of its clients' messages.
//!
//! A thread of its own prints, behind a bounded queue, so that no echo waits
//! for a terminal. What the queue or standard output cannot take (a disk may be
//! full) is counted, and said at most once a second.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::batch::Batch;
use super::stdio::{ReadEnd, Writer};
use super::text;

/// How much may wait: bytes, of which each message counts [`OVERHEAD`] more.
const QUEUE: usize = 4 * 1024 * 1024;
const OVERHEAD: usize = 64;
/// How many lots of messages.
const LOTS: usize = 4096;
/// How often it is said that messages were dropped.
const PACE: Duration = Duration::from_secs(1);
const TOO_SLOW: &str = "standard output is too slow";
const ANSWERED: &str = "standard output is too slow (they were answered)";

enum Item {
    Messages(u64, Vec<Bytes>),
    /// Answered when everything before it is printed.
    Flush(SyncSender<()>),
}

/// Prints messages as `client-N> text`.
#[derive(Clone)]
pub struct Printer {
    /// `None` prints nothing.
    items: Option<SyncSender<Item>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    waiting: AtomicUsize,
    /// Messages that came, and those of them that are printed or dropped.
    came: AtomicU64,
    gone: AtomicU64,
    /// Nothing reads standard output, and nothing is printed any more.
    closed: AtomicBool,
    /// It was said that nothing reads it.
    unread: AtomicBool,
    dropped: Mutex<Dropped>,
}

#[derive(Default)]
struct Dropped {
    count: u64,
    /// Of the last.
    why: String,
    said: Option<Instant>,
}

impl Printer {
    /// Starts the printing thread, if anything is to be printed.
    pub fn start(prints: bool) -> io::Result<Printer> {
        let shared = Arc::new(Shared::default());
        if !prints {
            return Ok(Printer { items: None, shared });
        }
        let (sender, receiver) = mpsc::sync_channel(LOTS);
        let of_thread = shared.clone();
        thread::Builder::new().name("printer".into()).spawn(move || of_thread.print(&receiver))?;
        if let Some(output) = ReadEnd::of_output() {
            let of_thread = shared.clone();
            let watch = move || {
                if output.wait() {
                    of_thread.say_unread();
                }
            };
            thread::Builder::new().name("output".into()).spawn(watch)?;
        }
        Ok(Printer { items: Some(sender), shared })
    }

    /// Prints messages if there is room for them in the queue. Never blocks.
    /// Takes them out of the list if it keeps them.
    pub fn offer(&self, client: u64, messages: &mut Vec<Bytes>) {
        let Some(items) = &self.items else { return };
        if self.shared.closed.load(Ordering::Relaxed) {
            return;
        }
        let (size, count) = (weight(messages), messages.len() as u64);
        let before = self.shared.waiting.fetch_add(size, Ordering::Relaxed);
        let fits = before == 0 || before + size <= QUEUE;
        self.shared.came.fetch_add(count, Ordering::Relaxed);
        if !fits || items.try_send(Item::Messages(client, std::mem::take(messages))).is_err() {
            self.shared.waiting.fetch_sub(size, Ordering::Relaxed);
            self.shared.gone.fetch_add(count, Ordering::Relaxed);
            self.shared.drop_some(count, ANSWERED);
        }
    }

    /// Prints a message; waits while too much is in the queue.
    pub fn print(&self, client: u64, message: Bytes) {
        let Some(items) = &self.items else { return };
        let messages = vec![message];
        let size = weight(&messages);
        if self.shared.waiting.fetch_add(size, Ordering::Relaxed) + size > QUEUE {
            flush(items);
        }
        self.shared.came.fetch_add(1, Ordering::Relaxed);
        let _ = items.send(Item::Messages(client, messages));
    }

    /// Before the end of the process: waits until what came so far is printed, but
    /// no longer than this, and says what was not.
    pub fn finish(&self, most: Duration) {
        const STEP: Duration = Duration::from_millis(1);
        let Shared { came, gone, closed, .. } = &*self.shared;
        let came = came.load(Ordering::Relaxed);
        let waiting = || came.saturating_sub(gone.load(Ordering::Relaxed));
        for _ in 0..most.as_millis() / STEP.as_millis() {
            if waiting() == 0 || closed.load(Ordering::Relaxed) {
                break;
            }
            thread::park_timeout(STEP);
        }
        if !closed.load(Ordering::Relaxed) {
            self.shared.say_last_dropped(waiting());
        }
    }
}

/// Waits until everything is printed.
fn flush(items: &SyncSender<Item>) {
    let (sender, receiver) = mpsc::sync_channel(1);
    if items.send(Item::Flush(sender)).is_ok() {
        let _ = receiver.recv();
    }
}

/// What messages count for in the queue.
fn weight(messages: &[Bytes]) -> usize {
    messages.iter().map(|message| message.len() + OVERHEAD).sum()
}

impl Shared {
    /// The printing thread.
    fn print(&self, items: &Receiver<Item>) {
        let output = Writer::output();
        let terminal = output.is_terminal();
        let mut batch = Batch::default();
        // Of clients up to this one the log says that they have come.
        let mut told = 0;
        loop {
            let mut count = 0;
            let mut next = match items.recv_timeout(self.patience()) {
                Ok(item) => Some(item),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut flushed = None;
            while let Some(item) = next {
                match item {
                    Item::Messages(client, messages) => {
                        if client > told {
                            // If the log is stuck, it is not waited for again.
                            told = if super::log::flush() { client } else { u64::MAX };
                        }
                        let prefix = format!("client-{client}> ");
                        for message in &messages {
                            batch.push_line(&prefix, message, terminal);
                        }
                        self.waiting.fetch_sub(weight(&messages), Ordering::Relaxed);
                        count += messages.len() as u64;
                    }
                    Item::Flush(done) => flushed = Some(done),
                }
                let more = !batch.is_full() && flushed.is_none();
                next = if more { items.try_recv().ok() } else { None };
            }
            if !self.closed.load(Ordering::Relaxed)
                && let Err(error) = batch.write(&output)
            {
                self.note_failure(&error, output.has_lost_reader(&error), batch.unwritten());
            }
            batch.forget();
            self.gone.fetch_add(count, Ordering::Relaxed);
            if let Some(done) = flushed {
                let _ = done.try_send(());
            }
            self.say_dropped();
        }
    }

    /// A write failed, and so many messages were not printed.
    fn note_failure(&self, error: &io::Error, unread: bool, count: u64) {
        if unread {
            self.closed.store(true, Ordering::Relaxed);
            self.say_unread();
        } else {
            self.drop_some(count, &format!("standard output: {}", text::system(error)));
        }
    }

    /// Says it once.
    fn say_unread(&self) {
        if !self.unread.swap(true, Ordering::Relaxed) {
            log::warn!("messages are no longer printed: nothing reads standard output any more");
        }
    }

    /// How long the thread may wait for a message: shorter if it has yet to
    /// say what was dropped.
    fn patience(&self) -> Duration {
        match self.dropped().count {
            0 => Duration::from_secs(3600),
            _ => PACE,
        }
    }

    fn dropped(&self) -> MutexGuard<'_, Dropped> {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what was dropped, and says it if it is time.
    fn drop_some(&self, count: u64, why: &str) {
        let mut dropped = self.dropped();
        dropped.count += count;
        dropped.why.clear();
        dropped.why.push_str(why);
        drop(dropped);
        self.say_dropped();
    }

    /// Says what was dropped if the last time is long enough ago.
    fn say_dropped(&self) {
        let (count, why) = {
            let mut dropped = self.dropped();
            if dropped.count == 0 {
                return;
            }
            #[expect(clippy::disallowed_methods, reason = "the pace of a message to a person")]
            let now = Instant::now();
            if dropped.said.is_some_and(|said| now.duration_since(said) < PACE) {
                return;
            }
            dropped.said = Some(now);
            (std::mem::take(&mut dropped.count), dropped.why.clone())
        };
        log::warn!("{} not printed: {why}", text::messages(count));
    }

    /// Says what was dropped, whatever was said before, and that so many more are waiting.
    fn say_last_dropped(&self, waiting: u64) {
        let mut dropped = self.dropped();
        let count = std::mem::take(&mut dropped.count) + waiting;
        let why = if waiting > 0 { TOO_SLOW } else { &dropped.why };
        if count > 0 {
            log::warn!("{} not printed: {why}", text::messages(count));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts_without_waiting() {
        // Nobody prints.
        let (sender, _receiver) = mpsc::sync_channel(2);
        let printer = Printer { items: Some(sender), shared: Arc::default() };
        for _ in 0..4 {
            printer.offer(1, &mut vec![Bytes::from_static(b"x"); 2]);
        }
        // The first two dropped were said at once, the others wait for their second.
        assert_eq!(printer.shared.dropped.lock().unwrap().count, 2);
        assert_eq!(printer.shared.waiting.load(Ordering::Relaxed), 4 * (1 + OVERHEAD));
    }

    #[test]
    fn the_queue_is_bounded_in_bytes_too() {
        let (sender, _receiver) = mpsc::sync_channel(100);
        let printer = Printer { items: Some(sender), shared: Arc::default() };
        let large = vec![Bytes::from(vec![0; QUEUE])];
        printer.offer(1, &mut large.clone());
        printer.offer(1, &mut large.clone());
        assert_eq!(printer.shared.waiting.load(Ordering::Relaxed), weight(&large));
    }
}
