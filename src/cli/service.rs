//! A service manager such as systemd: takes the socket that it holds for the server, and tells
//! it how far the server is. Without one, nothing of this does anything.

use std::net::TcpListener;

use anyhow::{Context, bail};
use sd_notify::NotifyState;

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
    tell(&[NotifyState::Ready]);
}

/// Reads files again by `read`, which returns when that is done.
pub fn reload(read: impl FnOnce()) {
    let began = NotifyState::monotonic_usec_now();
    tell(&[Some(NotifyState::Reloading), began.ok()].into_iter().flatten().collect::<Vec<_>>());
    read();
    ready();
}

/// The server ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("cannot tell the service manager: {error}");
    }
}
