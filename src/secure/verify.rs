//! Pins: the keys that are trusted, each by its fingerprint.
//!
//! A fingerprint is no proof, since everybody may know a public key. So a peer's key must be
//! trusted *and* have signed this very handshake.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved,
    SignatureScheme,
};

use crate::identity::{Fingerprint, Peer};
use crate::sync::Arc;

/// What computes: named wherever rustls asks, so that no other crate of the process chooses.
pub(crate) static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// The kinds of keys that can be pinned: what is made today, and few to attack.
pub(crate) const SCHEMES: [SignatureScheme; 3] = [
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
];

/// Of a public key, in DER (`SubjectPublicKeyInfo`).
pub(crate) fn fingerprint(key: &[u8]) -> Fingerprint {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
    let hash = suite.expect("a suite of TLS 1.3").common.hash_provider.hash(key);
    Fingerprint(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// The keys that are trusted, and whose they are.
pub(crate) type Trusted = HashMap<Fingerprint, Arc<Peer>>;

/// The key that a peer has shown, and that is not trusted.
#[derive(Debug)]
pub(crate) struct Untrusted(pub(crate) Fingerprint);

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not trusted", self.0)
    }
}

impl std::error::Error for Untrusted {}

/// Lets in the peers whose keys are trusted.
#[derive(Debug)]
pub(crate) struct Pins(pub(crate) Arc<Trusted>);

impl Pins {
    fn check(&self, key: &CertificateDer<'_>) -> Result<(), Error> {
        let shown = fingerprint(key);
        if self.0.contains_key(&shown) {
            return Ok(());
        }
        // The peer is told "certificate unknown".
        Err(CertificateError::Other(OtherError(Arc::new(Untrusted(shown)))).into())
    }
}

/// Whether the peer has the raw key that it shows.
fn check_raw(
    message: &[u8],
    key: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    if !SCHEMES.contains(&signed.scheme) {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    let key = SubjectPublicKeyInfoDer::from(key.as_ref());
    let algorithms = &PROVIDER.signature_verification_algorithms;
    verify_tls13_signature_with_raw_key(message, &key, signed, algorithms)
}

/// Of a verifier, what is the same for either side: how a signature of these schemes is checked,
/// which proves that the peer has the key. Only TLS 1.3 is spoken.
macro_rules! proof {
    ($check:path, $schemes:expr, raw: $raw:literal) => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::General("TLS 1.2 is not spoken".into()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            shown: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            $check(message, shown, signed)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            $schemes
        }

        fn requires_raw_public_keys(&self) -> bool {
            $raw
        }
    };
}

pub(super) use proof;

impl ServerCertVerifier for Pins {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(key).map(|()| ServerCertVerified::assertion())
    }

    proof!(check_raw, SCHEMES.into(), raw: true);
}

impl ClientCertVerifier for Pins {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(key).map(|()| ClientCertVerified::assertion())
    }

    proof!(check_raw, SCHEMES.into(), raw: true);
}
