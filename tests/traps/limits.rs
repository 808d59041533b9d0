//! How many sessions there are, and for how long.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use longlink::{Builder, Cause, Error, Rejection, RetryPolicy};

use crate::proxy::How;
use crate::rig::{Log, Rig, SLACK, SOON, Side, calm, connect, join, ms, now, until};
use crate::wire::{DATA, FULL, Hello, Raw, frame};

fn five() -> Builder {
    calm().retry(RetryPolicy::fixed(ms(10), 5))
}

// Trap 21.
#[test]
fn a_full_server_says_so_and_takes_the_next_when_one_has_left() {
    let rig = Rig::new(calm().max_clients(2));
    let (first, first_server) = rig.pair();
    let (_second, _second_server) = rig.pair();
    let error = five().connect(rig.proxy.addr()).unwrap_err();
    let full = Cause::Rejected(Rejection::Full);
    let Error::GaveUp { unacknowledged: 0, cause, .. } = &error else { panic!("{error:?}") };
    assert_eq!(cause.to_string(), full.to_string());

    let waiting = thread::spawn({
        let addr = rig.proxy.addr();
        move || connect(calm().retry(RetryPolicy::fixed(ms(10), 1000)), addr)
    });
    let closing = thread::spawn(move || first.close());
    first_server.takes_end();
    first_server.close().unwrap();
    join(closing).unwrap();
    let third = join(waiting);
    third.send(b"at last").unwrap();
    rig.accept().takes(b"at last");
}

// Trap 21.
#[test]
fn a_resume_is_admitted_when_the_server_is_full() {
    let rig = Rig::new(calm().max_clients(1));
    let (client, server) = rig.pair();
    client.send(b"before").unwrap();
    server.takes(b"before");
    rig.proxy.cut(How::Rst);
    client.says("resumed, ", 1);
    client.send(b"after").unwrap();
    server.takes(b"after");
    assert_eq!(client.stats().sessions_lost, 0);
}

// Trap 21.
#[test]
fn the_longest_lost_makes_room_for_a_new_client() {
    let listener = calm().max_clients(3).bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr();
    let mut sessions = Vec::new();
    for token in 1..=3 {
        let (mut raw, welcome) = Raw::join(addr, &Hello::new(token));
        let side = Side::new(listener.accept().unwrap(), Log::new("server"));
        raw.send(frame(DATA, [token]));
        side.takes([token]);
        side.send(b"reply").unwrap();
        sessions.push((raw, welcome, side));
    }
    // The second is lost first, then the first; the third lives.
    for index in [1, 0] {
        sessions[index].0.end();
        sessions[index].2.says("lost: ", 1);
    }
    let (_new, _) = Raw::join(addr, &Hello::new(4));
    let error = sessions[1].2.recv_timeout(SOON).unwrap_err();
    let Error::GaveUp { unacknowledged: 1, cause: Cause::Rejected(Rejection::Full), .. } = error
    else {
        panic!("{error:?}");
    };
    // The first comes back; then all are live, and there is no more room.
    let (mut raw, again) = Raw::join(addr, &Hello::new(1).next(&sessions[0].1, 0));
    assert_eq!(again.epoch, sessions[0].1.epoch);
    assert_eq!(raw.read_kind(DATA), b"reply");
    assert_eq!(Raw::rejected(addr, &Hello::new(5)), FULL);
    // Who was given up starts anew, if there is room.
    assert_eq!(Raw::rejected(addr, &Hello::new(2).next(&sessions[1].1, 0)), FULL);
    assert!(sessions[2].2.is_connected());
}

// Trap 21.
#[test]
fn a_session_in_which_nothing_was_said_is_kept_for_its_client() {
    let listener = calm().bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr();
    let hello = Hello::new(1);
    let (raw, welcome) = Raw::join(addr, &hello);
    let side = Side::new(listener.accept().unwrap(), Log::new("server"));
    drop(raw);
    side.says("lost: ", 1);
    side.send(b"sent during the outage").unwrap();
    let (mut raw, again) = Raw::join(addr, &hello.next(&welcome, 0));
    assert_eq!(again.epoch, welcome.epoch);
    assert_eq!(raw.read_kind(DATA), b"sent during the outage");
}

// Trap 21.
#[test]
fn a_session_in_which_nothing_was_said_is_given_up_when_its_time_is_over() {
    let listener = calm().resume_within(ms(200)).bind("127.0.0.1:0").unwrap();
    let (raw, _) = Raw::join(listener.local_addr(), &Hello::new(1));
    let side = Side::new(listener.accept().unwrap(), Log::new("server"));
    let begun = now();
    drop(raw);
    side.says("gave up: ", 1);
    assert!(begun.elapsed() >= ms(200) && begun.elapsed() < ms(200) + SLACK);
}

// Trap 21: who only connects and vanishes takes no place from those who talk.
#[test]
fn those_who_never_said_anything_make_room_first() {
    let listener = calm().max_clients(4).bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr();
    let mut sessions = Vec::new();
    for token in 0..4 {
        let (mut raw, _) = Raw::join(addr, &Hello::new(token));
        let side = Side::new(listener.accept().unwrap(), Log::new("server"));
        // What the server says counts for nothing.
        side.send(b"welcome").unwrap();
        raw.read_kind(DATA);
        if token < 2 {
            raw.send(frame(DATA, b"hello"));
            side.takes(b"hello");
        }
        sessions.push((raw, side));
    }
    for index in [1, 0, 3, 2] {
        sessions[index].0.end();
        sessions[index].1.says("lost: ", 1);
    }
    let mut newcomers = Vec::new();
    for (token, made_room) in (10..).zip([3, 2, 1, 0]) {
        newcomers.push(Raw::join(addr, &Hello::new(token)));
        sessions[made_room].1.says("gave up: ", 1);
        let given_up = sessions.iter().filter(|(_, side)| side.log.count("gave up: ") > 0);
        assert_eq!(given_up.count(), newcomers.len());
    }
    assert_eq!(Raw::rejected(addr, &Hello::new(20)), FULL);
}

#[test]
fn a_listener_that_is_set_full_takes_nobody_new_and_lets_its_own_come_back() {
    let listener = calm().bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr();
    let hello = Hello::new(1);
    let (_old, welcome) = Raw::join(addr, &hello);
    let side = Side::new(listener.accept().unwrap(), Log::new("server"));
    listener.set_full(true);
    assert_eq!(Raw::rejected(addr, &Hello::new(2)), FULL);
    let (mut raw, again) = Raw::join(addr, &hello.next(&welcome, 0));
    assert_eq!(again.epoch, welcome.epoch);
    raw.send(frame(DATA, b"still here"));
    side.takes(b"still here");
    listener.set_full(false);
    Raw::join(addr, &Hello::new(2));
}

// Trap 21.
#[test]
fn a_session_is_given_up_when_its_time_is_over() {
    let within = ms(200);
    let rig = Rig::new(calm().resume_within(within));
    let (client, server) = rig.pair();
    client.send(b"before").unwrap();
    server.takes(b"before");
    server.send(b"reply").unwrap();
    rig.proxy.hold_connect(true);
    rig.proxy.cut(How::Fin);
    let begun = now();
    let error = server.recv_timeout(SOON).unwrap_err();
    let took = begun.elapsed();
    assert!(matches!(error, Error::GaveUp { .. }), "{error:?}");
    assert!(took < within + SLACK, "{took:?}");
    rig.proxy.hold_connect(false);
    client.says("new session (old session lost), ", 1);
    client.send(b"after").unwrap();
    let again = rig.accept();
    // The old one's end came before its application asked for more.
    let first = again.take();
    if first == "before" {
        again.takes(b"after");
    } else {
        assert_eq!(first, "after");
    }
}

// Trap 21.
#[test]
fn an_expiry_that_races_a_resume_loses_nothing() {
    let within = ms(30);
    let rig = Rig::new(calm().resume_within(within));
    // Echoes every session until its end.
    let listener = Arc::new(calm().resume_within(within).bind("127.0.0.1:0").unwrap());
    thread::spawn({
        let listener = listener.clone();
        move || {
            for session in listener.incoming().map(Result::unwrap) {
                thread::spawn(move || {
                    while let Ok(Some(message)) = session.recv() {
                        if session.send(&message).is_err() {
                            break;
                        }
                    }
                });
            }
        }
    });
    rig.proxy.retarget(listener.local_addr());
    let client = rig.connect_with(calm().retry(RetryPolicy::fixed(ms(1), 1000)));
    let mut random = fastrand::Rng::with_seed(21);
    for number in 0..25u32 {
        client.send(number.to_be_bytes()).unwrap();
        rig.proxy.hold_connect(true);
        rig.proxy.cut(How::Fin);
        let wait = within - ms(8) + Duration::from_micros(random.u64(..16_000));
        let begun = now();
        until("it is about to expire", || begun.elapsed() >= wait);
        rig.proxy.hold_connect(false);
        // An echo may have come before the cut, so it does not tell.
        until("it is back", || client.stats().reconnects > number.into());
        // Repeats are allowed, since the session may be lost; gaps are not.
        loop {
            let echoed = client.take();
            let echoed = u32::from_be_bytes(echoed[..].try_into().unwrap());
            assert!(echoed <= number);
            if echoed == number {
                break;
            }
        }
    }
}

#[test]
fn a_closed_listener_takes_nobody_new_and_lets_its_own_come_back() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    client.send(b"before").unwrap();
    server.takes(b"before");
    rig.listener.close();
    assert!(matches!(rig.listener.accept(), Err(Error::Closed { unacknowledged: 0, .. })));
    assert!(rig.listener.incoming().next().is_none());
    let error = five().connect(rig.proxy.addr()).unwrap_err();
    let Error::GaveUp { cause: Cause::Rejected(Rejection::ShuttingDown), .. } = error else {
        panic!("{error:?}");
    };
    rig.proxy.cut(How::Fin);
    client.send(b"after").unwrap();
    server.takes(b"after");
    assert_eq!(client.stats().sessions_lost, 0);
    let closing = thread::spawn(move || client.close());
    server.takes_end();
    server.close().unwrap();
    join(closing).unwrap();
    // With the last of them the port closes.
    let addr = rig.listener.local_addr();
    until("the port is closed", || std::net::TcpStream::connect(addr).is_err());
}

#[test]
fn closing_a_listener_frees_accept() {
    let listener = Arc::new(calm().bind("127.0.0.1:0").unwrap());
    let accepting = thread::spawn({
        let listener = listener.clone();
        move || listener.incoming().count()
    });
    listener.close();
    assert_eq!(join(accepting), 0);
    let addr = listener.local_addr();
    until("the port is closed", || std::net::TcpStream::connect(addr).is_err());
}

#[test]
fn draining_a_listener_waits_until_those_it_gave_out_have_ended() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    let early = rig.listener.drain(Duration::from_millis(20));
    assert!(matches!(early, Err(Error::TimedOut)), "{early:?}");
    assert!(matches!(rig.listener.accept(), Err(Error::Closed { .. })));
    // The connection lives on, and so does what it says last.
    thread::scope(|scope| {
        let draining = scope.spawn(|| rig.listener.drain(SOON));
        client.send("the last word").unwrap();
        let closing = scope.spawn(|| client.close());
        server.takes("the last word");
        // Its handler is not done with that.
        assert!(!draining.is_finished());
        server.takes_end();
        server.close().unwrap();
        closing.join().unwrap().unwrap();
        draining.join().unwrap().unwrap();
    });
    rig.listener.drain(Duration::ZERO).unwrap();
    // Nothing listens any more.
    calm().bind(rig.listener.local_addr()).unwrap();
}

#[test]
fn draining_a_listener_does_not_wait_for_whom_nobody_accepted() {
    let listener = calm().bind("127.0.0.1:0").unwrap();
    let client = connect(calm(), listener.local_addr());
    listener.drain(SOON).unwrap();
    let error = client.recv_timeout(SOON).unwrap_err();
    assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
    let empty = calm().bind("127.0.0.1:0").unwrap();
    empty.drain(Duration::MAX).unwrap();
}

#[test]
fn closing_a_listener_ends_whom_nobody_accepted() {
    let listener = calm().bind("127.0.0.1:0").unwrap();
    let client = connect(calm(), listener.local_addr());
    client.send(b"to nobody").unwrap();
    drop(listener);
    let error = client.recv_timeout(SOON).unwrap_err();
    assert!(matches!(error, Error::PeerClosed { unacknowledged: 1, .. }), "{error:?}");
    assert_eq!(client.take_unacknowledged(), ["to nobody"]);
}
