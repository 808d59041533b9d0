//! Shows how to stop without losing anything: a client at the end of its input, or on Ctrl-C; a
//! server for good, on Ctrl-C; and a server that is started again, on SIGTERM. To copy: `server`,
//! `collect` and `client`.
//!
//! By itself:
//!
//!     cargo run --release --example shutdown
//!
//! By hand, each in a terminal of its own. The client sends the lines that it reads, and the
//! server prints them. One that the server is printing on SIGTERM may be printed again by the next:
//!
//!     cargo run --example shutdown -- server 127.0.0.1:7000
//!     cargo run --example shutdown -- client 127.0.0.1:7000

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use longlink::{Connection, Error, Event, Listener, WeakConnection};
use rustix::process::Signal;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use process::{Process, Result};

#[path = "support/process.rs"]
mod process;

/// When clients of a server that is started again are to come back.
const BACK: Duration = Duration::from_secs(1);
/// How long clients have to end when the server ends.
const GRACE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    process::run(server, client, demonstrate)
}

fn server(address: &str) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let listener = Listener::bind(address)?;
    println!("listening on {}", listener.local_addr());
    thread::scope(|scope| {
        let accepting = scope.spawn(|| {
            let mut clients: Vec<WeakConnection> = Vec::new();
            for connection in listener.incoming().flatten() {
                clients.retain(|client| client.upgrade().is_some());
                clients.push(connection.downgrade());
                scope.spawn(move || match collect(&connection) {
                    Ok(()) => println!("{} has closed", connection.peer_addr()),
                    // What is not acknowledged is still the client's, to send it again.
                    Err(Error::GaveUp { cause, .. }) => {
                        println!("{}: {cause}", connection.peer_addr());
                    }
                    Err(e) => println!("{}: {e}", connection.peer_addr()),
                });
            }
            clients
        });

        if signals.forever().next() == Some(SIGTERM) {
            // It ends all connections. The clients come back to the next server.
            listener.restart(BACK);
            println!("the clients come back in {BACK:?}");
            return Ok(());
        }
        listener.close();
        let clients = accepting.join().map_err(|_| "the thread that accepts panicked")?;
        let open = || clients.iter().filter_map(WeakConnection::upgrade);
        // This side has no more to say. When the clients receive that, they close.
        open().for_each(|client| drop(client.finish()));
        let drained = listener.drain(GRACE);
        // Those that have not closed in time get an error, and keep what is not acknowledged.
        open().for_each(|client| client.abort());
        drained?;
        println!("all clients have closed");
        Ok(())
    })
}

/// Asking for the next message acknowledges this one. `Ok` says that the client has no more, and
/// that it has taken everything.
fn collect(connection: &Connection) -> longlink::Result<()> {
    for message in connection.incoming() {
        println!("{}", String::from_utf8_lossy(&message?).escape_debug());
    }
    connection.close()
}

fn client(address: &str) -> Result<()> {
    let connection = Connection::builder()
        .on_event(|_, event| match event {
            Event::Heartbeat { .. } => {}
            event => println!("({event})"),
        })
        .connect(address)?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let stopping = connection.clone();
    thread::spawn(move || signals.forever().next().map(|_| stopping.finish()));
    let typing = connection.clone();
    thread::spawn(move || -> longlink::Result<()> {
        for line in std::io::stdin().lines().map_while(std::io::Result::ok) {
            typing.send(line)?;
        }
        typing.finish() // "I have no more": the server takes what is under way, and closes
    });
    // The server sends no messages. This ends when it has finished, whoever was first.
    connection.incoming().try_for_each(|message| message.map(drop))?;
    connection.close()?;
    let sent = connection.stats().messages_sent;
    println!("closed: {sent} sent and processed");
    Ok(())
}

/// The demonstration.
fn demonstrate() -> Result<()> {
    let (server, address) = Process::server("127.0.0.1:0")?;
    let client = |who| Process::start(who, &["client", &address]);

    let mut ann = client("ann")?;
    ann.types("from ann")?;
    assert!(ann.ends()?, "at the end of its input");
    server.says("from ann")?;

    let mut bob = client("bob")?;
    bob.types("from bob")?;
    server.says("from bob")?;
    println!("------: SIGTERM for the server");
    server.signal(Signal::TERM)?;
    bob.says("restarting")?;
    bob.types("while it is away")?;
    assert!(server.ends()?);
    let (server, _) = Process::server(&address)?;
    server.says("while it is away")?;

    let mut eve = client("eve")?;
    eve.types("from eve")?;
    server.says("from eve")?;
    println!("------: Ctrl-C for eve");
    eve.signal(Signal::INT)?;
    eve.says("closed: 1 sent and processed")?;
    assert!(eve.ends()?);

    println!("------: Ctrl-C for the server");
    server.signal(Signal::INT)?;
    bob.says("closed: 2 sent and processed")?;
    server.says("all clients have closed")?;
    assert!(bob.ends()? && server.ends()?);
    println!("------: each has ended in order");
    Ok(())
}
