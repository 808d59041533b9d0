//! A connection for each round trip: connect, one request, close.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use bytes::Bytes;
use longlink::{Builder, Connection, Listener};

use super::Result;
use super::ends::{End, Kind, Listening};

/// The server drops its socket when it has answered, and the client then its own.
pub(crate) const SHORT_RAW: Kind = Kind {
    name: "raw, a connection each",
    listen: || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        Ok((address, Box::new(|| Ok(Box::new(RawServer(listener))))))
    },
    connect: |address| Ok(Box::new(RawClient(address))),
};

/// Ends when both sides know that nothing is missing.
pub(crate) const SHORT_LONGLINK: Kind = Kind {
    name: "longlink, a connection each",
    listen: || listen(Connection::builder()),
    connect: |address| Ok(connect(Connection::builder(), address)),
};

pub(crate) fn listen(builder: Builder) -> Result<Listening> {
    let listener = builder.bind("127.0.0.1:0")?;
    let address = listener.local_addr();
    Ok((address, Box::new(|| Ok(Box::new(Server(listener))))))
}

pub(crate) fn connect(builder: Builder, address: SocketAddr) -> Box<dyn End> {
    Box::new(Client(builder, address))
}

struct RawServer(TcpListener);

impl End for RawServer {
    fn echo(&mut self, size: usize, count: u64) -> Result<()> {
        let mut buffer = vec![0; size];
        for _ in 0..count {
            let (mut stream, _) = self.0.accept()?;
            stream.set_nodelay(true)?;
            stream.read_exact(&mut buffer)?;
            stream.write_all(&buffer)?;
        }
        Ok(())
    }
}

struct RawClient(SocketAddr);

impl End for RawClient {
    fn trips(&mut self, message: &Bytes, count: u64) -> Result<()> {
        let mut buffer = vec![0; message.len()];
        for _ in 0..count {
            let mut stream = TcpStream::connect(self.0)?;
            stream.set_nodelay(true)?;
            stream.write_all(message)?;
            stream.read_exact(&mut buffer)?;
        }
        Ok(())
    }
}

struct Server(Listener);

impl End for Server {
    fn echo(&mut self, _: usize, count: u64) -> Result<()> {
        for connection in self.0.incoming().take(count as usize) {
            let connection = connection?;
            while let Some(message) = connection.recv()? {
                connection.send(&message)?;
            }
            connection.close()?;
        }
        Ok(())
    }
}

struct Client(Builder, SocketAddr);

impl End for Client {
    fn trips(&mut self, message: &Bytes, count: u64) -> Result<()> {
        let Client(builder, address) = self;
        for _ in 0..count {
            let connection = builder.clone().connect(*address)?;
            connection.send(message)?;
            if connection.recv()?.map(|reply| reply.len()) != Some(message.len()) {
                return Err("no echo".into());
            }
            connection.close()?;
        }
        Ok(())
    }
}
