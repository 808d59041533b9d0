//! The decoder beside a naive one.

use super::speech::{self, Truths};
use crate::proto::Violation;
use crate::proto::buffer::{LARGE_BUFFER, SMALL_BUFFER};
use crate::proto::close::Close;
use crate::proto::frame::{Decoder, Frame, HEADER, MAX_CONTROL, kind};
use crate::proto::handshake::VERSION;
use crate::proto::testing::choices::Choices;

pub(super) fn run(bytes: &[u8]) {
    let mut choices = Choices::of(bytes);
    // What DATA may come to once the first frame is here; `None`: there may be none.
    let most = [Some(20_000), None, Some(0), Some(100), Some(5000)][choices.usize(..5)];
    let pieces: [usize; 3] = std::array::from_fn(|_| match choices.u8(..4) {
        0 => usize::MAX,
        1 => 1,
        2 => choices.usize(1..=0xFF),
        _ => choices.usize(1..10_000),
    });
    let truths = Truths { others: most.map(u64::from).into_iter().collect(), ..Truths::default() };
    let mut stream = Vec::new();
    while !choices.are_over() && stream.len() < 50_000 {
        speech::say(&mut choices, &truths, &mut stream);
    }
    let (expected, violates) = naive(&stream, most);
    let (frames, end) = in_pieces(&stream, most, &pieces);
    assert_eq!(end.is_err(), violates, "{end:?} after {} frames", frames.len());
    // Not with assert_eq: what differs may be long.
    let same = frames.iter().zip(&expected).take_while(|(frame, naive)| frame == naive).count();
    assert!(same == frames.len() && same == expected.len(), "frame {same} in {pieces:?}");
}

/// What the decoder makes of a stream that comes in pieces.
fn in_pieces(
    mut stream: &[u8],
    most: Option<u32>,
    pieces: &[usize],
) -> (Vec<Frame>, Result<(), Violation>) {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    let mut pieces = pieces.iter().cycle();
    while !stream.is_empty() {
        let n = stream.len().min(*pieces.next().expect("a cycle"));
        stream = &stream[decoder.push(&stream[..n])..];
        loop {
            match decoder.next() {
                Ok(Some(frame)) => frames.extend(frame.apart()),
                Ok(None) => break,
                Err(violation) => return (frames, Err(violation)),
            }
            if let Some(most) = most.filter(|_| frames.len() == 1) {
                decoder.allow_data(most);
            }
        }
        let bound = match frames.len() {
            0 => 2 * MAX_CONTROL,
            // A body has room for the beginning of what follows it.
            _ => LARGE_BUFFER + SMALL_BUFFER + most.unwrap_or(0) as usize,
        };
        assert!(decoder.memory() <= bound, "{} bytes reserved", decoder.memory());
    }
    (frames, Ok(()))
}

/// The frames of a stream, and whether it ends in a violation: as the format
/// says, one header after the other, each frame decoded by itself.
fn naive(mut stream: &[u8], most: Option<u32>) -> (Vec<Frame>, bool) {
    let mut frames = Vec::new();
    while let Some((header, rest)) = stream.split_first_chunk::<HEADER>() {
        let [kind, len @ ..] = *header;
        let len = u32::from_be_bytes(len) as usize;
        let most = match kind {
            kind::DATA => most.filter(|_| !frames.is_empty()).map(|most| most as usize),
            kind::HELLO | 1..=8 => Some(MAX_CONTROL),
            // To be skipped, once the handshake is over.
            0x80..=0xBF => most.filter(|_| !frames.is_empty()).map(|_| MAX_CONTROL),
            _ => None,
        };
        if most.is_none_or(|most| len > most) {
            return (frames, true);
        }
        if rest.len() < len {
            break;
        }
        let (whole, rest) = stream.split_at(HEADER + len);
        stream = rest;
        let known = kind == kind::GOING_AWAY && len >= 8;
        if (0x80..=0xBF).contains(&kind) && !known {
            continue;
        }
        let decoded = alone(whole);
        assert_eq!(decoded.is_ok(), is_right(kind, &whole[HEADER..]), "{decoded:?}");
        let Ok(frame) = decoded else { return (frames, true) };
        check_meaning(&frame, whole);
        frames.push(frame);
    }
    (frames, false)
}

/// Whether a body of this kind is what the format says.
fn is_right(kind: u8, body: &[u8]) -> bool {
    let fixed = |len: usize| body.get(len..).is_some_and(are_whole);
    match kind {
        kind::HELLO if !body.starts_with(b"LLNK") => false,
        kind::HELLO if body.get(4..6) != Some(&[0, 1]) => body.len() >= 6,
        kind::HELLO => fixed(63) && are_right(body),
        kind::WELCOME if body.len() < 38 => false,
        kind::WELCOME => {
            body[..2] == [0, 1] && body[2..10] != [0; 8] && body[34..38] == [0; 4] && fixed(38)
        }
        kind::REJECT => body.len() >= 10,
        kind::FIN => body.is_empty(),
        kind::ACK => body.len() >= 12,
        kind::PING | kind::PONG => body.len() == 8,
        kind::CLOSE => body.len() >= 9,
        _ => true,
    }
}

/// Whether the options of a hello that are known are right; as a whole they are.
fn are_right(hello: &[u8]) -> bool {
    let numbers = options(hello, 2);
    let is_right = |value: &[u8]| {
        let number = value.get(16..).and_then(|number| number.try_into().ok());
        number.is_some_and(|number| (1..=1 << 62).contains(&u64::from_be_bytes(number)))
    };
    options(hello, 1).len() < 2
        && greeting(hello).len() <= 2048
        && numbers.len() < 2
        && numbers.into_iter().all(is_right)
}

/// The values of the options of that type in a hello.
fn options(hello: &[u8], kind: u8) -> Vec<&[u8]> {
    let mut values = Vec::new();
    let mut options = &hello[63..];
    while let [first, second, high, low, rest @ ..] = options {
        let (value, behind) = rest.split_at(usize::from(*high) << 8 | usize::from(*low));
        values.extend(Some(value).filter(|_| [*first, *second] == [0, kind]));
        options = behind;
    }
    values
}

fn greeting(hello: &[u8]) -> &[u8] {
    options(hello, 1).first().copied().unwrap_or_default()
}

fn are_whole(mut options: &[u8]) -> bool {
    while let [_, _, high, low, rest @ ..] = options {
        let Some(behind) = rest.get(usize::from(*high) << 8 | usize::from(*low)..) else {
            return false;
        };
        options = behind;
    }
    options.is_empty()
}

/// A whole frame on a connection of its own.
fn alone(bytes: &[u8]) -> Result<Frame, Violation> {
    let mut decoder = Decoder::default();
    decoder.allow_data(u32::MAX);
    let mut rest = bytes;
    loop {
        if let Some(frame) = decoder.next()? {
            assert!(rest.is_empty() && decoder.first_byte().is_none(), "it ends early");
            return Ok(frame);
        }
        assert!(!rest.is_empty(), "a whole frame is not seen");
        rest = &rest[decoder.push(rest)..];
    }
}

/// What was understood is said in the same bytes, or means the same.
fn check_meaning(frame: &Frame, bytes: &[u8]) {
    let again = frame.to_bytes();
    if let Frame::Hello(hello) = frame
        && hello.version == VERSION
    {
        let body = &bytes[HEADER..];
        assert_eq!(hello.greeting, greeting(body));
        let numbers = hello
            .numbers
            .map(|numbers| [&numbers.client.0[..], &numbers.first.to_be_bytes()].concat());
        assert!(numbers.iter().eq(options(body, 2)), "{numbers:?}");
    }
    if let Frame::Close(close) = frame {
        check_refusal(close, &bytes[HEADER..]);
    }
    match frame {
        // A text that is not UTF-8 becomes longer, perhaps too long.
        Frame::Reject(_) if again.len() > HEADER + MAX_CONTROL => {}
        Frame::Hello(_)
        | Frame::Welcome(_)
        | Frame::Reject(_)
        | Frame::Ack(_)
        | Frame::Close(_)
        | Frame::GoingAway(_) => {
            assert!(alone(&again).as_ref() == Ok(frame), "{frame:?} is not said again");
        }
        _ => assert!(again == bytes, "{frame:?} is said in other bytes"),
    }
}

/// A refusal is what follows the fixed part of a CLOSE that says so, as far as it fits.
fn check_refusal(close: &Close, body: &[u8]) {
    let refusal = close.code.refusal().map(|refusal| (refusal.code, &refusal.text[..]));
    let [3, ..] = body else { return assert_eq!(refusal, None) };
    let Some((code, text)) = body[9..].split_first_chunk() else {
        return assert_eq!(refusal, None);
    };
    let all = String::from_utf8_lossy(text);
    let mut said = String::new();
    for char in all.chars() {
        if said.len() + char.len_utf8() > 256 {
            break;
        }
        said.push(char);
    }
    assert_eq!(refusal, Some((u32::from_be_bytes(*code), &said[..])));
}
