//! The program at this end: a TCP connection, or what the standard streams lead to.

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags};
use socket2::SockRef;

use super::LOOK;
use crate::Event;
use crate::cli::stdio::{self, ReadEnd};

/// What bytes come from and go to. One thread reads, and one writes.
pub(super) trait Local: Sync {
    /// Reads; blocks until there is something. 0 bytes are the end.
    fn read(&self, to: &mut [u8]) -> io::Result<usize>;

    /// Writes a part. If that blocks for long, it may fail with [`ErrorKind::WouldBlock`].
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Nothing more is written.
    fn finish(&self) -> io::Result<()>;

    /// Whether that was said.
    fn has_finished(&self) -> bool;

    /// Waits for a failure. None within this time is `Ok`.
    fn fail_within(&self, time: Duration) -> io::Result<()>;
}

/// A TCP connection. It is reset when it is dropped, or the process dies, until it is
/// [kept](Socket::keep).
pub(super) struct Socket {
    stream: Arc<TcpStream>,
    finished: AtomicBool,
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
        Ok(Socket { stream: Arc::new(stream), finished: AtomicBool::new(false) })
    }

    /// Lets a thread that reads go on, as at the end of what there is to read. Nothing is told
    /// to the peer: a FIN would come before the reset.
    pub(super) fn wake(&self) {
        let _ = self.stream.shutdown(Shutdown::Read);
    }

    /// For the events of the session that this belongs to: none of its threads may be receiving.
    pub(super) fn waker(&self) -> impl Fn(&Event) + Send + Sync + 'static {
        let stream = Arc::downgrade(&self.stream);
        move |event| {
            if super::is_end(event)
                && let Some(stream) = stream.upgrade()
            {
                let _ = stream.shutdown(Shutdown::Read);
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
            result => result,
        }
    }

    fn finish(&self) -> io::Result<()> {
        // Both ways may end here; then it counts as hung up.
        self.finished.store(true, Ordering::SeqCst);
        self.stream.shutdown(Shutdown::Write)
    }

    fn has_finished(&self) -> bool {
        self.finished.load(Ordering::SeqCst)
    }

    fn fail_within(&self, time: Duration) -> io::Result<()> {
        let found = stdio::poll_once(self.stream.as_fd(), PollFlags::empty(), time);
        match self.stream.take_error()? {
            Some(error) => Err(error),
            None if found.contains(PollFlags::HUP) && !self.has_finished() => {
                Err(ErrorKind::ConnectionReset.into())
            }
            None => Ok(()),
        }
    }
}

/// Standard input and output.
pub(super) struct Streams {
    output: Option<ReadEnd>,
    /// Ends when nothing more is written: until then, who waits for input holds the output open.
    finished: (PipeReader, Mutex<Option<PipeWriter>>),
}

impl Streams {
    pub(super) fn new() -> io::Result<Streams> {
        let (end, begin) = io::pipe()?;
        Ok(Streams { output: ReadEnd::of_output(), finished: (end, Mutex::new(Some(begin))) })
    }

    fn finished(&self) -> PollFd<'_> {
        PollFd::new(&self.finished.0, PollFlags::IN)
    }
}

impl Local for Streams {
    fn read(&self, to: &mut [u8]) -> io::Result<usize> {
        if let Some(output) = self.output
            && output.has_gone_before(&[stdio::input(), self.finished()])
        {
            return Err(ErrorKind::BrokenPipe.into());
        }
        stdio::read(to)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        stdio::write(stdio::stdout(), bytes)
    }

    fn finish(&self) -> io::Result<()> {
        self.finished.1.lock().take();
        stdio::finish_output()
    }

    fn has_finished(&self) -> bool {
        self.finished.1.lock().is_none()
    }

    fn fail_within(&self, time: Duration) -> io::Result<()> {
        match self.output {
            Some(output) if output.has_gone_within(Some(time), &[self.finished()]) => {
                Err(ErrorKind::BrokenPipe.into())
            }
            _ => Ok(()),
        }
    }
}
