//! What happens to links, as it is logged.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::Level;

use super::terminal::{self, Prompt};
use super::{keyboard, text};
use crate::Event;

/// Logs what happens to a client's connection.
#[derive(Debug, Default)]
pub struct Watch {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Seen {
    /// Why the last attempt failed, to be said together with the next one.
    failure: Option<String>,
    gave_up: bool,
    link: Link,
    over: bool,
}

/// What a person is told of the link all the time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Link {
    #[default]
    Lost,
    Up,
    /// Attempt `attempt`, of so many if there is a limit, is due then.
    Retrying {
        attempt: u32,
        of: Option<u32>,
        due: Option<Instant>,
    },
    /// There will be none any more.
    Gone,
}

impl Link {
    fn after(self, event: &Event, now: Instant) -> Link {
        match *event {
            Event::Connected { .. }
            | Event::Resumed { .. }
            | Event::SessionLost { .. }
            | Event::Reconnected { .. } => Link::Up,
            Event::Lost { .. } => Link::Lost,
            Event::Retrying { attempt, of, after } => {
                Link::Retrying { attempt, of, due: now.checked_add(after) }
            }
            Event::GaveUp { .. } | Event::Closed { .. } => Link::Gone,
            _ => self,
        }
    }

    /// In words, and for how long they are right.
    fn words(self, now: Instant) -> (String, Option<Duration>) {
        let (attempt, of, due) = match self {
            Link::Lost => return ("reconnecting".to_string(), None),
            Link::Up => return ("up".to_string(), None),
            Link::Gone => return ("gone".to_string(), None),
            Link::Retrying { attempt, of, due } => (attempt, of, due),
        };
        let mut words = format!("reconnecting {attempt}");
        if let Some(of) = of {
            words += &format!(" of {of}");
        }
        let left = due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now));
        if left.is_zero() {
            return (words, None);
        }
        let seconds = left.as_nanos().div_ceil(1_000_000_000) as u64;
        words += &format!(" in {seconds}s");
        // In the middle of a second the next one would be said too early.
        let changes = left.saturating_sub(Duration::from_secs(seconds - 1));
        (words, Some(changes + Duration::from_millis(1)))
    }

    fn colour(self) -> &'static str {
        match self {
            Link::Up => "\x1b[32m",
            Link::Lost | Link::Retrying { .. } => "\x1b[33m",
            Link::Gone => "\x1b[31m",
        }
    }
}

impl Watch {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For [`Builder::on_event`](crate::Builder::on_event).
    pub fn note(&self, event: &Event) {
        let mut seen = self.seen();
        let failure = match event {
            Event::Retrying { .. } | Event::GaveUp { .. } => seen.failure.take(),
            _ => None,
        };
        if let Event::Failed { host, cause } = event {
            seen.failure = Some(format!("{host}: {}", text::cause(cause)));
        }
        let (level, line) = of_client(event, failure.as_deref());
        log::log!(level, "{line}");
        let link = seen.link.after(event, now());
        if link != seen.link {
            seen.link = link;
            keyboard::wake();
        }
        if let Event::GaveUp { .. } = event {
            seen.gave_up = true;
            drop(seen);
            self.changed.notify_all();
        }
    }

    /// The link's state in words, such as `up` or `reconnecting 2 of 5 in 3s`,
    /// and for how long they are right; `None`: until something happens.
    pub fn state(&self) -> (String, Option<Duration>) {
        self.seen().link.words(now())
    }

    /// The same as a prompt.
    pub fn prompt(&self) -> (Prompt, Option<Duration>) {
        let Seen { link, over, .. } = *self.seen();
        let (words, changes) = link.words(now());
        let colour = if terminal::has_colours() { link.colour() } else { "" };
        (Prompt { text: format!("{words}> "), colour, stays: over }, changes)
    }

    /// The connection is over by itself, although its last event may be still
    /// to come. The prompt stays, and says so.
    pub fn end(&self) {
        let mut seen = self.seen();
        (seen.link, seen.over) = (Link::Gone, true);
    }

    /// Whether it was logged that the connection gave up; waits a moment for
    /// it, since events come from another thread than errors.
    pub fn has_given_up(&self) -> bool {
        let moment = Duration::from_secs(1);
        let waited = self.changed.wait_timeout_while(self.seen(), moment, |seen| !seen.gave_up);
        waited.unwrap_or_else(PoisonError::into_inner).0.gave_up
    }
}

#[expect(clippy::disallowed_methods, reason = "a countdown for a person")]
fn now() -> Instant {
    Instant::now()
}

/// How a client tells of an event.
fn of_client(event: &Event, failure: Option<&str>) -> (Level, String) {
    let level = match event {
        Event::Lost { .. } | Event::Unanswered { .. } => Level::Warn,
        // Nothing may have happened twice.
        Event::SessionLost { unacknowledged: 0, .. } => Level::Info,
        Event::SessionLost { .. } => Level::Warn,
        Event::GaveUp { .. } => Level::Error,
        Event::Heartbeat { .. } => Level::Debug,
        // The next attempt says why; the program's own last words say more.
        Event::Failed { .. } | Event::Closed { .. } => Level::Trace,
        _ => Level::Info,
    };
    let line = match (event, failure) {
        (Event::Lost { cause }, _) => format!("lost: {}", text::cause(cause)),
        (Event::Retrying { .. }, Some(why)) => format!("{event} ({why})"),
        (Event::GaveUp { .. }, Some(why)) => format!("{event}: {why}"),
        (Event::GaveUp { cause, .. }, None) => format!("{event}: {}", text::cause(cause)),
        _ => event.to_string(),
    };
    (level, line)
}

/// How a server tells of an event of client number `number`.
pub fn of_server(number: u64, event: &Event) -> (Level, String) {
    let (level, line) = match event {
        Event::Lost { cause } => (Level::Info, format!("lost: {}", text::cause(cause))),
        Event::Resumed { .. } => (Level::Info, event.to_string()),
        Event::GaveUp { unacknowledged, cause, .. } => {
            let line = format!(
                "reclaimed, {unacknowledged} messages not acknowledged: {}",
                text::cause(cause)
            );
            (Level::Info, line)
        }
        Event::Closed { .. } => (Level::Info, event.to_string()),
        Event::Heartbeat { .. } => (Level::Debug, of_client(event, None).1),
        // A listener has said so itself, or makes no attempts.
        _ => (Level::Debug, event.to_string()),
    };
    (level, format!("client-{number}: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cause;

    fn refused() -> Cause {
        Cause::Io(std::sync::Arc::new(std::io::ErrorKind::ConnectionRefused.into()))
    }

    #[test]
    fn the_texts_that_are_relied_on() {
        let after = Duration::from_millis(3140);
        let peer = "127.0.0.1:6666".parse().unwrap();
        let events = [
            (Event::Connected { peer }, "connected to 127.0.0.1:6666"),
            (Event::Lost { cause: Cause::Silent(after) }, "lost: nothing heard for 3.1s"),
            (
                Event::Reconnected { waiting: 2, after },
                "connected again, 2 waiting to be sent, after 3.1s",
            ),
            (
                Event::Unanswered { messages: vec!["hello\n".into()], forgotten: 2 },
                "3 sent and not answered, and may be lost",
            ),
            (Event::Retrying { attempt: 2, of: Some(5), after }, "attempt 2 of 5 in 3.1s"),
            (Event::Retrying { attempt: 2, of: None, after }, "attempt 2 in 3.1s"),
            (Event::Resumed { replayed: 7, after }, "resumed, 7 sent again, after 3.1s"),
            (
                Event::SessionLost { unacknowledged: 7, after },
                "new session (old session lost), 7 sent again, after 3.1s",
            ),
            (
                Event::GaveUp { attempts: 5, unacknowledged: 3, cause: refused() },
                "gave up after 5 attempts, 3 messages not acknowledged: connection refused",
            ),
        ];
        for (event, text) in events {
            let (level, line) = of_client(&event, None);
            assert_eq!(line, text);
            assert!(level <= Level::Info, "{line}");
        }
        let heartbeat = Event::Heartbeat { id: 4, round_trip: Duration::from_micros(210) };
        let wanted = (Level::Debug, "heartbeat 4 answered in 0.2ms".to_string());
        assert_eq!(of_client(&heartbeat, None), wanted);
    }

    #[test]
    fn the_state_of_the_link_counts_down() {
        let start = now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let after = Duration::from_millis(2900);
        let peer = "127.0.0.1:6666".parse().unwrap();
        let words = |link: Link, milliseconds| link.words(at(milliseconds)).0;

        let link = Link::default().after(&Event::Connected { peer }, start);
        assert_eq!(words(link, 0), "up");
        let link = link.after(&Event::Lost { cause: Cause::Eof }, start);
        assert_eq!(words(link, 0), "reconnecting");
        let link = link.after(&Event::Retrying { attempt: 2, of: Some(5), after }, start);
        assert_eq!(words(link, 0), "reconnecting 2 of 5 in 3s");
        assert_eq!(words(link, 900), "reconnecting 2 of 5 in 2s");
        assert_eq!(words(link, 2899), "reconnecting 2 of 5 in 1s");
        assert_eq!(words(link, 2900), "reconnecting 2 of 5");
        // Whoever asks again when he was told to sees every second once.
        let (mut time, mut seen) = (start, Vec::new());
        while let (words, Some(changes)) = link.words(time) {
            seen.push(words);
            time += changes;
        }
        assert_eq!(seen.len(), 3, "{seen:?}");
        let forever = link.after(&Event::Retrying { attempt: 9, of: None, after }, start);
        assert_eq!(words(forever, 0), "reconnecting 9 in 3s");
        let event = Event::GaveUp { attempts: 5, unacknowledged: 0, cause: Cause::Eof };
        assert_eq!(words(link.after(&event, start), 0), "gone");
    }

    #[test]
    fn a_failure_is_said_with_what_follows() {
        let event = Event::Retrying { attempt: 3, of: Some(5), after: Duration::from_secs(3) };
        let (_, line) = of_client(&event, Some("connection refused"));
        assert_eq!(line, "attempt 3 of 5 in 3s (connection refused)");
        let last = Event::GaveUp { attempts: 1, unacknowledged: 0, cause: refused() };
        let (_, line) = of_client(&last, Some("host: connection refused"));
        assert!(line.ends_with("0 messages not acknowledged: host: connection refused"), "{line}");

        for next in [event, last] {
            let watch = Watch::default();
            let host = crate::Host::new("127.0.0.1", 6666);
            watch.note(&Event::Failed { host, cause: refused() });
            assert!(watch.seen().failure.is_some());
            watch.note(&next);
            assert!(watch.seen().failure.is_none());
        }
    }

    #[test]
    fn a_server_names_the_client() {
        let (_, line) = of_server(12, &Event::Lost { cause: Cause::Eof });
        assert_eq!(line, "client-12: lost: the peer closed the socket");
        let gone = Event::GaveUp { attempts: 0, unacknowledged: 0, cause: Cause::Eof };
        assert!(of_server(12, &gone).1.starts_with("client-12: reclaimed, 0 messages"));
    }
}
