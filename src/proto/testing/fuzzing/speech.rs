//! What a peer may say that keeps to no rules, or to some.

use std::time::Duration;

use bytes::Bytes;

use crate::proto::away::GoingAway;
use crate::proto::close::{Close, CloseCode, Refusal};
use crate::proto::frame::{Ack, Frame, kind, put_header};
use crate::proto::handshake::{Hello, Limits, MAX_GREETING, Token, VERSION, Welcome};
use crate::proto::numbers::{ClientId, Numbers};
use crate::proto::reject::{Class, Reject};
use crate::proto::testing::choices::Choices;
use crate::proto::testing::longer;

/// The numbers that a peer can be right with, so that it comes far, and wrong by one.
#[derive(Debug, Default)]
pub(super) struct Truths {
    /// Of the next hello.
    pub(super) attempt: u64,
    pub(super) epoch: u64,
    /// All that was sent to the peer.
    pub(super) received: u64,
    /// What the client is called, and a number.
    pub(super) numbers: Option<Numbers>,
    pub(super) others: Vec<u64>,
}

/// Says something: a frame, well-formed or not, or mere bytes.
pub(super) fn say(choices: &mut Choices, truths: &Truths, out: &mut Vec<u8>) {
    let frame = match choices.u8(..32) {
        0..10 => {
            let len = choices.usize(..64);
            Frame::data(choices.take(len))
        }
        10..13 => {
            // A large one in few bytes.
            let (len, byte) = (near(choices, truths).min(21_000), choices.u8(..));
            Frame::data(vec![byte; len as usize].into())
        }
        13..19 => {
            let consumed = nearly(truths.received, choices, truths);
            Frame::Ack(Ack { consumed, window: window(choices) })
        }
        19 => Frame::Fin,
        20 => Frame::Ping(choices.u64(..=0xFF)),
        21 => Frame::GoingAway(going_away(choices)),
        22 | 23 => Frame::Pong(choices.u64(..4)),
        24 => Frame::Close(close(choices, truths)),
        25 => Frame::Hello(hello(choices, truths)),
        26 => Frame::Welcome(welcome(choices, truths)),
        27 => {
            let (code, len) = (choices.u8(..), choices.usize(..32));
            let text = String::from_utf8_lossy(&choices.take(len)).into_owned();
            Frame::Reject(Reject::new(code, Class::from_wire(code % 5), text))
        }
        28 => {
            put_header(out, kind(choices), near(choices, truths) as u32 as usize);
            return;
        }
        29 => {
            let (kind, len) = (kind(choices), choices.usize(..80));
            put_header(out, kind, len);
            return out.extend(choices.take(len));
        }
        30 if choices.bool() => {
            let (kind, len) = (choices.u8(0x80..0xC0), choices.usize(..80));
            put_header(out, kind, len);
            return out.extend(choices.take(len));
        }
        30 => {
            let frame = match choices.u8(..8) {
                0..2 => Frame::Hello(hello(choices, truths)),
                2..4 => Frame::Welcome(welcome(choices, truths)),
                4 | 5 => Frame::Ack(Ack { consumed: truths.received, window: window(choices) }),
                6 => Frame::Close(close(choices, truths)),
                _ => Frame::Ping(1),
            };
            return out.extend(longer(&frame.to_bytes(), &options(choices)));
        }
        _ => {
            let len = choices.usize(..80);
            return out.extend(choices.take(len));
        }
    };
    frame.encode(out);
}

/// A list of options, or what is almost one.
fn options(choices: &mut Choices) -> Vec<u8> {
    let mut options = Vec::new();
    for _ in 0..choices.usize(..4) {
        let (kind, len) = (choices.u8(..4), choices.u8(..8));
        if kind == 3 && len == 7 {
            // A greeting of almost any length, in few bytes.
            let len = MAX_GREETING - 8 + choices.usize(..16);
            options.extend([0, 1, (len >> 8) as u8, len as u8]);
            options.extend(vec![choices.u8(..); len]);
            continue;
        }
        if kind == 2 && len > 3 {
            // Numbers that may be right.
            options.extend([0, 2, 0, 24]);
            options.extend([choices.u8(..); 16]);
            let number = Numbers::MAX_FIRST.wrapping_add(choices.u64(..4).wrapping_sub(2));
            let number = if choices.bool() { number } else { choices.u64(..4) };
            options.extend(number.to_be_bytes());
            continue;
        }
        options.extend([0, kind, 0, len]);
        options.extend(choices.take(len.into()));
    }
    options.truncate(options.len() - choices.usize(..3).min(options.len()));
    options
}

pub(super) fn hello(choices: &mut Choices, truths: &Truths) -> Hello {
    Hello {
        version: if choices.u8(..16) == 15 { choices.u32(..0x1_0000) as u16 } else { VERSION },
        token: Token([7; 16]),
        attempt: nearly(truths.attempt, choices, truths),
        epoch: nearly(truths.epoch, choices, truths),
        received: nearly(truths.received, choices, truths),
        limits: limits(choices),
        interval: interval(choices),
        resume_only: choices.bool(),
        greeting: Bytes::new(),
        numbers: numbers(choices, truths),
    }
}

/// As any that were decoded.
fn numbers(choices: &mut Choices, truths: &Truths) -> Option<Numbers> {
    let right = truths.numbers;
    let client = match choices.u8(..8) {
        0 => return None,
        1 => ClientId([choices.u8(..); 16]),
        _ => right?.client,
    };
    let first = nearly(right.map_or(1, |right| right.first), choices, truths);
    Some(Numbers { client, first: first.clamp(1, Numbers::MAX_FIRST) })
}

/// Of an epoch that is not 0, as any that was decoded.
pub(super) fn welcome(choices: &mut Choices, truths: &Truths) -> Welcome {
    Welcome {
        epoch: nearly(truths.epoch, choices, truths).max(1),
        received: nearly(truths.received, choices, truths),
        limits: limits(choices),
        interval: interval(choices),
        resume_within: Duration::ZERO,
    }
}

/// For seconds, or for ever.
pub(super) fn going_away(choices: &mut Choices) -> GoingAway {
    let time = |byte: u8| match byte {
        0xFF => Duration::from_millis(u32::MAX.into()),
        byte => Duration::from_millis(10) * u32::from(byte),
    };
    let byte = choices.u8(..);
    GoingAway::new(time(byte), time(byte.rotate_left(4)))
}

pub(super) fn close(choices: &mut Choices, truths: &Truths) -> Close {
    let code = match choices.u8(..4) {
        0 => CloseCode::Done,
        1 => CloseCode::Closed,
        2 => CloseCode::Aborted,
        _ => {
            let (code, len) = (choices.u8(..), choices.usize(..16));
            let text = String::from_utf8_lossy(&choices.take(len)).into_owned();
            CloseCode::Refused(Refusal::new(code.into(), &text))
        }
    };
    Close { code, consumed: nearly(truths.received, choices, truths) }
}

fn nearly(right: u64, choices: &mut Choices, truths: &Truths) -> u64 {
    match choices.u8(..4) {
        3 => near(choices, truths),
        _ => right,
    }
}

/// A truth of any kind, a neighbour, or any number at all.
fn near(choices: &mut Choices, truths: &Truths) -> u64 {
    let truth = match &truths.others[..] {
        [] => 0,
        others => others[choices.usize(..others.len())],
    };
    match choices.u8(..8) {
        0..3 => truth,
        3 => truth.wrapping_add(1),
        4 => truth.wrapping_sub(1),
        5 => choices.u64(..=0xFF),
        6 => choices.u64(..=0xFFFF),
        _ => choices.u64(..),
    }
}

fn kind(choices: &mut Choices) -> u8 {
    match choices.u8(..12) {
        0 => kind::HELLO,
        1 => choices.u8(..),
        kind => kind - 1,
    }
}

fn limits(choices: &mut Choices) -> Limits {
    let max_message = [u32::MAX, 100, 1, 0][choices.usize(..4)];
    Limits { window: window(choices), max_message }
}

fn window(choices: &mut Choices) -> u32 {
    match choices.u8(..6) {
        0..3 => u32::MAX,
        3 => choices.u32(..=0xFFFF),
        4 => choices.u32(..=0xFF),
        _ => 0,
    }
}

fn interval(choices: &mut Choices) -> Option<Duration> {
    let millis = [0, 1, 1000, u32::MAX][choices.usize(..4)];
    (millis > 0).then(|| Duration::from_millis(millis.into()))
}
