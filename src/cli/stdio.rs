//! The standard streams, as other programs leave them.
//!
//! Any of them may be non-blocking. The flag belongs to the open file, which is the
//! shell's and other programs' as well, so it is never changed: a read or a write that
//! would block waits for the stream and is repeated, as after `EINTR`.
//!
//! What std offers cannot be used for that: its buffers lose count of what was
//! written before an error, and `eprintln!` panics.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, IsTerminal, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// The pause before another try where `poll` does not help: it took a stream for ready
/// that was not (a terminal with room for half an end of line), or refuses it (macOS
/// does so with some terminals).
const PAUSE: Duration = Duration::from_millis(10);

/// Standard input, without a buffer.
#[derive(Debug)]
pub(super) struct Reader {
    stdin: io::Stdin,
    /// Also waited for, before each read.
    output: Option<ReadEnd>,
}

impl Reader {
    /// If `output` is given and has gone, and there is no input yet, a read fails with
    /// [`ErrorKind::BrokenPipe`].
    pub(super) fn new(output: Option<ReadEnd>) -> Reader {
        Reader { stdin: io::stdin(), output }
    }

    /// Whether a byte comes within this time, rather than the end. It is lost.
    pub(super) fn has_more(&mut self, patience: Duration) -> bool {
        let patience = Timespec::try_from(patience).ok();
        let mut fds = [PollFd::new(&self.stdin, PollFlags::IN)];
        let ready = poll(&mut fds, patience.as_ref()).is_ok_and(|ready| ready > 0);
        ready && rustix::io::read(&self.stdin, &mut [0]).is_ok_and(|read| read > 0)
    }

    /// Waits until there is input, or its end; fails as a read does. Without an output to
    /// watch it leaves the wait to the read.
    fn wait(&mut self) -> io::Result<()> {
        while let Some(output) = &self.output {
            let mut fds = [PollFd::new(&self.stdin, PollFlags::IN), output.poll_fd()];
            match poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                Err(_) => break,
                Ok(_) if !fds[0].revents().is_empty() => break,
                Ok(_) => {}
            }
            if output.has_gone(fds[1].revents()) {
                return Err(ErrorKind::BrokenPipe.into());
            }
            // It cannot be told, and would be told of again and again.
            self.output = None;
        }
        Ok(())
    }
}

impl Read for Reader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.wait()?;
        patiently(self.stdin.as_fd(), PollFlags::IN, || rustix::io::read(&self.stdin, &mut *to))
    }
}

/// Standard output or standard error, without a buffer.
#[derive(Debug)]
pub(super) enum Writer {
    /// Standard output.
    Output(io::Stdout),
    /// Standard error.
    Error(io::Stderr),
}

impl Writer {
    /// Standard output.
    pub(super) fn output() -> Writer {
        Writer::Output(io::stdout())
    }

    /// Standard error.
    pub(super) fn error() -> Writer {
        Writer::Error(io::stderr())
    }

    /// Writes everything. After an error, `bytes` is what was not written.
    pub(super) fn write_all(&self, bytes: &mut &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match patiently(self.as_fd(), PollFlags::OUT, || rustix::io::write(self, bytes))? {
                0 => return Err(ErrorKind::WriteZero.into()),
                written => *bytes = &bytes[written..],
            }
        }
        Ok(())
    }

    /// Whether this error of a write says that nothing reads the stream any more. Any
    /// other may pass, such as that of a full disk.
    pub(super) fn has_lost_reader(&self, error: &io::Error) -> bool {
        match error.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => true,
            // Of a terminal that is gone. A disk says the same.
            _ if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => self.hung_up(),
            _ => false,
        }
    }

    fn hung_up(&self) -> bool {
        let mut fds = [PollFd::new(self, PollFlags::OUT)];
        let polled = poll(&mut fds, Some(&Timespec::default()));
        polled.is_ok() && fds[0].revents().contains(PollFlags::HUP)
    }

    /// Whether it is a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        match self {
            Writer::Output(stdout) => stdout.is_terminal(),
            Writer::Error(stderr) => stderr.is_terminal(),
        }
    }

    /// Whether it is a file with nothing in it.
    pub(super) fn is_empty_file(&self) -> bool {
        metadata(self.as_fd()).is_ok_and(|it| it.is_file() && it.len() == 0)
    }
}

impl AsFd for Writer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Writer::Output(stdout) => stdout.as_fd(),
            Writer::Error(stderr) => stderr.as_fd(),
        }
    }
}

/// Calls until the stream is ready for it.
fn patiently<T>(
    stream: BorrowedFd<'_>,
    ready: PollFlags,
    mut call: impl FnMut() -> rustix::io::Result<T>,
) -> io::Result<T> {
    let mut waited = false;
    loop {
        match call() {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                if waited {
                    thread::park_timeout(PAUSE);
                }
                let _ = poll(&mut [PollFd::from_borrowed_fd(stream, ready)], None);
                waited = true;
            }
            result => return result.map_err(io::Error::from),
        }
    }
}

fn metadata(stream: BorrowedFd<'_>) -> io::Result<Metadata> {
    File::from(stream.try_clone_to_owned()?).metadata()
}

/// The other end of standard output, where it can be told without a write that nothing
/// reads there any more: that of a pipe or a socket.
#[derive(Debug)]
pub(super) struct ReadEnd {
    stdout: io::Stdout,
    asked: PollFlags,
    gone: PollFlags,
}

impl ReadEnd {
    /// `None` of a file or a terminal.
    pub(super) fn of_output() -> Option<ReadEnd> {
        let stdout = io::stdout();
        let kind = metadata(stdout.as_fd()).ok()?.file_type();
        // A pipe without a reader: Linux says ERR, others HUP. macOS looks only at what
        // it is asked for.
        let pipe = (PollFlags::HUP, PollFlags::HUP | PollFlags::ERR);
        // A socket that is closed in both directions. macOS, if asked, says the same of one
        // whose peer has only ended its own writing; there, the next write tells.
        let socket = (PollFlags::empty(), PollFlags::HUP);
        let (asked, gone) = match kind {
            _ if kind.is_fifo() => pipe,
            _ if kind.is_socket() => socket,
            _ => return None,
        };
        Some(ReadEnd { stdout, asked, gone })
    }

    /// To be polled beside others.
    pub(super) fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(&self.stdout, self.asked)
    }

    /// What `poll` found there, if anything. If it is not this, it says no more than that.
    pub(super) fn has_gone(&self, revents: PollFlags) -> bool {
        revents.intersects(self.gone)
    }

    /// Waits until nothing reads there any more; `false` if that cannot be told.
    pub(super) fn wait(&self) -> bool {
        loop {
            let mut fds = [self.poll_fd()];
            match poll(&mut fds, None) {
                Err(Errno::INTR) => {}
                polled => return polled.is_ok() && self.has_gone(fds[0].revents()),
            }
        }
    }
}
