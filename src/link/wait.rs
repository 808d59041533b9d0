//! The threads of the application wait and read; and every thread writes and wakes others.

use std::net::Shutdown;
use std::time::Duration;

use super::halves::{ReadHalf, WriteHalf, Written};
use super::locked::Locked;
use super::roles::{Retired, ShutdownKind};
use super::{Shared, State};
use crate::error::{Error, Result};
use crate::foreign;
use crate::proto::report::Output;
use crate::proto::spent::Spent;
use crate::secure;
use crate::sync;

/// How many batches a thread writes before it leaves the rest to the driver:
/// its own, and one that others appended meanwhile.
const BATCHES: usize = 2;

/// What a thread waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiter {
    Receiver,
    Other,
}

/// The threads that wait on a condition variable.
///
/// Those that were chosen, and have not come yet, are not chosen again: they
/// look at what is there when they come. On a busy core that takes a while, in
/// which another thread can send a thousand messages.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    count: usize,
    chosen: usize,
}

impl Waiters {
    pub(super) fn sleep(&mut self) {
        self.count += 1;
    }

    /// One has come, notified or because its time is over.
    pub(super) fn wake(&mut self) {
        self.count -= 1;
        self.chosen = self.chosen.saturating_sub(1);
    }

    /// Whether there is one to be chosen.
    pub(super) fn are_asleep(&self) -> bool {
        self.chosen < self.count
    }

    /// Chooses at most so many. Returns how many are to be notified: `most`, or none if no
    /// thread is left to be chosen. One that was chosen before may not have been notified
    /// yet, since that is done without the lock, and a notice for one may reach any thread
    /// that sleeps. So where all are chosen, all are notified.
    pub(super) fn choose(&mut self, most: usize) -> usize {
        if !self.are_asleep() {
            return 0;
        }
        self.chosen += most.min(self.count - self.chosen);
        most
    }
}

/// How long a call may block.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    /// Not at all.
    None,
    For(Duration),
    Forever,
}

/// Waiting and reading.
impl Locked<'_> {
    /// Waits until `ready` has a result, reading the link meanwhile if no other
    /// thread does. Releases the lock.
    pub(crate) fn wait<T>(
        mut self,
        waiter: Waiter,
        patience: Patience,
        mut ready: impl FnMut(&mut State) -> Option<Result<T>>,
    ) -> Result<T> {
        if let Some(result) = ready(&mut self) {
            // A receiver that finds a message has not begun to wait: what was fed
            // may become more before it is written.
            if waiter == Waiter::Other || self.has_consequences(Output::Due) {
                self.settle();
            }
            return result;
        }
        let foreign = foreign::is_running() || secure::is_inside();
        let patience = if foreign { Patience::None } else { patience };
        // What was sent in a row is to be answered now.
        self.singles = 0;
        // The time as it was given spares a system call when the same is asked
        // for again and again.
        let mut given = match patience {
            Patience::None => Some(Duration::ZERO),
            Patience::For(time) => Some(time),
            Patience::Forever => None,
        };
        let deadline = given.and_then(sync::after);
        let (mut looked, mut settled) = (false, false);
        loop {
            // What the peer is to answer must have been written before it is waited for.
            if !settled && self.has_consequences(Output::Messages) {
                self.settle_within();
                if let Some(result) = ready(&mut self) {
                    self.settle();
                    return result;
                }
            }
            let left = deadline.map(|at| at.saturating_duration_since(sync::now()));
            let no_time = left.is_some_and(|left| left.is_zero());
            if no_time && looked {
                self.settle();
                return Err(match patience {
                    Patience::None => Error::WouldBlock,
                    _ => Error::TimedOut,
                });
            }
            looked = true;
            let read_half = self.take_read_half(waiter);
            settled = read_half.is_none();
            match read_half {
                Some(read_half) if no_time => self.read(read_half, Some(Duration::ZERO)),
                Some(read_half) => self.read(read_half, given.take().or(left)),
                None if no_time => {}
                None => self.sleep(waiter, deadline),
            }
            given = None;
            if let Some(result) = ready(&mut self) {
                self.settle();
                return result;
            }
        }
    }

    /// Reads once, on the thread of an application: what is there, or what
    /// comes within the timeout.
    fn read(&mut self, mut read_half: Box<ReadHalf>, timeout: Option<Duration>) {
        let blocking = timeout != Some(Duration::ZERO);
        // A timeout below a microsecond would mean none to the kernel.
        let timeout = timeout.map(|time| time.max(Duration::from_millis(1)));
        let set = blocking && self.set_read_timeout(timeout);
        let result = self.unlocked(|| {
            if set {
                read_half.socket.set_read_timeout(timeout)?;
            }
            read_half.read(blocking.then_some(timeout))
        });
        self.after_read(read_half, result);
    }
}

/// What follows from a change.
impl Locked<'_> {
    /// Does what follows from the changes made, and releases the lock.
    pub(crate) fn settle(mut self) {
        if self.has_consequences(Output::Messages) {
            self.flush();
            self.release();
        }
    }

    /// What was fed is to be written: sees to it, and releases the lock.
    pub(crate) fn post(mut self) {
        if !self.gathers() {
            self.flush();
        }
        self.release();
    }

    fn release(mut self) {
        let shared = self.shared;
        let notices = self.notices(true);
        drop(self);
        shared.carry_out(notices);
    }

    /// As [`settle`](Locked::settle), for a thread that goes on and keeps the lock.
    pub(crate) fn settle_within(&mut self) {
        if !self.has_consequences(Output::Messages) {
            return;
        }
        self.flush();
        let notices = self.notices(false);
        if !notices.is_empty() {
            let shared = self.shared;
            self.unlocked(|| shared.carry_out(notices));
        }
    }

    /// Writes what is due, as far as the socket takes it at once.
    fn flush(&mut self) {
        self.conclude();
        for written in 0..BATCHES {
            let due = self.link.as_ref().is_some_and(|link| link.control_due);
            if written > 0 && !due && self.protocol.output() == Output::Nothing {
                return;
            }
            let Some(mut write_half) = self.take_write_half() else { break };
            let result = self.unlocked(|| {
                let result = write_half.write();
                let WriteHalf { socket, batch, .. } = &mut *write_half;
                if let Ok(Written::All) = result
                    && batch.take_fin()
                {
                    socket.shutdown(Shutdown::Write);
                }
                batch.spent.by_ref().for_each(foreign::discard);
                result
            });
            self.after_write(write_half, result);
            self.conclude();
        }
        self.leave_rest_to_driver();
    }
}

impl Shared {
    fn carry_out(&self, notices: Notices) {
        let threads = [(Waiter::Receiver, notices.receivers), (Waiter::Other, notices.others)];
        for (waiter, count) in threads {
            #[cfg(all(test, not(shuttle)))]
            if count > 0 {
                crate::testing::counters::count(|counters| counters.notices += 1);
            }
            match count {
                0 => {}
                1 => self.condvar(waiter).notify_one(),
                _ => self.condvar(waiter).notify_all(),
            }
        }
        if notices.driver {
            self.driver.wake_for(self.id);
        }
        for Retired { socket, kind, farewell } in notices.retired {
            // The layer cannot be asked from within.
            if let Some(mut sealer) = farewell.filter(|_| !secure::is_inside()) {
                let _ = socket.write(&mut &sealer.farewell()[..]);
            }
            match kind {
                ShutdownKind::StopReading => socket.shutdown(Shutdown::Read),
                ShutdownKind::Shutdown => socket.shutdown(Shutdown::Both),
                ShutdownKind::Reset => {
                    socket.reset_on_close();
                    socket.shutdown(Shutdown::Both);
                }
            }
        }
        notices.spent.for_each(foreign::discard);
    }
}

/// How many threads are to be woken, and what is to be done, once the lock is released.
pub(super) struct Notices {
    pub(super) receivers: usize,
    pub(super) others: usize,
    pub(super) driver: bool,
    pub(super) retired: Vec<Retired>,
    pub(super) spent: Spent,
}

impl Notices {
    fn is_empty(&self) -> bool {
        self.receivers == 0
            && self.others == 0
            && !self.driver
            && self.retired.is_empty()
            && self.spent.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else four threads that send make a system call for each message, to wake
    /// those that are awake and wait for their turn on the core.
    #[test]
    fn a_thread_that_was_called_and_has_not_come_is_not_called_again() {
        const ALL: usize = usize::MAX;
        let mut waiters = Waiters::default();
        assert_eq!([waiters.choose(1), waiters.choose(ALL)], [0; 2]);
        (0..3).for_each(|_| waiters.sleep());
        assert_eq!([waiters.choose(1), waiters.choose(1)], [1; 2]);
        assert_eq!([waiters.choose(ALL), waiters.choose(1)], [ALL, 0]);
        waiters.wake();
        assert!(!waiters.are_asleep());
        // It has found nothing, and waits again.
        waiters.sleep();
        assert_eq!([waiters.choose(1), waiters.choose(1)], [1, 0]);
        (0..3).for_each(|_| waiters.wake());
        // One that was never chosen comes by itself.
        waiters.sleep();
        waiters.wake();
        waiters.sleep();
        assert_eq!(waiters.choose(1), 1);
    }
}
