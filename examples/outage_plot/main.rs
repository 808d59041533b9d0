//! Draws what outages cost: the messages that come back each second, through three outages, with
//! longlink and without, and in red those that never do, when they were sent.
//!
//!     cargo run --release --example outage_plot -- examples/outage_plot/outages.svg
//!
//! Numbered messages, 200 a second, go to an echo server and back, with
//! longlink and over a plain `TcpStream` at the same time, each through a
//! fault proxy of its own (loopback, 20 ms each way) to a server of its own
//! (this program again). The same things happen to both: the link is reset and
//! no new one is let in for a while; the link is forgotten, as a NAT does it,
//! and the reset comes only later, while new links pass; the server is killed
//! with SIGKILL and started again. A message counts when its echo is back.
//!
//! What the plain client does (`naive.rs`): it sends lines, with `TCP_NODELAY`;
//! as soon as a read or a write fails it connects again, ten times a second
//! until the server's greeting has come, writes the line whose write failed
//! once more, and goes on, catching up with what has become due. What it does
//! not have: a heartbeat, and a memory of what it wrote before. Lines that it
//! cannot write are not lost, since its source waits for it.
//!
//! An outage in which packets are dropped and the same link works again
//! afterwards is not among them: TCP repairs that by itself.
//!
//! The exit code is 1 if longlink lost something, or doubled something before the
//! server was killed.

mod course;
mod echo;
mod framed;
mod naive;
#[path = "../support/picture.rs"]
mod picture;
mod plot;
#[path = "../../tests/support/port.rs"]
mod port;
#[path = "../../tests/support/proxy.rs"]
#[allow(unreachable_pub)]
mod proxy;
#[path = "../support/svg.rs"]
mod svg;
mod tally;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use course::Course;
use picture::Order;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outage_plot: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [first, kind, port] = &*args
        && first == echo::ARGUMENT
    {
        return echo::serve(kind, port.parse()?);
    }
    let order = Order::read()?;
    let course = if order.quick { Course::quick() } else { Course::full() };
    let (outages, tallies) = course.run()?;
    println!("{}", tally::table(&outages, &tallies));
    order.deliver(&plot::draw(&course, &outages, &tallies))?;
    let [longlink, _] = &tallies;
    // The server that was killed knew what had been done, the next one does not.
    let kill = outages.last().map_or(Duration::ZERO, |outage| outage.begin);
    let early = longlink.doubled.iter().filter(|time| **time < kill).count();
    match (longlink.lost(), early) {
        (0, 0) => Ok(()),
        (lost, early) => Err(format!("longlink lost {lost} and doubled {early} too early").into()),
    }
}
