//! Threads for a server's clients. Each waits for its client, so that the server takes in
//! no client for which there is no thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use log::Level;

use super::text;
use crate::{Connection, Error, Listener, Result};

/// The stack of a client's thread: it needs little more than room for a line of the log.
pub(super) const STACK: usize = 256 * 1024;

/// The pause before another attempt to start a thread.
const PAUSE: Duration = Duration::from_millis(100);

/// What a thread does with its client.
pub type Job = Box<dyn FnOnce() + Send>;

/// Hands a thread its client. The thread waits for that, and ends if this is dropped.
pub struct Worker(Arc<Slot>);

/// Where a thread finds its job. A channel takes 1.5 KiB for that, for as long as the client
/// stays, and parking_lot has a table that grows with the threads that have waited.
#[derive(Default)]
struct Slot {
    /// Once it is filled without a job, none comes.
    job: Mutex<Option<Option<Job>>>,
    filled: Condvar,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<Option<Job>>> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the job.
    fn take(self: Arc<Slot>) -> Option<Job> {
        let filled = self.filled.wait_while(self.lock(), |job| job.is_none());
        filled.unwrap_or_else(PoisonError::into_inner).take().flatten()
    }
}

impl Worker {
    fn send(self, job: Job) {
        *self.0.lock() = Some(Some(job));
    }
}

/// Tells the thread, whether it was sent a job or not.
impl Drop for Worker {
    fn drop(&mut self) {
        self.0.lock().get_or_insert(None);
        self.0.filled.notify_one();
    }
}

/// Starts the thread of client number `number`.
pub fn start(number: u64) -> io::Result<Worker> {
    let slot = Arc::new(Slot::default());
    let worker = Worker(slot.clone());
    let thread = thread::Builder::new().name(format!("client-{number}")).stack_size(STACK);
    thread.spawn(move || {
        if let Some(job) = slot.take() {
            job();
        }
    })?;
    Ok(worker)
}

/// Accepts clients, each for a thread that `start` has made, until the listener is
/// closed. While there is no thread for the next one, the listener is full. `wait` is
/// called before each.
pub fn accept(
    listener: &Listener,
    mut wait: impl FnMut(),
    mut start: impl FnMut(u64) -> io::Result<Worker>,
    mut serve: impl FnMut(u64, Connection) -> Job,
) {
    // There was no thread to be had.
    let mut short = false;
    let mut start = |number| {
        let started = start(number);
        if started.is_err() != short {
            short = started.is_err();
            listener.set_full(short);
            if let Err(error) = &started {
                let why = text::system(error);
                log::warn!("no thread for another client, it is told to try again: {why}");
            }
        }
        started.ok()
    };
    let mut next = start(1);
    for number in 1.. {
        let worker = loop {
            if let Some(worker) = next.take().or_else(|| start(number)) {
                break worker;
            }
            thread::park_timeout(PAUSE);
        };
        wait();
        let Ok(connection) = listener.accept() else { return };
        // First of all: whatever this client is told, those after it find the
        // listener as it has to be.
        next = start(number + 1);
        worker.send(serve(number, connection));
    }
}

/// Serves a client on its thread, and says why that ended, as `serve` tells, or what went
/// wrong.
pub fn attend(
    number: u64,
    connection: &Connection,
    serve: impl FnOnce() -> Result<(Level, String)>,
) {
    let Ok(served) = catch_unwind(AssertUnwindSafe(serve)) else {
        log::error!("client-{number}: its handler panicked, and it is let go");
        return connection.abort();
    };
    let lost = |unacknowledged| match unacknowledged {
        0 => String::new(),
        _ => format!(", {} not acknowledged", text::messages(unacknowledged)),
    };
    let (level, line) = match served {
        Ok((level, why)) => (level, format!("closed: {why}")),
        Err(Error::PeerClosed { unacknowledged }) => {
            (Level::Info, format!("closed: it left{}", lost(unacknowledged)))
        }
        Err(Error::Closed { unacknowledged }) => {
            (Level::Info, format!("closed{}", lost(unacknowledged)))
        }
        // Of a final one the event has said so.
        Err(error) => {
            let level = if error.is_final() { Level::Debug } else { Level::Error };
            (level, text::error(&error))
        }
    };
    log::log!(level, "client-{number}: {line}");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::{Cause, Error, Rejection, RetryPolicy};

    /// Threads that there are to be had, and for which client one was asked for last.
    #[derive(Default)]
    struct Supply {
        left: Mutex<u32>,
        asked: AtomicU64,
    }

    impl Supply {
        fn add(&self) {
            *self.left.lock().unwrap() += 1;
        }

        fn take(&self, number: u64) -> io::Result<Worker> {
            self.asked.store(number, Ordering::SeqCst);
            let mut left = self.left.lock().unwrap();
            *left = left.checked_sub(1).ok_or(io::ErrorKind::WouldBlock)?;
            super::start(number)
        }
    }

    fn echo(connection: Connection) -> Job {
        Box::new(move || {
            while let Ok(Some(message)) = connection.recv() {
                let _ = connection.send(&message);
            }
        })
    }

    fn trip(client: &Connection) {
        client.send(b"hello").unwrap();
        assert_eq!(client.recv().unwrap().as_deref(), Some(&b"hello"[..]));
    }

    #[test]
    fn a_client_for_which_there_is_no_thread_is_told_to_try_again() {
        let listener = Arc::new(Listener::bind("127.0.0.1:0").unwrap());
        let supply = Arc::new(Supply::default());
        (0..2).for_each(|_| supply.add());
        let (accepting, hiring) = (listener.clone(), supply.clone());
        let accepting = thread::spawn(move || {
            let serve = |number, connection| {
                let asked = hiring.asked.load(Ordering::SeqCst);
                assert_eq!(asked, number + 1, "the next one has to be known before");
                echo(connection)
            };
            accept(&accepting, || (), |number| hiring.take(number), serve);
        });
        let addr = listener.local_addr();
        let once = Connection::builder().retry(RetryPolicy::never());
        let clients = [(); 2].map(|()| once.clone().connect(addr).unwrap());
        clients.iter().for_each(trip);
        for _ in 0..2 {
            let refused = once.clone().connect(addr).unwrap_err();
            let Error::GaveUp { cause: Cause::Rejected(Rejection::Full), .. } = refused else {
                panic!("{refused:?}");
            };
            clients.iter().for_each(trip);
        }
        let patient = RetryPolicy::fixed(Duration::from_millis(10), 10_000);
        let patient = Connection::builder().retry(patient);
        let waiting = thread::spawn(move || patient.connect(addr).unwrap());
        supply.add();
        trip(&waiting.join().unwrap());
        listener.close();
        supply.add();
        accepting.join().unwrap();
    }
}
