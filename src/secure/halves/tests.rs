//! Two ends of a link with the toy's layer, and pipes in memory.

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::super::Security;
use super::*;
use crate::error::{Cause, Rejection};
use crate::identity::{Fingerprint, Peer, PeerIdentity};
use crate::proto::reject::Class;
use crate::proto::testing::rounds;
use crate::proto::testing::sim::planted::{self, Fault};

mod ends;

/// One end of a link, and what is under way from it to the other.
pub(in crate::secure) struct Side {
    pub(in crate::secure) channel: Channel,
    decoder: Decoder,
    batch: Batch,
    /// Written, and not read by the other.
    pipe: Vec<u8>,
    /// All that was ever written, and how much of that before the link was installed.
    wire: Vec<u8>,
    before: usize,
    /// Who sits on the path does something to the byte at this position.
    tampers: Option<(usize, Tamper)>,
    /// What its application has said, and what that has got.
    said: Vec<u8>,
    got: Vec<u8>,
    /// How many calls the last write took.
    calls: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tamper {
    Flips(u8),
    /// It is lost, and all behind it.
    Cuts,
}

impl Side {
    pub(in crate::secure) fn new(channel: Channel) -> Side {
        Side {
            channel,
            decoder: Decoder::default(),
            batch: Batch::default(),
            pipe: Vec::new(),
            wire: Vec::new(),
            before: 0,
            tampers: None,
            said: Vec::new(),
            got: Vec::new(),
            calls: 0,
        }
    }

    pub(in crate::secure) fn put(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match self.tampers {
                Some((at, Tamper::Flips(bits))) if at == self.wire.len() => {
                    self.pipe.push(byte ^ bits);
                }
                Some((at, Tamper::Cuts)) if at <= self.wire.len() => {}
                _ => self.pipe.push(*byte),
            }
            self.wire.push(*byte);
        }
    }

    /// The handshake is over.
    fn install(&mut self) {
        self.batch.records = Some(self.channel.sealer.records);
        self.before = self.wire.len();
    }

    /// Takes a message, in slices.
    fn say(&mut self, slices: &[Vec<u8>]) {
        for slice in slices {
            self.said.extend_from_slice(slice);
            self.batch.push(Bytes::copy_from_slice(slice));
        }
        self.batch.ends_message();
    }

    /// Writes at most so many bytes, in as many calls as it takes. Returns whether that was
    /// all.
    fn write(&mut self, mut most: usize) -> io::Result<bool> {
        let mut calls = Vec::new();
        let result = self.channel.sealer.write(&mut self.batch, |unsent| {
            let n = unsent.remaining().min(most);
            calls.push(unsent.chunk()[..n].to_vec());
            unsent.advance(n);
            most -= n;
            Ok(!unsent.has_remaining())
        });
        calls.iter().for_each(|bytes| self.put(bytes));
        self.calls = calls.len();
        result
    }

    /// Reads at most so many bytes that `from` has written.
    fn read(&mut self, from: &mut Side, most: usize) -> Opened {
        let Side { channel: Channel { opener, .. }, decoder, got, .. } = self;
        let mut space = opener.space(decoder);
        assert!(space.len() > 0, "no space reads as the end of a stream");
        let n = space.put(&from.pipe[..from.pipe.len().min(most)]);
        from.pipe.drain(..n);
        opener.filled(n);
        let opened = opener.open(decoder);
        got.extend_from_slice(decoder.take_all());
        if opened.end.is_none() {
            let whole = record_len(opener.input.unread())
                .is_some_and(|len| len <= opener.input.unread().len());
            assert!(!whole, "a whole record waits where nobody sees it");
        }
        opened
    }

    /// All that there is.
    pub(in crate::secure) fn read_all(&mut self, from: &mut Side) -> Option<End> {
        loop {
            let Opened { end, .. } = self.read(from, usize::MAX);
            if end.is_some() || from.pipe.is_empty() {
                return end;
            }
        }
    }
}

fn security(name: &str, trusts: &[&str]) -> (Security, Arc<AtomicUsize>) {
    let unanswered = Arc::new(AtomicUsize::default());
    (Security::toy(name, trusts, unanswered.clone()), unanswered)
}

/// Both ends of a link, the client first, before the handshake.
pub(in crate::secure) fn strangers_of(client: &Security, server: &Security) -> [Side; 2] {
    [client.connect("server"), server.accept()].map(|channel| Side::new(channel.unwrap()))
}

fn strangers() -> [Side; 2] {
    strangers_of(&security("alice", &["server"]).0, &security("server", &["alice"]).0)
}

/// The next flight of the handshake, and how the other end takes it.
fn flight(from: &mut Side, to: &mut Side) -> Option<End> {
    let control = from.channel.sealer.seal_now(&[]);
    from.put(&control);
    to.read_all(from)
}

pub(in crate::secure) fn shake_hands([client, server]: &mut [Side; 2]) -> Option<End> {
    client.channel.opener.open(&mut client.decoder);
    flight(client, server).or_else(|| flight(server, client)).or_else(|| flight(client, server))
}

/// After the handshake.
pub(in crate::secure) fn pair_of(client: &Security, server: &Security) -> [Side; 2] {
    let mut sides = strangers_of(client, server);
    assert_eq!(shake_hands(&mut sides), None);
    for side in &mut sides {
        assert!(side.channel.is_open());
        side.install();
    }
    sides
}

fn pair() -> [Side; 2] {
    pair_of(&security("alice", &["server"]).0, &security("server", &["alice"]).0)
}

fn named(name: &str) -> Who {
    let peer = Peer::by_key(PeerIdentity::Named(name.into()), Fingerprint([0; 32]));
    Some(Arc::new(peer)).into()
}

fn untrusted() -> Failure {
    Failure::Rejected(Rejection::from_wire(9, Class::Never))
}

#[test]
fn a_client_is_in_before_the_server_knows_who_it_is() {
    let [mut client, mut server] = strangers();
    let opened = client.channel.opener.open(&mut client.decoder);
    assert_eq!((opened.control, opened.end), (true, None));
    assert!(!client.channel.opener.open(&mut client.decoder).control, "it is said once");
    assert_eq!(flight(&mut client, &mut server), None);
    assert_eq!(flight(&mut server, &mut client), None);
    assert!(client.channel.is_open() && !server.channel.is_open());
    assert_eq!(client.channel.who(), named("server"));
    // Its last flight goes with its first words, which are longer than one record.
    let hello = [7; 250];
    assert!(client.channel.sealer.has_control());
    let words = client.channel.sealer.seal_now(&hello);
    assert!(!client.channel.sealer.has_control());
    assert!(!words.windows(20).any(|bytes| bytes == [7; 20]), "it is readable");
    client.put(&words);
    assert_eq!(server.read_all(&mut client), None);
    assert!(server.channel.is_open());
    assert_eq!((server.channel.who(), &server.got[..]), (named("alice"), &hello[..]));
}

#[test]
fn strangers_are_told_so() {
    let (client, server) = (security("eve", &["server"]).0, security("server", &["alice"]).0);
    let channels = [client.connect("server"), server.accept()];
    let mut sides = channels.map(|channel| Side::new(channel.unwrap()));
    assert_eq!(shake_hands(&mut sides), Some(End::Broken(untrusted())));
    let [client, server] = &mut sides;
    assert!(client.channel.is_open() && !server.channel.is_open());
    let words = server.channel.sealer.farewell();
    server.put(&words);
    assert_eq!(client.read_all(server), Some(End::Broken(untrusted())));
    let cause = Cause::from(untrusted()).to_string();
    assert!(cause.starts_with("rejected"), "{cause}");

    let (client, server) = (security("alice", &["server"]).0, security("mallory", &["alice"]).0);
    let channels = [client.connect("server"), server.accept()];
    let mut sides = channels.map(|channel| Side::new(channel.unwrap()));
    let stranger = Failure::Protocol("a server that is not trusted");
    assert_eq!(shake_hands(&mut sides), Some(End::Broken(stranger)));
    let [client, server] = &mut sides;
    assert!(!client.channel.is_open());
    // Nothing of that is sealed: anybody could have said so.
    assert!(matches!(flight(client, server), Some(End::Broken(Failure::Protocol(_)))));
}

fn talk(seed: u64) {
    let (client, asked) = security("alice", &["server"]);
    let (server, asked_too) = security("server", &["alice"]);
    talk_over(&client, &server, seed);
    let unanswered = [asked, asked_too].map(|asked| asked.load(Ordering::Relaxed));
    assert_eq!(unanswered, [0; 2], "a question without an answer");
}

/// Two ends that talk while everything comes in pieces, and writers are blocked.
pub(in crate::secure) fn talk_over(client: &Security, server: &Security, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut sides = pair_of(client, server);
    let mut one_way = None;
    if rng.bool() {
        one_way = Some(rng.usize(..2));
    }
    let mut predicted = [0; 2];
    let mut turn = |sides: &mut [Side; 2], rng: &mut fastrand::Rng, feeds: bool| {
        let which = rng.usize(..2);
        let [client, server] = sides;
        let (side, other) = if which == 0 { (client, server) } else { (server, client) };
        let most = [usize::MAX, rng.usize(..300), rng.usize(..3)][rng.usize(..3)];
        let free = side.batch.is_empty() && side.channel.sealer.unsent() == 0;
        match rng.u8(..3) {
            0 if feeds && free && one_way.is_none_or(|speaks| speaks == which) => {
                let slices = rng.usize(1..4);
                let slice = |_| (0..rng.usize(..400)).map(|_| rng.u8(..)).collect();
                side.say(&(0..slices).map(slice).collect::<Vec<_>>());
                predicted[which] = side.batch.end();
            }
            0 => {}
            1 => {
                let all = side.write(most.min(2000 - side.pipe.len().min(2000))).unwrap();
                let len = side.batch.len();
                assert_eq!(all, side.channel.sealer.unsent() == 0 && len == 0);
                let written = side.wire.len() - side.before;
                assert_eq!(side.batch.written(), written as u64, "a wrong position");
                let arrives = one_way == Some(which) && all;
                assert!(!arrives || predicted[which] == side.batch.written(), "a wrong guess");
            }
            _ => {
                let Opened { control, end } = side.read(other, most);
                assert_eq!(end, None);
                assert!(!control || side.channel.sealer.has_control());
            }
        }
    };
    for _ in 0..300 {
        turn(&mut sides, &mut rng, true);
    }
    for _ in 0..300 {
        turn(&mut sides, &mut rng, false);
    }
    let [client, server] = &mut sides;
    for _ in 0..10 {
        assert!(client.write(usize::MAX).unwrap() && server.write(usize::MAX).unwrap());
        assert_eq!((server.read_all(client), client.read_all(server)), (None, None));
    }
    assert!(server.got == client.said && client.got == server.said, "other bytes");
}

#[test]
fn whatever_the_pieces_are_all_arrives() {
    (0..rounds(500)).for_each(talk);
}

/// What talks with a fault planted complain of.
fn complaints(fault: Fault) -> impl Iterator<Item = String> {
    (0..rounds(500)).filter_map(move |seed| {
        let panic = planted::with(fault, || catch_unwind(|| talk(seed))).err()?;
        let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
        text.or_else(|| panic.downcast_ref::<String>().cloned())
    })
}

#[test]
#[cfg_attr(miri, ignore = "it takes too many seeds")]
fn what_breaks_the_seam_is_caught() {
    let faults = [
        (Fault::OneRecord, "where nobody sees it"),
        (Fault::SealAgain, "missing"),
        (Fault::ForgetRest, "forged"),
        (Fault::ForgetControl, "missing"),
        (Fault::SealBeforeTaking, "missing"),
        (Fault::CountPlain, "a wrong position"),
    ];
    for (fault, how) in faults {
        let caught = complaints(fault).any(|complaint| complaint.contains(how));
        assert!(caught, "{fault:?} was not caught");
    }
}
