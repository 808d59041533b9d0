//! Listening, and accepting what comes.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::io::Errno;
use socket2::SockAddr;

use super::{NONBLOCKING, Socket, tcp};

/// A listener's queue of connections that wait to be accepted. The standard
/// library's 128 overflows when a thousand clients come back at once.
const BACKLOG: i32 = 4096;

impl Socket {
    /// Listens, without blocking in [`Socket::accept`].
    pub(crate) fn listen(addr: SocketAddr) -> io::Result<Socket> {
        let socket = tcp(addr)?;
        // A server that was killed can start again at once, although its old
        // connections linger in TIME-WAIT. macOS and the BSDs also let one that listens
        // on all addresses and others on single ones share the port.
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() && addr.ip().is_unspecified() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&SockAddr::from(addr))?;
        Socket::listen_on(socket)
    }

    /// Listens on a socket of somebody else's, which may listen already.
    pub(crate) fn inherit(socket: TcpListener) -> io::Result<Socket> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Socket::listen_on(socket.into())
    }

    fn listen_on(socket: socket2::Socket) -> io::Result<Socket> {
        // The kernel takes no more than its own limit: net.core.somaxconn on Linux,
        // kern.ipc.somaxconn on macOS, where it is 128.
        socket.listen(BACKLOG)?;
        let socket = Socket::from(socket);
        // Linux hands it on to those that are accepted, see there.
        let _ = socket.keep_alive();
        Ok(socket)
    }

    /// The kernel notices a peer that vanishes before its hello, or speaks plain text.
    pub(crate) fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        let (socket, addr) = self.inner.accept()?;
        // macOS gives no address of a peer that has gone again.
        let mut addr = addr.as_socket().ok_or(Errno::CONNABORTED)?;
        // Where IPv6 takes IPv4 as well, the kernel says ::ffff:192.0.2.1 of that.
        addr.set_ip(addr.ip().to_canonical());
        let socket = Socket::from(socket);
        // Of the listener's flags, Linux hands on none; macOS and the BSDs O_NONBLOCK.
        if NONBLOCKING || !cfg!(target_os = "linux") {
            rustix::io::ioctl_fionbio(&socket, NONBLOCKING)?;
            let _ = socket.keep_alive();
        }
        Ok((socket, addr))
    }
}
