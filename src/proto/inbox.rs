//! What was received and not handed out yet, and the acknowledgements that
//! follow from handing it out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Violation;
use super::cost::{OVERHEAD, cost, frames_cost};
use super::frame::{Ack, HEADER, Run};
use super::handshake::Limits;
#[cfg(test)]
use super::sim::{Fault, planted};

/// The next thing that the peer said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Message(Bytes),
    /// The peer's FIN: it says no more.
    End,
}

impl Item {
    fn cost(&self) -> usize {
        match self {
            Item::Message(message) => cost(message.len()),
            Item::End => cost(0),
        }
    }
}

/// What waits to be asked for.
#[derive(Debug)]
enum Queued {
    Item(Item),
    Run(Run),
}

impl Queued {
    fn items(&self) -> u64 {
        match self {
            Queued::Item(_) => 1,
            Queued::Run(run) => run.items(),
        }
    }

    fn cost(&self) -> usize {
        match self {
            Queued::Item(item) => item.cost(),
            Queued::Run(run) => frames_cost(run.len(), run.items()),
        }
    }

    fn is_end(&self) -> bool {
        matches!(self, Queued::Item(Item::End))
    }
}

/// Received frames, in order. Two counters: what was *received* drops
/// duplicates and positions a replay; what is *consumed* prunes the sender's
/// memory.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: VecDeque<Queued>,
    /// How many of the items belong to an older session: they acknowledge nothing.
    stale: u64,
    stale_cost: usize,
    /// Sequenced frames of this session that were received, and handed out.
    received: u64,
    handed: u64,
    /// The cost of what was received in this session, and of what of it is not consumed.
    arrived: u64,
    held: usize,
    /// The cost of what was handed out, of any session, and is not consumed,
    /// and how much of it is of this session.
    released: usize,
    released_held: usize,
    /// The peer's FIN was received in this session.
    fin: bool,
    /// The application has seen the end. It stays so in later sessions.
    over: bool,
}

impl Inbox {
    pub(crate) fn new() -> Inbox {
        Inbox {
            queue: VecDeque::new(),
            stale: 0,
            stale_cost: 0,
            received: 0,
            handed: 0,
            arrived: 0,
            held: 0,
            released: 0,
            released_held: 0,
            fin: false,
            over: false,
        }
    }

    pub(crate) fn push(&mut self, item: Item, own: Limits) -> Result<(), Violation> {
        self.queue_up(Queued::Item(item), own)
    }

    /// Takes all of it or nothing.
    pub(crate) fn push_run(&mut self, run: Run, own: Limits) -> Result<(), Violation> {
        self.queue_up(Queued::Run(run), own)
    }

    fn queue_up(&mut self, queued: Queued, own: Limits) -> Result<(), Violation> {
        if self.fin {
            return Err(Violation("a message after the end"));
        }
        let (items, cost) = (queued.items(), queued.cost());
        let limit = own.window as usize + self::cost(own.max_message as usize);
        if self.held + self.stale_cost + cost > limit {
            return Err(Violation("more than the window holds"));
        }
        self.received += items;
        self.fin = queued.is_end();
        self.arrived += cost as u64;
        self.held += cost;
        if self.over {
            // It will not be asked for any more: a session that took the place
            // of a finished one has nothing to add.
            self.handed += items;
            self.released += cost;
            self.released_held += cost;
        } else {
            self.queue.push_back(queued);
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Option<Item> {
        if self.over {
            return Some(Item::End);
        }
        let item = match self.queue.front_mut()? {
            Queued::Run(run) if run.items() > 1 => Item::Message(run.next()?),
            _ => match self.queue.pop_front()? {
                Queued::Item(item) => item,
                Queued::Run(mut run) => Item::Message(run.next()?),
            },
        };
        self.hand_out(1, item.cost());
        self.over = matches!(item, Item::End);
        Some(item)
    }

    /// Appends messages to `to`, at most so many, and never the end. Returns
    /// their bytes.
    pub(crate) fn take_many(&mut self, most: usize, to: &mut Vec<Bytes>) -> usize {
        let (mut left, mut bytes) = (most, 0);
        while left > 0 {
            let before = to.len();
            let taken = match self.queue.front_mut() {
                Some(Queued::Run(run)) => {
                    let len = run.len();
                    to.extend(run.take(left));
                    let (taken, items) = (len - run.len(), to.len() - before);
                    if run.items() == 0 {
                        self.queue.pop_front();
                    }
                    taken - items * HEADER
                }
                Some(Queued::Item(Item::Message(message))) => {
                    to.push(std::mem::take(message));
                    self.queue.pop_front();
                    to[before].len()
                }
                Some(Queued::Item(Item::End)) | None => break,
            };
            let items = to.len() - before;
            self.hand_out(items as u64, taken + items * OVERHEAD);
            bytes += taken;
            left -= items;
        }
        bytes
    }

    /// The next ones leave, which are of one session.
    fn hand_out(&mut self, items: u64, cost: usize) {
        self.released += cost;
        if self.stale > 0 {
            self.stale -= items;
            self.stale_cost -= cost;
        } else {
            self.handed += items;
            self.released_held += cost;
        }
    }

    /// The application is done with everything that was handed out. Returns
    /// what may be acknowledged, and the cost that became free.
    pub(crate) fn consume(&mut self) -> Option<(u64, usize)> {
        let released = std::mem::take(&mut self.released);
        self.held -= std::mem::take(&mut self.released_held);
        (released > 0).then_some((self.handed, released))
    }

    /// A new session took the place of the old one. What is here is still
    /// handed out, but acknowledges nothing; an end that was not seen is
    /// not final, since the new session has one of its own.
    pub(crate) fn restart(&mut self) {
        if self.queue.back().is_some_and(Queued::is_end) {
            self.queue.pop_back();
        }
        self.stale = self.queue.iter().map(Queued::items).sum();
        self.stale_cost = self.cost();
        (self.received, self.handed, self.arrived, self.held) = (0, 0, 0, 0);
        (self.released, self.released_held) = (0, 0);
        self.fin = false;
    }

    /// The cost that a new session could add to what is here.
    pub(crate) fn room_for_new(&self, window: u32) -> u32 {
        window.saturating_sub(u32::try_from(self.cost()).unwrap_or(u32::MAX))
    }

    /// The cost that the present session may have outstanding.
    pub(crate) fn room(&self, window: u32) -> u32 {
        window.saturating_sub(u32::try_from(self.stale_cost).unwrap_or(u32::MAX))
    }

    fn cost(&self) -> usize {
        self.queue.iter().map(Queued::cost).sum()
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// What was received in this session counts for so much in the peer's window.
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived
    }

    /// The same of what the application is done with.
    pub(crate) fn consumed_cost(&self) -> u64 {
        self.arrived - self.held as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.over
    }

    /// Whether the end comes next.
    pub(crate) fn is_at_end(&self) -> bool {
        self.over || self.queue.front().is_some_and(Queued::is_end)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// The link is idle: gives back what a busy time has reserved.
    pub(crate) fn rest(&mut self) {
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }

    #[cfg(test)]
    pub(crate) fn is_slim(&self) -> bool {
        self.queue.capacity() == 0
    }

    /// Forgets what will not be asked for any more.
    pub(crate) fn discard(&mut self) {
        self.queue = VecDeque::new();
        (self.stale, self.stale_cost) = (0, 0);
    }
}

/// An acknowledgement is due this long after it came to be owed, if nothing took
/// it along before.
pub(crate) const ACK_DELAY: Duration = Duration::from_millis(50);

/// "Done with the first `consumed` frames", to be written only behind the first
/// `after` frames of our own, so that a peer which sees it has seen what the
/// application sent in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) consumed: u64,
    pub(crate) after: u64,
    /// What the consumed ones count for in the peer's window.
    pub(crate) cost: u64,
}

/// Acknowledgements on their way out.
#[derive(Debug)]
pub(crate) struct Acks {
    /// Ascending. The first may have been written on the present link: it is
    /// kept, since the next link needs it again. Two more wait at most: one
    /// whose place in the stream stays put, and one that follows the newest.
    slots: VecDeque<Slot>,
    written: bool,
    /// The cost that is free and that the peer does not know to be.
    owed: usize,
    since: Option<Instant>,
    due: bool,
    /// The window that the peer was told when the session began, and the last one
    /// that it is sure to know on the present link. They only grow.
    first_window: u32,
    window: u32,
}

impl Acks {
    /// Of a session that began with a window of that size.
    pub(crate) fn new(window: u32) -> Acks {
        Acks {
            slots: VecDeque::new(),
            written: false,
            owed: 0,
            since: None,
            due: false,
            first_window: window,
            window,
        }
    }

    pub(crate) fn record(&mut self, slot: Slot, freed: usize, now: Instant) {
        if self.slots.len() - usize::from(self.written) >= 2 {
            self.slots.pop_back();
        }
        self.slots.push_back(slot);
        self.owed += freed;
        self.since.get_or_insert(now);
    }

    /// To be written as soon as its place in the stream is reached.
    pub(crate) fn hurry(&mut self) {
        self.due = true;
    }

    /// The index of the one to be written now: the newest whose place is reached,
    /// or else, if the peer may have to see it before it makes room for what comes
    /// before that place (`stuck`), the newest of all.
    fn ready(&self, cursor: u64, stuck: bool) -> Option<usize> {
        #[cfg(test)]
        let stuck = stuck || planted(Fault::AckOvertakes);
        let new = |index: &usize| *index >= usize::from(self.written);
        let in_place = self.slots.iter().rposition(|slot| slot.after <= cursor);
        let newest = self.slots.len().checked_sub(1).filter(|_| stuck);
        in_place.filter(new).or(newest.filter(new))
    }

    /// Whether one has to be written even if nothing else is. `window`: the one
    /// that the peer keeps to.
    pub(crate) fn is_due(&self, cursor: u64, stuck: bool, window: u32) -> bool {
        (self.due || self.owed >= window as usize / 4) && self.ready(cursor, stuck).is_some()
    }

    /// Takes the one to be written now, with the window that it announces.
    pub(crate) fn take(&mut self, cursor: u64, stuck: bool, window: u32) -> Option<Ack> {
        let newest = self.ready(cursor, stuck)?;
        self.slots.drain(..newest);
        (self.written, self.window) = (true, window);
        if self.slots.len() == 1 {
            (self.owed, self.since, self.due) = (0, None, false);
        }
        // One that went ahead keeps its place on later links.
        let slot = &mut self.slots[0];
        slot.after = slot.after.min(cursor);
        Some(Ack { consumed: slot.consumed, window })
    }

    /// The cost of what the peer is sure to know, or will, if the present link lives.
    pub(crate) fn told(&self) -> u64 {
        self.slots.front().filter(|_| self.written).map_or(0, |slot| slot.cost)
    }

    /// The window that it is sure to know.
    pub(crate) fn window(&self) -> u32 {
        self.window
    }

    /// What a peer that has received the first `position` frames may be told.
    pub(crate) fn covered(&self, position: u64) -> u64 {
        self.slots.iter().rfind(|slot| slot.after <= position).map_or(0, |slot| slot.consumed)
    }

    /// A new link: what was written on the old one may not have arrived.
    pub(crate) fn replay(&mut self) {
        (self.written, self.window) = (false, self.first_window);
        self.due |= !self.slots.is_empty();
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

    /// Whether one is owed that waits for its time.
    pub(crate) fn is_waiting(&self) -> bool {
        self.since.is_some()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "one reading as the origin of a fake clock")]
mod tests;
