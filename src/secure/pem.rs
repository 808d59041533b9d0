//! What stands in files as PEM (RFC 7468). No error repeats a part of it, which may be of a key.

#[cfg(all(test, not(shuttle), not(miri)))]
mod tests;

use rustls::pki_types::pem::{SectionKind, SliceIter};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};

type Sections<'a> = SliceIter<'a, (SectionKind, Vec<u8>)>;

/// The only private key in a text.
pub(super) fn private_key(text: &str) -> Result<PrivateKeyDer<'static>, &'static str> {
    let mut keys: Vec<PrivateKeyDer<'static>> = Vec::new();
    for section in Sections::new(text.as_bytes()) {
        match section {
            Ok((SectionKind::PrivateKey, der)) => keys.push(PrivatePkcs8KeyDer::from(der).into()),
            Ok((SectionKind::EcPrivateKey, der)) => keys.push(PrivateSec1KeyDer::from(der).into()),
            Ok((SectionKind::RsaPrivateKey, der)) => {
                keys.push(PrivatePkcs1KeyDer::from(der).into());
            }
            Ok(_) => {}
            Err(_) if text.contains("ENCRYPTED") => return Err(ENCRYPTED),
            Err(_) => return Err("the key is damaged"),
        }
    }
    match keys.pop() {
        Some(key) if keys.is_empty() => Ok(key),
        Some(_) => Err("there is more than one private key in it"),
        None if text.contains("ENCRYPTED") => Err(ENCRYPTED),
        None if text.trim().is_empty() => Err("it is empty"),
        None => Err("there is no private key in it, as PEM (PKCS #8 or SEC1)"),
    }
}

const ENCRYPTED: &str =
    "the key is encrypted; decrypt it with: openssl pkey -in ENCRYPTED -out DECRYPTED";

/// All certificates of a text; one at least.
pub(super) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    for section in Sections::new(text.as_bytes()) {
        match section {
            Ok((SectionKind::Certificate, der)) => found.push(CertificateDer::from(der)),
            Ok(_) => {}
            Err(_) => return Err(damaged(found.len())),
        }
    }
    match found.is_empty() {
        true => Err(none(text)),
        false => Ok(found),
    }
}

/// The certificate with this index.
pub(super) fn damaged(index: usize) -> String {
    format!("certificate {} is damaged", index + 1)
}

fn none(text: &str) -> String {
    let what = match text {
        _ if text.trim().is_empty() => "it is empty",
        _ if text.contains("PRIVATE KEY-----") => "there is a key in it, and no certificate",
        _ => "there is no certificate in it, as PEM",
    };
    what.into()
}
