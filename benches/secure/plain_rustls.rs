//! rustls as its documentation shows it: a `StreamOwned` over a `TcpStream` (nodelay), and a
//! length before each message. All that can be chosen is as longlink has it: TLS 1.3, the
//! same provider with its own order of suites and groups, raw public keys of both sides, which
//! are Ed25519, no tickets. Only whose key it is nobody asks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use bytes::Bytes;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use crate::harness::Result;
use crate::harness::ages::{Ages, Messages};
use crate::harness::ends::{BATCH, End, How, Kind};
use crate::parties;

pub(crate) const RUSTLS: Kind = Kind {
    name: "rustls",
    listen: || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let config = parties()[1].server.clone();
        Ok((address, Box::new(move || Ok(Box::new(accept(&listener, &config)?)))))
    },
    connect: |address| Ok(Box::new(connect(address, &parties()[0].client.clone())?)),
};

/// A connection for each round trip.
pub(crate) const SHORT_RUSTLS: Kind = Kind {
    name: "rustls, a connection each",
    listen: || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server = ShortServer(listener, parties()[1].server.clone());
        Ok((address, Box::new(|| Ok(Box::new(server)))))
    },
    connect: |address| Ok(Box::new(ShortClient(address, parties()[0].client.clone()))),
};

/// What both sides agree upon.
pub(crate) fn agreement() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (address, config) = (listener.local_addr()?, parties()[1].server.clone());
    std::thread::scope(|scope| {
        scope.spawn(|| accept(&listener, &config).and_then(|mut server| server.echo(1, 1)).ok());
        let mut client = connect(address, &parties()[0].client.clone())?;
        client.trips(&Bytes::from_static(b"x"), 1)?;
        let tls = &client.stream.conn;
        let suite = tls.negotiated_cipher_suite().ok_or("no suite")?.suite();
        let group = tls.negotiated_key_exchange_group().ok_or("no group")?.name();
        Ok(format!("{suite:?} and {group:?}"))
    })
}

fn connect(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> Result<Rustls<StreamOwned<ClientConnection, TcpStream>>> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let tls = ClientConnection::new(config.clone(), ServerName::from(address.ip()))?;
    Ok(Rustls::new(StreamOwned::new(tls, socket)))
}

fn accept(
    listener: &TcpListener,
    config: &Arc<ServerConfig>,
) -> Result<Rustls<StreamOwned<ServerConnection, TcpStream>>> {
    let (socket, _) = listener.accept()?;
    socket.set_nodelay(true)?;
    Ok(Rustls::new(StreamOwned::new(ServerConnection::new(config.clone())?, socket)))
}

const PREFIX: usize = 4;

struct Rustls<S> {
    stream: S,
    buffer: Vec<u8>,
    message: Vec<u8>,
}

impl<S: Read + Write> Rustls<S> {
    fn new(stream: S) -> Rustls<S> {
        Rustls { stream, buffer: Vec::new(), message: Vec::new() }
    }

    fn feed(&mut self, message: &[u8]) {
        self.buffer.extend((message.len() as u32).to_be_bytes());
        self.buffer.extend(message);
    }

    /// One write, since a length of its own would be a record of its own.
    fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn receive(&mut self, size: usize) -> Result<()> {
        let mut len = [0; PREFIX];
        self.stream.read_exact(&mut len)?;
        let len = u32::from_be_bytes(len) as usize;
        if len != size {
            return Err("another size".into());
        }
        self.message.resize(len, 0);
        Ok(self.stream.read_exact(&mut self.message)?)
    }
}

impl<S: Read + Write> End for Rustls<S> {
    fn trips(&mut self, message: &Bytes, count: u64) -> Result<()> {
        for _ in 0..count {
            self.feed(message);
            self.flush()?;
            self.receive(message.len())?;
        }
        Ok(())
    }

    fn echo(&mut self, size: usize, count: u64) -> Result<()> {
        for _ in 0..count {
            self.receive(size)?;
            let message = std::mem::take(&mut self.message);
            self.feed(&message);
            self.message = message;
            self.flush()?;
        }
        Ok(())
    }

    fn stream(&mut self, how: How, messages: &mut Messages, count: u64) -> Result<()> {
        let batch = match how {
            How::Each => 1,
            How::Batches => BATCH,
            How::Owned | How::Many | How::Four => return Err("not measured".into()),
        };
        for _ in 0..count / batch {
            (0..batch).for_each(|_| self.feed(messages.next()));
            self.flush()?;
        }
        Ok(())
    }

    fn drain(&mut self, _: How, size: usize, count: u64, _: &mut Ages) -> Result<()> {
        (0..count).try_for_each(|_| self.receive(size))
    }
}

struct ShortServer(TcpListener, Arc<ServerConfig>);

impl End for ShortServer {
    fn echo(&mut self, size: usize, count: u64) -> Result<()> {
        (0..count).try_for_each(|_| accept(&self.0, &self.1)?.echo(size, 1))
    }
}

struct ShortClient(SocketAddr, Arc<ClientConfig>);

impl End for ShortClient {
    fn trips(&mut self, message: &Bytes, count: u64) -> Result<()> {
        (0..count).try_for_each(|_| connect(self.0, &self.1)?.trips(message, 1))
    }
}
