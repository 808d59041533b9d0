//! The two programs, in clear text and by keys.

use std::net::SocketAddr;
use std::process::Command;

use crate::between::{self, Between, Folder, file};
use crate::harness::Result;
use crate::harness::ends::Kind;

pub(crate) const CLEAR: Kind = Kind {
    name: "longlink",
    listen: || between::listen(|service| server(service, &[])),
    connect: |address| between::connect(|server| client(server, &[]), address),
};

pub(crate) const KEYS: Kind = Kind {
    name: "longlink, keys",
    listen: || between::listen(|service| server(service, &["--keys", &file("keys")])),
    connect: |address| {
        between::connect(|server| client(server, &["--invite", &file("bench.invite")]), address)
    },
};

const SERVER: &str = env!("CARGO_BIN_EXE_server");
const CLIENT: &str = env!("CARGO_BIN_EXE_client");

/// Makes the keys of both sides.
pub(crate) fn prepare(folder: &Folder) -> Result<()> {
    let args = ["--keys", &folder.file("keys"), "--invite", "bench"];
    let made = Command::new(SERVER).args(args).output()?;
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into());
    }
    Ok(std::fs::rename(folder.file("keys/bench.invite"), folder.file("bench.invite"))?)
}

fn server(service: SocketAddr, security: &[&str]) -> Result<(SocketAddr, Between)> {
    start(SERVER, &[&["--to", &service.to_string(), "--port", "0"], security].concat())
}

fn client(server: SocketAddr, security: &[&str]) -> Result<(SocketAddr, Between)> {
    start(CLIENT, &[&["--listen", "0", &server.to_string()], security].concat())
}

fn start(program: &str, args: &[&str]) -> Result<(SocketAddr, Between)> {
    let mut program = Between::start(program, args)?;
    Ok((program.listens()?, program))
}
