//! Who sits on the path of a secured link: reads, alters, cuts, and says it again.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use longlink::{Builder, Cause, Connection, Event, Heartbeat, RetryPolicy};

use crate::proxy::{Direction, How, Proxy};
use crate::rig::{Rig, SOON, Side, calm, connect, join, ms};
use crate::wire::tls::Party;
use crate::wire::{DATA, RawServer, Welcome, ack, frame};

/// What is said, and must not be read.
const MARKER: &[u8] = b"the treasure is under the third oak";

/// How long the messages are that each side says.
const MESSAGES: [usize; 3] = [40, 1, 700];

fn message(len: usize) -> Vec<u8> {
    MARKER.iter().copied().cycle().take(len).collect()
}

/// A record whose length is another one is given up after 30 seconds, if it is not full before.
const PATIENCE: Duration = Duration::from_secs(60);

/// Links that are regained in no time, also if an answer never comes. With so many heartbeats
/// a record is soon full, if its length is made another one.
fn hurried() -> Builder {
    Connection::builder()
        .heartbeat(Heartbeat::every(ms(10)).misses(25))
        .connect_timeout(ms(250))
        .close_timeout(PATIENCE)
        .retry(RetryPolicy::fixed(ms(1), 1000))
}

/// Two sides that know each other.
fn secured(builder: &Builder) -> [Builder; 2] {
    let parties = Party::all(["alice", "server"]);
    parties.map(|party| builder.clone().security(party.security))
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// What goes over the path, in each direction.
fn recorded(proxy: &Proxy) -> [Vec<u8>; 2] {
    Direction::BOTH.map(|direction| proxy.recorded(direction))
}

/// What goes over the path of two sessions that lose their links: one of a client and a
/// server, and one of a client that is served by hand, which thus says its token. In each
/// direction; and that token.
fn capture(client: Builder, server: Builder, by_hand: &RawServer) -> ([Vec<u8>; 2], [u8; 16]) {
    let rig = Rig::new(server);
    rig.proxy.record();
    let alice = rig.connect_with(client.clone().greeting(MARKER));
    let side = rig.accept();
    assert_eq!(side.greeting(), MARKER);
    for (nth, how) in [How::Fin, How::Rst].into_iter().enumerate() {
        for (from, to) in [(&alice, &side), (&side, &alice)] {
            from.send(MARKER).unwrap();
            to.takes(MARKER);
        }
        rig.proxy.cut(how);
        alice.says("resumed", nth + 1);
    }
    for (from, to) in [(&alice, &side), (&side, &alice)] {
        from.send(MARKER).unwrap();
        to.takes(MARKER);
    }
    drop(side);
    let [mut up, down] = recorded(&rig.proxy);

    let proxy = Proxy::to(by_hand.addr());
    proxy.record();
    let connecting = thread::spawn({
        let addr = proxy.addr();
        move || connect(client, addr)
    });
    let (link, hello) = by_hand.welcome(&Welcome::new(7));
    let alice = join(connecting);
    link.end();
    let (mut link, again) = by_hand.welcome(&Welcome::new(7));
    assert_eq!(again.token, hello.token);
    alice.send(MARKER).unwrap();
    assert_eq!(link.read_kind(DATA), MARKER);
    link.send([ack(1, 1 << 20), frame(DATA, MARKER)].concat());
    alice.takes(MARKER);
    up.extend(recorded(&proxy)[0].iter());
    ([up, down], hello.token)
}

#[test]
fn neither_messages_nor_tokens_nor_the_protocol_are_seen_on_the_path() {
    let [alice, server] = Party::all(["alice", "server"]);
    let secured = |party: &Party| calm().security(party.security.clone());
    let by_hand = RawServer::secured(&server);
    let (ways, token) = capture(secured(&alice), secured(&server), &by_hand);
    for bytes in ways {
        // Three handshakes, at least.
        assert!(bytes.len() > 3000, "{}", bytes.len());
        for secret in [MARKER, &MARKER[..8], &token, &token[..8], b"LLNK"] {
            assert!(!holds(&bytes, secret), "{}", secret.escape_ascii());
        }
    }
}

/// That it would have been found.
#[test]
fn in_clear_text_all_of_that_is_seen() {
    let clear = Connection::builder;
    let ([up, down], token) = capture(clear(), clear(), &RawServer::in_clear());
    for seen in [MARKER, &token, b"LLNK"] {
        assert!(holds(&up, seen), "{}", seen.escape_ascii());
    }
    assert!(holds(&down, MARKER));
}

/// Has a session over a path that does something to it. Each message arrives once and in
/// order, in both directions, and both sides end well.
fn session(rig: &Rig, alice: &Builder) {
    let client = rig.connect_with(alice.clone());
    let server = rig.accept();
    let takes = |side: &Side, expected: Option<&[u8]>| {
        let taken = side.recv_timeout(PATIENCE);
        let is_expected = taken.as_ref().is_ok_and(|taken| taken.as_deref() == expected);
        assert!(is_expected, "{expected:?}: {taken:?}");
    };
    for message in MESSAGES.map(message) {
        for (from, to) in [(&client, &server), (&server, &client)] {
            from.send(&message).unwrap();
            takes(to, Some(&message));
        }
    }
    let closing = thread::spawn(move || (client.close(), client));
    takes(&server, None);
    let closed = server.close();
    let (client_closed, client) = closing.join().unwrap();
    assert!(matches!((&closed, &client_closed), (Ok(()), Ok(()))), "{closed:?} {client_closed:?}");
    assert_eq!(client.stats().sessions_lost, 0);
}

#[derive(Debug, Clone, Copy)]
enum Tamper {
    Flips(u8),
    Cuts(How),
}

/// How much goes that way in a session that is left alone.
fn length(direction: Direction) -> u64 {
    let [alice, server] = secured(&calm());
    let rig = Rig::new(server);
    session(&rig, &alice);
    let stats = rig.proxy.stats();
    if direction == Direction::Up { stats.up } else { stats.down }
}

/// One session for each position of what goes one way, and `tamper` says what happens there,
/// if anything.
fn tamper(direction: Direction, tamper: impl Fn(u64) -> Option<Tamper>) {
    let [alice, server] = secured(&hurried());
    let rig = Rig::new(server);
    // Three messages, and the handshake, which is longer.
    let all = length(direction);
    assert!(all > 2000, "{all}");
    let mut hit = 0;
    let mut tried = 0;
    for position in 0..all {
        let Some(tamper) = tamper(position) else { continue };
        tried += 1;
        let _shown = OnPanic((direction, position, tamper));
        let cut = rig.proxy.stats().cut;
        match tamper {
            Tamper::Flips(bits) => rig.proxy.flip(direction, position, bits),
            Tamper::Cuts(how) => rig.proxy.cut_after(direction, position, how),
        }
        session(&rig, &alice);
        hit += match tamper {
            Tamper::Flips(_) => usize::from(rig.proxy.has_flipped(direction)),
            Tamper::Cuts(_) => rig.proxy.stats().cut - cut,
        };
    }
    // What comes last is not as long each time, and comes too late then.
    assert!(tried > 0 && hit * 10 >= tried * 9, "{hit} of {tried}");
}

/// Printed if the test fails.
struct OnPanic<T: Debug>(T);

impl<T: Debug> Drop for OnPanic<T> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- {:?}", self.0);
        }
    }
}

/// Both directions, each on a thread of its own. About so many positions are tried.
fn tamper_both_ways(
    one_of: u64,
    what: impl Fn(&mut fastrand::Rng) -> Tamper + Clone + Send + 'static,
) {
    let seed = fastrand::u64(..);
    let _shown = OnPanic(("seed", seed));
    let each = Direction::BOTH.map(|direction| {
        let what = what.clone();
        thread::spawn(move || {
            tamper(direction, |position| {
                let mut random = fastrand::Rng::with_seed(seed ^ position);
                (random.u64(..one_of) == 0).then(|| what(&mut random))
            });
        })
    });
    each.into_iter().for_each(|thread| thread.join().expect("see above"));
}

fn flips(random: &mut fastrand::Rng) -> Tamper {
    Tamper::Flips(random.u8(1..))
}

fn cuts(random: &mut fastrand::Rng) -> Tamper {
    Tamper::Cuts(if random.bool() { How::Fin } else { How::Rst })
}

#[test]
fn a_byte_that_is_flipped_costs_at_most_a_link() {
    tamper_both_ways(40, flips);
}

#[test]
fn a_cut_of_what_is_sealed_costs_at_most_a_link() {
    tamper_both_ways(40, cuts);
}

/// What comes behind a record whose length is another one passes for a part of it, and for life.
#[test]
#[ignore = "takes half a minute; the gate runs it"]
fn a_record_that_does_not_end_costs_the_link() {
    let heartbeat = Heartbeat::every(ms(1000)).misses(5);
    let [alice, server] = secured(&calm().heartbeat(heartbeat));
    let rig = Rig::new(server);
    let (client, server) = rig.warm_pair_with(alice);
    // The upper byte of the length.
    rig.proxy.flip(Direction::Up, 3, 0x3F);
    client.send("goes on").unwrap();
    let message = server.recv_timeout(SOON * 2);
    assert!(matches!(&message, Ok(Some(message)) if message == "goes on"), "{message:?}");
    server.says("lost: protocol violation: a record that does not end", 1);
    assert_eq!((client.stats().sessions_lost, server.stats().reconnects), (0, 1));
}

#[test]
#[ignore = "takes minutes; the gate runs it"]
fn every_byte_that_is_flipped_costs_at_most_a_link() {
    tamper_both_ways(1, flips);
}

#[test]
#[ignore = "takes minutes; the gate runs it"]
fn every_cut_of_what_is_sealed_costs_at_most_a_link() {
    tamper_both_ways(1, cuts);
}

/// Says it to a server, and reads until that ends the link.
fn say_again(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    // The server may have heard enough before that is all.
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    answer
}

/// The records of TLS, with their headers.
fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while let [_, _, _, high, low, ..] = bytes {
        let len = 5 + usize::from(u16::from_be_bytes([*high, *low]));
        let (record, rest) = bytes.split_at(len);
        records.push(record);
        bytes = rest;
    }
    records
}

#[test]
fn what_a_client_has_said_is_worth_nothing_when_it_is_said_again() {
    let [alice, server] = secured(&calm());
    let rig = Rig::new(server);
    rig.proxy.record();
    let (client, side) = rig.warm_pair_with(alice.clone());
    let said = rig.proxy.recorded(Direction::Up);
    let addr = rig.listener.local_addr();
    let records = records(&said);
    assert!(records.len() > 4, "{}", records.len());
    let hello = records[0].len();
    // All, the first flight, all but that; and all, with each record left out or said twice.
    let mut replays = vec![said.clone(), said[..hello].to_vec(), said[hello..].to_vec()];
    for nth in 0..records.len() {
        let [before, after] = [&records[..nth], &records[nth + 1..]].map(|part| part.concat());
        replays.push([&before[..], &after].concat());
        replays.push([&before[..], records[nth], records[nth], &after].concat());
    }
    for replay in replays {
        say_again(addr, &replay);
        client.send("goes on").unwrap();
        side.takes("goes on");
        side.send("goes on").unwrap();
        client.takes("goes on");
    }
    assert_eq!((client.stats().reconnects, side.stats().reconnects), (0, 0));
    // Nobody came meanwhile: the next one is the next client.
    let _bob = rig.connect_with(alice.greeting("the next"));
    assert_eq!(rig.accept().greeting(), "the next");
}

#[test]
fn what_a_server_has_said_is_worth_nothing_when_it_is_said_again() {
    let [alice, server] = secured(&calm());
    let rig = Rig::new(server);
    rig.proxy.record();
    let (client, side) = rig.warm_pair_with(alice);
    let said = rig.proxy.recorded(Direction::Down);
    let fake = TcpListener::bind("127.0.0.1:0").unwrap();
    rig.proxy.retarget(fake.local_addr().unwrap());
    rig.proxy.cut(How::Fin);
    let (mut socket, _) = fake.accept().unwrap();
    socket.write_all(&said).unwrap();
    let (_, failed) = client.says("failed", 1);
    assert!(matches!(failed, Event::Failed { cause: Cause::Tls(_), .. }), "{failed:?}");
    drop(socket);
    rig.proxy.retarget(rig.listener.local_addr());
    client.says("resumed", 1);
    client.send("goes on").unwrap();
    side.takes("goes on");
    assert_eq!((client.stats().sessions_lost, side.stats().reconnects), (0, 1));
}
