//! The client: it sends the lines of standard input, prints what comes back, and says how it
//! ended.

use std::io::{self, IsTerminal};
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use parking_lot::Mutex;

use super::args::{ClientArgs, DEFAULT_MAX_MESSAGE};
use super::end::{self, Ending};
use super::events::Watch;
use super::replies::{self, End};
use super::{code, input, keyboard, log as journal, progress, text};
use crate::{Connection, Error, Event, Protocol, Stats};

/// How far the input has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// There may be more.
    #[default]
    Waiting,
    /// Lines of a pipe are at hand, and not all of them are sent.
    Sending,
    /// There is no more to read.
    AllRead,
    /// `exit` was read.
    Exit,
    /// The connection was ended, since nothing reads the replies any more.
    Unread,
}

impl Stage {
    /// Whether there may be more.
    pub(super) fn is_reading(self) -> bool {
        matches!(self, Stage::Waiting | Stage::Sending)
    }

    /// Why a connection has ended well.
    fn why_ended(self) -> &'static str {
        match self {
            // The other side may have ended in answer to that.
            Stage::Unread => "ended: nothing reads the output any more",
            Stage::Exit => "ended: `exit`, and everything is acknowledged",
            Stage::AllRead => "ended: the other side has ended, too",
            Stage::Waiting | Stage::Sending => "ended by the other side",
        }
    }
}

/// The client.
#[derive(Debug, Default)]
pub struct Client {
    /// Set before the log says that there is one: from then on Ctrl-C ends it.
    pub(super) connection: OnceLock<Connection>,
    pub(super) watch: Watch,
    stage: Mutex<Stage>,
    /// How many lines cannot be sent; the whole input counts as one.
    pub(super) refusals: Mutex<u64>,
}

impl Client {
    /// A client that has not begun.
    pub fn new(args: &ClientArgs) -> Arc<Client> {
        Arc::new(Client { watch: Watch::new(&args.hosts()), ..Client::default() })
    }

    /// Sends and prints until the connection ends. Returns how it did.
    ///
    /// # Errors
    ///
    /// What kept it from beginning.
    pub fn run(self: &Arc<Self>, args: &ClientArgs) -> anyhow::Result<Result<End, Error>> {
        journal::start(args.level()).context("cannot start the log")?;
        let client = self.clone();
        end::when_told(move |code| client.interrupt(code)).context("cannot wait for Ctrl-C")?;
        let begun = input::start(self.clone(), DEFAULT_MAX_MESSAGE, !args.no_exit);
        begun.context("cannot read the input")?;
        let client = self.clone();
        let (builder, secured) = args.secured_builder()?;
        self.watch.set_secured(secured);
        let builder = builder.on_event(move |connection, event| {
            if let Event::Connected { .. } = event {
                client.connection.get_or_init(|| connection.clone());
            }
            client.watch.on_event(&event);
        });
        let connection = match builder.connect(args.hosts()) {
            Ok(connection) => connection,
            Err(error) => return Ok(Err(error)),
        };
        let connection = self.connection.get_or_init(|| connection);
        progress::start(self.clone()).context("cannot start a thread")?;
        // The first reply comes below that line of the log.
        if self.watch.has_connected() {
            journal::flush();
        }
        let end = replies::print(connection);
        if let Ok(End::Unread) = end {
            replies::close_unread(connection);
            return Ok(end);
        }
        // The other side learns of the end before the process leaves.
        let closed = connection.close();
        Ok(match (end, closed) {
            (Err(_), _) if self.stage() == Stage::Unread => Ok(End::Unread),
            (Ok(_), Err(error)) if error.unacknowledged() != Some(0) || is_refusal(&error) => {
                Err(error)
            }
            (end, _) => end,
        })
    }

    /// Says how it ended. Returns the exit code.
    pub fn conclude(&self, end: Result<End, Error>) -> u8 {
        self.watch.end();
        let unprinted = matches!(end, Ok(End::Unprinted));
        let failed = *self.refusals.lock() > 0 || unprinted || self.watch.has_unanswered();
        let well = |why: &str| {
            log::info!("{why}");
            if failed { code::FAILED } else { code::OK }
        };
        let (stage, waiting) = (self.stage(), self.waiting());
        match end {
            Ok(End::Printed | End::Unprinted) => match self.unsent() {
                // A pipe that makes us wait may have no more.
                Some(line) if stage == Stage::Sending => {
                    log::error!("the other side ended: the input was not sent from line {line} on");
                }
                _ if waiting.is_empty() => return well(stage.why_ended()),
                _ => {
                    let lines = text::count(waiting.len() as u64, "line");
                    log::error!("the other side ended: {lines} not sent");
                    self.name(&waiting);
                }
            },
            Ok(End::Unread) if self.stats().unacknowledged == 0 => {
                return well(Stage::Unread.why_ended());
            }
            Ok(End::Unread) => {
                let messages = text::messages(self.stats().unacknowledged);
                log::error!("{messages} not acknowledged: nothing reads the output any more");
            }
            Err(error) => {
                let gave_up = matches!(error, Error::GaveUp { .. });
                let well_enough = error.unacknowledged() == Some(0) && !is_refusal(&error);
                if stage == Stage::Exit && well_enough && !gave_up {
                    return well(stage.why_ended());
                }
                // Of that there is an event.
                if !self.watch.has_told(&error) {
                    log::error!("{}", text::error(&error));
                }
                self.name(&waiting);
                self.say_unsent();
            }
        }
        code::FAILED
    }

    /// Ctrl-C, or SIGTERM.
    fn interrupt(&self, code: u8) {
        let ending = Ending::begin();
        let (count, waiting) = (self.stats().unacknowledged, self.waiting());
        if let Some(connection) = self.connection.get() {
            connection.abort();
        }
        let messages = text::messages(count + waiting.len() as u64);
        log::warn!("interrupted, {messages} not acknowledged");
        self.name(&waiting);
        self.say_unsent();
        ending.exit(code)
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

    /// Says from where on a pipe was not sent, after the end of the connection. Without one nothing
    /// of it is read.
    fn say_unsent(&self) {
        if self.connection.get().is_some()
            && let Some(line) = self.unsent()
        {
            log::error!("the input was not sent from line {line} on");
        }
    }

    pub(super) fn stage(&self) -> Stage {
        *self.stage.lock()
    }

    pub(super) fn enter(&self, stage: Stage) {
        *self.stage.lock() = stage;
    }

    fn stats(&self) -> Stats {
        self.connection.get().map(Connection::stats).unwrap_or_default()
    }

    /// How many lines were sent or refused.
    fn done(&self) -> u64 {
        self.stats().messages_sent + *self.refusals.lock()
    }

    /// From which line on a pipe was not sent; nothing if all of it was. What is typed is
    /// known [otherwise](Client::waiting), or not at all, where a terminal edits its lines
    /// itself.
    fn unsent(&self) -> Option<u64> {
        let from_a_pipe = !io::stdin().is_terminal();
        (from_a_pipe && self.stage().is_reading()).then(|| self.done() + 1)
    }

    /// The lines that were typed and wait.
    fn waiting(&self) -> Vec<Vec<u8>> {
        match self.stage().is_reading() {
            true => keyboard::lines_after(self.done()),
            false => Vec::new(),
        }
    }
}

/// The server's word, which stands although everything was acknowledged.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Refused { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An echo ends when we do.
    #[test]
    fn an_end_for_want_of_a_reader_is_not_the_other_sides() {
        assert_eq!(Stage::default().why_ended(), "ended by the other side");
        assert_eq!(Stage::Unread.why_ended(), "ended: nothing reads the output any more");
    }
}
