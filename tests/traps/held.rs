//! A pool of workers: what they are done with is acknowledged, in whatever order, and what
//! they have in hand when something fails is not.

use std::io::Read;
use std::thread;

use longlink::{Error, Held, Listener};

use crate::proxy::How;
use crate::rig::{Log, Rig, SOON, Side, calm, has_no_text, join, ms, until};
use crate::wire::Raw;

/// A client and a server, which holds so many messages of it: `[0]`, `[1]`, and so on.
fn holding(rig: &Rig, count: u8) -> (Side, Side, Vec<Held>) {
    let (client, server) = rig.pair();
    (0..count).for_each(|number| client.send([number]).unwrap());
    let held = (0..count).map(|number| hold(&server, number)).collect();
    (client, server, held)
}

#[track_caller]
fn hold(side: &Side, number: u8) -> Held {
    let held = side.recv_held().unwrap().unwrap();
    assert_eq!(**held, [number]);
    held
}

fn all_but_done(held: Vec<Held>, done: &[usize]) -> Vec<Held> {
    let (done, rest): (Vec<_>, Vec<_>) =
        held.into_iter().enumerate().partition(|(index, _)| done.contains(index));
    done.into_iter().rev().for_each(|(_, held)| held.done());
    rest.into_iter().map(|(_, held)| held).collect()
}

/// A server that knows nothing takes the place of the old one.
fn restart(rig: &Rig) -> (Listener, Side) {
    let other = calm().bind("127.0.0.1:0").unwrap();
    rig.proxy.retarget(other.local_addr());
    rig.proxy.cut(How::Rst);
    let server = Side::new(other.accept().unwrap(), Log::new("server"));
    (other, server)
}

// Trap 13.
#[test]
fn a_killed_server_loses_nothing_that_its_workers_had_in_hand() {
    let rig = Rig::new(calm());
    let (client, server, held) = holding(&rig, 5);
    // The receiver has come back for more.
    assert!(matches!(server.try_recv(), Err(Error::WouldBlock)));
    server.done();
    let held = all_but_done(held, &[0, 1, 3]);
    until("the first two are acknowledged", || client.stats().unacknowledged == 3);
    let (_listener, again) = restart(&rig);
    (2..5).for_each(|number| again.takes([number]));
    drop(held);
}

#[test]
fn what_is_done_after_the_link_was_lost_is_acknowledged_on_the_next() {
    let rig = Rig::new(calm());
    let (client, server, held) = holding(&rig, 3);
    let held = all_but_done(held, &[2]);
    rig.proxy.cut(How::Rst);
    server.says("lost", 1);
    let held = all_but_done(held, &[0]);
    client.says("resumed", 1);
    until("the first is acknowledged", || client.stats().unacknowledged == 2);
    assert!(all_but_done(held, &[0]).is_empty());
    client.sync(SOON).unwrap();
    assert_eq!(client.stats().replayed, 0);
}

/// The other way round: the client's pool works on what a server said that is gone. It still
/// takes room, so that sessions which are lost do not add up.
#[test]
fn what_was_held_when_the_session_was_lost_acknowledges_nothing_in_the_next() {
    let rig = Rig::new(calm().window(400).max_message(400));
    let (client, server) = rig.warm_pair();
    server.send([0; 60]).unwrap();
    server.send([0; 60]).unwrap();
    let [first, second] = [(); 2].map(|()| client.recv_held().unwrap().unwrap());
    let (_listener, again) = restart(&rig);
    client.says("new session", 1);
    // Each counts 124.
    let fill = || std::iter::from_fn(|| again.try_send([1; 60]).ok()).count();
    assert_eq!(fill(), 2, "into 152");
    second.done();
    assert!(matches!(again.send_timeout([1; 60], ms(200)), Err(Error::TimedOut)));
    first.done();
    let mut sent = 2;
    until("the whole window is free", || {
        sent += fill();
        sent == 4
    });
    assert_eq!(again.stats().unacknowledged, 4);
    (0..4).for_each(|_| client.takes([1; 60]));
    client.done();
    again.sync(SOON).unwrap();
}

// Trap 25.
#[test]
fn a_worker_that_fails_ends_the_connection_and_says_what_it_failed_on() {
    for panics in [false, true] {
        let rig = Rig::new(calm());
        let (client, server, held) = holding(&rig, 3);
        let mut held = all_but_done(held, &[0, 2]);
        // Another worker's reply is delivered.
        server.send(b"reply").unwrap();
        client.takes(b"reply");
        let held = held.remove(0);
        let failing = thread::spawn(move || {
            let _held = held;
            assert!(!panics, "as it is to");
        });
        until("it has failed", || failing.is_finished());
        assert_eq!(failing.join().is_err(), panics);
        let end = client.recv_timeout(SOON);
        match panics {
            true => {
                assert!(matches!(end, Err(Error::PeerClosed { unacknowledged: 2, .. })), "{end:?}")
            }
            false => assert!(matches!(end, Ok(None)), "{end:?}"),
        }
        client.says("closed", 1);
        assert_eq!(client.take_unacknowledged(), [[1].as_slice(), &[2]]);
        // The receiver and the other workers learn of it.
        assert!(matches!(server.recv_held(), Err(Error::Closed { .. })));
        assert!(matches!(server.send(b"more"), Err(Error::Closed { .. })));
    }
}

// It would not be acknowledged, and so be processed in vain, by those workers that are left.
#[test]
fn nothing_is_received_behind_what_a_worker_failed_on() {
    for panics in [false, true] {
        let rig = Rig::new(calm());
        let (client, server, mut held) = holding(&rig, 1);
        let held = held.remove(0);
        let server = server.bare();
        // One thread waits already, and one comes when more has arrived.
        let (waiting, coming) = (server.clone(), server.clone());
        let waiting = thread::spawn(move || waiting.recv_held());
        let failing = thread::spawn(move || {
            let _held = held;
            assert!(!panics, "as it is to");
        });
        until("it has failed", || failing.is_finished());
        let _ = [client.send([1]), client.send([2])];
        let received = join(waiting);
        assert!(matches!(received, Err(Error::Closed { .. })), "{received:?}");
        assert!(matches!(coming.try_recv(), Err(Error::Closed { .. })));
        let mut messages = Vec::new();
        assert!(matches!(coming.recv_many(&mut messages, 10), Err(Error::Closed { .. })));
    }
}

#[test]
fn no_other_word_speaks_for_what_is_held() {
    let rig = Rig::new(calm());
    for end in ["close", "drop", "abort"] {
        let (client, server, held) = holding(&rig, 2);
        client.finish().unwrap();
        server.takes_end();
        server.done();
        let server = server.bare();
        let ending = thread::spawn(move || {
            match end {
                "close" => server.close().unwrap(),
                "abort" => server.abort(),
                // What is held is no handle: the last one's drop is the drop.
                _ => drop(server),
            }
        });
        let _ = client.recv_timeout(SOON);
        join(ending);
        client.says("closed", 1);
        assert_eq!(client.take_unacknowledged(), [[0].as_slice(), &[1]], "{end}");
        // Afterwards it has nothing to say.
        held.into_iter().for_each(Held::done);
    }
}

/// Both have nothing more to say, and a worker still works.
#[test]
fn the_end_waits_for_the_last_worker() {
    let rig = Rig::new(calm());
    let (client, server, mut held) = holding(&rig, 2);
    server.finish().unwrap();
    let client = client.bare();
    let closing = thread::spawn(move || client.close());
    server.takes_end();
    held.pop().unwrap().done();
    assert!(server.is_connected());
    held.pop().unwrap().done();
    join(closing).unwrap();
    server.says("closed", 1);
    assert!(matches!(server.close(), Ok(())));
}

/// A worker that is late has nothing more to say, be it done or not.
#[test]
fn a_server_that_restarts_is_sent_again_what_its_workers_had_in_hand() {
    let rig = Rig::new(calm());
    let (client, server, held) = holding(&rig, 4);
    let mut held = all_but_done(held, &[0]);
    rig.listener.restart(ms(10));
    held.pop().unwrap().done();
    drop(held);
    assert!(matches!(server.recv_held(), Err(Error::GaveUp { .. })));
    let again = calm().bind("127.0.0.1:0").unwrap();
    rig.proxy.retarget(again.local_addr());
    let server = Side::new(again.accept().unwrap(), Log::new("server"));
    (1..4).for_each(|number| server.takes([number]));
    client.says("new session (old session lost), 3 sent again", 1);
}

/// The window bounds what a pool is given.
#[test]
fn what_is_held_fills_the_window() {
    let rig = Rig::new(calm().window(1000).max_message(1000));
    let (client, server) = rig.warm_pair();
    let fill = || std::iter::from_fn(|| client.try_send([7; 100]).ok()).count();
    let mut held = Vec::new();
    for _ in 0..3 {
        let sent = fill();
        assert_eq!(sent, 1000_usize.div_ceil(164));
        held.extend((0..sent).map(|_| server.recv_held().unwrap().unwrap()));
        assert!(matches!(client.send_timeout([7; 100], ms(20)), Err(Error::TimedOut)));
        let first = held.remove(0);
        held.drain(..).for_each(Held::done);
        assert!(matches!(client.send_timeout([7; 100], ms(20)), Err(Error::TimedOut)));
        first.done();
        client.sync(SOON).unwrap();
    }
}

#[test]
fn plain_text_is_held_by_the_same_program() {
    if has_no_text() {
        return;
    }
    let rig = Rig::new(calm());
    let mut raw = Raw::connect(rig.listener.local_addr());
    raw.send("one\ntwo\nthree\n");
    let server = rig.accept();
    let [one, two, three] = [(); 3].map(|()| server.recv_held().unwrap().unwrap());
    assert_eq!([&one[..], &two[..], &three[..]], [&b"one\n"[..], b"two\n", b"three\n"]);
    three.done();
    one.done();
    assert!(server.is_connected());
    server.send("reply").unwrap();
    // A worker that fails ends the connection here, too.
    drop(two);
    let mut heard = String::new();
    raw.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "reply\n");
}
