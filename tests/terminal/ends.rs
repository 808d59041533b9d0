//! However a program ends, the terminal is what it was. [`Window::closes`]
//! looks.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::process::{Server, has_thread};
use crate::wait::until;
use crate::window::{SIZE, Window};
use crate::wire::{RawServer, Welcome};

const EXIT: &str = "ended: `exit`, and everything is acknowledged";
const BOTH: &str = "ended: the other side has ended, too";

#[test]
fn exit_and_the_end_of_input() {
    let server = Server::start(&[]);
    let mut window = Window::client(&server.port, &[]);
    assert!(window.is_raw());
    window.types("last\rexit\r");
    assert_eq!(window.closes(), 0);
    window.shows("server> last");
    window.ended_with(&["server> last"], EXIT, &[]);

    // In the middle of what is pasted.
    let mut window = Window::client(&server.port, &[]);
    window.types("before\rexit\rbehind\r");
    assert_eq!(window.closes(), 0);
    window.shows("server> before");
    window.shows("what comes after `exit` was not read");

    // Ctrl-D deletes in a line, and ends the input on an empty one.
    let mut window = Window::client(&server.port, &[]);
    window.types("ab\x01\x04\r");
    window.shows("server> b");
    window.types("\x04");
    assert_eq!(window.closes(), 0);
    window.ended_with(&["server> b"], BOTH, &[]);
}

#[test]
fn the_end_of_input_is_not_the_end_of_replies() {
    let mut server = Server::start(&["--chat"]);
    let mut window = Window::client(&server.port, &[]);
    window.types("question\r\x04");
    server.process.says("has sent all it had");
    window.shows("waiting for the other side to end");
    assert!(!window.is_raw());
    server.process.send("answer\n/end 1\n");
    assert_eq!(window.closes(), 0);
    window.ended_with(&["server> answer"], BOTH, &[]);
}

#[test]
fn ctrl_c_after_the_end_of_input() {
    let server = Server::start(&["--chat"]);
    let mut window = Window::client(&server.port, &[]);
    window.types("question\r\x04");
    window.shows("waiting for the other side to end");
    window.types("\x03");
    assert_eq!(window.closes(), 130);
    window.shows("interrupted, 0 messages not acknowledged");
}

#[test]
fn ctrl_c_counts_what_was_not_delivered() {
    let mut server = Server::start(&[]);
    let mut window = Window::client(&server.port, &["--retries", "forever"]);
    server.process.kill();
    window.shows("reconnecting 2");
    window.types("one\rtwo\rnot sent");
    window.shows_rows("it", |rows| rows.last().is_some_and(|row| row.ends_with("> not sent")));
    window.types("\x03");
    assert_eq!(window.closes(), 130);
    window.shows("interrupted, 2 messages not acknowledged");
    window.shows_rows("it", |rows| rows.last().is_some_and(|row| row.ends_with("> not sent")));
}

/// Lines behind a window that is full were not sent, and are counted as well.
#[test]
fn ctrl_c_counts_what_waits() {
    let server = RawServer::new();
    let port = server.addr().port().to_string();
    let welcome = Welcome { window: 1000, max_message: 1000, ..Welcome::new(7) };
    let accepting = std::thread::spawn(move || server.welcome(&welcome));
    let mut window = Window::client(&port, &[]);
    let _link = accepting.join().unwrap();
    window.types(&"a line\r".repeat(50));
    window.types("x");
    window.ends_with(&["up> a line", "up> x"]);
    window.types("\x03");
    assert_eq!(window.closes(), 130);
    window.shows("interrupted, 50 messages not acknowledged");
}

/// One that stayed would look as if it waited for a line.
#[track_caller]
fn has_no_prompt(window: &Window) {
    let rows = window.rows();
    assert!(rows.iter().all(|row| !row.ends_with('>')), "{rows:#?}");
}

#[test]
fn no_prompt_stays_without_text() {
    let mut server = Server::start(&["--chat"]);
    let mut window = Window::client(&server.port, &[]);
    server.process.says("client-1: connected");
    window.ends_with(&["up>"]);
    server.process.send("/end 1\n");
    assert_eq!(window.closes(), 0);
    window.shows("info] ended by the other side");
    has_no_prompt(&window);
}

#[test]
fn the_other_side_ends() {
    let mut server = Server::start(&["--chat"]);
    let mut window = Window::client(&server.port, &[]);
    server.process.says("client-1: connected");
    window.types("half");
    window.shows("up> half");
    server.process.send("/end 1\n");
    assert_eq!(window.closes(), 0);
    window.ends_with(&["gone> half"]);
    window.shows("info] ended by the other side");
    server.process.says("client-1: closed: you ended it (/end)");
}

#[test]
fn told_to_terminate() {
    let server = Server::start(&[]);
    for (signal, number) in [("TERM", 15), ("HUP", 1), ("QUIT", 3)] {
        let mut window = Window::client(&server.port, &[]);
        window.types("half");
        window.shows("up> half");
        window.signal(signal);
        assert_eq!(window.closes(), 128 + number);
        match signal {
            "TERM" => window.shows("interrupted, 0 messages not acknowledged"),
            _ => window.ends_with(&["up> half"]),
        }
    }
}

/// Ctrl-S: nothing more is shown, and the end does not wait for it.
#[test]
fn told_to_terminate_while_the_terminal_is_stopped() {
    let server = Server::start(&[]);
    let mut window = Window::client(&server.port, &[]);
    window.types("\x13");
    // Whoever draws what is typed now must not wait for it.
    window.types("typed");
    window.signal("TERM");
    assert_eq!(window.ends(), 128 + 15);
}

/// Which takes longer than half a second; what comes before is the same wish.
#[test]
fn told_again_while_the_terminal_is_stopped() {
    let server = Server::start(&[]);
    let told = || {
        let mut window = Window::client(&server.port, &[]);
        window.types("\x13");
        let pid = Pid::from_raw(window.id() as i32).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        until("it has begun to end", || has_thread(window.id(), "patience"));
        kill_process(pid, Signal::TERM).unwrap();
        until("half a second has passed", || !has_thread(window.id(), "patience"));
        let _ = kill_process(pid, Signal::TERM);
        window.ends()
    };
    // It ends by itself half a second later.
    let codes: Vec<_> = (0..3).map(|_| told()).collect();
    assert!(codes.contains(&(128 + 15)), "{codes:?}");
}

/// A shell passes on what the terminal has told the client already.
#[test]
fn the_terminal_hangs_up_twice() {
    let server = Server::start(&[]);
    let mut window = Window::client(&server.port, &[]);
    // Stopped, so that the end takes a while.
    window.types("\x13");
    window.signal("HUP");
    window.signal("HUP");
    assert_eq!(window.ends(), 128 + 1);
}

#[test]
fn nothing_reads_the_output_any_more() {
    let server = Server::start(&[]);
    for typed in ["", "hello\r"] {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut window = Window::client_as(SIZE, &server.port, &[], |command| {
            command.stdout(Stdio::from(writer));
        });
        window.types(typed);
        drop(reader);
        assert_eq!(window.closes(), 0);
    }
}

#[test]
fn a_line_cannot_be_read_any_more() {
    let server = Server::start(&["--chat"]);
    let mut window = Window::client(&server.port, &["--retries", "1"]);
    drop(server);
    assert_eq!(window.closes(), 1);
    has_no_prompt(&window);
}

/// A shell that is told to start a client, between `begin` and `end`.
fn shell_with_client(server: &Server, begin: &str, end: &str) -> Window {
    let shell = Window::open_as(SIZE, "bash", &["--norc", "--noprofile", "-i"], |command| {
        command.env("PS1", "shell$ ").env("PROGRAM", crate::process::CLIENT);
    });
    shell.shows("shell$");
    shell.types(&format!("{begin}\"$PROGRAM\" 127.0.0.1 --port {}{end}\n", server.port));
    shell.shows("connected to");
    shell
}

/// A shell whose client was stopped by Ctrl-Z, with `half` a line typed.
fn shell_with_stopped_client(server: &Server, begin: &str, end: &str) -> Window {
    let shell = shell_with_client(server, begin, end);
    shell.shows("up>");
    shell.types("half");
    shell.ends_with(&["up> half"]);
    shell.types("\x1a");
    shell.shows("Stopped");
    shell.ends_with(&["shell$"]);
    shell
}

/// A job in the background goes on, keeps off the keyboard, and comes back.
#[test]
fn in_the_background() {
    let mut server = Server::start(&["--chat"]);
    let mut shell = shell_with_stopped_client(&server, "", "");
    shell.types("bg\n");
    shell.shows("&");
    server.process.send("hello\n");
    shell.shows("server> hello");
    shell.types("echo a line of the shell\n");
    shell.ends_with(&["a line of the shell", "shell$"]);
    shell.types("fg\n");
    shell.ends_with(&["up> half"]);
    shell.types(" a line\r");
    server.process.prints("client-1> half a line");
    shell.types("\x03");
    shell.ends_with(&["shell$"]);
    shell.types("exit 3\n");
    assert_eq!(shell.closes(), 3);
}

/// The mode of the terminal is the shell's own by then, which is not for others.
#[test]
fn started_in_the_background() {
    let server = Server::start(&[]);
    let mut shell = shell_with_client(&server, "", " &");
    shell.types("jobs\n");
    shell.shows("Running");
    shell.types("fg\n");
    shell.ends_with(&["up>"]);
    shell.types("hello\rexit\r");
    shell.ended_with(&["server> hello"], EXIT, &["shell$"]);
    shell.types("stty -a | grep -ow -e -icanon -e -echo; echo code $?\n");
    shell.ends_with(&["code 1", "shell$"]);
    shell.types("exit 3\n");
    assert_eq!(shell.closes(), 3);
}

/// Shells continue a job that they tell to end, in the background. Of a job that ends at
/// once, some never learn that it went on, and say that it is stopped: its own shell tells.
#[test]
fn stopped_and_told_to_terminate() {
    let server = Server::start(&[]);
    let mut shell = shell_with_stopped_client(&server, "(trap : TERM; ", "; echo code $?)");
    shell.types("kill %1\n");
    shell.shows("interrupted, 0 messages not acknowledged");
    shell.shows("code 143");
    // `exit` refuses, once, if it believes in a stopped job.
    shell.types("exec sh -c 'exit 3'\n");
    assert_eq!(shell.closes(), 3);
}

/// Ctrl-Z, in a shell that continues it.
#[test]
fn stopped_and_continued() {
    let server = Server::start(&[]);
    let mut shell = shell_with_stopped_client(&server, "", "");
    assert!(shell.rows().iter().all(|row| row != "up> half"), "{:#?}", shell.rows());
    shell.types("stty -a | grep -o 'susp = ^Z'\n");
    shell.ends_with(&["susp = ^Z", "shell$"]);
    shell.types("fg\n");
    shell.ends_with(&["up> half"]);
    // It is drawn once, although something happens to the window.
    let long = "x".repeat(90);
    shell.types(&long);
    shell.ends_with(&[&format!("up> half{}", &long[..72]), &long[72..]]);
    shell.types("\x1a");
    shell.shows_rows("a prompt", |rows| rows.last().is_some_and(|row| row == "shell$"));
    shell.types("fg\n");
    shell.ends_with(&[&format!("up> half{}", &long[..72]), &long[72..]]);
    shell.resize((24, 100));
    shell.shows_rows("one row", |rows| {
        let drawn = format!("up> half{long}");
        rows.ends_with(&[drawn]) && !rows[rows.len() - 2].contains('x')
    });
    shell.types(&"\x7f".repeat(90));
    shell.types(" a line\r");
    shell.ends_with(&["up> half a line", "server> half a line", "up>"]);
    shell.types("\x04");
    shell.ended_with(&["server> half a line"], BOTH, &["shell$"]);
    shell.types("exit\n");
    assert_eq!(shell.closes(), 0);
}
