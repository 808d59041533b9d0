//! What the server prints of its clients' messages.
//!
//! A thread of its own prints, behind a bounded queue, so that no echo waits
//! for a terminal. What the queue cannot take is counted, and said at most
//! once a second.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{terminal, text};

/// How much may wait: bytes, of which each message counts [`OVERHEAD`] more.
const QUEUE: usize = 4 * 1024 * 1024;
const OVERHEAD: usize = 64;
/// How many lots of messages.
const LOTS: usize = 4096;
/// Printed in one go.
const BATCH: usize = 64 * 1024;
/// How often it is said that messages were dropped.
const PACE: Duration = Duration::from_secs(1);

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
    /// Standard output is gone, and nothing is printed any more.
    closed: AtomicBool,
    dropped: Mutex<Dropped>,
}

#[derive(Default)]
struct Dropped {
    count: u64,
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
            self.shared.say_dropped(count);
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
                return;
            }
            thread::park_timeout(STEP);
        }
        let messages = text::messages(waiting());
        log::warn!("{messages} not printed: standard output is too slow");
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
        let terminal = io::stdout().is_terminal();
        let mut lines = Vec::new();
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
                        let prefix = format!("client-{client}> ");
                        for message in &messages {
                            text::line(&prefix, message, terminal, &mut lines);
                        }
                        self.waiting.fetch_sub(weight(&messages), Ordering::Relaxed);
                        count += messages.len() as u64;
                    }
                    Item::Flush(done) => flushed = Some(done),
                }
                let more = lines.len() < BATCH && flushed.is_none();
                next = if more { items.try_recv().ok() } else { None };
            }
            if !lines.is_empty()
                && !self.closed.load(Ordering::Relaxed)
                && let Err(error) = terminal::write(io::stdout().lock(), &lines)
            {
                self.closed.store(true, Ordering::Relaxed);
                let why = text::system(&error);
                log::warn!("messages are no longer printed, standard output is gone: {why}");
            }
            self.gone.fetch_add(count, Ordering::Relaxed);
            lines.clear();
            lines.shrink_to(2 * BATCH);
            if let Some(done) = flushed {
                let _ = done.try_send(());
            }
            self.say_dropped(0);
        }
    }

    /// How long the thread may wait for a message: shorter if it has yet to
    /// say what was dropped.
    fn patience(&self) -> Duration {
        match self.dropped.lock().unwrap_or_else(PoisonError::into_inner).count {
            0 => Duration::from_secs(3600),
            _ => PACE,
        }
    }

    /// Counts what was dropped, and says it if the last time is long enough ago.
    fn say_dropped(&self, more: u64) {
        let count = {
            let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
            dropped.count += more;
            if dropped.count == 0 {
                return;
            }
            #[expect(clippy::disallowed_methods, reason = "the pace of a message to a person")]
            let now = Instant::now();
            if dropped.said.is_some_and(|said| now.duration_since(said) < PACE) {
                return;
            }
            dropped.said = Some(now);
            std::mem::take(&mut dropped.count)
        };
        let messages = text::messages(count);
        log::warn!("{messages} not printed: standard output is too slow (they were answered)");
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
