//! A folder that a service has for itself, and what is carried from and to it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use fastrand::Rng;

/// It is removed in the end. It is where any user may look: not every service runs as we do.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let name = format!("longlink-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o755).create(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).into_os_string().into_string().unwrap()
    }

    /// Writes a file, and returns its path.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.file(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn make(&self, name: &str) -> String {
        let path = self.file(name);
        fs::create_dir_all(&path).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

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
