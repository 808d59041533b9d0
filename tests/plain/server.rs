//! Our server, and clients that know nothing of it.

use std::time::Duration;

use crate::classic::{BUFFER, Classic, HEARTBEAT};
use crate::process::{Process, SERVER, Server, Stdout};
use crate::{now, until};

const SPLIT: &str = "keepalivekeepalivehello\n";

#[test]
fn lock_step_is_echoed() {
    let server = Server::start(&[]);
    let mut client = Classic::connect(&server.port);
    for line in ["hello\n", "\n", "keepalive\n", " and again\n"] {
        assert_eq!(client.ask(line), line);
    }
    server.process.says("client-1: connected from 127.0.0.1:");
    server.process.says("(plain text)");
    client.finish();
    assert_eq!(client.rest(), "");
    server.process.says("client-1: closed");
    server.process.prints("client-1>  and again");
    assert_eq!(
        server.process.out.text(),
        "client-1> hello\nclient-1> \nclient-1> keepalive\nclient-1>  and again\n"
    );
}

/// One reply for each line and nothing else, however heartbeats come.
#[test]
fn heartbeats_are_answered_with_nothing() {
    let server = Server::start(&[]);
    let mut client = Classic::connect(&server.port);
    client.send(HEARTBEAT);
    assert_eq!(client.ask("hello\n"), "hello\n");
    client.send(HEARTBEAT.repeat(3));
    assert_eq!(client.ask("glued\n"), "glued\n");
    for at in 1..SPLIT.len() {
        client.send(&SPLIT[..at]);
        // The server may see both pieces at once or not; it makes no difference.
        let mut other = Classic::connect(&server.port);
        assert_eq!(other.ask("meanwhile\n"), "meanwhile\n");
        assert_eq!(client.ask(&SPLIT[at..]), "hello\n", "split at {at}");
    }
    client.send(HEARTBEAT);
    client.finish();
    assert_eq!(client.rest(), "");
}

/// Text is served, but neither of these is text.
#[test]
fn tls_and_the_proxy_protocol_end_the_link_and_empty_lines_do_not() {
    let server = Server::start(&[]);
    let proxy = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\x7F\0\0\x01\x7F\0\0\x01\0\x01\0\x02";
    let mut client = Classic::connect(&server.port);
    client.send(proxy);
    assert_eq!(client.rest(), "");
    // What answers this is no TLS.
    let mut client = Classic::connect(&server.port);
    client.send(b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03");
    let answer = client.rest();
    assert_eq!((answer.as_bytes()[0], answer.contains("\x16")), (2, false), "{answer:?}");
    let mut client = Classic::connect(&server.port);
    assert_eq!(client.ask("\r\n"), "\r\n");
    assert_eq!(client.ask("\r\n"), "\r\n");
    assert_eq!(client.ask("text\r\n"), "text\r\n");
    // What came before in pieces was taken for lines.
    let mut client = Classic::connect(&server.port);
    assert_eq!(client.ask("\r\n"), "\r\n");
    assert_eq!(client.ask("\r\n"), "\r\n");
    client.send("\0\r\nQUIT\n");
    assert_eq!(client.rest(), "");
}

#[test]
fn a_full_buffer_is_followed_by_a_heartbeat() {
    let server = Server::start(&[]);
    let mut client = Classic::connect(&server.port);
    let line = "x".repeat(BUFFER - 1) + "\n";
    client.send([line.as_bytes(), HEARTBEAT].concat());
    assert_eq!(client.line(), line.as_bytes());
    assert_eq!(client.ask("next\n"), "next\n");
    client.finish();
    assert_eq!(client.rest(), "");
}

#[test]
fn an_end_of_input_is_answered_to_its_last_line() {
    let server = Server::start(&[]);
    let mut client = Classic::connect(&server.port);
    let lines: String = (0..5000).map(|n| format!("line {n}\n")).collect();
    let expected = lines.clone() + "last\n";
    let reader = std::thread::spawn({
        let mut client = Classic::connect(&server.port);
        move || {
            client.send(lines + "last");
            client.finish();
            client.rest()
        }
    });
    assert!(reader.join().unwrap() == expected, "not what was sent");
    // A heartbeat before the end is none.
    client.send("kee");
    client.finish();
    assert_eq!(client.rest(), "kee\n");
}

#[test]
fn an_operator_speaks_to_plain_clients_and_framed_ones() {
    let mut server = Server::start(&["--chat"]);
    let mut first = Classic::connect(&server.port);
    first.send("keepalivefirst\n");
    server.process.prints("client-1> first");
    // The first waits for its reply; others do not wait for it.
    let mut second = Classic::connect(&server.port);
    second.send("second\r\n");
    server.process.prints("client-2> second");
    let framed = server.client(&[]);
    server.process.says("client-3: connected");
    server.process.send("@2 to the second\n@3 to the third\n@1 to the first\nand again\n");
    framed.prints("to the third");
    assert_eq!(second.line(), b"to the second\r\n");
    assert_eq!(first.line(), b"to the first\n");
    assert_eq!(first.line(), b"and again\n");
    // Who has sent all it had waits for its end.
    second.finish();
    server.process.says("client-2: has sent all it had");
    server.process.send("@2 goodbye\n/end 2\n");
    assert_eq!(second.rest(), "goodbye\r\n");
    // And so does everybody when the operator has.
    server.process.end_input();
    assert_eq!(first.rest(), "");
    drop(first);
    assert_eq!(server.process.ends(), 0);
}

/// A client that is gone for good after its last line is not kept for ever.
#[test]
fn one_that_resets_after_its_end_is_let_go() {
    let server = Server::start(&["--chat"]);
    let mut client = Classic::connect(&server.port);
    client.send("hello\n");
    client.finish();
    server.process.says("client-1: has sent all it had");
    client.reset();
    server.process.says("client-1: reclaimed");
}

#[test]
fn a_line_beyond_the_limit_ends_that_client_only() {
    let server = Server::start(&["--max-message", "1KiB"]);
    let mut other = Classic::connect(&server.port);
    assert_eq!(other.ask("before\n"), "before\n");
    let mut client = Classic::connect(&server.port);
    let most = "x".repeat(1023) + "\n";
    client.send(&most);
    assert_eq!(client.line(), most.as_bytes());
    client.send("x".repeat(1025));
    assert_eq!(client.rest(), "");
    server.process.says("client-2: lost: protocol violation: a line longer than");
    assert_eq!(other.ask("after\n"), "after\n");
}

#[test]
fn plain_clients_count_and_can_be_refused() {
    let server = Server::start(&["--max-clients", "1"]);
    let mut first = Classic::connect(&server.port);
    assert_eq!(first.ask("hello\n"), "hello\n");
    // It would take any answer for a reply.
    let mut second = Classic::connect(&server.port);
    second.send("hello\n");
    assert_eq!(second.rest(), "");
    first.finish();
    assert_eq!(first.rest(), "");
    until("there is room again", || {
        let mut third = Classic::connect(&server.port);
        third.send("hello\n");
        third.finish();
        third.rest() == "hello\n"
    });

    let server = Server::start(&["--framed-only"]);
    let mut client = Classic::connect(&server.port);
    client.send("hello\n");
    assert_eq!(client.rest(), "");
    server.process.says("it does not speak longlink");
}

/// What the second start of a server does not know cannot be resumed: the
/// classic client connects anew.
#[test]
fn a_killed_server_is_the_end_of_the_stream() {
    let mut server = Server::start(&[]);
    let mut client = Classic::connect(&server.port);
    assert_eq!(client.ask("hello\n"), "hello\n");
    server.process.kill();
    assert_eq!(client.rest(), "");
    let again = server.start_again();
    let mut client = Classic::connect(&again.port);
    assert_eq!(client.ask("again\n"), "again\n");
}

/// As long as there is time, with heartbeats as they are.
#[test]
#[ignore = "takes two minutes; the gate runs it"]
fn minutes_with_the_classic_client() {
    let server = Server::start(&[]);
    let mut client = Classic::connect(&server.port);
    let begun = now();
    let mut lines = 0;
    while begun.elapsed() < Duration::from_secs(105) {
        client.hears_nothing(Duration::from_secs(10));
        client.send(HEARTBEAT);
        if lines % 3 == 2 {
            client.hears_nothing(Duration::from_secs(10));
            client.send(HEARTBEAT);
        }
        let line = format!("line {lines}\n");
        assert_eq!(client.ask(&line), line);
        lines += 1;
    }
    client.finish();
    assert_eq!(client.rest(), "");
    until("all lines printed", || server.process.out.text().lines().count() == lines);
}

#[test]
#[ignore = "takes more than thirty seconds; the gate runs it"]
fn a_silent_client_is_reclaimed_if_it_has_sent_heartbeats() {
    // Not as a thread of the test would be: by a process that is looked at from outside.
    let process = Process::start(SERVER, &["--port", "0"], Stdout::Read);
    let line = process.says("listening on ");
    let (_, behind) = line.split_once("127.0.0.1:").unwrap();
    let port = behind.split(' ').next().unwrap();
    let mut quiet = Classic::connect(port);
    assert_eq!(quiet.ask("hello\n"), "hello\n");
    let mut dead = Classic::connect(port);
    let begun = now();
    assert_eq!(dead.ask("keepalivehello\n"), "hello\n");
    // The kernel's timers are late by up to an eighth of what they wait.
    dead.hears_nothing(Duration::from_secs(26));
    assert_eq!(dead.rest(), "");
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    process.says("client-2: reclaimed, 0 messages not acknowledged: nothing heard for 30");
    assert_eq!(quiet.ask("still here\n"), "still here\n");
}
