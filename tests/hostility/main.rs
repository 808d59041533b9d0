//! The server, a process of its own, under attack from one address.
//!
//! What is asserted here needs no clock, but for one limit of seconds: that a
//! well-behaved client is served through all of it, that the attackers get what
//! the protocol has for them, and that memory, descriptors and threads stay
//! below limits that follow from the settings. How long the well-behaved client
//! waits is a matter of the machine and its scheduler, too: `cargo bench --bench
//! siege` measures it.
#![cfg(all(feature = "cli", target_os = "linux"))]

#[path = "../support/attacks.rs"]
mod attacks;
mod descriptors;
mod floods;
mod handshakes;
#[path = "../support/port.rs"]
#[allow(dead_code)]
mod port;
#[path = "../support/process.rs"]
#[allow(dead_code)]
mod process;
mod target;
mod terminal;
#[path = "../support/wait.rs"]
mod wait;
#[path = "../support/wire.rs"]
#[allow(dead_code)]
mod wire;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use attacks::{ATTACKS, Attack, CLIENTS, MAX_MESSAGE, SERVER, Step, WINDOW, allow_crowd};
use process::{Process, Stdout};
use target::{Bystander, SOON, Target, until};
use wire::{ACK, CLOSE, DATA, Hello, PONG, Raw, frame, ping};

/// Peers before their hello, as the listener allows.
const GUESTS: usize = 256;
/// Descriptors of the server's own.
const OWN: usize = 16;
/// Threads of the server's own: the first, the heartbeat, the log, the
/// printer, Ctrl-C, and the one that waits for the next client.
const THREADS: usize = 6;

/// Threads on their way out.
const LEAVING: usize = 8;

const MIB: usize = 1024 * 1024;

/// Bits of harm, and round trips of the bystander, of each attack.
const STEPS: usize = 400;
const TRIPS: usize = 200;

#[test]
fn a_bystander_is_served_under_every_attack() {
    allow_crowd();
    for attack in &ATTACKS {
        endure(attack);
    }
}

fn endure(attack: &Attack) {
    let target = Target::start(&SERVER);
    // One without sessions: guests with a buffer of 8 KiB each, lines of the
    // log that wait, some slack.
    let limit = |quiet| match attack.in_session {
        true => stated(CLIENTS, WINDOW, MAX_MESSAGE),
        false => quiet + 4 * MIB,
    };
    let names = [attack.name, attack.step];
    besiege(&target, &target.bystander(), names, [STEPS, TRIPS], limit, || {
        (attack.begin)(target.addr)
    });
    // When it is over, there is room again.
    until("a newcomer is served", || Raw::greet(target.addr, &Hello::new(1)).is_ok());
}

/// An attack of at least so many steps, and round trips of the bystander. `limit` is how much
/// memory the server may take, which took so much before. `begin` makes what does a step.
fn besiege(
    target: &Target,
    bystander: &Bystander,
    [name, step]: [&str; 2],
    [least_steps, least_trips]: [usize; 2],
    limit: impl FnOnce(usize) -> usize,
    begin: impl FnOnce() -> Step + Send,
) {
    eprintln!("{name}");
    bystander.trip();
    let quiet = target.memory();
    let mut descriptors = 0;

    let (steps, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            let mut step = begin();
            while !done.load(Ordering::Relaxed) {
                step();
                steps.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut trips = 0;
        until("there was enough of both", || {
            bystander.trip();
            trips += 1;
            descriptors = descriptors.max(target.descriptors());
            let enough = trips >= least_trips && steps.load(Ordering::Relaxed) >= least_steps;
            enough || attacker.is_finished()
        });
        assert!(!attacker.is_finished(), "the attacker met something else");
        done.store(true, Ordering::Relaxed);
    });

    let (memory, threads) = (target.peak_memory(), target.threads());
    eprintln!("  {} times {step}", steps.into_inner());
    eprintln!("  {memory} bytes, {quiet} before; {descriptors} descriptors, {threads} threads");
    assert!(memory < limit(quiet), "{memory} bytes of memory");
    assert!(descriptors <= CLIENTS + GUESTS + OWN, "{descriptors} descriptors");
    assert!(threads <= CLIENTS + THREADS + LEAVING, "{threads} threads");
    assert_eq!(bystander.losses(), 0);
    // The log is text, whatever came.
    let log = target.process.err.bytes();
    let strange = log.iter().position(|byte| !matches!(byte, b'\n' | b' '..=b'~'));
    assert_eq!(strange, None, "byte {:?} of the log", strange.map(|at| log[at]));
}

/// What `Builder::max_clients` says, and the program's own buffers.
fn stated(clients: usize, window: usize, max_message: usize) -> usize {
    clients * (4 * (window + max_message) + 256 * 1024) + 24 * MIB
}

/// Every client sends what its window allows, takes no reply, and sends as
/// much again: in the shortest messages, none of which came together with another,
/// since these cost the most to keep; as many as make growing queues twice as
/// large as they need to be.
#[test]
fn memory_stays_below_what_is_stated() {
    let (clients, window, max_message) = (16, 1_100_000, 100_000);
    let (window_arg, message_arg) = (window.to_string(), max_message.to_string());
    let target = Target::start(&[
        "--max-clients",
        "16",
        "--window",
        &window_arg,
        "--max-message",
        &message_arg,
    ]);
    let count = window / 65;
    let many = [frame(DATA, b"x"), ping(0)].concat().repeat(count);
    let deaf: Vec<Raw> = (0..clients as u8)
        .map(|token| {
            let hello = Hello { window: u32::MAX, ..Hello::new(token) };
            let (mut raw, _) = Raw::join(target.addr, &hello);
            raw.send(&many);
            while !raw.read_kind(ACK).starts_with(&(count as u64).to_be_bytes()) {}
            raw.send(&many);
            raw.send(ping(1));
            while raw.read_kind(PONG) != 1_u64.to_be_bytes() {}
            raw
        })
        .collect();
    let (memory, stated) = (target.peak_memory(), stated(clients, window, max_message));
    let messages = clients * 2 * window;
    eprintln!("{memory} bytes, of which messages count {messages}; {stated} are stated");
    // The echoes stand together, and take less than they count for.
    assert!(memory > messages / 2, "it has not kept them");
    assert!(memory < stated, "{memory} bytes");
    drop(deaf);
}

/// A client's thread prints its messages; one that waits for a slow terminal
/// keeps its place, however often its client leaves and another comes.
#[test]
fn threads_do_not_add_up_behind_a_stuck_output() {
    let args = ["--port", "0", "--chat", "--max-clients", "4"];
    let process = Process::start(process::SERVER, &args, Stdout::Stuck);
    let target = Target::of(process);
    let line = frame(DATA, vec![b'x'; 100_000]);
    for token in 0..50 {
        let Ok((mut raw, _)) = Raw::greet(target.addr, &Hello::new(token)) else { continue };
        (0..10).for_each(|_| raw.send(&line));
        raw.send(frame(CLOSE, [1, 0, 0, 0, 0, 0, 0, 0, 0]));
        raw.read_end();
    }
    let threads = target.threads();
    assert!(threads <= 4 + THREADS + LEAVING, "{threads} threads");
}
