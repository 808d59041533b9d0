//! The client's standard input: lines that are sent, and how it ends.

use std::io::{self, ErrorKind, IsTerminal};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::client::{Client, Stage};
use super::end::Ending;
use super::lines::{Line, Lines};
use super::source::{self, Source};
use super::stdio::{self, ReadEnd};
use super::{code, keyboard, terminal, text};
use crate::{Connection, Error, Taken};

/// After this long without an end the log says what the client waits for.
const SILENCE: Duration = Duration::from_secs(1);
/// How long `exit` waits for the end of the other side once everything is acknowledged:
/// every reply has arrived by then, and is being printed.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// How long `exit` looks whether a pipe has more behind it.
const GLANCE: Duration = Duration::from_millis(50);
/// One call feeds at most so many lines.
const MANY: usize = 64;

/// Starts the thread that sends what is read, lines of at most `limit` bytes, once there
/// is a connection. It is never joined: it may be waiting for a person.
pub(super) fn start(client: Arc<Client>, limit: usize, exit_ends: bool) -> io::Result<()> {
    let prompting = client.clone();
    let prompter = Box::new(move || prompting.watch.prompt());
    let mut lines = source::open(limit, prompter, ReadEnd::of_output())?;
    let work = move || {
        if let Source::Read(output) = lines.reader() {
            if stdio::wait_for_input(*output).is_err() && client.connection.get().is_none() {
                leave_unconnected();
            }
            // Without a connection an input is left to the next program that reads it.
            client.connection.wait();
        }
        read(&client, lines, exit_ends);
    };
    thread::Builder::new().name("input".into()).spawn(work).map(drop)
}

fn read(client: &Client, mut lines: Lines<Source>, exit_ends: bool) {
    let last = loop {
        feed_ready(client, &mut lines, exit_ends);
        // What was fed is written when the input makes us wait.
        let read = lines.next(|| {
            client.enter(Stage::Waiting);
            let _ = client.connection.get().map(Connection::flush);
        });
        let (newline, sent) = match read {
            Ok(Line::Text(line)) if exit_ends && matches!(&line[..], b"exit\n" | b"exit") => {
                break Stage::Exit;
            }
            Ok(Line::Text(line)) => {
                let connection = client.connection.wait();
                client.enter(Stage::Sending);
                (line.ends_with(b"\n"), connection.feed_bytes(line))
            }
            Ok(Line::TooLong { size, newline }) => {
                let limit = client.connection.wait().max_message();
                (newline, Err(Error::TooLarge { size: size as usize, limit }))
            }
            Ok(Line::End) => break Stage::AllRead,
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break Stage::Unread,
            Err(error) => {
                log::error!("cannot read standard input: {}", text::system(&error));
                *client.refusals.lock() += 1;
                break Stage::AllRead;
            }
        };
        match sent {
            Ok(()) => {}
            // The connection has ended, or the other side has, and the thread that prints has
            // finished ours, and says so.
            Err(error) if error.is_final() || matches!(error, Error::Finished) => return,
            Err(error) => {
                *client.refusals.lock() += 1;
                let number = lines.number();
                match error {
                    Error::TooLarge { size, limit } => {
                        let why = text::too_long(size as u64, newline, limit);
                        log::error!("line {number} refused: {why}");
                    }
                    error => log::error!("line {number} not sent: {}", text::error(&error)),
                }
            }
        }
    };
    let Some(connection) = client.connection.get() else { leave_unconnected() };
    // What is typed now is not read.
    if io::stdin().is_terminal() {
        terminal::close();
    }
    let _ = connection.flush();
    match last {
        Stage::Exit => end_on_exit(client, connection, &lines),
        Stage::Unread => end_unread(client, connection),
        _ => end(client, connection),
    }
}

/// Feeds the lines that are here already, many at a time. What stops it, such as
/// one that is too long, is met again by the next line alone, and dealt with.
fn feed_ready(client: &Client, lines: &mut Lines<Source>, exit_ends: bool) {
    let Some(connection) = client.connection.get() else { return };
    loop {
        let is_exit = |line: &&[u8]| exit_ends && *line == b"exit\n";
        let ready: Vec<_> = lines.ready().take_while(|line| !is_exit(line)).take(MANY).collect();
        if ready.is_empty() {
            return;
        }
        client.enter(Stage::Sending);
        let Ok(Taken(fed)) = connection.feed_some(&ready) else { return };
        let bytes = ready[..fed].iter().map(|line| line.len()).sum();
        lines.take(fed, bytes);
    }
}

/// The end of the input; the other side may have more to say.
fn end(client: &Client, connection: &Connection) {
    client.enter(Stage::AllRead);
    if connection.finish().is_ok() && connection.sync(Duration::MAX).is_ok() {
        // Unless the process has ended by then:
        thread::park_timeout(SILENCE);
        log::info!("everything is sent; waiting for the other side to end (Ctrl-C leaves)");
        if ReadEnd::of_output().is_some_and(|output| output.has_gone_before(&[])) {
            end_unread(client, connection);
        }
    }
}

/// Ends the connection as soon as what was sent is acknowledged, since nothing reads the
/// replies any more, and there is no input at the moment.
fn end_unread(client: &Client, connection: &Connection) {
    if connection.sync(Duration::MAX).is_ok() {
        client.enter(Stage::Unread);
        // There may be no link. The thread that prints sees the end.
        let _ = connection.close_within(SILENCE);
    }
}

/// Ends the connection as soon as everything is acknowledged.
fn end_on_exit(client: &Client, connection: &Connection, lines: &Lines<Source>) {
    let more_comes = || match io::stdin().is_terminal() {
        true => !keyboard::lines_after(lines.number()).is_empty(),
        false => stdio::has_more(GLANCE),
    };
    if lines.has_more() || more_comes() {
        log::warn!("what comes after `exit` was not read (--no-exit sends it like any line)");
    }
    client.enter(Stage::Exit);
    if connection.finish().is_err() {
        return;
    }
    let mut acknowledged = connection.sync(SILENCE);
    if let Err(Error::TimedOut) = acknowledged {
        let count = text::messages(connection.stats().unacknowledged);
        log::info!("waiting for {count} to be acknowledged (Ctrl-C leaves)");
        acknowledged = connection.sync(Duration::MAX);
    }
    if acknowledged.is_ok() {
        thread::park_timeout(LAST_WORDS);
        // The thread that prints sees the end.
        let _ = connection.close();
    }
}

/// Ends the process before there is a connection, since there is nothing to send.
fn leave_unconnected() -> ! {
    let ending = Ending::begin();
    log::error!("left before there was a connection");
    ending.exit(code::FAILED)
}
