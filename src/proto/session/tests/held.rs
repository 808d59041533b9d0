//! Messages that a pool of threads works on.

use super::*;

/// Takes the next message, to hold it. Returns its number.
fn hold(session: &mut Session, now: Instant) -> u64 {
    match take(session, now) {
        Some(Received::Message(message)) => session.hold(message.len()),
        other => panic!("{other:?}"),
    }
}

/// A server that has received as many messages as are given, and a client that has
/// finished if it is to.
fn sent(messages: &[&[u8]], finishes: bool) -> Pair {
    let mut pair = Pair::new(WINDOW, WINDOW);
    messages.iter().for_each(|message| pair.client.feed(&Slice(message)));
    if finishes {
        pair.client.finish();
    }
    pair.exchange();
    pair
}

/// What is acknowledged of the client's messages, once all is written that may be.
fn unacknowledged(pair: &mut Pair) -> u64 {
    pair.now += ACK_DELAY;
    pair.server.tick(None, pair.now);
    pair.exchange();
    pair.client.status().unacknowledged
}

#[test]
fn what_is_done_in_any_order_is_acknowledged_up_to_the_first_that_is_not() {
    let mut pair = sent(&[b"0", b"1", b"2", b"3"], false);
    let now = pair.now;
    let [first, second, third] = [(); 3].map(|()| hold(&mut pair.server, now));
    // It asks for more, and says otherwise that it is done.
    take(&mut pair.server, now).unwrap();
    pair.server.consume(now);
    assert_eq!(unacknowledged(&mut pair), 4);
    pair.server.done_with(third, now);
    assert_eq!(unacknowledged(&mut pair), 4);
    pair.server.done_with(first, now);
    assert_eq!(unacknowledged(&mut pair), 3);
    pair.server.done_with(first, now);
    pair.server.done_with(third, now);
    assert_eq!(unacknowledged(&mut pair), 3, "once is enough");
    pair.server.done_with(second, now);
    assert_eq!(unacknowledged(&mut pair), 0, "and the one behind them, which was asked past");
}

#[test]
fn what_was_handed_out_before_is_done_only_when_more_is_asked_for() {
    let mut pair = sent(&[b"0", b"1"], false);
    let now = pair.now;
    take(&mut pair.server, now).unwrap();
    // Another thread has asked before it was handed out.
    let Some(Received::Message(message)) = pair.server.take(now) else { panic!() };
    let number = pair.server.hold(message.len());
    pair.server.done_with(number, now);
    assert_eq!(unacknowledged(&mut pair), 2);
    pair.server.consume(now);
    assert_eq!(unacknowledged(&mut pair), 0);
}

#[test]
fn an_acknowledgement_follows_the_replies_that_were_sent_before_a_message_was_done() {
    let Pair { mut server, now, .. } = sent(&[b"0", b"1"], false);
    let [first, second] = [(); 2].map(|()| hold(&mut server, now));
    for (number, reply) in [(second, b"1"), (first, b"0")] {
        server.feed(&Slice(reply));
        server.done_with(number, now);
    }
    let frames = written(&mut server);
    let replies = [&b"1"[..], b"0"].map(|reply| Frame::data(Bytes::from_static(reply)));
    assert_eq!(frames[..2], replies);
    assert_eq!(frames[2..], [Frame::Ack(Ack { consumed: 2, window: WINDOW })]);
}

/// The window bounds how much a pool is given.
#[test]
fn what_is_held_fills_the_window_until_it_is_done() {
    let mut pair = Pair::new(WINDOW, 1000);
    let mut held = Vec::new();
    for _ in 0..2 {
        while pair.client.status().room > 0 {
            pair.client.feed(&Slice(&[0; 100]));
        }
        pair.exchange();
        while pair.server.status().has_next {
            held.push(hold(&mut pair.server, pair.now));
        }
        assert_eq!(held.len(), 1000_usize.div_ceil(164));
        assert_eq!(pair.client.status().room, 0);
        pair.now += ACK_DELAY;
        held.drain(..).rev().for_each(|number| pair.server.done_with(number, pair.now));
        assert_eq!(unacknowledged(&mut pair), 0);
    }
}

/// Both directions have ended, and a pool still works.
#[test]
fn a_session_is_complete_when_all_is_done_that_was_held() {
    let mut pair = sent(&[b"0", b"1"], true);
    let now = pair.now;
    let numbers = [(); 2].map(|()| hold(&mut pair.server, now));
    assert_eq!(take(&mut pair.server, now), Some(Received::End));
    pair.server.finish();
    pair.exchange();
    assert_eq!(take(&mut pair.client, now), Some(Received::End));
    pair.exchange();
    for (left, number) in numbers.into_iter().enumerate().rev() {
        let status = pair.server.status();
        assert!(status.acknowledged && !status.complete && !status.closing, "{left}");
        assert!(!pair.client.status().complete);
        pair.server.done_with(number, now);
    }
    // That of the end is due at once.
    pair.exchange();
    assert!(pair.server.status().complete && pair.client.status().complete);
    assert!(pair.client.status().closed_by_peer && pair.client.status().parted);
}

/// However it ends: the peer's end was seen or not, and the application closes, drops the
/// connection, or aborts it.
#[test]
fn what_is_held_at_the_end_is_acknowledged_on_no_path() {
    for (case, code) in [CloseCode::Closed, CloseCode::Aborted].into_iter().cycle().enumerate() {
        let [closes, sees_end, late] = [1, 2, 3].map(|bit| case >> bit & 1 == 1);
        if case == 16 {
            break;
        }
        let mut pair = sent(&[b"done", b"held", b"behind"], true);
        let now = pair.now;
        let [done, held, behind] = [(); 3].map(|()| hold(&mut pair.server, now));
        pair.server.done_with(done, now);
        pair.server.done_with(behind, now);
        if sees_end {
            assert_eq!(take(&mut pair.server, now), Some(Received::End));
        }
        pair.server.detach(closes, now);
        pair.server.close(code);
        if late {
            let frames = written(&mut pair.server);
            pair.server.discard();
            read(&mut pair.client, frames, now);
            // The last word was said. What is asked later is answered with the same.
            pair.server.done_with(held, now);
            pair.server.consume(now);
            let hello = pair.client.next_hello();
            assert_eq!(pair.server.close_reply(&hello).consumed, 1, "{case}");
        }
        pair.exchange();
        assert_eq!(pair.client.status().unacknowledged, 2, "{case}");
        assert!(pair.client.status().closed_by_peer, "{case}");
    }
}

/// It was not too late.
#[test]
fn what_is_done_while_the_connection_closes_is_acknowledged() {
    for closes in [false, true] {
        let mut pair = sent(&[b"held"], true);
        let now = pair.now;
        pair.server.feed(&Slice(b"reply"));
        let held = hold(&mut pair.server, now);
        pair.server.detach(closes, now);
        pair.server.done_with(held, now);
        assert_eq!(unacknowledged(&mut pair), 0, "{closes}");
    }
}

/// A client whose pool works on what a lost session has brought.
#[test]
fn what_was_held_when_the_session_was_lost_takes_room_and_acknowledges_nothing() {
    const WINDOW: u32 = 1000;
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    let mut held = Vec::new();
    for epoch in 2..5 {
        // Whatever was lost before, so much is kept, and no more.
        let mut kept = held.len();
        while server.status().room > 0 {
            server.feed(&Slice(&[0; 100]));
            kept += 1;
        }
        assert_eq!(kept, (WINDOW as usize).div_ceil(164));
        read(&mut client, written(&mut server), now);
        while client.status().has_next {
            held.push(hold(&mut client, now));
        }
        client.link_lost();
        server = found(&client.next_hello(), epoch, WINDOW, now);
        // Some become done before the welcome comes, and some after.
        client.done_with(held.remove(0), now);
        client.welcomed(&welcome(&mut server).0, now).unwrap();
        client.done_with(held.remove(0), now);
        client.done_with(held.remove(2), now);
        let frames = written_late(&mut client, now);
        let [Frame::Ack(ack)] = frames[..] else { panic!("{frames:?}") };
        let room = WINDOW - 164 * (held.len() as u32 + 1);
        assert_eq!(ack, Ack { consumed: 0, window: room }, "the first two made room");
        read(&mut server, frames, now);
        client.done_with(held.remove(0), now);
        client.done_with(held.remove(0), now);
        read(&mut server, written_late(&mut client, now), now);
    }
}
