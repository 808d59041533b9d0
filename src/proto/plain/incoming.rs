//! What a plain text peer says: lines, and heartbeats at their beginnings.

use bytes::{Buf, Bytes, BytesMut};

use crate::proto::Violation;
use crate::proto::handshake::Limits;

/// A heartbeat, at the start of a line and without a newline behind it.
pub(crate) const MARK: &[u8; 9] = b"keepalive";

/// A buffer that is empty keeps no more than this.
const SMALL: usize = 4 * 1024;

/// What there was in the stream, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A line is whole, and can be taken.
    Line,
    Heartbeat,
}

/// Finds the lines in a stream that arrives in pieces. They are kept as they
/// came, one behind the other, so that the shortest cost no more than their bytes.
#[derive(Debug)]
pub(crate) struct Incoming {
    text: BytesMut,
    /// How many whole lines there are in the text, and the length of what
    /// stands behind them.
    lines: usize,
    rest: usize,
    /// At the start of a line, so many bytes are held back, since they may be a
    /// heartbeat: of [`MARK`], and of the `\r` behind it.
    held: usize,
    window: usize,
    max_message: usize,
    server: bool,
    /// The first line ended with `\r\n`.
    crlf: Option<bool>,
}

impl Incoming {
    /// Of a client, whose server sends no heartbeats.
    pub(crate) fn of_client(limits: Limits) -> Incoming {
        Incoming {
            text: BytesMut::new(),
            lines: 0,
            rest: 0,
            held: 0,
            window: limits.window as usize,
            max_message: limits.max_message as usize,
            server: false,
            crlf: None,
        }
    }

    pub(crate) fn of_server(limits: Limits) -> Incoming {
        Incoming { server: true, ..Incoming::of_client(limits) }
    }

    /// Takes the next bytes of the stream, and calls `found` for what is
    /// complete by them.
    pub(crate) fn push(
        &mut self,
        mut bytes: &[u8],
        found: &mut impl FnMut(Found),
    ) -> Result<(), Violation> {
        while let Some(&byte) = bytes.first() {
            if self.server && self.rest == 0 && self.hold(byte, found)? {
                bytes.advance(1);
                continue;
            }
            let newline = bytes.iter().position(|&byte| byte == b'\n');
            let len = newline.map_or(bytes.len(), |at| at + 1);
            self.append(&bytes[..len])?;
            if newline.is_some() {
                self.complete(found);
            }
            bytes.advance(len);
        }
        Ok(())
    }

    /// There are no more bytes: what stands there without a newline is the last line.
    pub(crate) fn end(&mut self, found: &mut impl FnMut(Found)) -> Result<(), Violation> {
        if self.held == MARK.len() {
            self.held = 0;
            found(Found::Heartbeat);
        }
        self.release()?;
        if self.rest > 0 {
            self.complete(found);
        }
        Ok(())
    }

    /// At the start of a line: whether this byte is held back.
    fn hold(&mut self, byte: u8, found: &mut impl FnMut(Found)) -> Result<bool, Violation> {
        let next = MARK.get(self.held);
        if next == Some(&byte) || (self.held == MARK.len() && byte == b'\r') {
            self.held += 1;
            return Ok(true);
        }
        if next.is_some() || byte == b'\n' {
            self.release()?;
            return Ok(false);
        }
        found(Found::Heartbeat);
        if self.held > MARK.len() {
            self.held = 0;
            self.append(b"\r")?;
            return Ok(false);
        }
        self.held = 0;
        self.hold(byte, found)
    }

    /// What was held back is text.
    fn release(&mut self) -> Result<(), Violation> {
        let held = std::mem::take(&mut self.held);
        self.append(&MARK[..held.min(MARK.len())])?;
        self.append(&b"\r"[..held.saturating_sub(MARK.len())])
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        if self.rest + bytes.len() > self.max_message {
            return Err(Violation("a line longer than the largest message"));
        }
        self.rest += bytes.len();
        self.text.extend_from_slice(bytes);
        Ok(())
    }

    fn complete(&mut self, found: &mut impl FnMut(Found)) {
        self.rest = 0;
        self.lines += 1;
        found(Found::Line);
    }

    /// The link is gone, and what it left unfinished is no message.
    pub(crate) fn cut(&mut self) {
        self.text.truncate(self.text.len() - self.rest);
        (self.rest, self.held) = (0, 0);
    }

    pub(crate) fn take(&mut self) -> Option<Bytes> {
        self.lines = self.lines.checked_sub(1)?;
        let newline = self.text.iter().position(|&byte| byte == b'\n');
        let len = newline.map_or(self.text.len(), |at| at + 1);
        let line = &self.text[..len];
        let text = line.strip_suffix(b"\r\n");
        let crlf = *self.crlf.get_or_insert(self.server && text.is_some());
        let message = match text.filter(|_| crlf) {
            Some(text) => [text, b"\n"].concat().into(),
            None => Bytes::copy_from_slice(line),
        };
        self.text.advance(len);
        if self.text.is_empty() && self.text.capacity() > SMALL {
            self.text = BytesMut::new();
        }
        Some(message)
    }

    pub(crate) fn has_line(&self) -> bool {
        self.lines > 0
    }

    /// Whether the peer ends its lines with `\r\n`, as far as lines were taken.
    pub(crate) fn is_crlf(&self) -> bool {
        self.crlf == Some(true)
    }

    /// Whether the next byte tells if the last ones were a heartbeat.
    pub(crate) fn may_be_heartbeat(&self) -> bool {
        self.held >= MARK.len()
    }

    /// No more is to be read before something is taken. An unfinished line does
    /// not count: its end has to be read.
    pub(crate) fn is_full(&self) -> bool {
        self.lines > 0 && self.text.len() >= self.window
    }

    pub(crate) fn discard(&mut self) {
        self.text = BytesMut::new();
        (self.lines, self.rest, self.held) = (0, 0, 0);
    }

    /// What is reserved.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.text.capacity()
    }
}
