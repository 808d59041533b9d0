//! A connection of theirs for each round trip: connect, one request, close.

use std::net::{SocketAddr, TcpListener};

use bytes::Bytes;
use futures_util::SinkExt;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use tungstenite::{Error, Message};

use crate::harness::Result;
use crate::harness::ends::{End, Kind};
use crate::kinds::{Frames, check, connect, failed, next, receive, runtime};

/// All connections of a process on its one runtime; closed by being dropped.
pub(crate) const SHORT_TOKIO: Kind = Kind {
    name: "tokio, a connection each",
    listen: || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        Ok((address, Box::new(|| Ok(Box::new(TokioServer::new(listener)?)))))
    },
    connect: |address| Ok(Box::new(TokioClient(runtime()?, address))),
};

/// With the handshakes that open and close it.
pub(crate) const SHORT_TUNGSTENITE: Kind = Kind {
    name: "tungstenite, a connection each",
    listen: || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        Ok((address, Box::new(|| Ok(Box::new(TungsteniteServer(listener))))))
    },
    connect: |address| Ok(Box::new(TungsteniteClient(address))),
};

/// One REP socket, and a REQ socket for each request; one context in each process.
pub(crate) const SHORT_LIBZMQ: Kind = Kind {
    name: "libzmq, a connection each",
    listen: || {
        let socket = zmq::Context::new().socket(zmq::REP)?;
        socket.bind("tcp://127.0.0.1:*")?;
        let endpoint = socket.get_last_endpoint()?.map_err(|_| "an endpoint that is no text")?;
        let address = endpoint.trim_start_matches("tcp://").parse()?;
        Ok((address, Box::new(|| Ok(Box::new(LibzmqServer(socket))))))
    },
    connect: |address| Ok(Box::new(LibzmqClient(zmq::Context::new(), address))),
};

struct TokioServer(Runtime, tokio::net::TcpListener);

impl TokioServer {
    fn new(listener: TcpListener) -> Result<TokioServer> {
        let runtime = runtime()?;
        listener.set_nonblocking(true)?;
        let listener = runtime.block_on(async { tokio::net::TcpListener::from_std(listener) })?;
        Ok(TokioServer(runtime, listener))
    }
}

impl End for TokioServer {
    fn echo(&mut self, size: usize, count: u64) -> Result<()> {
        let TokioServer(runtime, listener) = self;
        runtime.block_on(async {
            for _ in 0..count {
                let mut framed = frames(listener.accept().await?.0)?;
                let message = next(&mut framed, size).await?;
                framed.send(message).await?;
            }
            Ok(())
        })
    }
}

struct TokioClient(Runtime, SocketAddr);

impl End for TokioClient {
    fn trips(&mut self, message: &Bytes, count: u64) -> Result<()> {
        let TokioClient(runtime, address) = self;
        runtime.block_on(async {
            for _ in 0..count {
                let mut framed = frames(TcpStream::connect(*address).await?)?;
                framed.send(message.clone()).await?;
                next(&mut framed, message.len()).await?;
            }
            Ok(())
        })
    }
}

fn frames(stream: TcpStream) -> Result<Frames> {
    stream.set_nodelay(true)?;
    Ok(Framed::new(stream, LengthDelimitedCodec::new()))
}

struct TungsteniteServer(TcpListener);

impl End for TungsteniteServer {
    fn echo(&mut self, size: usize, count: u64) -> Result<()> {
        for _ in 0..count {
            let (stream, _) = self.0.accept()?;
            stream.set_nodelay(true)?;
            let mut socket = tungstenite::accept(stream).map_err(failed)?;
            let message = receive(&mut socket, size)?;
            socket.send(Message::Binary(message))?;
            until_closed(|| socket.read())?;
        }
        Ok(())
    }
}

struct TungsteniteClient(SocketAddr);

impl End for TungsteniteClient {
    fn trips(&mut self, message: &Bytes, count: u64) -> Result<()> {
        for _ in 0..count {
            let client = tungstenite::client(format!("ws://{}", self.0), connect(self.0)?);
            let (mut socket, _) = client.map_err(failed)?;
            socket.send(Message::Binary(message.clone()))?;
            receive(&mut socket, message.len())?;
            socket.close(None)?;
            until_closed(|| socket.read())?;
        }
        Ok(())
    }
}

fn until_closed(mut read: impl FnMut() -> std::result::Result<Message, Error>) -> Result<()> {
    loop {
        match read() {
            Ok(Message::Close(_)) => {}
            Err(Error::ConnectionClosed) => return Ok(()),
            Ok(other) => return Err(format!("unexpected: {other}").into()),
            Err(error) => return Err(error.into()),
        }
    }
}

struct LibzmqServer(zmq::Socket);

impl End for LibzmqServer {
    fn echo(&mut self, size: usize, count: u64) -> Result<()> {
        for _ in 0..count {
            let message = self.0.recv_bytes(0)?;
            check(message.len(), size)?;
            self.0.send(message, 0)?;
        }
        Ok(())
    }
}

struct LibzmqClient(zmq::Context, SocketAddr);

impl End for LibzmqClient {
    fn trips(&mut self, message: &Bytes, count: u64) -> Result<()> {
        for _ in 0..count {
            let socket = self.0.socket(zmq::REQ)?;
            // Nothing is left when it ends.
            socket.set_linger(0)?;
            socket.connect(&format!("tcp://{}", self.1))?;
            socket.send(&message[..], 0)?;
            check(socket.recv_bytes(0)?.len(), message.len())?;
        }
        Ok(())
    }
}
