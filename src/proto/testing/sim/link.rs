//! A link of the simulation: two pipes of bytes, and what each end holds.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Buf;

use crate::proto::batch::Batch;
use crate::proto::frame::{Decoder, Frame};

/// One direction: bytes in flight.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    bytes: VecDeque<u8>,
    /// What is written from now on vanishes.
    pub(super) cut: bool,
    /// When the reader learns that no more will come; `None`: it is not told.
    pub(super) eof: Option<Instant>,
}

/// A socket's buffers.
const CAPACITY: usize = 4096;

impl Pipe {
    /// Writes at most `most` bytes of `batch`. Returns how many.
    pub(super) fn write(&mut self, batch: &mut Batch, most: usize) -> usize {
        let room = CAPACITY - self.bytes.len();
        let n = batch.len().min(most).min(room);
        let mut rest = n;
        for slice in &batch.slices {
            let piece = &slice[..slice.len().min(rest)];
            if !self.cut && self.eof.is_none() {
                self.bytes.extend(piece);
            }
            rest -= piece.len();
            if rest == 0 {
                break;
            }
        }
        batch.advance(n);
        n
    }

    /// Moves at most `most` bytes to the reader. Returns how many.
    pub(super) fn read(&mut self, decoder: &mut Decoder, most: usize) -> usize {
        let (front, _) = self.bytes.as_slices();
        let n = decoder.push(&front[..front.len().min(most)]);
        self.bytes.drain(..n);
        n
    }

    /// The bytes in flight from `at` on are lost, and all that follow.
    pub(super) fn cut(&mut self, at: usize) {
        self.bytes.truncate(at);
        self.cut = true;
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_at_eof(&self, now: Instant) -> bool {
        self.bytes.is_empty() && self.eof.is_some_and(|at| now >= at)
    }
}

/// What one side holds of a link.
#[derive(Debug)]
pub(super) struct End {
    pub(super) decoder: Decoder,
    pub(super) batch: Batch,
    /// Of the session, once the handshake is over; 0 before.
    pub(super) generation: u64,
    /// Somebody still reads what arrives, though perhaps in vain.
    pub(super) open: bool,
    /// To be closed once everything is written.
    pub(super) closing: bool,
    /// It has ended its stream.
    pub(super) shut: bool,
}

impl End {
    fn new() -> End {
        End {
            decoder: Decoder::default(),
            batch: Batch::default(),
            generation: 0,
            open: true,
            closing: false,
            shut: false,
        }
    }

    pub(super) fn next(&mut self) -> Option<Frame> {
        self.decoder.next().expect("an honest peer")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: u64,
    pub(super) host: usize,
    /// The life of the server's session that it carries, after the handshake.
    pub(super) life: Option<usize>,
    /// From the client to the server, and back.
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    pub(super) client: End,
    pub(super) server: End,
    /// The window that the client's hello offered.
    pub(super) offered: u32,
    /// What is written to it arrives late.
    pub(super) slow: bool,
    /// It was made after the adversary stopped.
    pub(super) calm: bool,
}

impl Link {
    pub(super) fn new(id: u64, host: usize, slow: bool, calm: bool) -> Link {
        Link {
            id,
            host,
            life: None,
            offered: 0,
            up: Pipe::default(),
            down: Pipe::default(),
            client: End::new(),
            server: End::new(),
            slow,
            calm,
        }
    }

    /// The end of `side`, the pipe it reads and the pipe it writes.
    pub(super) fn parts(&mut self, side: Side) -> (&mut End, &mut Pipe, &mut Pipe) {
        match side {
            Side::Client => (&mut self.client, &mut self.down, &mut self.up),
            Side::Server => (&mut self.server, &mut self.up, &mut self.down),
        }
    }

    /// Nothing can happen on it any more.
    pub(super) fn is_over(&self) -> bool {
        let unheard = self.up.cut && self.up.len() == 0 && self.server.generation == 0;
        !self.client.open && (!self.server.open || unheard)
    }
}
