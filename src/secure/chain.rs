//! Certificates as they stand in files: those that this side shows, with the key of the first
//! of them.

#[cfg(all(test, not(shuttle), not(miri)))]
mod tests;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::InconsistentKeys;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use super::certificate::{self, Certificate};
use super::files::{Holds, displayed, read, refuse};
use super::pem::{certificates, damaged, private_key};
use super::verify::PROVIDER;
use crate::error::Result;
use crate::sync::Arc;

/// All certificates of a chain have no more bytes: a peer reads 16 KiB of a whole handshake.
const LONGEST: usize = 12 * 1024;

/// What this side shows.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub(super) shown: Arc<CertifiedKey>,
    path: PathBuf,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Chain {
    /// Reads a chain, its leaf first, and the leaf's key.
    pub(super) fn read(chain: &Path, key: &Path) -> Result<Chain> {
        let (certificates, leaf) =
            parse(&read(chain, Holds::Chain)?).map_err(|e| refuse(chain, e))?;
        let shown = private_key(&read(key, Holds::Key)?)
            .and_then(|key| PROVIDER.key_provider.load_private_key(key).map_err(|_| UNSUPPORTED))
            .map_err(|what| refuse(key, what))?;
        let shown = CertifiedKey::new(certificates, shown);
        match shown.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(_) => {
                let what = "it is not the key of the first certificate in";
                return Err(refuse(key, format_args!("{what} {}", displayed(chain))));
            }
        }
        let Certificate { not_before, not_after, .. } = leaf;
        Ok(Chain { shown: Arc::new(shown), path: chain.into(), not_before, not_after })
    }

    /// Why no peer takes it at the moment.
    pub(super) fn outside(&self, now: SystemTime) -> Option<String> {
        let what = certificate::outside(self.not_before, self.not_after, now)?;
        Some(format!("{}: this side's certificate {what}", displayed(&self.path)))
    }
}

const UNSUPPORTED: &str = "the key is damaged, or of a kind that is not supported; Ed25519 is, \
    ECDSA with P-256, P-384 or P-521, and RSA";

/// A whole chain, and what its leaf says.
pub(super) fn parse(text: &str) -> Result<(Vec<CertificateDer<'static>>, Certificate), String> {
    let chain = certificates(text)?;
    let bytes: usize = chain.iter().map(|certificate| certificate.len()).sum();
    if bytes > LONGEST {
        return Err(format!(
            "its certificates have {bytes} bytes, and peers read no more than {LONGEST}"
        ));
    }
    let mut read = Vec::new();
    for (i, der) in chain.iter().enumerate() {
        read.push(Certificate::read(der).ok_or_else(|| damaged(i))?);
        if chain[..i].contains(der) {
            return Err(format!("certificate {} comes twice", i + 1));
        }
    }
    // There is one at least.
    let leaf = read.swap_remove(0);
    match leaf.is_ca {
        true => {
            Err("the first certificate is a CA's; it must be the one that the key belongs to, \
            and those that have signed it follow"
                .into())
        }
        false => Ok((chain, leaf)),
    }
}
