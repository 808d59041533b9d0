//! `server`: an echo server for long connections; with `--chat`, an operator
//! answers.

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use log::Level;

use longlink::cli::args::ServerArgs;
use longlink::cli::attend::attend;
use longlink::cli::chat::Chat;
use longlink::cli::end::{self, Ending};
use longlink::cli::places::{Place, Places};
use longlink::cli::printer::Printer;
use longlink::cli::tally::Tally;
use longlink::cli::threads::{self, Job, Worker};
use longlink::cli::{code, descriptors, events, log as journal, text};
use longlink::{Connection, Listener, Protocol};

/// How long Ctrl-C waits for messages that are yet to be printed.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// So many messages are received by one call: enough to make it cheap, and a
/// part of what the window holds.
const MANY: usize = 1024;
/// From this size on a message is worth being kept without a copy.
const LARGE: usize = 4 * 1024;

fn main() -> ExitCode {
    let args = match ServerArgs::read() {
        Ok(args) => args,
        Err(code) => return code.into(),
    };
    let outcome = run(&args);
    let ending = Ending::begin();
    ending.exit(match outcome {
        Ok(code) => code,
        Err(error) => {
            log::error!("{error:#}");
            code::FAILED
        }
    })
}

/// Serves, and says what came of it. Returns the exit code.
fn run(args: &ServerArgs) -> anyhow::Result<u8> {
    journal::start(args.level()).context("cannot start the log")?;
    let printer = Printer::start(args.prints()).context("cannot start a thread")?;
    let tally = Tally::start();
    let (printing, account) = (printer.clone(), tally.clone());
    // The sockets close with the process and the sessions do not end, so that
    // the clients come back.
    let leave = move |_| {
        let ending = Ending::begin();
        printing.finish(LAST_WORDS);
        log::info!("{}", account.account());
        ending.exit(code::OK)
    };
    end::when_told(leave).context("cannot wait for Ctrl-C")?;

    let (address, port) = args.address();
    let bound = args.builder().bind((address, port)).map_err(|error| anyhow!(text::deaf(&error)));
    let listener = bound.with_context(|| format!("cannot listen on {address} port {port}"))?;
    let local = listener.local_addr();
    log::info!("listening on {local}{}", text::reach(local.ip()));
    let too_few = descriptors::allow(args.max_clients());
    let asked = if too_few.is_some() { Level::Info } else { args.level_of_limits() };
    log::log!(asked, "{}", args.limits());
    if let Some((clients, limit)) = too_few {
        log::warn!("at most {clients} of them at once: ulimit -n is {limit}");
    }

    let places = Places::new(args.max_clients());
    if !args.chat() {
        accept(&listener, &Mode::Echo(printer), &places, &tally);
        return Ok(code::OK);
    }
    let chat = Arc::new(Chat::new(printer));
    let listener = Arc::new(listener);
    let (mode, accepting, counting) = (Mode::Chat(chat.clone()), listener.clone(), tally.clone());
    let accept = move || accept(&accepting, &mode, &places, &counting);
    let acceptor = thread::Builder::new().name("accept".into());
    acceptor.spawn(accept).context("cannot start a thread")?;
    let sent = chat.operate(args.max_message());
    listener.close();
    chat.say_goodbye();
    let delivered = tally.is_acknowledged();
    log::info!("{}", tally.account());
    Ok(if sent && delivered { code::OK } else { code::FAILED })
}

/// What is done with a client's messages.
#[derive(Clone)]
enum Mode {
    Echo(Printer),
    Chat(Arc<Chat>),
}

impl Mode {
    /// Returns why it ended.
    fn serve(&self, number: u64, connection: &Connection) -> longlink::Result<&'static str> {
        match self {
            Mode::Echo(printer) => echo(number, connection, printer),
            Mode::Chat(chat) => chat.serve(number, connection),
        }
    }
}

/// Serves every client on a thread of its own, until the listener is closed.
fn accept(listener: &Listener, mode: &Mode, places: &Arc<Places>, tally: &Arc<Tally>) {
    let serve = |number, connection, place| job(number, connection, place, mode, tally);
    threads::accept(listener, places, Worker::start, serve);
}

/// A client comes. What its thread has to do.
fn job(number: u64, connection: Connection, place: Place, mode: &Mode, tally: &Arc<Tally>) -> Job {
    let connection = Arc::new(connection);
    let entry = tally.enter(number, connection.clone());
    let seat = match mode {
        Mode::Chat(chat) => Some(chat.join(number, connection.clone())),
        Mode::Echo(_) => None,
    };
    let plain = if connection.protocol() == Protocol::Plain { " (plain text)" } else { "" };
    log::info!("client-{number}: connected from {}{plain}", connection.peer_addr());
    let watching = mode.clone();
    connection.on_event(move |_, event| {
        if let Mode::Chat(chat) = &watching {
            chat.note(number, &event);
        }
        let (level, line) = events::of_server(number, &event);
        log::log!(level, "{line}");
    });
    let mode = mode.clone();
    Box::new(move || {
        attend(number, &connection, || mode.serve(number, &connection));
        drop((connection, entry, place, seat));
    })
}

fn echo(number: u64, connection: &Connection, printer: &Printer) -> longlink::Result<&'static str> {
    let mut messages = Vec::new();
    while connection.recv_many(&mut messages, MANY)? > 0 {
        // Written when no more are waiting.
        let mut rest = &messages[..];
        while let Some(first) = rest.first() {
            let small = rest.iter().take_while(|message| message.len() < LARGE).count();
            match small {
                0 => connection.feed_bytes(first.clone())?,
                _ => connection.feed_many(&rest[..small])?,
            }
            rest = &rest[small.max(1)..];
        }
        printer.offer(number, &mut messages);
    }
    connection.close().map(|()| "it has sent all it had")
}
