//! How far a piped input has come.

use crate::process::{CLIENT, Process, Stdout};
use crate::window::{SIZE, Window};
use crate::wire::{CLOSE, DATA, FIN, RawServer, Welcome, ack, frame};

/// A server that takes everything, and acknowledges when it is told to.
#[test]
fn a_row_tells_of_what_is_under_way_and_goes() {
    let server = RawServer::new();
    let addr = server.addr().to_string();
    let lines: String = (0..2000).map(|number| format!("{number:07}\n")).collect();
    let path = std::env::temp_dir().join(format!("longlink-lines-{}", std::process::id()));
    std::fs::write(&path, lines).unwrap();
    let script = "exec \"$0\" \"$1\" < \"$2\"";
    let args = ["-c", script, CLIENT, &addr, path.to_str().unwrap()];
    let mut window = Window::open_as(SIZE, "sh", &args, |_| {});
    let (mut link, _) = server.welcome(&Welcome::new(7));
    let waiting = "sent 2000 messages (15.6 KiB), 0 acknowledged, 0 bytes/s, up";
    window.shows_rows("the counts", |rows| rows.last().is_some_and(|row| row == waiting));
    link.send(ack(500, 1 << 20));
    window.shows("2000 messages (15.6 KiB), 500 acknowledged");
    // What is said appears above it.
    link.send(frame(DATA, b"a reply\n"));
    window.shows_rows("a reply", |rows| {
        let [.., reply, row] = rows else { return false };
        reply == "server> a reply" && row.starts_with("sent 2000")
    });
    // There is never more than one of it.
    let told = window.rows().iter().filter(|row| row.contains("sent 2000")).count();
    assert_eq!(told, 1);
    link.send(ack(2000, 1 << 20));
    window.ends_with(&["server> a reply"]);
    link.send(ack(2001, 1 << 20));
    link.send(frame(FIN, b""));
    let last = link.read_kind(CLOSE);
    link.send(frame(CLOSE, last));
    assert_eq!(window.closes(), 0);
    assert!(!window.rows().iter().any(|row| row.contains("sent 2000")), "{:#?}", window.rows());
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn without_a_terminal_nothing_is_told() {
    let server = RawServer::new();
    let addr = server.addr().to_string();
    let mut client = Process::start(CLIENT, &[&addr], Stdout::Read);
    let (mut link, _) = server.welcome(&Welcome::new(7));
    client.send("one\ntwo\n");
    client.end_input();
    // Long enough for it to be told.
    std::thread::park_timeout(std::time::Duration::from_millis(1600));
    link.send(ack(3, 1 << 20));
    link.send(frame(FIN, b""));
    let last = link.read_kind(CLOSE);
    link.send(frame(CLOSE, last));
    assert_eq!(client.ends(), 0);
    assert!(!client.err.text().contains("acknowledged"), "{}", client.err.text());
}
