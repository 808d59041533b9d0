//! When the server runs out of descriptors.

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::target::{Target, now, until};
use crate::wire::{DATA, FULL, Hello, Raw, Welcome, frame};

/// So few that a test can take them all.
const FEW: &str = "-n 40";
const TURNED_AWAY: &str = "new and silent peers may be turned away: Too many open files";
const CANNOT: &str = "cannot accept, trying again: Too many open files";

/// Takes a place for good: a session that carried a message.
fn occupy(target: &Target, token: u8) -> Option<(Raw, Hello, Welcome)> {
    let hello = Hello::new(token);
    match Raw::greet(target.addr, &hello) {
        Ok((mut raw, welcome)) => {
            raw.send(frame(DATA, b"here"));
            assert_eq!(raw.read_kind(DATA), b"here");
            Some((raw, hello, welcome))
        }
        Err(code) => {
            assert_eq!(code, FULL);
            None
        }
    }
}

/// Takes every place there is.
fn occupy_all(target: &Target) -> Vec<(Raw, Hello, Welcome)> {
    let taken: Vec<_> = (1..).map_while(|token| occupy(target, token)).collect();
    assert!(taken.len() > 20 && taken.len() < 40, "{}", taken.len());
    taken
}

#[test]
fn a_server_raises_its_limit_to_what_its_clients_need() {
    let target = Target::limited("-S -n 64", &["--max-clients", "100"]);
    target.process.says("at most 100 clients");
    assert_eq!(target.descriptor_limit(), 100 + 256 + 16);
    assert_eq!(target.process.err.count("ulimit"), 0);
}

#[test]
fn a_server_says_that_its_limit_is_too_low() {
    let target = Target::limited(FEW, &[]);
    target.process.says("at most 24 of them at once: ulimit -n is 40");
}

#[test]
fn silent_peers_make_room_for_whoever_says_hello() {
    let target = Target::limited(FEW, &[]);
    let bystander = target.bystander();
    let silent: Vec<Raw> = (0..100).map(|_| Raw::connect(target.addr)).collect();
    target.process.says(TURNED_AWAY);
    until("the oldest are dropped", || silent[..60].iter().all(Raw::has_ended));
    // At once, with all descriptors taken.
    let newcomers: Vec<_> = (0..10).map(|_| target.bystander()).collect();
    for bystander in newcomers.iter().chain([&bystander]) {
        bystander.trip();
        assert_eq!(bystander.losses(), 0);
    }
}

#[test]
fn new_clients_are_rejected_and_old_ones_resume() {
    let target = Target::limited(FEW, &[]);
    let bystander = target.bystander();
    let begun = now();
    let mut taken = occupy_all(&target);
    target.process.says(TURNED_AWAY);
    // A client whose link is dead without the server knowing.
    let (old, hello, welcome) = taken.pop().unwrap();
    let (mut raw, again) = Raw::join(target.addr, &hello.next(&welcome, 1));
    assert_eq!(again.epoch, welcome.epoch);
    raw.send(frame(DATA, b"back"));
    assert_eq!(raw.read_kind(DATA), b"back");
    drop(old);
    // A flood of new ones.
    for _ in 0..300 {
        assert!(occupy(&target, 0).is_none());
    }
    bystander.trip();
    assert_eq!(bystander.losses(), 0);
    let said = target.process.err.count("Too many open files");
    assert!(said as u64 <= begun.elapsed().as_secs() + 1, "{said} times");
    // When somebody leaves there is room again.
    drop(taken.pop());
    until("somebody is taken", || occupy(&target, 0).is_some());
}

/// The last descriptor of all is taken by somebody who came back.
#[test]
fn newcomers_wait_without_a_descriptor_and_nothing_spins() {
    let target = Target::limited(FEW, &[]);
    let bystander = target.bystander();
    let mut taken = occupy_all(&target);
    let (lost, hello, welcome) = taken.pop().unwrap();
    drop(lost);
    until("another has its descriptor", || match occupy(&target, 200) {
        Some(other) => {
            taken.push(other);
            true
        }
        None => false,
    });
    let (back, again) = Raw::join(target.addr, &hello.next(&welcome, 1));
    assert_eq!(again.epoch, welcome.epoch);

    let mut waiting: Vec<Raw> = (0..10).map(|_| Raw::connect(target.addr)).collect();
    waiting[0].send(Hello::new(201).bytes());
    target.process.says(CANNOT);
    assert!(target.is_calm());
    bystander.trip();
    assert_eq!(bystander.losses(), 0);
    assert!(!waiting.iter().any(Raw::has_ended));

    // Two descriptors: one is held back.
    drop((back, taken.pop()));
    assert!(waiting[0].read().is_some(), "the first of them is answered");
}

/// Somebody lowers the limit below what is open: `poll` refuses so many.
#[test]
fn a_limit_that_is_lowered_later_makes_nothing_spin() {
    let target = Target::start(&[]);
    let bystander = target.bystander();
    bystander.trip();
    let _silent: Vec<Raw> = (0..100).map(|_| Raw::connect(target.addr)).collect();
    until("all are there", || target.descriptors() > 100);
    let pid = Pid::from_raw(i32::try_from(target.process.id()).unwrap());
    let limit = |current| {
        let soft = |limit: Rlimit| Rlimit { current: Some(current), ..limit };
        let old =
            prlimit(pid, Resource::Nofile, soft(rustix::process::getrlimit(Resource::Nofile)));
        old.unwrap()
    };
    let old = limit(50);
    assert!(target.is_calm());
    bystander.trip();
    limit(old.current.unwrap());
    target.bystander().trip();
}
