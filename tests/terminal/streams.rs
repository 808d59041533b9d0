//! A terminal that another program has left non-blocking.

use std::io::Write;

use rustix::io::ioctl_fionbio;

use crate::process::{SERVER, Server};
use crate::window::{SIZE, Window};

#[test]
fn a_client_waits_for_a_terminal_that_would_block() {
    let mut server = Server::start(&["--chat"]);
    let mut window = Window::client(&server.port, &[]);
    ioctl_fionbio(window.program(), true).unwrap();
    let lines: Vec<_> = (1..=3000).map(|number| format!("line {number} of many lines")).collect();
    window.look_away(|mut program| {
        while program.write(b" ").is_ok() {}
        server.process.send(lines.join("\n") + "\n/who\n");
        server.process.says(" 3000");
    });
    window.shows("server> line 3000 of many lines");
    window.types("question\r");
    server.process.prints("client-1> question");
    window.types("exit\r");
    assert_eq!(window.closes(), 0);
    let shown = String::from_utf8(window.bytes()).unwrap();
    let shown: Vec<_> = shown.split("server> ").skip(1).collect();
    for (line, shown) in lines.iter().zip(&shown) {
        assert!(shown.starts_with(&format!("{line}\r\n")), "{line}: {shown:?}");
    }
    assert_eq!(shown.len(), lines.len());
}

#[test]
fn an_operator_types_at_a_terminal_that_would_block() {
    // One whose lines the terminal itself edits.
    let mut window = Window::open_as(SIZE, SERVER, &["--chat", "--port", "0"], |command| {
        command.env("TERM", "dumb");
    });
    window.shows("to nobody>");
    ioctl_fionbio(window.program(), true).unwrap();
    for number in 1..=2 {
        window.types("hello\n");
        window.shows(&format!("line {number}: nobody is connected"));
    }
    window.types("\x04");
    assert_eq!(window.closes(), 0);
}
