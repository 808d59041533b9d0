//! Servers that take a link and give nothing.

use std::thread::{self, JoinHandle};

use longlink::{Cause, Error, Event, RetryPolicy};

use crate::proxy::How;
use crate::rig::{
    Log, Rig, SLACK, SOON, Side, builder, calm, connect, join, ms, now, quick, until,
};
use crate::wire::{
    CLOSE, DATA, FULL, Hello, PONG, PROTOCOL, REJECT, RawServer, STALE, VERSION, Welcome, frame,
    longer, ping, reject,
};

fn five() -> longlink::Builder {
    calm().retry(RetryPolicy::fixed(ms(10), 5))
}

fn attempts(log: &Log) -> Vec<u32> {
    let retries = log.events().into_iter().filter_map(|event| match event {
        Event::Retrying { attempt, .. } => Some(attempt),
        _ => None,
    });
    retries.collect()
}

// Trap 14.
#[test]
fn a_server_that_accepts_and_drops_spends_the_first_budget() {
    let rig = Rig::new(five());
    rig.proxy.accept_and_close(true);
    let log = Log::new("client");
    let error = five().on_event(log.callback()).connect(rig.proxy.addr()).unwrap_err();
    assert!(matches!(error, Error::GaveUp { unacknowledged: 0, .. }), "{error:?}");
    assert!(rig.proxy.wait_for(|stats| stats.accepted == 5, SOON));
    log.says("gave up after 5 attempts", 1);
    assert_eq!(attempts(&log), [2, 3, 4, 5]);
}

// Trap 14.
#[test]
fn a_server_that_accepts_and_drops_spends_the_budget_of_a_session() {
    let rig = Rig::new(five());
    let (client, _server) = rig.warm_pair();
    rig.proxy.accept_and_close(true);
    rig.proxy.cut(How::Fin);
    for message in ["one", "two"] {
        client.send(message.as_bytes()).unwrap();
    }
    let error = client.recv_timeout(SOON).unwrap_err();
    let Error::GaveUp { unacknowledged, cause: Cause::Eof, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*unacknowledged, 2);
    assert_eq!(attempts(&client.log), [1, 2, 3, 4, 5]);
    let left = client.take_unacknowledged();
    assert_eq!(left, ["one", "two"]);
}

/// Welcomes every client, says this, and drops it.
fn drop_everybody(says: Vec<u8>) -> (Side, JoinHandle<usize>) {
    let raw = RawServer::new();
    let addr = raw.addr();
    let welcomes = thread::spawn(move || {
        for count in 0..5 {
            let (mut link, _) = raw.welcome(&Welcome::new(7));
            link.send(&says);
            if count == 0 {
                // The connection has to be there before it is lost.
                link.read();
            }
            link.end();
        }
        5
    });
    let client = connect(calm().retry(RetryPolicy::fixed(ms(300), 5)), addr);
    client.send(b"lost").unwrap();
    (client, welcomes)
}

// Trap 14.
#[test]
fn a_server_that_welcomes_and_drops_spends_the_budget() {
    let (client, welcomes) = drop_everybody(Vec::new());
    client.says("gave up after 5 attempts, 1 message not acknowledged", 1);
    // The one that connected counts: nothing ever moved.
    assert_eq!(attempts(&client.log), [2, 3, 4, 5]);
    assert_eq!(join(welcomes), 5);
}

// Trap 14: a frame refills only with some time of uptime.
#[test]
fn a_server_that_welcomes_and_pings_and_drops_spends_the_budget() {
    let (client, welcomes) = drop_everybody(ping(1));
    client.says("gave up after 5 attempts, 1 message not acknowledged", 1);
    // The one that connected counts: nothing ever moved.
    assert_eq!(attempts(&client.log), [2, 3, 4, 5]);
    assert_eq!(join(welcomes), 5);
}

/// Welcomes a client and stays, for long enough to count as a link that lasts. It
/// receives no message.
fn stay_deaf(raw: &RawServer) {
    let (mut link, _) = raw.welcome(&Welcome::new(7));
    link.read_kind(DATA);
    link.send(ping(1));
    link.read_kind(PONG);
    let begun = now();
    until("it has lasted", || begun.elapsed() > ms(20));
    link.end();
}

// A link that moves nothing does not refill the budget, however well it answers.
#[test]
fn heartbeats_do_not_refill_the_budget_while_a_message_waits() {
    let raw = RawServer::new();
    let addr = raw.addr();
    let deaf = thread::spawn(move || (0..5).for_each(|_| stay_deaf(&raw)));
    let client = connect(five(), addr);
    client.send([0; 5000]).unwrap();
    let error = client.recv_timeout(SOON).unwrap_err();
    let Error::GaveUp { unacknowledged: 1, cause, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(cause, Cause::NoProgress { links: 5, .. }), "{cause:?}");
    client.says("gave up after 5 attempts", 1);
    join(deaf);
}

// That it was received is said by the next welcome only.
#[test]
fn a_handler_that_takes_its_time_does_not_spend_the_budget() {
    let rig = Rig::new(quick());
    let twice = quick().retry(RetryPolicy::fixed(ms(5), 2));
    let (client, server) = rig.pair_with(twice);
    for round in 1..=6 {
        client.send(b"work").unwrap();
        if round == 1 {
            server.takes(b"work");
        }
        client.says("heartbeat ", round);
        rig.proxy.cut(How::Rst);
        client.says("resumed, 0 sent again", round);
    }
    assert_eq!(attempts(&client.log), [1; 6]);
    assert_eq!(client.stats().unacknowledged, 6);
}

// Trap 14, the other way round.
#[test]
fn twenty_cuts_of_a_working_link_do_not_spend_the_budget() {
    let rig = Rig::new(five());
    let (client, server) = rig.warm_pair();
    for round in 1..=20 {
        client.send(b"forward").unwrap();
        server.takes(b"forward");
        rig.proxy.cut(How::Rst);
        client.says("resumed, ", round);
    }
    assert_eq!(attempts(&client.log), [1; 20]);
}

// Trap 25: what it is sent kills the server, each time after some progress.
#[test]
fn a_server_that_crashes_on_a_message_is_not_replayed_at_full_speed() {
    let raw = RawServer::new();
    let addr = raw.addr();
    thread::spawn(move || {
        for epoch in 1.. {
            let (mut link, _) = raw.welcome(&Welcome::new(epoch));
            link.send(frame(DATA, b"a reply, so there is progress"));
            link.read_kind(DATA);
            link.end();
        }
    });
    let client = connect(calm().retry(RetryPolicy::fixed(ms(1), 5)), addr);
    client.send(b"poison").unwrap();
    let slow = || {
        let events = client.log.events().into_iter();
        events.filter(|e| matches!(e, Event::Retrying { after, .. } if *after >= ms(800))).count()
    };
    // The first attempts are quick, and then there is one a second.
    until("it slows down", || slow() > 0);
    let quick = attempts(&client.log).len();
    assert!((30..40).contains(&quick), "{quick} attempts");
    client.abort();
    assert_eq!(client.take_unacknowledged(), ["poison"]);
}

// Trap 25.
#[test]
fn a_handler_that_panics_does_not_take_the_message() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    let handler = thread::spawn(move || {
        let server = server.bare();
        while let Some(message) = server.recv().unwrap() {
            if message == "poison" {
                std::panic::resume_unwind(Box::new("it choked"));
            }
        }
    });
    // Together: it may be quick to choke.
    client.feed_many(&["fine", "poison", "behind it"]).unwrap();
    client.flush().unwrap();
    let error = client.recv_timeout(SOON).unwrap_err();
    assert!(matches!(error, Error::PeerClosed { unacknowledged: 2, .. }), "{error:?}");
    assert_eq!(client.take_unacknowledged(), ["poison", "behind it"]);
    assert!(handler.join().is_err());
    // It is over: no replay follows.
    assert_eq!(client.stats().reconnects, 0);
}

#[test]
fn a_final_rejection_ends_the_attempts() {
    for (code, rejection) in [(VERSION, "the server speaks another version"), (99, "code 99")] {
        let raw = RawServer::new();
        let addr = raw.addr();
        let thread = thread::spawn(move || five().connect(addr));
        let (mut link, hello) = raw.accept();
        assert_eq!((hello.version, hello.attempt, hello.epoch), (1, 1, 0));
        link.send(reject(code));
        let error = join(thread).unwrap_err();
        let Error::GaveUp { cause: Cause::Rejected(why), .. } = error else { panic!("{error:?}") };
        assert_eq!((why.to_string().as_str(), why.is_retryable()), (rejection, false));
    }
}

#[test]
fn a_retryable_rejection_is_tried_again() {
    let raw = RawServer::new();
    let addr = raw.addr();
    let thread = thread::spawn(move || connect(five(), addr));
    for (attempt, code) in (1..).zip([FULL, FULL, STALE, PROTOCOL]) {
        let (mut link, hello) = raw.accept();
        assert_eq!(hello.attempt, attempt);
        link.send(reject(code));
    }
    let (_link, hello) = raw.welcome(&Welcome::new(7));
    let client = join(thread);
    assert_eq!(hello.attempt, 5);
    client.says("failed: rejected: the server is full", 2);
}

// Bad input: whatever a server says instead of a welcome is one failed attempt.
#[test]
fn a_server_that_speaks_nonsense_is_a_failed_attempt() {
    let fine = Welcome::new(7);
    let answers: Vec<(&str, Vec<u8>)> = vec![
        ("text", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("zeros", vec![0; 100]),
        ("a huge length", crate::wire::header(1, u32::MAX)),
        ("data first", frame(DATA, b"hello")),
        ("a ping first", ping(1)),
        ("another version", Welcome { version: 2, ..fine }.bytes()),
        ("no epoch", Welcome { epoch: 0, ..fine }.bytes()),
        ("counters of nobody", Welcome { received: 3, ..fine }.bytes()),
        ("a short welcome", frame(1, [0; 3])),
        ("a feature that was not offered", Welcome { features: 1 << 31, ..fine }.bytes()),
        ("an option that lies", longer(&fine.bytes(), b"\0\x01\0\x02a")),
        ("a hello", Hello::new(1).bytes()),
        ("an empty rejection", frame(REJECT, b"")),
        ("a short rejection", frame(REJECT, [1; 9])),
        ("a close of what is not", frame(CLOSE, [0, 0, 0, 0, 0, 0, 0, 0, 9])),
    ];
    let raw = RawServer::new();
    let addr = raw.addr();
    let builder = calm().retry(RetryPolicy::fixed(ms(1), 100));
    let thread = thread::spawn(move || connect(builder, addr));
    for (_, answer) in &answers {
        let (mut link, _) = raw.accept();
        link.send(answer);
        link.read_end();
    }
    let (mut link, hello) = raw.accept();
    assert_eq!(hello.features, 0);
    // Whatever a later server adds is no nonsense.
    link.send(longer(&fine.bytes(), &b"\0\x01\0\x02ab".repeat(500)));
    let client = join(thread);
    let failures = ["protocol violation: ", "the server does not speak longlink"];
    let failed = failures.map(|cause| client.log.count(&format!("failed: {cause}")));
    assert_eq!(failed.iter().sum::<usize>(), answers.len());
    assert_eq!(hello.attempt, answers.len() as u64 + 1);
}

#[test]
fn never_means_one_attempt_at_first_and_none_later() {
    let rig = Rig::new(calm());
    let client = rig.connect_with(calm().retry(RetryPolicy::never()));
    let _server = rig.accept();
    rig.proxy.cut(How::Fin);
    let error = client.recv_timeout(SOON).unwrap_err();
    assert!(matches!(error, Error::GaveUp { cause: Cause::Eof, .. }), "{error:?}");
    rig.proxy.refuse(true);
    let error = builder().retry(RetryPolicy::never()).connect(rig.proxy.addr()).unwrap_err();
    assert!(matches!(error, Error::GaveUp { cause: Cause::Io(_) | Cause::Eof, .. }), "{error:?}");
}

#[test]
fn a_session_is_asked_for_as_long_as_its_server_keeps_it_and_no_longer() {
    // Silence for 0.9 s ends a link of the server, and the client allows for twice as much.
    let known = ms(1000 + 2 * 900);
    let patient = quick().resume_within(ms(1000)).retry(RetryPolicy::fixed(ms(20), 2).while_kept());
    let (rig, log) = (Rig::new(patient.clone()), Log::new("never connected"));
    rig.proxy.refuse(true);
    let error = patient.clone().on_event(log.callback()).connect(rig.proxy.addr()).unwrap_err();
    assert!(matches!(error, Error::GaveUp { .. }), "{error:?}");
    log.says("gave up after 2 attempts", 1);
    rig.proxy.refuse(false);
    let (client, server) = rig.warm_pair();
    rig.proxy.refuse(true);
    rig.proxy.cut(How::Rst);
    client.says("attempt 5", 1);
    rig.proxy.refuse(false);
    client.says("resumed", 1);
    server.send(b"still here").unwrap();
    client.takes(b"still here");
    client.send(b"given back").unwrap();
    server.takes(b"given back");
    rig.proxy.refuse(true);
    rig.proxy.cut(How::Rst);
    let (lost, _) = client.says("lost", 2);
    let (given_up, _) = client.says("gave up", 1);
    assert!(given_up - lost >= known, "{:?}", given_up - lost);
    assert!(given_up - lost <= known + SLACK, "{:?}", given_up - lost);
    let (forgotten, _) = server.says("gave up", 1);
    assert!(forgotten <= given_up, "{:?}", forgotten - given_up);
    let error = client.recv_timeout(SOON).unwrap_err();
    assert!(matches!(error, Error::GaveUp { unacknowledged: 1, .. }), "{error:?}");
    assert_eq!(client.take_unacknowledged(), ["given back"]);
}
