//! Shows a sensor that only sends, and never waits for the network: its window is the queue of an
//! outage, and what does not fit is dropped and counted. To copy: `sense` (with `send` in place of
//! `try_send` it would wait instead) and `collect`.
//!
//! By itself, with an outage:
//!
//!     cargo run --release --example telemetry
//!
//! By hand, each in a terminal of its own. End the server and start it again, or stop it for longer
//! than 30 s (Ctrl-Z, then `fg`), until its silence is noticed:
//!
//!     cargo run --example telemetry -- server 127.0.0.1:7000
//!     cargo run --example telemetry -- client 127.0.0.1:7000

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use longlink::{Builder, Connection, Error, RetryPolicy};

use process::{Process, Result};

#[path = "support/process.rs"]
mod process;
#[path = "support/relay.rs"]
mod relay;

const READINGS: u64 = 2_000;

/// For so long a sensor may be away, and then goes on where it was.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn main() -> ExitCode {
    process::run(server, client, demonstrate)
}

fn client(address: &str) -> Result<()> {
    let sensor = settings().connect(address)?;
    let dropped = sense(&sensor, Duration::from_millis(10))?;
    println!("{READINGS} readings, {dropped} of them dropped");
    Ok(())
}

/// A reading counts its 8 bytes and 64 more, so some 110 of them may wait. A sensor never gives up.
fn settings() -> Builder {
    Connection::builder().window(8 * 1024).retry(RetryPolicy::default().unlimited()).on_event(
        |_, event| match event {
            longlink::Event::Heartbeat { .. } => {}
            event => println!("sensor: {event}"),
        },
    )
}

/// Returns how many readings were dropped.
fn sense(sensor: &Connection, pace: Duration) -> longlink::Result<u64> {
    let mut dropped = 0;
    for number in 1..=READINGS {
        match sensor.try_send(number.to_be_bytes()) {
            Ok(()) => {}
            Err(Error::WouldBlock) => dropped += 1,
            Err(e) => return Err(e),
        }
        thread::park_timeout(pace);
    }
    sensor.close()?; // the server is done with all that were not dropped
    Ok(dropped)
}

fn server(address: &str) -> Result<()> {
    let listener = Connection::builder().resume_within(DAY).bind(address)?;
    println!("listening on {}", listener.local_addr());
    for connection in listener.incoming() {
        let connection = connection?;
        thread::spawn(move || match collect(&connection) {
            Ok(count) => println!("collected {count} readings"),
            Err(e) => println!("{}: {e}", connection.peer_addr()),
        });
    }
    Ok(())
}

/// Counts the readings, which may have gaps and nothing else.
fn collect(connection: &Connection) -> Result<u64> {
    let mut last = 0;
    for message in connection.incoming() {
        let number = u64::from_be_bytes(message?.as_ref().try_into()?);
        if number <= last {
            return Err(format!("{number} after {last}").into());
        }
        last = number;
    }
    connection.close()?;
    Ok(connection.stats().messages_received)
}

/// The demonstration: the first link is cut, and the second comes late. This process is the sensor.
fn demonstrate() -> Result<()> {
    let (server, address) = Process::server("127.0.0.1:0")?;
    let address = relay::start(address, |link| {
        if link == 2 {
            thread::park_timeout(Duration::from_millis(500));
        }
        if link == 1 { 5_000 } else { u64::MAX }
    })?;
    let sensor = settings().connect(address)?;
    let dropped = sense(&sensor, Duration::from_millis(1))?;
    println!("sensor: {READINGS} readings, {dropped} of them dropped in the outage");
    server.says(&format!("collected {} readings", READINGS - dropped))?;
    assert_ne!(dropped, 0, "the outage was shorter than the queue");
    assert_eq!(sensor.stats().reconnects, 1);
    Ok(())
}
