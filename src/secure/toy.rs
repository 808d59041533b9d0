//! A layer for tests. It keeps no secret, and is as TLS 1.3 in what matters to those around
//! it: records that are opened whole or not at all, none of which may be missing, forged,
//! doubled, or of another link; a handshake of three flights, of which the client may send the
//! last along with its first words, and the server may still refuse it; answers that the
//! reader brings forth and the writer has to send; records without bytes; and an end that
//! only the peer can have said.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

#[cfg(all(test, not(shuttle)))]
use super::Channel;
use super::halves::record_len;
use super::{Failure, Layer, Mode, Security};
use crate::error::Rejection;
use crate::identity::{Fingerprint, Peer, PeerIdentity};
use crate::proto::batch::Records;
use crate::proto::buffer::Buffer;
use crate::proto::frame::Decoder;
#[cfg(test)]
use crate::proto::testing::sim::{Fault, planted};
use crate::sync::{self, Arc};

/// As little as shows that pieces are split, and what TLS adds.
const RECORDS: Records = Records { most: 100, adds: 22 };

/// Of the handshake, and in clear: the type is its own word.
const HELLO: u8 = 0x16;
/// In clear, before there are keys.
const ALERT: u8 = 0x15;
/// What it is stands inside.
const SEALED: u8 = 0x17;

/// What a sealed record is.
mod what {
    /// The client's last flight: its key.
    pub(super) const FINISHED: u8 = 0;
    pub(super) const DATA: u8 = 1;
    /// Data, and the peer has to answer.
    pub(super) const QUESTION: u8 = 2;
    pub(super) const ANSWER: u8 = 3;
    pub(super) const END: u8 = 4;
    /// Why the link is broken, by a code.
    pub(super) const ALERT: u8 = 5;
}

/// The code of an alert that is no refusal.
const BROKEN: u8 = 0;
/// The key is not one of those that are trusted. It is the code of a REJECT that says so.
const UNTRUSTED: u8 = 9;

/// Who has this key does not say that it speaks longlink.
pub(crate) const FOREIGN: &str = "foreign";

/// One data record in so many asks, as a rule.
const ASKS: u64 = 3;
/// With so many questions open, no more are asked: their answers are fewer bytes than may wait
/// to be written.
const OPEN: usize = 32;
/// One answer in so many has an empty record behind it.
const EMPTY: u64 = 2;

#[derive(Debug, Clone)]
struct Config {
    key: Arc<str>,
    /// By their keys.
    trusted: Arc<HashMap<String, Arc<Peer>>>,
    links: Arc<AtomicU64>,
    asks: u64,
    unanswered: Arc<AtomicUsize>,
}

impl Security {
    /// For the owner of this key, which trusts these: each is a key, or `name=key`, or
    /// `name=key until TIME`, in milliseconds since 1970. `unanswered` counts what links that
    /// live have asked, and their peers have not answered.
    pub(crate) fn toy(key: &str, trusts: &[&str], unanswered: Arc<AtomicUsize>) -> Security {
        Security { mode: Arc::new(Config::new(key, trusts, ASKS, unanswered)) }
    }
}

impl Config {
    fn new(key: &str, trusts: &[&str], asks: u64, unanswered: Arc<AtomicUsize>) -> Config {
        let trusted = trusts.iter().map(|line| {
            let (line, until) = line.split_once(" until ").unwrap_or((line, ""));
            let (name, key) = line.split_once('=').unwrap_or((line, line));
            let mut print = [0; 32];
            print[..8].copy_from_slice(&sum(0, key.as_bytes()).to_be_bytes());
            let peer = Peer::by_key(PeerIdentity::Named(name.into()), Fingerprint(print));
            let time = until.parse().ok().map(Duration::from_millis);
            let expires = time.map(|time| SystemTime::UNIX_EPOCH + time);
            (key.into(), Arc::new(Peer { expires, ..peer }))
        });
        let trusted = Arc::new(trusted.collect());
        Config { key: key.into(), trusted, links: Arc::default(), asks, unanswered }
    }
}

/// Both ends of a link, the client first, once the handshake is over. One data record in so
/// many asks; with 0, none does; with 1, each, however many questions are open.
#[cfg(all(test, not(shuttle)))]
pub(crate) fn pair(asks: [u64; 2], unanswered: &Arc<AtomicUsize>) -> [Channel; 2] {
    let toy = |key, trusts, is_client, asks| {
        let config = Config::new(key, &[trusts], asks, unanswered.clone());
        Channel::new(Box::new(Toy::new(config, is_client)))
    };
    let mut client = toy("alice", "server", true, asks[0]);
    let mut server = toy("server", "alice", false, asks[1]);
    let mut none = Decoder::default();
    client.opener.open(&mut none);
    for _ in 0..2 {
        server.opener.append(&client.sealer.seal_now(&[]));
        server.opener.open(&mut none);
        client.opener.append(&server.sealer.seal_now(&[]));
        client.opener.open(&mut none);
    }
    assert!(client.is_open() && server.is_open());
    [client, server]
}

impl Mode for Config {
    fn connect(&self, _: &str) -> Result<Box<dyn Layer + Send>, Failure> {
        Ok(Box::new(Toy::new(self.clone(), true)))
    }

    fn accept(&self) -> Result<Box<dyn Layer + Send>, Failure> {
        Ok(Box::new(Toy::new(self.clone(), false)))
    }

    fn read_again(&self) -> Result<(), String> {
        Ok(())
    }

    fn can_connect(&self) -> Result<(), &'static str> {
        Ok(())
    }

    fn can_accept(&self) -> Result<(), &'static str> {
        Ok(())
    }

    fn takes_text(&self) -> bool {
        true
    }

    #[cfg(feature = "tls")]
    fn fingerprint(&self) -> Option<crate::identity::Fingerprint> {
        None
    }

    fn trusts(&self, peer: Option<&Peer>) -> bool {
        let Some(peer) = peer else { return false };
        let same = |trusted: &Peer| trusted == peer && trusted.credential == peer.credential;
        self.trusted.values().any(|trusted| same(trusted))
    }
}

/// The clock is not asked where it does not matter: the simulation has none.
fn counts(peer: &Peer) -> bool {
    peer.expires.is_none_or(|expires| sync::wall_clock() < expires)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A client says hello, a server waits for that.
    Begins,
    /// A client waits for the server's hello, a server for the client's key.
    Greets,
    Open,
}

#[derive(Debug)]
struct Toy {
    config: Config,
    is_client: bool,
    stage: Stage,
    /// Of both hellos: the keys.
    transcript: u64,
    peer: Option<Arc<Peer>>,
    sealed: u64,
    opened: u64,
    data: u64,
    answers: u64,
    asked: usize,
    end_heard: bool,
}

/// The next state of a check sum; every byte changes it (FNV-1a).
fn sum(state: u64, bytes: &[u8]) -> u64 {
    let next = |state: u64, byte: &u8| (state ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
    bytes.iter().fold(state, next)
}

fn put(output: &mut Vec<u8>, kind: u8, body: &[&[u8]]) {
    let len = body.iter().map(|part| part.len()).sum::<usize>();
    output.extend([kind, 3, 3, (len >> 8) as u8, len as u8]);
    body.iter().for_each(|part| output.extend_from_slice(part));
}

impl Layer for Toy {
    fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    fn speaks_longlink(&self) -> bool {
        let foreign = |peer: &Arc<Peer>| peer.identity == PeerIdentity::Named(FOREIGN.into());
        self.is_open() && &*self.config.key != FOREIGN && !self.peer.as_ref().is_some_and(foreign)
    }

    fn peer(&self) -> Option<Arc<Peer>> {
        self.peer.clone()
    }

    fn open(
        &mut self,
        input: &mut Buffer,
        control: &mut Vec<u8>,
        to: &mut Decoder,
    ) -> Result<bool, Failure> {
        log::trace!("opens {} bytes", input.unread().len());
        if self.is_client && self.stage == Stage::Begins {
            self.say_hello(control);
            self.stage = Stage::Greets;
        }
        while let Some(len) = record_len(input.unread()).filter(|len| *len <= input.unread().len())
        {
            match self.hear(&mut input.unread_mut()[..len], control) {
                Ok(plain) => to.append(plain),
                Err(failure) => {
                    self.alert(&failure, control);
                    return Err(failure);
                }
            }
            input.skip(len);
            #[cfg(test)]
            if planted(Fault::OneRecord) {
                break;
            }
        }
        Ok(self.end_heard)
    }

    fn seal(&mut self, plain: &[u8], output: &mut Vec<u8>) -> Result<(), Failure> {
        log::trace!("seals {} bytes", plain.len());
        self.data += 1;
        let may_ask = self.config.asks == 1 || self.asked < OPEN;
        let asks = may_ask && self.data.is_multiple_of(self.config.asks);
        if asks {
            self.asked += 1;
            self.config.unanswered.fetch_add(1, Ordering::Relaxed);
        }
        self.put(if asks { what::QUESTION } else { what::DATA }, plain, output);
        Ok(())
    }

    fn end(&mut self, output: &mut Vec<u8>) -> Result<(), Failure> {
        self.put(what::END, &[], output);
        Ok(())
    }

    fn records(&self) -> Records {
        RECORDS
    }
}

impl Toy {
    fn new(config: Config, is_client: bool) -> Toy {
        Toy {
            config,
            is_client,
            stage: Stage::Begins,
            transcript: 0xCBF2_9CE4_8422_2325,
            peer: None,
            sealed: 0,
            opened: 0,
            data: 0,
            answers: 0,
            asked: 0,
            end_heard: false,
        }
    }

    /// The number of the link makes the keys those of no other.
    fn say_hello(&mut self, control: &mut Vec<u8>) {
        let link = self.config.links.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        // Who the client is, it says sealed.
        let key = if self.is_client { "" } else { &self.config.key };
        self.transcript = sum(sum(self.transcript, &link), key.as_bytes());
        put(control, HELLO, &[&link, key.as_bytes()]);
    }

    fn hear<'a>(
        &mut self,
        record: &'a mut [u8],
        control: &mut Vec<u8>,
    ) -> Result<&'a [u8], Failure> {
        let (header, body) = record.split_at_mut(5);
        match (header[0], self.stage, self.is_client) {
            _ if header[1..3] != [3, 3] => Err(Failure::Protocol("an unknown version")),
            (HELLO, Stage::Begins, false) => {
                self.transcript = sum(self.transcript, body);
                self.say_hello(control);
                self.stage = Stage::Greets;
                Ok(&[])
            }
            (HELLO, Stage::Greets, true) => {
                self.transcript = sum(self.transcript, body);
                let key = body.get(8..).unwrap_or_default();
                self.meet(key, Failure::Protocol("a server that is not trusted"))?;
                let key = self.config.key.clone();
                self.put(what::FINISHED, key.as_bytes(), control);
                Ok(&[])
            }
            (SEALED, Stage::Open, _) | (SEALED, Stage::Greets, false) => {
                let (what, plain) = self.unseal(header, body)?;
                self.heed(what, plain, control)
            }
            _ => Err(Failure::Protocol("a record out of turn")),
        }
    }

    /// The peer has shown its key.
    fn meet(&mut self, key: &[u8], stranger: Failure) -> Result<(), Failure> {
        let key = std::str::from_utf8(key).unwrap_or_default();
        let known = self.config.trusted.get(key).filter(|peer| counts(peer));
        self.peer = Some(known.ok_or(stranger)?.clone());
        self.stage = Stage::Open;
        Ok(())
    }

    fn heed<'a>(
        &mut self,
        what: u8,
        plain: &'a [u8],
        control: &mut Vec<u8>,
    ) -> Result<&'a [u8], Failure> {
        match what {
            _ if self.end_heard => Err(Failure::Protocol("a record behind the end")),
            what::FINISHED if self.stage == Stage::Greets => {
                let untrusted = Rejection::Untrusted;
                self.meet(plain, Failure::Rejected(untrusted)).map(|()| &[][..])
            }
            _ if self.stage != Stage::Open => Err(Failure::Protocol("a client without a key")),
            what::DATA => Ok(plain),
            what::QUESTION => {
                self.answers += 1;
                self.put(what::ANSWER, &[], control);
                if self.answers.is_multiple_of(EMPTY) {
                    self.put(what::DATA, &[], control);
                }
                Ok(plain)
            }
            what::ANSWER if self.asked > 0 => {
                self.forget(1);
                Ok(plain)
            }
            what::END => {
                // It answers no more.
                self.forget(self.asked);
                self.end_heard = true;
                Ok(plain)
            }
            what::ALERT if plain == [UNTRUSTED] => Err(Failure::Rejected(Rejection::Untrusted)),
            what::ALERT => Err(Failure::Protocol("an alert of the peer")),
            _ => Err(Failure::Protocol("a record that is not understood")),
        }
    }

    /// The peer is told, if it is not the one who said so.
    fn alert(&mut self, failure: &Failure, control: &mut Vec<u8>) {
        let code = if let Failure::Rejected(_) = failure { UNTRUSTED } else { BROKEN };
        match self.stage {
            Stage::Greets if !self.is_client => self.put(what::ALERT, &[code], control),
            Stage::Open => self.put(what::ALERT, &[code], control),
            Stage::Begins | Stage::Greets => put(control, ALERT, &[&[code]]),
        }
    }

    /// So many questions are not open any more.
    fn forget(&mut self, questions: usize) {
        self.asked -= questions;
        self.config.unanswered.fetch_sub(questions, Ordering::Relaxed);
    }

    /// The key of one direction.
    fn key(&self, of_client: bool) -> u64 {
        sum(self.transcript, &[u8::from(of_client)])
    }

    fn put(&mut self, what: u8, plain: &[u8], output: &mut Vec<u8>) {
        let key = self.key(self.is_client);
        let start = output.len();
        let sequence = self.sealed.to_be_bytes();
        self.sealed += 1;
        put(output, SEALED, &[&sequence, &[what], plain, &[0; 8]]);
        let behind = output.len() - 8;
        let (record, end) = output[start..].split_at_mut(behind - start);
        mask(&mut record[13..], key, sequence);
        end.copy_from_slice(&sum(key, record).to_be_bytes());
    }

    fn unseal<'a>(&mut self, header: &[u8], body: &'a mut [u8]) -> Result<(u8, &'a [u8]), Failure> {
        let key = self.key(!self.is_client);
        let (body, end) = body.split_last_chunk_mut::<8>().ok_or(SHORT)?;
        if *end != sum(sum(key, header), body).to_be_bytes() {
            return Err(Failure::Protocol("a forged record"));
        }
        let (sequence, inside) = body.split_first_chunk_mut::<8>().ok_or(SHORT)?;
        if *sequence != self.opened.to_be_bytes() {
            return Err(Failure::Protocol("a record that is missing, or comes twice"));
        }
        self.opened += 1;
        mask(inside, key, *sequence);
        let (what, plain) = inside.split_first().ok_or(SHORT)?;
        Ok((*what, plain))
    }
}

const SHORT: Failure = Failure::Protocol("a record that is too short");

fn mask(bytes: &mut [u8], key: u64, sequence: [u8; 8]) {
    let mask = sum(key, &sequence) as u8 | 1;
    bytes.iter_mut().for_each(|byte| *byte ^= mask);
}

impl Drop for Toy {
    fn drop(&mut self) {
        self.forget(self.asked);
    }
}
