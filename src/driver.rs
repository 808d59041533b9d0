//! What drives connections is a thread that waits in `poll`: for what, how it is woken,
//! and how it learns that the machine has slept.

use std::io;
use std::time::{Duration, Instant};

use crate::net::{self, Alarm, Interest, Pipe, Socket};
use crate::sync::{self, Arc, AtomicBool, Mutex, Ordering};

/// Wakes a driver thread, which waits in [`poll`](crate::net::poll) on the pipe. A wake-up
/// that is not answered yet costs no second system call.
#[derive(Debug)]
pub(crate) struct DriverHandle {
    pipe: Pipe,
    pending: AtomicBool,
    due: Mutex<Vec<u64>>,
}

impl DriverHandle {
    pub(crate) fn new() -> io::Result<DriverHandle> {
        let (pending, due) = (AtomicBool::new(false), Mutex::default());
        Ok(DriverHandle { pipe: Pipe::new()?, pending, due })
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

    pub(crate) fn answer(&self) -> Vec<u64> {
        self.pipe.drain();
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
    /// The pipe was readable.
    signalled: bool,
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
        Driver { handle, signalled: false, alarm: Alarm::new(), asleep: sync::asleep() }
    }

    /// Waits for these sockets, for the deadline, for a wake-up, and for the machine to wake.
    /// May return early.
    pub(crate) fn wait<'a, K>(
        &mut self,
        deadline: Option<Instant>,
        sockets: impl IntoIterator<Item = (K, &'a Socket, Interest)>,
    ) -> Woken<K> {
        let mut fds = Vec::with_capacity(16);
        fds.push(net::poll_fd(&self.handle.pipe, Interest::READ));
        fds.extend(self.alarm.as_ref().map(|alarm| net::poll_fd(alarm, Interest::READ)));
        let own = fds.len();
        let mut keys = Vec::with_capacity(16);
        for (key, socket, interest) in sockets {
            fds.push(net::poll_fd(socket, interest));
            keys.push(key);
        }
        net::poll(&mut fds, deadline);
        let mut interests = fds.iter().map(net::readiness);
        self.signalled = interests.next().is_some_and(|interest| interest.read);
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
        // A poll that failed has not told of a wake-up, and some came since.
        let called =
            std::mem::take(&mut self.signalled) || self.handle.pending.load(Ordering::SeqCst);
        if called { self.handle.answer() } else { Vec::new() }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::net::Interest;

    fn is_signalled(driver: &DriverHandle) -> bool {
        let mut fds = [net::poll_fd(&driver.pipe, Interest::READ)];
        net::poll(&mut fds, Some(sync::now()));
        net::readiness(&fds[0]).read
    }

    /// Else a client without heartbeats never hears of what it is to do.
    #[test]
    fn a_wake_up_is_not_lost_when_the_system_refuses_it() {
        let driver = DriverHandle::new().unwrap();
        let mut failures = [Errno::NOBUFS, Errno::INTR, Errno::NOMEM].into_iter();
        driver.wake_by(|| match failures.next() {
            Some(failure) => Err(failure.into()),
            None => driver.pipe.signal(),
        });
        assert!(is_signalled(&driver) && failures.next().is_none());
        assert!(driver.answer().is_empty());
        assert!(!driver.pending.load(Ordering::SeqCst) && !is_signalled(&driver));
    }

    #[test]
    fn a_full_pipe_is_a_signal_that_was_not_answered() {
        let driver = DriverHandle::new().unwrap();
        while driver.pipe.signal().is_ok() {}
        driver.wake();
        assert!(driver.pending.load(Ordering::SeqCst) && is_signalled(&driver));
    }

    /// A wake-up is pending before it is signalled, and may be answered in between.
    #[test]
    fn a_signal_that_comes_behind_its_answer_does_not_spin() {
        let handle = Arc::new(DriverHandle::new().unwrap());
        let mut driver = Driver::new(handle.clone());
        handle.pipe.signal().unwrap();
        let Woken { ready, slept } = driver.wait::<()>(None, []);
        assert!(ready.is_empty() && !slept && driver.answer().is_empty());
        assert!(!is_signalled(&handle), "it is signalled for ever");
    }

    #[test]
    fn a_short_nap_is_none() {
        let mut driver = Driver::new(Arc::new(DriverHandle::new().unwrap()));
        assert!(!driver.has_slept());
        sync::sleep(NAP / 2);
        assert!(!driver.has_slept());
        sync::sleep(Duration::from_secs(3 * 3600));
        assert!(driver.has_slept() && !driver.has_slept());
    }
}
