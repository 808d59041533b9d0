//! Shows a sensor that only sends, and never waits for the network: its window
//! is the queue, and what does not fit into it during an outage is dropped and
//! counted. (With `send` in place of `try_send` it would wait instead.)
//!
//!     cargo run --example telemetry

use std::error::Error;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use longlink::{Connection, Error as LinkError, Listener};

const READINGS: u64 = 2_000;
const PACE: Duration = Duration::from_millis(1);
const OUTAGE: Duration = Duration::from_millis(500);

fn main() -> Result<(), Box<dyn Error>> {
    let listener = Listener::bind("127.0.0.1:0")?;
    let server = listener.local_addr();
    let collector = thread::spawn(move || collect(&listener));
    let front = TcpListener::bind("127.0.0.1:0")?;
    let address = front.local_addr()?;
    thread::spawn(move || relay(&front, server));

    // A reading counts 8 bytes and 64, so some 110 of them may wait.
    let sensor = Connection::builder()
        .window(8 * 1024)
        .on_event(|_, event| println!("  {event}"))
        .connect(address)?;
    let mut dropped = 0;
    for number in 1..=READINGS {
        match sensor.try_send(number.to_be_bytes()) {
            Ok(()) => {}
            Err(LinkError::WouldBlock) => dropped += 1,
            Err(e) => return Err(e.into()),
        }
        thread::park_timeout(PACE);
    }
    sensor.close()?; // the collector is done with what was taken

    let collected = collector.join().map_err(|_| "the collector panicked")??;
    println!(
        "{READINGS} readings: {collected} collected in order, {dropped} dropped in the outage"
    );
    assert_eq!(collected + dropped, READINGS);
    assert_ne!(dropped, 0, "the outage was shorter than the queue");
    assert_eq!(sensor.stats().reconnects, 1);
    Ok(())
}

/// Counts the readings, which may have gaps and nothing else.
fn collect(listener: &Listener) -> longlink::Result<u64> {
    let connection = listener.accept()?;
    let mut last = 0;
    for message in connection.incoming() {
        let number = message?.as_ref().try_into().map(u64::from_be_bytes).expect("8 bytes");
        assert!(number > last, "{number} after {last}");
        last = number;
    }
    connection.close()?;
    Ok(connection.stats().messages_received)
}

/// Passes bytes on. The first link ends after some, and then nothing gets
/// through for a while.
fn relay(front: &TcpListener, server: SocketAddr) -> io::Result<()> {
    for (number, client) in (1..).zip(front.incoming()) {
        let (client, server) = (client?, TcpStream::connect(server)?);
        let (mut back, mut replies) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || io::copy(&mut replies, &mut back));
        let limit = if number == 1 { 5_000 } else { u64::MAX };
        let _ = io::copy(&mut (&client).take(limit), &mut &server);
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        if number == 1 {
            thread::park_timeout(OUTAGE);
        }
    }
    Ok(())
}
