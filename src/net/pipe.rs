//! A signal to a thread that waits in poll(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

#[cfg(test)]
use crate::testing::counters;

/// Carries a signal to a thread that sits in [`poll`](super::poll()).
#[derive(Debug)]
pub(crate) struct Pipe(Signal);

impl Pipe {
    pub(crate) fn new() -> io::Result<Pipe> {
        Signal::new().map(Pipe)
    }

    /// Does not block: a full pipe refuses it.
    pub(crate) fn signal(&self) -> io::Result<()> {
        #[cfg(test)]
        counters::count(|counters| counters.other_calls += 1);
        self.0.send()
    }

    pub(crate) fn drain(&self) {
        self.0.drain();
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(all(target_os = "linux", not(like_macos)))]
use event::Signal;
#[cfg(not(all(target_os = "linux", not(like_macos))))]
use pair::Signal;

/// One descriptor, which is made and closed in 2 µs, and a pair in some 10.
#[cfg(all(target_os = "linux", not(like_macos)))]
mod event {
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

    use rustix::event::{EventfdFlags, eventfd};

    #[derive(Debug)]
    pub(super) struct Signal(OwnedFd);

    impl Signal {
        pub(super) fn new() -> io::Result<Signal> {
            let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
            Ok(Signal(eventfd(0, flags)?))
        }

        pub(super) fn send(&self) -> io::Result<()> {
            Ok(rustix::io::write(&self.0, &1u64.to_ne_bytes()).map(drop)?)
        }

        pub(super) fn drain(&self) {
            let _ = rustix::io::read(&self.0, &mut [0; 8]);
        }
    }

    impl AsFd for Signal {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}

/// Both ends are closed together, so that writing cannot raise SIGPIPE: sockets of the
/// standard library's pairs have no SO_NOSIGPIPE on macOS.
#[cfg(not(all(target_os = "linux", not(like_macos))))]
mod pair {
    use std::io::{self, Read, Write};
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::net::UnixStream;

    #[derive(Debug)]
    pub(super) struct Signal {
        ours: UnixStream,
        theirs: UnixStream,
    }

    impl Signal {
        pub(super) fn new() -> io::Result<Signal> {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            theirs.set_nonblocking(true)?;
            Ok(Signal { ours, theirs })
        }

        pub(super) fn send(&self) -> io::Result<()> {
            (&self.theirs).write(&[0]).map(drop)
        }

        pub(super) fn drain(&self) {
            while matches!((&self.ours).read(&mut [0; 64]), Ok(64)) {}
        }
    }

    impl AsFd for Signal {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.ours.as_fd()
        }
    }
}
