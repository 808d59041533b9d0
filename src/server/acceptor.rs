//! Accepts the peers of a listener, and hears their first words.
//!
//! A peer that has not introduced itself is *pending*: it waits in the driver's poll
//! set, under a cap of its own, and costs no thread. Its hello, or its first line, goes
//! to the [sessions](super::sessions).
//!
//! If links are to be secured, each begins with a handshake, which costs much more time
//! than a hello. So in one [turn](super::sessions::TURN) few are gone on with: those who are
//! here are served in between. In clear text a peer is only told that this is not enough.
//!
//! When the process runs out of descriptors, [pending peers](Places::make_room) make room
//! for newcomers. Without pending peers, newcomers are heard on a descriptor that is held
//! back for that: a client that comes back is resumed, and one that wants a new session
//! is rejected as by a full server. If even that descriptor is taken, newcomers wait in
//! the listener's queue, which is looked at every [`PAUSE`]. Connected clients notice
//! nothing of all that, and the log says it once a second.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::places::Places;
use super::sessions::Sessions;
use crate::config::Builder;
use crate::error::{Cause, Rejection};
use crate::foreign;
use crate::link::PendingLink;
use crate::net::{Interest, Socket};
use crate::proto::frame::{Frame, kind};
use crate::proto::plain;
use crate::secure::Security;
use crate::sync;

/// With this byte TLS begins.
const HANDSHAKE: u8 = 0x16;

/// After the first byte, of a hello or of a handshake before it, the rest is due within this.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// So many are accepted before others get their turn.
const ACCEPTS: usize = 64;

/// After a failure that nothing can be done about, accepting goes on after this.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Acceptor {
    socket: Socket,
    accept_plain: bool,
    places: Places,
    /// Accepting goes on then.
    paused: Option<Instant>,
}

impl Acceptor {
    pub(super) fn new(socket: Socket, builder: &Builder) -> Acceptor {
        Acceptor {
            socket,
            accept_plain: builder.accept_plain,
            places: Places::default(),
            paused: None,
        }
    }

    /// The sockets to poll, each with an index: 0 is the listener's own. Pending peers come
    /// first: a newcomer may take the place of one that is silent.
    pub(super) fn polled(&self) -> impl Iterator<Item = (usize, &Socket, Interest)> {
        let own = Some((0, &self.socket)).filter(|_| self.paused.is_none());
        let pending = self.places.iter().map(|(index, peer)| (index, &peer.socket));
        pending.chain(own).map(|(index, socket)| (index, socket, Interest::READ))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.places.deadline().into_iter().chain(self.paused).min()
    }

    /// These sockets are ready, in the order in which they are polled.
    pub(super) fn on_ready(&mut self, ready: &[usize], sessions: &mut Sessions) {
        let now = sync::now();
        self.paused.take_if(|until| now >= *until);
        self.places.drop_late(now);
        let mut spent = false;
        for index in ready {
            match index {
                // One at least: else those that are here could keep all others out.
                0 => self.accept(now, sessions),
                // It can still be read in the next turn.
                _ if spent => {}
                pending => {
                    self.hear(*pending, now, sessions);
                    spent = self.is_spent(now, sessions);
                }
            }
        }
    }

    /// Whether a turn that has begun `then` has had its time for handshakes.
    fn is_spent(&self, then: Instant, sessions: &Sessions) -> bool {
        sessions.builder.security.is_some() && sync::now() - then >= sessions.turn
    }

    fn accept(&mut self, now: Instant, sessions: &mut Sessions) {
        for turn in 0..ACCEPTS {
            // To ask costs 0.6 µs, and to accept in vain 4.4.
            if turn > 0 && !self.socket.is_readable() {
                break;
            }
            match self.socket.accept() {
                Ok((socket, addr)) => {
                    let index = self.places.insert(PendingLink::new(socket, addr, None));
                    // Most have sent their hello by now.
                    self.hear(index, now, sessions);
                    if self.is_spent(now, sessions) {
                        break;
                    }
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
        self.places.make_room().is_some() || sessions.spare.take().is_some()
    }

    /// A peer has something to say.
    fn hear(&mut self, index: usize, now: Instant, sessions: &mut Sessions) {
        let Some(mut peer) = self.places.take(index) else { return };
        if peer.is_refused() {
            if peer.disregard() {
                self.places.put_back(index, peer);
            }
            return;
        }
        let begins_handshake =
            |peer: &PendingLink| !peer.is_secured() && peer.decoder.first_byte() == Some(HANDSHAKE);
        let heard = match peer.read() {
            Ok(true) if begins_handshake(&peer) => self.begin_handshake(&mut peer, now, sessions),
            heard => heard,
        };
        match heard {
            Ok(true) => self.greet(index, peer, now, sessions),
            Ok(false) | Err(Cause::Io(_)) => {}
            Err(cause) => {
                let advice = match cause {
                    Cause::Untrusted { .. } => "; a line with it in the peers file lets it in",
                    _ => "",
                };
                foreign::log!(info, "{}: refused: {cause}{advice}", peer.addr);
                peer.refuse(now);
                self.places.put_back(index, peer);
            }
        }
    }

    /// Returns whether more may follow.
    fn begin_handshake(
        &self,
        peer: &mut PendingLink,
        now: Instant,
        sessions: &mut Sessions,
    ) -> Result<bool, Cause> {
        let Some(security) = sessions.builder.security.clone() else {
            // Which is none of TLS: so it knows.
            let _ = peer.write(&Frame::Reject(Rejection::Protocol.to_wire()));
            return Err(Cause::Protocol("it begins as TLS does"));
        };
        peer.due = Some(now + HELLO_TIMEOUT);
        if let Err(e) = sessions.prepare_once(peer) {
            sessions.complain(now, "cannot take a client in, it is dropped", &e);
            return Ok(false);
        }
        peer.secure(security.accept()?)?;
        peer.security = Some(security);
        // A hello of TLS is longer than what was read to know it by.
        peer.read()
    }

    /// A peer may have introduced itself.
    fn greet(
        &mut self,
        index: usize,
        mut peer: PendingLink,
        now: Instant,
        sessions: &mut Sessions,
    ) {
        let security = &sessions.builder.security;
        let in_clear = security.is_some() && !peer.is_secured();
        let takes_text =
            self.accept_plain && !in_clear && security.as_ref().is_none_or(Security::takes_text);
        match peer.decoder.first_byte() {
            None | Some(kind::HELLO) => {}
            Some(_) if takes_text && plain::begins_text(peer.decoder.unread()) => {
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
            Ok(Some(Frame::Hello(_))) if in_clear => {
                foreign::log!(info, "{}: rejected, it speaks clear text", peer.addr);
                peer.reject(Rejection::TlsRequired);
            }
            Ok(Some(Frame::Hello(_))) if !peer.speaks_longlink() => {
                foreign::log!(info, "{}: rejected, its TLS does not offer longlink/1", peer.addr);
                peer.reject(Rejection::Protocol);
            }
            Ok(Some(Frame::Hello(hello))) => sessions.admit(peer, &hello, now),
            Ok(Some(_)) => {}
            // There will be no more of it.
            Ok(None) if peer.has_ended() => {}
            Ok(None) => {
                if peer.has_begun() {
                    peer.due.get_or_insert(now + HELLO_TIMEOUT);
                } else if takes_text && peer.is_open() {
                    // Text may begin at any time.
                    peer.due = None;
                }
                self.places.put_back(index, peer);
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
