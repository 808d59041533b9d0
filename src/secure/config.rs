//! How rustls is set: TLS 1.3 alone, nothing resumed and nothing remembered.

use std::fmt;
use std::time::{Duration, SystemTime};

use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::compress::CompressionCache;
use rustls::pki_types::UnixTime;
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, ConfigBuilder, ConfigSide, ServerConfig, WantsVerifier, WantsVersions};

use super::certificate::unix_time;
use super::certified::{Clients, Servers};
use super::chain::Chain;
use super::trust::Trust;
use super::verify::{PROVIDER, Pins, Trusted, fingerprint};
use crate::identity::{Credential, Fingerprint, Peer};
use crate::sync::{self, Arc};

/// What is spoken inside.
pub(crate) const ALPN: &[u8] = b"longlink/1";

/// What the links of one side are made with.
#[derive(Clone)]
pub(crate) struct Setup {
    /// For a client; or why it cannot be one.
    pub(super) client: Result<Arc<ClientConfig>, &'static str>,
    /// For a listener; or why it cannot be one.
    pub(super) server: Result<Arc<ServerConfig>, &'static str>,
    /// What this side shows, if that expires.
    pub(super) chain: Option<Chain>,
    /// Of the key that this side shows.
    pub(super) own: Option<Fingerprint>,
    pub(super) peers: Peers,
}

/// Whom the peers of links can prove to be.
#[derive(Debug, Clone)]
pub(super) enum Peers {
    Keys(Arc<Trusted>),
    /// What they show is a certificate. A server is whom the client has dialed; its own
    /// clients are told by this, or show nothing.
    Certified(Option<Arc<Clients>>),
}

impl Setup {
    pub(super) fn keys(key: Arc<CertifiedKey>, trusted: Arc<Trusted>) -> Setup {
        let pins = || Arc::new(Pins(trusted.clone()));
        let client = client(Arc::new(NoTime))
            .dangerous()
            .with_custom_certificate_verifier(pins())
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                key.clone(),
            )));
        let server = server(Arc::new(NoTime))
            .with_client_cert_verifier(pins())
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key.clone())));
        Setup {
            client: Ok(finished_client(client)),
            server: Ok(finished_server(server)),
            chain: None,
            own: Some(fingerprint(&key.cert[0])),
            peers: Peers::Keys(trusted),
        }
    }

    /// A client that shows nothing has no chain; and a listener trusts nobody to say who it is
    /// if it lets in everybody.
    pub(super) fn certificates(
        chain: Option<Chain>,
        trust: Option<&Trust>,
    ) -> Result<Setup, &'static str> {
        let authorities =
            trust.map(|trust| trust.authorities().ok_or(NO_AUTHORITIES)).transpose()?;
        let clients = trust
            .zip(authorities.as_ref())
            .map(|(trust, (roots, _))| Arc::new(Clients::new(roots.clone(), trust.names())));
        let shown =
            chain.as_ref().map(|chain| Arc::new(SingleCertAndKey::from(chain.shown.clone())));

        let client = authorities.as_ref().ok_or(NO_TRUST).map(|(roots, _)| {
            let servers = Arc::new(Servers::new(roots.clone()));
            let client = client(Arc::new(Clock)).dangerous();
            let client = client.with_custom_certificate_verifier(servers);
            finished_client(match &shown {
                Some(shown) => client.with_client_cert_resolver(shown.clone()),
                None => client.with_no_client_auth(),
            })
        });
        let server = match (&shown, &authorities) {
            (None, _) => Err(NO_CHAIN),
            (_, Some((_, false))) => Err(SYSTEM_ROOTS),
            (Some(shown), _) => {
                let server = server(Arc::new(Clock));
                let server = match &clients {
                    Some(clients) => server.with_client_cert_verifier(clients.clone()),
                    None => server.with_no_client_auth(),
                };
                Ok(finished_server(server.with_cert_resolver(shown.clone())))
            }
        };
        let key = chain.as_ref().and_then(|chain| chain.shown.key.public_key());
        let own = key.map(|key| fingerprint(&key));
        Ok(Setup { client, server, chain, own, peers: Peers::Certified(clients) })
    }

    /// Whether a client that shows this while it counts is let in, as this identity.
    pub(super) fn trusts(&self, peer: Option<&Peer>) -> bool {
        match (&self.peers, peer) {
            (
                Peers::Keys(trusted),
                Some(Peer { identity, credential: Credential::Key(key), .. }),
            ) => trusted.get(key).is_some_and(|trusted| trusted.identity == *identity),
            (Peers::Certified(Some(clients)), Some(peer)) => clients.trusts(peer),
            (Peers::Certified(None), None) => true,
            _ => false,
        }
    }

    /// Why no peer takes what this side shows at the moment.
    pub(super) fn outside(&self, now: SystemTime) -> Option<String> {
        self.chain.as_ref()?.outside(now)
    }

    /// One that nobody can use, and why.
    pub(super) fn unusable(why: &'static str) -> Setup {
        let peers = Peers::Certified(None);
        Setup { client: Err(why), server: Err(why), chain: None, own: None, peers }
    }
}

pub(super) const NO_KEYS: &str = "with keys, peers are trusted by their keys (a fingerprint, or a \
    peers file), and neither by a CA nor by the names in certificates";
const NO_AUTHORITIES: &str = "with certificates, peers are trusted by a CA, and not by their keys";
const NO_TRUST: &str =
    "a security for an open server trusts no server, so it is for a listener only";
const NO_CHAIN: &str = "a security that shows nothing is for a client only";
const SYSTEM_ROOTS: &str = "the system's roots certify servers to everybody, so they do not tell \
    which clients a listener is to let in; trust a CA file";

/// Nothing that is a secret, or long.
impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setup { own, peers, .. } = self;
        let mut debug = f.debug_struct("Setup");
        debug.field("own", own);
        match peers {
            Peers::Keys(trusted) => debug.field("trusted", &trusted.len()),
            Peers::Certified(clients) => debug.field("clients", clients),
        };
        debug.finish_non_exhaustive()
    }
}

/// A key does not expire, so nothing asks for the time.
#[derive(Debug)]
struct NoTime;

impl TimeProvider for NoTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::ZERO))
    }
}

#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(sync::wall_clock()))
    }
}

fn client(clock: Arc<dyn TimeProvider>) -> ConfigBuilder<ClientConfig, WantsVerifier> {
    tls13(ClientConfig::builder_with_details(PROVIDER.clone(), clock))
}

fn server(clock: Arc<dyn TimeProvider>) -> ConfigBuilder<ServerConfig, WantsVerifier> {
    tls13(ServerConfig::builder_with_details(PROVIDER.clone(), clock))
}

fn tls13<S: ConfigSide>(
    builder: ConfigBuilder<S, WantsVersions>,
) -> ConfigBuilder<S, WantsVerifier> {
    builder
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites and groups for TLS 1.3")
}

fn finished_client(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![ALPN.into()];
    config.resumption = Resumption::disabled();
    // Another crate may have switched these on in rustls.
    config.cert_compressors.clear();
    config.cert_decompressors.clear();
    config.cert_compression_cache = Arc::new(CompressionCache::Disabled);
    Arc::new(config)
}

fn finished_server(mut config: ServerConfig) -> Arc<ServerConfig> {
    config.alpn_protocols = vec![ALPN.into()];
    // Sessions of ours are resumed by us.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.cert_compressors.clear();
    config.cert_decompressors.clear();
    config.cert_compression_cache = Arc::new(CompressionCache::Disabled);
    Arc::new(config)
}
