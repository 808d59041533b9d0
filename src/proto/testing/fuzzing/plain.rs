//! Lines and heartbeats in any pieces, beside a naive reading of the whole.

use crate::proto::handshake::Limits;
use crate::proto::plain::{Found, Incoming, MARK};
use crate::proto::testing::choices::Choices;

const MOST: usize = 300;

pub(super) fn run(bytes: &[u8]) {
    let mut choices = Choices::of(bytes);
    let pieces: [usize; 3] = std::array::from_fn(|_| choices.usize(1..=20));
    // The first line is not telnet's: what comes is what was sent.
    let mut stream = b"x\n".to_vec();
    while !choices.are_over() && stream.len() < 10_000 {
        match choices.u8(..8) {
            0 | 1 => stream.extend_from_slice(MARK),
            2 => stream.extend_from_slice(&MARK[..choices.usize(..MARK.len())]),
            3 => stream.push(b'\n'),
            4 => stream.push(b'\r'),
            5 => stream.extend(vec![b'y'; choices.usize(..=MOST)]),
            _ => stream.extend_from_slice(&choices.take(4)),
        }
    }
    let expected = naive(&stream);
    assert!(in_pieces(&stream, &pieces) == expected, "in {pieces:?}: {}", stream.escape_ascii());
}

/// Lines, and how many heartbeats stood before each and at the end; `None` when
/// one is too long.
type Reading = Option<Vec<(usize, Vec<u8>)>>;

/// What is made of a stream in pieces of these sizes, in turn.
pub(in crate::proto) fn in_pieces(mut stream: &[u8], pieces: &[usize]) -> Reading {
    let limits = Limits { window: 1 << 20, max_message: MOST as u32 };
    let mut incoming = Incoming::new(true);
    let (mut before, mut heartbeats) = (Vec::new(), 0);
    let mut note = |found| match found {
        Found::Line => before.push(std::mem::take(&mut heartbeats)),
        Found::Heartbeat => heartbeats += 1,
    };
    let mut pieces = pieces.iter().cycle();
    while !stream.is_empty() {
        let len = (*pieces.next().expect("a cycle")).min(stream.len());
        let mut piece;
        (piece, stream) = stream.split_at(len);
        while let Some(found) = incoming.push(&mut piece, limits).ok()? {
            note(found);
        }
    }
    incoming.end(limits).ok()?.into_iter().for_each(note);
    let lines = std::iter::from_fn(|| incoming.take()).map(|line| line.to_vec());
    let mut reading: Vec<_> = before.into_iter().zip(lines).collect();
    assert!(incoming.take().is_none(), "a line that was not found");
    reading.push((heartbeats, Vec::new()));
    Some(reading)
}

pub(in crate::proto) fn naive(mut stream: &[u8]) -> Reading {
    let (mut reading, mut heartbeats) = (Vec::new(), 0);
    while !stream.is_empty() {
        if let Some(rest) = stream.strip_prefix(MARK)
            && !rest.starts_with(b"\n")
            && !rest.starts_with(b"\r\n")
            && rest != b"\r"
        {
            heartbeats += 1;
            stream = rest;
            continue;
        }
        let newline = stream.iter().position(|&byte| byte == b'\n');
        let (line, rest) = stream.split_at(newline.map_or(stream.len(), |at| at + 1));
        if line.len() > MOST {
            return None;
        }
        reading.push((std::mem::take(&mut heartbeats), line.to_vec()));
        stream = rest;
    }
    reading.push((heartbeats, Vec::new()));
    Some(reading)
}
