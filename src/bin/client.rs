//! `client HOST`: sends the lines of standard input, prints what comes back,
//! and stays connected.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::Context;

use longlink::cli::args::{ClientArgs, DEFAULT_MAX_MESSAGE};
use longlink::cli::end::{self, Ending};
use longlink::cli::events::Watch;
use longlink::cli::input::{Input, Stage};
use longlink::cli::replies::{self, End};
use longlink::cli::{code, log as journal, text};
use longlink::{Connection, Error, Event, Protocol};

fn main() -> ExitCode {
    let args = match ClientArgs::read() {
        Ok(args) => args,
        Err(code) => return code.into(),
    };
    let client = Arc::new(Client::new(&args));
    let outcome = client.run(&args);
    let ending = Ending::begin();
    let code = outcome.map(|end| client.conclude(end)).unwrap_or_else(|error| {
        log::error!("{error:#}");
        code::FAILED
    });
    ending.exit(code)
}

struct Client {
    connection: OnceLock<Connection>,
    watch: Arc<Watch>,
    input: Arc<Input>,
}

impl Client {
    fn new(args: &ClientArgs) -> Client {
        let watch = Arc::new(Watch::new(&args.hosts()));
        Client { connection: OnceLock::new(), watch, input: Arc::default() }
    }

    fn run(self: &Arc<Self>, args: &ClientArgs) -> anyhow::Result<End> {
        journal::start(args.shared.level()).context("cannot start the log")?;
        let client = self.clone();
        end::when_told(move |code| client.interrupt(code)).context("cannot wait for Ctrl-C")?;

        let begun = self.input.begin(DEFAULT_MAX_MESSAGE, !args.no_exit, &self.watch);
        begun.context("cannot read the input")?;
        let client = self.clone();
        let builder = args.builder().on_event(move |connection, event| {
            // Set before the log says so: from then on Ctrl-C ends the connection.
            if let Event::Connected { .. } = event {
                client.connection.get_or_init(|| connection.clone());
            }
            client.watch.note(&event);
        });
        let connection = match builder.connect(args.hosts()) {
            Ok(connection) => connection,
            Err(error) => return Ok(End::Connection(error)),
        };
        let connection = self.connection.get_or_init(|| connection);
        let started = self.input.start(connection.clone(), &self.watch);
        started.context("cannot start a thread")?;
        // The first reply comes below that line of the log.
        if self.watch.has_connected() {
            journal::flush();
        }
        let end = replies::print(connection);
        Ok(match (end, self.input.stage()) {
            (End::OutputClosed, _) => {
                replies::close_unread(connection);
                End::OutputClosed
            }
            (End::Connection(error), stage) => {
                // The other side learns of the end before the process leaves.
                let _ = connection.close();
                let unread = stage == Stage::Unread;
                if unread { End::OutputClosed } else { End::Connection(error) }
            }
            (end, _) => match connection.close() {
                Err(error) if error.unacknowledged() != Some(0) => End::Connection(error),
                _ => end,
            },
        })
    }

    /// The exit code, and the reason for it.
    fn conclude(&self, end: End) -> u8 {
        self.watch.end();
        let unprinted = matches!(end, End::Peer { printed: false });
        let failed = self.input.was_refused() || unprinted || self.watch.has_unanswered();
        let good = if failed { code::FAILED } else { code::OK };
        let (sent, waiting) = self.waiting();
        let error = match end {
            End::Peer { .. } => {
                if let Some(line) = self.input.cut_off(sent) {
                    log::error!("the other side ended: the input was not sent from line {line} on");
                } else if waiting.is_empty() {
                    log::info!("{}", self.input.why_ended());
                    return good;
                } else {
                    let lines = text::count(waiting.len() as u64, "line");
                    log::error!("the other side ended: {lines} not sent");
                    self.name(&waiting);
                }
                return code::FAILED;
            }
            End::OutputClosed => match self.unacknowledged() {
                0 => {
                    log::info!("ended: nothing reads the output any more");
                    return good;
                }
                count => {
                    let messages = text::messages(count);
                    log::error!("{messages} not acknowledged: nothing reads the output any more");
                    return code::FAILED;
                }
            },
            End::Connection(error) => error,
        };
        if self.input.stage() == Stage::Exit
            && error.unacknowledged() == Some(0)
            && !gave_up(&error)
        {
            log::info!("{}", self.input.why_ended());
            return good;
        }
        if !gave_up(&error) || !self.watch.has_given_up() {
            log::error!("{}", text::error(&error));
        }
        self.name(&waiting);
        if self.connection.get().is_some()
            && let Some(line) = self.input.unsent(sent)
        {
            log::error!("the input was not sent from line {line} on");
        }
        code::FAILED
    }

    fn unacknowledged(&self) -> u64 {
        self.connection.get().map_or(0, |connection| connection.stats().unacknowledged)
    }

    /// How many messages were sent, and the lines that were typed and wait to be.
    fn waiting(&self) -> (u64, Vec<Vec<u8>>) {
        let sent = self.connection.get().map_or(0, |connection| connection.stats().messages_sent);
        (sent, self.input.waiting(sent))
    }

    /// Names the lines that were not delivered, after the end of the connection.
    fn name(&self, waiting: &[Vec<u8>]) {
        let mut names = Vec::new();
        if let Some(connection) = self.connection.get() {
            let what = match connection.protocol() {
                Protocol::Plain => "not sent",
                _ => "not acknowledged",
            };
            names = text::named(what, &connection.take_unacknowledged());
        }
        names.append(&mut text::named("not sent", waiting));
        names.iter().for_each(|line| log::warn!("{line}"));
    }

    /// Ctrl-C, or SIGTERM.
    fn interrupt(&self, code: u8) {
        let ending = Ending::begin();
        let connection = self.connection.get();
        let (_, waiting) = self.waiting();
        let count = self.unacknowledged();
        if let Some(connection) = connection {
            connection.abort();
        }
        let messages = text::messages(count + waiting.len() as u64);
        log::warn!("interrupted, {messages} not acknowledged");
        self.name(&waiting);
        ending.exit(code)
    }
}

fn gave_up(error: &Error) -> bool {
    matches!(error, Error::GaveUp { .. })
}
