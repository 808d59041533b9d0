//! What follows from what: the end of a link or of the connection, its events, and the
//! threads that have to go on.

use std::io;

use super::roles::{Link, Retired, ShutdownKind, Writer};
use super::tick::Tick;
use super::wait::Notices;
use super::waiters::{Waiter, Waiters};
use super::{Ending, Lost, State};
use crate::error::Cause;
use crate::event::Event;
use crate::proto::Violation;
use crate::proto::close::{Close, CloseCode, Refusal};
use crate::proto::report::{Loss, Output, Progress, Unanswered};
use crate::proto::spent::Spent;
use crate::retry::Proof;
use crate::sync::{self, Arc};

impl State {
    /// Draws the conclusions that do not depend on the time.
    pub(super) fn conclude(&mut self) {
        let status = self.protocol.status();
        if !self.life.has_ended() {
            let leaving = self.life.closing().is_some();
            if let Some(refusal) = self.refusal() {
                // It holds, although the same frame may have acknowledged everything.
                self.end(Ending::Refused(refusal));
            } else if status.complete || (leaving && status.acknowledged) {
                self.end(Ending::Closed);
            } else if status.closed_by_peer {
                self.end(Ending::PeerClosed);
            }
        }
        if self.protocol.status().parted
            && let Some(link) = &self.link
            && link.is_written()
        {
            self.lose(Cause::Eof);
        }
        if self.link.as_ref().is_some_and(|link| link.writer == Writer::Dead) && self.cannot_end() {
            self.lose(Cause::Io(Arc::new(io::ErrorKind::BrokenPipe.into())));
        }
        if self.protocol.status().owes_ack {
            self.start_ticking();
        }
    }

    /// What the server's application refuses this client with. What a client says to a
    /// server is an end like any other.
    fn refusal(&mut self) -> Option<Refusal> {
        let refusal = self.protocol.framed()?.peer_closed()?.refusal().cloned();
        refusal.filter(|_| !self.is_server())
    }

    /// The end of a link that cannot be written will never be read: either it was read, or
    /// it stands behind messages for which no room can come free, since their receiver
    /// waits for room to send.
    pub(super) fn cannot_end(&self) -> bool {
        let status = self.protocol.status();
        status.deaf || !(status.may_read || status.room > 0)
    }

    /// The connection ends for the application. The first reason stays.
    pub(crate) fn end(&mut self, ending: Ending) {
        if self.life.has_ended() {
            return;
        }
        let unacknowledged = self.protocol.status().unacknowledged;
        if !matches!(ending, Ending::GaveUp(_) | Ending::SessionLost) {
            self.protocol.close(CloseCode::Closed);
            self.event(Event::Closed { unacknowledged });
        }
        self.life.end(ending);
        self.news = true;
        self.look_soon();
        if !self.protocol.status().framed {
            self.free_read_half();
        }
    }

    /// A client that came back is told that the session has ended. It may have
    /// known, and waited only for this.
    pub(crate) fn read_close_reply(&mut self, close: Close) -> Result<(), Violation> {
        if let Some(session) = self.protocol.framed() {
            session.on_close(close)?;
        }
        self.news = true;
        self.driver_due = true;
        Ok(())
    }

    /// The link has died. Its roles die with it.
    pub(crate) fn lose(&mut self, cause: Cause) {
        let Some(mut link) = self.link.take() else { return };
        let kind = match cause {
            // If the silence is ours alone, the end must not queue behind what
            // cannot be sent; and the kernel would keep that for minutes.
            Cause::Silent(_) => ShutdownKind::Reset,
            // The server loses it by the hello of the next one, and so never takes the session
            // for lost, which it might give up then.
            Cause::Aged | Cause::Expired if self.makes_another() => {
                self.former = Some(link.socket.clone());
                ShutdownKind::StopReading
            }
            _ => ShutdownKind::Shutdown,
        };
        // In the midst of a record nothing can be said.
        let rests = link.write_half.as_mut().filter(|half| half.is_written());
        let farewell = rests.and_then(|half| half.sealer.take());
        let farewell = farewell.filter(|_| matches!(kind, ShutdownKind::Shutdown));
        self.retired.push(Retired { socket: link.socket.clone(), kind, farewell });
        // Of what a thread has in hand nothing is known: it counts as written.
        let unwritten = link.unwritten();
        let now = sync::now();
        let Loss { progress, away, kept, unanswered } = self.protocol.link_lost(unwritten);
        // An end that comes later is another, and a violation is no end of the server's.
        let away = away.filter(|(at, notice)| now <= *at + notice.last());
        let (cause, away) = match cause {
            Cause::Eof | Cause::Io(_) | Cause::Silent(_) if away.is_some() => {
                (Cause::Restarting, away)
            }
            cause => (cause, None),
        };
        let status = self.protocol.status();
        let uptime = now.saturating_duration_since(link.since);
        let Progress { moved, heard, waits } = progress;
        if let Some(closing) = self.life.closing_mut() {
            closing.link_lost(moved, now);
        }
        let proof = Proof { moved, heard, waits, uptime };
        self.event(Event::Lost { cause: cause.clone() });
        self.announce(unanswered);
        let batch = link.write_half.into_iter().flat_map(|write_half| write_half.batch.give_up());
        self.protocol.spent().extend(batch);
        let has_received = status.has_received;
        self.lost = Some(Box::new(Lost { at: now, cause, has_received, proof, kept, away }));
        self.driver_due = true;
    }

    /// The driver hears of it if it has to look earlier than it was told. The times of a
    /// framed session only move away, but for an acknowledgement's, which starts the tick.
    pub(super) fn expect(&mut self) {
        if !self.protocol.status().framed {
            let next = self.protocol.deadline();
            self.driver_due |= next.is_some_and(|next| self.expected.is_none_or(|at| next < at));
        }
    }

    pub(super) fn announce(&mut self, unanswered: Unanswered) {
        if unanswered.count() > 0 {
            let Unanswered { lines: messages, forgotten } = unanswered;
            self.event(Event::Unanswered { messages, forgotten });
        }
    }

    /// A client goes on with its session over another link.
    fn makes_another(&self) -> bool {
        self.protocol.status().framed && !self.is_server()
    }

    /// There is a new link, or will be none.
    pub(super) fn leave_former(&mut self) {
        let former = self.former.take();
        let retired = former.map(|socket| Retired::silently(socket, ShutdownKind::Shutdown));
        self.retired.extend(retired);
    }

    /// Reports to the application; how the end is told to the peer is none of
    /// its business any more.
    pub(crate) fn event(&mut self, event: Event) {
        if self.terms.on_event.is_some() && !self.life.has_ended() {
            self.events.push_back(event);
            self.driver_due = true;
        } else {
            self.forget(event);
        }
    }

    pub(super) fn forget(&mut self, event: Event) {
        if let Event::Unanswered { messages, .. } = event {
            self.protocol.spent().extend(messages);
        }
    }

    /// Whether [`settle`](super::locked::Locked::settle) has something to do: it need not
    /// be asked for each message of a stream. What there is to write counts from this
    /// urgency on.
    #[inline]
    pub(super) fn has_consequences(&self, least: Output) -> bool {
        let status = self.protocol.status();
        self.protocol.output() >= least
            || self.has_notices()
            || !self.life.is_open()
            || status.closing
            || self.link.as_ref().is_some_and(Link::has_rest)
            || (status.owes_ack && self.link.as_ref().is_some_and(|link| link.tick == Tick::Off))
    }

    /// Whether [`notices`](State::notices) may find any.
    #[inline]
    pub(super) fn has_notices(&self) -> bool {
        let unseen = |link: &Link| link.tick == Tick::Off && link.is_neglected();
        self.news
            || self.driver_due
            || self.receivers.has_unchosen()
            || self.others.has_unchosen()
            || !self.retired.is_empty()
            || self.protocol.status().has_spent
            || self.link.as_ref().is_some_and(unseen)
    }

    pub(super) fn waiters(&mut self, waiter: Waiter) -> &mut Waiters {
        match waiter {
            Waiter::Receiver => &mut self.receivers,
            Waiter::Other => &mut self.others,
        }
    }

    /// The threads that the changes concern. One that is `leaving` passes the reader's
    /// role on.
    pub(super) fn notices(&mut self, leaving: bool) -> Notices {
        let news = std::mem::take(&mut self.news);
        let link = self.link.as_ref().filter(|_| leaving);
        let free = link.is_some_and(|link| link.read_half.is_some());
        if link.is_some_and(Link::is_neglected) {
            self.start_ticking();
        }
        let receivers = match () {
            _ if news && (self.life.has_ended() || self.left) => self.receivers.call(),
            _ if free || self.protocol.status().has_next => self.receivers.choose(),
            _ => 0,
        };
        let others = match () {
            _ if news => self.others.call(),
            _ if free && receivers == 0 => self.others.choose(),
            _ => 0,
        };
        let driver =
            std::mem::take(&mut self.driver_due) && !std::mem::replace(&mut self.driver_told, true);
        let (retired, spent) = (std::mem::take(&mut self.retired), self.take_spent());
        Notices { receivers, others, driver, retired, spent }
    }

    pub(super) fn take_spent(&mut self) -> Spent {
        std::mem::take(self.protocol.spent())
    }

    /// All that the application gave and does not get back.
    pub(super) fn take_remains(&mut self) -> Spent {
        let write_half = self.link.take().and_then(|link| link.write_half);
        let batch = write_half.into_iter().flat_map(|write_half| write_half.batch.give_up());
        self.protocol.spent().extend(batch);
        while let Some(event) = self.events.pop_front() {
            self.forget(event);
        }
        self.protocol.discard();
        self.take_spent()
    }
}
