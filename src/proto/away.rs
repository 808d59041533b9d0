//! GOING_AWAY: a server leaves, and says when its clients may come back.

use std::time::Duration;

use bytes::Buf;

use super::handshake::millis;

/// A client that is told to come back later is told no more than this.
pub(crate) const LONGEST: Duration = Duration::from_secs(600);

/// What a server says before it leaves: it is back after so many milliseconds, and takes its
/// clients in over so many. A connection holds several of these, so they are small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GoingAway {
    after: u32,
    spread: u32,
}

impl GoingAway {
    pub(crate) fn new(after: Duration, spread: Duration) -> GoingAway {
        GoingAway { after: millis(after), spread: millis(spread) }
    }

    /// The body of its frame.
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        (u64::from(self.after) << 32 | u64::from(self.spread)).to_be_bytes()
    }

    /// `None` if it is too short. A later version may say more.
    pub(crate) fn decode(mut body: &[u8]) -> Option<GoingAway> {
        let mut millis = || body.try_get_u32().ok();
        Some(GoingAway { after: millis()?, spread: millis()? })
    }

    /// After how long a client comes back. `random` is uniform in 0..=`u32::MAX`.
    pub(crate) fn draw(self, random: u32) -> Duration {
        let clamped = |millis: u32| Duration::from_millis(millis.into()).min(LONGEST);
        let spread = clamped(self.spread);
        let part = spread.mul_f64(f64::from(random) / f64::from(u32::MAX));
        clamped(self.after) + part.min(spread)
    }

    /// When the last client is back.
    pub(crate) fn last(self) -> Duration {
        self.draw(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_client_comes_back_within_the_spread() {
        let notice = GoingAway::new(SECOND, SECOND * 10);
        assert_eq!([0, u32::MAX].map(|random| notice.draw(random)), [SECOND, SECOND * 11]);
        let middle = notice.draw(u32::MAX / 2);
        assert!(middle > SECOND * 59 / 10 && middle < SECOND * 61 / 10, "{middle:?}");
        assert_eq!(notice.last(), SECOND * 11);
        assert_eq!(GoingAway::new(Duration::ZERO, Duration::ZERO).last(), Duration::ZERO);
    }

    #[test]
    fn times_are_ten_minutes_at_most() {
        for long in [LONGEST + SECOND, Duration::from_millis(u32::MAX.into()), Duration::MAX] {
            let notice = GoingAway::new(long, long);
            assert_eq!((notice.draw(0), notice.last()), (LONGEST, LONGEST * 2));
        }
    }

    #[test]
    fn a_longer_one_is_read_so_far_and_a_shorter_one_is_none() {
        let notice = GoingAway::new(Duration::from_millis(0x0102), Duration::MAX);
        let mut bytes = notice.to_bytes().to_vec();
        assert_eq!(bytes, [0, 0, 1, 2, 0xFF, 0xFF, 0xFF, 0xFF]);
        bytes.extend([7; 100]);
        for len in 0..bytes.len() {
            let decoded = GoingAway::decode(&bytes[..len]);
            assert_eq!(decoded, (len >= 8).then_some(notice), "{len}");
        }
    }
}
