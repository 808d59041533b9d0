//! The two echo servers, each a process that can be killed.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use longlink::{Connection, Listener};

use crate::Result;

/// This program is started with it, the kind and the port.
pub(crate) const ARGUMENT: &str = "--echo";
const LONGLINK: &str = "longlink";
const LINES: &str = "lines";
/// What a server of lines says first, so that a client behind a proxy knows
/// that it has got through.
pub(crate) const GREETING: &str = "ready\n";

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Longlink,
    Lines,
}

pub(crate) struct Server(Child);

impl Server {
    /// When it returns, the server listens.
    pub(crate) fn start(kind: Kind, addr: SocketAddr) -> Result<Server> {
        let kind = match kind {
            Kind::Longlink => LONGLINK,
            Kind::Lines => LINES,
        };
        let mut command = Command::new(std::env::current_exe()?);
        command.args([ARGUMENT, kind, &addr.port().to_string()]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut server = Server(child);
        let output = server.0.stdout.as_mut().ok_or("no pipe")?;
        // Of a server that ends instead, the pipe ends.
        output.read_exact(&mut [0]).map_err(|_| format!("no {kind} server on {addr}"))?;
        Ok(server)
    }

    /// kill -9, and gone when this returns.
    pub(crate) fn kill(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The process: serves until its standard input ends, as it does with the
/// program that started it.
pub(crate) fn serve(kind: &str, port: u16) -> Result<()> {
    let addr = (Ipv4Addr::LOCALHOST, port);
    match kind {
        LONGLINK => {
            let listener = Listener::bind(addr)?;
            thread::spawn(move || {
                while let Ok(connection) = listener.accept() {
                    thread::spawn(move || echo(&connection));
                }
            });
        }
        LINES => {
            let listener = TcpListener::bind(addr)?;
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    thread::spawn(move || echo_lines(&stream));
                }
            });
        }
        _ => return Err("an echo server of which kind?".into()),
    }
    println!();
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn echo(connection: &Connection) -> longlink::Result<()> {
    for message in connection.incoming() {
        connection.send_bytes(message?)?;
    }
    connection.close()
}

fn echo_lines(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(GREETING.as_bytes())?;
    let mut lines = BufReader::new(stream);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        stream.write_all(&line)?;
        line.clear();
    }
    Ok(())
}
