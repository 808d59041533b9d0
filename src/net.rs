//! Sockets, as this crate uses them: nothing here blocks in a write, and
//! nothing toggles a socket's mode once it carries frames (another thread may
//! be in a call on it).

mod listen;
mod pipe;
mod poll;

pub(crate) use pipe::Pipe;
pub(crate) use poll::{Alarm, Epoll, Interest, PollFd, breathe, poll, poll_fd, readiness};

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use bytes::Buf;
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
use nix::{getsockopt_impl, libc, sockopt_impl, sys::socket::getsockopt};
#[cfg(target_os = "linux")]
use nix::{setsockopt_impl, sys::socket::setsockopt};
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use socket2::{Domain, Protocol, SockAddr, TcpKeepalive, Type};

use crate::proto::frame::Space;
use crate::proto::pulse::Watch;
use crate::sync::{after, now};
#[cfg(test)]
use crate::testing::counters;

/// The kernel takes no more than 15 bits of seconds for its questions, nor 7 for
/// how many they are, nor 31 of milliseconds for its patience.
const LONGEST_QUESTION: Duration = Duration::from_secs(i16::MAX as u64);
const MOST_QUESTIONS: u32 = i8::MAX as u32;
#[cfg(target_os = "linux")]
const LONGEST_PATIENCE: Duration = Duration::from_millis(i32::MAX as u64);

/// What it takes for the longest time until it sends again.
#[cfg(target_os = "linux")]
const SHORTEST_REST: Duration = Duration::from_secs(1);
#[cfg(target_os = "linux")]
const LONGEST_REST: Duration = Duration::from_secs(120);

/// A peer that has not introduced itself, or speaks plain text, is asked after this.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Nothing blocks in a write, or is killed by SIGPIPE. macOS has no flag for the
/// latter but an option of the socket, SO_NOSIGPIPE (getsockopt(2)): `socket2` sets it
/// on every socket it makes, and those that are accepted inherit it.
#[cfg(not(target_vendor = "apple"))]
const FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
#[cfg(target_vendor = "apple")]
const FLAGS: SendFlags = SendFlags::DONTWAIT;

/// macOS ignores MSG_DONTWAIT in a send (`sosendcheck` in bsd/kern/uipc_socket.c of
/// XNU): there no socket blocks at all, and a thread that waits to read does that in
/// poll(2), which is a call more. With `--cfg like_macos` so it is everywhere, for tests.
const NONBLOCKING: bool = cfg!(any(target_vendor = "apple", like_macos));

/// A TCP socket.
#[derive(Debug)]
pub(crate) struct Socket {
    inner: socket2::Socket,
    /// What its kernel had counted as acknowledged when it was prepared, and the
    /// bytes of the handshake since.
    before: u64,
}

impl From<socket2::Socket> for Socket {
    fn from(inner: socket2::Socket) -> Socket {
        Socket { inner, before: 0 }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

/// A socket that does not block.
fn tcp(addr: SocketAddr) -> io::Result<socket2::Socket> {
    let (domain, protocol) = (Domain::for_address(addr), Some(Protocol::TCP));
    let socket = socket2::Socket::new(domain, Type::STREAM, protocol)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

impl Socket {
    /// Begins to connect. [`Socket::connected`] tells how it went, once the
    /// socket is writable.
    pub(crate) fn connect(addr: SocketAddr) -> io::Result<Socket> {
        let socket = tcp(addr)?;
        match socket.connect(&SockAddr::from(addr)) {
            // One that is interrupted goes on in the background as well.
            Err(e)
                if !matches!(Errno::from_io_error(&e), Some(Errno::INPROGRESS | Errno::INTR)) =>
            {
                Err(e)
            }
            _ => Ok(Socket::from(socket)),
        }
    }

    /// Whether the connect succeeded.
    pub(crate) fn connected(&self) -> io::Result<()> {
        if let Some(error) = self.inner.take_error()? {
            return Err(error);
        }
        // Trap 17: a connect to a free port of the ephemeral range can meet itself.
        if self.inner.local_addr()?.as_socket() == self.inner.peer_addr()?.as_socket() {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionRefused,
                "connected to itself: nobody listens there",
            ));
        }
        Ok(rustix::io::ioctl_fionbio(self, NONBLOCKING)?)
    }

    /// A descriptor that can be given up later to make room for another.
    pub(crate) fn spare() -> Option<Socket> {
        socket2::Socket::new(Domain::IPV4, Type::STREAM, None).ok().map(Socket::from)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        let addr = self.inner.local_addr()?;
        addr.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// Sets the options of a socket that carries messages.
    pub(crate) fn prepare(&mut self) -> io::Result<()> {
        self.inner.set_tcp_nodelay(true)?;
        self.before = acknowledged(self).unwrap_or(0);
        Ok(())
    }

    /// From now on the kernel watches the peer like this, whatever it did before.
    pub(crate) fn watch(&self, watch: Watch) -> io::Result<()> {
        match watch.asks {
            Some(asks) => self.ask(asks, watch.gives_up)?,
            None => self.inner.set_keepalive(false)?,
        }
        // macOS has nothing like TCP_USER_TIMEOUT (tcp(4)): TCP_CONNECTIONTIMEOUT is about
        // connecting, and TCP_KEEPALIVE, which asks, about links without bytes under way.
        // With some, it gives up after its own time.
        #[cfg(target_os = "linux")]
        {
            // Not none at all: then it gives up by a count, which is reached the sooner
            // the more often it sends again.
            self.inner.set_tcp_user_timeout(Some(watch.gives_up.min(LONGEST_PATIENCE)))?;
            // Since Linux 6.15. Before, what a link is late after an outage stays as it was.
            let resends = watch.resends.clamp(SHORTEST_REST, LONGEST_REST);
            let _ = setsockopt(self, TcpRtoMax, &(resends.as_millis() as u32));
        }
        Ok(())
    }

    /// The kernel asks a silent peer whether it lives. It is patient with one that
    /// takes nothing.
    fn keep_alive(&self) -> io::Result<()> {
        self.ask(KEEPALIVE, KEEPALIVE * 3)
    }

    fn ask(&self, asks: Duration, gives_up: Duration) -> io::Result<()> {
        // It counts in seconds.
        let asks = asks.clamp(Duration::from_secs(1), LONGEST_QUESTION);
        let keepalive = TcpKeepalive::new().with_time(asks).with_interval(asks);
        let silences = gives_up.as_secs() / asks.as_secs();
        let questions = u32::try_from(silences).unwrap_or(u32::MAX).saturating_sub(1);
        self.inner.set_tcp_keepalive(&keepalive.with_retries(questions.clamp(1, MOST_QUESTIONS)))
    }

    /// Blocks until there are bytes, at most for `timeout`, which was set with
    /// [`Socket::set_read_timeout`]; 0 is the end.
    pub(crate) fn read(&self, space: Space<'_>, timeout: Option<Duration>) -> io::Result<usize> {
        if NONBLOCKING {
            poll(&mut [poll_fd(self, Interest::READ)], timeout.and_then(after));
        }
        self.receive(space, RecvFlags::empty())
    }

    /// Reads what is there.
    pub(crate) fn try_read(&self, space: Space<'_>) -> io::Result<usize> {
        self.receive(space, RecvFlags::DONTWAIT)
    }

    fn receive(&self, space: Space<'_>, flags: RecvFlags) -> io::Result<usize> {
        #[cfg(test)]
        counters::count(|counters| counters.reads += 1);
        Ok(match space {
            Space::Buffer(buffer) => rustix::net::recv(self, buffer, flags)?.0,
            Space::Body(bytes) => rustix::net::recv(self, spare_capacity(bytes), flags)?.0,
        })
    }

    /// Whether reading, or accepting, has something to say at once.
    pub(crate) fn is_readable(&self) -> bool {
        let mut fds = [poll_fd(self, Interest::READ)];
        poll(&mut fds, Some(now()));
        readiness(&fds[0]).read
    }

    /// Whether there is something to read, be it the end or an error.
    pub(crate) fn has_queued(&self) -> bool {
        !matches!(self.peek(), Err(Errno::AGAIN | Errno::INTR))
    }

    /// Whether there are bytes to read.
    pub(crate) fn has_bytes(&self) -> bool {
        matches!(self.peek(), Ok(1))
    }

    fn peek(&self) -> rustix::io::Result<usize> {
        #[cfg(test)]
        counters::count(|counters| counters.other_calls += 1);
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        rustix::net::recv(self, &mut [0; 1], flags).map(|(n, _)| n)
    }

    /// How many of the `written` bytes that followed the handshake the peer's
    /// kernel has acknowledged, if ours tells. That says nothing of the peer's
    /// application, but something of the path.
    pub(crate) fn acknowledged(&self, written: u64) -> Option<u64> {
        #[cfg(test)]
        counters::count(|counters| counters.other_calls += 1);
        #[cfg(target_vendor = "apple")]
        return unacknowledged(self).map(|queued| written.saturating_sub(queued));
        #[cfg(not(target_vendor = "apple"))]
        acknowledged(self).map(|count| count.saturating_sub(self.before).min(written))
    }

    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        #[cfg(test)]
        counters::count(|counters| counters.other_calls += 1);
        if NONBLOCKING {
            // The reader waits in poll.
            return Ok(());
        }
        // SO_RCVTIMEO. Linux rounds it up to its ticks, and has coarse timers for long
        // times (see [Blocking](crate#blocking)).
        self.inner.set_read_timeout(timeout)
    }

    /// Writes as many of the bytes as the socket takes at once, without blocking and
    /// without SIGPIPE. Returns whether all of them were written.
    pub(crate) fn write(&self, bytes: &mut impl Buf) -> io::Result<bool> {
        while bytes.has_remaining() {
            #[cfg(test)]
            counters::count(|counters| counters.writes += 1);
            let sent = if bytes.chunk().len() == bytes.remaining() {
                rustix::net::send(self, bytes.chunk(), FLAGS)
            } else {
                // A lone message needs none: to clear them took 190 of its 4,800 instructions.
                let mut slices = [IoSlice::new(&[]); 64];
                let count = bytes.chunks_vectored(&mut slices);
                let none = &mut SendAncillaryBuffer::default();
                rustix::net::sendmsg(self, &slices[..count], none, FLAGS)
            };
            match sent {
                Ok(n) => bytes.advance(n),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                // macOS says so while the peer is just leaving; see uv__try_write in
                // src/unix/stream.c of libuv.
                Err(Errno::PROTOTYPE) => return Err(Errno::CONNRESET.into()),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(true)
    }

    /// Writes a few bytes if there is room; a handshake's are few enough.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = rustix::net::send(&*self, bytes, FLAGS)?;
        self.before += sent as u64;
        if sent < bytes.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(())
    }

    /// When it is closed, what it has not sent is thrown away, and the peer
    /// hears of it at once.
    pub(crate) fn reset_on_close(&self) {
        // An error means that no peer is left to hear of it.
        let _ = self.inner.set_linger(Some(Duration::ZERO));
    }

    /// Why the socket is broken, if it is.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.inner.take_error().unwrap_or_else(Some)
    }

    /// Ends a link: a thread that waits to read from it returns. Never the listener: Linux
    /// would wake its accept, and macOS says ENOTCONN.
    pub(crate) fn shutdown(&self, how: Shutdown) {
        #[cfg(target_os = "linux")]
        if how == Shutdown::Both {
            // What is left of it is no longer worth that much patience.
            let _ = self.inner.set_tcp_user_timeout(None);
        }
        // An error means that there is nothing left to shut down.
        let _ = self.inner.shutdown(how);
    }
}

/// `tcpi_bytes_acked`, the 16th word of `struct tcp_info` (Linux 4.1; tcp(7)): the
/// bytes that the peer's kernel has acknowledged, and one for our SYN.
#[cfg(target_os = "linux")]
fn acknowledged(socket: &Socket) -> Option<u64> {
    getsockopt(socket, TcpInfo).ok().map(|info| info[15])
}

#[cfg(not(target_os = "linux"))]
fn acknowledged(_: &Socket) -> Option<u64> {
    None
}

#[cfg(target_os = "linux")]
sockopt_impl!(TcpInfo, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, [u64; 16]);

/// `include/uapi/linux/tcp.h`; in milliseconds.
#[cfg(target_os = "linux")]
const TCP_RTO_MAX_MS: libc::c_int = 44;

#[cfg(target_os = "linux")]
sockopt_impl!(TcpRtoMax, Both, libc::IPPROTO_TCP, TCP_RTO_MAX_MS, u32);

/// The bytes in the queue of what is to be sent, or acknowledged (SO_NWRITE,
/// `sys/socket.h` of macOS).
#[cfg(target_vendor = "apple")]
fn unacknowledged(socket: &Socket) -> Option<u64> {
    getsockopt(socket, SoNwrite).ok().and_then(|queued| u64::try_from(queued).ok())
}

#[cfg(target_vendor = "apple")]
sockopt_impl!(SoNwrite, GetOnly, libc::SOL_SOCKET, libc::SO_NWRITE, libc::c_int);

#[cfg(test)]
mod tests;
