//! How long a well-behaved client's message and its echo take while somebody
//! attacks the server, as a multiple of what they take in quiet.
//!
//!     cargo bench --bench siege [-- [ROUNDS] [NAME OF AN ATTACK]... [--tls]]
//!
//! Without a number it makes few rounds, at the steady rate only, so that all
//! benchmarks together take some six minutes. A figure to be trusted
//! takes 21.
//!
//! The server is the real program. Windows with and without attack alternate,
//! so that a machine that is busy with other things is so for both; each ratio
//! is that of two neighbouring medians, and the figure is the median of those.
//!
//! The attacker has a core of its own, as it would have a machine of its own;
//! the server shares the other one with the client, so that all it does for
//! the attacker is done in the client's way. One attack is tried on another
//! server as well: one that greets, and has room for so many sessions that to
//! find the one that makes room must not take a look at each.
//!
//! Each attack comes at a steady rate,
//! and then as fast as one thread can, which waits for the server's answers.
//! That second figure tells how a scheduler shares a core, too.
//!
//! With `--tls` the server has keys, and so have its client and the attackers, who say over TLS
//! what they said in clear text. What they do to TLS itself takes no key.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use longlink::{Builder, Connection};

#[path = "../../tests/support/attacks.rs"]
#[allow(dead_code)]
mod attacks;
#[path = "../../tests/support/pin.rs"]
mod pin;
#[path = "../../tests/support/port.rs"]
#[allow(dead_code)]
mod port;
#[path = "../../tests/support/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../../tests/hostility/target.rs"]
#[allow(dead_code)]
mod target;
mod tls;
#[path = "../../tests/support/wait.rs"]
mod wait;
#[path = "../../tests/support/wire.rs"]
#[allow(dead_code)]
mod wire;

use attacks::{ATTACKS, SERVER, Step, allow_crowd, vanishes};
use pin::{cores, pin};
use process::{Process, Stdout};
use target::{Bystander, SOON, Target, now, until};
use wire::tls::{Folder, party};

/// Steps of an attack in a second; see [`Attack::step`] for what each is.
const RATE: u32 = 1000;
/// The client's, between round trips: the attacker's work is done meanwhile,
/// and not only when the client's tight loop has used its share of the core.
const PAUSE: Duration = Duration::from_micros(200);
/// What is claimed of the ratio at that rate.
const LIMIT: f64 = 2.0;

/// The argument of a process that is the server which greets.
const GREETER: &str = "--greeter";
/// So many sessions it has room for.
const GREETED: usize = 10_000;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// An attack, and whom it is tried on.
struct Siege {
    name: &'static str,
    /// What a step is.
    step: &'static str,
    begin: Box<dyn Fn(SocketAddr) -> Step + Sync>,
    /// A server that greets, and has so many lost sessions.
    crowd: Option<usize>,
}

impl Siege {
    fn new(
        name: &'static str,
        step: &'static str,
        begin: impl Fn(SocketAddr) -> Step + Sync + 'static,
    ) -> Siege {
        Siege { name, step, begin: Box::new(begin), crowd: None }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(bad) => {
            println!("\n{bad} ratios at {RATE} steps in a second are above {LIMIT}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns how many ratios are above what is claimed.
fn run() -> Result<u32> {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|arg| arg == GREETER) {
        greet();
    }
    let has = |wanted: &str| args.iter().any(|arg| arg == wanted);
    // Who tests only wants to know that it runs.
    let test = !has("--bench") || has("--test");
    let words = args[1..].iter().filter(|arg| !arg.starts_with("--"));
    let (numbers, names): (Vec<&String>, Vec<&String>) =
        words.partition(|word| word.parse::<usize>().is_ok());
    let wanted =
        |siege: &Siege| names.is_empty() || names.iter().any(|name| siege.name.contains(&name[..]));
    if has("--tls") && party().is_none() {
        return over_tls(&args);
    }
    let asked = numbers.first().and_then(|number| number.parse().ok());
    let (rounds, window) = if test { (1, 5) } else { (asked.unwrap_or(5).max(1), 60) };
    let window = Duration::from_millis(window);
    let rates = if test || asked.is_some() { &[Some(RATE), None][..] } else { &[Some(RATE)] };
    allow_crowd();
    println!(
        "{rounds} pairs of windows of {window:?} each, without and with an attack: the attack,"
    );
    println!(
        "its steps in a second, the server's share of a core, a quiet round trip in µs, and the"
    );
    println!("ratio of a round trip under attack to that: median (min .. max)\n");
    // Of the first thread, before it is pinned.
    let cores = cores();
    let mut bad = 0;
    let keys = party().map(|_| Folder::of_server());
    // Lines are not spoken over keys.
    let attacks = ATTACKS.iter().filter(|attack| keys.is_none() || attack.name != "empty lines");
    let mut sieges: Vec<Siege> =
        attacks.map(|attack| Siege::new(attack.name, attack.step, attack.begin)).collect();
    let crowd = Some(if test { 10 } else { GREETED });
    let greeted = Siege::new("silent sessions, 10,000", "connect", vanishes);
    sieges.push(Siege { crowd, ..greeted });
    if let Some(keys) = &keys {
        sieges.extend(tls::attacks(keys)?);
    }
    for siege in sieges.iter().filter(|siege| wanted(siege)) {
        for rate in rates.iter().copied() {
            let figures = measure(siege, keys.as_ref(), rate, rounds, window, &cores);
            println!("{:26} {figures} {}", siege.name, siege.step);
            bad += u32::from(!test && rate.is_some() && figures.ratio() > LIMIT);
        }
    }
    if test && keys.is_none() {
        bad += over_tls(&args)?;
    }
    Ok(bad)
}

/// Does it once more, by a process in which all peers speak TLS.
fn over_tls(args: &[String]) -> Result<u32> {
    let mut again = Command::new(std::env::current_exe()?);
    let status = again.args(&args[1..]).env("LONGLINK_TLS", "1").status()?;
    if status.success() { Ok(0) } else { Err("over TLS it failed".into()) }
}

/// What is set when nothing is.
fn builder() -> Builder {
    let builder = Connection::builder();
    match party() {
        Some(party) => builder.security(party.security.clone()),
        None => builder,
    }
}

/// Greets whoever comes, and echoes what the first says. The others' sessions
/// are kept as long as the listener keeps them.
fn greet() -> ! {
    let builder = builder().max_clients(GREETED).window(64 << 10);
    let builder = builder.resume_within(Duration::from_secs(3600));
    let listener = builder.bind("127.0.0.1:0").unwrap();
    eprintln!("listening on {} ", listener.local_addr());
    let first = listener.accept().unwrap();
    thread::spawn(move || {
        while let Ok(Some(message)) = first.recv() {
            let _ = first.send(&message);
        }
    });
    thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        // Whoever measured is gone.
        std::process::exit(0);
    });
    let mut kept = VecDeque::new();
    loop {
        let connection = listener.accept().unwrap();
        let _ = connection.send(b"welcome");
        kept.push_back(connection);
        // Those that came first are lost for longest, and have made room.
        kept.drain(..kept.len().saturating_sub(GREETED + 256));
    }
}

/// The program, in clear text or with keys.
fn server(keys: Option<&Folder>) -> Target {
    let folder = keys.map(|keys| keys.file("").display().to_string());
    let keys = folder.as_deref().map(|folder| ["--keys", folder]);
    Target::start(&[&SERVER[..], keys.as_ref().map_or(&[], |keys| &keys[..])].concat())
}

/// A server that greets.
fn greeter() -> Target {
    let program = std::env::current_exe().unwrap().into_os_string().into_string().unwrap();
    Target::of(Process::start(program.leak(), &[GREETER], Stdout::Null))
}

fn leave_sessions(addr: SocketAddr, count: usize) {
    let mut step = vanishes(addr);
    (0..count).for_each(|_| step());
}

struct Figures {
    steps: f64,
    share: f64,
    quiet: Vec<f64>,
    ratios: Vec<f64>,
}

impl Figures {
    fn ratio(&self) -> f64 {
        median(&self.ratios)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let min = self.ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let max = self.ratios.iter().copied().fold(0.0, f64::max);
        write!(f, "{:6.0}/s {:4.2} {:6.1}  ", self.steps, self.share, median(&self.quiet))?;
        write!(f, "{:5.2} ({min:.2} .. {max:.2})", self.ratio())
    }
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// At a rate, or else as fast as it goes; with keys, or in clear text.
fn measure(
    siege: &Siege,
    keys: Option<&Folder>,
    rate: Option<u32>,
    rounds: usize,
    window: Duration,
    cores: &[usize],
) -> Figures {
    // The server, which is started from here, keeps to that core, too.
    pin(cores.get(1).or(cores.first()).copied());
    let target = if siege.crowd.is_some() { greeter() } else { server(keys) };
    let bystander = target.bystander_of(builder());
    leave_sessions(target.addr, siege.crowd.unwrap_or(0));
    trips(&bystander, window);
    let alone = target.descriptors();

    let (mut steps, mut time, mut cpu) = (0, Duration::ZERO, Duration::ZERO);
    let (mut quiet, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let before = trips(&bystander, window);
        let (begun, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let done = AtomicU32::new(0);
        let under_attack = thread::scope(|scope| {
            scope.spawn(|| {
                pin(cores.first().copied());
                let mut step = (siege.begin)(target.addr);
                begun.store(true, Ordering::Relaxed);
                let mut next = now();
                while !over.load(Ordering::Relaxed) {
                    step();
                    done.fetch_add(1, Ordering::Relaxed);
                    if let Some(rate) = rate {
                        // What was missed is not made up for.
                        next = now().max(next + Duration::from_secs(1) / rate);
                        thread::park_timeout(next - now());
                    }
                }
            });
            until("the attack has begun", || begun.load(Ordering::Relaxed));
            let (start, done_before, cpu_before) =
                (now(), done.load(Ordering::Relaxed), target.cpu());
            let under_attack = trips(&bystander, window);
            time += start.elapsed();
            steps += done.load(Ordering::Relaxed) - done_before;
            cpu += target.cpu() - cpu_before;
            over.store(true, Ordering::Relaxed);
            under_attack
        });
        quiet.push(before);
        ratios.push(under_attack / before);
        until("the attackers are gone", || target.descriptors() <= alone);
    }
    let seconds = time.as_secs_f64();
    let (steps, share) = (f64::from(steps) / seconds, cpu.as_secs_f64() / seconds);
    Figures { steps, share, quiet, ratios }
}

/// Makes round trips for a while. Returns their median in microseconds.
fn trips(bystander: &Bystander, window: Duration) -> f64 {
    let (begun, mut times) = (now(), Vec::new());
    while begun.elapsed() < window {
        let start = now();
        bystander.trip();
        times.push(start.elapsed().as_secs_f64() * 1e6);
        thread::park_timeout(PAUSE);
    }
    median(&times)
}
