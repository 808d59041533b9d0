//! Single situations; whatever takes a network is in [`crate::proto::testing::sim`].

use bytes::{Buf, Bytes};

use super::*;
use crate::proto::batch::BATCH_SLICES;
use crate::proto::close::{Close, Refusal};
use crate::proto::cost::OVERHEAD;
use crate::proto::handshake::Welcome;
use crate::proto::inbox::{ACK_DELAY, Received};
use crate::proto::numbers::Numbers;
use crate::proto::report::Payload::{Owned, Slice};
use crate::proto::testing::rounds;

mod away;
mod held;
mod left;
mod parting;

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
    (Session::client(limits(window), Heartbeat::off(), now), now)
}

fn found(hello: &Hello, epoch: u64, window: u32, now: Instant) -> Session {
    Session::server(hello, epoch, limits(window), Heartbeat::off(), now)
}

fn written(session: &mut Session) -> Vec<Frame> {
    let mut decoder = Decoder::default();
    decoder.allow_data(u32::MAX);
    let mut frames = Vec::new();
    while session.output() > Output::Nothing {
        let mut batch = Batch::default();
        session.fill(&mut batch);
        for mut slice in batch.slices.iter().cloned() {
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
        session.on_frame(session.status().generation, frame, now).unwrap();
    }
}

impl Pair {
    fn new(client_window: u32, server_window: u32) -> Pair {
        let (mut client, now) = client(client_window);
        let mut server = found(&client.next_hello(), 1, server_window, now);
        let (welcome, rest) = welcome(&mut server);
        assert_eq!(client.welcomed(&welcome, now), Ok(Opened::First));
        read(&mut client, rest, now);
        Pair { client, server, now }
    }

    fn exchange(&mut self) {
        while self.client.output() > Output::Nothing || self.server.output() > Output::Nothing {
            read(&mut self.server, written(&mut self.client), self.now);
            read(&mut self.client, written(&mut self.server), self.now);
        }
    }
}

fn take(session: &mut Session, now: Instant) -> Option<Received> {
    session.consume(now);
    session.take(now)
}

#[test]
fn every_hello_greets_and_a_session_keeps_the_greeting_until_its_end() {
    let (session, now) = client(WINDOW);
    let mut client = session.greeting_with("ann".into());
    // The welcome to the first is lost.
    let first = client.next_hello();
    let mut server = found(&first, 1, WINDOW, now);
    client.feed(&Slice(b"message"));
    let again = client.next_hello();
    assert_eq!([&first.greeting, &again.greeting, server.greeting()], ["ann"; 3]);
    // The first one stays, whatever comes later.
    server.resume(&Hello { greeting: "eve".into(), ..again }, now).unwrap();
    assert_eq!(server.greeting(), "ann");
    let (first_welcome, _) = welcome(&mut server);
    client.welcomed(&first_welcome, now).unwrap();
    client.link_lost();
    // In a new session it is there before what is sent again.
    let mut server = found(&client.next_hello(), 2, WINDOW, now);
    assert_eq!(server.greeting(), "ann");
    assert_eq!(server.take(now), None);
    let welcomed = client.welcomed(&welcome(&mut server).0, now);
    assert_eq!(welcomed, Ok(Opened::Restarted { unacknowledged: 1 }));
    server.close(CloseCode::Closed);
    server.discard();
    assert_eq!(server.greeting(), "");
    // A client that greets with nothing.
    assert_eq!(
        found(&Pair::new(WINDOW, WINDOW).client.next_hello(), 3, WINDOW, now).greeting(),
        ""
    );
}

fn numbers(first: u64) -> Numbers {
    Numbers { client: ClientId(*b"0123456789abcdef"), first }
}

/// Takes a message, and returns its number.
fn take_number(session: &mut Session, now: Instant) -> u64 {
    assert!(matches!(take(session, now), Some(Received::Message(_))));
    session.status().totals.received_number()
}

#[test]
fn a_message_keeps_its_number_through_resumes_and_new_sessions() {
    let (session, now) = client(WINDOW);
    let mut client = session.numbered(numbers(42));
    assert_eq!(client.status().acknowledged_number(), 41);
    let hello = client.next_hello();
    assert_eq!(hello.numbers, Some(numbers(42)));
    let mut server = found(&hello, 1, WINDOW, now);
    assert_eq!(server.client_id(), Some(numbers(1).client));
    client.welcomed(&welcome(&mut server).0, now).unwrap();
    for number in 42..46 {
        client.feed(&Slice(b"message"));
        assert_eq!(client.status().totals.sent_number(), number);
    }
    read(&mut server, written(&mut client), now);
    assert_eq!([take_number(&mut server, now), take_number(&mut server, now)], [42, 43]);
    server.finish();
    read(&mut client, written(&mut server), now);
    assert_eq!(client.status().acknowledged_number(), 42);
    // Resumed, the session goes on as it was, although the hello says another number.
    client.link_lost();
    let hello = client.next_hello();
    assert_eq!(hello.numbers, Some(numbers(43)));
    assert_eq!(server.judge(&hello), Admission::Resume);
    server.resume(&hello, now).unwrap();
    assert_eq!(take_number(&mut server, now), 44);
    // In a new one, the first that is not acknowledged comes first.
    client.link_lost();
    client.finish();
    let mut server = found(&client.next_hello(), 2, WINDOW, now);
    client.welcomed(&welcome(&mut server).0, now).unwrap();
    read(&mut server, written(&mut client), now);
    assert_eq!([(); 3].map(|()| take_number(&mut server, now)), [43, 44, 45]);
    // An end is no message.
    assert_eq!(take(&mut server, now), Some(Received::End));
    assert_eq!(server.status().totals.received_number(), 45);
    client.link_lost();
    client.on_close(Close { code: CloseCode::Closed, consumed: 4 }).unwrap();
    assert_eq!(client.status().acknowledged_number(), 45);
}

/// Nothing was acknowledged by this server, since no frame came. But another one may have.
#[test]
fn a_client_that_was_elsewhere_while_its_welcome_was_lost_says_another_number() {
    let (session, now) = client(WINDOW);
    let mut client = session.numbered(numbers(1));
    let mut here = found(&client.next_hello(), 1, WINDOW, now);
    client.welcomed(&welcome(&mut here).0, now).unwrap();
    client.feed(&Slice(b"one"));
    client.feed(&Slice(b"two"));
    client.link_lost();
    let mut there = found(&client.next_hello(), 2, WINDOW, now);
    assert_eq!(there.status().totals.received_number(), 0);
    // It comes back, and goes on.
    here.resume(&client.next_hello(), now).unwrap();
    client.welcomed(&welcome(&mut here).0, now).unwrap();
    read(&mut here, written(&mut client), now);
    assert_eq!(take_number(&mut here, now), 1);
    let acknowledged = Frame::Ack(Ack { consumed: 1, window: WINDOW });
    read(&mut client, vec![acknowledged], now);
    client.link_lost();
    let hello = client.next_hello();
    assert_eq!((there.judge(&hello), hello.epoch), (Admission::Resume, 1));
    there.resume(&hello, now).unwrap();
    client.welcomed(&welcome(&mut there).0, now).unwrap();
    read(&mut there, written(&mut client), now);
    assert_eq!(take_number(&mut there, now), 2);
}

#[test]
fn a_repeated_hello_of_another_client_repeats_nothing() {
    let (session, now) = client(WINDOW);
    let mut client = session.numbered(numbers(1));
    let hello = client.next_hello();
    let server = found(&hello, 1, WINDOW, now);
    let repeated = client.next_hello();
    assert_eq!(server.judge(&repeated), Admission::Resume);
    let other = Numbers { client: ClientId([7; 16]), first: 1 };
    for numbers in [None, Some(other)] {
        let hello = Hello { numbers, ..repeated.clone() };
        assert_eq!(server.judge(&hello), Admission::Other);
        // One that knows the epoch is the client, whatever it calls itself.
        let hello = Hello { epoch: 1, ..hello };
        assert_eq!(server.judge(&hello), Admission::Resume);
    }
}

#[test]
fn where_a_peer_gives_no_numbers_its_messages_are_counted_from_1() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    assert_eq!(client.next_hello().numbers, None);
    assert_eq!(server.client_id(), None);
    client.feed(&Slice(b"message"));
    server.feed(&Slice(b"message"));
    assert_eq!(server.status().totals.sent_number(), 1);
    read(&mut server, written(&mut client), now);
    read(&mut client, written(&mut server), now);
    assert_eq!(take_number(&mut server, now), 1);
    assert_eq!(take_number(&mut client, now), 1);
}

/// Its client has begun another one, and sends there what was not acknowledged here.
#[test]
fn a_session_that_is_left_to_another_hands_out_nothing_more() {
    for ends in [false, true] {
        let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
        client.feed(&Slice(b"one"));
        client.feed(&Slice(b"two"));
        if ends {
            client.finish();
        }
        read(&mut server, written(&mut client), now);
        take(&mut server, now).unwrap();
        server.leave_to_another();
        // An end would say that everything was handed out.
        assert_eq!(take(&mut server, now), None);
        assert!(!server.status().has_next && !server.status().complete);
    }
    // Of one that was seen, nothing is left to be said.
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    client.finish();
    read(&mut server, written(&mut client), now);
    assert_eq!(take(&mut server, now), Some(Received::End));
    server.leave_to_another();
    assert_eq!(take(&mut server, now), Some(Received::End));
}

/// What a handler that fails leaves behind. The peer's end, too, may be there before it
/// fails, or come after.
#[test]
fn a_dropped_connection_acknowledges_nothing_that_it_was_handed() {
    for end_first in [false, true] {
        let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
        client.feed(&Slice(b"done with"));
        client.feed(&Slice(b"failed on"));
        read(&mut server, written(&mut client), now);
        take(&mut server, now).unwrap();
        take(&mut server, now).unwrap();
        if end_first {
            client.finish();
            read(&mut server, written(&mut client), now);
        }
        server.feed(&Slice(b"reply"));
        server.detach(false, now);
        client.finish();
        read(&mut server, written(&mut client), now);
        read(&mut client, written(&mut server), now);
        while take(&mut client, now) != Some(Received::End) {}
        read(&mut server, written(&mut client), now);
        assert!(server.status().acknowledged && !server.status().complete, "{end_first}");
        // As the monitor does.
        server.close(CloseCode::Closed);
        let frames = written(&mut server);
        let Some(Frame::Close(close)) = frames.last() else { panic!("{frames:?}") };
        assert_eq!(*close, Close { code: CloseCode::Closed, consumed: 1 }, "{end_first}");
        read(&mut client, frames, now);
        assert_eq!(client.status().unacknowledged, 1, "{end_first}");
    }
}

#[test]
fn a_closed_connection_acknowledges_what_it_was_handed_and_the_end_behind_it() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    client.feed(&Slice(b"message"));
    client.finish();
    read(&mut server, written(&mut client), now);
    server.take(now).unwrap();
    server.detach(true, now);
    read(&mut client, written(&mut server), now);
    assert_eq!(client.status().unacknowledged, 0);
    assert!(client.status().acknowledged, "the end, too");
}

#[test]
fn an_acknowledgement_rides_behind_the_reply() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    // The second reply is kept in memory of its own.
    for (consumed, answer) in [(1, &b"answer"[..]), (2, &[0; 1000])] {
        client.feed(&Slice(b"question"));
        read(&mut server, written(&mut client), now);
        take(&mut server, now).unwrap();
        assert!(server.output() == Output::Nothing, "in the hands of the handler");
        server.feed(&Owned(Bytes::copy_from_slice(answer)));
        take(&mut server, now);
        let [Frame::Data(_), Frame::Ack(ack)] = written(&mut server)[..] else { panic!() };
        assert_eq!(ack, Ack { consumed, window: WINDOW });
    }
}

#[test]
fn an_acknowledgement_that_is_not_due_waits_while_a_ping_is_answered() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    client.feed(&Slice(b"question"));
    read(&mut server, written(&mut client), now);
    while take(&mut server, now).is_some() {}
    read(&mut server, vec![Frame::Ping(1)], now);
    assert_eq!(written(&mut server), [Frame::Pong(1)]);
    assert_eq!(written_late(&mut server, now), [Frame::Ack(Ack { consumed: 1, window: WINDOW })]);
}

#[test]
fn an_end_is_acknowledged_at_once_and_so_is_all_that_comes_after_it() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    server.finish();
    read(&mut client, written(&mut server), now);
    assert_eq!(take(&mut client, now), Some(Received::End));
    let ack = |consumed| [Frame::Ack(Ack { consumed, window: WINDOW })];
    assert_eq!(written(&mut client), ack(1));
    // A session that takes the place of this one has nothing to add.
    client.link_lost();
    let mut server = found(&client.next_hello(), 2, WINDOW, now);
    let (welcome, _) = welcome(&mut server);
    client.welcomed(&welcome, now).unwrap();
    server.feed(&Slice(b"never asked for"));
    read(&mut client, written(&mut server), now);
    assert_eq!(written(&mut client), ack(1));
}

#[test]
fn however_they_are_sent_and_taken_all_messages_are_counted() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    client.feed(&Slice(&[0; 10]));
    client.feed(&Owned(vec![0; 20].into()));
    client.feed(&Owned(vec![0; 30].into()));
    read(&mut server, written(&mut client), now);
    take(&mut server, now).unwrap();
    let mut taken = vec![Bytes::new()];
    server.take_many(9, &mut taken);
    assert_eq!(taken.len(), 3);
    let (sent, received) = (client.status().totals, server.status().totals);
    assert_eq!((sent.messages_sent, sent.bytes_sent), (3, 60));
    assert_eq!((received.messages_received, received.bytes_received), (3, 60));
    assert_eq!(sent.replayed, 0);
    // The server has acknowledged nothing and is lost.
    client.link_lost();
    let (welcome, _) = welcome(&mut found(&client.next_hello(), 2, WINDOW, now));
    assert_eq!(client.welcomed(&welcome, now), Ok(Opened::Restarted { unacknowledged: 3 }));
    assert_eq!(client.status().totals.replayed, 3);
}

/// A client that gives up with its first session, its server, and what that has said.
fn faithful() -> (Session, Session, Instant) {
    let (client, now) = client(WINDOW);
    let mut client = client.on_loss(SessionLoss::GiveUp);
    assert!(!client.next_hello().resume_only, "any server may make the first session");
    // The welcome to that was lost.
    let hello = client.next_hello();
    assert!(!hello.resume_only);
    let mut server = found(&hello, 7, WINDOW, now);
    let (welcome, _) = welcome(&mut server);
    assert_eq!(client.welcomed(&welcome, now), Ok(Opened::First));
    (client, server, now)
}

#[test]
fn a_client_that_wants_no_other_session_is_served_fully_when_it_resumes() {
    let (mut client, mut server, now) = faithful();
    client.feed(&Slice(b"lost"));
    written(&mut client);
    client.link_lost();
    let hello = client.next_hello();
    assert!(hello.resume_only && hello.epoch == 7);
    assert_eq!(server.judge(&hello), Admission::Resume);
    assert_eq!(server.resume(&hello, now), Ok(0));
    let (welcome, _) = welcome(&mut server);
    assert_eq!(client.welcomed(&welcome, now), Ok(Opened::Resumed { replayed: 1 }));
    server.feed(&Slice(b"answer"));
    client.feed(&Slice(b"more"));
    let mut pair = Pair { client, server, now };
    pair.exchange();
    let Pair { mut client, mut server, now } = pair;
    assert_eq!(take(&mut client, now), Some(Received::Message("answer".into())));
    assert_eq!(take(&mut server, now), Some(Received::Message("lost".into())));
    assert_eq!(take(&mut server, now), Some(Received::Message("more".into())));
}

#[test]
fn a_client_that_wants_no_other_session_takes_none_and_gives_back_what_it_sent() {
    let (mut client, mut server, now) = faithful();
    for message in [b"1", b"2", b"3"] {
        client.feed(&Slice(message));
    }
    read(&mut server, written(&mut client), now);
    take(&mut server, now).unwrap();
    take(&mut server, now);
    server.tick(None, now + ACK_DELAY);
    read(&mut client, written(&mut server), now);
    client.link_lost();
    let hello = client.next_hello();
    let mut other = found(&hello, 8, WINDOW, now);
    assert_eq!(client.welcomed(&welcome(&mut other).0, now), Err(Unwelcome::SessionLost));
    let again = client.next_hello();
    assert!(again.resume_only && again.epoch == 7 && !client.is_up());
    assert_eq!(client.take_unacknowledged(), ["2", "3"]);
}

#[test]
fn a_client_knows_for_how_long_its_session_is_kept_and_asks_no_less() {
    let (seconds, noticed) = (Duration::from_secs, Duration::from_secs(60));
    let (mut client, now) = client(WINDOW);
    let hello = client.next_hello();
    let mut server = found(&hello, 7, WINDOW, now).kept_for(seconds(10));
    assert_eq!(client.welcomed(&welcome(&mut server).0, now), Ok(Opened::First));
    client.link_lost();
    assert_eq!(client.kept(), seconds(10) + noticed);
    for (kept, known) in [(seconds(5), seconds(5) + noticed), (seconds(5_000_000), Duration::MAX)] {
        let hello = client.next_hello();
        server.resume(&hello, now).unwrap();
        server = server.kept_for(kept);
        client.welcomed(&welcome(&mut server).0, now).unwrap();
        client.link_lost();
        assert_eq!(client.kept(), known);
    }
}

#[test]
fn a_batch_is_full_of_bytes_or_of_pieces_and_lets_go_of_what_is_written() {
    let mut batch = Batch::default();
    batch.push(vec![0; BATCH_BYTES - 1].into());
    assert!(!batch.is_full());
    batch.push(vec![0; 1].into());
    assert!(batch.is_full(), "of bytes");
    batch.advance(BATCH_BYTES - 1);
    assert_eq!((batch.len(), batch.slices.len()), (1, 1));
    for pieces in 1..BATCH_SLICES {
        assert_eq!(batch.slices.len(), pieces);
        assert!(!batch.is_full());
        batch.push(vec![0; 1].into());
    }
    assert!(batch.is_full(), "of pieces");
    batch.advance(BATCH_SLICES);
    assert!(batch.is_empty() && batch.slices.is_empty());
}

#[test]
fn a_reply_and_its_acknowledgement_are_written_in_one_piece() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    for size in [0, 64, 500, 1000] {
        client.feed(&Slice(&[1; 64]));
        read(&mut server, written(&mut client), now);
        take(&mut server, now).unwrap();
        server.feed(&Slice(&vec![2; size]));
        server.consume(now);
        let mut batch = Batch::default();
        server.fill(&mut batch);
        let single = batch.chunk();
        assert_eq!(single.len(), batch.len(), "one plain write");
        assert_eq!(single.len(), Frame::data(vec![2; size].into()).to_bytes().len() + Ack::FRAME);
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
            while client.output() < Output::Batch {
                client.feed(&Slice(&vec![0; size]));
                assert!(client.status().room > 0, "messages of {size} bytes, a window of {window}");
            }
        }
    }
    let cost = 100 + OVERHEAD;
    let Pair { mut client, .. } = Pair::new(WINDOW, 4 * cost as u32);
    client.feed(&Slice(&[0; 100]));
    assert!(client.output() == Output::Batch, "a quarter of the window is enough");
}

#[test]
fn what_was_written_fills_no_batch() {
    let Pair { mut client, .. } = Pair::new(WINDOW, WINDOW);
    while client.output() < Output::Batch {
        client.feed(&Slice(&[0; 100]));
    }
    assert!(!written(&mut client).is_empty());
    client.feed(&Slice(b"alone"));
    assert!(client.output() < Output::Batch);
}

// Where a small window meets a large one, a quarter of the large one is never owed.
#[test]
fn a_stream_through_the_smaller_window_never_waits_for_the_clock() {
    for (client, server) in [(1000, 100_000), (100_000, 1000)] {
        let mut pair = Pair::new(client, server);
        for _ in 0..rounds(100) {
            assert!(pair.client.status().room > 0, "{client} {server}");
            pair.client.feed(&Slice(&[0; 100]));
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
    while pair.client.status().room > 0 {
        pair.client.feed(&Slice(&[0; 100]));
    }
    pair.exchange();
    while let Some(Received::Message(message)) = take(&mut pair.server, pair.now) {
        pair.server.feed(&Slice(&message));
    }
    pair.exchange();
    // What is unacknowledged, or was not asked for, stays.
    ping(&mut pair);
    let echoes = std::iter::from_fn(|| take(&mut pair.client, pair.now)).count();
    assert_eq!(echoes, (WINDOW as usize).div_ceil(164));
    pair.client.feed(&Slice(b"the last"));
    pair.exchange();
    take(&mut pair.server, pair.now).unwrap();
    take(&mut pair.server, pair.now);
    pair.server.acks.hurry();
    pair.exchange();
    assert!(!is_slim(&pair.client) && !is_slim(&pair.server));
    ping(&mut pair);
    assert!(is_slim(&pair.client), "{:?}", pair.client);
    assert!(is_slim(&pair.server), "{:?}", pair.server);
    // So does a batch, whichever of the two is written.
    for heartbeat in [Frame::Ping(1), Frame::Pong(1)] {
        let mut batch = Batch::default();
        (0..100).for_each(|_| batch.push(Bytes::from_static(b"x")));
        batch.advance(100);
        match heartbeat {
            Frame::Ping(_) => pair.client.check(Duration::MAX, None, pair.now),
            _ => read(&mut pair.client, vec![Frame::Ping(1)], pair.now),
        }
        pair.client.fill(&mut batch);
        assert!(batch.slices.len() == 1 && batch.slices.capacity() < 100, "{heartbeat:?}");
    }
}

#[test]
fn an_ended_session_keeps_no_message() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    client.feed(&Slice(b"never asked for"));
    read(&mut server, written(&mut client), now);
    server.feed(&Slice(b"never acknowledged"));
    server.close(CloseCode::Closed);
    server.discard();
    assert!(server.outbox.is_slim() && server.inbox.is_slim(), "{server:?}");
    assert!(!server.status().has_next);
}

#[test]
fn a_repeated_hello_offers_its_room_anew() {
    let Pair { mut client, mut server, now } = Pair::new(200, WINDOW);
    while server.status().room > 0 {
        server.feed(&Slice(&[0; 100]));
    }
    read(&mut client, written(&mut server), now);
    client.link_lost();
    // Another server, whose welcome is lost, is offered no room: all is full.
    let mut server = found(&client.next_hello(), 2, WINDOW, now);
    assert!(server.status().room == 0);
    while take(&mut client, now).is_some() {}
    let hello = client.next_hello();
    assert_eq!(server.judge(&hello), Admission::Resume);
    server.resume(&hello, now).unwrap();
    assert!(server.status().room > 0);
}

/// What the peer keeps to may be as much as it ever announced, and with that it may have room.
#[test]
fn a_window_that_resumes_a_session_keeps_an_ack_in_its_place() {
    let Pair { mut client, mut server, now } = Pair::new(100_000, 1000);
    for _ in 0..2 {
        server.feed(&Slice(&[0; 500]));
    }
    read(&mut client, written(&mut server), now);
    client.link_lost();
    server.resume(&client.next_hello(), now).unwrap();
    let (mut welcome, _) = welcome(&mut server);
    welcome.limits.window = 100_000;
    client.welcomed(&welcome, now).unwrap();
    assert_eq!([client.take(now), client.take(now)].map(|taken| taken.is_some()), [true; 2]);
    for _ in 0..3 {
        client.feed(&Slice(&[0; 500]));
    }
    client.consume(now);
    let acks = written(&mut client).into_iter().filter(|frame| matches!(frame, Frame::Ack(_)));
    assert_eq!(acks.collect::<Vec<_>>(), []);
}

#[test]
fn what_became_complete_after_the_hello_stays_so() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    client.finish();
    read(&mut server, written(&mut client), now);
    assert_eq!(take(&mut server, now), Some(Received::End));
    server.finish();
    read(&mut client, written(&mut server), now);
    client.link_lost();
    let mut server = found(&client.next_hello(), 2, WINDOW, now);
    assert_eq!(take(&mut client, now), Some(Received::End));
    assert!(client.status().complete);
    let (welcome, _) = welcome(&mut server);
    client.welcomed(&welcome, now).unwrap();
    assert!(client.status().complete);
    let [Frame::Close(close)] = &written(&mut client)[..] else { panic!("not only a CLOSE") };
    assert_eq!(*close, Close { code: CloseCode::Done, consumed: 0 });
}

// What the peer is told does not depend on who asked for what is left.
#[test]
fn taking_out_what_is_unacknowledged_changes_nothing_for_the_peer() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    client.feed(&Slice(b"question"));
    read(&mut server, written(&mut client), now);
    take(&mut server, now);
    server.feed(&Slice(b"answer"));
    take(&mut server, now);
    server.close(CloseCode::Aborted);
    assert_eq!(server.take_unacknowledged(), [&b"answer"[..]]);
    assert_eq!(server.take_unacknowledged(), [&b""[..]; 0], "once");
    // A reply that was never written is overtaken by no acknowledgement,
    let [Frame::Close(close)] = &written(&mut server)[..] else { panic!() };
    assert_eq!(close.consumed, 0);
    // and who missed the CLOSE is told when it comes back.
    client.link_lost();
    let hello = client.next_hello();
    assert_eq!(server.judge(&hello), Admission::Ended);
    assert_eq!(server.close_reply(&hello), *close);
    client.on_close(close.clone()).unwrap();
    assert_eq!(client.take_unacknowledged(), [&b"question"[..]]);
}

// It has been taken already, to be sent elsewhere from the number that follows.
#[test]
fn what_was_taken_out_is_not_acknowledged_later() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    for message in [b"1", b"2", b"3"] {
        client.feed(&Slice(message));
    }
    client.finish();
    read(&mut server, written(&mut client), now);
    client.close(CloseCode::Aborted);
    let left = |client: &Session| {
        let status = client.status();
        let bytes = status.unacknowledged_bytes;
        (status.unacknowledged, bytes, status.acknowledged_number())
    };
    server.tick(None, now + ACK_DELAY);
    take(&mut server, now);
    take(&mut server, now);
    server.tick(None, now + ACK_DELAY);
    read(&mut client, written(&mut server), now);
    assert_eq!(left(&client), (2, 2, 1), "what comes before is heard");
    assert_eq!(client.take_unacknowledged(), ["2", "3"]);
    take(&mut server, now);
    read(&mut server, written(&mut client), now);
    read(&mut client, written(&mut server), now);
    assert!(client.status().parted);
    assert_eq!(left(&client), (2, 2, 1));
}

/// The client comes back over a new link.
fn resume(pair: &mut Pair) {
    pair.client.link_lost();
    pair.server.link_lost();
    pair.server.resume(&pair.client.next_hello(), pair.now).unwrap();
    let (welcome, rest) = welcome(&mut pair.server);
    pair.client.welcomed(&welcome, pair.now).unwrap();
    read(&mut pair.client, rest, pair.now);
}

#[test]
fn what_was_sent_waits_until_the_peer_is_known_to_have_it() {
    let mut pair = Pair::new(WINDOW, WINDOW);
    let progress = |pair: &Pair| {
        let Progress { moved, waits, .. } = pair.client.progress();
        (moved, waits)
    };
    assert_eq!(progress(&pair), (false, false));
    pair.client.feed(&Slice(b"fed"));
    assert_eq!(progress(&pair), (false, true));
    drop(written(&mut pair.client));
    assert_eq!(progress(&pair), (false, true), "written");
    resume(&mut pair);
    assert_eq!(progress(&pair), (false, true), "and lost");
    read(&mut pair.server, written(&mut pair.client), pair.now);
    assert_eq!(progress(&pair), (false, true), "received");
    resume(&mut pair);
    assert_eq!(progress(&pair), (true, false), "and known to be");
    resume(&mut pair);
    assert_eq!(progress(&pair), (false, false), "the handler has it");
    take(&mut pair.server, pair.now).unwrap();
    take(&mut pair.server, pair.now);
    pair.server.acks.hurry();
    pair.exchange();
    assert_eq!(progress(&pair), (true, false), "acknowledged");
    // A new session has nothing.
    pair.client.feed(&Slice(b"fed"));
    pair.exchange();
    resume(&mut pair);
    assert_eq!(progress(&pair), (true, false));
    pair.client.link_lost();
    pair.server = found(&pair.client.next_hello(), 2, WINDOW, pair.now);
    let (welcome, _) = welcome(&mut pair.server);
    pair.client.welcomed(&welcome, pair.now).unwrap();
    assert_eq!(progress(&pair), (false, true));
}

#[test]
fn what_waits_for_the_window_does_not_count() {
    let mut pair = Pair::new(WINDOW, 100);
    for _ in 0..3 {
        pair.client.feed(&Slice(b"more than the window takes"));
    }
    pair.exchange();
    resume(&mut pair);
    assert!(!pair.client.progress().waits, "the window is full");
    assert!(take(&mut pair.server, pair.now).is_some());
    assert!(take(&mut pair.server, pair.now).is_some());
    pair.server.acks.hurry();
    read(&mut pair.client, written(&mut pair.server), pair.now);
    assert!(pair.client.progress().waits, "there is room");
}

// Trap 10.
#[test]
fn a_takeover_that_cannot_be_changes_nothing() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    server.feed(&Slice(b"one"));
    read(&mut client, written(&mut server), now);
    let hello = client.next_hello();
    let generation = server.status().generation;
    assert_eq!(server.judge(&Hello { attempt: 1, ..hello.clone() }), Admission::Stale);
    assert_eq!(server.judge(&Hello { received: 2, ..hello.clone() }), Admission::Impossible);
    assert_eq!(server.judge(&Hello { epoch: 9, ..hello.clone() }), Admission::Other);
    server.resume(&Hello { received: 2, ..hello.clone() }, now).unwrap_err();
    assert_eq!(server.status().generation, generation);
    let ping = |id| Frame::Ping(id);
    server.on_frame(generation, ping(1), now).unwrap();
    assert_eq!(written(&mut server), [Frame::Pong(1)], "the live link keeps echoing");
    server.on_frame(generation, ping(1), now).unwrap();
    server.resume(&hello, now).unwrap();
    server.on_frame(generation, ping(2), now).unwrap();
    assert!(matches!(written(&mut server)[..], [Frame::Welcome(_)]), "a stale ping is heard");
}

fn refused(code: u32) -> CloseCode {
    CloseCode::Refused(Refusal::new(code, "no"))
}

#[test]
fn a_refusal_is_told_now_or_to_a_client_that_comes_back_for_it() {
    for comes_back in [false, true] {
        let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
        client.feed(&Slice(b"done with"));
        client.feed(&Slice(b"in hand"));
        read(&mut server, written(&mut client), now);
        server.feed(&Slice(b"arrived"));
        take(&mut server, now).unwrap();
        take(&mut server, now).unwrap();
        read(&mut client, written(&mut server), now);
        server.feed(&Slice(b"dropped"));
        server.close(refused(7));
        let frames = written(&mut server);
        assert_eq!(frames, [Frame::Close(Close { code: refused(7), consumed: 1 })]);
        if comes_back {
            client.link_lost();
            server.link_lost();
            server.discard();
            let hello = client.next_hello();
            assert_eq!(server.judge(&hello), Admission::Ended);
            client.on_close(server.close_reply(&hello)).unwrap();
        } else {
            read(&mut client, frames, now);
            let answer = Close { code: CloseCode::Done, consumed: 0 };
            assert_eq!(written(&mut client), [Frame::Close(answer)]);
        }
        assert_eq!(client.peer_closed(), Some(&refused(7)));
        assert_eq!(take(&mut client, now), Some(Received::Message("arrived".into())));
        assert_eq!(take(&mut client, now), None);
        assert_eq!(client.take_unacknowledged(), ["in hand"]);
    }
}

#[test]
fn a_client_whose_welcome_was_lost_hears_that_it_was_refused() {
    let (mut client, now) = client(WINDOW);
    let mut server = found(&client.next_hello(), 1, WINDOW, now);
    server.close(refused(7));
    let (_, frames) = welcome(&mut server);
    assert!(matches!(&frames[..], [Frame::Close(Close { code: CloseCode::Refused(_), .. })]));
    let hello = client.next_hello();
    assert_eq!((hello.epoch, server.judge(&hello)), (0, Admission::Ended));
    client.on_close(server.close_reply(&hello)).unwrap();
    assert_eq!(client.peer_closed(), Some(&refused(7)));
}

#[test]
fn the_first_end_is_the_one_that_is_told() {
    let codes = [refused(7), refused(8), CloseCode::Aborted, CloseCode::Closed, CloseCode::Done];
    for first in &codes {
        let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
        server.close(first.clone());
        for later in &codes {
            server.close(later.clone());
        }
        // Also if the client ends it meanwhile.
        client.close(CloseCode::Aborted);
        let (clients, servers) = (written(&mut client), written(&mut server));
        read(&mut server, clients, now);
        server.close(refused(9));
        assert_eq!(servers, [Frame::Close(Close { code: first.clone(), consumed: 0 })]);
        assert_eq!(server.close_reply(&client.next_hello()).code, *first);
    }
}

#[test]
fn a_close_that_acknowledges_moves_the_session() {
    for consumed in [0, 1] {
        let Pair { mut client, now, .. } = Pair::new(WINDOW, WINDOW);
        client.feed(&Slice(b"question"));
        drop(written(&mut client));
        read(&mut client, vec![Frame::Close(Close { code: CloseCode::Closed, consumed })], now);
        assert_eq!(client.status().moved, consumed > 0);
    }
}

#[test]
fn an_ended_session_tells_its_end_to_no_hello_that_cannot_be() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    server.feed(&Slice(b"one"));
    read(&mut client, written(&mut server), now);
    server.close(CloseCode::Aborted);
    let hello = client.next_hello();
    assert_eq!(server.judge(&Hello { received: 2, ..hello.clone() }), Admission::Impossible);
    assert_eq!(server.judge(&hello), Admission::Ended);
}

/// A client and its server `b`, whose greeting the client's window holds back. What
/// another server sent, and the client has not read, fills the window that it
/// offers, which was larger when `b` greeted.
fn narrowed(window: u32) -> (Session, Session, Instant) {
    let (mut client, now) = client(window);
    let mut a = found(&client.next_hello(), 1, WINDOW, now);
    let (welcomed, _) = welcome(&mut a);
    client.welcomed(&welcomed, now).unwrap();
    client.link_lost();
    let mut b = found(&client.next_hello(), 2, WINDOW, now);
    b.feed(&Slice(b"greeting"));
    drop(written(&mut b));
    b.link_lost();
    let hello = client.next_hello();
    a.resume(&hello, now).unwrap();
    while a.status().room > 0 {
        a.feed(&Slice(&[0; 100]));
    }
    let (welcomed, rest) = welcome(&mut a);
    client.welcomed(&welcomed, now).unwrap();
    read(&mut client, rest, now);
    client.link_lost();
    let hello = client.next_hello();
    assert_eq!((b.judge(&hello), hello.limits.window), (Admission::Resume, 0));
    b.resume(&hello, now).unwrap();
    let (welcomed, rest) = welcome(&mut b);
    client.welcomed(&welcomed, now).unwrap();
    assert_eq!(rest, [], "the greeting fits");
    (client, b, now)
}

/// What is written by when a delay is over.
fn written_late(session: &mut Session, now: Instant) -> Vec<Frame> {
    session.tick(None, now + Duration::from_secs(1));
    written(session)
}

#[test]
fn a_window_that_has_shrunk_lets_no_acknowledgement_overtake() {
    let (mut client, mut b, now) = narrowed(500);
    client.feed(&Slice(b"request"));
    read(&mut b, written(&mut client), now);
    take(&mut b, now).unwrap();
    take(&mut b, now);
    assert_eq!(written_late(&mut b, now), [], "the client has room to go on");
    while take(&mut client, now).is_some() {}
    read(&mut b, written_late(&mut client, now), now);
    let [Frame::Data(_), Frame::Ack(ack)] = written(&mut b)[..] else { panic!() };
    assert_eq!(ack.consumed, 1);
}

// An acknowledgement follows it, and one that closes and reads no more makes no room.
#[test]
fn an_end_needs_no_room() {
    let Pair { mut client, mut server, now } = Pair::new(500, WINDOW);
    client.feed(&Slice(b"the last request"));
    client.detach(true, now);
    read(&mut server, written(&mut client), now);
    while server.status().room > 0 {
        server.feed(&Slice(&[0; 100]));
    }
    server.finish();
    while take(&mut server, now) != Some(Received::End) {}
    let frames = written(&mut server);
    let [.., Frame::Fin, Frame::Ack(ack)] = frames[..] else { panic!("{frames:?}") };
    assert_eq!(ack.consumed, 2, "behind all that was said");
    read(&mut client, frames, now);
    assert!(client.status().acknowledged);
}

// It would wait for room for good, and the server for the client's.
#[test]
fn an_acknowledgement_goes_ahead_exactly_if_the_peer_may_need_it_to_go_on() {
    let cost = 100 + OVERHEAD;
    let (mut client, mut b, now) = narrowed(3 * cost as u32);
    for _ in 0..2 {
        client.feed(&Slice(&[0; 100]));
        read(&mut b, written(&mut client), now);
        while take(&mut b, now).is_some() {}
        assert_eq!(written_late(&mut b, now), []);
    }
    client.feed(&Slice(&[0; 100]));
    assert!(client.status().room == 0);
    read(&mut b, written(&mut client), now);
    // The third is still in the handler's hands.
    take(&mut b, now).unwrap();
    let ahead = written_late(&mut b, now);
    assert_eq!(ahead, [Frame::Ack(Ack { consumed: 2, window: WINDOW })]);
    read(&mut client, ahead, now);
    assert!(client.status().room > 0);
    take(&mut b, now);
    assert_eq!(written_late(&mut b, now), [], "the client has room again");
    // On another link it goes ahead of no less than it did on this.
    client.link_lost();
    let hello = client.next_hello();
    b.resume(&hello, now).unwrap();
    let (welcomed, rest) = welcome(&mut b);
    assert_eq!(rest, [Frame::Ack(Ack { consumed: 2, window: WINDOW })]);
    client.welcomed(&welcomed, now).unwrap();
    read(&mut client, rest, now);
    while take(&mut client, now).is_some() {}
    read(&mut b, written_late(&mut client, now), now);
    let [Frame::Data(_), Frame::Ack(ack)] = written(&mut b)[..] else { panic!() };
    assert_eq!(ack.consumed, 3);
}

#[test]
fn the_peers_own_window_is_taken_to_be_the_largest_it_has_announced() {
    let (mut client, now) = client(500);
    let first = client.next_hello();
    let hello = |attempt, window| Hello { attempt, limits: limits(window), ..first.clone() };
    let request = || vec![Frame::data(vec![0; 300].into())];
    // By a hello,
    let mut server = found(&hello(1, 100), 1, WINDOW, now);
    server.feed(&Slice(b"greeting"));
    for (attempt, window) in [(2, 500), (3, 0)] {
        server.resume(&hello(attempt, window), now).unwrap();
    }
    drop(welcome(&mut server));
    read(&mut server, request(), now);
    while take(&mut server, now).is_some() {}
    assert_eq!(written_late(&mut server, now), []);
    // or by an acknowledgement.
    let mut server = found(&hello(1, 0), 1, WINDOW, now);
    drop(welcome(&mut server));
    read(&mut server, vec![Frame::Ack(Ack { consumed: 0, window: 500 })], now);
    while server.status().room > 0 {
        server.feed(&Slice(&[0; 100]));
    }
    let held = server.status().unacknowledged;
    read(&mut server, vec![Frame::Ack(Ack { consumed: 0, window: 100 })], now);
    assert!((written(&mut server).len() as u64) < held, "the others wait for the window");
    read(&mut server, request(), now);
    while take(&mut server, now).is_some() {}
    assert_eq!(written_late(&mut server, now), []);
}

/// A client and two servers, whose applications send as long as there is room, ask for
/// messages, hold some of them, and are done with those, as they like.
struct Crowd {
    client: Session,
    servers: [Option<Session>; 2],
    /// The server that a link leads to.
    at: Option<usize>,
    windows: [u32; 2],
    /// What the client's application and those of the servers hold.
    hands: [Vec<u64>; 3],
    epochs: u64,
    now: Instant,
}

impl Crowd {
    fn new(rng: &mut fastrand::Rng) -> Crowd {
        let mut window = || rng.u32(1..600);
        let (client, now) = client(window());
        let windows = [window(), window()];
        let hands = Default::default();
        Crowd { client, servers: [None, None], at: None, windows, hands, epochs: 0, now }
    }

    fn connect(&mut self, to: usize, arrives: bool) {
        self.client.link_lost();
        if let Some(server) = self.at.take().and_then(|at| self.servers[at].as_mut()) {
            server.link_lost();
        }
        let hello = self.client.next_hello();
        let old = self.servers[to].take();
        let server = match old.filter(|server| server.judge(&hello) == Admission::Resume) {
            Some(mut server) => {
                server.resume(&hello, self.now).unwrap();
                server
            }
            None => {
                self.epochs += 1;
                self.hands[1 + to].clear();
                found(&hello, self.epochs, self.windows[to], self.now)
            }
        };
        let server = self.servers[to].insert(server);
        if arrives {
            let (welcome, rest) = welcome(server);
            self.client.welcomed(&welcome, self.now).unwrap();
            read(&mut self.client, rest, self.now);
            self.at = Some(to);
        } else {
            server.link_lost();
        }
    }

    /// Both ends, if there is a link.
    fn ends(&mut self) -> Option<[&mut Session; 2]> {
        let server = self.servers[self.at?].as_mut()?;
        Some([&mut self.client, server])
    }

    fn carry(&mut self, from: usize, to: usize) {
        let now = self.now;
        let Some(ends) = self.ends() else { return };
        let frames = written(ends[from]);
        read(ends[to], frames, now);
    }

    /// Everything that is due arrives, and what is consumed is acknowledged, unless messages
    /// that come before have to wait.
    fn settle(&mut self) {
        for _ in 0..4 {
            self.now += ACK_DELAY;
            let now = self.now;
            for end in self.ends().into_iter().flatten() {
                assert_eq!(end.tick(None, now), Verdict::Alive);
            }
            self.carry(0, 1);
            self.carry(1, 0);
        }
        for end in self.ends().into_iter().flatten() {
            let waits = end.outbox.written() < end.outbox.end();
            assert!(end.acks.is_settled() || waits, "held back in vain: {end:?}");
        }
    }

    /// The application of one end asks for a message, and waits if there is none and it
    /// holds none: the other must be able to send one.
    fn take(&mut self, side: usize, holds: bool) {
        let now = self.now;
        let Some(ends) = self.ends() else { return };
        match take(ends[side], now) {
            Some(Received::Message(message)) if holds => {
                let number = ends[side].hold(message.len());
                self.hands(side).push(number);
            }
            Some(_) => {}
            None => {
                while !self.hands(side).is_empty() {
                    self.work(side, 0);
                }
                self.settle();
                let ends = self.ends().expect("the same");
                let is_stuck = !ends[side].status().has_next && ends[1 - side].status().room == 0;
                assert!(!is_stuck, "both wait: {:?}", (&self.client, &self.servers));
            }
        }
    }

    fn hands(&mut self, side: usize) -> &mut Vec<u64> {
        &mut self.hands[if side == 0 { 0 } else { 1 + self.at.expect("a link") }]
    }

    /// It is done with one of those that it holds.
    fn work(&mut self, side: usize, any: usize) {
        let (now, hands) = (self.now, self.hands(side));
        if !hands.is_empty() {
            let number = hands.swap_remove(any % hands.len());
            self.ends().expect("the same")[side].done_with(number, now);
        }
    }
}

#[test]
fn no_acknowledgement_is_held_back_that_the_peer_needs_to_go_on() {
    for seed in 0..rounds(2000) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut crowd = Crowd::new(&mut rng);
        let holds = rng.bool();
        for _ in 0..60 {
            let side = rng.usize(..2);
            match rng.u32(..12) {
                0 => crowd.connect(side, rng.u32(..3) > 0),
                1..6 => {
                    let Some(ends) = crowd.ends() else { continue };
                    if ends[side].status().room > 0 && !ends[side].status().finished {
                        ends[side].feed(&Slice(&vec![0; rng.usize(..100)]));
                    }
                }
                6 if side == 1 && rng.u32(..4) == 0 => {
                    let Some([_, server]) = crowd.ends() else { continue };
                    server.finish();
                }
                6 | 7 => crowd.carry(side, 1 - side),
                8 if crowd.at.is_some() => crowd.work(side, rng.usize(..10)),
                _ => crowd.take(side, holds && rng.bool()),
            }
        }
    }
}

/// A message of which the system tells how far it has come, and a ping behind it.
#[test]
fn a_ping_is_asked_when_it_has_arrived() {
    let interval = Duration::from_secs(10);
    for arrives in [false, true] {
        let (_, now) = client(WINDOW);
        let heartbeat = Heartbeat::every(interval).misses(1);
        let mut client = Session::client(limits(WINDOW), heartbeat, now);
        let (welcome, _) = welcome(&mut found(&client.next_hello(), 1, WINDOW, now));
        client.welcomed(&welcome, now).unwrap();
        assert!(!client.status().counts_bytes);
        client.feed(&Slice(&[0; 1000]));
        let mut batch = Batch::default();
        client.fill(&mut batch);
        let message = batch.len();
        batch.advance(message - 1);
        assert!(client.status().counts_bytes);
        let asked = now + interval;
        assert_eq!(client.tick(None, asked), Verdict::Ping(1));
        client.tick(Some(0), asked);
        batch.advance(1);
        client.fill(&mut batch);
        let ping = message + batch.len();
        batch.advance(batch.len());
        let position = if arrives { ping } else { ping - 1 };
        let judged = asked + interval + Duration::from_secs(1);
        client.tick(Some(position as u64), judged);
        // It pings again, and looks twice.
        client.tick(None, judged);
        client.tick(None, judged);
        let dead = matches!(client.tick(None, judged + Duration::from_secs(1)), Verdict::Dead(_));
        assert_eq!(dead, arrives);
    }
}

#[test]
fn bytes_that_wait_to_be_read_put_off_the_verdict() {
    let (mut client, now) = client(WINDOW);
    for waiting in [false, true] {
        let hello = client.next_hello();
        let heartbeat = Heartbeat::every(Duration::from_secs(1));
        let mut server = Session::server(&hello, 1, limits(WINDOW), heartbeat, now);
        let is_dead = (0..20).any(|_| {
            if waiting {
                server.excuse(Excuse::Queued);
            }
            matches!(server.tick(None, server.deadline().unwrap()), Verdict::Dead(_))
        });
        assert_ne!(is_dead, waiting);
    }
}

/// Else a client that comes back with longer heartbeats is judged by the old ones.
#[test]
fn a_server_goes_by_the_interval_of_the_last_hello() {
    let second = Duration::from_secs(1);
    let now = Pair::new(WINDOW, WINDOW).now;
    let (mut client, _) = client(WINDOW);
    let first = Hello { interval: Some(second), ..client.next_hello() };
    let mut server = Session::server(&first, 1, limits(WINDOW), Heartbeat::every(10 * second), now);
    for (attempt, interval) in (2..).zip([Some(240 * second), None, Some(2 * second)]) {
        let hello = Hello { epoch: 1, attempt, interval, ..first.clone() };
        server.resume(&hello, now).unwrap();
        let pings = interval.unwrap_or(10 * second) * 5 / 4;
        assert_eq!(welcome(&mut server).0.interval, Some(pings));
        assert_eq!(server.deadline(), Some(now + pings));
    }
    // One without heartbeats has none, whatever is announced.
    let mut server = Session::server(&first, 1, limits(WINDOW), Heartbeat::off(), now);
    server.resume(&Hello { epoch: 1, attempt: 2, ..first.clone() }, now).unwrap();
    assert_eq!((welcome(&mut server).0.interval, server.deadline()), (None, None));
}

/// Where messages go both ways all the time, nobody is silent for an interval.
#[test]
fn the_round_trip_is_measured_once_an_interval_under_traffic_too() {
    let interval = Duration::from_secs(10);
    let (mut client, start) = client(WINDOW);
    let hello = client.next_hello();
    let mut server = Session::server(&hello, 1, limits(WINDOW), Heartbeat::every(interval), start);
    client.pulse.set_rhythm(Some(Rhythm::client(interval, 3)));
    client.welcomed(&welcome(&mut server).0, start).unwrap();
    let delay = Duration::from_millis(7);
    let mut pings = [0, 0];
    for second in 1..=100 {
        let now = start + Duration::from_secs(second);
        for (nth, back) in [(0, false), (1, true)] {
            let (from, to) = match back {
                false => (&mut client, &mut server),
                true => (&mut server, &mut client),
            };
            assert_eq!(from.tick(None, now), Verdict::Alive, "no silence asks");
            from.feed(&Slice(b"message"));
            let mut frames = written(from);
            from.sent(now);
            frames.append(&mut written(from));
            from.sent(now);
            pings[nth] += frames.iter().filter(|frame| matches!(frame, Frame::Ping(_))).count();
            to.heard(now + delay);
            read(to, frames, now + delay);
            take(to, now);
            let answers = written(to);
            to.sent(now + delay);
            from.heard(now + delay);
            read(from, answers, now + delay);
        }
    }
    assert_eq!(pings, [10, 7], "the server's interval is longer");
    assert_eq!([client.status().round_trip, server.status().round_trip], [Some(delay); 2]);
}

/// Its peer's pings may be behind a message that takes long to cross.
#[test]
fn a_side_without_heartbeats_says_a_word_now_and_then_while_bytes_come() {
    const INTERVAL: Duration = Duration::from_secs(10);
    let [off, on] = [Heartbeat::off(), Heartbeat::every(INTERVAL)];
    for (own, peer) in [(off, on), (on, on), (off, off)] {
        let (_, now) = client(WINDOW);
        let session = |heartbeat| Session::client(limits(WINDOW), heartbeat, now);
        let hello = session(peer).next_hello();
        let server = Session::server(&hello, 1, limits(WINDOW), own, now);
        let mut client = session(own);
        let mut other = Session::server(&client.next_hello(), 1, limits(WINDOW), peer, now);
        client.welcomed(&welcome(&mut other).0, now).unwrap();
        for mut side in [server, client] {
            drop(written(&mut side));
            side.sent(now);
            // A server announces that it pings after 1.25 intervals.
            let due = now + INTERVAL * 5 / 4;
            side.heard(now + INTERVAL - Duration::from_millis(1));
            assert_eq!(written(&mut side), []);
            side.heard(due);
            let word = if (own, peer) == (off, on) { vec![Frame::Pong(0)] } else { vec![] };
            assert_eq!(written(&mut side), word);
            side.sent(due);
            side.heard(due + INTERVAL / 2);
            assert_eq!(written(&mut side), []);
            // A ping is answered by its number.
            side.heard(due + INTERVAL * 2);
            read(&mut side, vec![Frame::Ping(7)], due + INTERVAL * 2);
            assert_eq!(written(&mut side), [Frame::Pong(7)]);
        }
    }
}
