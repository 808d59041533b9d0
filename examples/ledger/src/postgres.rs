//! The books in PostgreSQL: for any number of servers.

use postgres::{Client, NoTls, Row};

use crate::Result;
use crate::booking::Booking;
use crate::books::{self, Books, Entry};

/// As in SQLite. The lock is for servers that start at the same time.
const SCHEMA: &str = "
    BEGIN;
    SELECT pg_advisory_xact_lock(6666);
    CREATE TABLE IF NOT EXISTS client (id BYTEA PRIMARY KEY, last BIGINT NOT NULL);
    CREATE TABLE IF NOT EXISTS booking (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, client BYTEA NOT NULL,
        number BIGINT NOT NULL, account BIGINT NOT NULL, amount BIGINT NOT NULL);
    CREATE TABLE IF NOT EXISTS account (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL);
    COMMIT;";

pub struct Postgres {
    books: Client,
    last: &'static str,
}

impl Postgres {
    /// `last` is how a client's last number is asked for.
    pub fn open(parameters: &str, last: &'static str) -> Result<Postgres> {
        let mut books = Client::connect(parameters, NoTls)?;
        books.batch_execute(SCHEMA)?;
        Ok(Postgres { books, last })
    }
}

impl Books for Postgres {
    fn book(&mut self, client: &[u8], number: u64, booking: Booking) -> Result<Entry> {
        let number = i64::try_from(number)?;
        let (account, amount) = (i64::from(booking.account), i64::from(booking.amount));
        let mut books = self.books.transaction()?;
        let last: i64 = books.query_one(self.last, &[&client])?.get(0);
        if number != last + 1 {
            return Ok(if number <= last { Entry::Known } else { Entry::Gap });
        }
        books.execute(books::BOOK, &[&client, &number, &account, &amount])?;
        books.execute(books::CREDIT, &[&account, &amount])?;
        books.execute(books::NUMBER, &[&number, &client])?;
        books.commit()?;
        Ok(Entry::New)
    }

    fn booked(&mut self, client: &[u8]) -> Result<Vec<(u64, Booking)>> {
        let row = |row: &Row| {
            let (number, account, amount): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
            let booking = Booking { account: account.try_into()?, amount: amount.try_into()? };
            Ok((number.try_into()?, booking))
        };
        self.books.query(books::BOOKED, &[&client])?.iter().map(row).collect()
    }

    fn balances(&mut self) -> Result<Vec<(u32, i64)>> {
        let row = |row: &Row| Ok((row.get::<_, i64>(0).try_into()?, row.get(1)));
        self.books.query(books::BALANCES, &[])?.iter().map(row).collect()
    }
}
