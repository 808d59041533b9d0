//! Wakes the keeper.

use std::io;

use crate::net::{self, Pipe};
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
        self.wake_by(|| self.pipe.signal());
    }

    /// Others take the wake-up for done once it is pending, so that it is tried
    /// until it is: a system without memory has some again sooner or later.
    fn wake_by(&self, mut signal: impl FnMut() -> io::Result<()>) {
        if self.pending.swap(true, Ordering::SeqCst) {
            return;
        }
        while let Err(error) = signal() {
            match error.kind() {
                // Full: there is a signal that was not answered.
                io::ErrorKind::WouldBlock => return,
                io::ErrorKind::Interrupted => {}
                _ => net::breathe(),
            }
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

#[cfg(all(test, not(shuttle)))]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::net::Interest;
    use crate::sync;

    fn is_signalled(waker: &Waker) -> bool {
        let mut fds = [net::poll_fd(waker.pipe(), Interest { read: true, write: false })];
        net::poll(&mut fds, Some(sync::now()));
        net::readiness(&fds[0]).read
    }

    /// Else a client without heartbeats never hears of what it is to do.
    #[test]
    fn a_wake_up_is_not_lost_when_the_system_refuses_it() {
        let waker = Waker::new().unwrap();
        let mut failures = [Errno::NOBUFS, Errno::INTR, Errno::NOMEM].into_iter();
        waker.wake_by(|| match failures.next() {
            Some(failure) => Err(failure.into()),
            None => waker.pipe().signal(),
        });
        assert!(is_signalled(&waker) && failures.next().is_none());
        waker.answer();
        assert!(!waker.is_pending() && !is_signalled(&waker));
    }

    #[test]
    fn a_full_pipe_is_a_signal_that_was_not_answered() {
        let waker = Waker::new().unwrap();
        while waker.pipe().signal().is_ok() {}
        waker.wake();
        assert!(waker.is_pending() && is_signalled(&waker));
    }
}
