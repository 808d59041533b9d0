//! What happens, and when, to both clients at once.

use std::thread;
use std::time::{Duration, Instant};

use crate::echo::{Kind, Server};
use crate::port::Reserved;
use crate::proxy::{Direction, How, Proxy};
use crate::tally::Tally;
use crate::{Result, framed, naive};

/// Between two messages.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);
/// Silent heartbeats that make a link dead.
pub(crate) const MISSES: u32 = 2;
/// Of the proxy, in each direction.
const DELAY: Duration = Duration::from_millis(20);
/// Both links lose something in this time, in both directions.
const FORGETTING: Duration = Duration::from_millis(100);
const DEADLINE: Duration = Duration::from_secs(5);

/// The times of a run.
#[derive(Clone)]
pub(crate) struct Course {
    pub(crate) length: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) retry_delay: Duration,
    /// Messages are counted in intervals of this length.
    pub(crate) bin: Duration,
    /// Begin and end of each.
    plan: [(Duration, Duration); 3],
}

/// As it happened, since the beginning.
pub(crate) struct Outage {
    pub(crate) name: &'static str,
    pub(crate) begin: Duration,
    pub(crate) end: Duration,
}

impl Course {
    pub(crate) fn full() -> Course {
        let seconds = Duration::from_secs;
        Course {
            length: seconds(40),
            heartbeat: seconds(1),
            retry_delay: Duration::from_millis(500),
            bin: Duration::from_millis(250),
            plan: [(5, 9), (14, 22), (28, 32)].map(|(begin, end)| (seconds(begin), seconds(end))),
        }
    }

    pub(crate) fn quick() -> Course {
        let full = Course::full();
        Course {
            length: full.length / 5,
            heartbeat: full.heartbeat / 5,
            retry_delay: full.retry_delay / 5,
            bin: full.bin / 5,
            plan: full.plan.map(|(begin, end)| (begin / 5, end / 5)),
        }
    }

    pub(crate) fn messages(&self) -> usize {
        (self.length.as_nanos() / PAUSE.as_nanos()) as usize
    }

    /// With longlink, and without.
    pub(crate) fn run(&self) -> Result<(Vec<Outage>, [Tally; 2])> {
        let mut tracks = [Track::open(Kind::Longlink)?, Track::open(Kind::Lines)?];
        let [framed, naive] = [0, 1].map(|track| tracks[track].proxy.addr());
        let start = Start(now());
        thread::scope(|scope| {
            let framed = scope.spawn(move || framed::run(self, start, framed));
            let naive = scope.spawn(move || naive::run(self, start, naive));
            let outages = self.fail(start, &mut tracks);
            let framed = framed.join().map_err(|_| "panicked")??;
            let naive = naive.join().map_err(|_| "panicked")??;
            Ok((outages?, [framed, naive]))
        })
    }

    fn fail(&self, start: Start, tracks: &mut [Track; 2]) -> Result<Vec<Outage>> {
        let outages: [(&str, Change, Change); 3] = [
            ("reset, then refused", Track::reset, Track::admit),
            ("forgotten by a NAT", Track::forget, Track::reset_forgotten),
            ("server killed", Track::kill, Track::start_again),
        ];
        let mut happened = Vec::new();
        for ((name, begins, ends), (begin, end)) in outages.into_iter().zip(self.plan) {
            start.wait_until(begin);
            let begin = start.time();
            tracks.iter_mut().try_for_each(begins)?;
            start.wait_until(end);
            tracks.iter_mut().try_for_each(ends)?;
            happened.push(Outage { name, begin, end: start.time() });
        }
        Ok(happened)
    }
}

type Change = fn(&mut Track) -> Result<()>;

/// A way to a server.
struct Track {
    proxy: Proxy,
    server: Server,
    kind: Kind,
    port: Reserved,
}

impl Track {
    fn open(kind: Kind) -> Result<Track> {
        let port = Reserved::new();
        let server = Server::start(kind, port.addr())?;
        let proxy = Proxy::to(port.addr());
        proxy.delay(DELAY);
        Ok(Track { proxy, server, kind, port })
    }

    fn reset(&mut self) -> Result<()> {
        self.proxy.refuse(true);
        self.proxy.cut(How::Rst);
        Ok(())
    }

    fn admit(&mut self) -> Result<()> {
        self.proxy.refuse(false);
        Ok(())
    }

    /// The link that is there, and no later one.
    fn forget(&mut self) -> Result<()> {
        Direction::BOTH.into_iter().for_each(|way| self.proxy.swallow(way, true));
        let forgotten = self.proxy.wait_for(|stats| stats.black > 0, DEADLINE);
        rest(FORGETTING);
        Direction::BOTH.into_iter().for_each(|way| self.proxy.swallow(way, false));
        if forgotten { Ok(()) } else { Err("there was no link to forget".into()) }
    }

    fn reset_forgotten(&mut self) -> Result<()> {
        self.proxy.cut_black(How::Rst);
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        self.server.kill();
        Ok(())
    }

    fn start_again(&mut self) -> Result<()> {
        self.server = Server::start(self.kind, self.port.addr())?;
        Ok(())
    }
}

/// When the run began.
#[derive(Clone, Copy)]
pub(crate) struct Start(Instant);

impl Start {
    /// How long ago that is.
    pub(crate) fn time(self) -> Duration {
        self.0.elapsed()
    }

    pub(crate) fn wait_until(self, time: Duration) {
        rest(time.saturating_sub(self.time()));
    }
}

#[expect(clippy::disallowed_methods, reason = "a plot over time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "messages and outages have their times")]
pub(crate) fn rest(time: Duration) {
    thread::sleep(time);
}
