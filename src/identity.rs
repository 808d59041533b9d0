//! Who a peer is: what the application is told, and what sessions are found by.

use std::error::Error;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

/// Who the peer of a [`Connection`](crate::Connection) is, as it has proven when its link was
/// made. See [`Connection::peer_identity`](crate::Connection::peer_identity).
///
/// A session belongs to the identity that began it: whoever learns its secret name, and is
/// somebody else, neither resumes it nor disturbs it.
///
/// # Examples
///
/// ```
/// use longlink::PeerIdentity;
///
/// fn greet(peer: Option<PeerIdentity>) -> String {
///     match peer {
///         Some(PeerIdentity::Named(name)) => format!("Welcome, {name}"),
///         Some(PeerIdentity::Key(fingerprint)) => format!("Welcome, owner of {fingerprint}"),
///         Some(PeerIdentity::Certified(name)) => format!("Welcome, {name}"),
///         _ => "Welcome".into(),
///     }
/// }
/// assert_eq!(greet(Some(PeerIdentity::Named("ann".into()))), "Welcome, ann");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerIdentity {
    /// The name that this side has given to the peer's key. Two keys may have one name: then
    /// they are one identity, and a peer can change its key without losing a session.
    Named(String),
    /// A key that is trusted by its fingerprint, and has no name.
    Key(Fingerprint),
    /// What the peer's certificate is for: one DNS name or URI. A renewed certificate is the
    /// same identity.
    Certified(String),
}

/// The SHA-256 of a public key, as it stands in a certificate (`SubjectPublicKeyInfo`, DER).
/// It is no secret.
///
/// It is written as `sha256:` and 64 hexadecimal digits. That is longer than Base64, but of
/// these digits no two look alike, their case does not matter, and they are what `sha256sum`
/// prints. Without a space in it, it is one word of a line.
///
/// # Examples
///
/// ```
/// use longlink::Fingerprint;
///
/// let text = "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855";
/// let fingerprint: Fingerprint = text.parse()?;
/// assert_eq!(fingerprint.to_string(), text.to_lowercase());
/// # Ok::<(), longlink::ParseFingerprintError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub(crate) [u8; 32]);

const PREFIX: &str = "sha256:";

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Fingerprint, ParseFingerprintError> {
        let digits = text.strip_prefix(PREFIX).ok_or(ParseFingerprintError(()))?.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return Err(ParseFingerprintError(()));
        }
        let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(ParseFingerprintError(()));
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Ok(Fingerprint(bytes))
    }
}

/// A text that is no [`Fingerprint`].
///
/// # Examples
///
/// ```
/// use longlink::Fingerprint;
///
/// let error = "sha256:ab".parse::<Fingerprint>().unwrap_err();
/// assert_eq!(error.to_string(), "a fingerprint is sha256: and 64 hexadecimal digits");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseFingerprintError(());

impl fmt::Display for ParseFingerprintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fingerprint is sha256: and 64 hexadecimal digits")
    }
}

impl Error for ParseFingerprintError {}

/// Whose session it is: two that differ know nothing of each other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// Somebody who speaks in clear text, where nothing can be proven.
    #[default]
    Clear,
    /// A peer over a secured link that has not shown who it is.
    Anonymous,
    Peer(Arc<Peer>),
}

/// A peer over a secured link, which may have shown who it is.
impl From<Option<Arc<Peer>>> for Who {
    fn from(shown: Option<Arc<Peer>>) -> Who {
        shown.map_or(Who::Anonymous, Who::Peer)
    }
}

impl Who {
    pub(crate) fn identity(&self) -> Option<PeerIdentity> {
        match self {
            Who::Clear | Who::Anonymous => None,
            Who::Peer(peer) => Some(peer.identity.clone()),
        }
    }

    pub(crate) fn expires(&self) -> Option<SystemTime> {
        match self {
            Who::Clear | Who::Anonymous => None,
            Who::Peer(peer) => peer.expires,
        }
    }
}

/// Who a peer is, and by what it has shown that. Two are equal if they are one identity,
/// whatever they have shown: a session outlives a change of keys.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) identity: PeerIdentity,
    #[cfg(any(test, fuzzing, feature = "tls"))]
    pub(crate) credential: Credential,
    /// From then on that counts no more; a key counts for ever.
    pub(crate) expires: Option<SystemTime>,
}

/// What trust in a peer is asked for again by.
#[cfg(any(test, fuzzing, feature = "tls"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// The peer has signed with this key.
    Key(Fingerprint),
    /// It has signed with the key of the first of these certificates (in DER). A client keeps
    /// none: nobody asks it again.
    #[cfg(feature = "tls")]
    Chain(Arc<[Box<[u8]>]>),
}

#[cfg(any(test, fuzzing, feature = "tls"))]
impl Peer {
    pub(crate) fn by_key(identity: PeerIdentity, key: Fingerprint) -> Peer {
        Peer { identity, credential: Credential::Key(key), expires: None }
    }
}

impl PartialEq for Peer {
    fn eq(&self, other: &Peer) -> bool {
        self.identity == other.identity
    }
}

impl Eq for Peer {}

impl Hash for Peer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_as_it_is_written() {
        let fingerprint = Fingerprint(std::array::from_fn(|i| i as u8 * 8 + 7));
        let text = fingerprint.to_string();
        assert!(text.starts_with("sha256:070f171f27") && text.ends_with("f7ff"), "{text}");
        assert_eq!((text.parse(), text.len()), (Ok(fingerprint), 71));
        assert_eq!(text.to_uppercase().replace("SHA", "sha").parse(), Ok(fingerprint));
        assert_eq!(format!("{fingerprint:?}"), format!("Fingerprint({text})"));
    }

    #[test]
    fn what_is_no_fingerprint_is_refused() {
        let text = Fingerprint([0xAB; 32]).to_string();
        let digits = &text[PREFIX.len()..];
        let wrong = [
            String::new(),
            digits.into(),
            format!("sha1:{digits}"),
            format!("{text}ab"),
            format!(" {text}"),
            format!("{text}\n"),
            text.replacen('a', "g", 1),
            text.replacen("ab", "+b", 1),
            // As long in bytes.
            text.replacen("ab", "ä", 1),
        ];
        for wrong in wrong.iter().map(String::as_str).chain((0..text.len()).map(|n| &text[..n])) {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(ParseFingerprintError(())), "{wrong:?}");
        }
    }

    #[test]
    fn identities_are_told_apart_by_what_was_shown() {
        let named = |name: &str| Some(PeerIdentity::Named(name.into()));
        let certified = Some(PeerIdentity::Certified("ann".into()));
        let shown = [named("ann"), named("bob"), certified, None];
        let by = |key: u8, identity: &Option<PeerIdentity>| {
            let peer = |identity| Arc::new(Peer::by_key(identity, Fingerprint([key; 32])));
            Who::from(identity.clone().map(peer))
        };
        let mut all: Vec<Who> = shown.iter().map(|identity| by(1, identity)).collect();
        assert!(all.iter().map(Who::identity).eq(shown.iter().cloned()));
        // By which key makes no difference.
        assert!(all.iter().cloned().eq(shown.iter().map(|identity| by(2, identity))));
        // One that shows nothing, and one in clear text, have no identity, and are two.
        all.push(Who::default());
        assert_eq!(all[4].identity(), None);
        for (i, one) in all.iter().enumerate() {
            assert_eq!(all.iter().position(|other| other == one), Some(i));
        }
    }
}
