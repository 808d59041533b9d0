//! Books with a bug, to see that the driver finds it.

use std::mem;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, params};

use crate::booking::Booking;
use crate::books::{self, Books, Entry};
use crate::outbox;
use crate::postgres::Postgres;
use crate::sqlite::{self, Sqlite};
use crate::{Result, chain};

/// Between two transactions. Without it, more kills are needed.
const WINDOW: Duration = Duration::from_millis(5);
const AT_A_TIME: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The effect is committed, and then the number. Who is killed in between books the message
    /// once more when it is sent again.
    TwoTransactions,
    /// Messages are booked some at a time, and acknowledged one by one. Who is killed in between has
    /// lost those that are not booked.
    EarlyAcknowledgement,
    /// The client's last number is read and not locked: two servers that are at work for one client
    /// both book the message. In PostgreSQL.
    NoLock,
}

impl Bug {
    const ALL: [Bug; 3] = [Bug::TwoTransactions, Bug::EarlyAcknowledgement, Bug::NoLock];

    pub fn name(self) -> &'static str {
        match self {
            Bug::TwoTransactions => "two-transactions",
            Bug::EarlyAcknowledgement => "early-acknowledgement",
            Bug::NoLock => "no-lock",
        }
    }
}

impl FromStr for Bug {
    type Err = String;

    fn from_str(name: &str) -> Result<Bug, String> {
        let bug = Bug::ALL.into_iter().find(|bug| bug.name() == name);
        bug.ok_or_else(|| format!("{name:?} is no bug that can be planted"))
    }
}

const NO_LOCK: &str = "WITH new AS (
        INSERT INTO client VALUES ($1, 0) ON CONFLICT DO NOTHING RETURNING last
    ) SELECT last FROM new UNION ALL SELECT last FROM client WHERE id = $1";

pub fn open(bug: Bug, place: &str) -> Result<Box<dyn Books>> {
    Ok(match place.strip_prefix(books::POSTGRES) {
        Some(parameters) => Box::new(Postgres::open(parameters, NO_LOCK)?),
        None => Box::new(Careless::open(bug, place)?),
    })
}

struct Careless {
    bug: Bug,
    books: Sqlite,
    database: Connection,
    late: Vec<(Vec<u8>, u64, Booking)>,
}

impl Careless {
    fn open(bug: Bug, path: &str) -> Result<Careless> {
        let (books, database) = (Sqlite::open(path)?, outbox::open(path, sqlite::SCHEMA)?);
        Ok(Careless { bug, books, database, late: Vec::new() })
    }

    fn book_in_two(&self, client: &[u8], number: u64, booking: Booking) -> Result<Entry> {
        let Booking { account, amount } = booking;
        let books = &self.database;
        let last: u64 = books.query_row(books::LAST, [client], |row| row.get(0))?;
        if number != last + 1 {
            return Ok(if number <= last { Entry::Known } else { Entry::Gap });
        }
        books.execute(books::BOOK, params![client, number, account, amount])?;
        books.execute(books::CREDIT, params![account, amount])?;
        thread::park_timeout(WINDOW);
        books.execute(books::NUMBER, params![number, client])?;
        Ok(Entry::New)
    }

    fn book_late(&mut self) -> Result<Entry> {
        for (client, number, booking) in mem::take(&mut self.late) {
            if self.books.book(&client, number, booking)? == Entry::Gap {
                return Ok(Entry::Gap);
            }
        }
        Ok(Entry::New)
    }
}

impl Books for Careless {
    fn book(&mut self, client: &[u8], number: u64, booking: Booking) -> Result<Entry> {
        match self.bug {
            Bug::TwoTransactions | Bug::NoLock => self.book_in_two(client, number, booking),
            Bug::EarlyAcknowledgement => {
                self.late.push((client.to_vec(), number, booking));
                if self.late.len() < AT_A_TIME { Ok(Entry::New) } else { self.book_late() }
            }
        }
    }

    fn booked(&mut self, client: &[u8]) -> Result<Vec<(u64, Booking)>> {
        self.books.booked(client)
    }

    fn balances(&mut self) -> Result<Vec<(u32, i64)>> {
        self.books.balances()
    }
}

impl Drop for Careless {
    fn drop(&mut self) {
        if let Err(error) = self.book_late() {
            eprintln!("{}", chain(&*error));
        }
    }
}
