//! The outbox beside a naive one.

use super::*;
use crate::proto::cost::cost;
use crate::proto::frame::{Decoder, Frame};
use crate::proto::testing::rounds;

fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut decoder = Decoder::default();
    decoder.allow_data(u32::MAX);
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        bytes = &bytes[decoder.push(bytes)..];
        while let Some(frame) = decoder.next().unwrap() {
            frames.extend(frame.apart());
        }
    }
    frames
}

fn fill(outbox: &mut Outbox, window: usize, batches: usize) -> Vec<Frame> {
    let mut bytes = Vec::new();
    for _ in 0..batches {
        let mut batch = Batch::default();
        outbox.fill(&mut batch, window, || None);
        batch.slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
    }
    frames(&bytes)
}

/// All frames that were ever fed, and where everything stands.
#[derive(Default)]
struct Naive {
    frames: Vec<Frame>,
    acked: usize,
    cursor: usize,
    sent: usize,
}

fn frame_cost(frame: &Frame) -> usize {
    match frame {
        Frame::Data(run) => run.distance().cost(),
        _ => cost(0),
    }
}

impl Naive {
    fn cost(&self, to: usize) -> usize {
        self.frames[self.acked..to].iter().map(frame_cost).sum()
    }

    fn messages(&self) -> Vec<Bytes> {
        let kept = self.frames[self.acked..].iter();
        let runs = kept.filter_map(|frame| match frame {
            Frame::Data(run) => Some(run.clone()),
            _ => None,
        });
        runs.flatten().collect()
    }

    fn check(&self, outbox: &Outbox) {
        assert_eq!(outbox.acknowledged(), self.acked as u64);
        assert_eq!(outbox.written(), self.cursor as u64);
        assert_eq!(outbox.end(), self.frames.len() as u64);
        assert_eq!(outbox.cost(), self.cost(self.frames.len()));
        assert_eq!(outbox.outstanding(), self.cost(self.cursor));
        assert_eq!(outbox.is_empty(), self.acked == self.frames.len());
        let messages = self.messages();
        assert_eq!(outbox.messages(), messages.len() as u64);
        assert_eq!(outbox.bytes(), messages.iter().map(|message| message.len() as u64).sum());
        let largest = messages.iter().map(Bytes::len).max();
        assert_eq!(outbox.largest(), largest.unwrap_or_default());
    }
}

fn draw(rng: &mut fastrand::Rng) -> Bytes {
    let len = match rng.u32(..8) {
        0 => 0,
        1 => rng.usize(KEEP - 2..KEEP + 3),
        2 => rng.usize(..TAIL / 3),
        3 if rng.u32(..20) == 0 => TAIL + rng.usize(..10),
        _ => rng.usize(..300),
    };
    vec![rng.u8(..); len].into()
}

#[test]
fn it_does_what_a_naive_one_does() {
    for seed in 0..rounds(300) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut outbox, mut naive) = (Outbox::default(), Naive::default());
        let window = [1, 1000, 100_000][rng.usize(..3)];
        for step in 0..200 {
            operate(&mut rng, &mut outbox, &mut naive, window);
            if step % 4 == 0 {
                naive.check(&outbox);
            }
        }
        assert_eq!(outbox.kept(), naive.messages(), "seed {seed}");
        naive.check(&outbox);
    }
}

fn operate(rng: &mut fastrand::Rng, outbox: &mut Outbox, naive: &mut Naive, window: usize) {
    match rng.u32(..100) {
        0..40 if !outbox.is_finished() => {
            let message = draw(rng);
            match rng.bool() {
                true => outbox.feed(&message),
                false => outbox.feed_bytes(&message),
            }
            naive.frames.push(Frame::data(message));
        }
        40..70 => {
            let promised = outbox.has_output(window);
            let written = fill(outbox, window, rng.usize(1..6));
            assert_eq!(!written.is_empty(), promised);
            for frame in written {
                let has_room = naive.cost(naive.cursor) < window || frame == Frame::Fin;
                assert!(has_room, "written beyond the window");
                assert!(naive.frames[naive.cursor] == frame, "frame {}", naive.cursor);
                naive.cursor += 1;
            }
            naive.sent = naive.sent.max(naive.cursor);
        }
        70..90 => {
            // Mostly of the present link, sometimes of an earlier one.
            let most = if rng.bool() { naive.sent } else { naive.cursor.max(naive.acked) };
            let acked = rng.usize(naive.acked..=most);
            assert_eq!(outbox.acknowledge(acked as u64), Ok(acked > naive.acked));
            naive.acked = acked;
            naive.cursor = naive.cursor.max(acked);
        }
        90..97 => {
            let received = rng.usize(naive.acked..=naive.sent);
            let again = &naive.frames[received..naive.sent];
            let again = again.iter().filter(|frame| **frame != Frame::Fin).count();
            assert_eq!(outbox.resume(received as u64), Ok(again as u64));
            naive.cursor = received;
        }
        97 => {
            let ends = rng.bool();
            outbox.restart(ends);
            naive.frames.drain(..naive.acked);
            (naive.acked, naive.cursor, naive.sent) = (0, 0, 0);
            if ends && outbox.is_finished() && naive.frames.is_empty() {
                naive.frames.push(Frame::Fin);
            }
        }
        98 if rng.u32(..4) == 0 => {
            if !outbox.is_finished() {
                naive.frames.push(Frame::Fin);
            }
            outbox.finish();
        }
        _ => outbox.shrink(),
    }
}

#[test]
fn counters_that_cannot_be_change_nothing() {
    let mut outbox = Outbox::default();
    (0..5).for_each(|n| outbox.feed(&[n]));
    assert_eq!(fill(&mut outbox, 4 * cost(1), 9).len(), 4);
    assert_eq!(outbox.acknowledge(2), Ok(true));
    outbox.acknowledge(5).unwrap_err();
    outbox.acknowledge(1).unwrap_err();
    outbox.resume(5).unwrap_err();
    outbox.resume(1).unwrap_err();
    let counters = (outbox.acknowledged(), outbox.written(), outbox.end(), outbox.cost());
    assert_eq!(counters, (2, 4, 5, 3 * cost(1)));
    assert_eq!(outbox.acknowledge(2), Ok(false));
}

#[test]
fn one_message_overshoots_the_window() {
    let mut outbox = Outbox::default();
    (0..10).for_each(|_| outbox.feed(&[7; 100]));
    assert_eq!(fill(&mut outbox, 1, 9).len(), 1);
    assert_eq!(fill(&mut outbox, cost(100), 9).len(), 0);
    assert_eq!(fill(&mut outbox, cost(100) + 1, 9).len(), 1);
    assert_eq!(fill(&mut outbox, 0, 9).len(), 0);
    outbox.acknowledge(2).unwrap();
    assert_eq!(fill(&mut outbox, 3 * cost(100), 9).len(), 3);
}

#[test]
fn a_large_owned_message_is_not_copied_and_a_small_one_pins_nothing() {
    for len in [KEEP - 1, KEEP, 2 * KEEP] {
        let message = Bytes::from(vec![9; len]);
        let mut outbox = Outbox::default();
        outbox.feed_bytes(&message);
        let is_same = outbox.kept()[0].as_ptr() == message.as_ptr();
        assert_eq!(is_same, len >= KEEP, "{len} bytes");
    }
}

#[test]
fn what_is_kept_is_told_without_being_forgotten() {
    let mut outbox = Outbox::default();
    (0..3).for_each(|n| outbox.feed(&[n]));
    outbox.finish();
    assert_eq!(outbox.kept(), [vec![0], vec![1], vec![2]]);
    assert_eq!(fill(&mut outbox, usize::MAX, 9).len(), 4);
    outbox.acknowledge(2).unwrap();
    assert_eq!(outbox.kept(), [vec![2]]);
    outbox.acknowledge(4).unwrap();
    assert!(outbox.is_empty() && outbox.kept().is_empty());
}

/// A peer that opens its window bit by bit does not make us walk through all
/// that is kept for each message.
#[test]
fn what_fits_into_the_window_is_moved_in_few_pieces() {
    let mut outbox = Outbox::default();
    let count = TAIL / (HEADER + 1);
    (0..count).for_each(|_| outbox.feed(b"x"));
    let mut window = 0;
    for _ in 0..10 {
        window += count / 10 * cost(1);
        assert_eq!(fill(&mut outbox, window, 1).len(), count / 10);
        assert!(!outbox.has_output(window));
    }
}

#[test]
fn few_messages_take_a_small_buffer_and_more_a_large_one() {
    let mut outbox = Outbox::default();
    outbox.feed(&[0; 100]);
    assert_eq!(outbox.tail.capacity(), SMALL_TAIL);
    while outbox.segments.is_empty() {
        outbox.feed(&[0; 100]);
    }
    assert_eq!(outbox.tail.capacity(), TAIL);
}

#[test]
fn a_large_part_that_is_acknowledged_leaves_few_recycled_buffers() {
    let mut outbox = Outbox::default();
    while outbox.cost() < 4 * RECYCLED {
        outbox.feed(&[0; 1000]);
    }
    fill(&mut outbox, usize::MAX, 1000);
    outbox.acknowledge(outbox.end()).unwrap();
    let kept: usize = outbox.recycled.iter().map(BytesMut::capacity).sum();
    assert!((1..=RECYCLED).contains(&kept), "{kept} bytes");
}

/// However large the buffer was of which it is the last piece.
#[test]
fn a_recycled_buffer_counts_as_a_whole() {
    let large = 16 * TAIL;
    let mut outbox = Outbox::default();
    let mut fed = 0;
    let mut feed = |outbox: &mut Outbox, len| {
        outbox.feed(&vec![0; len]);
        fed += 1;
        fed
    };
    let flush = |outbox: &mut Outbox, consumed| {
        fill(outbox, 4 * large, 1000);
        outbox.acknowledge(consumed).unwrap();
    };
    for _ in 0..rounds(20) {
        let large_one = feed(&mut outbox, large);
        flush(&mut outbox, large_one);
        // In the same buffer, until little of it is left...
        let mut last = feed(&mut outbox, 0);
        while outbox.tail.capacity() - outbox.tail.len() > TAIL + TAIL / 4 {
            last = feed(&mut outbox, 100);
        }
        flush(&mut outbox, last);
        feed(&mut outbox, 10);
        // ...and one that has no room behind them.
        last = feed(&mut outbox, large);
        flush(&mut outbox, last);
    }
    let whole = outbox.recycled.iter_mut().map(|buffer| {
        let _ = buffer.try_reclaim(buffer.capacity() + 1);
        buffer.capacity()
    });
    let whole: usize = whole.sum();
    assert!(whole <= RECYCLED, "{whole} bytes in {} buffers", outbox.recycled.len());
}

/// Who has its answer may not ask for another for hours.
#[test]
fn an_idle_link_keeps_no_more_than_its_last_message() {
    let mut outbox = Outbox::default();
    let (window, count) = (100 * TAIL, 10 * TAIL as u64 / 100);
    for trip in 1..4 {
        (0..count).for_each(|_| outbox.feed(&[7; 100]));
        fill(&mut outbox, window, 1000);
        outbox.acknowledge(trip * count - 1).unwrap();
    }
    assert!(!outbox.recycled.is_empty());
    outbox.shrink();
    assert!(outbox.recycled.is_empty() && outbox.tail.capacity() == 0);
    let last = outbox.segments.pop_front().unwrap();
    let memory = last.frames.try_into_mut().expect("memory of its own").capacity();
    assert_eq!((memory, outbox.segments.len()), (HEADER + 100, 0));
}
