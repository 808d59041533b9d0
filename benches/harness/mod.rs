//! What the benchmarks share: servers in processes of their own, rounds that
//! alternate, and what they come to.
//!
//! A server is the benchmark's program, started again. Both sides are pinned to
//! cores or not, which is printed with the figures. A server takes its orders on
//! standard input: what the connection carries is what is measured, and nothing
//! else.
//!
//! All that are compared take their turns in each round, for the same time, so
//! that a machine that is busy with other things is so for all of them. What the
//! turn before has left behind (caches, how deep an idle core sleeps) should not
//! tell: a turn begins with an untimed quarter, and every other round goes
//! backwards. A ratio is that of two turns in a round; a figure is the median over
//! the rounds.
#![allow(dead_code)] // Each benchmark uses a part of it.

use std::error::Error;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub(crate) mod ages;
pub(crate) mod ends;
#[path = "../../tests/support/pin.rs"]
pub(crate) mod pin;
pub(crate) mod several;
pub(crate) mod short;
pub(crate) mod sockets;
pub(crate) mod targets;
mod usage;

use ages::{Ages, Load, Messages};
use ends::{End, How, Kind};
use pin::{cores, pin};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// How long a turn lasts, about.
    pub(crate) turn: Duration,
}

impl Effort {
    /// By the arguments that cargo gives: who tests only wants to know that it
    /// runs.
    pub(crate) fn from_args() -> Effort {
        let has = |wanted: &str| std::env::args().any(|arg| arg == wanted);
        if !has("--bench") || has("--test") { Effort::TEST } else { Effort::FULL }
    }

    /// For streams of small messages. It takes a while until as many are under way as may be:
    /// in turns of 40 ms, plain sends had half the rate that they had in turns of 250.
    pub(crate) fn of_streams(self) -> Effort {
        Effort { rounds: self.rounds.min(11), turn: self.turn * 4 }
    }

    pub(crate) const FULL: Effort = Effort { rounds: 31, turn: Duration::from_millis(40) };
    pub(crate) const TEST: Effort = Effort { rounds: 1, turn: Duration::ZERO };
}

/// If this process was started as a server, is one until its standard input
/// ends. Returns whether it was.
pub(crate) fn serve(kinds: &[Kind]) -> Result<bool> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [role, name, core] = &args[..] else { return Ok(false) };
    if role != "serve" {
        return Ok(false);
    }
    pin(core.parse().ok());
    let kind = kinds.iter().find(|kind| kind.name == name).ok_or("an unknown kind")?;
    let (address, accept) = (kind.listen)()?;
    // Before there is a connection, which inherits it.
    println!("{address} {}", sockets::settle());
    let (give, orders) = mpsc::channel();
    thread::spawn(move || {
        for order in std::io::stdin().lines().map_while(|order| order.ok()) {
            let _ = give.send(order);
        }
        // Whoever measured is gone, be it in the middle of a job.
        std::process::exit(0);
    });
    let mut end = accept()?;
    for order in orders {
        let (job, size, count) = Job::parse(&order).ok_or_else(|| format!("order {order:?}"))?;
        match job {
            Job::Trips => end.echo(size, count)?,
            Job::Stream(how) => end.stream(how, &mut Messages::Same(message(size)), count)?,
            Job::Ages(load) => {
                end.stream(load.how(), &mut Messages::stamped(load, message(size)), count)?;
            }
            Job::Upload => {
                end.drain(How::Each, size, count, &mut Ages::unwanted())?;
                end.stream(How::Each, &mut Messages::Same(message(1)), 1)?;
            }
        }
    }
    Ok(true)
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// From here to the server, and back.
    Trips,
    /// From the server to here.
    Stream(How),
    /// The same, and how old each message is when it is received.
    Ages(Load),
    /// From here to the server, which says when it has everything.
    Upload,
}

impl Job {
    const ALL: [Job; 11] = [
        Job::Trips,
        Job::Stream(How::Each),
        Job::Stream(How::Owned),
        Job::Stream(How::Batches),
        Job::Stream(How::Many),
        Job::Stream(How::Four),
        Job::Ages(Load::SENDS),
        Job::Ages(Load::BATCHES),
        Job::Ages(Load::STEADY),
        Job::Ages(Load::BURSTS),
        Job::Upload,
    ];

    fn parse(order: &str) -> Option<(Job, usize, u64)> {
        let [job, size, count] = order.split(' ').collect::<Vec<_>>()[..] else { return None };
        let job = Job::ALL.get(job.parse::<usize>().ok()?)?;
        Some((*job, size.parse().ok()?, count.parse().ok()?))
    }

    fn order(self, size: usize, count: u64) -> String {
        let job = Job::ALL.iter().position(|job| *job == self).expect("all are there");
        format!("{job} {size} {count}")
    }
}

/// Static, so that a clone counts nothing: what is measured is the call that it is handed to.
fn message(size: usize) -> Bytes {
    Bytes::from_static(vec![b'x'; size].leak())
}

/// This program, started again, which ends with this one.
pub(crate) struct Server {
    child: Child,
    orders: ChildStdin,
    pub(crate) address: SocketAddr,
    congestion: String,
}

impl Server {
    pub(crate) fn start(name: &str, core: Option<usize>) -> Result<Server> {
        let core = core.map_or("any".into(), |core| core.to_string());
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", name, &core])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().ok_or("no pipe")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
        let (address, congestion) = line.trim().split_once(' ').ok_or("no address")?;
        let (address, congestion) = (address.parse()?, congestion.into());
        Ok(Server { child, orders, address, congestion })
    }

    fn order(&mut self, order: &str) -> Result<()> {
        Ok(self.orders.write_all(format!("{order}\n").as_bytes())?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// A connection, and the process at its other end.
pub(crate) struct Pair {
    name: &'static str,
    end: Box<dyn End>,
    server: Server,
}

/// Which cores the two sides run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) here: Option<usize>,
    pub(crate) there: Option<usize>,
}

impl Place {
    /// Where the scheduler puts them.
    pub(crate) const ANY: Place = Place { here: None, there: None };

    /// Both on one core, and each on its own, where there are two.
    pub(crate) fn choose() -> (Place, Option<Place>) {
        let cores = cores();
        let (first, second) = (cores.first().copied(), cores.get(1).copied());
        let two = second.map(|_| Place { here: first, there: second });
        (Place { here: first, there: first }, two)
    }

    /// Where round trips are measured. On one core it is the work that takes the time,
    /// and else also how two cores hand over to each other.
    pub(crate) fn of_trips() -> Vec<Place> {
        let (one, two) = Place::choose();
        if two.is_none() {
            println!("\ntwo cores: skipped, there is one or they cannot be chosen here");
        }
        [Some(one), two, Some(Place::ANY)].into_iter().flatten().collect()
    }

    /// Where streams are measured: both ends work at once.
    pub(crate) fn of_streams() -> [Place; 2] {
        let (one, two) = Place::choose();
        [two.unwrap_or(one), Place::ANY]
    }

    /// Where connections are made and ended.
    pub(crate) fn of_connections() -> [Place; 2] {
        [Place::choose().0, Place::ANY]
    }

    pub(crate) fn pairs(self, kinds: &[Kind]) -> Result<Vec<Pair>> {
        // The threads that a library starts here inherit it.
        pin(self.here);
        let pair = |kind: &Kind| {
            let server = Server::start(kind.name, self.there)?;
            let end = (kind.connect)(server.address)?;
            Ok(Pair { name: kind.name, end, server })
        };
        let pairs = kinds.iter().map(pair).collect::<Result<Vec<_>>>()?;
        sockets::settle();
        Ok(pairs)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.here, self.there) {
            (Some(here), Some(there)) if here == there => write!(f, "both on core {here}"),
            (Some(here), Some(there)) => write!(f, "client on core {here}, server on core {there}"),
            _ => write!(f, "not pinned"),
        }
    }
}

/// What is measured on, and how.
pub(crate) fn introduce(effort: Effort) {
    println!("{}", machine());
    let Effort { rounds, turn } = effort;
    println!("{rounds} rounds of turns of {turn:?} each: median (min .. max) of the rounds");
}

/// What the connections use.
pub(crate) fn congestion(pairs: &[Pair]) -> String {
    let mut used: Vec<&str> = pairs.iter().map(|pair| &pair.server.congestion[..]).collect();
    used.sort_unstable();
    used.dedup();
    format!("loopback, congestion control {}", used.join(" and "))
}

/// What one of those that were compared came to.
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) job: Job,
    /// Seconds per message, in each round.
    pub(crate) times: Vec<f64>,
    /// The median and the 99th percentile of the ages, in seconds, where they are wanted.
    pub(crate) ages: Vec<[f64; 2]>,
    /// Of the server's processor, likewise; 0 where that is not told.
    pub(crate) cpu: Vec<f64>,
    /// The time of the first that was compared, over its own, in each round.
    pub(crate) speeds: Vec<f64>,
}

struct Turn {
    time: f64,
    cpu: f64,
    ages: Option<[f64; 2]>,
}

/// Measures all of these, in turns, against the first.
pub(crate) fn compare(
    pairs: &mut [Pair],
    contest: &[(&str, Job)],
    size: usize,
    effort: Effort,
) -> Result<Vec<Outcome>> {
    let message = message(size);
    let turn = |pairs: &mut [Pair], name: &str, job: Job, count: u64| -> Result<Turn> {
        let Pair { end, server, .. } =
            pairs.iter_mut().find(|pair| pair.name == name).ok_or("an unknown name")?;
        let process = server.child.id();
        let cpu = || usage::cpu(process).unwrap_or_default();
        let mut ages = Ages::unwanted();
        let used = cpu();
        let start = now();
        server.order(&job.order(size, count))?;
        match job {
            Job::Trips => end.trips(&message, count)?,
            Job::Stream(how) => end.drain(how, size, count, &mut ages)?,
            Job::Ages(load) => {
                ages = Ages::wanted();
                end.drain(load.how(), size, count, &mut ages)?;
            }
            Job::Upload => {
                end.stream(How::Each, &mut Messages::Same(message.clone()), count)?;
                end.drain(How::Each, 1, 1, &mut ages)?;
            }
        }
        let time = start.elapsed().as_secs_f64();
        let cpu = cpu().saturating_sub(used).as_secs_f64();
        Ok(Turn { time, cpu, ages: ages.percentiles() })
    };
    let mut counts = Vec::new();
    for &(name, job) in contest {
        let mut count = 256;
        while turn(pairs, name, job, count)?.time < effort.turn.as_secs_f64() {
            count *= 2;
        }
        counts.push(count);
    }
    let outcome = |&(name, job): &(&str, Job)| {
        let name = pairs.iter().find(|pair| pair.name == name).expect("found before").name;
        let [times, cpu, speeds] = Default::default();
        Outcome { name, job, times, ages: Vec::new(), cpu, speeds }
    };
    let mut outcomes: Vec<Outcome> = contest.iter().map(outcome).collect();
    for round in 0..effort.rounds {
        for step in 0..contest.len() {
            let which = if round % 2 == 0 { step } else { contest.len() - 1 - step };
            let ((name, job), count) = (contest[which], counts[which]);
            turn(pairs, name, job, (count / 4).next_multiple_of(256))?;
            let Turn { time, cpu, ages } = turn(pairs, name, job, count)?;
            let outcome = &mut outcomes[which];
            outcome.times.push(time / count as f64);
            outcome.cpu.push(cpu / count as f64);
            outcome.ages.extend(ages);
        }
    }
    let first = outcomes[0].times.clone();
    for Outcome { times, speeds, .. } in &mut outcomes {
        *speeds = first.iter().zip(times).map(|(first, time)| first / *time).collect();
    }
    Ok(outcomes)
}

/// The median, and what it lies between.
pub(crate) struct Spread {
    pub(crate) median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (values[0], values[values.len() - 1]);
        Spread { median: values[values.len() / 2], min, max }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { median, min, max } = self;
        let digits = if *median < 100.0 { 2 } else { 0 };
        write!(f, "{:>24}", format!("{median:.digits$} ({min:.digits$} .. {max:.digits$})"))
    }
}

#[allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let load = read("/proc/loadavg").split(' ').take(1).collect::<String>();
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let model = model.map_or("a processor", |(_, model)| model);
    format!("{model}, {cores} cores, kernel {}, {}, load {load}", kernel.trim(), scheduler())
}

/// Which scheduler this process, and what it starts, runs under.
fn scheduler() -> &'static str {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // What follows the name, which may have blanks: the policy is the 41st of all.
    let policy = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(41 - 3));
    match policy {
        Some("0") => "SCHED_OTHER",
        Some("1") => "SCHED_FIFO (real time)",
        Some("2") => "SCHED_RR (real time)",
        Some("3") => "SCHED_BATCH",
        Some("5") => "SCHED_IDLE",
        Some("6") => "SCHED_DEADLINE (real time)",
        _ => "a scheduler that is not known",
    }
}
