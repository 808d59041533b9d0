//! Messages that are written together.

use std::io;

use super::stdio::{self, Stream};
use super::{terminal, text};

/// So much memory is kept for the next batch.
const KEPT: usize = 128 * 1024;

/// Messages as they are to be written, in order.
///
/// A write that fails may have written some of the messages, and a part of one. Then
/// [`write`](Batch::write) goes on from there, or [`forget`](Batch::forget) leaves the rest
/// out.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where each message ends.
    ends: Vec<usize>,
    written: usize,
    /// The last write ended within a line.
    cut: bool,
}

impl Batch {
    /// Adds a message as it is.
    pub(super) fn push(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(message);
        self.ends.push(self.bytes.len());
    }

    /// Adds a message as a line, see [`text::line`].
    pub(super) fn push_line(&mut self, prefix: &str, message: &[u8], terminal: bool) {
        text::line(prefix, message, terminal, &mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// Writes what is not written yet. The batch is empty after that.
    pub(super) fn write(&mut self, to: Stream) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        if self.cut {
            // Unless the line has gone with the file's other contents.
            if !stdio::is_empty_file(to) {
                terminal::write(to, &mut &b"\n"[..])?;
            }
            self.cut = false;
        }
        let mut rest = &self.bytes[self.written..];
        let result = terminal::write(to, &mut rest);
        self.written = self.bytes.len() - rest.len();
        if result.is_ok() {
            self.clear();
        }
        result
    }

    /// How many messages are not written, or not to their end.
    pub(super) fn unwritten(&self) -> u64 {
        let written = self.ends.partition_point(|end| *end <= self.written);
        (self.ends.len() - written) as u64
    }

    /// Leaves out what is not written. If that is the rest of a line, the next write begins
    /// a new line.
    pub(super) fn forget(&mut self) {
        self.cut |= self.written > 0 && !self.bytes[..self.written].ends_with(b"\n");
        self.clear();
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.ends.clear();
        self.written = 0;
    }
}
