//! Gathering: which thread writes what is sent in a row. See `link/row.rs`.

use std::time::Instant;

use super::State;
use super::locked::Locked;
use super::roles::Writer;
use crate::proto::report::Output;

impl State {
    pub(super) fn end_row(&mut self) {
        if let Some(link) = &mut self.link {
            link.row.end();
        }
    }

    /// The driver looks, and holds the lock until it has written what there is.
    pub(super) fn look_at_row(&mut self, now: Instant) {
        if let Some(link) = &mut self.link {
            link.row.look(link.writer != Writer::Idle, now);
        }
    }

    /// Whether threads that send take turns. In the callback the driver does not look.
    pub(super) fn is_rush(&self) -> bool {
        !self.reporting && self.link.as_ref().is_some_and(|link| link.row.is_rush())
    }

    /// What was fed is to be written: whether another thread is bound to do so.
    pub(super) fn gathers(&mut self) -> bool {
        let output = self.protocol.output();
        let Some(link) = &mut self.link else { return false };
        let row = &mut link.row;
        match link.writer {
            Writer::Dead => return false,
            // The driver is in the callback for now.
            _ if self.reporting => return false,
            Writer::Busy | Writer::Blocked => {}
            // A whole batch is worth a system call wherever it is made.
            Writer::Idle if output != Output::Messages => return false,
            Writer::Idle if row.takes_single() => return false,
            Writer::Idle => self.driver_due |= row.casts_net(),
        }
        row.gather();
        true
    }
}

/// For the driver.
impl Locked<'_> {
    /// What is polled for.
    pub(super) fn read_covered(&mut self) {
        let read_half = self.take_covered_read_half();
        self.read_at_once(read_half);
    }

    /// What the peer says while a row goes on is not polled for.
    pub(super) fn read_by_the_way(&mut self) {
        if self.link.as_ref().is_some_and(|link| link.row.has_net()) {
            self.read_covered();
        }
    }
}

// With real sockets.
#[cfg(all(test, not(shuttle)))]
mod tests;
