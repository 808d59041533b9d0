//! Ways to make trouble for a server, each from one thread and one address.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::wire::{
    ACK, CLOSE, DATA, ENDED, FULL, HELLO, Hello, PONG, PROTOCOL, REJECT, Raw, STALE, VERSION,
    Welcome, ack, frame, header, ping,
};

/// What the attacked server is started with: little room, so that little of it
/// is left.
pub(crate) const SERVER: [&str; 6] =
    ["--max-clients", "16", "--window", "64KiB", "--max-message", "16KiB"];
pub(crate) const CLIENTS: usize = 16;
pub(crate) const WINDOW: usize = 64 * 1024;
pub(crate) const MAX_MESSAGE: usize = 16 * 1024;

/// Peers that say nothing, or little at a time.
const CROWD: usize = 1000;

/// An attack under way: each call does the next bit of harm, and checks that
/// the attacker gets what the protocol has for it.
pub(crate) type Step = Box<dyn FnMut()>;

pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// What a step is.
    pub(crate) step: &'static str,
    pub(crate) begin: fn(SocketAddr) -> Step,
    /// Whether it has sessions, with messages in them.
    pub(crate) in_session: bool,
}

#[rustfmt::skip]
pub(crate) const ATTACKS: [Attack; 20] = [
    Attack { name: "silent connects", step: "connect", begin: silent, in_session: false },
    Attack { name: "trickling hellos", step: "byte", begin: trickling, in_session: false },
    Attack { name: "connects to a full server", step: "connect", begin: beyond, in_session: false },
    Attack { name: "garbage", step: "connect", begin: garbage, in_session: false },
    Attack { name: "misshapen hellos", step: "connect", begin: misshapen, in_session: false },
    Attack { name: "connects and resets", step: "connect", begin: resets, in_session: false },
    Attack { name: "guessed tokens", step: "2 connects", begin: guesses, in_session: false },
    Attack { name: "silent sessions", step: "connect", begin: vanishes, in_session: true },
    Attack { name: "abandoned sessions", step: "connect", begin: abandons, in_session: true },
    Attack { name: "closed sessions", step: "connect", begin: closes, in_session: true },
    Attack { name: "resumes with replays", step: "connect", begin: replays, in_session: true },
    Attack { name: "impossible takeovers", step: "3 connects", begin: takeovers, in_session: true },
    Attack { name: "overrun windows", step: "connect", begin: overruns, in_session: true },
    Attack { name: "clients that stop reading", step: "ping", begin: deaf, in_session: true },
    Attack { name: "pings", step: "100 pings", begin: pings, in_session: true },
    Attack { name: "acknowledgements", step: "100 ACKs", begin: acks, in_session: true },
    Attack { name: "empty messages", step: "100 messages", begin: empties, in_session: true },
    Attack { name: "largest messages", step: "2 messages", begin: largest, in_session: true },
    Attack { name: "empty lines", step: "100 lines", begin: lines, in_session: true },
    Attack { name: "endless lines", step: "connect", begin: endless, in_session: true },
];

/// Lets this process have the descriptors of a crowd.
pub(crate) fn allow_crowd() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = 4 * CROWD as u64;
    if limit.current.is_some_and(|current| current < wanted) {
        let current = Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
    }
}

fn dial(addr: SocketAddr) -> Raw {
    Raw::connect(addr).end_with_reset()
}

/// Another one for each attack: a server remembers tokens.
fn random() -> Rng {
    static SEEDS: AtomicU64 = AtomicU64::new(0);
    Rng::with_seed(SEEDS.fetch_add(1, Ordering::Relaxed))
}

fn hello(random: &mut Rng) -> Hello {
    let mut token = [0; 16];
    random.fill(&mut token);
    Hello { token, ..Hello::new(0) }
}

fn greet(addr: SocketAddr, hello: &Hello) -> Result<(Raw, Welcome), u8> {
    Raw::greet(addr, hello).map(|(raw, welcome)| (raw.end_with_reset(), welcome))
}

fn join(addr: SocketAddr, hello: &Hello) -> (Raw, Welcome) {
    let (raw, welcome) = Raw::join(addr, hello);
    (raw.end_with_reset(), welcome)
}

fn silent(addr: SocketAddr) -> Step {
    let mut crowd: VecDeque<Raw> = (0..CROWD).map(|_| dial(addr)).collect();
    Box::new(move || {
        crowd.push_back(dial(addr));
        crowd.pop_front();
    })
}

fn trickling(addr: SocketAddr) -> Step {
    let bytes = hello(&mut random()).bytes();
    let mut crowd: VecDeque<(Raw, usize)> = (0..CROWD).map(|_| (dial(addr), 0)).collect();
    Box::new(move || {
        // Each in turn sends its next byte, and begins anew before the last.
        let (mut raw, sent) = crowd.pop_front().unwrap();
        let ended = sent + 1 == bytes.len() || raw.write_all(&bytes[sent..=sent]).is_err();
        crowd.push_back(if ended { (dial(addr), 0) } else { (raw, sent + 1) });
    })
}

fn beyond(addr: SocketAddr) -> Step {
    let mut random = random();
    let taken: Vec<Raw> = std::iter::from_fn(|| match greet(addr, &hello(&mut random)) {
        Ok((raw, _)) => Some(raw),
        Err(code) => {
            assert_eq!(code, FULL);
            None
        }
    })
    .collect();
    Box::new(move || {
        assert_eq!(greet(addr, &hello(&mut random)).unwrap_err(), FULL);
        assert!(!taken.is_empty());
    })
}

fn garbage(addr: SocketAddr) -> Step {
    let mut random = random();
    Box::new(move || {
        let mut bytes = vec![0; random.usize(1..2000)];
        random.fill(&mut bytes);
        // Neither a hello nor text.
        bytes[0] %= 8;
        let mut raw = dial(addr);
        raw.send(bytes);
        assert_eq!(raw.read(), None);
    })
}

fn misshapen(addr: SocketAddr) -> Step {
    let fine = hello(&mut random()).bytes();
    let later = Hello { version: 2, ..hello(&mut random()) }.bytes();
    let extra = [&header(HELLO, fine.len() as u32 - 4)[..], &fine[5..], &[0]].concat();
    let mut cases = [
        (header(HELLO, u32::MAX), PROTOCOL),
        (header(HELLO, 4097), PROTOCOL),
        (frame(HELLO, vec![b'x'; 4096]), PROTOCOL),
        (extra, PROTOCOL),
        (frame(HELLO, &fine[5..fine.len() - 1]), PROTOCOL),
        (later, VERSION),
    ]
    .into_iter()
    .cycle();
    Box::new(move || {
        let (bytes, code) = cases.next().unwrap();
        let mut raw = dial(addr);
        raw.send(bytes);
        match raw.read() {
            Some((REJECT, body)) => assert_eq!(body[0], code),
            other => panic!("not rejected: {other:?}"),
        }
    })
}

fn resets(addr: SocketAddr) -> Step {
    let mut random = random();
    Box::new(move || {
        let mut raw = dial(addr);
        let bytes = hello(&mut random).bytes();
        let sent = random.usize(..bytes.len());
        raw.send(&bytes[..sent]);
    })
}

fn guesses(addr: SocketAddr) -> Step {
    let mut random = random();
    Box::new(move || {
        let guess = Hello { attempt: 9, epoch: random.u64(1..), received: 5, ..hello(&mut random) };
        match greet(addr, &guess) {
            Ok((_, welcome)) => assert!(welcome.epoch != guess.epoch && welcome.received == 0),
            // The ones before are still on their way out.
            Err(code) => assert_eq!(code, FULL),
        }
        let guess = Hello { token: hello(&mut random).token, flags: 1, ..guess };
        assert_eq!(greet(addr, &guess).unwrap_err(), ENDED);
    })
}

/// Leaves a session behind in which it has said nothing.
pub(crate) fn vanishes(addr: SocketAddr) -> Step {
    let mut random = random();
    Box::new(move || {
        if let Err(code) = greet(addr, &hello(&mut random)) {
            // The ones before are still on their way out.
            assert_eq!(code, FULL);
        }
    })
}

fn abandons(addr: SocketAddr) -> Step {
    let mut random = random();
    Box::new(move || match greet(addr, &hello(&mut random)) {
        Ok((mut raw, _)) => {
            raw.send(frame(DATA, b"soon gone"));
            assert_eq!(raw.read_kind(DATA), b"soon gone");
        }
        // The ones before are still on their way out.
        Err(code) => assert_eq!(code, FULL),
    })
}

fn closes(addr: SocketAddr) -> Step {
    let mut random = random();
    Box::new(move || match greet(addr, &hello(&mut random)) {
        Ok((mut raw, _)) => {
            raw.send(frame(DATA, b"that was all"));
            raw.send(frame(CLOSE, [1, 0, 0, 0, 0, 0, 0, 0, 0]));
            raw.read_kind(CLOSE);
        }
        // The ones before are still on their way out.
        Err(code) => assert_eq!(code, FULL),
    })
}

/// All that is unacknowledged is sent again at each resume.
fn replays(addr: SocketAddr) -> Step {
    let first = hello(&mut random());
    let (mut raw, welcome) = join(addr, &first);
    let count = WINDOW / (MAX_MESSAGE + 64);
    raw.send(frame(DATA, vec![b'x'; MAX_MESSAGE]).repeat(count));
    (0..count).for_each(|_| drop(raw.read_kind(DATA)));
    let mut next = first;
    Box::new(move || {
        next = next.next(&welcome, 0);
        let (mut raw, again) = join(addr, &next);
        assert_eq!(again.epoch, welcome.epoch);
        assert_eq!(raw.read_kind(DATA).len(), MAX_MESSAGE);
    })
}

fn takeovers(addr: SocketAddr) -> Step {
    let hello = hello(&mut random());
    let (mut raw, welcome) = join(addr, &hello);
    let mut echoed = 0;
    Box::new(move || {
        let next = hello.next(&welcome, echoed);
        let ahead = Hello { received: echoed + 1, ..next };
        assert_eq!(greet(addr, &ahead).unwrap_err(), PROTOCOL);
        let behind = Hello { received: echoed.wrapping_sub(1), ..next };
        assert_eq!(greet(addr, &behind).unwrap_err(), PROTOCOL);
        let old = Hello { attempt: hello.attempt, ..next };
        assert_eq!(greet(addr, &old).unwrap_err(), STALE);
        raw.send(frame(DATA, b"still mine"));
        assert_eq!(raw.read_kind(DATA), b"still mine");
        echoed += 1;
        raw.send([ack(echoed, 1 << 20), ping(0)].concat());
        raw.read_kind(PONG);
    })
}

fn overruns(addr: SocketAddr) -> Step {
    let mut random = random();
    let message = frame(DATA, vec![b'x'; MAX_MESSAGE]);
    // What two windows hold, each overshot by a message, and one more.
    let enough = 2 * (WINDOW / MAX_MESSAGE + 1) + 1;
    Box::new(move || {
        if let Ok((mut raw, _)) = greet(addr, &hello(&mut random)) {
            let cut = (0..enough).any(|_| raw.write_all(&message).is_err());
            if !cut {
                raw.read_end();
            }
        }
    })
}

fn deaf(addr: SocketAddr) -> Step {
    let mut random = random();
    // What counts for a window of the shortest messages that take memory.
    let count = WINDOW / 65;
    let many = frame(DATA, b"x").repeat(count);
    let mut deaf: Vec<Raw> = (0..CLIENTS / 2)
        .map(|_| {
            let (mut raw, _) = join(addr, &hello(&mut random));
            // A window of replies, which are never acknowledged...
            raw.send(&many);
            while !raw.read_kind(ACK).starts_with(&(count as u64).to_be_bytes()) {}
            // ...and one of messages that cannot be answered.
            raw.send(&many);
            raw
        })
        .collect();
    let mut turns = (0..deaf.len()).cycle();
    Box::new(move || {
        let raw = &mut deaf[turns.next().unwrap()];
        raw.write_all(&ping(0)).expect("it keeps to its window");
    })
}

fn pings(addr: SocketAddr) -> Step {
    let (mut raw, _) = join(addr, &hello(&mut random()));
    let mut id = 0u64;
    Box::new(move || {
        let many: Vec<u8> = (id + 1..=id + 100).flat_map(ping).collect();
        id += 100;
        raw.send(many);
        while raw.read_kind(PONG) != id.to_be_bytes() {}
    })
}

fn acks(addr: SocketAddr) -> Step {
    let (mut raw, _) = join(addr, &hello(&mut random()));
    let many = [ack(0, 1 << 20).repeat(100), ping(1)].concat();
    Box::new(move || {
        raw.send(&many);
        raw.read_kind(PONG);
    })
}

/// Sends messages, and acknowledges their echoes.
fn exchange(addr: SocketAddr, message: Vec<u8>, count: u64) -> Step {
    let (mut raw, _) = join(addr, &hello(&mut random()));
    let many = frame(DATA, &message).repeat(count as usize);
    let mut echoed = 0;
    Box::new(move || {
        raw.send(&many);
        for _ in 0..count {
            assert_eq!(raw.read_kind(DATA), message);
        }
        echoed += count;
        raw.send(ack(echoed, 1 << 20));
    })
}

fn empties(addr: SocketAddr) -> Step {
    exchange(addr, Vec::new(), 100)
}

fn largest(addr: SocketAddr) -> Step {
    exchange(addr, vec![b'x'; MAX_MESSAGE], 2)
}

/// Of plain text, each the shortest message that there is.
fn lines(addr: SocketAddr) -> Step {
    const LINES: [u8; 100] = [b'\n'; 100];
    let mut raw = dial(addr);
    Box::new(move || {
        raw.write_all(&LINES).unwrap();
        let mut echoes = LINES;
        raw.read_exact(&mut echoes).unwrap();
        assert_eq!(echoes, LINES);
    })
}

fn endless(addr: SocketAddr) -> Step {
    Box::new(move || {
        let mut raw = dial(addr);
        raw.send(vec![b'x'; 2 * MAX_MESSAGE]);
        assert_eq!(raw.read(), None);
    })
}
