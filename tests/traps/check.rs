//! Links that are looked at because the application asks for it.

use std::thread;
use std::time::Duration;

use longlink::{Builder, Connection, Heartbeat, RetryPolicy};

use crate::proxy::{Direction, How};
use crate::rig::{Rig, SLACK, SOON, Side, calm, join, ms, now, until};

const WITHIN: Duration = ms(400);
/// More than the kernels of a proxy take in.
const MUCH: &[u8] = &[7; 900_000];

fn settings() -> Builder {
    calm().connect_timeout(WITHIN).max_message(MUCH.len())
}

#[test]
fn a_live_link_answers_a_check_with_heartbeats_and_without() {
    for builder in [settings(), settings().heartbeat(Heartbeat::off())] {
        let rig = Rig::new(builder);
        let (client, server) = rig.warm_pair();
        for side in [&client, &server] {
            side.check();
            side.says("heartbeat ", 1);
        }
        for side in [&client, &server] {
            side.check();
            assert!(side.is_connected());
            assert_eq!(side.log.count("lost: "), 0);
        }
    }
}

/// Nothing more of this side arrives, and nothing says so.
fn a_stuck_link_is_found(builder: Builder, stuck: Direction) {
    let rig = Rig::new(builder);
    let (client, server) = rig.warm_pair();
    let (from, to) = match stuck {
        Direction::Up => (&client, &server),
        Direction::Down => (&server, &client),
    };
    rig.proxy.stall(stuck, true);
    from.send(MUCH).unwrap();
    let begun = now();
    // As long as bytes move, a check is answered.
    until("a check finds the link dead", || {
        from.check();
        from.log.count("lost: nothing heard for ") > 0
    });
    assert!(begun.elapsed() < WITHIN * 2 + SLACK, "{:?}", begun.elapsed());
    rig.proxy.stall(stuck, false);
    client.says("resumed, ", 1);
    to.takes(MUCH);
}

#[test]
fn a_check_finds_that_nothing_arrives_at_the_server() {
    a_stuck_link_is_found(settings(), Direction::Up);
}

#[test]
fn a_check_finds_that_nothing_arrives_at_the_client() {
    a_stuck_link_is_found(settings(), Direction::Down);
}

#[test]
fn a_check_finds_it_without_heartbeats_too() {
    a_stuck_link_is_found(settings().heartbeat(Heartbeat::off()), Direction::Up);
}

/// A client that waits for an attempt that is far away, since no server answers.
fn waiting(rig: &Rig) -> (Side, Side) {
    let (client, server) = rig.warm_pair();
    rig.proxy.refuse(true);
    rig.proxy.cut(How::Rst);
    client.says("attempt 2 of 5", 1);
    (client, server)
}

fn patient() -> Builder {
    settings().retry(RetryPolicy::fixed(Duration::from_secs(600), 5))
}

#[test]
fn a_client_that_waits_tries_at_once_when_it_is_told_to_check() {
    let rig = Rig::new(patient());
    let (client, server) = waiting(&rig);
    rig.proxy.refuse(false);
    let begun = now();
    client.check();
    client.says("resumed, ", 1);
    assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());
    client.send(b"here again").unwrap();
    server.takes(b"here again");
}

#[test]
fn to_ask_often_does_not_spend_the_attempts() {
    let rig = Rig::new(patient());
    let (client, _server) = waiting(&rig);
    for asked in 1..10 {
        client.check();
        client.says("failed: ", 1 + asked);
        client.says("attempt 2 of 5", 1 + asked);
    }
    rig.proxy.refuse(false);
    client.check();
    client.says("resumed, ", 1);
}

#[test]
fn a_check_does_nothing_to_what_is_over_or_blocked() {
    let rig = Rig::new(settings());
    let (client, server) = rig.warm_pair();
    let client = client.bare();
    let client = std::sync::Arc::new(client);
    let receiving = thread::spawn({
        let client = client.clone();
        move || client.recv_timeout(SOON)
    });
    client.check();
    server.send(b"news").unwrap();
    assert_eq!(join(receiving).unwrap().as_deref(), Some(&b"news"[..]));
    client.abort();
    client.check();
    assert!(!client.is_connected());
    let never: fn(&Connection) = Connection::check;
    never(&client);
}
