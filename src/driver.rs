//! What drives connections is a thread that waits in `poll`: for what, how it is woken,
//! and how it learns that the machine has slept.

use std::io;
use std::time::{Duration, Instant};

use crate::net::{self, Alarm, Interest, Pipe, PollFd};
use crate::sync::{self, Arc, AtomicBool, Mutex, Ordering};

/// Wakes a driver thread, which waits in [`poll`](crate::net::poll) on the pipe. Only one
/// that waits, and was not woken yet, costs a system call.
#[derive(Debug)]
pub(crate) struct DriverHandle {
    pipe: Pipe,
    /// The driver waits, or is about to, and was not woken.
    waits: AtomicBool,
    /// It was woken, and has not answered.
    pending: AtomicBool,
    due: Mutex<Vec<u64>>,
}

impl DriverHandle {
    pub(crate) fn new() -> io::Result<DriverHandle> {
        let [waits, pending] = [false; 2].map(AtomicBool::new);
        Ok(DriverHandle { pipe: Pipe::new()?, waits, pending, due: Mutex::default() })
    }

    /// The driver is to look at this connection.
    pub(crate) fn wake_for(&self, id: u64) {
        #[cfg(all(test, not(shuttle)))]
        crate::testing::counters::count(|counters| counters.calls += 1);
        self.due.lock().push(id);
        self.wake();
    }

    /// What the driver is to find must be there before.
    pub(crate) fn wake(&self) {
        self.wake_by(|| self.pipe.signal());
    }

    /// Other threads take a pending wake-up for done, so that it is tried until it is:
    /// a system without memory has some again sooner or later.
    fn wake_by(&self, mut signal: impl FnMut() -> io::Result<()>) {
        self.pending.store(true, Ordering::SeqCst);
        if !self.waits.swap(false, Ordering::SeqCst) {
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

    /// Returns until when the driver may wait, who means to wait until the deadline.
    fn begin_to_wait(&self, deadline: Option<Instant>) -> Option<Instant> {
        self.waits.store(true, Ordering::SeqCst);
        // Who came before that has not signalled.
        if self.pending.load(Ordering::SeqCst) { Some(sync::now()) } else { deadline }
    }

    pub(crate) fn answer(&self) -> Vec<u64> {
        self.pending.store(false, Ordering::SeqCst);
        std::mem::take(&mut *self.due.lock())
    }
}

/// The machine has slept if it did so for this long since the last question; two clocks
/// are not read at quite the same time.
const NAP: Duration = Duration::from_secs(1);

/// A driver thread's side.
pub(crate) struct Driver {
    handle: Arc<DriverHandle>,
    /// Rings when the machine wakes, where there is such a thing.
    alarm: Option<Alarm>,
    /// How long the machine had slept at the last question.
    asleep: Duration,
}

/// What a wait has brought.
pub(crate) struct Woken<K> {
    /// The machine has slept.
    pub(crate) slept: bool,
    /// The sockets that are ready.
    pub(crate) ready: Vec<(K, Interest)>,
}

impl Driver {
    pub(crate) fn new(handle: Arc<DriverHandle>) -> Driver {
        Driver { handle, alarm: Alarm::new(), asleep: sync::asleep() }
    }

    /// Waits for these sockets, for the deadline, for a wake-up, and for the machine to wake.
    /// May return early.
    pub(crate) fn wait<'a, K>(
        &mut self,
        deadline: Option<Instant>,
        sockets: impl IntoIterator<Item = (K, PollFd<'a>)>,
    ) -> Woken<K> {
        let deadline = self.handle.begin_to_wait(deadline);
        let mut fds = Vec::with_capacity(16);
        fds.push(net::poll_fd(&self.handle.pipe, Interest::READ));
        fds.extend(self.alarm.as_ref().map(|alarm| net::poll_fd(alarm, Interest::READ)));
        let own = fds.len();
        let mut keys = Vec::with_capacity(16);
        for (key, socket) in sockets {
            fds.push(socket);
            keys.push(key);
        }
        net::poll(&mut fds, deadline);
        self.handle.waits.store(false, Ordering::SeqCst);
        let mut interests = fds.iter().map(net::readiness);
        if interests.next().is_some_and(|interest| interest.read) {
            self.handle.pipe.drain();
        }
        if own > 1 && interests.next().is_some_and(|interest| interest.read) {
            self.alarm.iter().for_each(Alarm::answer);
        }
        let ready = keys.into_iter().zip(interests).filter(|(_, is)| is.read || is.write);
        Woken { ready: ready.collect(), slept: self.has_slept() }
    }

    /// Whether the machine has slept since this was last asked. All deadlines are times of
    /// a clock that stands still meanwhile. When it wakes, links may have been dead for
    /// hours, and no deadline has come any nearer.
    fn has_slept(&mut self) -> bool {
        let asleep = sync::asleep();
        let before = std::mem::replace(&mut self.asleep, asleep);
        asleep.saturating_sub(before) >= NAP
    }

    /// Answers the wake-ups that came so far, and returns the connections that they are for.
    /// The driver looks for what is new only then. What comes later wakes it again.
    pub(crate) fn answer(&mut self) -> Vec<u64> {
        // Also when a poll that failed has not told of one.
        match self.handle.pending.load(Ordering::SeqCst) {
            true => self.handle.answer(),
            false => Vec::new(),
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
