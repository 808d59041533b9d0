//! What passes over the seam: where either protocol stands, and what it is told.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::away::GoingAway;
use super::numbers::Numbers;
#[cfg(test)]
use super::testing::sim::{Fault, planted};

/// Where a protocol stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Status {
    /// Whether the peer speaks frames. It then says what it is done with and when it is
    /// over, so that senders and closers may wait by reading; and a session outlives its
    /// link.
    pub(crate) framed: bool,
    /// How many links there were, with the present one.
    pub(crate) generation: u64,
    /// The largest message that both sides take.
    pub(crate) max_message: usize,
    /// The largest message that may come in.
    pub(crate) own_max_message: u32,
    /// What the window has room for. The message that fills it may overshoot.
    pub(crate) room: usize,
    /// Messages, and their bytes.
    pub(crate) unacknowledged: u64,
    pub(crate) unacknowledged_bytes: u64,
    pub(crate) totals: Totals,
    pub(crate) round_trip: Option<Duration>,
    /// Whether the present link, or the last one, brought something new.
    pub(crate) moved: bool,
    /// Whether the peer ever said something that counts.
    pub(crate) has_received: bool,
    /// Whether there is something to take.
    pub(crate) has_next: bool,
    /// Whether the link is to be read at present. A framed peer keeps to a window.
    pub(crate) may_read: bool,
    /// Whether nothing more can be read from a link that is still written to.
    pub(crate) deaf: bool,
    /// Whether an acknowledgement waits for its time to come.
    pub(crate) owes_ack: bool,
    /// Whether it matters how many bytes the peer's kernel has acknowledged.
    pub(crate) counts_bytes: bool,
    /// The application sends no more.
    pub(crate) finished: bool,
    /// Everything sent is acknowledged; over plain text, written.
    pub(crate) acknowledged: bool,
    /// Both directions have ended, and everything was taken.
    pub(crate) complete: bool,
    /// Closing has begun on either side; the end may follow without another message.
    pub(crate) closing: bool,
    /// The peer has ended it.
    pub(crate) closed_by_peer: bool,
    /// The peer knows that it is over.
    pub(crate) end_told: bool,
    /// Both sides know that it is over: the link has served.
    pub(crate) parted: bool,
    /// Whether there is something to be dropped where that does no harm.
    pub(crate) has_spent: bool,
}

impl Status {
    /// How many messages were acknowledged, over all sessions.
    pub(crate) fn acknowledged_messages(&self) -> u64 {
        self.totals.messages_sent - self.unacknowledged
    }

    /// The number of the last message that was acknowledged, or of the one before all.
    pub(crate) fn acknowledged_number(&self) -> u64 {
        self.totals.sent_before + self.acknowledged_messages()
    }
}

/// What is to be written, in the order of its urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Output {
    Nothing,
    /// Messages, which may wait until they fill a batch.
    Messages,
    /// Something that should not wait.
    Due,
    /// A batch is full: the thread that fed it writes at once. Over plain text, which does
    /// not gather, everything is.
    Batch,
}

/// A message that is sent.
#[derive(Debug)]
pub(crate) enum Payload<'a> {
    /// To be copied.
    Slice(&'a [u8]),
    Owned(Bytes),
}

impl Payload<'_> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Payload::Slice(bytes) => bytes,
            Payload::Owned(bytes) => bytes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }
}

/// Why a peer's silence is not held against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excuse {
    /// Bytes of the peer wait to be read.
    Queued,
    /// The driver came so much too late.
    Overslept(Duration),
    /// The machine has slept, and the clock stood still.
    Suspended,
}

/// What a link has done for what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Something new was received or acknowledged, or the link's handshake said
    /// that the one before had brought something.
    pub(crate) moved: bool,
    /// A frame was heard.
    pub(crate) heard: bool,
    /// Something of ours may be written or was, and the peer has not said that it
    /// has it.
    pub(crate) waits: bool,
}

/// What a lost link leaves.
#[derive(Debug)]
pub(crate) struct Loss {
    pub(crate) progress: Progress,
    /// When the server said that it goes away, and how.
    pub(crate) away: Option<(Instant, GoingAway)>,
    /// For so long the server still has the session, as far as a client can tell. Without a
    /// session there is none.
    pub(crate) kept: Option<Duration>,
    /// Messages of unknown fate: neither sent again nor acknowledged.
    pub(crate) unanswered: Unanswered,
}

/// Lines that were written to a lost link and not answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unanswered {
    pub(crate) lines: Vec<Bytes>,
    /// Older ones, which are not remembered.
    pub(crate) forgotten: u64,
}

impl Unanswered {
    pub(crate) fn count(&self) -> u64 {
        self.forgotten + self.lines.len() as u64
    }
}

/// What a frame brought, as far as a thread may be waiting for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Nothing,
    /// A message, or the end.
    Received,
    /// The peer is done with more, or has room for more.
    Acknowledged,
    /// The ping of this number was answered.
    Pong(u64, Duration),
    /// The peer ended the session.
    Closed,
}

/// Totals over all links and sessions.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) messages_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) messages_received: u64,
    pub(crate) bytes_received: u64,
    pub(crate) replayed: u64,
    /// Lines of plain text whose fate is unknown.
    pub(crate) unanswered: u64,
    /// Messages that `take_unacknowledged` has given back.
    taken: u64,
    /// How many messages this side sent, and the peer, before those that are counted here:
    /// their numbers go on from there.
    sent_before: u64,
    received_before: u64,
}

impl Totals {
    /// What a client sends is numbered like this.
    pub(super) fn numbers_sent(&mut self, numbers: Numbers) {
        self.sent_before = numbers.first - 1;
    }

    /// What a client sent, and nothing of it was received yet, is numbered like this.
    pub(super) fn numbers_received(&mut self, numbers: Option<Numbers>) {
        #[cfg(test)]
        let numbers = numbers.filter(|_| !planted(Fault::NumbersBeginAgain));
        self.received_before = numbers.map_or(0, |numbers| numbers.first - 1);
    }

    /// The number of the last message that was sent.
    pub(crate) fn sent_number(&self) -> u64 {
        self.sent_before + self.messages_sent
    }

    /// The number of the last message that was handed out.
    pub(crate) fn received_number(&self) -> u64 {
        self.received_before + self.messages_received
    }

    /// How many messages were given back. They are acknowledged no more.
    pub(super) fn given_back(&self) -> u64 {
        self.taken
    }

    /// Gives back the messages that are not acknowledged, once.
    pub(super) fn give_back(&mut self, kept: impl FnOnce() -> Vec<Bytes>) -> Vec<Bytes> {
        if self.taken > 0 {
            return Vec::new();
        }
        let messages = kept();
        self.taken = messages.len() as u64;
        messages
    }
}
