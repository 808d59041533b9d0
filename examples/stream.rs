//! Shows a line protocol that was written for any `BufRead` and `Write`, here a
//! small store of keys, over a connection whose link is cut ten times.
//!
//!     cargo run --example stream

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use longlink::{Connection, Listener};

const CUTS: u64 = 10;
const KEYS: u32 = 2_000;

/// It knows nothing of longlink: `SET key value` and `GET key`, a line each.
fn store(input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut values = HashMap::new();
    for line in input.lines() {
        let line = line?;
        match *line.splitn(3, ' ').collect::<Vec<_>>() {
            ["SET", key, value] => {
                values.insert(key.to_string(), value.to_string());
                writeln!(output, "+OK")?;
            }
            ["GET", key] => match values.get(key) {
                Some(value) => writeln!(output, "+{value}")?,
                None => writeln!(output, "-no such key")?,
            },
            _ => writeln!(output, "-SET key value, or GET key")?,
        }
        output.flush()?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let listener = Listener::bind("127.0.0.1:0")?;
    let server = listener.local_addr();
    thread::spawn(move || -> io::Result<()> {
        let connection = listener.accept()?;
        store(connection.stream(), connection.stream())?;
        Ok(connection.close()?)
    });
    let front = TcpListener::bind("127.0.0.1:0")?;
    let address = front.local_addr()?;
    thread::spawn(move || relay(&front, server));

    let connection = Connection::builder().on_event(|_, event| println!("  {event}"));
    let connection = connection.connect(address)?;
    let mut stream = connection.stream();
    let mut ask = |question: String| -> io::Result<String> {
        stream.write_all(question.as_bytes())?;
        stream.flush()?;
        let mut answer = String::new();
        stream.read_line(&mut answer)?;
        Ok(answer)
    };
    for key in 0..KEYS {
        assert_eq!(ask(format!("SET {key} value {key}\n"))?, "+OK\n");
        assert_eq!(ask(format!("GET {key}\n"))?, format!("+value {key}\n"));
    }
    assert_eq!(ask("GET nothing\n".into())?, "-no such key\n");
    connection.close()?;
    let cuts = connection.stats().reconnects;
    println!("{KEYS} keys set and got, each answer right, the link cut {cuts} times");
    if cuts < CUTS { Err("there were fewer cuts than that".into()) } else { Ok(()) }
}

/// Passes bytes on; the first links only so many.
fn relay(front: &TcpListener, server: SocketAddr) -> io::Result<()> {
    for (number, client) in (1..).zip(front.incoming()) {
        let (client, server) = (client?, TcpStream::connect(server)?);
        let (mut back, mut replies) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || io::copy(&mut replies, &mut back));
        let limit = if number <= CUTS { 5_000 } else { u64::MAX };
        let _ = io::copy(&mut (&client).take(limit), &mut &server);
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    }
    Ok(())
}
