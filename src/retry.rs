//! When to try to connect again: a bounded, jittered sequence of delays.
//!
//! [`RetryPolicy`] is what the user chooses; `Budget` is the state of one
//! connection under it. Both are pure: time and randomness come in as arguments.

use std::time::{Duration, Instant};

/// How often, and how far apart, a lost link is tried again.
///
/// The first attempt after the loss of a link that worked is made at once, the
/// others after a delay. When the attempts are spent, the connection gives up
/// with [`Error::GaveUp`](crate::Error::GaveUp). A link works, and fills the
/// budget up again, if the session moved forward on it, or if it stayed up for
/// a while; one that does neither costs an attempt like a refusal. The same
/// policy holds for the first connect.
///
/// Attempts without a delay are limited to 32, of which one comes back each
/// second: a server that crashes on what it is sent again is not hammered.
///
/// The default is five attempts, 3 s apart.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use longlink::RetryPolicy;
///
/// // 0, 3 s, 3 s, 3 s, 3 s (each but the first +-20 %)
/// let classic = RetryPolicy::fixed(Duration::from_secs(3), 5);
/// // 0, 0.1 s, 0.2 s, 0.4 s ... 30 s, 30 s ... for ever
/// let stubborn =
///     RetryPolicy::exponential(Duration::from_millis(100), Duration::from_secs(30)).unlimited();
/// # drop((classic, stubborn));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    first: Duration,
    max: Duration,
    attempts: Option<u32>,
    jitter: f64,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy::fixed(Duration::from_secs(3), 5)
    }
}

impl RetryPolicy {
    /// The same delay before each of `attempts` attempts but the first.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use longlink::RetryPolicy;
    ///
    /// let policy = RetryPolicy::fixed(Duration::from_secs(3), 5);
    /// ```
    pub fn fixed(delay: Duration, attempts: u32) -> RetryPolicy {
        RetryPolicy { first: delay, max: delay, attempts: Some(attempts), jitter: 0.2 }
    }

    /// Delays that double from `first` up to `max`; 5 attempts unless
    /// [`attempts`](RetryPolicy::attempts) or
    /// [`unlimited`](RetryPolicy::unlimited) says otherwise.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use longlink::RetryPolicy;
    ///
    /// let policy = RetryPolicy::exponential(Duration::from_millis(200), Duration::from_secs(30));
    /// ```
    pub fn exponential(first: Duration, max: Duration) -> RetryPolicy {
        RetryPolicy { first, max: max.max(first), attempts: Some(5), jitter: 0.2 }
    }

    /// One attempt to connect at first, and none after a loss.
    ///
    /// # Examples
    ///
    /// ```
    /// let builder = longlink::Connection::builder().retry(longlink::RetryPolicy::never());
    /// ```
    pub fn never() -> RetryPolicy {
        RetryPolicy { first: Duration::ZERO, max: Duration::ZERO, attempts: Some(0), jitter: 0.0 }
    }

    /// How many attempts are made before giving up. 0 is [`never`](RetryPolicy::never).
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::RetryPolicy;
    ///
    /// assert_eq!(RetryPolicy::default().attempts(5), RetryPolicy::default());
    /// ```
    #[must_use]
    pub fn attempts(self, attempts: u32) -> RetryPolicy {
        RetryPolicy { attempts: Some(attempts), ..self }
    }

    /// Never gives up.
    ///
    /// # Examples
    ///
    /// ```
    /// let policy = longlink::RetryPolicy::default().unlimited();
    /// ```
    #[must_use]
    pub fn unlimited(self) -> RetryPolicy {
        RetryPolicy { attempts: None, ..self }
    }

    /// How far a delay may deviate, as a fraction of it, from 0 to 1 (default
    /// 0.2), so that a thousand clients of a restarted server do not come back
    /// in step.
    ///
    /// # Examples
    ///
    /// ```
    /// let policy = longlink::RetryPolicy::default().jitter(0.5);
    /// ```
    #[must_use]
    pub fn jitter(self, fraction: f64) -> RetryPolicy {
        let jitter = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
        RetryPolicy { jitter, ..self }
    }
}

/// Attempts made at once come out of a bucket of this size...
const IMMEDIATE: u32 = 32;
/// ...that gets one back in this time, so that a server which crashes on what
/// it is sent is not replayed at full speed.
const REGAIN: Duration = Duration::from_secs(1);

/// What is left of a [`RetryPolicy`].
#[derive(Debug)]
pub(crate) struct Budget {
    policy: RetryPolicy,
    made: u32,
    immediate: u32,
    counted: Instant,
}

/// The next attempt to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// From 1.
    pub(crate) number: u32,
    /// How many there are in all.
    pub(crate) of: Option<u32>,
    /// The wait before it.
    pub(crate) after: Duration,
}

impl Budget {
    pub(crate) fn new(policy: RetryPolicy, now: Instant) -> Budget {
        Budget { policy, made: 0, immediate: IMMEDIATE, counted: now }
    }

    /// The first attempt of all; even a policy that never retries makes it.
    pub(crate) fn first(&mut self) -> Attempt {
        self.made = 1;
        Attempt { number: 1, of: self.policy.attempts.map(|n| n.max(1)), after: Duration::ZERO }
    }

    /// The next attempt, or `None` when there are no more. `random` is uniform
    /// in 0..=`u32::MAX`.
    pub(crate) fn next(&mut self, now: Instant, random: u32) -> Option<Attempt> {
        if self.policy.attempts.is_some_and(|limit| self.made >= limit) {
            return None;
        }
        self.made = self.made.saturating_add(1);
        let after = match self.delay(self.made, random) {
            Duration::ZERO if !self.take_immediate(now) => self.delay(2, random).max(REGAIN),
            delay => delay,
        };
        Some(Attempt { number: self.made, of: self.policy.attempts, after })
    }

    /// How many attempts were made since the budget was full.
    pub(crate) fn made(&self) -> u32 {
        self.made
    }

    /// A link was lost that had been up for `uptime`. It proved itself, and
    /// fills the budget, if the session moved forward on it, or if it carried a
    /// frame and lasted.
    pub(crate) fn lost(&mut self, link: Proof, interval: Option<Duration>) {
        let lasting = interval.map_or(self.policy.first, |i| i.min(self.policy.first));
        if link.progress || (link.frame && link.uptime >= lasting) {
            self.made = 0;
        }
    }

    fn delay(&self, attempt: u32, random: u32) -> Duration {
        let Some(doublings) = attempt.checked_sub(2) else { return Duration::ZERO };
        let factor = 2u32.checked_pow(doublings).unwrap_or(u32::MAX);
        let delay = self.policy.first.saturating_mul(factor).min(self.policy.max);
        let swing = f64::from(random) / f64::from(u32::MAX) * 2.0 - 1.0;
        let secs = delay.as_secs_f64() * (1.0 + self.policy.jitter * swing);
        Duration::try_from_secs_f64(secs).unwrap_or(delay)
    }

    fn take_immediate(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.counted);
        let regained = u32::try_from(passed.as_secs() / REGAIN.as_secs()).unwrap_or(IMMEDIATE);
        self.counted += REGAIN * regained.min(IMMEDIATE);
        if regained >= IMMEDIATE {
            self.counted = now;
        }
        self.immediate = self.immediate.saturating_add(regained).min(IMMEDIATE);
        let taken = self.immediate > 0;
        self.immediate -= u32::from(taken);
        taken
    }
}

/// What a link showed while it was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proof {
    /// Something new was received or acknowledged.
    pub(crate) progress: bool,
    /// Some frame was received after the welcome.
    pub(crate) frame: bool,
    /// For how long it was up.
    pub(crate) uptime: Duration,
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "one reading as the origin of a fake clock")]
mod tests {
    use super::*;

    const MIDDLE: u32 = u32::MAX / 2;
    const SECOND: Duration = Duration::from_secs(1);

    fn delays(policy: RetryPolicy, count: usize) -> Vec<Duration> {
        let now = Instant::now();
        let mut budget = Budget::new(policy.jitter(0.0), now);
        std::iter::from_fn(|| budget.next(now, MIDDLE)).take(count).map(|a| a.after).collect()
    }

    #[test]
    fn fixed_is_at_once_and_then_evenly_spaced_and_bounded() {
        let secs = |s| SECOND * s;
        assert_eq!(
            delays(RetryPolicy::default(), 99),
            [secs(0), secs(3), secs(3), secs(3), secs(3)]
        );
    }

    #[test]
    fn exponential_doubles_up_to_its_maximum_without_overflow() {
        let policy = RetryPolicy::exponential(SECOND, SECOND * 5).unlimited();
        let delays = delays(policy, 200);
        assert_eq!(delays[..6], [0, 1, 2, 4, 5, 5].map(|s| SECOND * s));
        assert_eq!(delays[199], SECOND * 5);
        let huge = RetryPolicy::exponential(Duration::MAX, Duration::MAX).unlimited();
        assert_eq!(Budget::new(huge, Instant::now()).delay(40, u32::MAX), Duration::MAX);
    }

    #[test]
    fn jitter_stays_within_its_fraction_and_reaches_both_ends() {
        let budget = Budget::new(RetryPolicy::fixed(SECOND * 10, 5), Instant::now());
        assert_eq!(budget.delay(2, 0), SECOND * 8);
        assert_eq!(budget.delay(2, u32::MAX), SECOND * 12);
        for (fraction, least, most) in
            [(0.5, 5, 15), (7.0, 0, 20), (-1.0, 10, 10), (f64::NAN, 10, 10)]
        {
            let policy = RetryPolicy::fixed(SECOND * 10, 5).jitter(fraction);
            let budget = Budget::new(policy, Instant::now());
            let both = (budget.delay(2, 0), budget.delay(2, u32::MAX));
            assert_eq!(both, (SECOND * least, SECOND * most), "{fraction}");
        }
    }

    #[test]
    fn never_connects_once_and_does_not_come_back() {
        let now = Instant::now();
        let mut budget = Budget::new(RetryPolicy::never(), now);
        assert_eq!(budget.first(), Attempt { number: 1, of: Some(1), after: Duration::ZERO });
        assert_eq!(budget.next(now, 0), None);
        let proof = Proof { progress: true, frame: true, uptime: SECOND };
        budget.lost(proof, None);
        assert_eq!(budget.next(now, 0), None);
    }

    #[test]
    fn twenty_quick_cuts_of_a_working_link_do_not_exhaust_the_budget() {
        let mut now = Instant::now();
        let mut budget = Budget::new(RetryPolicy::default(), now);
        for _ in 0..20 {
            let attempt = budget.next(now, MIDDLE).expect("the budget is full");
            assert_eq!(attempt.after, Duration::ZERO);
            now += Duration::from_millis(10);
            let uptime = Duration::from_millis(10);
            budget.lost(Proof { progress: true, frame: true, uptime }, Some(SECOND * 10));
        }
    }

    // Trap 14.
    #[test]
    fn a_server_that_welcomes_and_drops_spends_the_budget() {
        let now = Instant::now();
        let mut budget = Budget::new(RetryPolicy::default(), now);
        let mut attempts = 0;
        while budget.next(now, MIDDLE).is_some() {
            attempts += 1;
            let uptime = Duration::from_millis(10);
            budget.lost(Proof { progress: false, frame: true, uptime }, Some(SECOND * 10));
        }
        assert_eq!(attempts, 5);
    }

    #[test]
    fn uptime_with_a_frame_fills_the_budget_and_uptime_alone_does_not() {
        let now = Instant::now();
        let mut budget = Budget::new(RetryPolicy::default(), now);
        for (frame, made) in [(false, 1), (true, 0)] {
            budget.made = 1;
            budget.lost(Proof { progress: false, frame, uptime: SECOND * 3 }, Some(SECOND * 10));
            assert_eq!(budget.made(), made);
        }
    }

    // Trap 25: progress before each crash keeps the budget full, so only the
    // bucket slows the replay down.
    #[test]
    fn immediate_attempts_run_dry_and_come_back_one_a_second() {
        let mut now = Instant::now();
        let mut budget = Budget::new(RetryPolicy::default(), now);
        let proof = Proof { progress: true, frame: true, uptime: Duration::ZERO };
        let mut crash = |now| {
            budget.lost(proof, None);
            budget.next(now, MIDDLE).expect("the budget is full").after
        };
        for _ in 0..IMMEDIATE {
            assert_eq!(crash(now), Duration::ZERO);
        }
        assert!(crash(now) > SECOND * 2);
        now += SECOND;
        assert_eq!(crash(now), Duration::ZERO);
        assert!(crash(now) > SECOND * 2);
        now += SECOND * 1000;
        for _ in 0..IMMEDIATE {
            assert_eq!(crash(now), Duration::ZERO);
        }
        assert!(crash(now) > SECOND * 2);
    }
}
