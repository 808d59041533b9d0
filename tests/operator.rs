//! The server's operator: commands, the account at the end, and how that end is
//! brought about.
#![cfg(feature = "cli")]

#[path = "support/port.rs"]
mod port;
#[path = "support/process.rs"]
#[allow(dead_code, reason = "of use to other tests")]
mod process;
#[path = "support/proxy.rs"]
#[allow(unreachable_pub)]
mod proxy;
#[path = "support/wait.rs"]
mod wait;
#[path = "support/wire.rs"]
#[allow(dead_code, reason = "of use to other tests")]
mod wire;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use port::Reserved;
use process::{CLIENT, Process, SERVER, Server, Stdout, has_thread};
use rustix::process::{Pid, Signal, kill_process};
use socket2::SockRef;
use wire::{CLOSE, DATA, FIN, Hello, Raw, SHUTTING_DOWN, ack, frame};

/// How long a test waits for what should come at once.
const SOON: Duration = Duration::from_secs(20);

/// Asks for the list, and returns its lines: the names of the columns and so
/// many clients.
fn who(server: &mut Server, nth: usize, clients: usize) -> Vec<String> {
    server.process.send("/who\n");
    let heads = server.process.says_nth("unacknowledged", nth);
    // What is typed is done in turn, and so this comes behind the list.
    server.process.send("/end\n");
    server.process.says_nth("after /end", nth);
    let said = server.process.err.text();
    let list = said.lines().skip_while(|line| **line != heads);
    let list: Vec<_> = list.filter(|line| line.contains("127.0.0.1:")).collect();
    let list = &list[list.len() - clients..];
    [&heads[..]].iter().chain(list).map(|line| line.to_string()).collect()
}

#[test]
fn who_is_there() {
    let mut server = Server::start(&["--chat"]);
    server.process.send("/who\n");
    server.process.says("nobody is connected");

    let mut first = server.client(&[]);
    first.send("here\n");
    server.process.prints("client-1> here");
    let mut second = server.client(&[]);
    second.send("and here\n");
    second.end_input();
    server.process.says("client-2: has sent all it had");
    let list = who(&mut server, 1, 2);
    let column = |head: &str| list[0].find(head).unwrap();
    for (line, client) in list[1..].iter().zip(["> client-1", "  client-2"]) {
        assert!(line.starts_with(client), "{list:#?}");
        assert!(line[column("address")..].starts_with("127.0.0.1:"), "{list:#?}");
        assert!(line[column("state")..].starts_with("connected"), "{list:#?}");
        assert!(line[column("up")..].starts_with(|c: char| c.is_ascii_digit()), "{list:#?}");
        assert!(line[column("heard")..].contains("s ago "), "{list:#?}");
        assert!(line[column("unacknowledged")..] == *"0", "{list:#?}");
    }
    assert!(list[2].contains("connected, finished"), "{list:#?}");

    // Whoever has not come back yet is still there.
    first.kill();
    server.process.says("client-1: lost: ");
    server.process.send("@1 for later\n");
    let list = who(&mut server, 2, 2);
    assert!(list[1][column("state")..].starts_with("lost "), "{list:#?}");
    assert!(list[1].ends_with(" 1"), "{list:#?}");

    server.process.send("@2 bye\n/end 2\n");
    assert_eq!(second.ends(), 0);
    assert_eq!(second.out.text(), "bye\n");
    // Standard output carries messages only.
    assert_eq!(server.process.out.text(), "client-1> here\nclient-2> and here\n");
}

fn address(server: &Server) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, server.port.parse().unwrap()).into()
}

#[test]
fn a_client_that_has_said_nothing_gets_what_was_sent_while_it_was_away() {
    let mut server = Server::start(&["--chat"]);
    let hello = Hello::new(1);
    let (raw, welcome) = Raw::join(address(&server), &hello);
    server.process.says("client-1: connected from");
    drop(raw);
    let mut is_lost = |nth| who(&mut server, nth, 1)[1].contains(" lost ");
    (1..).find(|nth| is_lost(*nth));
    server.process.send("@1 sent during the outage\n");
    let (mut raw, again) = Raw::join(address(&server), &hello.next(&welcome, 0));
    assert_eq!(again.epoch, welcome.epoch);
    assert_eq!(raw.read_kind(DATA), b"sent during the outage\n");
}

#[test]
fn a_server_that_closes_takes_nobody_new_while_its_clients_are_there() {
    let mut server = Server::start(&["--chat"]);
    let hello = Hello::new(1);
    let (mut raw, welcome) = Raw::join(address(&server), &hello);
    server.process.says("client-1: connected from");
    server.process.send("@1 the last\n");
    server.process.end_input();
    raw.read_kind(FIN);
    assert_eq!(Raw::rejected(address(&server), &Hello::new(2)), SHUTTING_DOWN);
    let (mut raw, again) = Raw::join(address(&server), &hello.next(&welcome, 2));
    assert_eq!(again.epoch, welcome.epoch);
    assert_eq!(Raw::rejected(address(&server), &Hello::new(2)), SHUTTING_DOWN);
    raw.send([frame(FIN, b""), ack(2, 1 << 20)].concat());
    raw.read_kind(CLOSE);
    drop(raw);
    assert_eq!(server.process.ends(), 0);
    assert_eq!(server.process.err.count("client-2"), 0);
    assert_eq!(server.process.err.count("not acknowledged"), 0);
}

#[test]
fn a_server_says_who_left_without_taking_everything() {
    let mut server = Server::start(&["--chat"]);
    let (mut raw, _) = Raw::join(address(&server), &Hello::new(1));
    server.process.says("client-1: connected from");
    server.process.send("@1 one\n@1 two\n");
    server.process.end_input();
    raw.read_kind(FIN);
    raw.send(frame(CLOSE, [1, 0, 0, 0, 0, 0, 0, 0, 1]));
    raw.read_kind(CLOSE);
    server.process.says("1 client did not take all that was sent: 1 message not acknowledged");
    assert_eq!(server.process.ends(), 1);
}

/// `server --chat < answers`
#[test]
fn answers_wait_for_somebody() {
    let mut server = Server::start(&["--chat"]);
    server.process.send("/who\none\ntwo\n");
    server.process.end_input();
    server.process.says("nobody is connected");
    let mut client = server.client(&[]);
    assert_eq!(client.ends(), 0);
    assert_eq!(client.out.text(), "one\ntwo\n");
    assert_eq!(server.process.ends(), 0);
}

/// A file has no last line but its last.
#[test]
fn a_client_that_has_ended_its_input_gets_all_answers_of_a_file() {
    let mut server = Server::start(&["--chat"]);
    let mut client = server.client(&[]);
    client.send("question\n");
    client.end_input();
    server.process.says("client-1: has sent all it had, it stays until your input ends");
    server.process.send("one\ntwo\nthree\n");
    client.prints("three");
    server.process.send("four\n");
    server.process.end_input();
    assert_eq!(client.ends(), 0);
    assert_eq!(client.out.text(), "one\ntwo\nthree\nfour\n");
    assert_eq!(server.process.ends(), 0);
    assert_eq!(server.process.err.count("warn]"), 0);
}

#[test]
fn a_mistyped_command_goes_to_nobody() {
    let mut server = Server::start(&["--chat"]);
    let mut client = server.client(&[]);
    server.process.says("client-1: connected from");
    server.process.send("/ned 1\n@home\n//ned\n@@home\n");
    server.process.says("line 1: /ned is no command (/help lists them, //ned sends it as text)");
    server.process.says("line 2: after @ comes the number of a client");
    client.prints("@home");
    server.process.send("/end 1\n");
    assert_eq!(client.ends(), 0);
    assert_eq!(client.out.text(), "/ned\n@home\n");
}

#[test]
fn the_commands_are_listed() {
    let mut server = Server::start(&["--chat"]);
    server.process.send("/help\n");
    server.process.says("/help");
    let said = server.process.err.text();
    for command in ["@N text", "@@text, //text", "/who", "/end N"] {
        assert!(said.contains(command), "{command}: {said}");
    }
    assert_eq!(server.process.out.text(), "");
}

/// Cuts one client's link, has another leave without a word, then ends the server.
fn account_after(signal: &str) {
    let mut server = Server::start(&[]);
    let proxy = proxy::Proxy::to(([127, 0, 0, 1], server.port.parse().unwrap()).into());
    let port = proxy.addr().port().to_string();
    let args = ["127.0.0.1", "--port", &port, "--retry-delay", "10ms", "--retries", "200"];
    let mut resumed = Process::start(CLIENT, &args, Stdout::Read);
    resumed.send("one\n");
    resumed.prints("one");
    proxy.cut(proxy::How::Rst);
    resumed.says("resumed, ");
    resumed.send("two\nexit\n");
    assert_eq!(resumed.ends(), 0);
    // Nobody waits for one who cannot resume.
    let mut plain = TcpStream::connect(("127.0.0.1", server.port.parse().unwrap())).unwrap();
    plain.write_all(b"three\n").unwrap();
    plain.read_exact(&mut [0; 6]).unwrap();
    SockRef::from(&plain).set_linger(Some(Duration::ZERO)).unwrap();
    drop(plain);
    server.process.says("reclaimed, ");

    let mut there = server.client(&[]);
    there.send("four\nfive\n");
    there.prints("five");
    server.process.signal(signal);
    assert_eq!(server.process.ends(), 0);
    let said = server.process.err.text();
    let account = said.lines().find(|line| line.contains("served ")).unwrap();
    assert!(account.contains("info] served 3 clients in "), "{said}");
    assert!(account.contains(": 5 messages in, 5 out"), "{said}");
    assert!(account.ends_with("; 1 link resumed, 1 session lost"), "{said}");
    // Its session has not ended.
    there.says("lost: ");
    assert_eq!(there.err.count("closed by the peer"), 0);
}

#[test]
fn an_interrupted_server_gives_an_account() {
    account_after("INT");
}

#[test]
fn so_does_one_that_is_terminated() {
    account_after("TERM");
}

#[test]
fn so_does_the_operators_end_of_input() {
    let mut server = Server::start(&["--chat"]);
    let mut client = server.client(&[]);
    client.send("question\n");
    server.process.prints("client-1> question");
    server.process.send("answer\nand more\n");
    server.process.end_input();
    assert_eq!(client.ends(), 0);
    assert_eq!(server.process.ends(), 0);
    let said = server.process.err.text();
    let account = said.lines().find(|line| line.contains("served ")).unwrap();
    assert!(account.contains("info] served 1 client in "), "{said}");
    assert!(account.contains(": 1 message in, 2 out; 0 links resumed, 0 sessions lost"), "{said}");
}

#[test]
fn a_quiet_server_gives_no_account() {
    let mut server = Process::start(SERVER, &["--port", "0", "-q", "--chat"], Stdout::Read);
    server.end_input();
    assert_eq!(server.ends(), 0);
    assert_eq!(server.err.text(), "");
}

/// A pipe that nobody reads, and that takes nothing more.
fn stuck() -> (io::PipeReader, io::PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let full = loop {
        if let Err(error) = writer.write(&[b'x'; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    (reader, writer)
}

/// Of a process's signals, those that are `what`: `SigCgt`, caught, or `ShdPnd`,
/// not delivered yet.
fn signals(pid: Pid, what: &str) -> u64 {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    // Once it has ended there are none.
    let status = std::fs::read_to_string(path).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    u64::from_str_radix(mask.unwrap_or("0").trim(), 16).unwrap()
}

/// A server that can neither print the message of a client nor say its last words, and is
/// told to end, and again half a second later: its exit code.
fn told_again() -> Option<i32> {
    let ((_out, stdout), (_err, stderr)) = (stuck(), stuck());
    let reserved = Reserved::new();
    let mut command = Command::new(SERVER);
    command.args(["--port", &reserved.port()]);
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut plain = None;
    wait::until("it listens", || {
        plain = TcpStream::connect(reserved.addr()).ok();
        plain.is_some()
    });
    let mut plain = plain.unwrap();
    for message in [b"one\n", b"two\n"] {
        plain.write_all(message).unwrap();
        plain.read_exact(&mut [0; 4]).unwrap();
    }
    let (id, pid) = (child.id(), Pid::from_child(&child));
    kill_process(pid, Signal::INT).unwrap();
    wait::until("it has begun to end", || has_thread(id, "patience"));
    wait::until("half a second has passed", || !has_thread(id, "patience"));
    let _ = kill_process(pid, Signal::TERM);
    child.wait().unwrap().code()
}

/// It ends by itself half a second later: where the second signal comes later than that,
/// another try is due.
#[test]
fn told_again_a_server_ends_at_once() {
    let codes: Vec<_> = (0..3).map(|_| told_again()).collect();
    assert!(codes.contains(&Some(143)), "{codes:?}");
}

/// Waits until it catches both signals, and sends them.
fn tell_twice(process: &Process) {
    let pid = Pid::from_raw(process.id() as i32).unwrap();
    let bit = |signal: Signal| 1 << (signal.as_raw() - 1);
    let both = bit(Signal::INT) | bit(Signal::TERM);
    wait::until("it catches both", || signals(pid, "SigCgt") & both == both);
    kill_process(pid, Signal::INT).unwrap();
    wait::until("it has caught one", || signals(pid, "ShdPnd") & both == 0);
    let _ = kill_process(pid, Signal::TERM);
}

/// `timeout` signals its child, and then its process group.
#[test]
fn two_signals_at_once_are_one_wish() {
    for _ in 0..5 {
        let mut server = Server::start(&[]);
        let mut client = server.client(&[]);
        tell_twice(&client);
        assert_eq!(client.ends(), 130);
        assert_eq!(client.err.count("interrupted, 0 messages not acknowledged"), 1);
        tell_twice(&server.process);
        assert_eq!(server.process.ends(), 0);
        assert_eq!(server.process.err.count("info] served "), 1);
    }
}

#[test]
fn why_it_cannot_listen() {
    let server = Server::start(&[]);
    let mut second = Process::start(SERVER, &["--port", &server.port], Stdout::Read);
    second.says("(another program does so; port 0 takes a free one)");
    assert_eq!(second.ends(), 1);
    // An address for documentation, which nobody has.
    let mut third = Process::start(SERVER, &["--open", "--bind", "192.0.2.1"], Stdout::Read);
    third.says("cannot listen on 192.0.2.1 port 6666: ");
    third.says("(this machine has no such address; 0.0.0.0 is all it has)");
    assert_eq!(third.ends(), 1);
}

/// What an operator has said to a client that does not come back.
#[test]
fn lines_that_were_not_taken_are_named() {
    let mut server = Server::start(&["--chat", "--resume-within", "0s"]);
    let mut client = server.client(&[]);
    server.process.says("client-1: connected");
    client.signal("STOP");
    server.process.send("are you there?\n/who\n");
    server.process.says("unacknowledged");
    client.kill();
    server.process.says("client-1: reclaimed, 1 message not acknowledged");
    server.process.says("client-1: not acknowledged: are you there?");
}
