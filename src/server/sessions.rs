//! The sessions of a listener: made, resumed, replaced, evicted, and forgotten.
//!
//! A hello that names a session which is still there resumes it behind the
//! application's back; any other makes a new session for
//! [`Listener::accept`](crate::Listener::accept). A rejected hello has no other effect,
//! so all that can fail comes before anything that changes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use super::lost::LostSessions;
use super::pending::PendingPeer;
use super::queue::AcceptQueue;
use crate::config::Builder;
use crate::driver::DriverHandle;
use crate::error::{Cause, Rejection};
use crate::foreign;
use crate::heartbeat::Heartbeat;
use crate::link::{Lost, Shared};
use crate::net::Socket;
use crate::proto::handshake::{Hello, Token, VERSION};
use crate::proto::plain::PlainSession;
use crate::proto::protocol::Protocol;
use crate::proto::pulse::Watch;
use crate::proto::session::{Admission, Opened, Session};
use crate::sync::{self, Arc};

const UNEQUIPPED: &str = "cannot take a client in, it is told to try again";

pub(super) struct Sessions {
    builder: Builder,
    pub(super) queue: Arc<AcceptQueue>,
    driver: Arc<DriverHandle>,
    /// Those that are not over, and for a while those that were closed: their clients
    /// may come back, since our last word was lost.
    by_token: HashMap<Token, Arc<Shared>>,
    closed: VecDeque<(Instant, Token, u64)>,
    /// Sessions that take up room: all that are not over, but for those that
    /// have made room.
    living: HashSet<u64>,
    /// Those of them without a link.
    lost: LostSessions<Arc<Shared>>,
    next_id: u64,
    /// What a new session takes of the system. Tests make it fail.
    pub(super) random: fn() -> io::Result<[u8; 8]>,
    pub(super) prepare: fn(&mut Socket) -> io::Result<()>,
    /// Held back for newcomers, when no other descriptor is left.
    pub(super) spare: Option<Socket>,
    /// The last complaint about the system.
    complained: Option<Instant>,
}

impl Sessions {
    pub(super) fn new(
        builder: Builder,
        queue: Arc<AcceptQueue>,
        driver: Arc<DriverHandle>,
    ) -> Sessions {
        Sessions {
            builder,
            queue,
            driver,
            by_token: HashMap::new(),
            closed: VecDeque::new(),
            living: HashSet::new(),
            lost: LostSessions::new(),
            next_id: 0,
            random: sync::random,
            prepare: Socket::prepare,
            spare: Socket::spare(),
            complained: None,
        }
    }

    /// When [`purge`](Sessions::purge) has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.closed.front().map(|(at, ..)| *at)
    }

    /// Forgets closed sessions that have had their time.
    pub(super) fn purge(&mut self, now: Instant) {
        let most = self.builder.max_clients.saturating_mul(4);
        while let Some((at, token, id)) = self.closed.front().copied()
            && (now >= at || self.closed.len() > most)
        {
            self.closed.pop_front();
            if self.by_token.get(&token).is_some_and(|shared| shared.id() == id) {
                self.by_token.remove(&token);
            }
        }
    }

    /// A hello is complete: resumes the session that it names, or makes a new one, or
    /// rejects it. Returns a new one.
    pub(super) fn admit(
        &mut self,
        mut peer: PendingPeer,
        hello: &Hello,
        now: Instant,
    ) -> Option<Arc<Shared>> {
        if hello.version != VERSION {
            foreign::log!(info, "{}: rejected, it speaks version {}", peer.addr, hello.version);
            peer.reject(Rejection::Version);
            return None;
        }
        let Heartbeat { interval, misses } = self.builder.heartbeat;
        let watch = Watch::framed(interval, hello.interval, misses);
        let prepared = (self.prepare)(&mut peer.socket);
        if let Err(e) = prepared.and_then(|()| peer.socket.watch(watch)) {
            self.complain(now, UNEQUIPPED, &e);
            peer.reject(Rejection::Full);
            return None;
        }
        match self.by_token.get(&hello.token).cloned() {
            Some(shared) => {
                let peer = readmit(&shared, peer, hello, now)?;
                self.create(peer, hello, Some(&shared), now)
            }
            None => self.create(peer, hello, None, now),
        }
    }

    /// Makes a new session, if there is room for one, in the place of an old one
    /// if the client had one.
    fn create(
        &mut self,
        peer: PendingPeer,
        hello: &Hello,
        replaced: Option<&Arc<Shared>>,
        now: Instant,
    ) -> Option<Arc<Shared>> {
        let admitted = match hello.resume_only {
            true => Err(Rejection::Ended),
            false => self.admits(replaced).and_then(|()| self.draw_epoch(now)),
        };
        let admitted = admitted.and_then(|epoch| self.make_place(replaced).map(|()| epoch));
        let epoch = match admitted {
            Ok(epoch) => epoch,
            Err(rejection) => {
                foreign::log!(info, "{}: rejected: {rejection}", peer.addr);
                peer.reject(rejection);
                return None;
            }
        };
        if let Some(replaced) = replaced {
            self.end(replaced, Cause::Replaced);
        }
        let (limits, Heartbeat { interval, misses }) =
            (self.builder.limits(), self.builder.heartbeat);
        let session = Session::server(hello, epoch, limits, interval, misses, now);
        foreign::log!(debug, "{}: new session {:?}", peer.addr, hello.token);
        let shared = self.enter(peer, session);
        self.by_token.insert(hello.token, shared.clone());
        Some(shared)
    }

    /// A peer whose first bytes are text.
    pub(super) fn create_plain(
        &mut self,
        mut peer: PendingPeer,
        now: Instant,
    ) -> Option<Arc<Shared>> {
        let prepared = self.admits(None).and_then(|()| {
            (self.prepare)(&mut peer.socket).map_err(|e| {
                self.complain(now, UNEQUIPPED, &e);
                Rejection::Full
            })
        });
        if let Err(rejection) = prepared.and_then(|()| self.make_place(None)) {
            // Whatever it were told, it would take for a reply.
            foreign::log!(info, "{}: turned away: {rejection}", peer.addr);
            return None;
        }
        Some(self.enter(peer, PlainSession::server(self.builder.limits(), now)))
    }

    /// Whether there can be a new session now, if there is room for it.
    fn admits(&mut self, replaced: Option<&Arc<Shared>>) -> Result<(), Rejection> {
        // The link of a session that makes room has a descriptor to give.
        let brings_one = replaced.is_some_and(|shared| shared.lock().has_link());
        if self.queue.is_closed() {
            Err(Rejection::ShuttingDown)
        } else if self.queue.is_full() || !(brings_one || self.has_spare()) {
            Err(Rejection::Full)
        } else {
            Ok(())
        }
    }

    fn draw_epoch(&mut self, now: Instant) -> Result<u64, Rejection> {
        match (self.random)() {
            // 0 means that there is none.
            Ok(bytes) => Ok(u64::from_ne_bytes(bytes).max(1)),
            Err(e) => {
                self.complain(now, UNEQUIPPED, &e);
                Err(Rejection::Full)
            }
        }
    }

    /// Whether a descriptor is held back, now that others may be free again.
    pub(super) fn has_spare(&mut self) -> bool {
        self.spare = self.spare.take().or_else(Socket::spare);
        self.spare.is_some()
    }

    pub(super) fn complain(&mut self, now: Instant, what: &str, error: &io::Error) {
        let recently = self.complained.is_some_and(|at| now - at < Duration::from_secs(1));
        if !recently {
            self.complained = Some(now);
            foreign::log!(warn, "{what}: {error}");
        }
    }

    /// A peer becomes a client.
    fn enter(&mut self, peer: PendingPeer, session: impl Into<Protocol>) -> Arc<Shared> {
        self.next_id += 1;
        let shared = Arc::new(Shared::new(
            self.builder.terms(Some(self.builder.resume_within)),
            session,
            peer.addr,
            self.next_id,
            self.driver.clone(),
        ));
        shared.install(shared.lock(), peer.socket, peer.decoder, peer.addr, Opened::First);
        self.living.insert(self.next_id);
        self.queue.push(shared.clone());
        shared
    }

    /// The driver has looked after a session that is not over: whether it has a link
    /// decides whether it may have to make room.
    pub(crate) fn set_lost(&mut self, shared: &Arc<Shared>, lost: Option<&Lost>) {
        match lost {
            Some(lost) => {
                self.lost.insert(shared.id(), lost.at, lost.has_received, shared.clone());
            }
            None => self.lost.remove(shared.id()),
        }
    }

    /// Sees to it that there is room for one more session, in addition to that of
    /// the one that it replaces.
    fn make_place(&mut self, replaced: Option<&Arc<Shared>>) -> Result<(), Rejection> {
        let freed = replaced.is_some_and(|shared| self.living.contains(&shared.id()));
        let taken = self.living.len() - usize::from(freed);
        match taken < self.builder.max_clients || self.evict() {
            true => Ok(()),
            false => Err(Rejection::Full),
        }
    }

    /// Gives up the lost session that is missed least. Costs nothing when all
    /// have a link: those that are turned away are many.
    fn evict(&mut self) -> bool {
        while let Some(shared) = self.lost.pop() {
            let state = shared.lock();
            if state.has_ended() || state.has_link() {
                // The driver has not seen it yet.
                continue;
            }
            let peer = state.peer();
            drop(state);
            self.end(&shared, Cause::Rejected(Rejection::Full));
            foreign::log!(info, "{peer}: its lost session makes room for a new client");
            return true;
        }
        false
    }

    /// Ends a session without a word to its client, and frees its room.
    fn end(&mut self, shared: &Arc<Shared>, cause: Cause) {
        self.living.remove(&shared.id());
        self.lost.remove(shared.id());
        let mut state = shared.lock();
        state.lose(cause.clone());
        state.give_up(0, cause);
        shared.settle(state);
    }

    /// Lets go of a session that is over.
    pub(crate) fn remove(&mut self, shared: &Arc<Shared>) {
        self.living.remove(&shared.id());
        self.lost.remove(shared.id());
        let never_accepted = self.queue.forget(shared);
        let mut state = shared.lock();
        if never_accepted && shared.remove_handle() {
            state.drop_handles();
        }
        let token = state.protocol.framed().map(|session| session.token());
        let was_closed = state.was_closed();
        shared.settle(state);
        // Only a framed session can be come back to.
        let Some(token) = token else { return };
        if was_closed {
            // The client may come back because our last word was lost.
            let until = sync::later(self.builder.resume_within);
            self.closed.push_back((until, token, shared.id()));
        } else if self.by_token.get(&token).is_some_and(|known| Arc::ptr_eq(known, shared)) {
            self.by_token.remove(&token);
        }
    }
}

/// A hello for a session that is still known. Gives the peer back if it asks
/// for a new one, which may replace this one.
fn readmit(
    shared: &Arc<Shared>,
    peer: PendingPeer,
    hello: &Hello,
    now: Instant,
) -> Option<PendingPeer> {
    let mut state = shared.lock();
    if state.has_ended() && !state.was_closed() {
        // Given up, and not removed yet.
        return Some(peer);
    }
    let Some(session) = state.protocol.framed() else { return Some(peer) };
    let refusal = match session.judge(hello) {
        Admission::Stale => Rejection::Stale,
        Admission::Impossible => Rejection::Protocol,
        Admission::Other => return Some(peer),
        Admission::Ended => {
            let close = session.close_reply(hello);
            state.lose(Cause::Replaced);
            shared.settle(state);
            peer.close(close);
            return None;
        }
        Admission::Resume => {
            state.lose(Cause::Replaced);
            let resumed = state.protocol.framed().map(|session| session.resume(hello, now));
            match resumed? {
                Ok(replayed) => {
                    let welcomed = Opened::Resumed { replayed };
                    shared.install(state, peer.socket, peer.decoder, peer.addr, welcomed);
                    return None;
                }
                Err(_) => Rejection::Protocol,
            }
        }
    };
    shared.settle(state);
    foreign::log!(info, "{}: rejected for session {:?}: {refusal}", peer.addr, hello.token);
    peer.reject(refusal);
    None
}
