//! What happens to a connection's links, as its application is told.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::error::Cause;
use crate::host::Host;
use crate::words::{count, humane, messages};

/// What happened to the link of a [`Connection`](crate::Connection).
///
/// The callback given to [`Builder::on_event`](crate::Builder::on_event) gets the events in order,
/// on the heartbeat thread. `Display` prints each as one line for a log.
///
/// # Examples
///
/// ```
/// use longlink::{Connection, Event};
///
/// let builder = Connection::builder().on_event(|_, event| match event {
///     Event::Lost { cause, .. } => eprintln!("link lost: {cause}"),
///     Event::SessionLost { unacknowledged, .. } => {
///         eprintln!("the server lost our session; {unacknowledged} messages may arrive twice")
///     }
///     other => eprintln!("{other}"),
/// });
/// # drop(builder);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The first link is up.
    #[non_exhaustive]
    Connected {
        /// The address at the other end.
        peer: SocketAddr,
    },
    /// The link was lost. The session lives on.
    #[non_exhaustive]
    Lost {
        /// Why.
        cause: Cause,
    },
    /// Another attempt to connect will be made.
    #[non_exhaustive]
    Retrying {
        /// Which attempt it is, from 1.
        attempt: u32,
        /// How many there are in all, or `None` if there is no limit.
        of: Option<u32>,
        /// The wait before it.
        after: Duration,
    },
    /// An attempt to connect failed, at all addresses.
    #[non_exhaustive]
    Failed {
        /// The host that was tried last.
        host: Host,
        /// Why it failed.
        cause: Cause,
    },
    /// A new link continues the session; nothing was lost or doubled.
    #[non_exhaustive]
    Resumed {
        /// How many messages are written again because the peer had not received them.
        replayed: u64,
        /// How long there was no link.
        after: Duration,
    },
    /// A new link was found, but the other end no longer knows the session (it
    /// was restarted, the session expired, or another server answers). What
    /// was not acknowledged is sent again and may arrive a second time.
    ///
    /// The connection goes on. With [`SessionLoss::GiveUp`](crate::SessionLoss::GiveUp) it
    /// does not: that end is a [`GaveUp`](Event::GaveUp), and there is no such event.
    #[non_exhaustive]
    SessionLost {
        /// How many messages are sent again.
        unacknowledged: u64,
        /// How long there was no link.
        after: Duration,
    },
    /// A new link was found, over which [plain text](crate::Protocol::Plain) is
    /// spoken: nothing connects it with the one before.
    #[non_exhaustive]
    Reconnected {
        /// How many messages wait to be written, those that the loss cut in
        /// the middle included.
        waiting: u64,
        /// How long there was no link.
        after: Duration,
    },
    /// Messages over [plain text](crate::Protocol::Plain) were written to a link that is lost now,
    /// and were not answered. They may have been processed or not, and are not sent again. There is
    /// no such event when this side closes.
    #[non_exhaustive]
    Unanswered {
        /// The messages in order, as they were written; of many, the newest
        /// that a window holds.
        messages: Vec<Bytes>,
        /// How many came before those, and are not remembered.
        forgotten: u64,
    },
    /// A heartbeat was answered.
    #[non_exhaustive]
    Heartbeat {
        /// The number of the ping, counted from 1 over the whole connection.
        id: u64,
        /// From the time when the ping was due to the pong being read.
        round_trip: Duration,
    },
    /// The retry budget (or, on the server, the time to resume) ran out, the client
    /// [has another connection](Cause::Replaced) or is
    /// [no longer trusted](Cause::Revoked), the server no longer knows the session
    /// and there is to be [no other](crate::SessionLoss::GiveUp), or this server
    /// [restarts](crate::Listener::restart): the connection is over.
    #[non_exhaustive]
    GaveUp {
        /// Attempts made since the link was lost; 0 on the server, which makes none.
        attempts: u32,
        /// How many messages were not acknowledged.
        unacknowledged: u64,
        /// Why the last attempt failed, or why the link was lost.
        cause: Cause,
    },
    /// The connection was closed, by this side or by the peer; or the server
    /// [refused](crate::Connection::refuse) this client, and
    /// [`Error::Refused`](crate::Error::Refused) says why.
    #[non_exhaustive]
    Closed {
        /// How many messages of ours were not acknowledged.
        unacknowledged: u64,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Connected { peer } => write!(f, "connected to {peer}"),
            Event::Lost { cause } => write!(f, "lost: {cause}"),
            Event::Retrying { attempt, of, after } => {
                write!(f, "attempt {attempt}")?;
                if let Some(of) = of {
                    write!(f, " of {of}")?;
                }
                match *after {
                    Duration::ZERO => f.write_str(" at once"),
                    after => write!(f, " in {}", humane(after)),
                }
            }
            Event::Failed { cause, .. } => write!(f, "failed: {cause}"),
            Event::Resumed { replayed, after } => {
                write!(f, "resumed, {replayed} sent again, after {}", humane(*after))
            }
            Event::SessionLost { unacknowledged, after } => write!(
                f,
                "new session (old session lost), {unacknowledged} sent again, after {}",
                humane(*after)
            ),
            Event::Reconnected { waiting, after } => {
                write!(f, "connected again, {waiting} waiting to be sent, after {}", humane(*after))
            }
            Event::Unanswered { messages, forgotten } => {
                let number = forgotten + messages.len() as u64;
                write!(f, "{number} sent and not answered, and may be lost")
            }
            Event::Heartbeat { id, round_trip } => {
                write!(f, "heartbeat {id} answered in {}", humane(*round_trip))
            }
            Event::GaveUp { attempts: 0, unacknowledged, cause } => {
                write!(f, "gave up: {cause}, {} not acknowledged", messages(*unacknowledged))
            }
            Event::GaveUp { attempts, unacknowledged, .. } => {
                let attempts = count((*attempts).into(), "attempt");
                let messages = messages(*unacknowledged);
                write!(f, "gave up after {attempts}, {messages} not acknowledged")
            }
            Event::Closed { unacknowledged: 0 } => f.write_str("closed"),
            Event::Closed { unacknowledged } => {
                write!(f, "closed, {} not acknowledged", messages(*unacknowledged))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn one_is_not_many() {
        let gave_up = |attempts, unacknowledged| {
            Event::GaveUp { attempts, unacknowledged, cause: Cause::Eof }.to_string()
        };
        assert_eq!(gave_up(1, 1), "gave up after 1 attempt, 1 message not acknowledged");
        assert_eq!(gave_up(2, 0), "gave up after 2 attempts, 0 messages not acknowledged");
        let closed = Event::Closed { unacknowledged: 1 };
        let errors = [
            Error::GaveUp { unacknowledged: 1, cause: Cause::Eof },
            Error::SessionLost { unacknowledged: 1 },
            Error::Refused { code: 7, text: "no".into(), unacknowledged: 1 },
            Error::PeerClosed { unacknowledged: 1 },
            Error::Closed { unacknowledged: 1 },
        ];
        let said = errors.iter().map(Error::to_string).chain([gave_up(0, 1), closed.to_string()]);
        for said in said {
            assert!(said.ends_with(", 1 message not acknowledged"), "{said}");
        }
    }

    #[test]
    fn an_attempt_without_a_delay() {
        let retrying = |of, after| Event::Retrying { attempt: 1, of, after }.to_string();
        assert_eq!(retrying(Some(5), Duration::ZERO), "attempt 1 of 5 at once");
        assert_eq!(retrying(None, Duration::ZERO), "attempt 1 at once");
        assert_eq!(retrying(None, Duration::from_secs(3)), "attempt 1 in 3s");
    }
}
