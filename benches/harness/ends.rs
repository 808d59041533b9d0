//! The two ends of a connection, by what carries it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use bytes::Bytes;
use longlink::{Builder, Connection, Listener};

use super::Result;

/// Messages in a batch.
pub(crate) const BATCH: u64 = 64;
/// Threads that send at once.
pub(crate) const THREADS: u64 = 4;

/// How a stream is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// One plain send per message, of borrowed bytes where there is a choice.
    Each,
    /// One plain send per message, of bytes that are handed over.
    Owned,
    /// Messages are gathered, and written when there are 64.
    Batches,
    /// Plain sends by four threads at once.
    Four,
}

/// One end of a connection, which does some of these. All counts are multiples
/// of 256.
pub(crate) trait End {
    /// Sends a message and receives its echo, again and again.
    fn trips(&mut self, _message: &Bytes, _count: u64) -> Result<()> {
        Err("makes no round trips".into())
    }

    /// Sends back what it receives.
    fn echo(&mut self, _size: usize, _count: u64) -> Result<()> {
        Err("does not echo".into())
    }

    fn stream(&mut self, how: How, _message: &Bytes, _count: u64) -> Result<()> {
        Err(format!("does not stream: {how:?}").into())
    }

    /// Receives a stream.
    fn drain(&mut self, _size: usize, _count: u64) -> Result<()> {
        Err("receives no stream".into())
    }
}

/// What carries the messages.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) listen: fn() -> Result<Listening>,
    pub(crate) connect: fn(SocketAddr) -> Result<Box<dyn End>>,
}

/// A server's address, and how it gets its one connection.
pub(crate) type Listening = (SocketAddr, Box<dyn FnOnce() -> Result<Box<dyn End>>>);

/// A `TcpStream`, nodelay. Both ends know the size of the messages.
pub(crate) const RAW: Kind = Kind {
    name: "raw",
    listen: || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        Ok((address, Box::new(move || Ok(Box::new(Raw::new(listener.accept()?.0)?)))))
    },
    connect: |address| Ok(Box::new(Raw::new(TcpStream::connect(address)?)?)),
};

pub(crate) const LONGLINK: Kind = Kind {
    name: "longlink",
    listen: || listen(Connection::builder()),
    connect: |address| connect(Connection::builder(), address),
};

/// A connection for each round trip.
pub(crate) const SHORT_LONGLINK: Kind = Kind {
    name: "longlink, a connection each",
    listen: || listen_short(Connection::builder()),
    connect: |address| Ok(Box::new(ShortClient(Connection::builder(), address))),
};

pub(crate) fn listen(builder: Builder) -> Result<Listening> {
    let listener = builder.bind("127.0.0.1:0")?;
    let address = listener.local_addr();
    Ok((address, Box::new(move || Ok(Box::new(Longlink(listener.accept()?))))))
}

pub(crate) fn connect(builder: Builder, address: SocketAddr) -> Result<Box<dyn End>> {
    Ok(Box::new(Longlink(builder.connect(address)?)))
}

pub(crate) fn listen_short(builder: Builder) -> Result<Listening> {
    let listener = builder.bind("127.0.0.1:0")?;
    let address = listener.local_addr();
    Ok((address, Box::new(|| Ok(Box::new(ShortServer(listener))))))
}

struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    fn new(stream: TcpStream) -> Result<Raw> {
        stream.set_nodelay(true)?;
        Ok(Raw { stream, buffer: vec![0; 64 * 1024] })
    }
}

impl End for Raw {
    fn trips(&mut self, message: &Bytes, count: u64) -> Result<()> {
        for _ in 0..count {
            self.stream.write_all(message)?;
            self.stream.read_exact(&mut self.buffer[..message.len()])?;
        }
        Ok(())
    }

    fn echo(&mut self, size: usize, count: u64) -> Result<()> {
        for _ in 0..count {
            self.stream.read_exact(&mut self.buffer[..size])?;
            self.stream.write_all(&self.buffer[..size])?;
        }
        Ok(())
    }

    fn stream(&mut self, how: How, message: &Bytes, count: u64) -> Result<()> {
        match how {
            How::Each | How::Owned => {
                for _ in 0..count {
                    self.stream.write_all(message)?;
                }
            }
            How::Batches => {
                let mut batch = Vec::new();
                for _ in 0..count / BATCH {
                    batch.clear();
                    for _ in 0..BATCH {
                        batch.extend_from_slice(message);
                    }
                    self.stream.write_all(&batch)?;
                }
            }
            How::Four => return Err("would tear messages".into()),
        }
        Ok(())
    }

    fn drain(&mut self, size: usize, count: u64) -> Result<()> {
        let mut left = size as u64 * count;
        while left > 0 {
            match self.stream.read(&mut self.buffer)? as u64 {
                0 => return Err("the stream ended".into()),
                n => left = left.checked_sub(n).ok_or("more than was sent")?,
            }
        }
        Ok(())
    }
}

struct Longlink(Connection);

impl Longlink {
    fn receive(&self, size: usize) -> Result<Bytes> {
        let message = self.0.recv()?.ok_or("the stream ended")?;
        if message.len() == size { Ok(message) } else { Err("another size".into()) }
    }
}

impl End for Longlink {
    fn trips(&mut self, message: &Bytes, count: u64) -> Result<()> {
        for _ in 0..count {
            self.0.send(message)?;
            self.receive(message.len())?;
        }
        Ok(())
    }

    fn echo(&mut self, size: usize, count: u64) -> Result<()> {
        for _ in 0..count {
            let message = self.receive(size)?;
            self.0.send(&message)?;
        }
        Ok(())
    }

    fn stream(&mut self, how: How, message: &Bytes, count: u64) -> Result<()> {
        let Longlink(connection) = self;
        match how {
            How::Each => {
                for _ in 0..count {
                    connection.send(message)?;
                }
            }
            How::Owned => {
                for _ in 0..count {
                    connection.send_bytes(message.clone())?;
                }
            }
            How::Batches => {
                for _ in 0..count / BATCH {
                    for _ in 0..BATCH {
                        connection.feed(message)?;
                    }
                    connection.flush()?;
                }
            }
            How::Four => thread::scope(|scope| {
                let send = || (0..count / THREADS).try_for_each(|_| connection.send(message));
                let threads = [(); THREADS as usize].map(|()| scope.spawn(send));
                threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
            })?,
        }
        Ok(())
    }

    fn drain(&mut self, size: usize, count: u64) -> Result<()> {
        for _ in 0..count {
            self.receive(size)?;
        }
        Ok(())
    }
}

struct ShortServer(Listener);

impl End for ShortServer {
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

pub(crate) struct ShortClient(pub(crate) Builder, pub(crate) SocketAddr);

impl End for ShortClient {
    fn trips(&mut self, message: &Bytes, count: u64) -> Result<()> {
        let ShortClient(builder, address) = self;
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
