//! How long a message and its reply take, over a `Connection` and over a raw
//! `TcpStream` (nodelay, `write_all` and `read_exact`), in the same run; and what
//! it costs to connect for each request instead.
//!
//!     cargo bench --bench round_trip

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use bytes::Bytes;
mod harness;

use harness::ends::{End, Kind, LONGLINK, RAW, SHORT_LONGLINK};
use harness::{Effort, Job, Outcome, Place, Result, Spread, compare, congestion, introduce};

const SIZES: [usize; 2] = [64, 4096];
const KINDS: [Kind; 4] = [RAW, LONGLINK, SHORT_RAW, SHORT_LONGLINK];

fn main() -> Result<()> {
    if harness::serve(&KINDS)? {
        return Ok(());
    }
    let effort = Effort::from_args();
    let (one, two) = Place::choose();
    let contest = [(RAW.name, Job::Trips), (LONGLINK.name, Job::Trips)];
    introduce(effort);
    println!("a ratio is the time over that of raw in the same round");
    for place in [Some(one), two] {
        let Some(place) = place else {
            println!("\ntwo cores: skipped, there is one or they cannot be chosen here");
            continue;
        };
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
    let place = two.unwrap_or(one);
    println!("\nrequests of 64 bytes: thousands in a second, and ratio");
    let mut pairs = place.pairs(&KINDS)?;
    for outcome in compare(&mut pairs, &KINDS.map(|kind| (kind.name, Job::Trips)), 64, effort)? {
        let thousands = Spread::of(outcome.times.iter().map(|time| 1e-3 / time));
        println!("{:28} {thousands} {}", outcome.name, ratio(&outcome));
    }
    Ok(())
}

fn ratio(outcome: &Outcome) -> Spread {
    Spread::of(outcome.speeds.iter().map(|speed| 1.0 / speed))
}

const SHORT_RAW: Kind = Kind {
    name: "raw, a connection each",
    listen: || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        Ok((address, Box::new(|| Ok(Box::new(RawServer(listener))))))
    },
    connect: |address| Ok(Box::new(RawClient(address))),
};

struct RawServer(TcpListener);

impl End for RawServer {
    fn echo(&mut self, size: usize, count: u64) -> Result<()> {
        let mut buffer = vec![0; size];
        for _ in 0..count {
            let (mut stream, _) = self.0.accept()?;
            stream.set_nodelay(true)?;
            stream.read_exact(&mut buffer)?;
            stream.write_all(&buffer)?;
        }
        Ok(())
    }
}

struct RawClient(SocketAddr);

impl End for RawClient {
    fn trips(&mut self, message: &Bytes, count: u64) -> Result<()> {
        let mut buffer = vec![0; message.len()];
        for _ in 0..count {
            let mut stream = TcpStream::connect(self.0)?;
            stream.set_nodelay(true)?;
            stream.write_all(message)?;
            stream.read_exact(&mut buffer)?;
        }
        Ok(())
    }
}
