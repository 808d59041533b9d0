//! The books in SQLite: for one server.

use rusqlite::{Connection, TransactionBehavior, params};

use crate::Result;
use crate::booking::Booking;
use crate::books::{self, Books, Entry};
use crate::outbox;

/// No index forbids that a booking is there twice: the driver is to find it if it is.
pub const SCHEMA: &str = "
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS client (id BLOB PRIMARY KEY, last INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS booking (
        id INTEGER PRIMARY KEY, client BLOB NOT NULL, number INTEGER NOT NULL,
        account INTEGER NOT NULL, amount INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
    COMMIT;";

pub struct Sqlite(Connection);

impl Sqlite {
    pub fn open(path: &str) -> Result<Sqlite> {
        Ok(Sqlite(outbox::open(path, SCHEMA)?))
    }
}

impl Books for Sqlite {
    fn book(&mut self, client: &[u8], number: u64, booking: Booking) -> Result<Entry> {
        let Booking { account, amount } = booking;
        let books = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let last: u64 = books.query_row(books::LAST, [client], |row| row.get(0))?;
        if number != last + 1 {
            return Ok(if number <= last { Entry::Known } else { Entry::Gap });
        }
        books.execute(books::BOOK, params![client, number, account, amount])?;
        books.execute(books::CREDIT, params![account, amount])?;
        books.execute(books::NUMBER, params![number, client])?;
        books.commit()?;
        Ok(Entry::New)
    }

    fn booked(&mut self, client: &[u8]) -> Result<Vec<(u64, Booking)>> {
        let mut booked = self.0.prepare(books::BOOKED)?;
        let rows = booked.query_map([client], outbox::numbered)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn balances(&mut self) -> Result<Vec<(u32, i64)>> {
        let mut balances = self.0.prepare(books::BALANCES)?;
        let rows = balances.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
