//! A chat in which a client's name is its greeting. The server knows it before the first
//! message of each session, also when the server was killed and knows nothing else; and
//! it refuses a name that is in use, or none. Lines that were under way may be said twice.
//!
//! Without arguments it shows just that, with processes of its own and a `kill -9`; the
//! exit code is 1 if a name is lost:
//!
//!     cargo run --release --example named_chat
//!
//! By hand, each in a terminal of its own:
//!
//!     cargo run --example named_chat -- server 127.0.0.1:7000
//!     cargo run --example named_chat -- client 127.0.0.1:7000 ann
//!     cargo run --example named_chat -- client 127.0.0.1:7000 bob

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use longlink::{Connection, Event, Listener, RetryPolicy};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Why a client is refused: the code is for programs, the text for people.
type Refusal = (u32, &'static str);
const NO_NAME: Refusal = (1, "a name has 1 to 20 letters and digits");
const TAKEN: Refusal = (2, "that name is taken");

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["server", address] => serve(address),
        ["client", address, name] => join(address, name),
        [] => show(),
        _ => Err("server ADDRESS, or client ADDRESS NAME".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: &str) -> Result<()> {
    let listener = Listener::bind(address)?;
    println!("listening on {}", listener.local_addr());
    let room = Arc::new(Room::default());
    for connection in listener.incoming() {
        let (room, connection) = (room.clone(), Arc::new(connection?));
        thread::spawn(move || match room.enter(&connection) {
            Ok(name) => room.host(&name, &connection),
            Err((code, text)) => connection.refuse(code, text),
        });
    }
    Ok(())
}

#[derive(Default)]
struct Room {
    members: Mutex<HashMap<String, Arc<Connection>>>,
}

impl Room {
    /// Takes a client in by the name that it greets with, or says why not.
    fn enter(&self, connection: &Arc<Connection>) -> std::result::Result<String, Refusal> {
        let name = String::from_utf8(connection.greeting().into()).map_err(|_| NO_NAME)?;
        let length = name.chars().count();
        if !(1..=20).contains(&length) || !name.chars().all(char::is_alphanumeric) {
            return Err(NO_NAME);
        }
        let mut members = self.members.lock().unwrap();
        // A member whose link is lost may come back. The thread of one that is over may just
        // not have seen that yet.
        if members.get(&name).is_some_and(|member| member.flush().is_ok()) {
            return Err(TAKEN);
        }
        members.insert(name.clone(), connection.clone());
        Ok(name)
    }

    /// Receives what a member says, until it leaves or is gone.
    fn host(&self, name: &str, connection: &Arc<Connection>) {
        println!("{name} is here");
        let _ = connection.send(format!("welcome, {name}"));
        for message in connection.incoming().map_while(longlink::Result::ok) {
            self.say(&format!("{name}: {}", printable(&message)));
        }
        self.members.lock().unwrap().retain(|_, member| !Arc::ptr_eq(member, connection));
        println!("{name} has left");
        let _ = connection.close();
    }

    /// Blocks for no member: one that does not read misses what its window has no room for.
    fn say(&self, line: &str) {
        println!("{line}");
        for member in self.members.lock().unwrap().values() {
            let _ = member.try_send(line);
        }
    }
}

fn join(address: &str, name: &str) -> Result<()> {
    let connection = Connection::builder()
        .greeting(name.to_string())
        .retry(RetryPolicy::fixed(Duration::from_millis(200), 300))
        .on_event(|_, event| match event {
            Event::Heartbeat { .. } => {}
            event => eprintln!("({event})"),
        })
        .connect(address)?;
    let typing = connection.clone();
    thread::spawn(move || -> longlink::Result<()> {
        for line in io::stdin().lines().map_while(io::Result::ok) {
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
fn show() -> Result<()> {
    let mut server = Process::start("server", &["server", "127.0.0.1:0"])?;
    let line = server.says("listening on ")?;
    let address = line.trim_start_matches("listening on ");
    let mut ann = Process::start("ann", &["client", address, "ann"])?;
    let mut bob = Process::start("bob", &["client", address, "bob"])?;
    ann.says("welcome, ann")?;
    bob.says("welcome, bob")?;
    ann.types("hello")?;
    bob.says("ann: hello")?;
    refuses(address, "ann", "refused (code 2): that name is taken")?;
    refuses(address, "no name", "refused (code 1): a name has 1 to 20 letters and digits")?;

    println!("--- kill -9 of the server, and ann goes on typing");
    server.kill();
    ann.says("(lost")?;
    bob.says("(lost")?;
    ann.types("is anybody there?")?;
    println!("--- a server is started again, which knows nothing");
    let server = Process::start("server", &["server", address])?;
    ann.says("sent again")?;
    bob.says("welcome, bob")?;
    // It has the name before the message, which does not carry it.
    server.says("ann is here")?;
    server.says("ann: is anybody there?")?;
    refuses(address, "ann", "refused (code 2): that name is taken")?;
    bob.types("I am")?;
    ann.says("bob: I am")?;

    for member in [&mut ann, &mut bob] {
        member.input = None;
        member.says("(closed")?;
        if !member.child.wait()?.success() {
            return Err("a member has failed".into());
        }
    }
    println!("--- the names have survived");
    Ok(())
}

/// Another client of this name is told that, and fails.
fn refuses(address: &str, name: &str, why: &str) -> Result<()> {
    let mut other = Process::start("other", &["client", address, name])?;
    other.says(why)?;
    if other.child.wait()?.success() { Err("it does not fail".into()) } else { Ok(()) }
}

/// This program in a process of its own, killed when it is dropped.
struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    fn start(who: &'static str, args: &[&str]) -> Result<Process> {
        let mut command = Command::new(std::env::current_exe()?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.args(args).spawn()?;
        let (sender, lines) = mpsc::channel();
        pass_on(who, child.stdout.take().ok_or("no pipe")?, sender.clone());
        pass_on(who, child.stderr.take().ok_or("no pipe")?, sender);
        Ok(Process { input: child.stdin.take(), child, lines })
    }

    fn types(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.input.as_ref().ok_or("no pipe")?, "{line}")?)
    }

    /// Waits for a line that has this in it.
    fn says(&self, text: &str) -> Result<String> {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(20));
            match line.map_err(|_| format!("it never says {text:?}"))? {
                line if line.contains(text) => return Ok(line),
                _ => {}
            }
        }
    }

    fn kill(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Tells what a process says, and hands it on.
fn pass_on(who: &'static str, from: impl Read + Send + 'static, to: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(io::Result::ok) {
            println!("{who:>6}: {line}");
            let _ = to.send(line);
        }
    });
}
