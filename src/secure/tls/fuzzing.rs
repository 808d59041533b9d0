//! One end of a link of TLS, whose peer is real: they shake hands in memory. Then the peer seals
//! what a fuzzer likes, and somebody on the path alters that, and says more.
//!
//! The keys of both are the same in each run, and no clock is asked. The secrets of a handshake
//! are others each time, since rustls' provider draws them: so the same is sealed as other bytes,
//! and means the same.

pub(super) mod forger;

use std::io::ErrorKind;
use std::sync::LazyLock;

use bytes::{Buf, Bytes};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ContentType, ServerConfig};

use self::forger::{Forger, ticket};
use super::*;
use crate::identity::{Fingerprint, PeerIdentity};
use crate::proto::batch::Batch;
use crate::proto::testing::Choices;
use crate::secure::verify::PROVIDER;
use crate::secure::{Channel, End, Opened};

/// An Ed25519 key that is the same in each run.
pub(super) fn key(seed: u8) -> Arc<CertifiedKey> {
    let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    der.extend([seed; 32]);
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der));
    let key = PROVIDER.key_provider.load_private_key(key).unwrap();
    let public = CertificateDer::from(key.public_key().unwrap().to_vec());
    Arc::new(CertifiedKey::new(vec![public], key))
}

pub(super) const ALICE: u8 = 1;
pub(super) const SERVER: u8 = 2;

pub(super) fn print(seed: u8) -> Fingerprint {
    fingerprint(&key(seed).cert[0])
}

/// For the owner of one key, which trusts the owner of another.
pub(super) fn keys(own: u8, other: u8) -> Setup {
    keys_of(key(own), other)
}

pub(super) fn keys_of(own: Arc<CertifiedKey>, other: u8) -> Setup {
    let peer = PeerIdentity::Named(format!("peer {other}"));
    let peer = Peer::by_key(peer, print(other));
    Setup::keys(own, Arc::new([(print(other), Arc::new(peer))].into()))
}

pub(super) fn of_client(setup: &mut Setup) -> &mut ClientConfig {
    Arc::get_mut(setup.client.as_mut().unwrap()).unwrap()
}

pub(super) fn of_server(setup: &mut Setup) -> &mut ServerConfig {
    Arc::get_mut(setup.server.as_mut().unwrap()).unwrap()
}

/// A record is not larger than this, and a buffer is a power of two.
const MOST: usize = 32 * 1024;

/// The longest plaintext of a record.
const FULL: usize = 16 * 1024;

/// So much of a handshake is read at most.
const BEFORE: usize = 16 * 1024;

/// A client's setup, and a server's. Those of a forger let their secrets be extracted.
static SETUPS: LazyLock<[Setup; 2]> = LazyLock::new(|| {
    let (mut client, mut server) = (keys(ALICE, SERVER), keys(SERVER, ALICE));
    of_client(&mut client).enable_secret_extraction = true;
    of_server(&mut server).enable_secret_extraction = true;
    [client, server]
});

pub(crate) fn run(bytes: &[u8]) {
    let mut choices = Choices::of(bytes);
    match choices.u8(..4) {
        0 => disturb_handshake(&mut choices),
        _ => talk(&mut choices),
    }
}

/// A client and a server.
fn strangers() -> [Tls; 2] {
    let [client, server] = &*SETUPS;
    [Tls::connect(client, "server").unwrap(), Tls::accept(server).unwrap()]
}

/// Behind so many flights the path alters the next, and then says what it likes.
fn disturb_handshake(choices: &mut Choices) {
    let [mut peer, mut reader] = strangers().map(Reader::new);
    peer.open();
    for _ in 0..choices.usize(..3) {
        let flight = peer.channel.sealer.seal_now(&[]);
        reader.hear(&flight, &mut Choices::of(&[]));
        assert_eq!(reader.end, None, "a flight of the handshake");
        std::mem::swap(&mut reader, &mut peer);
    }
    let honest = peer.channel.sealer.seal_now(&[]);
    let mut flight = honest.clone();
    let behind = flight.split_off(choices.usize(..=honest.len()));
    let len = choices.usize(..200);
    flight.extend(choices.take(len));
    flight.extend(match choices.u8(..4) {
        0 => &[],
        1 => behind.get(1..).unwrap_or_default(),
        _ => &behind[..],
    });
    reader.hear(&flight, choices);
    assert!(flight != honest || reader.end.is_none(), "{:?} of an honest peer", reader.end);
    while !choices.are_over() && reader.end.is_none() {
        let len = choices.usize(..2000);
        let more = if choices.bool() { Bytes::copy_from_slice(&honest) } else { choices.take(len) };
        reader.hear(&more, choices);
    }
    assert!(reader.got.is_empty(), "what nobody has said");
    assert_ne!(reader.end, Some(End::InOrder));
    reader.leave(None);
}

/// Behind the handshake.
fn talk(choices: &mut Choices) {
    let (mut reader, mut peer) = acquaintances(choices.bool());
    let mut last = Vec::new();
    // Whether all came as it was sealed.
    let mut whole = true;
    while !choices.are_over() && reader.end.is_none() {
        let honest = match choices.u8(..16) {
            0 => {
                whole = false;
                let len = choices.usize(..100);
                choices.take(len).to_vec()
            }
            1 => {
                whole = false;
                vec![choices.u8(..), 3, 3, choices.u8(..), choices.u8(..)]
            }
            2 => {
                whole = false;
                last.clone()
            }
            3 | 4 => {
                reader.write(&mut peer, choices);
                continue;
            }
            _ => peer.seals(choices),
        };
        let mut stream = honest.clone();
        match choices.u8(..16) {
            _ if stream.is_empty() => {}
            0 => {
                let at = choices.usize(..stream.len());
                stream[at] ^= choices.u8(..).max(1);
            }
            1 => stream.truncate(choices.usize(..stream.len())),
            _ => {}
        }
        whole &= stream == honest;
        last = honest;
        reader.hear(&stream, choices);
        assert!(peer.said.starts_with(&reader.got), "what nobody has said");
        assert!(reader.end != Some(End::InOrder) || peer.ended, "an end that nobody has sealed");
        if whole && peer.is_honest {
            assert_eq!(reader.end, peer.ended.then_some(End::InOrder), "of an honest peer");
            assert!(reader.got == peer.said, "it waits where nobody sees it");
        }
    }
    reader.leave(Some(peer));
}

/// The one that is tested, and a peer that it has let in.
fn acquaintances(is_client: bool) -> (Reader, Sealer) {
    let [client, server] = strangers();
    let (reader, mut peer) = if is_client { (client, server) } else { (server, client) };
    let (mut input, mut control, mut none) = <(Buffer, Vec<u8>, Decoder)>::default();
    let mut reader = Reader::new(reader);
    reader.open();
    for _ in 0..3 {
        peer.open(&mut input, &mut control, &mut none).expect("a flight of the handshake");
        reader.hear(&std::mem::take(&mut control), &mut Choices::of(&[]));
        input.append(&reader.channel.sealer.seal_now(&[]));
    }
    assert!(reader.channel.is_open() && reader.end.is_none());
    reader.batch.records = Some(RECORDS);
    (reader, Sealer::new(Forger::take_over(peer), is_client))
}

struct Reader {
    channel: Channel,
    decoder: Decoder,
    got: Vec<u8>,
    end: Option<End>,
    /// How much came.
    heard: usize,
    batch: Batch,
    /// How much went into the batch, and out of the sealer.
    said: Vec<u8>,
    written: u64,
}

impl Reader {
    fn new(tls: Tls) -> Reader {
        Reader {
            channel: Channel::new(Box::new(tls)),
            decoder: Decoder::default(),
            got: Vec::new(),
            end: None,
            heard: 0,
            batch: Batch::default(),
            said: Vec::new(),
            written: 0,
        }
    }

    /// In pieces.
    fn hear(&mut self, mut stream: &[u8], choices: &mut Choices) {
        while !stream.is_empty() && self.end.is_none() {
            let piece = choices.piece(stream);
            let n = self.channel.opener.space(&mut self.decoder).put(piece);
            assert!(n > 0, "no space reads as the end of a stream");
            self.channel.opener.filled(n);
            self.heard += n;
            stream = &stream[n..];
            self.open();
        }
    }

    fn open(&mut self) {
        let was_open = self.channel.is_open();
        let Opened { control, end } = self.channel.opener.open(&mut self.decoder);
        self.got.extend_from_slice(self.decoder.take_all());
        self.end = end;
        // An answer waits for the next record, so that it costs no write of its own.
        assert!(!was_open || !control || self.end.is_some(), "it is to be written at once");
        let is_within = self.heard < BEFORE || self.channel.is_open() || self.end.is_some();
        assert!(is_within, "{} bytes of a handshake", self.heard);
        let memory = [self.channel.opener.memory(), self.decoder.memory()];
        assert!(memory[0] <= MOST && memory[1] <= 2 * MOST, "{memory:?} bytes reserved");
    }

    /// Something, and of what is sealed as much as the path takes. The peer opens it.
    fn write(&mut self, peer: &mut Sealer, choices: &mut Choices) {
        if self.batch.is_empty() && self.channel.sealer.unsent() == 0 {
            let len = match choices.u8(..8) {
                0 => 3 * FULL,
                _ => choices.usize(..600),
            };
            let plain: Vec<u8> = (self.said.len()..self.said.len() + len).map(text).collect();
            self.said.extend_from_slice(&plain);
            self.batch.push(Bytes::from(plain));
            self.batch.ends_message();
        }
        if choices.u8(..16) == 0 {
            self.batch.end_stream();
        }
        let most = match choices.u8(..4) {
            0 => choices.usize(..3),
            1 => choices.usize(..20_000),
            _ => usize::MAX,
        };
        self.write_most(peer, most);
    }

    fn write_most(&mut self, peer: &mut Sealer, mut most: usize) {
        let mut wire = Vec::new();
        let all = self.channel.sealer.write(&mut self.batch, |unsent| {
            let n = unsent.remaining().min(most);
            wire.extend_from_slice(&unsent.chunk()[..n]);
            unsent.advance(n);
            most -= n;
            Ok(!unsent.has_remaining())
        });
        self.written += wire.len() as u64;
        peer.opens(&wire);
        // What a record carries leaves the batch with its last byte.
        assert!(self.said.starts_with(&peer.got), "other bytes than were written");
        assert_eq!(peer.got.len(), self.said.len() - self.batch.len());
        assert_eq!(self.batch.written(), self.written, "a wrong position");
        let is_all = !self.batch.has_remaining() && self.channel.sealer.unsent() == 0;
        assert_eq!(all.unwrap(), is_all);
    }

    /// However it has ended.
    fn leave(mut self, peer: Option<Sealer>) {
        let at_end = self.channel.opener.at_end();
        assert_eq!(at_end == End::InOrder, self.end == Some(End::InOrder));
        if matches!(self.end, Some(End::Broken(_))) {
            assert!(!self.channel.is_open());
            let before = (self.end.clone(), self.got.len());
            self.channel.opener.append(&[0x17, 3, 3, 0, 0]);
            self.open();
            assert_eq!((self.end.clone(), self.got.len()), before, "it goes on");
            let result = self.channel.sealer.write(&mut self.batch, |_| panic!("it writes"));
            assert_eq!(result.map_err(|e| e.kind()), Err(ErrorKind::BrokenPipe));
        } else if let Some(mut peer) = peer {
            // The other direction goes on.
            self.write_most(&mut peer, usize::MAX);
            let says_end = self.batch.ends_stream();
            let words = self.channel.sealer.farewell();
            assert_eq!(words.is_empty(), says_end, "{} bytes", words.len());
            peer.opens(&words);
            assert!(peer.has_end && peer.got == self.said && !peer.forger.is_amid_record());
        }
        let words = self.channel.sealer.farewell();
        assert!(words.len() < 4096, "{} bytes", words.len());
    }
}

/// What is said at this position.
fn text(at: usize) -> u8 {
    (at * 7 + at / 256) as u8
}

/// It seals by hand.
struct Sealer {
    forger: Forger,
    is_server: bool,
    said: Vec<u8>,
    /// Nothing so far was against the rules.
    is_honest: bool,
    /// How many of these in a row, without data in between.
    updates: u32,
    empty: u32,
    /// In all.
    cancels: u32,
    ended: bool,
    got: Vec<u8>,
    has_end: bool,
}

impl Sealer {
    fn new(forger: Forger, is_server: bool) -> Sealer {
        Sealer {
            forger,
            is_server,
            said: Vec::new(),
            is_honest: true,
            updates: 0,
            empty: 0,
            cancels: 0,
            ended: false,
            got: Vec::new(),
            has_end: false,
        }
    }

    fn seals(&mut self, choices: &mut Choices) -> Vec<u8> {
        match choices.u8(..16) {
            0 => {
                let (typ, len) = (ContentType::from(choices.u8(..)), choices.usize(..100));
                self.seal(typ, &choices.take(len))
            }
            // Maybe a piece of a message.
            1 => {
                let len = choices.usize(..8);
                self.seal(ContentType::Handshake, ticket().get(..len).unwrap_or_default())
            }
            12 => {
                let len = choices.usize(..100);
                self.seal(ContentType::Handshake, &choices.take(len))
            }
            2 => self.seal(ContentType::Alert, &[choices.u8(1..4), choices.u8(..)]),
            3 => self.seal(ContentType::Alert, &[1, CLOSE_NOTIFY]),
            4 => self.seal(ContentType::Alert, &[1, USER_CANCELED]),
            5 => self.seal(ContentType::Handshake, &ticket()),
            6 => self.seal(ContentType::ApplicationData, &[]),
            // More in a row than are taken.
            7 => (0..choices.u8(..40))
                .flat_map(|_| self.seal(ContentType::ApplicationData, &[]))
                .collect(),
            8 => (0..choices.u8(..40)).flat_map(|i| self.updates_keys(i % 2 == 0)).collect(),
            9 => self.updates_keys(choices.bool()),
            10 => self.says(FULL - 1 + choices.usize(..3)),
            _ => self.says(choices.usize(..300)),
        }
    }

    fn says(&mut self, len: usize) -> Vec<u8> {
        let plain: Vec<u8> = (self.said.len()..self.said.len() + len).map(text).collect();
        self.seal(ContentType::ApplicationData, &plain)
    }

    fn updates_keys(&mut self, both: bool) -> Vec<u8> {
        self.updates += 1;
        self.is_honest &= self.ended || self.updates <= 32;
        self.forger.update_keys(both)
    }

    /// A record with this in it, and what the other side is to make of that.
    fn seal(&mut self, typ: ContentType, plain: &[u8]) -> Vec<u8> {
        match unpadded(typ, plain) {
            // What is behind the end is not looked at.
            _ if self.ended => {}
            (ContentType::ApplicationData, []) => self.empty += 1,
            (ContentType::ApplicationData, plain) if plain.len() <= FULL => {
                (self.updates, self.empty) = (0, 0);
                self.said.extend_from_slice(plain);
            }
            (ContentType::Alert, [1 | 2, CLOSE_NOTIFY]) => self.ended = true,
            (ContentType::Alert, [1, USER_CANCELED]) => self.cancels += 1,
            (ContentType::Handshake, plain) if self.is_server && plain == ticket() => {}
            _ => self.is_honest = false,
        }
        self.is_honest &= self.ended || (self.empty <= 32 && self.cancels <= 4);
        self.forger.forge(typ, plain)
    }

    fn opens(&mut self, bytes: &[u8]) {
        for (typ, plain) in self.forger.open(bytes) {
            assert!(!self.has_end, "something behind the end");
            match (typ, &plain[..]) {
                (ContentType::ApplicationData, plain) => self.got.extend_from_slice(plain),
                (ContentType::Handshake, [forger::KEY_UPDATE, 0, 0, 1, 0]) => {}
                (ContentType::Alert, [_, CLOSE_NOTIFY]) => self.has_end = true,
                other => panic!("{other:?}"),
            }
        }
    }
}

/// As the other side reads it: zeros behind the last other byte, which is the type, are padding
/// (RFC 8446, 5.4).
fn unpadded(typ: ContentType, plain: &[u8]) -> (ContentType, &[u8]) {
    match plain.iter().rposition(|byte| *byte != 0) {
        Some(at) if u8::from(typ) == 0 => (ContentType::from(plain[at]), &plain[..at]),
        _ => (typ, plain),
    }
}

const CLOSE_NOTIFY: u8 = 0;

/// It announces an end, and is none.
const USER_CANCELED: u8 = 90;
