//! The command lines of the two programs.

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, ValueEnum, ValueHint};
use log::{Level, LevelFilter};

use super::bytes::{self, target::Target};
use super::manual::{self, CLIENT, Packaging, SERVER};
use super::security::{ClientSecurity, ServerSecurity};
use super::stop::Stop;
use super::text::{self, Secured};
use super::values::{self, HostArg, Paths, Retries};
use crate::{Builder, Connection, Heartbeat, Host, Plain, RetryPolicy, SessionLoss};

/// For so long a session without a link is kept, unless it is said otherwise.
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Exponential delays grow up to this, unless the first is longer already.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

const DEFAULT_PORT: u16 = 6666;
const DEFAULT_ATTEMPTS: u32 = 5;

const DEFAULT_MAX_CLIENTS: u32 = 1024;
const DEFAULT_WINDOW: usize = 1024 * 1024;
/// The largest message in bytes.
pub const DEFAULT_MAX_MESSAGE: usize = 256 * 1024;

/// What both programs take.
#[derive(Debug, Args)]
pub struct Shared {
    /// Ping after this long without sending, or `off`
    ///
    /// From 100ms to 24h. A server keeps to the interval of each client, unless its
    /// own is `off`: then it pings no client and declares none dead. With `off` only
    /// the kernel's keepalive is left, which does not see a process that hangs.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::heartbeat,
        help_heading = "Heartbeat")]
    heartbeat: Heartbeat,
    /// After this many silent intervals the other side counts as dead
    #[arg(long, value_name = "N", default_value = "3", help_heading = "Heartbeat",
        value_parser = values::misses)]
    misses: u32,
    /// Say only what went wrong
    ///
    /// A server then prints no messages, either, unless an operator answers them.
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Log, on standard error")]
    quiet: bool,
    /// Say more: every heartbeat answered, too
    #[arg(short, long, help_heading = "Log, on standard error")]
    verbose: bool,
    #[command(flatten)]
    packaging: Packaging,
}

impl Shared {
    /// What is logged.
    pub fn level(&self) -> LevelFilter {
        match (self.quiet, self.verbose) {
            (true, _) => LevelFilter::Warn,
            (_, true) => LevelFilter::Debug,
            _ => LevelFilter::Info,
        }
    }
}

/// How the wait between attempts to connect grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Backoff {
    /// The same each time
    Fixed,
    /// Twice as long each time, up to 30s
    Exponential,
}

/// Keeps a connection to a server: sends lines, prints the replies
///
/// Sends the lines of standard input, prints what comes back, and stays
/// connected: a dead server is noticed by heartbeat, a lost link is made again,
/// and no line is lost.
///
/// Standard output carries the replies and nothing else: `client HOST < in > out`
/// is a filter.
#[derive(Debug, Parser)]
#[command(
    name = "client",
    version,
    max_term_width = manual::WIDTH,
    after_help = "--help tells more: examples, exit codes, the environment.",
    after_long_help = CLIENT.trim_end()
)]
pub struct ClientArgs {
    /// Where to connect to: a name or an address, or several
    ///
    /// Several are tried in turn, the last good one first. An IPv6 address with
    /// a port is written [::1]:6667. Paths to one and the same server are joined
    /// by commas, as in wired.example,wifi.example: its session goes on over each.
    #[arg(value_name = "HOST[:PORT]", required = true, value_parser = Paths::parse,
        value_hint = ValueHint::Hostname)]
    hosts: Vec<Paths>,
    /// The port of a HOST that names none
    #[arg(short, long, value_name = "PORT", default_value = "6666", value_parser = values::port)]
    port: u16,
    /// Send a line that says `exit` like any other
    #[arg(long)]
    pub no_exit: bool,
    /// Carry standard input and output as bytes, to a server with --to
    ///
    /// For `ssh -o ProxyCommand='client --stdio %h'` and the like. Standard error
    /// has nothing but what went wrong; -v says more.
    #[arg(long, conflicts_with_all = ["no_exit", "plain", "lock_step", "reply_timeout", "listen"],
        help_heading = "Bytes")]
    stdio: bool,
    /// Carry each TCP connection made here, to a server with --to
    ///
    /// Each has a session of its own. Without ADDR only programs on this machine can
    /// connect. A PORT of 0 takes a free one.
    #[arg(long, value_name = "[ADDR:]PORT", conflicts_with_all = ["no_exit", "plain", "lock_step",
        "reply_timeout"], value_parser = values::listening_address, help_heading = "Bytes")]
    listen: Option<SocketAddr>,
    /// How many of them at once; the next is reset [default: 1024]
    #[arg(long, value_name = "N", requires = "listen", help_heading = "Bytes",
        value_parser = values::clients)]
    max_connections: Option<u32>,
    /// Which server is trusted.
    #[command(flatten)]
    pub security: ClientSecurity,
    /// How many attempts before giving up, or `forever` [default: 5]
    ///
    /// The first is made at once, when the program starts and when a link is
    /// lost; 0 never connects again. A link restores the full number once something
    /// got through on it, or nothing had to for a while. With --stdio and --listen, 5
    /// are made for the first link only: once there was one, they go on for as long
    /// as the server keeps the session.
    #[arg(long, value_name = "N", value_parser = values::retries, allow_negative_numbers = true,
        help_heading = "Reconnecting")]
    retries: Option<Retries>,
    /// The wait before each attempt but the first
    ///
    /// It varies by 20 %, so that many clients do not return in step.
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = values::some_time,
        help_heading = "Reconnecting")]
    retry_delay: Duration,
    /// How that wait grows
    #[arg(long, value_name = "HOW", default_value = "fixed", help_heading = "Reconnecting")]
    backoff: Backoff,
    /// How long an address may take to answer
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = values::some_time,
        help_heading = "Reconnecting")]
    connect_timeout: Duration,
    /// Speak plain text, to any server of lines
    ///
    /// The client stays connected, but it cannot resume a lost link: lines without
    /// a reply may be lost, and are named (of many, the first and the last). A last
    /// line without a newline gets one.
    #[arg(long, help_heading = "Plain text")]
    plain: bool,
    /// No reply to a line within this is a lost link [default: never]
    ///
    /// The only way to notice a server of lines that hangs.
    #[arg(long, value_name = "DURATION", requires = "plain", value_parser = values::some_time,
        help_heading = "Plain text")]
    reply_timeout: Option<Duration>,
    /// Send the next line when the last was answered
    #[arg(long, requires = "plain", help_heading = "Plain text")]
    lock_step: bool,
    /// What both programs take.
    #[command(flatten)]
    pub shared: Shared,
}

/// What a client does with its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientWork {
    /// It sends lines, and prints replies.
    Lines,
    /// Standard input and output are the bytes of one connection.
    Pipe,
    /// It listens here, for the bytes of many.
    Forward(SocketAddr),
}

impl ClientArgs {
    /// Parses the command line. Ends the process where there is nothing to run: after `--help`
    /// and the like, or if standard error says what is wrong.
    pub fn read() -> ClientArgs {
        let args = Self::from_line(std::env::args_os());
        let args = args.and_then(|args| args.security.make_key().map(|()| args));
        args.unwrap_or_else(|stop| stop.exit("client"))
    }

    fn from_line(line: impl Iterator<Item = OsString>) -> Result<Self, Stop> {
        let line: Vec<_> = line.collect();
        let args = ClientArgs::try_parse_from(&line).map_err(|error| {
            let is_no_key = |missing: &str| missing.contains("|--cert ");
            wrong(
                error,
                ErrorKind::MissingRequiredArgument,
                is_no_key,
                "an invite goes to --invite",
            )
        })?;
        let hosts: Vec<_> = args.hosts.iter().flat_map(|paths| paths.0.clone()).collect();
        values::no_port_apart(&hosts).map_err(Stop::Usage)?;
        args.shared.packaging.answer(ClientArgs::command(), CLIENT, line.first())?;
        Ok(args)
    }

    /// What the client does.
    pub fn work(&self) -> ClientWork {
        match (self.stdio, self.listen) {
            (true, _) => ClientWork::Pipe,
            (false, Some(address)) => ClientWork::Forward(address),
            (false, None) => ClientWork::Lines,
        }
    }

    /// What is logged. Where standard input and output are bytes, only what went wrong.
    pub(super) fn level(&self) -> LevelFilter {
        match self.work() {
            ClientWork::Pipe if !self.shared.verbose => LevelFilter::Error,
            _ => self.shared.level(),
        }
    }

    /// How many connections are carried at once.
    pub(super) fn max_connections(&self) -> u32 {
        self.max_connections.unwrap_or(DEFAULT_MAX_CLIENTS)
    }

    /// Where to connect to.
    pub fn hosts(&self) -> Vec<Host> {
        self.hosts.iter().flat_map(|paths| paths.hosts(self.port)).collect()
    }

    /// The connection's settings, with the security that its files say; and what its links are
    /// secured by.
    ///
    /// # Errors
    ///
    /// What is wrong with one of the files.
    pub(super) fn secured_builder(&self) -> anyhow::Result<(Builder, Secured)> {
        let security = self.security.read().map_err(|error| anyhow!(text::error(&error)))?;
        let Some(security) = security else { return Ok((self.builder(), Secured::No)) };
        let secured = self.security.secured(&security);
        Ok((self.builder().security(security), secured))
    }

    fn builder(&self) -> Builder {
        let delay = self.retry_delay;
        let retry = match self.backoff {
            Backoff::Fixed => RetryPolicy::fixed(delay, 0),
            Backoff::Exponential => RetryPolicy::exponential(delay, LONGEST_DELAY.max(delay)),
        };
        let bytes = self.work() != ClientWork::Lines;
        let retry = match self.retries {
            Some(Some(attempts)) => retry.attempts(attempts),
            Some(None) => retry.unlimited(),
            None if bytes => retry.attempts(DEFAULT_ATTEMPTS).while_kept(),
            None => retry.attempts(DEFAULT_ATTEMPTS),
        };
        let loss = if bytes { SessionLoss::GiveUp } else { SessionLoss::SendAgain };
        let builder = Connection::builder()
            .on_session_lost(loss)
            .heartbeat(self.shared.heartbeat.misses(self.shared.misses))
            .retry(retry)
            .connect_timeout(self.connect_timeout);
        if bytes {
            // An end in order is worth as much as what came before it.
            return builder.close_timeout(Duration::MAX);
        }
        if !self.plain {
            return builder;
        }
        let plain = Plain::new().lock_step(self.lock_step);
        builder.plain(match self.reply_timeout {
            Some(timeout) => plain.reply_timeout(timeout),
            None => plain,
        })
    }
}

/// Echoes what clients send; with --chat, an operator answers
///
/// Serves long connections: a client that loses its link comes back to its session.
/// Plain text clients (nc, telnet) are served on the same port.
///
/// Standard output carries the messages, as `client-N> text`, and nothing else. A message
/// of several lines has `client-N> ` before each.
#[derive(Debug, Parser)]
#[command(
    name = "server",
    version,
    max_term_width = manual::WIDTH,
    after_help = "--help tells more: examples, the operator's commands, exit codes, the environment.",
    after_long_help = SERVER.trim_end()
)]
pub struct ServerArgs {
    /// The address to listen on, or a name of this machine
    ///
    /// 0.0.0.0 stands for all IPv4 addresses, :: for all of IPv6 and IPv4. What can
    /// be reached from other machines takes --keys, or --open.
    #[arg(long, value_name = "ADDR[:PORT]", default_value = "127.0.0.1",
        value_parser = HostArg::parse_listening, value_hint = ValueHint::Hostname)]
    bind: HostArg,
    /// The port to listen on; 0 takes a free one [default: 6666]
    #[arg(short, long, value_name = "PORT", value_parser = values::listening_port)]
    port: Option<u16>,
    /// An operator answers from standard input, instead of an echo
    #[arg(long)]
    pub chat: bool,
    /// Carry each session, as bytes, to a TCP connection of its own to this service
    ///
    /// For clients with --stdio and --listen. The service sees connections that
    /// come from this machine: what it grants to those (`trust` in pg_hba.conf, an
    /// exception in fail2ban), it grants to all clients. Plain text is dropped.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "chat", value_parser = Target::parse,
        value_hint = ValueHint::Hostname)]
    to: Option<Target>,
    /// Drop clients that speak plain text, such as nc and telnet
    #[arg(long)]
    framed_only: bool,
    /// How long the server waits for a client that lost its link [default: 60s; 24h
    /// with --to]
    ///
    /// It keeps what the client is to get meanwhile. Then it reclaims the session.
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    resume_within: Option<Duration>,
    /// Keep totals in this file, for Prometheus
    ///
    /// Its node_exporter collects files that are called *.prom. The file is replaced
    /// every second.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    stats: Option<PathBuf>,
    /// Who is let in.
    #[command(flatten)]
    pub security: ServerSecurity,
    /// How many clients are served at once [default: 1024]
    ///
    /// When there are as many, a newcomer takes the place of one that lost its
    /// link: of one that never sent anything, if there is one. Of several, the
    /// one goes that lost its link first.
    #[arg(long, value_name = "N", help_heading = "Limits",
        value_parser = values::clients)]
    max_clients: Option<u32>,
    /// How much may be unacknowledged, per client and direction [default: 1MiB]
    #[arg(long, value_name = "BYTES", value_parser = values::bytes, help_heading = "Limits")]
    window: Option<usize>,
    /// The largest message, at most the window [default: 256KiB]
    ///
    /// More than 256KiB is for programs of your own: `client` neither sends nor takes it.
    #[arg(long, value_name = "BYTES", value_parser = values::bytes, help_heading = "Limits")]
    max_message: Option<usize>,
    /// What both programs take.
    #[command(flatten)]
    pub shared: Shared,
}

impl ServerArgs {
    /// Parses the command line. Ends the process where there is nothing to run: after `--help`
    /// and the like, or if standard error says what is wrong.
    pub fn read() -> ServerArgs {
        let args = Self::from_line(std::env::args_os());
        let args = args.and_then(|args| {
            let port = Some(args.address().1).filter(|port| ![0, DEFAULT_PORT].contains(port));
            args.security.make_invite(port).map(|()| args)
        });
        args.unwrap_or_else(|stop| stop.exit("server"))
    }

    fn from_line(line: impl Iterator<Item = OsString>) -> Result<Self, Stop> {
        let line: Vec<_> = line.collect();
        let args = ServerArgs::try_parse_from(&line).map_err(|error| {
            let is_no_option = |unknown: &str| !unknown.starts_with('-');
            wrong(error, ErrorKind::UnknownArgument, is_no_option, "an address goes to --bind")
        })?;
        if let (Some(port), Some(of_address)) = (args.port, args.bind.port)
            && port != of_address
        {
            return Err(Stop::Usage(format!("--port {port} is not the port of --bind")));
        }
        let (largest, window) = (args.max_message() as u64, args.window() as u64);
        if largest > window {
            let (largest, window) = (text::size(largest), text::size(window));
            let wrong = format!("--max-message ({largest}) can be at most the --window ({window})");
            return Err(Stop::Usage(wrong));
        }
        args.shared.packaging.answer(ServerArgs::command(), SERVER, line.first())?;
        Ok(args)
    }

    /// The address or the name, and the port, to listen on.
    pub fn address(&self) -> (&str, u16) {
        let port = self.bind.port.or(self.port).unwrap_or(DEFAULT_PORT);
        (&self.bind.name, port)
    }

    /// The largest message in bytes.
    pub fn max_message(&self) -> usize {
        self.max_message.unwrap_or(DEFAULT_MAX_MESSAGE.min(self.window()))
    }

    fn window(&self) -> usize {
        self.window.unwrap_or(DEFAULT_WINDOW)
    }

    /// How many clients are served at once.
    pub fn max_clients(&self) -> u32 {
        self.max_clients.unwrap_or(DEFAULT_MAX_CLIENTS)
    }

    /// How many descriptors a client takes.
    pub fn descriptors(&self) -> u64 {
        if self.to.is_some() { 2 } else { 1 }
    }

    /// So many clients there can be, and the memory that all this can come to; and the level
    /// at which that is logged: it is shown if a limit was set.
    pub fn limits(&self, clients: u32) -> (Level, String) {
        let set = self.max_clients.is_some() || self.window.or(self.max_message).is_some();
        let set = set || self.to.is_some();
        let level = if set { Level::Info } else { Level::Debug };
        let memory = text::size(self.memory(clients));
        let clients = text::count(clients.into(), "client");
        (level, format!("at most {clients}, which can take {memory} of memory in all"))
    }

    /// The most memory that this server can come to need for so many clients, in bytes: what
    /// [`Builder::max_clients`] says, and a few buffers.
    fn memory(&self, clients: u32) -> u64 {
        let (window, max_message) = (self.window() as u64, self.max_message() as u64);
        let carried = if self.to.is_some() { bytes::MEMORY } else { 0 };
        let each = 4 * (window + max_message) + (256 << 10) + carried;
        u64::from(clients) * each + (24 << 20)
    }

    /// Where totals are kept, if they are.
    pub fn stats(&self) -> Option<&Path> {
        self.stats.as_deref()
    }

    /// The service that sessions lead to, if there is one.
    pub fn to(&self) -> Option<&Target> {
        self.to.as_ref()
    }

    /// The listener's settings.
    pub fn builder(&self) -> Builder {
        let (loss, kept) = match self.to {
            Some(_) => (SessionLoss::GiveUp, DAY),
            None => (SessionLoss::SendAgain, MINUTE),
        };
        Connection::builder()
            .heartbeat(self.shared.heartbeat.misses(self.shared.misses))
            .on_session_lost(loss)
            .resume_within(self.resume_within.unwrap_or(kept))
            .max_clients(self.max_clients() as usize)
            .accept_plain(!self.framed_only && self.to.is_none())
            .window(self.window())
            .max_message(self.max_message())
    }
}

/// What clap has to say, and a tip, if it says that of an argument that `is` so.
fn wrong(mut error: clap::Error, says: ErrorKind, is: fn(&str) -> bool, tip: &str) -> Stop {
    let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    if error.kind() == says && is(&argument) {
        let tips = vec![tip.to_string().into()];
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
    Stop::new(&error)
}
