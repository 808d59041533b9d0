//! The fuzz targets without a fuzzer.

use std::panic::catch_unwind;

use super::*;
use crate::proto::choices::rounds;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 4] =
    [("frame", frame), ("handshake", handshake), ("peer", peer), ("session", session)];

#[test]
fn random_bytes_pass() {
    for (name, target) in TARGETS {
        for seed in 0..rounds(500) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let len = rng.usize(..if cfg!(miri) { 200 } else { 1000 });
            let bytes = Vec::from_iter(std::iter::repeat_with(|| rng.u8(..)).take(len));
            assert!(catch_unwind(|| target(&bytes)).is_ok(), "{name}, seed {seed}");
        }
    }
}
