//! Numbers that outlive sessions, and one connection of a client at a time.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;

use longlink::{Builder, Bytes, Cause, Connection, Error, Event, Listener, Plain, RetryPolicy};

use crate::proxy::{Direction, How};
use crate::rig::{Log, Rig, SOON, Side, calm, connect, has_no_text, join, ms, quick, until};
use crate::wire::{
    CLOSE, DATA, Hello, PROTOCOL, REJECT, Raw, RawServer, WELCOME, Welcome, frame, longer,
};

const ID: [u8; 16] = *b"a client of ours";
const MAX: u64 = 1 << 61;

fn named(builder: Builder) -> Builder {
    builder.client_id(ID)
}

/// A server that knows nothing takes the place of the old one.
fn restart(rig: &Rig) -> Listener {
    let other = calm().bind("127.0.0.1:0").unwrap();
    rig.proxy.retarget(other.local_addr());
    rig.proxy.cut(How::Rst);
    other
}

/// The process of the client is gone, and the server has not noticed.
fn kill(rig: &Rig, client: &Side) {
    let before = rig.proxy.stats().swallowed;
    rig.proxy.swallow(Direction::Up, true);
    client.abort();
    until("its last words are lost", || rig.proxy.stats().swallowed > before);
    rig.proxy.swallow(Direction::Up, false);
}

#[track_caller]
fn assert_replaced(side: &Side) {
    match side.recv_timeout(SOON) {
        Err(Error::GaveUp { cause: Cause::Replaced, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn takes_numbered(side: &Side, number: u64, message: &str) {
    let taken = side.recv_numbered().unwrap();
    assert_eq!(taken, Some((number, Bytes::copy_from_slice(message.as_bytes()))));
}

/// What every server of the application shares: what it keeps of each client, and commits
/// with the effect.
#[derive(Clone, Default)]
struct Database(Arc<Mutex<BTreeMap<[u8; 16], Account>>>);

/// The number of the last message, and the effects of all.
type Account = (u64, Vec<Bytes>);

impl Database {
    /// Books so many messages. Others have been booked already.
    fn serve(&self, connection: &Connection, count: u64) {
        let client = connection.client_id().expect("ours have one");
        let mut done = 0;
        while done < count {
            let (number, message) = connection.recv_numbered().unwrap().expect("a message");
            let mut clients = self.0.lock().unwrap();
            let (last, booked) = clients.entry(client).or_default();
            if number > *last {
                assert_eq!(number, *last + 1, "a gap");
                (*last, done) = (number, done + 1);
                booked.push(message);
            }
        }
    }

    fn booked(&self, client: [u8; 16]) -> Vec<Bytes> {
        self.0.lock().unwrap().get(&client).cloned().unwrap_or_default().1
    }
}

// Trap 13: the process is gone, and another listens on its port.
#[test]
fn a_message_keeps_its_number_when_servers_are_killed() {
    let rig = Rig::new(calm());
    let client = rig.connect_with(named(calm()).first_number(10));
    let server = rig.accept();
    let ids = (client.client_id(), server.client_id());
    assert_eq!(ids, (Some(ID), Some(ID)));
    assert_eq!(client.acknowledged_number(), 9);
    assert_eq!(client.send_numbered("ten").unwrap(), 10);
    client.send("eleven").unwrap();
    client.feed("twelve").unwrap();
    client.feed_many(&["thirteen", "fourteen"]).unwrap();
    client.send_bytes("fifteen").unwrap();
    client.try_send("sixteen").unwrap();
    assert_eq!(client.send_numbered("seventeen").unwrap(), 17);
    takes_numbered(&server, 10, "ten");
    takes_numbered(&server, 11, "eleven");
    server.done();
    until("two are acknowledged", || client.acknowledged_number() == 11);
    // The link alone is lost.
    rig.proxy.cut(How::Rst);
    takes_numbered(&server, 12, "twelve");
    until("the link is back", || client.is_connected() && server.is_connected());
    takes_numbered(&server, 13, "thirteen");
    // It was handed out, and is acknowledged or not: a number is kept either way.
    let other = restart(&rig);
    drop(server);
    let again = Side::new(other.accept().unwrap(), Log::new("server"));
    assert_eq!(again.client_id(), Some(ID));
    let (first, _) = again.recv_numbered().unwrap().unwrap();
    assert!((12..=13).contains(&first), "{first}");
    let mut numbers: Vec<u64> = (first + 1..14).collect();
    numbers.iter_mut().for_each(|number| *number = again.recv_numbered().unwrap().unwrap().0);
    let mut messages = Vec::new();
    while numbers.len() + messages.len() < (18 - first as usize) - 1 {
        let count = messages.len() as u64;
        let got = again.recv_many_numbered(&mut messages, 3).unwrap();
        assert_eq!(got.start, 14 + count);
        assert_eq!(got.end, 14 + messages.len() as u64);
    }
    assert_eq!(messages, ["fourteen", "fifteen", "sixteen", "seventeen"]);
    client.finish().unwrap();
    // The end is no message, and has no number.
    let none = again.recv_many_numbered(&mut messages, 3).unwrap();
    assert_eq!((none.is_empty(), messages.len()), (true, 4));
    assert_eq!(again.recv_numbered().unwrap(), None);
    until("all are acknowledged", || client.acknowledged_number() == 17);
}

// Trap 13: in the middle of its work, again and again; and the client's process too, which has
// stored what was not acknowledged.
#[test]
fn each_message_is_booked_once_whoever_is_killed() {
    const MESSAGES: u64 = 300;
    let rig = Rig::new(calm());
    let database = Database::default();
    let message = |number: u64| format!("message {number}");
    let mut client = rig.connect_with(named(calm()));
    let mut sent = 0;
    let mut server = rig.accept();
    let mut before = Vec::new();
    for round in 0.. {
        for number in sent + 1..=MESSAGES.min(sent + 20) {
            assert_eq!(client.send_numbered(message(number)).unwrap(), number);
            sent = number;
        }
        let booked = database.booked(ID).len() as u64;
        database.serve(&server, (sent - booked).min(17));
        if booked + 17 >= MESSAGES {
            break;
        }
        if round % 3 == 2 {
            // The process is gone; what it had stored is what is not acknowledged.
            let acknowledged = client.acknowledged_number();
            kill(&rig, &client);
            let listener = before.last().map_or(&rig.listener, |(listener, _)| listener);
            client = rig.connect_with(named(calm()).first_number(acknowledged + 1));
            let next = Side::new(listener.accept().unwrap(), Log::new("server"));
            assert_replaced(&server);
            server = next;
            for number in acknowledged + 1..=sent {
                assert_eq!(client.send_numbered(message(number)).unwrap(), number);
            }
        } else {
            let other = restart(&rig);
            let next = Side::new(other.accept().unwrap(), Log::new("server"));
            before.push((other, std::mem::replace(&mut server, next)));
        }
    }
    let right: Vec<_> = (1..=MESSAGES).map(|number| Bytes::from(message(number))).collect();
    assert_eq!(database.booked(ID), right);
}

/// The client's process was killed, and started again before the server noticed.
#[test]
fn a_new_connection_of_a_client_ends_the_one_that_is_served() {
    let rig = Rig::new(calm());
    let (before, old) = rig.warm_pair_with(named(calm()).retry(RetryPolicy::never()));
    for message in ["one", "two", "three"] {
        before.send(message).unwrap();
    }
    old.takes("one");
    let serving = Arc::new(old);
    let blocked = serving.clone();
    // A handler that waits for room sees it, too.
    let sending = thread::spawn(move || {
        loop {
            if let Err(e) = blocked.send([0; 10_000]) {
                return e;
            }
        }
    });
    let client = rig.connect_with(named(calm()).first_number(before.acknowledged_number() + 1));
    let new = rig.accept();
    assert_eq!(new.client_id(), Some(ID));
    // What had arrived is not handed out any more.
    assert_replaced(&serving);
    let error = join(sending);
    assert!(matches!(error, Error::GaveUp { cause: Cause::Replaced, .. }), "{error:?}");
    serving.says("gave up", 1);
    let events = serving.log.events();
    let Some([Event::Lost { .. }, Event::GaveUp { cause, .. }]) = events.last_chunk() else {
        panic!("{events:?}");
    };
    assert!(matches!(cause, Cause::Replaced), "{cause:?}");
    // The other process learns that its link is lost, as by a server that was killed.
    while before.recv_timeout(SOON).is_ok() {}
    assert!(matches!(before.try_recv(), Err(Error::GaveUp { .. })));
    client.send("again").unwrap();
    takes_numbered(&new, before.acknowledged_number() + 1, "again");
}

#[test]
fn one_that_waits_to_be_accepted_is_never_handed_out() {
    let listener = calm().bind("127.0.0.1:0").unwrap();
    let mut peers: Vec<_> = (1..=3u8)
        .map(|token| {
            let mut peer = says(listener.local_addr(), token, &numbers(7, token.into()));
            peer.read_kind(WELCOME);
            peer.send(frame(DATA, [token]));
            peer
        })
        .collect();
    // The last words of the others were that their links are over.
    assert!(peers[..2].iter_mut().all(|peer| peer.read().is_none()));
    let server = listener.accept().unwrap();
    assert_eq!(server.recv_numbered().unwrap(), Some((3, Bytes::from(vec![3]))));
    let mut other = says(listener.local_addr(), 4, &numbers(8, 1));
    other.read_kind(WELCOME);
    assert_eq!(listener.accept().unwrap().client_id(), Some([8; 16]));
}

#[test]
fn a_connection_draws_an_id_of_its_own_unless_it_is_given_one() {
    let rig = Rig::new(calm());
    let pairs: Vec<_> = (0..3).map(|_| rig.pair()).collect();
    let mut ids: Vec<_> = pairs.iter().map(|(client, _)| client.client_id().unwrap()).collect();
    for (client, server) in &pairs {
        assert_eq!(client.client_id(), server.client_id());
        client.send("undisturbed").unwrap();
        takes_numbered(server, 1, "undisturbed");
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    // It is a secret.
    let builder = named(calm());
    let printed = format!("{builder:?} {:?}", connect(builder.clone(), rig.proxy.addr()).bare());
    assert!(printed.contains("612063..") && !printed.contains("61206363"), "{printed}");
    assert!(!printed.contains("a client") && !printed.contains("97, 32"), "{printed}");
}

#[test]
fn numbers_that_cannot_be_are_an_error_and_large_ones_are_not() {
    let rig = Rig::new(calm());
    for first in [0, MAX + 1, u64::MAX] {
        for builder in [calm(), calm().plain(Plain::new())] {
            let error = builder.first_number(first).connect(rig.proxy.addr()).unwrap_err();
            let text = format!("invalid configuration: the first number is {first}, not 1 to 2^61");
            assert_eq!(error.to_string(), text);
        }
    }
    let client = rig.connect_with(calm().first_number(MAX));
    let server = rig.accept();
    assert_eq!(client.send_numbered("large").unwrap(), MAX);
    client.send("larger").unwrap();
    takes_numbered(&server, MAX, "large");
    takes_numbered(&server, MAX + 1, "larger");
    server.done();
    until("it is acknowledged", || client.acknowledged_number() == MAX + 1);
    // It goes on where a client could not begin.
    let other = restart(&rig);
    let again = Side::new(other.accept().unwrap(), Log::new("server"));
    client.send("largest").unwrap();
    takes_numbered(&again, MAX + 2, "largest");
}

/// The option, by hand.
fn says(addr: SocketAddr, token: u8, options: &[u8]) -> Raw {
    let mut raw = Raw::connect(addr);
    raw.send(longer(&Hello::new(token).bytes(), options));
    raw
}

fn numbers(client: u8, first: u64) -> Vec<u8> {
    [&[0, 2, 0, 24][..], &[client; 16], &first.to_be_bytes()].concat()
}

#[test]
fn a_hello_whose_numbers_cannot_be_is_malformed_and_ends_no_session() {
    let listener = calm().bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr();
    let mut peer = says(addr, 1, &numbers(7, 1 << 62));
    let server = listener.accept().unwrap();
    assert_eq!(server.client_id(), Some([7; 16]));
    let right = numbers(7, 1);
    let bad = [
        numbers(7, 0),
        numbers(7, (1 << 62) + 1),
        numbers(7, u64::MAX),
        [&right[..], &right].concat(),
        [&[0, 2, 0, 23][..], &right[4..27]].concat(),
        [&[0, 2, 0, 25][..], &right[4..], &[0]].concat(),
        b"\0\x02\0\0".to_vec(),
        right[..27].to_vec(),
    ];
    for (token, options) in bad.iter().enumerate() {
        let mut raw = says(addr, 10 + token as u8, options);
        let Some((REJECT, body)) = raw.read() else { panic!("{options:x?}") };
        assert_eq!(body[0], PROTOCOL);
    }
    peer.read_kind(WELCOME);
    peer.send(frame(DATA, "far"));
    assert_eq!(server.recv_numbered().unwrap(), Some((1 << 62, Bytes::from("far"))));
}

#[test]
fn a_peer_that_gives_no_numbers_is_counted_from_1_and_ends_no_other() {
    let listener = calm().bind("127.0.0.1:0").unwrap();
    let mut peers: Vec<_> = [1, 2].map(|token| says(listener.local_addr(), token, b"")).into();
    for peer in &mut peers {
        let server = listener.accept().unwrap();
        assert_eq!(server.client_id(), None);
        peer.read_kind(WELCOME);
        for number in 1..=2 {
            peer.send(frame(DATA, "message"));
            assert_eq!(server.recv_numbered().unwrap().unwrap().0, number);
        }
        // A server counts its own messages, too.
        assert_eq!(server.send_numbered("reply").unwrap(), 1);
        assert_eq!(server.acknowledged_number(), 0);
    }
}

#[test]
fn plain_text_has_numbers_of_its_own() {
    if has_no_text() {
        return;
    }
    let listener = calm().bind("127.0.0.1:0").unwrap();
    let plain = named(calm()).plain(Plain::new()).first_number(5);
    let client = connect(plain.clone(), listener.local_addr());
    assert_eq!((client.client_id(), client.acknowledged_number()), (None, 4));
    assert_eq!(client.send_numbered("line").unwrap(), 5);
    client.sync(SOON).unwrap();
    assert_eq!(client.acknowledged_number(), 5);
    let server = listener.accept().unwrap();
    assert_eq!(server.client_id(), None);
    assert_eq!(server.recv_numbered().unwrap(), Some((1, Bytes::from("line\n"))));
    // Another one of that id ends nothing.
    let other = connect(plain, listener.local_addr());
    other.send("line").unwrap();
    assert!(listener.accept().is_ok());
    client.send("goes on").unwrap();
    assert_eq!(server.recv_numbered().unwrap(), Some((2, Bytes::from("goes on\n"))));
}

#[test]
fn what_is_given_back_has_the_numbers_that_follow() {
    let rig = Rig::new(calm());
    let client = rig.connect_with(named(calm()).first_number(7));
    let server = rig.accept();
    for message in ["seven", "eight", "nine"] {
        client.send(message).unwrap();
    }
    client.finish().unwrap();
    takes_numbered(&server, 7, "seven");
    takes_numbered(&server, 8, "eight");
    until("one is acknowledged", || client.acknowledged_number() == 7);
    client.abort();
    assert!(client.send_numbered("none").is_err());
    let back = client.take_unacknowledged();
    let first = client.acknowledged_number() + 1;
    assert_eq!((first, back), (8, vec![Bytes::from("eight"), Bytes::from("nine")]));
    let again = rig.connect_with(named(calm()).first_number(first));
    again.send("eight").unwrap();
    takes_numbered(&rig.accept(), 8, "eight");
}

/// The parting goes on when the connection is over, and the peer's last word may acknowledge
/// what the application has taken to send it elsewhere.
#[test]
fn what_was_given_back_keeps_its_number_whatever_the_peer_says_then() {
    let raw = RawServer::new();
    let addr = raw.addr();
    let connecting = thread::spawn(move || connect(named(calm()).first_number(7), addr));
    let (mut link, _) = raw.welcome(&Welcome::new(1));
    let client = join(connecting);
    for message in ["seven", "eight", "nine"] {
        client.send(message).unwrap();
    }
    client.finish().unwrap();
    client.abort();
    link.read_kind(CLOSE);
    let back = client.take_unacknowledged();
    assert_eq!(back, ["seven", "eight", "nine"]);
    link.send(frame(CLOSE, [0, 0, 0, 0, 0, 0, 0, 0, 2]));
    until("the link has ended", || link.has_ended());
    until("it is over", || !client.is_connected());
    assert_eq!(client.acknowledged_number(), 6);
    let stats = client.stats();
    assert_eq!((stats.unacknowledged, stats.unacknowledged_bytes), (3, 5 + 5 + 4));
    assert!(matches!(client.send("ten"), Err(Error::Closed { unacknowledged: 3, .. })));
    assert_eq!(client.take_unacknowledged(), [""; 0]);
}

/// Its process was started again, and the server is full of what that process had.
#[test]
fn a_client_that_was_started_again_takes_its_own_place_on_a_full_server() {
    let rig = Rig::new(calm().max_clients(1));
    let client = rig.connect_with(named(calm()));
    let mut server = rig.accept();
    let other = calm().retry(RetryPolicy::never()).connect(rig.proxy.addr());
    assert!(matches!(other, Err(Error::GaveUp { cause: Cause::Rejected(_), .. })), "{other:?}");
    kill(&rig, &client);
    for message in ["1", "2", "3"] {
        let again = rig.connect_with(named(calm()).retry(RetryPolicy::never()));
        again.send(message).unwrap();
        let next = rig.accept();
        assert_replaced(&std::mem::replace(&mut server, next));
        server.takes(message);
        kill(&rig, &again);
    }
}

/// A HELLO of the process that was killed is late: the new one is served already. It ends the
/// session of the new one, which comes back, and says where it stands.
#[test]
fn a_hello_of_a_killed_process_that_comes_late_loses_and_doubles_nothing() {
    let listener = calm().bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr();
    let database = Database::default();
    let mut killed = says(addr, 1, &numbers(b'k', 1));
    killed.read_kind(WELCOME);
    killed.send(["1", "2"].map(|message| frame(DATA, message)).concat());
    database.serve(&listener.accept().unwrap(), 2);
    killed.end();
    let client = connect(calm().client_id([b'k'; 16]).first_number(2), addr);
    for message in ["2", "3"] {
        client.send(message).unwrap();
    }
    let serving = Side::new(listener.accept().unwrap(), Log::new("server"));
    database.serve(&serving, 1);
    // The one that had this token was replaced: nothing is known of its attempts.
    for attempt in 1..=5 {
        let mut late = Raw::connect(addr);
        let hello = Hello { attempt, epoch: attempt, ..Hello::new(1) };
        late.send(longer(&hello.bytes(), &numbers(b'k', 1)));
        late.read_kind(WELCOME);
        client.says("new session", attempt as usize);
    }
    assert_replaced(&serving);
    client.send("4").unwrap();
    database.serve(&listener.accept().unwrap(), 1);
    assert_eq!(database.booked([b'k'; 16]), ["1", "2", "3", "4"]);
}

/// A pool may be done with the second of two, which is not acknowledged by that.
#[test]
fn what_is_held_has_its_number() {
    let rig = Rig::new(calm());
    let client = rig.connect_with(named(calm()).first_number(5));
    let server = rig.accept();
    client.send("five").unwrap();
    client.send("six").unwrap();
    let hold = |server: &Side| server.recv_held().unwrap().unwrap();
    let (five, six) = (hold(&server), hold(&server));
    assert_eq!((five.number(), six.number()), (5, 6));
    six.done();
    let other = restart(&rig);
    let again = Side::new(other.accept().unwrap(), Log::new("server"));
    let (five_again, six_again) = (hold(&again), hold(&again));
    assert_eq!((five_again.number(), six_again.number()), (5, 6));
    six_again.done();
    five_again.done();
    until("both are acknowledged", || client.acknowledged_number() == 6);
    five.done();
}

/// Each thread knows the numbers of its own messages, and they have no gaps.
#[test]
fn threads_that_share_a_connection_share_its_numbers() {
    const EACH: u64 = 200;
    let rig = Rig::new(quick());
    let (client, server) = rig.pair();
    let client = Arc::new(client);
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            thread::spawn(move || {
                let send = |n: u64| client.send_numbered(n.to_be_bytes()).unwrap();
                (0..EACH).map(send).collect::<Vec<_>>()
            })
        })
        .collect();
    let received: Vec<_> =
        (0..4 * EACH).map(|_| server.recv_numbered().unwrap().unwrap()).collect();
    for (number, (received, _)) in (1..).zip(&received) {
        assert_eq!(*received, number);
    }
    for numbers in senders.into_iter().map(join) {
        for (n, number) in (0u64..).zip(numbers) {
            assert_eq!(received[number as usize - 1].1, n.to_be_bytes()[..]);
        }
    }
}

/// A server that only accepts: nothing of it is ended that is not of the client.
#[test]
fn a_listener_of_another_kind_is_told_no_id() {
    if has_no_text() {
        return;
    }
    let plain = named(calm()).plain(Plain::new());
    let (mut server, client) = RawServer::new().meet(|addr| connect(plain, addr));
    client.send("line").unwrap();
    let mut heard = [0; 5];
    server.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"line\n");
    assert!(matches!(client.recv_timeout(ms(1)), Err(Error::TimedOut)));
}
