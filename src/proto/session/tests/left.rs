//! What older sessions left takes room until it is handed out.

use super::*;

/// A client that was sent messages of that length until its window was full, and has come
/// to another server since.
fn moved(len: usize) -> Pair {
    let Pair { mut client, mut server, now } = Pair::new(1000, WINDOW);
    while server.status().room > 0 {
        server.feed(&Slice(&vec![0; len]));
    }
    read(&mut client, written(&mut server), now);
    client.link_lost();
    let hello = client.next_hello();
    assert_eq!(hello.limits.window, 0);
    let mut server = found(&hello, 2, WINDOW, now);
    client.welcomed(&welcome(&mut server).0, now).unwrap();
    Pair { client, server, now }
}

// An application that waits for the acknowledgement of what it sends meanwhile would wait
// for good: that stands behind a reply which has no room.
#[test]
fn room_is_announced_while_the_application_works_on_what_made_it() {
    let Pair { mut client, mut server, now } = moved(1000 - OVERHEAD);
    let left = take(&mut client, now).unwrap();
    client.feed(&Owned(Bytes::from("request")));
    read(&mut server, written(&mut client), now);
    take(&mut server, now).unwrap();
    server.feed(&Slice(b"reply"));
    take(&mut server, now);
    let frames = written_late(&mut server, now);
    assert!(matches!(frames[..], [Frame::Data(_), Frame::Ack(Ack { consumed: 1, .. })]));
    read(&mut client, frames, now);
    assert!(client.status().acknowledged);
    drop(left);
}

#[test]
fn room_that_comes_free_bit_by_bit_takes_a_few_frames() {
    let Pair { mut client, mut server, now } = moved(0);
    let (mut taken, mut announced) = (0, Vec::new());
    while take(&mut client, now).is_some() {
        taken += 1;
        announced.extend(written_late(&mut client, now));
    }
    let windows: Vec<u32> = announced
        .iter()
        .map(|frame| match frame {
            Frame::Ack(Ack { consumed: 0, window }) => *window,
            frame => panic!("{frame:?}"),
        })
        .collect();
    assert_eq!((taken, &windows[..]), (16, &[40, 104, 168, 232, 296, 424, 552, 744, 936][..]));
    read(&mut server, announced, now);
    // The rest comes with the next that says something else.
    server.feed(&Slice(b"message"));
    read(&mut client, written(&mut server), now);
    while take(&mut client, now).is_some() {}
    let last = Frame::Ack(Ack { consumed: 1, window: 1000 });
    assert_eq!(written_late(&mut client, now), [last]);
}
