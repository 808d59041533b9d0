//! Connections under a fault proxy, and everything they said when a test fails.

use std::fmt::Write;
use std::io::{self, Write as _};
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use longlink::{
    Builder, Bytes, Connection, Error, Event, Heartbeat, Listener, RetryPolicy, ToHosts,
};

use crate::proxy::{Direction, Proxy};
pub(crate) use crate::wait::{now, until};

/// The patience of every wait: for machines that do much else meanwhile.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// What a busy machine may add to a time that is promised.
pub(crate) const SLACK: Duration = Duration::from_millis(1500);

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs `body`, and tells how long it took.
pub(crate) fn timed<T>(body: impl FnOnce() -> T) -> (T, Duration) {
    let begun = now();
    let result = body();
    (result, begun.elapsed())
}

/// Waits for a thread, but not for ever.
#[track_caller]
pub(crate) fn join<T>(thread: JoinHandle<T>) -> T {
    until("a thread ends", || thread.is_finished());
    thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e))
}

/// What happened to a connection.
pub(crate) struct Log {
    name: &'static str,
    begun: Instant,
    seen: Mutex<Vec<(Instant, Event)>>,
    changed: Condvar,
}

impl Log {
    pub(crate) fn new(name: &'static str) -> Arc<Log> {
        let (seen, changed) = Default::default();
        Arc::new(Log { name, begun: now(), seen, changed })
    }

    /// The callback that fills it.
    pub(crate) fn callback(self: &Arc<Log>) -> impl Fn(&Connection, Event) + Send + Sync + 'static {
        let log = self.clone();
        move |_: &Connection, event| {
            log.seen.lock().unwrap().push((now(), event));
            log.changed.notify_all();
        }
    }

    /// Waits for the nth event, from 1, that prints with this text.
    #[track_caller]
    pub(crate) fn says(&self, text: &str, nth: usize) -> (Instant, Event) {
        let mut found = None;
        let seen = self.seen.lock().unwrap();
        let waited = self.changed.wait_timeout_while(seen, SOON, |seen| {
            let mut matching = seen.iter().filter(|(_, event)| event.to_string().contains(text));
            found = matching.nth(nth - 1).cloned();
            found.is_none()
        });
        drop(waited.unwrap());
        found.unwrap_or_else(|| panic!("{}: never {text:?} ({nth})", self.name))
    }

    /// How many events print with this text.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.lines().lines().filter(|line| line.contains(text)).count()
    }

    /// The events so far, without heartbeats.
    pub(crate) fn events(&self) -> Vec<Event> {
        let seen = self.seen.lock().unwrap();
        let events = seen.iter().map(|(_, event)| event);
        events.filter(|event| !matches!(event, Event::Heartbeat { .. })).cloned().collect()
    }

    fn lines(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = String::new();
        for (at, event) in &*seen {
            writeln!(lines, "{:9.3?} {event}", at.duration_since(self.begun)).unwrap();
        }
        lines
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- {}\n{}", self.name, self.lines());
        }
    }
}

/// A connection, its log, and its counters when the test fails.
pub(crate) struct Side {
    connection: Option<Connection>,
    pub(crate) log: Arc<Log>,
}

impl Side {
    pub(crate) fn new(connection: Connection, log: Arc<Log>) -> Side {
        connection.on_event(log.callback());
        Side { connection: Some(connection), log }
    }

    /// The bare connection, to be dropped as an application would.
    pub(crate) fn bare(mut self) -> Connection {
        self.connection.take().expect("only drop comes later")
    }

    /// The message that comes next.
    #[track_caller]
    pub(crate) fn take(&self) -> Bytes {
        match self.recv_timeout(SOON) {
            Ok(Some(message)) => message,
            other => panic!("{}: no message but {other:?}", self.log.name),
        }
    }

    /// The message that comes next is this.
    #[track_caller]
    pub(crate) fn takes(&self, message: impl AsRef<[u8]>) {
        assert_eq!(self.take(), message.as_ref(), "{}", self.log.name);
    }

    /// All that the other side has sent is here, taken or not: a pong comes behind it.
    #[track_caller]
    pub(crate) fn hears_all(&self) {
        assert_eq!(self.stats().last_round_trip, None, "a pong is not told from the last");
        self.check();
        until("a pong", || self.stats().last_round_trip.is_some());
    }

    /// What comes next is the end.
    #[track_caller]
    pub(crate) fn takes_end(&self) {
        match self.recv_timeout(SOON) {
            Ok(None) => {}
            other => panic!("{}: no end but {other:?}", self.log.name),
        }
    }

    pub(crate) fn says(&self, text: &str, nth: usize) -> (Instant, Event) {
        self.log.says(text, nth)
    }
}

impl Deref for Side {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("only drop comes later")
    }
}

/// Aborts, so that no client looks for a server that is gone, and finds the
/// one of another test in its place.
impl Drop for Side {
    fn drop(&mut self) {
        let Some(connection) = &self.connection else { return };
        if thread::panicking() {
            eprintln!("--- {}: {connection:?} {:?}", self.log.name, connection.stats());
        }
        connection.abort();
    }
}

/// What is set when nothing is. With `LONGLINK_TLS=1` the links are secured.
pub(crate) fn builder() -> Builder {
    #[cfg(feature = "tls")]
    if let Some(party) = crate::wire::tls::party() {
        return Connection::builder().security(party.security.clone());
    }
    assert!(!is_secured(), "built without TLS");
    Connection::builder()
}

pub(crate) fn is_secured() -> bool {
    std::env::var_os("LONGLINK_TLS").is_some_and(|value| value == "1")
}

/// Whether plain text, and so the rest of a test, is left out: it is not spoken over keys.
pub(crate) fn has_no_text() -> bool {
    if is_secured() {
        let test = thread::current();
        let line = format!("no plain text over TLS: {}\n", test.name().unwrap_or_default());
        // The harness shows nothing else of a test that passes.
        let _ = io::stderr().write_all(line.as_bytes());
    }
    is_secured()
}

/// Settings that lose and regain a link in no time, and find a dead one late
/// enough for a busy machine.
pub(crate) fn quick() -> Builder {
    builder()
        .heartbeat(Heartbeat::every(ms(100)).misses(8))
        .retry(RetryPolicy::fixed(ms(5), 1000))
        .connect_timeout(ms(1000))
        .close_timeout(SOON)
}

/// Settings under which only the sockets tell that a link is lost.
pub(crate) fn calm() -> Builder {
    quick().heartbeat(Heartbeat::every(Duration::from_secs(60))).connect_timeout(SOON)
}

/// A listener behind a proxy.
pub(crate) struct Rig {
    pub(crate) listener: Listener,
    pub(crate) proxy: Proxy,
    builder: Builder,
}

impl Rig {
    /// Both sides with these settings.
    pub(crate) fn new(builder: Builder) -> Rig {
        let listener = builder.clone().bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::to(listener.local_addr());
        Rig { listener, proxy, builder }
    }

    pub(crate) fn connect(&self) -> Side {
        self.connect_with(self.builder.clone())
    }

    pub(crate) fn connect_with(&self, builder: Builder) -> Side {
        connect(builder, self.proxy.addr())
    }

    /// A client that connects, and hears nothing of what the server says to it. The
    /// handshake of TLS it hears.
    pub(crate) fn connect_unheard(
        &self,
        builder: Builder,
    ) -> JoinHandle<longlink::Result<Connection>> {
        let silence = || self.proxy.swallow(Direction::Down, true);
        if is_secured() {
            self.proxy.stall(Direction::Down, true);
        } else {
            silence();
        }
        let addr = self.proxy.addr();
        let connecting = thread::spawn(move || builder.connect(addr));
        if is_secured() {
            // The server has answered the client, which is to say who it is.
            assert!(self.proxy.wait_for(|stats| stats.up > 0, SOON));
            self.proxy.stall(Direction::Up, true);
            self.proxy.stall(Direction::Down, false);
            assert!(self.proxy.wait_for(|stats| stats.down > 0, SOON));
            silence();
            self.proxy.stall(Direction::Up, false);
        }
        connecting
    }

    pub(crate) fn accept(&self) -> Side {
        Side::new(self.listener.accept().unwrap(), Log::new("server"))
    }

    /// A client and what the server has of it.
    pub(crate) fn pair(&self) -> (Side, Side) {
        self.pair_with(self.builder.clone())
    }

    /// The same, with a message each way behind them: a link without progress
    /// spends the retry budget.
    pub(crate) fn warm_pair(&self) -> (Side, Side) {
        self.warm_pair_with(self.builder.clone())
    }

    pub(crate) fn warm_pair_with(&self, builder: Builder) -> (Side, Side) {
        let (client, server) = self.pair_with(builder);
        client.send(b"warm").unwrap();
        server.takes(b"warm");
        server.send(b"warm").unwrap();
        client.takes(b"warm");
        for side in [&client, &server] {
            assert!(matches!(side.try_recv(), Err(Error::WouldBlock)));
        }
        for side in [&client, &server] {
            side.sync(SOON).unwrap();
        }
        (client, server)
    }

    pub(crate) fn pair_with(&self, builder: Builder) -> (Side, Side) {
        let client = self.connect_with(builder);
        (client, self.accept())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- proxy: {:?}", self.proxy.stats());
        }
    }
}

pub(crate) fn connect(builder: Builder, addr: impl ToHosts) -> Side {
    let log = Log::new("client");
    let connection = builder.on_event(log.callback()).connect(addr).unwrap();
    Side { connection: Some(connection), log }
}

/// Tries all cases, each on a thread of its own: what they do most is wait.
pub(crate) fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, attempt: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        for case in cases {
            let attempt = &attempt;
            scope.spawn(move || attempt(case));
        }
    });
}

/// Echoes on a thread until the end. Returns what came.
pub(crate) fn echo(side: &Arc<Side>) -> JoinHandle<Vec<Bytes>> {
    let side = side.clone();
    thread::spawn(move || {
        let mut seen = Vec::new();
        while let Ok(Some(message)) = side.recv() {
            if side.send(&message).is_err() {
                break;
            }
            seen.push(message);
        }
        let _ = side.finish();
        seen
    })
}
