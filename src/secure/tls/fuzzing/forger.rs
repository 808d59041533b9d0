//! A peer that has proven who it is, and then seals whatever it likes.

use rustls::crypto::cipher::{
    InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::kernel::KernelConnection;
use rustls::{ConnectionTrafficSecrets, ContentType, ExtractedSecrets, ProtocolVersion};

use super::super::*;

pub(in crate::secure::tls) struct Forger {
    encrypter: Box<dyn MessageEncrypter>,
    sealed: u64,
    decrypter: Box<dyn MessageDecrypter>,
    opened: u64,
    /// Of a record that is not whole.
    unread: Vec<u8>,
    change: Box<dyn FnMut(Way) -> ConnectionTrafficSecrets>,
}

#[derive(Clone, Copy)]
enum Way {
    Out,
    In,
}

fn encrypter(secrets: ConnectionTrafficSecrets) -> Box<dyn MessageEncrypter> {
    let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else { panic!("{SUITE}") };
    suite().encrypter(key, iv)
}

fn decrypter(secrets: ConnectionTrafficSecrets) -> Box<dyn MessageDecrypter> {
    let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else { panic!("{SUITE}") };
    suite().decrypter(key, iv)
}

const SUITE: &str = "both prefer another suite";

fn suite() -> &'static dyn rustls::crypto::cipher::Tls13AeadAlgorithm {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384;
    suite.tls13().expect("a suite of TLS 1.3").aead_alg
}

impl Forger {
    /// One whose secrets may be extracted, behind the handshake.
    pub(in crate::secure::tls) fn take_over(tls: Tls) -> Forger {
        match tls.connection {
            Connection::Client(tls) => Forger::new(tls.dangerous_into_kernel_connection()),
            Connection::Server(tls) => Forger::new(tls.dangerous_into_kernel_connection()),
        }
    }

    fn new<D: 'static>(secrets: Result<(ExtractedSecrets, KernelConnection<D>), Error>) -> Forger {
        let (secrets, mut kernel) = secrets.expect("the handshake is over");
        let change = Box::new(move |way| {
            let changed = match way {
                Way::Out => kernel.update_tx_secret(),
                Way::In => kernel.update_rx_secret(),
            };
            changed.expect("TLS 1.3").1
        });
        let ((sealed, out), (opened, back)) = (secrets.tx, secrets.rx);
        let unread = Vec::new();
        Forger {
            encrypter: encrypter(out),
            sealed,
            decrypter: decrypter(back),
            opened,
            unread,
            change,
        }
    }

    /// A record with this in it.
    pub(in crate::secure::tls) fn forge(&mut self, typ: ContentType, plain: &[u8]) -> Vec<u8> {
        let version = ProtocolVersion::TLSv1_2;
        let message = OutboundPlainMessage { typ, version, payload: OutboundChunks::Single(plain) };
        let record = self.encrypter.encrypt(message, self.sealed).expect("it is sealed");
        self.sealed += 1;
        record.encode()
    }

    /// It changes its keys, and says so; the other side has to, or not.
    pub(in crate::secure::tls) fn update_keys(&mut self, both: bool) -> Vec<u8> {
        let record = self.forge(ContentType::Handshake, &[KEY_UPDATE, 0, 0, 1, u8::from(both)]);
        self.encrypter = encrypter((self.change)(Way::Out));
        self.sealed = 0;
        record
    }

    /// What is in the records of the other side that are whole by these bytes. Each is in order.
    pub(super) fn open(&mut self, bytes: &[u8]) -> Vec<(ContentType, Vec<u8>)> {
        self.unread.extend_from_slice(bytes);
        let mut found = Vec::new();
        while let Some(len) = record_len(&self.unread).filter(|len| *len <= self.unread.len()) {
            let mut record: Vec<u8> = self.unread.drain(..len).collect();
            let (typ, version) = (ContentType::from(record[0]), ProtocolVersion::TLSv1_2);
            let sealed = InboundOpaqueMessage::new(typ, version, &mut record[5..]);
            let opened = self.decrypter.decrypt(sealed, self.opened).expect("it was sealed");
            let (typ, plain) = (opened.typ, opened.payload.to_vec());
            self.opened += 1;
            if typ == ContentType::Handshake && plain.first() == Some(&KEY_UPDATE) {
                self.decrypter = decrypter((self.change)(Way::In));
                self.opened = 0;
            }
            found.push((typ, plain));
        }
        found
    }

    /// Whether a part of a record is there.
    pub(super) fn is_amid_record(&self) -> bool {
        !self.unread.is_empty()
    }
}

pub(in crate::secure::tls) const KEY_UPDATE: u8 = 24;

/// A new_session_ticket: for a day, with a nonce of a byte, 32 bytes, and no extensions.
pub(in crate::secure::tls) fn ticket() -> Vec<u8> {
    let body = [&[0, 1, 0x51, 0x80, 1, 2, 3, 4, 1, 9, 0, 32][..], &[7; 32], &[0, 0]].concat();
    [&[4, 0, 0, body.len() as u8], &body[..]].concat()
}
