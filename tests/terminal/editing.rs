//! Lines being typed, and what happens above them.

use crate::process::Server;
use crate::window::{Window, ends_with};
use crate::wire::{DATA, RawServer, Welcome, frame};

const UP: &str = "\x1b[A";
const LEFT: &str = "\x1b[D";

#[test]
fn a_line_is_edited_sent_and_found_again() {
    let server = Server::start(&[]);
    let window = Window::client(&server.port, &[]);
    window.types(&format!("helo{LEFT}l\r"));
    window.ends_with(&["up> hello", "server> hello", "up>"]);
    window.types("again\r");
    window.ends_with(&["up> again", "server> again", "up>"]);
    window.types(&format!("{UP}{UP}"));
    window.ends_with(&["server> again", "up> hello"]);
    window.types(" you\r");
    window.ends_with(&["up> hello you", "server> hello you", "up>"]);
    // What acts on a terminal is shown in the line, and sent as it is.
    window.types("\x1b[200~a\x1b[201~\x16\x1b[200~\u{7}b\x1b[201~\r");
    window.ends_with(&["up> a\\x16\\x07b", "server> a\\x16\\x07b", "up>"]);
    server.process.prints("client-1> a\x16\x07b");
}

/// Bytes are bytes, of whatever alphabet, whether they are typed or pasted.
#[test]
fn what_is_no_text_is_sent_as_it_is() {
    let server = Server::start(&[]);
    let path = std::env::temp_dir().join(format!("longlink-bytes-{}", std::process::id()));
    let file = std::fs::File::create(&path).unwrap();
    let mut window = Window::client_as(crate::window::SIZE, &server.port, &[], |command| {
        command.stdout(file);
    });
    let lines: [&[u8]; 5] = [
        b"gr\xfc\xdfe\0\x0f",
        b"\xc3(\xe4\xbd\xf0\x9f\x98",
        "\u{10ffff}\u{fffd}\u{4f60}".as_bytes(),
        b"\x1b[200~\x1b[38;2;255;255;255;48;2;100;100;100m\x1b\x1b\x07\x80\x1b[201~",
        b"\x1b[200~\x1b[1",
    ];
    for line in lines {
        window.types_bytes(line);
        window.types("\r");
    }
    window.types("\x1b[201~exit\r");
    assert_eq!(window.closes(), 0);
    let replies = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let marks = |line: &[u8]| {
        let line = line.strip_prefix(b"\x1b[200~").unwrap_or(line);
        line.strip_suffix(b"\x1b[201~").unwrap_or(line).to_vec()
    };
    let wanted: Vec<u8> =
        lines.iter().flat_map(|line| [marks(line), b"\n".to_vec()].concat()).collect();
    assert_eq!(replies.escape_ascii().to_string(), wanted.escape_ascii().to_string());
    window.shows("up> gr\\xfc\\xdfe\\x00\\x0f");
}

/// Something arrives in the middle of a line, wherever that stands.
#[test]
fn a_message_appears_above_the_line_being_typed() {
    let mut server = Server::start(&["--chat"]);
    let window = Window::client(&server.port, &[]);
    server.process.says("client-1: connected");
    window.types(&format!("half{LEFT}{LEFT}"));
    window.ends_with(&["up> half"]);
    server.process.send("one\n");
    window.ends_with(&["server> one", "up> half"]);
    // On the first row.
    window.types("\x0c");
    window.shows_rows("a clear screen", |rows| rows == ["up> half"]);
    server.process.send("two\n");
    window.shows_rows("two", |rows| rows == ["server> two", "up> half"]);
    // Broken over three rows.
    let long = "x".repeat(160);
    window.types(&long);
    let shown = [&format!("up> ha{}", &long[..74]), &long[..80], "xxxxxxlf"];
    window.shows_rows("broken rows", |rows| ends_with(rows, &shown));
    assert_eq!(window.cursor(), (3, 6));
    server.process.send("three\n");
    let below = [&["server> two", "server> three"][..], &shown].concat();
    window.shows_rows("three", |rows| rows == below);
    // At the bottom of a screen that is full, with more than it holds.
    let lines: String = (1..=30).map(|number| format!("line {number}\n")).collect();
    server.process.send(&lines);
    window.ends_with(&[&["server> line 29", "server> line 30"][..], &shown].concat());
    assert_eq!(window.rows().len(), 24);
    // It was one line all the time.
    window.types("\r");
    server.process.prints(&format!("client-1> ha{long}lf"));
    window.ends_with(&[&["server> line 30"], &shown[..], &["up>"]].concat());
}

#[test]
fn a_line_survives_that_its_window_is_resized() {
    let mut server = Server::start(&["--chat"]);
    let window = Window::client(&server.port, &[]);
    server.process.says("client-1: connected");
    server.process.send("before\n");
    window.shows("server> before");
    let line = "a line of more than forty characters, and of less than eighty";
    window.types(line);
    window.ends_with(&["server> before", &format!("up> {line}")]);
    window.resize((24, 40));
    let narrow = ["up> a line of more than forty characters", ", and of less than eighty"];
    window.ends_with(&[&["server> before"], &narrow[..]].concat());
    server.process.send("meanwhile\n");
    window.ends_with(&[&["server> before", "server> meanwhile"], &narrow[..]].concat());
    window.resize((10, 60));
    let middle = [&format!("up> {}", &line[..56]), &line[56..]];
    window.ends_with(&[&["server> before", "server> meanwhile"], &middle[..]].concat());
    window.resize((24, 80));
    window.ends_with(&["server> before", "server> meanwhile", &format!("up> {line}")]);
    window.types("\r");
    server.process.prints(&format!("client-1> {line}"));
}

/// A line that is higher than its window is shown around the cursor.
#[test]
fn a_line_may_be_higher_than_its_window() {
    let server = Server::start(&[]);
    let window = Window::client_as((5, 20), &server.port, &["-q"], |_| {});
    let line: String = (0..40).map(|number| format!("word {number:02} ")).collect();
    window.types(&line);
    // 4 + 320 characters: the last 4 of 17 rows.
    let row = |from: usize| line[from * 20 - 4..].chars().take(20).collect::<String>();
    let shown: Vec<String> = (13..17).map(|number| row(number).trim_end().to_string()).collect();
    window.shows_rows("its end", |rows| rows.ends_with(&shown));
    // The start, and the whole when it is sent.
    window.types("\x01");
    window.shows_rows("its start", |rows| rows.iter().any(|row| row == "up> word 00 word 01"));
    window.types("\r");
    window.ends_with(&["up>"]);
    server.process.prints(&format!("client-1> {line}"));
}

#[test]
fn what_is_pasted_is_sent_whole_and_in_order() {
    let server = Server::start(&[]);
    let window = Window::client(&server.port, &["--no-exit"]);
    let lines: Vec<String> = (1..=3000).map(|number| format!("line {number}")).collect();
    // With marks around it, and without as by a terminal that knows none.
    window.types(&format!("\x1b[200~{}\r\x1b[201~", lines[..1500].join("\r")));
    window.types(&format!("{}\r", lines[1500..].join("\r")));
    server.process.prints("line 3000");
    window.ends_with(&["server> line 3000", "up>"]);
    let printed = server.process.out.text();
    let printed: Vec<&str> = printed.lines().map(|line| &line["client-1> ".len()..]).collect();
    assert_eq!(printed, lines);
}

#[test]
fn a_line_that_is_too_long_is_refused_by_its_number() {
    let server = Server::start(&["--max-message", "100"]);
    let mut window = Window::client(&server.port, &[]);
    window.types(&format!("first\r{}\r{}\rfourth\r", "x".repeat(100), "x".repeat(300)));
    window.shows("server> fourth");
    window.shows("line 2 refused: with its newline it has 101 bytes");
    window.shows("line 3 refused: with its newline it has 301 bytes");
    window.types("exit\r");
    assert_eq!(window.closes(), 1);
}

/// It stands in the place of the prompt, but is no text of ours.
#[test]
fn what_is_pasted_into_a_search_does_not_drive_the_terminal() {
    let server = Server::start(&[]);
    let window = Window::client(&server.port, &[]);
    window.types("\x12\x1b[200~\x1b]0;title\x07\t\x1b[201~");
    window.ends_with(&["search: \\x1b]0;title\\x07 >"]);
    assert!(!window.bytes().windows(2).any(|bytes| bytes == b"\x1b]"));
}

/// A peer's text, however strange, is text above the line.
#[test]
fn what_a_peer_sends_does_not_drive_the_terminal() {
    let server = RawServer::new();
    let port = server.addr().port().to_string();
    let accepting = std::thread::spawn(move || server.welcome(&Welcome::new(7)));
    let window = Window::client(&port, &[]);
    let (mut link, _) = accepting.join().unwrap();
    window.types("half");
    let evil = [
        // Clears, moves, titles, 8-bit controls, other alphabets, replies.
        (
            &b"\x1b[2J\x1b[1;1H\x1b]0;title\x07\x1bc\x0e"[..],
            "\\x1b[2J\\x1b[1;1H\\x1b]0;title\\x07\\x1bc\\x0e",
        ),
        (b"\xc2\x9b2J\x9b2J\x1b[6n\x1b[c", "\\u{9b}2J\\x9b2J\\x1b[6n\\x1b[c"),
        // Other lines, and text turned around.
        (b"a\r\nclient> b\x0b\x0c\x08\x08", "a\\r\\nclient> b\\x0b\\x0c\\x08\\x08"),
        ("a\u{2028}b\u{2029}c\u{85}d".as_bytes(), "a\\u{2028}b\\u{2029}c\\u{85}d"),
        ("a\u{202e}b\u{2066}c\u{200f}d".as_bytes(), "a\\u{202e}b\\u{2066}c\\u{200f}d"),
        // No text at all.
        (b"\xff\xfe\xc3(\xf0\x9f\x98\0", "\\xff\\xfe\\xc3(\\xf0\\x9f\\x98\\x00"),
        // Wide, and harmless.
        ("\u{4f60}\u{597d}, e\u{301}".as_bytes(), "\u{4f60}\u{597d}, e\u{301}"),
    ];
    for (text, shown) in evil {
        link.send(frame(DATA, [text, b"\n"].concat()));
        window.ends_with(&[&format!("server> {shown}"), "up> half"]);
    }
    // Much longer than the window, in one piece.
    link.send(frame(DATA, [&[b'y'; 5000][..], b"end\n"].concat()));
    let rest = format!("{}end", "y".repeat((5000 + 8) % 80));
    window.ends_with(&[&rest, "up> half"]);
    let seen = String::from_utf8_lossy(&window.bytes()).into_owned();
    for harm in ["\x1b[2J", "\x1b]", "\x1bc", "\x0e", "\u{9b}", "\u{202e}", "\u{2028}", "\x1b[6n"] {
        assert!(!seen.contains(harm), "{harm:?}");
    }
}

/// Replies go where they are sent, and are left as they are.
#[test]
fn typed_lines_and_redirected_replies() {
    let server = Server::start(&[]);
    let path = std::env::temp_dir().join(format!("longlink-replies-{}", std::process::id()));
    let file = std::fs::File::create(&path).unwrap();
    let mut window = Window::client_as(crate::window::SIZE, &server.port, &[], |command| {
        command.stdout(file);
    });
    window.types("\x1b[200~\x1b[1m\x1b[201~one\rexit\r");
    assert_eq!(window.closes(), 0);
    let replies = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(String::from_utf8_lossy(&replies), "\x1b[1mone\n");
    assert!(!window.rows().iter().any(|row| row.contains("server>")));
}

/// A terminal that cannot move its cursor edits lines itself.
#[test]
fn a_dumb_terminal_is_left_alone() {
    let server = Server::start(&[]);
    let args = ["127.0.0.1", "--port", &server.port];
    let mut window =
        Window::open_as(crate::window::SIZE, crate::process::CLIENT, &args, |command| {
            command.env("TERM", "dumb").env("NO_COLOR", "1");
        });
    window.shows("connected to");
    window.types("hello\n");
    window.ends_with(&["hello", "server> hello"]);
    assert!(!window.is_raw());
    window.types("exit\n");
    assert_eq!(window.closes(), 0);
    assert!(!window.bytes().contains(&0x1b));
}
