//! A simulation of many clients that lose one server at the same moment: how many of them connect
//! in one second, by the crate's own schedule of attempts.
//!
//! For the tests here and for `benches/crowd`. Pure: seeded, and without a clock.

use std::time::{Duration, Instant};

use crate::retry::{Budget, RetryPolicy};

/// Attempts are counted by hundredths of a second.
const SLOT: Duration = Duration::from_millis(10);
const SLOTS_PER_SECOND: usize = 100;

/// What became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The most attempts in a second while the server is away. The first ones, which all clients
    /// make at once, are not counted.
    pub(crate) peak_away: u32,
    /// The most in a second once it is back.
    pub(crate) peak_back: u32,
    /// From the return of the server to that of the last client.
    pub(crate) last: Duration,
    pub(crate) gave_up: u32,
}

/// The server is `away` for so long, and takes at once whoever comes then.
pub(crate) fn lose_server(
    policy: RetryPolicy,
    clients: u32,
    away: Duration,
    seed: u64,
    start: Instant,
) -> Outcome {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut refused, mut welcomed) = (Vec::new(), Vec::new());
    let (mut last, mut gave_up) = (away, 0);
    for _ in 0..clients {
        let mut budget = Budget::new(policy, start);
        let mut at = Duration::ZERO;
        loop {
            let Some(attempt) = budget.next(start + at, rng.u32(..), Duration::ZERO) else {
                gave_up += 1;
                break;
            };
            at += attempt.after;
            if at >= away {
                count(&mut welcomed, at - away);
                last = last.max(at);
                break;
            }
            if !at.is_zero() {
                count(&mut refused, at);
            }
        }
    }
    Outcome { peak_away: peak(&refused), peak_back: peak(&welcomed), last: last - away, gave_up }
}

fn count(slots: &mut Vec<u32>, at: Duration) {
    let slot = (at.as_millis() / SLOT.as_millis()) as usize;
    if slots.len() <= slot {
        slots.resize(slot + 1, 0);
    }
    slots[slot] += 1;
}

/// The most in a second, wherever it begins.
fn peak(slots: &[u32]) -> u32 {
    let (mut within, mut most) = (0, 0);
    for (at, slot) in slots.iter().enumerate() {
        within += slot;
        if let Some(before) = at.checked_sub(SLOTS_PER_SECOND) {
            within -= slots[before];
        }
        most = most.max(within);
    }
    most
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "one reading as the origin of a fake clock")]
mod tests {
    use super::*;

    const CLIENTS: u32 = 10_000;
    const MINUTE: Duration = Duration::from_secs(60);

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn outcome(policy: RetryPolicy, away: Duration) -> Outcome {
        lose_server(policy, CLIENTS, away, 1, Instant::now())
    }

    #[test]
    fn without_jitter_all_come_in_the_same_second_and_with_it_they_part() {
        let fixed = RetryPolicy::fixed(secs(3), 1).unlimited();
        let doubling = RetryPolicy::exponential(secs(1), secs(30)).unlimited();
        // What a delay leaves to each second if nobody is in step any more, and as much again.
        for (policy, most) in [(fixed, CLIENTS * 2 / 3), (doubling, CLIENTS * 2 / 20)] {
            let in_step = outcome(policy.jitter(0.0), MINUTE);
            assert_eq!((in_step.peak_away, in_step.peak_back), (CLIENTS, CLIENTS));
            let parted = outcome(policy, MINUTE);
            assert!(parted.peak_back <= most, "{policy:?} {parted:?}");
            assert_eq!(parted.gave_up, 0);
        }
    }

    #[test]
    fn the_default_outlasts_an_outage_of_nine_seconds_for_every_client() {
        let outcome = |away| outcome(RetryPolicy::default(), away);
        assert_eq!(outcome(secs(9)).gave_up, 0);
        assert_eq!(outcome(secs(15)).gave_up, CLIENTS);
        // Who has just been refused waits for one delay at most.
        assert!(outcome(secs(3)).last <= secs(3) * 12 / 10);
    }
}
