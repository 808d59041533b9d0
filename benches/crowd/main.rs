//! Ten thousand idle links to one server, what each costs it, and how they come back when the
//! server is killed, and when it says that it restarts.
//!
//!     cargo bench --bench crowd -- [LINKS [SECONDS]] [--tls]
//!     cargo bench --bench crowd -- unread [LINKS [SECONDS]]
//!     cargo bench --bench crowd -- retry
//!
//! First the same clients are linked to the least that a server can be, a bare thread for each that
//! answers heartbeats and does nothing else: what the processor takes for 10,000 of those is what
//! this machine's system calls and wake-ups take, and no server with a thread for each takes less.
//!
//! The server is the real program. The clients are real `Connection`s, in a few processes of this
//! program started again: their heartbeats and their way back are the library's. Each has a thread
//! and three descriptors, so that 10,000 of them take some 20,000 threads on the machine, those of
//! the server included; limits of descriptors are raised as far as is allowed.
//!
//! Without numbers it holds 1000 links for 10 s, so that all benchmarks together take some
//! six minutes.
//!
//! With `--tls` the same is done once more with a server and clients that have keys, and compared.
//!
//! `unread` compares links that the application never reads with links that it reads on a thread
//! each, at another server, which is this program.
//!
//! `retry` prints a simulation instead: what many clients do to a server that comes back.

#[path = "../../tests/support/port.rs"]
#[allow(dead_code)]
mod port;
#[path = "../../tests/support/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../../tests/support/queue.rs"]
mod queue;
#[path = "../../src/retry.rs"]
#[allow(dead_code, unreachable_pub)]
mod retry;
#[path = "../../src/testing/simulated_clients.rs"]
#[allow(dead_code)]
mod simulated_clients;

mod again;
mod bare;
mod clients;
mod memory;
mod server;
mod unread;
#[path = "../harness/usage.rs"]
mod usage;
#[path = "../../tests/support/wire.rs"]
#[allow(dead_code)]
mod wire;

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use longlink::{Builder, Connection, RetryPolicy};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use bare::Bare;
use clients::{Clients, Tally};
use memory::{Memory, Share};
use queue::Queue;
use server::Server;
use wire::tls::{Folder, Party};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What is claimed of an idle link: memory, and the processor in relation to a bare thread. That is
/// 2 % of a core for 10,000 of them where bare threads take 1.35 %. It is judged from a minute on.
const MOST_KIB: f64 = 14.0;
const MOST_CPU: f64 = 1.48;
/// What TLS may take beside that: memory of the heap, and until all are back, in relation to clear
/// text. What is encrypted takes a page more of a thread's stack.
const MOST_MORE_KIB: f64 = 5.0;
const MOST_LONGER: f64 = 2.0;
/// Of a new client, while the others come back.
const MOST_WAIT: Duration = Duration::from_secs(1);

/// The pause between one new client and the next.
const NEWCOMERS: Duration = Duration::from_millis(50);

/// How long the server is away when it is killed, and when it is told to end: then its clients
/// expect it after a second.
const AWAY: Duration = Duration::from_secs(3);
const AWAY_AS_SAID: Duration = Duration::from_millis(500);

/// What each link carries there and back to see what stays of it.
const BURST: usize = 256 * 1024;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |wanted: &str| args.iter().any(|arg| arg == wanted);
    // Who tests only wants to know that it runs.
    let test = !has("--bench") || has("--test");
    let tls = has("--tls");
    let words: Vec<&str> =
        args.iter().map(String::as_str).filter(|arg| !arg.starts_with("--")).collect();
    let outcome = match (&words[..], test) {
        (["bare"], _) => bare::serve(),
        (["play", addr, links], _) => clients::play(addr, links, false),
        (["play", addr, links, "tls"], _) => clients::play(addr, links, true),
        (["serve", how, links], _) => unread::serve(links, *how == "read"),
        (["retry"], _) => Ok(simulate(1_000_000)),
        (["unread"], _) => unread::measure(1000, 10, !test),
        (["unread", links], _) => {
            parse(links, "20").and_then(|(links, seconds)| unread::measure(links, seconds, !test))
        }
        (["unread", links, seconds], _) => parse(links, seconds)
            .and_then(|(links, seconds)| unread::measure(links, seconds, !test)),
        ([], true) => {
            simulate(10_000);
            unread::measure(20, 1, false).and_then(|_| measure(20, 1, false, true))
        }
        ([], false) => measure(1000, 10, true, tls),
        ([links], _) => {
            parse(links, "20").and_then(|(links, time)| measure(links, time, true, tls))
        }
        ([links, time], _) => {
            parse(links, time).and_then(|(links, time)| measure(links, time, true, tls))
        }
        _ => {
            Err("usage: crowd [LINKS [SECONDS]] [--tls] | unread [LINKS [SECONDS]] | retry".into())
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(links: &str, seconds: &str) -> Result<(usize, u64)> {
    Ok((links.parse()?, seconds.parse()?))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Waits until something is true that nobody announces, for minutes: the machine may be slow.
fn until(what: &str, every: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = now() + Duration::from_secs(300);
    while !done()? {
        if now() > deadline {
            return Err(format!("not within five minutes: {what}").into());
        }
        thread::park_timeout(every);
    }
    Ok(())
}

fn rest(time: Duration) {
    let end = now() + time;
    while now() < end {
        thread::park_timeout(end - now());
    }
}

/// The limit of descriptors, as far as it may be raised.
fn allow_all() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Until what is measured is idle.
fn settled(meant: bool) -> Duration {
    Duration::from_secs(if meant { 12 } else { 1 })
}

/// Returns whether the figures are within what is claimed; said only if they are `meant`.
fn measure(links: usize, seconds: u64, meant: bool, tls: bool) -> Result<bool> {
    allow_all();
    let settled = settled(meant);
    let bare = {
        let bare = Bare::start()?;
        let empty = Memory::of(bare.id())?;
        let mut clients = Clients::start(bare.addr, links, false)?;
        rest(settled);
        hold(bare.id(), &mut clients, &empty, seconds)?
    };
    println!("{links} links to bare threads that answer heartbeats, {bare}");

    let clear = observe(links, seconds, meant, None)?;
    let times = clear.idle.cpu / bare.cpu;
    println!("\nclaimed         at most {MOST_KIB} KiB per link");
    println!("                at most {MOST_CPU} times the processor of bare threads: {times:.2}");
    // What one other process does meanwhile would decide over a few seconds.
    let fast = times <= MOST_CPU || seconds < 60;
    let mut good = clear.good && clear.idle.memory.kib() <= MOST_KIB && fast;
    if tls {
        let secured = observe(links, seconds, meant, Some(&Folder::of_server()))?;
        let (share, before) = (secured.idle.memory, clear.idle.memory);
        let more = share.rest - before.rest;
        let of_client = secured.of_client - clear.of_client;
        let cpu = secured.idle.cpu / clear.idle.cpu;
        let longer = secured.back.as_secs_f64() / clear.back.as_secs_f64();
        println!("\nwith keys, in relation to clear text:");
        println!(
            "  resident      {more:.1} KiB more of the heap, claimed: at most {MOST_MORE_KIB}"
        );
        println!(
            "                {:.1} KiB more of its thread's stack",
            share.stack - before.stack
        );
        println!("  of a client   {of_client:.1} KiB more, with its thread's stack");
        println!("  processor     {cpu:.2} times");
        println!("  back          after {longer:.2} times, claimed: at most {MOST_LONGER}");
        good &= secured.good && more <= MOST_MORE_KIB && longer <= MOST_LONGER;
    }
    Ok(good || !meant)
}

/// What a server comes to.
struct Observed {
    idle: Idle,
    /// In KiB, what each link has of the clients' memory.
    of_client: f64,
    /// How long after a kill all were back.
    back: Duration,
    /// No link was lost, and nobody waited long.
    good: bool,
}

fn observe(links: usize, seconds: u64, meant: bool, keys: Option<&Folder>) -> Result<Observed> {
    let settled = settled(meant);
    let newcomer = client(keys.is_some());
    let mut server = Server::start(links, keys);
    // A first link, so that what comes once is not counted.
    greet(&newcomer, server.addr)?;
    let empty = Memory::of(server.id())?;
    let secured = if keys.is_some() { ", with keys" } else { "" };
    println!("\nthe server alone{secured}: {empty}");
    let begun = now();
    let mut clients = Clients::start(server.addr, links, keys.is_some())?;
    println!("{links} links are up, after {:.1?}", begun.elapsed());
    // The first heartbeats come after an interval, and what an accept takes is over.
    rest(settled);
    let idle = hold(server.id(), &mut clients, &empty, seconds)?;
    println!("{links} links to the server, {idle}");
    let of_client = clients.memory()?;
    println!("  of a client   {of_client:.1} KiB, with its thread's stack");

    clients.burst(BURST)?;
    println!("\nafter {} KiB there and back on each link:", BURST / 1024);
    let share = || Ok::<_, Box<dyn Error>>(Memory::of(server.id())?.beyond(&empty, links));
    println!("  at once       {}", share()?);
    rest(Duration::from_secs(if meant { 15 } else { 1 }));
    println!("  15 s later    {}", share()?);

    let killed = storm(&mut server, &mut clients, &newcomer, true)?;
    let restarted = storm(&mut server, &mut clients, &newcomer, false)?;
    let good = idle.lost == 0 && killed.good && restarted.good;
    Ok(Observed { idle, of_client, back: killed.back, good })
}

/// A client, with a key or in clear text.
fn client(tls: bool) -> Builder {
    let builder = Connection::builder();
    if !tls {
        return builder;
    }
    let [party] = Party::all(["peer"]);
    builder.security(party.security)
}

/// What a new client does, without a second attempt.
fn greet(client: &Builder, addr: SocketAddr) -> Result<()> {
    let new = client.clone().retry(RetryPolicy::never()).connect(addr)?;
    trip(&new)?;
    Ok(new.close()?)
}

fn trip(connection: &Connection) -> Result<()> {
    connection.send(b"hello")?;
    match connection.recv_timeout(Duration::from_secs(30))? {
        Some(echo) if echo == b"hello"[..] => Ok(()),
        other => Err(format!("no echo, but {other:?}").into()),
    }
}

/// The clients of a server that is away for a while, by the crate's schedule of attempts.
fn simulate(most: u32) -> bool {
    use retry::RetryPolicy;
    let secs = Duration::from_secs;
    let policies = [
        ("3 s", RetryPolicy::fixed(secs(3), 1)),
        ("0.1 s, doubling up to 30 s", RetryPolicy::exponential(secs(1) / 10, secs(30))),
    ];
    println!(
        "how many connect in one second; that all try at once, when they lose it, is left out"
    );
    println!("{:<27} jitter  away   clients  while away  once back  last after", "delays");
    for clients in [10_000, 100_000, 1_000_000].into_iter().filter(|clients| *clients <= most) {
        for (name, policy) in policies {
            for (jitter, away) in [(0.0, 3), (0.2, 3), (0.0, 60), (0.2, 60)] {
                let policy = policy.unlimited().jitter(jitter);
                let outcome = simulated_clients::lose_server(policy, clients, secs(away), 1, now());
                println!(
                    "{name:<27} {:3.0} %  {away:>2} s {clients:>9} {:>11} {:>10} {:9.1} s",
                    jitter * 100.0,
                    outcome.peak_away,
                    outcome.peak_back,
                    outcome.last.as_secs_f64(),
                );
            }
        }
    }
    true
}

/// What links take of a server while nothing is said but heartbeats.
struct Idle {
    seconds: u64,
    memory: Share,
    /// In percent of one core.
    cpu: f64,
    answered: u64,
    lost: u64,
    threads: usize,
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Idle { seconds, memory, cpu, answered, lost, threads } = self;
        writeln!(f, "held for {seconds} s, a heartbeat each 10 s, {answered} answered:")?;
        writeln!(f, "  resident      {memory}")?;
        writeln!(f, "  processor     {cpu:.2} % of one core")?;
        writeln!(f, "  false deaths  {lost}")?;
        write!(f, "  threads       {threads}")
    }
}

fn hold(server: u32, clients: &mut Clients, empty: &Memory, seconds: u64) -> Result<Idle> {
    let (begun, cpu) = (now(), usage::cpu(server)?);
    let before = clients.tally()?;
    rest(Duration::from_secs(seconds));
    let time = begun.elapsed().as_secs_f64();
    let cpu = usage::cpu(server)?.saturating_sub(cpu).as_secs_f64() / time * 100.0;
    let Tally { answered, lost, .. } = clients.tally()?.since(&before);
    let memory = Memory::of(server)?.beyond(empty, clients.links());
    Ok(Idle { seconds, memory, cpu, answered, lost, threads: usage::threads(server)? })
}

/// How the clients came back.
struct Return {
    back: Duration,
    /// None gave up, and nobody new waited long.
    good: bool,
}

/// The server is killed, or told to end, and comes back.
fn storm(
    server: &mut Server,
    clients: &mut Clients,
    newcomer: &Builder,
    kill: bool,
) -> Result<Return> {
    let links = clients.links() as u64;
    let before = clients.tally()?;
    let ended = now();
    let (how, away) = if kill { ("killed", AWAY) } else { ("told to end", AWAY_AS_SAID) };
    match kill {
        true => server.kill(),
        false => server.interrupt(),
    }
    rest(away);
    let queue = Queue::watch(server.addr);
    server.start_again();
    let listening = now();
    println!("\n{how} with {links} links, and listening again {:.1?} later:", ended.elapsed());

    // Somebody new comes again and again until the others are back.
    let (mut slowest, mut served, mut late) = (Duration::ZERO, 0, 0);
    let mut tally = Tally::default();
    until("all are back", NEWCOMERS, || {
        let begun = now();
        match greet(newcomer, server.addr) {
            Ok(()) => served += 1,
            Err(error) => {
                late += 1;
                println!("  a new client failed: {error}");
            }
        }
        slowest = slowest.max(begun.elapsed());
        tally = clients.tally()?.since(&before);
        Ok(tally.back + tally.gave_up >= links)
    })?;
    let back = listening.elapsed();
    let queue = queue.end()?;
    println!("  all are back  {back:.1?} after that ({} gave up)", tally.gave_up);
    println!("  attempts      {} refused, {} failed otherwise", tally.refused, tally.failed);
    println!("  accept queue  {} at the longest, {} turned away by it", queue.longest, queue.full);
    println!("  new clients   {served} served meanwhile, the slowest within {slowest:.1?}");
    clients.burst(64)?;
    println!("  round trips   on all {links} of them");
    Ok(Return { back, good: tally.gave_up == 0 && late == 0 && slowest <= MOST_WAIT })
}
