//! A server's clients: how many there are at once, and an account of what they had.
//!
//! Connections count by themselves. Their counts are added up when one leaves, and when the
//! account is asked for: a message costs nothing here.
//!
//! A connection that is over frees its place in the library, but its thread may still print
//! what came over it. A client that comes meanwhile waits in the library, whose limits count
//! it: so neither threads nor messages add up, however slow standard output is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::monitor::Monitor;
use super::{now, text};
use crate::{Connection, Error};

/// All clients of a server, those that have left included.
#[derive(Debug)]
pub struct Tally {
    since: Instant,
    books: Monitor<Books>,
}

#[derive(Debug, Default)]
struct Books {
    past: Sums,
    present: BTreeMap<u64, Arc<Connection>>,
}

/// A client in the books, until it is dropped.
#[derive(Debug)]
pub struct Entry {
    tally: Arc<Tally>,
    number: u64,
}

impl Tally {
    /// No client was served yet.
    pub fn start() -> Arc<Tally> {
        Arc::new(Tally { since: now(), books: Monitor::default() })
    }

    /// Waits until there are fewer clients than so many.
    pub fn wait_for_room(&self, most: u32) {
        drop(self.books.wait(|books| books.present.len() < most as usize));
    }

    /// A client comes.
    pub fn enter(self: &Arc<Tally>, number: u64, connection: Arc<Connection>) -> Entry {
        self.books.lock().present.insert(number, connection);
        Entry { tally: self.clone(), number }
    }

    /// Whether each message to a client was acknowledged.
    pub fn is_acknowledged(&self) -> bool {
        self.sums().unacknowledged == 0
    }

    /// The account so far, as one line.
    pub fn account(&self) -> String {
        self.sums().account(now().saturating_duration_since(self.since))
    }

    fn sums(&self) -> Sums {
        let books = self.books.lock();
        let mut sums = books.past;
        books.present.values().for_each(|connection| sums.add(connection));
        sums
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut books = self.tally.books.lock();
        let left = books.present.remove(&self.number);
        if let Some(connection) = &left {
            books.past.add(connection);
        }
        drop(books);
        self.tally.books.notify();
        // Its last owner parts with it outside the lock.
        drop(left);
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Sums {
    clients: u64,
    received: u64,
    sent: u64,
    unacknowledged: u64,
    resumed: u64,
    lost: u64,
}

impl Sums {
    fn add(&mut self, connection: &Connection) {
        let stats = connection.stats();
        self.clients += 1;
        self.received += stats.messages_received;
        self.sent += stats.messages_sent;
        self.unacknowledged += stats.unacknowledged;
        self.resumed += stats.reconnects;
        // How a connection ended is told by whatever is asked of it afterwards.
        self.lost += u64::from(matches!(connection.flush(), Err(Error::GaveUp { .. })));
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_one_line() {
        let account = |sums: Sums| sums.account(Duration::from_secs(7500));
        assert_eq!(
            account(Sums::default()),
            "served 0 clients in 2h 5m: 0 messages in, 0 out; 0 links resumed, 0 sessions lost"
        );
        let sums =
            Sums { clients: 1, received: 1, sent: 7, unacknowledged: 2, resumed: 1, lost: 1 };
        assert_eq!(
            account(sums),
            "served 1 client in 2h 5m: 1 message in, 7 out (2 of them not acknowledged); \
             1 link resumed, 1 session lost"
        );
    }
}
