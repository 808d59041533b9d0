//! What was sent and is not acknowledged: the memory from which a lost link is
//! made good.
//!
//! Messages are kept as the frames in which they go over the wire, so the
//! bytes that are written and the bytes that are kept for a replay are one
//! copy. Frames are appended to a growing tail; to be written, the tail is
//! sealed into a segment that the writer can hold on to while other threads
//! append.

mod segment;

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use self::segment::Segment;
use super::Violation;
use super::batch::Sink;
use super::cost::{OVERHEAD, cost, frames_cost};
use super::frame::{Ack, Frame, HEADER, frame_len, kind, put_header};
use super::spent::Spent;

/// The tail is sealed at this size, so that its buffer can be reused. In tests
/// it is small, so that less takes a test beyond it.
const TAIL: usize = if cfg!(any(test, fuzzing)) { 4 * 1024 } else { 64 * 1024 };
/// The tail's first buffer.
const SMALL_TAIL: usize = 1024;
/// Buffers that have served are kept for the next messages: one, so that a steady
/// exchange allocates nothing, and more as long as they are together no larger than
/// this, nor than what was just acknowledged of.
const SPARE: usize = 16 * TAIL;
/// An owned body of at least this size is kept as it is instead of being copied.
const KEEP: usize = TAIL / 16;

/// The sequenced frames of one direction: messages, and at last a FIN.
///
/// Four counters, each a number of frames since the session began:
/// `acked <= cursor <= sent <= end`.
#[derive(Debug)]
pub(crate) struct Outbox {
    segments: VecDeque<Segment>,
    tail: BytesMut,
    tail_items: u64,
    /// Empty buffers. To get large ones from the system and to give them back for
    /// each message costs more than to write them.
    spare: Vec<BytesMut>,
    /// Owned bodies that are acknowledged.
    spent: Spent,
    /// Consumed by the peer's application, and forgotten here.
    acked: u64,
    /// Handed to the writer of the present link; a replay sets it back.
    cursor: u64,
    /// Handed to any link: what the peer could have received.
    sent: u64,
    /// Fed by the application.
    end: u64,
    /// The segment that the cursor stands in, and how many of its frames lie before it.
    at: usize,
    passed: u64,
    /// The cost from `acked` to `end`, and from `acked` to `cursor`.
    cost: usize,
    outstanding: usize,
    finished: bool,
}

impl Outbox {
    pub(crate) fn new() -> Outbox {
        Outbox {
            segments: VecDeque::new(),
            tail: BytesMut::new(),
            tail_items: 0,
            spare: Vec::new(),
            spent: Spent::default(),
            acked: 0,
            cursor: 0,
            sent: 0,
            end: 0,
            at: 0,
            passed: 0,
            cost: 0,
            outstanding: 0,
            finished: false,
        }
    }

    /// Appends a message.
    pub(crate) fn feed(&mut self, message: &[u8]) {
        self.append(kind::DATA, message);
    }

    /// Appends a message that is kept without being copied, if it is large.
    pub(crate) fn feed_bytes(&mut self, message: Bytes) {
        if message.len() < KEEP {
            return self.append(kind::DATA, &message);
        }
        self.seal();
        self.reserve(HEADER);
        put_header(&mut self.tail, kind::DATA, message.len());
        self.end += 1;
        self.cost += cost(message.len());
        let frames = self.tail.split().freeze();
        self.segments.push_back(Segment { frames, body: message, items: 1 });
    }

    /// Appends the FIN, once.
    pub(crate) fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            self.append(kind::FIN, &[]);
        }
    }

    /// Appends the FIN again, if there was one and it was acknowledged: a new
    /// session ends as the old one did.
    pub(crate) fn finish_again(&mut self) {
        if self.finished && self.is_empty() {
            self.append(kind::FIN, &[]);
        }
    }

    fn append(&mut self, kind: u8, body: &[u8]) {
        if self.tail.len() + HEADER + body.len() > TAIL {
            self.seal();
        }
        self.reserve(HEADER + body.len() + Ack::FRAME);
        put_header(&mut self.tail, kind, body.len());
        self.tail.put_slice(body);
        self.tail_items += 1;
        self.end += 1;
        self.cost += cost(body.len());
    }

    /// Makes room in the tail's buffer: in place if what was sealed off it has
    /// been acknowledged.
    fn reserve(&mut self, len: usize) {
        if self.tail.capacity() - self.tail.len() >= len || self.tail.try_reclaim(len) {
            return;
        }
        self.seal();
        let room = if self.cost > SMALL_TAIL / 2 { TAIL } else { SMALL_TAIL };
        self.tail = match self.spare.iter().rposition(|spare| spare.capacity() >= len) {
            Some(index) => self.spare.swap_remove(index),
            None => {
                // It gives up its place to a larger one.
                self.spare.retain(|spare| spare.capacity() >= TAIL);
                BytesMut::with_capacity(room.max(len))
            }
        };
    }

    /// Keeps the buffer of a segment that is not needed any more; `cost` is what
    /// everything was a moment ago.
    fn spare(&mut self, segment: Segment, cost: usize) {
        if !segment.body.is_empty() {
            self.spent.push(segment.body);
        }
        if let Ok(mut buffer) = segment.frames.try_into_mut() {
            let kept: usize = self.spare.iter().map(BytesMut::capacity).sum();
            buffer.clear();
            // Its beginning belonged to segments that are gone as well; it counts
            // as a whole.
            let _ = buffer.try_reclaim(buffer.capacity() + 1);
            let is_more = kept > 0 || buffer.capacity() > TAIL;
            if !is_more || buffer.capacity() >= TAIL && kept + buffer.capacity() <= cost.min(SPARE)
            {
                self.spare.push(buffer);
            }
        }
    }

    fn seal(&mut self) {
        if self.tail_items > 0 {
            let frames = self.tail.split().freeze();
            let items = std::mem::take(&mut self.tail_items);
            self.segments.push_back(Segment { frames, body: Bytes::new(), items });
        }
    }

    /// Moves frames to `sink` until it is full, everything is moved, or what
    /// is outstanding fills the peer's window (which one frame may overshoot).
    ///
    /// If nothing is left, `ack` may give an acknowledgement to go behind the
    /// last message, in the same piece of memory: to write two pieces takes 3 %
    /// of a round trip. It is not kept.
    pub(crate) fn fill(
        &mut self,
        sink: &mut impl Sink,
        window: usize,
        ack: impl FnOnce() -> Option<Ack>,
    ) {
        while !sink.is_full() && self.outstanding < window {
            if self.at == self.segments.len() {
                let cost = frames_cost(self.tail.len(), self.tail_items);
                if self.tail_items == 1 || cost <= window - self.outstanding {
                    self.fill_last(sink, ack);
                    break;
                }
                self.seal();
            }
            let segment = &self.segments[self.at];
            let mut rest = segment.clone();
            rest.skip(self.passed);
            rest.clip(window - self.outstanding);
            self.outstanding += rest.cost();
            self.cursor += rest.items;
            self.passed += rest.items;
            if self.passed == segment.items {
                self.at += 1;
                self.passed = 0;
            }
            sink.push(rest.frames);
            if !rest.body.is_empty() {
                sink.push(rest.body);
            }
        }
        self.sent = self.sent.max(self.cursor);
    }

    /// Moves the tail, as a whole.
    fn fill_last(&mut self, sink: &mut impl Sink, ack: impl FnOnce() -> Option<Ack>) {
        if self.tail_items == 0 {
            return;
        }
        let len = self.tail.len();
        self.outstanding += frames_cost(len, self.tail_items);
        self.cursor = self.end;
        if let Some(ack) = ack() {
            Frame::Ack(ack).encode(&mut self.tail);
        }
        let bytes = self.tail.split().freeze();
        let items = std::mem::take(&mut self.tail_items);
        self.segments.push_back(Segment { frames: bytes.slice(..len), body: Bytes::new(), items });
        self.at += 1;
        sink.push(bytes);
    }

    /// Whether [`fill`](Outbox::fill) would move something.
    pub(crate) fn has_output(&self, window: usize) -> bool {
        self.cursor < self.end && self.outstanding < window
    }

    /// The peer's application is done with the first `consumed` frames.
    /// Returns whether that is news.
    pub(crate) fn acknowledge(&mut self, consumed: u64) -> Result<bool, Violation> {
        if consumed > self.sent {
            return Err(Violation("acknowledged what was never sent"));
        }
        let Some(mut news) = consumed.checked_sub(self.acked) else {
            return Err(Violation("an acknowledgement was taken back"));
        };
        let is_news = news > 0;
        // What was sent on an earlier link may be acknowledged before the
        // replay gets there.
        if consumed > self.cursor {
            self.seek(consumed);
        }
        self.acked = consumed;
        let cost = self.cost;
        while news > 0 {
            let front = self.segments.front_mut().expect("what was sent is in segments");
            let items = news.min(front.items);
            let before = front.cost();
            if items == front.items {
                let segment = self.segments.pop_front().expect("it has a front");
                self.at -= 1;
                self.cost -= before;
                self.outstanding -= before;
                self.spare(segment, cost);
            } else {
                front.skip(items);
                let freed = before - front.cost();
                self.cost -= freed;
                self.outstanding -= freed;
                if self.at == 0 {
                    self.passed -= items;
                }
            }
            news -= items;
        }
        Ok(is_news)
    }

    /// The peer has received the first `received` frames: writing goes on
    /// behind them. Nothing is forgotten. Returns how many messages will be
    /// written a second time.
    pub(crate) fn resume(&mut self, received: u64) -> Result<u64, Violation> {
        self.can_resume(received)?;
        #[cfg(test)]
        let received = super::sim::misplaced(received, self.acked, self.sent);
        self.seek(received);
        let fin_again = self.finished && self.sent == self.end && received < self.end;
        Ok(self.sent - received - u64::from(fin_again))
    }

    /// Whether the counters of both sides fit together.
    pub(crate) fn can_resume(&self, received: u64) -> Result<(), Violation> {
        if received > self.sent {
            return Err(Violation("resumes ahead of what was sent"));
        }
        if received < self.acked {
            return Err(Violation("resumes behind what was acknowledged"));
        }
        Ok(())
    }

    fn seek(&mut self, position: u64) {
        let mut ahead = position - self.acked;
        self.cursor = position;
        (self.at, self.passed, self.outstanding) = (0, 0, 0);
        while let Some(segment) = self.segments.get(self.at).filter(|s| s.items <= ahead) {
            ahead -= segment.items;
            self.outstanding += segment.cost();
            self.at += 1;
        }
        if ahead > 0 {
            let segment = &self.segments[self.at];
            self.passed = ahead;
            self.outstanding += frames_cost(segment.prefix(ahead), ahead);
        }
    }

    /// The session was lost: what is kept becomes the beginning of a new one.
    pub(crate) fn restart(&mut self) {
        self.end -= self.acked;
        (self.acked, self.cursor, self.sent) = (0, 0, 0);
        (self.at, self.passed, self.outstanding) = (0, 0, 0);
    }

    /// What everything kept counts for in the window.
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    /// What that counts for which was not written on the present link.
    pub(crate) fn unwritten(&self) -> usize {
        self.cost - self.outstanding
    }

    pub(crate) fn acked(&self) -> u64 {
        self.acked
    }

    /// The number of the next frame to be fed.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The number of the next frame to be written on the present link.
    pub(crate) fn cursor(&self) -> u64 {
        self.cursor
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.acked == self.end
    }

    /// How many messages are kept.
    pub(crate) fn messages(&self) -> u64 {
        self.end - self.acked - u64::from(self.finished && self.end > self.acked)
    }

    /// Their bytes. A FIN has none.
    pub(crate) fn bytes(&self) -> usize {
        self.cost - (self.end - self.acked) as usize * OVERHEAD
    }

    /// The messages that are kept. They stay, and so do the counters, since
    /// the peer may still have something to say about them.
    pub(crate) fn kept(&mut self) -> Vec<Bytes> {
        self.seal();
        let mut messages = Vec::new();
        for segment in &self.segments {
            if !segment.body.is_empty() {
                messages.push(segment.body.clone());
                continue;
            }
            let mut frames = segment.frames.clone();
            while !frames.is_empty() {
                let is_message = frames[0] == kind::DATA;
                let mut frame = frames.split_to(frame_len(&frames));
                frame.advance(HEADER);
                if is_message {
                    messages.push(frame);
                }
            }
        }
        messages
    }

    /// Forgets the messages of a session that has ended. What they count stays.
    pub(crate) fn discard(&mut self) {
        let segments = std::mem::take(&mut self.segments);
        let bodies = segments.into_iter().map(|segment| segment.body);
        self.spent.extend(bodies.filter(|body| !body.is_empty()));
        (self.tail, self.tail_items) = (BytesMut::new(), 0);
        self.spare = Vec::new();
    }

    /// What is to be dropped where that does no harm.
    pub(crate) fn spent(&mut self) -> &mut Spent {
        &mut self.spent
    }

    pub(crate) fn has_spent(&self) -> bool {
        !self.spent.is_empty()
    }

    /// The link is idle: gives back what a busy time has reserved. A last reply
    /// stays for as long as its receiver asks for nothing more, and its buffer,
    /// which was made for many, would stay with it.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() {
            return self.discard();
        }
        self.spare = Vec::new();
        if self.tail_items == 0 && self.cost <= SMALL_TAIL {
            for segment in &mut self.segments {
                segment.frames = Bytes::copy_from_slice(&segment.frames);
            }
            self.segments.shrink_to_fit();
            self.tail = BytesMut::new();
        }
    }

    #[cfg(test)]
    pub(crate) fn is_slim(&self) -> bool {
        self.segments.capacity() + self.tail.capacity() + self.spare.capacity() == 0
    }

    /// The length of the largest message that is kept.
    pub(crate) fn largest(&self) -> usize {
        let mut largest = 0;
        let tail = self.tail_items > 0;
        let tail = tail.then_some(&self.tail[..]);
        for segment in &self.segments {
            largest = largest.max(segment.body.len());
        }
        let framed = self.segments.iter().filter(|s| s.body.is_empty()).map(|s| &s.frames[..]);
        for mut frames in framed.chain(tail) {
            while !frames.is_empty() {
                let len = frame_len(frames);
                largest = largest.max(len - HEADER);
                frames.advance(len);
            }
        }
        largest
    }
}

#[cfg(test)]
mod tests;
