//! Ends: in order, at once, in the midst of something, and unheard.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use longlink::{Builder, Connection, Error, Heartbeat, RetryPolicy};

use crate::proxy::{Direction, How};
use crate::rig::{
    Log, Rig, SLACK, SOON, Side, at_once, calm, connect, join, ms, now, timed, until,
};
use crate::wire::{CLOSE, DATA, Hello, Raw, RawServer, Welcome, frame, header};

const BRIEF: Duration = ms(300);

/// Gives up closing soon.
fn brief() -> Builder {
    calm().close_timeout(BRIEF)
}

#[track_caller]
fn closes_late(client: &longlink::Connection, unacknowledged: u64) {
    ends_late(client, unacknowledged, |client| client.close());
}

#[track_caller]
fn closes_within(client: &longlink::Connection, unacknowledged: u64) {
    ends_late(client, unacknowledged, |client| client.close_within(BRIEF));
}

#[track_caller]
fn ends_late(
    client: &longlink::Connection,
    unacknowledged: u64,
    close: impl FnOnce(&longlink::Connection) -> longlink::Result<()>,
) {
    let (closed, took) = timed(|| close(client));
    match closed {
        Err(Error::Closed { unacknowledged: open, .. }) => assert_eq!(open, unacknowledged),
        Ok(()) if unacknowledged == 0 => {}
        other => panic!("{other:?}"),
    }
    assert!(took >= BRIEF && took < BRIEF + SLACK, "{took:?}");
    assert_eq!(client.take_unacknowledged().len() as u64, unacknowledged);
}

// Trap 15.
#[test]
fn close_during_a_connect_is_bounded_and_says_what_is_open() {
    let rig = Rig::new(calm());
    let (client, _server) = rig.warm_pair();
    rig.proxy.hold_connect(true);
    rig.proxy.cut(How::Fin);
    client.send(b"one").unwrap();
    client.send(b"two").unwrap();
    assert!(rig.proxy.wait_for(|stats| stats.accepted == 2, SOON));
    closes_within(&client, 2);
}

// Trap 15.
#[test]
fn close_during_a_retry_delay_is_bounded_and_says_what_is_open() {
    let rig = Rig::new(brief());
    let hour = Duration::from_secs(3600);
    let (client, _server) = rig.warm_pair_with(brief().retry(RetryPolicy::fixed(hour, 9)));
    rig.proxy.refuse(true);
    rig.proxy.cut(How::Fin);
    client.send(b"one").unwrap();
    client.says("attempt 2 of 9 in ", 1);
    closes_within(&client, 1);
    client.says("closed, 1 message not acknowledged", 1);
}

// Trap 15.
#[test]
fn close_during_a_reconnect_goes_through_if_there_is_time() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    rig.proxy.hold_connect(true);
    rig.proxy.cut(How::Fin);
    client.send(b"last words").unwrap();
    let client = Arc::new(client);
    let closing = thread::spawn({
        let client = client.clone();
        move || client.close()
    });
    assert!(rig.proxy.wait_for(|stats| stats.accepted == 2, SOON));
    // One that is too large would never be taken.
    let probe = vec![0; client.max_message() + 1];
    until("close has begun", || matches!(client.try_send(&probe), Err(Error::Finished)));
    rig.proxy.hold_connect(false);
    server.takes(b"last words");
    server.takes_end();
    join(closing).unwrap();
}

// Trap 15.
#[test]
fn close_behind_a_blocked_write_is_bounded_and_says_what_is_open() {
    let rig = Rig::new(brief().window(16 << 20));
    let (client, _server) = rig.warm_pair();
    rig.proxy.stall(Direction::Up, true);
    for _ in 0..60 {
        client.send([0; 256 * 1024]).unwrap();
    }
    closes_late(&client, 60);
}

#[test]
fn close_while_the_peer_takes_nothing_is_bounded_and_says_what_is_open() {
    let rig = Rig::new(brief().heartbeat(Heartbeat::every(ms(20)).misses(250)));
    let (client, _server) = rig.warm_pair();
    client.send(b"one").unwrap();
    closes_late(&client, 1);
    // Heartbeats went to and fro meanwhile, and are no headway.
    assert!(client.log.count("heartbeat") > 0);
}

/// An outage of several times the close timeout, before the message has arrived or before its
/// acknowledgement has, for a client and for a server.
#[test]
fn a_close_survives_what_the_connection_would() {
    let cases = [(false, false), (false, true), (true, false), (true, true)];
    at_once(cases, |(server_closes, arrived)| {
        let rig = Rig::new(brief());
        let (client, server) = rig.warm_pair();
        let (closing, other) = if server_closes { (server, client) } else { (client, server) };
        if arrived {
            closing.send(b"last words").unwrap();
            other.takes(b"last words");
        }
        rig.proxy.hold_connect(true);
        rig.proxy.cut(How::Fin);
        closing.says("lost: ", 1);
        if !arrived {
            closing.send(b"last words").unwrap();
        }
        let ended = thread::spawn(move || (timed(|| closing.close()), closing));
        assert!(!rig.proxy.wait_for(|stats| stats.accepted > 2, BRIEF * 3));
        rig.proxy.hold_connect(false);
        if !arrived {
            other.takes(b"last words");
        }
        other.takes_end();
        let ((closed, took), _) = join(ended);
        closed.unwrap_or_else(|e| panic!("{server_closes} {arrived}: {e:?}"));
        assert!(took >= BRIEF * 2, "{took:?}");
    });
}

/// Nothing else bounds it, and there is nothing to deliver but the end.
#[test]
fn a_close_with_unlimited_retries_ends_when_all_is_acknowledged() {
    at_once([false, true], |within| {
        let rig = Rig::new(brief());
        let endless = brief().retry(RetryPolicy::fixed(ms(5), 1).unlimited());
        let (client, _server) = rig.warm_pair_with(endless);
        rig.proxy.refuse(true);
        if !within {
            rig.proxy.cut(How::Fin);
            client.says("lost: ", 1);
        }
        let closing = thread::spawn({
            let client = client.clone();
            move || timed(|| client.close())
        });
        rig.proxy.cut(How::Fin);
        let (closed, took) = join(closing);
        closed.unwrap();
        assert!(took >= BRIEF, "the link may come back: {took:?}");
    });
}

/// Each link by itself lasts for less than the close timeout.
#[test]
fn a_close_ends_while_links_break_and_the_peer_takes_nothing() {
    let rig = Rig::new(calm());
    let (client, _server) = rig.warm_pair_with(brief());
    client.send(b"not taken").unwrap();
    let closing = thread::spawn({
        let client = client.clone();
        move || client.close()
    });
    let ended = (1..50).any(|nth| {
        let begun = now();
        until("a link has lasted", || begun.elapsed() > BRIEF / 4 || closing.is_finished());
        rig.proxy.cut(How::Rst);
        until("another is up", || client.log.count("resumed, ") == nth || closing.is_finished());
        closing.is_finished()
    });
    assert!(ended);
    let error = join(closing).unwrap_err();
    assert!(matches!(error, Error::Closed { unacknowledged: 1, .. }), "{error:?}");
}

/// One message, of which nothing is acknowledged before all of it is here.
#[test]
fn a_close_goes_on_while_its_message_moves_on_a_slow_way() {
    // The kernels acknowledge 128 KiB at once, which takes 160 ms. A busy machine needs longer, and
    // what its kernel drops for lack of room comes again after 0.2 s, 0.4 s more, 0.8 s more ...
    let patience = ms(4000);
    let rig = Rig::new(calm().close_timeout(patience).window(8 << 20).max_message(4 << 20));
    let (client, server) = rig.warm_pair();
    rig.proxy.pace(ms(20));
    let large = vec![7; 4 << 20];
    client.send(&large).unwrap();
    let closing = thread::spawn(move || timed(|| client.close()));
    server.takes(&large);
    server.takes_end();
    let (closed, took) = join(closing);
    closed.unwrap();
    assert!(took >= patience + BRIEF, "too quick to show anything: {took:?}");
}

/// The handler fails on a message, and the peer's end has come, or comes then.
#[test]
fn a_handler_that_fails_acknowledges_nothing_on_any_path() {
    for finish in [false, true] {
        let rig = Rig::new(calm());
        let (client, server) = rig.pair();
        client.send(b"done with").unwrap();
        client.send(b"failed on").unwrap();
        if finish {
            client.finish().unwrap();
        }
        server.takes(b"done with");
        server.takes(b"failed on");
        server.send(b"a reply").unwrap();
        drop(server.bare());
        client.takes(b"a reply");
        client.takes_end();
        let error = client.sync(SOON).unwrap_err();
        assert!(matches!(error, Error::PeerClosed { unacknowledged: 1, .. }), "{error:?}");
        assert_eq!(client.take_unacknowledged(), ["failed on"]);
    }
}

#[test]
fn a_handler_that_is_done_may_return() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    client.send(b"question").unwrap();
    server.takes(b"question");
    server.send(b"answer").unwrap();
    server.done();
    drop(server.bare());
    client.takes(b"answer");
    client.takes_end();
    client.close().unwrap();
}

// Trap 15.
#[test]
fn close_during_a_replay_delivers_it() {
    let rig = Rig::new(calm().window(16 << 20));
    let (client, server) = rig.warm_pair();
    rig.proxy.stall(Direction::Up, true);
    for i in 0..60 {
        client.send([i; 256 * 1024]).unwrap();
    }
    rig.proxy.cut(How::Fin);
    rig.proxy.stall(Direction::Up, false);
    client.says("resumed, ", 1);
    let closing = thread::spawn(move || (client.close(), client));
    for i in 0..60 {
        server.takes([i; 256 * 1024]);
    }
    server.takes_end();
    let (closed, client) = join(closing);
    closed.unwrap();
    assert_eq!(client.stats().reconnects, 1);
}

// Trap 15.
#[test]
fn close_against_data_in_flight_tells_how_far_it_was_read() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    for i in 0..10u8 {
        server.send([i]).unwrap();
    }
    for i in 0..4u8 {
        client.takes([i]);
    }
    // Closing, the application is done with the four it was given.
    let closing = thread::spawn(move || client.close());
    server.takes_end();
    join(closing).unwrap();
    server.says("closed, 6 messages not acknowledged", 1);
    let error = server.send(b"more").unwrap_err();
    assert!(matches!(error, Error::PeerClosed { unacknowledged: 6, .. }), "{error:?}");
    assert_eq!(
        server.take_unacknowledged(),
        [b"\x04", b"\x05", b"\x06", b"\x07", b"\x08", b"\x09"].map(|m| &m[..])
    );
}

// Trap 15.
#[test]
fn both_close_at_once() {
    let rig = Rig::new(calm());
    for _ in 0..20 {
        let (client, server) = rig.pair();
        client.send(b"up").unwrap();
        server.takes(b"up");
        let other = thread::spawn(move || server.close());
        client.close().unwrap();
        join(other).unwrap();
    }
}

/// Cuts at each offset of what goes one way while a connection ends in order.
fn cut_the_end(direction: Direction, how: How, step: usize) {
    let rig = Rig::new(calm());
    for offset in (0..70).step_by(step) {
        let (client, server) = rig.pair();
        client.send(b"before").unwrap();
        server.takes(b"before");
        rig.proxy.cut_after(direction, offset, how);
        client.send(b"last").unwrap();
        let closing = thread::spawn(move || (client.close(), client));
        server.takes(b"last");
        server.takes_end();
        let ((closed, client), took) = timed(|| {
            let closed = server.close();
            closed.unwrap_or_else(|e| panic!("server, {offset}: {e:?}"));
            join(closing)
        });
        closed.unwrap_or_else(|e| panic!("client, {offset}: {e:?}"));
        // A reset takes the proxy its time; the bound on closing would take longer.
        assert!(took < SOON / 3, "{offset}: {took:?}");
        assert_eq!(client.take_unacknowledged().len() + server.take_unacknowledged().len(), 0);
        assert_eq!(client.stats().sessions_lost, 0);
    }
}

// Trap 15: the last acknowledgement, the last words, and their answers are lost.
#[test]
fn an_end_that_is_cut_anywhere_up_is_learnt() {
    cut_the_end(Direction::Up, How::Fin, 1);
    cut_the_end(Direction::Up, How::Rst, 5);
}

// Trap 15.
#[test]
fn an_end_that_is_cut_anywhere_down_is_learnt() {
    cut_the_end(Direction::Down, How::Fin, 1);
    cut_the_end(Direction::Down, How::Rst, 5);
}

// Trap 15: the server has closed, and the client was not there to hear it.
#[test]
fn a_client_that_was_away_learns_the_end() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    for message in ["one", "two"] {
        client.send(message.as_bytes()).unwrap();
    }
    server.takes(b"one");
    rig.proxy.hold_connect(true);
    rig.proxy.cut(How::Fin);
    server.says("lost: ", 1);
    let closed = server.close_within(BRIEF);
    assert!(closed.is_ok(), "{closed:?}");
    rig.proxy.hold_connect(false);
    let error = client.recv_timeout(SOON).unwrap_err();
    assert!(matches!(error, Error::PeerClosed { unacknowledged: 1, .. }), "{error:?}");
    assert_eq!(client.take_unacknowledged(), ["two"]);
    assert_eq!(client.stats().sessions_lost, 0);
}

#[test]
fn a_dropped_connection_says_what_it_had_to_say() {
    let rig = Rig::new(calm().window(16 << 20));
    let (client, server) = rig.pair();
    for i in 0..40 {
        client.send([i; 256 * 1024]).unwrap();
    }
    let (_, took) = timed(|| drop(client.bare()));
    assert!(took < SLACK, "drop took {took:?}");
    for i in 0..40 {
        server.takes([i; 256 * 1024]);
    }
    server.takes_end();
    server.close().unwrap();
}

#[test]
fn a_dropped_connection_does_not_take_what_it_did_not_read() {
    for done in [false, true] {
        let rig = Rig::new(calm());
        let (client, server) = rig.pair();
        for message in ["read", "unread", "unread"] {
            server.send(message.as_bytes()).unwrap();
        }
        client.takes(b"read");
        if done {
            client.done();
        }
        drop(client.bare());
        let error = server.close().unwrap_err();
        assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
        assert_eq!(error.unacknowledged(), Some(if done { 2 } else { 3 }));
    }
}

#[test]
fn a_connection_dropped_by_a_panic_aborts() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    server.send(b"in its hands").unwrap();
    let handler = thread::spawn(move || {
        client.takes(b"in its hands");
        let _client = client.bare();
        std::panic::resume_unwind(Box::new("it choked"));
    });
    assert!(handler.join().is_err());
    let error = server.recv_timeout(SOON).unwrap_err();
    assert!(matches!(error, Error::PeerClosed { unacknowledged: 1, .. }), "{error:?}");
}

#[test]
fn abort_ends_both_sides_at_once() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    let client = Arc::new(client);
    let receiving = thread::spawn({
        let client = client.clone();
        move || client.recv()
    });
    client.send(b"one").unwrap();
    server.takes(b"one");
    let (_, took) = timed(|| {
        client.abort();
        let received = join(receiving);
        assert!(matches!(received, Err(Error::Closed { .. })), "{received:?}");
    });
    assert!(took < SLACK, "{took:?}");
    assert!(matches!(server.recv(), Err(Error::PeerClosed { unacknowledged: 0, .. })));
    assert!(matches!(client.send(b"more"), Err(Error::Closed { .. })));
    client.abort();
}

/// Ends a connection in whose `recv` a thread waits. Returns how long it takes until the peer
/// counts as told.
fn end_a_receiver(by_client: bool, end: fn(&Side)) -> Duration {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    let (ending, other) = if by_client { (&client, &server) } else { (&server, &client) };
    let told = thread::scope(|scope| {
        let receiving = scope.spawn(|| ending.recv());
        other.hears_all();
        let (_, told) = timed(|| {
            end(ending);
            ending.close_within(SOON).unwrap();
        });
        let received = receiving.join().unwrap();
        assert!(matches!(received, Err(Error::Closed { .. })), "{received:?}");
        told
    });
    let error = other.recv_timeout(SOON).unwrap_err();
    assert!(matches!(error, Error::PeerClosed { .. } | Error::Refused { .. }), "{error:?}");
    assert_eq!(rig.proxy.stats().accepted, 1);
    for side in [&client, &server] {
        assert_eq!((side.stats().reconnects, side.log.count("lost")), (0, 0));
    }
    told
}

/// Trap 15: else it costs another link to tell what the peer knows, and a program that is interrupted
/// takes its time to leave.
#[test]
fn an_end_that_frees_a_receiver_is_told_at_once_and_on_the_same_link() {
    let panics = |side: &Side| {
        let handle = Connection::clone(side);
        let choked = || {
            let _handle = handle;
            std::panic::resume_unwind(Box::new("it choked"));
        };
        assert!(thread::scope(|scope| scope.spawn(choked).join()).is_err());
    };
    type Way = (&'static str, bool, fn(&Side));
    let ways: [Way; 6] = [
        ("a client's abort", true, |side| side.abort()),
        ("a client's abort, of which it may be told late", true, |side| side.abort_within(SOON)),
        ("a client's panic", true, panics),
        ("a server's abort", false, |side| side.abort()),
        ("a server's panic", false, panics),
        ("a refusal", false, |side| side.refuse(7, "no")),
    ];
    at_once(ways, |(way, by_client, end)| {
        // A machine may be busy for a while.
        let times: Vec<_> = (0..5).map(|_| end_a_receiver(by_client, end)).collect();
        assert!(times.iter().any(|told| *told < ms(200)), "{way}: {times:?}");
    });
}

/// Trap 15: its path may be dead, and nothing else would tell.
#[test]
fn an_abort_that_does_not_arrive_is_told_over_another_link() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    thread::scope(|scope| {
        let receiving = scope.spawn(|| client.recv());
        server.hears_all();
        rig.proxy.stall(Direction::Up, true);
        // More than the kernels between take. A batch is written by the thread that fills it.
        while client.try_send([0; 64 * 1024]).is_ok() {}
        client.abort_within(SOON);
        assert!(receiving.join().unwrap().is_err());
    });
    assert!(rig.proxy.wait_for(|stats| stats.accepted == 2, SOON));
    rig.proxy.stall(Direction::Up, false);
    until("the server knows", || {
        matches!(server.recv_timeout(SOON), Err(Error::PeerClosed { .. }))
    });
}

#[test]
fn an_abort_is_told_when_there_is_a_link_again_if_it_may_take_that_long() {
    at_once([false, true], |patient| {
        let rig = Rig::new(calm());
        let (client, server) = rig.warm_pair();
        rig.proxy.refuse(true);
        rig.proxy.cut(How::Fin);
        server.says("lost: ", 1);
        match patient {
            true => client.abort_within(SOON),
            false => client.abort(),
        }
        drop(client.bare());
        // An abort is told for a second.
        let early = server.recv_timeout(ms(2000));
        assert!(matches!(early, Err(Error::TimedOut)), "{early:?}");
        rig.proxy.refuse(false);
        let told = server.recv_timeout(if patient { SOON } else { ms(500) });
        match patient {
            true => assert!(matches!(told, Err(Error::PeerClosed { .. })), "{told:?}"),
            false => assert!(matches!(told, Err(Error::TimedOut)), "{told:?}"),
        }
    });
}

#[test]
fn a_full_window_gives_way_when_the_peer_closes() {
    let rig = Rig::new(brief().window(10_000));
    let (client, server) = rig.pair();
    let sending = thread::spawn(move || {
        let mut sent = 0;
        loop {
            match client.send([0; 1000]) {
                Ok(()) => sent += 1,
                Err(e) => return (e, sent, client.take_unacknowledged().len()),
            }
        }
    });
    until("the sender is blocked", || !sending.is_finished());
    server.take();
    server.take();
    // The sender does not take our end; what it is told is how far it was read.
    server.close().unwrap();
    let (error, sent, left) = join(sending);
    assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
    assert_eq!(error.unacknowledged(), Some(left as u64));
    assert_eq!(sent - left, 2);
}

#[test]
fn an_end_is_gone_from_the_server_soon() {
    let rig = Rig::new(calm().max_clients(1));
    for _ in 0..10 {
        // There is room for the next one only once this one is counted out.
        let (client, server) = rig.pair_with(calm().retry(RetryPolicy::fixed(ms(20), 500)));
        client.send(b"bye").unwrap();
        server.takes(b"bye");
        let closing = thread::spawn(move || client.close());
        server.takes_end();
        server.close().unwrap();
        join(closing).unwrap();
    }
}

/// A CLOSE, and what cannot be decoded, or would break the rules anywhere else.
fn closes_and_more() -> Vec<Vec<u8>> {
    let close = frame(CLOSE, [1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let behind = [
        vec![0xFF; 100],
        header(DATA, u32::MAX),
        header(DATA, 200_000),
        frame(DATA, b"too late"),
        frame(CLOSE, b""),
        frame(CLOSE, [9; 9]),
        Hello::new(1).bytes(),
        vec![0; 100_000],
    ];
    behind.map(|behind| [&close[..], &behind].concat()).into()
}

#[test]
fn a_server_honours_a_close_whatever_follows_it() {
    let listener = calm().bind("127.0.0.1:0").unwrap();
    for (token, bytes) in (0..).zip(closes_and_more()) {
        let (mut raw, _) = Raw::join(listener.local_addr(), &Hello::new(token));
        let side = Side::new(listener.accept().unwrap(), Log::new("server"));
        raw.send(&bytes);
        assert_eq!(raw.read_end(), [CLOSE], "case {token}");
        let ended = side.recv_timeout(SOON);
        assert!(matches!(ended, Err(Error::PeerClosed { .. })), "case {token}: {ended:?}");
        assert_eq!(side.log.count("protocol"), 0, "case {token}");
    }
}

#[test]
fn a_client_honours_a_close_whatever_follows_it() {
    let server = RawServer::new();
    for (case, bytes) in closes_and_more().into_iter().enumerate() {
        let addr = server.addr();
        let connecting = thread::spawn(move || connect(calm(), addr));
        // Together with the welcome, or by itself.
        let (mut raw, _) = server.accept();
        match case % 2 {
            0 => raw.send([&Welcome::new(1).bytes()[..], &bytes].concat()),
            _ => {
                raw.send(Welcome::new(1).bytes());
                raw.send(&bytes);
            }
        }
        assert_eq!(raw.read_end(), [CLOSE], "case {case}");
        let client = join(connecting);
        let ended = client.recv_timeout(SOON);
        assert!(matches!(ended, Err(Error::PeerClosed { .. })), "case {case}: {ended:?}");
        assert_eq!(client.log.count("protocol"), 0, "case {case}");
    }
}

/// To a client that comes back.
#[test]
fn an_end_that_answers_a_hello_is_honoured_whatever_follows_it() {
    let server = RawServer::new();
    for (case, bytes) in closes_and_more().into_iter().enumerate() {
        let addr = server.addr();
        let connecting = thread::spawn(move || connect(calm(), addr));
        drop(server.welcome(&Welcome::new(1)));
        let client = join(connecting);
        let (mut raw, hello) = server.accept();
        assert_eq!(hello.epoch, 1);
        raw.send(&bytes);
        let ended = client.recv_timeout(SOON);
        assert!(matches!(ended, Err(Error::PeerClosed { .. })), "case {case}: {ended:?}");
    }
}
