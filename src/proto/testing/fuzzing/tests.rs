//! The fuzz targets without a fuzzer.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use super::*;
use crate::proto::testing::rounds;

type Target = (&'static str, fn(&[u8]));

const TARGETS: &[Target] = &[
    #[cfg(all(feature = "tls", not(shuttle), not(miri)))]
    ("files", files),
    ("frame", frame),
    ("handshake", handshake),
    ("opener", opener),
    ("peer", peer),
    ("plain", plain),
    ("session", session),
    #[cfg(all(feature = "tls", not(shuttle), not(miri)))]
    ("tls", tls),
];

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

/// The inputs that `cargo fuzz` starts from, and those that once failed.
#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn seeds_pass() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    if !seeds.exists() {
        // The published package is without them.
        return;
    }
    for (name, target) in TARGETS {
        let seeds: Vec<_> = fs::read_dir(seeds.join(name)).unwrap().collect();
        assert!(seeds.len() > 10, "{name} has {} seeds", seeds.len());
        for seed in seeds {
            let path = seed.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            assert!(catch_unwind(|| target(&bytes)).is_ok(), "{}", path.display());
        }
    }
}
