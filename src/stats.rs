//! [`Stats`]: what has happened to a connection.

use std::time::{Duration, Instant};

/// Counters and times of a [`Connection`](crate::Connection), over all its links.
///
/// # Examples
///
/// ```
/// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
/// # let client = longlink::Connection::connect(listener.local_addr())?;
/// # let server = listener.accept()?;
/// let stats: longlink::Stats = client.stats();
/// println!("{} regained, {} sent again", stats.reconnects, stats.replayed);
/// match (stats.lost_since, stats.last_heard) {
///     (Some(since), _) => println!("no link for {:?}", since.elapsed()),
///     (None, Some(at)) => println!("the peer was heard {:?} ago", at.elapsed()),
///     (None, None) => println!("not connected yet"),
/// }
/// # Ok::<(), longlink::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages that were sent, written or not.
    pub messages_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Messages that were handed out.
    pub messages_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Messages that were written again on a later link.
    pub replayed: u64,
    /// Messages over [plain text](crate::Protocol::Plain) that were written to a link
    /// which was lost, and not answered.
    pub unanswered: u64,
    /// Links regained.
    pub reconnects: u64,
    /// How often the peer no longer knew the session, and a new one was begun.
    pub sessions_lost: u64,
    /// From the last heartbeat's ping to its pong. With
    /// [heartbeats](crate::Heartbeat::every) it is measured about once an interval,
    /// however much is sent.
    pub last_round_trip: Option<Duration>,
    /// Messages sent and not acknowledged yet.
    pub unacknowledged: u64,
    /// Their bytes, without what the protocol adds; over [plain text](crate::Protocol::Plain)
    /// with their line ends.
    pub unacknowledged_bytes: u64,
    /// When the present link came up; `None` while there is none.
    pub connected_since: Option<Instant>,
    /// When the link was lost; `None` while there is one, and before the first.
    pub lost_since: Option<Instant>,
    /// When bytes were last read from the peer, over any link (a message, an
    /// acknowledgement or a heartbeat), or a link came up. With [heartbeats](crate::Heartbeat::every) a live
    /// peer is heard at least once in an interval, or a little more.
    pub last_heard: Option<Instant>,
}
