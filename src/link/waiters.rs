//! The threads that wait, and which of them are woken.

/// What a thread waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiter {
    Receiver,
    Other,
}

/// The threads that wait on a condition variable.
///
/// Those that were chosen, and have not come yet, are not chosen again: they
/// look at what is there when they come. On a busy core that takes a while, in
/// which another thread can send a thousand messages.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    count: usize,
    chosen: usize,
}

impl Waiters {
    pub(super) fn sleep(&mut self) {
        self.count += 1;
    }

    /// One has come, notified or because its time is over.
    pub(super) fn wake(&mut self) {
        self.count -= 1;
        self.chosen = self.chosen.saturating_sub(1);
    }

    /// Whether there is one to be chosen.
    pub(super) fn are_asleep(&self) -> bool {
        self.chosen < self.count
    }

    /// Chooses at most so many. Returns how many are to be notified: `most`, or none if no
    /// thread is left to be chosen. One that was chosen before may not have been notified
    /// yet, since that is done without the lock, and a notice for one may reach any thread
    /// that sleeps. So where all are chosen, all are notified.
    pub(super) fn choose(&mut self, most: usize) -> usize {
        if !self.are_asleep() {
            return 0;
        }
        self.chosen += most.min(self.count - self.chosen);
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else four threads that send make a system call for each message, to wake
    /// those that are awake and wait for their turn on the core.
    #[test]
    fn a_thread_that_was_called_and_has_not_come_is_not_called_again() {
        const ALL: usize = usize::MAX;
        let mut waiters = Waiters::default();
        assert_eq!([waiters.choose(1), waiters.choose(ALL)], [0; 2]);
        (0..3).for_each(|_| waiters.sleep());
        assert_eq!([waiters.choose(1), waiters.choose(1)], [1; 2]);
        assert_eq!([waiters.choose(ALL), waiters.choose(1)], [ALL, 0]);
        waiters.wake();
        assert!(!waiters.are_asleep());
        // It has found nothing, and waits again.
        waiters.sleep();
        assert_eq!([waiters.choose(1), waiters.choose(1)], [1, 0]);
        (0..3).for_each(|_| waiters.wake());
        // One that was never chosen comes by itself.
        waiters.sleep();
        waiters.wake();
        waiters.sleep();
        assert_eq!(waiters.choose(1), 1);
    }
}
