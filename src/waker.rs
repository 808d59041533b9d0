//! Wakes the keeper.

use std::io;

use crate::net::Pipe;
use crate::sync::{AtomicBool, Ordering};

/// Wakes a thread that sits in [`poll`](crate::net::poll) on its pipe. A
/// wake-up that nobody has answered yet costs no second system call.
#[derive(Debug)]
pub(crate) struct Waker {
    pipe: Pipe,
    pending: AtomicBool,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Waker> {
        Ok(Waker { pipe: Pipe::new()?, pending: AtomicBool::new(false) })
    }

    /// Whatever the keeper is to find must be there before.
    pub(crate) fn wake(&self) {
        if !self.pending.swap(true, Ordering::SeqCst) {
            self.pipe.signal();
        }
    }

    /// Whether somebody wakes it whom it has not answered.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::SeqCst)
    }

    /// Answers what came so far; whoever answers looks for what is new only
    /// then. What comes later wakes again.
    pub(crate) fn answer(&self) {
        self.pipe.drain();
        self.pending.store(false, Ordering::SeqCst);
    }

    pub(crate) fn pipe(&self) -> &Pipe {
        &self.pipe
    }
}
