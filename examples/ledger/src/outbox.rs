//! What a client keeps in SQLite: its id, its own journal, and what the server has not booked yet.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use crate::Result;
use crate::booking::Booking;

/// `client` has one row. `last` stays when the outbox is empty, so that no number is used twice.
const SCHEMA: &str = "
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS client (id BLOB NOT NULL, last INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS journal (
        number INTEGER PRIMARY KEY, account INTEGER NOT NULL, amount INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY, message TEXT NOT NULL);
    COMMIT;";

pub struct Outbox(Connection);

impl Outbox {
    pub fn open(path: &Path) -> Result<Outbox> {
        let outbox = open(path, SCHEMA)?;
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        let new = "INSERT INTO client SELECT ?, 0 WHERE NOT EXISTS (SELECT * FROM client)";
        outbox.execute(new, [id])?;
        Ok(Outbox(outbox))
    }

    /// The same for as long as this database exists.
    pub fn client_id(&self) -> Result<[u8; 16]> {
        Ok(self.0.query_row("SELECT id FROM client", [], |row| row.get(0))?)
    }

    /// Makes a booking: its effect here, its number and its message in one transaction.
    pub fn add(&mut self, booking: Booking) -> Result<()> {
        let add = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let next = "UPDATE client SET last = last + 1 RETURNING last";
        let number: i64 = add.query_row(next, [], |row| row.get(0))?;
        let (account, amount) = (booking.account, booking.amount);
        add.execute("INSERT INTO journal VALUES (?, ?, ?)", params![number, account, amount])?;
        add.execute("INSERT INTO outbox VALUES (?, ?)", params![number, booking.to_string()])?;
        Ok(add.commit()?)
    }

    /// The number of the first message that is not acknowledged, or of the next one.
    pub fn first(&self) -> Result<u64> {
        let first = "SELECT coalesce((SELECT min(number) FROM outbox), last + 1) FROM client";
        Ok(self.0.query_row(first, [], |row| row.get(0))?)
    }

    /// Some of the messages behind that number, in order.
    pub fn after(&self, number: u64) -> Result<Vec<(u64, String)>> {
        let after = "SELECT * FROM outbox WHERE number > ? ORDER BY number LIMIT 1000";
        let mut after = self.0.prepare(after)?;
        let rows = after.query_map([number], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    pub fn is_empty(&self) -> Result<bool> {
        let any = self.0.query_row("SELECT 1 FROM outbox LIMIT 1", [], |_| Ok(())).optional()?;
        Ok(any.is_none())
    }

    /// Forgets what the server has booked.
    pub fn forget(&self, acknowledged: u64) -> Result<()> {
        self.0.execute("DELETE FROM outbox WHERE number <= ?", [acknowledged])?;
        Ok(())
    }

    /// All bookings that were ever made.
    pub fn journal(&self) -> Result<BTreeMap<u64, Booking>> {
        let mut journal = self.0.prepare("SELECT * FROM journal")?;
        let rows = journal.query_map([], numbered)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// A commit is on disk when it returns, also if the machine loses power; another connection to the
/// same database is waited for.
pub fn open(path: impl AsRef<Path>, schema: &str) -> Result<Connection> {
    let database = Connection::open(path)?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "FULL")?;
    database.busy_timeout(Duration::from_secs(10))?;
    database.execute_batch(schema)?;
    Ok(database)
}

/// A row of a number, an account and an amount.
pub fn numbered(row: &Row) -> rusqlite::Result<(u64, Booking)> {
    Ok((row.get(0)?, Booking { account: row.get(1)?, amount: row.get(2)? }))
}
