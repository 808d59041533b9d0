//! The server as a process, seen from outside.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::Result;
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

    /// Ctrl-C: it says that it restarts, and ends.
    pub(crate) fn interrupt(&mut self) {
        self.process.signal("INT");
        self.process.ends();
    }

    pub(crate) fn start_again(&mut self) -> Result<()> {
        self.process = start(&self.reserved, &self.places);
        Ok(())
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

fn start(reserved: &Arc<Reserved>, places: &str) -> Process {
    let port = reserved.port();
    let args = ["--port", &port, "--max-clients", places];
    let process = Process::start(process::SERVER, &args, Stdout::Null);
    process.says(&format!("listening on 127.0.0.1:{port} "));
    process
}
