//! What a thread waits for in poll(2): sockets, calls of other threads, and the end of
//! the machine's sleep.

// Other systems have none. With `--cfg like_macos` no system has it, for tests.
#[cfg_attr(
    not(all(any(target_os = "linux", target_os = "android"), not(like_macos))),
    path = "poll/no_epoll.rs"
)]
mod epoll;

pub(crate) use epoll::Epoll;
pub(crate) use rustix::event::PollFd;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFlags, Timespec};
use rustix::io::Errno;

use crate::sync::now;

/// What the system has refused for want of memory is tried again after 20 ms.
const BREATH: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
const NO_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Becomes readable when the machine has slept, or its clock was set: a timer that
/// never expires and is cancelled by that (TFD_TIMER_CANCEL_ON_SET, timerfd_create(2);
/// `timekeeping_resume` of the kernel). One on CLOCK_BOOTTIME would have to be set to
/// each next deadline, and would ring when that has come, not at once.
#[derive(Debug)]
pub(crate) struct Alarm(OwnedFd);

impl Alarm {
    /// `None` if there is no such thing: then it is noticed late.
    #[cfg(target_os = "linux")]
    pub(crate) fn new() -> Option<Alarm> {
        use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Realtime, flags).ok()?;
        let never = Timespec { tv_sec: i64::from(u32::MAX), tv_nsec: 0 };
        let time = Itimerspec { it_interval: Timespec::default(), it_value: never };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        rustix::time::timerfd_settime(&timer, flags, &time).ok()?;
        Some(Alarm(timer))
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn new() -> Option<Alarm> {
        None
    }

    /// It rings no more until the next time.
    pub(crate) fn answer(&self) {
        // It says ECANCELED.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What to wait for on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

impl Interest {
    pub(crate) const READ: Interest = Interest { read: true, write: false };
    pub(crate) const WRITE: Interest = Interest { read: false, write: true };
}

/// A socket to wait for.
pub(crate) fn poll_fd(fd: &impl AsFd, interest: Interest) -> PollFd<'_> {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, interest.read);
    flags.set(PollFlags::OUT, interest.write);
    PollFd::new(fd, flags)
}

/// What a socket is ready for: an error or a hang-up counts for both.
pub(crate) fn readiness(fd: &PollFd<'_>) -> Interest {
    let failed = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    let is = |flag: PollFlags| fd.revents().intersects(flag | failed);
    Interest { read: is(PollFlags::IN), write: is(PollFlags::OUT) }
}

/// Waits until something is ready, or the deadline has come. May return early.
pub(crate) fn poll(fds: &mut [PollFd<'_>], deadline: Option<Instant>) {
    let timeout = deadline.map(|deadline| {
        let left = deadline.saturating_duration_since(now());
        Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::from(i32::MAX), tv_nsec: 0 })
    });
    poll_by(fds, timeout, &mut |fds, timeout| rustix::event::poll(fds, timeout));
}

/// The system's call.
type Poll<'a> = dyn FnMut(&mut [PollFd<'_>], Option<&Timespec>) -> rustix::io::Result<usize> + 'a;

fn poll_by(fds: &mut [PollFd<'_>], timeout: Option<Timespec>, poll: &mut Poll<'_>) {
    match poll(fds, timeout.as_ref()) {
        Ok(_) => {}
        // Nothing is ready, and the caller looks at the time.
        Err(Errno::INTR) => fds.iter_mut().for_each(PollFd::clear_revents),
        // No memory, or more sockets than may be open by now.
        Err(_) => {
            let most = poll_in_pieces(fds, poll);
            let ready = fds.iter().any(|fd| !fd.revents().is_empty());
            if !ready {
                // Those in front are waited for, and the others looked at so often.
                let pause = timeout.filter(|time| *time < BREATH).unwrap_or(BREATH);
                let _ = poll(&mut fds[..most], Some(&pause));
            }
        }
    }
}

/// Looks at as many at once as the system lets, and returns how many that are.
fn poll_in_pieces(fds: &mut [PollFd<'_>], poll: &mut Poll<'_>) -> usize {
    fds.iter_mut().for_each(PollFd::clear_revents);
    let (mut most, mut looked) = (fds.len(), 0);
    while most > 0 && looked < fds.len() {
        let end = fds.len().min(looked + most);
        match poll(&mut fds[looked..end], Some(&NO_TIME)) {
            Ok(_) => looked = end,
            Err(Errno::INTR) => {}
            Err(_) => most = (end - looked) / 2,
        }
    }
    most
}

/// Waits a little for the system to have memory again.
pub(crate) fn breathe() {
    let _ = rustix::event::poll(&mut [], Some(&BREATH));
}

#[cfg(test)]
mod tests;
