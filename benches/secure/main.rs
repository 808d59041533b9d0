//! What TLS costs: over a `Connection` with keys, over one in clear text, and over rustls' own
//! `StreamOwned<TcpStream>` with a length before each message, in the same run.
//!
//!     cargo bench --bench secure [-- PART]
//!
//! The parts are `trips`, `stream` and `connect`. Below the figures of each stand the ratios for
//! which there is a target. It fails if one is missed.

#[path = "../harness/mod.rs"]
mod harness;

mod plain_rustls;
#[path = "../../tests/support/tls.rs"]
mod tls;

use std::process::ExitCode;

use longlink::{Builder, Connection};

use harness::ends::{self, How, Kind, LONGLINK};
use harness::short::{self, SHORT_LONGLINK};
use harness::targets::{Target, conclude, judge, ratio};
use harness::{Effort, Job, Outcome, Place, Result, Spread, compare, congestion, introduce};
use plain_rustls::{RUSTLS, SHORT_RUSTLS};
use tls::Party;

const SECURED: Kind = Kind {
    name: "longlink, keys",
    listen: || ends::listen(server()),
    connect: |address| ends::connect(client(), address),
};

const SHORT_SECURED: Kind = Kind {
    name: "longlink, keys, a connection each",
    listen: || short::listen(server()),
    connect: |address| Ok(short::connect(client(), address)),
};

/// A client and a server, which trust each other.
fn parties() -> [Party; 2] {
    Party::all(["client", "server"])
}

fn server() -> Builder {
    let [_, server] = parties();
    Connection::builder().security(server.security)
}

fn client() -> Builder {
    let [client, _] = parties();
    Connection::builder().security(client.security)
}

const LONG: [Kind; 3] = [RUSTLS, LONGLINK, SECURED];
const SHORT: [Kind; 3] = [SHORT_RUSTLS, SHORT_LONGLINK, SHORT_SECURED];

fn main() -> ExitCode {
    conclude(measure())
}

/// Returns how many targets are missed.
fn measure() -> Result<u32> {
    if harness::serve(&[LONG, SHORT].concat())? {
        return Ok(0);
    }
    let effort = Effort::from_args();
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |part: &str| args.is_empty() || args.iter().any(|arg| arg == part);
    introduce(effort);
    println!(
        "{} on both sides; a ratio is that of two turns in a round",
        plain_rustls::agreement()?
    );
    let mut missed = 0;
    if wanted("trips") {
        for place in Place::of_trips() {
            missed += trips(place, effort)?;
        }
    }
    if wanted("stream") {
        for place in Place::of_streams() {
            missed += streams(place, effort)?;
        }
    }
    if wanted("connect") {
        // The ports of ended connections are in use for a minute.
        let effort = Effort { rounds: effort.rounds.min(11), ..effort };
        for place in Place::of_connections() {
            connects(place, effort)?;
        }
    }
    Ok(if effort.rounds > 1 { missed } else { 0 })
}

fn trips(place: Place, effort: Effort) -> Result<u32> {
    let mut pairs = place.pairs(&LONG)?;
    println!("\nround trip of 64 bytes, {place}; {}: µs", congestion(&pairs));
    let outcomes = compare(&mut pairs, &LONG.map(|kind| (kind.name, Job::Trips)), 64, effort)?;
    for outcome in &outcomes {
        println!("{:36} {}", outcome.name, scaled(&outcome.times, 1e6));
    }
    let [rustls, clear, secured] = &outcomes[..] else { unreachable!("three were compared") };
    let over_rustls = ratio(&secured.times, &rustls.times);
    let over_clear = ratio(&secured.times, &clear.times);
    // Else it is the scheduler that takes the time.
    let on_one = place == Place::choose().0;
    let most = |limit| on_one.then_some(Target::Most(limit));
    Ok(judge("the time of rustls", over_rustls, most(1.15))
        + judge("the time in clear text", over_clear, most(1.3)))
}

fn streams(place: Place, effort: Effort) -> Result<u32> {
    let mut pairs = place.pairs(&LONG)?;
    let (rustls, clear, secured) = (RUSTLS.name, LONGLINK.name, SECURED.name);
    let (each, owned) = (Job::Stream(How::Each), Job::Stream(How::Owned));
    let batches = Job::Stream(How::Batches);
    println!("\nstreams, {place}, which is the sender");

    println!("\n64 bytes: million messages in a second");
    let contest = [
        (rustls, each),
        (secured, each),
        (clear, each),
        (rustls, batches),
        (secured, batches),
        (clear, batches),
    ];
    let outcomes = compare(&mut pairs, &contest, 64, effort)?;
    outcomes.iter().for_each(|outcome| report(outcome, 1e-6));
    let mut missed =
        judge("the rate of rustls, sent each", faster(&outcomes, 1, 0), Some(Target::Least(10.0)));
    missed += judge("the rate of rustls, in batches", faster(&outcomes, 4, 3), None);
    missed += judge("the rate in clear text, sent each", faster(&outcomes, 1, 2), None);

    println!("\n64 KiB: GB in a second");
    let contest =
        [(rustls, each), (secured, each), (clear, each), (secured, owned), (clear, owned)];
    let outcomes = compare(&mut pairs, &contest, 64 * 1024, effort)?;
    outcomes.iter().for_each(|outcome| report(outcome, 64.0 * 1024.0 * 1e-9));
    missed +=
        judge("the rate of rustls, by send", faster(&outcomes, 1, 0), Some(Target::Least(1.0)));
    missed += judge(
        "the rate of rustls, by send_bytes",
        faster(&outcomes, 3, 0),
        Some(Target::Least(1.0)),
    );
    missed += judge("the rate in clear text, by send", faster(&outcomes, 1, 2), None);
    Ok(missed)
}

fn connects(place: Place, effort: Effort) -> Result<()> {
    let mut pairs = place.pairs(&SHORT)?;
    println!("\na connection, a round trip of 64 bytes and the end, {place}: connections in a");
    println!("second, and the server's processor for each in µs");
    let outcomes = compare(&mut pairs, &SHORT.map(|kind| (kind.name, Job::Trips)), 64, effort)?;
    for outcome in &outcomes {
        let rate = Spread::of(outcome.times.iter().map(|time| 1.0 / time));
        println!("{:36} {rate} {}", outcome.name, scaled(&outcome.cpu, 1e6));
    }
    let [rustls, clear, secured] = &outcomes[..] else { unreachable!("three were compared") };
    judge("the time of rustls", ratio(&secured.times, &rustls.times), None);
    judge("the time in clear text", ratio(&secured.times, &clear.times), None);
    let handshake = secured.cpu.iter().zip(&clear.cpu).map(|(secured, clear)| secured - clear);
    let handshake: Vec<f64> = handshake.collect();
    println!("  what TLS adds to the server's: {} µs", scaled(&handshake, 1e6).to_string().trim());
    Ok(())
}

fn report(outcome: &Outcome, unit: f64) {
    let call = match outcome.job {
        Job::Stream(How::Each) => "send",
        Job::Stream(How::Owned) => "send_bytes",
        Job::Stream(How::Batches) => "64 at once",
        Job::Stream(How::Many | How::Four) | Job::Trips | Job::Ages(_) | Job::Upload => {
            unreachable!("not compared")
        }
    };
    let rates = Spread::of(outcome.times.iter().map(|time| unit / time));
    println!("{:36} {rates}", format!("{}, {call}", outcome.name));
}

fn scaled(values: &[f64], unit: f64) -> Spread {
    Spread::of(values.iter().map(|value| value * unit))
}

/// How many times as fast one is as another.
fn faster(outcomes: &[Outcome], one: usize, other: usize) -> Spread {
    ratio(&outcomes[other].times, &outcomes[one].times)
}
