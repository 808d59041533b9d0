//! Two sessions that get on well, and somebody who talks in between.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::speech;
use super::watched::Watched;
use crate::proto::frame::Frame;
use crate::proto::handshake::{Hello, VERSION};
use crate::proto::inbox::{ACK_DELAY, Received};
use crate::proto::session::Admission;
use crate::proto::testing::choices::Choices;

pub(super) fn run(bytes: &[u8], origin: Instant) {
    let mut choices = Choices::of(bytes);
    let mut pair = Pair {
        client: End::new(Watched::client(&mut choices, origin)),
        server: None,
        choices,
        origin,
        epochs: 0,
        fooled: false,
        leaves: false,
    };
    while !pair.choices.are_over() {
        pair.step();
    }
    pair.settle();
}

struct End {
    watched: Watched,
    /// What is on its way here, and the generation of its link.
    inbound: VecDeque<(u64, Frame)>,
    fed: Vec<Bytes>,
    taken: usize,
}

impl End {
    fn new(watched: Watched) -> End {
        End { watched, inbound: VecDeque::new(), fed: Vec::new(), taken: 0 }
    }
}

struct Pair {
    client: End,
    server: Option<End>,
    choices: Choices,
    origin: Instant,
    epochs: u64,
    /// One of them took what the third one said for the other's word. It was
    /// possible; now everything is.
    fooled: bool,
    /// One of them left before the other had said all.
    leaves: bool,
}

impl Pair {
    fn step(&mut self) {
        let is_client = self.server.is_none() || self.choices.bool();
        let (end, other) = ends(&mut self.client, &mut self.server, is_client);
        match self.choices.u8(..16) {
            0 | 1 => end.fed.extend(end.watched.feed(&mut self.choices)),
            2 | 3 => take(end, other.filter(|_| !self.fooled)),
            4..7 => write(end, other),
            7..10 => {
                let most = self.choices.usize(..8);
                self.deliver(is_client, most);
            }
            10 => end.watched.wait(Duration::from_millis(self.choices.u64(..8) * 400)),
            11 => match self.choices.u8(..4) {
                0 => end.watched.finish(),
                1 => {
                    end.watched.leave(None);
                    self.leaves = true;
                }
                _ => end.watched.lose(),
            },
            12 => {
                let is_heard = self.choices.u8(..4) < 3;
                self.connect(is_heard);
            }
            _ if is_client => self.answer_client(),
            _ => self.greet_server(),
        }
    }

    /// Up to so many frames arrive.
    fn deliver(&mut self, to_client: bool, most: usize) {
        let end = if to_client { Some(&mut self.client) } else { self.server.as_mut() };
        let Some(end) = end else { return };
        for _ in 0..most {
            let Some((generation, frame)) = end.inbound.pop_front() else { break };
            let heard = end.watched.hear(generation, frame);
            assert!(heard.is_ok() || self.fooled, "a violation of an honest peer");
        }
    }

    /// The client comes back, or comes for the first time.
    fn connect(&mut self, is_heard: bool) {
        self.client.watched.lose();
        let hello = self.client.watched.hello();
        let admission = self.server.as_mut().map(|server| server.watched.admit(&hello));
        match admission {
            Some(Admission::Resume) => {}
            Some(Admission::Ended) => {
                let close = self.server.as_ref().expect("it ended").watched.close_reply(&hello);
                if is_heard {
                    let read = self.client.watched.read_close_reply(close);
                    assert!(read || self.fooled, "a bad close_reply");
                }
                return;
            }
            Some(Admission::Stale | Admission::Impossible) => {
                return assert!(self.fooled, "{admission:?}: {hello:?}");
            }
            Some(Admission::Other) | None => {
                assert!(self.fooled || admission.is_none(), "{hello:?}");
                self.serve(&hello);
            }
        }
        let server = self.server.as_mut().expect("found or made");
        // What was under way is lost with the links.
        self.client.inbound.clear();
        server.inbound.clear();
        if !is_heard {
            return;
        }
        let mut frames = server.watched.write();
        let Frame::Welcome(welcome) = frames.remove(0) else { panic!("{frames:?}") };
        if self.client.watched.welcomed(&welcome) {
            let generation = self.client.watched.generation();
            self.client.inbound.extend(frames.into_iter().map(|frame| (generation, frame)));
        } else {
            // To the client the server is new, and may take smaller messages
            // only than it has ready.
            assert!(self.fooled || hello.epoch == 0, "unwelcome: {welcome:?}");
            server.watched.lose();
        }
    }

    fn serve(&mut self, hello: &Hello) {
        self.epochs += 1;
        if self.epochs == hello.epoch {
            self.epochs += 1;
        }
        let server = Watched::server(&mut self.choices, hello, self.epochs, self.origin);
        if let Some(old) = self.server.replace(End::new(server)) {
            old.watched.end();
        }
    }

    /// Somebody greets the server under the client's token.
    fn greet_server(&mut self) {
        let Some(server) = &mut self.server else { return };
        let mut truths = server.watched.truths();
        truths.others.extend(self.client.watched.truths().others);
        let hello = Hello { version: VERSION, ..speech::hello(&mut self.choices, &truths) };
        match server.watched.admit(&hello) {
            Admission::Stale | Admission::Impossible => {}
            Admission::Ended => drop(server.watched.close_reply(&hello)),
            Admission::Resume => self.fooled = true,
            Admission::Other => {
                self.fooled = true;
                self.serve(&hello);
            }
        }
    }

    /// Somebody answers a hello of the client in the server's place.
    fn answer_client(&mut self) {
        let client = &mut self.client.watched;
        client.lose();
        client.hello();
        let mut truths = client.truths();
        truths.others.extend(self.server.iter().flat_map(|end| end.watched.truths().others));
        self.fooled |= match self.choices.u8(..4) {
            0 => client.read_close_reply(speech::close(&mut self.choices, &truths)),
            _ => client.welcomed(&speech::welcome(&mut self.choices, &truths)),
        };
    }

    /// Everything that was fed is taken.
    fn exchange(&mut self) {
        let client = &self.client.watched;
        if !client.is_up() && !client.is_closing() {
            // The server takes smaller messages only.
            return;
        }
        let fed = self.client.fed.len() + self.server.as_ref().map_or(0, |server| server.fed.len());
        // One at a time goes through the smallest window, and its
        // acknowledgement back.
        for _ in 0..=2 * fed + 2 {
            for is_client in [true, false] {
                let (end, other) = ends(&mut self.client, &mut self.server, is_client);
                end.watched.wait(ACK_DELAY);
                write(end, other);
                self.deliver(!is_client, usize::MAX);
                let (end, other) = ends(&mut self.client, &mut self.server, !is_client);
                take(end, other);
            }
        }
        let (client, server) = (&self.client, self.server.as_ref().expect("as connected"));
        let taken = (server.taken, client.taken);
        assert_eq!(taken, (client.fed.len(), server.fed.len()), "not everything arrived");
    }

    /// Left alone, the two say all they have to say.
    fn settle(mut self) {
        if !self.fooled && !self.leaves {
            self.connect(true);
            self.exchange();
        }
        self.client.watched.end();
        if let Some(server) = self.server {
            server.watched.end();
        }
    }
}

fn ends<'a>(
    client: &'a mut End,
    server: &'a mut Option<End>,
    is_client: bool,
) -> (&'a mut End, Option<&'a mut End>) {
    match (server, is_client) {
        (Some(server), false) => (server, Some(client)),
        (server, _) => (client, server.as_mut()),
    }
}

fn take(end: &mut End, other: Option<&mut End>) {
    let item = end.watched.take();
    let Some(other) = other else { return };
    match item {
        Some(Received::Message(body)) => {
            assert!(body == other.fed[end.taken], "not message {}", end.taken);
            end.taken += 1;
        }
        Some(Received::End) => {
            assert_eq!(end.taken, other.fed.len(), "messages lost before the end")
        }
        None => {}
    }
}

fn write(end: &mut End, other: Option<&mut End>) {
    let frames = end.watched.write();
    if let Some(other) = other {
        let generation = other.watched.generation();
        other.inbound.extend(frames.into_iter().map(|frame| (generation, frame)));
    }
}
