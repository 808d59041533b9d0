//! Shows a login, and messages from one client to many. A client proves by its key who it is, so
//! nobody can take its name; in its greeting it says which room it wants, and is refused if it may
//! not enter. What is said in a room goes to all who are in it, and one that does not read slows
//! nobody. To copy: `security`, `Rooms` and `client`.
//!
//! By itself; the server is killed (`kill -9`), and its successor knows everybody again:
//!
//!     cargo run --release --example chat
//!
//! By hand, each in a terminal of its own. The server's first start makes the keys, in
//! `target/chat`:
//!
//!     cargo run --example chat -- server 127.0.0.1:7000
//!     cargo run --example chat -- client 127.0.0.1:7000
//!     cargo run --example chat -- client 127.0.0.1:7000 bob lobby
//!
//! Lines that were under way when the server was killed may be said twice.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use longlink::{Builder, Connection, Event, Identity, PeerIdentity, RetryPolicy, Security, Trust};
use rustix::process::Signal;

use process::{Process, Result};

#[path = "support/process.rs"]
mod process;

const KEYS: &str = "target/chat";

/// Why a client is refused: the code is for programs, the text for people.
type Refusal = (u32, &'static str);
const NO_NAME: Refusal = (1, "this key has no name");
const NO_ENTRY: Refusal = (2, "you may not enter this room");
const HERE: Refusal = (3, "you are here already");

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    process::report(match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", address] => server(address),
        ["client", address] => client(address, "ann", "lobby"),
        ["client", address, name, room] => client(address, name, room),
        [] => demonstrate(),
        _ => Err("arguments: none, or server HOST:PORT, or client HOST:PORT [NAME ROOM]".into()),
    })
}

/// The server's key, and whom it lets in: those in its file of peers. The command
/// `server --keys target/chat --invite NAME` adds others.
fn security() -> Result<Security> {
    let path = |name: &str| Path::new(KEYS).join(name);
    if !path("server.key").exists() {
        fs::create_dir_all(KEYS)?;
        let server = Identity::create(path("server.key"))?;
        for name in ["ann", "bob"] {
            // Whoever has this file is that client: it goes to the client's machine, and no other.
            server.invite(name, path("peers"), path(&format!("{name}.invite")))?;
        }
    }
    let identity = Identity::from_file(path("server.key"))?;
    Ok(Security::keys(identity, Trust::peers_file(path("peers"))?))
}

/// Two may be in the lobby, one in the office.
fn may_enter(name: &str, room: &str) -> bool {
    room == "lobby" || (room == "office" && name == "ann")
}

fn server(address: &str) -> Result<()> {
    let listener = settings().security(security()?).bind(address)?;
    println!("listening on {}", listener.local_addr());
    let rooms = Arc::new(Rooms::default());
    for connection in listener.incoming() {
        let (rooms, connection) = (rooms.clone(), Arc::new(connection?));
        thread::spawn(move || match rooms.enter(&connection) {
            Ok(name) => rooms.host(&name, &connection),
            Err((code, text)) => connection.refuse(code, text),
        });
    }
    Ok(())
}

/// A member's window is its queue.
fn settings() -> Builder {
    Connection::builder().window(4 * 1024)
}

struct Member {
    room: String,
    connection: Arc<Connection>,
    missed: u64,
}

/// The members, by name.
#[derive(Default)]
struct Rooms(Mutex<HashMap<String, Member>>);

impl Rooms {
    /// Who a client is, and what it wants, are known before its first message. They are in each
    /// session, also after the server was killed.
    fn enter(&self, connection: &Arc<Connection>) -> std::result::Result<String, Refusal> {
        let Some(PeerIdentity::Named(name)) = connection.peer_identity() else {
            return Err(NO_NAME);
        };
        let room = String::from_utf8(connection.greeting().into()).map_err(|_| NO_ENTRY)?;
        if !may_enter(&name, &room) {
            return Err(NO_ENTRY);
        }
        let mut members = self.0.lock().unwrap();
        // A member whose link is lost may come back. If its connection is over, its thread may
        // not have seen that yet.
        if members.get(&name).is_some_and(|member| member.connection.flush().is_ok()) {
            return Err(HERE);
        }
        let member = Member { room, connection: connection.clone(), missed: 0 };
        members.insert(name.clone(), member);
        Ok(name)
    }

    /// Receives what a member says, until it leaves or is gone.
    fn host(&self, name: &str, connection: &Arc<Connection>) {
        println!("{name} is here");
        let _ = connection.send(format!("welcome, {name}"));
        for message in connection.incoming().map_while(longlink::Result::ok) {
            self.say(name, &printable(&message));
        }
        self.0.lock().unwrap().retain(|_, member| !Arc::ptr_eq(&member.connection, connection));
        println!("{name} has left");
        let _ = connection.close();
    }

    /// Blocks for nobody. A member that does not read misses what its window has no room for, and
    /// is told how much when it reads again.
    fn say(&self, name: &str, text: &str) {
        let line = format!("{name}: {text}");
        let mut members = self.0.lock().unwrap();
        let Some(room) = members.get(name).map(|member| member.room.clone()) else { return };
        for member in members.values_mut().filter(|member| member.room == room) {
            if member.missed > 0 {
                let note = format!("({} lines missed)", member.missed);
                if member.connection.try_send(note).is_ok() {
                    member.missed = 0;
                }
            }
            // If its connection is over, its own thread sees that.
            if let Err(longlink::Error::WouldBlock) = member.connection.try_send(&line) {
                member.missed += 1;
            }
        }
    }
}

fn client(address: &str, name: &str, room: &str) -> Result<()> {
    let connection = settings()
        .security(Security::invite(Path::new(KEYS).join(format!("{name}.invite")))?)
        .greeting(room.to_string())
        .retry(RetryPolicy::fixed(Duration::from_millis(200), 300))
        .on_event(|_, event| match event {
            Event::Heartbeat { .. } => {}
            event => println!("({event})"),
        })
        .connect(address)?;
    let typing = connection.clone();
    thread::spawn(move || -> longlink::Result<()> {
        for line in std::io::stdin().lines().map_while(std::io::Result::ok) {
            typing.send(line)?;
        }
        typing.finish()
    });
    for message in connection.incoming() {
        println!("{}", printable(&message?));
    }
    Ok(connection.close()?)
}

/// What others say commands no terminal.
fn printable(message: &[u8]) -> String {
    String::from_utf8_lossy(message).replace(char::is_control, "\u{fffd}")
}

/// The demonstration.
fn demonstrate() -> Result<()> {
    let (server, address) = Process::server("127.0.0.1:0")?;
    let enter = |who, name, room| Process::start(who, &["client", &address, name, room]);
    let mut ann = enter("ann", "ann", "lobby")?;
    let mut bob = enter("bob", "bob", "lobby")?;
    ann.says("welcome, ann")?;
    bob.says("welcome, bob")?;
    ann.types("hello")?;
    bob.says("ann: hello")?;
    let refused = |name, room, why| -> Result<()> {
        let other = enter("other", name, room)?;
        other.says(why)?;
        assert!(!other.ends()?);
        Ok(())
    };
    refused("ann", "lobby", "refused (code 3): you are here already")?;
    refused("bob", "office", "refused (code 2): you may not enter this room")?;

    println!("------: kill -9 of the server, and ann goes on typing");
    drop(server);
    ann.says("(lost")?;
    bob.says("(lost")?;
    ann.types("is anybody there?")?;
    let (server, _) = Process::server(&address)?;
    bob.says("welcome, bob")?;
    server.says("ann is here")?;
    ann.says("ann: is anybody there?")?;
    bob.types("I am")?;
    ann.says("bob: I am")?;

    println!("------: bob is stopped, and ann goes on");
    bob.signal(Signal::STOP)?;
    for number in 1..=60 {
        ann.types(&format!("line {number}"))?;
        ann.says(&format!("ann: line {number}"))?;
    }
    println!("------: bob goes on");
    bob.signal(Signal::CONT)?;
    let told = (0..100).any(|_| {
        let _ = ann.types("are you back?");
        bob.says_within("lines missed)", Duration::from_millis(100)).is_some()
    });
    assert!(told, "bob's queue has no end");

    assert!(ann.ends()? && bob.ends()?);
    println!("------: who is who was never in doubt, and nobody has waited for bob");
    Ok(())
}
