//! What people would take instead, each used as its documentation shows.

use std::io::{BufReader, BufWriter, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::runtime::{Builder, Runtime};
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use tungstenite::{Message, WebSocket};

use crate::harness::Result;
use crate::harness::ages::{Ages, Messages};
use crate::harness::ends::{BATCH, End, How, Kind, Listening};

/// A message and its length by hand.
pub(crate) const PREFIX: Kind = Kind {
    name: "raw + length",
    listen: || accept(|stream| Ok(Box::new(Loops(Prefix::new(stream)?)))),
    connect: |address| Ok(Box::new(Loops(Prefix::new(connect(address)?)?))),
};

/// On a runtime of one thread, which is the fastest here.
pub(crate) const TOKIO: Kind = Kind {
    name: "tokio",
    listen: || accept(|stream| Ok(Box::new(Tokio::new(stream)?))),
    connect: |address| Ok(Box::new(Tokio::new(connect(address)?)?)),
};

pub(crate) const TUNGSTENITE: Kind = Kind {
    name: "tungstenite",
    listen: || {
        accept(|stream| {
            Ok(Box::new(Loops(Tungstenite(tungstenite::accept(stream).map_err(failed)?))))
        })
    },
    connect: |address| {
        let client = tungstenite::client(format!("ws://{address}"), connect(address)?);
        Ok(Box::new(Loops(Tungstenite(client.map_err(failed)?.0))))
    },
};

/// Two DEALER sockets.
pub(crate) const LIBZMQ: Kind = Kind {
    name: "libzmq",
    listen: || {
        let socket = zmq::Context::new().socket(zmq::DEALER)?;
        socket.bind("tcp://127.0.0.1:*")?;
        let endpoint = socket.get_last_endpoint()?.map_err(|_| "an endpoint that is no text")?;
        let address = endpoint.trim_start_matches("tcp://").parse()?;
        Ok((address, Box::new(|| Ok(Box::new(Loops(Libzmq::new(socket)?))))))
    },
    connect: |address| {
        let socket = zmq::Context::new().socket(zmq::DEALER)?;
        socket.connect(&format!("tcp://{address}"))?;
        Ok(Box::new(Loops(Libzmq::new(socket)?)))
    },
};

/// Two Pair0 sockets.
pub(crate) const NNG: Kind = Kind {
    name: "nng",
    listen: || {
        use nng::options::{LocalAddr, Options};
        let socket = nng::Socket::new(nng::Protocol::Pair0)?;
        let listener = nng::Listener::new(&socket, "tcp://127.0.0.1:0")?;
        let nng::SocketAddr::Inet(address) = listener.get_opt::<LocalAddr>()? else {
            return Err("not an address".into());
        };
        // The crate leaves the port as it is on the wire.
        let address = SocketAddr::from((*address.ip(), u16::from_be(address.port())));
        Ok((address, Box::new(|| Ok(Box::new(Loops(Nng(socket)))))))
    },
    connect: |address| {
        let socket = nng::Socket::new(nng::Protocol::Pair0)?;
        socket.dial(&format!("tcp://{address}"))?;
        Ok(Box::new(Loops(Nng(socket))))
    },
};

pub(crate) fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn accept(end: fn(TcpStream) -> Result<Box<dyn End>>) -> Result<Listening> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let accept = move || {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        end(stream)
    };
    Ok((address, Box::new(accept)))
}

pub(crate) fn failed(error: impl std::error::Error) -> String {
    error.to_string()
}

pub(crate) fn check(len: usize, size: usize) -> Result<()> {
    if len == size { Ok(()) } else { Err(format!("{len} bytes instead of {size}").into()) }
}

/// What can be had of one message at a time, on the caller's thread.
trait Blocking {
    fn send(&mut self, message: &Bytes) -> Result<()>;

    fn receive(&mut self, size: usize) -> Result<impl Deref<Target = [u8]>>;

    /// Sends back what it received.
    fn answer(&mut self, size: usize) -> Result<()>;

    /// Sends without writing; where this cannot be, there are no batches.
    fn feed(&mut self, _message: &Bytes) -> Result<()> {
        Err("no way to send a batch".into())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Makes an [`End`] of it.
struct Loops<T>(T);

impl<T: Blocking> End for Loops<T> {
    fn trips(&mut self, message: &Bytes, count: u64) -> Result<()> {
        for _ in 0..count {
            self.0.send(message)?;
            self.0.receive(message.len())?;
        }
        Ok(())
    }

    fn echo(&mut self, size: usize, count: u64) -> Result<()> {
        (0..count).try_for_each(|_| self.0.answer(size))
    }

    fn stream(&mut self, how: How, messages: &mut Messages, count: u64) -> Result<()> {
        match how {
            How::Each => (0..count).try_for_each(|_| self.0.send(messages.next())),
            How::Batches => (0..count / BATCH).try_for_each(|_| {
                (0..BATCH).try_for_each(|_| self.0.feed(messages.next()))?;
                self.0.flush()
            }),
            How::Owned | How::Many | How::Four => Err("not measured".into()),
        }
    }

    fn drain(&mut self, _: How, size: usize, count: u64, ages: &mut Ages) -> Result<()> {
        (0..count).try_for_each(|_| {
            ages.note(&self.0.receive(size)?);
            Ok(())
        })
    }
}

struct Prefix {
    reader: BufReader<TcpStream>,
    writer: BufWriter<TcpStream>,
    body: Vec<u8>,
}

impl Prefix {
    const BUFFER: usize = 64 * 1024;

    fn new(stream: TcpStream) -> Result<Prefix> {
        Ok(Prefix {
            reader: BufReader::with_capacity(Prefix::BUFFER, stream.try_clone()?),
            writer: BufWriter::with_capacity(Prefix::BUFFER, stream),
            body: Vec::new(),
        })
    }
}

impl Blocking for Prefix {
    fn send(&mut self, message: &Bytes) -> Result<()> {
        self.feed(message)?;
        self.flush()
    }

    fn receive(&mut self, size: usize) -> Result<impl Deref<Target = [u8]>> {
        let mut len = [0; 4];
        self.reader.read_exact(&mut len)?;
        let len = u32::from_be_bytes(len) as usize;
        check(len, size)?;
        self.body.resize(len, 0);
        self.reader.read_exact(&mut self.body)?;
        Ok(&self.body[..])
    }

    fn answer(&mut self, size: usize) -> Result<()> {
        self.receive(size)?;
        self.writer.write_all(&u32::try_from(size)?.to_be_bytes())?;
        self.writer.write_all(&self.body)?;
        self.flush()
    }

    fn feed(&mut self, message: &Bytes) -> Result<()> {
        self.writer.write_all(&u32::try_from(message.len())?.to_be_bytes())?;
        Ok(self.writer.write_all(message)?)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(self.writer.flush()?)
    }
}

struct Tungstenite(WebSocket<TcpStream>);

impl Blocking for Tungstenite {
    fn send(&mut self, message: &Bytes) -> Result<()> {
        Ok(self.0.send(Message::Binary(message.clone()))?)
    }

    fn receive(&mut self, size: usize) -> Result<impl Deref<Target = [u8]>> {
        receive(&mut self.0, size)
    }

    fn answer(&mut self, size: usize) -> Result<()> {
        let message = receive(&mut self.0, size)?;
        Ok(self.0.send(Message::Binary(message))?)
    }

    fn feed(&mut self, message: &Bytes) -> Result<()> {
        Ok(self.0.write(Message::Binary(message.clone()))?)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(self.0.flush()?)
    }
}

pub(crate) fn receive(socket: &mut WebSocket<TcpStream>, size: usize) -> Result<Bytes> {
    match socket.read()? {
        Message::Binary(message) => check(message.len(), size).map(|()| message),
        other => Err(format!("unexpected: {other}").into()),
    }
}

struct Libzmq {
    socket: zmq::Socket,
    message: zmq::Message,
}

impl Libzmq {
    fn new(socket: zmq::Socket) -> Result<Libzmq> {
        // Nothing is left when it ends.
        socket.set_linger(0)?;
        Ok(Libzmq { socket, message: zmq::Message::new() })
    }
}

impl Blocking for Libzmq {
    fn send(&mut self, message: &Bytes) -> Result<()> {
        Ok(self.socket.send(&message[..], 0)?)
    }

    fn receive(&mut self, size: usize) -> Result<impl Deref<Target = [u8]>> {
        self.socket.recv(&mut self.message, 0)?;
        check(self.message.len(), size)?;
        Ok(&self.message[..])
    }

    fn answer(&mut self, size: usize) -> Result<()> {
        self.receive(size)?;
        Ok(self.socket.send(std::mem::replace(&mut self.message, zmq::Message::new()), 0)?)
    }
}

struct Nng(nng::Socket);

impl Blocking for Nng {
    fn send(&mut self, message: &Bytes) -> Result<()> {
        self.0.send(&message[..]).map_err(|(_, error)| error.into())
    }

    fn receive(&mut self, size: usize) -> Result<impl Deref<Target = [u8]>> {
        let message = self.0.recv()?;
        check(message.len(), size)?;
        Ok(message)
    }

    fn answer(&mut self, size: usize) -> Result<()> {
        let message = self.0.recv()?;
        check(message.len(), size)?;
        self.0.send(message).map_err(|(_, error)| error.into())
    }
}

struct Tokio {
    runtime: Runtime,
    framed: Frames,
}

pub(crate) type Frames = Framed<tokio::net::TcpStream, LengthDelimitedCodec>;

impl Tokio {
    fn new(stream: TcpStream) -> Result<Tokio> {
        let runtime = runtime()?;
        stream.set_nonblocking(true)?;
        let stream = runtime.block_on(async { tokio::net::TcpStream::from_std(stream) })?;
        Ok(Tokio { runtime, framed: Framed::new(stream, LengthDelimitedCodec::new()) })
    }
}

pub(crate) fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_io().build()?)
}

pub(crate) async fn next(framed: &mut Frames, size: usize) -> Result<Bytes> {
    let message = framed.next().await.ok_or("the stream ended")??;
    check(message.len(), size).map(|()| message.freeze())
}

impl End for Tokio {
    fn trips(&mut self, message: &Bytes, count: u64) -> Result<()> {
        let Tokio { runtime, framed } = self;
        runtime.block_on(async {
            for _ in 0..count {
                framed.send(message.clone()).await?;
                next(framed, message.len()).await?;
            }
            Ok(())
        })
    }

    fn echo(&mut self, size: usize, count: u64) -> Result<()> {
        let Tokio { runtime, framed } = self;
        runtime.block_on(async {
            for _ in 0..count {
                let message = next(framed, size).await?;
                framed.send(message).await?;
            }
            Ok(())
        })
    }

    fn stream(&mut self, how: How, messages: &mut Messages, count: u64) -> Result<()> {
        let Tokio { runtime, framed } = self;
        runtime.block_on(async {
            match how {
                How::Each => {
                    for _ in 0..count {
                        framed.send(messages.next().clone()).await?;
                    }
                }
                How::Batches => {
                    for _ in 0..count / BATCH {
                        for _ in 0..BATCH {
                            framed.feed(messages.next().clone()).await?;
                        }
                        SinkExt::<Bytes>::flush(framed).await?;
                    }
                }
                How::Owned | How::Many | How::Four => return Err("not measured".into()),
            }
            Ok(())
        })
    }

    fn drain(&mut self, _: How, size: usize, count: u64, ages: &mut Ages) -> Result<()> {
        let Tokio { runtime, framed } = self;
        runtime.block_on(async {
            for _ in 0..count {
                ages.note(&next(framed, size).await?);
            }
            Ok(())
        })
    }
}
