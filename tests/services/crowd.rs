//! Two hundred connections at once, opened and closed at random while their links are cut: of
//! those that are over, the programs hold nothing any more.

use std::fmt::Debug;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use fastrand::Rng;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;

use crate::process::Process;
use crate::wait::{now, until};
use crate::way::Way;
use crate::{SOON, ms};

const AT_ONCE: usize = 200;
const ROUNDS: usize = 4;

/// A server remembers four times as many sessions that are over: those of two rounds.
const MOST: &str = "250";
const WARM_UP: usize = 2;

/// Connections that each of them is followed by.
const LATER: usize = 2;

/// What the memory may grow by in all rounds but the first two, in KiB: some 5 for each connection
/// that there was. Allocators do not give back all that is free.
const SLACK: usize = 6144;

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    threads: usize,
    descriptors: usize,
}

impl Held {
    fn by(process: &Process) -> Held {
        let entries = |kind| fs::read_dir(format!("/proc/{}/{kind}", process.id()));
        let [threads, descriptors] = ["task", "fd"].map(|kind| entries(kind).unwrap().count());
        Held { threads, descriptors }
    }
}

/// The memory that is a process's own, in KiB.
fn memory(process: &Process) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")).unwrap().parse().unwrap()
}

/// Echoes each connection to its end. Counts those that are there.
fn echo_service() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, there) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = there.clone();
    thread::spawn(move || {
        for stream in listener.incoming().map(Result::unwrap) {
            count.fetch_add(1, SeqCst);
            let count = count.clone();
            thread::spawn(move || {
                // An error is a client that has reset, as some do.
                let _ = std::io::copy(&mut &stream, &mut &stream);
                drop(stream);
                count.fetch_sub(1, SeqCst);
            });
        }
    });
    (addr, there)
}

fn open(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn exchange(mut stream: &TcpStream, rng: &mut Rng) {
    let mut bytes = vec![0; rng.usize(1..=4000)];
    rng.fill(&mut bytes);
    stream.write_all(&bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).unwrap();
    assert!(back == bytes, "the echo is not what was sent");
}

/// Talks for a time, then ends in one of the ways that there are.
fn visit(mut stream: TcpStream, rng: &mut Rng) {
    for _ in 0..rng.u32(0..20) {
        exchange(&stream, rng);
    }
    match rng.u32(0..4) {
        0 => {
            stream.write_all(b"last").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, b"last");
        }
        1 => stream.write_all(&[1; 10_000]).unwrap(), // The echo is not read.
        2 => SockRef::from(&stream).set_linger(Some(ms(0))).unwrap(),
        _ => {}
    }
}

/// All are there at once, before the first one goes.
fn round(addr: SocketAddr, there: &AtomicUsize, rng: &mut Rng) {
    let streams: Vec<_> = (0..AT_ONCE).map(|_| open(addr)).collect();
    until("all are there", || there.load(SeqCst) == AT_ONCE);
    thread::scope(|scope| {
        for stream in streams {
            let mut rng = rng.fork();
            scope.spawn(move || {
                visit(stream, &mut rng);
                (0..LATER).for_each(|_| visit(open(addr), &mut rng));
            });
        }
    });
}

#[test]
#[ignore = "takes half a minute"]
fn two_hundred_connections_leave_nothing() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let seed = std::env::var("LONGLINK_SERVICES_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("LONGLINK_SERVICES_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let (service, there) = echo_service();
    let way = Way::listen_with(service, &["--max-clients", MOST]).paced(ms(20)).cut_often();
    visit(open(way.addr()), &mut rng);
    let held = || (there.load(SeqCst), way.programs().map(Held::by));
    let idle = quiet(held);
    let after = [0; ROUNDS].map(|_| {
        round(way.addr(), &there, &mut rng);
        settles(held, idle);
        way.programs().map(memory)
    });
    println!(
        "{} cuts; memory of client and server after each round, in KiB: {after:?}",
        way.cuts()
    );
    let grown =
        |program: usize| after[ROUNDS - 1][program].saturating_sub(after[WARM_UP - 1][program]);
    assert!([0, 1].map(grown).iter().all(|grown| *grown <= SLACK), "it grows");
    assert!(way.cuts() >= ROUNDS);
}

/// What there is when both programs have begun.
fn quiet<T: PartialEq>(held: impl Fn() -> T) -> T {
    loop {
        let before = held();
        let until = now() + ms(200);
        while now() < until {
            thread::park_timeout(ms(10));
        }
        if held() == before {
            return before;
        }
    }
}

/// Waits until there is what there was.
#[track_caller]
fn settles<T: PartialEq + Debug>(held: impl Fn() -> T, idle: T) {
    let deadline = now() + SOON;
    while held() != idle {
        assert!(now() < deadline, "{:?} are left, and there were {idle:?}", held());
        thread::park_timeout(ms(10));
    }
}
