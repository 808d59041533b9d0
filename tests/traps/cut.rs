//! Links that are cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use longlink::Connection;

use crate::proxy::{Direction, How};
use crate::rig::{Rig, SOON, Side, at_once, calm, echo, join, quick};

/// So many links are regained at once; after that it takes a second for each.
const AT_ONCE: usize = 28;

#[derive(Clone, Copy, Debug, PartialEq)]
enum During {
    Frames,
    Handshake,
}

/// Ends the link in order at each offset of what goes one way, while two messages and their echoes
/// are under way, and resets it at each third.
fn cut_everywhere(during: During, direction: Direction) {
    // Two messages and an acknowledgement; the larger handshake is the hello, and what may
    // be skipped.
    let most = 2 * MESSAGE + 17 + if during == During::Handshake { 80 } else { 0 };
    // A handshake is cut on the way back from another cut.
    let rounds = if during == During::Handshake { AT_ONCE / 2 } else { AT_ONCE };
    let of_each = |(how, step)| {
        let offsets: Vec<u64> = (0..=most).step_by(step).collect();
        let chunks = offsets.chunks(rounds).map(|offsets| (how, offsets.to_vec()));
        chunks.collect::<Vec<_>>()
    };
    at_once([(How::Fin, 1), (How::Rst, 3)].into_iter().flat_map(of_each), |(how, offsets)| {
        let rig = Rig::new(calm());
        let (client, server) = rig.warm_pair();
        let server = Arc::new(server);
        let echoed = echo(&server);
        let mut sent = Vec::new();
        for &offset in &offsets {
            if during == During::Frames {
                rig.proxy.cut_after(direction, offset, how);
            }
            for half in ["first", "second"] {
                // A message and its header take MESSAGE bytes.
                let message = format!("{offset:3} {half:16}").into_bytes();
                client.feed(&message).unwrap();
                sent.push(message);
            }
            if during == During::Handshake {
                rig.proxy.cut_after(direction, offset, how);
                rig.proxy.cut(How::Fin);
            }
            client.flush().unwrap();
            client.takes(&sent[sent.len() - 2]);
            client.takes(&sent[sent.len() - 1]);
        }
        // An offset in an acknowledgement is reached in a later round, or not at all.
        let certain = offsets.iter().filter(|&&offset| offset < 2 * MESSAGE).count();
        assert!(rig.proxy.stats().cut >= certain.max(1), "{:?}", rig.proxy.stats());
        client.finish().unwrap();
        client.takes_end();
        assert_eq!(join(echoed), sent);
        let (ours, theirs) = (client.stats(), server.stats());
        assert_eq!(ours.messages_received, theirs.messages_sent, "{ours:?} {theirs:?}");
        assert_eq!((ours.sessions_lost, ours.messages_sent), (0, theirs.messages_received));
    });
}

const MESSAGE: u64 = 25;

// Trap 1.
#[test]
fn a_cut_at_any_byte_up_loses_doubles_and_tears_nothing() {
    cut_everywhere(During::Frames, Direction::Up);
}

// Trap 1.
#[test]
fn a_cut_at_any_byte_down_loses_doubles_and_tears_nothing() {
    cut_everywhere(During::Frames, Direction::Down);
}

// Traps 1 and 12.
#[test]
fn a_cut_at_any_byte_of_a_resumption_up_loses_nothing() {
    cut_everywhere(During::Handshake, Direction::Up);
}

// Traps 1 and 12.
#[test]
fn a_cut_at_any_byte_of_a_resumption_down_loses_nothing() {
    cut_everywhere(During::Handshake, Direction::Down);
}

// Trap 12.
#[test]
fn a_first_welcome_that_never_arrives_makes_one_session() {
    for offset in 0..35 {
        let rig = Rig::new(calm());
        rig.proxy.cut_after(Direction::Down, offset, How::Fin);
        let client = rig.connect();
        let server = rig.accept();
        client.send(b"one").unwrap();
        server.takes(b"one");
        server.send(b"two").unwrap();
        client.takes(b"two");
        // The next session is another client's.
        let other = rig.connect();
        other.send(b"other").unwrap();
        rig.accept().takes(b"other");
        assert_eq!(client.stats().sessions_lost, 0);
        client.says("connected to", 1);
        assert_eq!(client.log.count("resumed"), 0);
    }
}

// Trap 20.
#[test]
fn frames_in_single_bytes_are_frames() {
    let rig = Rig::new(calm());
    rig.proxy.slice(true);
    let (client, server) = rig.pair();
    let server = Arc::new(server);
    let echoed = echo(&server);
    for len in [0, 1, 4, 5, 6, 100, 2043, 2044, 4091, 4096, 9000] {
        let message: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        client.send(&message).unwrap();
        client.takes(&message);
    }
    for message in ["keepalive", "keepalive\n", "\u{f8}", "LLNK", "exit\n"] {
        client.send(message.as_bytes()).unwrap();
        client.takes(message);
    }
    client.finish().unwrap();
    client.takes_end();
    assert_eq!(join(echoed).len(), 16);
}

/// Sends numbered messages until told to stop, then the last number.
fn count_up(side: &Arc<Side>, sender: u8, stop: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
    let (side, stop) = (side.clone(), stop.clone());
    let mut random = fastrand::Rng::with_seed(sender.into());
    thread::spawn(move || {
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let mut message = vec![sender; 5 + random.usize(..2000)];
            message[1..5].copy_from_slice(&u32::to_be_bytes(number));
            side.send(&message).unwrap();
        }
        side.send([&[sender][..], &number.to_be_bytes(), b"last"].concat()).unwrap();
    })
}

/// Receives what two senders count; returns how far each came.
fn count_along(side: &Connection) -> [u32; 2] {
    let mut next = [1; 2];
    let mut last = [None; 2];
    while last.contains(&None) {
        let message = side.recv_timeout(SOON).unwrap().unwrap();
        let sender = usize::from(message[0] % 2);
        let number = u32::from_be_bytes(message[1..5].try_into().unwrap());
        if &message[5..] == b"last" {
            assert_eq!(number + 1, next[sender], "the last of {}", message[0]);
            last[sender] = Some(number);
            continue;
        }
        assert_eq!(number, next[sender], "sender {}", message[0]);
        assert!(message[5..].iter().all(|&byte| byte == message[0]), "torn");
        next[sender] += 1;
    }
    last.map(Option::unwrap)
}

// Traps 2 and 11.
#[test]
fn four_senders_and_random_cuts_deliver_exactly_in_order() {
    for seed in 1..=2 {
        eprintln!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let rig = Rig::new(quick().window(64 * 1024).max_message(4096));
        let (client, server) = rig.warm_pair();
        let (client, server) = (Arc::new(client), Arc::new(server));
        let stop = Arc::new(AtomicBool::new(false));
        let senders = [(&client, 0), (&client, 1), (&server, 2), (&server, 3)]
            .map(|(side, sender)| count_up(side, sender, &stop));
        let receivers = [&client, &server].map(|side| {
            let side = side.clone();
            thread::spawn(move || count_along(&side))
        });
        for cuts in 1..=AT_ONCE {
            let direction = Direction::BOTH[random.usize(..2)];
            let how = if random.bool() { How::Fin } else { How::Rst };
            rig.proxy.cut_after(direction, random.u64(..100_000), how);
            assert!(rig.proxy.wait_for(|stats| stats.cut >= cuts, SOON), "seed {seed}");
        }
        stop.store(true, Ordering::Relaxed);
        senders.into_iter().for_each(join);
        let [down, up] = receivers.map(join);
        assert!(down.iter().chain(&up).all(|&count| count > 0), "{up:?} {down:?}");
        let (ours, theirs) = (client.stats(), server.stats());
        assert_eq!(ours.messages_sent, theirs.messages_received);
        assert_eq!(theirs.messages_sent, ours.messages_received);
        assert_eq!(ours.sessions_lost, 0);
        // No loss is told twice, and none is without a return. That is told by another thread
        // than takes what it has brought.
        let regained = ours.reconnects as usize;
        client.says("resumed, ", regained);
        assert_eq!(["lost: ", "resumed, "].map(|what| client.log.count(what)), [regained; 2]);
    }
}

// Trap 11.
#[test]
fn a_thread_of_an_old_link_does_no_harm_to_the_next() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    let (client, server) = (Arc::new(client), Arc::new(server));
    let echoed = echo(&server);
    let received = thread::spawn({
        let client = client.clone();
        move || client.incoming().map(Result::unwrap).count()
    });
    // One thread sits in a read, one writes, the driver watches: all three see each end.
    for round in 1..=AT_ONCE {
        client.send(b"before").unwrap();
        rig.proxy.cut(if round % 2 == 0 { How::Fin } else { How::Rst });
        client.send(b"after").unwrap();
        client.says("resumed, ", round);
    }
    client.finish().unwrap();
    assert_eq!(join(received), 2 * AT_ONCE);
    assert_eq!(join(echoed).len(), 2 * AT_ONCE);
    assert_eq!(client.log.count("lost: "), AT_ONCE);
    assert_eq!(server.log.count("lost: "), AT_ONCE);
}

// Trap 26.
#[test]
fn a_write_that_was_blocked_when_its_link_ended_is_made_whole() {
    for how in [How::Fin, How::Rst] {
        let rig = Rig::new(calm().window(8 << 20));
        let (client, server) = rig.warm_pair();
        for round in 0..3 {
            rig.proxy.stall(Direction::Up, true);
            let message = |i: u32| vec![(round * 100 + i) as u8; 200_000];
            // More than the sockets take: the last one stands half in the kernel.
            for i in 0..36 {
                client.send(message(i)).unwrap();
            }
            assert!(rig.proxy.cut(how) == 1);
            rig.proxy.stall(Direction::Up, false);
            for i in 0..36 {
                server.takes(message(i));
            }
            assert!(server.try_recv().is_err(), "something was doubled");
        }
        assert_eq!(client.stats().reconnects, 3);
        assert_eq!(client.stats().messages_sent, server.stats().messages_received);
    }
}
