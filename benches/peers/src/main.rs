//! longlink beside what people would take instead, in the same run.
//!
//!     cargo run --release --manifest-path benches/peers/Cargo.toml
//!
//! Needs Debian's libzmq3-dev, cmake and a C compiler. `-- --svg FILE` draws the
//! chart as well, and `-- --test` only tries whether everything runs.

use std::process::ExitCode;

mod chart;
#[path = "../../harness/mod.rs"]
mod harness;
mod kinds;
#[path = "../../../examples/support/svg.rs"]
mod svg;

use harness::ends::{How, Kind, LONGLINK, RAW};
use harness::{Effort, Job, Outcome, Place, Result, Spread, compare, congestion, introduce};
use kinds::{LIBZMQ, NNG, PREFIX, TOKIO, TUNGSTENITE};

const KINDS: [Kind; 7] = [RAW, PREFIX, LONGLINK, TOKIO, TUNGSTENITE, LIBZMQ, NNG];

/// A line of the table.
pub(crate) struct Row {
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    pub(crate) cells: Vec<Cell>,
}

pub(crate) struct Cell {
    pub(crate) name: String,
    /// In the row's unit.
    pub(crate) figure: Spread,
    /// To raw, in the same round: more is slower for a time, and faster for a rate.
    pub(crate) ratio: Spread,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Micros,
    Millions,
    Gigabytes,
}

struct Contest {
    title: &'static str,
    size: usize,
    job: Job,
    unit: Unit,
    /// What longlink does besides.
    also: Option<How>,
}

const fn trips(title: &'static str, size: usize) -> Contest {
    Contest { title, size, job: Job::Trips, unit: Unit::Micros, also: None }
}

const ONE_CORE: [Contest; 2] =
    [trips("64 B round trip, one core", 64), trips("4 KiB round trip, one core", 4096)];

const TWO_CORES: [Contest; 4] = [
    trips("64 B round trip, two cores", 64),
    Contest {
        title: "64 B stream, a plain send each",
        size: 64,
        job: Job::Stream(How::Each),
        unit: Unit::Millions,
        also: Some(How::Four),
    },
    Contest {
        title: "64 B stream, batches of 64",
        size: 64,
        job: Job::Stream(How::Batches),
        unit: Unit::Millions,
        also: None,
    },
    Contest {
        title: "64 KiB stream",
        size: 64 * 1024,
        job: Job::Stream(How::Each),
        unit: Unit::Gigabytes,
        also: Some(How::Owned),
    },
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    if harness::serve(&KINDS)? {
        return Ok(());
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (effort, svg) = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => (Effort::FULL, None),
        ["--test"] => (Effort::TEST, None),
        ["--svg", file] => (Effort::FULL, Some(file)),
        ["--test", "--svg", file] => (Effort::TEST, Some(file)),
        _ => return Err("usage: peers [--test] [--svg FILE]".into()),
    };
    introduce(effort);
    let machine = harness::machine();
    let (one, two) = Place::choose();
    let two = two.ok_or("this needs two cores to choose from")?;
    let mut rows = Vec::new();
    for (place, contests) in [(one, &ONE_CORE[..]), (two, &TWO_CORES[..])] {
        let mut pairs = place.pairs(&KINDS)?;
        println!("\n{place}; {}", congestion(&pairs));
        for contest in contests {
            let mut entries = Vec::new();
            for kind in &KINDS {
                let no_batches = kind.name == LIBZMQ.name || kind.name == NNG.name;
                if !(contest.job == Job::Stream(How::Batches) && no_batches) {
                    entries.push((kind.name, contest.job));
                }
                if let Some(how) = contest.also.filter(|_| kind.name == LONGLINK.name) {
                    entries.push((kind.name, Job::Stream(how)));
                }
            }
            let outcomes = compare(&mut pairs, &entries, contest.size, effort)?;
            let cells = outcomes.iter().map(|outcome| Cell::of(outcome, contest)).collect();
            let row = Row { title: contest.title, unit: contest.unit, cells };
            println!("\n{}: {}, and ratio to raw", row.title, row.unit.name());
            for Cell { name, figure, ratio } in &row.cells {
                println!("{name:24} {figure} {ratio}");
            }
            rows.push(row);
        }
    }
    table(&rows);
    if let Some(file) = svg {
        std::fs::write(file, chart::draw(&rows, &machine))?;
    }
    Ok(())
}

impl Cell {
    fn of(outcome: &Outcome, contest: &Contest) -> Cell {
        let name = match outcome.job {
            Job::Stream(How::Four) => format!("{}, 4 threads", outcome.name),
            Job::Stream(How::Owned) => format!("{}, send_bytes", outcome.name),
            _ => outcome.name.into(),
        };
        let unit = |time: &f64| match contest.unit {
            Unit::Micros => time * 1e6,
            Unit::Millions => 1e-6 / time,
            Unit::Gigabytes => contest.size as f64 * 1e-9 / time,
        };
        let ratio = |speed: &f64| match contest.unit {
            Unit::Micros => 1.0 / speed,
            Unit::Millions | Unit::Gigabytes => *speed,
        };
        let figure = Spread::of(outcome.times.iter().map(unit));
        Cell { name, figure, ratio: Spread::of(outcome.speeds.iter().map(ratio)) }
    }
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Unit::Micros => "µs",
            Unit::Millions => "million/s",
            Unit::Gigabytes => "GB/s",
        }
    }

    pub(crate) fn of(self, figure: f64) -> String {
        format!("{figure:.*} {}", if figure < 1.0 { 2 } else { 1 }, self.name())
    }
}

/// For the README: ratios to raw, and raw's own figure.
fn table(rows: &[Row]) {
    let names = KINDS.map(|kind| kind.name);
    println!("\n| | {} |", names.join(" | "));
    println!("| --- |{}", " ---: |".repeat(names.len()));
    for row in rows {
        print!("| {} |", row.title);
        for name in names {
            let mine = |cell: &&Cell| cell.name.split(',').next() == Some(name);
            let mut cells = row.cells.iter().filter(mine);
            let Some(Cell { figure, ratio, .. }) = cells.next() else {
                print!(" no API |");
                continue;
            };
            print!(" {:.2}", ratio.median);
            if name == RAW.name {
                print!(" ({})", row.unit.of(figure.median));
            }
            for Cell { name, ratio, .. } in cells {
                print!(" ({}: {:.2})", name.rsplit(", ").next().unwrap_or(name), ratio.median);
            }
            print!(" |");
        }
        println!();
    }
}
