//! Whom this side trusts: peers by their keys, or those who sign certificates.

#[cfg(all(test, not(shuttle), not(miri)))]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;

use super::certificate::{Certificate, is_identity};
use super::files::{Holds, displayed, read, refuse};
use super::pem::{certificates, damaged};
use super::verify::Trusted;
use crate::error::Result;
use crate::identity::{Fingerprint, Peer, PeerIdentity};
use crate::sync::Arc;
use crate::words::count;

/// Whom this side trusts: peers by their keys, or those who sign certificates.
///
/// Keys go with [`Security::keys`](crate::Security::keys), the others with
/// [`Security::certificates`](crate::Security::certificates).
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
#[derive(Clone)]
pub struct Trust {
    parts: Vec<Part>,
}

/// What was read, and where.
#[derive(Clone)]
enum Part {
    Key(Fingerprint),
    Peers(PathBuf, Arc<Trusted>),
    Authorities(PathBuf, Arc<RootCertStore>),
    #[cfg(feature = "system-roots")]
    SystemRoots(Arc<RootCertStore>),
    Names(PathBuf, Arc<Names>),
}

/// Of certificates.
pub(super) type Names = HashSet<String>;

impl Trust {
    /// Reads lines of a name and a [`Fingerprint`], with a space in between. Two keys
    /// may have one name: they are one [identity](PeerIdentity::Named). A line that begins
    /// with `#` says nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config), whose text says what to do, if a line is not
    /// understood or a key comes twice, or if others may change the file.
    pub fn peers_file(path: impl AsRef<Path>) -> Result<Trust> {
        Part::peers(path.as_ref()).map(Trust::from)
    }

    /// Trusts one key.
    pub fn fingerprint(fingerprint: Fingerprint) -> Trust {
        Part::Key(fingerprint).into()
    }

    /// Trusts whom one of these authorities (CAs) certifies: reads their certificates, in PEM.
    ///
    /// A server whose certificate one of them has signed is trusted by the name that it was
    /// dialed by. A client is trusted whoever it is, unless
    /// [`client_names`](Trust::client_names) says more: so for clients this is an authority
    /// that certifies nobody else. An authority is trusted as long as it is in the file, although
    /// its own certificate expires.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config), whose text says what to do, if there is no
    /// certificate in the file, or one that is damaged or not an authority's, or if others may
    /// change the file.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use longlink::Trust;
    ///
    /// let ours = Trust::ca_file("ca.pem")?.client_names("clients")?;
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn ca_file(path: impl AsRef<Path>) -> Result<Trust> {
        Part::authorities(path.as_ref()).map(Trust::from)
    }

    /// Trusts whom the authorities certify that this system trusts: those of the web.
    ///
    /// They certify that a server has its name, and that is all; so this is for a client only.
    /// They are read from where OpenSSL looks for them (`SSL_CERT_FILE` and `SSL_CERT_DIR`
    /// say another place), and not again.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) if there are none.
    #[cfg(feature = "system-roots")]
    pub fn system_roots() -> Result<Trust> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(found.certs);
        if usable == 0 {
            let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            let text = format!("the system has no certificates of authorities{why}");
            return Err(crate::Error::Config(text));
        }
        Ok(Part::SystemRoots(Arc::new(roots)).into())
    }

    /// Of the clients that an authority certifies, lets in those alone whose certificate is for
    /// a name in this file. It has a name on a line, a DNS name or a URI; a line that begins
    /// with `#` says nothing. Servers are trusted as without it.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config), whose text says what to do, if a line is not
    /// understood or a name comes twice, or if others may change the file.
    pub fn client_names(mut self, path: impl AsRef<Path>) -> Result<Trust> {
        self.parts.push(Part::names(path.as_ref())?);
        Ok(self)
    }

    /// Trusts whom either trusts. A key that both trust has the identity that it has here.
    /// [Names](Trust::client_names) that narrow one of them narrow both.
    #[must_use]
    pub fn or(mut self, other: Trust) -> Trust {
        self.parts.extend(other.parts);
        self
    }

    /// Reads the files again.
    pub(super) fn again(&self) -> Result<Trust> {
        let parts = self.parts.iter().map(Part::again).collect::<Result<_>>()?;
        Ok(Trust { parts })
    }

    /// Those that it was read from.
    pub(super) fn files(&self) -> impl Iterator<Item = (PathBuf, Holds)> {
        self.parts.iter().filter_map(Part::path).map(|path| (path.into(), Holds::Peers))
    }

    /// The keys, if nothing but keys is trusted.
    pub(super) fn keys(&self) -> Option<Trusted> {
        let mut keys = Trusted::new();
        for part in &self.parts {
            match part {
                Part::Key(key) => {
                    let peer = Peer::by_key(PeerIdentity::Key(*key), *key);
                    keys.entry(*key).or_insert_with(|| Arc::new(peer));
                }
                Part::Peers(_, peers) => {
                    for (key, peer) in peers.iter() {
                        keys.entry(*key).or_insert_with(|| peer.clone());
                    }
                }
                _ => return None,
            }
        }
        Some(keys)
    }

    /// The authorities, if nothing but authorities is trusted; and whether that is good enough
    /// for clients, too.
    pub(super) fn authorities(&self) -> Option<(Arc<RootCertStore>, bool)> {
        let mut all = RootCertStore::empty();
        for part in &self.parts {
            match part {
                Part::Key(_) | Part::Peers(..) => return None,
                Part::Names(..) => {}
                Part::Authorities(_, roots) => all.extend(roots.roots.iter().cloned()),
                #[cfg(feature = "system-roots")]
                Part::SystemRoots(roots) => all.extend(roots.roots.iter().cloned()),
            }
        }
        Some((Arc::new(all), self.parts.iter().all(Part::certifies_clients)))
    }

    /// Who is let in of those whom the authorities certify. `None`: all of them.
    pub(super) fn names(&self) -> Option<Names> {
        let mut names = None::<Names>;
        for part in &self.parts {
            if let Part::Names(_, more) = part {
                names.get_or_insert_default().extend(more.iter().cloned());
            }
        }
        names
    }
}

/// In words, such as `3 keys in peers`.
impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.parts.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { ", " })?;
            match part {
                Part::Key(key) => write!(f, "{key}")?,
                Part::Peers(path, keys) => {
                    write!(f, "{} in {}", count(keys.len() as u64, "key"), displayed(path))?;
                }
                Part::Authorities(path, _) => write!(f, "whom {} certifies", displayed(path))?,
                #[cfg(feature = "system-roots")]
                Part::SystemRoots(_) => f.write_str("whom the system's authorities certify")?,
                Part::Names(path, names) => {
                    let names = count(names.len() as u64, "name");
                    write!(f, "if it is one of {names} in {}", displayed(path))?;
                }
            }
        }
        Ok(())
    }
}

/// Nothing that is long.
impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({self})")
    }
}

impl From<Part> for Trust {
    fn from(part: Part) -> Trust {
        Trust { parts: vec![part] }
    }
}

impl Part {
    fn peers(path: &Path) -> Result<Part> {
        let peers = parse_peers(&read(path, Holds::Peers)?).map_err(|what| refuse(path, what))?;
        Ok(Part::Peers(path.into(), Arc::new(peers)))
    }

    fn authorities(path: &Path) -> Result<Part> {
        let text = read(path, Holds::Peers)?;
        let roots = parse_authorities(&text).map_err(|what| refuse(path, what))?;
        Ok(Part::Authorities(path.into(), Arc::new(roots)))
    }

    fn names(path: &Path) -> Result<Part> {
        let names = parse_names(&read(path, Holds::Peers)?).map_err(|what| refuse(path, what))?;
        Ok(Part::Names(path.into(), Arc::new(names)))
    }

    fn certifies_clients(&self) -> bool {
        match self {
            #[cfg(feature = "system-roots")]
            Part::SystemRoots(_) => false,
            _ => true,
        }
    }

    fn again(&self) -> Result<Part> {
        match self {
            Part::Peers(path, _) => Part::peers(path),
            Part::Authorities(path, _) => Part::authorities(path),
            Part::Names(path, _) => Part::names(path),
            other => Ok(other.clone()),
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Part::Peers(path, _) | Part::Authorities(path, _) | Part::Names(path, _) => Some(path),
            _ => None,
        }
    }
}

pub(super) fn parse_peers(text: &str) -> Result<Trusted, String> {
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

pub(super) fn parse_authorities(text: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (i, certificate) in certificates(text)?.into_iter().enumerate() {
        // Whoever has the key of what is in this file can certify everybody.
        if !Certificate::read(&certificate).ok_or_else(|| damaged(i))?.is_ca {
            let number = i + 1;
            return Err(format!(
                "certificate {number} is not a CA's, which says so (basicConstraints)"
            ));
        }
        roots.add(certificate).map_err(|_| damaged(i))?;
    }
    Ok(roots)
}

pub(super) fn parse_names(text: &str) -> Result<Names, String> {
    let mut places = HashMap::new();
    for (number, line) in lines(text) {
        // As in a certificate, the case of a DNS name does not matter.
        let dns = Some(line.to_ascii_lowercase()).filter(|name| !name.contains(':'));
        let name = dns.unwrap_or_else(|| line.into());
        if !is_identity(&name) {
            return Err(format!("line {number} is neither a DNS name nor a URI"));
        }
        if let Some(first) = places.insert(name, number) {
            return Err(format!("line {number} has the name of line {first}; remove one of them"));
        }
    }
    Ok(places.into_keys().collect())
}

/// Those that say something, with their numbers.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match !name.is_empty() && name.bytes().all(fits) {
        true => Ok(()),
        false => Err("a name consists of A-Z a-z 0-9 . _ -"),
    }
}
