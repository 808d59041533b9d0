//! The life of a connection: open, closing, ended, over. It never goes back.

use std::time::Instant;

use crate::error::Cause;
use crate::proto::close::Refusal;
use crate::proto::closing::Closing;

#[derive(Debug)]
pub(super) enum Life {
    Open,
    /// A close, or the drop of the last handle, is under way.
    Closing(Box<Closing>),
    /// It has ended for the application. What is left is to tell the peer.
    Ended(Ending, Telling),
    /// Nothing will happen any more; the driver has let go.
    Over(Ending),
}

/// How a connection ended.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    GaveUp(Cause),
    /// The server no longer knows the session, and there is to be no other.
    SessionLost,
    /// The server's application refused this client.
    Refused(Refusal),
    PeerClosed,
    Closed,
}

/// How long the peer is told of the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    /// The driver decides at its next look.
    Undecided,
    Until(Instant),
    /// It need not be told any more.
    Done,
}

impl Life {
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Life::Open)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ending().is_some()
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self, Life::Over(_))
    }

    /// How it ended for the application, if it has.
    #[inline]
    pub(super) fn ending(&self) -> Option<&Ending> {
        match self {
            Life::Open | Life::Closing(_) => None,
            Life::Ended(ending, _) | Life::Over(ending) => Some(ending),
        }
    }

    pub(super) fn closing(&self) -> Option<&Closing> {
        match self {
            Life::Closing(closing) => Some(closing),
            _ => None,
        }
    }

    pub(super) fn closing_mut(&mut self) -> Option<&mut Closing> {
        match self {
            Life::Closing(closing) => Some(closing),
            _ => None,
        }
    }

    /// Begins to close, unless it has begun before.
    pub(super) fn close(&mut self, closing: Closing) {
        if self.is_open() {
            *self = Life::Closing(Box::new(closing));
        }
    }

    /// Ends it for the application, unless it has ended before: the first reason stays.
    pub(super) fn end(&mut self, ending: Ending) {
        if !self.has_ended() {
            *self = Life::Ended(ending, Telling::Undecided);
        }
    }

    /// Until when the peer is told of the end, if that was decided.
    pub(super) fn told_until(&self) -> Option<Instant> {
        match self {
            Life::Ended(_, Telling::Until(until)) => Some(*until),
            _ => None,
        }
    }

    /// Whether a peer that has not answered is still to be told.
    pub(super) fn tells(&self) -> bool {
        matches!(self, Life::Ended(_, Telling::Undecided | Telling::Until(_)))
    }

    pub(super) fn tell(&mut self, how: Telling) {
        if let Life::Ended(_, telling) = self
            && *telling != Telling::Done
        {
            *telling = how;
        }
    }

    /// Nothing is left to do. Returns whether that is news.
    pub(super) fn finish(&mut self) -> bool {
        let Life::Ended(ending, _) = self else { return false };
        *self = Life::Over(ending.clone());
        true
    }
}
