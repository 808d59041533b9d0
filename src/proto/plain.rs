//! Plain text: one line is one message, in a stream that knows nothing else.
//!
//! The rules are those of a classic pair of programs, a lock-step client and a
//! server with one client at a time:
//!
//! * A line carries its newline, and is of any bytes. The last one, before the
//!   end of the stream, needs none. A message that is sent without gets one.
//! * A server that is written to in `\r\n` (by telnet: the first line decides)
//!   hands out lines without the `\r`, and answers in kind. A client leaves the
//!   bytes of both directions as they are.
//! * A client's heartbeat is the 9 bytes `keepalive` at the start of a line,
//!   without a newline; any number of them, in any pieces, glued to what
//!   follows. With a newline at once behind them they are a line of text. The
//!   answer to a heartbeat is nothing at all.
//!
//! There are no acknowledgements and no sessions, so this is all that is known
//! of a line that a client has sent when its link goes:
//!
//! | of the line | what becomes of it |
//! | --- | --- |
//! | nothing, or not all of it, was handed to the system | it is sent on the next link, from its beginning |
//! | all of it was, or it was in the middle of being so, and no reply has come | unknown: it is announced, and not sent again |
//! | it was answered | it is done with |
//!
//! Each line that comes answers the oldest line that waits. That is exact for
//! a server in lock-step, and a guess for one that answers with two lines or
//! with none. What a window holds of unanswered lines is remembered; of older
//! ones, only how many they are.
//!
//! A client sends a heartbeat only while no line waits for its reply, since a
//! server in lock-step, whose operator is slow, reads a heap of them as a
//! message. Nor does a connect say that a server reads: it may be busy with
//! another client. So until a first line has come over a link, one heartbeat is
//! sent at most, and there is never a heap.

mod app;
mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;
mod times;

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::Violation;
use super::batch::Batch;
use super::frame::{CloseCode, Decoder};
use super::handshake::Limits;
use super::pulse::Verdict;
use super::report::{Excuse, Output, Progress, Totals};
use super::session::Opened;
pub(crate) use incoming::{Found, Incoming, MARK};
use outgoing::Outgoing;
use times::{HeartbeatInference, Patience};

/// Whether text can begin with this byte: a letter of any alphabet, a space, an
/// end of line. Control characters begin other protocols.
pub(crate) fn begins_text(byte: u8) -> bool {
    !matches!(byte, 0..=8 | 11 | 12 | 14..=31 | 127 | 255)
}

/// How a client behaves towards its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Between heartbeats; `None` sends none.
    pub(crate) interval: Option<Duration>,
    /// No reply within this is a lost link.
    pub(crate) reply_timeout: Option<Duration>,
    /// The next line waits for the reply to the last.
    pub(crate) lock_step: bool,
}

/// Which end this is, and how it looks after the other.
#[derive(Debug)]
enum Role {
    Client(Patience),
    Server(HeartbeatInference),
}

/// Lines that were written to a link which is gone, and not answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unanswered {
    pub(crate) lines: Vec<Bytes>,
    /// Older ones, which are not remembered.
    pub(crate) forgotten: u64,
}

impl Unanswered {
    pub(crate) fn count(&self) -> u64 {
        self.forgotten + self.lines.len() as u64
    }
}

/// What a link has done at first.
const IDLE: Progress = Progress { moved: false, heard: true, waits: false };

/// Lines both ways: what outlives the links that carry them.
#[derive(Debug)]
pub(crate) struct PlainSession {
    role: Role,
    limits: Limits,
    up: bool,
    generation: u64,
    incoming: Incoming,
    outgoing: Outgoing,
    /// A heartbeat is to be written.
    beat_due: bool,
    /// There are no more sends, and the peer was told so on this link.
    finished: bool,
    fin: bool,
    /// The peer says no more, and the application knows.
    eof: bool,
    over: bool,
    /// The application takes no more.
    leaving: bool,
    closing: Option<CloseCode>,
    /// What the present link has done: moved is it once a line came. There are no
    /// frames, and a link that stays up is all that can be had of an idle server.
    progress: Progress,
    taken: bool,
    totals: Totals,
}

impl PlainSession {
    /// A client's, before its first link.
    pub(crate) fn client(limits: Limits, settings: Settings, now: Instant) -> PlainSession {
        let role = Role::Client(Patience::new(settings, now));
        PlainSession::new(
            role,
            limits,
            Incoming::of_client(limits),
            Outgoing::of_client(limits, settings),
        )
    }

    /// A server's, on its only link.
    pub(crate) fn server(limits: Limits, now: Instant) -> PlainSession {
        let role = Role::Server(HeartbeatInference::new(now));
        let (incoming, outgoing) = (Incoming::of_server(limits), Outgoing::of_server(limits));
        let mut session = PlainSession::new(role, limits, incoming, outgoing);
        session.start_link(now);
        session
    }

    fn new(role: Role, limits: Limits, incoming: Incoming, outgoing: Outgoing) -> PlainSession {
        PlainSession {
            role,
            limits,
            up: false,
            generation: 0,
            incoming,
            outgoing,
            beat_due: false,
            finished: false,
            fin: false,
            eof: false,
            over: false,
            leaving: false,
            closing: None,
            progress: IDLE,
            taken: false,
            totals: Totals::default(),
        }
    }
}

/// The link's side.
impl PlainSession {
    fn start_link(&mut self, now: Instant) {
        self.generation += 1;
        self.up = true;
        (self.fin, self.beat_due, self.progress) = (false, false, IDLE);
        match &mut self.role {
            Role::Client(patience) => patience.restart(now),
            Role::Server(_) => {}
        }
    }

    /// A client's socket is connected: a new link is up.
    pub(crate) fn connected(&mut self, now: Instant) -> Opened {
        self.start_link(now);
        match self.generation {
            1 => Opened::First,
            _ => Opened::Anew { waiting: self.outgoing.unwritten() as u64 },
        }
    }

    /// The link is gone. So many bytes of what [`fill`](PlainSession::fill) has
    /// given out last were not written. Returns what is not known of its lines.
    pub(crate) fn link_lost(&mut self, unwritten: usize) -> Unanswered {
        self.up = false;
        self.beat_due = false;
        self.incoming.cut();
        let unanswered = self.give_up_unanswered(unwritten);
        // A line counts as received once it was written.
        let received = self.progress.moved || unanswered.count() > 0;
        self.progress.waits = !received && self.outgoing.unwritten() > 0;
        unanswered
    }

    fn give_up_unanswered(&mut self, unwritten: usize) -> Unanswered {
        let unanswered = self.outgoing.cut(unwritten);
        self.totals.unanswered += unanswered.count();
        unanswered
    }

    /// Whether the link is to be read at present. The peer keeps to no window,
    /// so what the application does not take stays where it is.
    fn may_read(&self) -> bool {
        !self.eof && (self.leaving || !self.incoming.is_full())
    }

    /// Takes what has come over the link of that generation. Returns whether
    /// there was anything.
    pub(crate) fn hear(
        &mut self,
        generation: u64,
        decoder: &mut Decoder,
        now: Instant,
    ) -> Result<bool, Violation> {
        let bytes = decoder.take_all();
        if bytes.is_empty() || generation != self.generation || !self.up {
            return Ok(false);
        }
        match &mut self.role {
            Role::Client(patience) => patience.heard(),
            Role::Server(inference) => inference.heard(now),
        }
        if self.leaving {
            return Ok(true);
        }
        let PlainSession { role, incoming, outgoing, progress, .. } = self;
        incoming.push(bytes, &mut |found| note(role, outgoing, progress, found, now))?;
        if let Role::Server(inference) = role {
            inference.may_be_heartbeat(incoming.may_be_heartbeat(), now);
        }
        Ok(true)
    }

    /// The peer's end of the stream. `None` if the link has no use any more: a server
    /// that ends before we did has gone, and is looked for.
    pub(crate) fn end(&mut self, now: Instant) -> Result<Option<Unanswered>, Violation> {
        let PlainSession { role, incoming, outgoing, progress, .. } = self;
        if !self.leaving {
            incoming.end(&mut |found| note(role, outgoing, progress, found, now))?;
        }
        if let Role::Client(_) = self.role
            && !self.fin
        {
            return Ok(None);
        }
        self.eof = true;
        self.over |= self.leaving && !self.incoming.has_line();
        Ok(Some(self.give_up_unanswered(0)))
    }

    /// Moves what is to be written next into `batch`, which is empty.
    pub(crate) fn fill(&mut self, batch: &mut Batch) {
        if self.output() == Output::Nothing {
            return;
        }
        self.outgoing.fill(batch);
        if !batch.is_empty() {
            batch.ends_message();
        }
        // Alone, or not at all.
        if std::mem::take(&mut self.beat_due) && batch.is_empty() {
            batch.push(Bytes::from_static(MARK));
        }
        if self.is_fin_due() && batch.is_empty() {
            batch.end_stream();
            self.fin = true;
        }
    }

    /// Whether the peer is to be told now that there are no more sends; once for each link.
    fn is_fin_due(&self) -> bool {
        self.finished && !self.fin && self.outgoing.is_written()
    }

    #[inline]
    pub(crate) fn output(&self) -> Output {
        let may_write = self.up && self.closing != Some(CloseCode::Aborted);
        let due = self.beat_due || self.outgoing.has_output() || self.is_fin_due();
        // Lines are small talk: none waits for others.
        if may_write && due { Output::Batch } else { Output::Nothing }
    }

    /// What [`fill`](PlainSession::fill) gave out was written.
    pub(crate) fn sent(&mut self, now: Instant) {
        let lines = self.outgoing.written();
        match &mut self.role {
            Role::Client(patience) => patience.sent(self.outgoing.waits_for_reply(), now),
            Role::Server(inference) if lines > 0 => inference.replied(lines, now),
            Role::Server(_) => {}
        }
    }

    /// Looks after the times.
    pub(crate) fn tick(&mut self, acknowledged: Option<u64>, now: Instant) -> Verdict {
        if !self.up || self.eof {
            return Verdict::Alive;
        }
        let silence = match &mut self.role {
            Role::Client(patience) => {
                if let Some(acknowledged) = acknowledged {
                    patience.reached(acknowledged);
                }
                let idle = self.outgoing.is_idle() && !self.finished;
                self.beat_due |= idle && patience.beat(now);
                patience.judge(now)
            }
            Role::Server(inference) => inference.judge(now),
        };
        silence.map_or(Verdict::Alive, Verdict::Dead)
    }

    fn deadline(&self) -> Option<Instant> {
        if !self.up || self.eof {
            return None;
        }
        match &self.role {
            Role::Client(patience) => {
                let idle = self.outgoing.is_idle() && !self.finished;
                let beat = patience.beat_at().filter(|_| idle);
                beat.into_iter().chain(patience.dead_at()).min()
            }
            Role::Server(inference) => inference.dead_at(),
        }
    }

    /// A client that may send a heartbeat does so now, and the server's kernel has
    /// to acknowledge it `within` this time. Otherwise there is nothing that could be
    /// asked, and it is left to our kernel.
    pub(crate) fn check(&mut self, within: Duration, acknowledged: Option<u64>, now: Instant) {
        let idle = self.up && !self.eof && !self.finished && self.outgoing.is_idle();
        if let Role::Client(patience) = &mut self.role
            && let Some(acknowledged) = acknowledged.filter(|_| idle)
        {
            self.beat_due |= patience.check(within, acknowledged, now);
        }
    }

    fn is_checking(&self) -> bool {
        matches!(&self.role, Role::Client(patience) if patience.is_checking())
    }

    /// The silence so far is not held against the peer. Returns whether a
    /// [`check`](PlainSession::check) is to begin anew.
    pub(crate) fn excuse(&mut self, excuse: Excuse) -> bool {
        match &mut self.role {
            Role::Client(patience) => patience.excuse(excuse),
            Role::Server(inference) => inference.excuse(excuse),
        }
    }

    /// What is reserved for what came in.
    #[cfg(test)]
    fn memory(&self) -> usize {
        self.incoming.memory()
    }
}

/// What the peer said means something to both directions.
fn note(
    role: &mut Role,
    outgoing: &mut Outgoing,
    progress: &mut Progress,
    found: Found,
    now: Instant,
) {
    match role {
        Role::Client(patience) => {
            progress.moved = true;
            outgoing.answered();
            patience.answered(outgoing.waits_for_reply(), now);
        }
        Role::Server(inference) => {
            progress.moved |= found == Found::Line;
            inference.found(found, now);
        }
    }
}

/// A message as a line, with the end that the peer expects.
fn as_line(message: Bytes, crlf: bool) -> Bytes {
    let text = message.strip_suffix(b"\n");
    let fine = match (&text, crlf) {
        (None, _) => false,
        (Some(text), true) => text.ends_with(b"\r"),
        (Some(_), false) => true,
    };
    if fine {
        return message;
    }
    let text = text.unwrap_or(&message);
    let mut line = BytesMut::with_capacity(text.len() + 2);
    line.extend_from_slice(text);
    line.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
    line.freeze()
}
