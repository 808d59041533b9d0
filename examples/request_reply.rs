//! Shows requests and replies over one connection: any number of threads call, a pool of
//! workers answers in whatever order it is done, calls time out, and the server is killed
//! (`kill -9`) with requests in its workers' hands and started again. What to copy is in
//! `request_reply/caller.rs` and `request_reply/pool.rs`.
//!
//!     cargo run --release --example request_reply
//!
//! The two sides by hand; the client calls for each line that it reads, `500 hello` for instance,
//! which is answered with `HELLO` after 500 ms:
//!
//!     cargo run --example request_reply -- server 127.0.0.1:7000
//!     cargo run --example request_reply -- client 127.0.0.1:7000
//!
//! A request that was answered just before the server was killed may be processed again by the
//! next one. Where that does harm, number the effects (see `ledger`).

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use longlink::{Builder, Connection, Error as LinkError, Event, Listener, RetryPolicy};

use caller::Caller;
use process::{Process, Result};

#[path = "request_reply/caller.rs"]
mod caller;
#[path = "request_reply/pool.rs"]
mod pool;
#[path = "support/process.rs"]
mod process;

const WORKERS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    process::run(server, client, demonstrate)
}

fn server(address: &str) -> Result<()> {
    let listener = Listener::bind(address)?;
    println!("listening on {}", listener.local_addr());
    thread::scope(|scope| {
        for connection in listener.incoming() {
            let connection = connection?;
            scope.spawn(move || {
                if let Err(e) = pool::serve(&connection, WORKERS, answer) {
                    println!("{}: {e}", connection.peer_addr());
                }
            });
        }
        Ok(())
    })
}

/// The work: `500 hello` takes 500 ms.
fn answer(request: &[u8]) -> Vec<u8> {
    let request = String::from_utf8_lossy(request);
    println!("a worker has {request:?}");
    let (millis, word) = request.split_once(' ').unwrap_or(("0", &request));
    rest(Duration::from_millis(millis.parse().unwrap_or(0)));
    word.to_uppercase().into()
}

fn client(address: &str) -> Result<()> {
    let caller = Caller::connect(settings(), address)?;
    thread::scope(|scope| -> Result<()> {
        for line in std::io::stdin().lines() {
            let (caller, line) = (&caller, line?);
            scope.spawn(move || match caller.call(line.as_bytes(), PATIENCE) {
                Ok(reply) => println!("{line:?}: {reply:?}"),
                Err(e) => println!("{line:?}: {e}"),
            });
        }
        Ok(())
    })?;
    Ok(caller.connection().close()?)
}

fn settings() -> Builder {
    Connection::builder().retry(RetryPolicy::fixed(Duration::from_millis(200), 100)).on_event(
        |_, event| match event {
            Event::Heartbeat { .. } => {}
            event => println!("client: {event}"),
        },
    )
}

/// The demonstration. This process is the client.
fn demonstrate() -> Result<()> {
    let (server, address) = Process::server("127.0.0.1:0")?;
    let caller = Caller::connect(settings(), &*address)?;
    let call = |request: &str| caller.call(request.as_bytes(), PATIENCE);

    thread::scope(|scope| -> Result<()> {
        let slow = scope.spawn(|| call("1500 slow"));
        server.says("a worker has \"1500 slow\"")?;
        for number in 1..=10 {
            assert_eq!(call(&format!("0 quick{number}"))?, format!("QUICK{number}"));
        }
        assert!(!slow.is_finished());
        println!("client: ten calls were answered before one that came first");
        assert_eq!(slow.join().unwrap()?, "SLOW");

        let late = caller.call(b"600 late", Duration::from_millis(200));
        assert!(matches!(late, Err(LinkError::TimedOut)), "{late:?}");
        println!("client: one timed out");
        until(|| caller.unclaimed() == 1)?;
        println!("client: its reply was dropped when it came");

        let slow: Vec<_> =
            ["2000 a", "2000 b", "2000 c"].map(|request| scope.spawn(move || call(request))).into();
        (0..slow.len()).try_for_each(|_| server.says("a worker has \"2000").map(drop))?;
        assert_eq!(call("0 quick")?, "QUICK");
        // It came behind those, and is acknowledged with them.
        until(|| caller.connection().stats().unacknowledged == 4)?;
        println!("client: kill -9 of the server, with three calls in its workers' hands");
        drop(server);
        let (server, _) = Process::server(&address)?;
        (0..4).try_for_each(|_| server.says("a worker has ").map(drop))?;
        println!("client: the three were sent again, and the one that was answered");
        for (call, reply) in slow.into_iter().zip(["A", "B", "C"]) {
            assert_eq!(call.join().unwrap()?, reply);
        }
        caller.connection().sync(PATIENCE)?;
        until(|| caller.unclaimed() == 2)?;
        println!("client: each call was answered once; the second reply to one was dropped");
        assert_eq!(caller.connection().stats().sessions_lost, 1);
        caller.connection().close()?;
        assert!(matches!(call("0 more"), Err(LinkError::Closed { .. })));
        Ok(())
    })
}

fn until(done: impl Fn() -> bool) -> Result<()> {
    let deadline = now() + PATIENCE;
    while !done() {
        if now() > deadline {
            return Err("it takes too long".into());
        }
        rest(Duration::from_millis(5));
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "calls time out")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "what stands for work takes its time")]
fn rest(time: Duration) {
    thread::sleep(time);
}
