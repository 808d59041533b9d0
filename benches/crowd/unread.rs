//! Links that the application leaves unread: the listener's thread reads all of them and answers
//! their heartbeats, where otherwise each has a thread in `recv`.
//!
//! The peers are sockets of one thread. Their heartbeats come evenly, one after the other: what a
//! thousand threads of clients do to each other on this machine is not measured.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use longlink::Connection;

use crate::again::Again;
use crate::memory::STACK;
use crate::wire::{Hello, PONG, Raw, ping};
use crate::{Result, allow_all, now, rest, settled, usage};

/// What is claimed: of the processor, in relation to links with a thread in `recv` on each, and of
/// the time in which a heartbeat is answered. It is judged from ten seconds on.
const MOST_CPU: f64 = 1.5;
const MOST_TRIP: Duration = Duration::from_millis(2);

/// Of each link.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The process: takes connections, and reads them or not, until its input ends.
pub(crate) fn serve(links: &str, reads: bool) -> Result<bool> {
    allow_all();
    let listener = Connection::builder().max_clients(links.parse()?).bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr());
    thread::spawn(move || {
        let mut unread = Vec::new();
        for connection in listener.incoming() {
            let Ok(connection) = connection else { return };
            if !reads {
                unread.push(connection);
                continue;
            }
            let read = move || connection.incoming().count();
            let _ = thread::Builder::new().stack_size(STACK).spawn(read);
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(true)
}

/// What these links come to.
struct Held {
    /// In percent of one core.
    cpu: f64,
    /// Sorted.
    trips: Vec<Duration>,
}

impl Held {
    fn trip(&self, percent: usize) -> Duration {
        self.trips[(self.trips.len() - 1) * percent / 100]
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, last] = [50, 99, 100].map(|percent| self.trip(percent));
        let (cpu, count) = (self.cpu, self.trips.len());
        write!(f, "{cpu:>9.2} % {half:>10.1?} {most:>10.1?} {last:>10.1?} {count:>9}")
    }
}

/// Returns whether the figures are within what is claimed; said only if they are `meant`.
pub(crate) fn measure(links: usize, seconds: u64, meant: bool) -> Result<bool> {
    println!(
        "\n{links} links, a heartbeat each 10 s, for {seconds} s: the server's processor, and"
    );
    println!("the round trip of a heartbeat");
    println!("{:>35} {:>10} {:>10} {:>10} {:>9}", "", "median", "99 %", "longest", "of");
    let read = hold(links, seconds, meant, true)?;
    println!("a thread in recv on each{read}");
    let unread = hold(links, seconds, meant, false)?;
    println!("nobody reads            {unread}");
    let times = unread.cpu / read.cpu;
    println!(
        "claimed: at most {MOST_CPU} times the processor: {times:.2}; 99 % within {MOST_TRIP:?}"
    );
    let good = times <= MOST_CPU && unread.trip(99) <= MOST_TRIP;
    Ok(good || !meant || seconds < 10)
}

fn hold(links: usize, seconds: u64, meant: bool, reads: bool) -> Result<Held> {
    let how = if reads { "read" } else { "unread" };
    let mut server = Again::start(&["serve", how, &links.to_string()])?;
    let mut peers = Peers::join(server.hear()?.parse()?, links);
    rest(settled(meant));
    // The first bytes of a link are more than a heartbeat.
    peers.ping_for(HEARTBEAT.min(Duration::from_secs(seconds)));
    let (begun, cpu) = (now(), usage::cpu(server.id())?);
    let mut trips = peers.ping_for(Duration::from_secs(seconds));
    let cpu = usage::cpu(server.id())?.saturating_sub(cpu);
    let cpu = cpu.as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
    trips.sort();
    Ok(Held { cpu, trips })
}

struct Peers {
    peers: Vec<Raw>,
    next: usize,
}

impl Peers {
    fn join(addr: SocketAddr, links: usize) -> Peers {
        let join = |index: usize| {
            let mut token = [0; 16];
            token[..8].copy_from_slice(&(index as u64).to_be_bytes());
            Raw::join(addr, &Hello { token, ..Hello::new(0) }).0
        };
        Peers { peers: (0..links).map(join).collect(), next: 0 }
    }

    /// One after the other has a heartbeat. Returns how long each was on its way since it was due.
    fn ping_for(&mut self, time: Duration) -> Vec<Duration> {
        let every = HEARTBEAT / self.peers.len() as u32;
        let (mut due, mut trips) = (now(), Vec::new());
        let end = due + time;
        while due < end {
            rest(due.saturating_duration_since(now()));
            // If the one before was answered in time, it begins now.
            let begun = if now() < due + every { now() } else { due };
            let peer = &mut self.peers[self.next];
            peer.send(ping(trips.len() as u64));
            while peer.read().expect("a pong").0 != PONG {}
            trips.push(begun.elapsed());
            self.next = (self.next + 1) % self.peers.len();
            due += every;
        }
        trips
    }
}
