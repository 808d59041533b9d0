//! A server and a client, each on its own side of a router, and a count of
//! everything that the client sends.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use longlink::{Builder, Connection};

use crate::keys::{self, Keys};
use crate::network::{self, Host, Network};
use crate::process::{CLIENT, Process, SERVER, Stdout};

pub(crate) const INTERVAL: Duration = ms(500);
pub(crate) const MISSES: u32 = 2;

/// What silence means to the client: this, and an interval more at most, since
/// it may have asked just before. The server grants an interval of grace.
pub(crate) const CLIENT_NOTICES: Duration = INTERVAL.saturating_mul(MISSES + 1);
pub(crate) const SERVER_NOTICES: Duration = INTERVAL.saturating_mul(MISSES + 2);

/// From the moment that the path lets a new connection through.
pub(crate) const REGAINED: Duration = ms(1000);

/// What a busy machine may add to a time that is promised: the programs, the
/// router and the test share its cores with all the other tests.
pub(crate) const SLACK: Duration = ms(1500);

/// What a client is told to notice and to come back that soon.
pub(crate) const FAST: [&str; 6] =
    ["--heartbeat", "500ms", "--misses", "2", "--retry-delay", "500ms"];

const PORT: &str = "6666";

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[expect(clippy::disallowed_methods, reason = "tests of time need to read it")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A time that something takes in the world of the test.
pub(crate) fn pass(time: Duration) {
    let until = now() + time;
    while let Some(left) = until.checked_duration_since(now()) {
        thread::park_timeout(left);
    }
}

/// A network, and the keys of who is on it, if links are to be secured.
pub(crate) struct Site {
    network: Network,
    keys: Option<Keys>,
}

impl Site {
    fn new() -> Site {
        let secured = std::env::var_os("LONGLINK_TLS").is_some_and(|value| value == "1");
        let keys = secured.then(|| Keys::make_by(SERVER).unwrap());
        Site { network: Network::new(), keys }
    }

    pub(crate) fn is_secured(&self) -> bool {
        self.keys.is_some()
    }

    /// A server that others can reach, on its host.
    pub(crate) fn serve(&self, args: &[&str]) -> Process {
        let open = if self.is_secured() { &[][..] } else { &["--open"] };
        self.start(&self.server, SERVER, &[open, args].concat())
    }

    /// A client on its host.
    pub(crate) fn call(&self, args: &[&str]) -> Process {
        self.start(&self.client, CLIENT, args)
    }

    /// Starts one of the programs, with its keys.
    pub(crate) fn start(&self, host: &Host, program: &'static str, args: &[&str]) -> Process {
        let args = self.with_keys(program, args);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Process::start_by(host.command(&[program]), program, &args, Stdout::Read)
    }

    /// A client with its keys, as a shell is told to start it.
    pub(crate) fn call_in_shell(&self, args: &[&str]) -> String {
        let args = self.with_keys(CLIENT, args);
        [CLIENT.into()].iter().chain(&args).map(|arg| format!("'{arg}' ")).collect()
    }

    fn with_keys(&self, program: &str, args: &[&str]) -> Vec<String> {
        let of = if program == SERVER { Keys::server_args } else { Keys::client_args };
        let own = self.keys.as_ref().map(of);
        own.into_iter().flatten().chain(args.iter().map(|arg| arg.to_string())).collect()
    }

    /// What a listener and a connection of the library are made with.
    pub(crate) fn builders(&self) -> [Builder; 2] {
        [keys::of_server, keys::of_client].map(|security| match &self.keys {
            Some(keys) => Connection::builder().security(security(keys.folder()).unwrap()),
            None => Connection::builder(),
        })
    }
}

impl Deref for Site {
    type Target = Network;

    fn deref(&self) -> &Network {
        &self.network
    }
}

/// A network, or `None` after the reason was printed.
pub(crate) fn network() -> Option<Site> {
    let Some(why) = network::obstacle() else { return Some(Site::new()) };
    assert!(std::env::var_os("LONGLINK_NETWORKS").is_none(), "{why}");
    eprintln!("skipped: {why}");
    None
}

pub(crate) struct Stage {
    pub(crate) client: Process,
    pub(crate) server: Process,
    pub(crate) network: Site,
    sent: Arc<AtomicU32>,
    /// Somebody sends all the time, until told to stop.
    chatter: Option<mpsc::Sender<()>>,
}

impl Stage {
    pub(crate) fn new() -> Option<Stage> {
        Stage::with(&[], &[])
    }

    /// A connected pair, with these settings on top.
    pub(crate) fn with(client_args: &[&str], server_args: &[&str]) -> Option<Stage> {
        let network = network()?;
        let own = ["--bind", network::SERVER, "--port", PORT];
        let server = network.serve(&merged(&own, &["--misses", "2"], server_args));
        server.says("listening on ");
        let defaults = [&FAST[..], &["--retries", "forever"]].concat();
        let client = network.call(&merged(&[network::SERVER], &defaults, client_args));
        client.says("connected to ");
        let mut stage = Stage { client, server, network, sent: Arc::default(), chatter: None };
        stage.talk();
        Some(stage)
    }

    /// From now on there is a line every 5 ms.
    pub(crate) fn chatter(&mut self) {
        let (stop, stopped) = mpsc::channel();
        let sent = self.sent.clone();
        self.client.send_all(std::iter::from_fn(move || {
            let pause = stopped.recv_timeout(ms(5));
            (pause == Err(RecvTimeoutError::Timeout)).then(|| line(next(&sent)))
        }));
        self.chatter = Some(stop);
    }

    /// Waits until a line that is sent from now on has come back.
    #[track_caller]
    pub(crate) fn talk(&mut self) {
        let number = if self.chatter.is_some() {
            self.sent.load(Ordering::SeqCst) + 1
        } else {
            let number = next(&self.sent);
            self.client.send(line(number));
            number
        };
        self.client.prints(line(number).trim_end());
    }

    /// Both sides have to notice in time that the link is lost, which began
    /// at this time.
    #[track_caller]
    pub(crate) fn both_notice(&self, since: Instant) {
        self.client_notices(since);
        let how = self.server.says("lost: ");
        let noticed = since.elapsed();
        eprintln!("noticed by the server after {noticed:.1?}: {how}");
        assert!(noticed <= SERVER_NOTICES + SLACK, "noticed after {noticed:?}");
    }

    #[track_caller]
    pub(crate) fn client_notices(&self, since: Instant) {
        let how = self.client.says("lost: ");
        let noticed = since.elapsed();
        eprintln!("noticed by the client after {noticed:.1?}: {how}");
        assert!(noticed <= CLIENT_NOTICES + SLACK, "noticed after {noticed:?}");
    }

    /// The path lets new connections through since then.
    #[track_caller]
    pub(crate) fn regains(&mut self, since: Instant) {
        self.talk();
        let regained = since.elapsed();
        eprintln!("regained after {regained:.1?}");
        assert!(regained <= REGAINED + SLACK, "regained after {regained:?}");
    }

    /// Everything that was sent has come back, each once and in order, over
    /// one session.
    #[track_caller]
    pub(crate) fn all_once(mut self) {
        if self.chatter.take().is_none() {
            self.client.end_input();
        }
        assert_eq!(self.client.ends(), 0);
        let lines: Vec<String> = (1..=self.sent.load(Ordering::SeqCst)).map(line).collect();
        assert!(self.client.out.text() == lines.concat(), "the output is not the input");
        assert_eq!(self.client.err.count("new session"), 0);
        self.server.prints(lines.last().expect("there was a line").trim_end());
        let lines: Vec<String> = lines.iter().map(|line| format!("client-1> {line}")).collect();
        assert!(self.server.out.text() == lines.concat(), "the server did not get the input");
    }
}

/// Settings, and others that take their places.
fn merged<'a>(own: &[&'a str], defaults: &[&'a str], others: &[&'a str]) -> Vec<&'a str> {
    let defaults = defaults.chunks(2).filter(|pair| !others.contains(&pair[0]));
    own.iter().chain(defaults.flatten()).chain(others).copied().collect()
}

fn next(count: &AtomicU32) -> u32 {
    count.fetch_add(1, Ordering::SeqCst) + 1
}

/// No line is a part of another.
fn line(number: u32) -> String {
    format!("<{number}>\n")
}
