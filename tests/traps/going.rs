//! Servers that say that they go away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use longlink::{Builder, Cause, Connection, Error, Event, Listener, Plain, RetryPolicy};

use crate::rig::{
    Log, SLACK, SOON, Side, at_once, calm, connect, has_no_text, join, ms, now, timed, until,
};
use crate::wire::{
    DATA, FIN, GOING_AWAY, Hello, PING, Raw, RawServer, Welcome, ack, frame, going_away, ping,
};

/// A restart may take so long.
const FAREWELL: Duration = ms(300);

fn five() -> Builder {
    calm().retry(RetryPolicy::fixed(ms(200), 5).jitter(0.0))
}

fn listen() -> Listener {
    calm().bind("127.0.0.1:0").unwrap()
}

fn accept(listener: &Listener) -> Side {
    Side::new(listener.accept().unwrap(), Log::new("server"))
}

/// A message goes each way: the link has moved something.
fn warm(client: &Side, server: &Side) {
    client.send(b"warm").unwrap();
    server.takes(b"warm");
    server.send(b"warm").unwrap();
    client.takes(b"warm");
    for side in [client, server] {
        assert!(matches!(side.try_recv(), Err(Error::WouldBlock)));
    }
    for side in [client, server] {
        side.sync(SOON).unwrap();
    }
}

/// Each attempt, and the wait before it.
fn attempts(log: &Log) -> Vec<(u32, Duration)> {
    let retries = log.events().into_iter().filter_map(|event| match event {
        Event::Retrying { attempt, after, .. } => Some((attempt, after)),
        _ => None,
    });
    retries.collect()
}

#[track_caller]
fn gone(side: &Side) {
    let error = side.recv_timeout(SOON).unwrap_err();
    assert!(matches!(error, Error::GaveUp { cause: Cause::Restarting, .. }), "{error:?}");
}

#[test]
fn an_announced_restart_costs_no_attempt() {
    let listener = listen();
    let client = connect(five(), listener.local_addr());
    let server = accept(&listener);
    warm(&client, &server);
    let ((), took) = timed(|| listener.restart(ms(700)));
    assert!(took < SLACK, "{took:?}");
    gone(&server);
    client.says("lost: the server is restarting", 1);
    let (said, _) = client.says("attempt 1 of 5 in ", 1);
    // The port is free, and the server there long before it is expected.
    let again = calm().bind(listener.local_addr()).unwrap();
    client.send(b"meanwhile").unwrap();
    let back = accept(&again);
    back.takes(b"meanwhile");
    assert!(said.elapsed() >= ms(500), "it came back before its time");
    let [(1, after)] = attempts(&client.log)[..] else { panic!("{:?}", attempts(&client.log)) };
    assert!(after >= ms(500) && after <= ms(702), "{after:?}");
    assert_eq!(client.log.count("failed"), 0);
}

#[test]
fn a_server_that_takes_longer_is_found_by_the_attempts_that_follow() {
    let listener = listen();
    let client = connect(five(), listener.local_addr());
    let server = accept(&listener);
    warm(&client, &server);
    listener.restart(ms(100));
    client.says("attempt 5 of 5 in 200ms", 1);
    let numbers: Vec<u32> = attempts(&client.log).iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    let again = calm().bind(listener.local_addr()).unwrap();
    client.send(b"at last").unwrap();
    accept(&again).takes(b"at last");
}

#[test]
fn what_is_done_is_acknowledged_before_and_the_rest_is_sent_again() {
    let listener = listen();
    let client = connect(calm(), listener.local_addr());
    let server = accept(&listener);
    client.feed_many(&["done", "in work", "not taken"]).unwrap();
    client.flush().unwrap();
    server.takes("done");
    server.takes("in work");
    listener.restart(ms(10));
    let again = calm().bind(listener.local_addr()).unwrap();
    let server = accept(&again);
    server.takes("in work");
    server.takes("not taken");
    client.says("new session (old session lost), 2 sent again", 1);
}

#[test]
fn clients_that_nobody_has_accepted_come_back_as_well() {
    let listener = listen();
    let client = connect(calm(), listener.local_addr());
    client.send(b"hello").unwrap();
    listener.restart(ms(10));
    let error = listener.accept().unwrap_err();
    assert!(matches!(error, Error::Closed { .. }), "{error:?}");
    client.says("lost: the server is restarting", 1);
    let again = calm().bind(listener.local_addr()).unwrap();
    drop(listener);
    accept(&again).takes(b"hello");
}

#[test]
fn a_restart_of_a_listener_that_is_closed_tells_the_clients_that_are_left() {
    let listener = listen();
    let client = connect(calm(), listener.local_addr());
    let server = accept(&listener);
    listener.close();
    // It may be called again, and has no more to do then.
    (0..2).for_each(|_| listener.restart(ms(10)));
    gone(&server);
    client.says("lost: the server is restarting", 1);
    let ((), took) = timed(|| listener.restart(ms(10)));
    assert!(took < SLACK, "{took:?}");
    listener.drain(Duration::ZERO).unwrap();
}

#[test]
fn a_callback_only_begins_a_restart() {
    let listener = Arc::new(listen());
    let client = connect(calm(), listener.local_addr());
    let server = listener.accept().unwrap();
    let (told, telling) = std::sync::mpsc::channel();
    let restarting = listener.clone();
    server.on_event(move |_, event| {
        if let Event::Heartbeat { .. } = event {
            let ((), took) = timed(|| restarting.restart(ms(10)));
            told.send(took).unwrap();
        }
    });
    server.check();
    let took = telling.recv_timeout(SOON).unwrap();
    assert!(took < FAREWELL, "{took:?}");
    client.says("lost: the server is restarting", 1);
    assert!(matches!(server.recv(), Err(Error::GaveUp { .. })));
}

/// A client whose socket takes in little, and that reads nothing by itself.
fn narrow(addr: SocketAddr, window: u32) -> Raw {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&addr.into()).unwrap();
    let mut raw = Raw::over(socket.into());
    raw.send(Hello { window, ..Hello::new(9) }.bytes());
    raw
}

/// The kinds of the frames that come, each of them whole, until the link ends.
fn kinds(raw: &mut Raw) -> Vec<u8> {
    std::iter::from_fn(|| raw.read_any()).map(|(kind, _)| kind).collect()
}

#[test]
fn a_blocked_link_holds_up_nothing_and_no_frame_is_torn() {
    const WINDOW: u32 = 64 << 20;
    let listener = calm().window(WINDOW as usize).bind("127.0.0.1:0").unwrap();
    let mut blocked = narrow(listener.local_addr(), WINDOW);
    let server = accept(&listener);
    // More than all buffers of the system hold.
    (0..WINDOW / 200_000).for_each(|_| server.send([7; 200_000]).unwrap());
    let client = connect(calm(), listener.local_addr());
    let other = accept(&listener);
    let ((), took) = timed(|| listener.restart(ms(10)));
    assert!(took < FAREWELL + SLACK, "{took:?}");
    client.says("lost: the server is restarting", 1);
    [&server, &other].into_iter().for_each(gone);
    let kinds = kinds(&mut blocked);
    assert!(kinds[2..].iter().all(|kind| *kind == DATA), "{kinds:x?}");
}

#[test]
fn it_is_said_behind_what_was_begun() {
    const WINDOW: u32 = 64 << 20;
    let listener = calm().window(WINDOW as usize).bind("127.0.0.1:0").unwrap();
    let mut blocked = narrow(listener.local_addr(), WINDOW);
    let server = accept(&listener);
    (0..WINDOW / 200_000).for_each(|_| server.send([7; 200_000]).unwrap());
    // The whole time is there for that, on a busy machine, too.
    let reading = thread::spawn(move || kinds(&mut blocked));
    listener.restart(ms(10));
    let kinds = join(reading);
    let (last, before) = kinds.split_last().unwrap();
    assert!(before[2..].iter().all(|kind| *kind == DATA), "{kinds:x?}");
    // What the time was too short for is not said at all.
    assert!([GOING_AWAY, DATA].contains(last), "{last:x}");
}

/// What a client hears that goes on sending, and begins to read when the server has said its
/// last words. `None`: it came too late for them.
fn last_words() -> Option<Vec<u8>> {
    let listener = listen();
    let mut client = narrow(listener.local_addr(), 1 << 20);
    let server = accept(&listener);
    // The client's kernel takes in some of it, and the server's keeps the rest.
    (0..20).for_each(|_| server.send([7; 4096]).unwrap());
    let (mut sending, over) = (client.try_clone().unwrap(), Arc::new(()));
    let told = Arc::downgrade(&over);
    let sender = thread::spawn(move || {
        while told.strong_count() > 0 {
            sending.send(ping(1));
        }
    });
    let restarting = thread::spawn(move || listener.restart(ms(10)));
    gone(&server);
    let begun = now();
    let kinds = kinds(&mut client);
    let in_time = begun.elapsed() < ms(100);
    drop(over);
    join(sender);
    join(restarting);
    in_time.then_some(kinds)
}

// A socket that is closed with something unread is reset, and its kernel throws away what
// it has not sent.
#[test]
fn it_is_heard_although_the_client_goes_on_sending() {
    let mut kinds = None;
    until("a client that is not too busy", || {
        kinds = last_words();
        kinds.is_some()
    });
    let kinds = kinds.unwrap();
    assert_eq!(kinds.last(), Some(&GOING_AWAY), "{kinds:x?}");
}

#[test]
fn a_client_that_does_not_know_it_sees_the_end_of_the_stream() {
    let listener = listen();
    let (mut client, _) = Raw::join(listener.local_addr(), &Hello::new(1));
    let _server = accept(&listener);
    listener.restart(ms(1234));
    let (_, meaningless) = client.read_any().unwrap();
    assert!(meaningless.len() < 8);
    let (kind, body) = client.read_any().unwrap();
    // After, and 2 ms for the only client.
    assert_eq!((kind, &body[..]), (GOING_AWAY, &[0, 0, 4, 0xD2, 0, 0, 0, 2][..]));
    assert!(client.read_end().is_empty());
}

#[test]
fn a_server_does_not_hear_it() {
    let listener = listen();
    let (mut client, _) = Raw::join(listener.local_addr(), &Hello::new(1));
    let server = accept(&listener);
    client.send([going_away(60_000, 0), frame(GOING_AWAY, b"short"), ping(7)].concat());
    client.read_kind(crate::wire::PONG);
    client.end();
    server.says("lost: the peer closed the socket", 1);
}

#[test]
fn over_plain_text_nothing_is_said_and_what_was_sent_arrives() {
    if has_no_text() {
        return;
    }
    let listener = listen();
    let plain = calm().plain(Plain::new());
    let client = connect(plain, listener.local_addr());
    client.send(b"hello\n").unwrap();
    let server = accept(&listener);
    server.takes(b"hello\n");
    server.send(b"last words\n").unwrap();
    listener.restart(ms(10));
    client.takes(b"last words\n");
    client.says("lost: the peer closed the socket", 1);
    gone(&server);
}

#[test]
fn other_hosts_are_asked_at_once() {
    let (one, two) = (listen(), listen());
    let client = connect(five(), [one.local_addr(), two.local_addr()]);
    let server = accept(&one);
    warm(&client, &server);
    let begun = now();
    one.restart(Duration::from_secs(3600));
    client.send(b"elsewhere").unwrap();
    accept(&two).takes(b"elsewhere");
    assert!(begun.elapsed() < SOON);
    client.says("attempt 1 of 5 at once", 1);
    assert_eq!(client.peer_addr(), two.local_addr());
}

#[test]
fn other_hosts_that_are_not_there_cost_nothing_until_the_server_is_back() {
    let (listener, nobody) = (listen(), crate::port::Reserved::new());
    let quick = calm().retry(RetryPolicy::fixed(ms(20), 5).jitter(0.0));
    let client = connect(quick, [listener.local_addr(), nobody.addr()]);
    let server = accept(&listener);
    warm(&client, &server);
    listener.restart(ms(500));
    let again = calm().bind(listener.local_addr()).unwrap();
    client.send(b"back").unwrap();
    accept(&again).takes(b"back");
    let attempts = attempts(&client.log);
    assert!(attempts.len() > 6, "{attempts:?}");
    assert!(attempts.iter().all(|(number, _)| *number == 1), "{attempts:?}");
}

/// Welcomes a client and says this, behind which the link ends.
fn leave(server: &RawServer, epoch: u64, words: &[u8]) {
    let (mut link, _) = server.welcome(&Welcome::new(epoch));
    link.send(words);
    link.end();
}

// Trap 14.
#[test]
fn a_server_that_says_so_again_and_again_and_moves_nothing_is_given_up() {
    let raw = RawServer::new();
    let addr = raw.addr();
    let liar = thread::spawn(move || {
        let (mut link, _) = raw.welcome(&Welcome::new(7));
        // The connection has to be there before it is lost.
        link.read_kind(DATA);
        link.send(going_away(20, 10));
        link.end();
        (1..5).for_each(|_| leave(&raw, 7, &going_away(20, 10)));
    });
    let client = connect(five(), addr);
    client.send(b"never received").unwrap();
    let error = client.recv_timeout(SOON).unwrap_err();
    let Error::GaveUp {
        unacknowledged: 1, cause: Cause::NoProgress { links: 5, last, .. }, ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert!(matches!(*last, Cause::Restarting), "{last:?}");
    let numbers: Vec<u32> = attempts(&client.log).iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [2, 3, 4, 5]);
    join(liar);
}

/// A client that waits for a server which has said that it is away for ever.
fn waiting(builder: Builder) -> (Side, RawServer) {
    let raw = RawServer::new();
    let addr = raw.addr();
    let server = thread::spawn(move || {
        let (mut link, _) = raw.welcome(&Welcome::new(7));
        link.send(frame(DATA, b"it works"));
        link.send(going_away(u32::MAX, u32::MAX));
        link.end();
        raw
    });
    let client = connect(builder, addr);
    client.says("attempt 1 of 5 in ", 1);
    (client, join(server))
}

#[test]
fn years_are_ten_minutes_and_as_much_again() {
    let (client, _raw) = waiting(five());
    let [(1, after)] = attempts(&client.log)[..] else { panic!("{:?}", attempts(&client.log)) };
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    assert!(after > minutes(9) && after <= minutes(20), "{after:?}");
}

#[test]
fn a_check_asks_at_once_and_costs_nothing() {
    let (client, raw) = waiting(five());
    let raw = Arc::new(raw);
    let asked = || {
        let asked = raw.clone();
        let asked = thread::spawn(move || asked.accept());
        client.check();
        join(asked)
    };
    for round in 1..=3 {
        let (link, hello) = asked();
        assert_eq!(hello.epoch, 7);
        link.end();
        client.says("attempt 1 of 5 in ", 1 + round);
    }
    let (mut link, _) = asked();
    link.send(Welcome::new(7).bytes());
    client.send(b"back").unwrap();
    assert_eq!(link.read_kind(DATA), b"back");
}

#[test]
fn every_end_is_prompt_while_a_client_waits() {
    let ends: [fn(Connection); 4] = [
        |client| client.abort(),
        drop,
        |client| drop(client.close_within(ms(50))),
        // Nothing is unacknowledged but the end.
        |client| client.close().unwrap(),
    ];
    let unlimited = RetryPolicy::fixed(ms(5), 5).unlimited();
    let policies = [RetryPolicy::fixed(ms(5), 5), unlimited];
    let cases = policies.into_iter().flat_map(|policy| ends.map(|end| (end, policy)));
    at_once(cases, |(end, policy)| {
        let alive = Arc::new(());
        let held = alive.clone();
        let raw = RawServer::new();
        let addr = raw.addr();
        let server = thread::spawn(move || leave(&raw, 7, &going_away(u32::MAX, 0)));
        let log = Log::new("client");
        let callback = log.callback();
        let builder = calm().retry(policy);
        let builder = builder.close_timeout(ms(100)).on_event(move |connection, event| {
            let _ = &held;
            callback(connection, event);
        });
        let client = builder.connect(addr).unwrap();
        log.says("attempt 2 ", 1);
        join(server);
        let ((), took) = timed(|| end(client));
        assert!(took < SLACK, "{took:?}");
        until("the client is gone", || Arc::strong_count(&alive) == 1);
    });
}

#[test]
fn a_close_goes_on_when_the_server_is_back() {
    let raw = RawServer::new();
    let addr = raw.addr();
    let connecting = thread::spawn(move || connect(five(), addr));
    let (mut link, _) = raw.welcome(&Welcome::new(7));
    let client = join(connecting);
    client.send(b"the last word").unwrap();
    let log = client.log.clone();
    let client = client.bare();
    let closing = thread::spawn(move || client.close());
    link.read_kind(FIN);
    link.send(going_away(300, 0));
    link.end();
    let (said, _) = log.says("attempt 2 of 5 in ", 1);
    let (mut link, _) = raw.welcome(&Welcome::new(8));
    assert!(said.elapsed() >= ms(200), "it came back before its time");
    assert_eq!(link.read_kind(DATA), b"the last word");
    link.read_kind(FIN);
    link.send(ack(2, 1 << 20));
    let close = link.read_kind(crate::wire::CLOSE);
    link.send(frame(crate::wire::CLOSE, close));
    join(closing).unwrap();
}

#[test]
fn only_the_end_that_was_announced_is_one() {
    let violation = frame(0x55, b"");
    let cases = [
        // It has been back for long when the link ends.
        (going_away(0, 0), "lost: the peer closed the socket"),
        // Nobody has asked it to break the protocol.
        ([going_away(60_000, 0), violation].concat(), "lost: protocol violation"),
        // The last one counts.
        ([going_away(60_000, 0), going_away(0, 0)].concat(), "lost: the peer closed the socket"),
    ];
    for (words, lost) in cases {
        let raw = RawServer::new();
        let addr = raw.addr();
        let connecting = thread::spawn(move || connect(five(), addr));
        let (mut link, _) = raw.welcome(&Welcome::new(7));
        let client = join(connecting);
        link.send([&frame(DATA, b"heard")[..], &words].concat());
        client.takes(b"heard");
        let begun = now();
        until("some time passes", || begun.elapsed() > ms(5));
        link.end();
        client.says(lost, 1);
        client.says("attempt 1 of 5 at once", 1);
    }
}

// A handler that does what it can to stay holds nothing up.
#[test]
fn the_port_is_free_whatever_handlers_do() {
    let listener = listen();
    let mut clients = Vec::new();
    let handlers: Vec<_> = (1..=4u8)
        .map(|number| {
            let (client, _) = Raw::join(listener.local_addr(), &Hello::new(number));
            // It does not end its side.
            clients.push(client);
            let server = listener.accept().unwrap();
            thread::spawn(move || {
                let error = server.recv().unwrap_err();
                match number {
                    1 => server.abort(),
                    2 => drop(server.close()),
                    3 => drop(server.close_within(SOON)),
                    _ => drop(server.send(b"more")),
                }
                error
            })
        })
        .collect();
    let ((), took) = timed(|| listener.restart(ms(10)));
    assert!(took < FAREWELL + SLACK, "{took:?}");
    for handler in handlers {
        let error = join(handler);
        assert!(matches!(error, Error::GaveUp { cause: Cause::Restarting, .. }), "{error:?}");
    }
    until("the port is free", || calm().bind(listener.local_addr()).is_ok());
    for mut client in clients {
        let kinds = kinds(&mut client);
        assert_eq!(kinds.last(), Some(&GOING_AWAY), "{kinds:x?}");
        assert!(!kinds.contains(&PING));
    }
}
