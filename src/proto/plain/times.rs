//! When a client sends a heartbeat, and when silence is death.

use std::time::{Duration, Instant};

use super::Settings;
use super::incoming::Found;
use crate::proto::report::Excuse;

/// A client that has sent heartbeats may be silent for at least this long.
pub(super) const LEAST: Duration = Duration::from_secs(30);
/// And for so many times the time between two heartbeats.
const SPACINGS: u32 = 3;
/// A client sends no heartbeat out of turn sooner than this after another: a server that
/// reads two at once may take them for a message.
const APART: Duration = Duration::from_secs(1);
/// Heartbeats that are closer together were held up on their way.
const GLUED: Duration = Duration::from_millis(100);

/// A client's times. Nothing answers its heartbeats: a server owes it only the replies to
/// its lines.
#[derive(Debug)]
pub(super) struct Patience {
    settings: Settings,
    /// The last write, or the last reply: an application that has one to read may be about
    /// to write.
    active: Instant,
    /// A heartbeat was sent on this link, and a line has come over it.
    has_beaten: bool,
    is_served: bool,
    /// Since when a reply is due.
    waiting: Option<Instant>,
    excused: bool,
    check: Option<Check>,
}

/// A heartbeat that the server's kernel has to acknowledge.
#[derive(Debug)]
struct Check {
    since: Instant,
    within: Duration,
    /// What was acknowledged before.
    acknowledged: u64,
}

impl Patience {
    pub(super) fn new(settings: Settings, now: Instant) -> Patience {
        Patience {
            settings,
            active: now,
            has_beaten: false,
            is_served: false,
            waiting: None,
            excused: false,
            check: None,
        }
    }

    pub(super) fn restart(&mut self, now: Instant) {
        *self = Patience::new(self.settings, now);
    }

    pub(super) fn heard(&mut self) {
        self.excused = false;
        self.check = None;
    }

    /// Something was written. `waits`: a line waits for its reply.
    pub(super) fn sent(&mut self, waits: bool, now: Instant) {
        self.active = now;
        if waits {
            self.waiting.get_or_insert(now);
        }
    }

    /// A line has come. `waits`: another one is due.
    pub(super) fn answered(&mut self, waits: bool, now: Instant) {
        self.is_served = true;
        self.active = now;
        self.waiting = waits.then_some(now);
    }

    /// Whether a heartbeat is to be sent now, if no line waits.
    pub(super) fn beat(&mut self, now: Instant) -> bool {
        let due = self.beat_at().is_some_and(|at| now >= at);
        if due {
            self.has_beaten = true;
            self.active = now;
        }
        due
    }

    pub(super) fn beat_at(&self) -> Option<Instant> {
        self.interval().map(|interval| self.active + interval)
    }

    /// Between heartbeats, if another may be sent.
    fn interval(&self) -> Option<Duration> {
        self.settings.interval.filter(|_| self.is_served || !self.has_beaten)
    }

    /// Whether a heartbeat is to be sent out of turn, if no line waits.
    pub(super) fn check(&mut self, within: Duration, acknowledged: u64, now: Instant) -> bool {
        let apart = now.saturating_duration_since(self.active) >= APART;
        let may_ask = apart && self.check.is_none() && self.interval().is_some();
        if may_ask {
            self.check = Some(Check { since: now, within, acknowledged });
            (self.has_beaten, self.active) = (true, now);
        }
        may_ask
    }

    pub(super) fn is_checking(&self) -> bool {
        self.check.is_some()
    }

    /// The server's kernel has acknowledged so many bytes, if that was asked.
    pub(super) fn reached(&mut self, acknowledged: Option<u64>) {
        self.check.take_if(|check| acknowledged > Some(check.acknowledged));
    }

    /// When the server is dead, and since when it is silent.
    pub(super) fn dead_at(&self) -> Option<(Instant, Instant)> {
        let timeout = self.settings.reply_timeout.filter(|_| !self.excused);
        let check = self.check.as_ref().map(|check| (check.since, check.within));
        let waits = self.waiting.zip(timeout).into_iter().chain(check);
        waits.filter_map(|(since, time)| Some((since.checked_add(time)?, since))).min()
    }

    /// Returns whether a check is to begin anew.
    pub(super) fn excuse(&mut self, excuse: Excuse) -> bool {
        match excuse {
            Excuse::Queued => {
                self.excused = true;
                self.check = None;
                false
            }
            Excuse::Overslept(late) => {
                self.waiting = self.waiting.map(|since| since + late);
                self.check.take_if(|check| late > check.within / 2).is_some()
            }
            // The clock has not counted the time since the last heartbeat.
            Excuse::Suspended => {
                self.check = None;
                self.active = self.active.checked_sub(APART).unwrap_or(self.active);
                true
            }
        }
    }
}

/// A server's times. A client that has sent heartbeats is dead when it falls silent. Of
/// one that has sent none, nothing is known.
///
/// The classic client sends no heartbeats while it waits for a reply, and ours sends none
/// while one of its lines waits. So silence counts from the last reply, when all lines are
/// answered, unless a heartbeat behind the last line shows that the client does not wait.
/// And ours sends a single heartbeat before it was sent a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeartbeatInference {
    since: Instant,
    /// The last byte of the peer, or the last line to it.
    active: Instant,
    /// The last heartbeat, if no line came after it.
    heartbeat: Option<Instant>,
    /// The stream may have ended with a heartbeat then. It may turn out to be the
    /// beginning of a line.
    maybe: Option<Instant>,
    /// From the beginning to the first heartbeat, and the longest time between
    /// two with nothing in between.
    first: Option<Duration>,
    spacing: Option<Duration>,
    beats: usize,
    /// So many lines wait for their replies.
    owed: u64,
    /// A line was sent to the client.
    is_served: bool,
    excused: bool,
}

impl HeartbeatInference {
    pub(super) fn new(now: Instant) -> HeartbeatInference {
        HeartbeatInference {
            since: now,
            active: now,
            heartbeat: None,
            maybe: None,
            first: None,
            spacing: None,
            beats: 0,
            owed: 0,
            is_served: false,
            excused: false,
        }
    }

    /// Bytes came, and what was [found](HeartbeatInference::found) in them is known.
    /// `maybe`: the last of them may be a heartbeat.
    pub(super) fn heard(&mut self, maybe: bool, now: Instant) {
        self.active = now;
        self.excused = false;
        self.maybe = if maybe { self.maybe.or(Some(now)) } else { None };
    }

    pub(super) fn replied(&mut self, lines: u64, now: Instant) {
        self.active = now;
        self.owed = self.owed.saturating_sub(lines);
        self.is_served = true;
    }

    pub(super) fn found(&mut self, found: Found, now: Instant) {
        let at = self.maybe.take().unwrap_or(now);
        match found {
            Found::Line => (self.owed, self.heartbeat) = (self.owed + 1, None),
            Found::Heartbeat => {
                self.first.get_or_insert(at.saturating_duration_since(self.since));
                let before = self.heartbeat.replace(at);
                let spacing = before.map(|before| at.saturating_duration_since(before));
                self.spacing = self.spacing.max(spacing.filter(|spacing| *spacing >= GLUED));
                (self.beats, self.owed) = (self.beats + 1, 0);
            }
        }
    }

    /// When the client is dead, and since when it is silent.
    pub(super) fn dead_at(&self) -> Option<(Instant, Instant)> {
        let mut seen = *self;
        // By the time that this is asked about, nothing came behind it.
        if let Some(at) = self.maybe {
            seen.found(Found::Heartbeat, at);
        }
        let least = if seen.is_served { 1 } else { 2 };
        if seen.excused || seen.owed > 0 || seen.beats < least {
            return None;
        }
        let patience = seen.spacing.or(seen.first)?.saturating_mul(SPACINGS).max(LEAST);
        Some((self.active.checked_add(patience)?, self.active))
    }

    /// Returns whether a check is to begin anew: there is none.
    pub(super) fn excuse(&mut self, excuse: Excuse) -> bool {
        match excuse {
            Excuse::Queued => self.excused = true,
            Excuse::Overslept(late) => self.active += late,
            Excuse::Suspended => {}
        }
        false
    }
}
