//! The server under a service manager, and what it tells of itself: docs/running.md.
#![cfg(feature = "cli")]

#[path = "support/folder.rs"]
#[allow(dead_code, reason = "of use to other tests")]
mod folder;
#[path = "support/port.rs"]
mod port;
#[path = "support/process.rs"]
#[allow(dead_code, reason = "of use to other tests")]
mod process;
#[path = "support/wait.rs"]
#[allow(dead_code, reason = "of use to other tests")]
mod wait;

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use clap::Parser;
use folder::Folder;
use longlink::cli::args::ServerArgs;
use process::{CLIENT, Process, SERVER, Stdout};
use rustix::event::{PollFd, PollFlags, poll};
use wait::now;

/// The patience of these tests.
const SOON: Duration = Duration::from_secs(30);

/// Starts a server, and hands it these sockets as a service manager does.
fn handed(socket: impl Into<OwnedFd>, count: u32, args: &[&str]) -> Process {
    // It has the socket as standard input, and only descriptors that it passes on.
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$; export LISTEN_PID; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, SERVER]).env("LISTEN_FDS", count.to_string());
    let streams = [Stdio::from(socket.into()), Stdio::piped(), Stdio::piped()];
    Process::start_on(command, SERVER, args, streams)
}

fn local(socket: &TcpListener) -> SocketAddr {
    socket.local_addr().unwrap()
}

fn free() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A client that makes one attempt, so that nobody may refuse it.
fn client(at: SocketAddr) -> Process {
    let args = [&at.to_string(), "--retries", "1", "--connect-timeout", "30s"];
    Process::start(CLIENT, &args, Stdout::Read)
}

#[test]
fn a_socket_that_is_handed_over_is_listened_on() {
    let socket = free();
    let address = local(&socket);
    let server = handed(socket, 1, &["--bind", "192.0.2.1:9"]);
    server.says(&format!("listening on {address} (this machine only)"));
    let mut client = client(address);
    client.send("hello\n");
    client.prints("hello");
    client.end_input();
    assert_eq!(client.ends(), 0);
}

/// Those of a server that has invited a client.
fn keys_in(folder: &Folder) -> String {
    let keys = folder.file("keys");
    let invited = Command::new(SERVER).args(["--keys", &keys, "--invite", "alice"]).output();
    assert!(invited.unwrap().status.success());
    keys
}

/// What it says of those whom it lets in tells of no option that has no effect.
#[test]
fn a_socket_that_is_handed_over_stays_where_it_listens() {
    let folder = Folder::new("handed_keys");
    let keys = keys_in(&folder);
    handed(free(), 1, &["--keys", &keys]).says(" (this machine only)");
}

/// Nobody is refused while the server is away, and who was connected comes back by itself.
#[test]
fn clients_wait_in_the_queue_while_the_server_restarts() {
    let socket = free();
    let address = local(&socket);
    let mut first = handed(socket.try_clone().unwrap(), 1, &[]);
    let mut before = client(address);
    before.send("one\n");
    before.prints("one");
    first.signal("TERM");
    assert_eq!(first.ends(), 0);
    before.says("the server is restarting");

    let mut meanwhile = client(address);
    meanwhile.send("two\n");
    let patience = SOON.try_into().unwrap();
    let waits = poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&patience));
    assert_eq!(waits, Ok(1));
    let _second = handed(socket, 1, &[]);
    meanwhile.prints("two");
    before.send("three\n");
    before.prints("three");
    for mut client in [before, meanwhile] {
        client.end_input();
        assert_eq!(client.ends(), 0);
        assert_eq!(client.err.count("refused"), 0);
    }
}

#[test]
fn a_socket_that_others_can_reach_takes_keys_as_well() {
    let everywhere = || TcpListener::bind("0.0.0.0:0").unwrap();
    let mut server = handed(everywhere(), 1, &[]);
    server.says("other machines can reach 0.0.0.0. With --keys DIR");
    assert_eq!(server.ends(), 2);
    handed(everywhere(), 1, &["--open"]).says("(everybody who can reach it, in clear text)");
}

#[test]
fn what_is_no_listening_socket_is_not_taken() {
    let folder = Folder::new("handed");
    let unix = UnixListener::bind(folder.file("socket")).unwrap();
    let sockets: [(OwnedFd, _, _); 4] = [
        (free().into(), 2, "2 sockets were handed over, and the server takes one"),
        (unix.into(), 1, "cannot listen on the socket that was handed over: "),
        (UdpSocket::bind("127.0.0.1:0").unwrap().into(), 1, "the socket that was handed over: "),
        (fs::File::open("/dev/null").unwrap().into(), 1, "the socket that was handed over: "),
    ];
    for (socket, count, said) in sockets {
        let mut server = handed(socket, count, &[]);
        server.says(said);
        assert_eq!(server.ends(), 1);
    }
}

#[test]
fn the_service_manager_is_told_how_far_the_server_is() {
    let folder = Folder::new("notify");
    let keys = keys_in(&folder);
    let manager = UnixDatagram::bind(folder.file("manager")).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    let told = || {
        let mut buffer = [0; 200];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let mut command = Command::new(SERVER);
    command.env("NOTIFY_SOCKET", folder.file("manager"));
    let args = ["--port", "0", "--keys", &keys];
    let mut server = Process::start_by(command, SERVER, &args, Stdout::Read);
    assert_eq!(told(), "READY=1\n");
    server.says("listening on ");
    server.signal("HUP");
    let reloading = told();
    let at = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    assert!(at.is_some_and(|at| at.trim_end().parse::<u64>().is_ok()), "{reloading}");
    assert_eq!(told(), "READY=1\n");
    server.signal("TERM");
    assert_eq!(told(), "STOPPING=1\n");
    assert_eq!(server.ends(), 0);
}

/// Of a container manager, for instance.
#[test]
#[cfg(target_os = "linux")]
fn a_service_manager_without_a_path_is_told() {
    use std::os::linux::net::SocketAddrExt as _;
    let name = format!("longlink-running-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    let mut command = Command::new(SERVER);
    command.env("NOTIFY_SOCKET", format!("@{name}"));
    let _server = Process::start_by(command, SERVER, &["--port", "0"], Stdout::Read);
    let mut told = [0; 200];
    let length = manager.recv(&mut told).unwrap();
    assert_eq!(&told[..length], b"READY=1\n");
}

#[test]
fn a_service_manager_that_hangs_stops_nothing() {
    let folder = Folder::new("hangs");
    let manager = folder.file("manager");
    let _manager = UnixDatagram::bind(&manager).unwrap();
    let other = UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    while other.send_to(b"not read", &manager).is_ok() {}
    let mut command = Command::new(SERVER);
    command.env("NOTIFY_SOCKET", manager);
    let port = port::Reserved::new();
    let mut server = Process::start_by(command, SERVER, &["--port", &port.port()], Stdout::Read);
    server.says("listening on ");
    let mut client = client(port.addr());
    client.send("hello\n");
    client.prints("hello");
    server.signal("TERM");
    assert_eq!(server.ends(), 0);
}

/// Waits until these lines are in the file of the server's totals.
fn until_it_says(file: &str, wanted: &[&str]) {
    let says = |text: &str| wanted.iter().all(|wanted| text.lines().any(|line| line == *wanted));
    let mut text = String::new();
    let deadline = now() + SOON;
    while !says(&text) {
        assert!(now() < deadline, "{wanted:?}:\n{text}");
        thread::park_timeout(Duration::from_millis(10));
        text = fs::read_to_string(file).unwrap();
    }
}

#[test]
fn totals_can_be_read_at_any_time() {
    let folder = Folder::new("stats");
    let file = folder.file("longlink.prom");
    // Nothing is written through a link that somebody has put there.
    let other = folder.write("other", "");
    std::os::unix::fs::symlink(&other, format!("{file}.new")).unwrap();
    let server = process::Server::start(&["--stats", &file]);
    // It was there before the port was.
    until_it_says(&file, &["longlink_sessions{link=\"up\"} 0", "longlink_messages_sent_total 0"]);
    let mut client = server.client(&[]);
    client.send("one\ntwo\n");
    client.prints("two");
    let present = ["longlink_sessions{link=\"up\"} 1", "longlink_sessions_served_total 1"];
    until_it_says(&file, &present);
    client.end_input();
    assert_eq!(client.ends(), 0);
    until_it_says(
        &file,
        &[
            "# TYPE longlink_sessions gauge",
            "longlink_sessions{link=\"up\"} 0",
            "longlink_sessions{link=\"lost\"} 0",
            "longlink_messages_unacknowledged 0",
            "longlink_sessions_served_total 1",
            "longlink_sessions_lost_total 0",
            "longlink_links_resumed_total 0",
            "longlink_messages_received_total 2",
            "longlink_messages_sent_total 2",
            "longlink_bytes_received_total 8",
        ],
    );
    assert_eq!(fs::read_to_string(other).unwrap(), "");
}

#[test]
fn a_file_of_totals_that_cannot_be_written_is_told_at_once() {
    let nowhere = "/nowhere/longlink.prom";
    let args = ["--port", "0", "--stats", nowhere];
    let mut server = Process::start(SERVER, &args, Stdout::Read);
    server.says(&format!("cannot write {nowhere}: "));
    assert_eq!(server.ends(), 1);
}

/// Whoever asks for `--stats /dev/stdout` as root keeps that.
#[test]
fn totals_replace_nothing_but_a_file() {
    let folder = Folder::new("replaced");
    let socket = folder.file("socket");
    let _socket = UnixListener::bind(&socket).unwrap();
    let link = folder.file("link");
    std::os::unix::fs::symlink("/dev/stdout", &link).unwrap();
    for file in [socket, link, folder.make("folder")] {
        let kind = || fs::symlink_metadata(&file).unwrap().file_type();
        let before = kind();
        let mut server = Process::start(SERVER, &["--port", "0", "--stats", &file], Stdout::Read);
        server.says(&format!("cannot write {file}: "));
        assert_eq!(server.ends(), 1);
        assert_eq!(kind(), before);
        assert!(!fs::exists(format!("{file}.new")).unwrap());
    }
}

/// What the page and the unit have people type is what the server takes, and what they look for
/// is what it writes.
#[test]
fn the_page_for_operators_is_true() {
    let page = include_str!("../docs/running.md");
    let unit = include_str!("../docs/systemd/longlink-server.service");
    let of_page = page.lines().filter_map(|line| line.strip_prefix("sudo -u longlink "));
    let of_unit = unit.lines().filter_map(|line| line.strip_prefix("ExecStart="));
    let commands: Vec<&str> = of_page.chain(of_unit).collect();
    assert_eq!(commands.len(), 2);
    for command in commands {
        let words = command.split(' ').filter(|word| !word.starts_with('$'));
        ServerArgs::try_parse_from(words).unwrap();
    }

    let folder = Folder::new("page");
    let file = folder.file("longlink.prom");
    let _server = process::Server::start(&["--stats", &file]);
    let written = fs::read_to_string(&file).unwrap();
    let metrics = page.split('`').filter(|word| word.starts_with("longlink_"));
    let missing: Vec<&str> = metrics.filter(|name| !written.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}:\n{written}");
}
