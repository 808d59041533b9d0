//! `client --listen PORT`: each program that connects there gets a session of its own.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use log::Level;

use super::local::Socket;
use super::{FAREWELL, carry};
use crate::cli::args::ClientArgs;
use crate::cli::clients::Clients;
use crate::cli::end::{self, Ending};
use crate::cli::events::Watch;
use crate::cli::text::{self, Secured};
use crate::cli::{descriptors, log as journal, threads};
use crate::{Builder, Error, Host};

/// What a connection takes: its two sockets, what wakes its threads, and an attempt to connect.
const DESCRIPTORS: u64 = 6;
/// The pause before another attempt to accept a program.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts programs, which are the clients here, for ever.
///
/// # Errors
///
/// What kept it from beginning.
pub fn run(args: &ClientArgs, at: SocketAddr) -> anyhow::Result<Infallible> {
    journal::start(args.level()).context("cannot start the log")?;
    let clients = Clients::new(false);
    let leaving = clients.clone();
    let leave = move |code| {
        let ending = Ending::begin();
        let carried = leaving.carried();
        leaving.abort(FAREWELL);
        log::info!("{carried}");
        ending.exit(code)
    };
    end::when_told_or_hung_up(leave).context("cannot wait for Ctrl-C")?;
    let (builder, secured) = args.secured_builder()?;
    let listener = TcpListener::bind(at)
        .map_err(|error| anyhow!(text::deaf(&error.into())))
        .with_context(|| format!("cannot listen on {at}"))?;
    let local = listener.local_addr().context("cannot listen")?;
    let mut most = args.max_connections();
    if let Some((fewer, limit)) = descriptors::allow(most, DESCRIPTORS) {
        most = fewer as u32;
        log::warn!("at most {} at once: ulimit -n is {limit}", text::count(fewer, "connection"));
    }
    let all =
        if local.ip().to_canonical().is_loopback() { "" } else { " (everybody who can reach it)" };
    log::info!("listening on {local}{all}");
    Arc::new(Forward { clients, builder, secured, hosts: args.hosts() }).accept(&listener, most)
}

struct Forward {
    clients: Arc<Clients>,
    builder: Builder,
    secured: Secured,
    hosts: Vec<Host>,
}

impl Forward {
    /// Serves each on a thread of its own, at most so many at once; others are reset.
    fn accept(self: Arc<Self>, listener: &TcpListener, most: u32) -> ! {
        // Each thread holds one.
        let places = Arc::new(());
        let mut number = 0;
        // The last one was refused, as was said.
        let mut is_full = false;
        loop {
            let accepted = listener.accept().and_then(|(stream, peer)| {
                let socket = Socket::new(stream)?;
                let was_full = is_full;
                is_full = Arc::strong_count(&places) > most as usize;
                if is_full {
                    let level = if was_full { Level::Debug } else { Level::Warn };
                    log::log!(level, "{peer} is refused, as are all beyond {most} at once");
                    return Ok(());
                }
                number += 1;
                let (forward, place) = (self.clone(), places.clone());
                let serve = move || {
                    forward.serve(number, peer, &socket);
                    drop((socket, place));
                };
                let thread = thread::Builder::new().name(format!("client-{number}"));
                thread.stack_size(threads::STACK).spawn(serve).map(drop)
            });
            if let Err(error) = accepted {
                log::warn!("cannot accept a client: {}", text::system(error));
                thread::park_timeout(PAUSE);
            }
        }
    }

    /// Connects to a server, and carries bytes until both sides have ended.
    fn serve(&self, number: u64, peer: SocketAddr, socket: &Socket) {
        log::info!("client-{number}: accepted from {peer}");
        let watch = Watch::named(format!("client-{number}: "), &self.hosts);
        watch.set_secured(self.secured);
        let (watch, look) = (Arc::new(watch), socket.watcher());
        let watching = watch.clone();
        let builder = self.builder.clone().on_event(move |connection, event| {
            watching.on_event(&event);
            look(connection, &event);
        });
        match builder.connect(&self.hosts[..]) {
            Ok(connection) => {
                self.clients.enter(number, &connection);
                threads::attend(number, &connection, || {
                    Ok(carry(&connection, socket, "the program"))
                });
                drop(connection);
                self.clients.remove(number);
            }
            Err(Error::Closed { .. }) => {
                log::info!("client-{number}: closed: the program has left meanwhile");
            }
            Err(error) if watch.has_told(&error) => {}
            Err(error) => log::error!("client-{number}: {}", text::error(&error)),
        }
    }
}
