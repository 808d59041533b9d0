//! How links begin: hellos and welcomes, and what they mean for the session.

use std::time::Instant;

use bytes::BytesMut;

use super::Session;
use crate::proto::Violation;
use crate::proto::batch::Batch;
use crate::proto::close::{Close, CloseCode};
use crate::proto::frame::Frame;
use crate::proto::handshake::{Hello, Limits, Name, VERSION, Welcome};
use crate::proto::heartbeat::Heartbeat;
use crate::proto::loss::SessionLoss;
use crate::proto::numbers::Numbers;
use crate::proto::pulse::Rhythm;
use crate::proto::skippable::put_meaningless;
#[cfg(test)]
use crate::proto::testing::sim::{Fault, planted};

/// What a new link means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// It is the first.
    First,
    /// The session goes on; so many messages are written a second time.
    Resumed { replayed: u64 },
    /// The peer knows nothing of the old session; so many messages begin the new one.
    Restarted { unacknowledged: u64 },
    /// Nothing connects it with the one before; so many messages wait for it.
    Anew { waiting: u64 },
}

/// Why a welcome is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwelcome {
    Violation(Violation),
    /// A message that has to be sent again is larger than this peer accepts.
    TooLarge {
        size: usize,
        limit: usize,
    },
    /// It begins another session, and the client wants none.
    SessionLost,
}

impl From<Violation> for Unwelcome {
    fn from(violation: Violation) -> Unwelcome {
        Unwelcome::Violation(violation)
    }
}

/// What a server makes of a hello that names the token of a session it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It goes on from here; see [`Session::resume`].
    Resume,
    /// It is to be told that the session has ended; see [`Session::close_reply`].
    Ended,
    /// A delayed hello, older than one already seen.
    Stale,
    /// It claims to have received what was never sent, or less than it acknowledged.
    Impossible,
    /// It knows the session under another epoch: the client has been elsewhere
    /// meanwhile, and starts anew.
    Other,
}

impl Session {
    /// The next hello of a client, to a server that knows it by this name.
    pub(crate) fn hello(&mut self, name: &mut Name) -> Hello {
        (self.token, self.attempt) = name.next();
        self.make_hello()
    }

    /// The same, to the only server there is.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn next_hello(&mut self) -> Hello {
        self.attempt += 1;
        self.make_hello()
    }

    fn make_hello(&mut self) -> Hello {
        self.announced = self.inbox.room_for_new(self.own.window);
        Hello {
            version: VERSION,
            token: self.token,
            attempt: self.attempt,
            epoch: self.epoch,
            received: self.inbox.received().frames,
            limits: Limits { window: self.announced, ..self.own },
            interval: self.pulse.interval(),
            resume_only: self.resumes_only(),
            greeting: self.greeting.clone(),
            numbers: self.numbers(),
        }
    }

    /// Nothing is acknowledged while there is no link. So the number is right when the answer
    /// comes, however late that is.
    fn numbers(&self) -> Option<Numbers> {
        let client = self.client_id?;
        let status = self.status();
        let first = status.acknowledged_number() + 1;
        #[cfg(test)]
        let first = match planted(Fault::FirstNumberStays) {
            true => first - status.acknowledged_messages(),
            false => first,
        };
        Some(Numbers { client, first })
    }

    /// Whether a client was welcomed, and never begins another session.
    pub(crate) fn wants_no_other(&self) -> bool {
        #[cfg(test)]
        if planted(Fault::AnotherSession) {
            return false;
        }
        self.epoch != 0 && self.on_loss == SessionLoss::GiveUp
    }

    /// Whether a client asks for its session alone. One that is closing has nothing left to say
    /// to a server that does not know it.
    pub(crate) fn resumes_only(&self) -> bool {
        self.wants_no_other() || self.epoch != 0 && self.is_closing()
    }

    /// A client's hello was answered: a new link is up.
    pub(crate) fn welcomed(
        &mut self,
        welcome: &Welcome,
        now: Instant,
    ) -> Result<Opened, Unwelcome> {
        if welcome.epoch == self.epoch {
            let replayed = self.outbox.resume(welcome.received)?;
            self.totals.replayed += replayed;
            self.resume_within = welcome.resume_within;
            self.peer_window = self.peer_window.max(welcome.limits.window);
            self.start_link(welcome.received, welcome.interval, now);
            return Ok(Opened::Resumed { replayed });
        }
        if self.wants_no_other() {
            return Err(Unwelcome::SessionLost);
        }
        if welcome.received != 0 {
            return Err(Violation("a new session that has received something").into());
        }
        let limit = welcome.limits.max_message as usize;
        let size = self.outbox.largest();
        if size > limit {
            return Err(Unwelcome::TooLarge { size, limit });
        }
        let first = self.epoch == 0;
        (self.epoch, self.resume_within) = (welcome.epoch, welcome.resume_within);
        (self.peer, self.peer_window) = (welcome.limits, welcome.limits.window);
        self.peer_received = 0;
        self.outbox.restart(!self.is_complete());
        self.inbox.restart();
        self.acks.restart(self.announced);
        self.start_link(0, welcome.interval, now);
        let unacknowledged = self.outbox.messages();
        if first {
            return Ok(Opened::First);
        }
        self.totals.replayed += unacknowledged;
        Ok(Opened::Restarted { unacknowledged })
    }

    /// What a server makes of a hello with this session's token. Nothing changes yet.
    pub(crate) fn judge(&self, hello: &Hello) -> Admission {
        if hello.attempt <= self.attempt {
            return Admission::Stale;
        }
        // Or its welcome was lost, and with it all that was sent behind it.
        let repeated = hello.epoch == self.created_from
            && !self.ever_heard_frame
            && hello.numbers.map(|numbers| numbers.client) == self.client_id;
        if hello.epoch != self.epoch && !repeated {
            Admission::Other
        } else if self.outbox.can_resume(self.resume_point(hello)).is_err() {
            Admission::Impossible
        } else if self.closing.is_some() {
            Admission::Ended
        } else {
            Admission::Resume
        }
    }

    /// How much of what was sent the sender of a hello has.
    fn resume_point(&self, hello: &Hello) -> u64 {
        if hello.epoch == self.epoch { hello.received } else { 0 }
    }

    /// A hello takes the session over on a new link; one that was judged to
    /// resume it always does. Returns how many messages are written a second time.
    pub(crate) fn resume(&mut self, hello: &Hello, now: Instant) -> Result<u64, Violation> {
        let received = self.resume_point(hello);
        let replayed = self.outbox.resume(received)?;
        self.totals.replayed += replayed;
        let begins = hello.epoch != self.epoch;
        if begins {
            // To the client the session is new, and it has offered its room anew.
            self.peer = hello.limits;
        }
        #[cfg(test)]
        let begins =
            begins && !planted(Fault::NumberOfFirstHello) || planted(Fault::NumberOfAnyHello);
        if begins {
            // Another server may have acknowledged something since the last one.
            self.totals.numbers_received(hello.numbers);
        }
        self.peer_window = self.peer_window.max(hello.limits.window);
        self.accept_link(hello, received, now);
        Ok(replayed)
    }

    /// A server's link, which begins with a welcome, goes by the interval that the client
    /// says on each of them.
    pub(super) fn accept_link(&mut self, hello: &Hello, received: u64, now: Instant) {
        self.attempt = hello.attempt;
        let Heartbeat { interval, misses } = self.heartbeat;
        let rhythm = interval.map(|own| {
            // It is announced in milliseconds, of which there could be too few to
            // serve, or so many as to overflow.
            let chosen = hello.interval.unwrap_or(own);
            Rhythm::server(chosen.clamp(Heartbeat::SHORTEST, Heartbeat::LONGEST), misses)
        });
        self.pulse.set_rhythm(rhythm);
        self.start_link(received, hello.interval, now);
        self.up.welcome_due = true;
    }

    /// What the first batch on a link begins with. A client writes it only with something
    /// else, so that it costs no system call.
    pub(super) fn begin(&mut self, batch: &mut Batch) {
        self.up.begun = true;
        let mut frames = BytesMut::new();
        if std::mem::take(&mut self.up.welcome_due) {
            let welcome = Welcome {
                epoch: self.epoch,
                received: self.inbox.received().frames,
                limits: self.own,
                interval: self.pulse.interval(),
                resume_within: self.resume_within,
            };
            Frame::Welcome(welcome).encode(&mut frames);
        }
        put_meaningless(&mut frames, self.epoch.wrapping_add(self.attempt));
        batch.push(frames.freeze());
    }

    /// What a client is told that comes back for a session which has ended.
    pub(crate) fn close_reply(&self, hello: &Hello) -> Close {
        let received = self.resume_point(hello);
        let code = self.closing.clone().unwrap_or(CloseCode::Closed);
        #[cfg(test)]
        let code = if planted(Fault::ForgetsRefusal) { CloseCode::Closed } else { code };
        Close { code, consumed: self.acks.covered(received) }
    }
}
