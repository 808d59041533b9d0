//! What was received and not handed out yet, and the acknowledgements that
//! follow from handing it out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Violation;
use super::cost::{Position, cost};
use super::frame::{Ack, Run};
use super::handshake::Limits;
use super::held::HeldQueue;
#[cfg(test)]
use super::testing::sim::{Fault, planted};

/// The next thing that the peer said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Received {
    Message(Bytes),
    /// The peer's FIN: it says no more.
    End,
}

/// Received frames, in order. How much was *received* tells the peer where to begin a
/// replay; how much is *consumed* tells it what to forget.
///
/// The positions count over all sessions: `consumed <= handed <= received`. What is
/// before `start` belongs to older sessions, and acknowledges nothing.
///
/// What the application holds, it is done with one by one; what it was handed otherwise,
/// when it comes back for more.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// From `handed` to `received`, without the peer's FIN.
    queue: VecDeque<Run>,
    /// Where the present session starts.
    start: Position,
    received: Position,
    /// Handed out to the application.
    handed: Position,
    /// The application is done with everything before.
    consumed: Position,
    held: HeldQueue,
    /// The peer's FIN was received in this session.
    fin: bool,
    /// The application has seen the end. It stays so in later sessions.
    over: bool,
}

impl Inbox {
    /// Takes all of it or nothing.
    pub(crate) fn push(&mut self, run: Run, own: Limits) -> Result<(), Violation> {
        let distance = run.distance();
        // What older sessions left takes room until it is handed out.
        let kept = self.received - self.consumed.max(self.released().min(self.start));
        let limit = own.window as usize + cost(own.max_message as usize);
        if kept.cost() + distance.cost() > limit {
            return Err(Violation("more than the window holds"));
        }
        self.receive(distance)?;
        // After the end the application asks for nothing more: a session that took the
        // place of a finished one has nothing to add.
        if !self.over {
            self.queue.push_back(run);
        }
        Ok(())
    }

    /// The peer says no more. That takes no room.
    pub(crate) fn push_end(&mut self) -> Result<(), Violation> {
        self.receive(Position { frames: 1, bytes: 0 })?;
        self.fin = true;
        Ok(())
    }

    fn receive(&mut self, distance: Position) -> Result<(), Violation> {
        if self.fin {
            return Err(Violation("a message after the end"));
        }
        self.received += distance;
        if self.over {
            self.handed = self.received;
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Option<Received> {
        if let Some(message) = self.take_message() {
            return Some(Received::Message(message));
        }
        if self.fin && !self.over {
            self.over = true;
            self.handed.pass(0);
        }
        self.over.then_some(Received::End)
    }

    /// Appends messages to `to`, at most so many, and never the end. Returns
    /// their bytes.
    pub(crate) fn take_many(&mut self, most: usize, to: &mut Vec<Bytes>) -> u64 {
        let (before, full) = (self.handed, to.len().saturating_add(most));
        while to.len() < full
            && let Some(run) = self.queue.front_mut()
        {
            let distance = run.distance();
            to.extend(run.take(full - to.len()));
            self.handed += distance - run.distance();
            if run.is_empty() {
                self.queue.pop_front();
            }
        }
        (self.handed - before).bytes
    }

    #[inline]
    fn take_message(&mut self) -> Option<Bytes> {
        let run = self.queue.front_mut()?;
        let message = run.next()?;
        if run.is_empty() {
            self.queue.pop_front();
        }
        self.handed.pass(message.len());
        Some(message)
    }

    /// The application comes back for more: it is done with everything that was handed
    /// out, but for what it holds. Returns the cost that became free in this session.
    #[inline]
    pub(crate) fn consume(&mut self) -> usize {
        self.advance(self.handed)
    }

    /// The last message that was handed out, of that many bytes, is held: the application
    /// is done with it when it says so. Returns its place.
    pub(crate) fn hold(&mut self, len: usize) -> u64 {
        let mut message = Position::default();
        message.pass(len);
        self.held.push(self.handed - message, len)
    }

    /// The application is done with the message at that place. Returns the cost that
    /// became free in this session.
    pub(crate) fn finish(&mut self, place: u64) -> usize {
        #[cfg(test)]
        if planted(Fault::LateDoneCounts) && place < self.start.frames {
            self.start.frames -= 1;
        }
        match self.held.finish(place) {
            // What older sessions left is not waited for.
            true => self.advance(self.handed.min(self.start).max(self.consumed)),
            false => 0,
        }
    }

    #[inline]
    fn advance(&mut self, returned: Position) -> usize {
        let consumed = match self.held.is_empty() {
            true => returned,
            false => self.held.advance(self.consumed, returned),
        };
        let before = std::mem::replace(&mut self.consumed, consumed);
        match before.frames < self.start.frames {
            // What older sessions left frees nothing in this one.
            true => self.consumed().cost(),
            false => (consumed - before).cost(),
        }
    }

    /// Up to where older sessions take no room any more: what was handed out takes none,
    /// but for what is held and what is behind that.
    #[inline]
    fn released(&self) -> Position {
        self.held.first().unwrap_or(self.handed)
    }

    /// A new session took the place of the old one. What is here is still
    /// handed out, but acknowledges nothing; an end that was not seen is
    /// not final, since the new session has one of its own.
    pub(crate) fn restart(&mut self) {
        if self.fin && !self.over {
            self.received.frames -= 1;
        }
        #[cfg(test)]
        if planted(Fault::HeldForgotten) {
            self.held = HeldQueue::default();
        }
        self.consume();
        (self.start, self.fin) = (self.received, false);
    }

    /// The cost that a new session could add to what is here.
    pub(crate) fn room_for_new(&self, window: u32) -> u32 {
        let kept = self.received - self.held.first_open().unwrap_or(self.handed);
        (window as usize).saturating_sub(kept.cost()) as u32
    }

    /// The cost that the present session may have outstanding.
    pub(crate) fn room(&self, window: u32) -> u32 {
        let stale = self.start - self.released().min(self.start);
        (window as usize).saturating_sub(stale.cost()) as u32
    }

    /// What was received in this session.
    pub(crate) fn received(&self) -> Position {
        self.received - self.start
    }

    /// What the application is done with, in this session.
    pub(crate) fn consumed(&self) -> Position {
        self.consumed.max(self.start) - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.is_at_end()
    }

    /// Whether the end comes next.
    pub(crate) fn is_at_end(&self) -> bool {
        self.over || (self.fin && self.queue.is_empty())
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the application has seen the end, and is done with all that came before.
    pub(crate) fn is_done(&self) -> bool {
        self.over && self.consumed == self.received
    }

    /// Releases memory that a busy time has left.
    pub(crate) fn shrink(&mut self) {
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        if self.held.is_empty() {
            self.held = HeldQueue::default();
        }
    }

    #[cfg(test)]
    pub(crate) fn is_slim(&self) -> bool {
        self.queue.capacity() == 0 && self.held.is_slim()
    }

    /// Forgets what was not handed out, and never will be: neither messages nor the end.
    pub(crate) fn discard(&mut self) {
        (self.queue, self.fin) = (VecDeque::new(), false);
        self.held.leave();
    }
}

/// An acknowledgement that nothing else took along is written this long after it was
/// recorded.
pub(crate) const ACK_DELAY: Duration = Duration::from_millis(50);

/// "Done with the first `consumed` frames", to be written only behind the first
/// `after` frames of our own, so that a peer which sees it has seen what the
/// application sent in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) consumed: Position,
    pub(crate) after: u64,
}

/// Acknowledgements on their way out.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    /// The last one that was written on the present link. The next link needs it again.
    told: Option<Slot>,
    /// Later ones, ascending. At most two wait: the first keeps its place in the stream,
    /// so that it is reached, and the second gives way to newer ones. On a new link, the
    /// one that was told waits before them.
    waiting: Vec<Slot>,
    /// The cost that is free and that the peer does not know to be.
    owed: usize,
    since: Option<Instant>,
    due: bool,
    /// The window that the peer was told when the session began, and the last one
    /// that it is sure to know on the present link, which begins anew with the first.
    first_window: u32,
    window: u32,
}

impl Acks {
    /// Of a session that began with a window of that size.
    pub(crate) fn new(window: u32) -> Acks {
        Acks { first_window: window, window, ..Acks::default() }
    }

    #[inline]
    pub(crate) fn record(&mut self, slot: Slot, freed: usize, now: Instant) {
        let full = self.waiting.len() >= 2;
        match self.waiting.last_mut() {
            Some(last) if full || last.after == slot.after => *last = slot,
            _ => self.waiting.push(slot),
        }
        self.owed += freed;
        self.since.get_or_insert(now);
    }

    /// To be written as soon as its place in the stream is reached.
    pub(crate) fn hurry(&mut self) {
        self.due = true;
    }

    /// The index of the one to be written now: the newest whose place is reached,
    /// or else, if the peer may have to see it before it makes room for what comes
    /// before that place (`ahead`), the newest of all.
    #[inline]
    fn ready(&self, written: u64, ahead: bool) -> Option<usize> {
        #[cfg(test)]
        let ahead = ahead || planted(Fault::AckOvertakes);
        let in_place = self.waiting.iter().rposition(|slot| slot.after <= written);
        in_place.or(self.waiting.len().checked_sub(1).filter(|_| ahead))
    }

    /// Whether one has to be written even if nothing else is. `window`: the one
    /// that the peer keeps to.
    #[inline]
    pub(crate) fn is_due(&self, written: u64, ahead: impl FnOnce() -> bool, window: u32) -> bool {
        (self.due || self.owed >= window as usize / 4) && self.ready(written, ahead()).is_some()
    }

    /// Whether the window is to be announced although nothing more is acknowledged. It grows
    /// when what older sessions left is handed out, and the application may work on that for
    /// long before it comes back.
    pub(crate) fn has_grown_to(&self, window: u32) -> bool {
        // What the last link was told comes first, in its place.
        let is_told = self.told.is_some() || self.waiting.is_empty();
        window > self.window && window - self.window >= self.window / 4 && is_told
    }

    /// Takes the one to be written now, with the window that it announces. If only that has
    /// grown, it is the last one again: what it follows was written.
    pub(crate) fn take(&mut self, written: u64, ahead: bool, window: u32) -> Option<Ack> {
        if let Some(newest) = self.ready(written, ahead) {
            let Slot { consumed, after } = self.waiting.drain(..=newest).next_back()?;
            // One that went ahead keeps its place on later links.
            self.told = Some(Slot { consumed, after: after.min(written) });
            if self.waiting.is_empty() {
                (self.owed, self.since, self.due) = (0, None, false);
            }
        } else if !self.has_grown_to(window) {
            return None;
        }
        self.window = window;
        Some(Ack { consumed: self.told().frames, window })
    }

    /// What the peer is sure to know to be consumed, or will, if the present link lives.
    #[inline]
    pub(crate) fn told(&self) -> Position {
        self.told.map(|slot| slot.consumed).unwrap_or_default()
    }

    /// The window that it is sure to know.
    pub(crate) fn window(&self) -> u32 {
        self.window
    }

    /// What a peer that has received the first `position` frames may be told.
    pub(crate) fn covered(&self, position: u64) -> u64 {
        let mut slots = self.told.iter().chain(&self.waiting);
        slots.rfind(|slot| slot.after <= position).map_or(0, |slot| slot.consumed.frames)
    }

    /// A new link: what was written on the old one may not have arrived.
    pub(crate) fn replay(&mut self) {
        if let Some(slot) = self.told.take() {
            self.waiting.insert(0, slot);
        }
        self.window = self.first_window;
        self.due |= !self.waiting.is_empty();
    }

    /// A new session, in which nothing is acknowledged.
    pub(crate) fn restart(&mut self, window: u32) {
        #[cfg(test)]
        if planted(Fault::AcksSurviveRestart) {
            return;
        }
        *self = Acks::new(window);
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        if self.since.is_some_and(|since| now >= since + ACK_DELAY) {
            self.since = None;
            self.due = true;
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.since.filter(|_| !self.due).map(|since| since + ACK_DELAY)
    }

    /// Whether none is to be written any more.
    #[cfg(test)]
    pub(crate) fn is_settled(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether one is owed that waits for its time.
    pub(crate) fn is_waiting(&self) -> bool {
        self.since.is_some()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "one reading as the origin of a fake clock")]
mod tests;
