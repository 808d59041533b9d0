//! What a driver does for a connection: times, coverage, new links, the end.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::halves::{Heard, ReadHalf, WriteHalf};
use super::life::Telling;
use super::locked::Locked;
use super::roles::{Cover, Link, Writer};
use super::row::Row;
use super::term::Term;
use super::tick::Tick;
use super::{Ending, Lost, OnEvent, PendingLink, Shared, State};
use crate::error::Cause;
use crate::event::Event;
use crate::net::{Interest, Socket};
use crate::proto::away::GoingAway;
use crate::proto::batch::Batch;
use crate::proto::closing::Closing;
use crate::proto::protocol::Protocol;
use crate::proto::pulse::Verdict;
use crate::proto::report::Excuse;
use crate::proto::session::Opened;
use crate::secure::End;
use crate::sync::{self, Arc, Ordering};

/// How often the driver looks at a link on which the application is active.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// What a driver learns when it looks after a connection.
#[derive(Default)]
pub(crate) struct Checkup {
    /// When to look again.
    pub(crate) deadline: Option<Instant>,
    /// What to poll for.
    pub(crate) poll: Option<(Arc<Socket>, Interest)>,
    /// Why there is no link, if there should be one.
    pub(crate) lost: Option<Box<Lost>>,
    /// A check was asked for: an attempt that waits for its time need not.
    pub(crate) hurry: bool,
    /// Nothing will happen any more.
    pub(crate) over: bool,
}

/// How far the bytes of a link have come: positions in what was written on it
/// behind the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach {
    /// The peer's kernel has acknowledged the bytes before this.
    pub(crate) acknowledged: u64,
    /// Here the last message ends that is written, or about to be; and what goes with it.
    pub(crate) carried: u64,
}

impl Shared {
    /// Looks after the times, reports the events, and says what to poll for. `due` is
    /// when the driver meant to come. It may have spent the time since in its wait or in a
    /// slow callback, so a silent peer is asked again before it is judged.
    pub(crate) fn check_up(self: &Arc<Self>, due: Option<Instant>) -> Checkup {
        let mut state = self.lock();
        // A thread that changes something from here on wakes it anew: the lock is
        // released in between.
        (state.driver_due, state.driver_told) = (false, false);
        state.read_by_the_way();
        let now = sync::now();
        if let Some(due) = due {
            let late = now.saturating_duration_since(due);
            state.check_due |= state.protocol.excuse(Excuse::Overslept(late));
        }
        let checks = std::mem::take(&mut state.check_due);
        if checks {
            state.check(now);
        }
        let mut verdict = state.protocol.tick(None, now);
        if verdict != Verdict::Alive && state.protocol.status().counts_bytes {
            // What the peer's kernel has acknowledged meanwhile may be life.
            if let Some(Reach { acknowledged, .. }) = state.measure() {
                verdict = state.protocol.tick(Some(acknowledged), now);
            }
        }
        if let Verdict::Dead(silence) = verdict {
            state.judge(silence, now);
        }
        state.decide_cover(now);
        if state.is_closing_due(now) {
            let reach = state.measure();
            state.look_at_closing(reach, now);
        }
        state.look_at_parting(now);
        state.look_at_term(now);
        // An end is written, if it can be, before the time to tell it is over.
        state.settle_within();
        state.time_to_end(now);
        state.look_at_row(now);
        let over = state.is_over();
        if over && state.life.finish() {
            state.news = true;
            state.leave_former();
            if state.dropped {
                state.drop_handles();
            }
        }
        state.reporting = !state.events.is_empty();
        self.rush.store(state.is_rush(), Ordering::Relaxed);
        state.expected = state.protocol.deadline();
        let events = std::mem::take(&mut state.events);
        // The last events are the last use of the callback, which may itself hold the
        // connection.
        let on_event =
            if over { state.terms.on_event.take() } else { state.terms.on_event.clone() };
        let checkup = Checkup {
            // A finished connection has none.
            deadline: state.deadline().filter(|_| !over),
            poll: state.polled(),
            lost: state.lost.clone().filter(|_| !over),
            hurry: checks,
            over,
        };
        state.settle();
        if !events.is_empty() {
            self.report(events, on_event);
        }
        checkup
    }

    /// Hands events to the callback.
    fn report(self: &Arc<Self>, events: VecDeque<Event>, on_event: Option<OnEvent>) {
        if let Some(on_event) = on_event {
            events.into_iter().for_each(|event| (on_event.0)(self, event));
        }
        let mut state = self.lock();
        state.reporting = false;
        state.news = true;
        state.settle();
    }

    /// The socket is ready, as [`Checkup::poll`] asked.
    pub(crate) fn on_ready(&self, ready: Interest) {
        let mut state = self.lock();
        if ready.write {
            state.unblock_writer();
        }
        if ready.read && state.protocol.status().deaf {
            // Nothing can be read: the link is broken, or another thread was faster.
            if let Some(Some(error)) = state.ask(Socket::failure) {
                state.lose(Cause::Io(Arc::new(error)));
            }
        } else if ready.read {
            state.read_covered();
        }
        state.settle();
    }
}

impl Locked<'_> {
    /// Asks the peer out of turn. While a thread is writing, it is not known from where on what
    /// the peer's kernel acknowledges is an answer: then a tick later.
    fn check(&mut self, now: Instant) {
        if self.link.as_ref().is_some_and(|link| link.write_half.is_none()) {
            self.check_due = true;
            return;
        }
        let acknowledged = self.measure().map(|reach| reach.acknowledged);
        let within = self.terms.connect_timeout;
        self.protocol.check(within, acknowledged, now);
    }

    /// The peer has been silent for too long. But bytes that wait to be read
    /// are life, even if the reader had no time for them.
    fn judge(&mut self, silence: Duration, now: Instant) {
        let queued = self.ask(Socket::has_queued);
        if queued == Some(true) {
            self.protocol.excuse(Excuse::Queued);
        } else if queued == Some(false)
            && let Verdict::Dead(_) = self.protocol.tick(None, now)
        {
            self.lose(Cause::Silent(silence));
        }
    }

    /// Asks the system how far the bytes of the present link have come. Nothing is
    /// known while a thread is writing, and where the system does not tell.
    pub(super) fn measure(&mut self) -> Option<Reach> {
        let batch = &self.link.as_ref()?.write_half.as_ref()?.batch;
        let (written, carried) = (batch.written(), batch.carried());
        let acknowledged = self.ask(|socket| socket.acknowledged(written))??;
        Some(Reach { acknowledged, carried })
    }

    /// Asks the system about the present link. The lock is released meanwhile, and there is
    /// no answer if the link is lost by then.
    fn ask<T>(&mut self, question: impl FnOnce(&Socket) -> T) -> Option<T> {
        let link = self.link.as_ref()?;
        let (socket, generation) = (link.socket.clone(), link.generation);
        let answer = self.unlocked(|| question(&socket));
        self.current(generation).map(|_| answer)
    }

    /// The server goes away. The client is told when to come back, if its link takes that
    /// at once. Then the link ends as soon as the client ends it, whose bytes are read until
    /// then: a socket that is closed with some unread is reset, and what it had to say may be
    /// lost with that. One that has ended before is told of that instead.
    pub(crate) fn go_away(mut self, notice: GoingAway) {
        if !self.has_ended() {
            match &mut self.protocol {
                Protocol::Framed(session) => {
                    session.go_away(notice);
                    self.fail(0, Cause::Restarting);
                    if let Some(link) = self.link.as_mut().filter(|link| link.read_half.is_some()) {
                        link.cover = Cover::Driver;
                    }
                }
                // It has no words for that. What it has to say is written first.
                Protocol::Plain(_) => {
                    self.settle_within();
                    self.lose(Cause::Restarting);
                    self.give_up(0, Cause::Restarting);
                }
            }
        }
        self.settle();
    }

    /// A link is up, for the generation that the session has just started.
    pub(crate) fn install(mut self, link: PendingLink, opened: Opened) {
        let PendingLink { socket, addr: peer, mut decoder, who, channel, ended, .. } = link;
        let now = sync::now();
        let after = self.lost.take().map_or(Duration::ZERO, |lost| now - lost.at);
        self.leave_former();
        let event = match opened {
            Opened::First => Event::Connected { peer },
            Opened::Resumed { replayed } => Event::Resumed { replayed, after },
            Opened::Restarted { unacknowledged } => {
                self.sessions_lost += 1;
                Event::SessionLost { unacknowledged, after }
            }
            Opened::Anew { waiting } => Event::Reconnected { waiting, after },
        };
        let first = opened == Opened::First;
        self.reconnects += u64::from(!first);
        self.event(event);
        let status = self.protocol.status();
        decoder.allow_data(status.own_max_message);
        let generation = status.generation;
        (self.peer, self.who) = (peer, who);
        // The handshake, or the peer's first words; a plain server may not have spoken yet.
        self.heard = Some(now);
        let socket = Arc::new(socket);
        let (mut opener, mut sealer, mut batch) = (None, None, Batch::default());
        if let Some(channel) = channel {
            batch.records = Some(channel.sealer.records);
            opener = Some(Box::new(channel.opener));
            sealer = Some(Box::new(channel.sealer));
        }
        // The last flight of the handshake may go with the first batch.
        let control = sealer.is_some();
        let read_half = Box::new(ReadHalf { socket: socket.clone(), generation, decoder, opener });
        let write_half = WriteHalf { socket: socket.clone(), generation, batch, sealer };
        self.link = Some(Link {
            socket,
            generation,
            since: now,
            // Plain text is not resumed.
            term: Term::new(self.terms.lasts.filter(|_| status.framed), now),
            read_half: None,
            writer: Writer::Idle,
            write_half: Some(Box::new(write_half)),
            // A thread that waits for the first message takes the read half without a notice,
            // and at the first tick the driver sees that. On a first link it does not poll until
            // then; a later one may be cut at once.
            cover: if first { Cover::Application } else { Cover::Driver },
            tick: Tick::Due,
            read_lately: false,
            read_timeout: None,
            control_due: false,
            row: Row::default(),
        });
        // Bytes may have come along with the handshake, and their end: no other byte that can
        // be polled for need follow.
        let end = ended.then_some(End::InOrder);
        let bytes = read_half.decoder.unread().len();
        self.after_read(read_half, Ok(Heard { bytes, control, end }));
        self.mark_expiry(now);
        self.news = true;
        self.driver_due = true;
        self.settle();
    }
}

impl State {
    /// A credential expires by another clock, which does not stand still.
    fn mark_expiry(&mut self, now: Instant) {
        if let Some(at) = self.who.expires()
            && let Some(link) = &mut self.link
        {
            link.term.expires(at, now, sync::wall_clock());
        }
    }

    /// Ends a link whose time is over. The session goes on with another, over which the peer
    /// has shown again who it is.
    fn look_at_term(&mut self, now: Instant) {
        if let Some(link) = self.link.as_ref().filter(|_| !self.life.has_ended())
            && let Some(cause) = link.term.over(now)
        {
            self.lose(cause);
        }
    }

    /// Soon it is known whether the link still carries anything. Without one, an
    /// attempt to find one is made now.
    pub(crate) fn request_check(&mut self) {
        if !self.life.has_ended() {
            self.check_due = true;
            self.driver_due = true;
        }
    }

    /// The machine has slept. What was due while it did so is not held against the
    /// peer; whether that is still there is found out.
    pub(crate) fn wake_up(&mut self) {
        self.protocol.excuse(Excuse::Suspended);
        self.mark_expiry(sync::now());
        self.check_due = true;
    }

    fn unblock_writer(&mut self) {
        if let Some(link) = self.link.as_mut().filter(|link| link.writer == Writer::Blocked) {
            link.writer = Writer::Idle;
        }
    }

    /// Decides who covers reading until the next look.
    fn decide_cover(&mut self, now: Instant) {
        let Some(link) = &mut self.link else { return };
        link.tick = match link.tick {
            Tick::Off => Tick::Off,
            Tick::Due => Tick::At(now + TICK),
            Tick::At(at) if now < at => Tick::At(at),
            Tick::At(_) if std::mem::take(&mut link.read_lately) => Tick::At(now + TICK),
            Tick::At(_) => {
                // Quiet. If a thread waits in a read, it wakes the driver when it is done.
                link.cover = match link.read_half {
                    Some(_) => Cover::Driver,
                    None => Cover::Application,
                };
                Tick::Off
            }
        };
    }

    fn time_to_end(&mut self, now: Instant) {
        if self.life.tells() {
            let until =
                self.life.told_until().unwrap_or_else(|| sync::later(self.terms.close_timeout));
            self.life.tell(Telling::Until(until));
            if now >= until {
                self.life.tell(Telling::Done);
                self.lose(Cause::Eof);
            }
        }
        if self.closes_alone_at().is_some_and(|at| now >= at) {
            self.stop_closing();
        }
        if let Some(within) = self.terms.resume_within
            && let Some(lost) = &self.lost
            && (!self.protocol.status().framed
                || lost.at.checked_add(within).is_some_and(|at| now >= at))
        {
            let cause = lost.cause.clone();
            self.give_up(0, cause);
        }
    }

    /// No link can be had any more.
    pub(crate) fn give_up(&mut self, attempts: u32, cause: Cause) {
        self.fail(attempts, cause);
        self.life.tell(Telling::Done);
    }

    /// The same, since the server no longer has the session, and there is to be no other.
    pub(crate) fn lose_session(&mut self, attempts: u32, word: Cause) {
        self.fail_as(attempts, word, Ending::SessionLost);
        self.life.tell(Telling::Done);
    }

    /// The connection ends for the application, which has not ended it.
    fn fail(&mut self, attempts: u32, cause: Cause) {
        self.fail_as(attempts, cause.clone(), Ending::GaveUp(cause));
    }

    fn fail_as(&mut self, attempts: u32, cause: Cause, ending: Ending) {
        self.driver_due = true;
        if !self.life.has_ended() {
            let unacknowledged = self.protocol.status().unacknowledged;
            self.event(Event::GaveUp { attempts, unacknowledged, cause });
            self.end(ending);
        }
    }

    /// The client has begun another session, and sends there what was not acknowledged here.
    /// So what had arrived is not handed out any more: it would be processed beside that.
    pub(crate) fn replace(&mut self) {
        self.lose(Cause::Replaced);
        self.give_up(0, Cause::Replaced);
        if let Some(session) = self.protocol.framed() {
            session.leave_to_another();
        }
    }

    /// Whether a client that was welcomed never begins another session.
    pub(crate) fn wants_no_other_session(&mut self) -> bool {
        self.protocol.framed().is_some_and(|session| session.wants_no_other())
    }

    fn is_over(&self) -> bool {
        // A client that comes back to a server is told by the handshake.
        let told = self.is_server() || !self.life.tells() || self.protocol.status().end_told;
        self.life.has_ended() && self.link.is_none() && told
    }

    fn deadline(&self) -> Option<Instant> {
        let session = self.protocol.deadline();
        let tick = self.link.as_ref().and_then(|link| link.tick.deadline());
        let term = self.link.as_ref().filter(|_| !self.life.has_ended());
        let term = term.and_then(|link| link.term.deadline());
        let row = self.link.as_ref().and_then(|link| link.row.deadline());
        let resume =
            self.lost.as_ref().zip(self.terms.resume_within).filter(|_| !self.life.has_ended());
        let resume = resume.and_then(|(lost, within)| lost.at.checked_add(within));
        let closing = self.life.closing().and_then(Closing::deadline);
        let check = self.check_due.then(|| sync::later(TICK));
        let ends = [closing, self.closes_alone_at(), self.life.told_until()];
        [session, tick, row, term, resume, check].into_iter().chain(ends).flatten().min()
    }

    fn polled(&self) -> Option<(Arc<Socket>, Interest)> {
        let link = self.link.as_ref()?;
        let status = self.protocol.status();
        let read = link.cover == Cover::Driver && status.may_read && !link.row.has_net();
        let interest = Interest { read, write: link.writer == Writer::Blocked };
        // One that is not read any more still tells that the peer has gone.
        let polled = interest.read || interest.write || status.deaf;
        polled.then(|| (link.socket.clone(), interest))
    }
}

// With real sockets.
#[cfg(all(test, not(shuttle)))]
pub(super) mod tests;
