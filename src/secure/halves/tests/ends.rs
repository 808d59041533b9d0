//! How a link ends, in order or otherwise, and what is refused.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::proto::buffer::SMALL_BUFFER;
use crate::proto::frame::Frame;
use crate::secure::{self, is_inside};
use crate::testing::logger;

/// A handshake, and then a message each way with the end behind it, as far as that gets.
/// Returns how each side has seen the other end.
fn exchange(tampers: [Option<(usize, Tamper)>; 2]) -> [(Side, End); 2] {
    let mut sides = strangers();
    let mut ends = [None, None];
    for (side, tampers) in sides.iter_mut().zip(tampers) {
        side.tampers = tampers;
    }
    sides[0].channel.opener.open(&mut sides[0].decoder);
    for turn in 0..10 {
        let [client, server] = &mut sides;
        let (from, to) = if turn % 2 == 0 { (client, server) } else { (server, client) };
        if from.channel.is_open() && from.said.is_empty() {
            from.install();
            from.say(&[vec![turn; 150], vec![7; 100]]);
            from.batch.end_stream();
        }
        let words = match from.said.is_empty() {
            true => from.channel.sealer.seal_now(&[]),
            false if from.write(usize::MAX).is_err() => from.channel.sealer.farewell(),
            false => Vec::new(),
        };
        from.put(&words);
        let end = &mut ends[1 - usize::from(turn % 2)];
        if end.is_none() {
            *end = to.read_all(from);
        }
    }
    let mut ends = ends.into_iter();
    sides.map(|side| {
        let end = ends.next().flatten().unwrap_or_else(|| side.channel.opener.at_end());
        (side, end)
    })
}

#[test]
fn both_directions_end_by_themselves() {
    let [(client, client_end), (server, server_end)] = exchange([None, None]);
    assert_eq!([client_end, server_end], [End::InOrder, End::InOrder]);
    assert_eq!((client.got, server.got), (server.said, client.said));
}

/// Its length was made another one on the path, and so it takes in what comes behind it.
#[test]
fn a_record_that_does_not_end_is_late() {
    let [mut client, mut server] = pair();
    let begun = sync::now();
    let mut hears = |bits: u8, at: Duration| {
        client.say(&[vec![7; 50]]);
        assert!(client.write(usize::MAX).unwrap());
        client.pipe[3] ^= bits;
        assert_eq!(server.read_all(&mut client), None);
        server.channel.opener.is_late(|| begun + at)
    };
    const HOUR: Duration = Duration::from_secs(3600);
    assert!(!hears(0, Duration::ZERO) && !hears(0, HOUR), "each is whole");
    assert!(!hears(1, HOUR) && !hears(0, HOUR + RECORD_TIMEOUT));
    assert!(hears(0, HOUR + RECORD_TIMEOUT + Duration::from_millis(1)));
}

#[test]
fn records_on_a_slow_path_are_not_late() {
    let [mut client, mut server] = pair();
    client.say(&[vec![7; 1000]]);
    assert!(client.write(usize::MAX).unwrap());
    let begun = sync::now();
    let mut amid = 0;
    for reads in 1.. {
        // A record takes two of these, or three.
        assert_eq!(server.read(&mut client, 50).end, None);
        amid += usize::from(server.channel.opener.is_amid_record());
        assert!(!server.channel.opener.is_late(|| begun + reads * RECORD_TIMEOUT / 3));
        if client.pipe.is_empty() {
            break;
        }
    }
    assert!(amid > 15 && server.got == client.said, "{amid}");
}

#[test]
fn whichever_byte_is_another_one_the_link_is_lost_and_no_message_is_wrong() {
    let whole = exchange([None, None]).map(|(side, _)| side.wire.len());
    for direction in 0..2 {
        for at in 0..whole[direction] {
            for bits in [1, 0x80, 0xFF] {
                let mut tampers = [None, None];
                tampers[direction] = Some((at, Tamper::Flips(bits)));
                let mut ends = exchange(tampers);
                let said = ends[direction].0.said.clone();
                let (reader, end) = &mut ends[1 - direction];
                assert_ne!(*end, End::InOrder, "byte {at} of {direction}");
                assert!(said.starts_with(&reader.got), "byte {at} of {direction}");
                // The type and the length of the last record: it is not whole.
                let waits = reader.channel.opener.is_amid_record();
                assert!(*end != End::Cut || waits, "byte {at} of {direction} was not seen");
            }
        }
    }
}

#[test]
fn a_cut_is_no_end_wherever_it_is() {
    let whole = exchange([None, None]).map(|(side, _)| side.wire.len());
    for direction in 0..2 {
        for at in 0..whole[direction] {
            let mut tampers = [None, None];
            tampers[direction] = Some((at, Tamper::Cuts));
            let ends = exchange(tampers);
            let (reader, end) = &ends[1 - direction];
            assert_eq!(*end, End::Cut, "byte {at} of {direction}");
            assert!(ends[direction].0.said.starts_with(&reader.got));
        }
    }
}

/// So a line that the peer cannot have read counts as not written.
#[test]
fn what_is_left_of_a_batch_is_what_the_peer_cannot_open() {
    let mut left = Vec::new();
    for most in 0.. {
        let [mut client, mut server] = pair();
        client.say(&[vec![1; 150], vec![2; 100]]);
        let all = client.write(most).unwrap();
        assert_eq!(server.read_all(&mut client), None);
        assert_eq!(client.said.len() - client.batch.len(), server.got.len(), "{most} bytes");
        assert_eq!(client.batch.written(), most as u64);
        left.push(client.batch.len());
        if all {
            break;
        }
    }
    left.dedup();
    assert_eq!(left, [250, 150, 50, 0]);
}

#[test]
fn what_went_out_before_an_error_counts() {
    let [mut client, mut server] = pair();
    client.say(&[vec![1; 250]]);
    let Side { channel, batch, pipe, .. } = &mut client;
    let result = channel.sealer.write(batch, |unsent| {
        pipe.extend_from_slice(&unsent.chunk()[..130]);
        unsent.advance(130);
        Err(io::ErrorKind::ConnectionReset.into())
    });
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!((client.batch.len(), client.batch.written()), (150, 130));
    assert_eq!((server.read_all(&mut client), server.got.len()), (None, 100));
}

#[test]
fn a_batch_is_sent_in_few_calls() {
    for (len, calls) in [(10, 1), (300, 1), (399, 1), (400, 2), (1000, 4)] {
        let [mut client, _] = pair();
        client.say(&[vec![1; len]]);
        assert!(client.write(usize::MAX).unwrap());
        assert_eq!(client.calls, calls, "{len} bytes");
    }
}

/// As a link does that has nothing left to write.
#[test]
fn a_farewell_is_said_once_and_nothing_behind_it() {
    let [mut client, mut server] = pair();
    client.say(&[vec![1; 300]]);
    assert!(client.write(usize::MAX).unwrap());
    let words = client.channel.sealer.farewell();
    client.put(&words);
    // What somebody appends is not looked at.
    client.put(&[0x17, 3, 3, 0xFF, 0xFF]);
    assert_eq!(client.channel.sealer.farewell(), []);
    assert_eq!(server.channel.opener.at_end(), End::Cut);
    assert_eq!(server.read_all(&mut client), Some(End::InOrder));
    assert_eq!(server.channel.opener.at_end(), End::InOrder);
    // It still answers, and asks: nothing more may come of that.
    server.say(&[vec![2; 300]]);
    server.batch.end_stream();
    server.write(usize::MAX).unwrap();
    assert_eq!(client.read_all(&mut server), Some(End::InOrder));
    assert!(client.channel.sealer.has_control());
    assert!(client.write(usize::MAX).unwrap() && client.pipe.is_empty());
    assert_eq!(client.channel.sealer.farewell(), []);
}

#[test]
fn words_that_cannot_be_sealed_are_not_said() {
    let [mut client, mut server] = strangers();
    client.channel.opener.open(&mut client.decoder);
    let hello = client.channel.sealer.seal_now(b"too early");
    client.put(&hello);
    assert_eq!((hello.len(), server.read_all(&mut client)), (5 + 8, None));
    server.channel.opener.append(&[0x17, 3, 3, 0, 1, 0]);
    assert!(server.channel.opener.open(&mut server.decoder).end.is_some());
    let hello_and_alert = server.channel.sealer.seal_now(b"too late");
    assert_eq!(hello_and_alert.len(), 5 + 8 + "server".len() + 22 + 1);
}

/// The client asks with each record, however many questions are open.
fn insistent() -> [Side; 2] {
    let mut sides = secure::pair([1, 0], &Arc::default()).map(Side::new);
    sides.iter_mut().for_each(Side::install);
    sides
}

/// As a chain of certificates is: nobody has asked for it again and again.
#[test]
fn what_has_to_be_written_may_be_large_if_it_comes_at_once() {
    let [mut client, mut server] = insistent();
    for _ in 0..2 {
        while client.pipe.len() < 80_000 {
            client.say(&[vec![1; 300]]);
            client.write(usize::MAX).unwrap();
        }
        let Side { channel: Channel { opener, .. }, decoder, .. } = &mut server;
        opener.append(&std::mem::take(&mut client.pipe));
        assert_eq!(opener.open(decoder).end, None);
        decoder.take_all();
        assert!(server.channel.sealer.seal_now(&[]).len() > MOST_CONTROL);
    }
}

#[test]
fn nothing_stands_behind_an_end() {
    let [mut client, mut server] = pair();
    let words = [client.channel.sealer.farewell(), client.channel.sealer.seal_now(b"more")];
    client.put(&words.concat());
    let end = End::Broken(Failure::Protocol("a record behind the end"));
    assert_eq!(server.read_all(&mut client), Some(end));
}

#[test]
fn questions_end_with_the_link() {
    let ((client, asked), server) =
        (security("alice", &["server"]), security("server", &["alice"]));
    let [mut client, mut server] = pair_of(&client, &server.0);
    client.say(&[vec![1; 700]]);
    client.write(usize::MAX).unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    let words = server.channel.sealer.farewell();
    server.put(&words);
    assert_eq!(client.read_all(&mut server), Some(End::InOrder));
    assert_eq!(asked.load(Ordering::Relaxed), 0, "nobody is to answer them any more");
    client.say(&[vec![1; 300]]);
    client.write(usize::MAX).unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    drop(client);
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[test]
fn an_end_that_is_due_is_sealed_behind_the_batch_and_blocked_with_it() {
    let [mut client, mut server] = pair();
    client.say(&[vec![1; 1000]]);
    client.batch.end_stream();
    let end = client.batch.end() as usize;
    assert!(!client.write(500).unwrap() && !client.write(end + 12 - 500).unwrap());
    assert_eq!((client.batch.len(), client.channel.sealer.unsent()), (0, 10));
    assert_eq!(server.read_all(&mut client), None);
    assert!(client.write(usize::MAX).unwrap() && client.batch.ends_stream());
    assert_eq!((server.read_all(&mut client), server.got.len()), (Some(End::InOrder), 1000));
    assert!(client.batch.take_fin() && client.write(usize::MAX).unwrap());
    assert!(client.pipe.is_empty(), "it is said twice");
}

#[test]
fn a_broken_layer_says_why_and_no_more() {
    let [mut client, mut server] = pair();
    client.tampers = Some((client.wire.len() + 30, Tamper::Flips(4)));
    client.say(&[vec![1; 100]]);
    client.write(usize::MAX).unwrap();
    let end = Some(End::Broken(Failure::Protocol("a forged record")));
    let opened = server.read(&mut client, usize::MAX);
    assert_eq!((opened.control, &opened.end), (true, &end));
    let opened = server.channel.opener.open(&mut server.decoder);
    assert_eq!((opened.control, &opened.end), (false, &end));
    assert!(!server.channel.is_open());
    server.say(&[vec![2; 10]]);
    assert_eq!(server.write(usize::MAX).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    let sealer = &mut server.channel.sealer;
    let words = [sealer.seal_now(b"words"), sealer.farewell()].concat();
    assert_eq!(words.len(), 22 + 1, "more than the alert");
    server.put(&words);
    let end = Some(End::Broken(Failure::Protocol("an alert of the peer")));
    assert_eq!((client.read_all(&mut server), client.got.len()), (end, 0));
}

#[test]
fn a_record_of_another_link_is_a_forged_one() {
    let (client, server) = (security("alice", &["server"]).0, security("server", &["alice"]).0);
    let [mut one, _] = pair_of(&client, &server);
    let [mut other, mut server] = pair_of(&client, &server);
    one.say(&[vec![1; 10]]);
    other.say(&[vec![1; 10]]);
    assert!(one.write(usize::MAX).unwrap() && other.write(usize::MAX).unwrap());
    assert_ne!(one.pipe, other.pipe);
    let forged = Some(End::Broken(Failure::Protocol("a forged record")));
    assert_eq!(server.read_all(&mut one), forged);
}

#[test]
fn questions_that_nobody_reads_the_answers_to_end_the_link() {
    let [mut client, mut server] = insistent();
    let mut end = None;
    for asked in 0.. {
        assert!(asked < 1000, "it keeps all of them");
        client.say(&[vec![1; 10]]);
        client.write(usize::MAX).unwrap();
        end = server.read_all(&mut client);
        if end.is_some() {
            break;
        }
    }
    assert_eq!(end, Some(End::Broken(Failure::Protocol("too many questions"))));
    let words = server.channel.sealer.farewell();
    assert!((MOST_CONTROL..MOST_CONTROL + 100).contains(&words.len()), "{} bytes", words.len());
}

#[test]
fn a_record_that_is_too_long_is_refused_before_there_is_space_for_it() {
    let len = |len: usize| [0x17, 3, 3, (len >> 8) as u8, len as u8];
    let [_, mut server] = pair();
    server.channel.opener.append(&len(LARGEST_BODY));
    assert_eq!(server.channel.opener.open(&mut server.decoder).end, None);
    let space = server.channel.opener.space(&mut server.decoder).len();
    assert!(space >= LARGEST_BODY, "the record would never be whole");
    let [_, mut server] = pair();
    server.channel.opener.append(&len(LARGEST_BODY + 1));
    let end = server.channel.opener.open(&mut server.decoder).end;
    assert_eq!(end, Some(End::Broken(Failure::Protocol("a record that is too long"))));
    assert!(server.channel.opener.input.memory() < LARGEST_BODY);
}

#[test]
fn little_may_come_before_the_handshake_is_over() {
    let end = Some(End::Broken(Failure::Protocol("too much before the hello")));
    let mut record = vec![0x16, 3, 3, 0x40, 1];
    record.resize(MOST_BEFORE, 0);
    // In many reads, and in the first one of the acceptor.
    let [mut client, mut server] = strangers();
    client.put(&record);
    assert_eq!(server.read_all(&mut client), end);
    let [_, mut server] = strangers();
    server.channel.opener.append(&record);
    assert_eq!(server.channel.opener.open(&mut server.decoder).end, end);
}

/// A welcome has what is sent again behind it, and the first line of a client others: records
/// of TLS are large, and one that is full is more than may come before.
#[test]
fn the_first_record_behind_the_handshake_may_be_full() {
    let mut sides = strangers();
    assert_eq!(shake_hands(&mut sides), None);
    let [client, server] = &mut sides;
    for from_server in [true, false] {
        let (from, to) =
            if from_server { (&mut *server, &mut *client) } else { (&mut *client, &mut *server) };
        from.channel.sealer.records.most = 16 * 1024;
        let words = from.channel.sealer.seal_now(&[7; 80_000]);
        from.put(&words);
        assert_eq!((to.read_all(from), to.got.len()), (None, 80_000));
    }
}

/// A layer may keep records until a message of the handshake is whole.
#[test]
fn there_is_space_whatever_the_acceptor_has_read_first() {
    for len in [0, 1, SMALL_BUFFER - 1, SMALL_BUFFER, 2 * SMALL_BUFFER] {
        let [_, mut server] = strangers();
        let Channel { opener, .. } = &mut server.channel;
        opener.append(&vec![0; len]);
        let space = opener.space(&mut server.decoder).len();
        assert!(space > 0, "{len}: no space reads as the end of a stream");
    }
}

#[test]
fn an_idle_link_keeps_little() {
    let [mut client, mut server] = pair();
    let memory = |side: &Side| {
        let Output { bytes, scratch, .. } = &side.channel.sealer.output;
        (side.channel.opener.input.memory(), bytes.capacity() + scratch.capacity())
    };
    let large = Frame::data(vec![1; 3000].into()).to_bytes();
    let small = Frame::data(vec![1; 10].into()).to_bytes();
    let ping = Frame::Ping(1).to_bytes();
    for side in [&mut client, &mut server] {
        side.decoder.allow_data(4000);
    }
    for (frame, is_message) in [(&large, true), (&small, true), (&ping, false)] {
        client.batch.push(frame.slice(..10));
        client.batch.push(frame.slice(10..));
        if is_message {
            client.batch.ends_message();
        }
        client.write(usize::MAX).unwrap();
        while !client.pipe.is_empty() {
            let Side { channel: Channel { opener, .. }, decoder, .. } = &mut server;
            let n = opener.space(decoder).put(&client.pipe);
            client.pipe.drain(..n);
            opener.filled(n);
            assert_eq!(opener.open(decoder).end, None);
            while decoder.next().unwrap().is_some() {}
        }
        let Side { channel, decoder, .. } = &mut server;
        channel.opener.space(decoder);
        let (input, output) = (memory(&server).0, memory(&client).1);
        match is_message {
            true => assert!(input > 2000 && output > 400, "{input} {output}: it grows each time"),
            false => assert!(input <= SMALL_BUFFER && output < 128, "{input} {output}"),
        }
        let decoder = server.decoder.memory();
        assert_eq!(decoder <= SMALL_BUFFER, !is_message, "{decoder} in the decoder");
    }
}

/// It may be one that sends over this very link.
#[test]
fn a_logger_that_runs_under_the_lock_can_know() {
    let logged = Rc::new(Cell::new(0));
    let count = logged.clone();
    logger::listen(move |record| {
        assert!(is_inside() || !record.target().ends_with("secure::toy"));
        count.set(count.get() + 1);
    });
    pair();
    assert!(logged.get() > 0 && !is_inside());
}
