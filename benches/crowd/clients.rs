//! The clients: many connections in each of a few processes.

use std::io::{self, BufRead};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use longlink::{Builder, Connection, Event, Heartbeat, RetryPolicy};

use crate::Result;
use crate::again::Again;
use crate::memory::Memory;

/// In one process.
const MOST: usize = 1000;
/// A process opens its connections on so many threads.
const OPENERS: usize = 4;

/// What happened to the connections so far.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) lost: u64,
    pub(crate) back: u64,
    pub(crate) answered: u64,
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    pub(crate) gave_up: u64,
}

impl Tally {
    pub(crate) fn since(&self, before: &Tally) -> Tally {
        Tally {
            lost: self.lost - before.lost,
            back: self.back - before.back,
            answered: self.answered - before.answered,
            refused: self.refused - before.refused,
            failed: self.failed - before.failed,
            gave_up: self.gave_up - before.gave_up,
        }
    }

    fn parse(line: &str) -> Result<Tally> {
        let counts: Vec<u64> =
            line.split(' ').map(str::parse).collect::<std::result::Result<_, _>>()?;
        let &[lost, back, answered, refused, failed, gave_up] = &counts[..] else {
            return Err(format!("no tally: {line:?}").into());
        };
        Ok(Tally { lost, back, answered, refused, failed, gave_up })
    }

    fn add(&mut self, other: &Tally) {
        self.lost += other.lost;
        self.back += other.back;
        self.answered += other.answered;
        self.refused += other.refused;
        self.failed += other.failed;
        self.gave_up += other.gave_up;
    }
}

/// The processes, as the one that measures sees them.
pub(crate) struct Clients {
    processes: Vec<Again>,
    links: usize,
}

impl Clients {
    /// Starts them. Returns when all links are up.
    pub(crate) fn start(addr: SocketAddr, links: usize, tls: bool) -> Result<Clients> {
        let mut clients = Clients { processes: Vec::new(), links };
        let mut left = links;
        while left > 0 {
            let some = left.min(MOST);
            left -= some;
            let (addr, some) = (addr.to_string(), some.to_string());
            let args = ["play", &addr, &some].into_iter().chain(tls.then_some("tls"));
            clients.processes.push(Again::start(&args.collect::<Vec<_>>())?);
        }
        clients.answers()?;
        Ok(clients)
    }

    pub(crate) fn links(&self) -> usize {
        self.links
    }

    /// What each link has of them, in KiB of resident memory.
    pub(crate) fn memory(&self) -> Result<f64> {
        let mut memory = 0.0;
        for process in &self.processes {
            memory += Memory::of(process.id())?.kib();
        }
        Ok(memory / self.links as f64)
    }

    pub(crate) fn tally(&mut self) -> Result<Tally> {
        self.ask("tally")
    }

    /// So many bytes go there and back over each link.
    pub(crate) fn burst(&mut self, bytes: usize) -> Result<()> {
        self.ask(&format!("burst {bytes}")).map(drop)
    }

    fn ask(&mut self, what: &str) -> Result<Tally> {
        for process in &mut self.processes {
            process.tell(what)?;
        }
        self.answers()
    }

    fn answers(&mut self) -> Result<Tally> {
        let mut all = Tally::default();
        for process in &mut self.processes {
            all.add(&Tally::parse(&process.hear()?)?);
        }
        Ok(all)
    }
}

/// Counts the events of all connections of a process.
#[derive(Default)]
struct Counts {
    lost: AtomicU64,
    back: AtomicU64,
    answered: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    gave_up: AtomicU64,
}

impl Counts {
    fn note(&self, event: &Event) {
        let count = match event {
            Event::Lost { .. } => &self.lost,
            Event::Resumed { .. } | Event::SessionLost { .. } => &self.back,
            Event::Heartbeat { .. } => &self.answered,
            Event::Failed { cause, .. } if cause.to_string().contains("refused") => &self.refused,
            Event::Failed { .. } => &self.failed,
            Event::GaveUp { .. } => &self.gave_up,
            _ => return,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn say(&self) {
        let all =
            [&self.lost, &self.back, &self.answered, &self.refused, &self.failed, &self.gave_up];
        let all = all.map(|count| count.load(Ordering::Relaxed).to_string());
        println!("{}", all.join(" "));
    }
}

/// A process of clients: opens its links, and does what it is told until its input ends.
pub(crate) fn play(addr: &str, links: &str, tls: bool) -> Result<bool> {
    crate::allow_all();
    let (addr, links): (SocketAddr, usize) = (addr.parse()?, links.parse()?);
    let builder = crate::client(tls);
    let counts = Arc::new(Counts::default());
    let connections = thread::scope(|scope| {
        let openers: Vec<_> = (0..OPENERS)
            .map(|opener| {
                let (builder, counts) = (&builder, &counts);
                let share = (links + opener) / OPENERS;
                scope.spawn(move || {
                    (0..share).map(|_| open(builder, addr, counts)).collect::<Vec<_>>()
                })
            })
            .collect();
        openers.into_iter().flat_map(|opener| opener.join().unwrap_or_default()).collect::<Vec<_>>()
    });
    let connections = connections.into_iter().collect::<longlink::Result<Vec<_>>>()?;
    if connections.len() < links {
        return Err("a thread that opens connections panicked".into());
    }
    counts.say();
    for line in io::stdin().lock().lines() {
        let line = line?;
        if let Some(bytes) = line.strip_prefix("burst ") {
            let bytes = bytes.parse()?;
            for connection in &connections {
                burst(connection, bytes)?;
            }
        }
        counts.say();
    }
    // The server learns by the end of the process.
    std::process::exit(0);
}

fn open(builder: &Builder, addr: SocketAddr, counts: &Arc<Counts>) -> longlink::Result<Connection> {
    let counts = counts.clone();
    builder
        .clone()
        .heartbeat(Heartbeat::every(Duration::from_secs(10)))
        .retry(RetryPolicy::default())
        .on_event(move |_, event| counts.note(&event))
        .connect(addr)
}

/// Sends messages of up to 4 KiB at once, and takes their echoes.
fn burst(connection: &Connection, bytes: usize) -> Result<()> {
    let mut sent = 0;
    while sent < bytes {
        let message = [b'x'; 4096];
        let len = message.len().min(bytes - sent);
        connection.feed(&message[..len])?;
        sent += len;
    }
    connection.flush()?;
    let mut received = 0;
    while received < bytes {
        match connection.recv_timeout(Duration::from_secs(60))? {
            Some(echo) => received += echo.len(),
            None => return Err("the server ended".into()),
        }
    }
    // The last ones are acknowledged with the next call.
    let _ = connection.try_recv();
    Ok(())
}
