//! When to ping, and when the peer counts as dead.
//!
//! A side pings after *sending* nothing for an interval, and judges by what it
//! *receives*: any byte proves life. Death takes silence for the time agreed
//! and, within it, a ping that stayed unanswered for an interval; a side that
//! was too busy sending to ping therefore does so one interval before it
//! would judge.

use std::time::{Duration, Instant};

/// A verdict is passed on a second look, this much later, since the bytes that
/// would refute it may have been read and not yet been accounted for.
const SECOND_LOOK: Duration = Duration::from_millis(50);

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
    /// that the client, who can reconnect, is the first to notice.
    pub(crate) fn server(interval: Duration, misses: u32) -> Rhythm {
        Rhythm { ping_after: interval * 5 / 4, dead_after: interval * (misses + 1) }
    }
}

/// What is left to the kernel: it asks a silent peer after a while, and gives the
/// link up when the peer's kernel has acknowledged nothing for a longer while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Watch {
    pub(crate) asks: Duration,
    pub(crate) gives_up: Duration,
}

impl Watch {
    /// Of a link without any heartbeats.
    pub(crate) const ALONE: Watch =
        Watch { asks: Duration::from_secs(10), gives_up: Duration::from_secs(30) };

    /// Of a framed session. A side with heartbeats judges by itself: the kernel's
    /// questions would wake a peer that chose long intervals, and its patience
    /// would end sooner than what was granted. Nor does the kernel of a side without
    /// heartbeats ask more often, or grant less, than the peer that has them.
    pub(crate) fn framed(
        own: Option<Duration>,
        peer: Option<Duration>,
        misses: u32,
    ) -> Option<Watch> {
        if own.is_some() {
            return None;
        }
        let Some(interval) = peer else { return Some(Watch::ALONE) };
        let Rhythm { ping_after, dead_after } = Rhythm::server(interval, misses);
        let asks = ping_after.max(Watch::ALONE.asks);
        Some(Watch { asks, gives_up: dead_after.max(Watch::ALONE.gives_up) })
    }

    /// Of a client that speaks plain text: nothing answers its heartbeats.
    pub(crate) fn plain(interval: Option<Duration>, misses: u32) -> Watch {
        interval.map_or(Watch::ALONE, |interval| {
            let gives_up = interval * misses;
            Watch { asks: interval.max(gives_up / 3), gives_up }
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

#[derive(Debug)]
pub(crate) struct Pulse {
    rhythm: Option<Rhythm>,
    heard: Instant,
    sent: Instant,
    /// The oldest ping sent since something was heard.
    unanswered: Option<Instant>,
    /// The last ping, until its pong is here.
    pinged: Option<(u64, Instant)>,
    pings: u64,
    suspected: Option<Instant>,
    round_trip: Option<Duration>,
}

impl Pulse {
    pub(crate) fn new(rhythm: Option<Rhythm>, now: Instant) -> Pulse {
        Pulse {
            rhythm,
            heard: now,
            sent: now,
            unanswered: None,
            pinged: None,
            pings: 0,
            suspected: None,
            round_trip: None,
        }
    }

    /// A new link is up, on which nothing has happened yet.
    pub(crate) fn restart(&mut self, now: Instant) {
        (self.heard, self.sent) = (now, now);
        (self.unanswered, self.pinged, self.suspected) = (None, None, None);
    }

    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.unanswered = None;
        self.suspected = None;
    }

    pub(crate) fn sent(&mut self, now: Instant) {
        self.sent = now;
    }

    /// The pong of the last ping gives the round-trip time.
    pub(crate) fn pong(&mut self, id: u64, now: Instant) -> Option<Duration> {
        let (_, at) = self.pinged.take_if(|(pinged, _)| *pinged == id)?;
        self.round_trip = Some(now.saturating_duration_since(at));
        self.round_trip
    }

    /// Whoever looks after the times slept `late` beyond the time he wanted to
    /// (a suspended machine, a stopped process): the peer had no fair chance to
    /// be heard, and is asked again before it is judged.
    pub(crate) fn overslept(&mut self, late: Duration) {
        if self.rhythm.is_some_and(|rhythm| late > rhythm.ping_after / 2) {
            self.unanswered = None;
            self.suspected = None;
        }
    }

    /// Bytes of the peer are waiting to be read: it lives, whatever it says.
    pub(crate) fn has_queued(&mut self) {
        self.suspected = None;
    }

    pub(crate) fn tick(&mut self, now: Instant) -> Verdict {
        let Some(rhythm) = self.rhythm else { return Verdict::Alive };
        if now >= self.ping_at(rhythm) {
            self.pings += 1;
            self.pinged = Some((self.pings, now));
            self.unanswered.get_or_insert(now);
            // Whether or not the ping can be written now, another is not due.
            self.sent = now;
            return Verdict::Ping(self.pings);
        }
        match self.dead_at(rhythm) {
            Some(at) if now >= at => {}
            _ => return Verdict::Alive,
        }
        let suspected = *self.suspected.get_or_insert(now);
        if now < suspected + SECOND_LOOK {
            return Verdict::Alive;
        }
        Verdict::Dead(now.saturating_duration_since(self.heard))
    }

    /// When [`tick`](Pulse::tick) has something to say.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let rhythm = self.rhythm?;
        let dead_at = match self.suspected {
            Some(suspected) => Some(suspected + SECOND_LOOK),
            None => self.dead_at(rhythm),
        };
        let ping_at = self.ping_at(rhythm);
        Some(dead_at.map_or(ping_at, |at| at.min(ping_at)))
    }

    fn ping_at(&self, rhythm: Rhythm) -> Instant {
        let idle = self.sent + rhythm.ping_after;
        if self.unanswered.is_some() {
            return idle;
        }
        let margin = rhythm.dead_after.saturating_sub(rhythm.ping_after);
        idle.min(self.heard + margin.max(rhythm.ping_after))
    }

    fn dead_at(&self, rhythm: Rhythm) -> Option<Instant> {
        let asked = self.unanswered? + rhythm.ping_after;
        Some(asked.max(self.heard + rhythm.dead_after))
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "one reading as the origin of a fake clock")]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    /// Runs a pulse by its own deadlines until it says dead or `until` comes.
    /// `lives` tells whether a ping at that time is answered (at once).
    fn run(
        mut pulse: Pulse,
        start: Instant,
        until: Duration,
        mut step: impl FnMut(&mut Pulse, Duration, Verdict),
    ) -> Option<Duration> {
        let mut now = start;
        while now < start + until {
            let next = pulse.deadline()?;
            assert!(next >= now || pulse.tick(now) != Verdict::Alive, "a deadline in the past");
            now = now.max(next);
            let verdict = pulse.tick(now);
            if let Verdict::Dead(_) = verdict {
                return Some(now - start);
            }
            step(&mut pulse, now - start, verdict);
        }
        None
    }

    fn client(misses: u32) -> (Pulse, Instant) {
        let start = Instant::now();
        (Pulse::new(Some(Rhythm::client(INTERVAL, misses)), start), start)
    }

    #[test]
    fn an_idle_link_pings_once_an_interval_and_lives_while_answered() {
        let (pulse, start) = client(3);
        let mut pings = Vec::new();
        let died = run(pulse, start, INTERVAL * 5, |pulse, at, verdict| {
            if let Verdict::Ping(id) = verdict {
                pings.push(at.as_secs());
                assert_eq!(pulse.pong(id, start + at), Some(Duration::ZERO));
                pulse.heard(start + at);
            }
        });
        assert_eq!(died, None);
        assert_eq!(pings, [10, 20, 30, 40, 50]);
    }

    // Trap 3, idle and busy.
    #[test]
    fn silence_is_death_within_misses_and_one_intervals() {
        for misses in 1..6 {
            for busy in [false, true] {
                let (pulse, start) = client(misses);
                let died = run(pulse, start, INTERVAL * 20, |pulse, at, _| {
                    if busy {
                        pulse.sent(start + at);
                    }
                });
                let died = died.expect("a silent peer is dead");
                assert!(died >= INTERVAL * misses, "{misses} {busy}: {died:?}");
                assert!(died <= INTERVAL * (misses + 1) + SECOND_LOOK, "{misses} {busy}: {died:?}");
            }
        }
    }

    /// Whoever sends all the time has no reason to ping, and asks nevertheless,
    /// an interval before it judges.
    #[test]
    fn nobody_is_judged_who_was_not_asked() {
        for misses in 1..6 {
            let (pulse, start) = client(misses);
            let mut asked = None;
            let died = run(pulse, start, INTERVAL * 20, |pulse, at, verdict| {
                pulse.sent(start + at);
                if let Verdict::Ping(_) = verdict {
                    asked.get_or_insert(at);
                }
            });
            let (asked, died) = (asked.expect("asked"), died.expect("a silent peer is dead"));
            assert!(died >= asked + INTERVAL, "{misses}: asked at {asked:?}, judged at {died:?}");
        }
        // Nor by a judge who comes late, and finds all times past.
        let (mut pulse, start) = client(3);
        for late in 1..10 {
            assert!(!matches!(
                pulse.tick(start + INTERVAL * 9 + late * SECOND_LOOK),
                Verdict::Dead(_)
            ));
        }
    }

    #[test]
    fn one_miss_does_not_kill_a_peer_that_answers_slowly() {
        let (pulse, start) = client(1);
        let mut due = None;
        let died = run(pulse, start, INTERVAL * 10, |pulse, at, verdict| {
            if let Verdict::Ping(_) = verdict {
                due = Some(at + INTERVAL * 9 / 10);
            }
            if due.is_some_and(|due| at >= due) {
                pulse.heard(start + at);
            }
        });
        // The pong is only seen at the next deadline here, which is the judgement's own.
        assert!(died.is_none_or(|died| died > INTERVAL), "{died:?}");
    }

    // Trap 5.
    #[test]
    fn an_overslept_judge_asks_again_first() {
        let (mut pulse, start) = client(3);
        assert_eq!(pulse.tick(start + INTERVAL), Verdict::Ping(1));
        let now = start + INTERVAL * 100;
        pulse.overslept(INTERVAL * 98);
        assert_eq!(pulse.tick(now), Verdict::Ping(2));
        assert_eq!(pulse.tick(now), Verdict::Alive);
        pulse.heard(now + INTERVAL / 2);
        assert_eq!(pulse.tick(now + INTERVAL), Verdict::Ping(3));
        // And without an answer it judges in the end.
        let mut at = now + INTERVAL;
        while !matches!(pulse.tick(at), Verdict::Dead(_)) {
            at = pulse.deadline().unwrap();
            assert!(at < now + INTERVAL * 6);
        }
    }

    #[test]
    fn queued_bytes_put_the_verdict_off() {
        let (mut pulse, start) = client(3);
        let mut now = start;
        while pulse.suspected.is_none() {
            now = pulse.deadline().unwrap();
            assert!(!matches!(pulse.tick(now), Verdict::Dead(_)), "no second look");
        }
        pulse.has_queued();
        assert_eq!(pulse.tick(now + SECOND_LOOK), Verdict::Alive);
    }

    #[test]
    fn without_a_rhythm_nothing_is_ever_due() {
        let start = Instant::now();
        let mut pulse = Pulse::new(None, start);
        assert_eq!(pulse.deadline(), None);
        assert_eq!(pulse.tick(start + INTERVAL * 1000), Verdict::Alive);
    }

    #[test]
    fn the_kernel_does_not_contradict_what_was_agreed() {
        let hours = Some(Duration::from_secs(3 * 3600));
        for peer in [None, Some(INTERVAL), hours] {
            assert_eq!(Watch::framed(Some(INTERVAL), peer, 3), None, "it judges by itself");
        }
        assert_eq!(Watch::framed(None, None, 7), Some(Watch::ALONE));
        for interval in [100, 9_000, 10_000, 240_000, 86_400_000].map(Duration::from_millis) {
            for misses in [1, 2, 3, 1000] {
                let Watch { asks, gives_up } = Watch::framed(None, Some(interval), misses).unwrap();
                assert!(asks >= Watch::ALONE.asks && gives_up >= Watch::ALONE.gives_up);
                assert!(asks > interval, "the peer's ping comes first");
                assert!(gives_up >= interval * (misses + 1), "no less than was granted");
                let plain = Watch::plain(Some(interval), misses);
                assert!(plain.asks >= interval && plain.gives_up == interval * misses);
            }
        }
        assert_eq!(Watch::plain(None, 7), Watch::ALONE);
        assert_eq!(Watch::plain(Some(INTERVAL), 3).asks, INTERVAL);
    }

    #[test]
    fn only_the_last_pings_pong_counts() {
        let (mut pulse, start) = client(3);
        assert_eq!(pulse.tick(start + INTERVAL), Verdict::Ping(1));
        assert_eq!(pulse.tick(start + INTERVAL * 2), Verdict::Ping(2));
        assert_eq!(pulse.pong(1, start + INTERVAL * 2), None);
        let late = start + INTERVAL * 2 + Duration::from_millis(3);
        assert_eq!(pulse.pong(2, late), Some(Duration::from_millis(3)));
        assert_eq!(pulse.pong(2, late), None);
    }
}
