//! Shows bytes instead of messages: a line protocol that was written for any `BufRead` and
//! `Write`, here a small store of keys, over a connection. To copy: `store` knows nothing of
//! longlink, `server` and `Asker` give it a stream.
//!
//! By itself, over a link that is cut ten times:
//!
//!     cargo run --release --example stream
//!
//! By hand, each in a terminal of its own; the client sends the lines that it reads, such as
//! `SET color red` and `GET color`:
//!
//!     cargo run --example stream -- server 127.0.0.1:7000
//!     cargo run --example stream -- client 127.0.0.1:7000

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::thread;

use longlink::{Connection, Listener, Stream};

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
        thread::spawn(move || -> io::Result<()> {
            let (reader, writer) = connection.stream().split();
            store(reader, writer)?;
            Ok(connection.close()?)
        });
    }
    Ok(())
}

/// `SET key value` and `GET key`, a line each.
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

/// What is written is sent when it is flushed.
struct Asker<'a>(Stream<'a>);

impl Asker<'_> {
    fn ask(&mut self, question: &str) -> io::Result<String> {
        writeln!(self.0, "{question}")?;
        self.0.flush()?;
        let mut answer = String::new();
        self.0.read_line(&mut answer)?;
        Ok(answer.trim_end().to_string())
    }
}

fn client(address: &str) -> Result<()> {
    let connection = Connection::connect(address)?;
    let mut store = Asker(connection.stream());
    for line in io::stdin().lines() {
        println!("{}", store.ask(&line?)?);
    }
    Ok(connection.close()?)
}

/// The demonstration. This process is the client.
fn demonstrate() -> Result<()> {
    const CUTS: u64 = 10;
    const KEYS: u32 = 2_000;

    let (_server, address) = Process::server("127.0.0.1:0")?;
    let address = relay::start(address, |link| if link <= CUTS { 5_000 } else { u64::MAX })?;
    let connection = Connection::builder().on_event(|_, event| println!("client: {event}"));
    let connection = connection.connect(address)?;
    let mut store = Asker(connection.stream());
    for key in 0..KEYS {
        assert_eq!(store.ask(&format!("SET {key} value {key}"))?, "+OK");
        assert_eq!(store.ask(&format!("GET {key}"))?, format!("+value {key}"));
    }
    assert_eq!(store.ask("GET nothing")?, "-no such key");
    connection.close()?;
    let cuts = connection.stats().reconnects;
    println!("{KEYS} keys set and got, each answer right, the link cut {cuts} times");
    assert!(cuts >= CUTS);
    Ok(())
}
