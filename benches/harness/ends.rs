//! The two ends of a connection, by what carries it.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use bytes::Bytes;
use longlink::{Builder, Connection};

use super::Result;
use super::ages::{Ages, Messages};

/// Messages in a batch.
pub(crate) const BATCH: u64 = 64;
/// Threads that send at once.
pub(crate) const THREADS: u64 = 4;
/// Messages that are received by one call, at most.
const AT_ONCE: usize = 1000;
/// Why messages that say when they were sent are not sent some way.
pub(crate) const NO_AGES: &str = "ages are not measured";

/// How a stream is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// One plain send per message, of borrowed bytes where there is a choice.
    Each,
    /// One plain send per message, of bytes that are handed over.
    Owned,
    /// Messages are gathered, and written when there are 64.
    Batches,
    /// Slices of 64 messages, each by one call; received as many as there are by
    /// one call, too.
    Many,
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

    fn stream(&mut self, how: How, _messages: &mut Messages, _count: u64) -> Result<()> {
        Err(format!("does not stream: {how:?}").into())
    }

    /// Receives a stream that is sent so.
    fn drain(&mut self, _how: How, _size: usize, _count: u64, _ages: &mut Ages) -> Result<()> {
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

pub(crate) fn listen(builder: Builder) -> Result<Listening> {
    let listener = builder.bind("127.0.0.1:0")?;
    let address = listener.local_addr();
    Ok((address, Box::new(move || Ok(Box::new(Longlink(listener.accept()?))))))
}

pub(crate) fn connect(builder: Builder, address: SocketAddr) -> Result<Box<dyn End>> {
    Ok(Box::new(Longlink(builder.connect(address)?)))
}

pub(crate) struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    pub(crate) fn new(stream: TcpStream) -> Result<Raw> {
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

    fn stream(&mut self, how: How, messages: &mut Messages, count: u64) -> Result<()> {
        match how {
            How::Each | How::Owned => {
                for _ in 0..count {
                    self.stream.write_all(messages.next())?;
                }
            }
            How::Batches => {
                let mut batch = Vec::new();
                for _ in 0..count / BATCH {
                    batch.clear();
                    for _ in 0..BATCH {
                        batch.extend_from_slice(messages.next());
                    }
                    self.stream.write_all(&batch)?;
                }
            }
            // One is a batch, the other would tear messages.
            How::Many | How::Four => return Err("not measured".into()),
        }
        Ok(())
    }

    fn drain(&mut self, _: How, size: usize, count: u64, ages: &mut Ages) -> Result<()> {
        if ages.are_wanted() {
            let mut reader = BufReader::with_capacity(self.buffer.len(), &self.stream);
            let mut message = vec![0; size];
            for _ in 0..count {
                reader.read_exact(&mut message)?;
                ages.note(&message);
            }
            return Ok(());
        }
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

pub(crate) struct Longlink(pub(crate) Connection);

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

    fn stream(&mut self, how: How, messages: &mut Messages, count: u64) -> Result<()> {
        let Longlink(connection) = self;
        match how {
            How::Each => {
                for _ in 0..count {
                    connection.send(messages.next())?;
                }
            }
            How::Owned => {
                for _ in 0..count {
                    connection.send_bytes(messages.next().clone())?;
                }
            }
            How::Batches => {
                for _ in 0..count / BATCH {
                    for _ in 0..BATCH {
                        connection.feed(messages.next())?;
                    }
                    connection.flush()?;
                }
            }
            How::Many => {
                let batch = vec![messages.same().ok_or(NO_AGES)?.clone(); BATCH as usize];
                for _ in 0..count / BATCH {
                    connection.feed_many(&batch)?;
                    connection.flush()?;
                }
            }
            How::Four => {
                let message = messages.same().ok_or(NO_AGES)?;
                let send = || (0..count / THREADS).try_for_each(|_| connection.send(message));
                thread::scope(|scope| {
                    let threads = [(); THREADS as usize].map(|()| scope.spawn(send));
                    threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
                })?;
            }
        }
        Ok(())
    }

    fn drain(&mut self, how: How, size: usize, count: u64, ages: &mut Ages) -> Result<()> {
        if how != How::Many {
            return (0..count)
                .try_for_each(|_| self.receive(size).map(|message| ages.note(&message)));
        }
        let (mut messages, mut left) = (Vec::new(), count as usize);
        while left > 0 {
            left -= self.0.recv_many(&mut messages, left.min(AT_ONCE))?;
            if messages.is_empty() || messages.iter().any(|message| message.len() != size) {
                return Err("the stream ended, or has another size".into());
            }
            messages.clear();
        }
        Ok(())
    }
}
