//! Sessions without a link, in the order in which they make room. Pure.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

/// Those from which nothing ever came make room first: an attacker has as many
/// as it likes. Among these, and among the others, it is the longest lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    has_received: bool,
    since: Instant,
    id: u64,
}

#[derive(Debug)]
pub(super) struct LostSessions<S> {
    by_rank: BTreeMap<Rank, S>,
    ranks: HashMap<u64, Rank>,
}

impl<S> LostSessions<S> {
    pub(super) fn new() -> LostSessions<S> {
        LostSessions { by_rank: BTreeMap::new(), ranks: HashMap::new() }
    }

    /// The session of this id has been without a link since then.
    pub(super) fn insert(&mut self, id: u64, since: Instant, has_received: bool, session: S) {
        let rank = Rank { has_received, since, id };
        if let Some(old) = self.ranks.insert(id, rank) {
            self.by_rank.remove(&old);
        }
        self.by_rank.insert(rank, session);
    }

    /// It has a link again, or is over.
    pub(super) fn remove(&mut self, id: u64) {
        if let Some(rank) = self.ranks.remove(&id) {
            self.by_rank.remove(&rank);
        }
    }

    /// Takes out the one that makes room next.
    pub(super) fn pop(&mut self) -> Option<S> {
        let (rank, session) = self.by_rank.pop_first()?;
        self.ranks.remove(&rank.id);
        Some(session)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn times() -> impl Fn(u64) -> Instant {
        let origin = crate::sync::now();
        move |second| origin + Duration::from_secs(second)
    }

    fn order(mut lost: LostSessions<u64>) -> Vec<u64> {
        std::iter::from_fn(|| lost.pop()).collect()
    }

    #[test]
    fn those_that_said_nothing_go_first_and_the_longest_lost_among_equals() {
        let at = times();
        let mut lost = LostSessions::new();
        for (id, second, has_received) in
            [(1, 0, true), (2, 9, false), (3, 5, false), (4, 7, true), (5, 5, false)]
        {
            lost.insert(id, at(second), has_received, id);
        }
        assert_eq!(order(lost), [3, 5, 2, 1, 4]);
    }

    #[test]
    fn one_that_was_back_meanwhile_counts_from_its_last_loss() {
        let at = times();
        let mut lost = LostSessions::new();
        (1..=3).for_each(|id| lost.insert(id, at(id), false, id));
        lost.remove(1);
        lost.remove(7);
        // What was not noticed in between: it came back, spoke, and is lost again.
        lost.insert(2, at(9), true, 2);
        lost.insert(1, at(8), false, 1);
        lost.insert(1, at(8), false, 1);
        assert_eq!(order(lost), [3, 1, 2]);
    }
}
