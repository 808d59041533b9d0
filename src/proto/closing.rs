//! How long a connection that closes goes on.
//!
//! It survives what the open connection would survive: while there is no link,
//! the retry policy bounds it, or the time to resume; and on a slow path it goes
//! on for as long as messages move. If the peer lives and takes nothing, it ends after
//! its *patience*. Heartbeats are no headway: they move although nothing else does.

use std::time::{Duration, Instant};

/// Headway is looked for so many times within the patience, so the end may come
/// late by that fraction of it.
const LOOKS: u32 = 8;

/// What has moved, as far as this side can tell. Any change is headway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Headway {
    /// How many messages the peer's application has acknowledged.
    pub(crate) acknowledged: u64,
    /// How many bytes of messages the peer's kernel has acknowledged on the present
    /// link, if that is known.
    pub(crate) reached: Option<u64>,
}

/// A close under way, with something that is not acknowledged.
#[derive(Debug)]
pub(crate) struct Closing {
    patience: Duration,
    headway: Headway,
    /// When headway was last seen; `None` while there is no link.
    moved: Option<Instant>,
    /// For how long there had been none, with a link, when the last link was lost.
    idle: Duration,
    begun: Instant,
    looked: Instant,
}

impl Closing {
    pub(crate) fn new(patience: Duration, now: Instant) -> Closing {
        let headway = Headway { acknowledged: 0, reached: None };
        Closing { patience, headway, moved: None, idle: Duration::ZERO, begun: now, looked: now }
    }

    /// There is no link, so what bounds an outage bounds the close. If the lost link has
    /// `moved` nothing, the time without headway goes on with the next one.
    pub(crate) fn link_lost(&mut self, moved: bool, now: Instant) {
        if let Some(since) = self.moved.take() {
            self.idle = now.saturating_duration_since(since);
        }
        if moved {
            self.idle = Duration::ZERO;
        }
        self.headway.reached = Some(0);
    }

    /// When it ends if the link was `lost` then, nothing else bounds the outage, and only
    /// the end is not acknowledged.
    pub(crate) fn alone_until(&self, lost: Option<Instant>) -> Option<Instant> {
        lost.into_iter().chain([self.begun]).max()?.checked_add(self.patience)
    }

    /// Whether it is time to look, since there is a link.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_none_or(|at| now >= at)
    }

    /// When to look next; `None` without a link.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let moved = self.moved?;
        let look = self.looked.checked_add(self.patience / LOOKS);
        look.into_iter().chain(moved.checked_add(self.patience)).min()
    }

    /// There is a link, and this is how far things are. Returns whether the patience
    /// is over.
    pub(crate) fn look(&mut self, headway: Headway, now: Instant) -> bool {
        self.looked = now;
        let reached = headway.reached.or(self.headway.reached);
        let headway = Headway { reached, ..headway };
        if self.headway != headway {
            self.headway = headway;
            (self.moved, self.idle) = (None, Duration::ZERO);
        }
        let idle = now.checked_sub(self.idle).unwrap_or(now);
        let moved = *self.moved.get_or_insert(idle);
        now.saturating_duration_since(moved) >= self.patience
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "one reading as the origin of a fake clock")]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(8);
    const SECOND: Duration = Duration::from_secs(1);

    /// Looks whenever it is due. Returns when the patience was over, if it was by then.
    fn run(
        closing: &mut Closing,
        start: Instant,
        seconds: u32,
        headway: impl Fn(u64) -> Headway,
    ) -> Option<Duration> {
        let end = start + SECOND * seconds;
        let mut now = start;
        while now < end {
            if closing.look(headway((now - start).as_secs()), now) {
                return Some(now - start);
            }
            let next = closing.deadline().expect("there is a link");
            assert!(next > now, "it looks again at once");
            now = next;
        }
        None
    }

    fn at(acknowledged: u64, reached: u64) -> Headway {
        Headway { acknowledged, reached: Some(reached) }
    }

    #[test]
    fn a_peer_that_takes_nothing_ends_it_after_the_patience() {
        let now = Instant::now();
        let mut closing = Closing::new(PATIENCE, now);
        assert_eq!(run(&mut closing, now, 100, |_| at(3, 500)), Some(PATIENCE));
    }

    #[test]
    fn it_goes_on_while_messages_move() {
        let now = Instant::now();
        let acknowledged = |second: u64| at(second / 7, 500);
        assert_eq!(run(&mut Closing::new(PATIENCE, now), now, 1000, acknowledged), None);
        let reached = |second: u64| at(3, second / 7);
        assert_eq!(run(&mut Closing::new(PATIENCE, now), now, 1000, reached), None);
        // And for no longer.
        let idle = |second: u64| at(3, second.min(100));
        let over = run(&mut Closing::new(PATIENCE, now), now, 1000, idle).expect("it is idle");
        let late = over - SECOND * 100;
        assert!(late >= PATIENCE && late <= PATIENCE + PATIENCE / LOOKS, "{late:?}");
    }

    #[test]
    fn a_time_without_a_link_does_not_count() {
        let start = Instant::now();
        let mut closing = Closing::new(PATIENCE, start);
        assert!(closing.is_due(start) && closing.deadline().is_none());
        assert!(!closing.look(at(0, 9), start));
        assert!(!closing.is_due(start));
        closing.link_lost(false, start);
        assert_eq!(closing.deadline(), None);
        // The new link has carried as much as the old one by chance.
        let back = start + SECOND * 3600;
        assert!(closing.is_due(back));
        assert_eq!(run(&mut closing, back, 100, |_| at(0, 9)), Some(PATIENCE));
    }

    /// Else a link that breaks again and again keeps it going for ever.
    #[test]
    fn links_that_move_nothing_share_one_patience() {
        for moved in [false, true] {
            let mut now = Instant::now();
            let mut closing = Closing::new(PATIENCE, now);
            let over = (0..100).find(|_| {
                let ended = run(&mut closing, now, 3, |_| at(3, 0));
                closing.link_lost(moved, now + SECOND * 3);
                now += SECOND * 60;
                ended.is_some()
            });
            // 3, 6, and 8 s.
            assert_eq!(over, if moved { None } else { Some(2) });
        }
    }

    #[test]
    fn alone_it_goes_on_for_its_patience() {
        let begun = Instant::now();
        let closing = Closing::new(PATIENCE, begun);
        let minute = SECOND * 60;
        assert_eq!(closing.alone_until(None), Some(begun + PATIENCE));
        assert_eq!(closing.alone_until(begun.checked_sub(minute)), Some(begun + PATIENCE));
        assert_eq!(closing.alone_until(Some(begun + minute)), Some(begun + minute + PATIENCE));
        assert_eq!(Closing::new(Duration::MAX, begun).alone_until(None), None);
    }

    #[test]
    fn no_patience_is_over_at_the_first_look() {
        let now = Instant::now();
        assert!(Closing::new(Duration::ZERO, now).look(at(0, 0), now));
        let mut endless = Closing::new(Duration::MAX, now);
        assert!(!endless.look(at(0, 0), now));
        assert!(endless.deadline().is_none_or(|at| at > now + SECOND * (1 << 31)));
    }
}
