//! How long a secured link may last: behind that, its peer has to show again who it is.

use std::time::{Duration, Instant, SystemTime};

use crate::error::Cause;
use crate::sync;

/// A link of a client lasts for this long, and up to a tenth more. One of a server may last for
/// another tenth: so it is the client that makes another, and knows why. A client keeps the socket
/// until then: see [`State::lose`](super::State::lose).
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the links of one connection last. `random` is uniform in 0..=`u32::MAX`, so that
/// the clients of a restarted server do not come back in step for ever.
pub(crate) fn lasts(day: Duration, is_server: bool, random: u32) -> Duration {
    let tenth = day / 10;
    let jitter = tenth.mul_f64(f64::from(random) / f64::from(u32::MAX));
    day + jitter + if is_server { tenth } else { Duration::ZERO }
}

/// The term of one link.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Term {
    /// The handshake is too long ago then.
    aged: Option<Instant>,
    /// The peer's credential counts no more then.
    expired: Option<Instant>,
}

impl Term {
    /// Of a link that is made `now`, and may last for so long.
    pub(super) fn new(lasts: Option<Duration>, now: Instant) -> Term {
        Term { aged: lasts.and_then(|lasts| now.checked_add(lasts)), expired: None }
    }

    /// At `now` it was this time of the day. If that is set later, the term stays: the next
    /// handshake is soon enough.
    pub(super) fn expires(&mut self, at: SystemTime, now: Instant, time: SystemTime) {
        self.expired = Some(sync::add(now, at.duration_since(time).unwrap_or_default()));
    }

    pub(super) fn deadline(self) -> Option<Instant> {
        [self.aged, self.expired].into_iter().flatten().min()
    }

    /// Why it is over, if it is.
    pub(super) fn over(self, now: Instant) -> Option<Cause> {
        let has_come = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        match () {
            () if has_come(self.expired) => Some(Cause::Expired),
            () if has_come(self.aged) => Some(Cause::Aged),
            () => None,
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "one reading as the origin of a fake clock")]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    #[test]
    fn a_link_lasts_a_day_and_up_to_a_fifth_more_and_the_client_is_first() {
        let hours = |is_server| {
            [0, u32::MAX / 2, u32::MAX]
                .map(|random| (lasts(DAY, is_server, random).as_secs_f64() / 360.0).round() / 10.0)
        };
        assert_eq!(hours(false), [24.0, 25.2, 26.4]);
        assert_eq!(hours(true), [26.4, 27.6, 28.8]);
    }

    #[test]
    fn what_comes_first_ends_it_and_says_why() {
        let (now, time) = (Instant::now(), SystemTime::UNIX_EPOCH + 1000 * HOUR);
        let term = |lasts: Option<u32>, expires: Option<u32>| {
            let mut term = Term::new(lasts.map(|hours| hours * HOUR), now);
            if let Some(hours) = expires {
                term.expires(SystemTime::UNIX_EPOCH + (1000 + hours) * HOUR, now, time);
            }
            let at = term.deadline();
            if let Some(at) = at.filter(|at| *at > now) {
                assert!(term.over(at - Duration::from_nanos(1)).is_none());
            }
            at.map(|at| ((at - now).as_secs() / 3600, format!("{:?}", term.over(at).unwrap())))
        };
        assert_eq!(term(None, None), None);
        assert_eq!(term(Some(24), None), Some((24, "Aged".into())));
        assert_eq!(term(None, Some(30)), Some((30, "Expired".into())));
        assert_eq!(term(Some(24), Some(30)), Some((24, "Aged".into())));
        assert_eq!(term(Some(24), Some(2)), Some((2, "Expired".into())));
        assert_eq!(term(Some(24), Some(24)), Some((24, "Expired".into())));
    }

    /// The clock of deadlines stands still while the machine sleeps.
    #[test]
    fn an_expiry_is_told_anew_after_a_sleep() {
        let (now, time) = (Instant::now(), SystemTime::UNIX_EPOCH + 1000 * HOUR);
        let mut term = Term::new(Some(DAY), now);
        term.expires(time + 10 * HOUR, now, time);
        term.expires(time + 10 * HOUR, now + HOUR, time + 8 * HOUR);
        assert_eq!(term.deadline(), Some(now + 3 * HOUR));
        // It is long past, and no time is before now.
        term.expires(time + 10 * HOUR, now + HOUR, time + 800 * HOUR);
        assert_eq!(term.deadline(), Some(now + HOUR));
    }
}
