//! The program at this end: a TCP connection, or what the standard streams lead to.

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags};
use socket2::SockRef;

use super::{LAST_BYTES, LOOK};
use crate::cli::now;
use crate::cli::stdio::{self, ReadEnd};
use crate::{Connection, Event};

/// How long the death of a program takes.
const DEATH: Duration = Duration::from_millis(20);

/// What bytes come from and go to. One thread reads, and one writes.
pub(super) trait Local: Sync {
    /// Reads; blocks until there is something. 0 bytes are the end.
    fn read(&self, to: &mut [u8]) -> io::Result<usize>;

    /// Writes a part. If that blocks for long, it may fail with [`ErrorKind::WouldBlock`].
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Nothing more is written.
    fn finish(&self) -> io::Result<()>;

    /// Waits for a failure. None within this time is `Ok`.
    fn fail_within(&self, time: Duration) -> io::Result<()>;
}

/// A TCP connection. It is reset when it is dropped, or the process dies, until it is
/// [kept](Socket::keep).
pub(super) struct Socket {
    stream: Arc<TcpStream>,
    finished: AtomicBool,
    /// A write has failed. Who reads may then see an end, since an error is told once.
    failed: AtomicBool,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> io::Result<Socket> {
        let socket = SockRef::from(&stream);
        socket.set_linger(Some(Duration::ZERO))?;
        socket.set_tcp_nodelay(true)?;
        // Urgent bytes are bytes like the others.
        socket.set_out_of_band_inline(true)?;
        // A peer that is gone without a word is noticed, be it after hours.
        socket.set_keepalive(true)?;
        socket.set_write_timeout(Some(LOOK))?;
        let (finished, failed) = Default::default();
        Ok(Socket { stream: Arc::new(stream), finished, failed })
    }

    /// Lets a thread that reads go on, as at the end of what there is to read. Nothing is told
    /// to the peer: a FIN would come before the reset.
    pub(super) fn wake(&self) {
        let _ = self.stream.shutdown(Shutdown::Read);
    }

    /// For the events of the session that this belongs to. When it is over, it may be that no
    /// thread receives; and while the client tries to connect, none looks after the socket.
    pub(super) fn watcher(&self) -> impl Fn(&Connection, &Event) + Send + Sync + 'static {
        let (stream, connected) = (Arc::downgrade(&self.stream), AtomicBool::new(false));
        move |connection, event| {
            let Some(stream) = stream.upgrade() else { return };
            match event {
                Event::Connected { .. } => connected.store(true, Ordering::SeqCst),
                Event::Retrying { .. }
                    if !connected.load(Ordering::SeqCst)
                        && !matches!(stream.take_error(), Ok(None)) =>
                {
                    connection.abort();
                }
                _ if super::is_end(event) => drop(stream.shutdown(Shutdown::Read)),
                _ => {}
            }
        }
    }

    /// Everything was said: it is not reset when it is dropped.
    pub(super) fn keep(&self) {
        let _ = SockRef::from(&*self.stream).set_linger(None);
    }
}

impl Local for Socket {
    fn read(&self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&*self.stream).read(to) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // After a reset of which a write has heard first, there is an end, too.
                Ok(0) => return self.fail_within(Duration::ZERO).map(|()| 0),
                result => return result,
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match (&*self.stream).write(bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(0),
            Err(error) if error.kind() != ErrorKind::WouldBlock => {
                self.failed.store(true, Ordering::SeqCst);
                Err(error)
            }
            result => result,
        }
    }

    fn finish(&self) -> io::Result<()> {
        // Both ways may end here; then it counts as hung up.
        self.finished.store(true, Ordering::SeqCst);
        self.stream.shutdown(Shutdown::Write)
    }

    fn fail_within(&self, time: Duration) -> io::Result<()> {
        let found = stdio::poll_once(self.stream.as_fd(), PollFlags::empty(), time);
        let has_hung_up = found.contains(PollFlags::HUP) && !self.finished.load(Ordering::SeqCst);
        match self.stream.take_error()? {
            Some(error) => Err(error),
            None if has_hung_up || self.failed.load(Ordering::SeqCst) => {
                Err(ErrorKind::ConnectionReset.into())
            }
            None => Ok(()),
        }
    }
}

/// Standard input and output.
pub(super) struct Streams {
    output: Option<ReadEnd>,
    /// Since when nothing reads the output any more.
    unread: Mutex<Option<Instant>>,
    /// Ends when nothing more is written: until then, who waits for input holds the output open.
    finished: (PipeReader, Mutex<Option<PipeWriter>>),
}

impl Streams {
    pub(super) fn new() -> io::Result<Streams> {
        let (end, begin) = io::pipe()?;
        let (output, unread) = (ReadEnd::of_output(), Mutex::default());
        Ok(Streams { output, unread, finished: (end, Mutex::new(Some(begin))) })
    }

    fn finished(&self) -> PollFd<'_> {
        PollFd::new(&self.finished.0, PollFlags::IN)
    }
}

impl Local for Streams {
    /// What a program has said before it left is still read, but not for ever.
    fn read(&self, to: &mut [u8]) -> io::Result<usize> {
        let Some(output) = self.output else { return stdio::read(to) };
        let (is_unread, is_other) = output.poll(None, &[stdio::input(), self.finished()]);
        if is_unread {
            let since = *self.unread.lock().get_or_insert_with(now);
            if !is_other || since.elapsed() > LAST_BYTES {
                return Err(ErrorKind::BrokenPipe.into());
            }
        }
        match stdio::read(to)? {
            // A program that dies loses its streams one after the other: that is no end in order.
            0 => self.fail_within(DEATH).map(|()| 0),
            read => Ok(read),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        stdio::write(stdio::stdout(), bytes)
    }

    fn finish(&self) -> io::Result<()> {
        self.finished.1.lock().take();
        stdio::finish_output()
    }

    fn fail_within(&self, time: Duration) -> io::Result<()> {
        let is_unread = match self.output {
            Some(output) => output.poll(Some(time), &[self.finished()]) == (true, false),
            None => {
                stdio::poll_once(self.finished.0.as_fd(), PollFlags::IN, time);
                false
            }
        };
        if is_unread { Err(ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}
