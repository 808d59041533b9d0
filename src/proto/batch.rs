//! [`Batch`]: what a link writes next.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use super::frame::Frame;
use super::spent::Spent;

/// Bytes to be written, whole frames, in order. It serves one link for as long as
/// that lives, and counts what went through it: its positions are those of the wire.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(super) slices: VecDeque<Bytes>,
    len: usize,
    /// Slices that were written, to be dropped where that does no harm.
    pub(crate) spent: Spent,
    /// Bytes that were written, sealed ones as they are on the wire.
    written: u64,
    /// The position behind the last bytes that carry messages, and acknowledgements
    /// among them: all others are heartbeats and the like.
    carried: u64,
    /// Behind them the stream ends.
    fin: bool,
    /// What the bytes are packed in on their way, if they are.
    pub(crate) records: Option<Records>,
}

/// The pieces that sealed bytes go in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Records {
    /// So much goes in one at most. All but the last of a batch are full.
    pub(crate) most: usize,
    /// What one takes beside that.
    pub(crate) adds: usize,
}

impl Records {
    /// What so many bytes are on the wire.
    pub(crate) fn on_wire(self, len: usize) -> usize {
        len + self.adds * len.div_ceil(self.most)
    }
}

/// A batch is closed at this many bytes, or slices. Large messages are worth
/// gathering, too: of 64 KiB, four in one write go 1.2 times as fast as one by
/// one, since the peer is woken less often.
pub(super) const BATCH_BYTES: usize = if cfg!(any(test, fuzzing)) { 1024 } else { 256 * 1024 };
pub(super) const BATCH_SLICES: usize = if cfg!(any(test, fuzzing)) { 3 } else { 60 };

impl Batch {
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        self.slices.push_back(bytes);
    }

    /// Whether it is large enough.
    pub(super) fn is_full(&self) -> bool {
        self.len >= BATCH_BYTES || self.slices.len() >= BATCH_SLICES
    }

    pub(super) fn push_frame(&mut self, frame: &Frame) {
        self.push(frame.to_bytes());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0 && !self.fin
    }

    pub(crate) fn end_stream(&mut self) {
        self.fin = true;
    }

    /// Whether the stream ends behind what is in the batch.
    pub(crate) fn ends_stream(&self) -> bool {
        self.fin
    }

    /// Whether the stream is to be ended, now that all is written; once.
    pub(crate) fn take_fin(&mut self) -> bool {
        std::mem::take(&mut self.fin)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Releases memory that a busy time has left, but for the heartbeat that comes next.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() {
            self.slices.shrink_to(1);
        }
    }

    /// How many bytes were written on this link.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Where on this link the last message ends that was moved into the batch.
    pub(crate) fn carried(&self) -> u64 {
        self.carried
    }

    /// What is in the batch so far ends with a message.
    pub(crate) fn ends_message(&mut self) {
        self.carried = self.end();
    }

    /// Where on this link ends what is in the batch so far, of which nothing is sealed yet.
    pub(crate) fn end(&self) -> u64 {
        let len = self.records.map_or(self.len, |records| records.on_wire(self.len));
        self.written + len as u64
    }

    /// The bytes from `at` on, at most so many. They are copied to `scratch` if they do not
    /// lie together.
    pub(crate) fn piece<'a>(
        &'a self,
        mut at: usize,
        most: usize,
        scratch: &'a mut Vec<u8>,
    ) -> &'a [u8] {
        let most = most.min(self.len - at);
        scratch.clear();
        for slice in &self.slices {
            let Some(rest) = slice.get(at..) else {
                at -= slice.len();
                continue;
            };
            at = 0;
            if scratch.is_empty() && rest.len() >= most {
                return &rest[..most];
            }
            let left = most - scratch.len();
            scratch.extend_from_slice(&rest[..rest.len().min(left)]);
        }
        scratch
    }

    /// Of the sealed bytes, `wire` more were written. With them the records of the first
    /// `plain` bytes became whole.
    pub(crate) fn sent_sealed(&mut self, plain: usize, wire: usize) {
        self.written += wire as u64;
        self.drop_front(plain);
    }

    fn drop_front(&mut self, mut n: usize) {
        self.len -= n;
        while n > 0 {
            let front = &mut self.slices[0];
            if n < front.len() {
                front.advance(n);
                break;
            }
            n -= front.len();
            self.spent.extend(self.slices.pop_front());
        }
    }

    /// Its link has gone, and nothing more of it will be written.
    pub(crate) fn give_up(self) -> Spent {
        let mut spent = self.spent;
        spent.extend(self.slices);
        spent
    }
}

/// What is written next.
impl Buf for Batch {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.slices.front().map_or(&[], |slice| slice)
    }

    fn chunks_vectored<'a>(&'a self, to: &mut [IoSlice<'a>]) -> usize {
        for (to, slice) in to.iter_mut().zip(&self.slices) {
            *to = IoSlice::new(slice);
        }
        to.len().min(self.slices.len())
    }

    /// The first `n` bytes were written.
    fn advance(&mut self, n: usize) {
        self.sent_sealed(n, n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: Records = Records { most: 10, adds: 3 };

    fn batch(slices: &[&'static [u8]]) -> Batch {
        let mut batch = Batch { records: Some(RECORDS), ..Batch::default() };
        slices.iter().for_each(|slice| batch.push(Bytes::from_static(slice)));
        batch
    }

    #[test]
    fn records_are_all_full_but_the_last() {
        let on_wire = [0, 1, 10, 11, 20, 25].map(|len| RECORDS.on_wire(len));
        assert_eq!(on_wire, [0, 4, 13, 17, 26, 34]);
    }

    #[test]
    fn pieces_are_what_lies_there_whichever_slices_it_is_in() {
        let all = b"abcdefghijklmnop";
        let batch = batch(&[b"abc", b"", b"defghij", b"k", b"lmnop", b""]);
        for at in 0..=all.len() {
            for most in 1..20 {
                let mut scratch = b"left over".to_vec();
                let piece = batch.piece(at, most, &mut scratch);
                assert_eq!(piece, &all[at..(at + most).min(all.len())], "{at} {most}");
            }
        }
        let mut scratch = Vec::new();
        for (at, most) in [(0, 3), (3, 7), (5, 2), (11, 5), (12, 100)] {
            batch.piece(at, most, &mut scratch);
            assert!(scratch.is_empty(), "{at} {most}: copied");
        }
    }

    /// An end that counts plain bytes lies before the ping that is meant.
    #[test]
    fn positions_are_those_of_the_wire() {
        let mut batch = batch(&[b"0123456789", b"012345"]);
        assert_eq!(batch.end(), 16 + 2 * 3);
        batch.ends_message();
        batch.push(Bytes::from_static(b"ping"));
        assert_eq!((batch.carried(), batch.end()), (22, 20 + 2 * 3));
        // The first record and a part of the second.
        batch.sent_sealed(10, 13 + 7);
        assert_eq!((batch.len(), batch.written()), (10, 20));
        batch.sent_sealed(10, 6);
        assert_eq!((batch.len(), batch.written(), batch.end()), (0, 26, 26));
        assert_eq!((batch.is_empty(), batch.slices.len()), (true, 0));
        // Of one that is not packed, they are the same.
        batch.records = None;
        batch.push(Bytes::from_static(b"0123456789abc"));
        assert_eq!(batch.end(), 26 + 13);
        batch.advance(12);
        assert_eq!((batch.len(), batch.written(), batch.end()), (1, 38, 39));
    }
}
