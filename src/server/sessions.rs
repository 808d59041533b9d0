//! The sessions of a listener: made, resumed, replaced, evicted, and forgotten.
//!
//! A hello that names a session which is still there resumes it behind the
//! application's back; any other makes a new session for
//! [`Listener::accept`](crate::Listener::accept). A rejected hello has no other effect,
//! so all that can fail comes before anything that changes.

mod reload;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use super::clients::{Client, Clients};
use super::entries::Entries;
use super::queue::{AcceptQueue, Restart};
use crate::config::Builder;
use crate::driver::DriverHandle;
use crate::error::{Cause, Rejection};
use crate::foreign;
use crate::identity::Who;
use crate::link::{PendingLink, Shared};
use crate::net::{Interest, Socket};
use crate::proto::away::GoingAway;
use crate::proto::frame::Frame;
use crate::proto::handshake::{Hello, Token, VERSION};
use crate::proto::plain::PlainSession;
use crate::proto::protocol::Protocol;
use crate::proto::pulse::Watch;
use crate::proto::session::{Admission, Opened, Session};
#[cfg(test)]
use crate::proto::testing::sim::{Fault, planted};
use crate::sync::{self, Arc};

/// So much time the clients of a server that goes away are given for each of them.
const EACH: Duration = Duration::from_millis(2);

/// How long a turn is, in which peers prove who they are, or are asked about again: each takes
/// some 200 µs, so this is a few of them. A link whose application does not read itself waits
/// for so long, and for one step more.
pub(super) const TURN: Duration = Duration::from_micros(500);

pub(super) struct Sessions {
    /// Its security is what handshakes go by, if links are to be secured.
    pub(super) builder: Builder,
    pub(super) queue: Arc<AcceptQueue>,
    driver: Arc<DriverHandle>,
    /// Those that are not over, and for a while those that were closed: their clients
    /// may come back if our last word was lost.
    by_key: HashMap<Key, Arc<Shared>>,
    closed: VecDeque<(Instant, Names)>,
    clients: Clients,
    /// Those that are not over. They take up room.
    pub(super) entries: Entries,
    next_id: u64,
    /// What a new session takes of the system. Tests make it fail.
    pub(super) random: fn() -> io::Result<[u8; 8]>,
    pub(super) prepare: fn(&mut Socket) -> io::Result<()>,
    /// Held back for newcomers, when no other descriptor is left.
    pub(super) spare: Option<Socket>,
    /// The server goes away, says this, and has gone then.
    leaving: Option<(GoingAway, Instant)>,
    /// Sessions whose clients may be trusted no more, since the security is another.
    unjudged: Vec<u64>,
    /// The number of that security.
    reload: u64,
    /// How much of a turn may be spent on them, or on handshakes. Tests give no time at all.
    pub(super) turn: Duration,
    /// The last complaint about the system.
    complained: Option<Instant>,
}

/// A token finds a session only for the identity that began it.
type Key = (Who, Token);

fn key(who: &Who, token: Token) -> Key {
    #[cfg(test)]
    if planted(Fault::ByToken) {
        return (Who::Clear, token);
    }
    (who.clone(), token)
}

/// What a session is found by.
struct Names {
    key: Key,
    client: Option<Client>,
    /// Of the connection.
    id: u64,
}

impl Sessions {
    pub(super) fn new(
        builder: Builder,
        queue: Arc<AcceptQueue>,
        driver: Arc<DriverHandle>,
    ) -> io::Result<Sessions> {
        Ok(Sessions {
            builder,
            queue,
            driver,
            by_key: HashMap::new(),
            closed: VecDeque::new(),
            clients: Clients::default(),
            entries: Entries::new()?,
            next_id: 0,
            random: sync::random,
            prepare: Socket::prepare,
            spare: Socket::spare(),
            leaving: None,
            unjudged: Vec::new(),
            reload: 0,
            turn: TURN,
            complained: None,
        })
    }

    /// When there is something to do without a reason from outside.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let closed = self.closed.front().map(|(at, ..)| *at);
        let leaves = self.leaving.map(|(_, until)| until);
        let judges = (!self.unjudged.is_empty()).then(sync::now);
        [closed, leaves, judges, self.entries.deadline()].into_iter().flatten().min()
    }

    /// If the server is to go away, tells all its clients. A link that is blocked holds up
    /// no other: it is told if it takes that in time.
    pub(super) fn look_at_restart(&mut self) {
        let Some(Restart { after, until }) = self.queue.restarts() else { return };
        if self.leaving.is_some() {
            return;
        }
        let clients = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let notice = GoingAway::new(after, EACH.saturating_mul(clients));
        self.leaving = Some((notice, until));
        for shared in self.entries.all() {
            if sync::now() >= until {
                break;
            }
            shared.lock().go_away(notice);
        }
    }

    /// Tends the connections whose time has come, and forgets closed sessions that have
    /// had theirs.
    pub(super) fn on_time(&mut self, now: Instant) {
        self.entries.due(now).into_iter().for_each(|id| self.tend(id));
        let most = self.builder.max_clients.saturating_mul(4);
        while let Some((at, _)) = self.closed.front()
            && (now >= *at || self.closed.len() > most)
            && let Some((_, names)) = self.closed.pop_front()
        {
            self.forget(names);
        }
        if self.leaving.is_some_and(|(_, until)| now >= until) {
            let left: Vec<_> = self.entries.all().cloned().collect();
            left.iter().for_each(|shared| self.end(shared, Cause::Restarting));
        }
    }

    /// Looks after a connection, and lets go of it if it is over.
    pub(super) fn tend(&mut self, id: u64) {
        let Some(shared) = self.entries.tend(id) else { return };
        let never_accepted = self.queue.forget(&shared);
        let mut state = shared.lock();
        if never_accepted && shared.remove_handle() {
            state.drop_handles();
        }
        let who = state.who().clone();
        let names = state.protocol.framed().map(|session| Names {
            key: key(&who, session.token()),
            client: session.client_id().map(|client| (who, client)),
            id,
        });
        let was_closed = state.was_closed();
        state.settle();
        drop(shared);
        // Only a framed session can be come back to.
        let Some(names) = names else { return };
        if was_closed {
            // The client may come back because our last word was lost.
            let until = sync::later(self.builder.resume_within);
            self.closed.push_back((until, names));
        } else {
            self.forget(names);
        }
    }

    /// The links of this source are ready.
    pub(super) fn on_ready(&mut self, source: Option<u64>, ready: Interest) {
        for (key, ready) in self.entries.polled.ready(source, ready) {
            let id = self.entries.polled.on_ready(key, ready);
            id.into_iter().for_each(|id| self.tend(id));
        }
    }

    /// The machine has slept.
    pub(super) fn wake_up(&mut self) {
        let count = self.entries.len();
        foreign::log!(debug, "the machine has slept: checking {count} connections");
        self.entries.all().for_each(|shared| shared.lock().wake_up());
        let ids: Vec<u64> = self.entries.all().map(|shared| shared.id()).collect();
        ids.into_iter().for_each(|id| self.tend(id));
    }

    /// A hello is complete: resumes the session that it names, or makes a new one, or
    /// rejects it.
    pub(super) fn admit(&mut self, mut peer: PendingLink, hello: &Hello, now: Instant) {
        if !self.trusts(&peer) {
            return;
        }
        if hello.version != VERSION {
            foreign::log!(info, "{}: rejected, it speaks version {}", peer.addr, hello.version);
            return peer.reject(Rejection::Version);
        }
        let watch = Watch::framed(self.builder.heartbeat, hello.interval);
        let prepared = self.prepare_once(&mut peer);
        if let Err(e) = prepared.and_then(|()| peer.socket.watch(watch)) {
            return peer.reject(self.lacks(now, &e));
        }
        let known = self.by_key.get(&key(&peer.who, hello.token));
        // Those that have ended are many, and are asked about when it matters.
        let counts = |known: &Shared| !known.lock().has_ended() || self.trusts_client_of(known);
        let known = known.filter(|known| counts(known)).cloned();
        let peer = match &known {
            Some(shared) => readmit(shared, peer, hello, now),
            None => Some(peer),
        };
        if let Some(peer) = peer {
            self.create(peer, hello, known, now);
        }
    }

    /// Makes a new session, if there is room for one, in the place of those that the client
    /// had: the one of this token, and what it had under another before it was started again.
    fn create(
        &mut self,
        peer: PendingLink,
        hello: &Hello,
        known: Option<Arc<Shared>>,
        now: Instant,
    ) {
        let key = key(&peer.who, hello.token);
        let client = hello.numbers.map(|numbers| (peer.who.clone(), numbers.client));
        let mut replaced: Vec<_> = known.into_iter().collect();
        let other = client.as_ref().and_then(|client| self.clients.get(client));
        replaced.extend(other.filter(|other| replaced.iter().all(|one| one.id() != other.id())));
        let epoch = match self.draw_epoch(hello, &replaced, now) {
            Ok(epoch) => epoch,
            Err(rejection) => {
                foreign::log!(info, "{}: rejected: {rejection}", peer.addr);
                return self.reject(peer, rejection);
            }
        };
        for replaced in replaced {
            let mut state = replaced.lock();
            let before = (!state.has_ended()).then(|| state.peer());
            state.replace();
            state.settle();
            self.tend(replaced.id());
            if let Some(before) = before {
                foreign::log!(info, "{}: takes the place of {before}", peer.addr);
            }
        }
        let (limits, heartbeat) = (self.builder.limits(), self.builder.heartbeat);
        let session = Session::server(hello, epoch, limits, heartbeat, now)
            .kept_for(self.builder.resume_within);
        foreign::log!(debug, "{}: new session {:?}", peer.addr, hello.token);
        let shared = self.enter(peer, Protocol::Framed(session));
        if let Some(client) = client {
            self.clients.insert(client, &shared);
        }
        self.by_key.insert(key, shared);
    }

    /// Of a server that goes away, a newcomer learns the time to come back from the answer.
    fn reject(&self, peer: PendingLink, rejection: Rejection) {
        let mut reject = rejection.to_wire();
        if let (Rejection::ShuttingDown, Some((notice, _))) = (rejection, self.leaving) {
            let random = sync::random().map_or(0, u32::from_ne_bytes);
            reject.come_back_after = notice.draw(random);
        }
        peer.end(&Frame::Reject(reject));
    }

    /// Finds room for a new session, and what tells it from others.
    fn draw_epoch(
        &mut self,
        hello: &Hello,
        replaced: &[Arc<Shared>],
        now: Instant,
    ) -> Result<u64, Rejection> {
        if !hello.may_begin(self.builder.on_session_lost) {
            return Err(Rejection::Ended);
        }
        self.admits(replaced)?;
        let epoch = (self.random)().map_err(|e| self.lacks(now, &e))?;
        self.make_place(replaced)?;
        // 0 means that there is none.
        Ok(u64::from_ne_bytes(epoch).max(1))
    }

    /// A peer whose first bytes are text.
    pub(super) fn create_plain(&mut self, mut peer: PendingLink, now: Instant) {
        if !self.trusts(&peer) {
            return;
        }
        if let Err(rejection) = self.admits_plain(&mut peer, now) {
            // Whatever it were told, it would take for a reply.
            foreign::log!(info, "{}: turned away: {rejection}", peer.addr);
            return;
        }
        let session = PlainSession::server(self.builder.limits(), now);
        self.enter(peer, Protocol::Plain(session));
    }

    fn admits_plain(&mut self, peer: &mut PendingLink, now: Instant) -> Result<(), Rejection> {
        self.admits(&[])?;
        self.prepare_once(peer).map_err(|e| self.lacks(now, &e))?;
        self.make_place(&[])
    }

    /// Whether there can be a new session now, if there is room for it.
    fn admits(&mut self, replaced: &[Arc<Shared>]) -> Result<(), Rejection> {
        self.queue.admits()?;
        // The link of a session that makes room has a descriptor to give.
        let brings_one = replaced.iter().any(|shared| shared.lock().has_link());
        if brings_one || self.has_spare() { Ok(()) } else { Err(Rejection::Full) }
    }

    /// Prepares a socket, which counts what is written from then on. A secured one was
    /// prepared before its handshake.
    pub(super) fn prepare_once(&self, peer: &mut PendingLink) -> io::Result<()> {
        if peer.is_secured() { Ok(()) } else { (self.prepare)(&mut peer.socket) }
    }

    /// The system lacks what a new session takes.
    fn lacks(&mut self, now: Instant, error: &io::Error) -> Rejection {
        self.complain(now, "cannot take a client in, it is told to try again", error);
        Rejection::Full
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
    fn enter(&mut self, peer: PendingLink, protocol: Protocol) -> Arc<Shared> {
        self.next_id += 1;
        let shared = Arc::new(Shared::new(
            self.builder.terms(Some(self.builder.resume_within)),
            protocol,
            peer.addr,
            self.next_id,
            self.driver.clone(),
        ));
        shared.lock().install(peer, Opened::First);
        self.entries.insert(shared.clone());
        self.queue.push(shared.clone());
        shared
    }

    /// Sees to it that there is room for one more session, in addition to that of
    /// those that it replaces.
    fn make_place(&mut self, replaced: &[Arc<Shared>]) -> Result<(), Rejection> {
        let freed = replaced.iter().filter(|shared| self.entries.get(shared.id()).is_some());
        let taken = self.entries.len() - freed.count();
        if taken < self.builder.max_clients || self.evict() { Ok(()) } else { Err(Rejection::Full) }
    }

    /// Gives up the lost session that is missed least. Costs nothing when all
    /// have a link: those that are turned away are many.
    fn evict(&mut self) -> bool {
        while let Some(shared) = self.entries.take_lost() {
            let state = shared.lock();
            if state.has_ended() || state.has_link() {
                // It has changed since it was last looked after.
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
        let mut state = shared.lock();
        state.lose(cause.clone());
        state.give_up(0, cause);
        state.settle();
        self.tend(shared.id());
    }

    /// Forgets a session, unless another has taken its place.
    fn forget(&mut self, Names { key, client, id }: Names) {
        if self.by_key.get(&key).is_some_and(|known| known.id() == id) {
            self.by_key.remove(&key);
        }
        if let Some(client) = client {
            self.clients.forget(client, id);
        }
    }
}

/// A hello for a session that is still known. Gives the peer back if it asks
/// for a new one, which may replace this one.
fn readmit(
    shared: &Arc<Shared>,
    peer: PendingLink,
    hello: &Hello,
    now: Instant,
) -> Option<PendingLink> {
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
            state.settle();
            peer.end(&Frame::Close(close));
            return None;
        }
        Admission::Resume => {
            state.lose(Cause::Replaced);
            let resumed = state.protocol.framed().map(|session| session.resume(hello, now));
            match resumed? {
                Ok(replayed) => {
                    let welcomed = Opened::Resumed { replayed };
                    state.install(peer, welcomed);
                    return None;
                }
                Err(_) => Rejection::Protocol,
            }
        }
    };
    state.settle();
    foreign::log!(info, "{}: rejected for session {:?}: {refusal}", peer.addr, hello.token);
    peer.reject(refusal);
    None
}
