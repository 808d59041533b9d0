//! Shows how to watch a connection: what a client is told while its link is lost and made again,
//! and what it can count. To copy: `watch`, which a program would give to its log, its lamp or its
//! metrics.
//!
//! By itself, over a link that is cut, is cut again before it is up, and is lost with the server:
//!
//!     cargo run --release --example events
//!
//! By hand, each in a terminal of its own. The client sends the lines that it reads; stop the
//! server for a while (Ctrl-Z, then `fg`), or end it and start it again:
//!
//!     cargo run --example events -- server 127.0.0.1:7000
//!     cargo run --example events -- client 127.0.0.1:7000

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use longlink::{Connection, Event, Heartbeat, Listener, RetryPolicy};

use process::{Process, Result};

#[path = "support/process.rs"]
mod process;
#[path = "support/relay.rs"]
mod relay;

fn main() -> ExitCode {
    process::run(server, client, demonstrate)
}

fn server(address: &str) -> Result<()> {
    let listener = Listener::bind(address)?;
    println!("listening on {}", listener.local_addr());
    for connection in listener.incoming() {
        let connection = connection?;
        thread::spawn(move || -> longlink::Result<()> {
            for message in connection.incoming() {
                println!("{}", String::from_utf8_lossy(&message?).escape_debug());
            }
            connection.close()
        });
    }
    Ok(())
}

fn client(address: &str) -> Result<()> {
    let connection = Connection::builder()
        .heartbeat(Heartbeat::every(Duration::from_millis(500)))
        .retry(RetryPolicy::fixed(Duration::from_millis(300), 100))
        .on_event(watch)
        .connect(address)?;
    for line in std::io::stdin().lines() {
        connection.send(line?)?;
    }
    connection.close()?;
    let stats = connection.stats();
    println!(
        "messages: {}, sent again: {}; reconnections: {}, sessions lost: {}",
        stats.messages_sent, stats.replayed, stats.reconnects, stats.sessions_lost
    );
    Ok(())
}

/// The library's thread calls it, and sends no heartbeat meanwhile: so it must not block.
fn watch(connection: &Connection, event: Event) {
    match event {
        Event::Connected { peer, .. } => println!("UP: {peer}"),
        Event::Heartbeat { round_trip, .. } => {
            println!("up: the server answers in {round_trip:.1?}")
        }
        Event::Lost { cause, .. } => println!("DOWN: {cause}"),
        Event::Failed { host, cause, .. } => println!("down: {host}: {cause}"),
        Event::Retrying { attempt, .. } => {
            let waiting = connection.stats().unacknowledged;
            println!("down: attempt {attempt}; {waiting} unacknowledged");
        }
        Event::Resumed { replayed, after, .. } => {
            println!("UP after {after:.1?}: nothing is lost, {replayed} messages are sent again");
        }
        Event::SessionLost { unacknowledged, after, .. } => {
            println!(
                "UP after {after:.1?}: another session, {unacknowledged} messages are sent again"
            );
        }
        // The application learns from its next call that the connection is over, and why.
        Event::GaveUp { .. } | Event::Closed { .. } => println!("OVER: {event}"),
        // There may be more kinds of events in later versions.
        event => println!("{event}"),
    }
}

/// The demonstration.
fn demonstrate() -> Result<()> {
    let (server, address) = Process::server("127.0.0.1:0")?;
    let front = relay::start(address.clone(), |link| match link {
        1 => 1_000,
        2 => 0,
        _ => u64::MAX,
    })?;
    let mut client = Process::start("client", &["client", &front.to_string()])?;
    client.says("UP: ")?;
    client.says("up: the server answers")?;
    // Some of these are more than the first link has room for.
    for number in 1..=20 {
        client.types(&format!("{number}: a line of some fifty bytes, for the relay to cut"))?;
    }
    for expected in ["DOWN: ", "down: attempt 1", "down: ", "down: attempt 2", "nothing is lost"] {
        client.says(expected)?;
    }
    server.says("20: a line")?;

    println!("------: kill -9 of the server");
    drop(server);
    client.says("DOWN: ")?;
    client.types("a line that waits")?;
    client.says("unacknowledged")?;
    let (server, _) = Process::server(&address)?;
    client.says("another session")?;
    server.says("a line that waits")?;

    assert!(client.ends()?);
    println!("------: each loss was seen, and each return");
    Ok(())
}
