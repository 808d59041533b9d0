//! The client's standard input: lines that are sent, and how it ends.

use std::io::{self, ErrorKind, IsTerminal};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use super::end::Ending;
use super::events::Watch;
use super::lines::Line;
use super::monitor::Monitor;
use super::source::Source;
use super::stdio::{self, ReadEnd};
use super::{code, keyboard, progress, terminal, text};
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
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How far the input has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// There may be more.
    #[default]
    Reading,
    /// There is no more to read.
    AllRead,
    /// `exit` was read.
    Exit,
    /// The connection was ended, since nothing reads the replies any more.
    Unread,
}

/// Sends what is read, on a thread of its own.
#[derive(Debug, Default)]
pub struct Input {
    connection: OnceLock<Connection>,
    /// How many lines were refused.
    refusals: AtomicU64,
    stage: Monitor<Stage>,
    /// Lines of a pipe are at hand, and not all of them are sent.
    sending: AtomicBool,
}

impl Input {
    /// Whether a line, or the whole input, could not be sent.
    pub fn was_refused(&self) -> bool {
        self.refusals.load(Ordering::SeqCst) > 0
    }

    /// How far the input has come.
    pub fn stage(&self) -> Stage {
        *self.stage.lock()
    }

    fn enter(&self, stage: Stage) {
        *self.stage.lock() = stage;
    }

    /// Why a connection has ended well.
    pub fn why_ended(&self) -> &'static str {
        match self.stage() {
            // The other side may have ended in answer to that.
            Stage::Unread => "ended: nothing reads the output any more",
            Stage::Exit => "ended: `exit`, and everything is acknowledged",
            Stage::AllRead => "ended: the other side has ended, too",
            Stage::Reading => "ended by the other side",
        }
    }

    /// From which line on a pipe was not sent, if the connection has sent so many;
    /// nothing if all of it was. What is typed is known [otherwise](Input::waiting),
    /// or not at all, where a terminal edits its lines itself.
    pub fn unsent(&self, sent: u64) -> Option<u64> {
        let all_known = io::stdin().is_terminal() || self.stage() != Stage::Reading;
        if all_known { None } else { Some(self.done(sent) + 1) }
    }

    /// The same if the other side has ended by itself: then a pipe may have had
    /// no more.
    pub fn cut_off(&self, sent: u64) -> Option<u64> {
        self.unsent(sent).filter(|_| self.sending.load(Ordering::SeqCst))
    }

    /// The lines that were typed and wait, if the connection has sent so many.
    pub fn waiting(&self, sent: u64) -> Vec<Vec<u8>> {
        match self.stage() {
            Stage::Reading => keyboard::lines_after(self.done(sent)),
            _ => Vec::new(),
        }
    }

    /// How many lines were sent or refused, if the connection has sent so many.
    fn done(&self, sent: u64) -> u64 {
        sent + self.refusals.load(Ordering::SeqCst)
    }

    /// Starts the thread that sends what is read, lines of at most `limit` bytes, once there
    /// is a connection. It is never joined: it may be waiting for a person.
    pub fn begin(
        self: &Arc<Input>,
        limit: usize,
        exit_ends: bool,
        watch: &Arc<Watch>,
    ) -> io::Result<()> {
        let (input, watch) = (self.clone(), watch.clone());
        let prompter = Box::new(move || watch.prompt());
        let mut source = Source::open(limit, prompter, ReadEnd::of_output())?;
        let work = move || {
            if source.wait().is_err() && input.connection.get().is_none() {
                leave_unconnected();
            }
            // Without a connection an input is left to the next program that reads it.
            if let Source::Read(_) = source {
                input.connection.wait();
            }
            input.read(source, exit_ends);
        };
        thread::Builder::new().name("input".into()).spawn(work).map(drop)
    }

    /// There is a connection.
    pub fn start(self: &Arc<Input>, connection: Connection, watch: &Arc<Watch>) -> io::Result<()> {
        if !io::stdin().is_terminal() && terminal::shows_progress() {
            progress::start(connection.clone(), self.clone(), watch.clone())?;
        }
        let _ = self.connection.set(connection);
        Ok(())
    }

    fn read(&self, mut source: Source, exit_ends: bool) {
        let typed = matches!(source, Source::Typed(_));
        loop {
            self.feed_ready(&mut source, exit_ends);
            // What was fed is written when the input makes us wait.
            let read = source.next(|| {
                self.sending.store(false, Ordering::SeqCst);
                let _ = self.connection.get().map(Connection::flush);
            });
            let last = match &read {
                Ok(Line::Text(b"exit\n" | b"exit")) if exit_ends => Some(Stage::Exit),
                Ok(Line::Text(_) | Line::TooLong { .. }) => None,
                Ok(Line::End) => Some(Stage::AllRead),
                Err(error) if error.kind() == ErrorKind::BrokenPipe => Some(Stage::Unread),
                Err(error) => {
                    log::error!("cannot read standard input: {}", text::system(error));
                    self.refusals.fetch_add(1, Ordering::SeqCst);
                    Some(Stage::AllRead)
                }
            };
            if typed && last.is_some() && self.connection.get().is_none() {
                leave_unconnected();
            }
            let connection = self.connection.wait();
            if let Some(last) = last {
                source.close();
                let _ = connection.flush();
                return match last {
                    Stage::Exit => self.leave(connection, source.has_more()),
                    Stage::Unread => self.end_unread(connection),
                    _ => self.end(connection),
                };
            }
            let sent = match read {
                Ok(Line::Text(line)) => {
                    self.sending.store(true, Ordering::SeqCst);
                    connection.feed(line)
                }
                Ok(Line::TooLong { size }) => {
                    let (size, limit) = (size as usize, connection.max_message());
                    Err(Error::TooLarge { size, limit })
                }
                Ok(Line::End) | Err(_) => Ok(()),
            };
            match sent {
                Ok(()) => {}
                // The thread that prints says so.
                Err(error) if is_over(&error) => return,
                Err(error) => self.refuse(source.number(), &error),
            }
        }
    }

    /// Says why a line is not sent.
    fn refuse(&self, number: u64, error: &Error) {
        self.refusals.fetch_add(1, Ordering::SeqCst);
        match error {
            Error::TooLarge { size, limit } => {
                let size = text::count(*size as u64, "byte");
                log::error!("line {number} refused: it has {size}, the limit is {limit}");
            }
            error => log::error!("line {number} not sent: {}", text::error(error)),
        }
    }

    /// The end of the input; the other side may have more to say.
    fn end(&self, connection: &Connection) {
        self.enter(Stage::AllRead);
        if connection.finish().is_ok() && connection.sync(FOREVER).is_ok() {
            // Unless the process has ended by then:
            thread::park_timeout(SILENCE);
            log::info!("everything is sent; waiting for the other side to end (Ctrl-C leaves)");
            if ReadEnd::of_output().is_some_and(|output| output.wait()) {
                self.end_unread(connection);
            }
        }
    }

    /// Ends the connection as soon as what was sent is acknowledged, since nothing reads the
    /// replies any more, and there is no input at the moment.
    fn end_unread(&self, connection: &Connection) {
        if connection.sync(FOREVER).is_ok() {
            self.enter(Stage::Unread);
            // There may be no link. The thread that prints sees the end.
            let _ = connection.close_within(SILENCE);
        }
    }

    /// Feeds the lines that are here already, many at a time. What stops it, such as
    /// one that is too long, is met again by the next line alone, and dealt with.
    fn feed_ready(&self, source: &mut Source, exit_ends: bool) {
        let (Some(connection), Source::Read(lines)) = (self.connection.get(), source) else {
            return;
        };
        loop {
            let mut ready = [&[][..]; MANY];
            let count = lines.ready(&mut ready);
            let mut ready = &ready[..count];
            if exit_ends && let Some(exit) = ready.iter().position(|line| *line == b"exit\n") {
                ready = &ready[..exit];
            }
            if ready.is_empty() {
                return;
            }
            self.sending.store(true, Ordering::SeqCst);
            let Ok(Taken(fed)) = connection.feed_some(ready) else { return };
            let bytes = ready[..fed].iter().map(|line| line.len()).sum();
            lines.take(fed, bytes);
        }
    }

    /// Ends the connection as soon as everything is acknowledged.
    fn leave(&self, connection: &Connection, has_more: bool) {
        if has_more || !io::stdin().is_terminal() && stdio::has_more(GLANCE) {
            log::warn!("what comes after `exit` was not read (--no-exit sends it like any line)");
        }
        self.enter(Stage::Exit);
        if connection.finish().is_err() {
            return;
        }
        let mut acknowledged = connection.sync(SILENCE);
        if let Err(Error::TimedOut) = acknowledged {
            let count = text::messages(connection.stats().unacknowledged);
            log::info!("waiting for {count} to be acknowledged (Ctrl-C leaves)");
            acknowledged = connection.sync(FOREVER);
        }
        if acknowledged.is_ok() {
            thread::park_timeout(LAST_WORDS);
            // The thread that prints sees the end.
            let _ = connection.close();
        }
    }
}

/// Whether nothing more can be sent: the connection has ended, or the other side
/// has, and the thread that prints has finished ours.
fn is_over(error: &Error) -> bool {
    error.is_final() || matches!(error, Error::Finished)
}

/// Ends the process before there is a connection, since there is nothing to send.
fn leave_unconnected() -> ! {
    let ending = Ending::begin();
    log::error!("left before there was a connection");
    ending.exit(code::FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An echo ends when we do.
    #[test]
    fn an_end_for_want_of_a_reader_is_not_the_other_sides() {
        let input = Input::default();
        assert_eq!(input.why_ended(), "ended by the other side");
        input.enter(Stage::Unread);
        assert_eq!(input.why_ended(), "ended: nothing reads the output any more");
    }
}
