//! What a link does for the end of its connection: a close that goes on, an end that is told.

use std::time::{Duration, Instant};

use super::State;
use super::care::Reach;
use super::life::Telling;
use super::locked::Locked;
use super::roles::{Retired, ShutdownKind};
use crate::error::Cause;
use crate::proto::closing::Headway;
use crate::sync;

impl State {
    pub(super) fn is_closing_due(&self, now: Instant) -> bool {
        let closing = self.life.closing().filter(|_| self.link.is_some());
        closing.is_some_and(|closing| closing.is_due(now))
    }

    /// A close goes on as long as there is headway.
    pub(super) fn look_at_closing(&mut self, reach: Option<Reach>, now: Instant) {
        let reached = reach.map(|reach| reach.acknowledged.min(reach.carried));
        let headway =
            Headway { acknowledged: self.protocol.status().acknowledged_messages(), reached };
        let up = self.link.is_some();
        let closing = self.life.closing_mut().filter(|_| up);
        if closing.is_some_and(|closing| closing.look(headway, now)) {
            self.stop_closing();
        }
    }

    /// A thread that reads does not wait for the peer's answer: it returns when reading is shut
    /// down. Returns whether there is one.
    pub(super) fn free_read_half(&mut self) -> bool {
        let link = self.link.as_ref().filter(|link| link.read_half.is_none());
        let stop =
            link.map(|link| Retired::silently(link.socket.clone(), ShutdownKind::StopReading));
        let stops = stop.is_some();
        self.retired.extend(stop);
        stops
    }

    /// The connection has ended at once, and the peer is told within this time, or within that
    /// of an end before.
    pub(super) fn tell_at_once(&mut self, within: Duration) {
        let now = sync::now();
        let until = sync::add(now, within);
        let until = self.life.told_until().map_or(until, |before| before.max(until));
        // Its next look for a tick may be too late to see soon whether that is told.
        self.driver_due = true;
        self.life.tell(Telling::Until(until));
        if self.free_read_half()
            && let Some(session) = self.protocol.framed()
        {
            session.end_at_once(now);
        }
    }
}

impl Locked<'_> {
    /// After an end at once, when reading was shut down: whether the peer has answered.
    pub(super) fn look_at_parting(&mut self, now: Instant) {
        let looks_at = self.protocol.framed().and_then(|session| session.looks_at());
        if looks_at.is_none_or(|at| now < at) {
            return;
        }
        // The thread that has read is on its way back, or the socket has what has come since.
        let half = self.link.as_mut().and_then(|link| link.read_half.take_if(|it| it.is_free()));
        self.read_at_once(half);
        if let Some(session) = self.protocol.framed()
            && !session.look(now)
        {
            self.lose(Cause::Eof);
        }
    }
}
