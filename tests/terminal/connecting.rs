//! Before there is a connection.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::port::Reserved;
use crate::process::{CLIENT, Process, SERVER, Server, Stdout};
use crate::wait::until;
use crate::window::{SIZE, Window};
use crate::wire::{DATA, RawServer, Welcome, frame};

/// A client of a server that is not there.
fn alone(port: &Reserved, retries: &str, delay: &str) -> Window {
    let args = ["127.0.0.1", "-p", &port.port(), "--retries", retries, "--retry-delay", delay];
    let window = Window::open(CLIENT, &args);
    window.shows_rows("a prompt", |rows| rows.last().is_some_and(|row| row.ends_with('>')));
    window
}

#[test]
fn lines_are_edited_from_the_start() {
    let reserved = Arc::new(Reserved::new());
    let window = alone(&reserved, "100", "300ms");
    assert!(window.is_raw());
    window.types("first\rhalf");
    window.shows("attempt 3 of 100");
    window.shows_rows("half a line below the log", |rows| {
        let (last, above) = rows.split_last().unwrap();
        last.starts_with("connecting ")
            && last.ends_with("> half")
            && above.iter().all(|row| !row.contains("half"))
    });
    let server = Server::start_on(&reserved, &[], Stdout::Read);
    window.shows("connected to 127.0.0.1:");
    window.types(" a line\r");
    server.process.prints("client-1> half a line");
    assert!(server.process.out.text().starts_with("client-1> first\n"));
    let seen = String::from_utf8_lossy(&window.bytes()).into_owned();
    assert!(seen.contains("connecting "), "{seen}");
    // That is for those who were connected before.
    assert!(!seen.contains("reconnecting"), "{seen}");
}

#[test]
fn the_first_attempt_says_where_to() {
    let server = RawServer::new();
    let addr = server.addr().to_string();
    let window = Window::open(CLIENT, &[&addr]);
    let (_link, _) = server.accept();
    window.shows(&format!("connecting to {addr}>"));
}

#[test]
fn lines_for_a_server_that_never_comes_are_named() {
    let reserved = Reserved::new();
    let mut window = alone(&reserved, "2", "1s");
    window.types("one\rtwo\rthr");
    assert_eq!(window.closes(), 1);
    window.shows("gave up after 2 attempts, ");
    window.shows("warn] not sent: one");
    window.shows("warn] not sent: two");
    window.ends_with(&["gone> thr"]);
}

#[test]
fn with_nothing_to_send_there_is_nothing_to_wait_for() {
    for last in ["exit\r", "\x04"] {
        let reserved = Reserved::new();
        let mut window = alone(&reserved, "forever", "10s");
        window.types(last);
        assert_eq!(window.closes(), 1);
        window.shows("error] left before there was a connection");
    }
}

/// In one terminal, what is printed and what is logged come in order.
#[test]
fn a_client_has_come_before_its_first_message() {
    let reserved = Reserved::new();
    let port = reserved.port();
    let server = Process::start(SERVER, &["--port", &port], Stdout::Terminal);
    server.says("listening on");
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let mut client = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
            client.write_all(b"hello\n").unwrap();
            client
        })
        .collect();
    until("all messages", || server.out.count("> hello") == clients.len());
    let said = server.out.text();
    for number in 1..=clients.len() {
        let come = said.find(&format!("client-{number}: connected")).unwrap();
        assert!(come < said.find(&format!("client-{number}> hello")).unwrap(), "{said}");
    }
}

#[test]
fn the_connection_is_told_of_before_the_first_reply() {
    for _ in 0..10 {
        let server = RawServer::new();
        let addr = server.addr().to_string();
        let client = Process::start(CLIENT, &[&addr], Stdout::Terminal);
        let (mut link, _) = server.accept();
        link.send([Welcome::new(7).bytes(), frame(DATA, b"hello\n")].concat());
        client.prints("server> hello");
        let said = client.out.text();
        assert!(said.find("connected to") < said.find("server> hello"), "{said}");
    }
}

/// What a log says there, and what it may say: seconds since midnight, so far from UTC.
#[expect(clippy::disallowed_methods, reason = "the time of day is what is shown")]
fn time_of_day(east: Duration, line: impl FnOnce() -> String) -> (String, [u64; 3]) {
    let now = || {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        (since + east).as_secs() % 86400
    };
    let before = now();
    let line = line();
    let after = now();
    let time = line[1..].split([' ', 'Z']).next().unwrap();
    let parts: Vec<u64> = time.split(':').map(|part| part.parse().unwrap()).collect();
    (line, [before, (parts[0] * 60 + parts[1]) * 60 + parts[2], after])
}

#[test]
fn the_log_has_the_time_of_the_place_on_a_terminal_and_elsewhere_that_of_everywhere() {
    const PLACE: &str = "PLACE-5:30";
    let east = Duration::from_secs(5 * 3600 + 30 * 60);
    let on_terminal = || {
        let window = Window::open_as(SIZE, SERVER, &["--port", "0"], |command| {
            command.env("TZ", PLACE);
        });
        window.shows(" info] listening on");
        window.rows().into_iter().find(|row| row.contains("listening on")).unwrap()
    };
    let in_file = || {
        let mut command = Command::new(SERVER);
        command.env("TZ", PLACE);
        Process::start_by(command, SERVER, &["--port", "0"], Stdout::Null)
            .says("Z info] listening on")
    };
    for (line, [before, said, after]) in
        [time_of_day(east, on_terminal), time_of_day(Duration::ZERO, in_file)]
    {
        assert!(before > after || (before..=after).contains(&said), "{line}");
    }
}
