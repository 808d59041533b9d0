//! What a thread waits for, for the model checker.

use std::io;
use std::marker::PhantomData;
use std::time::Instant;

use rustix::io::Errno;

use super::{End, Network, Socket, stir, until};
use crate::testing::model::{below, network, switch};

#[derive(Debug)]
pub(crate) struct Pipe(usize);

impl Pipe {
    pub(crate) fn new() -> io::Result<Pipe> {
        Ok(Pipe(network(|network| network.add(End::default()))))
    }

    pub(crate) fn signal(&self) -> io::Result<()> {
        switch();
        network(|network| network.end(self.0).inbox.push_back(0));
        stir();
        Ok(())
    }

    pub(crate) fn drain(&self) {
        switch();
        network(|network| network.end(self.0).inbox.clear());
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        network(|network| network.ends.remove(&self.0));
    }
}

#[derive(Debug)]
pub(crate) struct Alarm(Pipe);

impl Alarm {
    pub(crate) fn new() -> Option<Alarm> {
        let end = End { alarm: true, ..End::default() };
        Some(Alarm(Pipe(network(|network| network.add(end)))))
    }

    pub(crate) fn answer(&self) {
        self.0.drain();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

impl Interest {
    pub(crate) const READ: Interest = Interest { read: true, write: false };
    pub(crate) const WRITE: Interest = Interest { read: false, write: true };
}

/// A socket that is polled for by another end.
#[derive(Debug, Clone)]
pub(super) struct Registered {
    key: u64,
    id: usize,
    interest: Interest,
}

impl Network {
    /// A socket that was closed and not removed is an error.
    pub(super) fn is_ready(&mut self, registered: &Registered) -> bool {
        let Registered { id, interest, .. } = *registered;
        let ready = self.ready(id, interest);
        ready.read || ready.write
    }

    fn ready(&mut self, id: usize, interest: Interest) -> Interest {
        let ready = self.readiness(id);
        Interest { read: ready.read && interest.read, write: ready.write && interest.write }
    }
}

/// Not all systems have it, and it may refuse a socket.
#[derive(Debug)]
pub(crate) struct Epoll(usize);

impl Epoll {
    pub(crate) fn new() -> io::Result<Option<Epoll>> {
        Ok((below(4) > 0).then(|| Epoll(network(|network| network.add(End::default())))))
    }

    pub(crate) fn add(&self, key: u64, source: &impl Source, interest: Interest) -> io::Result<()> {
        switch();
        if below(8) == 0 {
            return Err(Errno::NOMEM.into());
        }
        let id = source.id();
        network(|network| {
            let registered = &mut network.end(self.0).registered;
            assert!(registered.iter().all(|other| other.id != id), "it is registered twice");
            registered.push(Registered { key, id, interest });
        });
        Ok(())
    }

    pub(crate) fn remove(&self, source: &impl Source) {
        switch();
        let other = |registered: &Registered| registered.id != source.id();
        network(|network| network.end(self.0).registered.retain(other));
    }

    /// One at a time, and each in its turn.
    pub(crate) fn ready(&self) -> Vec<(u64, Interest)> {
        switch();
        network(|network| {
            let all = network.end(self.0).registered.clone();
            let first = all.iter().position(|registered| network.is_ready(registered));
            let Some(first) = first else { return Vec::new() };
            network.end(self.0).registered.rotate_left(first + 1);
            let Registered { key, id, interest } = all[first];
            vec![(key, network.ready(id, interest))]
        })
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        network(|network| network.ends.remove(&self.0));
    }
}

/// What can be waited for.
pub(crate) trait Source {
    fn id(&self) -> usize;
}

impl Source for Socket {
    fn id(&self) -> usize {
        self.0
    }
}

impl Source for Pipe {
    fn id(&self) -> usize {
        self.0
    }
}

impl Source for Epoll {
    fn id(&self) -> usize {
        self.0
    }
}

impl Source for Alarm {
    fn id(&self) -> usize {
        self.0.id()
    }
}

pub(crate) struct PollFd<'a> {
    id: usize,
    interest: Interest,
    ready: Interest,
    source: PhantomData<&'a ()>,
}

pub(crate) fn poll_fd(source: &impl Source, interest: Interest) -> PollFd<'_> {
    let ready = Interest { read: false, write: false };
    PollFd { id: source.id(), interest, ready, source: PhantomData }
}

pub(crate) fn readiness(fd: &PollFd<'_>) -> Interest {
    fd.ready
}

pub(crate) fn breathe() {
    switch();
}

pub(crate) fn poll(fds: &mut [PollFd<'_>], deadline: Option<Instant>) {
    switch();
    until(deadline, |network| {
        let mut any = false;
        for fd in fds.iter_mut() {
            fd.ready = network.ready(fd.id, fd.interest);
            any |= fd.ready.read || fd.ready.write;
        }
        any.then_some(())
    });
}
