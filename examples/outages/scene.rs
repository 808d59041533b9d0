//! A server and a client, each on its side of a path that fails, and what they
//! say and when.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::keys::Keys;
use crate::network::{self, Network};
use crate::outage::{HEARTBEAT, MISSES, RETRY_DELAY};
use crate::programs::{Result, Running};

pub(crate) const LINES: usize = 4000;
const PAUSE: Duration = Duration::from_millis(5);

/// The patience of every wait.
const DEADLINE: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "the times are what it is about")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "an outage takes its time")]
pub(crate) fn rest(time: Duration) {
    thread::sleep(time);
}

/// The lines of an output, with the times at which they came.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(Instant, String)>>>);

impl Lines {
    /// The thread ends with the output.
    fn listen(&self, output: impl Read + Send + 'static) -> JoinHandle<()> {
        let lines = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
                lines.get().push((now(), line));
            }
        })
    }

    fn get(&self) -> MutexGuard<'_, Vec<(Instant, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn first(&self, text: &str, since: Instant, before: Option<Instant>) -> Option<Instant> {
        let lines = self.get();
        let fits = |at: Instant| at >= since && before.is_none_or(|before| at < before);
        lines.iter().find(|(at, line)| fits(*at) && line.contains(text)).map(|(at, _)| *at)
    }

    fn wait_for(
        &self,
        what: &str,
        mut found: impl FnMut(&[(Instant, String)]) -> bool,
    ) -> Result<()> {
        let deadline = now() + DEADLINE;
        while !found(&self.get()) {
            if now() > deadline {
                let lines: Vec<String> = self.get().iter().map(|(_, line)| line.clone()).collect();
                let end = lines[lines.len().saturating_sub(20)..].join("\n");
                return Err(format!("waited in vain for {what}; last was said\n{end}").into());
            }
            rest(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// Something that goes wrong.
struct Fault {
    began: Instant,
    /// A new connection can be had from then on.
    open: Option<Instant>,
}

/// The programs, and their keys, if the links are to be secured.
pub(crate) struct Cast {
    pub(crate) programs: PathBuf,
    pub(crate) keys: Option<Keys>,
}

impl Cast {
    fn start_client(&self, network: &Network) -> Result<Running> {
        let program = self.programs.join("client");
        let mut command = network.client.command(&[&program.to_string_lossy(), network::SERVER]);
        command.args(self.keys.iter().flat_map(Keys::client_args));
        command.args(["--heartbeat", &format!("{HEARTBEAT:?}"), "--misses", &MISSES.to_string()]);
        command.args(["--retry-delay", &format!("{RETRY_DELAY:?}"), "--retries", "forever"]);
        Running::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))
    }

    fn start_server(&self, network: &Network, says: &Lines) -> Result<Running> {
        let program = self.programs.join("server");
        let already = says.get().len();
        let mut command = network.server.command(&[&program.to_string_lossy()]);
        match &self.keys {
            Some(keys) => command.args(keys.server_args()),
            None => command.arg("--open"),
        };
        command.args(["--bind", network::SERVER, "--misses", &MISSES.to_string()]);
        let mut server = Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()))?;
        says.listen(server.0.stderr.take().ok_or("no pipe")?);
        says.wait_for("the server", |lines| {
            lines[already..].iter().any(|(_, line)| line.contains("listening on "))
        })?;
        Ok(server)
    }
}

pub(crate) struct Scene<'a> {
    cast: &'a Cast,
    pub(crate) network: Network,
    client: Running,
    server: Running,
    replies: Lines,
    listener: Option<JoinHandle<()>>,
    client_says: Lines,
    server_says: Lines,
    paused: Arc<AtomicBool>,
    faults: Vec<Fault>,
}

impl Scene<'_> {
    pub(crate) fn open(cast: &Cast) -> Result<Scene<'_>> {
        let network = Network::new();
        let server_says = Lines::default();
        let server = cast.start_server(&network, &server_says)?;
        let mut client = cast.start_client(&network)?;
        let (replies, client_says) = (Lines::default(), Lines::default());
        let listener = replies.listen(client.0.stdout.take().ok_or("no pipe")?);
        client_says.listen(client.0.stderr.take().ok_or("no pipe")?);
        let paused = Arc::new(AtomicBool::new(false));
        feed(client.0.stdin.take().ok_or("no pipe")?, paused.clone());
        Ok(Scene {
            cast,
            network,
            client,
            server,
            replies,
            listener: Some(listener),
            client_says,
            server_says,
            paused,
            faults: Vec::new(),
        })
    }

    pub(crate) fn wait_for_replies(&self, count: usize) -> Result<()> {
        self.replies.wait_for("replies", |lines| lines.len() >= count)
    }

    pub(crate) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::SeqCst);
    }

    /// What comes next goes wrong.
    pub(crate) fn fails(&mut self) {
        self.faults.push(Fault { began: now(), open: None });
    }

    /// A new connection can be had from now on.
    pub(crate) fn is_open(&mut self) {
        self.faults.last_mut().expect("something failed").open = Some(now());
    }

    pub(crate) fn signal_server(&mut self, signal: &str) -> Result<()> {
        let pid = self.server.0.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status()?;
        if sent.success() { Ok(()) } else { Err("the server is gone".into()) }
    }

    pub(crate) fn start_server(&mut self) -> Result<()> {
        self.server = self.cast.start_server(&self.network, &self.server_says)?;
        Ok(())
    }

    /// Waits until the client has got everything, and takes stock.
    pub(crate) fn close(mut self) -> Result<Account> {
        let mut status = None;
        self.replies.wait_for("the client's end", |_| {
            status = self.client.0.try_wait().ok().flatten();
            status.is_some()
        })?;
        match status {
            Some(status) if status.success() => {
                let last = self.listener.take().map(JoinHandle::join);
                last.transpose().map_err(|_| "panicked")?;
                Ok(self.account())
            }
            _ => Err(format!("the client ended with {status:?}").into()),
        }
    }

    fn account(&self) -> Account {
        let mut account = Account::default();
        for (fault, next) in self.faults.iter().zip(1..) {
            let before = self.faults.get(next).map(|next| next.began);
            let client = self.client_says.first("lost: ", fault.began, before);
            let server = self.server_says.first("lost: ", fault.began, before);
            let longest = |longest: &mut Option<Duration>, at: Option<Instant>| {
                *longest = (*longest).max(at.map(|at| at - fault.began));
            };
            longest(&mut account.client, client);
            longest(&mut account.server, server);
            let since = client.max(fault.open).unwrap_or(fault.began);
            let regained = self.replies.first("", since, None).map(|at| at - since);
            account.regained = account.regained.max(regained.unwrap_or(Duration::MAX));
        }
        account.client_again = sent_again(&self.client_says);
        account.server_again = sent_again(&self.server_says);

        let mut seen = vec![0u32; LINES + 1];
        let mut last = 0;
        for (_, line) in &*self.replies.get() {
            let number = line.parse().ok().filter(|number| (1..=LINES).contains(number));
            let number: usize = number.unwrap_or(0);
            seen[number] += 1;
            let again = seen[number] > 1 || number == 0;
            account.doubled += usize::from(again);
            account.reordered += usize::from(!again && number < last);
            last = number.max(last);
        }
        account.lost = seen[1..].iter().filter(|times| **times == 0).count();
        account
    }
}

/// Writes numbered lines at their pace, until there are enough of them.
fn feed(mut input: ChildStdin, paused: Arc<AtomicBool>) {
    thread::spawn(move || {
        for number in 1..=LINES {
            rest(PAUSE);
            while paused.load(Ordering::SeqCst) {
                rest(PAUSE);
            }
            if writeln!(input, "{number}").is_err() {
                return;
            }
        }
    });
}

/// How many messages were sent again, as one side says.
fn sent_again(says: &Lines) -> u64 {
    let count = |line: &str| {
        let (before, _) = line.split_once(" sent again")?;
        before.rsplit(' ').next()?.parse::<u64>().ok()
    };
    says.get().iter().filter_map(|(_, line)| count(line)).sum()
}

/// What an outage cost.
#[derive(Default)]
pub(crate) struct Account {
    /// The longest, if there were several outages.
    pub(crate) client: Option<Duration>,
    pub(crate) server: Option<Duration>,
    pub(crate) regained: Duration,
    client_again: u64,
    server_again: u64,
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    pub(crate) reordered: usize,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noticed = |time: Option<Duration>| {
            time.map_or("-".into(), |time| format!("{:.1} s", time.as_secs_f64()))
        };
        write!(
            f,
            "{} | {} | {:.1} s | {} + {} | {} | {} | {}",
            noticed(self.client),
            noticed(self.server),
            self.regained.as_secs_f64(),
            self.client_again,
            self.server_again,
            self.lost,
            self.doubled,
            self.reordered
        )
    }
}
