//! A server's clients, as a table for the operator. Pure.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Instant;

use super::roster::Standing;
use super::text;
use crate::Stats;

const HEADS: [&str; 6] = ["  client", "address", "state", "up", "heard", "unacknowledged"];

/// A client.
#[derive(Debug)]
pub struct Row {
    /// Its number.
    pub number: u64,
    /// How the operator stands with it.
    pub standing: Standing,
    /// Where it is, or was last.
    pub address: SocketAddr,
    /// What its connection says.
    pub stats: Stats,
}

impl Row {
    fn cells(&self, now: Instant) -> [String; 6] {
        let ago =
            |at: Option<Instant>| at.map(|at| text::humane(now.saturating_duration_since(at)));
        let mut state = match ago(self.stats.lost_since) {
            Some(time) => format!("lost {time} ago"),
            None => "connected".to_string(),
        };
        if self.standing.ended {
            state.push_str(", ending");
        } else if self.standing.finished {
            state.push_str(", finished");
        }
        let mark = if self.standing.is_target { '>' } else { ' ' };
        let none = || "-".to_string();
        [
            format!("{mark} client-{}", self.number),
            self.address.to_string(),
            state,
            ago(self.stats.connected_since).unwrap_or_else(none),
            ago(self.stats.last_heard).map_or_else(none, |time| format!("{time} ago")),
            self.stats.unacknowledged.to_string(),
        ]
    }
}

/// The table: a line for each client, in aligned columns, below their names.
pub fn table(rows: &[Row], now: Instant) -> String {
    if rows.is_empty() {
        return "nobody is connected\n".to_string();
    }
    let heads = HEADS.map(str::to_string);
    let lines: Vec<_> = [heads].into_iter().chain(rows.iter().map(|row| row.cells(now))).collect();
    let mut widths = [0; HEADS.len()];
    for cells in &lines {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = cell.len().max(*width);
        }
    }
    // Nothing stands behind the last.
    widths[HEADS.len() - 1] = 0;
    let mut table = String::new();
    for cells in &lines {
        for (cell, width) in cells.iter().zip(widths) {
            let _ = write!(table, "{cell:width$}  ");
        }
        table.truncate(table.trim_end().len());
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_client_is_said_in_words() {
        assert_eq!(table(&[], crate::cli::now()), "nobody is connected\n");
    }

    #[test]
    fn columns_are_aligned() {
        let then = crate::cli::now();
        let after = |seconds| Some(then + Duration::from_secs(seconds));
        let row = |number, address: &str, stats| Row {
            number,
            standing: Standing {
                is_target: number == 12,
                finished: number > 1,
                ended: number > 12,
            },
            address: address.parse().unwrap(),
            stats,
        };
        let up = Stats { connected_since: Some(then), last_heard: after(97), ..Stats::default() };
        let lost = Stats {
            lost_since: after(88),
            last_heard: after(80),
            unacknowledged: 3,
            ..Stats::default()
        };
        let rows = [
            row(1, "127.0.0.1:1", up),
            row(12, "[::1]:4242", lost),
            row(13, "192.0.2.1:65535", Stats::default()),
        ];
        let wanted = [
            "  client     address          state                   up      heard    unacknowledged",
            "  client-1   127.0.0.1:1      connected               1m 40s  3s ago   0",
            "> client-12  [::1]:4242       lost 12s ago, finished  -       20s ago  3",
            "  client-13  192.0.2.1:65535  connected, ending       -       -        0",
        ];
        let table = table(&rows, then + Duration::from_secs(100));
        assert_eq!(table.lines().collect::<Vec<_>>(), wanted);
    }
}
