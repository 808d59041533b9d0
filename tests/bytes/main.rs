//! Bytes through the two programs: `server --to`, `client --stdio` and `client --listen`.
//!
//! The test is the service as well as the program that uses it, or standard input and output.
#![cfg(feature = "cli")]

#[path = "../support/port.rs"]
mod port;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/proxy.rs"]
#[allow(unreachable_pub)]
mod proxy;
#[path = "../support/wait.rs"]
mod wait;

mod cuts;
mod ends;
mod flow;
mod pipe;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use port::Reserved;
use process::{CLIENT, Process, Server, Stdout};
use proxy::{How, Proxy};

/// The patience of every wait.
const SOON: Duration = Duration::from_secs(20);

/// Loses and regains a link in no time.
const QUICK: [&str; 6] =
    ["--heartbeat", "100ms", "--retry-delay", "50ms", "--connect-timeout", "300ms"];

/// A service, and the two programs that lead to it.
struct Tunnel {
    service: TcpListener,
    /// The service's: nobody else gets it when the service is gone.
    _port: Reserved,
    reserved: Arc<Reserved>,
    server: Server,
    /// Between the two programs.
    proxy: Proxy,
    client: Process,
    /// Where programs connect to.
    entry: SocketAddr,
}

impl Tunnel {
    fn new() -> Tunnel {
        Tunnel::with(&[], &[])
    }

    /// With more arguments for the server, and for the client.
    fn with(server: &[&str], client: &[&str]) -> Tunnel {
        let port = Reserved::new();
        let service = TcpListener::bind(port.addr()).unwrap();
        let reserved = Arc::new(Reserved::new());
        let server = start_server(&reserved, port.addr(), server);
        let proxy = Proxy::to(reserved.addr());
        let to = proxy.addr().to_string();
        let args = [&["--listen", "0", &to], client, &QUICK].concat();
        let client = Process::start(CLIENT, &args, Stdout::Read);
        let said = client.says("listening on ");
        let entry = said.split_whitespace().last().unwrap().parse().unwrap();
        Tunnel { service, _port: port, reserved, server, proxy, client, entry }
    }

    /// A program connects. Returns its connection, and that of the service.
    fn open(&self) -> [TcpStream; 2] {
        let program = connect(self.entry);
        [program, patient(self.service.accept().unwrap().0)]
    }
}

fn start_server(reserved: &Arc<Reserved>, service: SocketAddr, more: &[&str]) -> Server {
    let to = service.to_string();
    Server::start_on(reserved, &[&["--to", &to], more].concat(), Stdout::Read)
}

fn connect(address: SocketAddr) -> TcpStream {
    patient(TcpStream::connect(address).unwrap())
}

/// No read of it waits for ever.
fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    stream
}

/// Sends at one end, and sees that it comes at the other.
#[track_caller]
fn passes(text: &str, [from, to]: [&TcpStream; 2]) {
    let (mut from, mut to) = (from, to);
    from.write_all(text.as_bytes()).unwrap();
    let mut got = vec![0; text.len()];
    to.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), text);
}

/// Reads to the end, which may be a reset.
fn rest(mut stream: &TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut got = Vec::new();
    let end = stream.read_to_end(&mut got).map(drop);
    (got, end)
}

/// Sees that the connection is reset, and nothing before.
#[track_caller]
fn is_reset(stream: &TcpStream) {
    let (got, end) = rest(stream);
    assert_eq!(got, b"");
    match end {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("no reset, but {other:?}"),
    }
}

/// Resets a connection.
fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Bytes of all kinds, the same each time.
fn pattern(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(17);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

/// Ends the way out.
fn finish(stream: &TcpStream) {
    stream.shutdown(Shutdown::Write).unwrap();
}
