//! `server --to HOST:PORT`: each session leads to a TCP connection of its own to this service.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use log::Level;

use super::carry;
use super::local::Socket;
use crate::Connection;
use crate::cli::values::HostArg;
use crate::cli::{events, now, text};

/// How long the service may take to be found and to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a client's refusal says by number if the service cannot be reached.
const UNREACHABLE: u32 = 1;

/// The service, which no client chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    name: String,
    port: u16,
}

impl Target {
    /// `HOST:PORT`.
    pub fn parse(text: &str) -> Result<Target, String> {
        match HostArg::parse(text)? {
            HostArg { name, port: Some(port) } => Ok(Target { name, port }),
            _ => Err("the service needs a port, as in 127.0.0.1:22".to_string()),
        }
    }

    /// Connects to the service, and carries a client's bytes until both have ended. Returns what
    /// came of it.
    pub fn serve(&self, number: u64, connection: &Connection) -> (Level, String) {
        let socket = match self.connect(connection) {
            Ok(socket) => socket,
            Err(error) => {
                let why = text::system(error);
                connection.refuse(UNREACHABLE, &format!("the service cannot be reached: {why}"));
                return (Level::Warn, format!("cannot connect to {self}: {why}"));
            }
        };
        let watch = socket.watcher();
        connection.on_event(move |connection, event| {
            let (level, line) = events::of_server(number, &event);
            log::log!(level, "{line}");
            watch(connection, &event);
        });
        carry(connection, &socket, "the service")
    }

    /// Connects, to each address of the name until one answers.
    fn connect(&self, connection: &Connection) -> io::Result<Socket> {
        let until = now() + PATIENCE;
        let addresses = self.addresses(until)?;
        let mut failed = io::Error::other("its name has no address");
        for (tried, address) in addresses.iter().enumerate() {
            if connection.flush().is_err() {
                return Err(io::Error::other("the client has left meanwhile"));
            }
            // The last one may take all the time that is left.
            let left = until.saturating_duration_since(now()) / (addresses.len() - tried) as u32;
            match TcpStream::connect_timeout(address, left.max(Duration::from_millis(1))) {
                // A port that nobody listens on may be given to us, too, and then we would be
                // both ends (RFC 9293, 3.5).
                Ok(stream) if stream.local_addr()? == *address => {
                    failed = ErrorKind::ConnectionRefused.into();
                }
                Ok(stream) => return Socket::new(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Looks the name up each time: the service may have moved.
    fn addresses(&self, until: Instant) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = self.name.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, self.port)]);
        }
        // The system's resolver has its own idea of patience.
        let (found, addresses) = mpsc::channel();
        let service = self.clone();
        let look_up = move || {
            let addresses = (&service.name[..], service.port).to_socket_addrs();
            let _ = found.send(addresses.map(Iterator::collect));
        };
        thread::Builder::new().name("resolver".into()).spawn(look_up)?;
        let left = until.saturating_duration_since(now());
        addresses.recv_timeout(left).unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::Host::new(&self.name[..], self.port).fmt(f)
    }
}
