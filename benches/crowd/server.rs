//! The server as a process, seen from outside.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::port::Reserved;
use crate::process::{self, Process, Stdout};
use crate::wire::tls::Folder;

pub(crate) struct Server {
    process: Process,
    args: Vec<String>,
    pub(crate) addr: SocketAddr,
    /// It keeps its port while it is away.
    reserved: Arc<Reserved>,
}

impl Server {
    /// In clear text, or with these keys.
    pub(crate) fn start(links: usize, keys: Option<&Folder>) -> Server {
        let reserved = Arc::new(Reserved::new());
        // And some for those who are new.
        let places = (links + 100).to_string();
        let mut args = vec!["--port".into(), reserved.port(), "--max-clients".into(), places];
        if let Some(keys) = keys {
            args.extend(["--keys".into(), keys.file("").display().to_string()]);
        }
        let process = start(&reserved, &args);
        Server { process, args, addr: reserved.addr(), reserved }
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Ctrl-C: it says that it restarts, and ends.
    pub(crate) fn interrupt(&mut self) {
        self.process.signal("INT");
        self.process.ends();
    }

    pub(crate) fn start_again(&mut self) {
        self.process = start(&self.reserved, &self.args);
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

fn start(reserved: &Reserved, args: &[String]) -> Process {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let process = Process::start(process::SERVER, &args, Stdout::Null);
    process.says(&format!("listening on 127.0.0.1:{} ", reserved.port()));
    process
}
