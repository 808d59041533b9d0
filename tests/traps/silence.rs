//! Links that fall silent while the sockets stay open.

use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use longlink::{Builder, Heartbeat, RetryPolicy};
use socket2::SockRef;

use crate::proxy::Direction;
use crate::rig::{
    Log, Rig, SLACK, SOON, Side, at_once, builder, connect, echo, join, ms, now, until,
};
use crate::wire::{DATA, Hello, PING, PONG, Raw, RawServer, Welcome, frame, ping};

const INTERVAL: Duration = ms(100);
const MISSES: u32 = 3;
const RETRY: Duration = ms(100);
const CONNECT: Duration = ms(400);

fn watchful() -> Builder {
    builder()
        .heartbeat(Heartbeat::every(INTERVAL).misses(MISSES))
        .retry(RetryPolicy::fixed(RETRY, 1000))
        .connect_timeout(CONNECT)
        .close_timeout(SOON)
}

/// Swallows what goes these ways until the client has lost its link and could
/// not make another, and counts what arrived.
fn black_out(directions: &[Direction], busy: bool) {
    let rig = Rig::new(watchful());
    let (client, server) = rig.pair();
    let (client, server) = (Arc::new(client), Arc::new(server));
    let echoed = echo(&server);
    client.send(b"0").unwrap();
    client.takes(b"0");

    let begun = now();
    directions.iter().for_each(|&direction| rig.proxy.swallow(direction, true));
    let mut sent = 0;
    let (lost, _) = if busy {
        until("the link is lost", || {
            sent += 1;
            client.send(sent.to_string().as_bytes()).unwrap();
            client.log.count("lost: ") > 0
        });
        client.says("lost: ", 1)
    } else {
        client.says("lost: ", 1)
    };
    // The server, which grants an interval of grace, is the one who hears
    // nothing if only the way up is silent; its end reaches the client.
    let grace = INTERVAL * u32::from(!directions.contains(&Direction::Down));
    let noticed = lost - begun;
    assert!(noticed <= INTERVAL * (MISSES + 1) + grace + SLACK, "noticed after {noticed:?}");

    client.says("failed: connected, but the hello was not answered within 400ms", 1);
    let returned = now();
    directions.iter().for_each(|&direction| rig.proxy.swallow(direction, false));
    let (resumed, _) = client.says("resumed, ", 1);
    let regained = resumed.saturating_duration_since(returned);
    assert!(regained <= CONNECT + RETRY * 6 / 5 + SLACK, "regained after {regained:?}");

    for number in 1..=sent {
        client.takes(number.to_string());
    }
    client.finish().unwrap();
    client.takes_end();
    assert_eq!(join(echoed).len(), sent + 1);
    assert_eq!(client.stats().sessions_lost, 0);
}

// Trap 3.
#[test]
fn an_idle_blackhole_up_is_noticed_and_its_end_too() {
    black_out(&[Direction::Up], false);
}

// Trap 3.
#[test]
fn an_idle_blackhole_down_is_noticed_and_its_end_too() {
    black_out(&[Direction::Down], false);
}

// Trap 3.
#[test]
fn an_idle_blackhole_both_ways_is_noticed_and_its_end_too() {
    black_out(&Direction::BOTH, false);
}

// Trap 3.
#[test]
fn a_busy_blackhole_up_is_noticed_and_its_end_too() {
    black_out(&[Direction::Up], true);
}

// Trap 3.
#[test]
fn a_busy_blackhole_down_is_noticed_and_its_end_too() {
    black_out(&[Direction::Down], true);
}

// Trap 3.
#[test]
fn a_busy_blackhole_both_ways_is_noticed_and_its_end_too() {
    black_out(&Direction::BOTH, true);
}

// Trap 3: a client with heartbeats off never notices by itself.
#[test]
fn a_server_notices_a_silent_client_and_keeps_its_session() {
    let listener = watchful().bind("127.0.0.1:0").unwrap();
    let interval = u32::try_from(INTERVAL.as_millis()).unwrap();
    let hello = Hello { interval, ..Hello::new(1) };
    let (mut silent, welcome) = Raw::join(listener.local_addr(), &hello);
    let server = Side::new(listener.accept().unwrap(), Log::new("server"));
    silent.send(frame(DATA, b"before"));
    let begun = now();
    server.takes(b"before");
    let (lost, _) = server.says("lost: nothing heard for ", 1);
    assert!(lost - begun <= INTERVAL * (MISSES + 2) + SLACK, "{:?}", lost - begun);
    assert!(lost - begun >= INTERVAL * (MISSES + 1), "{:?}", lost - begun);
    assert!(!server.is_connected());
    assert!(silent.read_end().contains(&PING));
    server.send(b"meanwhile").unwrap();
    let (mut back, _) = Raw::join(listener.local_addr(), &hello.next(&welcome, 0));
    assert_eq!(back.read_kind(DATA), b"meanwhile");
    server.says("resumed, ", 1);
}

// Else its end waits behind what the peer has no room for, or no longer
// acknowledges.
#[test]
fn a_link_that_is_judged_dead_is_reset() {
    const MESSAGES: usize = 4;
    let listener = watchful().bind("127.0.0.1:0").unwrap();
    let interval = u32::try_from(INTERVAL.as_millis()).unwrap();
    let hello = Hello { interval, ..Hello::new(1) };
    let (mut silent, _) = Raw::join(listener.local_addr(), &hello);
    SockRef::from(&silent.socket).set_recv_buffer_size(4096).unwrap();
    let server = Side::new(listener.accept().unwrap(), Log::new("server"));
    silent.send(frame(DATA, b"before"));
    server.takes(b"before");
    // More than the kernel of a peer that never reads takes, with such a buffer.
    for _ in 0..MESSAGES {
        server.send([0; 200_000]).unwrap();
    }
    server.says("lost: nothing heard for ", 1);
    let came = silent.read_end().into_iter().filter(|kind| *kind == DATA).count();
    assert!(came < MESSAGES, "all of it was sent");
}

// Trap 4: the kernel of a peer that hangs accepts and acknowledges.
#[test]
fn a_peer_whose_kernel_alone_lives_is_noticed() {
    let raw = RawServer::new();
    let hung = thread::spawn({
        let addr = raw.addr();
        move || connect(watchful().retry(RetryPolicy::fixed(ms(20), 3)), addr)
    });
    let (link, _) = raw.welcome(&Welcome::new(7));
    let client = join(hung);
    let begun = now();
    client.send(b"taken by the kernel").unwrap();
    let (lost, _) = client.says("lost: nothing heard for ", 1);
    assert!(lost - begun <= INTERVAL * (MISSES + 1) + SLACK, "{:?}", lost - begun);
    // And new connections to it, which its kernel accepts as well, are no life.
    client.says("failed: connected, but the hello was not answered within 400ms", 2);
    client.says("gave up after 3 attempts, 1 message not acknowledged", 1);
    drop(link);
}

/// Keeps a callback from returning, as a hung or stopped process would.
#[derive(Default)]
struct Hold {
    held: Mutex<bool>,
    changed: Condvar,
}

impl Hold {
    fn set(&self, held: bool) {
        *self.held.lock().unwrap() = held;
        self.changed.notify_all();
    }

    /// Waits to be let go, for at most this long.
    fn stay(&self, time: Duration) {
        let held = self.held.lock().unwrap();
        drop(self.changed.wait_timeout_while(held, time, |held| *held).unwrap());
    }
}

/// A listener's thread is held for longer than silence may last, while a ping
/// of its waits for an answer.
fn oversleep(answer_meanwhile: bool) {
    let listener = watchful().bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr();
    let interval = ms(200);
    let (mut peer, _) = Raw::join(addr, &Hello { interval: 200, ..Hello::new(1) });
    let server = Side::new(listener.accept().unwrap(), Log::new("server"));
    let (other, _) = Raw::join(addr, &Hello::new(2));
    let other_side = listener.accept().unwrap();
    let hold = Arc::new(Hold::default());
    hold.set(true);
    other_side.on_event({
        let hold = hold.clone();
        move |_, _| hold.stay(SOON)
    });
    let pong = |peer: &mut Raw, id: Vec<u8>| peer.send(frame(PONG, id));

    let unanswered = peer.read_kind(PING);
    other.end();
    until("the listener's thread is held", || !other_side.is_connected());
    if answer_meanwhile {
        pong(&mut peer, unanswered);
    }
    hold.stay(interval * (MISSES + 1) * 3 / 2);
    hold.set(false);
    // It asks anew, and the answer takes its time.
    for _ in 0..3 {
        let id = peer.read_kind(PING);
        let asked = now();
        until("half an interval is over", || asked.elapsed() > interval / 2);
        pong(&mut peer, id);
    }
    server.says("heartbeat ", 3);
    assert_eq!(server.log.count("lost: "), 0);
}

// Trap 5.
#[test]
fn a_side_that_overslept_hears_what_was_said_or_asks_again_before_it_judges() {
    at_once([false, true], oversleep);
}

// Trap 3: any byte proves life, and a side that only sends is answered.
#[test]
fn a_stream_in_one_direction_keeps_the_link() {
    let rig = Rig::new(watchful().heartbeat(Heartbeat::every(INTERVAL).misses(8)));
    let (client, server) = rig.pair();
    let server = Arc::new(server);
    let received = thread::spawn({
        let server = server.clone();
        move || server.incoming().map(Result::unwrap).count()
    });
    let begun = now();
    let mut sent = 0;
    until("it has streamed for twelve intervals", || {
        client.send([7; 100]).unwrap();
        sent += 1;
        begun.elapsed() > INTERVAL * 12
    });
    client.close().unwrap();
    assert_eq!(join(received), sent);
    assert_eq!(client.log.count("lost: ") + server.log.count("lost: "), 0);
}

#[test]
fn a_server_with_heartbeats_off_neither_pings_nor_judges() {
    let listener = watchful().heartbeat(Heartbeat::off()).bind("127.0.0.1:0").unwrap();
    let interval = u32::try_from(INTERVAL.as_millis()).unwrap();
    let hello = Hello { interval, ..Hello::new(1) };
    let (mut silent, welcome) = Raw::join(listener.local_addr(), &hello);
    let server = Side::new(listener.accept().unwrap(), Log::new("server"));
    assert_eq!(welcome.interval, 0);
    let begun = now();
    until("more silence than any is granted", || begun.elapsed() > INTERVAL * (MISSES + 3));
    assert!(server.is_connected());
    silent.send(ping(7));
    assert_eq!(silent.read(), Some((PONG, 7u64.to_be_bytes().to_vec())), "nothing came before");
}

#[test]
fn a_ping_is_answered_with_its_number_even_with_heartbeats_off() {
    let raw = RawServer::new();
    let thread = thread::spawn({
        let addr = raw.addr();
        move || connect(watchful().heartbeat(Heartbeat::off()), addr)
    });
    let (mut link, hello) = raw.welcome(&Welcome::new(7));
    let client = join(thread);
    assert_eq!(hello.interval, 0);
    for id in [0, 77, u64::MAX] {
        link.send(ping(id));
        assert_eq!(link.read_kind(PONG), id.to_be_bytes());
    }
    assert!(client.is_connected());
}
