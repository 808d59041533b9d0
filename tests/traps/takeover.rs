//! Hellos for a session that is there.

use std::net::SocketAddr;

use longlink::Listener;

use crate::rig::{Log, SLACK, SOON, Side, calm, timed, until};
use crate::wire::{
    ACK, DATA, ENDED, FULL, Hello, PROTOCOL, Raw, SHUTTING_DOWN, STALE, WELCOME, ack, frame,
};

fn listen() -> (Listener, SocketAddr) {
    let listener = calm().bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr();
    (listener, addr)
}

fn accept(listener: &Listener) -> Side {
    Side::new(listener.accept().unwrap(), Log::new("server"))
}

/// A message of the peer's, and its echo.
#[track_caller]
fn round_trip(link: &mut Raw, server: &Side) {
    link.send(frame(DATA, b"hello"));
    server.takes(b"hello");
    server.send(b"hello").unwrap();
    assert_eq!(link.read_kind(DATA), b"hello");
}

// Trap 9.
#[test]
fn a_client_that_is_back_before_its_loss_was_noticed_resumes_at_once() {
    let (listener, addr) = listen();
    let hello = Hello::new(1);
    let (mut old, welcome) = Raw::join(addr, &hello);
    let server = accept(&listener);
    round_trip(&mut old, &server);
    server.send(b"on its way").unwrap();
    // The old link stays open, and its heartbeat would judge it in minutes.
    let again = hello.next(&welcome, 1);
    let ((mut new, resumed), took) = timed(|| Raw::join(addr, &again));
    assert!(took < SLACK, "{took:?}");
    assert_eq!((resumed.epoch, resumed.received), (welcome.epoch, 1));
    assert_eq!(new.read_kind(DATA), b"on its way");
    round_trip(&mut new, &server);
    old.read_end();
    server.says("lost: replaced by a newer link", 1);
    server.says("resumed, 1 sent again", 1);
    // What the old link still says is nobody's.
    old.send(frame(DATA, b"stale"));
    round_trip(&mut new, &server);
    assert_eq!(server.stats().messages_received, 3);
}

// Trap 10.
#[test]
fn an_impossible_or_old_hello_leaves_the_live_link_alone() {
    let (listener, addr) = listen();
    let first = Hello::new(1);
    let (_old, welcome) = Raw::join(addr, &first);
    let server = accept(&listener);
    let second = first.next(&welcome, 0);
    let (mut link, _) = Raw::join(addr, &second);
    round_trip(&mut link, &server);
    link.send(ack(1, 1 << 20));
    until("the ack is in", || server.stats().unacknowledged == 0);

    let later = Hello { attempt: 99, ..second };
    let cases = [
        ("ahead of what was sent", Hello { received: 2, ..later }, PROTOCOL),
        ("far ahead", Hello { received: u64::MAX, ..later }, PROTOCOL),
        ("behind what was acknowledged", Hello { received: 0, ..later }, PROTOCOL),
        ("the same attempt", Hello { received: 1, ..second }, STALE),
        ("an older attempt", Hello { received: 1, ..first }, STALE),
        ("an older attempt, another epoch", Hello { epoch: 12345, ..first }, STALE),
        ("an older attempt, no epoch", Hello { epoch: 0, ..second }, STALE),
    ];
    for (what, hello, code) in cases {
        assert_eq!(Raw::rejected(addr, &hello), code, "{what}");
        round_trip(&mut link, &server);
        link.send(ack(server.stats().messages_sent, 1 << 20));
        until("the ack is in", || server.stats().unacknowledged == 0);
    }
    assert_eq!(server.log.count("lost: "), 1, "only the takeover");
    // The counters have moved on; a hello that fits them is still welcome.
    let (mut link, _) = Raw::join(addr, &Hello { received: 8, ..later });
    round_trip(&mut link, &server);
}

// Trap 10: a newer attempt that has been elsewhere starts anew; nobody else minds.
#[test]
fn another_epoch_starts_a_new_session_and_touches_no_other() {
    let (listener, addr) = listen();
    let hello = Hello::new(1);
    let (mut old, welcome) = Raw::join(addr, &hello);
    let server = accept(&listener);
    round_trip(&mut old, &server);
    let (mut bystander, _) = Raw::join(addr, &Hello::new(2));
    let other = accept(&listener);

    let elsewhere = Hello { epoch: welcome.epoch ^ 1, ..hello.next(&welcome, 1) };
    let (mut new, fresh) = Raw::join(addr, &elsewhere);
    assert_ne!(fresh.epoch, welcome.epoch);
    assert_eq!(fresh.received, 0);
    let again = accept(&listener);
    round_trip(&mut new, &again);
    round_trip(&mut bystander, &other);
    old.read_end();
    server.says("gave up: replaced by a newer link", 1);
    assert_eq!(server.recv_timeout(SOON).unwrap_err().unacknowledged(), Some(1));
    assert_eq!(other.log.count(""), other.log.count("heartbeat"));
}

// Trap 10: not even one that has been elsewhere, if it is not let in.
#[test]
fn a_rejected_hello_of_another_epoch_leaves_the_live_link_alone() {
    let listener = calm().max_clients(1).bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr();
    let hello = Hello::new(1);
    let (mut link, welcome) = Raw::join(addr, &hello);
    let server = accept(&listener);
    let next = hello.next(&welcome, 0);
    let elsewhere = Hello { epoch: welcome.epoch ^ 1, ..next };
    assert_eq!(Raw::rejected(addr, &Hello { flags: 1, ..elsewhere }), ENDED);
    round_trip(&mut link, &server);
    listener.set_full(true);
    assert_eq!(Raw::rejected(addr, &elsewhere), FULL);
    round_trip(&mut link, &server);
    listener.close();
    assert_eq!(Raw::rejected(addr, &elsewhere), SHUTTING_DOWN);
    round_trip(&mut link, &server);
    assert_eq!(server.log.count(""), server.log.count("heartbeat"));
    let (mut link, again) = Raw::join(addr, &Hello { received: 3, ..next });
    assert_eq!(again.epoch, welcome.epoch);
    round_trip(&mut link, &server);
}

// Trap 10: the session that is replaced is room enough.
#[test]
fn another_epoch_is_let_in_by_a_full_server() {
    let listener = calm().max_clients(1).bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr();
    let hello = Hello::new(1);
    let (mut old, welcome) = Raw::join(addr, &hello);
    let server = accept(&listener);
    round_trip(&mut old, &server);
    let elsewhere = Hello { epoch: welcome.epoch ^ 1, ..hello.next(&welcome, 1) };
    let (mut new, _) = Raw::join(addr, &elsewhere);
    round_trip(&mut new, &accept(&listener));
    server.says("gave up: replaced by a newer link", 1);
    old.read_end();
    assert_eq!(Raw::rejected(addr, &Hello::new(2)), FULL);
}

// Trap 12.
#[test]
fn a_hello_is_repeated_for_a_lost_welcome_and_makes_one_session() {
    let (listener, addr) = listen();
    let hello = Hello::new(1);
    let (_lost, welcome) = Raw::join(addr, &hello);
    let server = accept(&listener);
    server.send(b"first").unwrap();
    // As if the welcome, and the message behind it, had not arrived.
    let repeat = Hello { attempt: 2, ..hello };
    let (mut link, same) = Raw::join(addr, &repeat);
    assert_eq!(same.epoch, welcome.epoch);
    assert_eq!(link.read_kind(DATA), b"first");
    round_trip(&mut link, &server);
    // A frame came: now the welcome cannot have been lost.
    let (_new, other) = Raw::join(addr, &Hello { attempt: 3, ..hello });
    assert_ne!(other.epoch, welcome.epoch);
    accept(&listener);
    server.says("gave up: replaced", 1);
}

#[test]
fn a_client_that_only_wants_to_end_its_session_gets_no_new_one() {
    let (listener, addr) = listen();
    let hello = Hello { epoch: 77, flags: 1, ..Hello::new(1) };
    assert_eq!(Raw::rejected(addr, &hello), ENDED);
    let (_link, _) = Raw::join(addr, &Hello::new(2));
    accept(&listener);
}

// Trap 22.
#[test]
fn counters_do_not_drift_over_a_hundred_resumes() {
    let (listener, addr) = listen();
    let mut hello = Hello::new(1);
    let (mut link, welcome) = Raw::join(addr, &hello);
    let server = accept(&listener);
    let (mut up, mut down, mut acked) = (0u64, 0u64, 0u64);
    for round in 0..100u64 {
        // Three up, seven down, of which five are read and four acknowledged.
        for _ in 0..3 {
            link.send(frame(DATA, up.to_be_bytes()));
            server.takes(up.to_be_bytes());
            up += 1;
        }
        for i in 0..7 {
            server.send((round * 7 + i).to_be_bytes()).unwrap();
        }
        for _ in 0..5 {
            assert_eq!(link.read_kind(DATA), down.to_be_bytes(), "round {round}");
            down += 1;
        }
        acked = acked.max(down - 1);
        link.send(ack(acked, 1 << 20));
        hello = hello.next(&welcome, down);
        let (next, resumed) = Raw::join(addr, &hello);
        assert_eq!((resumed.epoch, resumed.received), (welcome.epoch, up), "round {round}");
        link = next;
    }
    while down < 700 {
        assert_eq!(link.read_kind(DATA), down.to_be_bytes());
        down += 1;
    }
    link.send(ack(700, 1 << 20));
    until("everything is acknowledged", || server.stats().unacknowledged == 0);
    let stats = server.stats();
    assert_eq!((stats.messages_received, stats.bytes_received), (300, 2400));
    assert_eq!((stats.messages_sent, stats.bytes_sent), (700, 5600));
    assert_eq!((stats.reconnects, stats.sessions_lost), (100, 0));
    // The last of the three was acknowledged on every new link, if at all.
    assert!(server.try_recv().is_err());
    let consumed = u64::from_be_bytes(link.read_kind(ACK)[..8].try_into().unwrap());
    assert!((299..=300).contains(&consumed), "{consumed}");
}

// The first frame of a link is the welcome, whatever else waits.
#[test]
fn the_welcome_comes_first() {
    let (listener, addr) = listen();
    let hello = Hello::new(1);
    let (link, welcome) = Raw::join(addr, &hello);
    let server = accept(&listener);
    for _ in 0..100 {
        server.send([0; 1000]).unwrap();
    }
    drop(link);
    let mut link = Raw::connect(addr);
    link.send(hello.next(&welcome, 0).bytes());
    assert_eq!(link.read().unwrap().0, WELCOME);
    for _ in 0..100 {
        assert_eq!(link.read_kind(DATA).len(), 1000);
    }
}
