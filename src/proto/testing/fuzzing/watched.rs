//! A session, and beside it what anybody knows who sees what goes in and out:
//! at each step both must say the same.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use super::account::{Heard, Said, Told, frame_cost};
use super::speech::Truths;
use crate::proto::away::GoingAway;
use crate::proto::batch::Batch;
use crate::proto::close::{Close, CloseCode};
use crate::proto::cost::cost;
use crate::proto::frame::{Decoder, Frame, frame_len};
use crate::proto::handshake::{Hello, Limits, Welcome};
use crate::proto::heartbeat::Heartbeat;
use crate::proto::inbox::Received;
use crate::proto::loss::SessionLoss;
use crate::proto::numbers::{ClientId, Numbers};
use crate::proto::pulse::Verdict;
use crate::proto::report::Payload::{Owned, Slice};
use crate::proto::report::Seen;
use crate::proto::report::{Excuse, Output};
use crate::proto::session::{Admission, Opened, Session, Unwelcome};
use crate::proto::testing::choices::Choices;

/// What a server says how long it keeps a session.
const KEPT: Duration = Duration::from_secs(60);

/// What a client says first.
const GREETING: Bytes = Bytes::from_static(b"ann");

#[derive(PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

pub(super) struct Watched {
    side: Side,
    session: Session,
    own: Limits,
    now: Instant,
    said: Said,
    heard: Heard,
    peer: Limits,
    /// The largest window that it has announced in this session.
    peer_window: u32,
    /// The window that the last hello offered.
    offered: u32,
    attempt: u64,
    epoch: u64,
    created_from: u64,
    /// A client that wants no second session.
    gives_up: bool,
    ever_heard_frame: bool,
    peer_closed: bool,
    leaving: bool,
    /// How it was ended on this side, if not by the ends of both directions.
    ends: CloseCode,
    /// A server says so on each link.
    away: Option<GoingAway>,
    /// What it writes on the present link.
    reader: Decoder,
    welcome_due: bool,
    /// It has written something on the present link.
    begun: bool,
    /// It has written CLOSE, or that it goes away.
    silent: bool,
    pong_due: Option<u64>,
    told: Told,
    /// Something new came or was acknowledged on the present link.
    progress: bool,
    /// What the client says of itself, and the number before the first message of either side.
    client: Option<ClientId>,
    said_before: u64,
    heard_before: u64,
    /// Messages that were handed out.
    taken: u64,
}

fn reader() -> Decoder {
    let mut reader = Decoder::default();
    reader.allow_data(u32::MAX);
    reader
}

impl Watched {
    pub(super) fn client(choices: &mut Choices, now: Instant) -> Watched {
        let (own, heartbeat) = settings(choices);
        let gives_up = choices.u8(..4) == 3;
        let on_loss = if gives_up { SessionLoss::GiveUp } else { SessionLoss::SendAgain };
        let session = Session::client(own, heartbeat, now).on_loss(on_loss).greeting_with(GREETING);
        let first = [0, 1, 1000, Numbers::MAX_BEGIN][choices.usize(..4)];
        let numbers = (first > 0).then_some(Numbers { client: ClientId([9; 16]), first });
        let session = match numbers {
            Some(numbers) => session.numbered(numbers),
            None => session,
        };
        let client = numbers.map(|numbers| numbers.client);
        let said_before = first.saturating_sub(1);
        let watched = Watched::new(Side::Client, session, own, own, now);
        Watched { gives_up, client, said_before, ..watched }
    }

    /// A server's session, made for a hello, with its link.
    pub(super) fn server(
        choices: &mut Choices,
        hello: &Hello,
        epoch: u64,
        now: Instant,
    ) -> Watched {
        let (own, heartbeat) = settings(choices);
        let session = Session::server(hello, epoch, own, heartbeat, now).kept_for(KEPT);
        assert_eq!(*session.greeting(), hello.greeting);
        let mut watched = Watched::new(Side::Server, session, own, hello.limits, now);
        (watched.attempt, watched.epoch) = (hello.attempt, epoch);
        watched.created_from = hello.epoch;
        watched.client = hello.numbers.map(|numbers| numbers.client);
        assert_eq!(watched.session.client_id(), watched.client);
        watched.heard_before = number_before(hello);
        watched.start_link(false);
        watched
    }

    fn new(side: Side, session: Session, own: Limits, peer: Limits, now: Instant) -> Watched {
        Watched {
            side,
            session,
            own,
            now,
            said: Said::default(),
            heard: Heard::default(),
            peer,
            peer_window: peer.window,
            offered: 0,
            attempt: 0,
            epoch: 0,
            created_from: 0,
            gives_up: false,
            ever_heard_frame: false,
            peer_closed: false,
            leaving: false,
            ends: CloseCode::Done,
            away: None,
            reader: reader(),
            welcome_due: false,
            begun: false,
            silent: false,
            pong_due: None,
            told: Told::new(own.window),
            progress: false,
            client: None,
            said_before: 0,
            heard_before: 0,
            taken: 0,
        }
    }

    pub(super) fn truths(&self) -> Truths {
        let Said { acked, cursor, sent, .. } = self.said;
        let Heard { received, consumed, .. } = self.heard;
        let Watched { attempt, epoch, created_from, .. } = *self;
        let longest = self.own.max_message.into();
        // The length of the message that would fill the inbox.
        let rest = self.capacity().saturating_sub(self.heard.kept() + cost(0)) as u64;
        Truths {
            attempt: attempt.wrapping_add(1),
            epoch,
            received: sent,
            numbers: self.client.map(|client| Numbers { client, first: self.heard_before + 1 }),
            others: vec![acked, cursor, received, consumed, attempt, created_from, longest, rest],
        }
    }

    /// The cost of what a peer may make this side keep, at most.
    fn capacity(&self) -> usize {
        self.own.window as usize + cost(self.own.max_message as usize)
    }

    pub(super) fn own(&self) -> Limits {
        self.own
    }

    pub(super) fn generation(&self) -> u64 {
        self.session.status().generation
    }

    pub(super) fn is_up(&self) -> bool {
        self.session.is_up()
    }

    fn send_window(&self) -> usize {
        self.own.window.min(self.peer.window) as usize
    }

    fn is_complete(&self) -> bool {
        self.said.finished && self.said.frames.is_empty() && self.heard.is_done()
    }

    /// What must be true at any time.
    fn check(&self) {
        // A FIN needs no room.
        let bound = self.capacity() + cost(0);
        let kept = self.heard.kept();
        assert!(kept <= bound, "{kept} kept of what was received, of {bound}");
        let kept = self.said.cost();
        assert!(kept <= bound, "{kept} kept to be sent again, of {bound}");
        let unacknowledged = self.said.messages().count() as u64;
        assert_eq!(self.session.status().unacknowledged, unacknowledged);
        assert_eq!(self.session.status().acknowledged_messages(), self.said.total - unacknowledged);
        assert_eq!(self.session.status().complete, self.is_complete());
        assert_eq!(self.session.status().has_next, self.heard.over || !self.heard.items.is_empty());
        let ends = self.is_closing() || self.away.is_some();
        assert!(ends || !self.is_complete(), "complete, and goes on");
        let parted = self.is_up() && self.silent && self.peer_closed;
        assert_eq!(self.session.status().parted, parted);
        // What comes behind an end is no concern of those who look for progress.
        if self.is_up() && !self.peer_closed {
            assert_eq!(self.session.status().moved, self.progress, "progress on this link");
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.session.status().closing
    }

    /// Everything that the session is, to see that it stays so.
    fn print(&self) -> String {
        format!("{:?}", self.session)
    }

    fn start_link(&mut self, progress: bool) {
        self.reader = reader();
        self.told.start_link();
        self.welcome_due = self.side == Side::Server;
        (self.begun, self.silent, self.pong_due) = (false, false, None);
        self.progress = progress;
        self.check();
    }
}

/// The number before the first that a hello says.
fn number_before(hello: &Hello) -> u64 {
    hello.numbers.map_or(0, |numbers| numbers.first - 1)
}

/// The types of the frames in what is written.
fn kinds(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let Some(kind) = bytes.first() {
        kinds.push(*kind);
        bytes = &bytes[frame_len(bytes)..];
    }
    kinds
}

fn settings(choices: &mut Choices) -> (Limits, Heartbeat) {
    let window = match choices.u8(..4) {
        0 => choices.u32(1..=0xFF),
        1 | 2 => choices.u32(200..2000),
        _ => 20_000,
    };
    let max_message = [1, 100, 1000, 10_000][choices.usize(..4)].min(window);
    let interval = choices.bool().then_some(Duration::from_secs(1));
    let heartbeat = Heartbeat { interval, misses: choices.u32(1..4) };
    (Limits { window, max_message }, heartbeat)
}

/// The application and the driver.
impl Watched {
    /// Sends a message, as far as it may; its first bytes are its number.
    pub(super) fn feed(&mut self, choices: &mut Choices) -> Option<Bytes> {
        let room = self.said.cost() < self.send_window();
        assert_eq!(self.session.status().room > 0, room);
        if !room || self.said.finished || self.is_closing() {
            return None;
        }
        let most = self.own.max_message.min(self.peer.max_message) as usize;
        assert_eq!(self.session.status().max_message, most);
        let len = match choices.u8(..4) {
            0 => most - choices.usize(..3).min(most),
            _ => choices.usize(..64).min(most),
        };
        let mut body = vec![self.said.total as u8; len];
        for (byte, number) in body.iter_mut().zip(self.said.total.to_le_bytes()) {
            *byte = number;
        }
        let body = Bytes::from(body);
        self.said.total += 1;
        self.said.frames.push_back(Frame::data(body.clone()));
        match choices.bool() {
            true => self.session.feed(&Slice(&body)),
            false => self.session.feed(&Owned(body.clone())),
        }
        let number = self.session.status().totals.sent_number();
        assert_eq!(number, self.said_before + self.said.total);
        self.check();
        Some(body)
    }

    /// As in `recv`: done with the last, the application asks for the next.
    pub(super) fn take(&mut self) -> Option<Received> {
        self.receive(false)
    }

    /// The same, and holds it.
    pub(super) fn hold(&mut self) {
        self.receive(true);
    }

    fn receive(&mut self, holds: bool) -> Option<Received> {
        if self.leaving {
            return None;
        }
        self.session.consume(self.now);
        let item = self.session.take(self.now);
        let number = match &item {
            Some(Received::Message(message)) if holds => Some(self.session.hold(message.len())),
            _ => None,
        };
        assert!(item == self.heard.take(number), "handed out {item:?}");
        self.taken += u64::from(matches!(item, Some(Received::Message(_))));
        let number = self.session.status().totals.received_number();
        assert_eq!(number, self.heard_before + self.taken);
        self.owe();
        self.check();
        item
    }

    /// Is done with something that it holds.
    pub(super) fn work(&mut self, choices: &mut Choices) {
        let held = self.heard.numbers();
        if !held.is_empty() {
            let number = held[choices.usize(..held.len())];
            self.session.done_with(number, self.now);
            self.heard.done_with(number);
            self.owe();
            self.check();
        }
    }

    fn owe(&mut self) {
        // What a server that goes away is done with comes too late.
        if self.away.is_none() {
            self.told.owe(&self.heard, &self.said);
        }
    }

    pub(super) fn finish(&mut self) {
        if !self.is_closing() {
            self.session.finish();
            self.said.finish();
            self.check();
        }
    }

    /// The application goes, sooner or later.
    pub(super) fn leave(&mut self, code: Option<CloseCode>) {
        self.leaving = true;
        self.session.detach(true, self.now);
        self.heard.consume();
        self.owe();
        self.said.finish();
        self.skip_end();
        if let Some(code) = code {
            if !self.is_closing() {
                self.ends = code.clone();
            }
            self.session.close(code);
        }
        self.check();
    }

    /// The server goes away.
    pub(super) fn go_away(&mut self, notice: GoingAway) {
        self.session.go_away(notice);
        self.away = Some(notice);
        self.check();
    }

    fn skip_end(&mut self) {
        if self.leaving && self.heard.items.front() == Some(&Received::End) {
            self.heard.take(None);
        }
        self.owe();
    }

    /// What was not acknowledged is given back.
    pub(super) fn end(mut self) {
        let left = self.session.take_unacknowledged();
        assert!(left.iter().cloned().eq(self.said.messages()), "given back: {left:?}");
    }

    /// Time passes, and the driver looks.
    pub(super) fn wait(&mut self, time: Duration) {
        self.now += time;
        for round in 0.. {
            let Some(due) = self.session.deadline().filter(|due| *due <= self.now) else {
                break;
            };
            assert!(round < 3, "a deadline that stays in the past");
            self.session.excuse(Excuse::Overslept(self.now - due));
            if let Verdict::Dead(_) = self.session.tick(None, self.now) {
                self.lose();
            }
        }
        self.check();
    }

    pub(super) fn lose(&mut self) {
        self.session.link_lost();
        self.check();
    }
}

/// The link.
impl Watched {
    /// A frame came over the link of that generation. After one that breaks
    /// the rules there is no link.
    pub(super) fn hear(&mut self, generation: u64, frame: Frame) -> Result<(), ()> {
        let Some(right) = self.expect(generation, &frame) else {
            let before = self.print();
            let seen = self.session.on_frame(generation, frame, self.now);
            assert_eq!(seen, Ok(Seen::Nothing), "heard after the end of its link");
            assert_eq!(self.print(), before, "what nobody listens to changes nothing");
            return Ok(());
        };
        self.session.heard(self.now);
        let seen = self.session.on_frame(generation, frame.clone(), self.now);
        assert_eq!(seen.is_ok(), right, "{seen:?} of {frame:?}");
        self.ever_heard_frame |= !matches!(frame, Frame::GoingAway(_));
        if seen.is_err() {
            self.lose();
            return Err(());
        }
        match frame {
            Frame::Data(run) => run.for_each(|body| self.received(Received::Message(body))),
            Frame::Fin => self.received(Received::End),
            Frame::Ack(ack) => {
                self.progress |= self.said.acknowledged(ack.consumed);
                self.peer.window = ack.window;
                self.peer_window = self.peer_window.max(ack.window);
            }
            Frame::Ping(id) => self.pong_due = Some(id),
            Frame::Close(close) => self.closed(close),
            Frame::GoingAway(notice) => {
                // A server is told nothing by that.
                let told = (self.side == Side::Client).then_some((self.now, notice));
                assert_eq!(self.session.away(), told);
            }
            _ => {}
        }
        self.check();
        Ok(())
    }

    /// Whether a frame is right; `None` if nobody listens.
    fn expect(&self, generation: u64, frame: &Frame) -> Option<bool> {
        if generation != self.generation() || !self.is_up() || self.peer_closed {
            return None;
        }
        Some(match frame {
            Frame::Data(_) => {
                !self.heard.fin && self.heard.kept() + frame_cost(frame) <= self.capacity()
            }
            Frame::Fin => !self.heard.fin,
            Frame::Ack(ack) => (self.said.acked..=self.said.cursor).contains(&ack.consumed),
            Frame::Close(close) => close.consumed <= self.said.sent,
            Frame::Ping(_) | Frame::Pong(_) | Frame::GoingAway(_) => true,
            Frame::Hello(_) | Frame::Welcome(_) | Frame::Reject(_) => false,
        })
    }

    fn received(&mut self, item: Received) {
        self.heard.received(item);
        self.skip_end();
        self.progress = true;
    }

    fn closed(&mut self, close: Close) {
        self.progress |= self.said.acknowledged(close.consumed.max(self.said.acked));
        self.peer_closed = true;
    }

    /// Writes a batch. Returns its frames.
    pub(super) fn write(&mut self) -> Vec<Frame> {
        let promised = self.session.output() > Output::Nothing;
        let mut batch = Batch::default();
        self.session.fill(&mut batch);
        assert!(!promised || !batch.is_empty(), "promised output");
        assert!(batch.is_empty() || self.is_up() && !self.silent, "written after the end");
        // The first one on a link has a frame that means nothing, behind WELCOME.
        if !batch.is_empty() {
            let first = !std::mem::replace(&mut self.begun, true);
            let kinds = kinds(&batch.slices.iter().flatten().copied().collect::<Vec<u8>>());
            let at = kinds.iter().position(|kind| (0xA0..=0xBF).contains(kind));
            assert_eq!(at, first.then_some(usize::from(self.welcome_due)), "{kinds:x?}");
            assert!(!first || kinds.len() > 1, "it is written with something else");
        }
        let mut frames = Vec::new();
        for mut slice in batch.slices.iter().cloned() {
            while !slice.is_empty() {
                slice.advance(self.reader.push(&slice));
                while let Some(frame) = self.reader.next().expect("it keeps to the rules") {
                    for frame in frame.apart() {
                        self.written(&frame);
                        frames.push(frame);
                    }
                }
            }
        }
        assert!(self.reader.first_byte().is_none(), "a batch ends within a frame");
        if !frames.is_empty() {
            self.session.sent(self.now);
        }
        self.check();
        frames
    }

    fn written(&mut self, frame: &Frame) {
        assert!(!self.silent, "{frame:?} behind the last");
        let welcome = std::mem::take(&mut self.welcome_due);
        assert_eq!(matches!(frame, Frame::Welcome(_)), welcome, "{frame:?}");
        match frame {
            Frame::Welcome(welcome) => {
                assert_eq!((welcome.epoch, welcome.received), (self.epoch, self.heard.received));
                assert_eq!((welcome.limits, welcome.resume_within), (self.own, KEPT));
            }
            Frame::Data(_) | Frame::Fin => self.said.written(frame, self.send_window()),
            Frame::Ack(ack) => {
                self.told.acknowledge(*ack, &self.said, &self.heard, self.peer_window);
                let room = (self.own.window as usize).saturating_sub(self.heard.stale_cost());
                assert_eq!(ack.window as usize, room);
            }
            // One that answers nothing says that bytes come.
            Frame::Pong(id) => assert_eq!(self.pong_due.take().unwrap_or(0), *id),
            Frame::Close(close) => {
                assert!(close.consumed <= self.heard.consumed, "{close:?}");
                assert_eq!(close.code, self.ends);
                self.silent = true;
            }
            Frame::GoingAway(notice) => {
                assert_eq!(self.away, Some(*notice));
                self.silent = true;
            }
            Frame::Ping(_) => {}
            Frame::Hello(_) | Frame::Reject(_) => panic!("{frame:?}"),
        }
    }
}

/// A client's handshake.
impl Watched {
    pub(super) fn hello(&mut self) -> Hello {
        let hello = self.session.next_hello();
        self.attempt += 1;
        let said = (hello.attempt, hello.epoch, hello.received);
        assert_eq!(said, (self.attempt, self.epoch, self.heard.received));
        let room = (self.own.window as usize).saturating_sub(self.heard.left());
        assert_eq!(hello.limits.window as usize, room);
        self.offered = hello.limits.window;
        let acknowledged = self.said.total - self.said.messages().count() as u64;
        let first = self.said_before + acknowledged + 1;
        assert_eq!(hello.numbers, self.client.map(|client| Numbers { client, first }));
        assert_eq!(hello.resume_only, self.epoch != 0 && (self.gives_up || self.is_closing()));
        hello
    }

    /// Whether a link came of it.
    pub(super) fn welcomed(&mut self, welcome: &Welcome) -> bool {
        let before = self.print();
        let result = self.session.welcomed(welcome, self.now);
        let largest = self.said.messages().map(|message| message.len()).max().unwrap_or(0);
        let limit = welcome.limits.max_message as usize;
        if welcome.epoch == self.epoch {
            if self.said.can_resume(welcome.received) {
                let replayed = self.said.resume(welcome.received);
                assert_eq!(result, Ok(Opened::Resumed { replayed }));
                let progress = welcome.received > self.said.peer_has;
                self.said.peer_has = self.said.peer_has.max(welcome.received);
                self.start_link(progress);
                return true;
            }
            assert!(matches!(result, Err(Unwelcome::Violation(_))), "{result:?}");
        } else if self.epoch != 0 && self.gives_up {
            assert_eq!(result, Err(Unwelcome::SessionLost));
        } else if welcome.received > 0 {
            assert!(matches!(result, Err(Unwelcome::Violation(_))), "{result:?}");
        } else if largest > limit {
            assert_eq!(result, Err(Unwelcome::TooLarge { size: largest, limit }));
        } else {
            let first = self.epoch == 0;
            self.epoch = welcome.epoch;
            (self.peer, self.peer_window) = (welcome.limits, welcome.limits.window);
            (self.ever_heard_frame, self.told) = (false, Told::new(self.offered));
            self.said.restart(self.is_complete());
            self.heard.restart();
            let unacknowledged = self.said.messages().count() as u64;
            let restarted = Opened::Restarted { unacknowledged };
            assert_eq!(result, Ok(if first { Opened::First } else { restarted }));
            self.start_link(false);
            return true;
        }
        assert_eq!(self.print(), before, "what was refused changes nothing");
        false
    }

    /// The answer to a hello is that the session has ended. Returns whether
    /// that can be.
    pub(super) fn read_close_reply(&mut self, close: Close) -> bool {
        let before = self.print();
        if self.session.on_close(close.clone()).is_ok() {
            assert!(close.consumed <= self.said.sent, "{close:?}");
            assert_eq!(self.session.peer_closed(), Some(&close.code));
            self.closed(close);
            self.check();
            return true;
        }
        assert!(close.consumed > self.said.sent, "{close:?}");
        assert_eq!(self.print(), before, "what was refused changes nothing");
        false
    }
}

/// A server's handshake.
impl Watched {
    /// What becomes of a hello, as the protocol says.
    fn admission(&self, hello: &Hello) -> Admission {
        if hello.attempt <= self.attempt {
            return Admission::Stale;
        }
        if hello.epoch == self.epoch {
            if !self.said.can_resume(hello.received) {
                return Admission::Impossible;
            }
        } else if hello.epoch != self.created_from
            || self.ever_heard_frame
            || hello.numbers.map(|numbers| numbers.client) != self.client
        {
            return Admission::Other;
        }
        if self.is_closing() { Admission::Ended } else { Admission::Resume }
    }

    /// A hello for this session: as the door does, it resumes if it can.
    pub(super) fn admit(&mut self, hello: &Hello) -> Admission {
        let before = self.print();
        let admission = self.session.judge(hello);
        assert_eq!(admission, self.admission(hello), "{hello:?}");
        match admission {
            Admission::Stale | Admission::Impossible => {
                if admission == Admission::Impossible {
                    self.session.resume(hello, self.now).expect_err("it is impossible");
                }
                assert_eq!(self.print(), before, "what was refused changes nothing");
            }
            Admission::Other => {}
            Admission::Ended => self.lose(),
            Admission::Resume => {
                self.lose();
                let received = if hello.epoch == self.epoch { hello.received } else { 0 };
                if hello.epoch != self.epoch {
                    self.peer = hello.limits;
                    self.heard_before = number_before(hello);
                }
                self.peer_window = self.peer_window.max(hello.limits.window);
                let replayed = self.said.resume(received);
                assert_eq!(self.session.resume(hello, self.now), Ok(replayed));
                self.attempt = hello.attempt;
                let progress = received > self.said.peer_has;
                self.said.peer_has = self.said.peer_has.max(received);
                self.start_link(progress);
            }
        }
        admission
    }

    /// What is said to a hello that comes too late.
    pub(super) fn close_reply(&self, hello: &Hello) -> Close {
        let close = self.session.close_reply(hello);
        assert!(close.consumed <= self.heard.consumed, "{close:?}");
        assert_eq!(close.code, self.ends);
        close
    }
}
