//! Accepts the peers of a listener, and hears their first words.
//!
//! A peer that has not introduced itself is *pending*: it waits in the driver's poll
//! set, under a cap of its own, and costs no thread. Its hello, or its first line, goes
//! to the [sessions](super::sessions).
//!
//! When the process runs out of descriptors, pending peers make room for newcomers, the
//! oldest first. Without pending peers, newcomers are heard on a descriptor that is held
//! back for that: a client that comes back is resumed, and one that wants a new session
//! is rejected as by a full server. If even that descriptor is taken, newcomers wait in
//! the listener's queue, which is looked at every [`PAUSE`]. Connected clients notice
//! nothing of all that, and the log says it once a second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::sessions::Sessions;
use crate::error::Rejection;
use crate::foreign;
use crate::link::PendingLink;
use crate::net::{Interest, Socket};
use crate::proto::frame::{Frame, kind};
use crate::proto::plain;
use crate::sync;

/// Peers that may be silent at once; the oldest makes room.
const PENDING: usize = 256;

/// After the first byte of a hello, the rest is due within this.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// So many are accepted before others get their turn.
const ACCEPTS: usize = 64;

/// After a failure that nothing can be done about, accepting goes on after this.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Acceptor {
    socket: Socket,
    accept_plain: bool,
    /// By age.
    pending: BTreeMap<usize, PendingLink>,
    next_index: usize,
    /// Accepting goes on then.
    paused: Option<Instant>,
}

impl Acceptor {
    pub(super) fn new(socket: Socket, accept_plain: bool) -> Acceptor {
        let (pending, next_index) = (BTreeMap::new(), 1);
        Acceptor { socket, accept_plain, pending, next_index, paused: None }
    }

    /// The sockets to poll, each with an index: 0 is the listener's own. Pending peers come
    /// first: a newcomer may take the place of one that is silent.
    pub(super) fn polled(&self) -> impl Iterator<Item = (usize, &Socket, Interest)> {
        let own = Some((0, &self.socket)).filter(|_| self.paused.is_none());
        let pending = self.pending.iter().map(|(index, peer)| (*index, &peer.socket));
        pending.chain(own).map(|(index, socket)| (index, socket, Interest::READ))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let pending = self.pending.values().filter_map(|peer| peer.due).min();
        pending.into_iter().chain(self.paused).min()
    }

    /// These sockets are ready, in the order in which they are polled.
    pub(super) fn on_ready(&mut self, ready: &[usize], sessions: &mut Sessions) {
        let now = sync::now();
        self.paused.take_if(|until| now >= *until);
        self.drop_late(now);
        for index in ready {
            match index {
                0 => self.accept(now, sessions),
                pending => self.hear(*pending, now, sessions),
            }
        }
    }

    fn drop_late(&mut self, now: Instant) {
        self.pending.retain(|_, peer| {
            let late = peer.is_late(now);
            if late {
                foreign::log!(info, "{}: dropped, its hello took too long", peer.addr);
            }
            !late
        });
    }

    fn accept(&mut self, now: Instant, sessions: &mut Sessions) {
        for _ in 0..ACCEPTS {
            match self.socket.accept() {
                Ok((socket, addr)) => {
                    if self.pending.len() >= PENDING
                        && let Some((_, peer)) = self.pending.pop_first()
                    {
                        foreign::log!(
                            debug,
                            "{}: dropped for a newer peer before its hello",
                            peer.addr
                        );
                    }
                    // A peer that vanishes before its hello is noticed by the kernel,
                    // and so is one that speaks plain text.
                    let _ = socket.keep_alive();
                    let index = self.next_index;
                    self.next_index += 1;
                    self.pending.insert(index, PendingLink::new(socket, addr, None));
                    // Most have sent their hello by now.
                    self.hear(index, now, sessions);
                }
                Err(e) => match Errno::from_io_error(&e) {
                    Some(Errno::AGAIN) => break,
                    // The peer has gone again, or a signal came.
                    Some(Errno::CONNABORTED | Errno::INTR | Errno::PROTO) => {}
                    // The system says so although no peer waits, too.
                    Some(Errno::MFILE | Errno::NFILE) if !self.socket.is_readable() => break,
                    Some(Errno::MFILE | Errno::NFILE) if self.make_room(sessions) => {
                        sessions.complain(now, "new and silent peers may be turned away", &e);
                    }
                    _ => {
                        self.paused = Some(now + PAUSE);
                        sessions.complain(now, "cannot accept, trying again", &e);
                        break;
                    }
                },
            }
        }
        // Peers that were refused have freed their descriptors.
        sessions.has_spare();
    }

    /// Finds a descriptor for a newcomer.
    fn make_room(&mut self, sessions: &mut Sessions) -> bool {
        self.pending.pop_first().is_some() || sessions.spare.take().is_some()
    }

    /// A peer has something to say.
    fn hear(&mut self, index: usize, now: Instant, sessions: &mut Sessions) {
        let Some(mut peer) = self.pending.remove(&index) else { return };
        if !peer.read().unwrap_or(false) {
            return;
        }
        match peer.decoder.first_byte() {
            None | Some(kind::HELLO) => {}
            Some(_) if self.accept_plain && plain::begins_text(peer.decoder.unread()) => {
                return sessions.create_plain(peer, now);
            }
            Some(_) => {
                foreign::log!(info, "{}: dropped, it does not speak longlink", peer.addr);
                return;
            }
        }
        match peer.decoder.next() {
            Ok(Some(Frame::Hello(_))) if peer.has_more() => {
                foreign::log!(
                    info,
                    "{}: dropped, it wrote more before the answer to its hello",
                    peer.addr
                );
            }
            Ok(Some(Frame::Hello(hello))) => sessions.admit(peer, &hello, now),
            Ok(Some(_)) => {}
            Ok(None) => {
                if peer.decoder.first_byte().is_some() {
                    peer.due.get_or_insert(now + HELLO_TIMEOUT);
                }
                self.pending.insert(index, peer);
            }
            Err(violation) => {
                foreign::log!(info, "{}: dropped: {}", peer.addr, violation.0);
                peer.reject(Rejection::Protocol);
            }
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
