//! A link of the simulation: two pipes of bytes, and what each end holds.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Buf;

use crate::proto::batch::Batch;
use crate::proto::frame::{Decoder, Frame, Space};
use crate::secure::{Channel, End as StreamEnd, Opener, Sealer, Security};
use crate::sync::Arc;

/// One direction: bytes in flight.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    bytes: VecDeque<u8>,
    /// What is written from now on vanishes.
    pub(super) cut: bool,
    /// When the reader learns that no more will come; `None`: it is not told.
    pub(super) eof: Option<Instant>,
    /// How many bytes were ever written, and read.
    given: u64,
    taken: u64,
}

/// A socket's buffers.
const CAPACITY: usize = 4096;

impl Pipe {
    /// Writes at most `most` of these bytes. Returns how many.
    fn write(&mut self, bytes: &mut impl Buf, most: usize) -> usize {
        let room = CAPACITY - self.bytes.len();
        let n = bytes.remaining().min(most).min(room);
        let mut rest = n;
        while rest > 0 {
            let piece = bytes.chunk();
            let piece = &piece[..piece.len().min(rest)];
            if !self.cut && self.eof.is_none() {
                self.bytes.extend(piece);
            }
            rest -= piece.len();
            bytes.advance(piece.len());
        }
        self.given += n as u64;
        n
    }

    /// Moves at most `most` bytes to the reader. Returns how many.
    fn read(&mut self, mut space: Space<'_>, most: usize) -> usize {
        let (front, _) = self.bytes.as_slices();
        let n = space.put(&front[..front.len().min(most)]);
        assert!(n > 0 || most == 0 || front.is_empty(), "no space reads as the end of a stream");
        self.bytes.drain(..n);
        self.taken += n as u64;
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
    /// They end with the right to read, and to write.
    opener: Option<Opener>,
    sealer: Option<Sealer>,
    /// How much was written before the batch.
    before: u64,
    /// The peer has ended its bytes, or they are not opened any more.
    pub(super) ended: bool,
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
    fn new(channel: Option<Channel>) -> End {
        let (opener, sealer) = channel.map(|Channel { opener, sealer }| (opener, sealer)).unzip();
        let mut batch = Batch::default();
        batch.records = sealer.as_ref().map(|sealer: &Sealer| sealer.records);
        End {
            decoder: Decoder::default(),
            batch,
            opener,
            sealer,
            before: 0,
            ended: false,
            generation: 0,
            open: true,
            closing: false,
            shut: false,
        }
    }

    /// The handshake is over: messages may come.
    pub(super) fn allow_data(&mut self, max: u32) {
        self.decoder.allow_data(max);
    }

    /// Writes at most `most` bytes of what there is. Returns how many.
    pub(super) fn write(&mut self, pipe: &mut Pipe, most: usize) -> usize {
        let Some(sealer) = &mut self.sealer else { return pipe.write(&mut self.batch, most) };
        let mut handshake = Batch::default();
        let is_open = sealer.is_open();
        let batch = if is_open { &mut self.batch } else { &mut handshake };
        let mut n = 0;
        let all = sealer.write(batch, |unsent| {
            n += pipe.write(unsent, most - n);
            Ok(!unsent.has_remaining())
        });
        assert_eq!(all.ok(), Some(sealer.unsent() == 0 && !batch.has_remaining()));
        if !is_open {
            self.before = pipe.given;
        }
        assert_eq!(self.before + self.batch.written(), pipe.given, "a wrong position");
        n
    }

    /// Whether nothing waits to be written.
    pub(super) fn is_written(&self) -> bool {
        self.batch.is_empty() && !self.is_blocked()
    }

    /// Whether something is sealed and not sent.
    pub(super) fn is_blocked(&self) -> bool {
        self.sealer.as_ref().is_some_and(|sealer| sealer.unsent() > 0)
    }

    /// How many of the bytes that were written behind the handshake the peer has taken.
    pub(super) fn reached(&self, pipe: &Pipe) -> u64 {
        pipe.taken.saturating_sub(self.before).min(self.batch.written())
    }

    /// Moves at most `most` bytes to the reader. Returns how many, and whether something has
    /// to be written now that they are here.
    pub(super) fn read(&mut self, pipe: &mut Pipe, most: usize) -> (usize, bool) {
        let Some(opener) = &mut self.opener else {
            let n = pipe.read(self.decoder.space(), most);
            self.decoder.filled(n);
            return (n, false);
        };
        let n = pipe.read(opener.space(&mut self.decoder), most);
        opener.filled(n);
        if n == 0 {
            return (0, false);
        }
        let opened = opener.open(&mut self.decoder);
        match opened.end {
            None => {}
            Some(StreamEnd::InOrder) => self.ended = true,
            Some(end) => panic!("an honest peer: {end:?}"),
        }
        (n, opened.control)
    }

    /// Whether a record is here in part.
    pub(super) fn is_amid_record(&self) -> bool {
        self.opener.as_ref().is_some_and(Opener::is_amid_record)
    }

    /// What is not written is lost. If all is, the peer is told of the end. Returns whether
    /// all was.
    pub(super) fn hang_up(&mut self, pipe: &mut Pipe) -> bool {
        let written = self.is_written();
        if let Some(mut sealer) = self.sealer.take()
            && written
        {
            pipe.write(&mut &sealer.farewell()[..], usize::MAX);
        }
        self.batch = Batch::default();
        written
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
    /// What the peers were asked by the layers, and have not answered.
    unanswered: Arc<AtomicUsize>,
}

impl Link {
    pub(super) fn new(id: u64, host: usize, slow: bool, calm: bool) -> Link {
        Link {
            unanswered: Arc::default(),
            id,
            host,
            life: None,
            offered: 0,
            up: Pipe::default(),
            down: Pipe::default(),
            client: End::new(None),
            server: End::new(None),
            slow,
            calm,
        }
    }

    /// Both ends seal what they write. Their names make the keys those of this link.
    pub(super) fn seal(&mut self) {
        let name = format!("server of {}", self.id);
        let client = Security::toy("client", &[&name], self.unanswered.clone());
        let server = Security::toy(&name, &["client"], self.unanswered.clone());
        let [client, server] = [client.connect("server"), server.accept()].map(Result::ok);
        (self.client, self.server) = (End::new(client), End::new(server));
        let End { opener, decoder, .. } = &mut self.client;
        opener.iter_mut().for_each(|opener| assert!(opener.open(decoder).control, "no hello"));
    }

    /// Whether a question waits, although everything has arrived that was written.
    pub(super) fn waits_for_answer(&self) -> bool {
        let lives = |end: &End, pipe: &Pipe| end.sealer.is_some() && pipe.len() == 0 && !pipe.cut;
        let live = lives(&self.client, &self.up) && lives(&self.server, &self.down);
        live && self.unanswered.load(Ordering::Relaxed) > 0
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
