//! Lines of any bytes, read in bounded memory.

use std::io::{self, BufRead, BufReader, Read};

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line with its newline, or a last one without.
    Text(&'a [u8]),
    /// A line beyond the limit. [`Lines`] reads it to its end, and throws it away.
    TooLong {
        /// Its size in bytes, newline included.
        size: u64,
    },
    /// There is no more.
    End,
}

/// Reads lines from a stream.
#[derive(Debug)]
pub struct Lines<R> {
    reader: BufReader<R>,
    limit: usize,
    line: Vec<u8>,
    number: u64,
}

impl<R: Read> Lines<R> {
    /// Starts at line 1. A line has at most `limit` bytes with its newline, and no more of
    /// one is kept in memory.
    pub fn new(reader: R, limit: usize) -> Lines<R> {
        let reader = BufReader::with_capacity(64 * 1024, reader);
        Lines { reader, limit, line: Vec::new(), number: 0 }
    }

    /// What is read.
    pub(super) fn reader(&mut self) -> &mut R {
        self.reader.get_mut()
    }

    /// The number of the line that was read last.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether more was read from the stream already than was handed out.
    pub fn has_more(&self) -> bool {
        !self.reader.buffer().is_empty()
    }

    /// Shows the next lines that are in memory as a whole, of any length: as many as `lines`
    /// has room for. Returns how many; [`take`](Lines::take) takes them.
    pub fn ready<'a>(&'a self, lines: &mut [&'a [u8]]) -> usize {
        let mut rest = self.reader.buffer();
        let mut count = 0;
        while let Some(line) = lines.get_mut(count)
            && let Some(len) = line_len(rest)
        {
            (*line, rest) = rest.split_at(len);
            count += 1;
        }
        count
    }

    /// Takes so many lines that are ready, which have so many bytes together.
    pub fn take(&mut self, lines: usize, bytes: usize) {
        self.reader.consume(bytes);
        self.number += lines as u64;
    }

    /// Reads the next line. Calls `before_wait` whenever the stream itself has to be read,
    /// which may block: a good time to pass on what was handed out before.
    pub fn next(&mut self, mut before_wait: impl FnMut()) -> io::Result<Line<'_>> {
        self.line.clear();
        let (mut size, limit) = (0, self.limit as u64);
        loop {
            if self.reader.buffer().is_empty() {
                before_wait();
            }
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let (taken, complete) = match line_len(buffer) {
                Some(len) => (len, true),
                None => (buffer.len(), buffer.is_empty()),
            };
            size += taken as u64;
            if size <= limit {
                self.line.extend_from_slice(&buffer[..taken]);
            }
            self.reader.consume(taken);
            if !complete {
                continue;
            }
            if size == 0 {
                return Ok(Line::End);
            }
            self.number += 1;
            return Ok(match size <= limit {
                true => Line::Text(&self.line),
                false => Line::TooLong { size },
            });
        }
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

    #[test]
    fn lines_keep_their_newline_and_the_last_needs_none() {
        let mut lines = Lines::new(&b"one\n\n\xff\0\r\nlast"[..], 100);
        for line in [&b"one\n"[..], b"\n", b"\xff\0\r\n", b"last"] {
            assert_eq!(lines.next(|| ()).unwrap(), Line::Text(line));
        }
        assert_eq!(lines.next(|| ()).unwrap(), Line::End);
        assert_eq!(lines.number(), 4);
        assert_eq!(Lines::new(io::empty(), 1).next(|| ()).unwrap(), Line::End);
    }

    #[test]
    fn a_line_beyond_the_limit_is_measured_and_skipped() {
        let mut lines = Lines::new(&b"1234\n12345\n1234567\n1\n12345"[..], 5);
        assert_eq!(lines.next(|| ()).unwrap(), Line::Text(b"1234\n"));
        assert_eq!(lines.next(|| ()).unwrap(), Line::TooLong { size: 6 });
        assert_eq!(lines.next(|| ()).unwrap(), Line::TooLong { size: 8 });
        assert_eq!(lines.number(), 3);
        assert_eq!(lines.next(|| ()).unwrap(), Line::Text(b"1\n"));
        assert_eq!(lines.next(|| ()).unwrap(), Line::Text(b"12345"));
        assert_eq!(lines.next(|| ()).unwrap(), Line::End);
    }

    #[test]
    fn whole_lines_are_ready_once_they_were_read() {
        let mut lines = Lines::new(&b"one\n\nthree\nlast"[..], 100);
        assert_eq!(lines.ready(&mut [&[][..]; 9]), 0);
        assert_eq!(lines.next(|| ()).unwrap(), Line::Text(b"one\n"));
        let mut ready = [&[][..]; 9];
        assert_eq!(lines.ready(&mut ready), 2);
        assert_eq!(ready[..2], [&b"\n"[..], b"three\n"]);
        assert_eq!(lines.ready(&mut [&[][..]; 1]), 1);
        lines.take(1, 1);
        assert_eq!(lines.number(), 2);
        assert_eq!(lines.next(|| ()).unwrap(), Line::Text(b"three\n"));
        assert_eq!(lines.ready(&mut [&[][..]; 9]), 0);
        assert_eq!(lines.next(|| ()).unwrap(), Line::Text(b"last"));
    }

    #[test]
    fn a_huge_line_takes_no_memory() {
        let mut lines = Lines::new(io::repeat(b'x').take(100 << 20), 1000);
        assert_eq!(lines.next(|| ()).unwrap(), Line::TooLong { size: 100 << 20 });
        assert!(lines.line.capacity() <= 64 * 1024, "{}", lines.line.capacity());
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
