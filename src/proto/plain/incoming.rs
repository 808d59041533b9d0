//! What a plain text peer says: lines, and heartbeats at their beginnings.

use bytes::{Buf, Bytes, BytesMut};

use crate::proto::Violation;
use crate::proto::handshake::Limits;

/// A heartbeat, at the start of a line and without a newline behind it.
pub(crate) const MARK: &[u8; 9] = b"keepalive";

/// What begins so may be a heartbeat until the next byte tells: telnet's newline is `\r\n`.
const OPENING: &[u8] = b"keepalive\r";

/// PROXY protocol v2 begins so: two empty lines of telnet, and what no line begins with.
pub(super) const PROXY: &[u8] = b"\r\n\r\n\0";

/// An empty buffer keeps no more memory than this.
const SMALL: usize = 4 * 1024;

/// What the stream consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A line is whole, and can be taken.
    Line,
    Heartbeat,
}

/// Finds the lines in a stream that arrives in pieces. They are kept as they
/// came, one behind the other, so that the shortest cost no more than their bytes.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    text: BytesMut,
    /// How many whole lines there are in the text, and the length of what
    /// stands behind them.
    lines: usize,
    rest: usize,
    /// A server's: only a client sends heartbeats, and is answered in kind.
    server: bool,
    /// What of [`PROXY`] has not come, if the stream has begun with the rest of it. On a
    /// server.
    proxy: Option<&'static [u8]>,
    /// Whether the first line that was taken ended with `\r\n`, on a server.
    crlf: Option<bool>,
}

impl Incoming {
    pub(crate) fn new(server: bool) -> Incoming {
        Incoming { server, proxy: server.then_some(PROXY), ..Incoming::default() }
    }

    /// Takes bytes of the stream until a line or a heartbeat is complete.
    pub(crate) fn push(
        &mut self,
        bytes: &mut &[u8],
        limits: Limits,
    ) -> Result<Option<Found>, Violation> {
        while let Some(&next) = bytes.first() {
            if self.is_opening() && OPENING.get(self.rest) == Some(&next) {
                self.append(bytes, 1)?;
                continue;
            }
            if self.may_be_heartbeat() && next != b'\n' {
                return Ok(Some(self.take_heartbeat()));
            }
            let newline = bytes.iter().position(|&byte| byte == b'\n');
            let len = newline.map_or(bytes.len(), |at| at + 1);
            self.check(len, limits)?;
            self.append(bytes, len)?;
            if newline.is_some() {
                return Ok(Some(self.complete()));
            }
        }
        Ok(None)
    }

    /// The stream has ended: what stands there without a newline is the last line.
    pub(crate) fn end(&mut self, limits: Limits) -> Result<Option<Found>, Violation> {
        if self.may_be_heartbeat() && self.rest == MARK.len() {
            return Ok(Some(self.take_heartbeat()));
        }
        self.check(0, limits)?;
        Ok((self.rest > 0).then(|| self.complete()))
    }

    /// Whether the line has begun as a heartbeat does.
    fn is_opening(&self) -> bool {
        self.server && OPENING.starts_with(&self.text[self.text.len() - self.rest..])
    }

    /// Whether there is a heartbeat, unless a newline comes next.
    pub(crate) fn may_be_heartbeat(&self) -> bool {
        self.rest >= MARK.len() && self.is_opening()
    }

    /// What may be a heartbeat is one. A `\r` behind it begins a line.
    fn take_heartbeat(&mut self) -> Found {
        self.text.truncate(self.text.len() - self.rest);
        self.rest -= MARK.len();
        self.text.extend_from_slice(&OPENING[MARK.len()..][..self.rest]);
        Found::Heartbeat
    }

    /// Whether the line may go on by so many bytes.
    fn check(&self, len: usize, limits: Limits) -> Result<(), Violation> {
        match self.rest + len > limits.max_message as usize {
            true => Err(Violation("a line longer than the largest message")),
            false => Ok(()),
        }
    }

    fn append(&mut self, bytes: &mut &[u8], len: usize) -> Result<(), Violation> {
        let new = &bytes[..len];
        if let Some(proxy) = self.proxy {
            let (expected, behind) = proxy.split_at(proxy.len().min(len));
            self.proxy = Some(behind).filter(|_| new.starts_with(expected));
            if self.proxy.is_some_and(<[u8]>::is_empty) {
                return Err(Violation("the PROXY protocol instead of text"));
            }
        }
        self.rest += len;
        self.text.extend_from_slice(new);
        bytes.advance(len);
        Ok(())
    }

    fn complete(&mut self) -> Found {
        self.rest = 0;
        self.lines += 1;
        Found::Line
    }

    /// The link is lost, and what it left unfinished is no message.
    pub(crate) fn cut(&mut self) {
        self.text.truncate(self.text.len() - self.rest);
        self.rest = 0;
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

    /// Whether the peer ends its lines with `\r\n`, as far as is known.
    pub(crate) fn is_crlf(&self) -> bool {
        self.crlf == Some(true)
    }

    /// Whether a line has to be taken before more is read. An unfinished line cannot
    /// be: its end has to be read first. A last line without a newline has to be, or
    /// what the next link brings would go on with it.
    pub(crate) fn is_full(&self, limits: Limits) -> bool {
        let is_last = self.rest == 0 && !self.text.ends_with(b"\n");
        self.lines > 0 && (is_last || self.text.len() >= limits.window as usize)
    }

    pub(crate) fn discard(&mut self) {
        self.text = BytesMut::new();
        (self.lines, self.rest) = (0, 0);
    }

    /// What is reserved.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.text.capacity()
    }
}
