//! The two programs of the tutorial. Both read with one `recv` of at most 4095
//! bytes, and take what it brings for one message.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::port::Reserved;
use crate::{SOON, ms};

pub(crate) const BUFFER: usize = 4095;
pub(crate) const HEARTBEAT: &[u8] = b"keepalive";

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Classic(TcpStream);

impl Classic {
    fn new(stream: TcpStream) -> Classic {
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        stream.set_nodelay(true).unwrap();
        Classic(stream)
    }

    pub(crate) fn connect(port: &str) -> Classic {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().unwrap()));
        Classic::new(TcpStream::connect(addr).unwrap())
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends as much as is taken within the time. Returns how much.
    pub(crate) fn send_some(&mut self, bytes: &[u8], within: Duration) -> usize {
        self.0.set_write_timeout(Some(within)).unwrap();
        let mut sent = 0;
        while sent < bytes.len() {
            match self.0.write(&bytes[sent..]) {
                Ok(n) => sent += n,
                Err(_) => break,
            }
        }
        self.0.set_write_timeout(Some(SOON)).unwrap();
        sent
    }

    /// What one `recv` brings; nothing at the end.
    #[track_caller]
    pub(crate) fn recv(&mut self) -> Vec<u8> {
        let mut buffer = [0; BUFFER];
        let n = self.0.read(&mut buffer).unwrap();
        buffer[..n].to_vec()
    }

    /// The next message, as the server sees it, and how many heartbeats came before.
    #[track_caller]
    pub(crate) fn message(&mut self) -> (String, usize) {
        let mut heartbeats = 0;
        loop {
            let received = self.recv();
            if received != HEARTBEAT {
                return (String::from_utf8(received).unwrap(), heartbeats);
            }
            heartbeats += 1;
        }
    }

    /// A line of any length.
    #[track_caller]
    pub(crate) fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            // What stands behind it stays where it is.
            let mut buffer = [0; BUFFER];
            let seen = self.0.peek(&mut buffer).unwrap();
            assert!(seen > 0, "the end, {} bytes into a line", line.len());
            let newline = buffer[..seen].iter().position(|&byte| byte == b'\n');
            let piece = &mut buffer[..newline.map_or(seen, |at| at + 1)];
            self.0.read_exact(piece).unwrap();
            line.extend_from_slice(piece);
        }
        line
    }

    /// Lock-step: a line, and the one reply to it.
    #[track_caller]
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.send(line);
        String::from_utf8(self.recv()).unwrap()
    }

    /// Nothing comes for so long.
    #[track_caller]
    pub(crate) fn hears_nothing(&mut self, time: Duration) {
        self.0.set_read_timeout(Some(time)).unwrap();
        let mut buffer = [0; BUFFER];
        match self.0.read(&mut buffer) {
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Ok(n) => panic!("heard {:?}", buffer[..n].escape_ascii().to_string()),
            Err(e) => panic!("{e}"),
        }
        self.0.set_read_timeout(Some(SOON)).unwrap();
    }

    /// There is no more input; replies still come.
    pub(crate) fn finish(&mut self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }

    /// All that comes until the other side ends.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        if let Err(e) = self.0.read_to_end(&mut rest) {
            assert_eq!(e.kind(), io::ErrorKind::ConnectionReset, "after {rest:?}");
        }
        String::from_utf8(rest).unwrap()
    }

    /// Gone, with a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// A server that is there, and does what a test tells it to do. Dropped, it is killed.
pub(crate) struct ClassicServer(TcpListener);

impl ClassicServer {
    /// With a receive buffer of this size, or the usual one.
    pub(crate) fn listen(port: &Reserved, buffer: Option<usize>) -> ClassicServer {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        if let Some(buffer) = buffer {
            socket.set_recv_buffer_size(buffer).unwrap();
        }
        socket.bind(&port.addr().into()).unwrap();
        socket.listen(5).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        ClassicServer(socket.into())
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    #[track_caller]
    pub(crate) fn accept(&self) -> Classic {
        Classic::new(self.0.accept().expect("nobody connects").0)
    }
}

impl Drop for ClassicServer {
    fn drop(&mut self) {
        // A process that another test starts has it as well, until it becomes its
        // program, and would take connections that long.
        SockRef::from(&self.0).shutdown(Shutdown::Both).unwrap();
    }
}

/// Long enough for a few heartbeats of 100 ms.
pub(crate) const A_WHILE: Duration = ms(700);
