//! Servers that are replaced: to a client, a killed and restarted server, an
//! expired session and a failover are one thing.

use std::sync::Arc;

use longlink::{Error, Event, Listener};

use crate::proxy::How;
use crate::rig::{Log, Rig, SOON, Side, at_once, calm, ms, until};
use crate::wire::{ACK, DATA, Hello, Raw, frame};

fn accept(listener: &Listener) -> Side {
    Side::new(listener.accept().unwrap(), Log::new("server"))
}

/// Another server, to which new links go.
fn replace(rig: &Rig) -> Listener {
    let other = calm().bind("127.0.0.1:0").unwrap();
    rig.proxy.retarget(other.local_addr());
    rig.proxy.cut(How::Rst);
    other
}

fn lost_sessions(side: &Side) -> Vec<u64> {
    let lost = side.log.events().into_iter().filter_map(|event| match event {
        Event::SessionLost { unacknowledged, .. } => Some(unacknowledged),
        _ => None,
    });
    lost.collect()
}

// Trap 13.
#[test]
fn what_a_killed_server_had_queued_arrives_at_the_new_one() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    for number in 1..=10u8 {
        client.send([number]).unwrap();
    }
    // All ten are there; one was in the hands of a handler.
    server.takes([1]);
    until("all are received", || client.stats().unacknowledged == 10);
    let other = replace(&rig);
    let again = accept(&other);
    for number in 1..=10u8 {
        again.takes([number]);
    }
    client.says("new session (old session lost), 10 sent again", 1);
    assert_eq!(lost_sessions(&client), [10]);
    assert_eq!(client.stats().sessions_lost, 1);
    assert!(matches!(again.try_recv(), Err(Error::WouldBlock)));
    client.sync(crate::rig::SOON).unwrap();
}

// Trap 13: what was acknowledged is not sent again, and its reply was seen.
#[test]
fn an_acknowledgement_never_overtakes_the_reply() {
    at_once(1..20u8, |count| {
        let rig = Rig::new(calm());
        let (client, server) = rig.pair();
        let server = Arc::new(server);
        let echoed = crate::rig::echo(&server);
        for number in 1..=count {
            client.send([number]).unwrap();
        }
        client.takes([1]);
        let other = replace(&rig);
        let again = accept(&other);
        client.says("new session", 1);
        // What the new server gets begins where the acknowledged ones end.
        let again_count = lost_sessions(&client)[0];
        assert!(again_count <= u64::from(count));
        let first = count - u8::try_from(again_count).unwrap();
        for number in first + 1..=count {
            again.takes([number]);
        }
        // And for all before it there is a reply.
        for number in 2..=first {
            client.takes([number]);
        }
        server.abort();
        drop(echoed);
    });
}

// The same, where it can be seen: many replies wait for room when the
// acknowledgement comes to be owed.
#[test]
fn an_acknowledgement_waits_behind_replies_that_have_no_room() {
    const REPLIES: usize = 160;
    let window = 64 << 20;
    let listener = calm().window(window as usize).bind("127.0.0.1:0").unwrap();
    let hello = Hello { window, ..Hello::new(1) };
    let (mut client, _) = Raw::join(listener.local_addr(), &hello);
    let server = accept(&listener);
    client.send(frame(DATA, b"question"));
    server.takes(b"question");
    for _ in 0..REPLIES {
        server.send([0; 100_000]).unwrap();
    }
    // Now it is done with the question.
    assert!(matches!(server.recv_timeout(ms(100)), Err(Error::TimedOut)));
    let kinds = std::iter::from_fn(|| client.read()).map(|(kind, _)| kind);
    let before: Vec<u8> = kinds.take_while(|&kind| kind != ACK).collect();
    assert_eq!(before, [DATA; REPLIES]);
}

// Trap 23.
#[test]
fn a_failover_and_back_mixes_no_counters() {
    let rig = Rig::new(calm());
    let (client, at_a) = rig.pair();
    for number in 1..=5u8 {
        client.send([number]).unwrap();
        at_a.takes([number]);
        at_a.send([number]).unwrap();
        client.takes([number]);
    }
    assert!(matches!(at_a.recv_timeout(ms(1)), Err(Error::TimedOut)));
    client.sync(crate::rig::SOON).unwrap();

    let b = replace(&rig);
    client.send([6]).unwrap();
    let at_b = accept(&b);
    at_b.takes([6]);
    at_b.send([6]).unwrap();
    client.takes([6]);

    // Back to A, which still has the session under its own epoch.
    rig.proxy.retarget(rig.listener.local_addr());
    rig.proxy.cut(How::Rst);
    client.says("new session", 2);
    client.send([7]).unwrap();
    let again = rig.accept();
    let first = again.take();
    if first[..] == [6] {
        again.takes([7]);
    } else {
        assert_eq!(first[..], [7]);
    }
    again.send([7]).unwrap();
    client.takes([7]);
    let error = at_a.recv_timeout(SOON).unwrap_err();
    assert!(matches!(error, Error::GaveUp { .. }), "{error:?}");
    assert_eq!(client.stats().sessions_lost, 2);
}

// Trap 24.
#[test]
fn a_half_closed_client_is_half_closed_at_the_next_server() {
    for acknowledged in [true, false] {
        let rig = Rig::new(calm());
        let (client, server) = rig.pair();
        client.send(b"question").unwrap();
        client.finish().unwrap();
        server.takes(b"question");
        if acknowledged {
            server.takes_end();
            client.sync(crate::rig::SOON).unwrap();
        }
        let other = replace(&rig);
        let again = accept(&other);
        if !acknowledged {
            again.takes(b"question");
        }
        again.takes_end();
        assert!(matches!(client.send(b"more"), Err(Error::Finished)));
        again.send(b"answer").unwrap();
        again.finish().unwrap();
        client.takes(b"answer");
        client.takes_end();
        again.close().unwrap();
        client.close().unwrap();
    }
}

// Trap 24.
#[test]
fn unread_messages_of_an_old_session_are_not_acknowledged_to_the_new() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    for number in 1..=3u8 {
        server.send([number]).unwrap();
    }
    client.takes([1]);
    // The other two are there, unread.
    client.hears_all();
    client.send(b"keep the order").unwrap();
    server.takes(b"keep the order");

    let other = replace(&rig);
    let again = accept(&other);
    client.says("new session", 1);
    for number in 4..=6u8 {
        again.send([number]).unwrap();
    }
    client.takes([2]);
    client.takes([3]);
    client.takes([4]);
    // Two of the old session and one of the new were handed out, and the
    // first two are done with: the new server may know of none.
    assert!(matches!(again.sync(ms(200)), Err(Error::TimedOut)));
    assert_eq!(again.stats().unacknowledged, 3);
    client.takes([5]);
    until("the first of the new is acknowledged", || again.stats().unacknowledged == 2);
    client.takes([6]);
    assert!(matches!(client.recv_timeout(ms(1)), Err(Error::TimedOut)));
    again.sync(crate::rig::SOON).unwrap();
}

// A server with a smaller limit takes the place of one with a larger.
#[test]
fn a_message_that_the_next_server_would_not_take_ends_it_with_both_sizes() {
    let rig = Rig::new(calm());
    let (client, _server) = rig.pair();
    client.send([0; 5000]).unwrap();
    let small = calm().max_message(1000).bind("127.0.0.1:0").unwrap();
    rig.proxy.retarget(small.local_addr());
    rig.proxy.cut(How::Rst);
    let error = client.recv_timeout(SOON).unwrap_err();
    let Error::GaveUp {
        unacknowledged: 1,
        cause: longlink::Cause::TooLarge { size, limit, .. },
        ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!((size, limit), (5000, 1000));
    assert_eq!(client.take_unacknowledged(), [vec![0; 5000]]);
}
