//! Peers that show certificates: who they are, until when, and what is wrong with them.

#[cfg(all(test, not(shuttle), not(miri)))]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, IpAddr, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use super::certificate::{Certificate, end, expired, not_yet, shown, unix_time};
use super::trust::Names;
use super::verify::{PROVIDER, proof};
use crate::identity::{Credential, Peer, PeerIdentity};
use crate::sync::Arc;

/// Lets in the clients whose certificates are signed by those who are trusted.
pub(super) struct Clients {
    chains: Arc<dyn ClientCertVerifier>,
    /// No others of them.
    names: Option<Names>,
}

/// Nothing that is long.
impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names.as_ref().map(HashSet::len);
        f.debug_struct("Clients").field("names", &names).finish_non_exhaustive()
    }
}

/// What is wrong with a certificate beside what webpki finds, in words that follow it.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl Clients {
    pub(super) fn new(roots: Arc<RootCertStore>, names: Option<Names>) -> Clients {
        // A stranger is not told who is trusted, which might be long.
        let chains = WebPkiClientVerifier::builder_with_provider(roots, PROVIDER.clone())
            .clear_root_hint_subjects()
            .build()
            .expect("there are roots");
        Clients { chains, names }
    }

    /// Who shows this chain, which was verified in a handshake that began then.
    pub(super) fn identify(
        &self,
        chain: &[CertificateDer<'_>],
        began: SystemTime,
    ) -> Result<Peer, String> {
        let leaf = chain.first().ok_or("is damaged")?;
        Ok(Peer {
            identity: self.identity(leaf)?,
            credential: Credential::Chain(chain.iter().map(|der| der.as_ref().into()).collect()),
            expires: expiry(chain, began),
        })
    }

    /// Who is let in by this certificate, if it is verified.
    fn identity(&self, leaf: &CertificateDer<'_>) -> Result<PeerIdentity, String> {
        let name = Certificate::read(leaf).ok_or("is damaged")?.identity()?;
        match &self.names {
            Some(names) if !names.contains(&name) => Err(format!(
                "is for \"{}\", which is not among the names that may come in",
                shown(name.as_bytes())
            )),
            _ => Ok(PeerIdentity::Certified(name)),
        }
    }

    /// Whether this is let in, as this identity, in the last moment in which it counts: its time
    /// may be over, and the clock may have been set since it was shown.
    pub(super) fn trusts(&self, peer: &Peer) -> bool {
        let (Credential::Chain(chain), Some(end)) = (&peer.credential, peer.expires) else {
            return false;
        };
        let at = end - Duration::from_nanos(1);
        let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(&der[..])).collect();
        let Some((leaf, others)) = chain.split_first() else { return false };
        self.verify_client_cert(leaf, others, unix_time(at)).is_ok()
            && self.identity(leaf).as_ref() == Ok(&peer.identity)
    }
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chains.verify_client_cert(leaf, &of_different_subjects(others), now);
        let verified = verified.map_err(|error| match error {
            // By a CA that has the name of one that is trusted, and another key. So the peer is
            // told that it is this.
            Error::InvalidCertificate(CertificateError::BadSignature) => {
                CertificateError::UnknownIssuer.into()
            }
            other => other,
        })?;
        // The peer is told "certificate unknown".
        let refused = |what| CertificateError::Other(OtherError(Arc::new(Refused(what))));
        self.identity(leaf).map_err(refused)?;
        Ok(verified)
    }

    proof!(check_certified, PROVIDER.signature_verification_algorithms.supported_schemes(), raw: false);
}

/// Lets in the servers whose certificates are signed by those who are trusted.
#[derive(Debug)]
pub(super) struct Servers(Arc<WebPkiServerVerifier>);

impl Servers {
    pub(super) fn new(roots: Arc<RootCertStore>) -> Servers {
        let chains = WebPkiServerVerifier::builder_with_provider(roots, PROVIDER.clone()).build();
        Servers(chains.expect("there are roots"))
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.verify_server_cert(leaf, &of_different_subjects(others), name, ocsp, now)
    }

    proof!(check_certified, PROVIDER.signature_verification_algorithms.supported_schemes(), raw: false);
}

/// Whether the peer has the key of the certificate that it shows.
fn check_certified(
    message: &[u8],
    leaf: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls13_signature(message, leaf, signed, &PROVIDER.signature_verification_algorithms)
}

/// The first of each subject. Among these there is one way from a leaf at most. Of forty that
/// have one subject, which anybody can show, there are so many that a search takes half a second.
fn of_different_subjects<'a>(others: &'a [CertificateDer<'a>]) -> Vec<CertificateDer<'a>> {
    let mut subjects = HashSet::new();
    let mut is_first = |der: &CertificateDer<'_>| {
        Certificate::read(der).is_some_and(|read| subjects.insert(read.subject))
    };
    let firsts = others.iter().filter(|der| is_first(der));
    firsts.map(|der| CertificateDer::from(der.as_ref())).collect()
}

/// The server that was dialed by this name, and has shown this chain, which was verified in a
/// handshake that began then.
pub(super) fn server(name: &str, chain: &[CertificateDer<'_>], began: SystemTime) -> Peer {
    Peer {
        identity: PeerIdentity::Certified(name.into()),
        // Nobody asks a client whether its server is still trusted.
        credential: Credential::Chain([].into()),
        expires: expiry(chain, began),
    }
}

/// When the first part of this chain counts no more, which was verified in a handshake that began
/// then. One that had expired before was not needed for that.
fn expiry(chain: &[CertificateDer<'_>], began: SystemTime) -> Option<SystemTime> {
    let ends = chain.iter().filter_map(|der| Some(end(Certificate::read(der)?.not_after)));
    ends.filter(|end| *end > began).min()
}

/// What a server must be certified to be, which is dialed by this name.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    // An address has no scope anywhere else, and a name may say that it is a whole one.
    let address = host.split('%').next().unwrap_or(host);
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let name = match IpAddr::try_from(address) {
        Ok(address) => Ok(ServerName::IpAddress(address)),
        Err(_) => ServerName::try_from(name),
    };
    name.map_err(|_| format!("no certificate can be for \"{}\"", shown(host.as_bytes())))
}

/// What is wrong with what the peer has shown, if that is it.
pub(super) fn explain(error: &Error, is_client: bool) -> Option<String> {
    let (peer, peers) = if is_client { ("server", "servers") } else { ("client", "clients") };
    let what = match error {
        Error::NoCertificatesPresented => return Some(format!("the {peer} shows no certificate")),
        Error::InvalidCertificate(error) => wrong(error, peers),
        _ => return None,
    };
    Some(format!("the {peer}'s certificate {what}"))
}

/// In words that follow the certificate.
fn wrong(error: &CertificateError, peers: &str) -> String {
    let time = |time: &UnixTime| UNIX_EPOCH + Duration::from_secs(time.as_secs());
    match error {
        CertificateError::ExpiredContext { time: now, not_after } => {
            expired(time(not_after), time(now))
        }
        CertificateError::NotValidYetContext { time: now, not_before } => {
            not_yet(time(not_before), time(now))
        }
        CertificateError::UnknownIssuer => "is not signed by a CA that is trusted here".into(),
        CertificateError::InvalidPurposeContext { .. } | CertificateError::InvalidPurpose => {
            format!("is not for {peers} (extendedKeyUsage)")
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            // Each stands in its kind and quotes or brackets; the most are of no use.
            let name = |text: &String| {
                let inner = text.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')'));
                shown(inner.unwrap_or(text).trim_matches('"').as_bytes())
            };
            let mut names: Vec<String> = presented.iter().take(3).map(name).collect();
            if presented.len() > names.len() {
                names.push("others".into());
            }
            let names = if names.is_empty() { "no name".into() } else { names.join(", ") };
            format!("is for {names}, not for {}", expected.to_str())
        }
        CertificateError::Other(other) => match other.0.downcast_ref() {
            Some(Refused(what)) => what.clone(),
            None => format!("is refused: {}", other.0),
        },
        CertificateError::BadSignature => "is signed wrongly: by another key than that of the \
            CA which is trusted here, or without the key that it is for"
            .into(),
        CertificateError::BadEncoding => "is damaged".into(),
        other => format!("is refused: {}", shown(other.to_string().as_bytes())),
    }
}
