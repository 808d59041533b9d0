//! Finding a server again: names, addresses, hellos; one attempt after the
//! other, as far as the retry policy goes.
//!
//! The dialler is a state machine that the driver drives between its other
//! work. It blocks nowhere: names are resolved on threads of their own, connects
//! and welcomes are polled for. So `close` is prompt in all of it. Which host is
//! next, and when there is no point in asking any, is decided in [`route`].
//!
//! The addresses of a name are asked side by side, each a little later than the
//! one before, and the first that answers is taken ("Happy Eyeballs", RFC
//! 8305). An address that does not answer is asked again on another socket: the
//! kernel repeats its question ever less often, and a path that is back would
//! have to wait for that. The first socket is kept, for a path that is slow.

mod resolver;
mod route;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use self::resolver::Resolver;
use self::route::{Next, Round, Route};

use crate::driver::DriverHandle;
use crate::error::{Cause, Rejection};
use crate::event::Event;
use crate::foreign;
use crate::heartbeat::Heartbeat;
use crate::host::Host;
use crate::link::{Lost, Shared, State};
use crate::net::{Interest, Socket};
use crate::proto::frame::{Decoder, Frame};
use crate::proto::handshake::{Hello, Welcome};
use crate::proto::protocol::Protocol;
use crate::proto::pulse::Watch;
use crate::proto::session::{Opened, Session, Unwelcome};
use crate::retry::{Attempt, Budget};
use crate::sync::{self, Arc, MutexGuard};

/// An address may take this long before the next one is asked as well...
const STAGGER: Duration = Duration::from_millis(250);
/// ...and this long before it is asked again.
const AGAIN: Duration = Duration::from_millis(400);

pub(crate) struct Dialler {
    hosts: Vec<Host>,
    route: Route,
    timeout: Duration,
    heartbeat: Heartbeat,
    budget: Budget,
    step: Step,
    resolver: Resolver,
}

enum Step {
    /// A link is up, or none is wanted.
    Idle,
    /// Until the next attempt.
    Waiting {
        until: Instant,
    },
    /// On to the next address, or the next host.
    Next(Try),
    /// Until a name is resolved.
    Resolving {
        attempt: Try,
        until: Instant,
    },
    Connecting {
        attempt: Try,
        race: Race,
    },
    Greeting(Greeting),
}

/// The hello is written, and its answer is due.
struct Greeting {
    attempt: Try,
    hello: Hello,
    call: Call,
    decoder: Decoder,
}

/// One attempt: every address of every host.
struct Try {
    round: Round,
    /// The host that is being tried.
    host: usize,
    /// Addresses of that host that were not tried yet.
    addrs: VecDeque<SocketAddr>,
    /// Why the last address failed.
    cause: Option<Cause>,
}

/// The addresses of a host that have been asked and have not answered, in the
/// order in which they were asked last.
struct Race {
    asked: VecDeque<Asked>,
    /// When another is asked, or one of them again.
    next: Instant,
}

struct Asked {
    addr: SocketAddr,
    until: Instant,
    first: Socket,
    again: Option<Socket>,
}

/// A connection to one address.
struct Call {
    socket: Socket,
    addr: SocketAddr,
    until: Instant,
}

impl Dialler {
    pub(crate) fn new(
        hosts: Vec<Host>,
        timeout: Duration,
        heartbeat: Heartbeat,
        budget: Budget,
    ) -> Dialler {
        Dialler {
            route: Route::new(hosts.len()),
            resolver: Resolver::new(hosts.len()),
            hosts,
            timeout,
            heartbeat,
            budget,
            step: Step::Idle,
        }
    }

    /// Begins with the first attempt of all.
    pub(crate) fn start(&mut self) {
        self.budget.first();
        self.step = Step::Waiting { until: sync::now() };
    }

    /// There is no link: begins to look for one, unless that is under way.
    pub(crate) fn lost(&mut self, shared: &Shared, lost: &Lost) {
        if matches!(self.step, Step::Idle) {
            self.resolver.forget();
            self.budget.lost(lost.proof, self.heartbeat.interval);
            let cause = match self.budget.stuck() {
                0 | 1 => lost.cause.clone(),
                links => Cause::NoProgress { links, last: Arc::new(lost.cause.clone()) },
            };
            self.step = self.retry(shared, cause);
        }
    }

    /// The next attempt need not wait for its time: whatever the last one failed of
    /// may be over.
    pub(crate) fn hurry(&mut self) {
        let now = sync::now();
        if let Step::Waiting { until } = &mut self.step
            && *until > now
            && self.budget.hurry(now)
        {
            *until = now;
        }
    }

    /// No link is wanted any more.
    pub(crate) fn stop(&mut self) {
        self.step = Step::Idle;
    }

    /// When [`Dialler::advance`] has something to do, ready or not.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.step {
            Step::Idle | Step::Next(_) => None,
            Step::Waiting { until } | Step::Resolving { until, .. } => Some(*until),
            Step::Connecting { race, .. } => {
                race.asked.iter().map(|asked| asked.until).chain([race.next]).min()
            }
            Step::Greeting(greeting) => Some(greeting.call.until),
        }
    }

    /// Names the sockets to poll, each with an index.
    pub(crate) fn watch<'a>(&'a self, mut add: impl FnMut(usize, &'a Socket, Interest)) {
        match &self.step {
            Step::Connecting { race, .. } => {
                for (index, socket) in race.sockets() {
                    add(index, socket, Interest { read: false, write: true });
                }
            }
            Step::Greeting(greeting) => {
                add(0, &greeting.call.socket, Interest { read: true, write: false });
            }
            _ => {}
        }
    }

    /// Goes on as far as it goes without blocking. `ready`: a socket that
    /// [`Dialler::watch`] named is.
    pub(crate) fn advance(
        &mut self,
        shared: &Shared,
        driver: &Arc<DriverHandle>,
        mut ready: Option<usize>,
    ) {
        loop {
            let now = sync::now();
            let due = self.deadline().is_some_and(|at| now >= at);
            self.step = match (std::mem::replace(&mut self.step, Step::Idle), ready.take()) {
                (Step::Waiting { .. }, _) if due => Step::Next(self.attempt(now)),
                (Step::Next(attempt) | Step::Resolving { attempt, .. }, _) => {
                    match self.next(shared, attempt, now, driver) {
                        waiting @ Step::Resolving { .. } => {
                            self.step = waiting;
                            return;
                        }
                        step => step,
                    }
                }
                (Step::Connecting { attempt, race }, Some(index)) => {
                    self.answered(shared, attempt, race, index)
                }
                (Step::Connecting { attempt, race }, None) if due => self.ask(attempt, race, now),
                (Step::Greeting(greeting), Some(_)) => self.listen(shared, greeting),
                (Step::Greeting(greeting), None) if due => {
                    self.failed(greeting.attempt, Cause::WelcomeTimeout(self.timeout))
                }
                (waiting, _) => {
                    self.step = waiting;
                    return;
                }
            };
        }
    }

    fn attempt(&self, now: Instant) -> Try {
        let round = self.route.attempt(now);
        Try { round, host: self.route.home(), addrs: VecDeque::new(), cause: None }
    }

    /// The address or the host that was asked is no good.
    fn failed(&mut self, mut attempt: Try, cause: Cause) -> Step {
        self.route.failed(attempt.host, &cause);
        attempt.cause = Some(cause);
        Step::Next(attempt)
    }

    fn next(
        &mut self,
        shared: &Shared,
        mut attempt: Try,
        now: Instant,
        driver: &Arc<DriverHandle>,
    ) -> Step {
        if !attempt.addrs.is_empty() {
            return Step::Connecting { attempt, race: Race { asked: VecDeque::new(), next: now } };
        }
        if let Some(word) = self.route.parted() {
            return self.give_up(shared, word.clone());
        }
        let Dialler { hosts, resolver, timeout, .. } = self;
        let next = attempt
            .round
            .next(now, *timeout, |host| resolver.resolve(host, &hosts[host], now, driver));
        match next {
            Next::Host(host) => {
                attempt.host = host;
                match self.resolver.take(host, &self.hosts[host]) {
                    Ok(addrs) => Step::Next(Try { addrs: addrs.into(), ..attempt }),
                    Err(error) => {
                        let host = self.hosts[host].name.clone();
                        self.failed(attempt, Cause::Resolve { host, error: Arc::new(error) })
                    }
                }
            }
            Next::Wait(until) => Step::Resolving { attempt, until },
            Next::Late(host) => {
                self.failed(Try { host, ..attempt }, Cause::ConnectTimeout(self.timeout))
            }
            Next::Spent => {
                let cause = attempt.cause.expect("every host leaves a cause");
                self.spent(shared, attempt.host, cause)
            }
        }
    }

    /// The attempt has asked every host, this one last.
    fn spent(&mut self, shared: &Shared, host: usize, cause: Cause) -> Step {
        let mut state = shared.lock();
        state.event(Event::Failed { host: self.hosts[host].clone(), cause: cause.clone() });
        shared.settle(state);
        match self.route.end() {
            Some(word) => self.give_up(shared, word.clone()),
            None => self.retry(shared, cause),
        }
    }

    /// Time to ask an address, or to stop waiting for one.
    fn ask(&self, mut attempt: Try, mut race: Race, now: Instant) -> Step {
        let waiting = race.asked.len();
        race.asked.retain(|asked| now < asked.until);
        if race.asked.len() < waiting {
            attempt.cause = Some(Cause::ConnectTimeout(self.timeout));
        }
        if now >= race.next {
            if let Some(addr) = attempt.addrs.pop_front() {
                match Socket::connect(addr) {
                    Ok(first) => {
                        let until = sync::later(self.timeout);
                        race.asked.push_back(Asked { addr, until, first, again: None });
                    }
                    Err(e) => {
                        attempt.cause = Some(Cause::Io(Arc::new(e)));
                        return Step::Connecting { attempt, race };
                    }
                }
            } else if let Some(mut asked) = race.asked.pop_front() {
                // Without a second socket there is still the first.
                asked.again = Socket::connect(asked.addr).ok();
                race.asked.push_back(asked);
            }
            let among = u32::try_from(race.asked.len()).unwrap_or(u32::MAX).max(1);
            race.next = now + if attempt.addrs.is_empty() { AGAIN / among } else { STAGGER };
        }
        match race.asked.is_empty() && attempt.addrs.is_empty() {
            true => Step::Next(attempt),
            false => Step::Connecting { attempt, race },
        }
    }

    fn retry(&mut self, shared: &Shared, cause: Cause) -> Step {
        let now = sync::now();
        let random = sync::random().map_or(u32::MAX / 2, u32::from_ne_bytes);
        let Some(Attempt { number, of, after }) = self.budget.next(now, random) else {
            return self.give_up(shared, cause);
        };
        let mut state = shared.lock();
        state.event(Event::Retrying { attempt: number, of, after });
        shared.settle(state);
        Step::Waiting { until: sync::later(after) }
    }

    fn give_up(&self, shared: &Shared, cause: Cause) -> Step {
        let mut state = shared.lock();
        state.give_up(self.budget.made(), cause);
        shared.settle(state);
        Step::Idle
    }

    /// An address of the race answered, or failed to.
    fn answered(
        &mut self,
        shared: &Shared,
        mut attempt: Try,
        mut race: Race,
        index: usize,
    ) -> Step {
        let mut call = race.take(index).expect("what is polled for is there");
        let hello = match self.greet(shared, &mut call) {
            Ok(hello) => hello,
            Err(e) => {
                attempt.cause = Some(Cause::Io(Arc::new(e)));
                race.next = sync::now();
                return Step::Connecting { attempt, race };
            }
        };
        let Some(hello) = hello else {
            let mut state = shared.lock();
            let Protocol::Plain(session) = &mut state.protocol else {
                unreachable!("it has no hello")
            };
            let opened = session.connected(sync::now());
            return self.succeed(shared, state, &attempt, call, Decoder::new(), opened);
        };
        // If it has no welcome for us, the others are asked again.
        let others = race.asked.into_iter().map(|asked| asked.addr);
        attempt.addrs = others.chain(attempt.addrs).collect();
        Step::Greeting(Greeting { attempt, hello, call, decoder: Decoder::new() })
    }

    /// Says hello on a socket that is connected, if that is the way, or tells
    /// why it is not connected.
    fn greet(&self, shared: &Shared, call: &mut Call) -> io::Result<Option<Hello>> {
        let hello = shared.lock().protocol.framed().map(Session::hello);
        call.socket.connected()?;
        call.socket.prepare()?;
        let Heartbeat { interval, misses } = self.heartbeat;
        match hello {
            Some(hello) => call.socket.try_write(&Frame::Hello(hello).to_bytes())?,
            None => call.socket.watch(Watch::plain(interval, misses))?,
        }
        Ok(hello)
    }

    fn succeed(
        &mut self,
        shared: &Shared,
        state: MutexGuard<'_, State>,
        attempt: &Try,
        call: Call,
        decoder: Decoder,
        opened: Opened,
    ) -> Step {
        self.route.welcomed(attempt.host);
        self.budget.welcomed(state.protocol.progress().moved);
        shared.install(state, call.socket, decoder, call.addr, opened);
        Step::Idle
    }

    /// Something came in answer to the hello.
    fn listen(&mut self, shared: &Shared, mut greeting: Greeting) -> Step {
        let Greeting { hello, call, decoder, .. } = &mut greeting;
        match call.socket.try_read(decoder.space()) {
            Ok(0) => return self.failed(greeting.attempt, Cause::Eof),
            Ok(n) => decoder.filled(n),
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(e) => return self.failed(greeting.attempt, Cause::Io(Arc::new(e))),
        }
        let cause = match decoder.next() {
            Ok(None) => return Step::Greeting(greeting),
            Ok(Some(Frame::Welcome(welcome))) => return self.welcomed(shared, greeting, &welcome),
            Ok(Some(Frame::Close(close))) => {
                let mut state = shared.lock();
                match state.read_close_reply(close) {
                    Ok(()) => {
                        shared.settle(state);
                        return Step::Idle;
                    }
                    Err(violation) => Cause::Protocol(violation.0),
                }
            }
            Ok(Some(Frame::Reject { code, text })) => {
                // The text is the peer's: it is escaped.
                foreign::log!(debug, "{} rejects us: {text:?}", call.addr);
                match Rejection::from_code(code) {
                    Rejection::Ended if !hello.resume_only => {
                        Cause::Protocol("the end of a session that was to go on")
                    }
                    rejection => Cause::Rejected(rejection),
                }
            }
            // An echo: it takes the hello for text.
            Ok(Some(Frame::Hello(_))) | Err(_) => Cause::NotLonglink,
            Ok(Some(_)) => Cause::Protocol("no answer to the hello"),
        };
        self.failed(greeting.attempt, cause)
    }

    fn welcomed(&mut self, shared: &Shared, greeting: Greeting, welcome: &Welcome) -> Step {
        let Greeting { attempt, hello, call, decoder } = greeting;
        // The welcome to a session that an earlier hello made there was lost. The
        // end is to be told where the session is.
        if hello.resume_only && welcome.epoch != hello.epoch && attempt.host != self.route.home() {
            return self.failed(attempt, Cause::Protocol("a new session, which was not asked for"));
        }
        let Heartbeat { interval, misses } = self.heartbeat;
        let watch = Watch::framed(interval, welcome.interval, misses);
        if let Err(e) = call.socket.watch(watch) {
            return self.failed(attempt, Cause::Io(Arc::new(e)));
        }
        let mut state = shared.lock();
        let session = state.protocol.framed().expect("it has said hello");
        let cause = match session.welcomed(welcome, sync::now()) {
            Ok(welcomed) => {
                return self.succeed(shared, state, &attempt, call, decoder, welcomed);
            }
            Err(Unwelcome::Violation(violation)) => Cause::Protocol(violation.0),
            Err(Unwelcome::TooLarge { size, limit }) => Cause::TooLarge { size, limit },
        };
        drop(state);
        self.failed(attempt, cause)
    }
}

impl Race {
    fn sockets(&self) -> impl Iterator<Item = (usize, &Socket)> {
        self.asked.iter().enumerate().flat_map(|(index, asked)| {
            let again = asked.again.as_ref().map(|again| (2 * index + 1, again));
            [Some((2 * index, &asked.first)), again].into_iter().flatten()
        })
    }

    fn take(&mut self, index: usize) -> Option<Call> {
        let Asked { addr, until, first, again } = self.asked.remove(index / 2)?;
        let socket = if index.is_multiple_of(2) { first } else { again? };
        Some(Call { socket, addr, until })
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
