//! Lines of any bytes, read in bounded memory.

use std::io::{self, BufRead, BufReader, Read};

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line with its newline, or a last one without.
    Text(Vec<u8>),
    /// A line beyond the limit has this size in bytes, its newline included, if it has one.
    TooLong { size: u64, newline: bool },
    /// There is no more.
    End,
}

/// Reads lines from a stream.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    limit: usize,
    number: u64,
}

impl<R: Read> Lines<R> {
    /// Starts at line 1. A line has at most `limit` bytes with its newline, and no more of
    /// one is kept in memory.
    pub(super) fn new(reader: R, limit: usize) -> Lines<R> {
        Lines { reader: BufReader::with_capacity(64 * 1024, reader), limit, number: 0 }
    }

    /// What is read.
    pub(super) fn reader(&mut self) -> &mut R {
        self.reader.get_mut()
    }

    /// The number of the line that was read last.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether more was read from the stream already than was handed out.
    pub(super) fn has_more(&self) -> bool {
        !self.reader.buffer().is_empty()
    }

    /// Shows the next lines that are in memory as a whole, of any length.
    /// [`take`](Lines::take) takes them.
    pub(super) fn ready(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.reader.buffer();
        std::iter::from_fn(move || {
            let (line, behind) = rest.split_at(line_len(rest)?);
            rest = behind;
            Some(line)
        })
    }

    /// Takes so many lines that are ready, which have so many bytes together.
    pub(super) fn take(&mut self, lines: usize, bytes: usize) {
        self.reader.consume(bytes);
        self.number += lines as u64;
    }

    /// Reads the next line. Calls `before_wait` whenever the stream itself has to be read,
    /// which may block: a good time to pass on what was handed out before.
    pub(super) fn next(&mut self, mut before_wait: impl FnMut()) -> io::Result<Line> {
        let (mut line, mut size) = (Vec::new(), 0);
        let newline = loop {
            if self.reader.buffer().is_empty() {
                before_wait();
            }
            let buffer = self.reader.fill_buf()?;
            let whole = line_len(buffer);
            let taken = whole.unwrap_or(buffer.len());
            size += taken;
            if size <= self.limit {
                line.extend_from_slice(&buffer[..taken]);
            }
            self.reader.consume(taken);
            if whole.is_some() || taken == 0 {
                break whole.is_some();
            }
        };
        self.number += u64::from(size > 0);
        Ok(match size {
            0 => Line::End,
            _ if size <= self.limit => Line::Text(line),
            _ => Line::TooLong { size: size as u64, newline },
        })
    }
}

/// The length of the line at the beginning, if it is whole.
fn line_len(bytes: &[u8]) -> Option<usize> {
    // The system's search, which this is the way to, is several times as fast
    // as a loop over bytes.
    let len = { bytes }.skip_until(b'\n').unwrap_or(0);
    (len > 0 && bytes[len - 1] == b'\n').then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out one piece per read, as a pipe may.
    struct Pieces(Vec<&'static [u8]>);

    impl Read for Pieces {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            to[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    fn text(line: &[u8]) -> Line {
        Line::Text(line.to_vec())
    }

    #[test]
    fn lines_keep_their_newline_and_the_last_needs_none() {
        let mut lines = Lines::new(&b"one\n\n\xff\0\r\nlast"[..], 100);
        for line in [&b"one\n"[..], b"\n", b"\xff\0\r\n", b"last"] {
            assert_eq!(lines.next(|| ()).unwrap(), text(line));
        }
        assert_eq!(lines.next(|| ()).unwrap(), Line::End);
        assert_eq!(lines.number(), 4);
        assert_eq!(Lines::new(io::empty(), 1).next(|| ()).unwrap(), Line::End);
    }

    #[test]
    fn a_line_beyond_the_limit_is_measured_and_skipped() {
        let mut lines = Lines::new(&b"1234\n12345\n1234567\n1\n12345"[..], 5);
        assert_eq!(lines.next(|| ()).unwrap(), text(b"1234\n"));
        assert!(matches!(lines.next(|| ()), Ok(Line::TooLong { size: 6, newline: true })));
        assert!(matches!(lines.next(|| ()), Ok(Line::TooLong { size: 8, newline: true })));
        assert_eq!(lines.number(), 3);
        assert_eq!(lines.next(|| ()).unwrap(), text(b"1\n"));
        assert_eq!(lines.next(|| ()).unwrap(), text(b"12345"));
        assert_eq!(lines.next(|| ()).unwrap(), Line::End);
    }

    #[test]
    fn whole_lines_are_ready_once_they_were_read() {
        let mut lines = Lines::new(&b"one\n\nthree\nlast"[..], 100);
        assert_eq!(lines.ready().count(), 0);
        assert_eq!(lines.next(|| ()).unwrap(), text(b"one\n"));
        assert_eq!(lines.ready().collect::<Vec<_>>(), [&b"\n"[..], b"three\n"]);
        lines.take(1, 1);
        assert_eq!(lines.number(), 2);
        assert_eq!(lines.next(|| ()).unwrap(), text(b"three\n"));
        assert_eq!(lines.ready().count(), 0);
        assert_eq!(lines.next(|| ()).unwrap(), text(b"last"));
    }

    #[test]
    fn a_huge_line_takes_no_memory() {
        let mut lines = Lines::new(io::repeat(b'x').take(100 << 20), 1000);
        assert_eq!(lines.next(|| ()).unwrap(), Line::TooLong { size: 100 << 20, newline: false });
    }

    #[test]
    fn tells_before_it_may_wait() {
        let mut lines = Lines::new(Pieces(vec![b"a\nb\nc", b"d\n"]), 100);
        let mut waits = Vec::new();
        for _ in 0..4 {
            let mut count = 0;
            lines.next(|| count += 1).unwrap();
            waits.push(count);
        }
        // a waits for the first piece, b does not, cd for the second, the end for more.
        assert_eq!(waits, [1, 0, 1, 1]);
    }
}
