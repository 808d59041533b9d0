//! One session: what outlives its links.
//!
//! A [`Session`] eats frames and emits batches of bytes. It owns no socket and
//! reads no clock. Each link it is given starts a new *generation*, and what
//! an older generation still has to say is ignored.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use super::Violation;
use super::frame::{Ack, Close, CloseCode, Frame};
use super::handshake::{Hello, Limits, Token, VERSION, Welcome};
use super::inbox::{Acks, Inbox, Item, Slot};
use super::outbox::{Outbox, Sink};
use super::pulse::{LONGEST_INTERVAL, Pulse, Rhythm, SHORTEST_INTERVAL, Verdict};
#[cfg(test)]
use super::sim::{Fault, planted};
use super::spent::Spent;

/// Bytes to be written, whole frames, in order. It serves one link for as long as
/// that lives, and counts what went through it.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    slices: VecDeque<Bytes>,
    len: usize,
    /// Slices that were written.
    spent: Spent,
    /// Bytes that were written.
    written: u64,
    /// The position behind the last bytes that carry messages: all others are
    /// acknowledgements, heartbeats and the like.
    carried: u64,
}

/// A batch is closed at this many bytes, or slices. Large messages are worth
/// gathering, too: of 64 KiB, four in one write go 1.2 times as fast as one by
/// one, since the peer is woken less often.
const BATCH_BYTES: usize = if cfg!(any(test, fuzzing)) { 1024 } else { 256 * 1024 };
const BATCH_SLICES: usize = if cfg!(any(test, fuzzing)) { 3 } else { 60 };

impl Sink for Batch {
    fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        self.slices.push_back(bytes);
    }

    fn is_full(&self) -> bool {
        self.len >= BATCH_BYTES || self.slices.len() >= BATCH_SLICES
    }
}

impl Batch {
    fn push_frame(&mut self, frame: &Frame) {
        self.push(frame.to_bytes());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The bytes, if they stand together.
    pub(crate) fn single(&self) -> Option<&[u8]> {
        (self.slices.len() == 1).then(|| &self.slices[0][..])
    }

    pub(crate) fn slices(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.slices.iter()
    }

    /// The link is idle: gives back what a busy time has reserved.
    fn rest(&mut self) {
        if self.is_empty() {
            self.slices = VecDeque::new();
        }
    }

    /// How many bytes were written on this link.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Where on this link the last message ends that was moved into the batch.
    pub(crate) fn carried(&self) -> u64 {
        self.carried
    }

    /// What is in the batch so far ends with a message.
    pub(super) fn ends_message(&mut self) {
        self.carried = self.end();
    }

    /// Where on this link ends what is in the batch so far.
    fn end(&self) -> u64 {
        self.written + self.len as u64
    }

    /// The first `n` bytes were written.
    pub(crate) fn advance(&mut self, mut n: usize) {
        self.len -= n;
        self.written += n as u64;
        while n > 0 {
            let front = &mut self.slices[0];
            if n < front.len() {
                front.advance(n);
                break;
            }
            n -= front.len();
            self.spent.extend(self.slices.pop_front());
        }
    }

    /// What is to be dropped where that does no harm.
    pub(crate) fn spent(&mut self) -> &mut Spent {
        &mut self.spent
    }

    /// Its link has gone, and nothing more of it will be written.
    pub(crate) fn give_up(self) -> Spent {
        let mut spent = self.spent;
        spent.extend(self.slices);
        spent
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Client,
    Server,
}

/// Where a session stands. `Down` and `Up` alternate; the end is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No link.
    Down,
    /// A link carries frames.
    Up,
    /// A link carries our CLOSE and waits for the peer's.
    Parting,
}

/// What a new link means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// It is the first.
    First,
    /// The session goes on; so many messages are written a second time.
    Resumed { replayed: u64 },
    /// The peer knows nothing of the old session; so many messages begin the new one.
    Restarted { unacknowledged: u64 },
    /// Nothing connects it with the one before; so many messages wait for it.
    Anew { waiting: u64 },
}

/// Why a welcome is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwelcome {
    Violation(Violation),
    /// A message that has to be sent again is larger than this peer accepts.
    TooLarge {
        size: usize,
        limit: usize,
    },
}

impl From<Violation> for Unwelcome {
    fn from(violation: Violation) -> Unwelcome {
        Unwelcome::Violation(violation)
    }
}

/// What a server makes of a hello that names the token of a session it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It goes on from here; see [`Session::resume`].
    Resume,
    /// It is to be told that the session has ended; see [`Session::epitaph`].
    Ended,
    /// A delayed hello, older than one already seen.
    Stale,
    /// It claims to have received what was never sent, or less than it acknowledged.
    Impossible,
    /// It knows the session under another epoch: the client has been elsewhere
    /// meanwhile, and starts anew.
    Other,
}

/// What a link has done for what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Something new was received or acknowledged, or the link's handshake said
    /// that the one before had brought something.
    pub(crate) moved: bool,
    /// A frame was heard.
    pub(crate) heard: bool,
    /// Something of ours may be written or was, and the peer has not said that it
    /// has it.
    pub(crate) waits: bool,
}

/// What a frame brought, as far as somebody may be waiting for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Nothing,
    /// A message, or the end.
    Item,
    /// The peer is done with more, or has room for more.
    Acknowledged,
    /// The ping of this number was answered.
    Pong(u64, Duration),
    /// The peer ended the session.
    Closed,
}

/// Totals over all links and sessions.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) messages_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) messages_received: u64,
    pub(crate) bytes_received: u64,
    pub(crate) replayed: u64,
    /// Lines of plain text whose fate is unknown.
    pub(crate) unanswered: u64,
    /// Messages of an ended session that were taken out by hand.
    taken: u64,
}

#[derive(Debug)]
pub(crate) struct Session {
    role: Role,
    state: State,
    token: Token,
    epoch: u64,
    /// On a server: the epoch that the client named when this session was made.
    created_from: u64,
    attempt: u64,
    generation: u64,
    own: Limits,
    peer: Limits,
    /// The window that the last hello offered for a new session.
    announced: u32,
    /// The largest window that the peer has announced in this session: its own,
    /// to which it keeps as well, is no smaller.
    peer_window: u32,
    interval: Option<Duration>,
    /// On a server: what it goes by if the client announces no interval, and how many
    /// misses are death.
    own_heartbeat: (Option<Duration>, u32),
    /// After how long without sending the peer pings.
    peer_interval: Option<Duration>,
    outbox: Outbox,
    inbox: Inbox,
    acks: Acks,
    pulse: Pulse,
    welcome_due: bool,
    /// Messages were moved into a batch that is not written yet.
    carried: bool,
    ping_due: Option<u64>,
    pong_due: Option<u64>,
    /// Our CLOSE, to be written on this link and each later one until the peer's is here.
    closing: Option<CloseCode>,
    /// The application takes no more messages, and is done with those it was handed:
    /// an end that comes next is taken for it.
    leaving: bool,
    peer_closed: Option<CloseCode>,
    /// The most that the peer said it has received or consumed in this session.
    peer_has: u64,
    /// On the present link: something new came, or was acknowledged; any frame came.
    progress: bool,
    heard_frame: bool,
    /// In this session, on any link.
    ever_heard_frame: bool,
    totals: Totals,
}

impl Session {
    /// A client's session, before its first link.
    pub(crate) fn client(
        token: Token,
        own: Limits,
        interval: Option<Duration>,
        misses: u32,
        now: Instant,
    ) -> Session {
        let rhythm = interval.map(|interval| Rhythm::client(interval, misses));
        Session::new(Role::Client, token, own, own, interval, rhythm, now)
    }

    /// A server's session, made by a hello that resumes none.
    pub(crate) fn server(
        hello: &Hello,
        epoch: u64,
        own: Limits,
        interval: Option<Duration>,
        misses: u32,
        now: Instant,
    ) -> Session {
        let mut session =
            Session::new(Role::Server, hello.token, own, hello.limits, None, None, now);
        session.own_heartbeat = (interval, misses);
        session.keep_time(hello);
        session.epoch = epoch;
        session.created_from = hello.epoch;
        session.attempt = hello.attempt;
        session.start_link(now);
        session
    }

    fn new(
        role: Role,
        token: Token,
        own: Limits,
        peer: Limits,
        interval: Option<Duration>,
        rhythm: Option<Rhythm>,
        now: Instant,
    ) -> Session {
        Session {
            role,
            state: State::Down,
            token,
            epoch: 0,
            created_from: 0,
            attempt: 0,
            generation: 0,
            own,
            peer,
            announced: 0,
            peer_window: peer.window,
            interval,
            own_heartbeat: (None, 0),
            peer_interval: None,
            outbox: Outbox::new(),
            inbox: Inbox::new(),
            acks: Acks::new(own.window),
            pulse: Pulse::new(rhythm, now),
            welcome_due: false,
            carried: false,
            ping_due: None,
            pong_due: None,
            closing: None,
            leaving: false,
            peer_closed: None,
            peer_has: 0,
            progress: false,
            heard_frame: false,
            ever_heard_frame: false,
            totals: Totals::default(),
        }
    }
}

/// The application's side.
impl Session {
    /// The largest message that both sides take.
    pub(crate) fn max_message(&self) -> usize {
        self.own.max_message.min(self.peer.max_message) as usize
    }

    /// What may be outstanding: both sides keep it, one to send it again, the
    /// other until it is asked for.
    fn send_window(&self) -> usize {
        self.own.window.min(self.peer.window) as usize
    }

    /// What the peer may have outstanding, as far as it has been told, who keeps
    /// it as well.
    fn receive_window(&self) -> u32 {
        self.acks.window().min(self.peer_window)
    }

    /// Whether another message may be fed; one may overshoot the window.
    pub(crate) fn has_room(&self) -> bool {
        self.has_room_behind(0)
    }

    /// The same behind others that cost so much.
    pub(crate) fn has_room_behind(&self, cost: usize) -> bool {
        self.outbox.cost().saturating_add(cost) < self.send_window()
    }

    pub(crate) fn feed(&mut self, message: &[u8]) {
        self.outbox.feed(message);
        self.totals.messages_sent += 1;
        self.totals.bytes_sent += message.len() as u64;
    }

    pub(crate) fn feed_bytes(&mut self, message: Bytes) {
        self.totals.messages_sent += 1;
        self.totals.bytes_sent += message.len() as u64;
        self.outbox.feed_bytes(message);
    }

    pub(crate) fn finish(&mut self) {
        self.outbox.finish();
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.outbox.is_finished()
    }

    /// The application asks for the next message, so it is done with the ones before.
    pub(crate) fn consume(&mut self, now: Instant) {
        if let Some((consumed, freed)) = self.inbox.consume() {
            self.owe(consumed, freed, now);
        }
    }

    fn owe(&mut self, consumed: u64, freed: usize, now: Instant) {
        let (after, cost) = (self.outbox.end(), self.inbox.consumed_cost());
        self.acks.record(Slot { consumed, after, cost }, freed, now);
    }

    /// The next message, or the end; the end is acknowledged with it.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Item> {
        let seen_end = self.inbox.is_over();
        let item = self.inbox.take()?;
        match &item {
            Item::Message(message) => {
                self.totals.messages_received += 1;
                self.totals.bytes_received += message.len() as u64;
            }
            Item::End if !seen_end => {
                self.consume(now);
                self.acks.hurry();
                self.complete();
            }
            Item::End => {}
        }
        Some(item)
    }

    /// See [`Inbox::take_many`].
    pub(crate) fn take_many(&mut self, most: usize, to: &mut Vec<Bytes>) {
        let before = to.len();
        self.totals.bytes_received += self.inbox.take_many(most, to) as u64;
        self.totals.messages_received += (to.len() - before) as u64;
    }

    /// Whether there is something to take.
    pub(crate) fn has_item(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// The application sends no more and takes no more. It is `done` with what it was
    /// handed, or nothing is known of that, and nothing is acknowledged.
    pub(crate) fn leave(&mut self, done: bool, now: Instant) {
        if done {
            self.leaving = true;
            self.consume(now);
        }
        self.finish();
        self.skip_end(now);
    }

    fn skip_end(&mut self, now: Instant) {
        if self.leaving && !self.inbox.is_over() && self.inbox.is_at_end() {
            self.take(now);
        }
    }

    /// The session is to end, whatever is unacknowledged; the first code stays.
    pub(crate) fn close(&mut self, code: CloseCode) {
        self.closing.get_or_insert(code);
    }

    /// Both directions have ended, and everything was taken: nothing is left
    /// to say but that.
    fn complete(&mut self) {
        if self.is_complete() {
            self.close(CloseCode::Done);
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.outbox.is_finished() && self.outbox.is_empty() && self.inbox.is_over()
    }

    /// Whether everything that was sent is acknowledged.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.outbox.is_empty()
    }

    /// How many messages are not acknowledged.
    pub(crate) fn unacknowledged(&self) -> u64 {
        self.outbox.messages()
    }

    /// Their bytes.
    pub(crate) fn unacknowledged_bytes(&self) -> u64 {
        self.outbox.bytes() as u64
    }

    /// How many messages were acknowledged, over all sessions.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.totals.messages_sent - self.outbox.messages()
    }

    /// The messages that are not acknowledged, once. The session is ending; what
    /// it still has to tell the peer does not depend on who has them.
    pub(crate) fn take_unacknowledged(&mut self) -> Vec<Bytes> {
        if self.totals.taken > 0 {
            return Vec::new();
        }
        let messages = self.outbox.kept();
        self.totals.taken = messages.len() as u64;
        messages
    }

    /// Whether closing was begun by either side.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_some() || self.peer_closed.is_some()
    }

    pub(crate) fn peer_closed(&self) -> Option<CloseCode> {
        self.peer_closed
    }

    /// Both sides know that it is over: the link has served.
    pub(crate) fn has_parted(&self) -> bool {
        self.state == State::Parting && self.peer_closed.is_some()
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.pulse.round_trip()
    }

    /// Whether a sequenced frame of the peer ever came.
    pub(crate) fn has_received(&self) -> bool {
        self.inbox.received() > 0
    }

    /// Frees the messages: nobody will ask for them any more.
    pub(crate) fn discard(&mut self) {
        self.inbox.discard();
        self.outbox.discard();
    }

    /// What is to be dropped where that does no harm.
    pub(crate) fn spent(&mut self) -> &mut Spent {
        self.outbox.spent()
    }

    pub(crate) fn has_spent(&self) -> bool {
        self.outbox.has_spent()
    }
}

/// The link's side.
impl Session {
    fn start_link(&mut self, now: Instant) {
        self.generation += 1;
        self.state = State::Up;
        self.welcome_due = self.role == Role::Server;
        (self.carried, self.ping_due, self.pong_due) = (false, None, None);
        (self.progress, self.heard_frame) = (false, false);
        self.acks.replay();
        self.pulse.restart(now);
    }

    /// The next hello of a client.
    pub(crate) fn hello(&mut self) -> Hello {
        self.attempt += 1;
        self.announced = self.inbox.room_for_new(self.own.window);
        Hello {
            version: VERSION,
            token: self.token,
            attempt: self.attempt,
            epoch: self.epoch,
            received: self.inbox.received(),
            limits: Limits { window: self.announced, ..self.own },
            interval: self.interval,
            // Nothing is left to say to a server that does not know us.
            resume_only: self.epoch != 0 && self.is_closing(),
        }
    }

    /// A client's hello was answered: a new link is up.
    pub(crate) fn welcomed(
        &mut self,
        welcome: &Welcome,
        now: Instant,
    ) -> Result<Opened, Unwelcome> {
        if welcome.epoch == self.epoch {
            let replayed = self.outbox.resume(welcome.received)?;
            self.totals.replayed += replayed;
            self.peer_interval = welcome.interval;
            self.start_link(now);
            self.progress = welcome.received > self.peer_has;
            self.peer_has = self.peer_has.max(welcome.received);
            return Ok(Opened::Resumed { replayed });
        }
        if welcome.received != 0 {
            return Err(Violation("a new session that has received something").into());
        }
        let limit = welcome.limits.max_message as usize;
        let size = self.outbox.largest();
        if size > limit {
            return Err(Unwelcome::TooLarge { size, limit });
        }
        let first = self.epoch == 0;
        self.epoch = welcome.epoch;
        (self.peer, self.peer_window) = (welcome.limits, welcome.limits.window);
        self.peer_interval = welcome.interval;
        self.peer_has = 0;
        let complete = self.is_complete();
        self.outbox.restart();
        if !complete {
            self.outbox.finish_again();
        }
        self.inbox.restart();
        self.acks.restart(self.announced);
        if self.inbox.room(self.own.window) > self.announced {
            // It has grown since the hello.
            self.acks.record(Slot { consumed: 0, after: 0, cost: 0 }, 0, now);
        }
        self.start_link(now);
        let unacknowledged = self.unacknowledged();
        if first {
            return Ok(Opened::First);
        }
        self.totals.replayed += unacknowledged;
        Ok(Opened::Restarted { unacknowledged })
    }

    /// What a server makes of a hello with this session's token. Nothing changes yet.
    pub(crate) fn judge(&self, hello: &Hello) -> Admission {
        if hello.attempt <= self.attempt {
            return Admission::Stale;
        }
        // Or its welcome was lost, and with it all that was sent behind it.
        let repeated = hello.epoch == self.created_from && !self.ever_heard_frame;
        if hello.epoch != self.epoch && !repeated {
            Admission::Other
        } else if self.outbox.can_resume(self.resume_point(hello)).is_err() {
            Admission::Impossible
        } else if self.closing.is_some() {
            Admission::Ended
        } else {
            Admission::Resume
        }
    }

    /// How much of what was sent the sender of a hello has.
    fn resume_point(&self, hello: &Hello) -> u64 {
        if hello.epoch == self.epoch { hello.received } else { 0 }
    }

    /// A hello takes the session over on a new link; one that was judged to
    /// resume it always does. Returns how many messages are written a second time.
    pub(crate) fn resume(&mut self, hello: &Hello, now: Instant) -> Result<u64, Violation> {
        let received = self.resume_point(hello);
        let replayed = self.outbox.resume(received)?;
        self.totals.replayed += replayed;
        if hello.epoch != self.epoch {
            // To the client the session is new, and it has offered its room anew.
            self.peer = hello.limits;
        }
        self.peer_window = self.peer_window.max(hello.limits.window);
        self.attempt = hello.attempt;
        self.keep_time(hello);
        self.start_link(now);
        self.progress = received > self.peer_has;
        self.peer_has = self.peer_has.max(received);
        Ok(replayed)
    }

    /// A server goes by the interval that the client says on each link.
    fn keep_time(&mut self, hello: &Hello) {
        let (own, misses) = self.own_heartbeat;
        let rhythm = own.map(|own| {
            // It is announced in milliseconds, of which there could be too few to
            // serve, or so many as to overflow.
            let chosen = hello.interval.unwrap_or(own);
            Rhythm::server(chosen.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL), misses)
        });
        self.interval = rhythm.map(|rhythm| rhythm.ping_after);
        self.peer_interval = hello.interval;
        self.pulse.set_rhythm(rhythm);
    }

    /// What a client is told that comes back for a session which has ended.
    pub(crate) fn epitaph(&self, hello: &Hello) -> Close {
        let received = self.resume_point(hello);
        let code = self.closing.unwrap_or(CloseCode::Closed);
        Close { code, consumed: self.acks.covered(received) }
    }

    /// A client that comes back learns that its session has ended.
    pub(crate) fn read_epitaph(&mut self, close: Close) -> Result<(), Violation> {
        self.on_close(close)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state != State::Down
    }

    /// The link is gone.
    pub(crate) fn link_lost(&mut self) {
        self.state = State::Down;
    }

    /// What the present link has done, or the last one.
    pub(crate) fn progress(&self) -> Progress {
        let written = self.outbox.cursor() > self.peer_has;
        let waits = written || self.outbox.has_output(self.send_window());
        Progress { moved: self.progress, heard: self.heard_frame, waits }
    }

    /// Bytes came over the present link.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.pulse.heard(now);
        if self.pulse.owes_word(self.peer_interval, now) {
            // It answers no ping: those are numbered from 1.
            self.pong_due.get_or_insert(0);
        }
    }

    /// Bytes went out over the present link.
    pub(crate) fn sent(&mut self, now: Instant) {
        self.pulse.sent(now);
        if std::mem::take(&mut self.carried)
            && self.state == State::Up
            && let Some(id) = self.pulse.sent_messages(now)
        {
            self.ping_due = Some(id);
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
        (self.heard_frame, self.ever_heard_frame) = (true, true);
        match frame {
            Frame::Data(message) => self.on_item(Item::Message(message), now),
            Frame::Run(run) => {
                self.inbox.push_run(run, self.own)?;
                Ok(self.received(now))
            }
            Frame::Fin => self.on_item(Item::End, now),
            Frame::Ack(ack) => self.on_ack(ack),
            Frame::Ping(id) => {
                // At most one answer waits; the newest says all.
                self.pong_due = Some(id);
                self.rest();
                Ok(Seen::Nothing)
            }
            Frame::Pong(id) => {
                self.rest();
                Ok(self.pulse.pong(id, now).map_or(Seen::Nothing, |time| Seen::Pong(id, time)))
            }
            Frame::Close(close) => {
                self.on_close(close)?;
                Ok(Seen::Closed)
            }
            Frame::Hello(_) | Frame::Welcome(_) | Frame::Reject { .. } => {
                Err(Violation("a handshake in the middle"))
            }
        }
    }

    /// The link is idle, since one of us pings: memory that it took when it was
    /// busy is given back.
    fn rest(&mut self) {
        self.outbox.rest();
        self.inbox.rest();
    }

    fn on_item(&mut self, item: Item, now: Instant) -> Result<Seen, Violation> {
        self.inbox.push(item, self.own)?;
        Ok(self.received(now))
    }

    fn received(&mut self, now: Instant) -> Seen {
        #[cfg(test)]
        if planted(Fault::AckOnReceipt) {
            self.owe(self.inbox.received(), 0, now);
        }
        self.progress = true;
        if self.inbox.is_over() {
            self.consume(now);
            self.acks.hurry();
        }
        self.skip_end(now);
        Seen::Item
    }

    fn on_ack(&mut self, ack: Ack) -> Result<Seen, Violation> {
        if ack.consumed > self.outbox.cursor() {
            return Err(Violation("acknowledged what was never sent"));
        }
        self.progress |= self.outbox.acknowledge(ack.consumed)?;
        self.peer_has = self.peer_has.max(ack.consumed);
        self.peer.window = ack.window;
        self.peer_window = self.peer_window.max(ack.window);
        self.complete();
        Ok(Seen::Acknowledged)
    }

    fn on_close(&mut self, close: Close) -> Result<(), Violation> {
        // It may count less than an acknowledgement that came before, if what
        // it was to follow was never written.
        let consumed = close.consumed.max(self.outbox.acked());
        self.progress |= self.outbox.acknowledge(consumed)?;
        self.peer_closed = Some(close.code);
        self.close(CloseCode::Done);
        Ok(())
    }

    /// Moves what is to be written next into `batch`.
    pub(crate) fn fill(&mut self, batch: &mut Batch) {
        if self.state != State::Up {
            return;
        }
        if std::mem::take(&mut self.welcome_due) {
            batch.push_frame(&Frame::Welcome(Welcome {
                epoch: self.epoch,
                received: self.inbox.received(),
                limits: self.own,
                interval: self.interval,
            }));
        }
        if let Some(code) = self.closing {
            let consumed = self.acks.covered(self.outbox.cursor());
            batch.push_frame(&Frame::Close(Close { code, consumed }));
            self.state = State::Parting;
            return;
        }
        let before = batch.len();
        let (send_window, window) = (self.send_window(), self.inbox.room(self.own.window));
        let (end, acks) = (self.outbox.end(), &mut self.acks);
        self.outbox.fill(batch, send_window, || acks.take(end, false, window));
        let carried = batch.len() > before;
        if carried {
            batch.ends_message();
            self.carried = true;
        }
        let (cursor, stuck) = (self.outbox.cursor(), self.is_stuck());
        if (carried || self.acks.is_due(cursor, stuck, self.receive_window()))
            && let Some(ack) = self.acks.take(cursor, stuck, window)
        {
            batch.push_frame(&Frame::Ack(ack));
        }
        if !carried && (self.pong_due.is_some() || self.ping_due.is_some()) {
            batch.rest();
        }
        if let Some(id) = self.pong_due.take() {
            batch.push_frame(&Frame::Pong(id));
        }
        if let Some(id) = self.ping_due.take() {
            batch.push_frame(&Frame::Ping(id));
            self.pulse.asked(batch.end());
        }
    }

    /// Whether [`fill`](Session::fill) has something to write.
    pub(crate) fn has_output(&self) -> bool {
        let messages = self.state == State::Up && self.outbox.has_output(self.send_window());
        messages || self.has_urgent_output()
    }

    /// The same, but messages may wait until they fill a batch.
    #[inline]
    pub(crate) fn has_urgent_output(&self) -> bool {
        self.state == State::Up
            && (self.welcome_due
                || self.closing.is_some()
                || self.pong_due.is_some()
                || self.ping_due.is_some()
                || self.fills_batch()
                || self.acks.is_due(self.outbox.cursor(), self.is_stuck(), self.receive_window()))
    }

    /// Whether the messages that may be written fill a batch, or so much of the
    /// window that the peer should have work before it is full.
    #[inline]
    pub(crate) fn fills_batch(&self) -> bool {
        self.outbox.unwritten() >= BATCH_BYTES.min(self.send_window() / 4)
            && self.state == State::Up
            && self.outbox.has_output(self.send_window())
    }

    /// Nothing of ours can be written before the peer makes room, and it may need
    /// an acknowledgement for that: its own window is full of what it does not know
    /// to be consumed. Otherwise it has room, and its application goes on without.
    ///
    /// So the two sides never wait for each other. What the window of the one holds
    /// back is behind so much that the other has received that the other sees that
    /// window full, and writes its acknowledgements.
    fn is_stuck(&self) -> bool {
        !self.outbox.has_output(self.send_window()) && self.fills_window()
    }

    /// Whether the peer may count as much as outstanding as it may have.
    fn fills_window(&self) -> bool {
        #[cfg(test)]
        if planted(Fault::AckOvertakesHeld) {
            return true;
        }
        self.inbox.arrived() - self.acks.told() >= u64::from(self.receive_window())
    }

    /// Looks after the times. Afterwards something may have to be written.
    pub(crate) fn tick(&mut self, now: Instant) -> Verdict {
        if self.state == State::Down {
            return Verdict::Alive;
        }
        self.acks.tick(now);
        let verdict = self.pulse.tick(now);
        if let Verdict::Ping(id) = verdict {
            self.ping_due = Some(id);
        }
        verdict
    }

    /// See [`Pulse::check`].
    pub(crate) fn check(&mut self, within: Duration, acknowledged: Option<u64>, now: Instant) {
        if self.state == State::Up
            && let Some(id) = self.pulse.check(within, acknowledged, now)
        {
            self.ping_due = Some(id);
        }
    }

    /// Whether it matters what the peer's kernel has acknowledged: frames are on
    /// their way, or the link is being checked.
    pub(crate) fn counts_bytes(&self) -> bool {
        self.outbox.cursor() > self.outbox.acked() || self.pulse.is_checking()
    }

    /// See [`Pulse::reached`].
    pub(crate) fn reached(&mut self, acknowledged: u64, now: Instant) {
        self.pulse.reached(acknowledged, now);
    }

    /// See [`Pulse::woke`].
    pub(crate) fn woke(&mut self) {
        self.pulse.woke();
    }

    /// When [`tick`](Session::tick) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.state == State::Down {
            return None;
        }
        self.pulse.deadline().into_iter().chain(self.acks.deadline()).min()
    }

    /// Whether an acknowledgement waits for its time to come.
    pub(crate) fn owes_ack(&self) -> bool {
        self.acks.is_waiting()
    }

    /// See [`Pulse::overslept`].
    pub(crate) fn overslept(&mut self, late: Duration) -> bool {
        self.pulse.overslept(late)
    }

    /// See [`Pulse::has_queued`].
    pub(crate) fn has_queued(&mut self) {
        self.pulse.has_queued();
    }

    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// The largest DATA body that may come in.
    pub(crate) fn own_max_message(&self) -> u32 {
        self.own.max_message
    }
}

#[cfg(test)]
mod tests;
