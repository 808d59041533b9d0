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
//!   without a newline. Any number of them may follow each other, in any pieces,
//!   with text right behind them. If a newline comes right behind one, it is a line
//!   of text. Nothing answers a heartbeat.
//!
//! There are no acknowledgements and no sessions, so this is all that is known
//! of a line that a client has sent when its link is lost:
//!
//! | of the line | what becomes of it |
//! | --- | --- |
//! | nothing, or not all of it, was handed to the system | it is sent on the next link, from its beginning |
//! | all of it was, or a thread was just writing it, and no reply has come | unknown: it is announced, and not sent again |
//! | it was answered | the client is done with it |
//!
//! Each line that comes answers the oldest line that waits. That is exact for
//! a server in lock-step, and a guess for one that answers with two lines or
//! with none. A client remembers as many unanswered lines as a window holds; of
//! older ones, only their number.
//!
//! A client sends a heartbeat only while no line waits for its reply: a server in
//! lock-step whose operator is slow would read several of them at once, and take
//! them for a message. Nor does a connection show that its server reads: it may be
//! busy with another client. So a client sends at most one heartbeat over a link
//! before the first line has come.

mod app;
mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;
mod times;

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Violation;
use super::batch::Batch;
use super::close::CloseCode;
use super::frame::Decoder;
use super::handshake::Limits;
use super::numbers::Numbers;
use super::pulse::Verdict;
use super::report::{Excuse, Loss, Output, Progress, Totals, Unanswered};
use super::session::Opened;
use incoming::PROXY;
pub(crate) use incoming::{Found, Incoming, MARK};
use outgoing::Outgoing;
use times::{HeartbeatInference, Patience};

/// Whether text can begin with these bytes: with a letter of any alphabet, a space, an end
/// of line. Control characters begin other protocols, such as TLS, whose first byte is 22.
pub(crate) fn begins_text(bytes: &[u8]) -> bool {
    let others = |byte: &u8| matches!(byte, 0..=8 | 11 | 12 | 14..=31 | 127 | 255);
    !bytes.first().is_some_and(others) && !bytes.starts_with(PROXY)
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

/// What belongs to one link. That of the last one is kept until the next, since what
/// it has done is asked for when it is lost.
#[derive(Debug, Default)]
struct Link {
    /// A heartbeat is to be written.
    beat_due: bool,
    /// The end of our sends was handed to the writer.
    fin: bool,
    /// It is written: the peer is told that there are no more sends.
    fin_sent: bool,
    /// A line came. There are no frames, and a link that stays up is all that can be
    /// had of an idle server.
    moved: bool,
}

/// Lines both ways: what outlives the links that carry them.
#[derive(Debug)]
pub(crate) struct PlainSession {
    role: Role,
    limits: Limits,
    up: bool,
    generation: u64,
    link: Link,
    incoming: Incoming,
    outgoing: Outgoing,
    /// The application sends no more.
    finished: bool,
    /// The application takes no more.
    leaving: bool,
    /// The peer says no more, and the application has seen that.
    eof: bool,
    over: bool,
    closing: Option<CloseCode>,
    totals: Totals,
}

impl PlainSession {
    /// A client's, before its first link.
    pub(crate) fn client(limits: Limits, settings: Settings, now: Instant) -> PlainSession {
        PlainSession::new(Role::Client(Patience::new(settings, now)), limits, Some(settings))
    }

    /// A client's, whose messages are numbered like this; the server hears nothing of it.
    pub(crate) fn numbered(mut self, numbers: Numbers) -> PlainSession {
        self.totals.numbers_sent(numbers);
        self
    }

    /// A server's, on its only link.
    pub(crate) fn server(limits: Limits, now: Instant) -> PlainSession {
        let role = Role::Server(HeartbeatInference::new(now));
        PlainSession { up: true, generation: 1, ..PlainSession::new(role, limits, None) }
    }

    fn new(role: Role, limits: Limits, settings: Option<Settings>) -> PlainSession {
        PlainSession {
            role,
            limits,
            up: false,
            generation: 0,
            link: Link::default(),
            incoming: Incoming::new(settings.is_none()),
            outgoing: Outgoing::new(limits.window, settings),
            finished: false,
            leaving: false,
            eof: false,
            over: false,
            closing: None,
            totals: Totals::default(),
        }
    }
}

/// The link's side.
impl PlainSession {
    /// A client's socket is connected: a new link is up.
    pub(crate) fn connected(&mut self, now: Instant) -> Opened {
        self.generation += 1;
        self.up = true;
        self.link = Link::default();
        if let Role::Client(patience) = &mut self.role {
            patience.restart(now);
        }
        match self.generation {
            1 => Opened::First,
            _ => Opened::Anew { waiting: self.outgoing.unwritten().frames },
        }
    }

    /// The link is lost, and the last `unwritten` bytes that [`fill`](PlainSession::fill)
    /// has moved were not written. Returns the lines of unknown fate.
    pub(crate) fn link_lost(&mut self, unwritten: usize) -> Loss {
        self.up = false;
        self.incoming.cut();
        let unanswered = self.give_up_unanswered(unwritten);
        // A line counts as received once it was written.
        let moved = self.link.moved;
        let received = moved || unanswered.count() > 0;
        let waits = !received && !self.outgoing.is_written();
        let progress = Progress { moved, heard: true, waits };
        Loss { progress, away: None, kept: None, unanswered }
    }

    fn give_up_unanswered(&mut self, unwritten: usize) -> Unanswered {
        let unanswered = self.outgoing.cut(unwritten);
        self.totals.unanswered += unanswered.count();
        unanswered
    }

    /// Whether the link is to be read at present. The peer keeps to no window,
    /// so what the application does not take stays in the socket.
    fn may_read(&self) -> bool {
        !self.eof && (self.leaving || !self.incoming.is_full(self.limits))
    }

    /// Takes what has come over the link of that generation. Returns whether
    /// there was anything. A part of a sealed record is nothing yet, but the peer lives.
    pub(crate) fn hear(
        &mut self,
        generation: u64,
        decoder: &mut Decoder,
        now: Instant,
    ) -> Result<bool, Violation> {
        let mut bytes = decoder.take_all();
        if generation != self.generation || !self.up {
            return Ok(false);
        }
        let any = !bytes.is_empty();
        while any
            && !self.leaving
            && let Some(found) = self.incoming.push(&mut bytes, self.limits)?
        {
            self.found(found, now);
        }
        match &mut self.role {
            Role::Client(patience) => patience.heard(),
            Role::Server(inference) => inference.heard(self.incoming.may_be_heartbeat(), now),
        }
        Ok(any)
    }

    /// A line that came is a reply as well, and a heartbeat says that the client lives.
    fn found(&mut self, found: Found, now: Instant) {
        self.link.moved |= found == Found::Line;
        match &mut self.role {
            Role::Client(patience) => {
                self.outgoing.answered();
                patience.answered(self.outgoing.waits_for_reply(), now);
            }
            Role::Server(inference) => inference.found(found, now),
        }
    }

    /// The peer has ended its stream. `None` if the link is lost by that: a server that
    /// ends its stream before the client does is gone, and the client dials again.
    pub(crate) fn end(&mut self, now: Instant) -> Result<Option<Unanswered>, Violation> {
        if !self.leaving
            && let Some(found) = self.incoming.end(self.limits)?
        {
            self.found(found, now);
        }
        let unanswered = match self.role {
            Role::Client(_) if !self.link.fin => return Ok(None),
            // All of its lines are written, and there will be no reply any more.
            Role::Client(_) => self.give_up_unanswered(0),
            // What it has to say is written yet.
            Role::Server(_) => Unanswered::default(),
        };
        self.eof = true;
        Ok(Some(unanswered))
    }

    /// Moves what is to be written next into `batch`, which is empty.
    pub(crate) fn fill(&mut self, batch: &mut Batch) {
        if self.output() == Output::Nothing {
            return;
        }
        self.outgoing.fill(batch);
        let beat_due = std::mem::take(&mut self.link.beat_due);
        if !batch.is_empty() {
            batch.ends_message();
        } else if beat_due {
            // Alone, or not at all: a line is as good.
            batch.push(Bytes::from_static(MARK));
        } else {
            batch.end_stream();
            self.link.fin = true;
        }
    }

    #[inline(always)]
    pub(crate) fn output(&self) -> Output {
        let may_write = self.up && self.closing != Some(CloseCode::Aborted);
        // The peer is told once for each link that there are no more sends.
        let fin_due = self.finished && !self.link.fin && self.outgoing.is_written();
        let due = self.link.beat_due || self.outgoing.has_output() || fin_due;
        // Lines are short and wanted at once: none waits until a batch is full.
        if may_write && due { Output::Batch } else { Output::Nothing }
    }

    /// What [`fill`](PlainSession::fill) has moved is written.
    pub(crate) fn sent(&mut self, now: Instant) {
        let lines = self.outgoing.written();
        self.link.fin_sent = self.link.fin;
        match &mut self.role {
            Role::Client(patience) => patience.sent(self.outgoing.waits_for_reply(), now),
            Role::Server(inference) if lines > 0 => inference.replied(lines, now),
            Role::Server(_) => {}
        }
    }

    /// Looks after the times.
    pub(crate) fn tick(&mut self, acknowledged: Option<u64>, now: Instant) -> Verdict {
        let may_beat = self.may_beat();
        if let Role::Client(patience) = &mut self.role {
            patience.reached(acknowledged);
            self.link.beat_due |= may_beat && patience.beat(now);
        }
        match self.dead_at() {
            Some((at, since)) if now >= at => Verdict::Dead(now.saturating_duration_since(since)),
            _ => Verdict::Alive,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let beat = match &self.role {
            Role::Client(patience) if self.may_beat() => patience.beat_at(),
            _ => None,
        };
        beat.into_iter().chain(self.dead_at().map(|(at, _)| at)).min()
    }

    /// When the peer is dead, and since when it is silent.
    fn dead_at(&self) -> Option<(Instant, Instant)> {
        match &self.role {
            _ if !self.up || self.eof => None,
            Role::Client(patience) => patience.dead_at(),
            Role::Server(inference) => inference.dead_at(),
        }
    }

    /// Whether a client may send a heartbeat, as far as its lines are concerned.
    fn may_beat(&self) -> bool {
        self.up && !self.eof && !self.finished && self.outgoing.is_idle()
    }

    /// If a client may send a heartbeat, it sends one now, and the server's kernel has
    /// to acknowledge it `within` this time. Otherwise there is no way to ask the peer,
    /// and only our kernel can notice that it is gone.
    pub(crate) fn check(&mut self, within: Duration, acknowledged: Option<u64>, now: Instant) {
        let may_beat = self.may_beat();
        if let Role::Client(patience) = &mut self.role
            && let Some(acknowledged) = acknowledged.filter(|_| may_beat)
        {
            self.link.beat_due |= patience.check(within, acknowledged, now);
        }
    }

    /// The peer is not judged by its silence yet. Returns whether a
    /// [`check`](PlainSession::check) is to begin anew.
    pub(crate) fn excuse(&mut self, excuse: Excuse) -> bool {
        match &mut self.role {
            Role::Client(patience) => patience.excuse(excuse),
            Role::Server(inference) => inference.excuse(excuse),
        }
    }
}
