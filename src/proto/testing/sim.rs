//! Two sessions, a seeded adversary between them, and a model beside them.
//!
//! The adversary holds the clock and the bytes: it delivers them in pieces or
//! late, cuts either direction at any byte, tells each end when it likes, or
//! never, and restarts servers. The [`model`] knows what every application
//! said and must hear, and is asked after every step. Then the adversary stops,
//! and everything has to come to its end within a bounded time.
//!
//! `LONGLINK_SIM_SEED=n cargo test sim` replays one seed and prints its trace;
//! `LONGLINK_SIM_SEED=n..m` tries all of these.
//! In [`fuzzed`] a fuzzer's bytes take the seed's place.

mod apps;
mod ends;
mod fuzzed;
mod link;
mod model;
mod numbers;
#[cfg(test)]
pub(crate) mod planted;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::ends::{Client, Host, Phase};
pub(super) use self::fuzzed::run as fuzzed;
use self::link::{Link, Side};
use self::model::Model;
use self::numbers::Numbered;
#[cfg(test)]
pub(in crate::proto) use self::planted::misplaced;
#[cfg(test)]
pub(crate) use self::planted::{Fault, planted};
use super::choices::Choices;
use crate::proto::away::GoingAway;
use crate::proto::close::CloseCode;
use crate::proto::handshake::{Limits, Name, Token};
use crate::proto::heartbeat::Heartbeat;
use crate::proto::loss::SessionLoss;
use crate::proto::numbers::{ClientId, Numbers};
use crate::proto::session::Session;

/// What kind of run it is: most seeds leave most trouble out, so that the rest
/// of it gets far.
#[derive(Debug)]
struct Plan {
    steps: u32,
    messages: u64,
    client: Limits,
    hosts: Vec<Limits>,
    interval: Option<Duration>,
    server_interval: Option<Duration>,
    misses: u32,
    large: f64,
    replies: Range<usize>,
    /// Chances of a step.
    cut: f64,
    /// That a welcome is lost.
    unwelcome: f64,
    /// That one side gives a link up of its own accord, with bytes in flight.
    hop: f64,
    restart: f64,
    goes_away: f64,
    expire: f64,
    leap: f64,
    client_leaves: f64,
    server_leaves: f64,
    server_finishes: f64,
    speaks: f64,
    /// The chance of an attempt to go elsewhere.
    failover: f64,
    /// How much the client's application takes at a time, at most.
    burst: u32,
    /// The chances that an application holds a message, and that it is then done with one.
    holds: f64,
    works: f64,
    /// How eagerly, of 10, the applications and the links act.
    eager: [u32; 6],
    on_loss: SessionLoss,
    /// What the servers do with a client that comes from another session.
    servers_on_loss: SessionLoss,
    /// Before the first message, so many were sent; `None`: the client gives no numbers.
    sent_before: Option<u64>,
    /// The chance of a step that the client's process is killed.
    client_killed: f64,
    /// What goes over the links is sealed.
    sealed: bool,
}

impl Plan {
    fn draw(rng: &mut Choices) -> Plan {
        let mut rare = |of: u32, chance: f64| match rng.u32(..of) {
            0 => chance,
            _ => 0.0,
        };
        let (restart, expire) = (rare(3, 0.01), rare(8, 0.02));
        let (client_leaves, server_leaves) = (rare(4, 0.01), rare(8, 0.02));
        let (server_finishes, speaks) = (rare(6, 0.1), rare(2, 0.5));
        let (leap, large) = (rare(3, 0.02), rare(2, 0.2));
        let (unwelcome, hop) = (rare(3, 0.4), rare(3, 0.02));
        let (holds, works) =
            ([0.0, 0.0, 0.3, 1.0][rng.usize(..4)], [0.1, 0.5, 1.0][rng.usize(..3)]);
        let cut = [0.0, 0.005, 0.02, 0.04][rng.usize(..4)];
        let several = rng.u32(..4) == 0;
        let mut limits = || {
            let window = match rng.u32(..4) {
                0 => rng.u32(1..200),
                1 | 2 => rng.u32(200..2000),
                _ => 64 * 1024,
            };
            // Some are so large that the core keeps them in another way.
            let largest = if rng.u32(..8) == 0 { 10_000 } else { 1000 };
            Limits { window, max_message: rng.u32(1..largest).min(window) }
        };
        let client = limits();
        // The first host takes what the client may have to send again.
        let mut hosts = vec![limits()];
        hosts[0].max_message = client.max_message;
        hosts[0].window = hosts[0].window.max(client.max_message);
        if several {
            hosts.push(limits());
        }
        let mut eager = std::array::from_fn(|_| rng.u32(1..11));
        let burst = [3, 5, 50][rng.usize(..3)];
        if burst > 5 {
            eager[1] = 1;
        }
        let interval = (rng.u32(..5) > 0).then(|| millis(rng.u64(100..2000)));
        let mut plan = Plan {
            steps: rng.u32(50..400),
            messages: rng.u64(..40),
            client,
            hosts,
            interval,
            server_interval: (rng.u32(..6) > 0).then_some(millis(1000)),
            misses: rng.u32(1..4),
            large,
            replies: [0..2, 1..2, 0..4][rng.usize(..3)].clone(),
            cut,
            unwelcome,
            hop,
            restart,
            goes_away: 0.0,
            expire,
            leap,
            client_leaves,
            server_leaves,
            server_finishes,
            speaks,
            failover: if several { 0.3 } else { 0.0 },
            burst,
            holds,
            works,
            eager,
            on_loss: SessionLoss::SendAgain,
            servers_on_loss: SessionLoss::SendAgain,
            sent_before: None,
            client_killed: 0.0,
            sealed: false,
        };
        if rng.u32(..6) == 0 {
            // A flood to a slow reader, whose servers are lost, and welcomes too:
            // what it has not read yet narrows the window of the next session.
            plan.client.window = rng.u32(plan.client.max_message..plan.client.max_message + 300);
            (plan.speaks, plan.unwelcome, plan.restart) = (0.5, 0.6, 0.02);
            (plan.burst, plan.eager) = (50, [7, 1, 9, 9, 9, 9]);
            // Or has read, and holds.
            (plan.holds, plan.works) = ([0.0, 1.0][rng.usize(..2)], 0.1);
        }
        if rng.u32(..4) == 0 {
            plan.on_loss = SessionLoss::GiveUp;
        }
        if rng.u32(..3) == 0 {
            plan.goes_away = 0.01;
        }
        if several && rng.u32(..3) == 0 {
            // To and fro between servers that live, whose welcomes are lost now and then.
            (plan.failover, plan.unwelcome, plan.hop) = (1.0, 0.5, 0.05);
            (plan.restart, plan.expire) = (0.0, 0.0);
            plan.steps = 1000;
            plan.messages = 100;
            plan.any_host_takes_all();
        }
        if rng.u32(..4) > 0 {
            plan.sent_before = Some([0, 1000, Numbers::MAX_BEGIN - 1][rng.usize(..3)]);
            if rng.u32(..3) == 0 {
                plan.client_killed = 0.01;
                plan.any_host_takes_all();
            }
        }
        plan.sealed = rng.u32(..4) == 1;
        if rng.u32(..8) == 1 {
            plan.servers_on_loss = SessionLoss::GiveUp;
        }
        plan
    }

    fn any_host_takes_all(&mut self) {
        for limits in &mut self.hosts {
            limits.max_message = self.client.max_message;
            limits.window = limits.window.max(limits.max_message);
        }
    }

    fn client(&self, now: Instant) -> Session {
        let heartbeat = Heartbeat { interval: self.interval, misses: self.misses };
        Session::client(self.client, heartbeat, now).on_loss(self.on_loss)
    }
}

/// What happened, cheaply.
#[derive(Debug, Clone, Copy)]
struct Note {
    millis: u32,
    what: &'static str,
    one: u64,
    two: u64,
}

struct World {
    rng: Choices,
    origin: Instant,
    now: Instant,
    trace: Vec<Note>,
    plan: Plan,
    model: Model,
    client: Client,
    hosts: Vec<Host>,
    links: Vec<Link>,
    last_link: u64,
    last_epoch: u64,
    /// Those of all the client's processes.
    tokens: Vec<Token>,
    /// What handlers that were left behind have still to book.
    late: Vec<Numbered>,
    /// The client's application is gone.
    left: bool,
    /// A session was given up, since nobody came back for it in time.
    expired: bool,
    /// The adversary has stopped.
    calm: bool,
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

impl World {
    fn new(mut rng: Choices, origin: Instant) -> World {
        let plan = Plan::draw(&mut rng);
        let Token(first) = rng.token();
        let token = |host: usize| Token(first.map(|byte| byte.wrapping_add(host as u8)));
        let tokens: Vec<_> = (0..plan.hosts.len()).map(token).collect();
        let names = tokens.iter().map(|token| Name::new(*token)).collect();
        // Of any client another one, and of some none.
        let greeting = Bytes::copy_from_slice(&first[..usize::from(first[0]) % first.len()]);
        let session = plan.client(origin).greeting_with(greeting.clone());
        let client = ClientId(first.map(|byte| !byte));
        let numbers = plan.sent_before.map(|before| Numbers { client, first: before + 1 });
        let session = match numbers {
            Some(numbers) => session.numbered(numbers),
            None => session,
        };
        let host = |&limits: &Limits| Host { limits, server: None, last_hello: None, dies: None };
        World {
            rng,
            origin,
            now: origin,
            trace: Vec::with_capacity(1024),
            model: Model::new(plan.client, greeting, numbers),
            client: Client::new(session, names, origin),
            hosts: plan.hosts.iter().map(host).collect(),
            plan,
            links: Vec::new(),
            last_link: 0,
            last_epoch: 0,
            tokens,
            late: Vec::new(),
            left: false,
            expired: false,
            calm: false,
        }
    }

    fn note(&mut self, what: &'static str, one: u64, two: u64) {
        let millis = (self.now - self.origin).as_millis() as u32;
        self.trace.push(Note { millis, what, one, two });
    }

    fn chance(&mut self, chance: f64) -> bool {
        self.rng.chance(chance)
    }

    fn draw_len(&mut self, max: usize) -> usize {
        match self.chance(self.plan.large) {
            true => max - self.rng.usize(..3).min(max),
            false => self.rng.usize(..8).pow(2).min(max),
        }
    }

    fn link(&mut self, id: u64) -> &mut Link {
        self.links.iter_mut().find(|link| link.id == id).expect("a link that is not over")
    }

    #[cfg(test)]
    fn run(&mut self) {
        for _ in 0..self.plan.steps {
            self.storm();
        }
        self.calm_down();
        self.check_end();
    }

    fn drivers(&mut self) {
        self.client_driver();
        for host in 0..self.hosts.len() {
            self.server_driver(host);
        }
        self.links.retain(|link| !link.is_over());
    }

    /// One step of the adversary.
    #[cfg(test)]
    fn storm(&mut self) {
        let leap = self.chance(self.plan.leap);
        self.now += millis(if leap { self.rng.u64(..4000) } else { self.rng.u64(..8) });
        self.drivers();
        let host = self.rng.usize(..self.hosts.len());
        if self.chance(self.plan.cut) {
            self.cut();
        }
        if self.chance(self.plan.hop) {
            self.hop(host);
        }
        if self.chance(self.plan.restart) {
            self.restart(host);
        }
        if self.chance(self.plan.goes_away) {
            self.goes_away(host);
        }
        if self.chance(self.plan.expire) {
            self.expire(host);
        }
        if self.chance(self.plan.client_leaves) {
            let abort = self.rng.bool();
            self.client_leaves(abort);
        }
        if self.chance(self.plan.client_killed) {
            self.kill_client();
        }
        if self.chance(0.05) {
            self.commit_late();
        }
        for act in 0..self.plan.eager.len() {
            if self.rng.u32(..10) < self.plan.eager[act] {
                self.act(act, host);
            }
        }
    }

    fn act(&mut self, act: usize, host: usize) {
        match act {
            0 => self.client_feeds(),
            1 => {
                if self.chance(self.plan.works) {
                    self.client_works();
                }
                for _ in 0..self.rng.u32(..self.plan.burst) {
                    self.client_takes();
                }
            }
            2 => self.server_handles(host),
            _ if self.links.is_empty() => {}
            _ => {
                // The newest links are the ones that matter.
                let back = self.rng.usize(..self.links.len()).min(self.rng.usize(..4));
                let id = self.links[self.links.len() - 1 - back].id;
                let side = if self.rng.bool() { Side::Client } else { Side::Server };
                let most = if self.rng.bool() { usize::MAX } else { self.rng.usize(1..40) };
                self.pump(id, side, most);
                if self.link(id).slow && self.rng.u32(..16) > 0 {
                    return;
                }
                let most = if self.rng.bool() { usize::MAX } else { self.rng.usize(1..40) };
                self.deliver(id, side, most);
            }
        }
    }

    /// One side gives its link up.
    fn hop(&mut self, host: usize) {
        match (self.rng.bool(), self.hosts[host].server.as_ref().and_then(|s| s.link)) {
            (true, _) => self.client_loses("an error"),
            (false, Some(id)) => self.server_loses(id, "an error"),
            (false, None) => {}
        }
    }

    /// Cuts one direction of a link at any byte in flight; sometimes somebody is told.
    fn cut(&mut self) {
        let careful = self.is_without_heartbeat();
        if self.links.is_empty() {
            return;
        }
        let newest = self.rng.bool();
        let index = if newest { self.links.len() - 1 } else { self.rng.usize(..self.links.len()) };
        let told = careful || self.rng.bool();
        let at = self.now + millis(self.rng.u64(..300));
        let (offset, up) = (self.rng.fraction(), self.rng.bool());
        let link = &mut self.links[index];
        let id = link.id;
        let pipe = if up { &mut link.up } else { &mut link.down };
        let offset = (offset * (pipe.len() + 1) as f64) as usize;
        pipe.cut(offset);
        if told {
            pipe.eof.get_or_insert(at);
        }
        self.note(if up { "CUT up" } else { "CUT down" }, id, offset as u64);
    }

    /// Kills a server and starts it again: it knows nothing.
    fn restart(&mut self, host: usize) {
        self.note("RESTART", host as u64, 0);
        (self.hosts[host].server, self.hosts[host].dies) = (None, None);
        let told = self.now + millis(self.rng.u64(..300));
        for link in self.links.iter_mut().filter(|link| link.host == host) {
            link.server.open = false;
            link.up.cut(0);
            let offset = self.rng.usize(..=link.down.len());
            link.down.cut(offset);
            link.down.eof.get_or_insert(told);
        }
    }

    /// A server says that it goes away, and does so, whoever has heard it by then.
    fn goes_away(&mut self, host: usize) {
        let [after, spread, rest] = [(); 3].map(|()| millis(self.rng.u64(..300)));
        let spread = if self.rng.u32(..8) == 0 { Duration::MAX } else { spread };
        let Host { server: Some(server), dies: dies @ None, .. } = &mut self.hosts[host] else {
            return;
        };
        if !server.ended {
            server.session.go_away(GoingAway::new(after, spread));
            server.leaving = true;
            *dies = Some(self.now + rest);
            self.note("GOES AWAY", host as u64, rest.as_millis() as u64);
        }
    }

    fn is_without_heartbeat(&self) -> bool {
        self.plan.interval.is_none() || self.plan.server_interval.is_none()
    }

    /// The adversary is gone: everything comes to its end, in bounded time.
    fn calm_down(&mut self) {
        self.note("CALM", 0, 0);
        self.calm = true;
        let orderly = !self.client.session.status().closing
            && !self.left
            && self.hosts.iter().flat_map(|host| &host.server).all(|server| server.is_orderly());
        let careful = self.is_without_heartbeat();
        for link in &mut self.links {
            for pipe in [&mut link.up, &mut link.down] {
                if pipe.cut && careful {
                    pipe.eof.get_or_insert(self.now);
                }
            }
        }
        let limit = self.now + Duration::from_secs(90);
        while !self.is_settled() {
            let before = self.trace.len();
            self.drivers();
            self.client_feeds();
            self.client_works();
            while self.client_takes().is_some() && !self.model.is_client_drained() {}
            for host in 0..self.hosts.len() {
                self.server_handles(host);
            }
            self.commit_late();
            for index in 0..self.links.len() {
                let id = self.links[index].id;
                for side in [Side::Client, Side::Server] {
                    self.pump(id, side, usize::MAX);
                    self.deliver(id, side, usize::MAX);
                }
            }
            if self.trace.len() == before {
                assert!(!self.links.iter().any(Link::waits_for_answer), "no answer");
                let next = self.next_event().expect("nothing will ever happen again");
                self.now = self.now.max(next);
            }
            assert!(self.now < limit, "it does not come to an end");
            assert!(self.trace.len() < 100_000, "it runs in circles");
        }
        // A server may have left, said so, and been killed: its last words were on their way.
        let dismissed =
            self.client.session.peer_closed().is_some_and(|code| *code != CloseCode::Done);
        if orderly && !self.expired && !dismissed && !self.client.lost {
            self.check_orderly_end();
        }
    }

    /// Nobody left before both directions had ended.
    fn check_orderly_end(&mut self) {
        assert!(self.client.session.status().complete, "the client did not complete");
        if !self.client.session.status().closed_by_peer {
            // It was complete, and had nobody to say so to.
            let alone = self.hosts.len() > 1 || self.forgets();
            return assert!(alone, "the client did not part");
        }
        let Some(server) = &self.hosts[self.client.host].server else {
            return assert!(self.forgets(), "nothing is remembered");
        };
        // The last word may have been cut off.
        let cuts = self.plan.cut + self.plan.unwelcome + self.plan.hop;
        let parted = server.session.status().closed_by_peer || cuts > 0.0;
        assert!(parted, "the server did not part");
        if !self.model.is_ended_by(server.life) {
            // The client needs nothing of a session that it had to begin after its end.
            return;
        }
        assert!(server.session.status().complete, "the server did not complete");
        self.model.check_complete(server.life);
    }

    /// Servers are started again.
    fn forgets(&self) -> bool {
        self.plan.restart + self.plan.goes_away > 0.0
    }

    fn is_settled(&self) -> bool {
        let over = |host: &Host| host.server.as_ref().is_none_or(|server| server.ended);
        self.client.phase == Phase::Ended && self.hosts.iter().all(over)
    }

    fn next_event(&self) -> Option<Instant> {
        let eofs = self.links.iter().flat_map(|link| [link.up.eof, link.down.eof]);
        let servers = self.hosts.iter().flat_map(|host| &host.server);
        let deadlines =
            servers.filter_map(|server| server.deadline()).chain(self.client.deadline());
        let deadlines = deadlines.chain(self.hosts.iter().filter_map(|host| host.dies));
        // What is due by now was seen to before.
        deadlines.chain(eofs.flatten().filter(|eof| *eof > self.now)).min()
    }

    fn check_end(&mut self) {
        self.check_client_leftovers();
        if self.left {
            self.model.check_close();
        }
        while !self.left && !self.model.is_client_drained() {
            self.client_takes();
        }
        while !self.late.is_empty() {
            self.commit_late();
        }
        self.model.check_booked();
    }
}

/// One run: what went wrong, if anything, with all that led to it.
fn observe(mut world: World, run: fn(&mut World)) -> (Vec<Note>, Result<(), String>) {
    let result = catch_unwind(AssertUnwindSafe(|| run(&mut world))).map_err(|panic| {
        use std::fmt::Write;
        let mut report = format!("{:?}\n", world.plan);
        for Note { millis, what, one, two } in &world.trace {
            writeln!(report, "{millis:6} {what} {one} {two}").expect("a string");
        }
        let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        report + &text.unwrap_or_default()
    });
    (world.trace, result)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "one reading as the origin of a fake clock")]
mod tests;
