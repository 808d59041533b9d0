//! One attempt to find a server: names, addresses, hellos.
//!
//! Nothing blocks but [`Client::wait`]: names are resolved on threads of their own,
//! connects and welcomes are polled for.
//!
//! The addresses of a name are asked side by side, each a little later than the
//! one before, and the first that answers is taken ("Happy Eyeballs", RFC
//! 8305). An address that does not answer is asked again on another socket: the
//! kernel repeats its question ever less often, and a path that is back would
//! have to wait for that. The first socket is kept, for a path that is slow.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::route::Next;
use super::{Client, NoLink};
use crate::error::{Cause, Rejection};
use crate::event::Event;
use crate::foreign;
use crate::link::PendingLink;
use crate::net::{Interest, Socket};
use crate::proto::frame::Frame;
use crate::proto::handshake::Welcome;
use crate::proto::protocol::Protocol;
use crate::proto::pulse::Watch;
use crate::proto::reject::Reject;
use crate::proto::session::Unwelcome;
use crate::secure::{NOT_LONGLINK, Security};
use crate::sync::{self, Arc};

/// An address may take this long before the next one is asked as well...
const STAGGER: Duration = Duration::from_millis(250);
/// ...and this long before it is asked again.
const AGAIN: Duration = Duration::from_millis(400);

/// The addresses of one host.
struct Race {
    /// Those that were not asked yet.
    addrs: VecDeque<SocketAddr>,
    /// Those that were and have not answered, in the order in which they were asked last.
    asked: VecDeque<Asked>,
    /// When another is asked, or one of them again.
    next: Instant,
}

struct Asked {
    first: PendingLink,
    again: Option<PendingLink>,
}

impl Client {
    /// Makes one attempt: asks every address of every host, until one takes us, or says
    /// that the session has ended.
    pub(super) fn dial(&mut self) -> Result<(), NoLink> {
        if let Some(Err(complaint)) = self.security.as_ref().map(Security::read_again) {
            foreign::log!(warn, "{complaint}; what was read before is used");
        }
        let mut round = self.route.attempt(sync::now());
        let mut failed = None;
        loop {
            if let Some(word) = self.route.ended().filter(|_| self.resumes_only()).cloned() {
                return Err(self.give_up(word).into());
            }
            let now = sync::now();
            let resolving = |host| self.resolver.resolve(host, &self.hosts[host], now);
            let (host, cause) = match round.next(now, self.timeout, resolving) {
                Next::Wait(until) => {
                    self.wait(Some(until), &[])?;
                    continue;
                }
                Next::Host(host) => match self.ask(host) {
                    Err(NoLink::Because(cause)) => (host, cause),
                    done => return done,
                },
                Next::Spent => break,
            };
            self.route.failed(host, &cause);
            failed = Some((host, cause));
        }
        let (host, cause) = failed.expect("there is a host, and it has failed");
        self.report(Event::Failed { host: self.hosts[host].clone(), cause: cause.clone() });
        match self.route.end().cloned() {
            Some(word) => Err(self.give_up(word).into()),
            None => Err(cause.into()),
        }
    }

    /// Whether there is to be no other session. If there may be, another server may begin it.
    fn resumes_only(&self) -> bool {
        self.shared.lock().protocol.framed().is_some_and(|session| session.resumes_only())
    }

    /// Asks the addresses of a host until one takes us.
    fn ask(&mut self, host: usize) -> Result<(), NoLink> {
        let name = &self.hosts[host].name;
        let addrs = self.resolver.take(host).ok_or(Cause::ConnectTimeout(self.timeout))?;
        let addrs =
            addrs.map_err(|error| Cause::Resolve { host: name.clone(), error: Arc::new(error) })?;
        let mut race = Race::new(addrs);
        loop {
            let link = self.connect(&mut race)?;
            // If it has no welcome for us, the others are asked again.
            race.begin_again();
            match self.greet(host, link) {
                Err(NoLink::Because(cause)) if !race.addrs.is_empty() => {
                    self.route.failed(host, &cause);
                }
                done => return done,
            }
        }
    }

    /// Connects to the address that answers first.
    fn connect(&mut self, race: &mut Race) -> Result<PendingLink, NoLink> {
        let mut cause = None;
        loop {
            let now = sync::now();
            if race.leave_late(now) {
                cause = Some(NoLink::from(Cause::ConnectTimeout(self.timeout)));
            }
            if now >= race.next
                && let Err(e) = race.ask(now, self.timeout)
            {
                cause = Some(e.into());
                continue;
            }
            if race.asked.is_empty() && race.addrs.is_empty() {
                return Err(cause.expect("every address leaves a cause"));
            }
            let Some(index) = self.wait(Some(race.deadline()), &race.sockets())? else { continue };
            let mut link = race.take(index);
            match link.socket.connected().and_then(|()| link.socket.prepare()) {
                Ok(()) => return Ok(link),
                Err(e) => {
                    cause = Some(e.into());
                    race.next = sync::now();
                }
            }
        }
    }

    /// Says hello, unless the protocol has none, and opens the link if it is welcomed. A link
    /// that is to be secured begins with another handshake.
    fn greet(&mut self, host: usize, mut link: PendingLink) -> Result<(), NoLink> {
        if let Some(security) = &self.security {
            let channel = security.connect(&self.hosts[host].name).map_err(Cause::from)?;
            link.secure(channel)?;
            self.read_until(&mut link, |link| Ok(link.is_open().then_some(())))?;
        }
        let name = &mut self.names[self.route.server(host)];
        let hello = self.shared.lock().protocol.framed().map(|session| session.hello(name));
        let Some(hello) = hello else {
            return self.open(host, link, None);
        };
        if !link.speaks_longlink() {
            return Err(Cause::from(NOT_LONGLINK).into());
        }
        let (epoch, resume_only) = (hello.epoch, hello.resume_only);
        link.write(&Frame::Hello(hello))?;
        let answer = |link: &mut PendingLink| link.decoder.next().map_err(|_| Cause::NotLonglink);
        let cause = match self.read_until(&mut link, answer)? {
            // An earlier hello made a session here, and its welcome was lost. Our end is
            // to be told to the server that has ours.
            Frame::Welcome(welcome)
                if resume_only && welcome.epoch != epoch && !self.route.is_home(host) =>
            {
                Cause::Protocol("a new session, which was not asked for")
            }
            Frame::Welcome(welcome) => return self.open(host, link, Some(&welcome)),
            Frame::Close(close) => {
                let mut state = self.shared.lock();
                state.read_close_reply(close).map_err(|violation| Cause::Protocol(violation.0))?;
                state.settle();
                return Ok(());
            }
            Frame::Reject(Reject { code, class, come_back_after, versions, text }) => {
                // The text is the peer's: it is escaped.
                let (low, high) = versions;
                let addr = link.addr;
                foreign::log!(debug, "{addr} (versions {low} to {high}) rejects us: {text:?}");
                self.route.come_back(host, come_back_after, sync::now());
                match Rejection::from_wire(code, class) {
                    Rejection::Ended if epoch == 0 => {
                        Cause::Protocol("the end of a session that never began")
                    }
                    rejection => Cause::Rejected(rejection),
                }
            }
            // An echo: it takes the hello for text.
            Frame::Hello(_) => Cause::NotLonglink,
            _ => Cause::Protocol("no answer to the hello"),
        };
        Err(cause.into())
    }

    /// Waits until what was read has brought what is looked for.
    fn read_until<T>(
        &mut self,
        link: &mut PendingLink,
        mut find: impl FnMut(&mut PendingLink) -> Result<Option<T>, Cause>,
    ) -> Result<T, NoLink> {
        loop {
            if let Some(found) = find(link)? {
                return Ok(found);
            }
            if link.is_late(sync::now()) {
                return Err(Cause::WelcomeTimeout(self.timeout).into());
            }
            let ready = self.wait(link.due, &[(0, &link.socket, Interest::READ)])?;
            if ready.is_some() && !link.read()? {
                return Err(Cause::Eof.into());
            }
        }
    }

    /// The link is up; a framed one was welcomed.
    fn open(
        &mut self,
        host: usize,
        link: PendingLink,
        welcome: Option<&Welcome>,
    ) -> Result<(), NoLink> {
        link.socket.watch(match welcome {
            Some(welcome) => Watch::framed(self.heartbeat, welcome.interval),
            None => Watch::plain(self.heartbeat),
        })?;
        let mut state = self.shared.lock();
        let opened = match &mut state.protocol {
            Protocol::Plain(session) => session.connected(sync::now()),
            Protocol::Framed(session) => {
                let welcome = welcome.expect("a framed link begins with it");
                session.welcomed(welcome, sync::now()).map_err(|unwelcome| match unwelcome {
                    Unwelcome::Violation(violation) => Cause::Protocol(violation.0),
                    Unwelcome::TooLarge { size, limit } => Cause::TooLarge { size, limit },
                    // It would have to say so itself.
                    Unwelcome::SessionLost => Cause::Rejected(Rejection::Ended),
                })?
            }
        };
        self.route.welcomed(host, state.wants_no_other_session());
        self.budget.welcomed(state.protocol.status().moved);
        state.install(link, opened);
        Ok(())
    }
}

impl Race {
    fn new(addrs: Vec<SocketAddr>) -> Race {
        Race { addrs: addrs.into(), asked: VecDeque::new(), next: sync::now() }
    }

    /// All that are left are asked from the beginning.
    fn begin_again(&mut self) {
        let others = self.asked.drain(..).map(|asked| asked.first.addr);
        self.addrs = others.chain(self.addrs.drain(..)).collect();
        self.next = sync::now();
    }

    /// Leaves those that have not answered in time. Returns whether there were any.
    fn leave_late(&mut self, now: Instant) -> bool {
        let before = self.asked.len();
        self.asked.retain(|asked| !asked.first.is_late(now));
        self.asked.len() < before
    }

    /// Asks the next address; if all were asked, the one again that waits longest.
    fn ask(&mut self, now: Instant, timeout: Duration) -> io::Result<()> {
        if let Some(addr) = self.addrs.pop_front() {
            let due = Some(sync::add(now, timeout));
            let first = PendingLink::new(Socket::connect(addr)?, addr, due);
            self.asked.push_back(Asked { first, again: None });
        } else if let Some(mut asked) = self.asked.pop_front() {
            // Without a second socket there is still the first.
            let PendingLink { addr, due, .. } = asked.first;
            asked.again = Socket::connect(addr).ok().map(|s| PendingLink::new(s, addr, due));
            self.asked.push_back(asked);
        }
        let among = u32::try_from(self.asked.len()).unwrap_or(u32::MAX).max(1);
        self.next = now + if self.addrs.is_empty() { AGAIN / among } else { STAGGER };
        Ok(())
    }

    fn deadline(&self) -> Instant {
        self.asked.iter().filter_map(|asked| asked.first.due).fold(self.next, Instant::min)
    }

    /// What to wait for, each with an index for [`take`](Race::take).
    fn sockets(&self) -> Vec<(usize, &Socket, Interest)> {
        let links = self.asked.iter().enumerate().flat_map(|(index, asked)| {
            let again = asked.again.as_ref().map(|again| (2 * index + 1, again));
            [Some((2 * index, &asked.first)), again].into_iter().flatten()
        });
        links.map(|(index, link)| (index, &link.socket, Interest::WRITE)).collect()
    }

    /// Takes out an address that has answered.
    fn take(&mut self, index: usize) -> PendingLink {
        let asked = self.asked.remove(index / 2);
        let Asked { first, again } = asked.expect("what was waited for is there");
        again.filter(|_| !index.is_multiple_of(2)).unwrap_or(first)
    }
}
