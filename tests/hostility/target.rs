//! The server as a process, seen from outside and by a well-behaved client.

use std::net::SocketAddr;
use std::time::Duration;

use longlink::{Builder, Connection};

use crate::process::{Process, SERVER, Stdout};
pub(crate) use crate::wait::{now, until};

/// The patience of every wait: for machines that do much else meanwhile.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) struct Target {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
}

impl Target {
    pub(crate) fn start(args: &[&str]) -> Target {
        let args = [&["--port", "0"], args].concat();
        Target::of(Process::start(SERVER, &args, Stdout::Null))
    }

    /// A server with so many descriptors: `-n` sets the limit, `-S -n` what
    /// the server may raise.
    pub(crate) fn limited(ulimit: &str, args: &[&str]) -> Target {
        let script = format!("ulimit {ulimit} && exec \"$0\" \"$@\"");
        let args = [&["-c", &script, SERVER, "--port", "0"], args].concat();
        Target::of(Process::start("sh", &args, Stdout::Null))
    }

    /// Waits until it listens.
    pub(crate) fn of(process: Process) -> Target {
        let line = process.says("listening on ");
        let (_, behind) = line.split_once("listening on ").unwrap();
        let addr = behind.split(' ').next().unwrap().parse().unwrap();
        Target { process, addr }
    }

    pub(crate) fn bystander(&self) -> Bystander {
        self.bystander_of(Connection::builder())
    }

    pub(crate) fn bystander_of(&self, client: Builder) -> Bystander {
        Bystander(client.connect(self.addr).unwrap())
    }

    fn read(&self, what: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{what}", self.process.id())).unwrap()
    }

    fn status(&self, field: &str) -> usize {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Resident, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.status("VmRSS") * 1024
    }

    /// The most that ever was.
    pub(crate) fn peak_memory(&self) -> usize {
        self.status("VmHWM") * 1024
    }

    pub(crate) fn threads(&self) -> usize {
        self.status("Threads")
    }

    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    /// How many descriptors it may have.
    pub(crate) fn descriptor_limit(&self) -> usize {
        let limits = self.read("limits");
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Whether a second passes without a thread that spins: it would have used
    /// a tenth of it, even among many others.
    pub(crate) fn is_calm(&self) -> bool {
        let (begun, before) = (now(), self.cpu());
        let is_busy = || self.cpu() - before > Duration::from_millis(100);
        until("a second passes", || is_busy() || begun.elapsed() > Duration::from_secs(1));
        !is_busy()
    }

    /// The processor's time that it has used.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.read("stat");
        // Behind the name, which may contain anything; in hundredths of a second.
        let fields = stat.rsplit(')').next().unwrap().split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(10 * ticks)
    }
}

/// A client that means no harm.
pub(crate) struct Bystander(Connection);

impl Bystander {
    /// A message, and its echo.
    #[track_caller]
    pub(crate) fn trip(&self) {
        self.0.send(b"still here?").unwrap();
        let echo = self.0.recv_timeout(SOON);
        assert_eq!(echo.unwrap().as_deref(), Some(&b"still here?"[..]));
    }

    /// How often its link was lost.
    pub(crate) fn losses(&self) -> u64 {
        let stats = self.0.stats();
        stats.reconnects + stats.sessions_lost + u64::from(!self.0.is_connected())
    }
}
