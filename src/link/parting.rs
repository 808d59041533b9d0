//! What a link does for the end of its connection: a close that goes on, an end that is told.

use std::time::{Duration, Instant};

use super::State;
use super::care::Reach;
use super::life::Telling;
use super::locked::Locked;
use super::roles::{Retired, ShutdownKind};
use crate::error::Cause;
use crate::proto::closing::Headway;
use crate::proto::session::Arrival;
use crate::sync;

impl State {
    /// How many bytes were written on the present link, if none are left to be.
    fn written(&self) -> Option<u64> {
        let link = self.link.as_ref().filter(|link| link.is_written())?;
        link.write_half.as_ref().map(|half| half.batch.written())
    }

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
    /// down. Returns whether the link is still read.
    pub(super) fn free_read_half(&mut self) -> bool {
        let Some(link) = self.link.as_ref().filter(|link| link.read_half.is_none()) else {
            return true;
        };
        let retired = Retired::silently(link.socket.clone(), ShutdownKind::StopReading);
        self.retired.push(retired);
        false
    }

    /// The connection has ended at once, and the peer is told within this time.
    pub(super) fn tell_at_once(&mut self, within: Duration) {
        let now = sync::now();
        // Its next look for a tick may be too late to see soon whether that is told.
        self.driver_due = true;
        self.life.tell(Telling::Until(sync::add(now, within)));
        let reads = self.free_read_half();
        if let Some(session) = self.protocol.framed() {
            session.end_at_once(reads, now);
        }
    }
}

impl Locked<'_> {
    /// After an end at once: whether our last word has arrived.
    pub(super) fn look_at_parting(&mut self, now: Instant) {
        let looks_at = self.protocol.framed().and_then(|session| session.looks_at());
        if looks_at.is_none_or(|at| now < at) || self.link.is_none() {
            return;
        }
        let arrival = self.arrival();
        if let Some(session) = self.protocol.framed()
            && !session.look(arrival, now)
        {
            self.lose(Cause::Eof);
        }
    }

    /// Whether the peer's kernel has acknowledged all that was written on the present link.
    fn arrival(&mut self) -> Arrival {
        let Some(written) = self.written() else { return Arrival::Part };
        let acknowledged = self.ask(|socket| socket.acknowledged(written));
        match acknowledged {
            Some(None) => Arrival::Unknown,
            // More may be written by now.
            Some(all) if self.written() == all => Arrival::All,
            _ => Arrival::Part,
        }
    }
}
