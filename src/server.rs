//! A listener's thread: drives all its connections, and takes in new ones.
//!
//! It is one loop: check up the connections that have called or whose time has come,
//! then wait in `poll` for sockets, for the next deadline, or for a call.

mod acceptor;
mod lost;
mod pending;
mod queue;
mod sessions;

pub(crate) use queue::{AcceptQueue, Served};

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use self::acceptor::Acceptor;
use self::sessions::Sessions;
use crate::config::Builder;
use crate::driver::{Driver, DriverHandle, Woken};
use crate::foreign;
use crate::link::{Checkup, Shared};
use crate::net::{Interest, Socket};
use crate::sync::{self, Arc};

/// Most idle deadlines move before they expire. So a server that is awake also checks up
/// connections whose time comes so soon: else ten thousand of them wake it a thousand
/// times a second, each for itself. Once in that time: a busy connection has a time that
/// comes soon again and again.
const AHEAD: Duration = Duration::from_millis(250);

/// A connection that is driven.
struct Entry {
    shared: Arc<Shared>,
    /// The time of its entry in the queue.
    deadline: Option<Instant>,
}

pub(crate) struct Server {
    driver: Driver,
    acceptor: Acceptor,
    entries: HashMap<u64, Entry>,
    /// What is polled for. Of ten thousand links whose applications read, that is nothing.
    watched: HashMap<u64, (Arc<Socket>, Interest)>,
    queue: BTreeSet<(Instant, u64)>,
    /// Up to which time those in the queue were looked at.
    ahead: Option<Instant>,
}

/// What a socket that is polled belongs to.
#[derive(Debug, Clone, Copy)]
enum Owner {
    Entry(u64),
    Acceptor(usize),
}

impl Server {
    pub(crate) fn new(
        builder: Builder,
        socket: Socket,
        queue: Arc<AcceptQueue>,
        driver: Arc<DriverHandle>,
    ) -> Server {
        let accept_plain = builder.accept_plain;
        let sessions = Sessions::new(builder, queue, driver.clone());
        Server {
            driver: Driver::new(driver),
            acceptor: Acceptor::new(socket, accept_plain, sessions),
            entries: HashMap::new(),
            watched: HashMap::new(),
            queue: BTreeSet::new(),
            ahead: None,
        }
    }

    /// Runs until the listener is closed and the last connection is over.
    pub(crate) fn run(mut self) {
        while !(self.acceptor.sessions.queue.is_closed() && self.entries.is_empty()) {
            let Woken { ready, slept } = self.wait();
            if slept {
                self.wake_up();
            }
            self.serve(ready);
            self.on_time();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let entry = self.queue.first().map(|(at, _)| *at);
        entry.into_iter().chain(self.acceptor.deadline()).min()
    }

    fn wait(&mut self) -> Woken<Owner> {
        let deadline = self.deadline();
        let watched = self.watched.iter();
        let watched = watched.map(|(id, (socket, is))| (Owner::Entry(*id), &**socket, *is));
        let accepting = self.acceptor.watch();
        let accepting = accepting.map(|(index, socket, is)| (Owner::Acceptor(index), socket, is));
        self.driver.wait(deadline, watched.chain(accepting))
    }

    fn wake_up(&mut self) {
        let count = self.entries.len();
        foreign::log!(debug, "the machine has slept: checking {count} connections");
        let ids: Vec<u64> = self.entries.keys().copied().collect();
        for id in ids {
            if let Some(entry) = self.entries.get(&id) {
                entry.shared.lock().wake_up();
            }
            self.tend(id);
        }
    }

    fn serve(&mut self, ready: Vec<(Owner, Interest)>) {
        let mut accepting = Vec::new();
        for (owner, interest) in ready {
            match owner {
                Owner::Entry(id) => {
                    if let Some(entry) = self.entries.get(&id) {
                        entry.shared.serve(interest);
                    }
                    self.tend(id);
                }
                Owner::Acceptor(index) => accepting.push(index),
            }
        }
        for id in self.driver.answer() {
            self.tend(id);
        }
        for shared in self.acceptor.serve(&accepting) {
            self.adopt(shared);
        }
    }

    fn adopt(&mut self, shared: Arc<Shared>) {
        let id = shared.id();
        self.entries.insert(id, Entry { shared, deadline: None });
        self.tend(id);
    }

    /// Tends connections whose time has come, and some before.
    fn on_time(&mut self) {
        let now = sync::now();
        let mut some = false;
        while let Some((at, id)) = self.queue.first().copied()
            && at <= now
        {
            self.tend(id);
            some = true;
        }
        if some && self.ahead.is_none_or(|ahead| now >= ahead) {
            let ahead = now + AHEAD;
            let soon: Vec<u64> = self.queue.range(..(ahead, 0)).map(|(_, id)| *id).collect();
            soon.into_iter().for_each(|id| self.tend(id));
            self.ahead = Some(ahead);
        }
    }

    fn tend(&mut self, id: u64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Checkup { deadline, watch, lost, over, .. } = entry.shared.check_up(entry.deadline);
        match watch {
            Some(watch) => drop(self.watched.insert(id, watch)),
            None => drop(self.watched.remove(&id)),
        }
        if entry.deadline != deadline {
            if let Some(at) = std::mem::replace(&mut entry.deadline, deadline) {
                self.queue.remove(&(at, id));
            }
            self.queue.extend(deadline.map(|at| (at, id)));
        }
        let sessions = &mut self.acceptor.sessions;
        match over {
            true => sessions.remove(&entry.shared),
            false => sessions.set_lost(&entry.shared, lost.as_ref()),
        }
        if over {
            self.entries.remove(&id);
        }
    }
}

/// A thread that dies leaves no caller waiting. It should only ever end when there is
/// nothing left to drive.
impl Drop for Server {
    fn drop(&mut self) {
        self.entries.values().for_each(|entry| entry.shared.lose_driver());
        self.acceptor.sessions.queue.close();
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
