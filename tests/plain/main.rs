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
#[path = "../support/wait.rs"]
mod wait;

use std::time::Duration;

use wait::{now, until};

/// The patience of every wait: for machines that do much else meanwhile.
const SOON: Duration = Duration::from_secs(30);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
