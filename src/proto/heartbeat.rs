//! [`Heartbeat`]: when to ping, and when to take the peer for dead.

use std::time::Duration;

/// How often to send heartbeats, and after how much silence a peer is taken for dead.
///
/// A side that has sent nothing for an interval sends a ping, which the peer answers. A peer that
/// has not been heard at all for `misses` intervals is taken for dead: the link is given up and a
/// new one is made. A message that takes longer to cross a slow path is no silence: while its bytes
/// arrive, the receiver sends something once in an interval.
///
/// The client announces its interval. A server keeps to that rather than to its own: it pings after
/// 1.25 intervals, and allows one interval more. A server's own setting serves for clients that
/// announce none. A server whose heartbeats are [off](Heartbeat::off) neither pings any client nor
/// takes one for dead.
///
/// On a side with heartbeats the kernel sends no probes (keepalive), and ends no link earlier than
/// the heartbeat does (`TCP_USER_TIMEOUT`).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use longlink::Heartbeat;
///
/// // Behind a NAT that forgets after 30 s; dead after 25 s of silence.
/// let heartbeat = Heartbeat::every(Duration::from_secs(5)).misses(5);
/// # drop(heartbeat);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    pub(crate) interval: Option<Duration>,
    pub(crate) misses: u32,
}

impl Heartbeat {
    /// The shortest interval; shorter ones are taken as this.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::Heartbeat;
    ///
    /// let zero = Heartbeat::every(std::time::Duration::ZERO);
    /// assert_eq!(zero, Heartbeat::every(Heartbeat::SHORTEST));
    /// ```
    pub const SHORTEST: Duration = Duration::from_millis(100);
    /// The longest interval; longer ones are taken as this.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::Heartbeat;
    ///
    /// let years = Heartbeat::every(std::time::Duration::MAX);
    /// assert_eq!(years, Heartbeat::every(Heartbeat::LONGEST));
    /// ```
    pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    /// A ping after each `interval` without sending anything. After 3 misses the peer is taken for
    /// dead.
    ///
    /// The interval is kept between 100 ms and 24 h, in whole milliseconds.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use longlink::Heartbeat;
    ///
    /// assert_eq!(Heartbeat::every(Duration::from_secs(10)), Heartbeat::default());
    /// ```
    pub fn every(interval: Duration) -> Heartbeat {
        let interval = interval.clamp(Heartbeat::SHORTEST, Heartbeat::LONGEST);
        let interval = Duration::from_millis(interval.as_millis() as u64);
        Heartbeat { interval: Some(interval), misses: 3 }
    }

    /// No pings, and no peer is taken for dead, whatever it announces. Pings of the peer are
    /// answered all the same, and while bytes arrive, the peer is sent something once in its
    /// interval.
    ///
    /// A dead peer is then noticed by the kernel's keepalive and
    /// `TCP_USER_TIMEOUT`, which cannot see a peer that hangs while its kernel
    /// lives. Keepalive asks after 10 s of silence, and the link ends after 30 s
    /// in which nothing is acknowledged. If the peer has heartbeats, these times are
    /// 1.25 of the intervals that it announces and [`misses`](Heartbeat::misses) + 1 of them, where
    /// that is longer: the kernel wakes no peer that chose a long interval, and
    /// grants what the peer grants.
    ///
    /// # Examples
    ///
    /// ```
    /// let builder = longlink::Connection::builder().heartbeat(longlink::Heartbeat::off());
    /// ```
    pub fn off() -> Heartbeat {
        Heartbeat { interval: None, misses: 3 }
    }

    /// How many intervals of silence mean death; from 1 to 1000.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use longlink::Heartbeat;
    ///
    /// // A peer is dead after 4 s of silence.
    /// let heartbeat = Heartbeat::every(Duration::from_secs(2)).misses(2);
    /// ```
    #[must_use]
    pub fn misses(self, misses: u32) -> Heartbeat {
        Heartbeat { misses: misses.clamp(1, 1000), ..self }
    }
}

impl Default for Heartbeat {
    /// Every 10 s, dead after 3 misses.
    fn default() -> Heartbeat {
        Heartbeat::every(Duration::from_secs(10))
    }
}
