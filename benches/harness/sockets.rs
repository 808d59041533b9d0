//! The TCP sockets of this process, whoever opened them: a library keeps its
//! own to itself.

/// The classic one. A system's default may be bbr, whose pacing makes bulk on
/// loopback several times slower and says nothing of the rest.
const CONGESTION: &str = "reno";

#[cfg(target_os = "linux")]
#[allow(unused_imports)] // Each benchmark uses a part of it.
pub(crate) use linux::{connected_to, settle};

#[cfg(target_os = "linux")]
mod linux {
    use std::net::{SocketAddr, TcpStream};
    use std::os::fd::OwnedFd;
    use std::{fs, io};

    use rustix::io::Errno;
    use rustix::net::{RecvFlags, getpeername, recv, sockopt};
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    use crate::harness::Result;

    /// Chooses the congestion control of every socket that there is. What a
    /// listener accepts later inherits it. Returns what is in use then.
    pub(crate) fn settle() -> String {
        let mut used = Vec::new();
        let all = each(|socket| {
            let _ = sockopt::set_tcp_congestion(&socket, super::CONGESTION);
            used.extend(sockopt::tcp_congestion(&socket));
        });
        used.sort();
        used.dedup();
        match all {
            Ok(()) => used.join(" and "),
            Err(_) => "as the system has it".into(),
        }
    }

    /// The socket that is connected to `peer` and lives, and has nothing to
    /// read; `None` where a process may not reach its sockets this way.
    pub(crate) fn connected_to(peer: SocketAddr) -> Result<Option<TcpStream>> {
        let mut found = None;
        let is = |socket: &OwnedFd| {
            let its = getpeername(socket).ok().flatten().map(SocketAddr::try_from);
            // Those that were cut before may not be closed yet.
            let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
            let lives = || recv(socket, &mut [0], flags).err() == Some(Errno::AGAIN);
            matches!(its, Some(Ok(its)) if its == peer) && lives()
        };
        match each(|socket| found = found.take().or(is(&socket).then(|| socket.into()))) {
            Ok(()) => found.map(Some).ok_or_else(|| "no link to cut".into()),
            Err(_) => Ok(None),
        }
    }

    fn each(mut act: impl FnMut(OwnedFd)) -> io::Result<()> {
        let this = pidfd_open(getpid(), PidfdFlags::empty())?;
        for entry in fs::read_dir("/proc/self/fd")? {
            let name = entry?.file_name();
            let Some(fd) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            // Some are closed meanwhile.
            let Ok(copy) = pidfd_getfd(&this, fd, PidfdGetfdFlags::empty()) else { continue };
            if sockopt::tcp_congestion(&copy).is_ok() {
                act(copy);
            }
        }
        // Where this is forbidden, it is for all of them.
        pidfd_getfd(&this, 0, PidfdGetfdFlags::empty())?;
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn settle() -> String {
    "as the system has it".into()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn connected_to(_: std::net::SocketAddr) -> super::Result<Option<std::net::TcpStream>> {
    Ok(None)
}
