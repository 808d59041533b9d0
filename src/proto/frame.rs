//! Bytes to frames and back. Every length is checked before memory is reserved.

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};

use super::Violation;
use super::away::GoingAway;
use super::buffer::{Buffer, LARGE_BUFFER, SMALL_BUFFER};
use super::close::Close;
use super::cost::Position;
use super::handshake::{Hello, Welcome};
use super::reject::Reject;
use super::skippable;

/// The length of a frame's header: its type and the length of its body.
pub(crate) const HEADER: usize = 5;

/// The largest body before the handshake is over, and of any frame but DATA.
pub(crate) const MAX_CONTROL: usize = 4096;

/// The types of frames, as they stand in a header's first byte.
pub(crate) mod kind {
    /// Not valid UTF-8, so that a peer which speaks text is told apart by its first byte.
    pub(crate) const HELLO: u8 = 0xF8;
    pub(crate) const WELCOME: u8 = 0x01;
    pub(crate) const REJECT: u8 = 0x02;
    pub(crate) const DATA: u8 = 0x03;
    pub(crate) const FIN: u8 = 0x04;
    pub(crate) const ACK: u8 = 0x05;
    pub(crate) const PING: u8 = 0x06;
    pub(crate) const PONG: u8 = 0x07;
    pub(crate) const CLOSE: u8 = 0x08;
    /// One of those that may be skipped.
    pub(crate) const GOING_AWAY: u8 = 0x80;
}

/// One unit of the wire. See the format in [`crate::wire`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Hello(Hello),
    Welcome(Welcome),
    Reject(Reject),
    /// One message, or several whose frames came together.
    Data(Run),
    Fin,
    Ack(Ack),
    Ping(u64),
    Pong(u64),
    Close(Close),
    GoingAway(GoingAway),
}

/// Messages that came together, in order, in memory that they share. They are one
/// thing until they are asked for, since to handle each by itself costs as much as to
/// receive it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first body, and the frames behind it.
    bytes: Bytes,
    /// The length of the first body.
    first: usize,
    messages: u64,
}

/// What several messages share is at most this large: one that is kept pins no more.
const RUN: usize = 4 * 1024;

impl Run {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// From the first to behind the last.
    pub(crate) fn distance(&self) -> Position {
        let headers = self.messages.saturating_sub(1) * HEADER as u64;
        Position { frames: self.messages, bytes: self.bytes.len() as u64 - headers }
    }
}

/// Of one message.
impl From<Bytes> for Run {
    fn from(body: Bytes) -> Run {
        Run { first: body.len(), bytes: body, messages: 1 }
    }
}

impl Iterator for Run {
    type Item = Bytes;

    #[inline]
    fn next(&mut self) -> Option<Bytes> {
        self.messages = self.messages.checked_sub(1)?;
        if self.messages == 0 {
            return Some(std::mem::take(&mut self.bytes));
        }
        let message = self.bytes.split_to(self.first);
        self.first = frame_len(&self.bytes) - HEADER;
        self.bytes.advance(HEADER);
        Some(message)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.messages as usize, Some(self.messages as usize))
    }
}

/// The header that `bytes` begin with, if it is whole: the frame's type, the length of
/// its body, and what follows.
fn split_header(bytes: &[u8]) -> Option<(u8, usize, &[u8])> {
    let (&[kind, len @ ..], rest) = bytes.split_first_chunk::<HEADER>()?;
    Some((kind, u32::from_be_bytes(len) as usize, rest))
}

/// The length of the frame that `bytes` begin with, header included.
pub(crate) fn frame_len(bytes: &[u8]) -> usize {
    let (_, len, _) = split_header(bytes).expect("a whole frame");
    HEADER + len
}

/// How much the application is done with, and how much more it has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack {
    /// Sequenced frames of this session that were consumed.
    pub(crate) consumed: u64,
    /// The cost that may be outstanding from now on.
    pub(crate) window: u32,
}

impl Ack {
    /// The length of its frame.
    pub(crate) const FRAME: usize = HEADER + 12;
}

pub(crate) fn put_header(out: &mut impl BufMut, kind: u8, len: usize) {
    let len = u32::try_from(len).expect("bodies are limited to less than 4 GiB");
    let [a, b, c, d] = len.to_be_bytes();
    out.put_slice(&[kind, a, b, c, d]);
}

pub(crate) fn put_frame(out: &mut impl BufMut, kind: u8, body: &[u8]) {
    put_header(out, kind, body.len());
    out.put_slice(body);
}

impl Frame {
    /// Appends the frame to `out`.
    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        match self {
            Frame::Hello(hello) => {
                put_header(out, kind::HELLO, hello.len());
                hello.encode(out);
            }
            Frame::Welcome(welcome) => {
                put_header(out, kind::WELCOME, Welcome::LEN);
                welcome.encode(out);
            }
            Frame::Reject(reject) => {
                put_header(out, kind::REJECT, reject.len());
                reject.encode(out);
            }
            Frame::Data(run) => {
                put_header(out, kind::DATA, run.first);
                out.put_slice(&run.bytes);
            }
            Frame::Fin => put_frame(out, kind::FIN, &[]),
            Frame::Ack(ack) => {
                put_header(out, kind::ACK, Ack::FRAME - HEADER);
                out.put_u64(ack.consumed);
                out.put_u32(ack.window);
            }
            Frame::Ping(id) => put_frame(out, kind::PING, &id.to_be_bytes()),
            Frame::Pong(id) => put_frame(out, kind::PONG, &id.to_be_bytes()),
            Frame::Close(close) => {
                put_header(out, kind::CLOSE, close.len());
                close.encode(out);
            }
            Frame::GoingAway(notice) => put_frame(out, kind::GOING_AWAY, &notice.to_bytes()),
        }
    }

    /// One message.
    pub(crate) fn data(body: Bytes) -> Frame {
        Frame::Data(body.into())
    }

    /// The frames that came, one by one.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn apart(self) -> Vec<Frame> {
        match self {
            Frame::Data(run) => run.map(Frame::data).collect(),
            frame => vec![frame],
        }
    }

    /// The frame alone.
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out.freeze()
    }

    fn decode(kind: u8, mut body: &[u8]) -> Result<Frame, Violation> {
        let frame = match kind {
            kind::HELLO => return Hello::decode(body).map(Frame::Hello),
            kind::WELCOME => return Welcome::decode(body).map(Frame::Welcome),
            kind::REJECT => return Ok(Frame::Reject(Reject::decode(body)?)),
            // These two may become longer.
            kind::ACK => {
                let (consumed, window) = (body.try_get_u64()?, body.try_get_u32()?);
                return Ok(Frame::Ack(Ack { consumed, window }));
            }
            kind::CLOSE => return Ok(Frame::Close(Close::decode(body)?)),
            kind::PING => Frame::Ping(body.try_get_u64()?),
            kind::PONG => Frame::Pong(body.try_get_u64()?),
            kind::FIN => Frame::Fin,
            _ => return Err(WRONG_LENGTH),
        };
        if body.is_empty() { Ok(frame) } else { Err(WRONG_LENGTH) }
    }
}

const WRONG_LENGTH: Violation = Violation("a frame of the wrong length");

impl From<TryGetError> for Violation {
    fn from(_: TryGetError) -> Violation {
        WRONG_LENGTH
    }
}

/// Finds the frames in a stream that arrives in pieces.
///
/// The owner reads into [`space`](Decoder::space), reports how much with
/// [`filled`](Decoder::filled), and then takes frames with
/// [`next`](Decoder::next) until there are no more. Small bodies are copied
/// out of the buffer, so that a message which is kept pins little more memory
/// than its own; a large body is read straight to where it stays, which nothing
/// has to clear first. The buffer grows with the frames that come. A PING or a PONG
/// makes it small again: they come over idle links, and over busy ones once an
/// interval. So does a HELLO, whose greeting may be the only thing that is large.
///
/// A new one is for a handshake, in which nothing is larger than [`MAX_CONTROL`].
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    input: Buffer,
    body: Option<Body>,
    /// The last body was large, and so may be the next. Only its beginning is read into
    /// the buffer, out of which it has to be copied.
    large: bool,
    max_data: Option<usize>,
}

/// A DATA body on its way in.
#[derive(Debug)]
struct Body {
    bytes: Vec<u8>,
    len: usize,
}

/// Where the next bytes go; never empty.
pub(crate) enum Space<'a> {
    Buffer(&'a mut [u8]),
    /// Behind what is in it, as far as it need not grow.
    Body(&'a mut Vec<u8>),
}

#[cfg(any(test, fuzzing))]
impl Space<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Space::Buffer(buffer) => buffer.len(),
            Space::Body(bytes) => bytes.capacity() - bytes.len(),
        }
    }

    /// What a read of these bytes does. Returns how many there was space for.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> usize {
        let n = self.len().min(bytes.len());
        match self {
            Space::Buffer(buffer) => buffer[..n].copy_from_slice(&bytes[..n]),
            Space::Body(body) => body.extend_from_slice(&bytes[..n]),
        }
        n
    }
}

/// A body of at least this size gets memory of its own before it is complete.
const LARGE_BODY: usize = LARGE_BUFFER / 2;

impl Decoder {
    /// From now on DATA may come, of at most `max` bytes.
    pub(crate) fn allow_data(&mut self, max: u32) {
        self.max_data = Some(max as usize);
    }

    /// Where the next bytes go.
    pub(crate) fn space(&mut self) -> Space<'_> {
        if let Some(body) = &mut self.body {
            debug_assert!(body.bytes.len() < body.len, "frames are taken before the next read");
            return Space::Body(&mut body.bytes);
        }
        let space = self.input.space();
        let len = if self.large { space.len().min(SMALL_BUFFER) } else { space.len() };
        Space::Buffer(&mut space[..len])
    }

    /// `n` bytes were read into [`space`](Decoder::space).
    pub(crate) fn filled(&mut self, n: usize) {
        match &mut self.body {
            Some(body) => {
                // The beginning of what follows came along.
                self.input.append(body.bytes.get(body.len..).unwrap_or_default());
                body.bytes.truncate(body.len);
            }
            None => {
                self.input.filled(n);
                self.large = false;
            }
        }
    }

    /// These were read, and were sealed: they come from a buffer of their own, as many as one
    /// read brings.
    #[cfg(any(test, fuzzing, feature = "tls"))]
    pub(crate) fn append(&mut self, mut bytes: &[u8]) {
        if let Some(body) = &mut self.body {
            let missing = body.len - body.bytes.len();
            let (more, behind) = bytes.split_at(missing.min(bytes.len()));
            body.bytes.extend_from_slice(more);
            bytes = behind;
        }
        if !bytes.is_empty() {
            self.input.want((self.input.unread().len() + bytes.len()).min(LARGE_BUFFER));
            self.input.space();
            self.input.append(bytes);
        }
    }

    /// Releases all memory, if the link may be idle and nothing is there: for bytes that come
    /// by `append` only, no space has to be kept.
    pub(crate) fn rest(&mut self) {
        if self.body.is_none() && self.is_relaxed() && self.input.unread().is_empty() {
            self.input = Buffer::default();
        }
    }

    /// A heartbeat or a HELLO was the last that came: the link may be idle now.
    pub(crate) fn is_relaxed(&self) -> bool {
        self.input.is_relaxed()
    }

    /// What a read of these bytes does. Returns how many there was space for.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        let n = self.space().put(bytes);
        assert!(n > 0 || bytes.is_empty(), "no space reads as the end of a stream");
        self.filled(n);
        n
    }

    /// The first byte that arrived, if any has and none was decoded yet.
    pub(crate) fn first_byte(&self) -> Option<u8> {
        self.unread().first().copied()
    }

    /// What has arrived and was not decoded yet.
    pub(crate) fn unread(&self) -> &[u8] {
        self.input.unread()
    }

    /// All that has arrived, for a protocol without frames.
    pub(crate) fn take_all(&mut self) -> &[u8] {
        self.input.take_all()
    }

    /// Throws away all that has arrived: nothing behind it is a frame any more.
    pub(crate) fn discard(&mut self) {
        self.body = None;
        self.large = false;
        self.input.take_all();
        self.input.relax();
    }

    /// The next whole frame, or run of them, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Violation> {
        if let Some(body) = &mut self.body {
            if body.bytes.len() < body.len {
                return Ok(None);
            }
            let bytes = std::mem::take(&mut body.bytes);
            self.body = None;
            return Ok(Some(Frame::data(bytes.into())));
        }
        loop {
            let Some((kind, len, rest)) = split_header(self.unread()) else { return Ok(None) };
            self.check(kind, len)?;
            let Some(body) = rest.get(..len) else { break self.await_body(kind, len) };
            if kind == kind::DATA {
                return Ok(Some(Frame::Data(self.run(len))));
            }
            let frame = match kind {
                kind::GOING_AWAY => GoingAway::decode(body).map(Frame::GoingAway),
                kind if skippable::has(kind) => None,
                kind => Some(Frame::decode(kind, body)?),
            };
            self.input.skip(HEADER + len);
            let Some(frame) = frame else { continue };
            if let Frame::Ping(_) | Frame::Pong(_) | Frame::Hello(_) = frame {
                self.input.relax();
            }
            return Ok(Some(frame));
        }
        Ok(None)
    }

    /// Sees to it that there is space for the rest of the frame that comes next.
    fn await_body(&mut self, kind: u8, len: usize) {
        if kind == kind::DATA && len >= LARGE_BODY {
            // There is room for the beginning of what follows, which saves a read. The
            // price is a handle, which is allocated when the body is shared.
            let mut bytes = Vec::with_capacity(len + SMALL_BUFFER);
            bytes.extend_from_slice(&self.input.take_all()[HEADER..]);
            self.body = Some(Body { bytes, len });
            self.large = true;
        } else {
            self.input.want(HEADER + len);
        }
    }

    /// The message whose frame comes next, of that length, and those behind it that are
    /// here whole. What is wrong with the frame behind them is seen later.
    fn run(&mut self, first: usize) -> Run {
        let unread = self.unread();
        let (mut len, mut messages) = (HEADER + first, 1);
        while let Some((kind::DATA, size, rest)) = split_header(&unread[len..]) {
            let fits = size <= rest.len() && len + HEADER + size <= RUN;
            if !fits || self.max_data.is_none_or(|max| size > max) {
                break;
            }
            len += HEADER + size;
            messages += 1;
        }
        let bytes = Bytes::copy_from_slice(&unread[HEADER..len]);
        self.input.skip(len);
        Run { bytes, first, messages }
    }

    /// What is reserved.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn memory(&self) -> usize {
        self.input.memory() + self.body.as_ref().map_or(0, |body| body.bytes.capacity())
    }

    fn check(&self, kind: u8, len: usize) -> Result<(), Violation> {
        let (most, violation) = match (kind, self.max_data) {
            (kind::DATA, None) => return Err(Violation("data before the welcome")),
            (kind::DATA, Some(max)) => (max, "a message larger than was agreed"),
            (kind::HELLO | kind::WELCOME..=kind::CLOSE, _)
            | (skippable::FIRST..=skippable::LAST, Some(_)) => {
                (MAX_CONTROL, "a control frame that is too long")
            }
            _ => return Err(Violation("a frame of unknown type")),
        };
        if len <= most { Ok(()) } else { Err(Violation(violation)) }
    }
}

#[cfg(test)]
mod tests;
