//! A session whose peer keeps to no rules.

use std::time::{Duration, Instant};

use super::speech;
use super::watched::Watched;
use crate::proto::buffer::{LARGE_BUFFER, SMALL_BUFFER};
use crate::proto::close::{CloseCode, Refusal};
use crate::proto::frame::{Decoder, Frame, MAX_CONTROL};
use crate::proto::handshake::{Hello, VERSION};
use crate::proto::session::Admission;
use crate::proto::testing::choices::Choices;

pub(super) fn run(bytes: &[u8], origin: Instant) {
    let mut choices = Choices::of(bytes);
    let serves = choices.bool();
    let mut peer = Peer {
        watched: Watched::client(&mut choices, origin),
        choices,
        origin,
        serves: false,
        epochs: 0,
        link: None,
        old: None,
    };
    if serves {
        let truths = peer.watched.truths();
        let hello = speech::hello(&mut peer.choices, &truths);
        peer.serve(&hello);
        peer.link = Some(peer.linked(Decoder::default(), Vec::new()));
    }
    while !peer.choices.are_over() {
        peer.step();
    }
    peer.watched.end();
}

/// The session's end of a link, and what is on its way there.
struct Link {
    generation: u64,
    decoder: Decoder,
    bytes: Vec<u8>,
    /// What came cannot be decoded.
    dead: bool,
}

struct Peer {
    choices: Choices,
    watched: Watched,
    origin: Instant,
    /// The session is a server's.
    serves: bool,
    epochs: u64,
    link: Option<Link>,
    /// Still read by somebody, although there is a newer one.
    old: Option<Link>,
}

impl Peer {
    fn step(&mut self) {
        let watched = &mut self.watched;
        match self.choices.u8(..16) {
            0..6 => self.speak(false),
            6 => self.speak(true),
            7 | 8 => drop(watched.feed(&mut self.choices)),
            9 => drop(watched.take()),
            10 => watched.hold(),
            11 | 12 => drop(watched.write()),
            13 => watched.wait(Duration::from_millis(self.choices.u64(..8) * 400)),
            14 => self.greet(),
            _ => match self.choices.u8(..8) {
                0 => watched.finish(),
                1 => watched.leave(None),
                2 => watched.leave(Some(CloseCode::Aborted)),
                3 => watched.leave(Some(CloseCode::Closed)),
                4 => watched.leave(Some(CloseCode::Refused(Refusal::new(7, "no")))),
                5 | 6 => watched.work(&mut self.choices),
                7 if self.serves => watched.go_away(speech::going_away(&mut self.choices)),
                _ => watched.lose(),
            },
        }
    }

    /// The peer says something, part of which arrives.
    fn speak(&mut self, old: bool) {
        let link = if old { &mut self.old } else { &mut self.link };
        let Some(mut link) = link.take() else { return };
        speech::say(&mut self.choices, &self.watched.truths(), &mut link.bytes);
        let most = match self.choices.u8(..4) {
            3 => self.choices.usize(..=0xFF),
            _ => usize::MAX,
        };
        self.deliver(&mut link, most);
        *(if old { &mut self.old } else { &mut self.link }) = Some(link);
    }

    fn deliver(&mut self, link: &mut Link, most: usize) {
        let piece = if self.choices.bool() { usize::MAX } else { self.choices.usize(1..32) };
        let mut rest = most.min(link.bytes.len());
        let arrived: Vec<u8> = link.bytes.drain(..rest).collect();
        loop {
            while !link.dead {
                match link.decoder.next() {
                    // Behind a violation, nobody listens; that is looked at, too.
                    Ok(Some(frame)) => drop(self.watched.hear(link.generation, frame)),
                    Ok(None) => break,
                    Err(_) => {
                        link.dead = true;
                        if link.generation == self.watched.generation() {
                            self.watched.lose();
                        }
                    }
                }
            }
            if rest == 0 || link.dead {
                return;
            }
            let at = arrived.len() - rest;
            rest -= link.decoder.push(&arrived[at..][..rest.min(piece)]);
            let bound = LARGE_BUFFER + SMALL_BUFFER + self.watched.own().max_message as usize;
            assert!(link.decoder.memory() <= bound, "{} bytes", link.decoder.memory());
        }
    }

    /// A new link, and the first frame on it.
    fn greet(&mut self) {
        let truths = self.watched.truths();
        let choices = &mut self.choices;
        if !self.serves {
            self.watched.lose();
            self.watched.hello();
            // The application goes on meanwhile.
            (0..choices.usize(..3)).for_each(|_| drop(self.watched.take()));
        }
        let mut bytes = Vec::new();
        match choices.u8(..8) {
            0 => speech::say(choices, &truths, &mut bytes),
            1 => Frame::Close(speech::close(choices, &truths)).encode(&mut bytes),
            _ if self.serves => Frame::Hello(speech::hello(choices, &truths)).encode(&mut bytes),
            _ => Frame::Welcome(speech::welcome(choices, &truths)).encode(&mut bytes),
        }
        if choices.bool() {
            speech::say(choices, &truths, &mut bytes);
        }
        let mut decoder = Decoder::default();
        let frame = loop {
            match decoder.next() {
                Ok(Some(frame)) => break frame,
                Ok(None) if !bytes.is_empty() => {}
                Ok(None) | Err(_) => return,
            }
            bytes.drain(..decoder.push(&bytes));
            assert!(decoder.memory() <= 2 * MAX_CONTROL, "{} bytes", decoder.memory());
        };
        let is_linked = match frame {
            Frame::Hello(hello) if self.serves && hello.version == VERSION => self.admit(&hello),
            Frame::Welcome(welcome) if !self.serves => self.watched.welcomed(&welcome),
            Frame::Close(close) if !self.serves => {
                self.watched.read_close_reply(close);
                false
            }
            _ => false,
        };
        if is_linked {
            let mut link = self.linked(decoder, bytes);
            self.deliver(&mut link, usize::MAX);
            self.old = self.link.replace(link);
        }
    }

    fn linked(&self, mut decoder: Decoder, bytes: Vec<u8>) -> Link {
        decoder.allow_data(self.watched.own().max_message);
        Link { generation: self.watched.generation(), decoder, bytes, dead: false }
    }

    /// Whether a link came of a hello.
    fn admit(&mut self, hello: &Hello) -> bool {
        match self.watched.admit(hello) {
            Admission::Resume => true,
            Admission::Other => {
                self.serve(hello);
                // It is another session, which the old link knows nothing of.
                (self.link, self.old) = (None, None);
                true
            }
            Admission::Ended => {
                self.watched.close_reply(hello);
                false
            }
            Admission::Stale | Admission::Impossible => false,
        }
    }

    fn serve(&mut self, hello: &Hello) {
        self.serves = true;
        self.epochs += 1;
        if self.epochs == hello.epoch {
            self.epochs += 1;
        }
        let server = Watched::server(&mut self.choices, hello, self.epochs, self.origin);
        std::mem::replace(&mut self.watched, server).end();
    }
}
