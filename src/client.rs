//! A client's thread: dials, tends the link until it is lost, and dials again.
//!
//! Whatever it does, it waits in one place, [`Client::wait`], and looks after the
//! connection there. So `close` is prompt in all of it.

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
use crate::net::{Interest, Socket};
use crate::proto::handshake::{Name, Token};
use crate::proto::heartbeat::Heartbeat;
use crate::retry::{Attempt, Budget};
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

    /// Runs until the connection is over.
    pub(crate) fn run(mut self) {
        self.budget.first();
        while self.turn().is_ok() {}
    }

    fn turn(&mut self) -> Result<(), Over> {
        let cause = match self.dial() {
            Ok(()) => self.tend()?,
            Err(NoLink::Because(cause)) => cause,
            Err(NoLink::Over) => return Err(Over),
        };
        self.pause(cause)
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

    /// Waits for the time of the next attempt, or gives up if there is none.
    fn pause(&mut self, cause: Cause) -> Result<(), Over> {
        let now = sync::now();
        let (closed, away) = (self.route.closed(now), self.budget.away(now));
        let Some(Attempt { number, of, after }) = self.budget.next(now, random(), closed) else {
            return Err(self.give_up(cause));
        };
        self.report(Event::Retrying { attempt: number, of, after });
        // A server that goes away is only expected then; one that rejects wants it so.
        let opens = if away.is_zero() { sync::add(now, closed) } else { now };
        let until = sync::later(after);
        while sync::now() < until {
            // What made the last attempt fail may have passed.
            let hurry = std::mem::take(&mut self.checkup.hurry) && sync::now() >= opens;
            if hurry && self.budget.hurry(sync::now()) {
                break;
            }
            self.wait(Some(until), &[])?;
        }
        Ok(())
    }

    fn give_up(&mut self, cause: Cause) -> Over {
        let mut state = self.shared.lock();
        match self.route.ended() {
            Some(word) => state.lose_session(self.budget.made(), word.clone()),
            None => state.give_up(self.budget.made(), cause),
        }
        state.settle();
        while self.wait(None, &[]).is_ok() {}
        Over
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
        let link = self.checkup.poll.iter().map(|(socket, interest)| (None, &**socket, *interest));
        let others = sockets.iter().map(|(index, socket, is)| (Some(*index), *socket, *is));
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
