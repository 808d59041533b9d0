//! The threads of the application wait and read; and every thread writes and wakes others.

use std::net::Shutdown;
use std::time::Duration;

use super::halves::{ReadHalf, WriteHalf, Written};
use super::locked::Locked;
use super::roles::{Retired, ShutdownKind};
use super::{Shared, State, Waiter};
use crate::error::{Error, Result};
use crate::foreign;
use crate::proto::report::Output;
use crate::proto::spent::Spent;
use crate::secure;
use crate::sync;

/// How many batches a thread writes before it leaves the rest to the driver:
/// its own, and one that others appended meanwhile.
const BATCHES: usize = 2;

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
    #[inline]
    pub(crate) fn wait<T>(
        mut self,
        waiter: Waiter,
        patience: Patience,
        mut ready: impl FnMut(&mut State) -> Option<Result<T>>,
    ) -> Result<T> {
        if let Some(result) = ready(&mut self) {
            // A receiver that finds a message has not begun to wait: what was fed
            // may become more before it is written.
            if waiter == Waiter::Other || self.coming_back_matters() {
                self.settle();
            }
            return result;
        }
        self.wait_for(waiter, patience, ready)
    }

    #[inline(never)]
    fn wait_for<T>(
        mut self,
        waiter: Waiter,
        patience: Patience,
        mut ready: impl FnMut(&mut State) -> Option<Result<T>>,
    ) -> Result<T> {
        let foreign = foreign::is_running() || secure::is_inside();
        let patience = if foreign { Patience::None } else { patience };
        // What was sent in a row is to be answered now. Room is made for what follows.
        if waiter == Waiter::Receiver || self.protocol.status().room > 0 {
            self.end_row();
        }
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
                    self.leave(waiter);
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
                self.leave(waiter);
                return result;
            }
        }
    }

    /// A sender that has waited for room goes on with its row.
    fn leave(mut self, waiter: Waiter) {
        match waiter {
            Waiter::Other if self.gathers() => {
                self.conclude();
                self.release();
            }
            _ => self.settle(),
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

    /// Reads once, on the driver's thread: what is there.
    pub(super) fn read_at_once(&mut self, read_half: Option<Box<ReadHalf>>) {
        if let Some(mut read_half) = read_half {
            let result = self.unlocked(|| read_half.read(None));
            self.after_read(read_half, result);
        }
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
        } else if !self.driver_due {
            // Nothing but a message was added, and other threads settle what they change.
            return;
        }
        self.release();
    }

    fn release(mut self) {
        // A lone message concerns no other thread: to find that out took 240 instructions.
        if !self.has_notices() {
            return;
        }
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
