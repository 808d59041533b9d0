//! Keys and certificates for tests. What computes is what rustls has, so that nothing else has
//! to be built for them.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::sync::Arc;

use der::asn1::AnyRef;
use der::{Decode, Reader, SliceReader};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, Error, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, PKCS_ED25519, PublicKeyData, SanType, SignatureAlgorithm, SigningKey,
    date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

/// A private key, and what it is as PEM.
pub(crate) struct Key {
    pem: String,
    key: Arc<dyn rustls::sign::SigningKey>,
    public: Vec<u8>,
    kind: &'static SignatureAlgorithm,
}

impl Key {
    /// Of Ed25519, the same in each run. There are 16 of them.
    pub(crate) fn new(seed: u8) -> Key {
        // As PKCS #8 begins (RFC 8410, 7), but for two bits, which are none.
        const BEGIN: &str = "MC4CAQAwBQYDK2VwBCIEI";
        assert!(seed < 16);
        let digits: String = std::iter::repeat_n(char::from(b'A' + seed), 43).collect();
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{BEGIN}{digits}\n-----END PRIVATE KEY-----\n");
        Key::from_pem(&pem, &PKCS_ED25519)
    }

    pub(crate) fn from_pem(pem: &str, kind: &'static SignatureAlgorithm) -> Key {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
        let key = aws_lc_rs::default_provider().key_provider.load_private_key(key).unwrap();
        let info = key.public_key().unwrap();
        let mut reader = SliceReader::new(&info).unwrap();
        let bits = reader.sequence(|reader| {
            AnyRef::decode(reader)?;
            AnyRef::decode(reader)
        });
        // In front of them is how many bits of the last byte are none.
        let public = bits.unwrap().value()[1..].to_vec();
        Key { pem: pem.into(), key, public, kind }
    }

    pub(crate) fn pem(&self) -> String {
        self.pem.clone()
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.kind
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signer = self.key.choose_scheme(&[rustls::SignatureScheme::ED25519]).unwrap();
        Ok(signer.sign(message).unwrap())
    }
}

/// What a certificate of these tests says: from 2020 to 2030, for clients and servers.
pub(crate) fn about(names: &[SanType]) -> CertificateParams {
    let mut about = CertificateParams::default();
    about.not_before = date_time_ymd(2020, 1, 1);
    about.not_after = date_time_ymd(2030, 1, 1);
    about.serial_number = Some(1.into());
    about.subject_alt_names = names.into();
    about.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    about
}

/// The same of a CA with this name.
pub(crate) fn about_ca(name: &str) -> CertificateParams {
    let mut about = about(&[]);
    about.distinguished_name.push(DnType::CommonName, name);
    about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    about.key_identifier_method = KeyIdMethod::PreSpecified(name.as_bytes().into());
    about.extended_key_usages = Vec::new();
    about
}

/// For tests that go by the real clock.
pub(crate) fn lasting(mut about: CertificateParams) -> CertificateParams {
    about.not_after = date_time_ymd(2120, 1, 1);
    about
}

pub(crate) fn authority(name: &str, seed: u8) -> Issuer<'static, Key> {
    Issuer::new(about_ca(name), Key::new(seed))
}

pub(crate) fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

pub(crate) fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}
