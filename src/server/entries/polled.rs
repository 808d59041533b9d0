//! The links that a listener's thread polls for: those that the application does not read, and
//! those whose sockets are full.
//!
//! They may be many, and most are quiet. `poll` goes through all of them at each wake-up, which
//! takes 0.33 µs for each. Epoll is told what changes, and returns those that are ready. With
//! 10,000 links that nobody reads, and a heartbeat on each every 10 s, the thread took a whole
//! core and answered ever later. Now it takes 4.3 % of a core, where 10,000 threads in `recv`
//! take 3.2 %, and answers 99 % of the heartbeats within 0.3 ms
//! (`cargo bench --bench crowd -- unread 10000 15`).
//!
//! Epoll is itself polled for, beside the sockets of the listener and of pending peers, which
//! are few and soon gone. That is a system call more for each turn in which links are ready.
//!
//! A link that the application reads is not registered, so that reading costs no system call
//! more. It is registered when it was left unread for a [tick](crate::link). A thread that
//! begins to read does not tell: the next bytes wake the listener's thread as well, once, which
//! finds that it is not to read them, and removes the link.

use std::collections::HashMap;
use std::io;

use crate::link::Shared;
use crate::net::{Epoll, Interest, PollFd, Socket, poll_fd};
use crate::sync::Arc;

/// A link that is polled for. Its socket is not closed before it is removed: else epoll would
/// return it for as long as a process that was forked has it, too.
struct Link {
    shared: Arc<Shared>,
    socket: Arc<Socket>,
    interest: Interest,
}

/// A link has another key each time it is registered, so that what was ready is never taken for
/// the next link of the same connection.
#[derive(Default)]
pub(crate) struct Polled {
    epoll: Option<Epoll>,
    /// Those that epoll has.
    registered: HashMap<u64, Link>,
    /// Those that it has not: there is none, or it has no memory. They are polled for one by one.
    others: HashMap<u64, Link>,
    newest: u64,
}

impl Polled {
    pub(crate) fn new() -> io::Result<Polled> {
        Ok(Polled { epoll: Epoll::new()?, ..Polled::default() })
    }

    /// What to poll for now, with the key of a link, or without one for epoll.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (Option<u64>, PollFd<'_>)> {
        let epoll = self.epoll.iter().map(|epoll| (None, poll_fd(epoll, Interest::READ)));
        let others = self.others.iter();
        epoll.chain(others.map(|(key, link)| (Some(*key), poll_fd(&*link.socket, link.interest))))
    }

    /// The links that are ready, if this source is.
    pub(crate) fn ready(&self, source: Option<u64>, ready: Interest) -> Vec<(u64, Interest)> {
        match (source, &self.epoll) {
            (Some(key), _) => vec![(key, ready)],
            (None, Some(epoll)) => epoll.ready(),
            (None, None) => Vec::new(),
        }
    }

    /// A link is ready. Returns its connection, unless it is not polled for any more.
    pub(crate) fn on_ready(&self, key: u64, ready: Interest) -> Option<u64> {
        let Link { shared, .. } = self.link(key)?;
        shared.on_ready(ready);
        Some(shared.id())
    }

    fn link(&self, key: u64) -> Option<&Link> {
        self.registered.get(&key).or_else(|| self.others.get(&key))
    }

    /// From now on this is polled for on behalf of a connection, and nothing else. What epoll
    /// has refused before is tried again.
    pub(crate) fn set(
        &mut self,
        shared: &Arc<Shared>,
        key: &mut Option<u64>,
        wanted: Option<(Arc<Socket>, Interest)>,
    ) {
        let known = key.and_then(|key| self.link(key));
        let known = known.map(|link| (Arc::as_ptr(&link.socket), link.interest));
        let wants = wanted.as_ref().map(|(socket, interest)| (Arc::as_ptr(socket), *interest));
        let refused = self.epoll.is_some() && key.is_some_and(|key| self.others.contains_key(&key));
        if known == wants && !refused {
            return;
        }
        if let Some(key) = key.take() {
            self.remove(key);
        }
        *key = wanted.map(|(socket, interest)| {
            let shared = shared.clone();
            self.insert(Link { shared, socket, interest })
        });
    }

    fn insert(&mut self, link: Link) -> u64 {
        self.newest += 1;
        let added = self
            .epoll
            .as_ref()
            .is_some_and(|epoll| epoll.add(self.newest, &*link.socket, link.interest).is_ok());
        let place = if added { &mut self.registered } else { &mut self.others };
        place.insert(self.newest, link);
        self.newest
    }

    fn remove(&mut self, key: u64) {
        self.others.remove(&key);
        if let Some(link) = self.registered.remove(&key)
            && let Some(epoll) = &self.epoll
        {
            epoll.remove(&*link.socket);
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
