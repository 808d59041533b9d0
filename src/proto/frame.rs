//! Bytes to frames and back. Every length is checked before memory is reserved.

use bytes::{BufMut, Bytes, BytesMut};

use super::handshake::{Hello, Welcome};

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
}

/// The peer broke the protocol. Its link ends; nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) &'static str);

/// One unit of the wire. See the format in [`crate::wire`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Hello(Hello),
    Welcome(Welcome),
    Reject { code: u8, text: String },
    Data(Bytes),
    Fin,
    Ack(Ack),
    Ping(u64),
    Pong(u64),
    Close(Close),
}

/// How much the application is done with, and how much more it has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack {
    /// Sequenced frames of this session that were consumed.
    pub(crate) consumed: u64,
    /// The cost that may be outstanding from now on.
    pub(crate) window: u32,
}

/// The session is over for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: CloseCode,
    /// Sequenced frames that were consumed; the rest never will be.
    pub(crate) consumed: u64,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseCode {
    /// Both directions ended, and everything was taken.
    Done,
    /// The sender closed; it takes nothing more.
    Closed,
    /// The sender's application aborted.
    Aborted,
    /// Nobody came back for the session in time.
    Expired,
}

impl CloseCode {
    fn from_wire(code: u8) -> CloseCode {
        match code {
            0 => CloseCode::Done,
            2 => CloseCode::Aborted,
            3 => CloseCode::Expired,
            // A reason of a later version is still an end.
            _ => CloseCode::Closed,
        }
    }

    fn to_wire(self) -> u8 {
        match self {
            CloseCode::Done => 0,
            CloseCode::Closed => 1,
            CloseCode::Aborted => 2,
            CloseCode::Expired => 3,
        }
    }
}

pub(crate) fn put_header(out: &mut impl BufMut, kind: u8, len: usize) {
    out.put_u8(kind);
    out.put_u32(u32::try_from(len).expect("bodies are limited to less than 4 GiB"));
}

impl Frame {
    /// Appends the frame to `out`.
    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        match self {
            Frame::Hello(hello) => {
                put_header(out, kind::HELLO, Hello::LEN);
                hello.encode(out);
            }
            Frame::Welcome(welcome) => {
                put_header(out, kind::WELCOME, Welcome::LEN);
                welcome.encode(out);
            }
            Frame::Reject { code, text } => {
                put_header(out, kind::REJECT, 1 + text.len());
                out.put_u8(*code);
                out.put_slice(text.as_bytes());
            }
            Frame::Data(body) => {
                put_header(out, kind::DATA, body.len());
                out.put_slice(body);
            }
            Frame::Fin => put_header(out, kind::FIN, 0),
            Frame::Ack(ack) => {
                put_header(out, kind::ACK, 12);
                out.put_u64(ack.consumed);
                out.put_u32(ack.window);
            }
            Frame::Ping(id) => {
                put_header(out, kind::PING, 8);
                out.put_u64(*id);
            }
            Frame::Pong(id) => {
                put_header(out, kind::PONG, 8);
                out.put_u64(*id);
            }
            Frame::Close(close) => {
                put_header(out, kind::CLOSE, 9);
                out.put_u8(close.code.to_wire());
                out.put_u64(close.consumed);
            }
        }
    }

    /// The frame alone.
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out.freeze()
    }

    fn decode(kind: u8, body: &[u8]) -> Result<Frame, Violation> {
        const WRONG_LENGTH: Violation = Violation("a frame of the wrong length");
        let number = || body.try_into().map(u64::from_be_bytes).map_err(|_| WRONG_LENGTH);
        Ok(match kind {
            kind::HELLO => Frame::Hello(Hello::decode(body)?),
            kind::WELCOME => Frame::Welcome(Welcome::decode(body)?),
            kind::REJECT => {
                let (&code, text) = body.split_first().ok_or(WRONG_LENGTH)?;
                Frame::Reject { code, text: String::from_utf8_lossy(text).into_owned() }
            }
            kind::DATA => Frame::Data(Bytes::copy_from_slice(body)),
            kind::FIN if body.is_empty() => Frame::Fin,
            kind::ACK => {
                let (consumed, window) = body.split_first_chunk().ok_or(WRONG_LENGTH)?;
                let window = window.try_into().map_err(|_| WRONG_LENGTH)?;
                Frame::Ack(Ack {
                    consumed: u64::from_be_bytes(*consumed),
                    window: u32::from_be_bytes(window),
                })
            }
            kind::PING => Frame::Ping(number()?),
            kind::PONG => Frame::Pong(number()?),
            kind::CLOSE => {
                let (&code, consumed) = body.split_first().ok_or(WRONG_LENGTH)?;
                let consumed = consumed.try_into().map_err(|_| WRONG_LENGTH)?;
                let consumed = u64::from_be_bytes(consumed);
                Frame::Close(Close { code: CloseCode::from_wire(code), consumed })
            }
            _ => return Err(WRONG_LENGTH),
        })
    }
}

/// Finds the frames in a stream that arrives in pieces.
///
/// The owner reads into [`space`](Decoder::space), reports how much with
/// [`filled`](Decoder::filled), and then takes frames with
/// [`next`](Decoder::next) until there are no more. Small bodies are copied
/// out of the buffer, so that a message which is kept pins no more memory than
/// its own; a large body is read straight to where it stays. The buffer starts
/// small, and grows with the frames that come and with reads that fill it.
#[derive(Debug)]
pub(crate) struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The size that the buffer should have.
    wanted: usize,
    body: Option<Body>,
    max_data: Option<usize>,
}

/// A DATA body on its way in.
#[derive(Debug)]
struct Body {
    bytes: Vec<u8>,
    filled: usize,
}

const SMALL_BUFFER: usize = 4 * 1024;
const LARGE_BUFFER: usize = 64 * 1024;
/// A body of at least this size gets memory of its own before it is complete.
const LARGE_BODY: usize = 32 * 1024;

impl Decoder {
    /// A decoder for a handshake, in which nothing is larger than [`MAX_CONTROL`].
    pub(crate) fn new() -> Decoder {
        Decoder {
            buffer: Vec::new(),
            start: 0,
            end: 0,
            wanted: SMALL_BUFFER,
            body: None,
            max_data: None,
        }
    }

    /// From now on DATA may come, of at most `max` bytes.
    pub(crate) fn allow_data(&mut self, max: u32) {
        self.max_data = Some(max as usize);
    }

    /// Where the next bytes go; never empty.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if let Some(body) = &mut self.body {
            return &mut body.bytes[body.filled..];
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() < self.wanted {
            self.buffer.resize(self.wanted, 0);
        }
        &mut self.buffer[self.end..]
    }

    /// `n` bytes were read into [`space`](Decoder::space).
    pub(crate) fn filled(&mut self, n: usize) {
        match &mut self.body {
            Some(body) => body.filled += n,
            None => {
                self.end += n;
                if self.end == self.buffer.len() {
                    self.want(2 * self.end);
                }
            }
        }
    }

    /// The first byte that arrived, if any has and none was decoded yet.
    pub(crate) fn first_byte(&self) -> Option<u8> {
        self.buffer[self.start..self.end].first().copied()
    }

    /// The next whole frame, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Violation> {
        if let Some(body) = &mut self.body {
            if body.filled < body.bytes.len() {
                return Ok(None);
            }
            let bytes = std::mem::take(&mut body.bytes);
            self.body = None;
            return Ok(Some(Frame::Data(bytes.into())));
        }
        let unread = &self.buffer[self.start..self.end];
        let Some((header, rest)) = unread.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [kind, len @ ..] = *header;
        let len = u32::from_be_bytes(len) as usize;
        self.check(kind, len)?;
        if let Some(body) = rest.get(..len) {
            let frame = Frame::decode(kind, body)?;
            self.start += HEADER + len;
            return Ok(Some(frame));
        }
        if kind == kind::DATA && len >= LARGE_BODY {
            let mut bytes = vec![0; len];
            let filled = rest.len();
            bytes[..filled].copy_from_slice(rest);
            self.body = Some(Body { bytes, filled });
            (self.start, self.end) = (0, 0);
        } else {
            self.want(HEADER + len);
        }
        Ok(None)
    }

    fn want(&mut self, size: usize) {
        self.wanted = size.next_power_of_two().min(LARGE_BUFFER).max(self.wanted);
    }

    fn check(&self, kind: u8, len: usize) -> Result<(), Violation> {
        match kind {
            kind::DATA => match self.max_data {
                None => Err(Violation("data before the welcome")),
                Some(max) if len > max => Err(Violation("a message larger than was agreed")),
                Some(_) => Ok(()),
            },
            kind::HELLO | kind::WELCOME..=kind::CLOSE if len <= MAX_CONTROL => Ok(()),
            kind::HELLO | kind::WELCOME..=kind::CLOSE => {
                Err(Violation("a control frame that is too long"))
            }
            _ => Err(Violation("a frame of unknown type")),
        }
    }
}
