//! One session: what outlives its links.
//!
//! A [`Session`] eats frames and emits batches of bytes. It owns no socket and
//! reads no clock. Each link starts a new *generation*; frames of an older one are
//! ignored.

use std::time::{Duration, Instant};

use bytes::Bytes;

mod app;
mod handshake;
mod parting;

pub(crate) use handshake::{Admission, Opened, Unwelcome};

use super::Violation;
use super::away::GoingAway;
use super::batch::{BATCH_BYTES, Batch};
use super::close::CloseCode;
use super::frame::{Ack, Decoder, Frame};
use super::handshake::{Hello, Limits, Token};
use super::heartbeat::Heartbeat;
use super::inbox::{Acks, Inbox};
use super::loss::SessionLoss;
use super::numbers::ClientId;
use super::outbox::Outbox;
use super::pulse::{Pulse, Rhythm, Verdict};
use super::report::{Excuse, Output, Progress, Seen, Totals};
#[cfg(test)]
use super::testing::sim::{Fault, planted};
use parting::Look;

/// Where a session stands on its links: each goes from `Down` to `Up`, and to `Parting`
/// once our CLOSE is written, or that this server goes away. What is final is `closing`
/// and `peer_closed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No link.
    Down,
    /// A link carries frames.
    Up,
    /// A link carries our last frame and waits for the peer's.
    Parting,
}

/// What belongs to one link. It stays until the next link starts, since the progress of
/// a lost link is asked for.
#[derive(Debug, Default)]
struct Up {
    welcome_due: bool,
    /// The first batch behind the handshake, or with its end, was written.
    begun: bool,
    /// Messages were moved into a batch that is not written yet.
    carried: bool,
    /// Something new came, or was acknowledged.
    moved: bool,
    /// A frame came.
    heard: bool,
    /// The server said then that it goes away.
    away: Option<(Instant, GoingAway)>,
    /// The application has ended at once, and reading was shut down: when to look for an answer.
    look: Option<Look>,
}

#[derive(Debug)]
pub(crate) struct Session {
    stage: Stage,
    /// Of the last hello, as is the attempt.
    token: Token,
    epoch: u64,
    /// On a server: the epoch that the client named when this session was made.
    created_from: u64,
    attempt: u64,
    generation: u64,
    serves: bool,
    own: Limits,
    peer: Limits,
    /// The window that the last hello offered for a new session.
    announced: u32,
    /// The largest window that the peer has announced in this session. The peer keeps to
    /// its own window as well, which is no smaller.
    peer_window: u32,
    /// A server takes the client's interval instead, if there is one.
    heartbeat: Heartbeat,
    /// So long the server keeps this session without a link.
    resume_within: Duration,
    /// What a client does when its session is lost.
    on_loss: SessionLoss,
    outbox: Outbox,
    inbox: Inbox,
    acks: Acks,
    pulse: Pulse,
    up: Up,
    /// Our CLOSE, to be written on this link and each later one until the peer's is here.
    closing: Option<CloseCode>,
    /// This server goes away, and says so on the present link.
    leaving: Option<GoingAway>,
    /// The application takes no more messages, and is done with those it was handed. If
    /// the end comes next, the session takes it.
    detached: bool,
    peer_closed: Option<CloseCode>,
    /// The most that a handshake said the peer has received in this session.
    peer_received: u64,
    /// A frame came in this session, on any link. Asked of a server only.
    ever_heard_frame: bool,
    /// What the client says at the beginning of the session.
    greeting: Bytes,
    /// What the client calls itself.
    client_id: Option<ClientId>,
    totals: Totals,
}

impl Session {
    /// A client's session, before its first link.
    pub(crate) fn client(own: Limits, heartbeat: Heartbeat, now: Instant) -> Session {
        let rhythm = heartbeat.interval.map(|own| Rhythm::client(own, heartbeat.misses));
        Session {
            stage: Stage::Down,
            token: Token([0; 16]),
            epoch: 0,
            created_from: 0,
            attempt: 0,
            generation: 0,
            serves: false,
            own,
            peer: own,
            announced: 0,
            peer_window: own.window,
            heartbeat,
            resume_within: Duration::MAX,
            on_loss: SessionLoss::SendAgain,
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            acks: Acks::new(own.window),
            pulse: Pulse::new(rhythm, now),
            up: Up::default(),
            closing: None,
            leaving: None,
            detached: false,
            peer_closed: None,
            peer_received: 0,
            ever_heard_frame: false,
            greeting: Bytes::new(),
            client_id: None,
            totals: Totals::default(),
        }
    }

    /// A server's session, made by a hello that resumes none.
    pub(crate) fn server(
        hello: &Hello,
        epoch: u64,
        own: Limits,
        heartbeat: Heartbeat,
        now: Instant,
    ) -> Session {
        let mut session = Session::client(own, heartbeat, now);
        (session.peer, session.peer_window) = (hello.limits, hello.limits.window);
        (session.epoch, session.created_from, session.token) = (epoch, hello.epoch, hello.token);
        session.greeting = hello.greeting.clone();
        session.serves = true;
        session.client_id = hello.numbers.map(|numbers| numbers.client);
        session.totals.numbers_received(hello.numbers);
        session.accept_link(hello, 0, now);
        session
    }

    /// A server keeps it for this long without a link, and says so.
    pub(crate) fn kept_for(self, resume_within: Duration) -> Session {
        Session { resume_within, ..self }
    }

    /// A client does this when its session is lost.
    pub(crate) fn on_loss(self, on_loss: SessionLoss) -> Session {
        Session { on_loss, ..self }
    }
}

/// The link's side.
impl Session {
    /// A new link is up, whose handshake said that the peer has `received` so much, and
    /// pings after that `interval`.
    fn start_link(&mut self, received: u64, interval: Option<Duration>, now: Instant) {
        self.generation += 1;
        self.stage = Stage::Up;
        self.up = Up { moved: received > self.peer_has(), ..Up::default() };
        self.peer_received = self.peer_received.max(received);
        self.acks.replay();
        self.pulse.restart(interval, now);
    }

    /// How much the peer said it has received, or consumed, in this session.
    fn peer_has(&self) -> u64 {
        self.peer_received.max(self.outbox.acknowledged())
    }

    pub(crate) fn is_up(&self) -> bool {
        self.stage != Stage::Down
    }

    /// The link is gone.
    pub(crate) fn link_lost(&mut self) {
        self.stage = Stage::Down;
    }

    /// For how long from the loss of a link on the server has the session, as a client sees it:
    /// the server may notice the loss later.
    pub(crate) fn kept(&self) -> Duration {
        self.resume_within.saturating_add(self.pulse.noticed_within(self.heartbeat))
    }

    pub(crate) fn progress(&self) -> Progress {
        let written = self.outbox.written() > self.peer_has();
        let waits = written || self.outbox.has_output(self.send_window());
        Progress { moved: self.up.moved, heard: self.up.heard, waits }
    }

    /// Bytes came over the link of that generation: takes the next frame of them.
    pub(crate) fn hear(
        &mut self,
        generation: u64,
        decoder: &mut Decoder,
        now: Instant,
    ) -> Result<Option<Seen>, Violation> {
        // Whatever follows a CLOSE is not even looked at.
        if self.peer_closed.is_some() {
            decoder.discard();
            return Ok(None);
        }
        if generation == self.generation {
            self.heard(now);
        }
        match decoder.next()? {
            Some(frame) => self.on_frame(generation, frame, now).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.pulse.heard(now);
    }

    /// Bytes went out over the present link.
    pub(crate) fn sent(&mut self, now: Instant) {
        self.pulse.sent(now);
        if std::mem::take(&mut self.up.carried) && self.stage == Stage::Up {
            self.pulse.sent_messages(now);
        }
    }

    /// A frame came over the link of that generation; an older one's is ignored.
    pub(crate) fn on_frame(
        &mut self,
        generation: u64,
        frame: Frame,
        now: Instant,
    ) -> Result<Seen, Violation> {
        #[cfg(test)]
        let generation = if planted(Fault::StaleHeard) { self.generation } else { generation };
        if generation != self.generation || !self.is_up() || self.peer_closed.is_some() {
            return Ok(Seen::Nothing);
        }
        // What may be skipped is no frame where that matters.
        if !matches!(frame, Frame::GoingAway(_)) {
            (self.up.heard, self.ever_heard_frame) = (true, true);
        }
        match frame {
            Frame::Data(run) => {
                self.inbox.push(run, self.own)?;
                Ok(self.received(now))
            }
            Frame::Fin => {
                self.inbox.push_end()?;
                Ok(self.received(now))
            }
            Frame::Ack(ack) => self.on_ack(ack),
            Frame::Ping(id) => {
                self.pulse.ping(id);
                self.shrink();
                Ok(Seen::Nothing)
            }
            Frame::Pong(id) => {
                self.shrink();
                Ok(self.pulse.pong(id, now).map_or(Seen::Nothing, |time| Seen::Pong(id, time)))
            }
            Frame::Close(close) => {
                self.on_close(close)?;
                Ok(Seen::Closed)
            }
            Frame::GoingAway(notice) => {
                self.up.away = Some((now, notice)).filter(|_| !self.serves);
                Ok(Seen::Nothing)
            }
            Frame::Hello(_) | Frame::Welcome(_) | Frame::Reject(_) => {
                Err(Violation("a handshake in the middle"))
            }
        }
    }

    /// Releases memory with each ping, so that an idle link keeps little. A busy one pays for
    /// it once an interval.
    fn shrink(&mut self) {
        self.outbox.shrink();
        self.inbox.shrink();
    }

    fn received(&mut self, now: Instant) -> Seen {
        #[cfg(test)]
        if planted(Fault::AckOnReceipt) {
            self.owe(self.inbox.received(), 0, now);
        }
        self.up.moved = true;
        if self.inbox.is_over() {
            self.consume(now);
            self.acks.hurry();
        }
        self.skip_end(now);
        Seen::Received
    }

    fn on_ack(&mut self, ack: Ack) -> Result<Seen, Violation> {
        if ack.consumed > self.outbox.written() {
            return Err(Violation("acknowledged what was never sent"));
        }
        self.up.moved |= self.outbox.acknowledge(ack.consumed)?;
        self.peer.window = ack.window;
        self.peer_window = self.peer_window.max(ack.window);
        self.complete();
        Ok(Seen::Acknowledged)
    }

    /// Moves what is to be written next into `batch`.
    pub(crate) fn fill(&mut self, batch: &mut Batch) {
        if self.stage != Stage::Up {
            return;
        }
        if !self.up.begun && self.output() > Output::Nothing {
            self.begin(batch);
        }
        if self.closing.is_some() {
            return self.part(batch);
        }
        let before = batch.len();
        let (send_window, window) = (self.send_window(), self.inbox.room(self.own.window));
        let (end, acks) = (self.outbox.end(), &mut self.acks);
        self.outbox.fill(batch, send_window, || acks.take(end, false, window));
        let carried = batch.len() > before;
        if carried {
            batch.ends_message();
            self.up.carried = true;
        }
        let (written, ahead) = (self.outbox.written(), self.lets_ack_ahead());
        if (carried || self.must_ack())
            && let Some(ack) = self.acks.take(written, ahead, window)
        {
            batch.push_frame(&Frame::Ack(ack));
        }
        if !carried && self.pulse.has_output() {
            batch.shrink();
        }
        if let Some(id) = self.pulse.take_pong() {
            batch.push_frame(&Frame::Pong(id));
        }
        if let Some(id) = self.pulse.take_ping() {
            batch.push_frame(&Frame::Ping(id));
            self.pulse.asked(batch.end());
        }
        if let Some(notice) = self.leaving {
            batch.push_frame(&Frame::GoingAway(notice));
            batch.end_stream();
            #[cfg(test)]
            if planted(Fault::WritesOn) {
                return self.leaving = None;
            }
            self.stage = Stage::Parting;
        }
    }

    /// What may be outstanding. Both sides keep it: one to send it again, the other until
    /// its application asks for it.
    #[inline]
    fn send_window(&self) -> usize {
        self.own.window.min(self.peer.window) as usize
    }

    /// What the peer may have outstanding, as far as it has been told. It keeps that, too.
    #[inline]
    fn receive_window(&self) -> u32 {
        self.acks.window().min(self.peer_window)
    }

    /// Whether an ACK has to be written even if nothing else is.
    #[inline(always)]
    pub(crate) fn must_ack(&self) -> bool {
        let most = self.own.window;
        self.acks.is_due(self.outbox.written(), || self.lets_ack_ahead(), self.receive_window())
            // Most of the time the peer knows the whole of it.
            || (self.acks.window() < most && self.acks.has_grown_to(self.inbox.room(most)))
    }

    /// What [`fill`](Session::fill) has to write.
    #[inline(always)]
    pub(crate) fn output(&self) -> Output {
        if self.stage != Stage::Up {
            return Output::Nothing;
        }
        let messages = self.outbox.has_output(self.send_window());
        // Or enough of the window that the peer gets work before it is full.
        if messages && self.outbox.unwritten() >= BATCH_BYTES.min(self.send_window() / 4) {
            return Output::Batch;
        }
        let due = self.up.welcome_due
            || self.closing.is_some()
            || self.leaving.is_some()
            || self.pulse.has_output()
            || self.must_ack();
        match messages {
            _ if due => Output::Due,
            true => Output::Messages,
            false => Output::Nothing,
        }
    }

    /// Nothing of ours can be written before the peer makes room, and it may need
    /// an acknowledgement for that: its own window is full of what it does not know
    /// to be consumed. Otherwise it has room, and its application goes on without.
    ///
    /// So the two sides never wait for each other. What the window of the one holds
    /// back is behind so much that the other has received that the other sees that
    /// window full, and writes its acknowledgements. A server that goes away writes no more
    /// of it, and acknowledges nothing that it replies to.
    #[inline]
    fn lets_ack_ahead(&self) -> bool {
        self.leaving.is_none() && !self.outbox.has_output(self.send_window()) && self.fills_window()
    }

    /// Whether the peer may count as much as outstanding as it may have.
    #[inline]
    fn fills_window(&self) -> bool {
        #[cfg(test)]
        if planted(Fault::AckOvertakesHeld) {
            return true;
        }
        (self.inbox.received() - self.acks.told()).cost() >= self.receive_window() as usize
    }

    /// Looks after the times. Afterwards something may have to be written.
    pub(crate) fn tick(&mut self, acknowledged: Option<u64>, now: Instant) -> Verdict {
        if self.stage == Stage::Down {
            return Verdict::Alive;
        }
        if let Some(acknowledged) = acknowledged {
            self.pulse.reached(acknowledged, now);
        }
        self.acks.tick(now);
        self.pulse.tick(now)
    }

    /// See [`Pulse::check`].
    pub(crate) fn check(&mut self, within: Duration, acknowledged: Option<u64>, now: Instant) {
        if self.stage == Stage::Up {
            self.pulse.check(within, acknowledged, now);
        }
    }

    /// Whether it matters what the peer's kernel has acknowledged: frames are on
    /// their way, or the link is being checked.
    fn counts_bytes(&self) -> bool {
        self.outbox.written() > self.outbox.acknowledged() || self.pulse.is_checking()
    }

    /// When [`tick`](Session::tick) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.stage == Stage::Down {
            return None;
        }
        [self.pulse.deadline(), self.acks.deadline(), self.looks_at()].into_iter().flatten().min()
    }

    /// See [`Pulse::excuse`].
    pub(crate) fn excuse(&mut self, excuse: Excuse) -> bool {
        self.pulse.excuse(excuse)
    }
}

#[cfg(test)]
mod tests;
