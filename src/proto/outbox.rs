//! Messages that were sent and are not acknowledged, kept to be sent again on the next
//! link.
//!
//! Messages are kept as the frames in which they go over the wire, so the
//! bytes that are written and the bytes that are kept for a replay are one
//! copy. Frames are appended to a growing tail; to be written, the tail is
//! sealed into a segment that the writer can hold on to while other threads
//! append.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::Violation;
use super::batch::Batch;
use super::cost::Position;
use super::frame::{Ack, Frame, HEADER, frame_len, kind, put_frame, put_header};
use super::spent::Spent;

/// The tail is sealed at this size, so that its buffer can be reused. In tests it is
/// small, and filled with less.
const TAIL: usize = if cfg!(any(test, fuzzing)) { 4 * 1024 } else { 64 * 1024 };
/// The tail's first buffer.
const SMALL_TAIL: usize = 1024;
/// Used buffers are kept for the next messages, so that a steady exchange allocates
/// nothing. Together they are no larger than this, nor than what was kept before the last
/// acknowledgement; but one of the size of [`TAIL`] is always kept.
const RECYCLED: usize = 16 * TAIL;
/// An owned body of at least this size is kept as it is instead of being copied.
const KEEP: usize = TAIL / 16;

/// The sequenced frames of one direction: messages, and at last a FIN.
///
/// Three positions: `acknowledged <= written <= end`. What lies between two of them
/// is their difference.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// From `acknowledged` on; the tail goes on from their end to `end`.
    segments: VecDeque<Segment>,
    tail: BytesMut,
    /// Empty buffers. To allocate and to free a large one for each message costs more
    /// than to write the message.
    recycled: Vec<BytesMut>,
    /// Owned bodies that are acknowledged, to be dropped outside the lock.
    pub(super) spent: Spent,
    /// Consumed by the peer's application, and forgotten here.
    acknowledged: Position,
    /// Handed to the writer of the present link; a replay sets it back.
    written: Position,
    /// Frames handed to any link: what the peer could have received.
    sent: u64,
    /// Fed by the application.
    end: Position,
    finished: bool,
    /// The application has taken back what is not acknowledged. So it stays, whatever the peer
    /// says of it later: the application goes by how many there are, and by their numbers.
    given_back: bool,
}

/// Frames that stand together in memory.
#[derive(Debug)]
struct Segment {
    /// Whole frames; of an owned body, its header.
    frames: Bytes,
    /// An owned body, the only one in its segment; empty otherwise.
    body: Bytes,
    /// Where it ends.
    end: Position,
}

impl Segment {
    /// How many of its bytes lie before `at`.
    fn offset(&self, at: Position) -> usize {
        self.frames.len() + self.body.len() - encoded_len(self.end - at)
    }

    /// From `at` on, the first place from which it `goes_on` no more.
    fn walk(&self, mut at: Position, goes_on: impl Fn(Position) -> bool) -> Position {
        let mut frames = &self.frames[self.offset(at)..];
        while goes_on(at) {
            let len = frame_len(frames);
            frames.advance(len);
            at.pass(len - HEADER);
        }
        at
    }
}

/// What the frames between two places take on the wire.
fn encoded_len(distance: Position) -> usize {
    distance.bytes as usize + distance.frames as usize * HEADER
}

impl Outbox {
    /// Appends a message.
    pub(crate) fn feed(&mut self, message: &[u8]) {
        self.append(kind::DATA, message);
    }

    /// Appends a message that is kept without being copied, if it is large.
    pub(crate) fn feed_bytes(&mut self, message: &Bytes) {
        if message.len() < KEEP {
            return self.append(kind::DATA, message);
        }
        self.seal();
        self.reserve(HEADER);
        put_header(&mut self.tail, kind::DATA, message.len());
        self.end.pass(message.len());
        let frames = self.tail.split().freeze();
        self.segments.push_back(Segment { frames, body: message.clone(), end: self.end });
    }

    /// Appends the FIN, once.
    pub(crate) fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            self.append(kind::FIN, &[]);
        }
    }

    fn append(&mut self, kind: u8, body: &[u8]) {
        if self.tail.len() + HEADER + body.len() > TAIL {
            self.seal();
        }
        self.reserve(HEADER + body.len() + Ack::FRAME);
        put_frame(&mut self.tail, kind, body);
        self.end.pass(body.len());
    }

    /// Makes room in the tail's buffer: in place if what was sealed off it has
    /// been acknowledged.
    fn reserve(&mut self, len: usize) {
        if self.tail.capacity() - self.tail.len() >= len || self.tail.try_reclaim(len) {
            return;
        }
        self.seal();
        let room = if self.cost() > SMALL_TAIL / 2 { TAIL } else { SMALL_TAIL };
        self.tail = match self.recycled.iter().rposition(|buffer| buffer.capacity() >= len) {
            Some(index) => self.recycled.swap_remove(index),
            None => {
                // The larger one needs the room that small ones take.
                self.recycled.retain(|buffer| buffer.capacity() >= TAIL);
                BytesMut::with_capacity(room.max(len))
            }
        };
    }

    /// Keeps the buffer of a segment that is acknowledged. `cost` is that of everything
    /// that was kept before.
    fn recycle(&mut self, segment: Segment, cost: usize) {
        if !segment.body.is_empty() {
            self.spent.push(segment.body);
        }
        if let Ok(mut buffer) = segment.frames.try_into_mut() {
            let kept: usize = self.recycled.iter().map(BytesMut::capacity).sum();
            buffer.clear();
            // The segments that had its beginning are gone as well. It counts as a
            // whole.
            let _ = buffer.try_reclaim(buffer.capacity() + 1);
            if kept + buffer.capacity() <= cost.clamp(TAIL, RECYCLED) {
                self.recycled.push(buffer);
            }
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.seal_before(None);
        }
    }

    /// Seals the tail. Returns it with the acknowledgement behind it, which is not kept.
    fn seal_before(&mut self, ack: Option<Ack>) -> Bytes {
        let len = self.tail.len();
        if let Some(ack) = ack {
            Frame::Ack(ack).encode(&mut self.tail);
        }
        let bytes = self.tail.split().freeze();
        let frames = bytes.slice(..len);
        self.segments.push_back(Segment { frames, body: Bytes::new(), end: self.end });
        bytes
    }

    /// Moves frames to `batch` until it is full, everything is moved, or what
    /// is outstanding fills the peer's window (which one frame may overshoot, and a FIN
    /// always).
    ///
    /// Behind the last message, `ack` may add an acknowledgement in the same piece of
    /// memory: a second piece would take 3 % of a round trip. It is not kept.
    pub(crate) fn fill(
        &mut self,
        batch: &mut Batch,
        window: usize,
        ack: impl FnOnce() -> Option<Ack>,
    ) {
        while !batch.is_full() && self.has_output(window) {
            let room = window.saturating_sub(self.outstanding());
            let fits = |rest: Position| rest.frames == 1 || rest.cost() <= room;
            let Some(segment) = self.segments.get(self.index(self.written.frames)) else {
                if fits(self.end - self.written) {
                    batch.push(self.seal_before(ack()));
                    self.written = self.end;
                    break;
                }
                self.seal();
                continue;
            };
            let from = self.written;
            self.written = match fits(segment.end - from) {
                true => segment.end,
                false => segment.walk(from, |at| (at - from).cost() < room),
            };
            let mut frames = segment.frames.slice(segment.offset(from)..);
            frames.truncate(encoded_len(self.written - from));
            batch.push(frames);
            if !segment.body.is_empty() {
                batch.push(segment.body.clone());
            }
        }
        self.sent = self.sent.max(self.written.frames);
    }

    /// Whether [`fill`](Outbox::fill) would move something.
    #[inline]
    pub(crate) fn has_output(&self, window: usize) -> bool {
        self.written < self.end && (self.outstanding() < window || self.is_at_fin())
    }

    /// Whether the FIN comes next. It needs no room: a peer that has closed makes none.
    fn is_at_fin(&self) -> bool {
        self.finished && self.written.frames + 1 == self.end.frames
    }

    /// The peer's application is done with the first `consumed` frames.
    /// Returns whether that is news.
    pub(crate) fn acknowledge(&mut self, consumed: u64) -> Result<bool, Violation> {
        if consumed > self.sent {
            return Err(Violation("acknowledged what was never sent"));
        }
        if consumed < self.acknowledged.frames {
            return Err(Violation("an acknowledgement was taken back"));
        }
        let is_news = consumed > self.acknowledged.frames;
        if self.given_back {
            return Ok(is_news);
        }
        let cost = self.cost();
        while let Some(front) = self.segments.front_mut() {
            if front.end.frames > consumed {
                self.acknowledged = front.walk(self.acknowledged, |at| at.frames < consumed);
                front.frames.advance(front.offset(self.acknowledged));
                break;
            }
            self.acknowledged = front.end;
            let front = self.segments.pop_front().expect("it has a front");
            self.recycle(front, cost);
        }
        // What was sent on an earlier link may be acknowledged before the replay gets there.
        self.written = self.written.max(self.acknowledged);
        Ok(is_news)
    }

    /// The peer has received the first `received` frames: writing goes on
    /// behind them. Nothing is forgotten. Returns how many messages will be
    /// written a second time.
    pub(crate) fn resume(&mut self, received: u64) -> Result<u64, Violation> {
        self.can_resume(received)?;
        #[cfg(test)]
        let received =
            super::testing::sim::misplaced(received, self.acknowledged.frames, self.sent);
        self.written = self.position(received);
        let end = self.end.frames;
        let fin_again = self.finished && self.sent == end && received < end;
        Ok(self.sent - received - u64::from(fin_again))
    }

    /// Whether the counters of both sides fit together.
    pub(crate) fn can_resume(&self, received: u64) -> Result<(), Violation> {
        if received > self.sent {
            return Err(Violation("resumes ahead of what was sent"));
        }
        if received < self.acknowledged.frames {
            return Err(Violation("resumes behind what was acknowledged"));
        }
        Ok(())
    }

    /// The segment with the frame of that number, or how many there are if the tail has it.
    fn index(&self, frame: u64) -> usize {
        self.segments.partition_point(|segment| segment.end.frames <= frame)
    }

    /// Where the frame of that number begins, which is not in the tail.
    fn position(&self, frame: u64) -> Position {
        let index = self.index(frame);
        let before = index.checked_sub(1).map(|before| self.segments[before].end);
        let start = before.unwrap_or(self.acknowledged);
        match self.segments.get(index) {
            Some(segment) => segment.walk(start, |at| at.frames < frame),
            None => start,
        }
    }

    /// The session was lost: what is kept becomes the beginning of a new one, which
    /// `ends` as the old one did also if the FIN was acknowledged.
    pub(crate) fn restart(&mut self, ends: bool) {
        let start = std::mem::take(&mut self.acknowledged);
        self.segments.iter_mut().for_each(|segment| segment.end = segment.end - start);
        self.end = self.end - start;
        (self.written, self.sent) = (self.acknowledged, 0);
        if ends && self.finished && self.is_empty() {
            self.append(kind::FIN, &[]);
        }
    }

    /// What everything kept counts for in the window.
    #[inline]
    pub(crate) fn cost(&self) -> usize {
        (self.end - self.acknowledged).cost()
    }

    /// What of that was written on the present link.
    #[inline]
    fn outstanding(&self) -> usize {
        (self.written - self.acknowledged).cost()
    }

    /// What of it was not.
    #[inline]
    pub(crate) fn unwritten(&self) -> usize {
        (self.end - self.written).cost()
    }

    /// How many frames are acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.frames
    }

    /// The number of the next frame to be fed.
    pub(crate) fn end(&self) -> u64 {
        self.end.frames
    }

    /// The number of the next frame to be written on the present link.
    pub(crate) fn written(&self) -> u64 {
        self.written.frames
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.acknowledged == self.end
    }

    /// How many messages are kept.
    pub(crate) fn messages(&self) -> u64 {
        let frames = (self.end - self.acknowledged).frames;
        frames - u64::from(self.finished && frames > 0)
    }

    /// Their bytes. A FIN has none.
    pub(crate) fn bytes(&self) -> u64 {
        (self.end - self.acknowledged).bytes
    }

    /// Gives back the messages that are not acknowledged. They stay, and so do the counters,
    /// since the peer may still have something to say about them.
    pub(crate) fn give_back(&mut self) -> Vec<Bytes> {
        self.given_back = true;
        self.kept()
    }

    fn kept(&mut self) -> Vec<Bytes> {
        self.seal();
        let mut messages = Vec::new();
        for segment in &self.segments {
            let mut frames = segment.frames.clone();
            while let Some(&kind) = frames.first() {
                let len = frame_len(&frames) - HEADER;
                frames.advance(HEADER);
                let body = match segment.body.is_empty() {
                    true => frames.split_to(len),
                    false => segment.body.clone(),
                };
                if kind == kind::DATA {
                    messages.push(body);
                }
            }
        }
        messages
    }

    /// The length of the largest message that is kept.
    pub(crate) fn largest(&self) -> usize {
        let sealed = self.segments.iter().map(|segment| &segment.frames[..]);
        let mut largest = 0;
        for mut frames in sealed.chain([&self.tail[..]]) {
            while !frames.is_empty() {
                let len = frame_len(frames);
                largest = largest.max(len - HEADER);
                // An owned body does not follow its header.
                frames = frames.get(len..).unwrap_or_default();
            }
        }
        largest
    }

    /// Frees the messages of a session that has ended. The positions stay.
    pub(crate) fn discard(&mut self) {
        let segments = std::mem::take(&mut self.segments);
        let bodies = segments.into_iter().map(|segment| segment.body);
        self.spent.extend(bodies.filter(|body| !body.is_empty()));
        self.tail = BytesMut::new();
        self.recycled = Vec::new();
    }

    /// Releases buffers that a busy time has left. A last reply stays until its receiver asks for
    /// the next message, which may take hours. It gets memory of its own, else a buffer
    /// that was made for many messages would stay with it.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            return self.discard();
        }
        self.recycled = Vec::new();
        if self.tail.is_empty() && self.cost() <= SMALL_TAIL {
            for segment in &mut self.segments {
                segment.frames = Bytes::copy_from_slice(&segment.frames);
            }
            self.segments.shrink_to_fit();
            self.tail = BytesMut::new();
        }
    }

    #[cfg(test)]
    pub(crate) fn is_slim(&self) -> bool {
        self.segments.capacity() + self.tail.capacity() + self.recycled.capacity() == 0
    }
}

#[cfg(test)]
mod tests;
