//! Where a listener's sessions come in: accept, handshake, resume, reclaim.
//!
//! The keeper drives it. Peers that have not introduced themselves are
//! *guests*: they wait in the keeper's poll set, under a cap of their own, and
//! cost no thread. A hello that names a session which is still there resumes
//! it behind the application's back; any other makes a new session for
//! [`Listener::accept`](crate::Listener::accept). A hello that is rejected has
//! no other effect, so all that can fail comes before anything that changes.
//!
//! When the process runs out of descriptors, guests make room for newcomers,
//! the oldest first. When there are no guests, newcomers are heard on a
//! descriptor that is held back for that: who comes back to a session is
//! resumed, and who wants a new one is rejected as by a full server. If even
//! that descriptor is taken (by one who came back), newcomers wait in the
//! listener's queue, which is looked at every [`PAUSE`]. Clients that are here
//! notice nothing of all that, and the log says it once a second.

mod lost;
#[cfg(all(test, not(shuttle)))]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::config::Builder;
use crate::error::{Cause, Error, Rejection, Result};
use crate::foreign;
use crate::heartbeat::Heartbeat;
use crate::link::{Lost, Shared, Summons};
use crate::net::Socket;
use crate::proto::frame::{Decoder, Frame, kind};
use crate::proto::handshake::{Hello, Limits, Token, VERSION};
use crate::proto::plain::{self, Exchange};
use crate::proto::pulse::Watch;
use crate::proto::session::{Admission, Opened, Session};
use crate::proto::talk::Talk;
use crate::sync::{self, Arc, Condvar, Mutex};

use lost::LostSessions;

/// Peers that may be silent at once; the oldest makes room.
const GUESTS: usize = 256;

/// After the first byte of a hello, the rest is due within this.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// So many are accepted before others get their turn.
const ACCEPTS: usize = 64;

/// After a failure that nothing can be done about, accepting goes on after this.
const PAUSE: Duration = Duration::from_millis(100);

const UNEQUIPPED: &str = "cannot take a client in, it is told to try again";

/// New sessions on their way to [`Listener::accept`](crate::Listener::accept).
pub(crate) struct Lobby {
    queue: Mutex<Queue>,
    arrived: Condvar,
    drained: Condvar,
}

#[derive(Default)]
struct Queue {
    /// By age.
    sessions: BTreeMap<u64, Arc<Shared>>,
    /// See [`Listener::set_full`](crate::Listener::set_full).
    full: bool,
    closed: bool,
    /// Every session has ended, and the port is free.
    drained: bool,
}

/// Says, when it is dropped, that nothing is served any more.
pub(crate) struct Served(pub(crate) Arc<Lobby>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.queue.lock().drained = true;
        self.0.drained.notify_all();
    }
}

impl Lobby {
    pub(crate) fn new() -> Lobby {
        Lobby { queue: Mutex::default(), arrived: Condvar::new(), drained: Condvar::new() }
    }

    /// Blocks for the next session; fails once the listener is closed.
    pub(crate) fn next(&self) -> Result<Arc<Shared>> {
        let mut queue = self.queue.lock();
        loop {
            if queue.closed {
                return Err(Error::Closed { unacknowledged: 0 });
            }
            if let Some((_, shared)) = queue.sessions.pop_first() {
                return Ok(shared);
            }
            if foreign::is_running() {
                return Err(Error::WouldBlock);
            }
            queue = sync::wait(&self.arrived, queue, None);
        }
    }

    /// Nobody will ask for sessions any more; those that wait are ended.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        let sessions = std::mem::take(&mut queue.sessions);
        drop(queue);
        self.arrived.notify_all();
        sessions.values().for_each(turn_away);
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.queue.lock().full = full;
    }

    fn is_full(&self) -> bool {
        self.queue.lock().full
    }

    fn is_closed(&self) -> bool {
        self.queue.lock().closed
    }

    /// Blocks until nothing is served any more, at most until `deadline`.
    pub(crate) fn wait_drained(&self, deadline: Option<Instant>) -> Result<()> {
        let mut queue = self.queue.lock();
        while !queue.drained {
            if foreign::is_running() {
                return Err(Error::WouldBlock);
            }
            if deadline.is_some_and(|deadline| sync::now() >= deadline) {
                return Err(Error::TimedOut);
            }
            queue = sync::wait(&self.drained, queue, deadline);
        }
        Ok(())
    }

    fn push(&self, shared: Arc<Shared>) {
        let mut queue = self.queue.lock();
        if queue.closed {
            drop(queue);
            return turn_away(&shared);
        }
        queue.sessions.insert(shared.id(), shared);
        drop(queue);
        self.arrived.notify_one();
    }

    /// Takes a session back. Returns whether it was still there.
    fn forget(&self, shared: &Arc<Shared>) -> bool {
        self.queue.lock().sessions.remove(&shared.id()).is_some()
    }
}

/// Ends a session that nobody will accept. Only the callback can have a handle.
fn turn_away(shared: &Arc<Shared>) {
    let mut state = shared.lock();
    state.abort();
    if shared.remove_handle() {
        state.forsake();
    }
    shared.settle(state);
}

/// A peer that has not said who it is.
struct Guest {
    socket: Socket,
    addr: SocketAddr,
    decoder: Decoder,
    /// When its hello has to be complete, once it has begun.
    due: Option<Instant>,
}

impl Guest {
    /// Whether it has said more than was decoded.
    fn has_more(&self) -> bool {
        self.decoder.first_byte().is_some() || self.socket.has_bytes()
    }
}

pub(crate) struct Door {
    builder: Builder,
    socket: Socket,
    lobby: Arc<Lobby>,
    /// By age.
    guests: BTreeMap<usize, Guest>,
    next_guest: usize,
    /// Sessions, and for a while the memory of those that were ended.
    registry: HashMap<Token, Arc<Shared>>,
    tombstones: VecDeque<(Instant, Token, u64)>,
    /// Sessions that take up room: all that are not over, but for those that
    /// have made room.
    living: HashSet<u64>,
    /// Those of them without a link.
    lost: LostSessions<Arc<Shared>>,
    next_id: u64,
    /// What a new session takes of the system. Tests make it fail.
    random: fn() -> io::Result<[u8; 8]>,
    prepare: fn(&mut Socket) -> io::Result<()>,
    /// Held back for newcomers, when no other descriptor is left.
    spare: Option<Socket>,
    /// Accepting goes on then.
    paused: Option<Instant>,
    /// The last complaint that accepting failed.
    complained: Option<Instant>,
}

impl Door {
    pub(crate) fn new(builder: Builder, socket: Socket, lobby: Arc<Lobby>) -> Door {
        Door {
            builder,
            socket,
            lobby,
            guests: BTreeMap::new(),
            next_guest: 1,
            registry: HashMap::new(),
            tombstones: VecDeque::new(),
            living: HashSet::new(),
            lost: LostSessions::new(),
            next_id: 0,
            random: sync::random,
            prepare: Socket::prepare,
            spare: Socket::spare(),
            paused: None,
            complained: None,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lobby.is_closed()
    }

    pub(crate) fn close(&self) {
        self.lobby.close();
    }

    /// Names the sockets to poll, each with an index: 0 is the listener's own.
    pub(crate) fn watch<'a>(&'a self, mut add: impl FnMut(usize, &'a Socket)) {
        if self.paused.is_none() {
            add(0, &self.socket);
        }
        for (index, guest) in &self.guests {
            add(*index, &guest.socket);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let guests = self.guests.values().filter_map(|guest| guest.due).min();
        let tombstone = self.tombstones.front().map(|(at, ..)| *at);
        [guests, tombstone, self.paused].into_iter().flatten().min()
    }

    /// Serves the sockets that are ready. Returns the new sessions.
    pub(crate) fn serve(&mut self, ready: &[usize], summons: &Arc<Summons>) -> Vec<Arc<Shared>> {
        let now = sync::now();
        if self.paused.is_some_and(|until| now >= until) {
            self.paused = None;
        }
        self.purge(now);
        let mut created = Vec::new();
        // Those first who have said something: a newcomer may take the place of
        // one who has not.
        for guest in ready.iter().filter(|index| **index != 0) {
            created.extend(self.hear(*guest, now, summons));
        }
        if ready.contains(&0) {
            self.accept(now, summons, &mut created);
        }
        created
    }

    fn accept(&mut self, now: Instant, summons: &Arc<Summons>, created: &mut Vec<Arc<Shared>>) {
        for _ in 0..ACCEPTS {
            match self.socket.accept() {
                Ok((socket, addr)) => {
                    if self.guests.len() >= GUESTS
                        && let Some((_, guest)) = self.guests.pop_first()
                    {
                        foreign::log!(
                            debug,
                            "{}: dropped for a newer peer before its hello",
                            guest.addr
                        );
                    }
                    // A peer that vanishes before its hello is noticed by the kernel,
                    // and so is one that speaks plain text.
                    let _ = socket.keep_alive();
                    let guest = Guest { socket, addr, decoder: Decoder::new(), due: None };
                    let index = self.next_guest;
                    self.next_guest += 1;
                    self.guests.insert(index, guest);
                    // Most have sent their hello by now.
                    created.extend(self.hear(index, now, summons));
                }
                Err(e) => match e.raw_os_error().map(Errno::from_raw_os_error) {
                    Some(Errno::AGAIN) => break,
                    // The peer has gone again, or a signal came.
                    Some(Errno::CONNABORTED | Errno::INTR | Errno::PROTO) => {}
                    // It is said although nobody waits, too.
                    Some(Errno::MFILE | Errno::NFILE) if !self.socket.is_readable() => break,
                    Some(Errno::MFILE | Errno::NFILE) if self.make_room() => {
                        self.complain(now, "new and silent peers may be turned away", &e);
                    }
                    _ => {
                        self.paused = Some(now + PAUSE);
                        self.complain(now, "cannot accept, trying again", &e);
                        break;
                    }
                },
            }
        }
        // Those who were turned away have left theirs.
        self.has_spare();
    }

    /// Finds a descriptor for a newcomer.
    fn make_room(&mut self) -> bool {
        self.guests.pop_first().is_some() || self.spare.take().is_some()
    }

    /// Whether a descriptor is held back, now that others may be free again.
    fn has_spare(&mut self) -> bool {
        self.spare = self.spare.take().or_else(Socket::spare);
        self.spare.is_some()
    }

    fn complain(&mut self, now: Instant, what: &str, error: &io::Error) {
        let recently = self.complained.is_some_and(|at| now - at < Duration::from_secs(1));
        if !recently {
            self.complained = Some(now);
            foreign::log!(warn, "{what}: {error}");
        }
    }

    /// Forgets what has had its time.
    fn purge(&mut self, now: Instant) {
        self.guests.retain(|_, guest| {
            let late = guest.due.is_some_and(|due| now >= due);
            if late {
                foreign::log!(info, "{}: dropped, its hello took too long", guest.addr);
            }
            !late
        });
        let most = self.builder.max_clients.saturating_mul(4);
        while let Some((at, token, id)) = self.tombstones.front().copied()
            && (now >= at || self.tombstones.len() > most)
        {
            self.tombstones.pop_front();
            if self.registry.get(&token).is_some_and(|shared| shared.id() == id) {
                self.registry.remove(&token);
            }
        }
    }

    /// A guest has something to say.
    fn hear(&mut self, index: usize, now: Instant, summons: &Arc<Summons>) -> Option<Arc<Shared>> {
        let mut guest = self.guests.remove(&index)?;
        match guest.socket.try_read(guest.decoder.space()) {
            Ok(0) => return None,
            Ok(n) => guest.decoder.filled(n),
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => return None,
        }
        match guest.decoder.first_byte() {
            None | Some(kind::HELLO) => {}
            Some(byte) if self.builder.accept_plain && plain::begins_text(byte) => {
                return self.create_plain(guest, now, summons);
            }
            Some(_) => {
                foreign::log!(info, "{}: dropped, it does not speak longlink", guest.addr);
                return None;
            }
        }
        match guest.decoder.next() {
            Ok(Some(Frame::Hello(_))) if guest.has_more() => {
                foreign::log!(
                    info,
                    "{}: dropped, it wrote more before the answer to its hello",
                    guest.addr
                );
                None
            }
            Ok(Some(Frame::Hello(hello))) => self.admit(guest, &hello, now, summons),
            Ok(Some(_)) => None,
            Ok(None) => {
                if guest.decoder.first_byte().is_some() {
                    guest.due.get_or_insert(now + HELLO_TIMEOUT);
                }
                self.guests.insert(index, guest);
                None
            }
            Err(violation) => {
                foreign::log!(info, "{}: dropped: {}", guest.addr, violation.0);
                reject(&mut guest, Rejection::Protocol);
                None
            }
        }
    }

    fn admit(
        &mut self,
        mut guest: Guest,
        hello: &Hello,
        now: Instant,
        summons: &Arc<Summons>,
    ) -> Option<Arc<Shared>> {
        if hello.version != VERSION {
            foreign::log!(info, "{}: rejected, it speaks version {}", guest.addr, hello.version);
            reject(&mut guest, Rejection::Version);
            return None;
        }
        let Heartbeat { interval, misses } = self.builder.heartbeat;
        let watch = Watch::framed(interval, hello.interval, misses);
        let prepared = (self.prepare)(&mut guest.socket);
        if let Err(e) = prepared.and_then(|()| guest.socket.watch(watch)) {
            self.complain(now, UNEQUIPPED, &e);
            reject(&mut guest, Rejection::Full);
            return None;
        }
        match self.registry.get(&hello.token).cloned() {
            Some(shared) => {
                let guest = readmit(&shared, guest, hello, now)?;
                self.create(guest, hello, Some(&shared), now, summons)
            }
            None => self.create(guest, hello, None, now, summons),
        }
    }

    /// Makes a new session, if there is room for one, in the place of an old one
    /// if the client had one.
    fn create(
        &mut self,
        mut guest: Guest,
        hello: &Hello,
        replaced: Option<&Arc<Shared>>,
        now: Instant,
        summons: &Arc<Summons>,
    ) -> Option<Arc<Shared>> {
        let admitted = match hello.resume_only {
            true => Err(Rejection::Ended),
            false => self.admits(replaced).and_then(|()| self.draw_epoch(now)),
        };
        let admitted = admitted.and_then(|epoch| self.make_place(replaced).map(|()| epoch));
        let epoch = match admitted {
            Ok(epoch) => epoch,
            Err(rejection) => {
                foreign::log!(info, "{}: rejected: {rejection}", guest.addr);
                reject(&mut guest, rejection);
                return None;
            }
        };
        if let Some(replaced) = replaced {
            self.end(replaced, Cause::Replaced);
        }
        let builder = &self.builder;
        let limits = Limits { window: builder.window, max_message: builder.largest_message() };
        let heartbeat = builder.heartbeat;
        let session =
            Session::server(hello, epoch, limits, heartbeat.interval, heartbeat.misses, now);
        foreign::log!(debug, "{}: new session {:?}", guest.addr, hello.token);
        let shared = self.enter(guest, session, summons);
        self.registry.insert(hello.token, shared.clone());
        Some(shared)
    }

    /// A guest whose first bytes are text.
    fn create_plain(
        &mut self,
        mut guest: Guest,
        now: Instant,
        summons: &Arc<Summons>,
    ) -> Option<Arc<Shared>> {
        let prepared = self.admits(None).and_then(|()| {
            (self.prepare)(&mut guest.socket).map_err(|e| {
                self.complain(now, UNEQUIPPED, &e);
                Rejection::Full
            })
        });
        if let Err(rejection) = prepared.and_then(|()| self.make_place(None)) {
            // Whatever it were told, it would take for a reply.
            foreign::log!(info, "{}: turned away: {rejection}", guest.addr);
            return None;
        }
        let builder = &self.builder;
        let limits = Limits { window: builder.window, max_message: builder.largest_message() };
        Some(self.enter(guest, Exchange::server(limits, now), summons))
    }

    /// Whether there can be a new session now, if there is room for it.
    fn admits(&mut self, replaced: Option<&Arc<Shared>>) -> Result<(), Rejection> {
        // The link of a session that makes room has a descriptor to give.
        let brings_one = replaced.is_some_and(|shared| shared.lock().has_link());
        if self.lobby.is_closed() {
            Err(Rejection::ShuttingDown)
        } else if self.lobby.is_full() || !(brings_one || self.has_spare()) {
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

    /// A guest becomes a client.
    fn enter(
        &mut self,
        guest: Guest,
        session: impl Into<Talk>,
        summons: &Arc<Summons>,
    ) -> Arc<Shared> {
        self.next_id += 1;
        let shared = Arc::new(Shared::new(
            self.builder.terms(Some(self.builder.resume_within)),
            session,
            guest.addr,
            self.next_id,
            summons.clone(),
        ));
        shared.install(shared.lock(), guest.socket, guest.decoder, guest.addr, Opened::First);
        self.living.insert(self.next_id);
        self.lobby.push(shared.clone());
        shared
    }

    /// The keeper has looked after a session that is not over.
    pub(crate) fn note(&mut self, shared: &Arc<Shared>, lost: Option<&Lost>) {
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
                // The keeper has not seen it yet.
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

    /// The keeper lets go of a session that is over.
    pub(crate) fn bury(&mut self, shared: &Arc<Shared>) {
        self.living.remove(&shared.id());
        self.lost.remove(shared.id());
        let never_accepted = self.lobby.forget(shared);
        let mut state = shared.lock();
        if never_accepted && shared.remove_handle() {
            state.forsake();
        }
        let token = state.session.session().map(|session| session.token());
        let was_closed = state.was_closed();
        shared.settle(state);
        // Only a framed session can be come back to.
        let Some(token) = token else { return };
        if was_closed {
            // The client may come back because our last word was lost.
            let until = sync::later(self.builder.resume_within);
            self.tombstones.push_back((until, token, shared.id()));
        } else if self.registry.get(&token).is_some_and(|known| Arc::ptr_eq(known, shared)) {
            self.registry.remove(&token);
        }
    }
}

/// A hello for a session that is still known. Gives the guest back if it asks
/// for a new one, which may replace this one.
fn readmit(shared: &Arc<Shared>, mut guest: Guest, hello: &Hello, now: Instant) -> Option<Guest> {
    let mut state = shared.lock();
    if state.has_ended() && !state.was_closed() {
        // Given up, and not buried yet.
        return Some(guest);
    }
    let Some(session) = state.session.session() else { return Some(guest) };
    let refusal = match session.judge(hello) {
        Admission::Stale => Rejection::Stale,
        Admission::Impossible => Rejection::Protocol,
        Admission::Other => return Some(guest),
        Admission::Ended => {
            let close = session.epitaph(hello);
            state.lose(Cause::Replaced);
            shared.settle(state);
            let _ = guest.socket.try_write(&Frame::Close(close).to_bytes());
            guest.socket.shutdown(Shutdown::Write);
            return None;
        }
        Admission::Resume => {
            state.lose(Cause::Replaced);
            let resumed = state.session.session().map(|session| session.resume(hello, now));
            match resumed? {
                Ok(replayed) => {
                    let welcomed = Opened::Resumed { replayed };
                    shared.install(state, guest.socket, guest.decoder, guest.addr, welcomed);
                    return None;
                }
                Err(_) => Rejection::Protocol,
            }
        }
    };
    shared.settle(state);
    foreign::log!(info, "{}: rejected for session {:?}: {refusal}", guest.addr, hello.token);
    reject(&mut guest, refusal);
    None
}

fn reject(guest: &mut Guest, rejection: Rejection) {
    let frame = Frame::Reject { code: rejection.code(), text: rejection.to_string() };
    let _ = guest.socket.try_write(&frame.to_bytes());
    guest.socket.shutdown(Shutdown::Write);
}
