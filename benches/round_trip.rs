//! How long a message and its reply take, over a `Connection` and over a raw
//! `TcpStream` (nodelay, `write_all` and `read_exact`), in the same run; and what
//! it costs to connect for each request instead.
//!
//!     cargo bench --bench round_trip

mod harness;

use harness::ends::{Kind, LONGLINK, RAW};
use harness::short::{SHORT_LONGLINK, SHORT_RAW};
use harness::{Effort, Job, Outcome, Place, Result, Spread, compare, congestion, introduce};

const SIZES: [usize; 2] = [64, 4096];
const KINDS: [Kind; 4] = [RAW, LONGLINK, SHORT_RAW, SHORT_LONGLINK];

fn main() -> Result<()> {
    if harness::serve(&KINDS)? {
        return Ok(());
    }
    let effort = Effort::from_args();
    let contest = [(RAW.name, Job::Trips), (LONGLINK.name, Job::Trips)];
    introduce(effort);
    println!("a ratio is the time over that of raw in the same round");
    for place in Place::of_trips() {
        let mut pairs = place.pairs(&[RAW, LONGLINK])?;
        println!("\n{place}; {}", congestion(&pairs));
        for size in SIZES {
            println!("\nround trip of {size} bytes: µs, and ratio");
            for outcome in compare(&mut pairs, &contest, size, effort)? {
                let micros = Spread::of(outcome.times.iter().map(|time| time * 1e6));
                println!("{:28} {micros} {}", outcome.name, ratio(&outcome));
            }
        }
    }

    // The ports of ended connections are in use for a minute.
    let effort = Effort { rounds: effort.rounds.min(11), ..effort };
    let contest = KINDS.map(|kind| (kind.name, Job::Trips));
    for place in Place::of_connections() {
        let mut pairs = place.pairs(&KINDS)?;
        println!("\n{place}; {}", congestion(&pairs));
        println!("\nrequests of 64 bytes: thousands in a second, and ratio");
        for outcome in compare(&mut pairs, &contest, 64, effort)? {
            let thousands = Spread::of(outcome.times.iter().map(|time| 1e-3 / time));
            println!("{:28} {thousands} {}", outcome.name, ratio(&outcome));
        }
    }
    Ok(())
}

fn ratio(outcome: &Outcome) -> Spread {
    Spread::of(outcome.speeds.iter().map(|speed| 1.0 / speed))
}
