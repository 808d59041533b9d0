//! The library's `Connection` over plain text, at either end.

use std::sync::mpsc;
use std::thread;

use longlink::{
    Builder, Cause, Connection, Error, Event, Heartbeat, Listener, Plain, Protocol, RetryPolicy,
    Taken,
};

use crate::classic::{Classic, ClassicServer};
use crate::port::Reserved;
use crate::{SOON, ms, now};

fn listen(builder: Builder) -> (Listener, String) {
    let listener = builder.bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().port().to_string();
    (listener, port)
}

#[track_caller]
fn takes(connection: &Connection, message: &str) {
    let received = connection.recv_timeout(SOON).unwrap();
    assert_eq!(received.as_deref(), Some(message.as_bytes()));
}

#[test]
fn a_listener_yields_both_kinds_of_peers() {
    let (listener, port) = listen(Connection::builder());
    let framed = Connection::connect(listener.local_addr()).unwrap();
    let server = listener.accept().unwrap();
    assert_eq!((framed.protocol(), server.protocol()), (Protocol::Framed, Protocol::Framed));
    let mut peer = Classic::connect(&port);
    peer.send("hello\nlast");
    let server = listener.accept().unwrap();
    assert_eq!(server.protocol(), Protocol::Plain);
    takes(&server, "hello\n");
    server.send(b"one").unwrap();
    server.send(b"two\nthree\n").unwrap();
    server.sync(SOON).unwrap();
    assert_eq!(server.stats().unacknowledged, 0);
    peer.finish();
    takes(&server, "last");
    assert_eq!(server.recv_timeout(SOON).unwrap(), None);
    server.close().unwrap();
    assert_eq!(peer.rest(), "one\ntwo\nthree\n");
    // Unless it is to yield no plain ones.
    let (_listener, port) = listen(Connection::builder().accept_plain(false));
    let mut peer = Classic::connect(&port);
    peer.send("hello\n");
    assert_eq!(peer.rest(), "");
}

/// Else the peer's link ends with it, and the line is lost.
#[test]
fn a_line_that_its_newline_makes_too_long_is_not_sent() {
    let (listener, _) = listen(Connection::builder().max_message(8));
    let plain = Connection::builder().max_message(8).plain(Plain::new());
    let client = plain.connect(listener.local_addr()).unwrap();
    let too_large = |result: Result<(), Error>| {
        assert!(matches!(result, Err(Error::TooLarge { size: 9, limit: 8, .. })), "{result:?}");
    };
    too_large(client.send(b"12345678"));
    too_large(client.send_bytes("12345678"));
    too_large(client.feed("12345678"));
    too_large(client.feed_many(&["1234567", "1234567\n", "12345678"]));
    too_large(client.feed_some(&["12345678"]).map(drop));
    assert_eq!(client.feed_some(&["1234567", "12345678"]).unwrap(), Taken(1));
    client.send(b"7654321\n").unwrap();
    let server = listener.accept().unwrap();
    takes(&server, "1234567\n");
    takes(&server, "7654321\n");
}

#[test]
fn many_lines_go_by_one_call() {
    let (listener, port) = listen(Connection::builder());
    let mut peer = Classic::connect(&port);
    peer.send("one\ntwo\nlast");
    peer.finish();
    let server = listener.accept().unwrap();
    let mut lines = Vec::new();
    while server.recv_many(&mut lines, 2).unwrap() > 0 {}
    assert_eq!(lines, [&b"one\n"[..], b"two\n", b"last"]);
    server.feed_many(&lines).unwrap();
    server.close().unwrap();
    assert_eq!(peer.rest(), "one\ntwo\nlast\n");
}

/// The peer keeps to no window, so it is TCP that holds it back.
#[test]
fn a_peer_that_floods_waits_in_its_socket() {
    const LINES: usize = 1_000_000;
    let (listener, port) = listen(Connection::builder().window(64 * 1024));
    let flood: Vec<u8> = (0..LINES).flat_map(|n| format!("{n:07}\n").into_bytes()).collect();
    let mut peer = Classic::connect(&port);
    let sent = peer.send_some(&flood, ms(500));
    assert!(sent < flood.len(), "all of it was taken");
    let server = listener.accept().unwrap();
    let rest = thread::spawn(move || {
        peer.send(&flood[sent..]);
        peer.finish();
        peer.rest()
    });
    for n in 0..LINES {
        takes(&server, &format!("{n:07}\n"));
    }
    assert_eq!(server.recv_timeout(SOON).unwrap(), None);
    server.close().unwrap();
    assert_eq!(rest.join().unwrap(), "");
}

/// Nor does a peer that reads nothing cost more than a window.
#[test]
fn a_peer_that_reads_nothing_blocks_its_sender_and_no_other() {
    let (listener, port) = listen(Connection::builder().window(64 * 1024));
    let mut deaf = Classic::connect(&port);
    deaf.send("hello\n");
    let server = listener.accept().unwrap();
    takes(&server, "hello\n");
    let line = [b'x'; 10_000];
    let mut sent = 0;
    while server.send_timeout(line, ms(300)).is_ok() {
        sent += 1;
    }
    assert!(matches!(server.try_send(line), Err(Error::WouldBlock)));
    let mut other = Classic::connect(&port);
    other.send("hello\n");
    let other_server = listener.accept().unwrap();
    takes(&other_server, "hello\n");
    // A sender that waits goes on when the peer reads.
    let sender = thread::spawn(move || {
        server.send(b"last").unwrap();
        server.finish().unwrap();
        server
    });
    for _ in 0..sent {
        assert_eq!(deaf.line().len(), line.len() + 1);
    }
    assert_eq!(deaf.line(), b"last\n");
    deaf.finish();
    let server = sender.join().unwrap();
    assert_eq!(server.recv_timeout(SOON).unwrap(), None);
    server.close().unwrap();
}

#[test]
fn a_peer_that_resets_is_given_up_after_what_it_said() {
    let (listener, port) = listen(Connection::builder());
    let mut peer = Classic::connect(&port);
    peer.send("one\ntwo\n");
    let server = listener.accept().unwrap();
    takes(&server, "one\n");
    peer.reset();
    while server.is_connected() {
        thread::yield_now();
    }
    takes(&server, "two\n");
    match server.recv_timeout(SOON) {
        Err(Error::GaveUp { unacknowledged: 0, cause: Cause::Io(_), .. }) => {}
        other => panic!("{other:?}"),
    }
}

/// A client, the server that it found, and what it says of its link.
fn client(builder: Builder) -> (Connection, ClassicServer, Classic, mpsc::Receiver<Event>) {
    let server = ClassicServer::listen(&Reserved::new(), None);
    let (sender, events) = mpsc::channel();
    let connection = builder
        .heartbeat(Heartbeat::off())
        .retry(RetryPolicy::fixed(ms(10), 1000))
        .on_event(move |_, event| sender.send(event).unwrap_or(()))
        .connect(server.addr())
        .unwrap();
    let link = server.accept();
    assert!(matches!(events.recv_timeout(SOON), Ok(Event::Connected { .. })));
    (connection, server, link, events)
}

#[test]
fn an_event_hands_out_what_was_not_answered() {
    let (connection, server, mut link, events) = client(Connection::builder().plain(Plain::new()));
    assert_eq!(connection.protocol(), Protocol::Plain);
    for line in ["one\n", "two", "three\n"] {
        connection.send(line.as_bytes()).unwrap();
        link.line();
    }
    link.send("1\n");
    takes(&connection, "1\n");
    drop(link);
    assert!(matches!(events.recv_timeout(SOON), Ok(Event::Lost { cause: Cause::Eof, .. })));
    match events.recv_timeout(SOON) {
        Ok(Event::Unanswered { messages, forgotten: 0, .. }) => {
            assert_eq!(messages, ["two\n", "three\n"]);
            // The application may choose to say it again.
            messages.into_iter().for_each(|message| connection.send_bytes(message).unwrap());
        }
        other => panic!("{other:?}"),
    }
    let mut link = server.accept();
    assert_eq!((link.line(), link.line()), (b"two\n".to_vec(), b"three\n".to_vec()));
    assert_eq!(connection.stats().unanswered, 2);
    assert_eq!(connection.stats().reconnects, 1);
    // Closed by this side, it is known what is not known.
    connection.close().unwrap();
    assert_eq!(link.rest(), "");
}

#[test]
fn what_could_not_be_written_is_handed_back() {
    let plain = Connection::builder().plain(Plain::new().lock_step(true));
    let (connection, server, link, _events) = client(plain);
    connection.send(b"written\n").unwrap();
    connection.send(b"one\n").unwrap();
    connection.send(b"two").unwrap();
    drop((link, server));
    connection.abort();
    assert_eq!(connection.recv().unwrap_err().unacknowledged(), Some(2));
    assert_eq!(connection.take_unacknowledged(), ["one\n", "two\n"]);
}

#[test]
fn a_close_waits_until_everything_is_written_and_no_longer() {
    let (connection, _server, mut link, _events) =
        client(Connection::builder().plain(Plain::new()).close_timeout(SOON));
    let big = vec![b'x'; 200_000];
    for _ in 0..5 {
        connection.send(&big).unwrap();
    }
    let reader = thread::spawn(move || (link.rest(), link));
    // The server has not ended, and need not.
    let begun = now();
    connection.close().unwrap();
    let took = begun.elapsed();
    assert!(took < SOON / 2, "{took:?}");
    let (read, _link) = reader.join().unwrap();
    assert_eq!(read.len(), 5 * (big.len() + 1));
}

/// The kernel counts in 15 bits of seconds, and in 31 of milliseconds.
#[test]
fn the_longest_heartbeat_is_not_too_long_for_the_kernel() {
    let server = ClassicServer::listen(&Reserved::new(), None);
    for misses in [1, 3, 1000] {
        let connection = Connection::builder()
            .plain(Plain::new())
            .heartbeat(Heartbeat::every(Heartbeat::LONGEST).misses(misses))
            .retry(RetryPolicy::never())
            .connect(server.addr())
            .unwrap();
        connection.abort();
    }
}
