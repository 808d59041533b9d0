//! longlink beside what people would take instead, in the same run.
//!
//!     cargo run --release --manifest-path benches/peers/Cargo.toml -- [--svg FILE] [PART]...
//!
//! Needs Debian's libzmq3-dev, cmake and a C compiler. The parts are `trips`, `connections`,
//! `small`, `large`, `several` and `ages`, and without any it is all of them. `--svg FILE` draws
//! the chart as well, of the first four without pinning. `--test` only tries whether everything
//! runs.
//!
//! The age of a message is the time from before it is sent until it is received.

use std::process::ExitCode;

mod chart;
#[path = "../../harness/mod.rs"]
mod harness;
mod kinds;
mod short;
#[allow(dead_code)]
#[path = "../../../examples/support/svg.rs"]
mod svg;

use harness::ages::Load;
use harness::ends::{How, Kind, LONGLINK, RAW};
use harness::several::{EIGHT_LONGLINK, EIGHT_RAW};
use harness::short::{SHORT_LONGLINK, SHORT_RAW};
use harness::{Effort, Job, Outcome, Place, Result, Spread, compare, congestion, introduce};
use kinds::{LIBZMQ, NNG, PREFIX, TOKIO, TUNGSTENITE};
use short::{SHORT_LIBZMQ, SHORT_TOKIO, SHORT_TUNGSTENITE};

const KINDS: [Kind; 7] = [RAW, PREFIX, LONGLINK, TOKIO, TUNGSTENITE, LIBZMQ, NNG];
/// Those that gather messages until they are told to write them.
const BATCHING: [Kind; 5] = [RAW, PREFIX, LONGLINK, TOKIO, TUNGSTENITE];
const SHORT: [Kind; 5] = [SHORT_RAW, SHORT_LONGLINK, SHORT_TOKIO, SHORT_TUNGSTENITE, SHORT_LIBZMQ];
const EIGHT: [Kind; 4] = [RAW, EIGHT_RAW, LONGLINK, EIGHT_LONGLINK];
/// Whose messages' ages are taken.
const AGED: [Kind; 5] = [RAW, PREFIX, LONGLINK, TOKIO, LIBZMQ];
const PARTS: [&str; 6] = ["trips", "connections", "small", "large", "several", "ages"];
const DRAWN: &[&str] = PARTS.split_at(4).0;

/// What is compared, in each of these places.
struct Contest {
    part: &'static str,
    title: &'static str,
    places: Vec<Place>,
    size: usize,
    unit: Unit,
    /// Against the first.
    entries: Vec<(Kind, Job)>,
}

/// A line of the table.
pub(crate) struct Row {
    part: &'static str,
    pub(crate) title: &'static str,
    place: Place,
    pub(crate) unit: Unit,
    pub(crate) cells: Vec<Cell>,
}

pub(crate) struct Cell {
    pub(crate) kind: &'static str,
    /// What of it, where there is more than one.
    pub(crate) way: Option<&'static str>,
    /// In the row's unit, and what the unit says stands beside it.
    pub(crate) figure: Spread,
    beside: Vec<Spread>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Micros,
    Thousands,
    Millions,
    Gigabytes,
    /// In µs.
    Age,
}

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
    if harness::serve(&[&KINDS[..], &SHORT, &EIGHT].concat())? {
        return Ok(());
    }
    let (mut effort, mut svg, mut parts) = (Effort::FULL, None, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match &arg[..] {
            "--test" => effort = Effort::TEST,
            "--svg" => svg = Some(args.next().ok_or("a file for --svg")?),
            part if PARTS.contains(&part) => parts.push(arg),
            _ => return Err("usage: peers [--test] [--svg FILE] [PART]...".into()),
        }
    }
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    introduce(effort);
    let machine = harness::machine();
    let (one, two) = Place::choose();
    let two = two.ok_or("this needs two cores to choose from")?;
    let contests: Vec<Contest> =
        contests().into_iter().filter(|contest| wanted(contest.part)).collect();
    let mut rows = Vec::new();
    for place in [one, two, Place::ANY] {
        let here: Vec<&Contest> =
            contests.iter().filter(|contest| contest.places.contains(&place)).collect();
        let mut kinds: Vec<Kind> = Vec::new();
        for (kind, _) in here.iter().flat_map(|contest| &contest.entries) {
            if !kinds.iter().any(|known| known.name == kind.name) {
                kinds.push(*kind);
            }
        }
        if kinds.is_empty() {
            continue;
        }
        let mut pairs = place.pairs(&kinds)?;
        println!("\n{place}; {}", congestion(&pairs));
        for contest in here {
            let entries: Vec<_> =
                contest.entries.iter().map(|(kind, job)| (kind.name, *job)).collect();
            let effort = contest.effort(effort);
            let outcomes = compare(&mut pairs, &entries, contest.size, effort)?;
            let row = contest.row(place, &outcomes);
            row.print();
            rows.push(row);
        }
    }
    table(&rows);
    if let Some(file) = svg {
        rows.retain(|row| row.place == Place::ANY && DRAWN.contains(&row.part));
        std::fs::write(file, chart::draw(&rows, &machine))?;
    }
    Ok(())
}

fn contests() -> Vec<Contest> {
    let all = |kinds: &[Kind], job| kinds.iter().map(|kind| (*kind, job)).collect::<Vec<_>>();
    // And other ways of ours.
    let streams = |kinds: &[Kind], how, more: &[How]| -> Vec<(Kind, Job)> {
        let hows = |kind: &Kind| if kind.name == LONGLINK.name { more } else { &[] };
        let entries = |kind: &Kind| {
            let hows = [&[how], hows(kind)].concat();
            hows.into_iter().map(|how| (*kind, Job::Stream(how))).collect::<Vec<_>>()
        };
        kinds.iter().flat_map(entries).collect()
    };
    let ages = |title, kinds: &[Kind], load| Contest {
        part: "ages",
        title,
        places: Place::of_streams().into(),
        size: 64,
        unit: Unit::Age,
        entries: all(kinds, Job::Ages(load)),
    };
    vec![
        Contest {
            part: "trips",
            title: "64 B round trip",
            places: Place::of_trips(),
            size: 64,
            unit: Unit::Micros,
            entries: all(&KINDS, Job::Trips),
        },
        Contest {
            part: "trips",
            title: "4 KiB round trip",
            places: vec![Place::choose().0, Place::ANY],
            size: 4096,
            unit: Unit::Micros,
            entries: all(&KINDS, Job::Trips),
        },
        Contest {
            part: "connections",
            title: "connect, one request, close",
            places: Place::of_connections().into(),
            size: 64,
            unit: Unit::Thousands,
            entries: all(&SHORT, Job::Trips),
        },
        Contest {
            part: "small",
            title: "64 B stream, plain sends",
            places: Place::of_streams().into(),
            size: 64,
            unit: Unit::Millions,
            entries: streams(&KINDS, How::Each, &[How::Owned, How::Four]),
        },
        Contest {
            part: "small",
            title: "64 B stream, batches of 64",
            places: Place::of_streams().into(),
            size: 64,
            unit: Unit::Millions,
            entries: streams(&BATCHING, How::Batches, &[How::Many]),
        },
        Contest {
            part: "several",
            title: "64 B stream, 8 connections",
            places: Place::of_streams().into(),
            size: 64,
            unit: Unit::Millions,
            entries: all(&EIGHT, Job::Stream(How::Each)),
        },
        Contest {
            part: "large",
            title: "64 KiB stream",
            places: Place::of_streams().into(),
            size: 64 * 1024,
            unit: Unit::Gigabytes,
            entries: streams(&KINDS, How::Each, &[How::Owned]),
        },
        ages("age in a stream of plain sends, 64 B", &AGED, Load::SENDS),
        ages("age in a stream of batches of 64, 64 B", &AGED[..4], Load::BATCHES),
        ages("age at 20,000 sends a second, 64 B", &AGED, Load::STEADY),
        ages("age in bursts of 10 every ms, 64 B", &AGED, Load::BURSTS),
    ]
}

impl Contest {
    fn effort(&self, effort: Effort) -> Effort {
        let Effort { rounds, turn } = effort;
        match self.unit {
            // The ports of ended connections are in use for a minute.
            Unit::Thousands => Effort { rounds: rounds.min(11), turn },
            Unit::Age | Unit::Millions => effort.of_streams(),
            Unit::Micros | Unit::Gigabytes => effort,
        }
    }

    fn row(&self, place: Place, outcomes: &[Outcome]) -> Row {
        let Contest { part, title, unit, .. } = *self;
        let framed = outcomes.iter().find(|outcome| outcome.name == PREFIX.name);
        let cell = |outcome: &Outcome| {
            let (kind, way) = match (outcome.name.split_once(", "), outcome.job) {
                (Some((kind, _)), Job::Trips) => (kind, None),
                (Some((kind, way)), _) => (kind, Some(way)),
                (None, Job::Stream(How::Owned)) => (outcome.name, Some("send_bytes")),
                (None, Job::Stream(How::Many)) => (outcome.name, Some("feed_many")),
                (None, Job::Stream(How::Four)) => (outcome.name, Some("4 threads")),
                (None, _) => (outcome.name, None),
            };
            let times = |unit: f64| Spread::of(outcome.times.iter().map(|time| time * unit));
            let rates = |unit: f64| Spread::of(outcome.times.iter().map(|time| unit / time));
            let age = |which: usize| Spread::of(outcome.ages.iter().map(|age| age[which] * 1e6));
            let ratio = |other: &Outcome| {
                let times = outcome.times.iter().zip(&other.times);
                Spread::of(times.map(|(time, other)| match unit {
                    Unit::Micros => time / other,
                    _ => other / time,
                }))
            };
            let figure = match unit {
                Unit::Micros => times(1e6),
                Unit::Thousands => rates(1e-3),
                Unit::Millions => rates(1e-6),
                Unit::Gigabytes => rates(self.size as f64 * 1e-9),
                Unit::Age => age(0),
            };
            let beside = match unit {
                Unit::Age => vec![age(1), rates(1e-6)],
                _ => [outcomes.first(), framed].into_iter().flatten().map(ratio).collect(),
            };
            Cell { kind, way, figure, beside }
        };
        Row { part, title, place, unit, cells: outcomes.iter().map(cell).collect() }
    }
}

impl Row {
    /// Its title, and which cores it is of.
    fn name(&self) -> String {
        let place = match self.place {
            Place::ANY => "not pinned",
            Place { here, there } if here == there => "one core",
            Place { .. } => "two cores",
        };
        format!("{}, {place}", self.title)
    }

    fn print(&self) {
        println!("\n{}: {}", self.name(), self.unit.columns());
        for cell in &self.cells {
            print!("{:24} {}", cell.name(), cell.figure);
            cell.beside.iter().for_each(|spread| print!(" {spread}"));
            println!();
        }
    }
}

impl Cell {
    fn name(&self) -> String {
        self.way.map_or(self.kind.into(), |way| format!("{}, {way}", self.kind))
    }
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Unit::Micros | Unit::Age => "µs",
            Unit::Thousands => "thousand/s",
            Unit::Millions => "million/s",
            Unit::Gigabytes => "GB/s",
        }
    }

    fn columns(self) -> String {
        match self {
            Unit::Age => "the median in µs, the 99th percentile, and million/s".into(),
            Unit::Thousands => "thousand connections/s, and ratio to raw".into(),
            _ => format!("{}, ratio to raw, and to raw + length", self.name()),
        }
    }

    pub(crate) fn of(self, figure: f64) -> String {
        format!("{figure:.*} {}", if figure < 10.0 { 2 } else { 1 }, self.name())
    }
}

/// For the README: ratios to raw, and raw's own figure; of ages, the median and the 99th
/// percentile.
fn table(rows: &[Row]) {
    let names = KINDS.map(|kind| kind.name);
    println!("\n| | {} |", names.join(" | "));
    println!("| --- |{}", " ---: |".repeat(names.len()));
    for row in rows {
        let cells = names.map(|name| {
            let mine = row.cells.iter().filter(|cell| cell.kind == name);
            let texts: Vec<String> = mine.map(|cell| row.text(cell)).collect();
            if texts.is_empty() { "-".into() } else { texts.join(", ") }
        });
        println!("| {} | {} |", row.name(), cells.join(" | "));
    }
}

impl Row {
    fn text(&self, cell: &Cell) -> String {
        let way = cell.way.map_or(String::new(), |way| format!("{way}: "));
        let (figure, beside) = (cell.figure.median, cell.beside[0].median);
        match self.unit {
            Unit::Age => format!("{way}{figure:.0} / {beside:.0} µs"),
            unit if cell.kind == RAW.name => format!("{way}{beside:.2} ({})", unit.of(figure)),
            _ => format!("{way}{beside:.2}"),
        }
    }
}
