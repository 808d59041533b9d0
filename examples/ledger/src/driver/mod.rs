//! The driver: kills clients and servers at random, lets the clients deliver what is left, and
//! accounts for every booking.

mod account;
mod balancer;
mod cluster;
mod process;

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, thread};

use fastrand::Rng;
use longlink::Identity;

use crate::careless::Bug;
use crate::server::{KEY, PEERS};
use crate::{Result, books};
use account::Account;
use cluster::Cluster;
use process::Process;

pub use process::Missing;

const CLIENTS: usize = 3;
const SERVERS: usize = 3;
/// From one kill to the next, at most.
const PAUSE: Duration = Duration::from_millis(300);
/// So long may the delivery of what is left take.
const DRAIN: Duration = Duration::from_secs(60);
/// What all processes say of errors.
const LOG: &str = "log";

pub struct Settings {
    kills: usize,
    seed: u64,
    postgres: bool,
    plant: Option<Bug>,
}

impl Settings {
    pub fn parse(args: &[&str]) -> Option<Settings> {
        let seed = fastrand::u64(..);
        let mut settings = Settings { kills: 60, seed, postgres: false, plant: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match *arg {
                "--kills" => settings.kills = args.next()?.parse().ok()?,
                "--seed" => settings.seed = args.next()?.parse().ok()?,
                "--postgres" => settings.postgres = true,
                "--plant" => settings.plant = Some(args.next()?.parse().ok()?),
                _ => return None,
            }
        }
        match settings.plant {
            Some(Bug::NoLock) => settings.postgres = true,
            Some(_) if settings.postgres => return None, // that bug is in SQLite
            _ => {}
        }
        Some(settings)
    }
}

pub fn run(settings: &Settings) -> Result<()> {
    println!("seed {}", settings.seed);
    let folder = env::temp_dir().join(format!("ledger-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let result = play(settings, &folder);
    println!("seed {}", settings.seed);
    match &result {
        Err(error) if !error.is::<Missing>() => {
            let log = fs::read_to_string(folder.join(LOG)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            lines.iter().skip(lines.len().saturating_sub(50)).for_each(|line| eprintln!("{line}"));
            eprintln!("see {}", folder.display());
        }
        _ => fs::remove_dir_all(&folder)?,
    }
    result
}

fn play(settings: &Settings, folder: &Path) -> Result<()> {
    let mut rng = Rng::with_seed(settings.seed);
    let mut stage = Stage::new(settings, folder, &mut rng)?;
    let begun = now();
    let ended = stage.kill(settings.kills, &mut rng).and_then(|()| stage.deliver());
    stage.tell(begun.elapsed());
    stage.stop();
    let account = Account::of(&stage.outboxes, &mut *books::open(&stage.books)?)?;
    println!("{account}");
    let right = match settings.plant {
        None => ended.map(|()| account.is_right())?,
        Some(Bug::TwoTransactions | Bug::NoLock) => account.doubled > 0,
        Some(Bug::EarlyAcknowledgement) => account.lost > 0,
    };
    if right { Ok(()) } else { Err("this is not the account that was expected".into()) }
}

struct Stage {
    clients: Vec<Process>,
    servers: Vec<Process>,
    /// HAProxy, where there are several servers.
    balancer: Vec<Process>,
    /// Of each client, by its name.
    outboxes: Vec<(String, PathBuf)>,
    books: String,
    /// Ends last.
    _cluster: Option<Cluster>,
}

impl Stage {
    fn new(settings: &Settings, folder: &Path, rng: &mut Rng) -> Result<Stage> {
        let this = env::current_exe()?;
        let log = File::create(folder.join(LOG))?;
        let ports = free_ports(1 + SERVERS, rng)?;
        let (balancer, server_ports) = match settings.postgres {
            true => (vec![balancer::new(folder, &ports, &log)?], &ports[1..]),
            false => (vec![], &ports[..1]),
        };
        let cluster = settings.postgres.then(|| Cluster::start(folder)).transpose()?;
        let file = folder.join("books").display().to_string();
        let books = cluster.as_ref().map_or(file, Cluster::books);
        let place = settings.plant.map_or(books.clone(), |bug| format!("{}!{books}", bug.name()));
        let keys = folder.join("keys");
        fs::create_dir(&keys)?;
        let identity = Identity::create(keys.join(KEY))?;
        let server = |(n, port)| {
            let mut command = process::command(&this);
            command.args(["server", &place, &format!("127.0.0.1:{port}")]).arg(&keys);
            Process::new(format!("server {n}"), command, &log)
        };
        let servers = (1..).zip(server_ports).map(server).collect::<Result<_>>()?;
        let client = |n| (format!("client-{n}"), folder.join(format!("outbox-{n}")));
        let outboxes: Vec<_> = (1..=CLIENTS).map(client).collect();
        let client = |(name, outbox): &(String, PathBuf)| {
            let invite = keys.join(name);
            identity.invite(name, keys.join(PEERS), &invite)?;
            let mut command = process::command(&this);
            command.arg("client").arg(outbox).arg(format!("127.0.0.1:{}", ports[0])).arg(invite);
            Ok(Process::new(name.clone(), command, &log)?.used(rng.fork()))
        };
        let clients = outboxes.iter().map(client).collect::<Result<_>>()?;
        Ok(Stage { clients, servers, balancer, outboxes, books, _cluster: cluster })
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Process> {
        self.servers.iter_mut().chain(&mut self.balancer).chain(&mut self.clients)
    }

    /// Some are started again at once, others later: several are away at a time, even all.
    fn kill(&mut self, kills: usize, rng: &mut Rng) -> Result<()> {
        self.all().try_for_each(Process::start)?;
        let mut killed = 0;
        while killed < kills {
            thread::park_timeout(PAUSE.mul_f64(rng.f64()));
            self.all().try_for_each(Process::must_run)?;
            let group = match rng.u8(..8) {
                0 if !self.balancer.is_empty() => &mut self.balancer,
                0..4 => &mut self.servers,
                _ => &mut self.clients,
            };
            killed += usize::from(rng.choice(group).is_some_and(Process::kill));
            for process in self.all().filter(|process| !process.is_running()) {
                if rng.bool() {
                    process.start()?;
                }
            }
        }
        Ok(())
    }

    /// The clients end when nothing is left to be delivered.
    fn deliver(&mut self) -> Result<()> {
        self.all().filter(|process| !process.is_running()).try_for_each(Process::start)?;
        let end = now() + DRAIN;
        self.clients.iter().for_each(Process::end_input);
        self.clients.iter_mut().try_for_each(|client| client.must_end(end))
    }

    fn stop(&mut self) {
        for process in self.all() {
            process.kill();
        }
    }

    fn tell(&self, time: Duration) {
        let kills = |group: &[Process]| group.iter().map(|process| process.kills).sum::<usize>();
        let (clients, servers) = (kills(&self.clients), kills(&self.servers));
        let balancer = kills(&self.balancer);
        let all = clients + servers + balancer;
        print!("{all} kills in {time:.1?}: {clients} of clients, {servers} of servers");
        println!("{}", if balancer > 0 { format!(", {balancer} of HAProxy") } else { "".into() });
        for server in &self.servers {
            let (sessions, known) = (server.count("new session"), server.count("sent again"));
            println!("{}: {sessions} sessions, {known} bookings that it knew", server.name);
        }
    }
}

/// Below those that the system gives to outgoing connections, so that no other takes the port of a
/// server which is away.
fn free_ports(many: usize, rng: &mut Rng) -> Result<Vec<u16>> {
    let mut held = Vec::new();
    while held.len() < many {
        held.extend(TcpListener::bind(("127.0.0.1", rng.u16(20_000..30_000))));
    }
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

#[expect(clippy::disallowed_methods, reason = "processes take their time")]
fn now() -> Instant {
    Instant::now()
}
