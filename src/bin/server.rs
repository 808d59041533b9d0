//! `server`: an echo server for long connections; with `--chat`, an operator
//! answers.

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, anyhow};

use longlink::cli::args::ServerArgs;
use longlink::cli::chat::Chat;
use longlink::cli::end::Ending;
use longlink::cli::places::Places;
use longlink::cli::printer::Printer;
use longlink::cli::{code, descriptors, events, log as journal, text};
use longlink::{Connection, Listener, Protocol};

/// A thread per client needs little more than room for a line of the log.
const STACK: usize = 256 * 1024;

fn main() -> ExitCode {
    let args = match ServerArgs::read() {
        Ok(args) => args,
        Err(code) => return code.into(),
    };
    let outcome = run(&args);
    let ending = Ending::begin();
    ending.exit(match outcome {
        Ok(()) => code::OK,
        Err(error) => {
            log::error!("{error:#}");
            code::FAILED
        }
    })
}

fn run(args: &ServerArgs) -> anyhow::Result<()> {
    journal::start(args.level()).context("cannot start the log")?;
    // The sockets close with the process and the sessions do not end, so that
    // the clients come back.
    ctrlc::set_handler(|| Ending::begin().exit(code::OK)).context("cannot wait for Ctrl-C")?;

    let (address, port) = args.address();
    let bound = args.builder().bind((address, port)).map_err(|error| anyhow!(text::error(&error)));
    let listener = bound.with_context(|| format!("cannot listen on {address} port {port}"))?;
    let local = listener.local_addr();
    log::info!("listening on {local}{}", text::reach(local.ip()));
    let too_few = descriptors::allow(args.max_clients());
    log::info!("{}", args.limits());
    if let Some((clients, limit)) = too_few {
        log::warn!("at most {clients} of them at once: ulimit -n is {limit}");
    }

    let places = Places::new(args.max_clients());
    let printer = Printer::start(args.prints()).context("cannot start a thread")?;
    if !args.chat() {
        accept(&listener, &Mode::Echo(printer), &places);
        return Ok(());
    }
    let chat = Arc::new(Chat::new(printer));
    let listener = Arc::new(listener);
    let (mode, accepting) = (Mode::Chat(chat.clone()), listener.clone());
    let acceptor = thread::Builder::new().name("accept".into());
    acceptor.spawn(move || accept(&accepting, &mode, &places)).context("cannot start a thread")?;
    chat.operate(args.max_message());
    listener.close();
    Ok(())
}

/// What is done with a client's messages.
#[derive(Clone)]
enum Mode {
    Echo(Printer),
    Chat(Arc<Chat>),
}

impl Mode {
    fn serve(&self, number: u64, connection: &Connection) -> longlink::Result<()> {
        match self {
            Mode::Echo(printer) => echo(number, connection, printer),
            Mode::Chat(chat) => chat.serve(number, connection),
        }
    }
}

/// Serves every client on a thread of its own, until the listener is closed.
fn accept(listener: &Listener, mode: &Mode, places: &Arc<Places>) {
    for number in 1.. {
        let place = places.take();
        let Ok(connection) = listener.accept().map(Arc::new) else { return };
        if let Mode::Chat(chat) = mode {
            chat.join(number, connection.clone());
        }
        let plain = if connection.protocol() == Protocol::Plain { " (plain text)" } else { "" };
        log::info!("client-{number}: connected from {}{plain}", connection.peer_addr());
        let watching = mode.clone();
        connection.on_event(move |event| {
            if let Mode::Chat(chat) = &watching {
                chat.note(number, &event);
            }
            let (level, line) = events::of_server(number, &event);
            log::log!(level, "{line}");
        });
        let mode = mode.clone();
        let thread = thread::Builder::new().name(format!("client-{number}")).stack_size(STACK);
        let serving = connection.clone();
        let served = move || {
            attend(number, &serving, &mode);
            drop((serving, place));
        };
        if let Err(error) = thread.spawn(served) {
            log::error!("client-{number}: no thread for it: {}", text::system(&error));
            connection.abort();
        }
    }
}

/// A client's thread.
fn attend(number: u64, connection: &Connection, mode: &Mode) {
    let panic = Panic { number, connection };
    let served = mode.serve(number, connection);
    drop(panic);
    match served {
        Ok(()) => log::debug!("client-{number}: served to its end"),
        // Its event has said so.
        Err(error) if error.is_final() => log::debug!("client-{number}: {}", text::error(&error)),
        Err(error) => log::error!("client-{number}: {}", text::error(&error)),
    }
}

fn echo(number: u64, connection: &Connection, printer: &Printer) -> longlink::Result<()> {
    for message in connection.incoming() {
        let message = message?;
        // Written when no more are waiting.
        connection.feed_bytes(message.clone())?;
        printer.offer(number, message);
    }
    connection.close()
}

/// Sees to it that a client whose handler panics learns of it.
struct Panic<'a> {
    number: u64,
    connection: &'a Connection,
}

impl Drop for Panic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            log::error!("client-{}: its handler panicked, and it is let go", self.number);
            self.connection.abort();
        }
    }
}
