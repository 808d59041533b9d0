//! Many messages by one call.

use std::sync::Arc;
use std::thread;

use longlink::{Bytes, Connection, Error, Taken};

use crate::SOON;
use crate::rig::{Rig, Side, calm, join, until};

/// Cost 100 of a window.
fn messages(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{number:036}")).collect()
}

/// Else the rest is lost in the hands of a caller who takes no notice of a number.
#[test]
fn all_are_taken_and_each_waits_for_room() {
    let rig = Rig::new(calm().window(1000));
    let (client, server) = rig.pair();
    let all = messages(0..200);
    let client = Arc::new(client);
    let feeding = thread::spawn({
        let (client, all) = (client.clone(), all.clone());
        move || {
            client.feed_many(&all).unwrap();
            client.flush().unwrap();
        }
    });
    for message in &all {
        server.takes(message);
    }
    join(feeding);
    assert_eq!(client.stats().messages_sent, 200);
    client.feed_many::<Bytes>(&[]).unwrap();
}

#[test]
fn those_that_one_call_takes_are_as_many_as_the_window_has_room_for() {
    let rig = Rig::new(calm().window(1000));
    let (client, server) = rig.pair();
    let all = messages(0..25);
    assert_eq!(client.feed_some(&all).unwrap(), Taken(10));
    assert_eq!(client.stats().messages_sent, 10);
    // The next call waits, for one of them at least.
    let (client, rest) = (Arc::new(client), all[10..].to_vec());
    let feeding = thread::spawn({
        let client = client.clone();
        move || {
            let mut rest = &rest[..];
            while !rest.is_empty() {
                let Taken(count) = client.feed_some(rest).unwrap();
                assert!(count > 0, "it returned without a message");
                rest = &rest[count..];
            }
            client.flush().unwrap();
        }
    });
    for message in &all {
        server.takes(message);
    }
    join(feeding);
    assert_eq!(client.stats().messages_sent, 25);
    assert_eq!(client.feed_some::<Bytes>(&[]).unwrap(), Taken(0));
}

#[test]
fn one_that_is_too_large_fails_a_call_that_takes_all_before_any_is_taken() {
    let rig = Rig::new(calm().max_message(10));
    let (client, server) = rig.pair();
    // One in the first piece, and one far behind it.
    for place in [2, 150] {
        let mut all = messages_of_two(200);
        all[place] = "far too large".into();
        let error = client.feed_many(&all).unwrap_err();
        assert!(matches!(error, Error::TooLarge { size: 13, limit: 10, .. }), "{error:?}");
        assert_eq!(client.stats().messages_sent, 0, "{place}");
    }
    client.finish().unwrap();
    assert!(matches!(client.feed_many(&["x", "far too large"]), Err(Error::Finished)));
    server.takes_end();
    client.abort();
    assert!(matches!(client.feed_many(&["x", "far too large"]), Err(Error::Closed { .. })));
}

fn messages_of_two(count: usize) -> Vec<String> {
    vec!["ok".into(); count]
}

#[test]
fn one_that_is_too_large_ends_a_call_that_takes_some_and_fails_the_next() {
    let rig = Rig::new(calm().max_message(10));
    let (client, server) = rig.pair();
    let all = ["one", "two", "far too large", "three"];
    assert_eq!(client.feed_some(&all).unwrap(), Taken(2));
    let error = client.feed_some(&all[2..]).unwrap_err();
    assert!(matches!(error, Error::TooLarge { size: 13, limit: 10, .. }), "{error:?}");
    assert_eq!(client.feed_some(&all[3..]).unwrap(), Taken(1));
    client.finish().unwrap();
    assert!(matches!(client.feed_some(&all), Err(Error::Finished)));
    for message in ["one", "two", "three"] {
        server.takes(message);
    }
    server.takes_end();
}

/// Also that which was taken by a call before, of the same list.
#[test]
fn an_end_that_comes_between_tells_what_was_taken() {
    let (client, (fed, error)) = end_while_feeding(|client, all| {
        let mut fed = 0;
        loop {
            match client.feed_some(&all[fed..]) {
                Ok(Taken(count)) => fed += count,
                Err(error) => return (fed, error),
            }
        }
    });
    assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
    check_kept(&client, fed);
}

#[test]
fn what_a_call_had_taken_when_the_end_came_is_kept_and_nothing_else() {
    let (client, error) = end_while_feeding(|client, all| client.feed_many(all).unwrap_err());
    assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
    check_kept(&client, client.stats().messages_sent as usize);
}

/// The client feeds messages for which there is no room, and the end comes when it has
/// five acknowledged.
fn end_while_feeding<T: Send + 'static>(
    feed: impl FnOnce(&Connection, &[String]) -> T + Send + 'static,
) -> (Arc<Side>, T) {
    let rig = Rig::new(calm().window(1000));
    let (client, server) = rig.pair();
    let client = Arc::new(client);
    let feeding = thread::spawn({
        let client = client.clone();
        move || feed(&client, &messages(0..25))
    });
    // It waits for room meanwhile.
    for message in messages(0..5) {
        server.takes(message);
    }
    server.abort();
    (client, join(feeding))
}

fn check_kept(client: &Connection, fed: usize) {
    let kept = client.take_unacknowledged();
    assert!((10..15).contains(&fed), "{fed}");
    assert_eq!(kept, messages(fed - kept.len()..fed));
    // The last was not acknowledged, or it was but now.
    assert!((fed - 5..=fed - 4).contains(&kept.len()), "{fed}, {}", kept.len());
}

#[test]
fn those_of_one_call_stay_together() {
    const CALLS: usize = 200;
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    let client = Arc::new(client);
    let senders: Vec<_> = (0..3)
        .map(|sender| {
            let client = client.clone();
            thread::spawn(move || {
                for call in 0..CALLS {
                    let all = [0, 1, 2, 3].map(|n| format!("{sender} {call} {n}"));
                    client.feed_many(&all).unwrap();
                }
                client.flush().unwrap();
            })
        })
        .collect();
    let mut calls = [0; 3];
    for _ in 0..3 * CALLS {
        let first = String::from_utf8(server.take().to_vec()).unwrap();
        let sender: usize = first[..1].parse().unwrap();
        let call = calls[sender];
        assert_eq!(first, format!("{sender} {call} 0"));
        for n in 1..4 {
            server.takes(format!("{sender} {call} {n}"));
        }
        calls[sender] += 1;
    }
    senders.into_iter().for_each(join);
}

#[test]
fn those_that_have_come_are_handed_out_together_and_acknowledged_by_the_next_call() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    let all = messages(0..10);
    client.feed_many(&all).unwrap();
    client.finish().unwrap();
    // With the first the others have come.
    let mut received = vec![server.take()];
    assert_eq!(server.recv_many(&mut received, 4).unwrap(), 4);
    assert_eq!(received, all[..5]);
    // An acknowledgement of the first.
    until("one is acknowledged", || client.stats().unacknowledged < 10);
    assert_eq!(client.stats().unacknowledged, 9);
    assert_eq!(client.stats().unacknowledged_bytes, 9 * 36);
    assert_eq!(server.recv_many(&mut received, 0).unwrap(), 1);
    until("five are acknowledged", || client.stats().unacknowledged < 9);
    assert_eq!(client.stats().unacknowledged, 5);
    // The end is never among them: it would acknowledge them.
    assert_eq!(server.recv_many(&mut received, 100).unwrap(), 4);
    assert_eq!(received, all);
    until("six are acknowledged", || client.stats().unacknowledged < 5);
    assert_eq!(client.stats().unacknowledged, 4);
    for _ in 0..2 {
        assert_eq!(server.recv_many(&mut received, 100).unwrap(), 0);
    }
    client.sync(SOON).unwrap();
    assert_eq!(received, all);
}

#[test]
fn those_that_had_come_are_handed_out_before_the_error() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    client.feed_many(&["one", "two"]).unwrap();
    client.abort();
    let mut received = Vec::new();
    while received.len() < 2 {
        server.recv_many(&mut received, 100).unwrap();
    }
    let error = server.recv_many(&mut received, 100).unwrap_err();
    assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
    assert_eq!(received, [&b"one"[..], b"two"]);
}
