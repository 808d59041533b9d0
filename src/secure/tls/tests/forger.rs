//! A peer that has proven who it is, and then seals whatever it likes.

use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::kernel::KernelConnection;
use rustls::{ConnectionTrafficSecrets, ContentType, ExtractedSecrets, ProtocolVersion};

use super::*;

pub(super) struct Forger {
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
    update: Box<dyn FnMut() -> Box<dyn MessageEncrypter>>,
}

fn encrypter(secrets: ConnectionTrafficSecrets) -> Box<dyn MessageEncrypter> {
    let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else {
        panic!("both prefer another suite");
    };
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384;
    suite.tls13().unwrap().aead_alg.encrypter(key, iv)
}

impl Forger {
    /// A client that a server has let in.
    pub(super) fn client() -> (Forger, Side) {
        let mut keys = keys(ALICE, SERVER);
        of_client(&mut keys).enable_secret_extraction = true;
        let mut client = Side::client(&keys);
        let mut server = Side::server(&super::keys(SERVER, ALICE));
        converse(&mut client, &mut server);
        (Forger::take_over(client), server)
    }

    /// A server that a client trusts.
    pub(super) fn server() -> (Forger, Side) {
        let mut client = Side::client(&keys(ALICE, SERVER));
        (Forger::server_of(&mut client), client)
    }

    pub(super) fn server_of(client: &mut Side) -> Forger {
        let mut keys = keys(SERVER, ALICE);
        of_server(&mut keys).enable_secret_extraction = true;
        let mut server = Side::server(&keys);
        converse(client, &mut server);
        Forger::take_over(server)
    }

    /// One whose secrets may be extracted.
    pub(super) fn take_over(side: Side) -> Forger {
        match side.tls.connection {
            Connection::Client(tls) => Forger::new(tls.dangerous_into_kernel_connection()),
            Connection::Server(tls) => Forger::new(tls.dangerous_into_kernel_connection()),
        }
    }

    fn new<D: 'static>(secrets: Result<(ExtractedSecrets, KernelConnection<D>), Error>) -> Forger {
        let (secrets, mut kernel) = secrets.unwrap();
        let update = Box::new(move || encrypter(kernel.update_tx_secret().unwrap().1));
        let (sequence, keys) = secrets.tx;
        Forger { encrypter: encrypter(keys), sequence, update }
    }

    /// A record with this in it.
    pub(super) fn forge(&mut self, typ: ContentType, plain: &[u8]) -> Vec<u8> {
        let version = ProtocolVersion::TLSv1_2;
        let message = OutboundPlainMessage { typ, version, payload: OutboundChunks::Single(plain) };
        let record = self.encrypter.encrypt(message, self.sequence).unwrap();
        self.sequence += 1;
        record.encode()
    }

    /// It changes its keys, and says so; the other side has to, or not.
    pub(super) fn update_keys(&mut self, both: bool) -> Vec<u8> {
        let record = self.forge(ContentType::Handshake, &[KEY_UPDATE, 0, 0, 1, u8::from(both)]);
        self.encrypter = (self.update)();
        self.sequence = 0;
        record
    }
}

pub(super) const KEY_UPDATE: u8 = 24;

/// A new_session_ticket: for a day, with a nonce of a byte, 32 bytes, and no extensions.
pub(super) fn ticket() -> Vec<u8> {
    let body = [&[0, 1, 0x51, 0x80, 1, 2, 3, 4, 1, 9, 0, 32][..], &[7; 32], &[0, 0]].concat();
    [&[4, 0, 0, body.len() as u8], &body[..]].concat()
}
