//! A server's application refuses a client, and says why.

use std::io::Read;
use std::sync::Arc;
use std::thread;

use longlink::{Builder, Connection, Error, Event, Plain, Result, SessionLoss};

use crate::proxy::{Direction, How};
use crate::rig::{
    Log, Rig, SLACK, SOON, Side, at_once, calm, connect, has_no_text, join, timed, until,
};
use crate::wire::{CLOSE, FIN, Hello, Raw, RawServer, Welcome, frame};

type Call = fn(&Connection) -> Result<()>;
type End = fn(&Connection);

/// A refusal in which everything counts.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, unacknowledged: u64) {
    let expected = format!("refused (code 7): ann is taken{}", not_acknowledged(unacknowledged));
    match result {
        Err(error @ Error::Refused { code: 7, .. }) => {
            assert!(error.is_final());
            assert_eq!(error.unacknowledged(), Some(unacknowledged));
            assert_eq!(error.to_string(), expected);
        }
        other => panic!("not refused: {other:?}"),
    }
}

fn not_acknowledged(number: u64) -> String {
    match number {
        0 => String::new(),
        1 => ", 1 message not acknowledged".into(),
        _ => format!(", {number} messages not acknowledged"),
    }
}

fn refuse(server: &Connection) {
    server.refuse(7, "ann is taken");
}

/// It ends with these events alone.
#[track_caller]
fn saw(side: &Side, events: &[&str]) {
    side.says("closed", 1);
    let seen: Vec<String> = side.log.events().iter().map(|event| format!("{event:?}")).collect();
    let seen: Vec<&str> = seen.iter().filter_map(|event| event.split(' ').next()).collect();
    assert_eq!(seen, events);
}

/// A CLOSE with this code that has consumed so much, and what follows.
fn close(code: u8, consumed: u64, more: &[u8]) -> Vec<u8> {
    frame(CLOSE, [&[code][..], &consumed.to_be_bytes(), more].concat())
}

#[test]
fn a_refused_client_hears_why_behind_what_had_arrived() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    client.send("done with").unwrap();
    client.send("in hand").unwrap();
    client.send("unread").unwrap();
    server.takes("done with");
    server.takes("in hand");
    server.send("arrived").unwrap();
    client.hears_all();
    refuse(&server);
    // Here it is an abort.
    for result in [server.send("more"), server.sync(SOON), server.close()] {
        assert!(matches!(result, Err(Error::Closed { unacknowledged: 1, .. })), "{result:?}");
    }
    assert_eq!(server.take_unacknowledged(), ["arrived"]);
    server.takes("unread");

    client.takes("arrived");
    refused(client.recv_timeout(SOON), 2);
    refused(client.send("more"), 2);
    refused(client.finish(), 2);
    refused(client.sync(SOON), 2);
    refused(client.close(), 2);
    refused(client.close(), 2);
    assert_eq!(client.take_unacknowledged(), ["in hand", "unread"]);
    saw(&client, &["Connected", "Closed"]);
}

/// Whatever it waits for when it is refused.
#[test]
fn a_call_that_waits_is_told() {
    let calls: [(&str, Call); 5] = [
        ("send", |client| {
            loop {
                client.send([0; 100])?;
            }
        }),
        ("recv", |client| client.recv().map(drop)),
        ("recv_many", |client| client.recv_many(&mut Vec::new(), 10).map(drop)),
        ("sync", |client| client.sync(SOON)),
        ("close", |client| client.close()),
    ];
    at_once(calls, |(name, call)| {
        let rig = Rig::new(calm().window(1000));
        let (client, server) = rig.pair();
        client.send("unread").unwrap();
        let client = Arc::new(client);
        let waiting = client.clone();
        let waiting = thread::spawn(move || call(&waiting));
        server.takes("unread");
        refuse(&server);
        let result = join(waiting);
        assert!(matches!(result, Err(Error::Refused { code: 7, .. })), "{name}: {result:?}");
        assert_eq!(client.take_unacknowledged()[0], "unread", "{name}");
    });
}

#[test]
fn a_close_is_refused_although_everything_is_acknowledged() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    client.send("done with").unwrap();
    let client = Arc::new(client);
    let closing = client.clone();
    let closing = thread::spawn(move || closing.close());
    server.takes("done with");
    server.done();
    refuse(&server);
    refused(join(closing), 0);
    refused(client.close(), 0);

    // Also if the refusal itself acknowledges the end, and if it completes both directions.
    for end in [&b""[..], &frame(FIN, [])] {
        let raw = RawServer::new();
        let client = thread::spawn({
            let addr = raw.addr();
            move || connect(calm(), addr)
        });
        let (mut peer, _) = raw.welcome(&Welcome::new(1));
        let client = Arc::new(join(client));
        peer.send(end);
        if !end.is_empty() {
            client.takes_end();
        }
        let closing = client.clone();
        let closing = thread::spawn(move || closing.close());
        peer.read_kind(FIN);
        peer.send(close(3, 1, b"\0\0\0\x07ann is taken"));
        refused(join(closing), 0);
    }
}

/// The server refuses a client that it cannot reach at the moment.
#[test]
fn a_client_that_lost_its_link_hears_the_refusal_when_it_comes_back() {
    for loss in [SessionLoss::SendAgain, SessionLoss::GiveUp] {
        let rig = Rig::new(calm());
        let other = RawServer::new();
        let hosts = [rig.proxy.addr(), other.addr()];
        let client = connect(calm().on_session_lost(loss), hosts);
        let server = rig.accept();
        client.send("unread").unwrap();
        server.takes("unread");
        rig.proxy.hold_connect(true);
        rig.proxy.cut(How::Rst);
        server.says("lost", 1);
        refuse(&server);
        assert!(matches!(server.send("more"), Err(Error::Closed { .. })));
        rig.proxy.hold_connect(false);
        refused(client.recv_timeout(SOON), 1);
        refused(client.close(), 1);
        assert_eq!(client.take_unacknowledged(), ["unread"]);
        saw(&client, &["Connected", "Lost", "Retrying", "Closed"]);
        assert!(!other.is_waited_for(), "another host was asked");
    }
}

#[test]
fn a_refusal_that_was_lost_with_its_link_is_said_again() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    rig.proxy.swallow(Direction::Down, true);
    refuse(&server);
    assert!(rig.proxy.wait_for(|stats| stats.swallowed > 0, SOON));
    rig.proxy.swallow(Direction::Down, false);
    rig.proxy.cut_black(How::Rst);
    refused(client.recv_timeout(SOON), 0);
    saw(&client, &["Connected", "Lost", "Retrying", "Closed"]);
}

#[test]
fn a_close_that_waits_for_a_link_hears_the_refusal() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    rig.proxy.hold_connect(true);
    rig.proxy.cut(How::Rst);
    server.says("lost", 1);
    let client = Arc::new(client);
    client.send("on its way").unwrap();
    let closing = client.clone();
    let closing = thread::spawn(move || closing.close());
    refuse(&server);
    rig.proxy.hold_connect(false);
    refused(join(closing), 1);
}

/// The only answer that it ever gets.
#[test]
fn a_connect_whose_welcome_is_lost_is_refused() {
    let rig = Rig::new(calm());
    let connecting = rig.connect_unheard(calm());
    let server = rig.accept();
    refuse(&server);
    assert!(rig.proxy.wait_for(|stats| stats.swallowed > 0, SOON));
    rig.proxy.swallow(Direction::Down, false);
    rig.proxy.cut_black(How::Rst);
    refused(join(connecting), 0);
}

#[test]
fn it_is_said_for_as_long_as_the_session_is_remembered() {
    let listener = calm().bind("127.0.0.1:0").unwrap();
    let hello = Hello::new(1);
    let (mut raw, welcome) = Raw::join(listener.local_addr(), &hello);
    let server = Side::new(listener.accept().unwrap(), Log::new("server"));
    refuse(&server);
    let refusal = [&[3][..], &[0; 8], b"\0\0\0\x07ann is taken"].concat();
    assert_eq!(raw.read_kind(CLOSE), refusal);
    raw.send(close(0, 0, b""));
    assert!(raw.read().is_none());
    // Nobody holds it any more.
    drop(server);
    let mut hello = hello;
    for _ in 0..3 {
        hello = hello.next(&welcome, 0);
        let mut raw = Raw::connect(listener.local_addr());
        raw.send(hello.bytes());
        assert_eq!(raw.read(), Some((CLOSE, refusal.clone())));
        assert!(raw.read().is_none());
    }
}

#[test]
fn the_first_word_holds() {
    let ends: [(&str, End); 4] = [
        ("refuse", refuse),
        ("refuse again", |server| server.refuse(8, "bob is taken")),
        ("abort", Connection::abort),
        ("close", |server| drop(server.close())),
    ];
    for (first, end) in ends {
        for (then, after) in ends {
            let rig = Rig::new(calm());
            let (client, server) = rig.warm_pair();
            let receiving = thread::spawn(move || client.recv());
            end(&server);
            after(&server);
            refuse(&server);
            let result = join(receiving);
            let text = result.as_ref().map_or_else(Error::to_string, |_| "the end".into());
            let expected = match first {
                "refuse" => "refused (code 7): ann is taken",
                "refuse again" => "refused (code 8): bob is taken",
                "abort" => "the peer closed, 0 messages not acknowledged",
                _ => "the end",
            };
            assert_eq!(text, expected, "{first}, then {then}");
            assert!(matches!(server.send("more"), Err(Error::Closed { .. })));
        }
    }
}

/// As an abort does.
#[test]
fn a_refusal_ends_a_close_under_way() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    server.send("unread").unwrap();
    let server = Arc::new(server);
    let closing = server.clone();
    let closing = thread::spawn(move || closing.close());
    until("the close has begun", || matches!(server.send("more"), Err(Error::Finished)));
    refuse(&server);
    let closed = join(closing);
    assert!(matches!(closed, Err(Error::Closed { unacknowledged: 1.., .. })), "{closed:?}");
    client.takes("unread");
    while client.recv().unwrap().is_some() {}
    refused(client.close(), 0);
}

#[test]
fn it_does_not_wait_for_a_link_that_is_stuck() {
    let rig = Rig::new(calm().window(64 << 20).max_message(1 << 20));
    let (client, server) = rig.warm_pair();
    rig.proxy.stall(Direction::Down, true);
    for _ in 0..30 {
        server.send_bytes(vec![0; 1 << 20]).unwrap();
    }
    let (_, took) = timed(|| refuse(&server));
    assert!(took < SLACK, "{took:?}");
    // What was not written is dropped, and the client hears why when it comes back.
    server.says("closed, 30 messages", 1);
    rig.proxy.stall(Direction::Down, false);
    let mut arrived = 0;
    let result = loop {
        match client.recv() {
            Ok(Some(_)) => arrived += 1,
            other => break other,
        }
    };
    refused(result, 0);
    assert!(arrived < 30, "all of it arrived");
}

#[test]
fn a_callback_may_refuse_before_a_client_is_accepted() {
    let builder = calm().on_event(|connection, event| {
        if let Event::Connected { .. } = event
            && connection.greeting() == "ann"
        {
            refuse(connection);
        }
    });
    let listener = builder.bind("127.0.0.1:0").unwrap();
    let ann = connect_or_refused(calm().greeting("ann"), listener.local_addr());
    refused(ann, 0);
    let bob = connect(calm().greeting("bob"), listener.local_addr());
    bob.send("hello").unwrap();
    // Ann may have been accepted as well, and is over.
    let mut accepted = listener.incoming().map(|connection| connection.unwrap());
    let server = accepted.find(|connection| connection.greeting() == "bob").unwrap();
    assert_eq!(server.recv().unwrap().as_deref(), Some(&b"hello"[..]));
}

fn connect_or_refused(builder: Builder, addr: std::net::SocketAddr) -> Result<()> {
    builder.connect(addr)?.recv().map(drop)
}

#[test]
fn a_client_has_no_refusal() {
    let raw = RawServer::new();
    let client = thread::spawn({
        let addr = raw.addr();
        move || connect(calm(), addr)
    });
    let (mut peer, _) = raw.welcome(&Welcome::new(1));
    let client = join(client);
    client.refuse(7, "ann is taken");
    assert!(matches!(client.recv(), Err(Error::Closed { .. })));
    assert_eq!(peer.read_kind(CLOSE), [2, 0, 0, 0, 0, 0, 0, 0, 0]);

    // And from one that has, it is an end.
    let listener = calm().bind("127.0.0.1:0").unwrap();
    let (mut raw, _) = Raw::join(listener.local_addr(), &Hello::new(1));
    let server = Side::new(listener.accept().unwrap(), Log::new("server"));
    raw.send(close(3, 0, b"\0\0\0\x07ann is taken"));
    let error = server.recv_timeout(SOON).unwrap_err();
    assert!(matches!(error, Error::PeerClosed { unacknowledged: 0, .. }), "{error:?}");
    assert_eq!(raw.read_kind(CLOSE), [0; 9]);
}

#[test]
fn plain_text_has_no_refusal() {
    if has_no_text() {
        return;
    }
    let listener = calm().window(64 << 20).max_message(1 << 20).bind("127.0.0.1:0").unwrap();
    let mut netcat = Raw::connect(listener.local_addr());
    netcat.send(b"ann\n");
    let server = Side::new(listener.accept().unwrap(), Log::new("server"));
    server.takes("ann\n");
    for _ in 0..30 {
        server.send_bytes(vec![b'x'; (1 << 20) - 1]).unwrap();
    }
    refuse(&server);
    assert!(matches!(server.send("more"), Err(Error::Closed { .. })));
    let mut heard = Vec::new();
    netcat.read_to_end(&mut heard).unwrap();
    assert!(heard.len() < 30 << 20, "what was queued is dropped");
    assert!(heard.iter().all(|byte| b"x\n".contains(byte)));

    let (server, client) = RawServer::new().meet(|addr| connect(calm().plain(Plain::new()), addr));
    refuse(&client);
    assert!(matches!(client.recv(), Err(Error::Closed { .. })));
    until("its end", || server.has_ended());
}

/// From a peer that keeps to nothing, and from one that is older or newer.
#[test]
fn a_refusal_may_be_anything() {
    let says = |code: u8, more: &[u8]| {
        let raw = RawServer::new();
        let client = thread::spawn({
            let addr = raw.addr();
            move || connect(calm(), addr)
        });
        let (mut peer, _) = raw.welcome(&Welcome::new(1));
        let client = join(client);
        peer.send(close(code, 0, more));
        let error = client.recv().unwrap_err();
        let answer = peer.read_kind(CLOSE);
        assert_eq!(answer, [0; 9]);
        error
    };
    for more in [&b""[..], b"\0\0\x07"] {
        assert!(matches!(says(3, more), Error::PeerClosed { .. }), "{more:x?}");
    }
    for code in [0, 1, 2, 4, 255] {
        let error = says(code, b"\0\0\0\x07no");
        assert!(matches!(error, Error::PeerClosed { .. }), "{code}: {error:?}");
    }
    assert_eq!(says(3, b"\xff\xff\xff\xff").to_string(), "refused (code 4294967295)");
    let error = says(3, b"\0\0\0\x07\x1b[2Jno\r\n\xff\xe2\x80\xae");
    assert_eq!(error.to_string(), "refused (code 7): \\u{1b}[2Jno\\r\\n\u{fffd}\\u{202e}");
    let Error::Refused { text, .. } = error else { panic!("{error:?}") };
    assert_eq!(&*text, "\x1b[2Jno\r\n\u{fffd}\u{202e}");
    let Error::Refused { text, .. } = says(3, &[&[0; 4][..], &[b'x'; 4000]].concat()) else {
        panic!()
    };
    assert_eq!(*text, *"x".repeat(256));
}
