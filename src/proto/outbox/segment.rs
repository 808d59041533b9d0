//! What stands together in the outbox.

use bytes::{Buf, Bytes};

use crate::proto::cost::frames_cost;
use crate::proto::frame::frame_len;

/// Frames that stand together in memory.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// Whole frames; of an owned body, its header.
    pub(super) frames: Bytes,
    /// An owned body, the only one in its segment; empty otherwise.
    pub(super) body: Bytes,
    pub(super) items: u64,
}

impl Segment {
    pub(super) fn len(&self) -> usize {
        self.frames.len() + self.body.len()
    }

    pub(super) fn cost(&self) -> usize {
        frames_cost(self.len(), self.items)
    }

    /// The number of bytes that the first `items` frames take.
    pub(super) fn prefix(&self, items: u64) -> usize {
        if items == self.items {
            return self.len();
        }
        let mut rest = &self.frames[..];
        for _ in 0..items {
            rest.advance(frame_len(rest));
        }
        self.frames.len() - rest.len()
    }

    /// Keeps the frames that begin within `room`; the last may overshoot it.
    /// Many at once, since the way to them is walked each time.
    pub(super) fn clip(&mut self, room: usize) {
        if self.items == 1 || self.cost() <= room {
            return;
        }
        let (mut bytes, mut items) = (0, 0);
        while frames_cost(bytes, items) < room {
            bytes += frame_len(&self.frames[bytes..]);
            items += 1;
        }
        self.frames.truncate(bytes);
        self.items = items;
    }

    pub(super) fn skip(&mut self, items: u64) {
        if items > 0 {
            let bytes = self.prefix(items);
            self.frames.advance(bytes);
            self.items -= items;
        }
    }
}
