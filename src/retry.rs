//! When to try to connect again: a bounded, jittered sequence of delays.
//!
//! [`RetryPolicy`] is what the user chooses; `Budget` is the state of one
//! connection under it. Both are pure: time and randomness come in as arguments.

use std::time::{Duration, Instant};

/// How often, and after which delays, to try to connect again.
///
/// The first attempt after the loss of a link that worked is made at once, the
/// others after a delay. When the attempts are spent, the connection gives up
/// with [`Error::GaveUp`](crate::Error::GaveUp). An attempt asks every host, and
/// fails if none takes the connection, for whatever reason: a name that cannot be
/// resolved costs an attempt like a refusal. The connection gives up earlier only
/// when the last thing that every host has said is final, see
/// [`Rejection::is_retryable`](crate::Rejection::is_retryable), or when its session is lost and
/// there is to be [no other](crate::SessionLoss::GiveUp). The same policy holds for the first
/// connect, unless it goes on [while the session is kept](RetryPolicy::while_kept).
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
/// A server that [restarts](crate::Listener::restart) says when it is back, at most ten minutes
/// later, and over how long its clients come back, at most ten minutes more. The client comes back
/// then. Until then it asks its other hosts, if it has any, at once and after the delays of the
/// policy, which costs no attempt. Attempts count from the return on, or from a link to one of those
/// hosts on which nothing moves.
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
    while_kept: bool,
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
        RetryPolicy::exponential(delay, delay).attempts(attempts)
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
        let max = max.max(first);
        RetryPolicy { first, max, attempts: Some(5), while_kept: false, jitter: 0.2 }
    }

    /// One attempt to connect at first, and none after a loss; but one for a secured link that
    /// [has had its time](crate::Cause::Aged).
    ///
    /// # Examples
    ///
    /// ```
    /// let builder = longlink::Connection::builder().retry(longlink::RetryPolicy::never());
    /// ```
    pub fn never() -> RetryPolicy {
        RetryPolicy::fixed(Duration::ZERO, 0).jitter(0.0)
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

    /// Goes on after a loss for as long as the server keeps the session, however many attempts
    /// that takes: they count for the first connect alone.
    ///
    /// Each server says how long it [keeps](crate::Builder::resume_within) a session, unless it
    /// needs the room. The client gives up when that time has passed since the loss, and so much
    /// more as the server may have noticed it later. For that it allows twice what a server
    /// would take that has as many [misses](crate::Heartbeat::misses) as the client, since
    /// the server does not say how many it has. A session that is kept for ever is
    /// asked for for ever. With several hosts, the others are asked for as long.
    ///
    /// The time counts from the last loss. From a link on which something waits and nothing
    /// moves it counts only if the one before was none of that kind.
    ///
    /// A server that [restarts](crate::Listener::restart) keeps no session: attempts count
    /// from its return on. So they do over [plain text](crate::Protocol::Plain), which has no
    /// sessions.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use longlink::RetryPolicy;
    ///
    /// // Ten attempts to connect. Then 0, 1 s, 2 s, 4 s ... 30 s, 30 s ... for as long as the
    /// // server has the session.
    /// let policy = RetryPolicy::exponential(Duration::from_secs(1), Duration::from_secs(30))
    ///     .attempts(10)
    ///     .while_kept();
    /// # drop(policy);
    /// ```
    #[must_use]
    pub fn while_kept(self) -> RetryPolicy {
        RetryPolicy { while_kept: true, ..self }
    }

    /// Whether a connection may be without a link for long, or for ever.
    pub(crate) fn is_patient(self) -> bool {
        self.attempts.is_none() || self.while_kept
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
    /// How many there are. None are counted while a server keeps the session...
    attempts: Option<u32>,
    /// ...and then it has surely forgotten it.
    forgotten: Option<Instant>,
    /// When all attempts that were made at once have come back.
    regained: Instant,
    /// Links in a row on which something waited and nothing moved.
    fruitless: u32,
    /// A link lasted while something waited: it is taken for one that worked, once,
    /// until the next welcome says whether that was received. If not, so many
    /// attempts count again.
    doubt: Option<u32>,
    /// The server that was lost is back then, as it has said.
    back: Option<Instant>,
    /// The last attempt was one of so many made at others meanwhile. They cost nothing,
    /// unless that leads to a link on which nothing moves.
    others: u32,
    /// The next attempt is one more than the policy has.
    extra: bool,
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
        Budget {
            policy,
            made: 0,
            attempts: policy.attempts,
            forgotten: None,
            regained: now,
            fruitless: 0,
            doubt: None,
            back: None,
            others: 0,
            extra: false,
        }
    }

    /// The first attempt of all; even a policy that never retries makes it.
    pub(crate) fn first(&mut self) {
        self.made = 1;
    }

    /// The next attempt, or `None` when there are no more. `random` is uniform
    /// in 0..=`u32::MAX`. For so long every host is `closed`.
    pub(crate) fn next(&mut self, now: Instant, random: u32, closed: Duration) -> Option<Attempt> {
        if self.forgotten.is_some_and(|at| now >= at) {
            return None;
        }
        let of = self.attempts;
        if std::mem::take(&mut self.extra) {
            let of = of.map(|of| of.max(1));
            let after = self.pause(1, now, random).max(closed);
            return Some(Attempt { number: self.made + 1, of, after });
        }
        if of.is_some_and(|limit| self.made >= limit) {
            return None;
        }
        let away = self.away(now);
        if closed < away {
            let after = self.pause(self.others.saturating_add(1), now, random).max(closed);
            if after < away {
                self.others = self.others.saturating_add(1);
                return Some(Attempt { number: self.made + 1, of, after });
            }
        }
        self.made = self.made.saturating_add(1);
        self.others = 0;
        let after = self.pause(self.made, now, random).max(closed).max(away);
        Some(Attempt { number: self.made, of, after })
    }

    /// The pause before the attempt of that number. The last one is made in time.
    fn pause(&mut self, number: u32, now: Instant, random: u32) -> Duration {
        let pause = match self.delay(number, random) {
            Duration::ZERO if !self.take_immediate(now) => self.delay(2, random).max(REGAIN),
            delay => delay,
        };
        self.forgotten.map_or(pause, |at| pause.min(at.saturating_duration_since(now)))
    }

    /// The server keeps the session for so long from that moment on, at which a link was lost.
    /// Links on which something waits and nothing moves hold nobody for ever: the second in a
    /// row changes nothing.
    pub(crate) fn kept(&mut self, lost: Instant, kept: Duration) {
        if self.policy.while_kept && self.fruitless < 2 {
            (self.attempts, self.forgotten) = (None, lost.checked_add(kept));
        }
    }

    /// The server that was lost has said that it is back then. It keeps nothing.
    pub(crate) fn goes_away(&mut self, back: Instant) {
        (self.back, self.others) = (Some(back), 0);
        if self.attempts != self.policy.attempts {
            self.made = 0;
        }
        (self.attempts, self.forgotten) = (self.policy.attempts, None);
    }

    /// For how long it is away.
    pub(crate) fn away(&self, now: Instant) -> Duration {
        self.back.map_or(Duration::ZERO, |back| back.saturating_duration_since(now))
    }

    /// How many attempts were made since the budget was full.
    pub(crate) fn made(&self) -> u32 {
        self.made
    }

    /// How many links were lost in a row on which something waited and nothing moved.
    pub(crate) fn fruitless(&self) -> u32 {
        self.fruitless
    }

    /// A link was lost. It worked, and fills the budget, if something moved on it,
    /// or if nothing waited and it carried a frame and lasted.
    pub(crate) fn lost(&mut self, link: Proof, interval: Option<Duration>) {
        let lasting = interval.map_or(self.policy.first, |i| i.min(self.policy.first));
        let lasted = link.heard && link.uptime >= lasting;
        let free = std::mem::take(&mut self.others) > 0;
        if link.moved || (lasted && !link.waits) {
            (self.made, self.fruitless, self.doubt) = (0, 0, None);
            return;
        }
        self.made = self.made.saturating_add(free.into());
        self.fruitless = if link.waits { self.fruitless + 1 } else { 0 };
        if lasted && self.doubt.is_none() {
            self.doubt = Some(std::mem::take(&mut self.made));
        }
    }

    /// This side has ended a link that it had for long enough, to make another. Also a policy
    /// that never retries makes one attempt then.
    pub(crate) fn has_served(&mut self) {
        (self.made, self.others, self.fruitless, self.doubt) = (0, 0, 0, None);
        self.extra = true;
    }

    /// The next link is up. `moved`: the peer says that it has received something
    /// over the last one that it had not acknowledged there.
    pub(crate) fn welcomed(&mut self, moved: bool) {
        self.back = None;
        if moved {
            (self.fruitless, self.doubt) = (0, None);
        } else if let Some(doubt) = &mut self.doubt {
            self.made = self.made.saturating_add(std::mem::take(doubt));
        }
    }

    /// The attempt that waits may be made at once, and is then one more than the policy
    /// has: an application that asks for it often does not give up sooner. So may 32, of
    /// which one comes back each second.
    pub(crate) fn hurry(&mut self, now: Instant) -> bool {
        let may = self.take_immediate(now);
        self.made -= u32::from(may && self.others == 0 && self.made > 0);
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
        let regained = self.regained.max(now) + REGAIN;
        let may = regained - now <= REGAIN * IMMEDIATE;
        if may {
            self.regained = regained;
        }
        may
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
#[path = "retry/tests.rs"] // A benchmark has this file in a module of its own.
mod tests;
