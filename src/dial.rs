//! Finding a server again: names, addresses, hellos; one attempt after the
//! other, as far as the retry policy goes.
//!
//! The dialler is a state machine that the keeper drives between its other
//! work. It blocks nowhere: names are resolved on a thread of their own (at
//! most one at a time; a resolver that hangs is waited for by the attempts
//! that follow), connects and welcomes are polled for. So `close` is prompt in
//! all of it.
//!
//! The addresses of a name are asked side by side, each a little later than the
//! one before, and the first that answers is taken ("Happy Eyeballs", RFC
//! 8305). An address that does not answer is asked again on another socket: the
//! kernel repeats its question ever less often, and a path that is back would
//! have to wait for that. The first socket is kept, for a path that is slow.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::config::Host;
use crate::error::{Cause, Rejection};
use crate::event::Event;
use crate::foreign;
use crate::link::{Lost, Shared, State, Summons};
use crate::net::{Interest, Socket};
use crate::proto::frame::{Decoder, Frame};
use crate::proto::session::{Session, Unwelcome};
use crate::proto::talk::{Opened, Talk};
use crate::retry::{Attempt, Budget};
use crate::sync::{self, Arc, Mutex, MutexGuard};

/// An address may take this long before the next one is asked as well...
const STAGGER: Duration = Duration::from_millis(250);
/// ...and this long before it is asked again.
const AGAIN: Duration = Duration::from_millis(400);

pub(crate) struct Dialler {
    hosts: Vec<Host>,
    /// The host that answered last is tried first.
    favourite: usize,
    timeout: Duration,
    interval: Option<Duration>,
    /// How long the kernel lets the server be silent, where nothing else does.
    silence: Option<Duration>,
    budget: Budget,
    step: Step,
    resolver: Resolver,
    /// Whether a link was ever up.
    connected: bool,
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
    Resolving {
        attempt: Try,
        until: Instant,
    },
    Connecting {
        attempt: Try,
        race: Race,
    },
    /// The hello is written.
    Greeting {
        attempt: Try,
        call: Call,
        decoder: Decoder,
    },
}

/// One attempt: every address of every host.
struct Try {
    /// Hosts that were not tried yet, and the one that is being tried.
    hosts: VecDeque<usize>,
    host: usize,
    /// Addresses of that host that were not tried yet.
    addrs: VecDeque<SocketAddr>,
    /// Why the last address failed.
    cause: Option<Cause>,
    /// Whether any name had an address.
    resolved: bool,
}

impl Try {
    fn failed(mut self, cause: Cause) -> Step {
        self.cause = Some(cause);
        Step::Next(self)
    }
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
        interval: Option<Duration>,
        silence: Option<Duration>,
        budget: Budget,
    ) -> Dialler {
        Dialler {
            hosts,
            favourite: 0,
            timeout,
            interval,
            silence,
            budget,
            step: Step::Idle,
            resolver: Resolver::default(),
            connected: false,
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
            self.budget.lost(lost.proof, self.interval);
            self.step = self.retry(shared, lost.cause.clone());
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
            Step::Greeting { call, .. } => Some(call.until),
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
            Step::Greeting { call, .. } => {
                add(0, &call.socket, Interest { read: true, write: false });
            }
            _ => {}
        }
    }

    /// Goes on as far as it goes without blocking. `ready`: a socket that
    /// [`Dialler::watch`] named is.
    pub(crate) fn advance(
        &mut self,
        shared: &Shared,
        summons: &Arc<Summons>,
        mut ready: Option<usize>,
    ) {
        loop {
            let now = sync::now();
            let due = self.deadline().is_some_and(|at| now >= at);
            self.step = match (std::mem::replace(&mut self.step, Step::Idle), ready.take()) {
                (Step::Waiting { .. }, _) if due => Step::Next(self.attempt()),
                (Step::Next(attempt), _) => self.next(shared, attempt, now),
                (Step::Resolving { attempt, until }, _) => {
                    match self.resolver.resolve(&self.hosts[attempt.host], summons) {
                        Some(Ok(addrs)) => {
                            Step::Next(Try { addrs: addrs.into(), resolved: true, ..attempt })
                        }
                        Some(Err(error)) => {
                            let host = self.hosts[attempt.host].name.clone();
                            attempt.failed(Cause::Resolve { host, error: Arc::new(error) })
                        }
                        // A resolver that takes its time does not say that there is no such name.
                        None if due => Try { resolved: true, ..attempt }
                            .failed(Cause::ConnectTimeout(self.timeout)),
                        None => {
                            self.step = Step::Resolving { attempt, until };
                            return;
                        }
                    }
                }
                (Step::Connecting { attempt, race }, Some(index)) => {
                    self.answered(shared, attempt, race, index)
                }
                (Step::Connecting { attempt, race }, None) if due => self.ask(attempt, race, now),
                (Step::Greeting { attempt, call, decoder }, Some(_)) => {
                    self.listen(shared, attempt, call, decoder)
                }
                (Step::Greeting { attempt, .. }, None) if due => {
                    attempt.failed(Cause::ConnectTimeout(self.timeout))
                }
                (waiting, _) => {
                    self.step = waiting;
                    return;
                }
            };
        }
    }

    fn attempt(&self) -> Try {
        let count = self.hosts.len();
        Try {
            hosts: (0..count).map(|i| (self.favourite + i) % count).collect(),
            host: self.favourite,
            addrs: VecDeque::new(),
            cause: None,
            resolved: false,
        }
    }

    fn next(&mut self, shared: &Shared, mut attempt: Try, now: Instant) -> Step {
        if !attempt.addrs.is_empty() {
            return Step::Connecting { attempt, race: Race { asked: VecDeque::new(), next: now } };
        }
        if let Some(host) = attempt.hosts.pop_front() {
            attempt.host = host;
            let Host { name, port } = &self.hosts[host];
            return match name.parse::<IpAddr>() {
                Ok(ip) => {
                    attempt.resolved = true;
                    attempt.addrs.push_back(SocketAddr::new(ip, *port));
                    Step::Next(attempt)
                }
                Err(_) => Step::Resolving { attempt, until: sync::later(self.timeout) },
            };
        }
        let cause = attempt.cause.expect("every host leaves a cause");
        let mut state = shared.lock();
        let host = self.hosts[attempt.host].clone();
        state.event(Event::Failed { host, cause: cause.clone() });
        shared.settle(state);
        // A name that never meant anything is a mistake; one that no longer
        // resolves is an outage.
        if !attempt.resolved && !self.connected {
            return self.give_up(shared, cause);
        }
        self.retry(shared, cause)
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
        if let Err(e) = self.greet(shared, &mut call) {
            attempt.cause = Some(Cause::Io(Arc::new(e)));
            race.next = sync::now();
            return Step::Connecting { attempt, race };
        }
        let mut state = shared.lock();
        if let Talk::Plain(exchange) = &mut state.session {
            let opened = exchange.connected(sync::now());
            return self.succeed(shared, state, &attempt, call, Decoder::new(), opened);
        }
        // If it has no welcome for us, the others are asked again.
        let others = race.asked.into_iter().map(|asked| asked.addr);
        attempt.addrs = others.chain(attempt.addrs).collect();
        Step::Greeting { attempt, call, decoder: Decoder::new() }
    }

    /// Says hello on a socket that is connected, if that is the way, or tells
    /// why it is not connected.
    fn greet(&self, shared: &Shared, call: &mut Call) -> io::Result<()> {
        let hello = shared.lock().session.session().map(Session::hello);
        call.socket.connected()?;
        call.socket.prepare(self.silence)?;
        match hello {
            Some(hello) => call.socket.try_write(&Frame::Hello(hello).to_bytes()),
            None => Ok(()),
        }
    }

    fn succeed(
        &mut self,
        shared: &Shared,
        state: MutexGuard<'_, State>,
        attempt: &Try,
        call: Call,
        decoder: Decoder,
        opened: impl Into<Opened>,
    ) -> Step {
        self.favourite = attempt.host;
        self.connected = true;
        shared.install(state, call.socket, decoder, call.addr, opened);
        Step::Idle
    }

    /// Something came in answer to the hello.
    fn listen(&mut self, shared: &Shared, attempt: Try, call: Call, mut decoder: Decoder) -> Step {
        match call.socket.try_read(decoder.space()) {
            Ok(0) => return attempt.failed(Cause::Eof),
            Ok(n) => decoder.filled(n),
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(e) => return attempt.failed(Cause::Io(Arc::new(e))),
        }
        let frame = match decoder.next() {
            Ok(None) => return Step::Greeting { attempt, call, decoder },
            Ok(Some(frame)) => frame,
            Err(_) => return attempt.failed(Cause::Protocol("the server does not speak longlink")),
        };
        let mut state = shared.lock();
        let Talk::Framed(session) = &mut state.session else {
            return attempt.failed(Cause::Protocol("an answer to no hello"));
        };
        match frame {
            Frame::Welcome(welcome) => match session.welcomed(&welcome, sync::now()) {
                Ok(welcomed) => self.succeed(shared, state, &attempt, call, decoder, welcomed),
                Err(Unwelcome::Violation(v)) => attempt.failed(Cause::Protocol(v.0)),
                Err(Unwelcome::TooLarge { size, limit }) => {
                    drop(state);
                    self.give_up(shared, Cause::TooLarge { size, limit })
                }
            },
            Frame::Close(close) => match state.read_epitaph(close) {
                Ok(()) => {
                    shared.settle(state);
                    Step::Idle
                }
                Err(v) => attempt.failed(Cause::Protocol(v.0)),
            },
            Frame::Reject { code, text } => {
                drop(state);
                let rejection = Rejection::from_code(code);
                // The text is the peer's: it is escaped.
                foreign::log!(debug, "{} rejects us: {text:?}", call.addr);
                if rejection.is_retryable() {
                    attempt.failed(Cause::Rejected(rejection))
                } else {
                    self.give_up(shared, Cause::Rejected(rejection))
                }
            }
            _ => attempt.failed(Cause::Protocol("no answer to the hello")),
        }
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

/// Resolves names on a thread, one at a time: a resolver may hang.
#[derive(Default)]
struct Resolver {
    job: Option<Job>,
}

struct Job {
    host: Host,
    answer: Arc<Mutex<Option<io::Result<Vec<SocketAddr>>>>>,
}

impl Resolver {
    /// The addresses, if they are known; the keeper is woken once they are.
    fn resolve(
        &mut self,
        host: &Host,
        summons: &Arc<Summons>,
    ) -> Option<io::Result<Vec<SocketAddr>>> {
        if let Some(job) = &self.job {
            let answer = job.answer.lock().take()?;
            let asked = job.host == *host;
            self.job = None;
            if asked {
                return Some(answer.and_then(|addrs| match addrs.is_empty() {
                    true => Err(io::Error::other("the name has no address")),
                    false => Ok(addrs),
                }));
            }
        }
        let answer = Arc::new(Mutex::new(None));
        self.job = Some(Job { host: host.clone(), answer: answer.clone() });
        let (host, summons) = (host.clone(), summons.clone());
        let started = sync::spawn("longlink-resolver", move || {
            let addrs = (host.name.as_str(), host.port).to_socket_addrs();
            *answer.lock() = Some(addrs.map(Iterator::collect));
            summons.waker.wake();
        });
        if let Err(error) = started {
            self.job = None;
            return Some(Err(error));
        }
        None
    }
}
