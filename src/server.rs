//! A listener's thread: drives all its connections, and takes in new ones.
//!
//! It is one loop: it waits in `poll` for sockets, for the next deadline, or for a wake-up;
//! reads and writes the sockets that are ready; and tends the connections that have woken it
//! or whose time has come.

mod acceptor;
mod clients;
mod entries;
mod places;
mod queue;
mod sessions;

pub(crate) use queue::{AcceptQueue, Restart};

use self::acceptor::Acceptor;
use self::queue::Drained;
use self::sessions::Sessions;
use crate::config::Builder;
use crate::driver::{Driver, DriverHandle, Woken};
use crate::error::Result;
use crate::net::{Socket, poll_fd};
use crate::sync::{self, Arc};

pub(crate) struct Server {
    driver: Driver,
    acceptor: Acceptor,
    sessions: Sessions,
    /// The last field is dropped behind the sockets in the others, also in a panic.
    _drained: Drained,
}

/// What a source belongs to that is polled for.
enum Owner {
    /// One by its key, or those that epoll has.
    Link(Option<u64>),
    Acceptor(usize),
}

impl Server {
    pub(crate) fn new(
        builder: Builder,
        socket: Socket,
        queue: Arc<AcceptQueue>,
        driver: Arc<DriverHandle>,
    ) -> Result<Server> {
        Ok(Server {
            acceptor: Acceptor::new(socket, &builder),
            sessions: Sessions::new(builder, queue.clone(), driver.clone())?,
            driver: Driver::new(driver),
            _drained: Drained(queue),
        })
    }

    /// Runs until the listener is closed and the last connection is over.
    pub(crate) fn run(mut self) {
        while !(self.sessions.queue.is_closed() && self.sessions.entries.len() == 0) {
            let Woken { ready, slept } = self.wait();
            if slept {
                self.sessions.wake_up();
            }
            let mut accepting = Vec::new();
            for (owner, interest) in ready {
                match owner {
                    Owner::Link(source) => self.sessions.on_ready(source, interest),
                    Owner::Acceptor(index) => accepting.push(index),
                }
            }
            self.driver.answer().into_iter().for_each(|id| self.sessions.tend(id));
            self.sessions.look_at_restart();
            self.sessions.look_at_reload();
            self.acceptor.on_ready(&accepting, &mut self.sessions);
            self.sessions.on_time(sync::now());
        }
    }

    fn wait(&mut self) -> Woken<Owner> {
        let deadlines = [self.sessions.deadline(), self.acceptor.deadline()];
        let links = self.sessions.entries.polled.sources().map(|(key, fd)| (Owner::Link(key), fd));
        let peers = self.acceptor.polled();
        let peers = peers.map(|(index, peer, is)| (Owner::Acceptor(index), poll_fd(peer, is)));
        self.driver.wait(deadlines.into_iter().flatten().min(), links.chain(peers))
    }
}

/// A thread that dies leaves no caller waiting. It should only ever end when there is
/// nothing left to drive.
impl Drop for Server {
    fn drop(&mut self) {
        self.sessions.entries.all().for_each(|shared| shared.lose_driver());
        self.sessions.queue.close();
    }
}
