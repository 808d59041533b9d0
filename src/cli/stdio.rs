//! The standard streams, as other programs leave them.
//!
//! Any of them may be non-blocking. The flag belongs to the open file, which is the
//! shell's and other programs' as well, so it is never changed: a read or a write that
//! would block waits for the stream and is repeated, as after `EINTR`.
//!
//! What std offers cannot be used for that: its buffers lose count of what was
//! written before an error, and `eprintln!` panics.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileTypeExt;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::stdio::stdin;
pub(super) use rustix::stdio::{stderr, stdout};

/// The pause before another try where `poll` does not help: it took a stream for ready
/// that was not (a terminal with room for half an end of line), or refuses it (macOS
/// does so with some terminals).
const PAUSE: Duration = Duration::from_millis(10);

/// A standard stream, without a buffer.
pub(super) type Stream = BorrowedFd<'static>;

/// To be polled beside others.
pub(super) fn input() -> PollFd<'static> {
    PollFd::from_borrowed_fd(stdin(), PollFlags::IN)
}

/// Whether a byte of standard input comes within this time, rather than the end. It is lost.
pub(super) fn has_more(patience: Duration) -> bool {
    let ready = !poll_once(stdin(), PollFlags::IN, patience).is_empty();
    ready && rustix::io::read(stdin(), &mut [0]).is_ok_and(|read| read > 0)
}

/// Waits until there is input, or its end. If an output is given and has gone, and there is no
/// input yet, that fails with [`ErrorKind::BrokenPipe`]. Without one it does not wait.
pub(super) fn wait_for_input(output: Option<ReadEnd>) -> io::Result<()> {
    match output {
        Some(output) if output.has_gone_before(&[input()]) => Err(ErrorKind::BrokenPipe.into()),
        _ => Ok(()),
    }
}

/// Reads standard input.
pub(super) fn read(to: &mut [u8]) -> io::Result<usize> {
    patiently(stdin(), PollFlags::IN, || rustix::io::read(stdin(), &mut *to))
}

/// Writes a part.
pub(super) fn write(to: Stream, bytes: &[u8]) -> io::Result<usize> {
    patiently(to, PollFlags::OUT, || rustix::io::write(to, bytes))
}

/// Writes everything. After an error, `bytes` is what was not written.
pub(super) fn write_all(to: Stream, bytes: &mut &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match write(to, bytes)? {
            0 => return Err(ErrorKind::WriteZero.into()),
            written => *bytes = &bytes[written..],
        }
    }
    Ok(())
}

/// Whether this error of a write says that nothing reads the stream any more. Any
/// other may pass, such as that of a full disk.
pub(super) fn has_lost_reader(stream: Stream, error: &io::Error) -> bool {
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => true,
        // Of a terminal that is gone. A disk says the same.
        _ if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
            poll_once(stream, PollFlags::OUT, Duration::ZERO).contains(PollFlags::HUP)
        }
        _ => false,
    }
}

/// Whether output is taken within this time: not by a terminal that was stopped
/// (Ctrl-S), and goes on no sooner.
pub(super) fn takes_output(stream: Stream, patience: Duration) -> bool {
    !poll_once(stream, PollFlags::OUT, patience).is_empty()
}

/// Ends standard output, as far as this process holds it. What is written there from now on is
/// thrown away.
pub(super) fn finish_output() -> io::Result<()> {
    // It may be a socket, which standard input or another process holds, too.
    let _ = rustix::net::shutdown(stdout(), rustix::net::Shutdown::Write);
    let null = File::options().write(true).open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdout(null)?)
}

/// Whether it is a file with nothing in it.
pub(super) fn is_empty_file(stream: Stream) -> bool {
    let metadata = stream.try_clone_to_owned().and_then(|file| File::from(file).metadata());
    metadata.is_ok_and(|it| it.is_file() && it.len() == 0)
}

/// What a stream is ready for within this time.
pub(super) fn poll_once(stream: BorrowedFd<'_>, asked: PollFlags, patience: Duration) -> PollFlags {
    let patience = Timespec::try_from(patience).ok();
    let mut fds = [PollFd::from_borrowed_fd(stream, asked)];
    poll(&mut fds, patience.as_ref()).map_or(PollFlags::empty(), |_| fds[0].revents())
}

/// Calls until the stream is ready for it.
fn patiently<T>(
    stream: Stream,
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

/// The other end of standard output, where it can be told without a write that nothing
/// reads there any more: that of a pipe or a socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadEnd {
    asked: PollFlags,
    gone: PollFlags,
}

impl ReadEnd {
    /// `None` of a file or a terminal.
    pub(super) fn of_output() -> Option<ReadEnd> {
        let stdout = File::from(stdout().try_clone_to_owned().ok()?);
        let kind = stdout.metadata().ok()?.file_type();
        // A pipe without a reader: Linux says ERR, others HUP. macOS looks only at what
        // it is asked for.
        let pipe = ReadEnd { asked: PollFlags::HUP, gone: PollFlags::HUP | PollFlags::ERR };
        // A socket that is closed in both directions. macOS, if asked, says the same of one
        // whose peer has only ended its own writing; there, the next write tells.
        let socket = ReadEnd { asked: PollFlags::empty(), gone: PollFlags::HUP };
        match kind {
            _ if kind.is_fifo() => Some(pipe),
            _ if kind.is_socket() => Some(socket),
            _ => None,
        }
    }

    /// Waits until nothing reads there any more; `false` if that cannot be told, or another
    /// stream is ready.
    pub(super) fn has_gone_before(self, others: &[PollFd<'_>]) -> bool {
        self.poll(None, others) == (true, false)
    }

    /// Waits until nothing reads there any more or another stream is ready, for this time at
    /// most. Returns whether the one is so, and the other.
    pub(super) fn poll(self, time: Option<Duration>, others: &[PollFd<'_>]) -> (bool, bool) {
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        loop {
            let output = PollFd::from_borrowed_fd(stdout(), self.asked);
            let mut fds = [&[output], others].concat();
            match poll(&mut fds, time.as_ref()) {
                Err(Errno::INTR) => {}
                // As for others, so that nobody takes it for a lost reader.
                Err(_) => return (false, true),
                Ok(_) => {
                    let gone = fds[0].revents().intersects(self.gone);
                    return (gone, fds[1..].iter().any(|fd| !fd.revents().is_empty()));
                }
            }
        }
    }

    /// Calls this on a thread of its own when nothing reads there any more.
    pub(super) fn watch(self, gone: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let watch = move || self.has_gone_before(&[]).then(gone);
        thread::Builder::new().name("output".into()).spawn(watch).map(drop)
    }
}
