//! [`Buffer`]: what was read and not decoded yet.

/// Bytes on their way in. The buffer starts small, and grows with what its owner wants
/// there to be space for, and with reads that fill it. When it is empty and little is
/// wanted, it is small again.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// The size that it should have, if that is not [`SMALL_BUFFER`].
    wanted: usize,
}

/// A buffer's first size: an idle link keeps no more.
pub(crate) const SMALL_BUFFER: usize = 256;
/// Reads that fill it make it as large as this. In tests that is small, so that less takes a
/// test beyond it.
pub(crate) const LARGE_BUFFER: usize = if cfg!(any(test, fuzzing)) { 8 } else { 64 } * 1024;

impl Buffer {
    /// Where the next bytes go.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        self.compact();
        let wanted = self.wanted.max(SMALL_BUFFER);
        if self.end == 0 && self.bytes.len() > wanted {
            self.bytes = Vec::new();
        }
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// `n` bytes were read into [`space`](Buffer::space).
    pub(crate) fn filled(&mut self, n: usize) {
        self.end += n;
        if self.end == self.bytes.len() {
            self.want((2 * self.end).min(LARGE_BUFFER));
        }
    }

    /// These came another way.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.compact();
        let end = self.end + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[self.end..end].copy_from_slice(bytes);
        self.end = end;
    }

    /// What is there.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// What is there, to be opened in place.
    #[cfg(any(test, fuzzing, feature = "tls"))]
    pub(crate) fn unread_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// The first `n` bytes were decoded.
    pub(crate) fn skip(&mut self, n: usize) {
        self.start += n;
    }

    /// All that is there. It is decoded at once, or thrown away.
    pub(crate) fn take_all(&mut self) -> &[u8] {
        let start = std::mem::replace(&mut self.start, self.end);
        &self.bytes[start..self.end]
    }

    /// There is to be space for `size` bytes, those that are there among them.
    pub(crate) fn want(&mut self, size: usize) {
        self.wanted = size.next_power_of_two().max(self.wanted);
    }

    /// It may be small again.
    pub(crate) fn relax(&mut self) {
        self.wanted = 0;
    }

    pub(crate) fn is_relaxed(&self) -> bool {
        self.wanted == 0
    }

    /// What is reserved.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    fn compact(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }
}
