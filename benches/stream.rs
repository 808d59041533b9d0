//! How fast messages go one way, over a `Connection` and over a raw `TcpStream`
//! (nodelay), in the same run.
//!
//!     cargo bench --bench stream
//!
//! Over the raw stream, a plain send is a write, and a batch is one write of 64
//! messages that were copied together; the receiver reads 64 KiB at a time and
//! only counts. Over the connection, the receiver calls `recv` for each message, or
//! `recv_many` for what was sent by `feed_many`.

mod harness;

use harness::ends::{How, LONGLINK, RAW};
use harness::{Effort, Job, Outcome, Pair, Place, Result, Spread, compare, congestion, introduce};

fn main() -> Result<()> {
    if harness::serve(&[RAW, LONGLINK])? {
        return Ok(());
    }
    let effort = Effort::from_args();
    introduce(effort);
    println!("a ratio is the speed over that of the first line in the same round");
    for place in Place::of_streams() {
        let mut pairs = place.pairs(&[RAW, LONGLINK])?;
        println!("\n{place}; {}", congestion(&pairs));
        streams(&mut pairs, effort)?;
    }
    Ok(())
}

fn streams(pairs: &mut [Pair], effort: Effort) -> Result<()> {
    let (raw, long) = (RAW.name, LONGLINK.name);
    let each = Job::Stream(How::Each);
    let four = Job::Stream(How::Four);
    let batches = Job::Stream(How::Batches);
    let many = Job::Stream(How::Many);
    let owned = Job::Stream(How::Owned);

    println!("\n64 bytes: million messages in a second, and ratio");
    let contest = [
        (raw, batches),
        (raw, each),
        (long, batches),
        (long, many),
        (long, each),
        (long, four),
        (long, owned),
    ];
    for outcome in compare(pairs, &contest, 64, effort.of_streams())? {
        report(&outcome, 1e-6);
    }
    println!("\n64 KiB: GB in a second, and ratio");
    let contest = [(raw, each), (long, each), (long, owned)];
    for outcome in compare(pairs, &contest, 64 * 1024, effort)? {
        report(&outcome, 64.0 * 1024.0 * 1e-9);
    }
    Ok(())
}

fn report(outcome: &Outcome, unit: f64) {
    let name = outcome.name;
    let call = match outcome.job {
        Job::Stream(How::Each) if name == "raw" => "a write each",
        Job::Stream(How::Batches) if name == "raw" => "a write for 64",
        Job::Stream(How::Each) => "send",
        Job::Stream(How::Owned) => "send_bytes",
        Job::Stream(How::Batches) => "feed, flush every 64",
        Job::Stream(How::Many) => "feed_many of 64, flush",
        Job::Stream(How::Four) => "send by four threads",
        Job::Trips | Job::Ages(_) | Job::Upload => unreachable!("not compared"),
    };
    let rates = Spread::of(outcome.times.iter().map(|time| unit / time));
    let ratios = Spread::of(outcome.speeds.iter().copied());
    println!("{:32} {rates} {ratios}", format!("{name}, {call}"));
}
