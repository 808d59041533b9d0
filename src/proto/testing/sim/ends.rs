//! The two ends, as the link and the driver will drive them.

use std::time::{Duration, Instant};

use bytes::Buf;

use super::link::{End, Link, Side};
use super::numbers::Numbered;
use super::{World, millis};
use crate::proto::batch::Batch;
use crate::proto::close::CloseCode;
use crate::proto::closing::{Closing, Headway};
use crate::proto::frame::{Ack, Decoder, Frame, HEADER, frame_len, kind};
use crate::proto::handshake::{Hello, Limits, Name, Token};
use crate::proto::heartbeat::Heartbeat;
use crate::proto::inbox::Received;
use crate::proto::loss::SessionLoss;
use crate::proto::pulse::Verdict;
use crate::proto::reject::{Class, Reject};
use crate::proto::report::{Excuse, Output, Seen};
use crate::proto::session::{Admission, Opened, Session, Unwelcome};
use crate::proto::testing::longer;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No link; the next attempt is due then.
    Idle(Instant),
    /// The hello was sent on this link; the answer is due then.
    Greeting(u64, Instant),
    Up(u64),
    Ended,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) session: Session,
    /// What it is called by at each host.
    names: Vec<Name>,
    pub(super) phase: Phase,
    pub(super) host: usize,
    welcomed: bool,
    /// The host that welcomed it last.
    home: usize,
    /// Its session was lost, and there is to be no other.
    pub(super) lost: bool,
    /// The application has left, and what it said is to be acknowledged.
    pub(super) closing: Option<Closing>,
    /// It was given back what was not acknowledged, behind this number.
    pub(super) took: Option<u64>,
    /// Both directions have ended.
    complete: bool,
    /// What its application holds.
    pub(super) hands: Vec<InHand<Option<(usize, u64)>>>,
}

/// A message that an application holds: its number in the core and in the model, and its
/// length.
#[derive(Debug)]
pub(super) struct InHand<T> {
    pub(super) number: u64,
    pub(super) which: T,
    pub(super) len: usize,
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) limits: Limits,
    pub(super) server: Option<Server>,
    /// The token and the attempt of the last hello to it.
    pub(super) last_hello: Option<(Token, u64)>,
    /// It has said that it goes away, and its process ends then.
    pub(super) dies: Option<Instant>,
}

/// A server's session, its link and its application.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) session: Session,
    pub(super) life: usize,
    pub(super) link: Option<u64>,
    pub(super) lost: Option<Instant>,
    /// It has ended, and is remembered.
    pub(super) ended: bool,
    pub(super) closing: Option<Closing>,
    pub(super) took: Option<u64>,
    /// What its handler was handed last, and has not booked.
    pub(super) pending: Option<Numbered>,
    /// Replies that the handler still has to feed before it takes again.
    pub(super) replies: usize,
    pub(super) at_end: bool,
    pub(super) hands: Vec<InHand<u64>>,
    /// It goes away: its application is told so when it sends, and takes what is there.
    pub(super) leaving: bool,
}

const FULL: u8 = 1;
const SHUTTING_DOWN: u8 = 2;
const STALE: u8 = 4;
const ENDED: u8 = 5;
pub(super) const RESUME_WITHIN: Duration = Duration::from_secs(20);

impl Client {
    pub(super) fn new(session: Session, names: Vec<Name>, now: Instant) -> Client {
        Client {
            session,
            names,
            phase: Phase::Idle(now),
            host: 0,
            welcomed: false,
            home: 0,
            lost: false,
            closing: None,
            took: None,
            complete: false,
            hands: Vec::new(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// How many of all messages it has seen acknowledged, by any session and in any process.
    pub(super) fn acked(&self, first: u64) -> u64 {
        self.session.status().acknowledged_number() + 1 - first
    }

    fn link(&self) -> Option<u64> {
        match self.phase {
            Phase::Greeting(link, _) | Phase::Up(link) => Some(link),
            Phase::Idle(_) | Phase::Ended => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle(at) | Phase::Greeting(_, at) => Some(at),
            Phase::Up(_) => self.session.deadline(),
            Phase::Ended => None,
        }
        .into_iter()
        .chain(self.closing.as_ref().and_then(Closing::deadline))
        .min()
    }
}

impl Server {
    /// Nobody has begun to end it but by the ends of both directions.
    pub(super) fn is_orderly(&self) -> bool {
        self.closing.is_none() && !self.session.status().closing
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.ended {
            return None;
        }
        let expiry = self.lost.map(|lost| lost + RESUME_WITHIN);
        let closing = self.closing.as_ref().and_then(Closing::deadline);
        self.session.deadline().into_iter().chain(expiry).chain(closing).min()
    }
}

/// How an orderly close came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CloseEnd {
    Acknowledged,
    Impatient,
}

/// As a driver looks after a close.
fn close(closing: &mut Closing, session: &mut Session, now: Instant) -> Option<CloseEnd> {
    let headway = Headway { acknowledged: session.status().acknowledged_messages(), reached: None };
    let end = if session.status().acknowledged {
        CloseEnd::Acknowledged
    } else if session.is_up() && closing.is_due(now) && closing.look(headway, now) {
        CloseEnd::Impatient
    } else {
        return None;
    };
    session.close(CloseCode::Closed);
    Some(end)
}

/// The client's link and driver.
impl World {
    pub(super) fn client_driver(&mut self) {
        let now = self.now;
        match self.client.phase {
            Phase::Idle(at) if now >= at => self.connect(),
            Phase::Greeting(_, at) if now >= at => self.client_loses("no welcome"),
            Phase::Up(link) => {
                if let Some(silence) = self.keep(Side::Client, 0, link) {
                    self.judged(link, silence);
                    self.client_loses("silence");
                }
            }
            _ => {}
        }
        let session = &mut self.client.session;
        assert!(session.status().complete || !self.client.complete, "complete, and no more");
        self.client.complete = session.status().complete;
        if let Some(closing) = &mut self.client.closing
            && let Some(end) = close(closing, session, now)
        {
            self.client.closing = None;
            self.model.impatient |= end == CloseEnd::Impatient;
            self.note("client closes", end as u64, 0);
        }
    }

    fn connect(&mut self) {
        if self.client.session.status().closing && !self.client.welcomed {
            return self.client_ends("gave up");
        }
        let stays = self.client.welcomed && self.plan.on_loss == SessionLoss::GiveUp;
        let alone = self.client.welcomed && self.plan.servers_on_loss == SessionLoss::GiveUp;
        if self.calm && alone {
            // No other takes it, and it asks all of them.
            self.client.host = self.client.home;
        } else if self.hosts.len() > 1 && !stays && (self.calm || self.chance(self.plan.failover)) {
            self.client.host = self.rng.usize(..self.hosts.len());
        }
        self.last_link += 1;
        let slow = self.rng.u32(..8) == 0;
        let mut link = Link::new(self.last_link, self.client.host, slow, self.calm);
        if self.plan.sealed {
            link.seal();
        }
        let name = &mut self.client.names[self.client.host];
        let hello = self.client.session.hello(name);
        self.tell_apart(&hello);
        self.model.check_hello(hello.numbers);
        link.offered = hello.limits.window;
        // Now and then it is one of a later client.
        let more: &[u8] =
            if hello.attempt.is_multiple_of(3) { b"\0\x07\0\x02hi\0\x08\0\0" } else { b"" };
        link.client.batch.push(longer(&Frame::Hello(hello.clone()).to_bytes(), more).into());
        let patience = if self.calm { 2000 } else { self.rng.u64(20..2000) };
        self.client.phase = Phase::Greeting(link.id, self.now + millis(patience));
        self.note("client connects", link.id, link.host as u64);
        self.note("  hello", hello.attempt, hello.received);
        self.links.push(link);
    }

    /// What a host knows of a client is of use at no other.
    fn tell_apart(&mut self, hello: &Hello) {
        let host = self.client.host;
        let before = self.hosts[host].last_hello.replace((hello.token, hello.attempt));
        let (token, attempt) = before.unwrap_or((hello.token, 0));
        assert_eq!((token, attempt + 1), (hello.token, hello.attempt));
        for (other, its) in self.hosts.iter().enumerate() {
            let known = its.last_hello.is_some_and(|(token, _)| token == hello.token);
            assert!(other == host || !known, "one token for two hosts");
        }
    }

    pub(super) fn client_loses(&mut self, why: &'static str) {
        let Some(id) = self.client.link() else { return };
        let was_up = matches!(self.client.phase, Phase::Up(_));
        self.note("client loses", id, 0);
        self.note(why, 0, 0);
        self.client.session.link_lost();
        let moved = self.client.session.status().moved;
        self.client.closing.iter_mut().for_each(|closing| closing.link_lost(moved, self.now));
        let delay =
            millis(if self.calm { 50 } else { [0, self.rng.u64(..400)][self.rng.usize(..2)] });
        let mut back = self.now + delay;
        if let Some((at, notice)) = self.client.session.away().filter(|_| was_up) {
            // The longest times are those of the calm.
            let random = if self.calm { 0 } else { self.rng.u32(..) };
            let most = self.now + Duration::from_secs(5);
            back = back.max(at + notice.draw(random)).min(most);
            self.note("  it is away", id, (back - self.now).as_millis() as u64);
        }
        self.client.phase = Phase::Idle(back);
        self.hang_up(id, Side::Client);
        if self.client.session.status().closed_by_peer {
            self.client_ends("the peer closed");
        }
    }

    pub(super) fn client_ends(&mut self, why: &'static str) {
        self.note("client ends", 0, 0);
        self.note(why, 0, 0);
        if let Some(id) = self.client.link() {
            self.link(id).client.closing = true;
        }
        self.client.session.link_lost();
        self.client.phase = Phase::Ended;
        self.client.closing = None;
    }

    pub(super) fn client_frame(&mut self, id: u64, frame: Frame) {
        let now = self.now;
        let &mut Link { life, client: End { generation, .. }, .. } = self.link(id);
        if matches!(self.client.phase, Phase::Greeting(greeting, _) if greeting == id) {
            return self.client_answered(id, frame);
        }
        if generation == 0 {
            // It was given up before the welcome came.
            self.link(id).client.open = false;
            return;
        }
        let (items, ack) = (items(&frame), ack(&frame));
        let over = self.client.phase == Phase::Up(id) && self.client.session.away().is_some();
        assert!(!over, "{frame:?} behind the last");
        let seen = self.client.session.on_frame(generation, frame, now);
        let seen = seen.unwrap_or_else(|violation| panic!("the client sees {violation:?}"));
        if self.client.phase != Phase::Up(id) {
            self.note("  stale bytes", id, 0);
            return assert_eq!(seen, Seen::Nothing, "a stale link was heard");
        }
        if seen == Seen::Received {
            items.iter().for_each(|item| self.model.client_receives(item));
        }
        if let (Seen::Acknowledged, Some(ack)) = (seen, ack) {
            self.model.client_hears(ack);
        }
        if let (Some(life), Some(code)) = (life, self.client.session.peer_closed()) {
            let code = code.clone();
            self.client_dismissed(life, &code);
        }
        let acked = self.client.acked(self.model.first());
        self.note("client sees", seen_id(seen), acked);
        self.model.client_acked(acked);
    }

    fn client_dismissed(&mut self, life: usize, code: &CloseCode) {
        self.model.client_dismissed(life, code);
        if let Some(refusal) = code.refusal() {
            self.note("client is refused", refusal.code.into(), 0);
        }
    }

    fn client_answered(&mut self, id: u64, frame: Frame) {
        let now = self.now;
        match frame {
            Frame::Welcome(welcome) => {
                let welcomed = match self.client.session.welcomed(&welcome, now) {
                    Ok(welcomed) => welcomed,
                    Err(Unwelcome::TooLarge { .. }) => {
                        // This host will not do; the calm has one that does.
                        return self.client_loses("too large");
                    }
                    Err(unwelcome) => panic!("{unwelcome:?}"),
                };
                (self.client.welcomed, self.client.home) = (true, self.client.host);
                let generation = self.client.session.status().generation;
                let max = self.client.session.status().own_max_message;
                let link = self.link(id);
                let (life, offered) = (link.life.expect("a server welcomed"), link.offered);
                link.client.generation = generation;
                link.client.allow_data(max);
                self.client.phase = Phase::Up(id);
                let lost = match welcomed {
                    Opened::Restarted { unacknowledged } => Some(unacknowledged),
                    _ => None,
                };
                let resumed = matches!(welcomed, Opened::Resumed { .. });
                self.note("client is welcomed", life as u64, u64::from(resumed));
                self.model.client_welcomed(life, lost, resumed, offered);
            }
            Frame::Close(close) => {
                let life = self.link(id).life.expect("a server answered");
                self.client_dismissed(life, &close.code);
                let read = self.client.session.on_close(close);
                read.unwrap_or_else(|violation| panic!("a bad close_reply: {violation:?}"));
                self.model.client_acked(self.client.acked(self.model.first()));
                self.client_ends("an close_reply");
            }
            Frame::Reject(Reject { code: ENDED, .. }) => {
                let resumes_only = self.client.session.resumes_only();
                if !resumes_only && self.client.host != self.client.home {
                    return self.client_loses("no session here");
                }
                if self.plan.on_loss == SessionLoss::GiveUp || !resumes_only {
                    // What is not acknowledged is given back, also if the application has left.
                    (self.client.lost, self.model.impatient) = (true, true);
                    self.note("session lost", self.client.session.status().unacknowledged, 0);
                }
                self.client_ends("refused");
            }
            Frame::Reject(Reject { code: FULL, .. }) => self.client_loses("full"),
            Frame::Reject(Reject { code: SHUTTING_DOWN, .. }) => self.client_loses("shut down"),
            frame => panic!("answered {frame:?}"),
        }
    }
}

/// The servers' links and driver.
impl World {
    pub(super) fn server_driver(&mut self, host: usize) {
        let now = self.now;
        if self.hosts[host].dies.is_some_and(|at| now >= at) {
            return self.restart(host);
        }
        let Some(server) = &self.hosts[host].server else { return };
        if server.ended {
            return;
        }
        if let Some(link) = server.link {
            if let Some(silence) = self.keep(Side::Server, host, link) {
                self.judged(link, silence);
                self.server_loses(link, "silence");
            }
        } else if server.lost.is_some_and(|lost| now >= lost + RESUME_WITHIN) {
            return self.expire(host);
        }
        let Some(server) = self.hosts[host].server.as_mut() else { return };
        if let Some(closing) = &mut server.closing
            && let Some(end) = close(closing, &mut server.session, now)
        {
            server.closing = None;
            self.note("server closes", host as u64, end as u64);
        }
    }

    pub(super) fn server_loses(&mut self, id: u64, why: &'static str) {
        let now = self.now;
        let link = self.link(id);
        let (host, generation) = (link.host, link.server.generation);
        self.hang_up(id, Side::Server);
        let Some(server) = self.hosts[host].server.as_mut().filter(|s| s.link == Some(id)) else {
            return;
        };
        assert_eq!(server.session.status().generation, generation);
        server.link = None;
        server.session.link_lost();
        let moved = server.session.status().moved;
        server.closing.iter_mut().for_each(|closing| closing.link_lost(moved, self.now));
        server.lost = Some(now);
        let heard_close = server.session.status().closed_by_peer;
        self.note("server loses", id, host as u64);
        self.note(why, 0, 0);
        if heard_close {
            self.remove(host);
        }
    }

    /// Nobody came back in time.
    pub(super) fn expire(&mut self, host: usize) {
        let Some(server) = &mut self.hosts[host].server else { return };
        if server.ended || server.lost.is_none() {
            return;
        }
        server.session.close(CloseCode::Closed);
        self.model.server_leaves(server.life);
        self.expired = true;
        self.note("server expires", host as u64, 0);
        self.remove(host);
    }

    /// The session is over; what arrived is still handed out.
    pub(super) fn remove(&mut self, host: usize) {
        let Some(mut server) = self.hosts[host].server.take_if(|s| !s.ended) else { return };
        if server.closing.is_none() {
            while let Some(item) = self.server_takes(&mut server)
                && item != Received::End
            {}
            self.commit(&mut server);
        }
        self.hosts[host].server = Some(server);
        self.bury(host);
    }

    pub(super) fn bury(&mut self, host: usize) {
        let Some(mut server) = self.hosts[host].server.take_if(|s| !s.ended) else { return };
        self.check_server_leftovers(&mut server);
        server.session.link_lost();
        server.session.discard();
        (server.ended, server.link, server.lost, server.closing) = (true, None, None, None);
        self.note("server buries", host as u64, server.life as u64);
        self.hosts[host].server = Some(server);
    }

    pub(super) fn server_frame(&mut self, id: u64, frame: Frame) {
        let now = self.now;
        let link = self.link(id);
        let (host, generation, life) = (link.host, link.server.generation, link.life);
        if generation == 0 {
            let Frame::Hello(hello) = frame else { panic!("began with {frame:?}") };
            return self.admit(id, host, hello);
        }
        let Some(server) = self.hosts[host].server.as_mut().filter(|s| Some(s.life) == life) else {
            return; // The session is lost or replaced.
        };
        let (items, ack) = (items(&frame), ack(&frame));
        let seen = server.session.on_frame(generation, frame, now);
        let seen = seen.unwrap_or_else(|violation| panic!("the server sees {violation:?}"));
        if server.link != Some(id) {
            self.note("  stale bytes", id, 0);
            return assert_eq!(seen, Seen::Nothing, "a stale link was heard");
        }
        let (life, acked) = (server.life, server.session.status().acknowledged_messages());
        if seen == Seen::Received {
            items.iter().for_each(|item| self.model.server_receives(life, item));
        }
        if let (Seen::Acknowledged, Some(ack)) = (seen, ack) {
            self.model.server_hears(life, ack);
        }
        self.note("server sees", seen_id(seen), acked);
        self.model.server_acked(life, acked);
    }

    fn admit(&mut self, id: u64, host: usize, hello: Hello) {
        let known = self.hosts[host].server.as_ref();
        let known = known.filter(|server| server.session.token() == hello.token);
        let admission = known.map(|server| server.session.judge(&hello));
        self.note("server judges", id, admission.map_or(0, |a| a as u64 + 1));
        let newest = matches!(self.client.phase, Phase::Greeting(greeting, _) if greeting == id);
        // A rejected hello must have no effect, whatever it says.
        if !self.calm && self.plan.unwelcome > 0.0 && hello.attempt % 5 == 4 {
            self.note("  full", id, 0);
            return self.refuse(id, FULL);
        }
        if self.hosts[host].dies.is_some() {
            // Its sessions have ended.
            let may_begin = hello.may_begin(self.plan.servers_on_loss);
            return self.refuse(id, if may_begin { SHUTTING_DOWN } else { ENDED });
        }
        match admission {
            Some(Admission::Stale) => {
                assert!(!newest, "the newest hello is stale");
                self.note("  stale hello", id, 0);
                return self.refuse(id, STALE);
            }
            Some(Admission::Impossible) => panic!("an honest hello is impossible"),
            Some(Admission::Ended) => self.remove(host),
            Some(Admission::Resume) => {}
            Some(Admission::Other) | None if !hello.may_begin(self.plan.servers_on_loss) => {
                return self.refuse(id, ENDED);
            }
            Some(Admission::Other) | None => {
                // Also one of another token: it is of this client.
                self.replace(host);
                self.found(host, &hello);
            }
        }
        let server = self.hosts[host].server.as_mut().expect("found or made");
        if server.ended {
            let close_reply = Frame::Close(server.session.close_reply(&hello)).to_bytes();
            let life = server.life;
            let link = self.link(id);
            link.life = Some(life);
            link.server.batch.push(close_reply);
            link.server.closing = true;
            return;
        }
        if admission.is_some_and(|admission| admission == Admission::Resume) {
            self.resume(host, &hello);
        }
        let server = self.hosts[host].server.as_mut().expect("found or made");
        let (life, generation) = (server.life, server.session.status().generation);
        let max = server.session.status().own_max_message;
        server.lost = None;
        if let Some(old) = server.link.replace(id) {
            self.note("  takes over", old, 0);
            if self.rng.bool() {
                self.hang_up(old, Side::Server);
            }
        }
        if !self.calm && self.chance(self.plan.unwelcome) {
            self.note("  welcome lost", id, 0);
            let told = self.now + millis(self.rng.u64(..100));
            let pipe = &mut self.link(id).down;
            pipe.cut(0);
            pipe.eof = Some(told);
        }
        let link = self.link(id);
        link.life = Some(life);
        link.server.generation = generation;
        link.server.allow_data(max);
    }

    fn resume(&mut self, host: usize, hello: &Hello) {
        let Server { session, life, .. } = self.hosts[host].server.as_mut().expect("judged");
        let (life, before) = (*life, session.status().totals.received_number());
        let resumed = session.resume(hello, self.now);
        resumed.unwrap_or_else(|violation| panic!("not resumed: {violation:?}"));
        let after = session.status().totals.received_number();
        if after != before {
            self.note("  other numbers", before, after);
        }
        self.model.server_resumes(life, hello.limits.window);
    }

    fn found(&mut self, host: usize, hello: &Hello) {
        let wants_none = |on_loss| hello.epoch != 0 && on_loss == SessionLoss::GiveUp;
        assert!(!wants_none(self.plan.on_loss), "a second session, which the client did not want");
        let unwanted = wants_none(self.plan.servers_on_loss);
        assert!(!unwanted, "a second session, which the server did not want");
        self.last_epoch += 1;
        let limits = self.hosts[host].limits;
        let (interval, misses) = (self.plan.server_interval, self.plan.misses);
        let heartbeat = Heartbeat { interval, misses };
        let session = Session::server(hello, self.last_epoch, limits, heartbeat, self.now)
            .kept_for(RESUME_WITHIN);
        let life = self.model.new_life(limits.window, hello.limits.window);
        self.note("server founds", host as u64, life as u64);
        let mut server = Server {
            session,
            life,
            link: None,
            lost: None,
            ended: false,
            closing: None,
            took: None,
            pending: None,
            replies: 0,
            at_end: false,
            hands: Vec::new(),
            leaving: false,
        };
        // Some know a client by its greeting, and want nothing of it.
        if !self.calm && self.plan.server_leaves > 0.0 && life % 2 == 1 {
            self.server_refuses(&mut server);
        }
        self.hosts[host].server = Some(server);
    }

    fn refuse(&mut self, id: u64, code: u8) {
        let class = if code == ENDED { Class::Never } else { Class::Later };
        let reject = Frame::Reject(Reject::new(code, class, String::from("no")));
        let end = &mut self.link(id).server;
        end.batch.push(reject.to_bytes());
        end.closing = true;
    }
}

/// What both sides do.
impl World {
    fn session(&mut self, side: Side, host: usize) -> &mut Session {
        match side {
            Side::Client => &mut self.client.session,
            Side::Server => &mut self.hosts[host].server.as_mut().expect("a session").session,
        }
    }

    /// Looks after the times of a session that is up.
    fn keep(&mut self, side: Side, host: usize, id: u64) -> Option<Duration> {
        let now = self.now;
        let (end, _, pipe) = self.link(id).parts(side);
        let reached = Some(end.reached(pipe));
        let session = self.session(side, host);
        let mut rounds = 0;
        while let Some(deadline) = session.deadline().filter(|at| now >= *at) {
            assert!(rounds < 3, "{side:?}: a deadline that stays in the past");
            rounds += 1;
            session.excuse(Excuse::Overslept(now - deadline));
            let mut verdict = session.tick(None, now);
            if verdict != Verdict::Alive && session.status().counts_bytes {
                verdict = session.tick(reached, now);
            }
            if let Verdict::Dead(silence) = verdict {
                return Some(silence);
            }
        }
        None
    }

    fn judged(&mut self, id: u64, silence: Duration) {
        self.note("  judged dead", id, silence.as_millis() as u64);
        assert!(!self.link(id).calm, "a live peer was judged dead");
    }

    /// Writes what there is to write on a link, at most `most` bytes.
    pub(super) fn pump(&mut self, id: u64, side: Side, most: usize) {
        let now = self.now;
        let &mut Link { host, life, .. } = self.link(id);
        let current = match side {
            Side::Client => self.client.phase == Phase::Up(id),
            Side::Server => self.hosts[host].server.as_ref().is_some_and(|s| s.link == Some(id)),
        };
        let index = self.links.iter().position(|link| link.id == id).expect("a link");
        let (end, _, pipe) = self.links[index].parts(side);
        if !end.open {
            return;
        }
        let mut parted = false;
        if current {
            let session = match side {
                Side::Client => &mut self.client.session,
                Side::Server => &mut self.hosts[host].server.as_mut().expect("current").session,
            };
            if end.is_written() {
                let promised = session.output() > Output::Nothing;
                session.fill(&mut end.batch);
                assert!(!promised || !end.batch.is_empty(), "{side:?} promised output");
                assert!(!end.shut || end.batch.is_empty(), "{side:?} writes behind the last");
                if let Some(ack) = written_ack(&end.batch) {
                    match side {
                        Side::Client => self.model.client_tells(ack),
                        Side::Server => self.model.server_tells(life.expect("current"), ack),
                    }
                }
            }
            parted = session.status().parted;
        }
        let n = end.write(pipe, most);
        let done = end.is_written() && (end.closing || parted);
        if !end.batch.has_remaining() && !end.is_blocked() && end.batch.take_fin() {
            end.shut = true;
            pipe.eof.get_or_insert(now);
        }
        if n > 0 {
            if current {
                self.session(side, host).sent(now);
            }
            self.note(
                if side == Side::Client { "client writes" } else { "server writes" },
                id,
                n as u64,
            );
        }
        if done {
            self.hang_up(id, side);
        }
        match side {
            Side::Client if done && parted => self.client_ends("parted"),
            Side::Server if done && parted => self.remove(host),
            _ => {}
        }
    }

    /// Moves at most `most` bytes to the reader, and what they bring.
    pub(super) fn deliver(&mut self, id: u64, side: Side, mut most: usize) {
        loop {
            let now = self.now;
            let Some(link) = self.links.iter_mut().find(|link| link.id == id) else { return };
            let (end, pipe, _) = link.parts(side);
            if !end.open {
                return;
            }
            if let Some(frame) = end.next() {
                match side {
                    Side::Client => self.client_frame(id, frame),
                    Side::Server => self.server_frame(id, frame),
                }
                continue;
            }
            if end.ended || pipe.is_at_eof(now) {
                let amid = end.is_amid_record();
                if amid {
                    self.note("  cut in a record", id, 0);
                }
                match side {
                    Side::Client if self.client.link() == Some(id) => self.client_loses("eof"),
                    Side::Client => self.link(id).client.open = false,
                    Side::Server => self.server_loses(id, "eof"),
                }
                return;
            }
            let (n, control) = end.read(pipe, most);
            if n == 0 {
                return;
            }
            if control && end.is_blocked() {
                self.note("  control while blocked", id, n as u64);
            }
            most -= n;
            self.heard(id, side, n);
        }
    }

    fn heard(&mut self, id: u64, side: Side, n: usize) {
        let now = self.now;
        let host = self.link(id).host;
        match side {
            Side::Client if self.client.phase == Phase::Up(id) => self.client.session.heard(now),
            Side::Server => {
                if let Some(server) =
                    self.hosts[host].server.as_mut().filter(|s| s.link == Some(id))
                {
                    server.session.heard(now);
                }
            }
            Side::Client => {}
        }
        self.note(if side == Side::Client { "client reads" } else { "server reads" }, id, n as u64);
    }

    /// One side is done with a link. Whether and when the other is told, and
    /// whether what is in flight still arrives, is up to the adversary.
    pub(super) fn hang_up(&mut self, id: u64, side: Side) {
        let now = self.now;
        let careful = self.calm || self.is_without_heartbeat();
        let (lost, told) = (self.rng.u8(..3) == 0, careful || self.rng.u8(..3) > 0);
        let delay = millis(self.rng.u64(..200));
        let zombie = !self.calm && self.rng.bool();
        self.link(id).slow |= zombie;
        let (end, _, pipe) = self.link(id).parts(side);
        let graceful = end.hang_up(pipe);
        if !graceful || (lost && !careful) {
            pipe.cut = true;
        }
        if told && pipe.eof.is_none() {
            pipe.eof = Some(now + delay);
        } else if !told {
            pipe.cut = true;
        }
        // A reader that nobody has told may still be at it.
        end.open = zombie && end.generation > 0;
    }
}

fn items(frame: &Frame) -> Vec<Received> {
    match frame {
        Frame::Data(run) => run.clone().map(Received::Message).collect(),
        Frame::Fin => vec![Received::End],
        _ => Vec::new(),
    }
}

fn ack(frame: &Frame) -> Option<Ack> {
    match frame {
        Frame::Ack(ack) => Some(*ack),
        _ => None,
    }
}

/// The acknowledgement in what is to be written; there is never more than one.
fn written_ack(batch: &Batch) -> Option<Ack> {
    let bytes: Vec<u8> = batch.slices.iter().flatten().copied().collect();
    let mut rest = &bytes[..];
    while let Some((&[kind, ..], _)) = rest.split_first_chunk::<HEADER>() {
        let (frame, behind) = rest.split_at(frame_len(rest));
        if kind == kind::ACK {
            let mut decoder = Decoder::default();
            decoder.push(frame);
            return ack(&decoder.next().expect("a frame of ours")?);
        }
        rest = behind;
    }
    None
}

fn seen_id(seen: Seen) -> u64 {
    match seen {
        Seen::Nothing => 0,
        Seen::Received => 1,
        Seen::Acknowledged => 2,
        Seen::Pong(..) => 3,
        Seen::Closed => 4,
    }
}
