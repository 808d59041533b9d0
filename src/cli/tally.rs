//! A server's account of itself: whom it has served, and with how much.
//!
//! Connections count by themselves. Their counts are added up when one leaves,
//! and when somebody asks: a message costs nothing here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{now, text};
use crate::{Connection, Error};

/// All clients of a server, those that have left included.
#[derive(Debug)]
pub struct Tally {
    since: Instant,
    books: Mutex<Books>,
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
    /// Nobody was served yet.
    pub fn start() -> Arc<Tally> {
        Arc::new(Tally { since: now(), books: Mutex::default() })
    }

    /// A client comes.
    pub fn enter(self: &Arc<Tally>, number: u64, connection: Arc<Connection>) -> Entry {
        self.books().present.insert(number, connection);
        Entry { tally: self.clone(), number }
    }

    /// Whether each message to a client was acknowledged.
    pub fn is_acknowledged(&self) -> bool {
        self.sums().unacknowledged == 0
    }

    /// The account so far, as one line.
    pub fn account(&self) -> String {
        let sums = self.sums();
        Account { sums, time: now().saturating_duration_since(self.since) }.to_string()
    }

    fn sums(&self) -> Sums {
        let books = self.books();
        let mut sums = books.past;
        books.present.values().for_each(|connection| sums.add(connection));
        sums
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut books = self.tally.books();
        let left = books.present.remove(&self.number);
        if let Some(connection) = &left {
            books.past.add(connection);
        }
        drop(books);
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
}

struct Account {
    sums: Sums,
    time: Duration,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account { sums, time } = self;
        let time = text::humane(*time);
        let (clients, messages) = (text::count(sums.clients, "client"), text::messages);
        write!(f, "served {clients} in {time}: {} in, {} out", messages(sums.received), sums.sent)?;
        if sums.unacknowledged > 0 {
            write!(f, " ({} of them not acknowledged)", sums.unacknowledged)?;
        }
        let (links, sessions) =
            (text::count(sums.resumed, "link"), text::count(sums.lost, "session"));
        write!(f, "; {links} resumed, {sessions} lost")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_one_line() {
        let account = |sums| Account { sums, time: Duration::from_secs(7500) }.to_string();
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
