//! What messages count for in a window.

use super::frame::HEADER;

/// What a message counts for in a window besides its length, so that empty
/// messages count too.
pub(crate) const OVERHEAD: usize = 64;

/// What a message of `len` bytes counts for in a window.
pub(crate) fn cost(len: usize) -> usize {
    len + OVERHEAD
}

/// What `items` frames count for that take so many bytes, headers included.
pub(crate) fn frames_cost(bytes: usize, items: u64) -> usize {
    bytes + items as usize * (OVERHEAD - HEADER)
}
