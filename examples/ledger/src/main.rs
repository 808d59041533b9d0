//! A ledger: every booking is made exactly once, in order, whichever process is killed.
//!
//!     cargo run --manifest-path examples/ledger/Cargo.toml
//!     cargo run --manifest-path examples/ledger/Cargo.toml -- --postgres
//!
//! The first has one server on SQLite. The second has three on one PostgreSQL behind HAProxy
//! (Debian: `apt install postgresql haproxy`; it starts its own in a temporary folder): clients go
//! to whichever answers, and servers share nothing but the database. A driver (`driver/`) kills
//! clients, servers and HAProxy at random, compares what the clients have made with what is in the
//! books, and fails unless they are the same. SQLite is built from C source, which needs a C
//! compiler.
//!
//! What is worth copying is in three places:
//!
//! * `client.rs` and `outbox.rs`. A client draws its id once. It stores each message with the next
//!   number, in one transaction with what it does itself; then it sends, and forgets what is
//!   acknowledged. After a crash it sends again from the first number that is in the outbox.
//! * `server.rs`. A server asks for the next message when this one is committed, and not before:
//!   that acknowledges it.
//! * `sqlite.rs` or `postgres.rs`. In one transaction, a message is booked if its number is the
//!   client's last + 1, and the number becomes the last. One that is not greater was booked before:
//!   it is skipped. One that is greater than last + 1 shows that something is lost: the client is
//!   refused, and a person has to look at it.
//!
//! All links are secured by keys, which an invite brings to each client. What a server keeps of a
//! client is kept under its proven name *and* its id: nobody else can push its numbers ahead.
//!
//! Two servers may be at work for one client at a time: the link to the first was lost while that
//! was booking, and the client is at the second already. The row with the last number is locked
//! until one of them has committed; the other finds the message booked.
//!
//! A commit is on disk when it returns, on both sides (`synchronous` in SQLite, `fsync` and
//! `synchronous_commit` in PostgreSQL, which are on by default), so that machines may crash, too;
//! here only processes do. A server that commits many messages at a time is faster:
//! `Connection::recv_many_numbered`.
//!
//! A database that is restored from a backup breaks the numbers. A client whose outbox is older
//! than it was gives numbers to new messages that the server has booked already, and they would be
//! skipped: it has to take a new id, and begin with 1 again. A server whose books are older refuses
//! its clients, since what they have forgotten is missing.
//!
//! To see that the account finds what is wrong, plant a bug (`careless.rs`). These succeed if
//! bookings are doubled, lost, and, by two servers at a time, doubled:
//!
//!     cargo run --manifest-path examples/ledger/Cargo.toml -- --plant two-transactions
//!     cargo run --manifest-path examples/ledger/Cargo.toml -- --plant early-acknowledgement
//!     cargo run --manifest-path examples/ledger/Cargo.toml -- --plant no-lock

mod booking;
mod books;
mod careless;
mod client;
mod driver;
mod outbox;
mod postgres;
mod server;
mod sqlite;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

const USAGE: &str = "\
ledger [--kills 60] [--postgres] [--seed RANDOM] [--plant BUG]
ledger server BOOKS ADDRESS KEYS
ledger client OUTBOX HOST INVITE

The first kills the other two at random, and accounts for all bookings.

  --kills N     so many
  --postgres    three servers on one PostgreSQL behind HAProxy, not one on SQLite
  --seed N      what is killed, and when
  --plant BUG   two-transactions, early-acknowledgement, or (in PostgreSQL) no-lock; succeeds if
                the account shows it

BOOKS is a file of SQLite, or postgres: with the parameters of a connection, as in
'postgres:host=/run/postgresql user=me'. OUTBOX is a file of SQLite. The client takes bookings
from its input, an account and an amount in each line. KEYS and INVITE are a folder and a file
in it, as \"server --keys KEYS --invite NAME\" makes them.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["client", outbox, host, invite] => client::run(Path::new(outbox), host, Path::new(invite)),
        ["server", books, address, keys] => server::run(books, address, Path::new(keys)),
        _ => match driver::Settings::parse(&args) {
            Some(settings) => driver::run(&settings),
            None => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ledger: {}", chain(&*error));
            ExitCode::from(if error.is::<driver::Missing>() { 77 } else { 1 })
        }
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line += &format!(": {error}");
        cause = error.source();
    }
    line
}
