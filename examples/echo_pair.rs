//! Shows both ends of a long connection in one process: a listener that
//! echoes, a client that sends, receives and closes in order.
//!
//!     cargo run --example echo_pair

use std::error::Error;
use std::thread;

use longlink::{Connection, Listener};

fn main() -> Result<(), Box<dyn Error>> {
    let listener = Listener::bind("127.0.0.1:0")?;
    let address = listener.local_addr();

    // The server: one thread per client, one message after the other.
    let server = thread::spawn(move || -> longlink::Result<u64> {
        let connection = listener.accept()?;
        for message in connection.incoming() {
            connection.send_bytes(message?)?;
        }
        connection.close()?;
        Ok(connection.stats().messages_received)
    });

    let connection = Connection::connect(address)?;
    println!("connected to {}", connection.peer_addr());
    for text in ["hello", "", "and that was all"] {
        connection.send(text.as_bytes())?;
        let reply = connection.recv()?.ok_or("the server ended too early")?;
        println!("sent {text:?}, received {:?}", String::from_utf8_lossy(&reply));
        if reply != text {
            return Err("an echo that is none".into());
        }
    }

    // "I have nothing more to say", and then the server has nothing either.
    connection.finish()?;
    if connection.recv()?.is_some() {
        return Err("a message too many".into());
    }
    connection.close()?;
    let served = server.join().map_err(|_| "the server panicked")??;
    println!("both sides have closed; the server received {served} messages");
    Ok(())
}
