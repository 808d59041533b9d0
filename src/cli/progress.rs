//! How far a piped input has come, on a terminal's standard error.
//!
//! A thread of its own looks at the connection's counters a few times a second;
//! the sending thread knows nothing of it.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::client::Client;
use super::terminal::{self, Bottom};
use super::{now, text};
use crate::Stats;

/// The time between two looks at the counters.
const LOOK: Duration = Duration::from_millis(250);
/// The row is about the time of so many looks: the last second.
const LOOKS: usize = 5;

/// Starts the thread where it has something to show, once there is a connection. It ends
/// when the whole input is acknowledged, or with the process.
pub(super) fn start(client: Arc<Client>) -> io::Result<()> {
    if io::stdin().is_terminal() || !terminal::shows_progress() {
        return Ok(());
    }
    let work = move || {
        let (mut meter, mut shown) = (Meter::default(), false);
        loop {
            thread::park_timeout(LOOK);
            let stats = client.connection.wait().stats();
            let done = !client.stage().is_reading() && stats.unacknowledged == 0;
            let line = meter.look(now(), &stats).filter(|_| !done);
            let bottom = line.map(|line| {
                // The last column stays free, or the next line would be entered.
                let room = terminal::size().0.saturating_sub(1);
                let line = format!("{line}, {}", client.watch.state());
                Bottom::Line(String::new(), 0, Some(line.chars().take(room).collect()))
            });
            if bottom.is_some() || shown {
                shown = bottom.is_some();
                terminal::show("", bottom.unwrap_or(terminal::NOTHING));
            }
            if done {
                return;
            }
        }
    };
    thread::Builder::new().name("progress".into()).spawn(work).map(drop)
}

/// What the counters say over time.
#[derive(Debug, Default)]
struct Meter {
    /// The last looks, the oldest first: when each was, how many messages and bytes were sent
    /// by then, and whether there was something to do.
    looks: VecDeque<(Instant, u64, u64, bool)>,
}

impl Meter {
    /// What the row says now. There is a row unless two looks one after the other found
    /// nothing to do.
    fn look(&mut self, now: Instant, stats: &Stats) -> Option<String> {
        let (sent, bytes) = (stats.messages_sent, stats.bytes_sent);
        let moved = self.looks.back().is_some_and(|last| last.1 != sent);
        self.looks.push_back((now, sent, bytes, moved || stats.unacknowledged > 0));
        if self.looks.len() > LOOKS {
            self.looks.pop_front();
        }
        let paused = self.looks.iter().zip(self.looks.iter().skip(1)).any(|(a, b)| !a.3 && !b.3);
        let (then, _, before, _) = self.looks[0];
        if self.looks.len() < LOOKS || paused {
            return None;
        }
        let rate = (bytes - before) as f64 / now.duration_since(then).as_secs_f64();
        Some(format!(
            "sent {} ({}), {} acknowledged, {}/s",
            text::messages(sent),
            text::size(bytes),
            sent - stats.unacknowledged,
            text::size(rate as u64),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every quarter of a second: what was shown, in order.
    fn looks(counters: impl IntoIterator<Item = (u64, u64)>) -> Vec<Option<String>> {
        let (start, mut meter) = (now(), Meter::default());
        let look = |(number, (sent, unacknowledged))| {
            let bytes_sent = sent * 1024;
            let stats =
                Stats { messages_sent: sent, bytes_sent, unacknowledged, ..Stats::default() };
            meter.look(start + LOOK * number, &stats)
        };
        (0..).zip(counters).map(look).collect()
    }

    #[test]
    fn a_stream_is_told_of_after_a_second() {
        let looks = looks((1..=8).map(|number| (number * 100, 3)));
        assert_eq!(looks[..4], [None, None, None, None]);
        let last = "sent 800 messages (800 KiB), 797 acknowledged, 400 KiB/s";
        assert_eq!(looks[7].as_deref(), Some(last));
    }

    #[test]
    fn what_stands_still_is_told_of_while_it_waits() {
        let looks = looks((1..=12).map(|number| (number.min(3) * 100, 3)));
        let last = "sent 300 messages (300 KiB), 297 acknowledged, 0 bytes/s";
        assert_eq!(looks[11].as_deref(), Some(last));
    }

    /// Else the row comes and goes four times a second.
    #[test]
    fn a_line_now_and_then_leaves_the_row_where_it_is() {
        for looks_per_line in 1..8 {
            let looks = looks((0..40).map(|number| (number / looks_per_line, 0)));
            let shown = looks[10..].iter().filter(|row| row.is_some()).count();
            assert!([0, 30].contains(&shown), "{looks_per_line}: {shown}");
        }
    }

    #[test]
    fn a_trickle_and_an_end_are_not() {
        assert_eq!(looks((1..=40).map(|number| (number / 4, 0))), vec![None; 40]);
        let busy = (1..=8).map(|number| (number * 100, 0));
        let looks = looks(busy.chain(vec![(800, 0); 8]));
        assert!(looks[7].is_some());
        assert_eq!(looks[15], None);
    }
}
