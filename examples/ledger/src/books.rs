//! The server's books, in SQLite or in PostgreSQL.

use crate::Result;
use crate::booking::Booking;
use crate::careless;
use crate::postgres::Postgres;
use crate::sqlite::Sqlite;

pub const POSTGRES: &str = "postgres:";

/// What is kept of a client is kept under this: who it is, as it has proven, and the id that it
/// has drawn. Somebody else who says the same id is another client.
pub fn key(name: &str, id: [u8; 16]) -> Vec<u8> {
    [&id, name.as_bytes()].concat()
}

/// The number of a client's last booking. Its row is made if it is new, and locked: another server
/// that is at work for this client waits until this transaction has ended, and sees what it did.
pub const LAST: &str = "INSERT INTO client VALUES ($1, 0)
    ON CONFLICT (id) DO UPDATE SET last = client.last RETURNING last";
pub const BOOK: &str =
    "INSERT INTO booking (client, number, account, amount) VALUES ($1, $2, $3, $4)";
pub const CREDIT: &str = "INSERT INTO account VALUES ($1, $2)
    ON CONFLICT (id) DO UPDATE SET balance = account.balance + excluded.balance";
pub const NUMBER: &str = "UPDATE client SET last = $1 WHERE id = $2";

pub const BOOKED: &str =
    "SELECT number, account, amount FROM booking WHERE client = $1 ORDER BY id";
pub const BALANCES: &str = "SELECT id, balance FROM account";

/// What a message is to books that have all of its client's up to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It is the next one. It is booked now, and on disk.
    New,
    /// It was booked before, and is sent again.
    Known,
    /// Some before it are missing. Nothing is booked.
    Gap,
}

pub trait Books {
    /// Books a client's message: its effect and its number in one transaction.
    fn book(&mut self, client: &[u8], number: u64, booking: Booking) -> Result<Entry>;

    /// What is booked for a client, in the order in which it was.
    fn booked(&mut self, client: &[u8]) -> Result<Vec<(u64, Booking)>>;

    /// The accounts with their balances.
    fn balances(&mut self) -> Result<Vec<(u32, i64)>>;
}

/// Opens the books at a place: `postgres:` and the parameters of a connection, or a file; careless
/// ones if `BUG!` stands before it.
pub fn open(place: &str) -> Result<Box<dyn Books>> {
    if let Some((bug, place)) = place.split_once('!')
        && let Ok(bug) = bug.parse()
    {
        return careless::open(bug, place);
    }
    Ok(match place.strip_prefix(POSTGRES) {
        Some(parameters) => Box::new(Postgres::open(parameters, LAST)?),
        None => Box::new(Sqlite::open(place)?),
    })
}
