//! Who said what: a session's two directions, as simple as can be.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::proto::cost::cost;
use crate::proto::frame::{Ack, Frame};
use crate::proto::inbox::Received;

/// What the session said, by its application: everything that is not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) frames: VecDeque<Frame>,
    /// Counted in frames of the present session, as the outbox does.
    pub(super) acked: u64,
    pub(super) cursor: u64,
    pub(super) sent: u64,
    /// What the peer has given as received or consumed, at most.
    pub(super) peer_has: u64,
    pub(super) finished: bool,
    /// Messages, over all sessions.
    pub(super) total: u64,
}

pub(super) fn frame_cost(frame: &Frame) -> usize {
    match frame {
        Frame::Data(run) => run.distance().cost(),
        _ => cost(0),
    }
}

impl Said {
    pub(super) fn cost(&self) -> usize {
        self.frames.iter().map(frame_cost).sum()
    }

    pub(super) fn outstanding(&self) -> usize {
        self.frames.iter().take((self.cursor - self.acked) as usize).map(frame_cost).sum()
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = Bytes> {
        let runs = self.frames.iter().filter_map(|frame| match frame {
            Frame::Data(run) => Some(run.clone()),
            _ => None,
        });
        runs.flatten()
    }

    pub(super) fn finish(&mut self) {
        if !std::mem::replace(&mut self.finished, true) {
            self.frames.push_back(Frame::Fin);
        }
    }

    pub(super) fn written(&mut self, frame: &Frame, window: usize) {
        let has_room = self.outstanding() < window || *frame == Frame::Fin;
        assert!(has_room, "more than the peer has room for");
        let next = self.frames.get((self.cursor - self.acked) as usize);
        assert!(next == Some(frame), "frame {} is another one", self.cursor);
        self.cursor += 1;
        self.sent = self.sent.max(self.cursor);
    }

    pub(super) fn can_resume(&self, received: u64) -> bool {
        (self.acked..=self.sent).contains(&received)
    }

    /// Returns how many messages are written again.
    pub(super) fn resume(&mut self, received: u64) -> u64 {
        self.cursor = received;
        let again = self.acked..self.sent;
        let frames = again.zip(&self.frames).skip((received - self.acked) as usize);
        frames.filter(|(_, frame)| **frame != Frame::Fin).count() as u64
    }

    /// Returns whether that is news.
    pub(super) fn acknowledged(&mut self, consumed: u64) -> bool {
        let news = consumed - self.acked;
        self.frames.drain(..news as usize);
        self.acked = consumed;
        self.cursor = self.cursor.max(consumed);
        self.peer_has = self.peer_has.max(consumed);
        news > 0
    }

    pub(super) fn restart(&mut self, complete: bool) {
        (self.acked, self.cursor, self.sent, self.peer_has) = (0, 0, 0, 0);
        if self.finished && self.frames.is_empty() && !complete {
            self.frames.push_back(Frame::Fin);
        }
    }
}

/// What the peer said.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Not handed out yet; the first few were left by an older session.
    pub(super) items: VecDeque<Received>,
    pub(super) stale: usize,
    /// What was handed out, from the first on that the application is not done with.
    hands: VecDeque<Hand>,
    /// Counted in frames of the present session.
    pub(super) received: u64,
    pub(super) consumed: u64,
    /// The cost of all that came in the present session.
    pub(super) arrived: usize,
    pub(super) fin: bool,
    pub(super) over: bool,
}

/// Something that was handed out.
#[derive(Debug)]
struct Hand {
    cost: usize,
    /// Of an older session.
    stale: bool,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// Under that number.
    Held(u64),
    Done,
}

fn item_cost(item: &Received) -> usize {
    match item {
        Received::Message(body) => cost(body.len()),
        Received::End => cost(0),
    }
}

impl Heard {
    pub(super) fn items_cost(&self) -> usize {
        self.items.iter().map(item_cost).sum()
    }

    fn hands_cost<'a>(hands: impl Iterator<Item = &'a Hand>) -> usize {
        hands.map(|hand| hand.cost).sum()
    }

    /// What counts in the window of the present session.
    pub(super) fn kept(&self) -> usize {
        Heard::hands_cost(self.hands.iter()) + self.items_cost()
    }

    /// What of that belongs to the present session.
    pub(super) fn held(&self) -> usize {
        self.kept() - self.stale_cost()
    }

    pub(super) fn stale_cost(&self) -> usize {
        let items: usize = self.items.iter().take(self.stale).map(item_cost).sum();
        items + Heard::hands_cost(self.hands.iter().filter(|hand| hand.stale))
    }

    /// What counts in the window of a new session.
    pub(super) fn left(&self) -> usize {
        let held = |hand: &&Hand| matches!(hand.stage, Stage::Held(_));
        Heard::hands_cost(self.hands.iter().skip_while(|hand| !held(hand))) + self.items_cost()
    }

    pub(super) fn received(&mut self, item: Received) {
        self.received += 1;
        self.arrived += item_cost(&item);
        self.fin = item == Received::End;
        if self.over {
            self.hand_out(&item, false, Stage::Done);
        } else {
            self.items.push_back(item);
        }
    }

    fn hand_out(&mut self, item: &Received, stale: bool, stage: Stage) {
        self.hands.push_back(Hand { cost: item_cost(item), stale, stage });
        self.let_go();
    }

    /// What comes next is handed out, to be held under a number or not.
    pub(super) fn take(&mut self, number: Option<u64>) -> Option<Received> {
        self.consume();
        if self.over {
            return Some(Received::End);
        }
        let item = self.items.pop_front()?;
        let stale = self.stale > 0;
        self.stale -= usize::from(stale);
        self.over = item == Received::End;
        let stage = match number {
            Some(number) => Stage::Held(number),
            // Nobody waits until the application is done with what an older session left.
            None if stale || self.over => Stage::Done,
            None => Stage::Open,
        };
        self.hand_out(&item, stale, stage);
        Some(item)
    }

    /// The numbers of all that is held.
    pub(super) fn numbers(&self) -> Vec<u64> {
        let number = |hand: &Hand| match hand.stage {
            Stage::Held(number) => Some(number),
            _ => None,
        };
        self.hands.iter().filter_map(number).collect()
    }

    pub(super) fn done_with(&mut self, number: u64) {
        let held = self.hands.iter_mut().find(|hand| hand.stage == Stage::Held(number));
        held.expect("it is held").stage = Stage::Done;
        self.let_go();
    }

    pub(super) fn consume(&mut self) {
        let open = self.hands.iter_mut().filter(|hand| hand.stage == Stage::Open);
        open.for_each(|hand| hand.stage = Stage::Done);
        self.let_go();
    }

    fn let_go(&mut self) {
        let done = |hand: &&Hand| hand.stage == Stage::Done;
        let count = self.hands.iter().take_while(done).count();
        let own = self.hands.drain(..count).filter(|hand| !hand.stale);
        self.consumed += own.count() as u64;
    }

    /// The application has seen the end, and is done with everything.
    pub(super) fn is_done(&self) -> bool {
        self.over && self.hands.is_empty()
    }

    pub(super) fn restart(&mut self) {
        if self.items.back() == Some(&Received::End) {
            self.items.pop_back();
        }
        self.consume();
        self.hands.iter_mut().for_each(|hand| hand.stale = true);
        self.stale = self.items.len();
        (self.received, self.consumed, self.arrived) = (0, 0, 0);
        self.fin = false;
    }
}

/// What the peer was told of what it said, and what that had to follow.
#[derive(Debug)]
pub(super) struct Told {
    /// How much was consumed when how much was said, and what it cost, in the
    /// present session.
    debts: Vec<(u64, u64, usize)>,
    /// The last acknowledgement of the session, and what it cost on the present link.
    pub(super) consumed: u64,
    cost: usize,
    /// The window that the session began with, and the last on the present link.
    first: u32,
    window: u32,
}

impl Told {
    pub(super) fn new(window: u32) -> Told {
        Told { debts: vec![(0, 0, 0)], consumed: 0, cost: 0, first: window, window }
    }

    pub(super) fn start_link(&mut self) {
        (self.cost, self.window) = (0, self.first);
    }

    pub(super) fn owe(&mut self, heard: &Heard, said: &Said) {
        let end = said.acked + said.frames.len() as u64;
        if self.debts.last().is_some_and(|(consumed, ..)| heard.consumed > *consumed) {
            self.debts.push((heard.consumed, end, heard.arrived - heard.held()));
        }
    }

    /// An acknowledgement follows all that was said before what it counts, unless
    /// the peer's own window, which is no smaller than `own`, may be full without it.
    pub(super) fn acknowledge(&mut self, ack: Ack, said: &Said, heard: &Heard, own: u32) {
        let news = self.consumed..=heard.consumed;
        assert!(news.contains(&ack.consumed), "{ack:?}, of {news:?}");
        let debt = self.debts.iter_mut().find(|(consumed, ..)| *consumed == ack.consumed);
        let (_, after, cost) = debt.expect("the application was done with so much");
        if *after > said.cursor {
            let unknown = heard.arrived - self.cost;
            let full = self.window.min(own) as usize;
            assert!(unknown >= full, "{ack:?} overtakes, with {unknown} unknown of {full}");
            *after = said.cursor;
        }
        (self.consumed, self.cost, self.window) = (ack.consumed, *cost, ack.window);
    }
}
