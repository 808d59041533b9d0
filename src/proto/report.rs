//! What either protocol reports of what it has heard, said and counted.

use std::time::Duration;

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

/// What a frame brought, as far as a thread may be waiting for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Nothing,
    /// A message, or the end.
    Item,
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
    /// Messages of an ended session that were taken out by hand.
    pub(super) taken: u64,
}
