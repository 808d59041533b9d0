//! A client's thread: dials, tends the link until it is lost, and dials again.
//!
//! Whatever it does, it waits in one place, [`Client::wait`], and looks after the
//! connection there. So `close` is prompt in all of it.

mod attempts;
mod dial;
mod resolver;
mod route;

use std::io;
use std::time::{Duration, Instant};

use self::resolver::Resolver;
use self::route::Route;
use crate::config::Builder;
use crate::driver::{Driver, DriverHandle};
use crate::error::Cause;
use crate::event::Event;
use crate::foreign;
use crate::host::{self, Host};
use crate::link::{Checkup, Shared};
use crate::net::{Interest, Socket, poll_fd};
use crate::proto::handshake::{Name, Token};
use crate::proto::heartbeat::Heartbeat;
use crate::retry::Budget;
use crate::secure::Security;
use crate::sync::{self, Arc};

pub(crate) struct Client {
    shared: Arc<Shared>,
    driver: Driver,
    hosts: Vec<Host>,
    timeout: Duration,
    heartbeat: Heartbeat,
    security: Option<Security>,
    budget: Budget,
    route: Route,
    /// What it is called by at each server of the route.
    names: Vec<Name>,
    resolver: Resolver,
    /// What the last look at the connection has found.
    checkup: Checkup,
}

/// The connection is over: no link is wanted any more.
struct Over;

/// Why there is no link.
enum NoLink {
    Over,
    Because(Cause),
}

impl From<Over> for NoLink {
    fn from(_: Over) -> NoLink {
        NoLink::Over
    }
}

impl From<Cause> for NoLink {
    fn from(cause: Cause) -> NoLink {
        NoLink::Because(cause)
    }
}

impl From<io::Error> for NoLink {
    fn from(error: io::Error) -> NoLink {
        NoLink::Because(Cause::Io(Arc::new(error)))
    }
}

impl Client {
    pub(crate) fn new(
        shared: Arc<Shared>,
        driver: Arc<DriverHandle>,
        hosts: Vec<Host>,
        builder: &Builder,
    ) -> io::Result<Client> {
        let servers = host::servers(&hosts);
        let count = servers.iter().max().map_or(0, |last| last + 1);
        let names = (0..count).map(|_| Ok(Name::new(Token(sync::random()?))));
        Ok(Client {
            names: names.collect::<io::Result<_>>()?,
            shared,
            resolver: Resolver::new(driver.clone()),
            driver: Driver::new(driver),
            timeout: builder.connect_timeout,
            heartbeat: builder.heartbeat,
            security: builder.security.clone(),
            budget: Budget::new(builder.retry, sync::now()),
            route: Route::new(servers),
            hosts,
            checkup: Checkup::default(),
        })
    }

    /// Makes the first link, and starts the thread that does the rest. That makes the link,
    /// too, if a callback is to hear how the attempts go. Else the caller does so instead of
    /// waiting for it, which spares two switches of threads, and a secured client's thread
    /// the deep stack of a handshake.
    pub(crate) fn start(mut self, callback: bool) -> io::Result<()> {
        if callback {
            return spawn(move || {
                if self.begin() {
                    self.run()
                }
            });
        }
        if self.begin() { spawn(move || self.run()) } else { Ok(()) }
    }

    /// Makes the first link. Returns whether there is more to be done.
    fn begin(&mut self) -> bool {
        self.budget.first();
        self.find().is_ok()
    }

    /// Runs until the connection is over.
    fn run(mut self) {
        while self.turn().is_ok() {}
    }

    fn turn(&mut self) -> Result<(), Over> {
        let cause = self.tend()?;
        self.pause(cause)?;
        self.find()
    }

    /// Makes attempts until one brings a link, or the server's word that there will be none.
    fn find(&mut self) -> Result<(), Over> {
        loop {
            match self.dial() {
                Ok(()) => return Ok(()),
                Err(NoLink::Because(cause)) => self.pause(cause)?,
                Err(NoLink::Over) => return Err(Over),
            }
        }
    }

    /// Tends the link until it is lost, and returns why.
    fn tend(&mut self) -> Result<Cause, Over> {
        let lost = loop {
            self.wait(None, &[])?;
            if let Some(lost) = self.checkup.lost.take() {
                break lost;
            }
        };
        self.resolver.forget();
        match lost.cause {
            Cause::Aged | Cause::Expired => self.budget.has_served(),
            _ => self.budget.lost(lost.proof, self.heartbeat.interval),
        }
        if let Some((at, notice)) = lost.away {
            let back = at + notice.draw(random());
            self.route.goes_away(back);
            self.budget.goes_away(back);
        } else if let Some(kept) = lost.kept {
            self.budget.kept(lost.at, kept);
        }
        Ok(match self.budget.fruitless() {
            0 | 1 => lost.cause,
            links => Cause::NoProgress { links, last: Arc::new(lost.cause) },
        })
    }

    fn report(&self, event: Event) {
        let mut state = self.shared.lock();
        state.event(event);
        state.settle();
    }

    /// Waits until one of these sockets is ready, and returns its index; or until the moment
    /// has come, or something else has happened. Then it looks after the connection.
    fn wait(
        &mut self,
        until: Option<Instant>,
        sockets: &[(usize, &Socket, Interest)],
    ) -> Result<Option<usize>, Over> {
        let deadline = [until, self.checkup.deadline].into_iter().flatten().min();
        let link = self.checkup.poll.iter().map(|(socket, is)| (None, poll_fd(&**socket, *is)));
        let others = sockets.iter().map(|(index, fd, is)| (Some(*index), poll_fd(*fd, *is)));
        let woken = self.driver.wait(deadline, link.chain(others));
        if woken.slept {
            foreign::log!(debug, "the machine has slept: checking the connection");
            self.shared.lock().wake_up();
        }
        let mut first = None;
        for (index, interest) in woken.ready {
            match index {
                None => self.shared.on_ready(interest),
                Some(_) => first = first.or(index),
            }
        }
        self.driver.answer();
        self.checkup = self.shared.check_up(self.checkup.deadline);
        if self.checkup.over { Err(Over) } else { Ok(first) }
    }
}

fn spawn(body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    sync::spawn("longlink-client", body)
}

/// Without randomness, the middle.
fn random() -> u32 {
    sync::random().map_or(u32::MAX / 2, u32::from_ne_bytes)
}

/// A thread that dies leaves no caller waiting. It should only ever end with the
/// connection.
impl Drop for Client {
    fn drop(&mut self) {
        if !self.checkup.over {
            self.shared.lose_driver();
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
