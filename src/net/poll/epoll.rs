//! Sockets that are many and mostly quiet: the kernel keeps the list (epoll(7)).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::{Interest, NO_TIME};

/// So many are returned at once, and the next ones the next time. In between a driver answers
/// wake-ups and takes in peers: these take it 1 ms or two.
const MOST: usize = 128;

/// Is itself polled for: it is readable while some of its sockets are ready.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    /// `None` if the system has none.
    pub(crate) fn new() -> io::Result<Option<Epoll>> {
        Ok(Some(Epoll(epoll::create(CreateFlags::CLOEXEC)?)))
    }

    /// From now on it is returned with this key as long as it is ready.
    pub(crate) fn add(&self, key: u64, source: &impl AsFd, interest: Interest) -> io::Result<()> {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, interest.read);
        flags.set(EventFlags::OUT, interest.write);
        Ok(epoll::add(self, source, EventData::new_u64(key), flags)?)
    }

    /// Before it is closed.
    pub(crate) fn remove(&self, source: &impl AsFd) {
        // An error means that it is not there.
        let _ = epoll::delete(self, source);
    }

    /// Some that are ready, and for what: an error or a hang-up counts for both.
    pub(crate) fn ready(&self) -> Vec<(u64, Interest)> {
        let mut events = Vec::with_capacity(MOST);
        // One that fails has returned none.
        let _ = epoll::wait(self, spare_capacity(&mut events), Some(&NO_TIME));
        let failed = EventFlags::ERR | EventFlags::HUP;
        let ready = |event: epoll::Event| {
            let flags = event.flags;
            let is = |flag: EventFlags| flags.intersects(flag | failed);
            (event.data.u64(), Interest { read: is(EventFlags::IN), write: is(EventFlags::OUT) })
        };
        events.into_iter().map(ready).collect()
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests;
