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
///
/// A notice is given without the lock, and one for a single thread may reach another that has
/// gone to sleep since. That is as good where one comes for a message, or for a role. But what
/// each may wait for is told to all, also to those that are chosen.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    count: usize,
    chosen: usize,
    /// All that sleep were called, by a notice for all.
    called: bool,
}

impl Waiters {
    pub(super) fn sleep(&mut self) {
        self.count += 1;
        self.called = false;
    }

    /// One has come, notified or because its time is over.
    pub(super) fn wake(&mut self) {
        self.count -= 1;
        self.chosen = self.chosen.saturating_sub(1);
    }

    /// Whether there is one to be chosen.
    pub(super) fn has_unchosen(&self) -> bool {
        self.chosen < self.count
    }

    /// Whether there is one that is not called yet.
    pub(super) fn has_uncalled(&self) -> bool {
        self.count > 0 && !self.called
    }

    /// Chooses one. Returns how many are to be notified: it, or none if all are chosen.
    pub(super) fn choose(&mut self) -> usize {
        let found = usize::from(self.has_unchosen());
        self.chosen += found;
        found
    }

    /// Calls all. Returns how many are to be notified: all, or none if they are called.
    pub(super) fn call(&mut self) -> usize {
        if !self.has_uncalled() {
            return 0;
        }
        (self.chosen, self.called) = (self.count, true);
        usize::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: usize = usize::MAX;

    /// Else four threads that send make a system call for each message, to wake
    /// those that are awake and wait for their turn on the core.
    #[test]
    fn a_thread_that_was_called_and_has_not_come_is_not_called_again() {
        let mut waiters = Waiters::default();
        assert_eq!([waiters.choose(), waiters.call()], [0; 2]);
        (0..3).for_each(|_| waiters.sleep());
        assert_eq!([waiters.choose(), waiters.choose()], [1; 2]);
        assert_eq!([waiters.call(), waiters.call(), waiters.choose()], [ALL, 0, 0]);
        waiters.wake();
        assert!(!waiters.has_unchosen() && !waiters.has_uncalled());
        // It has found nothing, and waits again.
        waiters.sleep();
        assert_eq!([waiters.choose(), waiters.choose()], [1, 0]);
        (0..3).for_each(|_| waiters.wake());
        // One that was never chosen comes by itself.
        waiters.sleep();
        waiters.wake();
        waiters.sleep();
        assert_eq!(waiters.choose(), 1);
    }

    /// Another that sleeps meanwhile may take its notice, and finds nothing.
    #[test]
    fn a_thread_that_was_chosen_alone_is_called_with_all() {
        let mut waiters = Waiters::default();
        waiters.sleep();
        assert_eq!(waiters.choose(), 1);
        assert_eq!((waiters.has_uncalled(), waiters.call()), (true, ALL));
    }
}
