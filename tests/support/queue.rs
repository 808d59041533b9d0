//! How many connections wait to be accepted.

use std::fs::{self, File};
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Looks at a listener's queue until it is told to end.
pub(crate) struct Queue {
    over: Arc<AtomicBool>,
    watcher: JoinHandle<u64>,
    full_before: u64,
}

pub(crate) struct Seen {
    pub(crate) longest: u64,
    /// Connects that met a full queue, of any listener of the machine.
    pub(crate) full: u64,
}

impl Queue {
    pub(crate) fn watch(addr: SocketAddr) -> Queue {
        let over = Arc::new(AtomicBool::new(false));
        let until = over.clone();
        let watcher = thread::spawn(move || {
            let mut longest = 0;
            while !until.load(Ordering::Relaxed) {
                longest = longest.max(length(addr.port()).unwrap_or(0));
                thread::park_timeout(Duration::from_millis(2));
            }
            longest
        });
        Queue { over, watcher, full_before: full().unwrap_or(0) }
    }

    pub(crate) fn end(self) -> Result<Seen> {
        self.over.store(true, Ordering::Relaxed);
        let longest = self.watcher.join().map_err(|_| "the watcher panicked")?;
        Ok(Seen { longest, full: full()? - self.full_before })
    }
}

/// The queue of the listener on this port, if there is one. Listeners stand first in the list.
fn length(port: u16) -> Result<u64> {
    const LISTENS: &str = "0A";
    let (mut file, mut text, mut piece) = (File::open("/proc/net/tcp")?, Vec::new(), [0; 4096]);
    let local = format!(":{port:04X}");
    loop {
        let read = file.read(&mut piece)?;
        text.extend_from_slice(&piece[..read]);
        let said = String::from_utf8_lossy(&text);
        // A line that is cut off has too few fields yet.
        for line in said.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().take(5).collect();
            let [_, address, _, state, queues] = fields[..] else { continue };
            if state != LISTENS {
                return Ok(0);
            }
            if address.ends_with(&local) && queues.len() == 17 {
                return Ok(u64::from_str_radix(&queues[9..], 16)?);
            }
        }
        if read == 0 {
            return Ok(0);
        }
    }
}

/// How many connects have met a full queue so far.
fn full() -> Result<u64> {
    let text = fs::read_to_string("/proc/net/netstat")?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next().ok_or("no names")?, lines.next().ok_or("no values")?);
    let mut both = names.split_whitespace().zip(values.split_whitespace());
    let (_, count) = both.find(|(name, _)| *name == "ListenOverflows").ok_or("not counted")?;
    Ok(count.parse()?)
}
