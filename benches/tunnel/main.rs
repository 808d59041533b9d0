//! What it costs that a program and a service speak through `client --listen` and `server --to`,
//! in clear text and by keys, beside other ways between the two, in the same run.
//!
//!     cargo bench --bench tunnel [-- PART]
//!
//! The parts are `one`, `two` and `any`: all processes on one core, those of each end on a core
//! of their own, and where the scheduler puts them. Two bare relays are the least that any tunnel
//! takes: see `relay.rs`. `socat` and `ssh -L` are compared where they are installed. It fails if
//! a target is missed.
//!
//! All processes are to use the same congestion control, and those of others take the system's. So
//! all of it runs in a network of its own, which only has a loopback, where that may be made.

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../../tests/support/port.rs"]
mod port;

mod between;
mod network;
mod others;
mod relay;
mod tunnels;

use std::process::ExitCode;

use between::Folder;
use harness::ends::{How, Kind, RAW};
use harness::targets::{Target, conclude, judge, ratio};
use harness::{Effort, Job, Outcome, Place, Result, Spread, compare, congestion, introduce};
use others::{SOCAT, SSH};
use relay::RELAYS;
use tunnels::{CLEAR, KEYS};

/// Of a keystroke, and of a piece of bulk.
const KEYSTROKE: usize = 64;
const PIECE: usize = 64 * 1024;

fn main() -> ExitCode {
    conclude(measure())
}

/// Returns how many targets are missed.
fn measure() -> Result<u32> {
    if between::stand()?
        || relay::serve()?
        || harness::serve(&[RAW, RELAYS, CLEAR, KEYS, SOCAT, SSH])?
    {
        return Ok(0);
    }
    network::enter()?;
    let effort = Effort::from_args();
    // Each of them has nine contests of up to six.
    let effort = Effort { rounds: effort.rounds.min(15), ..effort };
    let test = effort.rounds == 1;
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    introduce(effort);
    println!("the congestion control of programs between is {}", network::congestion());
    let folder = Folder::new()?;
    tunnels::prepare(&folder)?;
    let mut kinds = vec![RAW, RELAYS, CLEAR, KEYS];
    for (kind, prepared) in [(SOCAT, others::find_socat()), (SSH, others::prepare_ssh(&folder)?)] {
        match prepared {
            Ok(()) => kinds.push(kind),
            Err(why) => println!("SKIPPED: {}, {why}", kind.name),
        }
    }
    let (one, two) = Place::choose();
    let places = [("any", Some(Place::ANY)), ("two", two), ("one", Some(one))];
    let mut missed = 0;
    for (part, place) in places {
        let wanted = if args.is_empty() {
            !test || part == "any"
        } else {
            args.iter().any(|arg| arg == part)
        };
        match place {
            Some(place) if wanted => missed += tunnel(place, &kinds, effort)?,
            None if wanted => {
                println!("\ntwo cores: skipped, there is one or they cannot be chosen here")
            }
            _ => {}
        }
    }
    Ok(if test { 0 } else { missed })
}

/// Measures all of these in one place. Returns how many targets are missed.
fn tunnel(place: Place, kinds: &[Kind], effort: Effort) -> Result<u32> {
    let mut pairs = place.pairs(kinds)?;
    let contest = |job| kinds.iter().map(|kind| (kind.name, job)).collect::<Vec<_>>();
    println!("\n{place}; {}", congestion(&pairs));
    let mut missed = 0;

    println!("\na keystroke of {KEYSTROKE} bytes, there and back: µs");
    let outcomes = compare(&mut pairs, &contest(Job::Trips), KEYSTROKE, effort)?;
    for outcome in &outcomes {
        println!("{:36} {}", outcome.name, Spread::of(outcome.times.iter().map(|time| time * 1e6)));
    }
    let time = |one, other| compared(&outcomes, one, other);
    missed += report("the time", time, [Target::Most(1.25), Target::Most(1.0)]);

    for (job, way) in [(Job::Stream(How::Each), "to the program"), (Job::Upload, "to the service")]
    {
        println!("\nbulk {way}, {} KiB a write: GB in a second", PIECE / 1024);
        let outcomes = compare(&mut pairs, &contest(job), PIECE, effort)?;
        for outcome in &outcomes {
            let rate = |time: &f64| PIECE as f64 * 1e-9 / time;
            println!("{:36} {}", outcome.name, Spread::of(outcome.times.iter().map(rate)));
        }
        let rate = |one, other| compared(&outcomes, other, one);
        missed += report("the rate", rate, [Target::Least(0.8), Target::Least(1.0)]);
    }
    Ok(missed)
}

/// The ratios that tell something, and what is claimed of ours: against bare relays in clear text,
/// and against `ssh -L` by keys. Returns how many targets are missed.
fn report(
    what: &str,
    ratio: impl Fn(Kind, Kind) -> Option<Spread>,
    [clear, keys]: [Target; 2],
) -> u32 {
    let pairs = [
        (RELAYS, RAW, None),
        (SOCAT, RELAYS, None),
        (SSH, RELAYS, None),
        (KEYS, RELAYS, None),
        (CLEAR, RELAYS, Some(clear)),
        (KEYS, SSH, Some(keys)),
    ];
    let judge = |(one, other, target): (Kind, Kind, Option<Target>)| {
        let of = format!("{what} of {}: {}", other.name, one.name);
        ratio(one, other).map_or(0, |ratio| judge(&of, ratio, target))
    };
    pairs.map(judge).into_iter().sum()
}

/// The time of one over that of another, if both were measured.
fn compared(outcomes: &[Outcome], one: Kind, other: Kind) -> Option<Spread> {
    let times = |kind: Kind| {
        let outcome = outcomes.iter().find(|outcome| outcome.name == kind.name)?;
        Some(&outcome.times[..])
    };
    Some(ratio(times(one)?, times(other)?))
}
