//! The connections that a listener's thread drives, those that are not over: when each is
//! looked after next, and which make room for new ones.

mod polled;

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use self::polled::Polled;
use crate::link::{Checkup, Shared};
use crate::sync::Arc;

/// Most idle deadlines move before they expire. So a server that is awake also checks up
/// connections whose time comes so soon: else ten thousand of them wake it a thousand
/// times a second, each for itself. Once in that time: a busy connection has a time that
/// comes soon again and again.
const AHEAD: Duration = Duration::from_millis(250);

struct Entry {
    shared: Arc<Shared>,
    /// Its place in [`Entries::due`].
    due: Option<Instant>,
    /// Its place in [`Entries::lost`].
    lost: Option<Rank>,
    /// The key of its link in [`Entries::polled`].
    polled: Option<u64>,
}

/// Of a connection without a link: whether anything ever came from it, and since when it
/// is lost. Those from which nothing came make room first: an attacker has as many as it
/// likes. Among these, and among the others, it is the longest lost.
type Rank = (bool, Instant);

#[derive(Default)]
pub(super) struct Entries {
    by_id: HashMap<u64, Entry>,
    pub(super) polled: Polled,
    due: BTreeSet<(Instant, u64)>,
    lost: BTreeSet<(Rank, u64)>,
    /// Until when connections were last looked after ahead of their time.
    ahead: Option<Instant>,
}

impl Entries {
    pub(super) fn new() -> std::io::Result<Entries> {
        Ok(Entries { polled: Polled::new()?, ..Entries::default() })
    }

    /// A new one, whose link has woken the driver.
    pub(super) fn insert(&mut self, shared: Arc<Shared>) {
        self.by_id.insert(shared.id(), Entry { shared, due: None, lost: None, polled: None });
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: u64) -> Option<&Arc<Shared>> {
        self.by_id.get(&id).map(|entry| &entry.shared)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Shared>> {
        self.by_id.values().map(|entry| &entry.shared)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Those whose time has come, and then some before.
    pub(super) fn due(&mut self, now: Instant) -> Vec<u64> {
        let mut until = now;
        let some = self.deadline().is_some_and(|at| at <= now);
        if some && self.ahead.is_none_or(|ahead| now >= ahead) {
            until = now + AHEAD;
            self.ahead = Some(until);
        }
        self.due.range(..=(until, u64::MAX)).map(|(_, id)| *id).collect()
    }

    /// Looks after a connection. Returns it if it is over, and is driven no more.
    pub(super) fn tend(&mut self, id: u64) -> Option<Arc<Shared>> {
        let entry = self.by_id.get_mut(&id)?;
        let Checkup { deadline, poll, lost, over, .. } = entry.shared.check_up(entry.due);
        self.polled.set(&entry.shared, &mut entry.polled, poll);
        let lost = lost.map(|lost| (lost.has_received, lost.at));
        place(&mut self.due, id, &mut entry.due, deadline);
        place(&mut self.lost, id, &mut entry.lost, lost);
        over.then(|| self.by_id.remove(&id).expect("it was tended").shared)
    }

    /// The lost connection that makes room next. Another is returned the next time.
    pub(super) fn take_lost(&mut self) -> Option<Arc<Shared>> {
        let (_, id) = self.lost.pop_first()?;
        let entry = self.by_id.get_mut(&id)?;
        entry.lost = None;
        Some(entry.shared.clone())
    }
}

/// Moves a connection to another place in an order, or out of it.
fn place<P: Copy + Ord>(
    order: &mut BTreeSet<(P, u64)>,
    id: u64,
    place: &mut Option<P>,
    new: Option<P>,
) {
    if *place == new {
        return;
    }
    if let Some(old) = std::mem::replace(place, new) {
        order.remove(&(old, id));
    }
    order.extend(new.map(|new| (new, id)));
}

#[cfg(all(test, not(shuttle)))]
mod tests;
