//! Keys of this side, and those that it trusts, as they stand in files.

#[cfg(all(test, not(shuttle), not(miri)))]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use rustls::pki_types::pem::{SectionKind, SliceIter};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use rustls::sign::CertifiedKey;

use super::files::{Holds, Lines, create, read, refuse};
use super::verify::{PROVIDER, SCHEMES, Trusted, fingerprint};
use crate::error::{Error, Result};
use crate::identity::{Fingerprint, Peer, PeerIdentity};
use crate::sync::{Arc, random};

/// The key of this side, by which its peers know it.
///
/// # Examples
///
/// ```
/// # let folder = std::env::temp_dir().join(format!("longlink-identity-{}", std::process::id()));
/// # std::fs::create_dir(&folder)?;
/// # let path = folder.join("key");
/// use longlink::Identity;
///
/// let made = Identity::create(&path)?;
/// let read = Identity::from_file(&path)?;
/// assert_eq!(read.fingerprint(), made.fingerprint());
/// println!("For the server's peers file: alice {}", read.fingerprint());
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Identity {
    pub(super) key: Arc<CertifiedKey>,
}

impl Identity {
    /// Reads a private key in PEM (PKCS #8 or SEC1): Ed25519, or ECDSA with P-256 or P-384.
    ///
    /// # Errors
    ///
    /// [`Error::Config`], whose text says what to do, if there is no such key in the file, or
    /// if others may read or change it. Its group may read it if root owns it.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Identity> {
        let path = path.as_ref();
        from_pem(&read(path, Holds::Key)?).map_err(|what| refuse(path, what))
    }

    /// Makes a new key (Ed25519), in a new file that only its owner may read.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if the file exists or cannot be written; [`Error::Io`] if the
    /// system gives no randomness.
    pub fn create(path: impl AsRef<Path>) -> Result<Identity> {
        let (identity, pem) = generate()?;
        create(path.as_ref(), &pem)?;
        Ok(identity)
    }

    /// What peers trust.
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.key.cert[0])
    }

    /// Makes a key for a client, which gets it in a file of its own, and trusts it from now
    /// on.
    ///
    /// The new file `invite` is all that the client needs: the key, and the fingerprint of
    /// this side's. Whoever has it is this client. `peers` is the file that this side
    /// [trusts](Trust::peers_file); it is made if there is none, and gets a line more. Who
    /// removes the line revokes the invite.
    ///
    /// # Errors
    ///
    /// [`Error::Config`], whose text says what to do, if the name has other characters than
    /// `A-Z a-z 0-9 . _ -`, the invite exists, or a file is not in order; [`Error::Io`] if the
    /// system gives no randomness.
    ///
    /// # Examples
    ///
    /// ```
    /// # let folder = std::env::temp_dir().join(format!("longlink-invite-{}", std::process::id()));
    /// # std::fs::create_dir(&folder)?;
    /// # let path = |name| folder.join(name);
    /// use longlink::{Identity, Trust};
    ///
    /// let server = Identity::create(path("server.key"))?;
    /// server.invite("alice", path("peers"), path("alice.invite"))?;
    /// let trusts_alice = Trust::peers_file(path("peers"))?;
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn invite(
        &self,
        name: &str,
        peers: impl AsRef<Path>,
        invite: impl AsRef<Path>,
    ) -> Result<()> {
        let (peers, invite) = (peers.as_ref(), invite.as_ref());
        check_name(name).map_err(|what| Error::Config(what.into()))?;
        let lines = Lines::open(peers, Holds::Peers)?;
        parse_peers(&lines.text).map_err(|what| refuse(peers, what))?;
        let (client, pem) = generate()?;
        let server = self.fingerprint();
        create(
            invite,
            &format!("# {name}'s: whoever has this is {name}.\nserver {server}\n{pem}"),
        )?;
        lines.add(&format!("{name} {}", client.fingerprint())).inspect_err(|_| {
            // It would let nobody in.
            let _ = std::fs::remove_file(invite);
        })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.fingerprint()).finish()
    }
}

/// The keys that this side trusts, and whose they are.
///
/// # Examples
///
/// ```
/// use longlink::Trust;
///
/// let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// let server = Trust::fingerprint(text.parse()?);
/// # Ok::<(), longlink::ParseFingerprintError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Trust {
    pub(super) keys: Arc<Trusted>,
}

impl Trust {
    /// Reads lines of a name and a [`Fingerprint`], with a space in between. Two keys
    /// may have one name: they are one [identity](PeerIdentity::Named). A line that begins
    /// with `#` says nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Config`], whose text says what to do, if a line is not understood or a key
    /// comes twice, or if others may change the file.
    pub fn peers_file(path: impl AsRef<Path>) -> Result<Trust> {
        let path = path.as_ref();
        let keys = parse_peers(&read(path, Holds::Peers)?).map_err(|what| refuse(path, what))?;
        Ok(Trust { keys: Arc::new(keys) })
    }

    /// Trusts one key.
    pub fn fingerprint(fingerprint: Fingerprint) -> Trust {
        let peer = Arc::new(Peer::by_key(PeerIdentity::Key(fingerprint), fingerprint));
        Trust { keys: Arc::new([(fingerprint, peer)].into()) }
    }

    /// Trusts the keys of both.
    #[must_use]
    pub fn or(self, other: Trust) -> Trust {
        let mut keys = Trusted::clone(&self.keys);
        keys.extend(other.keys.iter().map(|(key, peer)| (*key, peer.clone())));
        Trust { keys: Arc::new(keys) }
    }
}

/// What [`Identity::invite`] has made.
pub(super) fn read_invite(path: &Path) -> Result<(Identity, Trust)> {
    let text = read(path, Holds::Key)?;
    let servers = parse_servers(&text).map_err(|what| refuse(path, what))?;
    Ok((from_pem(&text).map_err(|what| refuse(path, what))?, servers))
}

/// The lines in front of an invite's key.
fn parse_servers(text: &str) -> Result<Trust, String> {
    let mut servers: Option<Trust> = None;
    for (number, line) in lines(text).take_while(|(_, line)| !line.starts_with(BEGIN)) {
        // It may be a part of the key: it is not shown.
        let words: Vec<&str> = line.split_whitespace().collect();
        let fingerprint = match words[..] {
            ["server", fingerprint] => fingerprint.parse().ok(),
            _ => None,
        };
        let server = fingerprint.map(Trust::fingerprint);
        let server = server.ok_or_else(|| format!("line {number} is not understood"))?;
        servers = Some(match servers {
            None => server,
            Some(others) => others.or(server),
        });
    }
    servers.ok_or_else(|| "it is no invite: it does not say which server to trust".into())
}

fn parse_peers(text: &str) -> Result<Trusted, String> {
    let mut peers = Trusted::new();
    let mut places = HashMap::new();
    for (number, line) in lines(text) {
        let [name, key] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(format!("line {number} is not a name and a fingerprint"));
        };
        check_name(name).map_err(|what| format!("line {number}: {what}"))?;
        let key: Fingerprint = key.parse().map_err(|e| format!("line {number}: {e}"))?;
        if let Some(first) = places.insert(key, number) {
            return Err(format!("line {number} has the key of line {first}; remove one of them"));
        }
        peers.insert(key, Arc::new(Peer::by_key(PeerIdentity::Named(name.into()), key)));
    }
    Ok(peers)
}

/// Those that say something, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match !name.is_empty() && name.bytes().all(fits) {
        true => Ok(()),
        false => Err("a name consists of A-Z a-z 0-9 . _ -"),
    }
}

const BEGIN: &str = "-----BEGIN ";

const UNSUPPORTED: &str = "the key is damaged, or of a kind that is not supported; Ed25519 is, \
    and ECDSA with P-256 or P-384";

/// The only private key in a text.
fn from_pem(text: &str) -> Result<Identity, &'static str> {
    let mut keys: Vec<PrivateKeyDer<'static>> = Vec::new();
    for section in SliceIter::<(SectionKind, Vec<u8>)>::new(text.as_bytes()) {
        match section {
            Ok((SectionKind::PrivateKey, der)) => keys.push(PrivatePkcs8KeyDer::from(der).into()),
            Ok((SectionKind::EcPrivateKey, der)) => keys.push(PrivateSec1KeyDer::from(der).into()),
            Ok((SectionKind::RsaPrivateKey, _)) => return Err(UNSUPPORTED),
            Ok(_) => {}
            Err(_) if text.contains("ENCRYPTED") => return Err(ENCRYPTED),
            // The error may have a part of the key in it.
            Err(_) => return Err("the key is damaged"),
        }
    }
    match keys.pop() {
        Some(key) if keys.is_empty() => from_der(key),
        Some(_) => Err("there is more than one private key in it"),
        None if text.contains("ENCRYPTED") => Err(ENCRYPTED),
        None if text.trim().is_empty() => Err("it is empty"),
        None => Err("there is no private key in it, as PEM (PKCS #8 or SEC1)"),
    }
}

const ENCRYPTED: &str =
    "the key is encrypted; decrypt it with: openssl pkey -in ENCRYPTED -out DECRYPTED";

fn from_der(key: PrivateKeyDer<'static>) -> Result<Identity, &'static str> {
    let key = PROVIDER.key_provider.load_private_key(key).map_err(|_| UNSUPPORTED)?;
    if key.choose_scheme(&SCHEMES).is_none() {
        return Err(UNSUPPORTED);
    }
    let public = key.public_key().ok_or(UNSUPPORTED)?.to_vec();
    Ok(Identity { key: Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], key)) })
}

/// Of Ed25519: 32 bytes of randomness, and in front of them what says so in PKCS #8
/// (RFC 8410, 7).
fn generate() -> Result<(Identity, String)> {
    let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    der.extend(random::<32>().map_err(|e| Error::Io(Arc::new(e)))?);
    let pem = format!("{BEGIN}PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", base64(&der));
    let identity = from_der(PrivatePkcs8KeyDer::from(der).into());
    Ok((identity.map_err(|what| Error::Config(what.into()))?, pem))
}

/// Of a number of bytes that is a multiple of 3.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |three: &[u8]| {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63]))
    };
    bytes.chunks_exact(3).flat_map(digits).collect()
}
