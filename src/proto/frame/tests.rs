use std::time::Duration;

use super::*;
use crate::proto::close::{CloseCode, Refusal};
use crate::proto::handshake::{Limits, MAX_GREETING, Token};
use crate::proto::reject::Class;
use crate::proto::testing::rounds;

const MAX: u32 = 10_000;
const SECOND: Duration = Duration::from_secs(1);

fn hello() -> Hello {
    Hello {
        version: 1,
        token: Token(*b"0123456789abcdef"),
        attempt: 2,
        epoch: 3,
        received: 4,
        limits: Limits { window: 5, max_message: 6 },
        interval: Some(Duration::from_millis(7)),
        resume_only: true,
        greeting: "ann".into(),
        numbers: None,
    }
}

fn every_frame() -> Vec<Frame> {
    let Hello { epoch, received, limits, interval, .. } = hello();
    let resume_within = Duration::from_secs(8);
    let close = |code| Frame::Close(Close { code, consumed: u64::MAX });
    vec![
        Frame::Hello(hello()),
        Frame::Welcome(Welcome { epoch, received, limits, interval, resume_within }),
        Frame::Reject(Reject::new(9, Class::Elsewhere, String::from("no, thanks"))),
        Frame::data(Bytes::new()),
        Frame::data(Bytes::from_static(b"a message")),
        Frame::data(vec![1; SMALL_BUFFER / 2 - HEADER].into()),
        Frame::data(vec![2; SMALL_BUFFER].into()),
        Frame::data(vec![3; MAX as usize].into()),
        Frame::Fin,
        Frame::Ack(Ack { consumed: 10, window: 11 }),
        Frame::Ping(12),
        Frame::Pong(13),
        close(CloseCode::Done),
        close(CloseCode::Closed),
        close(CloseCode::Aborted),
        close(CloseCode::Refused(Refusal::new(14, &"ä".repeat(128)))),
        Frame::GoingAway(GoingAway::new(SECOND, SECOND * 3)),
    ]
}

fn decoder() -> Decoder {
    let mut decoder = Decoder::default();
    decoder.allow_data(MAX);
    decoder
}

/// Feeds `bytes` in pieces of the lengths that `piece` says.
fn decode(
    decoder: &mut Decoder,
    mut bytes: &[u8],
    mut piece: impl FnMut() -> usize,
) -> Result<Vec<Frame>, Violation> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let n = piece().min(bytes.len());
        bytes = &bytes[decoder.push(&bytes[..n])..];
        while let Some(frame) = decoder.next()? {
            frames.extend(frame.apart());
        }
    }
    Ok(frames)
}

fn header(kind: u8, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_header(&mut bytes, kind, len);
    bytes
}

#[test]
fn every_frame_survives_a_split_at_every_byte() {
    for frame in every_frame() {
        let bytes = frame.to_bytes();
        // Of the largest, every place would take long.
        for split in (1..bytes.len()).step_by(bytes.len().div_ceil(rounds(5000).max(10) as usize)) {
            let mut first = true;
            let piece = || if std::mem::take(&mut first) { split } else { usize::MAX };
            let frames = decode(&mut decoder(), &bytes, piece).unwrap();
            assert!(matches!(&frames[..], [only] if *only == frame), "split at {split}");
        }
    }
}

#[test]
fn a_stream_of_frames_arrives_in_any_pieces() {
    for seed in 0..rounds(50) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut sent: Vec<_> = (0..rounds(5)).flat_map(|_| every_frame()).collect();
        rng.shuffle(&mut sent);
        let bytes: Vec<u8> = sent.iter().flat_map(|frame| frame.to_bytes()).collect();
        let most = [2, 100, 5000, 200_000][rng.usize(..4)];
        let frames = decode(&mut decoder(), &bytes, || rng.usize(1..most)).unwrap();
        assert!(frames == sent, "seed {seed}");
    }
}

#[test]
fn messages_that_came_together_share_a_bounded_piece_of_memory() {
    let mut decoder = decoder();
    let bodies: Vec<Bytes> = (0..100).map(|n| vec![n; usize::from(n)].into()).collect();
    let frames = bodies.iter().map(|body| Frame::data(body.clone()).to_bytes());
    let bytes: Vec<u8> = frames.flatten().chain(Frame::Fin.to_bytes()).collect();
    decoder.input.want(bytes.len());
    assert_eq!(decoder.push(&bytes), bytes.len());
    let came: Vec<Frame> = std::iter::from_fn(|| decoder.next().unwrap()).collect();
    let [Frame::Data(first), Frame::Data(second), Frame::Fin] = &came[..] else {
        panic!("{came:?}");
    };
    for run in [first, second] {
        assert!(run.bytes.len() <= RUN);
        assert_eq!(run.clone().count() as u64, run.messages);
    }
    assert_eq!(first.clone().chain(second.clone()).collect::<Vec<_>>(), bodies);
}

// Trap 16: garbage, huge lengths, unknown types.
#[test]
fn what_cannot_be_is_refused_by_its_header_alone() {
    let refused = |decoder: &mut Decoder, kind, len| {
        let result = decode(decoder, &header(kind, len), || usize::MAX);
        assert!(decoder.body.is_none() && decoder.input.memory() <= SMALL_BUFFER);
        result.unwrap_err()
    };
    for kind in [0, 9, 0x47, 0xF7, 0xF9, 0xFF] {
        assert_eq!(refused(&mut decoder(), kind, 0), Violation("a frame of unknown type"));
    }
    let controls = (kind::WELCOME..=kind::CLOSE).filter(|kind| *kind != kind::DATA);
    for kind in controls.chain([kind::HELLO]) {
        for len in [MAX_CONTROL + 1, u32::MAX as usize] {
            let violation = refused(&mut decoder(), kind, len);
            assert_eq!(violation, Violation("a control frame that is too long"));
        }
    }
    for len in [MAX as usize + 1, u32::MAX as usize] {
        let violation = refused(&mut decoder(), kind::DATA, len);
        assert_eq!(violation, Violation("a message larger than was agreed"));
    }
    let violation = refused(&mut Decoder::default(), kind::DATA, 0);
    assert_eq!(violation, Violation("data before the welcome"));
}

#[test]
fn what_may_be_skipped_is_skipped_behind_the_handshake_and_refused_before() {
    for kind in [0x81, 0x82, 0x9F, 0xA0, 0xBF] {
        for len in [0, 1, 7, MAX_CONTROL] {
            let skipped = [&header(kind, len)[..], &vec![kind::PING; len]].concat();
            let parts = [&skipped[..], &Frame::Ping(1).to_bytes(), &skipped, &skipped];
            let bytes = [&parts.concat()[..], &Frame::Fin.to_bytes()].concat();
            for piece in [usize::MAX, 1 + len / 10, 100] {
                let frames = decode(&mut decoder(), &bytes, || piece).unwrap();
                assert_eq!(frames, [Frame::Ping(1), Frame::Fin], "{kind:x} {len}");
            }
            let violation = decode(&mut Decoder::default(), &skipped, || usize::MAX).unwrap_err();
            assert_eq!(violation, Violation("a frame of unknown type"));
        }
        let long = header(kind, MAX_CONTROL + 1);
        let violation = decode(&mut decoder(), &long, || usize::MAX).unwrap_err();
        assert_eq!(violation, Violation("a control frame that is too long"));
    }
    for kind in [0x7F, 0xC0] {
        decode(&mut decoder(), &header(kind, 0), || usize::MAX).unwrap_err();
    }
    // However many there are.
    let bytes = header(0x81, 0).repeat(rounds(LARGE_BUFFER as u64) as usize);
    assert_eq!(decode(&mut decoder(), &bytes, || usize::MAX).unwrap(), []);
}

#[test]
fn a_notice_of_going_away_may_be_longer_and_is_skipped_if_it_is_shorter() {
    let notice = GoingAway::new(SECOND, SECOND * 3);
    let body: Vec<u8> = Frame::GoingAway(notice).to_bytes()[HEADER..].to_vec();
    let body: Vec<u8> = body.into_iter().chain(std::iter::repeat(9)).take(MAX_CONTROL).collect();
    for len in [0, 1, 4, 7, 8, 9, 12, 100, MAX_CONTROL] {
        let frame = [&header(kind::GOING_AWAY, len)[..], &body[..len]].concat();
        let bytes = [&frame[..], &Frame::Ping(1).to_bytes()].concat();
        for piece in [usize::MAX, 1 + len / 10] {
            let mut frames = decode(&mut decoder(), &bytes, || piece).unwrap();
            assert_eq!(frames.pop(), Some(Frame::Ping(1)));
            assert_eq!(frames, Vec::from_iter((len >= 8).then_some(Frame::GoingAway(notice))));
        }
        let violation = decode(&mut Decoder::default(), &bytes, || usize::MAX).unwrap_err();
        assert_eq!(violation, Violation("a frame of unknown type"), "before the welcome");
    }
}

#[test]
fn a_control_frame_may_be_as_long_as_is_said() {
    let frame = Frame::Reject(Reject::new(1, Class::Later, "x".repeat(MAX_CONTROL - 10)));
    assert_eq!(decode(&mut decoder(), &frame.to_bytes(), || usize::MAX).unwrap(), [frame]);
}

#[test]
fn a_wrong_length_is_refused_and_what_may_be_longer_is_read_so_far() {
    for frame in every_frame() {
        let bytes = frame.to_bytes();
        let (kind, body) = (bytes[0], &bytes[HEADER..]);
        if matches!(&frame, Frame::Data(_) | Frame::Reject(_) | Frame::GoingAway(_)) {
            continue;
        }
        // A text may have any length.
        if matches!(&frame, Frame::Close(close) if close.code.refusal().is_some()) {
            continue;
        }
        let may_be_longer = matches!(frame, Frame::Ack(_) | Frame::Close(_));
        let longer = (body.len() + 1).min(MAX_CONTROL);
        for len in [longer, MAX_CONTROL, body.len().saturating_sub(1)] {
            let mut other = header(kind, len);
            other.extend(body.iter().chain(std::iter::repeat(&1)).take(len));
            let decoded = decode(&mut decoder(), &other, || usize::MAX);
            match len > body.len() {
                true if may_be_longer => assert!(decoded.unwrap() == std::slice::from_ref(&frame)),
                _ if len != body.len() => drop(decoded.unwrap_err()),
                _ => {}
            }
        }
    }
    let short = [&header(kind::REJECT, 9)[..], &[1; 9]].concat();
    decode(&mut decoder(), &short, || usize::MAX).unwrap_err();
}

#[test]
fn garbage_is_a_violation_or_waits_but_never_a_panic() {
    for seed in 0..rounds(2000) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let kinds = [kind::HELLO, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        let mut bytes = header(kinds[rng.usize(..kinds.len())], rng.usize(..64));
        bytes.extend(std::iter::repeat_with(|| rng.u8(..)).take(200));
        let _ = decode(&mut decoder(), &bytes, || rng.usize(1..50));
    }
}

#[test]
fn a_parked_peer_holds_a_small_buffer_and_is_told_by_its_first_byte() {
    let mut decoder = decoder();
    assert_eq!(decoder.first_byte(), None);
    let hello = Frame::Hello(hello()).to_bytes();
    assert_eq!(decode(&mut decoder, &hello[..7], || 1).unwrap(), []);
    assert_eq!(decoder.first_byte(), Some(kind::HELLO));
    assert_eq!(decoder.input.memory(), SMALL_BUFFER);
    assert_eq!(decode(&mut decoder, &hello[7..], || 1).unwrap().len(), 1);
    assert_eq!(decoder.first_byte(), None);
}

#[test]
fn a_large_greeting_leaves_a_small_buffer() {
    let mut decoder = decoder();
    let hello = Hello { greeting: vec![b'g'; MAX_GREETING].into(), ..hello() };
    decode(&mut decoder, &Frame::Hello(hello).to_bytes(), || usize::MAX).unwrap();
    assert!(decoder.input.memory() > MAX_GREETING);
    assert_eq!(decoder.space().len(), SMALL_BUFFER);
}

#[test]
fn reads_that_fill_the_buffer_make_it_larger() {
    let mut decoder = decoder();
    let frames = Frame::data(vec![0; 10].into()).to_bytes().repeat(LARGE_BUFFER / 5);
    decode(&mut decoder, &frames, || usize::MAX).unwrap();
    assert_eq!(decoder.input.memory(), LARGE_BUFFER);
}

#[test]
fn of_large_bodies_only_the_beginning_is_copied() {
    let mut decoder = decoder();
    let large = Frame::data(vec![1; LARGE_BODY].into()).to_bytes();
    let small = Frame::data(vec![2; LARGE_BUFFER / 4].into()).to_bytes();
    for frame in [&small, &large] {
        assert_eq!(decode(&mut decoder, frame, || usize::MAX).unwrap().len(), 1);
    }
    for _ in 0..3 {
        assert_eq!(decoder.space().len(), SMALL_BUFFER);
        assert_eq!(decode(&mut decoder, &large, || usize::MAX).unwrap().len(), 1);
    }
    assert_eq!(decode(&mut decoder, &small, || usize::MAX).unwrap().len(), 1);
    assert!(decoder.space().len() > LARGE_BUFFER / 4, "the buffer is used as a whole again");
}

#[test]
fn a_stream_of_large_bodies_takes_one_read_for_each() {
    const BODIES: u8 = 10;
    let mut decoder = decoder();
    let sent: Vec<Frame> = (0..BODIES)
        .map(|n| Frame::data(vec![n; LARGE_BODY + usize::from(n)].into()))
        .chain([Frame::Fin])
        .collect();
    let bytes: Vec<u8> = sent.iter().flat_map(Frame::to_bytes).collect();
    let mut reads = 0;
    let came = decode(&mut decoder, &bytes, || {
        reads += 1;
        usize::MAX
    });
    assert_eq!(came.unwrap(), sent);
    assert_eq!(reads, 1 + BODIES);
}

#[test]
fn the_buffer_of_an_idle_link_is_small_again() {
    let mut decoder = decoder();
    let data = Frame::data(vec![0; LARGE_BODY / 2].into()).to_bytes();
    assert_eq!(decode(&mut decoder, &data, || usize::MAX).unwrap().len(), 1);
    assert!(decoder.memory() >= LARGE_BODY / 2);
    // What is behind the heartbeat is not lost.
    let behind = [&Frame::Ping(1).to_bytes()[..], &data[..100]].concat();
    assert_eq!(decode(&mut decoder, &behind, || usize::MAX).unwrap(), [Frame::Ping(1)]);
    assert_eq!(decode(&mut decoder, &data[100..], || usize::MAX).unwrap().len(), 1);
    assert!(decoder.memory() >= LARGE_BODY / 2);
    for frame in [Frame::Ping(2), Frame::Pong(3)] {
        decode(&mut decoder, &data, || usize::MAX).unwrap();
        assert_eq!(decode(&mut decoder, &frame.to_bytes(), || 1).unwrap(), [frame]);
        assert_eq!(decoder.space().len(), SMALL_BUFFER);
        assert_eq!(decoder.memory(), SMALL_BUFFER);
    }
}

/// As `decode`, of bytes that were sealed: several records may come with one read.
fn unseal(
    decoder: &mut Decoder,
    mut bytes: &[u8],
    mut record: impl FnMut() -> usize,
) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut records = 0;
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at(record().clamp(1, bytes.len()));
        decoder.append(head);
        bytes = rest;
        records += 1;
        if records % 3 == 0 || bytes.is_empty() {
            while let Some(frame) = decoder.next().unwrap() {
                frames.extend(frame.apart());
            }
            decoder.space();
        }
    }
    frames
}

#[test]
fn what_was_sealed_is_decoded_as_what_was_not() {
    let mut sent = every_frame();
    sent.extend([Frame::data(vec![4; MAX as usize].into()), Frame::Ping(1)]);
    let bytes: Vec<u8> = sent.iter().flat_map(Frame::to_bytes).collect();
    for record in 1..rounds(600) as usize {
        let mut lens = [record, 0, 7 * record].into_iter().cycle();
        let mut decoder = decoder();
        assert!(unseal(&mut decoder, &bytes, || lens.next().unwrap()) == sent, "{record}");
        decoder.append(&[]);
        assert!(decoder.is_relaxed() && decoder.input.memory() <= SMALL_BUFFER, "{record}");
        decoder.append(&[kind::PING]);
        assert!(!decoder.is_relaxed());
    }
}

#[test]
fn a_large_body_that_was_sealed_is_copied_once_to_where_it_stays() {
    let mut decoder = decoder();
    let frame = Frame::data(vec![1; LARGE_BODY].into()).to_bytes();
    decoder.append(&frame[..100]);
    assert_eq!(decoder.next(), Ok(None));
    decoder.append(&frame[100..]);
    assert!(decoder.unread().is_empty(), "it went to the buffer");
    // The next record comes with the same read.
    decoder.append(&frame[..3]);
    assert_eq!(decoder.next(), Ok(Some(Frame::data(vec![1; LARGE_BODY].into()))));
    assert_eq!((decoder.next(), decoder.unread()), (Ok(None), &frame[..3]));
}

#[test]
fn records_find_the_buffer_that_the_last_read_needed() {
    let mut decoder = decoder();
    let frames = Frame::data(vec![0; 10].into()).to_bytes().repeat(100);
    unseal(&mut decoder, &frames, || usize::MAX);
    let memory = decoder.input.memory();
    assert_eq!(memory, frames.len().next_power_of_two());
    unseal(&mut decoder, &frames[..15], || usize::MAX);
    assert_eq!(decoder.input.memory(), memory, "it was released");
    // More than that comes with one read, and is no measure.
    unseal(&mut decoder, &frames.repeat(10), || usize::MAX);
    assert_eq!(decoder.input.memory(), LARGE_BUFFER);
}
