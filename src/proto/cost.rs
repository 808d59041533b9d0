//! What messages count for in a window.

use std::ops::{AddAssign, Sub};

/// What a message counts for in a window besides its length, so that empty
/// messages count too.
pub(crate) const OVERHEAD: usize = 64;

/// What a message of `len` bytes counts for in a window.
pub(crate) fn cost(len: usize) -> usize {
    len + OVERHEAD
}

/// A place in the stream of sequenced frames, or the distance between two places. A line
/// of plain text counts as a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// How many frames are before it.
    pub(crate) frames: u64,
    /// The bytes of their bodies.
    pub(crate) bytes: u64,
}

impl Position {
    /// Moves it behind a frame whose body has `len` bytes.
    pub(crate) fn pass(&mut self, len: usize) {
        self.frames += 1;
        self.bytes += len as u64;
    }

    /// What the frames count for in a window, of which no more is kept than fits into
    /// memory.
    pub(crate) fn cost(self) -> usize {
        self.bytes as usize + self.frames as usize * OVERHEAD
    }
}

impl AddAssign for Position {
    fn add_assign(&mut self, distance: Position) {
        self.frames += distance.frames;
        self.bytes += distance.bytes;
    }
}

impl Sub for Position {
    type Output = Position;

    fn sub(self, before: Position) -> Position {
        Position { frames: self.frames - before.frames, bytes: self.bytes - before.bytes }
    }
}
