//! A server that goes away.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn notice() -> GoingAway {
    GoingAway::new(SECOND, SECOND)
}

/// What a server writes in one batch, behind which its stream ends or not.
fn batch(session: &mut Session) -> (Vec<Frame>, bool) {
    let (mut batch, mut decoder) = (Batch::default(), Decoder::default());
    decoder.allow_data(u32::MAX);
    session.fill(&mut batch);
    let ends = batch.take_fin();
    for mut slice in batch.slices.iter().cloned() {
        while !slice.is_empty() {
            slice.advance(decoder.push(&slice));
        }
    }
    let frames = std::iter::from_fn(|| decoder.next().unwrap()).flat_map(Frame::apart);
    (frames.collect(), ends)
}

#[test]
fn it_acknowledges_what_is_done_says_so_last_and_writes_nothing_more() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    for message in ["done", "in work", "waits"] {
        client.feed(&Slice(message.as_bytes()));
    }
    read(&mut server, written(&mut client), now);
    assert!(take(&mut server, now).is_some() && take(&mut server, now).is_some());
    server.feed(&Slice(b"reply"));
    server.go_away(notice());
    // What is in work now can be answered no more.
    assert!(take(&mut server, now).is_some());
    assert_eq!(server.output(), Output::Due);
    let (frames, ends) = batch(&mut server);
    let [Frame::Data(_), Frame::Ack(Ack { consumed: 1, .. }), Frame::GoingAway(said)] = frames[..]
    else {
        panic!("{frames:?}");
    };
    assert_eq!(said, notice());
    assert!(ends, "more may follow");
    // Whatever happens.
    server.feed(&Slice(b"more"));
    server.consume(now);
    read(&mut server, vec![Frame::Ping(7)], now);
    server.finish();
    assert_eq!(server.output(), Output::Nothing);
    assert_eq!(batch(&mut server), (Vec::new(), false));
    read(&mut client, frames, now + SECOND);
    assert_eq!(client.away(), Some((now + SECOND, notice())));
    assert_eq!(client.status().unacknowledged, 2);
    // What the client has to say is still read.
    read(&mut server, written(&mut client), now);
}

// What waits for room is never written, so nothing may be acknowledged that it replies to.
#[test]
fn no_acknowledgement_goes_ahead_of_replies_that_are_dropped() {
    let cost = 100 + OVERHEAD;
    let (mut client, mut server, now) = narrowed(3 * cost as u32);
    for _ in 0..3 {
        client.feed(&Slice(&[0; 100]));
    }
    assert_eq!(client.status().room, 0);
    read(&mut server, written(&mut client), now);
    while take(&mut server, now).is_some() {}
    server.feed(&Slice(b"reply"));
    server.consume(now);
    server.go_away(notice());
    let (frames, ends) = batch(&mut server);
    assert!(matches!(frames[..], [Frame::GoingAway(_)]) && ends, "{frames:?}");
}

#[test]
fn what_is_announced_last_counts_for_this_link_and_no_other() {
    let Pair { mut client, mut server, now } = Pair::new(WINDOW, WINDOW);
    let other = GoingAway::new(Duration::ZERO, SECOND);
    read(&mut client, vec![Frame::GoingAway(notice()), Frame::GoingAway(other)], now);
    client.link_lost();
    assert_eq!(client.away(), Some((now, other)));
    server.resume(&client.next_hello(), now).unwrap();
    client.welcomed(&welcome(&mut server).0, now).unwrap();
    assert_eq!(client.away(), None);
    // Nor does it count when it comes over an older link.
    let older = client.status().generation - 1;
    client.on_frame(older, Frame::GoingAway(notice()), now).unwrap();
    assert_eq!(client.away(), None);
}

#[test]
fn it_is_no_frame_where_that_matters_and_a_server_does_not_hear_it() {
    let (mut client, now) = client(WINDOW);
    let mut server = found(&client.next_hello(), 1, WINDOW, now);
    let (first, _) = welcome(&mut server);
    read(&mut server, vec![Frame::GoingAway(notice())], now);
    assert_eq!(server.away(), None);
    assert!(!server.progress().heard);
    assert_eq!(server.judge(&client.next_hello()), Admission::Resume, "its welcome was lost");
    client.welcomed(&first, now).unwrap();
    read(&mut client, vec![Frame::GoingAway(notice())], now);
    assert!(!client.progress().heard && !client.progress().moved);
}

#[test]
fn a_session_that_has_ended_says_that_instead() {
    let Pair { mut server, .. } = Pair::new(WINDOW, WINDOW);
    server.close(CloseCode::Aborted);
    server.go_away(notice());
    let (frames, ends) = batch(&mut server);
    assert!(matches!(frames[..], [Frame::Close(_)]) && !ends, "{frames:?}");
    assert_eq!(server.output(), Output::Nothing);
}

#[test]
fn a_link_without_a_welcome_yet_is_welcomed_first() {
    let (mut client, now) = client(WINDOW);
    let mut server = found(&client.next_hello(), 1, WINDOW, now);
    server.go_away(notice());
    let (frames, ends) = batch(&mut server);
    assert!(matches!(frames[..], [Frame::Welcome(_), Frame::GoingAway(_)]), "{frames:?}");
    assert!(ends);
}
