//! The server as a process, seen from outside.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::Result;
use crate::memory::Memory;
use crate::port::Reserved;
use crate::process::{self, Process, Stdout};

pub(crate) struct Server {
    process: Process,
    places: String,
    pub(crate) addr: SocketAddr,
    /// It keeps its port while it is away.
    reserved: Arc<Reserved>,
}

impl Server {
    pub(crate) fn start(links: usize) -> Result<Server> {
        let reserved = Arc::new(Reserved::new());
        // And some for those who are new.
        let places = (links + 100).to_string();
        let process = start(&reserved, &places);
        Ok(Server { process, places, addr: reserved.addr(), reserved })
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    pub(crate) fn start_again(&mut self) -> Result<()> {
        self.process = start(&self.reserved, &self.places);
        Ok(())
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        Memory::of(self.process.id())
    }

    pub(crate) fn threads(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/task", self.process.id()))?.count())
    }

    /// The processor's time that it has used.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // Behind the name, which may contain anything; in hundredths of a second.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let mut ticks = 0;
        for field in fields.skip(11).take(2) {
            ticks += field.parse::<u64>()?;
        }
        Ok(Duration::from_millis(10 * ticks))
    }
}

fn start(reserved: &Arc<Reserved>, places: &str) -> Process {
    let port = reserved.port();
    let args = ["--port", &port, "--max-clients", places];
    let process = Process::start(process::SERVER, &args, Stdout::Null);
    process.says(&format!("listening on 127.0.0.1:{port} "));
    process
}
