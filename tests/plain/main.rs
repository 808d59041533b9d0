//! Plain text peers: the classic pair of C programs, byte for byte, on raw
//! sockets, and the tools that people have.
//!
//! The rules themselves are tested with a fake clock, in the core. Here they
//! meet sockets, threads and programs.
#![cfg(feature = "cli")]

mod classic;
mod client;
mod library;
#[path = "../support/port.rs"]
mod port;
#[path = "../support/process.rs"]
#[allow(dead_code)]
mod process;
mod server;
mod tools;

use std::thread;
use std::time::{Duration, Instant};

/// The patience of every wait: for machines that do much else meanwhile.
const SOON: Duration = Duration::from_secs(30);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[expect(clippy::disallowed_methods, reason = "waits have a deadline")]
fn now() -> Instant {
    Instant::now()
}

/// Waits until something is true that nobody announces.
#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = now() + SOON;
    while !done() {
        assert!(now() < deadline, "not within {SOON:?}: {what}");
        thread::park_timeout(ms(1));
    }
}
