//! What a fuzzer calls: a link of [TLS](super::tls::fuzzing), and all that reads the files of which
//! a security is made.

use std::collections::HashMap;
use std::fmt::Debug;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::certificate::{Certificate, is_identity};
use super::chain;
use super::keys::parse_servers;
use super::pem::{certificates, private_key};
use super::trust::{parse_authorities, parse_names, parse_peers};
use super::verify::Trusted;
use super::{Identity, Security, Trust};
use crate::error::{Error, Result};
use crate::identity::{Fingerprint, Peer, PeerIdentity};
use crate::sync::Arc;

pub(crate) use super::tls::fuzzing::run as tls;

/// The bytes as each kind of file, and as a certificate that a peer shows.
pub(crate) fn files(bytes: &[u8]) {
    if let Some(read) = Certificate::read(bytes) {
        check_identity(&read);
    }
    if let Ok(text) = str::from_utf8(bytes) {
        parse(text);
    }
    let path = New::file(bytes);
    let path = &path.0;
    let mut shown = Vec::new();
    if let Some(identity) = read(Identity::from_file(path), path) {
        shown.push(identity.fingerprint());
        let security = Security::keys(identity.clone(), Trust::fingerprint(identity.fingerprint()));
        assert_eq!(security.fingerprint(), Some(identity.fingerprint()));
        check_words(&identity, path, &shown);
        check_words(&security, path, &shown);
    }
    if let Some(invite) = read(Security::invite(path), path) {
        assert_eq!(invite.fingerprint(), shown.first().copied(), "another key than in the file");
        check_words(&invite, path, &shown);
    }
    let authorities = read(Trust::ca_file(path), path);
    let clients = read(Trust::fingerprint(Fingerprint([7; 32])).client_names(path), path);
    for trust in authorities.iter().chain(&clients) {
        check_words(trust, path, &[Fingerprint([7; 32])]);
    }
    let chain = match authorities {
        Some(trust) => Security::certificates(path, path, trust),
        None => Security::open_server(path, path),
    };
    if let Some(security) = read(chain, path) {
        check_words(&security, path, security.fingerprint().as_slice());
    }
    if let Some(trust) = read(Trust::peers_file(path), path) {
        check_words(&trust, path, &[]);
        invite(path);
    }
}

/// What is accepted can be written, and is the same then.
fn parse(text: &str) {
    if let Ok(peers) = parse_peers(text) {
        let line = |(key, peer): (&Fingerprint, &Arc<Peer>)| match &peer.identity {
            PeerIdentity::Named(name) => format!("{name} {key}\n"),
            other => panic!("{other:?}"),
        };
        let written: String = peers.iter().map(line).collect();
        assert!(written.len() <= text.len() + 1, "more than there is");
        assert_eq!(names(&parse_peers(&written).unwrap()), names(&peers));
    }
    if let Ok(names) = parse_names(text) {
        assert!(names.iter().all(|name| is_identity(name)));
        let written = Vec::from_iter(names.iter().cloned()).join("\n");
        assert!(written.len() <= text.len(), "more than there is");
        assert_eq!(parse_names(&written).as_ref(), Ok(&names));
    }
    if let Ok(found) = certificates(text) {
        assert!(found.iter().map(|der| der.len()).sum::<usize>() <= text.len());
        found
            .iter()
            .filter_map(|der| Certificate::read(der))
            .for_each(|read| check_identity(&read));
    }
    if let Ok((chain, leaf)) = chain::parse(text) {
        assert!(!leaf.is_ca && chain.iter().map(|der| der.len()).sum::<usize>() <= 12 * 1024);
    }
    if let Ok(roots) = parse_authorities(text) {
        assert!((1..=text.len()).contains(&roots.len()));
    }
    if let Ok(key) = private_key(text) {
        assert!(key.secret_der().len() <= text.len());
    }
    let _ = parse_servers(text).map_err(|what| check_text(&what, &[]));
}

/// Whom a certificate is for can be printed, whatever stands there.
fn check_identity(read: &Certificate) {
    match read.identity() {
        Ok(name) => assert!(is_identity(&name), "{name}"),
        Err(what) => {
            assert!(what.len() < 2000 && !what.contains(char::is_control), "{what}");
        }
    }
}

/// A line more, and an invite that fits it.
fn invite(peers: &Path) {
    static SERVER: LazyLock<Identity> = LazyLock::new(|| {
        let key = New::file(include_bytes!("keys/ed25519.pem"));
        Identity::from_file(&key.0).unwrap()
    });
    let before = parse_peers(&fs::read_to_string(peers).unwrap()).unwrap();
    if before.is_empty() {
        // It takes a while.
        return;
    }
    let invite = New::path();
    SERVER.invite("new", peers, &invite.0).unwrap();
    let new = Security::invite(&invite.0).unwrap().fingerprint().unwrap();
    let mut after = names(&parse_peers(&fs::read_to_string(peers).unwrap()).unwrap());
    assert_eq!(after.remove(&new), Some(PeerIdentity::Named("new".into())));
    assert_eq!(after, names(&before));
}

fn names(peers: &Trusted) -> HashMap<Fingerprint, PeerIdentity> {
    peers.iter().map(|(key, peer)| (*key, peer.identity.clone())).collect()
}

/// What was read. An error names the file, says what is wrong, and nothing of what is in it.
fn read<T>(result: Result<T>, path: &Path) -> Option<T> {
    match result {
        Ok(read) => Some(read),
        Err(Error::Config(text)) => {
            assert!(text.starts_with(&path.display().to_string()), "{text}");
            check_text(&text.replace(&path.display().to_string(), ""), &[]);
            None
        }
        Err(other) => panic!("{other:?}"),
    }
}

fn check_words(said: &impl Debug, path: &Path, shown: &[Fingerprint]) {
    check_text(&format!("{said:?}").replace(&path.display().to_string(), ""), shown);
}

/// Each of its long words is one of ours, or one of these fingerprints. Bytes of a key would be
/// words that are not, or many numbers.
fn check_text(said: &str, shown: &[Fingerprint]) {
    const OURS: [&str; 9] = [
        include_str!("../identity.rs"),
        include_str!("certified.rs"),
        include_str!("chain.rs"),
        include_str!("config.rs"),
        include_str!("from_files.rs"),
        include_str!("files.rs"),
        include_str!("keys.rs"),
        include_str!("pem.rs"),
        include_str!("trust.rs"),
    ];
    let shown: String = shown.iter().map(Fingerprint::to_string).collect();
    let is_of_word = |c: char| c.is_alphanumeric() || "+/=".contains(c);
    let words = said.split(|c: char| !is_of_word(c));
    let (numbers, words): (Vec<_>, Vec<_>) = words
        .filter(|word| !word.is_empty())
        .partition(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
    assert!(numbers.len() < 6, "{said}");
    for word in words.into_iter().filter(|word| word.len() >= 6) {
        let is_ours = OURS.iter().any(|ours| ours.contains(word)) || shown.contains(word);
        assert!(is_ours, "{word:?} in: {said}");
    }
}

/// The path of a file that is nobody else's, and goes with this.
struct New(PathBuf);

impl New {
    fn path() -> New {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("longlink-fuzz-{}-{number}", std::process::id());
        New(std::env::temp_dir().join(name))
    }

    /// One that only its owner may read.
    fn file(bytes: &[u8]) -> New {
        let new = New::path();
        let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new.0);
        open.and_then(|mut file| file.write_all(bytes)).unwrap();
        new
    }
}

impl Drop for New {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
