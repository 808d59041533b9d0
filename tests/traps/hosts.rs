//! Several hosts: what one of them says is not the last word.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use longlink::{Cause, Error, Event, Rejection, RetryPolicy, ToHosts};

use crate::proxy::How;
use crate::rig::{Log, Rig, SOON, Side, calm, connect, join, ms, timed, until};
use crate::wire::{
    CLOSE, ELSEWHERE, ENDED, FIN, FULL, Hello, LATER, NEVER, PROTOCOL, Raw, RawServer, STALE,
    VERSION, Welcome, ack, frame, reject, reject_as,
};

/// A server that says this to every client instead of a welcome.
fn rejecting(code: u8) -> SocketAddr {
    saying(reject(code))
}

fn saying(rejection: Vec<u8>) -> SocketAddr {
    let raw = RawServer::new();
    let addr = raw.addr();
    thread::spawn(move || {
        loop {
            raw.accept().0.send(&rejection);
        }
    });
    addr
}

// A client knows what to do with a reason that it does not know.
#[test]
fn the_class_of_a_rejection_decides_whatever_its_code_is() {
    for code in [99, FULL, VERSION] {
        for class in [LATER, ELSEWHERE, 77, NEVER] {
            let log = Log::new("client");
            let five = calm().retry(RetryPolicy::fixed(ms(1), 5)).on_event(log.callback());
            let error = five.connect(saying(reject_as(code, class, 0))).unwrap_err();
            let Error::GaveUp { cause: Cause::Rejected(why), .. } = error else {
                panic!("{error:?}");
            };
            let attempts = if class == NEVER { "1 attempt," } else { "5 attempts," };
            log.says(&format!("gave up after {attempts}"), 1);
            assert_eq!(why.is_retryable(), class != NEVER, "{code} {class}");
        }
    }
}

#[test]
fn a_host_that_has_nothing_for_us_sends_us_to_the_others_at_once() {
    for after in [0, u32::MAX] {
        let rig = Rig::new(calm());
        let hosts = [saying(reject_as(FULL, ELSEWHERE, after)), rig.proxy.addr()];
        let client = connect(calm().retry(RetryPolicy::never()), hosts);
        assert_eq!(client.peer_addr(), rig.proxy.addr());
    }
}

#[test]
fn a_single_host_that_says_when_to_come_back_is_waited_for() {
    let raw = RawServer::new();
    let addr = raw.addr();
    let thread = thread::spawn(move || connect(calm().retry(RetryPolicy::fixed(ms(1), 2)), addr));
    raw.accept().0.send(reject_as(FULL, LATER, 1000));
    let ((_link, _), took) = timed(|| raw.welcome(&Welcome::new(7)));
    assert!(took > ms(900), "{took:?}");
    let waits = join(thread).log.events().into_iter().filter_map(|event| match event {
        Event::Retrying { after, .. } => Some(after),
        _ => None,
    });
    assert!(waits.clone().any(|after| after > ms(900)), "{:?}", waits.collect::<Vec<_>>());
}

#[test]
fn while_one_host_wants_to_be_left_alone_the_others_are_asked() {
    let (raw, rig) = (RawServer::new(), Rig::new(calm()));
    rig.proxy.refuse(true);
    let hosts = [raw.addr(), rig.proxy.addr()];
    let five = calm().retry(RetryPolicy::fixed(ms(50), 1000));
    let connecting = thread::spawn(move || connect(five, hosts));
    raw.accept().0.send(reject_as(FULL, LATER, u32::MAX));
    assert!(rig.proxy.wait_for(|stats| stats.accepted >= 3, SOON));
    assert!(!raw.is_waited_for());
    rig.proxy.refuse(false);
    assert_eq!(join(connecting).peer_addr(), rig.proxy.addr());
}

#[test]
fn a_host_that_rejects_for_good_leaves_the_others() {
    for code in [VERSION, 99] {
        let rig = Rig::new(calm());
        let once = calm().retry(RetryPolicy::never());
        let client = connect(once, [rejecting(code), rig.proxy.addr()]);
        assert_eq!(client.peer_addr(), rig.proxy.addr());
    }
}

#[test]
fn hosts_that_all_reject_for_good_end_the_attempts() {
    let hosts = [rejecting(VERSION), rejecting(99)];
    let log = Log::new("client");
    let error = calm().on_event(log.callback()).connect(hosts).unwrap_err();
    let Error::GaveUp {
        cause: Cause::Rejected(Rejection::Other { code: 99, retryable: false, .. }),
        ..
    } = error
    else {
        panic!("{error:?}");
    };
    log.says("gave up after 1 attempt,", 1);
}

#[test]
fn a_host_that_cannot_be_reached_has_not_said_its_last_word() {
    let rig = Rig::new(calm());
    rig.proxy.refuse(true);
    let hosts = [rejecting(VERSION), rig.proxy.addr()];
    let connecting = thread::spawn(move || connect(calm(), hosts));
    assert!(rig.proxy.wait_for(|stats| stats.accepted >= 3, SOON));
    rig.proxy.refuse(false);
    let client = join(connecting);
    assert_eq!(client.peer_addr(), rig.proxy.addr());
    assert!(client.log.count("failed: ") >= 3);
}

// A server with a smaller limit is one host that does not do.
#[test]
fn a_host_that_would_not_take_a_message_leaves_the_others() {
    let rig = Rig::new(calm());
    let small = calm().max_message(1000).bind("127.0.0.1:0").unwrap();
    let large = calm().bind("127.0.0.1:0").unwrap();
    let hosts = [rig.proxy.addr(), small.local_addr(), large.local_addr()];
    let client = connect(calm(), hosts);
    let _server = rig.accept();
    client.send([0; 5000]).unwrap();
    rig.proxy.refuse(true);
    rig.proxy.cut(How::Rst);
    client.says("new session (old session lost), 1 sent again", 1);
    let server = Side::new(large.accept().unwrap(), Log::new("server"));
    server.takes([0; 5000]);
    assert_eq!(client.peer_addr(), large.local_addr());
}

/// A client has said CLOSE to the first of two hosts, and has not heard its own.
/// After these scenes it is gone. Returns the other host.
fn parting(scenes: impl FnOnce(&RawServer, &RawServer) + Send + 'static) -> RawServer {
    let (home, other) = (RawServer::new(), RawServer::new());
    let hosts = [home.addr(), other.addr()];
    let alive = Arc::new(());
    let held = alive.clone();
    let builder = calm().on_event(move |_, _| drop(held.clone()));
    let connecting = thread::spawn(move || builder.connect(hosts).unwrap());
    let (mut link, _) = home.welcome(&Welcome::new(7));
    let client = join(connecting);
    drop(thread::spawn(move || client.close()));
    link.read_kind(FIN);
    link.send(ack(1, 1 << 20));
    link.read_kind(CLOSE);
    link.end();
    let other = join(thread::spawn(move || {
        scenes(&home, &other);
        other
    }));
    until("the client is gone", || Arc::strong_count(&alive) == 1);
    other
}

/// The next client knows the session, and wants to part.
fn wants_to_part(host: &RawServer) -> Raw {
    let (link, hello) = host.accept();
    assert_eq!((hello.epoch, hello.flags), (7, 1));
    link
}

fn part(host: &RawServer) {
    let mut link = wants_to_part(host);
    link.send(Welcome { received: 1, ..Welcome::new(7) }.bytes());
    let close = link.read_kind(CLOSE);
    link.send(frame(CLOSE, close));
}

#[test]
fn a_client_parts_only_with_the_host_that_has_its_session() {
    parting(|home, other| {
        // The host that has the session is asked first, and does not answer.
        wants_to_part(home).end();
        // The other never knew it.
        wants_to_part(other).send(reject(ENDED));
        part(home);
    });
}

#[test]
fn a_client_has_parted_when_the_host_that_had_its_session_says_so() {
    let other = parting(|home, _| wants_to_part(home).send(reject(ENDED)));
    assert!(!other.is_waited_for());
}

// The welcome to an earlier hello was lost, and the host keeps the session that it
// made then.
#[test]
fn a_client_that_is_parting_begins_no_session_elsewhere() {
    parting(|home, other| {
        wants_to_part(home).end();
        let mut link = wants_to_part(other);
        link.send(Welcome::new(8).bytes());
        assert_eq!(link.read_end(), []);
        part(home);
    });
}

/// The client that comes to the host, and is sent away.
fn stray(host: &RawServer) -> Hello {
    let (mut link, hello) = host.accept();
    link.send(reject(FULL));
    hello
}

// What a host learns of a client is of no use at another.
#[test]
fn the_second_host_neither_takes_over_nor_disturbs_the_session_on_the_first() {
    let (rig, other) = (Rig::new(calm()), RawServer::new());
    let policy = calm().retry(RetryPolicy::fixed(ms(20), 1000));
    let client = connect(policy, [rig.proxy.addr(), other.addr()]);
    let server = rig.accept();
    client.send(b"before").unwrap();
    server.takes(b"before");
    rig.proxy.refuse(true);
    rig.proxy.cut(How::Fin);
    let learnt = [stray(&other), stray(&other)];
    assert_eq!(learnt.map(|hello| hello.attempt), [1, 2], "counted for this host");
    assert!(learnt[0].token == learnt[1].token && learnt[0].epoch != 0);
    // It may say what it has heard, as often and as late as it likes.
    for attempt in [1, 2, 1000, u64::MAX] {
        let hello = Hello { attempt, ..learnt[1] };
        match Raw::greet(rig.listener.local_addr(), &hello) {
            Ok((_, welcome)) => assert_ne!(welcome.epoch, hello.epoch, "taken over"),
            Err(code) => assert!([STALE, PROTOCOL].contains(&code), "{code}"),
        }
    }
    rig.proxy.refuse(false);
    let third = thread::spawn(move || while other.is_waited_for() {});
    client.says("resumed", 1);
    client.send(b"behind").unwrap();
    server.takes(b"behind");
    assert_eq!(client.stats().sessions_lost, 0);
    join(third);
}

#[test]
fn hosts_that_are_paths_to_one_server_are_told_one_token() {
    let (one, two) = (RawServer::new(), RawServer::new());
    let host = |server: &RawServer| server.addr().to_hosts().unwrap().remove(0);
    let hosts = [host(&one), host(&two).alias_of(&host(&one))];
    let connecting = thread::spawn(move || connect(calm(), hosts));
    let first = stray(&one);
    let (_link, second) = two.welcome(&Welcome::new(7));
    assert_eq!(second.token, first.token);
    assert_eq!((first.attempt, second.attempt), (1, 2));
    join(connecting);
}
