//! What is allocated for a message. The allocator counts for all threads, so this is a
//! process of its own with one test; and since a tick of a driver falls into some of the
//! measurements, their median counts.

use std::alloc::System;
use std::thread;

use longlink::{Connection, Listener};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROUNDS: usize = 101;
const TRIPS: usize = 10;
/// As many messages as come in one piece of 4 KiB.
const BATCH: usize = 50;
/// Messages of this size are not echoed.
const SILENT: usize = 64;

fn allocations(action: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    action();
    let change = region.change();
    change.allocations + change.reallocations
}

/// In the steady state: buffers have grown before.
fn steady(mut round: impl FnMut() -> usize) -> usize {
    (0..ROUNDS).for_each(|_| _ = round());
    let mut counts: Vec<usize> = (0..ROUNDS).map(|_| round()).collect();
    counts.sort_unstable();
    println!("{counts:?}");
    counts[ROUNDS / 2]
}

#[test]
fn a_message_is_allocated_once_by_its_receiver_and_never_by_its_sender() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr();
    let server = thread::spawn(move || {
        let connection = listener.accept().unwrap();
        while let Some(message) = connection.recv().unwrap() {
            if message.len() != SILENT {
                connection.send(&message).unwrap();
            }
        }
        connection.close().unwrap();
    });
    let connection = Connection::connect(address).unwrap();
    let trip = |message: &[u8]| {
        connection.send(message).unwrap();
        assert_eq!(connection.recv().unwrap().unwrap(), message);
    };

    for size in [1, 1000, 10_000] {
        let message = vec![0; size];
        let count = steady(|| allocations(|| (0..TRIPS).for_each(|_| trip(&message))));
        assert_eq!(count, 2 * TRIPS, "one on each side, {size} bytes");
    }

    let large = vec![0; 40_000];
    let count = steady(|| allocations(|| (0..TRIPS).for_each(|_| trip(&large))));
    assert_eq!(count, 4 * TRIPS, "a large message: its memory, and who shares it");

    let feed = || (0..BATCH).for_each(|_| connection.feed([0; SILENT]).unwrap());
    let fed = steady(|| {
        let count = allocations(feed);
        // Nothing is allocated for an empty message.
        trip(b"");
        count
    });
    assert_eq!(fed, 0, "{BATCH} messages fed");
    let all = [[0; SILENT]; BATCH];
    let fed = steady(|| {
        let count = allocations(|| connection.feed_many(&all).unwrap());
        trip(b"");
        count
    });
    assert_eq!(fed, 0, "{BATCH} messages fed by one call");
    let batch = steady(|| {
        allocations(|| {
            feed();
            trip(b"");
        })
    });
    assert_eq!(batch, 2, "{BATCH} messages received together: their memory, and who shares it");

    connection.close().unwrap();
    server.join().unwrap();
}
