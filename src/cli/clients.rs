//! A server's clients: how many there are at once, what may still be sent to them, and an
//! account of what they sent and received.
//!
//! Each connection counts its own messages. The counts are added up when a client leaves, and
//! when the account is asked for: a message costs nothing here.
//!
//! A connection that is over frees its place in the library, but its thread may still print
//! what came over it. A client that comes meanwhile waits in the library, whose limits count
//! it: so neither threads nor messages add up, however slow standard output is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::layout::Prompt;
use super::monitor::Monitor;
use super::roster::Roster;
use super::{keyboard, log, metrics, now, terminal, text};
use crate::{Cause, Connection, Error, Event, Stats};

/// Why a session has ended.
const LEFT: &str = "it left";
const INPUT_ENDED: &str = "your input has ended";

/// All clients of a server, those that have left included.
pub struct Clients {
    since: Instant,
    /// There is an operator, for whom a terminal edits the lines.
    shows_prompt: bool,
    pub(super) records: Monitor<Records>,
}

/// What is known of all clients. The lock is never held while something blocks.
#[derive(Default)]
pub(super) struct Records {
    pub(super) roster: Roster<Connection>,
    /// The counts of the clients that have left.
    past: Counts,
    /// The operator's input has ended. The session of a client that still comes ends at once.
    closing: bool,
}

impl Records {
    /// Whether a client is there, or was.
    pub(super) fn has_begun(&self) -> bool {
        self.past.clients > 0 || self.roster.len() > 0
    }

    pub(super) fn connections(&self) -> Vec<Connection> {
        self.roster.clients().map(|(_, client)| client.connection.clone()).collect()
    }

    fn counts(&self) -> Counts {
        let mut counts = self.past;
        self.roster.clients().for_each(|(_, client)| counts.add(&client.connection));
        counts
    }
}

impl Clients {
    /// No client was served yet. An operator has a prompt.
    pub fn new(operator: bool) -> Arc<Clients> {
        let shows_prompt = operator && terminal::is_interactive() && !terminal::can_edit();
        let clients = Clients { since: now(), shows_prompt, records: Monitor::default() };
        clients.change(|_| ());
        Arc::new(clients)
    }

    /// Changes something, and tells the threads that wait, and the operator.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Records) -> R) -> R {
        let mut records = self.records.lock();
        let result = change(&mut records);
        self.records.notify();
        keyboard::wake();
        if self.shows_prompt {
            log::show_prompt(records.roster.prompt());
        }
        result
    }

    /// What the operator sees before a line that the terminal edits.
    pub(super) fn prompt(&self) -> Prompt {
        let text = self.records.lock().roster.prompt();
        Prompt { text, colour: "\x1b[36m", ..Prompt::default() }
    }

    /// Waits until there are fewer clients than so many.
    pub fn wait_for_room(&self, most: u32) {
        drop(self.records.wait(|records| records.roster.len() < most as usize));
    }

    /// A client comes.
    pub fn enter(&self, number: u64, connection: &Connection) {
        let late = self.change(|records| {
            records.roster.join(number, connection.clone());
            records.closing && records.roster.end(number, INPUT_ENDED).is_ok()
        });
        if late {
            let _ = connection.finish();
        }
    }

    /// A client is gone, and so is its thread.
    pub fn remove(&self, number: u64) {
        // It may be the last handle, which is not dropped while the lock is held.
        drop(self.change(|records| {
            let connection = records.roster.remove(number)?;
            records.past.add(&connection);
            Some(connection)
        }));
    }

    /// For [`Connection::on_event`]: nothing more goes to a client that is gone for good.
    pub fn on_event(&self, number: u64, event: &Event) {
        if let Event::GaveUp { .. } | Event::Closed { .. } = event {
            self.part(number);
        }
    }

    /// Nothing more goes to a client. Returns why.
    pub(super) fn part(&self, number: u64) -> &'static str {
        self.change(|records| {
            let _ = records.roster.end(number, LEFT);
            records.roster.why_ended(number).unwrap_or(LEFT)
        })
    }

    /// Tells all clients that nothing more comes, and returns their connections.
    pub(super) fn close(&self) -> Vec<Connection> {
        let all = self.change(|records| {
            records.closing = true;
            records.roster.end_all(INPUT_ENDED);
            records.connections()
        });
        all.iter().for_each(|connection| drop(connection.finish()));
        all
    }

    /// Ends all sessions at once, and waits for this time at most until all clients know.
    pub fn abort(&self, patience: Duration) {
        // What an event of theirs changes here takes the lock.
        let all = self.records.lock().connections();
        all.iter().for_each(Connection::abort);
        let until = now() + patience;
        for connection in &all {
            let _ = connection.close_within(until.saturating_duration_since(now()));
        }
    }

    /// Whether each message to a client was acknowledged.
    pub fn is_acknowledged(&self) -> bool {
        self.records.lock().counts().unacknowledged == 0
    }

    /// The account so far, as one line.
    pub fn account(&self) -> String {
        self.records.lock().counts().account(now().saturating_duration_since(self.since))
    }

    /// The account so far, for Prometheus.
    pub fn metrics(&self) -> String {
        let (mut all, present) = {
            let records = self.records.lock();
            (records.past, records.connections())
        };
        let (mut lost, mut unacknowledged) = (0, 0);
        for stats in present.iter().map(Connection::stats) {
            all.add_stats(&stats);
            lost += u64::from(stats.connected_since.is_none());
            unacknowledged += stats.unacknowledged;
        }
        metrics::exposition(&all, present.len() as u64 - lost, lost, unacknowledged)
    }

    /// The account of those that were carried as bytes.
    pub fn carried(&self) -> String {
        self.records.lock().counts().carried(now().saturating_duration_since(self.since))
    }
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) clients: u64,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) bytes_received: u64,
    pub(super) bytes_sent: u64,
    unacknowledged: u64,
    pub(super) resumed: u64,
    pub(super) lost: u64,
}

impl Counts {
    fn add(&mut self, connection: &Connection) {
        self.add_stats(&connection.stats());
        // How a connection ended is told by whatever is asked of it afterwards. A session
        // that the server has ended has lost no client.
        let by_us = |cause: &Cause| matches!(cause, Cause::Restarting | Cause::Revoked);
        let lost = match connection.flush() {
            Err(Error::GaveUp { cause, .. }) => !by_us(&cause),
            Err(error) => matches!(error, Error::SessionLost { .. }),
            Ok(()) => false,
        };
        self.lost += u64::from(lost);
    }

    fn add_stats(&mut self, stats: &Stats) {
        self.clients += 1;
        self.received += stats.messages_received;
        self.sent += stats.messages_sent;
        self.bytes_received += stats.bytes_received;
        self.bytes_sent += stats.bytes_sent;
        self.unacknowledged += stats.unacknowledged;
        self.resumed += stats.reconnects;
    }

    fn account(&self, time: Duration) -> String {
        let clients = text::count(self.clients, "client");
        let messages = text::messages(self.received);
        let unacknowledged = match self.unacknowledged {
            0 => String::new(),
            count => format!(" ({count} of them not acknowledged)"),
        };
        let links = text::count(self.resumed, "link");
        let sessions = text::count(self.lost, "session");
        format!(
            "served {clients} in {}: {messages} in, {} out{unacknowledged}; {links} resumed, \
             {sessions} lost",
            text::humane(time),
            self.sent
        )
    }

    fn carried(&self, time: Duration) -> String {
        let clients = text::count(self.clients, "client");
        let [sent, received] = [self.bytes_sent, self.bytes_received].map(text::size);
        let links = text::count(self.resumed, "link");
        let sessions = text::count(self.lost, "session");
        format!(
            "served {clients} in {}: {sent} sent, {received} received; {links} resumed, \
             {sessions} lost",
            text::humane(time)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_one_line() {
        let account = |counts: Counts| counts.account(Duration::from_secs(7500));
        assert_eq!(
            account(Counts::default()),
            "served 0 clients in 2h 5m: 0 messages in, 0 out; 0 links resumed, 0 sessions lost"
        );
        let counts = Counts {
            clients: 1,
            received: 1,
            sent: 7,
            bytes_received: 1024,
            bytes_sent: 1,
            unacknowledged: 2,
            resumed: 1,
            lost: 1,
        };
        assert_eq!(
            account(counts),
            "served 1 client in 2h 5m: 1 message in, 7 out (2 of them not acknowledged); \
             1 link resumed, 1 session lost"
        );
        assert_eq!(
            counts.carried(Duration::from_secs(2)),
            "served 1 client in 2s: 1 byte sent, 1 KiB received; 1 link resumed, 1 session lost"
        );
    }
}
