//! Messages in a row are gathered, and written together.
//!
//! A system call for each message, or for each flush of a few, costs more than all the
//! rest, and wakes the peer each time. So the third in a row only joins those before, and
//! the thread whose message fills a batch writes them all. The driver is woken once, when
//! a row begins, and writes what there is. If it finds many, it is a net for what fills no
//! batch: it looks again after [`NET`], and again, until it finds few. A row also ends when
//! a thread waits for the peer. So a lone message waits for no clock, and one in a row for
//! [`NET`] at most, unless the driver is in a callback.
//!
//! While a row goes on, the driver does not poll for what the peer says, but reads when it
//! looks: it would be woken for each acknowledgement, and take the sender's core.
//!
//! A *rush* is a row of a million messages in a second. Threads that send take turns in it:
//! see [`lock_to_send`](super::Shared::lock_to_send).
//!
//! Under the ordinary scheduler, with both ends pinned, plain sends of 64 bytes made 33 to
//! 43 times the messages of a raw socket that writes each (`benches/peers`); when the driver was
//! woken for each row, it was 7 to 10 times.

use std::time::{Duration, Instant};

use super::tick::Tick;

/// So many messages in a row are written by their senders.
pub(super) const SINGLES: u32 = 2;
/// A row in which the driver finds no more goes too slowly to be one.
pub(super) const FEW: u32 = 8;
/// So many between two looks are a rush: a million in a second.
pub(super) const RUSH: u32 = 200;
/// How often the driver looks at one.
pub(super) const NET: Duration = Duration::from_micros(200);

/// What is sent over a link and waits for nothing in between.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// Messages, or flushes of several, that their senders wrote since the last pause.
    singles: u32,
    /// Those that were gathered since the driver last looked.
    gathered: u32,
    net: Tick,
    rush: bool,
}

impl Row {
    /// What is sent next follows a pause.
    pub(super) fn end(&mut self) {
        self.singles = 0;
    }

    /// A message is to be written that fills no batch. Returns whether its sender does so.
    pub(super) fn takes_single(&mut self) -> bool {
        let single = self.singles < SINGLES;
        self.singles += u32::from(single);
        single
    }

    /// The driver is to look, if it does not anyway. Returns whether it has to be woken.
    pub(super) fn casts_net(&mut self) -> bool {
        let new = !self.has_net();
        if new {
            self.net = Tick::Due;
        }
        new
    }

    pub(super) fn gather(&mut self) {
        self.gathered = self.gathered.saturating_add(1);
    }

    /// Whether messages come so fast that threads which send should take turns.
    pub(super) fn is_rush(&self) -> bool {
        self.rush
    }

    /// Whether the driver will look at what was gathered.
    pub(super) fn has_net(&self) -> bool {
        self.net != Tick::Off
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.net.deadline()
    }

    /// The driver has looked, and writes what there is. If another thread writes, or the socket
    /// is full (`blocked`), what comes meanwhile is theirs, net or not.
    pub(super) fn look(&mut self, blocked: bool, now: Instant) {
        if matches!(self.net, Tick::At(at) if now < at) {
            return;
        }
        let gathered = std::mem::take(&mut self.gathered);
        let few = gathered < FEW;
        // A driver that is late has waited for a core, and so would a thread that yields its own.
        let in_time = matches!(self.net, Tick::At(at) if now < at + NET);
        self.rush = in_time && gathered >= RUSH;
        self.net = if few { Tick::Off } else { Tick::At(now + NET) };
        if few && !blocked {
            self.end();
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "one reading as the origin of a fake clock")]
mod tests {
    use super::*;

    fn sent(row: &mut Row, count: u32) {
        (0..count).for_each(|_| row.gather());
    }

    #[test]
    fn a_row_goes_on_while_the_driver_finds_many() {
        let (mut row, now) = (Row::default(), Instant::now());
        assert_eq!([(); 4].map(|()| row.takes_single()), [true, true, false, false]);
        assert_eq!([row.casts_net(), row.casts_net()], [true, false]);
        sent(&mut row, FEW);
        row.look(false, now);
        assert_eq!(row.deadline(), Some(now + NET));
        // It comes for something else, and counts nothing.
        sent(&mut row, FEW - 1);
        row.look(false, now + NET / 2);
        assert_eq!((row.deadline(), row.takes_single()), (Some(now + NET), false));
        sent(&mut row, 1);
        row.look(false, now + NET);
        assert_eq!((row.deadline(), row.casts_net()), (Some(now + 2 * NET), false));
        sent(&mut row, FEW - 1);
        row.look(false, now + 2 * NET);
        assert_eq!((row.deadline(), row.has_net()), (None, false));
        assert!(row.takes_single(), "the next one waits for a clock");
    }

    #[test]
    fn a_rush_is_many_in_a_short_time() {
        let (mut row, now) = (Row::default(), Instant::now());
        row.casts_net();
        // Since when they have come is not known for the first.
        let looks = [(RUSH, 0, false), (RUSH, 1, true), (RUSH - 1, 2, false), (RUSH, 4, false)];
        for (count, at, rush) in looks {
            sent(&mut row, count);
            row.look(false, now + at * NET);
            assert_eq!(row.is_rush(), rush, "{at}: {count}");
        }
    }

    /// What could not be written is more than the few that came since.
    #[test]
    fn a_row_whose_writer_is_blocked_has_not_ended() {
        let (mut row, now) = (Row::default(), Instant::now());
        while row.takes_single() {}
        row.casts_net();
        row.look(true, now);
        assert!(!row.has_net() && !row.takes_single() && row.casts_net());
    }
}
