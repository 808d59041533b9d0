//! Shows that a link which is cut ten times loses and doubles nothing: a relay
//! between client and server shuts its sockets down after so many bytes.
//!
//!     cargo run --example cuts

use std::error::Error;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use longlink::{Connection, Listener};

const CUTS: u64 = 10;
const MESSAGES: u64 = 20_000;

fn main() -> Result<(), Box<dyn Error>> {
    let listener = Listener::bind("127.0.0.1:0")?;
    let server = listener.local_addr();
    thread::spawn(move || -> longlink::Result<()> {
        let connection = listener.accept()?;
        for message in connection.incoming() {
            connection.send_bytes(message?)?;
        }
        connection.close()
    });
    let front = TcpListener::bind("127.0.0.1:0")?;
    let address = front.local_addr()?;
    thread::spawn(move || relay(&front, server));

    let connection = Connection::builder().on_event(|_, event| println!("  {event}"));
    let connection = connection.connect(address)?;
    let mut arrived = 0;
    thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        scope.spawn(|| (1..=MESSAGES).try_for_each(|n| connection.send(n.to_be_bytes())));
        while arrived < MESSAGES {
            let message = connection.recv()?.ok_or("the server ended too early")?;
            arrived += 1;
            assert_eq!(*message, arrived.to_be_bytes(), "in place of number {arrived}");
        }
        Ok(())
    })?;
    connection.close()?;
    let cuts = connection.stats().reconnects;
    println!("sent {MESSAGES}, received {arrived}, in order: lost 0, doubled 0, cut {cuts} times");
    if cuts < CUTS { Err("there were fewer cuts than that".into()) } else { Ok(()) }
}

/// Passes bytes on; the first links only so many.
fn relay(front: &TcpListener, server: SocketAddr) -> io::Result<()> {
    for (number, client) in (1..).zip(front.incoming()) {
        let (client, server) = (client?, TcpStream::connect(server)?);
        let (mut back, mut replies) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || io::copy(&mut replies, &mut back));
        let limit = if number <= CUTS { 20_000 } else { u64::MAX };
        let _ = io::copy(&mut (&client).take(limit), &mut &server);
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    }
    Ok(())
}
