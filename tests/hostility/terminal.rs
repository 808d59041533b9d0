//! What peers send, on terminals: it is shown, and never obeyed.

use crate::process::{CLIENT, Process, SERVER, Stdout};
use crate::target::Target;
use crate::wire::{DATA, FULL, Hello, REJECT, Raw, RawServer, Welcome, frame, reject};

/// Clears the screen, rings, sets a colour and a title (8-bit controls, too),
/// goes back to the start of the line, and forges another.
const EVIL: &[u8] =
    b"\x1b[2J\x07\x1b[31m\x1b]0;title\x07\xc2\x9b1m\x9b1m\r\nclient-9> forged\x08\x7f\n";
const SHOWN: &str =
    "\\x1b[2J\\x07\\x1b[31m\\x1b]0;title\\x07\\u{9b}1m\\x9b1m\\r\\nclient-9> forged\\x08\\x7f";

/// Of what reaches a terminal, ends of lines and the log's own colours are all
/// that acts on it.
#[track_caller]
fn is_harmless(process: &Process) {
    let mut text = process.out.text();
    for colour in ["\x1b[31m", "\x1b[33m", "\x1b[0m"] {
        // EVIL begins differently, and would have left its other parts.
        text = text.replace(colour, "");
    }
    let text = text.replace("\r\n", "");
    assert!(!text.contains(char::is_control), "{text:?}");
}

#[test]
fn a_server_shows_messages_on_a_terminal() {
    let target = Target::of(Process::start(SERVER, &["--port", "0", "-v"], Stdout::Terminal));
    let (mut raw, _) = Raw::join(target.addr, &Hello::new(1));
    raw.send(frame(DATA, EVIL));
    raw.read_kind(DATA);
    let mut garbage = Raw::connect(target.addr);
    garbage.send(EVIL);
    garbage.read_end();
    target.process.prints(&format!("client-1> {SHOWN}"));
    target.process.prints("does not speak longlink");
    is_harmless(&target.process);
}

#[test]
fn an_operator_sees_messages_on_a_terminal() {
    let args = ["--port", "0", "-v", "--chat"];
    let target = Target::of(Process::start(SERVER, &args, Stdout::Terminal));
    let (mut raw, _) = Raw::join(target.addr, &Hello::new(1));
    raw.send(frame(DATA, EVIL));
    target.process.prints(&format!("client-1> {SHOWN}"));
    is_harmless(&target.process);
}

#[test]
fn a_client_shows_replies_on_a_terminal() {
    let server = RawServer::new();
    let addr = server.addr().to_string();
    let client = Process::start(CLIENT, &[&addr, "-v"], Stdout::Terminal);
    let (mut link, _) = server.welcome(&Welcome::new(7));
    link.send(frame(DATA, EVIL));
    client.prints(&format!("server> {SHOWN}"));
    is_harmless(&client);
}

#[test]
fn the_text_of_a_rejection_is_shown_in_the_log() {
    let server = RawServer::new();
    let addr = server.addr().to_string();
    let mut client = Process::start(CLIENT, &[&addr, "-v", "--retries", "1"], Stdout::Terminal);
    let (mut link, _) = server.accept();
    link.send(frame(REJECT, [&reject(FULL)[5..15], EVIL].concat()));
    client.prints("rejects us: ");
    assert_eq!(client.ends(), 1);
    is_harmless(&client);
}

/// In a pipe, messages are what they were.
#[test]
fn a_client_passes_replies_on_in_a_pipe() {
    let server = RawServer::new();
    let addr = server.addr().to_string();
    let client = Process::start(CLIENT, &[&addr], Stdout::Read);
    let (mut link, _) = server.welcome(&Welcome::new(7));
    link.send(frame(DATA, EVIL));
    client.prints("forged");
    assert_eq!(client.out.bytes(), EVIL);
}
