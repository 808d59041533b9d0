//! What is carried from and to a service.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;

/// How much each transfer carries, in bytes.
pub(crate) fn bulk() -> usize {
    let megabytes = match std::env::var("LONGLINK_SERVICES_MB") {
        Ok(number) => number.parse().expect("LONGLINK_SERVICES_MB is a number"),
        Err(_) => 20,
    };
    megabytes * 1_000_000
}

/// Bytes that no compression makes fewer, the same ones each time.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// Everything below a folder; no bytes: a folder.
pub(crate) fn tree(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let bytes = kind.is_file().then(|| fs::read(&path).unwrap());
            found.insert(path.strip_prefix(folder).unwrap().to_path_buf(), bytes);
            if kind.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}
