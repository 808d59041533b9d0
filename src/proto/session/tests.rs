//! Single situations; whatever takes a network is in [`super::super::sim`].

use super::*;
use crate::proto::choices::rounds;
use crate::proto::frame::Decoder;

const WINDOW: u32 = 10_000;

/// Both ends, on a link that loses nothing.
struct Pair {
    client: Session,
    server: Session,
    now: Instant,
}

fn limits(window: u32) -> Limits {
    Limits { window, max_message: 1000 }
}

fn client(window: u32) -> (Session, Instant) {
    #[expect(clippy::disallowed_methods, reason = "one reading as the origin of a fake clock")]
    let now = Instant::now();
    (Session::client(Token([7; 16]), limits(window), None, 3, now), now)
}

fn found(hello: &Hello, epoch: u64, window: u32, now: Instant) -> Session {
    Session::server(hello, epoch, limits(window), None, 3, now)
}

/// All that a session has to write.
fn written(session: &mut Session) -> Vec<Frame> {
    let mut decoder = Decoder::new();
    decoder.allow_data(u32::MAX);
    let mut frames = Vec::new();
    while session.has_output() {
        let mut batch = Batch::default();
        session.fill(&mut batch);
        for mut slice in batch.slices().cloned() {
            while !slice.is_empty() {
                slice.advance(decoder.push(&slice));
                frames
                    .extend(std::iter::from_fn(|| decoder.next().unwrap()).flat_map(Frame::apart));
            }
        }
    }
    frames
}

fn welcome(server: &mut Session) -> (Welcome, Vec<Frame>) {
    let mut frames = written(server);
    let Frame::Welcome(welcome) = frames.remove(0) else { panic!("{frames:?}") };
    (welcome, frames)
}

fn read(session: &mut Session, frames: Vec<Frame>, now: Instant) {
    for frame in frames {
        session.on_frame(session.generation(), frame, now).unwrap();
    }
}

impl Pair {
    fn new(client_window: u32, server_window: u32) -> Pair {
        let (mut client, now) = client(client_window);
        let mut server = found(&client.hello(), 1, server_window, now);
        let (welcome, rest) = welcome(&mut server);
        assert_eq!(client.welcomed(&welcome, now), Ok(Welcomed::Created));
        read(&mut client, rest, now);
        Pair { client, server, now }
    }

    fn exchange(&mut self) {
        while self.client.has_output() || self.server.has_output() {
            read(&mut self.server, written(&mut self.client), self.now);
            read(&mut self.client, written(&mut self.server), self.now);
        }
    }
}

fn take(session: &mut Session, now: Instant) -> Option<Item> {
    session.consume(now);
    session.take(now)
}

#[test]
fn an_acknowledgement_rides_behind_the_reply() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    client.feed(b"question");
    read(&mut server, written(&mut client), now);
    take(&mut server, now).unwrap();
    assert!(!server.has_output(), "in the hands of the handler");
    server.feed(b"answer");
    take(&mut server, now);
    let [Frame::Data(_), Frame::Ack(ack)] = written(&mut server)[..] else { panic!() };
    assert_eq!(ack, Ack { consumed: 1, window: WINDOW });
}

#[test]
fn a_reply_and_its_acknowledgement_are_written_in_one_piece() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    for size in [0, 64, 500, 1000] {
        client.feed(&[1; 64]);
        read(&mut server, written(&mut client), now);
        take(&mut server, now).unwrap();
        server.feed(&vec![2; size]);
        server.consume(now);
        let mut batch = Batch::default();
        server.fill(&mut batch);
        let single = batch.single().expect("one plain write");
        assert_eq!(single.len(), Frame::Data(vec![2; size].into()).to_bytes().len() + Ack::FRAME);
    }
    server.close(CloseCode::Aborted);
    let kept: Vec<usize> = server.take_unacknowledged().iter().map(Bytes::len).collect();
    assert_eq!(kept, [0, 64, 500, 1000]);
}

/// Else one who only feeds fills the window first, and then waits while the peer works.
#[test]
fn the_peer_has_work_before_the_window_is_full() {
    for window in [500, BATCH_BYTES as u32, WINDOW] {
        for size in [0, 50] {
            let Pair { mut client, .. } = Pair::new(WINDOW, window);
            while !client.fills_batch() {
                client.feed(&vec![0; size]);
                assert!(client.has_room(), "messages of {size} bytes, a window of {window}");
            }
        }
    }
}

// Where a small window meets a large one, a quarter of the large one is never owed.
#[test]
fn a_stream_through_the_smaller_window_never_waits_for_the_clock() {
    for (client, server) in [(1000, 100_000), (100_000, 1000)] {
        let mut pair = Pair::new(client, server);
        for _ in 0..rounds(100) {
            assert!(pair.client.has_room(), "{client} {server}");
            pair.client.feed(&[0; 100]);
            pair.exchange();
            while take(&mut pair.server, pair.now).is_some() {}
            pair.exchange();
        }
    }
}

#[test]
fn an_idle_link_gives_back_what_a_busy_one_has_reserved() {
    let mut pair = Pair::new(WINDOW, WINDOW);
    let is_slim = |session: &Session| session.outbox.is_slim() && session.inbox.is_slim();
    let ping = |pair: &mut Pair| {
        read(&mut pair.server, vec![Frame::Ping(1)], pair.now);
        pair.exchange();
        read(&mut pair.client, vec![Frame::Pong(1)], pair.now);
    };
    while pair.client.has_room() {
        pair.client.feed(&[0; 100]);
    }
    pair.exchange();
    while let Some(Item::Message(message)) = take(&mut pair.server, pair.now) {
        pair.server.feed(&message);
    }
    pair.exchange();
    // What is unacknowledged, or was not asked for, stays.
    ping(&mut pair);
    let echoes = std::iter::from_fn(|| take(&mut pair.client, pair.now)).count();
    assert_eq!(echoes, (WINDOW as usize).div_ceil(164));
    pair.client.feed(b"the last");
    pair.exchange();
    take(&mut pair.server, pair.now).unwrap();
    take(&mut pair.server, pair.now);
    pair.server.acks.hurry();
    pair.exchange();
    assert!(!is_slim(&pair.client) && !is_slim(&pair.server));
    ping(&mut pair);
    assert!(is_slim(&pair.client), "{:?}", pair.client);
    assert!(is_slim(&pair.server), "{:?}", pair.server);
}

#[test]
fn a_repeated_hello_offers_its_room_anew() {
    let Pair { mut client, mut server, now } = Pair::new(200, WINDOW);
    while server.has_room() {
        server.feed(&[0; 100]);
    }
    read(&mut client, written(&mut server), now);
    client.link_lost();
    // Another server, whose welcome is lost, is offered no room: all is full.
    let mut server = found(&client.hello(), 2, WINDOW, now);
    assert!(!server.has_room());
    while take(&mut client, now).is_some() {}
    let hello = client.hello();
    assert_eq!(server.judge(&hello), Admission::Resume);
    server.resume(&hello, now).unwrap();
    assert!(server.has_room());
}

#[test]
fn what_became_complete_after_the_hello_stays_so() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    client.finish();
    read(&mut server, written(&mut client), now);
    assert_eq!(take(&mut server, now), Some(Item::End));
    server.finish();
    read(&mut client, written(&mut server), now);
    client.link_lost();
    let mut server = found(&client.hello(), 2, WINDOW, now);
    assert_eq!(take(&mut client, now), Some(Item::End));
    assert!(client.is_complete());
    let (welcome, _) = welcome(&mut server);
    client.welcomed(&welcome, now).unwrap();
    assert!(client.is_complete());
    let [Frame::Close(close)] = written(&mut client)[..] else { panic!("not only a CLOSE") };
    assert_eq!(close, Close { code: CloseCode::Done, consumed: 0 });
}

// What the peer is told does not depend on who asked for what is left.
#[test]
fn taking_out_what_is_unacknowledged_changes_nothing_for_the_peer() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    client.feed(b"question");
    read(&mut server, written(&mut client), now);
    take(&mut server, now);
    server.feed(b"answer");
    take(&mut server, now);
    server.close(CloseCode::Aborted);
    assert_eq!(server.take_unacknowledged(), [&b"answer"[..]]);
    assert_eq!(server.take_unacknowledged(), [&b""[..]; 0], "once");
    // A reply that was never written is overtaken by no acknowledgement,
    let [Frame::Close(close)] = written(&mut server)[..] else { panic!() };
    assert_eq!(close.consumed, 0);
    // and who missed the CLOSE is told when it comes back.
    client.link_lost();
    let hello = client.hello();
    assert_eq!(server.judge(&hello), Admission::Ended);
    assert_eq!(server.epitaph(&hello), close);
    client.read_epitaph(close).unwrap();
    assert_eq!(client.take_unacknowledged(), [&b"question"[..]]);
}

// Trap 10.
#[test]
fn a_takeover_that_cannot_be_changes_nothing() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    server.feed(b"one");
    read(&mut client, written(&mut server), now);
    let hello = client.hello();
    let generation = server.generation();
    assert_eq!(server.judge(&Hello { attempt: 1, ..hello }), Admission::Stale);
    assert_eq!(server.judge(&Hello { received: 2, ..hello }), Admission::Impossible);
    assert_eq!(server.judge(&Hello { epoch: 9, ..hello }), Admission::Other);
    server.resume(&Hello { received: 2, ..hello }, now).unwrap_err();
    assert_eq!(server.generation(), generation);
    let ping = |id| Frame::Ping(id);
    server.on_frame(generation, ping(1), now).unwrap();
    assert_eq!(written(&mut server), [Frame::Pong(1)], "the live link keeps echoing");
    server.resume(&hello, now).unwrap();
    server.on_frame(generation, ping(2), now).unwrap();
    assert!(matches!(written(&mut server)[..], [Frame::Welcome(_)]), "a stale ping is heard");
}

#[test]
fn an_ended_session_tells_its_end_to_no_hello_that_cannot_be() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    server.feed(b"one");
    read(&mut client, written(&mut server), now);
    server.close(CloseCode::Aborted);
    let hello = client.hello();
    assert_eq!(server.judge(&Hello { received: 2, ..hello }), Admission::Impossible);
    assert_eq!(server.judge(&hello), Admission::Ended);
}
