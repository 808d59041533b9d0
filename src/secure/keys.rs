//! Keys of this side, and invites, as they stand in files.

#[cfg(all(test, not(shuttle), not(miri)))]
mod tests;

use std::fmt;
use std::path::Path;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::files::{Holds, Lines, create, read, refuse};
use super::pem::private_key;
use super::trust::{Trust, check_name, lines, parse_peers};
use super::verify::{PROVIDER, SCHEMES, fingerprint};
use crate::error::{Error, Result};
use crate::identity::Fingerprint;
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
    /// Where it is read again.
    pub(super) path: Arc<Path>,
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
        let key = private_key(&read(path, Holds::Key)?).and_then(from_der);
        Ok(Identity { key: key.map_err(|what| refuse(path, what))?, path: path.into() })
    }

    /// Makes a new key (Ed25519), in a new file that only its owner may read.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if the file exists or cannot be written; [`Error::Io`] if the
    /// system gives no randomness.
    pub fn create(path: impl AsRef<Path>) -> Result<Identity> {
        let (key, pem) = generate()?;
        create(path.as_ref(), &pem)?;
        Ok(Identity { key, path: path.as_ref().into() })
    }

    /// Reads the file again.
    pub(super) fn again(&self) -> Result<Identity> {
        Identity::from_file(&self.path)
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
        lines.add(&format!("{name} {}", fingerprint(&client.cert[0]))).inspect_err(|_| {
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

/// What [`Identity::invite`] has made.
pub(super) fn read_invite(path: &Path) -> Result<(Identity, Trust)> {
    let text = read(path, Holds::Key)?;
    let servers = parse_servers(&text).map_err(|what| refuse(path, what))?;
    let key = private_key(&text).and_then(from_der);
    let key = key.map_err(|what| refuse(path, what))?;
    Ok((Identity { key, path: path.into() }, servers))
}

/// The lines in front of an invite's key.
pub(super) fn parse_servers(text: &str) -> Result<Trust, String> {
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

const BEGIN: &str = "-----BEGIN ";

const UNSUPPORTED: &str = "the key is damaged, or of a kind that is not supported; Ed25519 is, \
    and ECDSA with P-256 or P-384";

fn from_der(key: PrivateKeyDer<'static>) -> Result<Arc<CertifiedKey>, &'static str> {
    let key = PROVIDER.key_provider.load_private_key(key).map_err(|_| UNSUPPORTED)?;
    if key.choose_scheme(&SCHEMES).is_none() {
        return Err(UNSUPPORTED);
    }
    let public = key.public_key().ok_or(UNSUPPORTED)?.to_vec();
    Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], key)))
}

/// Of Ed25519: 32 bytes of randomness, and in front of them what says so in PKCS #8
/// (RFC 8410, 7).
fn generate() -> Result<(Arc<CertifiedKey>, String)> {
    let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    der.extend(random::<32>().map_err(|e| Error::Io(Arc::new(e)))?);
    let pem = format!("{BEGIN}PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", base64(&der));
    let key = from_der(PrivatePkcs8KeyDer::from(der).into());
    Ok((key.map_err(|what| Error::Config(what.into()))?, pem))
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
