//! The two sides of a layer: an [`Opener`] in the half of a link that reads, a [`Sealer`]
//! in the one that writes.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use bytes::Buf;

use super::{End, Failure, INSIDE, Layer};
use crate::error::Cause;
use crate::identity::Who;
use crate::proto::batch::{Batch, Records};
use crate::proto::buffer::Buffer;
use crate::proto::frame::{Decoder, Space};
#[cfg(test)]
use crate::proto::testing::sim::{Fault, planted};
use crate::sync::{self, Arc};

/// Both sides, until the link is installed.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) opener: Opener,
    pub(crate) sealer: Sealer,
}

/// What both sides share.
#[derive(Debug)]
struct Inner {
    layer: Box<dyn Layer + Send>,
    /// Sealed, and to be written in front of the next record.
    control: Vec<u8>,
    /// The layer is not asked for anything any more.
    failed: Option<Failure>,
    /// The peer has ended its bytes.
    end_heard: bool,
}

/// If so much waits to be written, the peer asks and never reads: it is answered no more.
const MOST_CONTROL: usize = 4096;

/// So much may come before the handshake is over. Behind that, what is no hello ends a
/// pending link by itself; and the first record may be full, of which the hello or the welcome
/// is only the beginning.
const MOST_BEFORE: usize = 16 * 1024;

/// So much of a handshake is read at once: each side's first flight, with a key of X25519MLKEM768
/// in it, is some 1,500 bytes long.
const FLIGHT: usize = 2048;

/// A record is whole within this. Anybody on the path can make its length another one, which
/// shows only when so much has come; until then it takes in the records behind it, whose bytes
/// pass for life. The longest record needs 560 bytes in a second.
const RECORD_TIMEOUT: Duration = Duration::from_secs(30);

/// The header of a record: its type, a version, and the length of what follows.
const HEADER: usize = 5;

/// What follows in a record of TLS is no longer (RFC 8446, 5.2).
const LARGEST_BODY: usize = 16 * 1024 + 256;

/// So much is sealed before it is sent: a batch, as a rule. A write less, which wakes the peer once
/// less, is worth more than that it could read while the rest is sealed.
const AHEAD: usize = if cfg!(any(test, fuzzing)) { 300 } else { 256 * 1024 };

impl Channel {
    pub(super) fn new(layer: Box<dyn Layer + Send>) -> Channel {
        let records = layer.records();
        let inner = Inner { layer, control: Vec::new(), failed: None, end_heard: false };
        let inner = Arc::new(sync::Mutex::new(inner));
        let mut input = Buffer::default();
        input.want(FLIGHT);
        Channel {
            opener: Opener { inner: inner.clone(), input, left: Some(MOST_BEFORE), since: None },
            sealer: Sealer { inner, records, output: Output::default(), said_end: false },
        }
    }

    /// Whether the handshake is over: bytes can be sealed, and it is known who the peer is.
    pub(crate) fn is_open(&self) -> bool {
        self.sealer.is_open()
    }

    /// Whether frames may be exchanged, now that the handshake is over.
    pub(crate) fn speaks_longlink(&self) -> bool {
        within(&self.opener.inner, |inner| inner.layer.speaks_longlink())
    }

    /// Who the peer is, now that the handshake is over.
    pub(crate) fn who(&self) -> Who {
        within(&self.opener.inner, |inner| inner.layer.peer()).into()
    }
}

/// Uses the layer, under its lock.
fn within<T>(inner: &sync::Mutex<Inner>, call: impl FnOnce(&mut Inner) -> T) -> T {
    struct Inside;
    impl Drop for Inside {
        fn drop(&mut self) {
            INSIDE.with(|inside| inside.set(false));
        }
    }
    let mut inner = inner.lock();
    INSIDE.with(|inside| inside.set(true));
    let _inside = Inside;
    call(&mut inner)
}

/// Opens what the peer has sealed.
#[derive(Debug)]
pub(crate) struct Opener {
    inner: Arc<sync::Mutex<Inner>>,
    /// What was read and not opened: less than one record, between two reads.
    input: Buffer,
    /// How much more may come until the handshake is over.
    left: Option<usize>,
    /// When a record that is there in part was first seen.
    since: Option<Instant>,
}

/// What [`Opener::open`] has found.
#[derive(Debug)]
pub(crate) struct Opened {
    /// There is something to be written now.
    pub(crate) control: bool,
    /// No more will come; what was opened before counts.
    pub(crate) end: Option<End>,
}

impl Opener {
    /// Where the next bytes go. This is called before each read that may block: it
    /// releases what a busy time has left, in the decoder, too.
    pub(crate) fn space(&mut self, to: &mut Decoder) -> Space<'_> {
        to.rest();
        if self.left.is_none() && self.input.unread().is_empty() && to.is_relaxed() {
            self.input.relax();
        }
        let space = self.input.space();
        let len = space.len().min(self.left.unwrap_or(usize::MAX));
        Space::Buffer(&mut space[..len])
    }

    /// `n` bytes were read into [`space`](Opener::space).
    pub(crate) fn filled(&mut self, n: usize) {
        self.input.filled(n);
        self.left = self.left.map(|left| left - n);
    }

    /// These were read before it was known that they are sealed.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.input.append(bytes);
        self.input.want(self.input.unread().len() + 1);
        self.left = self.left.map(|left| left.saturating_sub(bytes.len()));
    }

    /// Opens all that is there whole.
    pub(crate) fn open(&mut self, to: &mut Decoder) -> Opened {
        let Opener { inner, input, left, since } = self;
        let unread = input.unread().len();
        within(inner, |Inner { layer, control, failed, end_heard }| {
            if let Some(failure) = failed {
                return Opened { control: false, end: Some(End::Broken(failure.clone())) };
            }
            let before = control.len();
            let opened = layer.open(input, control, to);
            since.take_if(|_| input.unread().len() < unread);
            let asks = control.len() > before;
            if layer.is_open() {
                *left = None;
            }
            let opened = opened.and_then(|ended| match *left {
                _ if ended => Ok(Some(End::InOrder)),
                Some(0) => Err(Failure::Protocol("too much before the hello")),
                _ if asks && before >= MOST_CONTROL => Err(Failure::Protocol("too many questions")),
                _ => await_record(input).map(|()| None),
            });
            let end = opened.unwrap_or_else(|failure| {
                *failed = Some(failure.clone());
                Some(End::Broken(failure))
            });
            *end_heard |= end == Some(End::InOrder);
            Opened { control: asks, end }
        })
    }

    /// Something was read, and opened: whether what is there in part comes too slowly.
    pub(crate) fn is_late(&mut self, now: impl FnOnce() -> Instant) -> bool {
        self.is_amid_record() && {
            let now = now();
            now - *self.since.get_or_insert(now) > RECORD_TIMEOUT
        }
    }

    /// No more bytes come. That they have ended is only what the peer itself has sealed.
    pub(crate) fn at_end(&self) -> End {
        if within(&self.inner, |inner| inner.end_heard) { End::InOrder } else { End::Cut }
    }

    /// What is reserved.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn memory(&self) -> usize {
        self.input.memory()
    }

    /// Whether a part of a record is there.
    pub(crate) fn is_amid_record(&self) -> bool {
        !self.input.unread().is_empty()
    }
}

/// Sees to it that there is space for the record that comes next.
fn await_record(input: &mut Buffer) -> Result<(), Failure> {
    let Some(record) = record_len(input.unread()) else { return Ok(()) };
    if record > HEADER + LARGEST_BODY {
        return Err(Failure::Protocol("a record that is too long"));
    }
    // A whole one is a part of a message, the rest of which is behind it.
    input.want(record.max(input.unread().len() + 1));
    Ok(())
}

/// The length of the record that `bytes` begin with, if its header is whole.
pub(super) fn record_len(bytes: &[u8]) -> Option<usize> {
    let &[_, _, _, high, low] = bytes.first_chunk::<HEADER>()?;
    Some(HEADER + (usize::from(high) << 8 | usize::from(low)))
}

/// Seals what is written.
#[derive(Debug)]
pub(crate) struct Sealer {
    inner: Arc<sync::Mutex<Inner>>,
    /// What sealing adds.
    pub(crate) records: Records,
    output: Output,
    said_end: bool,
}

/// What is sealed and not sent.
#[derive(Debug, Default)]
struct Output {
    /// From `start` on.
    bytes: Vec<u8>,
    start: usize,
    /// The records of that, in order: how much of each is to be sent, and how much of the
    /// batch is in it.
    records: VecDeque<(usize, usize)>,
    /// So much of the batch is sealed.
    ahead: usize,
    scratch: Vec<u8>,
}

impl Sealer {
    /// Writes the batch, and in front of it what the opener has left. `send` writes what it
    /// can without blocking, and returns whether that was all; so does this. If the batch
    /// ends the stream, so do its records.
    ///
    /// What a record carries leaves the batch when its last byte is sent: of a part of it the
    /// peer can make nothing. What is sealed and not sent stays here, for the next call.
    pub(crate) fn write(
        &mut self,
        batch: &mut Batch,
        mut send: impl FnMut(&mut Unsent<'_>) -> io::Result<bool>,
    ) -> io::Result<bool> {
        loop {
            self.seal(batch)?;
            let before = self.unsent();
            let result = send(&mut Unsent(&mut self.output));
            let wire = before - self.unsent();
            let plain = self.output.take_sent(wire);
            #[cfg(test)]
            let wire = if planted(Fault::CountPlain) { plain } else { wire };
            batch.sent_sealed(plain, wire);
            #[cfg(test)]
            if planted(Fault::ForgetRest) {
                let rest = self.unsent();
                self.output.start += rest;
                batch.sent_sealed(self.output.take_sent(rest), 0);
            }
            let all = self.unsent() == 0 && !batch.has_remaining();
            match result {
                Ok(true) if !all => {}
                result => return result,
            }
        }
    }

    /// Whether the handshake is over.
    pub(crate) fn is_open(&self) -> bool {
        within(&self.inner, |inner| inner.failed.is_none() && inner.layer.is_open())
    }

    /// How much is sealed and not sent.
    pub(crate) fn unsent(&self) -> usize {
        self.output.bytes.len() - self.output.start
    }

    /// Whether the opener has left something to be written.
    #[cfg(all(test, not(shuttle)))]
    pub(crate) fn has_control(&self) -> bool {
        within(&self.inner, |inner| !inner.control.is_empty())
    }

    /// What the opener has left to be written, and behind it these bytes, if that makes sense:
    /// for a link that is not installed.
    pub(crate) fn seal_now(&mut self, plain: &[u8]) -> Vec<u8> {
        within(&self.inner, |Inner { layer, control, failed, .. }| {
            let mut output = std::mem::take(control);
            if failed.is_none() && layer.is_open() {
                for piece in plain.chunks(self.records.most) {
                    if let Err(failure) = layer.seal(piece, &mut output) {
                        // The link ends with its reader, which says why.
                        *failed = Some(failure);
                        break;
                    }
                }
            }
            output
        })
    }

    /// The last words, if nothing is left to be sent: that our bytes have ended, or why the
    /// link is broken.
    pub(crate) fn farewell(&mut self) -> Vec<u8> {
        within(&self.inner, |Inner { layer, control, failed, .. }| {
            let mut output = std::mem::take(control);
            if std::mem::replace(&mut self.said_end, true) {
                output.clear();
            } else if failed.is_none() && layer.is_open() {
                // Its last words are not missed.
                let _ = layer.end(&mut output);
            }
            output
        })
    }

    /// Seals what is next.
    fn seal(&mut self, batch: &Batch) -> io::Result<()> {
        let Sealer { inner, records, output, said_end } = self;
        output.bytes.drain(..std::mem::take(&mut output.start));
        if output.bytes.is_empty() && batch.carried() <= batch.written() {
            // A heartbeat, maybe of a link that is idle.
            (output.bytes, output.scratch) = (Vec::new(), Vec::new());
        }
        #[cfg(test)]
        if planted(Fault::SealAgain) {
            *output = Output::default();
        }
        within(inner, |Inner { layer, control, failed, .. }| {
            if failed.is_some() {
                // Its reader says why.
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            #[cfg(test)]
            if planted(Fault::SealBeforeTaking) {
                output.seal(layer, batch, records.most).unwrap();
            }
            #[cfg(test)]
            if planted(Fault::ForgetControl) && batch.written() > 0 {
                control.clear();
            }
            if *said_end {
                // Nothing may follow the end.
                control.clear();
            }
            let before = output.bytes.len();
            output.bytes.append(control);
            output.note(before, 0);
            let sealed = output.seal(layer, batch, records.most).and_then(|()| {
                if output.ahead == batch.len() && batch.ends_stream() && !*said_end {
                    output.add(0, |bytes| layer.end(bytes))?;
                    *said_end = true;
                }
                Ok(())
            });
            sealed.map_err(|failure| {
                let failure = failed.insert(failure).clone();
                io::Error::other(Cause::from(failure).to_string())
            })
        })
    }
}

impl Output {
    fn seal(
        &mut self,
        layer: &mut Box<dyn Layer + Send>,
        batch: &Batch,
        most: usize,
    ) -> Result<(), Failure> {
        loop {
            let left = batch.len() - self.ahead;
            // A rest of less than one record is not worth a system call of its own.
            if left == 0 || (left >= most && self.bytes.len() >= AHEAD) {
                return Ok(());
            }
            let mut scratch = std::mem::take(&mut self.scratch);
            let piece = batch.piece(self.ahead, most, &mut scratch);
            let sealed = self.add(piece.len(), |bytes| layer.seal(piece, bytes));
            self.scratch = scratch;
            sealed?;
        }
    }

    /// Seals so many bytes of the batch.
    fn add(
        &mut self,
        plain: usize,
        seal: impl FnOnce(&mut Vec<u8>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let before = self.bytes.len();
        seal(&mut self.bytes)?;
        self.note(before, plain);
        Ok(())
    }

    /// What was appended behind `before` has so many bytes of the batch in it.
    fn note(&mut self, before: usize, plain: usize) {
        self.ahead += plain;
        if self.bytes.len() > before {
            self.records.push_back((self.bytes.len() - before, plain));
        }
    }

    /// So much was sent. Returns how much of the batch went with the records that are
    /// whole by that.
    fn take_sent(&mut self, mut wire: usize) -> usize {
        let mut plain = 0;
        while let Some((rest, carries)) = self.records.front_mut() {
            if wire < *rest {
                *rest -= wire;
                break;
            }
            wire -= *rest;
            plain += *carries;
            self.records.pop_front();
        }
        self.ahead -= plain;
        plain
    }
}

/// What is sealed, and to be sent.
#[derive(Debug)]
pub(crate) struct Unsent<'a>(&'a mut Output);

impl Buf for Unsent<'_> {
    fn remaining(&self) -> usize {
        self.0.bytes.len() - self.0.start
    }

    fn chunk(&self) -> &[u8] {
        &self.0.bytes[self.0.start..]
    }

    fn advance(&mut self, n: usize) {
        self.0.start += n;
    }
}

#[cfg(all(test, not(shuttle)))]
pub(super) mod tests;
