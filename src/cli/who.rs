//! A server's clients, as a table for the operator. Pure.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Instant;

use tabwriter::TabWriter;

use super::roster::Roster;
use super::text;
use crate::Stats;

const MEMORY: &str = "memory takes everything";
const HEADS: &str = "  client\taddress\tstate\tup\theard\tunacknowledged\n";

/// The table: a line for each client, in aligned columns, below their names. `ask` tells
/// where a client is, or was last, and what its connection says.
pub(super) fn table<C: Clone>(
    roster: &Roster<C>,
    ask: impl Fn(&C) -> (SocketAddr, Stats),
    now: Instant,
) -> String {
    if roster.len() == 0 {
        return "nobody is connected\n".to_string();
    }
    let ago = |at: Option<Instant>| at.map(|at| text::humane(now.saturating_duration_since(at)));
    let none = || "-".to_string();
    let mut lines = HEADS.to_string();
    for (number, client) in roster.clients() {
        let (address, stats) = ask(&client.connection);
        let state = match ago(stats.lost_since) {
            Some(time) => format!("lost {time} ago"),
            None => "connected".to_string(),
        };
        let standing = match client.ended {
            Some(_) => ", ending",
            None if client.finished => ", finished",
            None => "",
        };
        let mark = if roster.is_target(number) { '>' } else { ' ' };
        let up = ago(stats.connected_since).unwrap_or_else(none);
        let heard = ago(stats.last_heard).map_or_else(none, |time| format!("{time} ago"));
        let rest = format!("{up}\t{heard}\t{}", stats.unacknowledged);
        lines += &format!("{mark} client-{number}\t{address}\t{state}{standing}\t{rest}\n");
    }
    let mut table = TabWriter::new(Vec::new());
    table.write_all(lines.as_bytes()).expect(MEMORY);
    String::from_utf8(table.into_inner().expect(MEMORY)).expect("it was a string before")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_client_is_said_in_words() {
        let table = table(&Roster::default(), |&at| at, crate::cli::now());
        assert_eq!(table, "nobody is connected\n");
    }

    #[test]
    fn columns_are_aligned() {
        let then = crate::cli::now();
        let after = |seconds| Some(then + Duration::from_secs(seconds));
        let up = Stats { connected_since: Some(then), last_heard: after(97), ..Stats::default() };
        let lost = Stats {
            lost_since: after(88),
            last_heard: after(80),
            unacknowledged: 3,
            ..Stats::default()
        };
        let mut roster = Roster::default();
        for (number, address, stats) in [
            (1, "127.0.0.1:1", up),
            (12, "[::1]:4242", lost),
            (13, "192.0.2.1:65535", Stats::default()),
        ] {
            roster.join(number, (address.parse().unwrap(), stats));
        }
        roster.aim(12).unwrap();
        assert!(!roster.finish(12) && !roster.finish(13));
        roster.end(13, "why").unwrap();
        let wanted = [
            "  client     address          state                   up      heard    unacknowledged",
            "  client-1   127.0.0.1:1      connected               1m 40s  3s ago   0",
            "> client-12  [::1]:4242       lost 12s ago, finished  -       20s ago  3",
            "  client-13  192.0.2.1:65535  connected, ending       -       -        0",
        ];
        let table = table(&roster, |&at| at, then + Duration::from_secs(100));
        assert_eq!(table.lines().collect::<Vec<_>>(), wanted);
    }
}
