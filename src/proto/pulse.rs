//! When to ping, and when the peer counts as dead.
//!
//! A side pings after *sending* nothing for an interval, and once an interval behind
//! messages, to measure the round trip. It judges by what it *receives*: any byte proves
//! life. Death takes silence for the time agreed
//! and, within it, a ping that stayed unanswered for an interval; a side that
//! was too busy sending to ping therefore does so one interval before it
//! would judge.
//!
//! A ping waits behind what was sent before it, and on a slow path that can take
//! longer than any silence that was granted. So, where the system tells what the
//! peer's kernel has acknowledged, bytes that move in front of a ping are life, and
//! the peer is asked when the ping has arrived. What moves behind it is no life: the
//! kernel of a peer that hangs goes on acknowledging until its buffers are full.
//!
//! A kernel in the middle of the path, as a balancer's, acknowledges at once what it
//! passes on slowly, and proves nothing. So a side that never pings sends a PONG once in
//! an interval of its peer, as long as bytes come.
//!
//! A *check* asks out of turn, with or without heartbeats: after the machine slept,
//! or because the application knows that the network has changed. Its question is
//! about the path, and what the kernel of the peer acknowledges answers it, too.

use std::time::{Duration, Instant};

use super::heartbeat::Heartbeat;
use super::report::Excuse;

/// A verdict takes a second look, this much later: a thread may have read bytes that
/// refute it, and not have reported them yet.
const SECOND_LOOK: Duration = Duration::from_millis(50);

/// The longest time between the kernel's retransmissions is never set to less, however
/// short the heartbeats are: a long path needs it.
const SOON: Duration = Duration::from_secs(10);

/// About when the kernel by itself gives up what is not acknowledged.
const LATE: Duration = Duration::from_secs(15 * 60);

/// The times of one side's heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rhythm {
    /// Ping after sending nothing for this long.
    pub(crate) ping_after: Duration,
    /// Silence of this length is death.
    pub(crate) dead_after: Duration,
}

impl Rhythm {
    /// A client: it chose the interval.
    pub(crate) fn client(interval: Duration, misses: u32) -> Rhythm {
        Rhythm { ping_after: interval, dead_after: interval * misses }
    }

    /// A server keeps to the client's interval. It pings a little later, so
    /// that an idle link carries one pair per interval, and judges later, so
    /// that the client, which can reconnect, is the first to notice.
    pub(crate) fn server(interval: Duration, misses: u32) -> Rhythm {
        Rhythm { ping_after: interval * 5 / 4, dead_after: interval * (misses + 1) }
    }
}

/// What is left to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Watch {
    /// It asks a peer that has been silent for this long, and again after as long.
    pub(crate) asks: Option<Duration>,
    /// It gives the link up when the peer's kernel has acknowledged nothing for this long.
    pub(crate) gives_up: Duration,
    /// What is not acknowledged it sends again after at most this long: else that is
    /// put off for up to two minutes, when the path may be back long since.
    pub(crate) resends: Duration,
}

impl Watch {
    /// Of a link without any heartbeats.
    pub(crate) const ALONE: Watch = Watch {
        asks: Some(Duration::from_secs(10)),
        gives_up: Duration::from_secs(30),
        resends: SOON,
    };

    /// Of a framed session. A side with heartbeats judges by itself: the kernel's
    /// questions would wake a peer that chose long intervals, and its patience
    /// would end sooner than what was granted. Nor does the kernel of a side without
    /// heartbeats ask more often, or grant less, than the peer that has them.
    pub(crate) fn framed(own: Heartbeat, peer: Option<Duration>) -> Watch {
        let Some(interval) = peer.or(own.interval) else { return Watch::ALONE };
        let resends = interval.max(SOON);
        let Rhythm { ping_after, dead_after } = Rhythm::server(interval, own.misses);
        if own.interval.is_some() {
            // What a process leaves behind that ends without a word is not kept for ever.
            return Watch { asks: None, gives_up: LATE.max(dead_after * 2), resends };
        }
        let asks = Watch::ALONE.asks.max(Some(ping_after));
        Watch { asks, gives_up: dead_after.max(Watch::ALONE.gives_up), resends }
    }

    /// Of a client that speaks plain text: nothing answers its heartbeats.
    pub(crate) fn plain(Heartbeat { interval, misses }: Heartbeat) -> Watch {
        interval.map_or(Watch::ALONE, |interval| {
            let gives_up = interval * misses;
            let asks = Some(interval.max(gives_up / 3));
            Watch { asks, gives_up, resends: interval.max(SOON) }
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Alive,
    /// A ping is due.
    Ping(u64),
    /// Nothing was heard for this long.
    Dead(Duration),
}

/// A ping that was not answered.
#[derive(Debug, Clone, Copy)]
struct Asked {
    at: Instant,
    /// Where it ends among the bytes of the link, once it is one of them.
    end: Option<u64>,
    /// How many of these were acknowledged at the last look.
    acknowledged: Option<u64>,
    /// The last look showed that it is under way.
    approaches: bool,
}

/// A question out of turn.
#[derive(Debug, Clone, Copy)]
struct Check {
    within: Duration,
    due: Instant,
    /// What was acknowledged when it was asked.
    acknowledged: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Pulse {
    rhythm: Option<Rhythm>,
    /// After how long without sending the peer pings.
    peer_interval: Option<Duration>,
    heard: Instant,
    sent: Instant,
    /// The oldest ping sent since something was heard.
    unanswered: Option<Asked>,
    check: Option<Box<Check>>,
    /// How many pings there were: the number of the last one.
    pings: u64,
    /// When the last ping of this link was due; whether its pong is still missing.
    pinged: Instant,
    awaits_pong: bool,
    /// What is to be written: the last ping, and the pong of a ping that came.
    ping_due: bool,
    pong_due: Option<u64>,
    suspected: Option<Instant>,
    round_trip: Option<Duration>,
}

impl Pulse {
    pub(crate) fn new(rhythm: Option<Rhythm>, now: Instant) -> Pulse {
        Pulse {
            rhythm,
            peer_interval: None,
            heard: now,
            sent: now,
            unanswered: None,
            check: None,
            pings: 0,
            pinged: now,
            awaits_pong: false,
            ping_due: false,
            pong_due: None,
            suspected: None,
            round_trip: None,
        }
    }

    /// The times of the link that comes next.
    pub(crate) fn set_rhythm(&mut self, rhythm: Option<Rhythm>) {
        self.rhythm = rhythm;
    }

    /// After how long without sending this side pings.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.rhythm.map(|rhythm| rhythm.ping_after)
    }

    /// A new link is up, on which nothing has happened yet, and the peer pings after
    /// this interval.
    pub(crate) fn restart(&mut self, peer_interval: Option<Duration>, now: Instant) {
        let Pulse { rhythm, pings, round_trip, .. } = *self;
        *self = Pulse { peer_interval, pings, round_trip, ..Pulse::new(rhythm, now) };
    }

    /// Bytes came. If this side does not ping, and has sent nothing for the interval of its
    /// peer, a PONG is due that nothing asked for.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.acquit();
        let due = |interval: Duration| now >= self.sent + interval.max(Heartbeat::SHORTEST);
        if self.rhythm.is_none() && self.peer_interval.is_some_and(due) {
            // It answers no ping: those are numbered from 1.
            self.pong_due.get_or_insert(0);
        }
    }

    /// No question is open.
    fn acquit(&mut self) {
        (self.unanswered, self.check, self.suspected) = (None, None, None);
    }

    pub(crate) fn sent(&mut self, now: Instant) {
        self.sent = now;
    }

    /// Messages were written. Where they go both ways, no silence ever asks for a ping. So
    /// that the round trip is known there, too, a ping follows messages once an interval.
    /// The peer is not judged by its answer.
    pub(crate) fn sent_messages(&mut self, now: Instant) {
        if self.rhythm.is_some_and(|rhythm| now >= self.pinged + rhythm.ping_after) {
            self.number_ping(now);
        }
    }

    /// The peer pings. At most one answer waits; the newest says all.
    pub(crate) fn ping(&mut self, id: u64) {
        self.pong_due = Some(id);
    }

    /// Whether a ping or a pong is to be written.
    pub(crate) fn has_output(&self) -> bool {
        self.ping_due || self.pong_due.is_some()
    }

    pub(crate) fn take_ping(&mut self) -> Option<u64> {
        std::mem::take(&mut self.ping_due).then_some(self.pings)
    }

    pub(crate) fn take_pong(&mut self) -> Option<u64> {
        self.pong_due.take()
    }

    /// The pong of the last ping gives the round-trip time.
    pub(crate) fn pong(&mut self, id: u64, now: Instant) -> Option<Duration> {
        if id != self.pings || !std::mem::take(&mut self.awaits_pong) {
            return None;
        }
        self.round_trip = Some(now.saturating_duration_since(self.pinged));
        self.round_trip
    }

    /// A ping was moved into a batch, up to this position among the bytes of the link.
    pub(crate) fn asked(&mut self, end: u64) {
        if let Some(asked) = &mut self.unanswered {
            asked.end.get_or_insert(end);
        }
    }

    /// The peer's kernel has acknowledged the bytes before this position. That is to
    /// be looked at with each ping and before each verdict.
    pub(crate) fn reached(&mut self, acknowledged: u64, now: Instant) {
        let moved = |before: Option<u64>| before.is_some_and(|before| before < acknowledged);
        if self.check.take_if(|check| moved(check.acknowledged)).is_some() {
            self.suspected = None;
        }
        let Some(asked) = &mut self.unanswered else { return };
        let moves = moved(asked.acknowledged.replace(acknowledged));
        let arrived = asked.end.is_some_and(|end| end <= acknowledged);
        let approached = std::mem::replace(&mut asked.approaches, moves && !arrived);
        // When it arrives after that, its answer is not due before an interval later.
        if asked.approaches || (arrived && approached) {
            asked.at = now;
            self.heard = now;
            self.suspected = None;
        }
    }

    /// Asks the peer out of turn, unless a check is under way: its answer is due
    /// `within` this time. `acknowledged` is what [`reached`](Pulse::reached) would
    /// be told now.
    pub(crate) fn check(&mut self, within: Duration, acknowledged: Option<u64>, now: Instant) {
        if self.check.is_none() {
            let due = now.checked_add(within);
            self.check = due.map(|due| Box::new(Check { within, due, acknowledged }));
            self.ask(now);
        }
    }

    /// The peer is not judged by its silence yet. Returns whether a check is to
    /// begin anew.
    pub(crate) fn excuse(&mut self, excuse: Excuse) -> bool {
        match excuse {
            // It lives, whatever it says.
            Excuse::Queued => {
                (self.check, self.suspected) = (None, None);
                false
            }
            // As in a process that was stopped. The peer had no fair chance to be heard,
            // and is asked again before it is judged.
            Excuse::Overslept(late) => {
                if self.rhythm.is_some_and(|rhythm| late > rhythm.ping_after / 2) {
                    (self.unanswered, self.suspected) = (None, None);
                }
                let check = self.check.take_if(|check| late > check.within / 2);
                check.inspect(|_| self.suspected = None).is_some()
            }
            // Whatever was asked before is asked anew.
            Excuse::Suspended => {
                self.acquit();
                true
            }
        }
    }

    pub(crate) fn tick(&mut self, now: Instant) -> Verdict {
        if self.ping_at().is_some_and(|at| now >= at) {
            return Verdict::Ping(self.ask(now));
        }
        match self.dead_at() {
            Some(at) if now >= at => {}
            _ => return Verdict::Alive,
        }
        let suspected = *self.suspected.get_or_insert(now);
        if now < suspected + SECOND_LOOK {
            return Verdict::Alive;
        }
        Verdict::Dead(now.saturating_duration_since(self.heard))
    }

    fn ask(&mut self, now: Instant) -> u64 {
        let asked = Asked { at: now, end: None, acknowledged: None, approaches: false };
        self.unanswered.get_or_insert(asked);
        // Whether or not the ping can be written now, another is not due.
        self.sent = now;
        self.number_ping(now)
    }

    fn number_ping(&mut self, now: Instant) -> u64 {
        self.pings += 1;
        (self.pinged, self.awaits_pong, self.ping_due) = (now, true, true);
        self.pings
    }

    /// When [`tick`](Pulse::tick) has something to say.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let dead_at = match self.suspected {
            Some(suspected) => Some(suspected + SECOND_LOOK),
            None => self.dead_at(),
        };
        dead_at.into_iter().chain(self.ping_at()).min()
    }

    fn ping_at(&self) -> Option<Instant> {
        let rhythm = self.rhythm?;
        let idle = self.sent + rhythm.ping_after;
        if self.unanswered.is_some() {
            return Some(idle);
        }
        let margin = rhythm.dead_after.saturating_sub(rhythm.ping_after);
        Some(idle.min(self.heard + margin.max(rhythm.ping_after)))
    }

    fn dead_at(&self) -> Option<Instant> {
        let silent = self.rhythm.zip(self.unanswered).map(|(rhythm, asked)| {
            (asked.at + rhythm.ping_after).max(self.heard + rhythm.dead_after)
        });
        silent.into_iter().chain(self.check.as_ref().map(|check| check.due)).min()
    }

    /// How long a server may take, at most, to notice the loss of a link that its client with
    /// this heartbeat has noticed. The server's misses are not known: twice the time is allowed
    /// that the client's would take.
    pub(crate) fn noticed_within(&self, own: Heartbeat) -> Duration {
        let silence = match self.peer_interval {
            // See [`Rhythm::server`].
            Some(ping_after) => Rhythm::server(ping_after * 4 / 5, own.misses).dead_after,
            None => Watch::framed(Heartbeat { interval: None, ..own }, own.interval).gives_up,
        };
        silence * 2
    }

    /// Whether a check is under way.
    pub(crate) fn is_checking(&self) -> bool {
        self.check.is_some()
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "one reading as the origin of a fake clock")]
mod tests;
