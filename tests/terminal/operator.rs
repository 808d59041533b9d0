//! `server --chat` in a terminal.

use crate::process::{CLIENT, Process, SERVER, Stdout};
use crate::window::{SIZE, Window};

fn client(window: &Window) -> Process {
    let mut addr = String::new();
    window.shows_rows("it listens", |rows| rows.iter().any(|row| row.contains("listening on")));
    for row in window.rows() {
        if let Some((_, behind)) = row.split_once("listening on ") {
            addr = behind.split(' ').next().unwrap().to_string();
        }
    }
    Process::start(CLIENT, &[&addr], Stdout::Read)
}

#[test]
fn an_operator_types_below_what_arrives() {
    let mut window = Window::open(SERVER, &["--chat", "--port", "0"]);
    window.ends_with(&["to nobody>"]);
    window.types("good");
    window.ends_with(&["to nobody> good"]);
    let mut first = client(&window);
    window.ends_with(&["to client-1> good"]);
    first.send("hello\n");
    window.ends_with(&["client-1> hello", "to client-1> good"]);
    window.types(" morning\r");
    window.ends_with(&["to client-1> good morning", "to client-1>"]);
    first.prints("good morning");
    let second = client(&window);
    window.shows("client-2: connected");
    window.types("@2 and to you\r");
    window.ends_with(&["to client-1> @2 and to you", "to client-2>"]);
    second.prints("and to you");
    window.types("\x1b[A");
    window.ends_with(&["to client-2> @2 and to you"]);
    window.types("\x15@3 x\r");
    window.shows("line 3: there is no client 3");
    window.types("\x04");
    assert_eq!(window.closes(), 0);
}

/// The prompt names those to whom a line can go.
#[test]
fn nobody_is_the_target_and_somebody_is_there() {
    let window = Window::open(SERVER, &["--chat", "--port", "0"]);
    let mut first = client(&window);
    window.ends_with(&["to client-1>"]);
    let _second = client(&window);
    window.shows("client-2: connected");
    first.send("exit\n");
    assert_eq!(first.ends(), 0);
    window.ends_with(&["to @2?>"]);
    window.shows("client-1: closed: it left");
    // The operator's own end is no surprise.
    window.types("/end 2\r");
    window.ends_with(&["to nobody>"]);
    let _third = client(&window);
    window.ends_with(&["to client-3>"]);
}

/// A person has no more to say to a client that has ended its input.
#[test]
fn the_line_after_a_clients_end_of_input_is_the_last_to_it() {
    let mut window = Window::open(SERVER, &["--chat", "--port", "0"]);
    let mut client = client(&window);
    client.send("question\n");
    client.end_input();
    window.shows("client-1: has sent all it had, your next line to it is the last");
    client.says("waiting for the other side to end (Ctrl-C leaves)");
    window.types("answer\r");
    assert_eq!(client.ends(), 0);
    assert_eq!(client.out.text(), "answer\n");
    client.says("info] ended: the other side has ended, too");
    window.shows("client-1: closed: it had finished, and has your last line");
    window.types("\x04");
    assert_eq!(window.closes(), 0);
}

/// A terminal that cannot move its cursor shows a prompt, and no colours.
#[test]
fn an_operator_at_a_dumb_terminal() {
    let mut window = Window::open_as(SIZE, SERVER, &["--chat", "--port", "0"], |command| {
        command.env("TERM", "dumb");
    });
    window.ends_with(&["to nobody>"]);
    window.types("hello\n");
    window.shows("warn] line 1: nobody is connected, the line was not sent");
    window.ends_with(&["to nobody>"]);
    let _client = client(&window);
    window.ends_with(&["to client-1>"]);
    window.types("\x03");
    assert_eq!(window.closes(), 0);
    assert!(!window.bytes().contains(&0x1b));
}

/// Clients hear of it.
#[test]
fn an_operator_whose_terminal_hangs_up() {
    let mut window = Window::open(SERVER, &["--chat", "--port", "0"]);
    let client = client(&window);
    window.ends_with(&["to client-1>"]);
    window.signal("HUP");
    assert_eq!(window.closes(), 0);
    client.says("lost: the server is restarting");
}

#[test]
fn an_operator_leaves_by_ctrl_c() {
    let mut window = Window::open(SERVER, &["--chat", "--port", "0"]);
    window.ends_with(&["to nobody>"]);
    window.types("\x03");
    assert_eq!(window.closes(), 0);
    assert!(!window.rows().iter().any(|row| row.contains("to nobody>")));
}
