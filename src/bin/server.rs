//! `server`: an echo server for long connections; with `--chat`, an operator
//! answers.

use std::net::ToSocketAddrs;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{io, thread};

use anyhow::{Context, anyhow};
use log::{Level, LevelFilter};

use longlink::cli::args::ServerArgs;
use longlink::cli::bytes::{FAREWELL, target::Target};
use longlink::cli::clients::Clients;
use longlink::cli::end::{self, Ending, HangUps};
use longlink::cli::printer::Printer;
use longlink::cli::security::ServerSecurity;
use longlink::cli::threads::{self, Job};
use longlink::cli::{chat, code, descriptors, events, log as journal, metrics, service, text};
use longlink::{Connection, Listener, Protocol};

/// How long Ctrl-C waits for the printer.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// When clients come back after Ctrl-C: by then a supervisor has started the server again,
/// and a person is about to.
const BACK: Duration = Duration::from_secs(1);

/// One call receives at most so many messages: enough to make it cheap, and a part of what
/// the window holds.
const MANY: usize = 1024;
/// From this size on a message is echoed without a copy.
const LARGE: usize = 4 * 1024;

fn main() {
    end::exit_after(run(&ServerArgs::read()), |code| code)
}

/// Serves, and says what came of it. Returns the exit code.
fn run(args: &ServerArgs) -> anyhow::Result<u8> {
    journal::start(args.shared.level()).context("cannot start the log")?;
    // An operator needs the messages in any case.
    let prints = args.chat || args.shared.level() > LevelFilter::Warn && args.to().is_none();
    let printer = Printer::start(prints).context("cannot start a thread")?;
    let clients = Clients::new(args.chat);
    let (printing, account) = (printer.clone(), clients.clone());
    let server = Arc::new(OnceLock::<Arc<Server>>::new());
    let leaving = server.clone();
    // What an echo does not print was answered.
    let answered = !args.chat;
    let leave = move |_| {
        let ending = Ending::begin();
        service::stopping();
        let carried = account.carried();
        let carries = leaving.get().is_some_and(|server| server.leave());
        let well = printing.finish(LAST_WORDS) || answered;
        log::info!("{}", if carries { carried } else { account.account() });
        ending.exit(if well { code::OK } else { code::FAILED })
    };
    let reloads = args.security.has_files() && HangUps::can_be();
    let told = match reloads {
        true => end::when_told(leave),
        // The clients hear of it, however the server ends.
        false => end::when_told_or_hung_up(leave),
    };
    told.context("cannot wait for Ctrl-C")?;

    let hang_ups = args.security.has_files().then(HangUps::catch).transpose();
    let hang_ups = hang_ups.context("cannot wait for SIGHUP")?;
    let too_few = descriptors::allow(args.max_clients(), args.descriptors());
    // Each of those that are too many would find no way to the service.
    let most = match too_few {
        Some((fewer, _)) if args.to().is_some() => fewer as u32,
        _ => args.max_clients(),
    };
    if let Some(file) = args.stats() {
        let kept = metrics::keep(file, clients.clone());
        kept.with_context(|| format!("cannot write {}", file.display()))?;
    }
    let listener = listen(args, most)?;
    let (level, limits) = args.limits(most);
    log::log!(if too_few.is_some() { Level::Info } else { level }, "{limits}");
    if let Some((clients, limit)) = too_few {
        log::warn!("at most {clients} of them at once: ulimit -n is {limit}");
    }

    let work = match args.to() {
        Some(target) => Work::Carry(target.clone()),
        None if args.chat => Work::Chat,
        None => Work::Echo,
    };
    let serving = Server { listener, clients, printer, work };
    let server = server.get_or_init(|| Arc::new(serving));
    if let Some(hang_ups) = hang_ups {
        let (files, server) = (args.security.clone(), server.clone());
        let read_again = move || service::reload(|| server.read_again(&files));
        hang_ups.each(read_again).context("cannot start a thread")?;
    }
    service::ready();
    if !args.chat {
        server.accept(most);
        return Ok(code::OK);
    }
    let accepting = server.clone();
    let acceptor = thread::Builder::new().name("accept".into());
    acceptor.spawn(move || accepting.accept(most)).context("cannot start a thread")?;
    let sent = chat::operate(&server.clients, args.max_message());
    server.listener.close();
    let printed = chat::say_goodbye(&server.clients, &server.printer);
    let delivered = server.clients.is_acknowledged();
    log::info!("{}", server.clients.account());
    Ok(if sent && delivered && printed { code::OK } else { code::FAILED })
}

/// Reads the files that say who is let in, if there are any, and listens for so many clients: on
/// the socket that was handed over, if there is one.
fn listen(args: &ServerArgs, most: u32) -> anyhow::Result<Listener> {
    let handed = service::socket()?;
    let security = args.security.read().map_err(|error| anyhow!(text::error(&error)))?;
    let (address, port) = args.address();
    let is_handed = handed.is_some();
    let place = match &handed {
        Some(_) => "the socket that was handed over".to_string(),
        None => format!("{address} port {port}"),
    };
    let deaf = |error| anyhow!(text::deaf(&error)).context(format!("cannot listen on {place}"));
    // A name is resolved once: what is checked is what is listened on.
    let addresses: io::Result<Vec<_>> = match &handed {
        Some(socket) => socket.local_addr().map(|address| vec![address]),
        None => (address, port).to_socket_addrs().map(Iterator::collect),
    };
    let addresses = addresses.map_err(|error| deaf(error.into()))?;
    args.security.check(&addresses).unwrap_or_else(|stop| stop.exit("server"));
    let builder = args.builder().max_clients(most as usize);
    let builder = match security {
        Some(security) => builder.security(security),
        None => builder,
    };
    let listener = match handed {
        Some(socket) => builder.listen(socket),
        None => builder.bind(&addresses[..]),
    };
    let listener = listener.map_err(deaf)?;
    let local = listener.local_addr();
    log::info!("listening on {local}{}", args.security.reach(local.ip(), is_handed));
    if let Some(service) = args.to() {
        log::info!("each session leads to a connection of its own to {service}");
    }
    Ok(listener)
}

/// What is done with a client.
enum Work {
    Echo,
    /// An operator answers.
    Chat,
    /// A service does.
    Carry(Target),
}

struct Server {
    listener: Listener,
    clients: Arc<Clients>,
    printer: Arc<Printer>,
    work: Work,
}

impl Server {
    /// Serves every client on a thread of its own, at most so many at once, until the
    /// listener is closed.
    fn accept(self: &Arc<Self>, most: u32) {
        let wait = || self.clients.wait_for_room(most);
        let serve = |number, connection| self.serve(number, connection);
        threads::accept(&self.listener, wait, threads::start, serve);
    }

    /// Tells the clients that the process ends. Returns whether their bytes are carried: then
    /// nothing can go on when there is a server again.
    fn leave(&self) -> bool {
        let carries = matches!(self.work, Work::Carry(_));
        match carries {
            true => self.clients.abort(FAREWELL),
            false => self.listener.restart(BACK),
        }
        carries
    }

    /// The files have changed.
    fn read_again(&self, files: &ServerSecurity) {
        let read = files.read().and_then(|security| match security {
            Some(security) => self.listener.reload(security),
            None => Ok(()),
        });
        if let Err(error) = read {
            log::error!("{}; what was read before still holds", text::error(&error));
        }
    }

    /// A client comes. What its thread has to do.
    fn serve(self: &Arc<Self>, number: u64, connection: Connection) -> Job {
        self.clients.enter(number, &connection);
        let plain = if connection.protocol() == Protocol::Plain { " (plain text)" } else { "" };
        let known = connection.peer_identity().as_ref().map_or_else(String::new, text::known_as);
        log::info!("client-{number}: connected from {}{known}{plain}", connection.peer_addr());
        let watching = self.clients.clone();
        connection.on_event(move |_, event| {
            watching.on_event(number, &event);
            let (level, line) = events::of_server(number, &event);
            log::log!(level, "{line}");
        });
        let server = self.clone();
        Box::new(move || {
            let (clients, printer) = (&server.clients, &server.printer);
            threads::attend(number, &connection, || match &server.work {
                Work::Echo => echo(number, &connection, printer).map(well),
                Work::Chat => chat::serve(clients, printer, number, &connection).map(well),
                Work::Carry(target) => Ok(target.serve(number, &connection)),
            });
            drop(connection);
            clients.remove(number);
        })
    }
}

/// An end in order.
fn well(why: &str) -> (Level, String) {
    (Level::Info, why.to_string())
}

/// Returns why it ended.
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
