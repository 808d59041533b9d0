//! What is said in a conversation. All of it follows from the seed and the conversation's number,
//! so that whoever receives a message knows what it should have been.

use std::time::Duration;

use fastrand::Rng;

/// Threads that send in one direction, at most.
pub(crate) const SENDERS: usize = 4;

pub(crate) type PerThread = [u64; SENDERS];

/// A message of at least this length names itself: its thread, its number, its conversation.
const NAMED: usize = 1 + 8 + 8;

/// The most that either side accepts in one message.
pub(crate) const LARGEST: usize = 256 * 1024;

/// The most that may be under way in one direction.
pub(crate) const LARGEST_WINDOW: usize = 1024 * 1024;

/// A reader that pauses for so long would be dead if its application had to prove its life.
pub(crate) const LONG_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    pub(crate) const BOTH: [Side; 2] = [Side::Client, Side::Server];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Server => "server",
        }
    }

    pub(crate) fn other(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

/// How a conversation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Each side finishes, reads to the end, and closes.
    InOrder,
    /// This side closes without reading to the end.
    Close(Side),
    Abort(Side),
    Drop(Side),
}

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    seed: u64,
    pub(crate) id: u64,
    /// How long it goes on, unless all are told to rest.
    pub(crate) life: Duration,
    pub(crate) ending: Ending,
    /// The end is made while others are still sending. Who drops has nobody left who could.
    pub(crate) is_abrupt: bool,
    /// The client's window, which bounds its messages too.
    pub(crate) window: usize,
    largest: usize,
    /// Arrays of two are indexed by the side that sends.
    senders: [usize; 2],
    receivers: [usize; 2],
    /// The reader of this direction sometimes pauses.
    slow: [bool; 2],
    /// Every message names itself.
    named: bool,
}

impl Plan {
    /// A conversation with a server that lives.
    pub(crate) fn new(seed: u64, id: u64) -> Plan {
        let mut rng = Rng::with_seed(mix(&[seed, id]));
        let side = *rng.choice(&Side::BOTH).expect("there are two");
        let ending = match rng.u32(..10) {
            0..5 => Ending::InOrder,
            5 | 6 => Ending::Close(side),
            7 | 8 => Ending::Abort(side),
            _ => Ending::Drop(side),
        };
        let window =
            *rng.choice(&[16 * 1024, 128 * 1024, LARGEST_WINDOW]).expect("there are three");
        Plan {
            seed,
            id,
            life: Duration::from_millis(rng.u64(100..1000) * rng.u64(1..8)),
            ending,
            is_abrupt: rng.bool(),
            window,
            largest: LARGEST.min(window),
            senders: [(); 2].map(|()| rng.usize(1..=SENDERS)),
            receivers: [(); 2].map(|()| if rng.u32(..4) == 0 { 2 } else { 1 }),
            slow: [(); 2].map(|()| rng.u32(..4) == 0),
            named: false,
        }
    }

    /// A conversation with a server that is killed now and then, and answers each message.
    pub(crate) fn with_mortal(seed: u64, id: u64) -> Plan {
        let plan = Plan::new(seed, id);
        Plan {
            ending: Ending::InOrder,
            largest: plan.largest.min(32 * 1024),
            senders: [plan.senders[0]; 2],
            receivers: [1; 2],
            named: true,
            ..plan
        }
    }

    pub(crate) fn senders(&self, from: Side) -> usize {
        self.senders[from as usize]
    }

    pub(crate) fn receivers(&self, from: Side) -> usize {
        self.receivers[from as usize]
    }

    pub(crate) fn is_slow(&self, from: Side) -> bool {
        self.slow[from as usize]
    }

    /// Randomness for how a thread behaves.
    pub(crate) fn rng(&self, from: Side, thread: usize, purpose: u64) -> Rng {
        Rng::with_seed(mix(&[self.seed, self.id, from as u64, thread as u64, purpose]))
    }

    /// The message of that number, which this thread sends.
    pub(crate) fn message(&self, from: Side, thread: usize, seq: u64) -> Vec<u8> {
        let mut rng = Rng::with_seed(mix(&[self.seed, self.id, from as u64, thread as u64, !seq]));
        let mut len = match rng.u32(..64) {
            0..6 => 0,
            6..40 => rng.usize(1..64),
            40..56 => rng.usize(64..2048),
            56..62 => rng.usize(2048..=self.largest.min(32 * 1024)),
            62 => rng.usize(..=self.largest),
            _ => self.largest,
        };
        // The first of all tells the server which conversation it is; two readers cannot tell
        // from what came before which one a short message is; and of two threads only one may
        // send what has no byte to tell them apart.
        if self.named || self.receivers(from) > 1 || (thread, seq) == (0, 0) {
            len = len.max(NAMED);
        } else if thread > 0 {
            len = len.max(1);
        }
        let mut message = vec![0; len];
        rng.fill(&mut message);
        if let Some(tag) = message.first_mut() {
            *tag = (thread as u8) << 5 | (seq % 32) as u8;
        }
        if len >= NAMED {
            message[1..9].copy_from_slice(&seq.to_be_bytes());
            message[9..17].copy_from_slice(&self.id.to_be_bytes());
        }
        message
    }

    /// Which one of this side's messages it is, as far as that can be: the thread, and the number,
    /// which is the expected one or close to it if the message does not say.
    pub(crate) fn identify(
        &self,
        from: Side,
        message: &[u8],
        expected: impl Fn(usize) -> u64,
    ) -> Option<(usize, u64)> {
        let thread = thread_of(message);
        if thread >= self.senders(from) {
            return None;
        }
        let is = |seq: &u64| self.message(from, thread, *seq) == message;
        if let Some((_, seq)) = name_of(message) {
            return Some((thread, seq)).filter(|(_, seq)| is(seq));
        }
        let expected = expected(thread);
        let behind = (0..32).map(|n| expected + n);
        let before = (1..32).filter_map(|n| expected.checked_sub(n));
        let seq = behind.chain(before).find(is)?;
        Some((thread, seq))
    }

    /// How many messages of each thread these are, which were handed back: they have to be the
    /// last of each, in order.
    pub(crate) fn handed_back(
        &self,
        from: Side,
        messages: &[impl AsRef<[u8]>],
        sent: &PerThread,
    ) -> Result<PerThread, String> {
        let mut counts = PerThread::default();
        for message in messages {
            *counts.get_mut(thread_of(message.as_ref())).ok_or("of no thread")? += 1;
        }
        let mut next = PerThread::default();
        for (thread, next) in next.iter_mut().enumerate() {
            *next = sent[thread].checked_sub(counts[thread]).ok_or("more than were sent")?;
        }
        for message in messages {
            let thread = thread_of(message.as_ref());
            if self.message(from, thread, next[thread]) != message.as_ref() {
                return Err(format!("in place of number {} of thread {thread}", next[thread]));
            }
            next[thread] += 1;
        }
        Ok(counts)
    }
}

fn thread_of(message: &[u8]) -> usize {
    message.first().map_or(0, |tag| usize::from(tag >> 5))
}

/// The conversation and the number that a message names.
pub(crate) fn name_of(message: &[u8]) -> Option<(u64, u64)> {
    let (_, rest) = message.split_first()?;
    let (seq, rest) = rest.split_first_chunk()?;
    let (id, _) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*id), u64::from_be_bytes(*seq)))
}

/// One seed out of several numbers.
pub(crate) fn mix(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0, |seed, number| Rng::with_seed(seed ^ number).u64(..))
}
