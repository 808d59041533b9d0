//! What happens to the links and to the processes. What is done follows from the seed; when, from
//! the machine as well.

use std::sync::{Condvar, Mutex, RwLock};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::journal::Journal;
use crate::plan::{Side, mix};
use crate::player::{DEATH, INTERVAL};
use crate::process::Process;
use crate::proxy::{Direction, How, Proxy};
use crate::watch::now;

/// What a process or a link may be held up without anybody having to notice; two of them at once
/// and a busy machine are still far from a death.
const BRIEF: Duration = Duration::from_millis(800);

/// How much later than it should a death may be noticed, on a busy machine.
const SLACK: Duration = Duration::from_secs(4);

/// The way of one connection, and of its successors.
pub(crate) struct Slot {
    pub(crate) proxy: Proxy,
    /// Its server is killed now and then.
    pub(crate) is_mortal: bool,
    /// Whether each side may take the other for dead.
    excuses: Mutex<[Excuse; 2]>,
}

#[derive(Clone, Copy)]
struct Excuse {
    /// What is going on that is silence to this side.
    reasons: u32,
    /// And for how long it may still act on it.
    until: Instant,
}

impl Slot {
    pub(crate) fn new(proxy: Proxy, is_mortal: bool) -> Slot {
        let none = Excuse { reasons: 0, until: now() };
        Slot { proxy, is_mortal, excuses: Mutex::new([none; 2]) }
    }

    /// Whether the adversary has given this side a reason to take the other for dead.
    pub(crate) fn is_excused(&self, side: Side) -> bool {
        let Excuse { reasons, until } = self.excuses.lock().unwrap()[side as usize];
        reasons > 0 || now() < until
    }

    fn begin_excuse(&self, side: Side) {
        self.excuses.lock().unwrap()[side as usize].reasons += 1;
    }

    fn end_excuse(&self, side: Side, after: Duration) {
        let excuse = &mut self.excuses.lock().unwrap()[side as usize];
        excuse.reasons -= 1;
        excuse.until = excuse.until.max(now() + after);
    }
}

#[derive(Default)]
pub(crate) struct Adversary {
    over: Mutex<bool>,
    ended: Condvar,
    /// Read by whoever does something to a link, written by whoever needs all links to be well.
    calm: RwLock<()>,
}

impl Adversary {
    /// Whatever is going on is put right, and nothing begins any more.
    pub(crate) fn end(&self) {
        *self.over.lock().unwrap() = true;
        self.ended.notify_all();
    }

    /// Waits; returns whether it is over.
    fn waits(&self, time: Duration) -> bool {
        let over = self.over.lock().unwrap();
        let (over, _) = self.ended.wait_timeout_while(over, time, |over| !*over).unwrap();
        *over
    }

    /// Makes trouble on the way of one connection, until it is over.
    pub(crate) fn harass(&self, seed: u64, number: usize, slot: &Slot, journal: &Journal) {
        let mut rng = Rng::with_seed(mix(&[seed, 1, number as u64]));
        // On some ways nothing is ever silent, so that nobody has an excuse there.
        let silences = !number.is_multiple_of(3) && !slot.is_mortal;
        while !self.waits(millis(&mut rng, 20..1500)) {
            let _calm = self.calm.read().unwrap();
            let say = |what: String| journal.write(format_args!("slot {number}: {what}"));
            match rng.u32(..if silences { 5 } else { 3 }) {
                3 | 4 => self.silence(slot, &mut rng, say),
                _ => self.disturb(&slot.proxy, &mut rng, say),
            }
            // An outage ends before the next one begins.
            let (begun, then) = (now(), slot.proxy.stats());
            let is_back = || {
                let now = slot.proxy.stats();
                now.up > then.up + 500 && now.down > then.down + 500
            };
            while !is_back() && begun.elapsed() < DEATH * 2 {
                if self.waits(Duration::from_millis(20)) {
                    break;
                }
            }
        }
        // An order that is still open would cut when it is over.
        Direction::BOTH.iter().for_each(|way| slot.proxy.cut_after(*way, u64::MAX, How::Fin));
    }

    /// Does what nobody may take for a death.
    fn disturb(&self, proxy: &Proxy, rng: &mut Rng, say: impl Fn(String)) {
        let how = if rng.bool() { How::Fin } else { How::Rst };
        let way = if rng.bool() { Direction::Up } else { Direction::Down };
        let brief = brief(rng);
        match rng.u32(..9) {
            0 | 1 => {
                say(format!("cut by {how:?}"));
                proxy.cut(how);
            }
            2 | 3 => {
                let most = *rng.choice(&[200, 20_000, 1_000_000]).expect("there are three");
                let bytes = rng.u64(..most);
                say(format!("to be cut by {how:?} behind {bytes} bytes {way:?}"));
                proxy.cut_after(way, bytes, how);
            }
            4 => {
                let cuts = rng.u32(2..8);
                say(format!("cut {cuts} times by {how:?}"));
                for _ in 0..cuts {
                    proxy.cut(how);
                    self.waits(millis(rng, 0..100));
                }
            }
            5 => {
                say(format!("sliced for {brief:?}"));
                proxy.slice(true);
                self.waits(brief);
                proxy.slice(false);
            }
            6 => {
                let delay = millis(rng, 1..150);
                say(format!("delayed by {delay:?} for {:?}", brief * 4));
                proxy.delay(delay);
                self.waits(brief * 4);
                proxy.delay(Duration::ZERO);
            }
            7 => {
                let fault = *rng
                    .choice(&[Proxy::refuse, Proxy::accept_and_close, Proxy::hold_connect])
                    .expect("there are three");
                say(format!("cut by {how:?}, and nobody gets through for {:?}", brief * 4));
                fault(proxy, true);
                proxy.cut(how);
                self.waits(brief * 4);
                fault(proxy, false);
            }
            _ => {
                say(format!("stalled {way:?} for {brief:?}"));
                proxy.stall(way, true);
                self.waits(brief);
                proxy.stall(way, false);
            }
        }
    }

    /// Does what only a heartbeat can notice.
    fn silence(&self, slot: &Slot, rng: &mut Rng, say: impl Fn(String)) {
        let (proxy, brief, long) = (&slot.proxy, brief(rng), long(rng));
        let ways = match rng.u32(..3) {
            0 => &[Direction::Up][..],
            1 => &[Direction::Down],
            _ => &Direction::BOTH,
        };
        Side::BOTH.iter().for_each(|side| slot.begin_excuse(*side));
        if rng.u32(..3) == 0 {
            say(format!("stalled {ways:?} for {long:?}"));
            ways.iter().for_each(|way| proxy.stall(*way, true));
            self.waits(long);
            ways.iter().for_each(|way| proxy.stall(*way, false));
        } else {
            // In time for the heartbeats to notice, even of a process that is stopped meanwhile;
            // or before.
            let cut = if rng.bool() { DEATH * 3 } else { brief };
            say(format!("swallowed {ways:?} for {brief:?}, to be cut after {cut:?}"));
            let begun = now();
            ways.iter().for_each(|way| proxy.swallow(*way, true));
            self.waits(brief);
            ways.iter().for_each(|way| proxy.swallow(*way, false));
            while proxy.stats().black > 0 && begun.elapsed() < cut {
                if self.waits(Duration::from_millis(20)) {
                    break;
                }
            }
            proxy.cut_black(How::Rst);
        }
        Side::BOTH.iter().for_each(|side| slot.end_excuse(*side, DEATH + SLACK));
    }

    /// Stops and continues client and server.
    pub(crate) fn stop_and_go(
        &self,
        seed: u64,
        client: &Process,
        server: &Process,
        slots: &[Slot],
        journal: &Journal,
    ) {
        let mut rng = Rng::with_seed(mix(&[seed, 2]));
        while !self.waits(millis(&mut rng, 1000..8000)) {
            let (brief, long) = (brief(&mut rng), long(&mut rng));
            let (process, side) =
                if rng.bool() { (client, Side::Client) } else { (server, Side::Server) };
            match rng.u32(..6) {
                0 => {
                    // The client has a question open when it is stopped, and when it goes on there
                    // is no answer at once: it is to ask again before it judges. But then the
                    // answer has to come through.
                    let _calm = self.calm.write().unwrap();
                    journal.write(format_args!("both are stopped for {long:?}"));
                    let mortal = slots.iter().filter(|slot| slot.is_mortal);
                    server.signal("STOP");
                    self.waits(INTERVAL + brief);
                    self.stop(client, Side::Client, mortal, long);
                    self.waits(INTERVAL / 5);
                    server.signal("CONT");
                    self.waits(DEATH);
                }
                1 | 2 => {
                    journal.write(format_args!("the {} is stopped for {long:?}", side.name()));
                    let slots = slots.iter().filter(|slot| side == Side::Client || !slot.is_mortal);
                    self.stop(process, side, slots, long);
                }
                _ => {
                    journal.write(format_args!("the {} is stopped for {brief:?}", side.name()));
                    self.stop(process, side, [].iter(), brief);
                }
            }
        }
    }

    /// Stops a process, of which it is silence to the other side in these slots; it is to know that
    /// it was itself.
    fn stop<'a>(
        &self,
        process: &Process,
        side: Side,
        slots: impl Iterator<Item = &'a Slot> + Clone,
        time: Duration,
    ) {
        slots.clone().for_each(|slot| slot.begin_excuse(side.other()));
        process.signal("STOP");
        self.waits(time);
        process.signal("CONT");
        slots.for_each(|slot| slot.end_excuse(side.other(), SLACK));
    }

    /// Kills the mortal server again and again, and starts another one.
    pub(crate) fn kill(
        &self,
        seed: u64,
        mortal: &mut Process,
        mut start: impl FnMut() -> Process,
        journal: &Journal,
    ) {
        let mut rng = Rng::with_seed(mix(&[seed, 3]));
        while !self.waits(millis(&mut rng, 500..6000)) {
            if rng.u32(..4) == 0 {
                mortal.signal("STOP");
                self.waits(brief(&mut rng));
            }
            let down = millis(&mut rng, 0..2000);
            journal.write(format_args!("the mortal server is killed, and down for {down:?}"));
            mortal.kill();
            self.waits(down);
            *mortal = start();
        }
    }
}

fn brief(rng: &mut Rng) -> Duration {
    millis(rng, 20..BRIEF.as_millis() as u64)
}

fn long(rng: &mut Rng) -> Duration {
    DEATH + millis(rng, 0..1500)
}

fn millis(rng: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}
