//! How rustls is set: TLS 1.3 alone, raw public keys on both sides, nothing resumed and
//! nothing remembered.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::compress::CompressionCache;
use rustls::pki_types::UnixTime;
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, ConfigBuilder, ConfigSide, ServerConfig, WantsVerifier, WantsVersions};

use super::Security;
use super::keys::{Identity, Trust, read_invite};
use super::verify::{PROVIDER, Pins, Trusted, fingerprint};
use crate::error::Result;
use crate::identity::Fingerprint;
use crate::sync::Arc;

/// What is spoken inside.
pub(crate) const ALPN: &[u8] = b"longlink/1";

/// A key does not expire, so nothing asks for the time.
#[derive(Debug)]
struct NoTime;

impl TimeProvider for NoTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::ZERO))
    }
}

impl Security {
    /// By keys: this side shows its own, and speaks to those whom it trusts.
    pub fn keys(identity: Identity, trust: Trust) -> Security {
        Security { mode: Arc::new(Keys::new(identity.key, trust.keys)) }
    }

    /// By the key in an [invite](Identity::invite), for a client of the server that made it.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config), whose text says what to do, if it is no
    /// invite, or if others may read or change the file.
    pub fn invite(path: impl AsRef<Path>) -> Result<Security> {
        let (identity, trust) = read_invite(path.as_ref())?;
        Ok(Security::keys(identity, trust))
    }

    /// Of this side's key, by which its peers know it. `None` if it shows none.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.mode.fingerprint()
    }
}

/// What links are secured with: this side's key, and the keys of peers that it trusts.
pub(crate) struct Keys {
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) own: Fingerprint,
    pub(crate) trusted: Arc<Trusted>,
}

impl Keys {
    pub(crate) fn new(key: Arc<CertifiedKey>, trusted: Arc<Trusted>) -> Keys {
        Keys {
            own: fingerprint(&key.cert[0]),
            client: Arc::new(client(key.clone(), trusted.clone())),
            server: Arc::new(server(key, trusted.clone())),
            trusted,
        }
    }
}

/// Nothing that is a secret, or long.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("trusted", &self.trusted.len()).finish_non_exhaustive()
    }
}

/// Of both sides.
fn tls13<S: ConfigSide>(
    builder: ConfigBuilder<S, WantsVersions>,
) -> ConfigBuilder<S, WantsVerifier> {
    builder
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites and groups for TLS 1.3")
}

/// A client that shows this key, and trusts servers by theirs.
pub(crate) fn client(key: Arc<CertifiedKey>, trusted: Arc<Trusted>) -> ClientConfig {
    let mut config = tls13(ClientConfig::builder_with_details(PROVIDER.clone(), Arc::new(NoTime)))
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pins(trusted)))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key)));
    config.alpn_protocols = vec![ALPN.into()];
    config.resumption = Resumption::disabled();
    // Another crate may have switched these on in rustls.
    config.cert_compressors.clear();
    config.cert_decompressors.clear();
    config.cert_compression_cache = Arc::new(CompressionCache::Disabled);
    config
}

/// A server that shows this key, and lets in the clients whose keys are trusted.
pub(crate) fn server(key: Arc<CertifiedKey>, trusted: Arc<Trusted>) -> ServerConfig {
    let mut config = tls13(ServerConfig::builder_with_details(PROVIDER.clone(), Arc::new(NoTime)))
        .with_client_cert_verifier(Arc::new(Pins(trusted)))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
    config.alpn_protocols = vec![ALPN.into()];
    // Sessions of ours are resumed by us.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.cert_compressors.clear();
    config.cert_decompressors.clear();
    config.cert_compression_cache = Arc::new(CompressionCache::Disabled);
    config
}
