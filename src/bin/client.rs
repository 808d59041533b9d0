//! `client HOST`: sends the lines of standard input, prints what comes back,
//! and stays connected.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::Context;

use longlink::cli::args::ClientArgs;
use longlink::cli::end::{self, Ending};
use longlink::cli::events::Watch;
use longlink::cli::input::Input;
use longlink::cli::progress;
use longlink::cli::{code, log as journal, terminal, text};
use longlink::{Connection, Error};

fn main() -> ExitCode {
    let args = match ClientArgs::read() {
        Ok(args) => args,
        Err(code) => return code.into(),
    };
    let client = Arc::new(Client::default());
    let outcome = client.run(&args);
    let ending = Ending::begin();
    let code = outcome.map(|end| client.conclude(end)).unwrap_or_else(|error| {
        log::error!("{error:#}");
        code::FAILED
    });
    ending.exit(code)
}

#[derive(Default)]
struct Client {
    connection: OnceLock<Arc<Connection>>,
    watch: Arc<Watch>,
    input: Arc<Input>,
}

/// How it ended.
enum End {
    /// The other side ended, and had taken everything.
    Peer,
    /// Nobody reads our output.
    OutputClosed,
    /// The connection failed, or was closed because of `exit`.
    Connection(Error),
}

impl Client {
    fn run(self: &Arc<Self>, args: &ClientArgs) -> anyhow::Result<End> {
        journal::start(args.level()).context("cannot start the log")?;
        let client = self.clone();
        end::when_told(move |code| client.interrupt(code)).context("cannot wait for Ctrl-C")?;

        let watch = self.watch.clone();
        let builder = args.builder().on_event(move |event| watch.note(&event));
        let connection = match builder.connect(args.hosts()) {
            Ok(connection) => Arc::new(connection),
            Err(error) => return Ok(End::Connection(error)),
        };
        let connection = self.connection.get_or_init(|| connection);
        self.start_input(connection, args.exit_ends()).context("cannot start a thread")?;
        let printed = match io::stdout().is_terminal() {
            true => show(connection),
            false => print(connection, io::stdout().lock()),
        };
        match printed {
            Ok(()) => match connection.close() {
                Ok(()) => Ok(End::Peer),
                Err(error) if error.unacknowledged() == Some(0) => Ok(End::Peer),
                Err(error) => Ok(End::Connection(error)),
            },
            Err(Stop::Connection(error)) => Ok(End::Connection(error)),
            Err(Stop::Output(error)) => {
                connection.abort();
                match error.kind() {
                    io::ErrorKind::BrokenPipe => Ok(End::OutputClosed),
                    _ => Err(error).context("cannot write to standard output"),
                }
            }
        }
    }

    fn start_input(&self, connection: &Arc<Connection>, exit_ends: bool) -> io::Result<()> {
        let (connection, watch) = (connection.clone(), self.watch.clone());
        if terminal::can_edit() {
            let prompter = Box::new(move || watch.prompt());
            return self.input.start_typed(connection, exit_ends, prompter);
        }
        if !io::stdin().is_terminal() && terminal::shows_progress() {
            progress::start(connection.clone(), self.input.clone(), watch)?;
        }
        self.input.start(connection, exit_ends)
    }

    /// The exit code, and the reason for it.
    fn conclude(&self, end: End) -> u8 {
        self.watch.end();
        let good = if self.input.was_refused() { code::FAILED } else { code::OK };
        let error = match end {
            End::Peer => return good,
            End::OutputClosed => return code::OK,
            End::Connection(error) => error,
        };
        if self.input.is_leaving() && error.unacknowledged() == Some(0) && !gave_up(&error) {
            return good;
        }
        if !gave_up(&error) || !self.watch.has_given_up() {
            log::error!("{}", text::error(&error));
        }
        if self.connection.get().is_some()
            && let Some(line) = self.input.unsent()
        {
            log::error!("the input was not sent from line {line} on");
        }
        code::FAILED
    }

    /// Ctrl-C, or SIGTERM.
    fn interrupt(&self, code: u8) {
        let ending = Ending::begin();
        let connection = self.connection.get();
        let count = connection.map_or(0, |connection| connection.stats().unacknowledged);
        if let Some(connection) = connection {
            connection.abort();
        }
        log::warn!("interrupted, {count} messages not acknowledged");
        ending.exit(code)
    }
}

fn gave_up(error: &Error) -> bool {
    matches!(error, Error::GaveUp { .. })
}

/// Printed in one go.
const BATCH: usize = 64 * 1024;

enum Stop {
    Connection(Error),
    Output(io::Error),
}

/// Shows messages on a terminal until the other side ends, as lines that cannot
/// be mistaken for those typed.
fn show(connection: &Connection) -> Result<(), Stop> {
    let mut lines = Vec::new();
    loop {
        let received = match connection.try_recv() {
            Err(Error::WouldBlock) => {
                pass_on(&mut lines)?;
                connection.recv()
            }
            received => received,
        };
        if let Ok(Some(message)) = &received {
            text::line("server> ", message, true, &mut lines);
        }
        if lines.len() >= BATCH || !matches!(received, Ok(Some(_))) {
            pass_on(&mut lines)?;
        }
        match received {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(error) => return Err(Stop::Connection(error)),
        }
    }
}

fn pass_on(lines: &mut Vec<u8>) -> Result<(), Stop> {
    let written = match lines.is_empty() {
        true => Ok(()),
        false => terminal::write(io::stdout(), lines),
    };
    lines.clear();
    written.map_err(Stop::Output)
}

/// Prints messages until the other side ends, as they came. What is printed is
/// passed on when nothing more is waiting.
fn print(connection: &Connection, output: impl Write) -> Result<(), Stop> {
    let mut output = BufWriter::with_capacity(BATCH, output);
    loop {
        let received = match connection.try_recv() {
            Err(Error::WouldBlock) => {
                output.flush().map_err(Stop::Output)?;
                connection.recv()
            }
            received => received,
        };
        let written = match &received {
            Ok(Some(message)) => output.write_all(message),
            Ok(None) | Err(_) => output.flush(),
        };
        written.map_err(Stop::Output)?;
        match received {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(error) => return Err(Stop::Connection(error)),
        }
    }
}
