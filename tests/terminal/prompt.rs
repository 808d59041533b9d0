//! What the prompt says of the link.

use std::sync::Arc;

use crate::port::Reserved;
use crate::process::{Server, Stdout};
use crate::wait::until;
use crate::window::Window;

const SLOW: [&str; 4] = ["--retry-delay", "3s", "--retries", "30"];

#[test]
fn the_prompt_counts_down_and_what_is_typed_meanwhile_is_sent() {
    let mut server = Server::start(&[]);
    let window = Window::client(&server.port, &SLOW);
    window.types("half");
    window.ends_with(&["up> half"]);
    server.process.kill();
    // Of what was ever shown: on a busy machine a row may be seen too late.
    until("fewer seconds for the same attempt", || {
        let seen = String::from_utf8_lossy(&window.bytes()).into_owned();
        let shown = seen.split("reconnecting ").filter_map(|rest| {
            let (attempt, rest) = rest.split_once(" of 30 in ")?;
            Some((attempt.to_string(), rest.split_once("s>")?.0.parse::<u32>().ok()?))
        });
        let shown: Vec<(String, u32)> = shown.collect();
        shown.windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[1].1 < pair[0].1)
    });
    window.types(" a line\r");
    window.shows_rows("a new prompt", |rows| {
        rows.last().is_some_and(|row| row.starts_with("reconnecting") && row.ends_with('>'))
    });
    let again = server.start_again();
    window.shows("server> half a line");
    window.shows("1 sent again");
    window.ends_with(&["up>"]);
    again.process.prints("client-1> half a line");
    // The log has come between, and not within.
    let rows = window.rows();
    let said = |text: &str| rows.iter().any(|row| row.contains(text) && row.starts_with('['));
    assert!(said("warn] lost: "), "{rows:#?}");
}

#[test]
fn a_server_that_restarts() {
    let mut server = Server::start(&[]);
    let window = Window::client(&server.port, &SLOW);
    window.types("hello\r");
    window.shows("server> hello");
    server.process.signal("INT");
    assert_eq!(server.process.ends(), 0);
    window.shows("warn] lost: the server is restarting");
    // Of what was ever shown, as above.
    let shown = "the server is restarting, reconnecting 1 of 30 in 1s>";
    until("a prompt that says why", || String::from_utf8_lossy(&window.bytes()).contains(shown));
    window.types("and you?\r");
    let _again = server.start_again();
    window.shows("server> and you?");
    window.ends_with(&["up>"]);
}

#[test]
fn a_link_that_is_gone() {
    let mut server = Server::start(&[]);
    let mut window = Window::client(&server.port, &["--retry-delay", "100ms", "--retries", "2"]);
    window.types("nobody will read this");
    window.ends_with(&["up> nobody will read this"]);
    server.process.kill();
    assert_eq!(window.closes(), 1);
    window.ends_with(&["gone> nobody will read this"]);
    assert!(window.rows().iter().any(|row| row.contains("gave up after 2 attempts")));
    // A prompt of a shell finds a row of its own.
    assert_eq!(window.cursor(), (window.rows().len() as u16, 0));
}

#[test]
fn colours_are_for_those_who_want_them() {
    let reserved = Arc::new(Reserved::new());
    let server = Server::start_on(&reserved, &[], Stdout::Read);
    let colours = |value: &str| {
        let window = Window::client_as(crate::window::SIZE, &server.port, &["-v"], |command| {
            command.env("NO_COLOR", value);
        });
        window.types("hello\r");
        window.shows("server> hello");
        window.ends_with(&["up>"]);
        // The editor's library has nothing to say here, even with -v.
        assert!(window.rows().iter().all(|row| !row.contains("Grapheme")), "{:#?}", window.rows());
        String::from_utf8_lossy(&window.bytes()).contains("\x1b[32mup")
    };
    // As no-color.org has it: not if it is set, and not empty.
    assert!(colours(""));
    assert!(!colours("1"));
}

/// `NO_COLOR` is for everything, and for lines of the log that warn, too.
#[test]
fn nothing_has_a_colour_without_colours() {
    let mut server = Server::start(&[]);
    let mut window = Window::client_as(
        crate::window::SIZE,
        &server.port,
        &["--retry-delay", "100ms", "--retries", "1"],
        |command| {
            command.env("NO_COLOR", "yes");
        },
    );
    server.process.kill();
    assert_eq!(window.closes(), 1);
    window.shows("gave up after 1 attempt");
    let seen = String::from_utf8(window.bytes()).unwrap();
    for sequence in seen.split("\x1b[").skip(1) {
        let last = sequence.chars().find(|char| char.is_ascii_alphabetic());
        assert_ne!(last, Some('m'), "{sequence:?}");
    }
}
