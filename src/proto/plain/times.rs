//! When a client sends a heartbeat, and when silence is death.

use std::time::{Duration, Instant};

use super::Settings;
use super::incoming::Found;
use crate::proto::report::Excuse;

/// A peer that has sent heartbeats is believed in for at least this long.
pub(super) const LEAST: Duration = Duration::from_secs(30);
/// And for so many times the time between two of them.
const SPACINGS: u32 = 3;
/// A client does not ask more often than this: a server that reads two heartbeats
/// at once may take them for a message.
const APART: Duration = Duration::from_secs(1);
/// Heartbeats that are closer together were held up on their way.
const GLUED: Duration = Duration::from_millis(100);

/// A client's times. Nothing answers its heartbeats: only for the reply to a line
/// can it say that it waits.
#[derive(Debug)]
pub(super) struct Patience {
    settings: Settings,
    /// The last write, or the last reply: a peer that has one to read may be about to write.
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

impl Check {
    fn due(&self) -> Option<Instant> {
        self.since.checked_add(self.within)
    }
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

    /// Whether a heartbeat is to be sent, no line waiting.
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

    /// Whether a heartbeat is to be sent out of turn, no line waiting.
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

    pub(super) fn reached(&mut self, acknowledged: u64) {
        self.check.take_if(|check| check.acknowledged < acknowledged);
    }

    pub(super) fn judge(&self, now: Instant) -> Option<Duration> {
        self.dead_at().filter(|at| now >= *at)?;
        let check = self.check.as_ref().map(|check| check.since);
        let since = check.into_iter().chain(self.waiting).min();
        since.map(|since| now.saturating_duration_since(since))
    }

    pub(super) fn dead_at(&self) -> Option<Instant> {
        let timeout = self.settings.reply_timeout.filter(|_| !self.excused);
        let reply = self.waiting.zip(timeout).and_then(|(since, time)| since.checked_add(time));
        self.check.as_ref().and_then(Check::due).into_iter().chain(reply).min()
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

/// A server's times: a client that has sent heartbeats is dead when it falls
/// silent, and of one that has not nothing is known.
///
/// The classic client sends no heartbeats while it waits for a reply, nor does
/// ours while one of its lines does. So its silence counts from there, and only
/// if all of them were answered, unless it has shown since its last line that it
/// does not wait. And ours sends a single one before it is served.
#[derive(Debug)]
pub(super) struct HeartbeatInference {
    since: Instant,
    /// The last byte of the peer, or the last line to it.
    active: Instant,
    heartbeat: Option<Instant>,
    /// May turn out to be the beginning of a line.
    maybe: Option<Instant>,
    /// From the beginning to the first heartbeat, and the longest time between
    /// two with nothing in between.
    first: Duration,
    spacing: Option<Duration>,
    adjacent: bool,
    beats: usize,
    /// So many lines wait for their replies.
    owed: usize,
    /// A line was sent to it.
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
            first: Duration::ZERO,
            spacing: None,
            adjacent: false,
            beats: 0,
            owed: 0,
            is_served: false,
            excused: false,
        }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.active = now;
        self.excused = false;
    }

    pub(super) fn replied(&mut self, lines: usize, now: Instant) {
        self.active = now;
        self.owed = self.owed.saturating_sub(lines);
        self.is_served = true;
    }

    pub(super) fn found(&mut self, found: Found, now: Instant) {
        let at = self.maybe.take().unwrap_or(now);
        match found {
            Found::Line => (self.owed, self.adjacent) = (self.owed + 1, false),
            Found::Heartbeat => {
                self.beats += 1;
                match self.heartbeat.replace(at) {
                    None => self.first = at.saturating_duration_since(self.since),
                    Some(before) if self.adjacent => {
                        let spacing = at.saturating_duration_since(before);
                        if spacing >= GLUED {
                            self.spacing = self.spacing.max(Some(spacing));
                        }
                    }
                    Some(_) => {}
                }
                (self.owed, self.adjacent) = (0, true);
            }
        }
    }

    /// The stream may have ended with a heartbeat, for now.
    pub(super) fn may_be_heartbeat(&mut self, maybe: bool, now: Instant) {
        self.maybe = if maybe { self.maybe.or(Some(now)) } else { None };
    }

    pub(super) fn judge(&self, now: Instant) -> Option<Duration> {
        self.dead_at().filter(|at| now >= *at)?;
        Some(now.saturating_duration_since(self.active))
    }

    pub(super) fn dead_at(&self) -> Option<Instant> {
        // By the time that this is asked about, nothing came behind it.
        let waits = self.owed > 0 && self.maybe.is_none();
        let beats = self.beats + usize::from(self.maybe.is_some());
        if self.excused || waits || beats < if self.is_served { 1 } else { 2 } {
            return None;
        }
        let first = match (self.heartbeat, self.maybe) {
            (None, Some(maybe)) => maybe.saturating_duration_since(self.since),
            _ => self.first,
        };
        let patience = self.spacing.unwrap_or(first).saturating_mul(SPACINGS).max(LEAST);
        self.active.checked_add(patience)
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
