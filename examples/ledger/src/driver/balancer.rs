//! HAProxy with `examples/haproxy.cfg`.

use std::fs::{self, File};
use std::path::Path;

use super::process::{self, Process, find};
use crate::Result;

const CONFIG: &str = include_str!("../../../haproxy.cfg");

/// At the first of the ports, in front of the others.
pub fn new(folder: &Path, ports: &[u16], log: &File) -> Result<Process> {
    let path = folder.join("haproxy.cfg");
    fs::write(&path, config(ports))?;
    let mut command = process::command(&find("haproxy")?);
    command.args(["-q", "-db", "-f"]).arg(path);
    Process::new("HAProxy".into(), command, log)
}

/// With other ports, and without what brings a client back to its server: any one will do.
fn config(ports: &[u16]) -> String {
    let mut config: Vec<String> = Vec::new();
    for line in CONFIG.lines() {
        match line.split_whitespace().next() {
            Some("bind") => config.push(format!("    bind 127.0.0.1:{}", ports[0])),
            Some("stick-table" | "stick" | "server") => {}
            _ => config.push(line.into()),
        }
    }
    let server = |(n, port)| format!("    server server-{n} 127.0.0.1:{port}");
    config.extend((1..).zip(&ports[1..]).map(server));
    config.join("\n") + "\n"
}
