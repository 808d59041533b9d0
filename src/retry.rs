//! When to try to connect again: a bounded, jittered sequence of delays.
//!
//! [`RetryPolicy`] is what the user chooses; `Budget` is the state of one
//! connection under it. Both are pure: time and randomness come in as arguments.

use std::time::{Duration, Instant};

/// How often, and how far apart, a lost link is tried again.
///
/// The first attempt after the loss of a link that worked is made at once, the
/// others after a delay. When the attempts are spent, the connection gives up
/// with [`Error::GaveUp`](crate::Error::GaveUp). An attempt asks every host, and
/// fails if none takes the connection, for whatever reason: a name that cannot be
/// resolved costs an attempt like a refusal. The connection gives up earlier only
/// when the last thing that every host has said is final, see
/// [`Rejection::is_retryable`](crate::Rejection::is_retryable). The same policy
/// holds for the first connect.
///
/// A link works, and makes all attempts available again, if a message got through
/// on it in either direction, or if there was none to send and it stayed up for a
/// while. A link on which heartbeats are answered and a message does not get
/// through costs an attempt; when the attempts are spent on several of those in a
/// row, the cause is [`Cause::NoProgress`](crate::Cause::NoProgress). A message
/// that the peer has received has got through, however long its application takes
/// to process it.
///
/// Attempts without a delay are limited to 32, of which one comes back each
/// second: a server that crashes on what it is sent again is not hammered.
///
/// Delays are times in which the machine is awake. When it wakes from a suspend, or
/// is told to [check](crate::Connection::check), a client that waits makes an
/// attempt at once, which does not count.
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

    pub(crate) fn is_unlimited(self) -> bool {
        self.attempts.is_none()
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
    /// Links in a row on which something waited and nothing moved.
    stuck: u32,
    /// A link lasted while something waited: it is taken for one that worked, once,
    /// until the next welcome says whether that was received. If not, so many
    /// attempts count again.
    doubt: Option<u32>,
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
        Budget { policy, made: 0, immediate: IMMEDIATE, counted: now, stuck: 0, doubt: None }
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

    /// How many links were lost in a row on which something waited and nothing moved.
    pub(crate) fn stuck(&self) -> u32 {
        self.stuck
    }

    /// A link was lost. It worked, and fills the budget, if something moved on it,
    /// or if nothing waited and it carried a frame and lasted.
    pub(crate) fn lost(&mut self, link: Proof, interval: Option<Duration>) {
        let lasting = interval.map_or(self.policy.first, |i| i.min(self.policy.first));
        let lasted = link.heard && link.uptime >= lasting;
        if link.moved || (lasted && !link.waits) {
            (self.made, self.stuck, self.doubt) = (0, 0, None);
            return;
        }
        self.stuck = if link.waits { self.stuck + 1 } else { 0 };
        if lasted && self.doubt.is_none() {
            self.doubt = Some(std::mem::take(&mut self.made));
        }
    }

    /// The next link is up. `moved`: the peer says that it has received something
    /// over the last one that it had not acknowledged there.
    pub(crate) fn welcomed(&mut self, moved: bool) {
        if moved {
            (self.stuck, self.doubt) = (0, None);
        } else if let Some(doubt) = &mut self.doubt {
            self.made = self.made.saturating_add(std::mem::take(doubt));
        }
    }

    /// The attempt that waits may be made at once, and is then one more than the policy
    /// has: an application that asks for it often does not give up sooner. So may 32, of
    /// which one comes back each second.
    pub(crate) fn hurry(&mut self, now: Instant) -> bool {
        let may = self.take_immediate(now);
        self.made -= u32::from(may && self.made > 0);
        may
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
    pub(crate) moved: bool,
    /// Some frame was received after the welcome.
    pub(crate) heard: bool,
    /// Something may be sent, and the peer has not said that it has received it.
    pub(crate) waits: bool,
    /// For how long it was up.
    pub(crate) uptime: Duration,
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "one reading as the origin of a fake clock")]
mod tests {
    use super::*;

    const MIDDLE: u32 = u32::MAX / 2;
    const SECOND: Duration = Duration::from_secs(1);
    const INTERVAL: Option<Duration> = Some(Duration::from_secs(10));

    /// Links on which something moved, or nothing had to, or something waits.
    const IDLE: Proof = Proof { moved: false, heard: true, waits: false, uptime: Duration::ZERO };
    const MOVED: Proof = Proof { moved: true, ..IDLE };
    const STUCK: Proof = Proof { waits: true, ..IDLE };

    fn proof(link: Proof, uptime: Duration) -> Proof {
        Proof { uptime, ..link }
    }

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
        budget.lost(proof(MOVED, SECOND), None);
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
            budget.lost(proof(MOVED, Duration::from_millis(10)), INTERVAL);
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
            budget.lost(proof(IDLE, Duration::from_millis(10)), INTERVAL);
        }
        assert_eq!(attempts, 5);
    }

    #[test]
    fn uptime_with_a_frame_fills_the_budget_and_uptime_alone_does_not() {
        let now = Instant::now();
        let mut budget = Budget::new(RetryPolicy::default(), now);
        for (heard, made) in [(false, 1), (true, 0)] {
            budget.made = 1;
            budget.lost(proof(Proof { heard, ..IDLE }, SECOND * 3), INTERVAL);
            assert_eq!(budget.made(), made);
        }
    }

    /// Makes an attempt, which is welcomed. Returns its number.
    fn link(budget: &mut Budget, moved: bool, now: Instant) -> Option<u32> {
        let number = budget.next(now, MIDDLE)?.number;
        budget.welcomed(moved);
        Some(number)
    }

    #[test]
    fn links_that_last_while_nothing_gets_through_spend_the_budget() {
        let now = Instant::now();
        for uptime in [Duration::ZERO, SECOND * 60] {
            let mut budget = Budget::new(RetryPolicy::default(), now);
            budget.first();
            budget.welcomed(false);
            let mut links = 1;
            loop {
                budget.lost(proof(STUCK, uptime), INTERVAL);
                assert_eq!(budget.stuck(), links);
                if link(&mut budget, false, now).is_none() {
                    break;
                }
                links += 1;
                assert!(links <= 5, "{uptime:?}: more than the policy has");
            }
            assert_eq!((links, budget.made()), (5, 5), "{uptime:?}");
        }
    }

    #[test]
    fn a_day_of_idle_links_that_are_cut_does_not_exhaust_the_budget() {
        let mut now = Instant::now();
        let mut budget = Budget::new(RetryPolicy::default(), now);
        for _ in 0..24 * 20 {
            now += SECOND * 180;
            budget.lost(proof(IDLE, SECOND * 180), INTERVAL);
            assert_eq!(link(&mut budget, false, now), Some(1));
        }
    }

    // A handler that takes ten minutes acknowledges nothing; that the message was
    // received is only said by the next welcome.
    #[test]
    fn a_message_that_waits_for_a_slow_handler_does_not_exhaust_the_budget() {
        let mut now = Instant::now();
        let mut budget = Budget::new(RetryPolicy::default(), now);
        for _ in 0..200 {
            now += SECOND * 60;
            budget.lost(proof(STUCK, SECOND * 60), INTERVAL);
            assert_eq!(link(&mut budget, true, now), Some(1), "as of a link that worked");
            assert_eq!(budget.stuck(), 0);
            // Its handshake counts as what has moved on it.
            now += SECOND;
            budget.lost(proof(Proof { waits: true, ..MOVED }, SECOND), INTERVAL);
            assert_eq!(link(&mut budget, false, now), Some(1));
        }
    }

    #[test]
    fn a_link_in_doubt_leaves_all_attempts_to_find_the_next() {
        let now = Instant::now();
        let mut budget = Budget::new(RetryPolicy::default(), now);
        budget.made = 5;
        budget.welcomed(false);
        budget.lost(proof(STUCK, SECOND * 60), INTERVAL);
        let numbers = std::iter::from_fn(|| budget.next(now, MIDDLE)).map(|a| a.number);
        assert_eq!(numbers.collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_link_in_doubt_on_which_nothing_had_moved_counts_after_all() {
        let now = Instant::now();
        let mut budget = Budget::new(RetryPolicy::default(), now);
        budget.made = 3;
        budget.lost(proof(STUCK, SECOND * 60), INTERVAL);
        assert_eq!(link(&mut budget, false, now), Some(1));
        assert_eq!(budget.made(), 4);
        // It is believed once, until something moves.
        budget.lost(proof(STUCK, SECOND * 60), INTERVAL);
        assert_eq!(link(&mut budget, false, now), Some(5));
        budget.lost(proof(MOVED, SECOND), INTERVAL);
        budget.lost(proof(STUCK, SECOND * 60), INTERVAL);
        assert_eq!(link(&mut budget, true, now), Some(1));
    }

    #[test]
    fn an_attempt_that_is_hurried_does_not_count_and_they_run_dry() {
        let now = Instant::now();
        let mut budget = Budget::new(RetryPolicy::default(), now);
        assert!(budget.next(now, MIDDLE).is_some_and(|attempt| attempt.after.is_zero()));
        for _ in 1..IMMEDIATE {
            assert_eq!(budget.next(now, MIDDLE).map(|attempt| attempt.number), Some(2));
            assert!(budget.hurry(now));
        }
        assert_eq!(budget.next(now, MIDDLE).map(|attempt| attempt.number), Some(2));
        assert!(!budget.hurry(now));
        assert_eq!(budget.next(now, MIDDLE).map(|attempt| attempt.number), Some(3));
        assert!(budget.hurry(now + REGAIN));
        assert_eq!(budget.next(now, MIDDLE).map(|attempt| attempt.number), Some(3));
    }

    // Trap 25: progress before each crash keeps the budget full, so only the
    // bucket slows the replay down.
    #[test]
    fn immediate_attempts_run_dry_and_come_back_one_a_second() {
        let mut now = Instant::now();
        let mut budget = Budget::new(RetryPolicy::default(), now);
        let mut crash = |now| {
            budget.lost(proof(MOVED, Duration::ZERO), None);
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
