//! What the documentation says of each method, and promises in situations in which that was
//! once not kept.

use std::io::{self, BufRead, Read, Write};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use longlink::{
    Bytes, Cause, Connection, Error, Event, Heartbeat, Listener, Rejection, RetryPolicy, Stats,
    ToHosts,
};

use crate::port::Reserved;
use crate::proxy::How;
use crate::rig::{Log, Rig, SLACK, SOON, Side, builder, calm, connect, join, ms, timed, until};
use crate::wire::{CLOSE, FIN, RawServer, Welcome, ack, frame};

#[test]
fn handles_are_shared_between_threads_and_errors_are_small() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Connection>();
    shared::<Listener>();
    shared::<Error>();
    shared::<Event>();
    shared::<longlink::Builder>();
    fn error<T: std::error::Error + Clone>() {}
    error::<Error>();
    error::<Cause>();
    assert!(size_of::<Error>() <= 64, "{}", size_of::<Error>());
    assert_eq!(size_of::<Result<Option<Bytes>, Error>>(), size_of::<Error>());
    assert_eq!(size_of::<Connection>(), size_of::<usize>());
}

#[test]
fn errors_say_what_they_are() {
    for (error, last, open) in [
        (Error::TimedOut, false, None),
        (Error::WouldBlock, false, None),
        (Error::Finished, false, None),
    ] {
        assert_eq!((error.is_final(), error.unacknowledged()), (last, open), "{error}");
    }
    for (rejection, again) in [
        (Rejection::Full, true),
        (Rejection::ShuttingDown, true),
        (Rejection::Version, false),
        (Rejection::Stale, true),
        (Rejection::Ended, false),
        (Rejection::Protocol, true),
    ] {
        assert_eq!(rejection.is_retryable(), again, "{rejection}");
    }
}

#[test]
fn waits_are_as_long_as_they_are_given() {
    let rig = Rig::new(calm().window(1000));
    let (client, _server) = rig.pair();
    assert!(matches!(client.try_recv(), Err(Error::WouldBlock)));
    while client.try_send([0; 100]).is_ok() {}
    assert!(matches!(client.try_send(b""), Err(Error::WouldBlock)));
    type Call<'a> = &'a dyn Fn() -> Result<(), Error>;
    for time in [ms(0), ms(1), ms(120)] {
        let calls: [(&str, Call<'_>); 3] = [
            ("recv_timeout", &|| client.recv_timeout(time).map(drop)),
            ("send_timeout", &|| client.send_timeout(b"", time)),
            ("sync", &|| client.sync(time)),
        ];
        for (name, call) in calls {
            let (result, took) = timed(call);
            assert!(matches!(result, Err(Error::TimedOut)), "{name} {result:?}");
            assert!(took >= time && took < time + SLACK, "{name} {time:?}: {took:?}");
        }
    }
}

#[test]
fn a_timed_wait_keeps_its_time_while_others_read() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    let client = Arc::new(client);
    let forever = thread::spawn({
        let client = client.clone();
        move || client.recv()
    });
    let (result, took) = timed(|| client.recv_timeout(ms(150)));
    assert!(matches!(result, Err(Error::TimedOut)), "{result:?}");
    assert!(took >= ms(150) && took < ms(150) + SLACK, "{took:?}");
    client.send(b"unacknowledged").unwrap();
    assert!(matches!(client.sync(ms(50)), Err(Error::TimedOut)));
    server.send(b"for the other").unwrap();
    assert_eq!(join(forever).unwrap().unwrap(), "for the other");
}

#[test]
fn a_long_timeout_is_no_timeout() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    client.send(b"x").unwrap();
    for time in [Duration::MAX, Duration::from_secs(u64::MAX >> 1)] {
        client.send_timeout(b"x", time).unwrap();
        assert_eq!(server.recv_timeout(time).unwrap().unwrap(), "x");
    }
}

#[test]
fn too_large_names_both_sizes_and_leaves_the_connection() {
    let rig = Rig::new(calm().max_message(2000));
    for (ours, limit) in [(1000, 1000), (5000, 2000)] {
        let (client, server) = rig.pair_with(calm().max_message(ours));
        assert_eq!((client.max_message(), server.max_message()), (limit, limit));
        let large = vec![1; limit + 1];
        for side in [&client, &server] {
            for result in [
                side.send(&large),
                side.try_send(&large),
                side.feed(&large),
                side.send_timeout(&large, ms(1)),
                side.send_bytes(large.clone()),
                side.feed_bytes(large.clone()),
            ] {
                let Err(Error::TooLarge { size, limit: named, .. }) = result else {
                    panic!("{result:?}");
                };
                assert_eq!((size, named), (limit + 1, limit));
            }
            side.send(&large[1..]).unwrap();
            side.send(b"").unwrap();
        }
        for side in [&client, &server] {
            side.takes(&large[1..]);
            side.takes(b"");
        }
    }
}

#[test]
fn the_window_bounds_the_largest_message() {
    let rig = Rig::new(calm().window(500).max_message(100_000));
    let (client, server) = rig.pair();
    assert_eq!(client.max_message(), 500);
    for _ in 0..10 {
        client.send([1; 500]).unwrap();
        server.takes([1; 500]);
        // Owed acknowledgements make room.
        assert!(matches!(server.try_recv(), Err(Error::WouldBlock)));
    }
}

#[test]
fn finish_ends_one_direction() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    client.send(b"last").unwrap();
    client.finish().unwrap();
    client.finish().unwrap();
    for result in [
        client.send(b"x"),
        client.try_send(b"x"),
        client.feed(b"x"),
        client.send_timeout(b"x", ms(1)),
        client.send_bytes(Bytes::from_static(b"x")),
        client.feed_bytes(Bytes::from_static(b"x")),
    ] {
        assert!(matches!(result, Err(Error::Finished)), "{result:?}");
    }
    client.flush().unwrap();
    server.takes(b"last");
    for _ in 0..3 {
        server.takes_end();
    }
    assert!(matches!(server.try_recv(), Ok(None)));
    assert_eq!(server.incoming().count(), 0);
    for i in 0..3u8 {
        server.send([i]).unwrap();
        client.takes([i]);
    }
    server.finish().unwrap();
    client.takes_end();
    client.says("closed", 1);
    server.says("closed", 1);
    client.takes_end();
    assert!(matches!(client.send(b"x"), Err(Error::Closed { unacknowledged: 0, .. })));
    client.close().unwrap();
    server.close().unwrap();
    assert!(client.take_unacknowledged().is_empty());
}

#[test]
fn finish_acknowledges_nothing() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    client.send(b"in its hands").unwrap();
    server.takes(b"in its hands");
    server.send(b"reply").unwrap();
    server.finish().unwrap();
    client.takes(b"reply");
    client.takes_end();
    assert!(matches!(client.sync(ms(200)), Err(Error::TimedOut)));
    assert_eq!(client.stats().unacknowledged, 1);
    assert!(matches!(server.try_recv(), Err(Error::WouldBlock)));
    client.sync(SOON).unwrap();
}

#[test]
fn after_close_everything_says_closed() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    client.send(b"x").unwrap();
    let closing = thread::spawn(move || (client.close(), client));
    server.takes(b"x");
    server.takes_end();
    let (closed, client) = join(closing);
    closed.unwrap();
    client.close().unwrap();
    for result in [
        client.send(b"x"),
        client.try_send(b"x"),
        client.feed(b"x"),
        client.flush(),
        client.finish(),
        client.recv().map(drop),
        client.try_recv().map(drop),
        client.recv_timeout(SOON).map(drop),
    ] {
        assert!(matches!(result, Err(Error::Closed { unacknowledged: 0, .. })), "{result:?}");
    }
    // Everything that was sent is acknowledged: that stays true.
    client.sync(SOON).unwrap();
    assert!(!client.is_connected());
    let mut incoming = client.incoming();
    assert!(matches!(incoming.next(), Some(Err(Error::Closed { .. }))));
    assert!(incoming.next().is_none());
}

#[test]
fn take_unacknowledged_is_empty_before_the_end_and_gives_each_once() {
    let rig = Rig::new(calm());
    let client = rig.connect_with(calm().retry(RetryPolicy::fixed(ms(5), 2)));
    let server = rig.accept();
    for i in 0..3u8 {
        client.send([i]).unwrap();
    }
    client.send_bytes(Bytes::from(vec![3; 100_000])).unwrap();
    client.feed(b"fed").unwrap();
    client.finish().unwrap();
    assert!(client.take_unacknowledged().is_empty());
    rig.proxy.refuse(true);
    rig.proxy.cut(How::Fin);
    server.says("lost: ", 1);
    let error = client.sync(SOON).unwrap_err();
    assert!(matches!(error, Error::GaveUp { unacknowledged: 5, .. }), "{error:?}");
    let left = client.take_unacknowledged();
    assert_eq!(left, [&[0][..], &[1], &[2], &[3; 100_000], b"fed"]);
    assert!(client.take_unacknowledged().is_empty());
    // The count stays what it was.
    assert_eq!(client.recv_timeout(SOON).unwrap_err().unacknowledged(), Some(5));
    assert_eq!(client.close().unwrap_err().unacknowledged(), Some(5));
}

// "What had arrived is still handed out first."
#[test]
fn what_had_arrived_comes_before_the_error() {
    let rig = Rig::new(calm());
    let client = rig.connect_with(calm().retry(RetryPolicy::never()));
    let server = rig.accept();
    for i in 0..50u8 {
        server.send([i]).unwrap();
    }
    client.send(b"x").unwrap();
    server.takes(b"x");
    client.takes([0]);
    client.hears_all();
    rig.proxy.cut(How::Fin);
    for i in 1..50u8 {
        client.takes([i]);
    }
    assert!(matches!(client.recv(), Err(Error::GaveUp { .. })));
}

#[test]
fn feed_waits_for_flush() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    // The driver, which may be about, takes it along; it goes to sleep after the last
    // acknowledgement.
    let waited = (0..20).any(|_| {
        assert!(matches!(server.recv_timeout(ms(100)), Err(Error::TimedOut)));
        client.feed(b"fed").unwrap();
        let waited = matches!(server.recv_timeout(ms(30)), Err(Error::TimedOut));
        client.flush().unwrap();
        if waited {
            server.takes(b"fed");
        }
        waited
    });
    assert!(waited, "it never waited");
}

#[test]
fn what_is_fed_keeps_the_order() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    client.feed(b"one").unwrap();
    client.feed_bytes(Bytes::from(vec![2; 50_000])).unwrap();
    client.feed(b"three").unwrap();
    client.flush().unwrap();
    server.takes(b"one");
    server.takes([2; 50_000]);
    server.takes(b"three");
    // Along with what is sent next, and before a wait.
    client.feed(b"four").unwrap();
    client.send(b"five").unwrap();
    server.takes(b"four");
    server.takes(b"five");
    client.feed(b"six").unwrap();
    let waiting = thread::spawn(move || client.recv_timeout(SOON));
    server.takes(b"six");
    server.send(b"reply").unwrap();
    assert_eq!(join(waiting).unwrap().unwrap(), "reply");
}

#[test]
fn sync_waits_for_the_application_and_not_for_the_kernel() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    client.sync(ms(0)).unwrap();
    client.send(b"x").unwrap();
    server.takes(b"x");
    assert!(matches!(client.sync(ms(150)), Err(Error::TimedOut)));
    // It is done with it once it comes back.
    assert!(matches!(server.try_recv(), Err(Error::WouldBlock)));
    let (synced, took) = timed(|| client.sync(SOON));
    synced.unwrap();
    assert!(took < ms(100) + SLACK, "{took:?}");
    assert_eq!(client.stats().unacknowledged, 0);
}

#[test]
fn each_message_is_for_one_of_many_receivers() {
    const COUNT: u32 = 4000;
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    let server = Arc::new(server);
    let receivers: Vec<_> = (0..4)
        .map(|_| {
            let server = server.clone();
            thread::spawn(move || {
                let messages = server.incoming().map(Result::unwrap);
                let number = |message: Bytes| u32::from_be_bytes(message[..].try_into().unwrap());
                messages.map(number).collect::<Vec<_>>()
            })
        })
        .collect();
    for number in 0..COUNT {
        client.send(number.to_be_bytes()).unwrap();
    }
    client.finish().unwrap();
    let received = receivers.into_iter().map(join);
    let mut all = Vec::new();
    for numbers in received {
        assert!(numbers.is_sorted());
        all.extend(numbers);
    }
    all.sort_unstable();
    assert_eq!(all, Vec::from_iter(0..COUNT));
}

#[test]
fn a_blocked_receiver_hears_that_another_thread_closed() {
    let rig = Rig::new(calm().close_timeout(ms(100)));
    let (client, _server) = rig.pair();
    let client = Arc::new(client);
    let receivers = [0; 3].map(|_| {
        let client = client.clone();
        thread::spawn(move || client.recv())
    });
    // Nobody reads at the other end, so it is not acknowledged.
    client.send(b"x").unwrap();
    let closed = client.close();
    assert!(matches!(closed, Err(Error::Closed { unacknowledged: 1, .. })), "{closed:?}");
    for receiver in receivers {
        let received = join(receiver);
        assert!(matches!(received, Err(Error::Closed { .. })), "{received:?}");
    }
}

fn names(events: &[Event]) -> Vec<&'static str> {
    let name = |event: &Event| match event {
        Event::Connected { .. } => "connected",
        Event::Lost { .. } => "lost",
        Event::Retrying { .. } => "retrying",
        Event::Failed { .. } => "failed",
        Event::Resumed { .. } => "resumed",
        Event::SessionLost { .. } => "session lost",
        Event::GaveUp { .. } => "gave up",
        Event::Closed { .. } => "closed",
        _ => "other",
    };
    events.iter().map(name).collect()
}

#[test]
fn events_come_in_order() {
    let rig = Rig::new(calm());
    let client = rig.connect_with(calm().retry(RetryPolicy::fixed(ms(5), 2)));
    let server = rig.accept();
    client.send(b"x").unwrap();
    server.takes(b"x");
    rig.proxy.cut(How::Fin);
    client.says("resumed, ", 1);
    server.says("resumed, ", 1);
    // Progress fills the budget up again.
    client.send(b"y").unwrap();
    server.takes(b"y");
    client.sync(ms(1)).unwrap_err();
    rig.proxy.accept_and_close(true);
    rig.proxy.cut(How::Fin);
    client.says("gave up after 2 attempts, ", 1);
    assert_eq!(
        names(&client.log.events()),
        [
            "connected",
            "lost",
            "retrying",
            "resumed",
            "lost",
            "retrying",
            "failed",
            "retrying",
            "failed",
            "gave up"
        ]
    );
    server.says("lost: ", 2);
    assert_eq!(names(&server.log.events()), ["lost", "resumed", "lost"]);
}

#[test]
fn a_panic_in_a_callback_is_contained() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let rig = Rig::new(calm());
    let builder = calm().on_event({
        let seen = seen.clone();
        move |_, event| {
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            std::panic::resume_unwind(Box::new("the callback choked"));
        }
    });
    let client = builder.connect(rig.proxy.addr()).unwrap();
    let server = rig.accept();
    server.send(b"first").unwrap();
    assert_eq!(client.recv().unwrap().unwrap(), "first");
    rig.proxy.cut(How::Fin);
    client.send(b"goes on").unwrap();
    server.takes(b"goes on");
    let events = || names(&seen.lock().unwrap_or_else(PoisonError::into_inner));
    until("all were told", || events().len() >= 4);
    assert_eq!(events(), ["connected", "lost", "retrying", "resumed"]);
}

#[test]
fn a_callback_may_use_the_connection() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    let log = Log::new("callback");
    client.on_event({
        let callback = log.callback();
        move |client, event| {
            assert!(client.stats().messages_sent < 10);
            client.send(event.to_string().as_bytes()).unwrap();
            callback(client, event);
        }
    });
    rig.proxy.cut(How::Fin);
    assert!(server.take().starts_with(b"lost: "));
    assert!(server.take().starts_with(b"attempt 1 of "));
    assert!(server.take().starts_with(b"resumed, "));
    log.says("resumed", 1);
}

/// What a callback holds, and lets go of.
struct Keepsake {
    client: Arc<Side>,
    kept: Arc<Mutex<usize>>,
}

impl Drop for Keepsake {
    fn drop(&mut self) {
        assert!(self.client.stats().messages_sent < 10);
        *self.kept.lock().unwrap() -= 1;
    }
}

#[test]
fn what_a_callback_holds_is_let_go_of() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    let client = Arc::new(client);
    let kept = Arc::new(Mutex::new(0));
    let set = |client: &Arc<Side>| {
        let keepsake = Keepsake { client: client.clone(), kept: kept.clone() };
        *kept.lock().unwrap() += 1;
        client.on_event(move |_, _| assert!(keepsake.client.stats().messages_sent < 10));
    };
    set(&client);
    let (replacing, replaced) = (client.clone(), Log::new("replaced"));
    join(thread::spawn({
        let callback = replaced.callback();
        move || replacing.on_event(callback)
    }));
    assert_eq!(*kept.lock().unwrap(), 0);
    // By the end as well, before and after.
    set(&client);
    server.abort();
    until("it is over", || *kept.lock().unwrap() == 0);
    set(&client);
    assert_eq!(*kept.lock().unwrap(), 0);
}

#[test]
fn stats_count_what_happened() {
    let rig = Rig::new(calm().heartbeat(Heartbeat::every(ms(100)).misses(20)));
    let (client, server) = rig.pair();
    assert!(client.is_connected() && server.is_connected());
    assert_eq!(client.peer_addr(), rig.proxy.addr());
    let mut fresh = client.stats();
    let (up, heard) = (fresh.connected_since.take().unwrap(), fresh.last_heard.take().unwrap());
    assert_eq!(fresh, Stats::default());
    client.send(b"four").unwrap();
    client.send(b"").unwrap();
    server.takes(b"four");
    server.takes(b"");
    server.send(b"seven b").unwrap();
    client.takes(b"seven b");
    client.sync(ms(1)).unwrap_err();
    client.says("heartbeat ", 2);
    let ours = client.stats();
    let theirs = server.stats();
    assert_eq!((ours.messages_sent, ours.bytes_sent), (2, 4));
    assert_eq!((ours.messages_received, ours.bytes_received), (1, 7));
    assert_eq!((theirs.messages_received, theirs.bytes_received), (2, 4));
    assert!(ours.last_round_trip.is_some_and(|time| time < SLACK), "{ours:?}");
    assert_eq!((ours.connected_since, ours.lost_since), (Some(up), None));
    assert!(ours.last_heard > Some(heard), "{ours:?}");
    rig.proxy.hold_connect(true);
    rig.proxy.cut(How::Fin);
    until("both have seen it", || !client.is_connected() && !server.is_connected());
    for stats in [client.stats(), server.stats()] {
        assert_eq!(stats.connected_since, None);
        assert!(stats.lost_since >= stats.last_heard && stats.last_heard > Some(up), "{stats:?}");
    }
    let lost = client.stats().lost_since;
    rig.proxy.hold_connect(false);
    client.says("resumed, ", 1);
    assert!(client.stats().connected_since > lost && client.stats().lost_since.is_none());
    assert_eq!((client.stats().reconnects, server.stats().reconnects), (1, 1));
    assert_eq!((client.stats().sessions_lost, server.stats().sessions_lost), (0, 0));
}

#[test]
fn addresses_that_cannot_be_one_are_refused_at_once() {
    for addr in ["", "nothing", ":1", "host:", "host:port", "a:b:1", "[::1:1"] {
        let error = builder().connect(addr).unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{addr:?}: {error:?}");
    }
    let none: [&str; 0] = [];
    assert!(matches!(none.to_hosts(), Err(Error::Config(_))));
    let taken = builder().bind("127.0.0.1:0").unwrap();
    assert!(matches!(builder().bind(taken.local_addr()), Err(Error::Io(_))));
}

#[test]
fn several_hosts_are_tried_in_turn_and_the_good_one_first_later() {
    let rig = Rig::new(calm());
    let dead = Reserved::new();
    let client = connect(calm(), [dead.addr(), rig.proxy.addr()]);
    let server = rig.accept();
    assert_eq!(client.peer_addr(), rig.proxy.addr());
    server.send(b"first").unwrap();
    client.takes(b"first");
    rig.proxy.cut(How::Fin);
    client.send(b"x").unwrap();
    server.takes(b"x");
    assert_eq!(client.log.count("failed: "), 0, "an attempt is all hosts");
}

#[test]
fn names_are_resolved() {
    let rig = Rig::new(calm());
    let client = connect(calm(), ("localhost", rig.proxy.addr().port()));
    client.send(b"x").unwrap();
    rig.accept().takes(b"x");
}

#[test]
fn a_connect_timeout_beyond_the_clocks_end_is_none() {
    let rig = Rig::new(calm());
    rig.connect_with(calm().connect_timeout(Duration::MAX));
}

#[test]
fn what_had_arrived_is_handed_out_after_the_peer_has_aborted() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    for message in [b"1", b"2", b"3"] {
        client.send(message).unwrap();
    }
    client.abort();
    server.says("closed", 1);
    // The listener's thread has done with the session before it greets another.
    drop(rig.pair());
    for message in [b"1", b"2", b"3"] {
        server.takes(message);
    }
    assert!(matches!(server.recv(), Err(Error::PeerClosed { .. })));
}

#[test]
fn a_client_learns_the_end_after_the_server_took_back_what_was_unacknowledged() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair_with(calm().retry(RetryPolicy::fixed(ms(500), 5)));
    client.send(b"request").unwrap();
    server.takes(b"request");
    // The client, to which nothing was proved yet, waits before it comes back.
    rig.proxy.cut(How::Fin);
    server.says("lost: ", 1);
    server.send(b"reply").unwrap();
    let closed = server.close_within(ms(0));
    assert_eq!(closed.unwrap_err().unacknowledged(), Some(1));
    assert_eq!(server.take_unacknowledged(), [&b"reply"[..]]);
    let error = client.recv_timeout(SOON).unwrap_err();
    assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
}

#[test]
fn the_end_is_the_last_event() {
    let rig = Rig::new(calm());
    let (report, events) = mpsc::channel();
    let client = calm()
        .retry(RetryPolicy::fixed(ms(100), 5))
        .on_event(move |_, event| drop(report.send(event)))
        .connect(rig.proxy.addr())
        .unwrap();
    let server = rig.accept();
    client.send(b"request").unwrap();
    server.takes(b"request");
    rig.proxy.cut(How::Fin);
    assert!(events.iter().any(|event| matches!(event, Event::Lost { .. })));
    // The client comes back only to say that it has left.
    client.abort();
    drop(client);
    let rest: Vec<Event> = events.iter().collect();
    assert!(matches!(rest.last(), Some(Event::Closed { .. })), "{rest:?}");
}

// The server's last word is lost, and told again to the client that comes back.
#[test]
fn close_returns_once_the_server_has_said_that_the_session_ended() {
    let server = RawServer::new();
    let addr = server.addr();
    let closed = thread::spawn(move || {
        let builder = builder().close_timeout(SOON * 3);
        let client = builder.connect(addr).unwrap();
        client.close()
    });
    // No heartbeats, and a session that is not kept.
    let welcome = Welcome { interval: 0, resume_within: 0, ..Welcome::new(1) };
    let (mut link, _) = server.welcome(&welcome);
    // The client's CLOSE stays without an answer.
    assert_eq!(link.read(), Some((FIN, vec![])));
    link.send(ack(1, 0xffff));
    assert_eq!(link.read().unwrap().0, CLOSE);
    drop(link);
    let (mut link, _) = server.accept();
    link.send(frame(CLOSE, [0, 0, 0, 0, 0, 0, 0, 0, 1]));
    join(closed).unwrap();
}

#[test]
fn a_stream_splits_what_is_too_large_and_ends_with_the_peer() {
    let rig = Rig::new(calm().max_message(1000));
    let (client, server) = rig.pair();
    let bytes: Vec<u8> = (0..10_500).map(|n| n as u8).collect();
    client.send(b"").unwrap();
    let sent = bytes.clone();
    let read = join(thread::spawn(move || {
        client.stream().write_all(&sent).unwrap();
        client.finish().unwrap();
        let mut read = Vec::new();
        // An empty message came first, and is not the end.
        server.stream().read_to_end(&mut read).unwrap();
        assert_eq!(server.stream().read(&mut [0]).unwrap(), 0);
        assert_eq!(server.stats().messages_received, 12);
        read
    }));
    assert_eq!(read, bytes);
}

#[test]
fn a_message_that_a_stream_has_read_in_part_is_not_acknowledged() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    client.send(b"abcdef").unwrap();
    let mut stream = server.stream();
    let mut half = [0; 3];
    for expected in [b"abc", b"def"] {
        stream.read_exact(&mut half).unwrap();
        assert_eq!(&half, expected);
        let result = client.sync(ms(150));
        assert!(matches!(result, Err(Error::TimedOut)), "{expected:?}: {result:?}");
    }
    client.send(b"g").unwrap();
    assert_eq!(stream.fill_buf().unwrap(), b"g");
    let more = server.try_recv();
    assert!(matches!(more, Err(Error::WouldBlock)), "{more:?}");
    client.sync(SOON).unwrap();
}

#[test]
fn the_halves_of_a_stream_read_and_write_at_once_and_nothing_read_ahead_is_lost() {
    let rig = Rig::new(calm().max_message(1000).window(2000));
    let (client, server) = rig.pair();
    // More than both windows: neither side can write all of it before it reads.
    let bytes: Vec<u8> = (0..20_500).map(|n| n as u8).collect();
    let sides = [client.bare(), server.bare()].map(|connection| {
        let sent = bytes.clone();
        thread::spawn(move || {
            let mut stream = connection.stream();
            stream.write_all(&sent[..2]).unwrap();
            stream.flush().unwrap();
            let mut read = vec![0];
            stream.read_exact(&mut read).unwrap();
            let (mut reader, mut writer) = stream.split();
            thread::scope(|scope| {
                scope.spawn(|| {
                    writer.write_all(&sent[2..]).unwrap();
                    connection.finish().unwrap();
                });
                reader.read_to_end(&mut read).unwrap();
            });
            read
        })
    });
    for side in sides {
        assert_eq!(join(side), bytes);
    }
}

#[test]
fn a_stream_gives_errors_that_code_for_sockets_knows() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    client.finish().unwrap();
    let kind = |result: io::Result<usize>| result.unwrap_err().kind();
    assert_eq!(kind(client.stream().write(b"more")), io::ErrorKind::BrokenPipe);
    server.abort();
    let reading = thread::spawn(move || client.stream().read(&mut [0; 8]).unwrap_err());
    let error = join(reading);
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<Error>());
    assert!(matches!(inner, Some(Error::PeerClosed { .. })), "{inner:?}");
}
