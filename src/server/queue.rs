//! New sessions on their way to [`Listener::accept`](crate::Listener::accept).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::error::{Error, Rejection, Result};
use crate::foreign;
use crate::link::Shared;
use crate::secure::Security;
use crate::sync::{self, Arc, Condvar, Mutex};

pub(crate) struct AcceptQueue {
    queue: Mutex<Queue>,
    arrived: Condvar,
    /// The driver has done what a caller waits for.
    done: Condvar,
}

#[derive(Default)]
struct Queue {
    /// By age.
    sessions: BTreeMap<u64, Arc<Shared>>,
    /// See [`Listener::set_full`](crate::Listener::set_full).
    full: bool,
    closed: bool,
    restart: Option<Restart>,
    /// What handshakes are to go by, and that nobody goes by yet.
    reload: Option<Security>,
    /// How often that was given, and how much of that the driver has done, in so many turns.
    reloads: u64,
    reloaded: u64,
    turns: u64,
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
        self.0.done.notify_all();
    }
}

impl AcceptQueue {
    pub(crate) fn new() -> AcceptQueue {
        AcceptQueue { queue: Mutex::default(), arrived: Condvar::new(), done: Condvar::new() }
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

    /// Handshakes are to go by this. Returns its number.
    #[cfg(any(test, feature = "tls"))]
    pub(crate) fn reload(&self, security: Security) -> u64 {
        let mut queue = self.queue.lock();
        queue.reload = Some(security);
        queue.reloads += 1;
        queue.reloads
    }

    /// The newest that was given, if it is news, and its number.
    pub(super) fn take_reload(&self) -> Option<(Security, u64)> {
        let mut queue = self.queue.lock();
        queue.reload.take().map(|security| (security, queue.reloads))
    }

    /// The driver has had another turn for that, and maybe it is `done`.
    pub(super) fn reloads_on(&self, number: u64, done: bool) {
        let mut queue = self.queue.lock();
        queue.turns += 1;
        if done {
            queue.reloaded = number;
        }
        drop(queue);
        self.done.notify_all();
    }

    /// Blocks until it is, or the server has ended, or does not go on for so long.
    #[cfg(any(test, feature = "tls"))]
    pub(crate) fn wait_reloaded(&self, number: u64, patience: Duration) {
        let mut queue = self.queue.lock();
        let (mut turns, mut deadline) = (queue.turns, sync::later(patience));
        while queue.reloaded < number && !(queue.drained || foreign::is_running()) {
            if queue.turns != turns {
                (turns, deadline) = (queue.turns, sync::later(patience));
            } else if sync::now() >= deadline {
                return;
            }
            queue = sync::wait(&self.done, queue, Some(deadline));
        }
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
            queue = sync::wait(&self.done, queue, deadline);
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
