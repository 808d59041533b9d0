//! What must be true, kept beside the sessions and compared with them.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::proto::close::CloseCode;
use crate::proto::cost::cost;
use crate::proto::frame::Ack;
use crate::proto::handshake::Limits;
use crate::proto::inbox::Received;
use crate::proto::numbers::Numbers;
use crate::proto::session::Session;

/// The messages that one application sent.
#[derive(Debug, Default)]
pub(super) struct Stream {
    salt: u8,
    lens: Vec<usize>,
    /// The cost of the first `n` messages.
    costs: Vec<usize>,
    pub(super) finished: bool,
}

impl Stream {
    fn new(salt: u8) -> Stream {
        Stream { salt, costs: vec![0], ..Stream::default() }
    }

    fn feed(&mut self, len: usize) -> Bytes {
        assert!(!self.finished, "the application feeds after its end");
        self.costs.push(self.costs[self.lens.len()] + cost(len));
        self.lens.push(len);
        self.message(self.len() - 1)
    }

    /// Its number comes first, as far as it fits.
    fn message(&self, number: u64) -> Bytes {
        let mut bytes = vec![self.salt ^ number as u8; self.lens[number as usize]];
        let id = number as u32 ^ u32::from(self.salt) << 24;
        for (byte, id) in bytes.iter_mut().zip(id.to_le_bytes()) {
            *byte = id;
        }
        bytes.into()
    }

    pub(super) fn len(&self) -> u64 {
        self.lens.len() as u64
    }

    fn cost(&self, from: u64, to: u64) -> usize {
        self.costs[to as usize] - self.costs[from as usize]
    }

    /// The same, with the FIN, if that `end`s it; `from` may lie behind it.
    fn frames_cost(&self, from: u64, to: u64, end: bool) -> usize {
        let fin = if end && from <= to { cost(0) } else { 0 };
        self.cost(from.min(to), to) + fin
    }
}

/// "Whoever sees the first `consumed` messages acknowledged has received the
/// first `said` of the other direction."
#[derive(Debug)]
struct Debt {
    consumed: u64,
    said: u64,
}

fn owe(debts: &mut Vec<Debt>, consumed: u64, said: u64) {
    if debts.last().is_none_or(|last| consumed > last.consumed) {
        debts.push(Debt { consumed, said });
    }
}

fn owed(debts: &[Debt], acked: u64) -> u64 {
    let settled = debts.partition_point(|debt| debt.consumed <= acked);
    debts[..settled].last().map_or(0, |debt| debt.said)
}

/// What one side of a life has acknowledged to the other.
#[derive(Debug)]
struct Told {
    /// The window that it announced when the session began, and on the present link
    /// last; and the largest that the other side announced.
    first: usize,
    window: usize,
    largest: usize,
    /// How many frames it has acknowledged on the present link.
    count: u64,
    /// So many could be acknowledged ahead of what had to come before.
    ahead: u64,
}

impl Told {
    fn new(window: u32, largest: u32) -> Told {
        let (window, largest) = (window as usize, largest as usize);
        Told { first: window, window, largest, count: 0, ahead: 0 }
    }

    fn start_link(&mut self) {
        (self.window, self.count) = (self.first, 0);
    }

    fn hear(&mut self, window: u32) {
        self.largest = self.largest.max(window as usize);
    }

    /// `cost` is that of what has come of the other side so far, from a count on.
    fn tell(&mut self, ack: Ack, cost: impl FnOnce(u64) -> usize) {
        // It may go ahead if the window of the other side may be full without it.
        if cost(self.count) >= self.window.min(self.largest) {
            self.ahead = self.ahead.max(ack.consumed);
        }
        (self.count, self.window) = (ack.consumed, ack.window as usize);
    }
}

/// Messages that one application was handed, and whether it is done with each.
#[derive(Debug, Default)]
struct Hands(Vec<Hand>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hand {
    Open,
    Held,
    Done,
}

impl Hands {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn take(&mut self) {
        self.0.push(Hand::Open);
    }

    fn hold(&mut self) {
        *self.0.last_mut().expect("it was handed out") = Hand::Held;
    }

    fn come_back(&mut self) {
        self.0.iter_mut().filter(|hand| **hand == Hand::Open).for_each(|hand| *hand = Hand::Done);
    }

    fn finish(&mut self, number: u64) {
        let hand = std::mem::replace(&mut self.0[number as usize], Hand::Done);
        assert_eq!(hand, Hand::Held, "{number} is done twice");
    }

    /// So many, from the first on, are done with.
    fn done(&self) -> u64 {
        self.0.iter().take_while(|hand| **hand == Hand::Done).count() as u64
    }
}

/// One session of a server, from its making to its end or loss.
#[derive(Debug)]
pub(super) struct Life {
    window: usize,
    /// The client's message that came first. Known when the client was welcomed.
    base: Option<u64>,
    /// How many messages arrived, and those that were handed out.
    arrived: u64,
    hands: Hands,
    held_cost: usize,
    end_arrived: bool,
    end_taken: bool,
    pub(super) said: Stream,
    /// How many of those the server saw acknowledged and the client received, and those
    /// that its application took.
    acked: u64,
    at_client: u64,
    end_at_client: bool,
    client_hands: Hands,
    debts: Vec<Debt>,
    client_debts: Vec<Debt>,
    /// Its application left, or its time to be resumed was over.
    left: bool,
    /// With this code.
    refused: Option<u32>,
    told: Told,
    client_told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    Message { life: usize, number: u64 },
    End,
}

#[derive(Debug)]
pub(super) struct Model {
    window: usize,
    max_message: usize,
    /// What each session of the client begins with.
    pub(super) greeting: Bytes,
    /// Who the client is, and the number of its first message, if it gives any.
    pub(super) numbers: Option<Numbers>,
    /// The number of the last message that the servers' database has.
    booked: u64,
    pub(super) said: Stream,
    /// How many of those the present process of the client has fed, or one before it.
    fed: u64,
    /// How many of those the client saw acknowledged, and servers finished with.
    pub(super) acked: u64,
    done: u64,
    pub(super) lives: Vec<Life>,
    current: Option<usize>,
    pub(super) lost: u64,
    /// Received by the client, not handed out.
    arrived: VecDeque<Arrival>,
    arrived_cost: usize,
    /// The life of what was handed out last.
    taken_of: Option<usize>,
    /// Of what the client's application holds, of any life.
    held_cost: usize,
    /// The life whose end the application has seen.
    over: Option<usize>,
    left: bool,
    /// The client's close ended before everything was acknowledged.
    pub(super) impatient: bool,
}

impl Model {
    pub(super) fn new(limits: Limits, greeting: Bytes, numbers: Option<Numbers>) -> Model {
        Model {
            window: limits.window as usize,
            max_message: limits.max_message as usize,
            greeting,
            numbers,
            booked: numbers.map_or(0, |numbers| numbers.first - 1),
            said: Stream::new(0x80),
            fed: 0,
            acked: 0,
            done: 0,
            lives: Vec::new(),
            current: None,
            lost: 0,
            arrived: VecDeque::new(),
            arrived_cost: 0,
            taken_of: None,
            held_cost: 0,
            over: None,
            left: false,
            impatient: false,
        }
    }

    pub(super) fn new_life(&mut self, window: u32, offered: u32) -> usize {
        self.lives.push(Life {
            window: window as usize,
            base: None,
            arrived: 0,
            hands: Hands::default(),
            held_cost: 0,
            end_arrived: false,
            end_taken: false,
            said: Stream::new(self.lives.len() as u8 & 0x7f),
            acked: 0,
            at_client: 0,
            end_at_client: false,
            client_hands: Hands::default(),
            debts: Vec::new(),
            client_debts: Vec::new(),
            left: false,
            refused: None,
            told: Told::new(window, offered),
            client_told: Told::new(offered, window),
        });
        self.lives.len() - 1
    }

    /// What both sides keep is bounded by the window and one message.
    fn check_bounds(&self, kept: usize, window: usize, what: &str) {
        let bound = window + cost(self.max_message);
        assert!(kept <= bound, "{what} keeps {kept}, more than {bound}");
    }
}

/// The client.
impl Model {
    pub(super) fn client_feeds(&mut self, len: usize) -> Bytes {
        let message = self.said.feed(len);
        self.client_feeds_stored();
        message
    }

    pub(super) fn client_feeds_stored(&mut self) {
        self.fed += 1;
        let kept = self.said.cost(self.acked, self.fed);
        self.check_bounds(kept, self.window, "the client's outbox");
    }

    /// The next message that an earlier process has stored, and its number.
    pub(super) fn stored(&self) -> Option<(u64, Bytes)> {
        let some = self.fed < self.said.len();
        some.then(|| (self.first() + self.fed, self.said.message(self.fed)))
    }

    /// The client's process was killed. The next one knows that so many are acknowledged.
    pub(super) fn client_starts_again(&mut self, acked: u64) {
        (self.acked, self.fed, self.current) = (acked, acked, None);
        (self.arrived, self.arrived_cost, self.over) = (VecDeque::new(), 0, None);
        (self.taken_of, self.held_cost) = (None, 0);
    }

    /// `lost`: how many messages begin the new session, if one was lost; `offered`:
    /// the window that the hello announced.
    pub(super) fn client_welcomed(
        &mut self,
        life: usize,
        lost: Option<u64>,
        resumed: bool,
        offered: u32,
    ) {
        if resumed {
            assert_eq!(self.current, Some(life), "resumed another session");
            return self.lives[life].client_told.start_link();
        }
        assert_ne!(self.current, Some(life), "began the same session again");
        assert_eq!(lost.is_some(), self.current.is_some(), "a loss that is none, or unannounced");
        if let Some(unacknowledged) = lost {
            self.lost += 1;
            assert_eq!(unacknowledged, self.fed - self.acked, "begins with something else");
        }
        self.current = Some(life);
        let life = &mut self.lives[life];
        assert_eq!(life.arrived, 0);
        life.base = Some(self.acked);
        life.client_told = Told::new(offered, life.window as u32);
        if self.arrived.back() == Some(&Arrival::End) {
            self.arrived.pop_back();
        }
    }

    pub(super) fn client_receives(&mut self, item: &Received) {
        let index = self.current.expect("frames follow a welcome");
        let life = &mut self.lives[index];
        let arrival = match item {
            Received::Message(message) => {
                let number = life.at_client;
                assert!(number < life.said.len(), "the client received what was never sent");
                assert!(*message == life.said.message(number), "not message {number}");
                life.at_client += 1;
                let kept = self.arrived_cost + self.held_cost;
                assert!(kept < self.window, "the client keeps {kept}, and is sent more");
                self.arrived_cost += cost(message.len());
                Arrival::Message { life: index, number }
            }
            Received::End => {
                assert!(life.said.finished, "an end that was never sent");
                assert_eq!(life.at_client, life.said.len(), "messages lost before the end");
                life.end_at_client = true;
                Arrival::End
            }
        };
        if self.over.is_some() {
            life.client_hands.0.resize(life.at_client as usize, Hand::Done);
            owe(&mut life.client_debts, life.at_client, self.fed);
            self.arrived_cost = 0;
        } else {
            self.arrived.push_back(arrival);
            self.skip_end();
        }
        self.check_bounds(self.arrived_cost, self.window, "the client's inbox");
    }

    pub(super) fn client_leaves(&mut self, done: bool) {
        if done {
            self.left = true;
            self.client_consumes();
            self.skip_end();
        }
    }

    /// An end that comes next is taken for an application that is done and has left.
    fn skip_end(&mut self) {
        if self.left && self.arrived.front() == Some(&Arrival::End) {
            self.client_takes(Some(&Received::End));
        }
    }

    pub(super) fn client_takes(&mut self, item: Option<&Received>) {
        if self.over.is_some() {
            return assert_eq!(item, Some(&Received::End), "an end is the end");
        }
        let Some(item) = item else {
            return assert_eq!(self.arrived.len(), 0, "what has arrived is not handed out");
        };
        match (self.arrived.pop_front(), item) {
            (Some(Arrival::Message { life, number }), Received::Message(message)) => {
                assert!(*message == self.lives[life].said.message(number), "not message {number}");
                self.arrived_cost -= cost(message.len());
                self.taken_of = Some(life);
                if self.current == Some(life) {
                    self.lives[life].client_hands.take();
                }
            }
            (Some(Arrival::End), Received::End) => {
                self.over = self.current;
                self.client_consumes();
            }
            (arrival, item) => panic!("handed out {item:?} for {arrival:?}"),
        }
    }

    pub(super) fn client_consumes(&mut self) {
        if let Some(life) = self.current {
            self.lives[life].client_hands.come_back();
            self.client_owes(life);
        }
    }

    fn client_owes(&mut self, life: usize) {
        let Life { client_debts, client_hands, .. } = &mut self.lives[life];
        owe(client_debts, client_hands.done(), self.fed);
    }

    /// What was just taken is held. Returns its session and its number there, unless an
    /// older session has left it.
    pub(super) fn client_holds(&mut self, len: usize) -> Option<(usize, u64)> {
        self.held_cost += cost(len);
        let life = self.taken_of.filter(|life| self.current == Some(*life))?;
        let hands = &mut self.lives[life].client_hands;
        hands.hold();
        Some((life, hands.len() - 1))
    }

    pub(super) fn client_is_done_with(&mut self, which: Option<(usize, u64)>, len: usize) {
        self.held_cost -= cost(len);
        if let Some((life, number)) = which {
            self.lives[life].client_hands.finish(number);
            self.client_owes(life);
        }
    }

    pub(super) fn client_tells(&mut self, ack: Ack) {
        let life = &mut self.lives[self.current.expect("it was welcomed")];
        let (said, at, end) = (&life.said, life.at_client, life.end_at_client);
        life.client_told.tell(ack, |from| said.frames_cost(from, at, end));
    }

    pub(super) fn client_hears(&mut self, ack: Ack) {
        let life = self.current.expect("it was welcomed");
        self.lives[life].client_told.hear(ack.window);
    }

    /// What the client's session says it has seen acknowledged.
    pub(super) fn client_acked(&mut self, acked: u64) {
        if acked == self.acked {
            return;
        }
        assert!(acked > self.acked, "acknowledgements went backwards");
        assert!(acked <= self.done, "{acked} acknowledged, but {} consumed", self.done);
        self.acked = acked;
        let number = self.first() - 1 + acked;
        assert!(self.numbers.is_none() || number <= self.booked, "acknowledged, and not booked");
        let life = &self.lives[self.current.expect("who acknowledged it?")];
        let owed = owed(&life.debts, acked);
        let (seen, ahead) = (life.at_client, life.base.unwrap_or(0) + life.told.ahead);
        let right = seen >= owed || acked <= ahead;
        assert!(right, "acknowledgement {acked} overtook a reply: {seen} of {owed} seen");
    }

    pub(super) fn check_client_leftovers(&self, messages: &[Bytes]) {
        let expected: Vec<_> = (self.acked..self.fed).map(|n| self.said.message(n)).collect();
        assert!(messages == expected, "the client gets back other messages than it lost");
    }

    pub(super) fn is_client_drained(&self) -> bool {
        self.arrived.is_empty()
    }
}

/// The servers.
impl Model {
    pub(super) fn server_feeds(&mut self, life: usize, len: usize) -> Bytes {
        let life = &mut self.lives[life];
        let message = life.said.feed(len);
        let (kept, window) = (life.said.cost(life.acked, life.said.len()), life.window);
        self.check_bounds(kept, window, "the server's outbox");
        message
    }

    pub(super) fn server_receives(&mut self, life: usize, item: &Received) {
        let life = &mut self.lives[life];
        let base = life.base.expect("only a welcomed client sends frames");
        match item {
            Received::Message(message) => {
                let number = base + life.arrived;
                assert!(number < self.said.len(), "the server received what was never sent");
                assert!(*message == self.said.message(number), "not message {number}");
                life.arrived += 1;
            }
            Received::End => {
                assert!(self.said.finished, "an end that was never sent");
                assert_eq!(base + life.arrived, self.said.len(), "messages lost before the end");
                life.end_arrived = true;
            }
        }
        let kept = life.held_cost + self.said.cost(base + life.hands.len(), base + life.arrived);
        let window = life.window;
        self.check_bounds(kept, window, "the server's inbox");
    }

    /// It is there before the first message, and stays.
    pub(super) fn server_is_greeted(&self, session: &Session) {
        assert_eq!(*session.greeting(), self.greeting, "not the client's greeting");
        let client = self.numbers.map(|numbers| numbers.client);
        assert_eq!(session.client_id(), client, "not the client's id");
    }

    /// The number of the client's first message of all.
    pub(super) fn first(&self) -> u64 {
        self.numbers.map_or(1, |numbers| numbers.first)
    }

    pub(super) fn check_hello(&self, numbers: Option<Numbers>) {
        let first = self.first() + self.acked;
        let right = self.numbers.map(|numbers| Numbers { first, ..numbers });
        assert_eq!(numbers, right, "a hello with another number");
    }

    /// What a life has just taken has its number for good; of a client that gives none, they
    /// count from 1.
    pub(super) fn check_number(&self, life: usize, number: u64) {
        let life = &self.lives[life];
        let base = life.base.expect("it has received something");
        let before = self.numbers.map_or(0, |numbers| numbers.first - 1 + base);
        assert_eq!(number, before + life.hands.len(), "another number");
    }

    /// As an application has to: takes exactly the next one, skips what it has, and refuses a
    /// gap. Returns whether it took it.
    pub(super) fn book(&mut self, number: u64, message: &Bytes) -> bool {
        if self.numbers.is_none() || number <= self.booked {
            return false;
        }
        assert_eq!(number, self.booked + 1, "a gap");
        assert!(*message == self.said.message(number - self.first()), "another message is booked");
        self.booked = number;
        true
    }

    /// What was acknowledged at the end was booked; so was what came behind it, perhaps.
    pub(super) fn check_booked(&self) {
        if self.numbers.is_some() {
            let booked = self.booked + 1 - self.first();
            assert!((self.acked..=self.said.len()).contains(&booked), "{booked} are booked");
        }
    }

    pub(super) fn server_takes(&mut self, index: usize, item: Option<&Received>) {
        let life = &mut self.lives[index];
        let base = life.base.unwrap_or(0);
        match item {
            Some(Received::Message(message)) => {
                assert!(life.hands.len() < life.arrived, "handed out what did not arrive");
                let next = self.said.message(base + life.hands.len());
                assert!(*message == next, "not the next message");
                life.hands.take();
            }
            Some(Received::End) => {
                assert!(
                    life.end_arrived && life.hands.len() == life.arrived,
                    "an end out of place"
                );
                life.end_taken = true;
                self.server_consumes(index);
            }
            None => {
                let all = life.hands.len() == life.arrived && !life.end_arrived;
                assert!(all, "what has arrived is not handed out");
            }
        }
    }

    pub(super) fn server_consumes(&mut self, life: usize) {
        self.lives[life].hands.come_back();
        self.server_owes(life);
    }

    fn server_owes(&mut self, life: usize) {
        let life = &mut self.lives[life];
        let Some(base) = life.base else { return };
        let done = base + life.hands.done();
        owe(&mut life.debts, done, life.said.len());
        self.done = self.done.max(done);
    }

    /// What was just taken is held. Returns its number.
    pub(super) fn server_holds(&mut self, life: usize, len: usize) -> u64 {
        let life = &mut self.lives[life];
        life.hands.hold();
        life.held_cost += cost(len);
        life.hands.len() - 1
    }

    pub(super) fn server_is_done_with(&mut self, life: usize, number: u64, len: usize) {
        self.lives[life].hands.finish(number);
        self.lives[life].held_cost -= cost(len);
        self.server_owes(life);
    }

    pub(super) fn server_leaves(&mut self, life: usize) {
        let life = &mut self.lives[life];
        (life.left, life.said.finished) = (true, true);
    }

    /// The client closed in order, and no server left it or gave it up.
    pub(super) fn check_close(&self) {
        if !self.impatient && !self.lives.iter().any(|life| life.left) {
            assert_eq!(self.acked, self.fed, "a close in order left something behind");
        }
    }

    pub(super) fn server_refuses(&mut self, life: usize, code: u32) {
        self.server_leaves(life);
        self.lives[life].refused = Some(code);
    }

    /// The client is told by that life that the session has ended.
    pub(super) fn client_dismissed(&self, life: usize, code: &CloseCode) {
        let Life { left, refused, .. } = self.lives[life];
        assert!(left || *code == CloseCode::Done, "ended by a server that has not left");
        let told = code.refusal().map(|refusal| refusal.code);
        assert_eq!(told, refused, "not the refusal of that server");
    }

    pub(super) fn server_acked(&mut self, life: usize, acked: u64) {
        let life = &mut self.lives[life];
        if acked == life.acked {
            return;
        }
        assert!(acked > life.acked, "acknowledgements went backwards");
        let done = life.client_hands.done();
        assert!(acked <= done, "{acked} acknowledged, but {done} consumed");
        life.acked = acked;
        let owed = owed(&life.client_debts, acked);
        let seen = life.base.unwrap_or(0) + life.arrived;
        let right = seen >= owed || acked <= life.client_told.ahead;
        assert!(right, "acknowledgement {acked} overtook a message: {seen} of {owed}");
    }

    pub(super) fn server_resumes(&mut self, life: usize, offered: u32) {
        let told = &mut self.lives[life].told;
        told.start_link();
        told.hear(offered);
    }

    pub(super) fn server_tells(&mut self, life: usize, ack: Ack) {
        let life = &mut self.lives[life];
        let (base, end) = (life.base.unwrap_or(0), life.end_arrived);
        let (said, at) = (&self.said, base + life.arrived);
        life.told.tell(ack, |from| said.frames_cost(base + from, at, end));
    }

    pub(super) fn server_hears(&mut self, life: usize, ack: Ack) {
        self.lives[life].told.hear(ack.window);
    }

    pub(super) fn check_server_leftovers(&self, life: usize, messages: &[Bytes]) {
        let life = &self.lives[life];
        let expected = (life.acked..life.said.len()).map(|number| life.said.message(number));
        assert!(messages.iter().eq(&expected.collect::<Vec<_>>()), "the server gets back others");
    }

    /// The client ended by an end that this life said.
    pub(super) fn is_ended_by(&self, life: usize) -> bool {
        self.over == Some(life)
    }

    /// Both directions went to their ends, and nothing is left over.
    pub(super) fn check_complete(&self, life: usize) {
        assert_eq!(self.current, Some(life));
        let life = &self.lives[life];
        assert!(self.arrived.is_empty() && life.end_taken);
        assert_eq!(self.acked, self.said.len());
        assert_eq!((life.acked, life.client_hands.done()), (life.said.len(), life.said.len()));
    }
}
