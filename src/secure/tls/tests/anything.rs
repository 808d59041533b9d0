//! Whatever comes, nothing panics, and nothing is heard that was not sealed.

use fastrand::Rng;
use rustls::ContentType;

use super::forger::{Forger, KEY_UPDATE, ticket};
use super::*;

const SEEDS: u64 = 300;

/// Bytes that may look like records.
fn junk(rng: &mut Rng) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..rng.usize(..200)).map(|_| rng.u8(..)).collect();
    if rng.bool() {
        let header = [rng.u8(18..26), 3, rng.u8(..5), 0, rng.u8(..)];
        bytes.splice(0..0, header);
    }
    bytes
}

/// What a peer that was let in may seal.
fn forged(forger: &mut Forger, rng: &mut Rng) -> Vec<u8> {
    let messages = [vec![KEY_UPDATE, 0, 0, 1, rng.u8(..3)], ticket(), junk(rng)];
    let mut message = messages[rng.usize(..messages.len())].clone();
    if rng.u8(..4) == 0 {
        message.truncate(rng.usize(..=message.len()));
    }
    match rng.u8(..8) {
        0 => forger.update_keys(rng.bool()),
        1 => forger.forge(ContentType::Alert, &[rng.u8(..3), rng.u8(..120)]),
        2 => forger.forge(ContentType::from(rng.u8(..)), &message),
        3 => forger.forge(ContentType::ApplicationData, b""),
        4 | 5 => forger.forge(ContentType::Handshake, &message),
        _ => forger.forge(ContentType::ApplicationData, b"data"),
    }
}

/// Hears it in any pieces, and writes at any time, until it has said that it ends.
fn feed(side: &mut Side, bytes: &[u8], says_end: &mut bool, rng: &mut Rng) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rng.usize(1..=rest.len()));
        side.hear(piece);
        rest = behind;
        let said = match rng.u8(..6) {
            _ if *says_end => Ok(()),
            0 => {
                *says_end = side.is_well();
                side.tls.end(&mut side.control)
            }
            1..4 => side.tls.seal(b"data", &mut side.control),
            _ => Ok(()),
        };
        assert!(said.is_ok() || !side.is_well());
    }
}

#[test]
fn a_peer_that_was_let_in_seals_what_it_likes() {
    let mut broken = 0;
    for seed in 0..SEEDS {
        let mut rng = Rng::with_seed(seed);
        let (mut forger, mut side) = if rng.bool() { Forger::client() } else { Forger::server() };
        let mut says_end = false;
        for _ in 0..rng.u8(1..=20) {
            let bytes = forged(&mut forger, &mut rng);
            feed(&mut side, &bytes, &mut says_end, &mut rng);
        }
        let heard = side.heard();
        assert!(heard.chunks(4).all(|word| word == b"data") || side.failure.is_some(), "{heard:?}");
        broken += u32::from(side.failure.is_some());
    }
    // Some got to the end of it, some did not.
    assert!((1..SEEDS as u32).contains(&broken), "{broken} of {SEEDS}");
}

#[test]
fn somebody_on_the_path_says_what_he_likes() {
    for seed in 0..SEEDS {
        let mut rng = Rng::with_seed(seed);
        let (client, server) = if rng.bool() { friends() } else { pair() };
        let mut side = if rng.bool() { client } else { server };
        let mut says_end = false;
        for _ in 0..4 {
            let bytes = junk(&mut rng);
            feed(&mut side, &bytes, &mut says_end, &mut rng);
        }
        assert_eq!(side.heard(), b"");
        assert!(!side.ended);
    }
}
