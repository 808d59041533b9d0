//! The client's standard input: lines that are sent, and how it ends.
//! [`typed`](super::typed) has what differs where somebody types.

use std::io::{self, ErrorKind, IsTerminal};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use super::end::Ending;
use super::events::Watch;
use super::lines::{Line, Lines};
use super::stdio::{ReadEnd, Reader};
use super::{code, keyboard, progress, terminal, text};
use crate::{Connection, Error, Taken};

/// After this long without an end it is said what is waited for.
const SILENCE: Duration = Duration::from_secs(1);
/// How long `exit` waits for the other side's end once everything is
/// acknowledged: every reply has arrived by then, and is being printed.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// How long `exit` looks whether a pipe has more behind it.
const GLANCE: Duration = Duration::from_millis(50);
/// So many lines are fed by one call, which takes no more.
const MANY: usize = 64;
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Sends what is read, on a thread of its own.
#[derive(Debug, Default)]
pub struct Input {
    pub(super) connection: OnceLock<Connection>,
    refusals: AtomicU64,
    all_read: AtomicBool,
    /// Lines of a pipe are at hand, and not all of them are sent.
    sending: AtomicBool,
    pub(super) refused: AtomicBool,
    leaving: AtomicBool,
    /// Nothing reads the replies any more.
    unread: AtomicBool,
}

impl Input {
    /// Whether a line, or the whole input, could not be sent.
    pub fn was_refused(&self) -> bool {
        self.refused.load(Ordering::SeqCst)
    }

    /// Whether there is no more to read.
    pub fn is_all_read(&self) -> bool {
        self.all_read.load(Ordering::SeqCst)
    }

    /// Whether `exit` was read.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    /// Whether the connection was ended since nothing reads the replies any more.
    pub fn ended_unread(&self) -> bool {
        self.unread.load(Ordering::SeqCst)
    }

    /// Why a connection has ended well.
    pub fn why_ended(&self) -> &'static str {
        match (self.is_leaving(), self.is_all_read()) {
            // The other side may have ended in answer to that.
            _ if self.ended_unread() => "ended: nothing reads the output any more",
            (true, _) => "ended: `exit`, and everything is acknowledged",
            (false, true) => "ended: the other side has ended, too",
            (false, false) => "ended by the other side",
        }
    }

    /// From which line on a pipe was not sent, if the connection has sent so many;
    /// nothing if all of it was. What is typed is known [otherwise](Input::waiting),
    /// or not at all, where a terminal edits its lines itself.
    pub fn unsent(&self, sent: u64) -> Option<u64> {
        let read = io::stdin().is_terminal() || self.is_all_read();
        if read { None } else { Some(self.done(sent) + 1) }
    }

    /// The same if the other side has ended by itself: then a pipe may have had
    /// no more.
    pub fn cut_off(&self, sent: u64) -> Option<u64> {
        self.unsent(sent).filter(|_| self.sending.load(Ordering::SeqCst))
    }

    /// The lines that were typed and wait, if the connection has sent so many.
    pub fn waiting(&self, sent: u64) -> Vec<Vec<u8>> {
        if self.is_all_read() {
            return Vec::new();
        }
        keyboard::lines_after(self.done(sent))
    }

    /// How many lines were sent or refused, if the connection has sent so many.
    fn done(&self, sent: u64) -> u64 {
        sent + self.refusals.load(Ordering::SeqCst)
    }

    /// Starts the thread that sends what is read, once there is a connection. It is never
    /// joined: it may be waiting for a person. Where lines are edited, they are taken from
    /// now on, of at most `limit` bytes.
    pub fn begin(
        self: &Arc<Input>,
        limit: usize,
        exit_ends: bool,
        watch: &Arc<Watch>,
    ) -> io::Result<()> {
        if terminal::can_edit() {
            let watch = watch.clone();
            return self.start_typed(limit, exit_ends, Box::new(move || watch.prompt()));
        }
        let input = self.clone();
        let work = move || {
            let mut reader = Reader::while_output_is_read();
            if reader.wait().is_err() && input.connection.get().is_none() {
                leave_unconnected();
            }
            input.read(input.connection.wait(), reader, exit_ends);
        };
        thread::Builder::new().name("input".into()).spawn(work)?;
        Ok(())
    }

    /// There is a connection.
    pub fn start(self: &Arc<Input>, connection: Connection, watch: &Arc<Watch>) -> io::Result<()> {
        if !io::stdin().is_terminal() && terminal::shows_progress() {
            progress::start(connection.clone(), self.clone(), watch.clone())?;
        }
        let _ = self.connection.set(connection);
        Ok(())
    }

    fn read(&self, connection: &Connection, reader: Reader, exit_ends: bool) {
        let mut lines = Lines::new(reader);
        loop {
            self.feed_ready(connection, &mut lines, exit_ends);
            // What was fed is written when the input makes us wait.
            let read = lines.next(connection.max_message(), || {
                self.sending.store(false, Ordering::SeqCst);
                let _ = connection.flush();
            });
            let refusal = match read {
                Ok(Line::Text(b"exit\n" | b"exit")) if exit_ends => {
                    return self.leave(connection, lines.has_more());
                }
                Ok(Line::Text(line)) => {
                    self.sending.store(true, Ordering::SeqCst);
                    connection.feed(line).err()
                }
                Ok(Line::TooLong { size }) => {
                    let (size, limit) = (size as usize, connection.max_message());
                    Some(Error::TooLarge { size, limit })
                }
                Ok(Line::End) => break,
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    return self.end_unread(connection);
                }
                Err(error) => {
                    log::error!("cannot read standard input: {}", text::system(&error));
                    self.refused.store(true, Ordering::SeqCst);
                    break;
                }
            };
            match refusal {
                None => {}
                // The thread that prints says so.
                Some(error) if is_over(&error) => return,
                Some(error) => self.refuse(lines.number(), &error),
            }
        }
        self.end(connection);
    }

    /// Says why a line is not sent.
    pub(super) fn refuse(&self, number: u64, error: &Error) {
        self.refused.store(true, Ordering::SeqCst);
        match error {
            Error::TooLarge { size, limit } => {
                let size = text::count(*size as u64, "byte");
                log::error!("line {number} refused: it has {size}, the limit is {limit}");
            }
            error => log::error!("line {number} not sent: {}", text::error(error)),
        }
    }

    /// The end of the input; the other side may have more to say.
    pub(super) fn end(&self, connection: &Connection) {
        self.all_read.store(true, Ordering::SeqCst);
        if connection.finish().is_ok() && connection.sync(FOREVER).is_ok() {
            // Unless the process has ended by then:
            thread::park_timeout(SILENCE);
            log::info!("everything is sent; waiting for the other side to end (Ctrl-C leaves)");
            if ReadEnd::of_output().is_some_and(|output| output.wait()) {
                self.end_unread(connection);
            }
        }
    }

    /// Nothing reads the replies any more, and there is no input at the moment: ends the
    /// connection as soon as what was sent is acknowledged.
    pub(super) fn end_unread(&self, connection: &Connection) {
        if connection.sync(FOREVER).is_ok() {
            self.unread.store(true, Ordering::SeqCst);
            // There may be no link. The thread that prints sees the end.
            let _ = connection.close_within(SILENCE);
        }
    }

    /// Feeds the lines that are here already, many at a time. What stops it, such as
    /// one that is too long, is met again by the next line alone, and dealt with.
    fn feed_ready(&self, connection: &Connection, lines: &mut Lines<Reader>, exit_ends: bool) {
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
    pub(super) fn leave(&self, connection: &Connection, has_more: bool) {
        let _ = connection.flush();
        if has_more || !io::stdin().is_terminal() && Reader::new().has_more(GLANCE) {
            log::warn!("what comes after `exit` was not read (--no-exit sends it like any line)");
        }
        self.all_read.store(true, Ordering::SeqCst);
        self.leaving.store(true, Ordering::SeqCst);
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
pub(super) fn is_over(error: &Error) -> bool {
    error.is_final() || matches!(error, Error::Finished)
}

/// Nothing was to be sent, and there is nothing to wait for.
pub(super) fn leave_unconnected() -> ! {
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
        input.unread.store(true, Ordering::SeqCst);
        assert_eq!(input.why_ended(), "ended: nothing reads the output any more");
    }
}
