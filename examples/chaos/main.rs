//! A soak: connections with random traffic in both directions, while a seeded adversary cuts,
//! swallows, stalls, slices, stops and kills. At the end each message is accounted for, and what
//! the processes hold is what they held at the beginning; otherwise the exit code is 1.
//!
//!     cargo run --release --example chaos -- --seconds 3600 --connections 20 --seed 1
//!
//! This process is the referee: it has the adversary and the fault proxies, starts this program
//! again as players, and believes only what both ends of a conversation say. The players are a
//! client with all the connections, a server for most of them, and a *mortal* server for the rest,
//! which is killed with SIGKILL again and again. Client and server are stopped with SIGSTOP.

mod adversary;
mod journal;
#[path = "../../tests/support/keys.rs"]
#[allow(dead_code)]
mod keys;
mod ledger;
mod plan;
mod player;
mod process;
#[path = "../../tests/support/proxy.rs"]
#[allow(unreachable_pub)]
mod proxy;
mod referee;
mod report;
mod stage;
mod talk;
mod tally;
mod watch;

use std::alloc::System;
use std::process::ExitCode;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const USAGE: &str = "\
chaos [--seconds 60] [--connections 12] [--seed RANDOM] [--tls] [--verbose]

  --seconds N      how long the adversary is at work
  --connections N  at a time, to the server that lives; a quarter as many go to the mortal one
  --seed N         what is sent and what goes wrong follows from it
  --tls            secure the links
  --verbose        print the journal as it is written, not only after a failure";

/// What the referee is to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    time: Duration,
    connections: usize,
    seed: u64,
    tls: bool,
    verbose: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, args)) = args.split_first()
        && first == "--play"
    {
        return exit(player::play(args).map(|()| true));
    }
    match parse(&args) {
        Some(settings) => exit(referee::run(settings)),
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn exit(result: Result<bool, player::Error>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[String]) -> Option<Settings> {
    let seed = fastrand::u64(..1_000_000);
    let time = Duration::from_secs(60);
    let mut settings = Settings { time, connections: 12, seed, tls: false, verbose: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match &**arg {
            "--seconds" => settings.time = Duration::from_secs(args.next()?.parse().ok()?),
            "--connections" => settings.connections = args.next()?.parse().ok()?,
            "--seed" => settings.seed = args.next()?.parse().ok()?,
            "--tls" => settings.tls = true,
            "--verbose" => settings.verbose = true,
            _ => return None,
        }
    }
    Some(settings)
}

/// Bytes of memory that are allocated and not freed.
fn heap() -> u64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated) as u64
}
