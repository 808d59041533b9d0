//! Messages in a row are gathered, and written together.
//!
//! A system call for each message, or for each flush of a few, costs more than all the
//! rest, and wakes the peer each time. So the third in a row only joins those before, and
//! the thread whose message fills a batch writes them all. The driver is woken once, when
//! a row begins, and writes what there is. If it finds many, it is a net for what fills no
//! batch: it looks again after [`NET`], and again, until it finds few. A row also ends when
//! a thread waits for the peer. So a lone message waits for no clock, and one in a row for
//! [`NET`] at most.
//!
//! While a row goes on, the driver does not poll for what the peer says, but reads when it
//! looks: it would be woken for each acknowledgement, and take the sender's core.

use std::time::{Duration, Instant};

use super::State;
use super::locked::Locked;
use super::roles::Writer;
use crate::proto::report::Output;

/// So many messages in a row are written by their senders.
const SINGLES: u32 = 2;
/// A row in which the driver finds no more goes too slowly to be one.
const FEW: u32 = 8;
/// How often the driver looks at one.
pub(super) const NET: Duration = Duration::from_micros(200);

/// What is sent over a link and waits for nothing in between.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// Messages, or flushes of several, that their senders wrote since the last pause.
    singles: u32,
    /// Those that were gathered since the driver last looked.
    gathered: u32,
    net: Net,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Net {
    #[default]
    Off,
    /// The driver was woken, and has not come yet.
    Due,
    At(Instant),
}

impl Row {
    /// What is sent next follows a pause.
    pub(super) fn end(&mut self) {
        self.singles = 0;
    }

    /// Whether the driver will look at what was gathered.
    pub(super) fn has_net(&self) -> bool {
        self.net != Net::Off
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.net {
            Net::At(at) => Some(at),
            Net::Off | Net::Due => None,
        }
    }

    /// The driver has looked, and has written what there was, unless the writer is blocked.
    pub(super) fn look(&mut self, blocked: bool, now: Instant) {
        if matches!(self.net, Net::At(at) if now < at) {
            return;
        }
        let few = std::mem::take(&mut self.gathered) < FEW;
        self.net = if few { Net::Off } else { Net::At(now + NET) };
        if few && !blocked {
            self.end();
        }
    }
}

impl State {
    pub(super) fn end_row(&mut self) {
        if let Some(link) = &mut self.link {
            link.row.end();
        }
    }

    /// The driver has written what there was.
    pub(super) fn look_at_row(&mut self, now: Instant) {
        if let Some(link) = &mut self.link {
            link.row.look(link.writer != Writer::Idle, now);
        }
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
            Writer::Idle if row.singles < SINGLES => {
                row.singles += 1;
                return false;
            }
            Writer::Idle if row.has_net() => {}
            Writer::Idle => {
                row.net = Net::Due;
                self.driver_due = true;
            }
        }
        row.gathered = row.gathered.saturating_add(1);
        true
    }
}

/// For the driver.
impl Locked<'_> {
    /// What is polled for.
    pub(super) fn read_covered(&mut self) {
        if let Some(mut read_half) = self.take_covered_read_half() {
            let result = self.unlocked(|| read_half.read(None));
            self.after_read(read_half, result);
        }
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
