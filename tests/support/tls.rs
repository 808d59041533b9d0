//! TLS as `longlink` speaks it, for peers that are played by hand, and keys for both sides.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::env;
use std::fs::{self, Permissions};
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use longlink::{Identity, Security, Trust};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::cipher::{
    InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature_with_raw_key};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, Connection, ConnectionTrafficSecrets, ContentType,
    DigitallySignedStruct, DistinguishedName, Error, ProtocolVersion, ServerConfig,
    ServerConnection, SignatureScheme,
};

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// A folder that is removed with this.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Nobody else may look into it.
    pub(crate) fn new() -> Folder {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("longlink-tls-{}-{number}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Folder(path)
    }

    /// What `server --keys` takes to be the [`party`] of all who speak TLS.
    pub(crate) fn of_server() -> Folder {
        let folder = Folder::new();
        let identity = folder.write_key("server.key", 'A');
        fs::write(folder.file("peers"), format!("peer {}\n", identity.fingerprint())).unwrap();
        folder
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write_key(&self, name: &str, letter: char) -> Identity {
        let path = self.file(name);
        fs::write(&path, pem(letter)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        Identity::from_file(path).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Somebody with a key of their own.
#[derive(Debug, Clone)]
pub(crate) struct Party {
    /// For a connection or a listener.
    pub(crate) security: Security,
    /// For a peer that is played by hand. It is sure of whom it speaks to.
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
}

impl Party {
    /// Each of them trusts all, by these names. In each process they have the same keys, so
    /// that one can speak to another.
    pub(crate) fn all<const N: usize>(names: [&str; N]) -> [Party; N] {
        let folder = Folder::new();
        let mut letters = 'A'..='P';
        let keys = names.map(|name| {
            let identity = folder.write_key(name, letters.next().expect("a letter"));
            (identity, PrivateKeyDer::from_pem_file(folder.file(name)).unwrap())
        });
        let line = |(name, (identity, _)): (&str, &(Identity, _))| {
            format!("{name} {}\n", identity.fingerprint())
        };
        let peers: String = names.into_iter().zip(&keys).map(line).collect();
        fs::write(folder.file("peers"), peers).unwrap();
        keys.map(|(identity, pem)| {
            let trust = Trust::peers_file(folder.file("peers")).unwrap();
            let key = PROVIDER.key_provider.load_private_key(pem).unwrap();
            let public = key.public_key().expect("a public key").to_vec();
            let key = Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], key));
            Party {
                security: Security::keys(identity, trust),
                client: Arc::new(client(key.clone())),
                server: Arc::new(server(key)),
            }
        })
    }
}

/// An Ed25519 key, one for each letter.
fn pem(letter: char) -> String {
    let seed = letter.to_string().repeat(43);
    format!("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEI{seed}\n-----END PRIVATE KEY-----\n")
}

/// With `LONGLINK_TLS=1`, those tests that can speak TLS do, and this is both ends.
pub(crate) fn party() -> Option<&'static Party> {
    static PARTY: LazyLock<Option<Party>> = LazyLock::new(|| {
        let wanted = env::var_os("LONGLINK_TLS").is_some_and(|value| value == "1");
        wanted.then(|| {
            let [party] = Party::all(["peer"]);
            party
        })
    });
    PARTY.as_ref()
}

const ALPN: &[u8] = b"longlink/1";

fn client(key: Arc<CertifiedKey>) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&TLS13])
        .expect("it speaks TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key)));
    config.alpn_protocols = vec![ALPN.into()];
    config.resumption = Resumption::disabled();
    config.enable_secret_extraction = true;
    config
}

fn server(key: Arc<CertifiedKey>) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&TLS13])
        .expect("it speaks TLS 1.3")
        .with_client_cert_verifier(Arc::new(Anybody))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
    config.alpn_protocols = vec![ALPN.into()];
    config.send_tls13_tickets = 0;
    config.enable_secret_extraction = true;
    config
}

/// One end of TLS on a socket. The threads that use it read, or write.
#[derive(Debug)]
pub(crate) struct Tls(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    connection: Connection,
    /// Read from the socket, and not opened: so a peer that does not read takes in little.
    unopened: Vec<u8>,
}

impl Tls {
    /// It begins with the first write.
    pub(crate) fn connect(party: &Party) -> Tls {
        let name = ServerName::from(Ipv4Addr::UNSPECIFIED);
        let client = ClientConnection::new(party.client.clone(), name).expect("a client of TLS");
        Tls::new(client.into())
    }

    pub(crate) fn accept(party: &Party) -> Tls {
        let server = ServerConnection::new(party.server.clone()).expect("a server of TLS");
        Tls::new(server.into())
    }

    fn new(mut connection: Connection) -> Tls {
        connection.set_buffer_limit(None);
        Tls(Mutex::new(Inner { connection, unopened: Vec::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a client begins with.
    pub(crate) fn first_flight(&self) -> Vec<u8> {
        self.lock().sealed()
    }

    pub(crate) fn read(&self, socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.lock().connection.reader().read(buffer) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            self.hear(socket)?;
        }
    }

    pub(crate) fn shake_hands(&self, mut socket: &TcpStream) -> io::Result<()> {
        while self.lock().connection.is_handshaking() {
            let flight = self.lock().sealed();
            socket.write_all(&flight)?;
            self.hear(socket)?;
        }
        Ok(())
    }

    pub(crate) fn write_all(&self, mut socket: &TcpStream, bytes: &[u8]) -> io::Result<()> {
        self.shake_hands(socket)?;
        let mut inner = self.lock();
        inner.connection.writer().write_all(bytes)?;
        let sealed = inner.sealed();
        drop(inner);
        socket.write_all(&sealed)
    }

    /// Changes the keys of this side so many times, and asks the other side to do so.
    pub(crate) fn change_keys(&self, mut socket: &TcpStream, times: usize) -> io::Result<()> {
        let mut inner = self.lock();
        for _ in 0..times {
            inner.connection.refresh_traffic_keys().map_err(io::Error::other)?;
        }
        let sealed = inner.sealed();
        drop(inner);
        socket.write_all(&sealed)
    }

    /// Takes in what comes next, and answers if that is to be answered.
    fn hear(&self, mut socket: &TcpStream) -> io::Result<()> {
        if self.lock().unopened.is_empty() {
            let mut bytes = [0; 4096];
            let n = socket.read(&mut bytes)?;
            let mut inner = self.lock();
            if n == 0 {
                if inner.connection.is_handshaking() {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                inner.connection.read_tls(&mut io::empty())?;
            }
            inner.unopened.extend_from_slice(&bytes[..n]);
        }
        let (answer, result) = {
            let mut inner = self.lock();
            let result = inner.open();
            (inner.sealed(), result)
        };
        socket.write_all(&answer)?;
        result
    }

    /// Whether the peer has ended its bytes, and all of them were read. The socket does not
    /// block.
    pub(crate) fn has_ended(&self, socket: &TcpStream) -> bool {
        loop {
            match self.lock().connection.reader().fill_buf() {
                Ok(bytes) => return bytes.is_empty(),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return true,
            }
            match self.hear(socket) {
                Ok(()) => {}
                Err(e) => return e.kind() != ErrorKind::WouldBlock,
            }
        }
    }
}

impl Inner {
    fn open(&mut self) -> io::Result<()> {
        let n = self.connection.read_tls(&mut &self.unopened[..])?;
        self.unopened.drain(..n);
        self.connection.process_new_packets().map_err(io::Error::other)?;
        Ok(())
    }

    /// What is to be written.
    fn sealed(&mut self) -> Vec<u8> {
        let mut sealed = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut sealed).expect("a vector takes all");
        }
        sealed
    }
}

/// One end of TLS behind its handshake, whose records are made by hand. The keys of both sides
/// stay as they are.
pub(crate) struct ByHand {
    socket: TcpStream,
    encrypter: Box<dyn MessageEncrypter>,
    sealed: u64,
    decrypter: Box<dyn MessageDecrypter>,
    opened: u64,
    /// Read, and not opened.
    unread: Vec<u8>,
    /// Opened, and no whole frame.
    plain: Vec<u8>,
}

impl ByHand {
    /// Everything that came was read, and nothing was sent behind the handshake: the provider
    /// counts records from the first that is sealed with a key.
    pub(crate) fn new(socket: TcpStream, tls: Tls) -> ByHand {
        tls.shake_hands(&socket).expect("a handshake");
        let inner = tls.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let suite = inner.connection.negotiated_cipher_suite().expect("a suite");
        let aead = suite.tls13().expect("TLS 1.3").aead_alg;
        let secrets = inner.connection.dangerous_extract_secrets().expect("they may be had");
        let ((sealed, out), (opened, back)) = (secrets.tx, secrets.rx);
        assert_eq!(sealed, 0, "records sealed so far");
        let [(out, out_iv), (back, back_iv)] = [out, back].map(|secrets| match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv }
            | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
            | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
            _ => panic!("a suite that is not known"),
        });
        ByHand {
            socket,
            encrypter: aead.encrypter(out, out_iv),
            sealed: 0,
            decrypter: aead.decrypter(back, back_iv),
            opened,
            unread: Vec::new(),
            plain: Vec::new(),
        }
    }

    /// A record with this in it. It is the next one that is to be sent.
    pub(crate) fn seal(&mut self, typ: ContentType, plain: &[u8]) -> Vec<u8> {
        let version = ProtocolVersion::TLSv1_2;
        let message = OutboundPlainMessage { typ, version, payload: OutboundChunks::Single(plain) };
        let record = self.encrypter.encrypt(message, self.sealed).expect("it is sealed");
        self.sealed += 1;
        record.encode()
    }

    /// Writes records, if the peer still listens.
    pub(crate) fn send(&mut self, records: &[u8]) {
        let _ = self.socket.write_all(records);
    }

    /// The next frame that may not be skipped; `None` when the link has ended, also by an alert.
    #[track_caller]
    pub(crate) fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((header, behind)) = self.plain.split_first_chunk::<5>() {
                let [kind, len @ ..] = *header;
                if let Some(body) = behind.get(..u32::from_be_bytes(len) as usize) {
                    let body = body.to_vec();
                    self.plain.drain(..5 + body.len());
                    match kind {
                        0x80..=0xBF => continue,
                        _ => return Some((kind, body)),
                    }
                }
            }
            self.open_record()?;
        }
    }

    fn open_record(&mut self) -> Option<()> {
        let mut record = self.read_exact(5)?;
        let len = usize::from(record[3]) << 8 | usize::from(record[4]);
        record.extend(self.read_exact(len)?);
        let (typ, version) = (ContentType::from(record[0]), ProtocolVersion::TLSv1_2);
        let message = InboundOpaqueMessage::new(typ, version, &mut record[5..]);
        let opened = self.decrypter.decrypt(message, self.opened).expect("a record");
        self.opened += 1;
        match opened.typ {
            ContentType::ApplicationData => self.plain.extend_from_slice(opened.payload),
            ContentType::Alert => return None,
            other => panic!("a record of {other:?}"),
        }
        Some(())
    }

    fn read_exact(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.unread.len() < n {
            let mut bytes = [0; 4096];
            match self.socket.read(&mut bytes) {
                Ok(0) => return None,
                Ok(n) => self.unread.extend_from_slice(&bytes[..n]),
                Err(e) => {
                    let waits = matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                    assert!(!waits, "nothing comes");
                    return None;
                }
            }
        }
        Some(self.unread.drain(..n).collect())
    }
}

/// Trusts whoever has the key that it shows.
#[derive(Debug)]
struct Anybody;

macro_rules! proof {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::General("it speaks TLS 1.3".into()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            key: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &PROVIDER.signature_verification_algorithms;
            verify_tls13_signature_with_raw_key(message, &key.as_ref().into(), signed, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }

        fn requires_raw_public_keys(&self) -> bool {
            true
        }
    };
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    proof!();
}

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    proof!();
}
