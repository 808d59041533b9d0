//! A service manager such as systemd: takes the socket that it holds for the server, and tells
//! it how far the server is. Without one, nothing of this does anything.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::{SocketAddr, UnixDatagram};
#[cfg(target_os = "linux")]
use std::os::{linux::net::SocketAddrExt as _, unix::ffi::OsStrExt as _};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::time::{ClockId, clock_gettime};

use super::text;

/// A service manager that reads nothing for so long is not told: clients are served, and the
/// server ends, whatever it hangs in.
const PATIENCE: Duration = Duration::from_secs(1);

/// The listening socket that was handed over, if there is one
/// ([sd_listen_fds(3)](https://man7.org/linux/man-pages/man3/sd_listen_fds.3.html)).
///
/// # Errors
///
/// If there are several, or if the variables of the environment make no sense.
pub fn socket() -> anyhow::Result<Option<TcpListener>> {
    let handed = sd_listen_fds::get().context("cannot read LISTEN_FDS and LISTEN_PID")?;
    let mut sockets = handed.into_iter().map(|(_, socket)| socket);
    match (sockets.next(), sockets.count()) {
        (socket, 0) => Ok(socket.map(TcpListener::from)),
        (_, more) => bail!("{} sockets were handed over, and the server takes one", 1 + more),
    }
}

/// The server listens.
pub fn ready() {
    tell("READY=1\n");
}

/// Reads files again by `read`, which returns when that is done.
pub fn reload(read: impl FnOnce()) {
    let now = clock_gettime(ClockId::Monotonic);
    let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\n"));
    read();
    ready();
}

/// The server ends.
pub fn stopping() {
    tell("STOPPING=1\n");
}

/// By [sd_notify(3)](https://man7.org/linux/man-pages/man3/sd_notify.3.html).
fn tell(state: &str) {
    let Some(place) = env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&place, state) {
        log::warn!("cannot tell the service manager: {}", text::system(&error));
    }
}

fn send(place: &OsStr, state: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.send_to_addr(state.as_bytes(), &address(place)?).map(drop)
}

/// A path, or a name that is none.
fn address(place: &OsStr) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = place.as_bytes().strip_prefix(b"@") {
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname(place)
}
