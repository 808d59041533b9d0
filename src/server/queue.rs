//! New sessions on their way to [`Listener::accept`](crate::Listener::accept).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::error::{Error, Rejection, Result};
use crate::foreign;
use crate::link::Shared;
use crate::sync::{self, Arc, Condvar, Mutex};

pub(crate) struct AcceptQueue {
    queue: Mutex<Queue>,
    arrived: Condvar,
    drained: Condvar,
}

#[derive(Default)]
struct Queue {
    /// By age.
    sessions: BTreeMap<u64, Arc<Shared>>,
    /// See [`Listener::set_full`](crate::Listener::set_full).
    full: bool,
    closed: bool,
    restart: Option<Restart>,
    /// See [`Drained`].
    drained: bool,
}

/// How a server goes away: see [`Listener::restart`](crate::Listener::restart).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Restart {
    /// When it is back.
    pub(crate) after: Duration,
    /// When it has gone.
    pub(crate) until: Instant,
}

/// Says, when it is dropped, that every session has ended and the port is free.
pub(super) struct Drained(pub(super) Arc<AcceptQueue>);

impl Drop for Drained {
    fn drop(&mut self) {
        self.0.queue.lock().drained = true;
        self.0.drained.notify_all();
    }
}

impl AcceptQueue {
    pub(crate) fn new() -> AcceptQueue {
        AcceptQueue { queue: Mutex::default(), arrived: Condvar::new(), drained: Condvar::new() }
    }

    /// Blocks for the next session; fails once the listener is closed.
    pub(crate) fn next(&self) -> Result<Arc<Shared>> {
        let mut queue = self.queue.lock();
        loop {
            if queue.closed {
                return Err(Error::Closed { unacknowledged: 0 });
            }
            if let Some((_, shared)) = queue.sessions.pop_first() {
                return Ok(shared);
            }
            if foreign::is_running() {
                return Err(Error::WouldBlock);
            }
            queue = sync::wait(&self.arrived, queue, None);
        }
    }

    /// No more sessions are accepted; those that wait are ended.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        // Those of a server that goes away are told so.
        let sessions = match queue.restart {
            Some(_) => BTreeMap::new(),
            None => std::mem::take(&mut queue.sessions),
        };
        drop(queue);
        self.arrived.notify_all();
        sessions.values().for_each(refuse);
    }

    /// No more sessions are accepted, and all end; those that wait, too.
    pub(crate) fn restart(&self, restart: Restart) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.restart.get_or_insert(restart);
        drop(queue);
        self.arrived.notify_all();
    }

    /// How the server is to go away, if it is.
    pub(super) fn restarts(&self) -> Option<Restart> {
        self.queue.lock().restart
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.queue.lock().full = full;
    }

    /// Whether there may be new sessions.
    pub(super) fn admits(&self) -> Result<(), Rejection> {
        match *self.queue.lock() {
            Queue { closed: true, .. } => Err(Rejection::ShuttingDown),
            Queue { full: true, .. } => Err(Rejection::Full),
            _ => Ok(()),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.queue.lock().closed
    }

    /// Blocks until every session has ended and the port is free, at most until `deadline`.
    pub(crate) fn wait_drained(&self, deadline: Option<Instant>) -> Result<()> {
        let mut queue = self.queue.lock();
        while !queue.drained {
            if foreign::is_running() {
                return Err(Error::WouldBlock);
            }
            if deadline.is_some_and(|deadline| sync::now() >= deadline) {
                return Err(Error::TimedOut);
            }
            queue = sync::wait(&self.drained, queue, deadline);
        }
        Ok(())
    }

    pub(super) fn push(&self, shared: Arc<Shared>) {
        let mut queue = self.queue.lock();
        if queue.closed && queue.restart.is_none() {
            drop(queue);
            return refuse(&shared);
        }
        queue.sessions.insert(shared.id(), shared);
        drop(queue);
        self.arrived.notify_one();
    }

    /// Takes a session back. Returns whether it was still there.
    pub(super) fn forget(&self, shared: &Arc<Shared>) -> bool {
        self.queue.lock().sessions.remove(&shared.id()).is_some()
    }
}

/// Ends a session that will not be accepted. Only the callback can have a handle.
fn refuse(shared: &Arc<Shared>) {
    let mut state = shared.lock();
    state.abort();
    if shared.remove_handle() {
        state.drop_handles();
    }
    state.settle();
}
