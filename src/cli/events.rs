//! What happens to links, as it is logged.

use std::time::{Duration, Instant};

use log::{Level, LevelFilter};

use super::layout::Prompt;
use super::monitor::Monitor;
use super::text::{self, Secured};
use super::{keyboard, now};
use crate::{Cause, Error, Event, Host};

/// How long the first reply waits for the log to say that there is a connection.
const MOMENT: Duration = Duration::from_secs(1);

const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RED: &str = "\x1b[31m";

/// Logs what happens to a client's connection.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// What its lines begin with.
    name: String,
    seen: Monitor<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Where to, in words.
    hosts: String,
    secured: Secured,
    /// Why the last attempt failed, and advice: the line about the next one says both.
    failure: Option<(String, &'static str)>,
    /// The advice was given.
    advised: bool,
    /// There was a link.
    connected: bool,
    /// The last link was lost by its age, which is nothing to be told of.
    aged: bool,
    /// The server has said that it restarts, and has not been looked for since.
    restarting: bool,
    /// Lines of plain text were not answered, and may be lost.
    unanswered: bool,
    /// The last event that says how the link is, and when it came. `None`: the first attempt
    /// is being made.
    link: Option<(Event, Instant)>,
    over: bool,
}

impl Seen {
    /// The link's state in words, as a prompt has them.
    fn prompt(&self, now: Instant) -> Prompt {
        let of = |colour, text: &str| Prompt { colour, ..Prompt::of(text) };
        let why = if self.restarting { "the server is restarting, " } else { "" };
        match &self.link {
            _ if self.over => of(RED, "gone"),
            None => of(YELLOW, &format!("connecting to {}", self.hosts)),
            Some((Event::Lost { .. }, _)) => of(YELLOW, &format!("{why}reconnecting")),
            Some((event, _)) if is_link(event) => of(GREEN, "up"),
            Some((Event::Retrying { attempt, of: most, after }, since)) => {
                let again = if self.connected { "re" } else { "" };
                let most = most.map_or(String::new(), |most| format!(" of {most}"));
                let prompt = of(YELLOW, &format!("{why}{again}connecting {attempt}{most}"));
                let left = after.saturating_sub(now.saturating_duration_since(*since));
                if left.is_zero() {
                    return prompt;
                }
                let seconds = left.as_nanos().div_ceil(1_000_000_000) as u64;
                // In the middle of a second the next one would be said too early.
                let changes = left.saturating_sub(Duration::from_secs(seconds - 1));
                let changes = Some(changes + Duration::from_millis(1));
                Prompt { text: format!("{} in {seconds}s", prompt.text), changes, ..prompt }
            }
            Some(_) => of(RED, "gone"),
        }
    }

    /// What is logged of an event.
    fn tell(&mut self, event: &Event) -> (Level, String) {
        if let Event::Failed { host, cause } = event {
            let advice = text::advice(cause, self.connected, self.secured);
            self.failure = Some((text::failure(host, cause, self.secured), advice));
        }
        if let Event::Lost { cause } = event {
            self.aged = matches!(cause, Cause::Aged);
        }
        self.restarting = match event {
            Event::Lost { cause } => matches!(cause, Cause::Restarting),
            Event::Retrying { .. } | Event::Heartbeat { .. } => self.restarting,
            _ => false,
        };
        let failure = match event {
            Event::Retrying { .. } | Event::GaveUp { .. } => self.failure.take(),
            _ => None,
        };
        let (mut level, mut line) = of_client(event, failure.as_ref().map(|(why, _)| &why[..]));
        if let Event::Connected { peer } = event {
            line += text::privacy(peer.ip(), self.secured);
        }
        if let Some((_, advice)) = failure
            && (!self.advised || level == Level::Error)
        {
            self.advised |= !advice.is_empty();
            line += advice;
        }
        // Where a loss is told of, its end is as well.
        if self.connected && !self.aged && is_link(event) && log::max_level() == LevelFilter::Warn {
            level = Level::Warn;
        }
        self.connected |= is_link(event);
        (level, line)
    }
}

impl Watch {
    /// Watches a connection to these hosts.
    pub(super) fn new(hosts: &[Host]) -> Watch {
        Watch::named(String::new(), hosts)
    }

    /// Watches one of several connections. Its lines begin with its name.
    pub(super) fn named(name: String, hosts: &[Host]) -> Watch {
        let hosts = match hosts {
            [one, two] => format!("{one} or {two}"),
            [one, rest @ ..] if !rest.is_empty() => format!("{one} or {} others", rest.len()),
            hosts => hosts.iter().map(Host::to_string).collect(),
        };
        Watch { name, seen: Monitor::new(Seen { hosts, ..Seen::default() }) }
    }

    /// Before there is a link: what it is secured by.
    pub(super) fn set_secured(&self, secured: Secured) {
        self.seen.lock().secured = secured;
    }

    /// For [`Builder::on_event`](crate::Builder::on_event).
    pub(super) fn on_event(&self, event: &Event) {
        let mut seen = self.seen.lock();
        let (level, line) = seen.tell(event);
        log::log!(level, "{}{line}", self.name);
        match event {
            Event::Failed { .. } | Event::Heartbeat { .. } => {}
            Event::Unanswered { messages, forgotten } => {
                seen.unanswered = true;
                if *forgotten > 0 {
                    let lines = text::count(*forgotten, "line");
                    log::warn!("not answered: {lines}, which are forgotten");
                }
                text::named("may be lost", messages).iter().for_each(|line| log::warn!("{line}"));
            }
            _ => {
                seen.link = Some((event.clone(), now()));
                keyboard::wake();
            }
        }
        drop(seen);
        self.seen.notify();
    }

    /// The link's state in words, such as `up` or `reconnecting 2 of 5 in 3s`.
    pub(super) fn state(&self) -> String {
        self.seen.lock().prompt(now()).text
    }

    /// The same as a prompt.
    pub(super) fn prompt(&self) -> Prompt {
        let seen = self.seen.lock();
        let prompt = seen.prompt(now());
        Prompt { text: format!("{}> ", prompt.text), ..prompt }
    }

    /// The connection is over by itself, although its last event may be still
    /// to come. A prompt that stays, before text, says so.
    pub(super) fn end(&self) {
        self.seen.lock().over = true;
    }

    /// Whether it was logged that lines may be lost.
    pub(super) fn has_unanswered(&self) -> bool {
        self.seen.lock().unanswered
    }

    /// Whether this error was logged, as an event; waits a moment for it, since events come from
    /// another thread than errors.
    pub(super) fn has_told(&self, error: &Error) -> bool {
        let gave_up = |seen: &Seen| matches!(seen.link, Some((Event::GaveUp { .. }, _)));
        let is_told = matches!(error, Error::GaveUp { .. } | Error::SessionLost { .. });
        is_told && gave_up(&self.seen.wait_for(MOMENT, gave_up))
    }

    /// Waits a moment until it was logged that there is a connection.
    pub(super) fn has_connected(&self) -> bool {
        self.seen.wait_for(MOMENT, |seen| seen.connected).connected
    }
}

/// Whether it says that there is a link.
fn is_link(event: &Event) -> bool {
    use Event::{Connected, Reconnected, Resumed, SessionLost};
    matches!(event, Connected { .. } | Resumed { .. } | SessionLost { .. } | Reconnected { .. })
}

/// How a client tells of an event.
fn of_client(event: &Event, failure: Option<&str>) -> (Level, String) {
    let level = match event {
        Event::Lost { cause: Cause::Aged } => Level::Info,
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
        (Event::Lost { cause }, _) => format!("lost: {}", text::system(cause)),
        (Event::Retrying { .. }, Some(why)) => format!("{event} ({why})"),
        (Event::GaveUp { attempts, unacknowledged, cause }, why) => {
            let why = why.map_or_else(|| text::system(cause), str::to_string);
            let messages = text::messages(*unacknowledged);
            match attempts {
                0 => format!("gave up, {messages} not acknowledged: {why}"),
                _ => format!("{event}: {why}"),
            }
        }
        _ => event.to_string(),
    };
    (level, line)
}

/// How a server tells of an event of client number `number`.
pub fn of_server(number: u64, event: &Event) -> (Level, String) {
    let (level, line) = match event {
        Event::Lost { cause } => (Level::Info, format!("lost: {}", text::system(cause))),
        Event::Resumed { .. } => (Level::Info, event.to_string()),
        // As all others.
        Event::GaveUp { cause: Cause::Restarting, .. } => (Level::Debug, event.to_string()),
        Event::GaveUp { unacknowledged, cause, .. } => {
            let messages = text::messages(*unacknowledged);
            let why = text::system(cause);
            let how = if matches!(cause, Cause::Revoked) { "ended" } else { "reclaimed" };
            (Level::Info, format!("{how}, {messages} not acknowledged: {why}"))
        }
        // It was said, or will be by its own thread, which knows why it ended.
        _ => (Level::Debug, event.to_string()),
    };
    (level, format!("client-{number}: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Cause {
        Cause::Io(std::sync::Arc::new(std::io::ErrorKind::ConnectionRefused.into()))
    }

    #[test]
    fn a_link_that_is_lost_by_its_age_is_no_alarm() {
        let level = |cause| of_client(&Event::Lost { cause }, None).0;
        assert_eq!((level(Cause::Aged), level(Cause::Expired)), (Level::Info, Level::Warn));
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
        let after = Duration::from_millis(2900);
        let peer = "127.0.0.1:6666".parse().unwrap();
        let seen = |event| {
            let link = Some((event, start));
            Seen { link, connected: true, hosts: "host:1".into(), ..Seen::default() }
        };
        let words = |event, milliseconds| {
            seen(event).prompt(start + Duration::from_millis(milliseconds)).text
        };
        let retrying = |attempt, of| Event::Retrying { attempt, of, after };

        let mut never = Seen { hosts: "host:1".into(), ..Seen::default() };
        assert_eq!(never.prompt(start).text, "connecting to host:1");
        never.link = Some((retrying(2, Some(5)), start));
        assert_eq!(never.prompt(start).text, "connecting 2 of 5 in 3s");
        assert_eq!(words(Event::Connected { peer }, 0), "up");
        assert_eq!(words(Event::Lost { cause: Cause::Eof }, 0), "reconnecting");
        let mut away = seen(retrying(1, Some(5)));
        away.tell(&Event::Lost { cause: Cause::Restarting });
        away.tell(&retrying(1, Some(5)));
        let why = "the server is restarting, reconnecting 1 of 5 in 3s";
        assert_eq!(away.prompt(start).text, why);
        away.tell(&Event::Failed { host: Host::new("host", 1), cause: refused() });
        assert_eq!(away.prompt(start).text, "reconnecting 1 of 5 in 3s");
        assert_eq!(words(retrying(2, Some(5)), 0), "reconnecting 2 of 5 in 3s");
        assert_eq!(words(retrying(2, Some(5)), 900), "reconnecting 2 of 5 in 2s");
        assert_eq!(words(retrying(2, Some(5)), 2899), "reconnecting 2 of 5 in 1s");
        assert_eq!(words(retrying(2, Some(5)), 2900), "reconnecting 2 of 5");
        // A caller that asks again when it was told to sees every second once.
        let (mut time, mut said) = (start, Vec::new());
        while let prompt = seen(retrying(2, Some(5))).prompt(time)
            && let Some(changes) = prompt.changes
        {
            said.push(prompt.text);
            time += changes;
        }
        assert_eq!(said.len(), 3, "{said:?}");
        assert_eq!(words(retrying(9, None), 0), "reconnecting 9 in 3s");
        let gave_up = Event::GaveUp { attempts: 5, unacknowledged: 0, cause: Cause::Eof };
        assert_eq!(words(gave_up, 0), "gone");
        assert_eq!(words(Event::Closed { unacknowledged: 0 }, 0), "gone");
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
            watch.on_event(&Event::Failed { host, cause: refused() });
            assert!(watch.seen.lock().failure.is_some());
            watch.on_event(&next);
            assert!(watch.seen.lock().failure.is_none());
        }
    }

    #[test]
    fn where_to() {
        let watch = |names: &[&str]| {
            let hosts: Vec<_> = names.iter().map(|name| Host::new(*name, 7)).collect();
            Watch::new(&hosts).state()
        };
        assert_eq!(watch(&["one"]), "connecting to one:7");
        assert_eq!(watch(&["one", "::1"]), "connecting to one:7 or [::1]:7");
        assert_eq!(watch(&["one", "two", "three"]), "connecting to one:7 or 2 others");
    }

    /// At the first chance, and where it is the last word.
    #[test]
    fn what_may_help_is_said_once_and_at_the_end() {
        let mut seen = Seen::default();
        let retrying =
            |attempt| Event::Retrying { attempt, of: Some(3), after: Duration::from_secs(3) };
        let gave_up = Event::GaveUp { attempts: 3, unacknowledged: 0, cause: Cause::NotLonglink };
        let mut tell = |event| {
            let host = Host::new("host", 1);
            seen.tell(&Event::Failed { host, cause: Cause::NotLonglink });
            seen.tell(&event).1
        };
        let why = "host:1: the server does not speak longlink";
        assert!(tell(retrying(2)).contains(&format!("({why}); ")));
        assert_eq!(tell(retrying(3)), format!("attempt 3 of 3 in 3s ({why})"));
        assert!(tell(gave_up).ends_with(text::advice(&Cause::NotLonglink, false, Secured::No)));
    }

    #[test]
    fn nothing_is_said_twice() {
        let mut seen = Seen::default();
        let error = std::sync::Arc::new(std::io::Error::other("no such name"));
        let cause = Cause::Resolve { host: "no.where".into(), error };
        seen.tell(&Event::Failed { host: Host::new("no.where", 1), cause: cause.clone() });
        let gave_up = Event::GaveUp { attempts: 1, unacknowledged: 1, cause };
        let line = "gave up after 1 attempt, 1 message not acknowledged: cannot resolve no.where: \
                    no such name";
        assert_eq!(seen.tell(&gave_up), (Level::Error, line.to_string()));
        let gave_up = Event::GaveUp { attempts: 0, unacknowledged: 2, cause: Cause::Eof };
        let line = "gave up, 2 messages not acknowledged: the peer closed the socket";
        assert_eq!(of_client(&gave_up, None).1, line);
    }

    /// Of both there is this event.
    #[test]
    fn an_end_is_said_once() {
        let watch = Watch::default();
        let cause = Cause::Rejected(crate::Rejection::Ended);
        let errors = [
            Error::GaveUp { unacknowledged: 2, cause: cause.clone() },
            Error::SessionLost { unacknowledged: 2 },
        ];
        watch.on_event(&Event::GaveUp { attempts: 5, unacknowledged: 2, cause });
        assert!(errors.iter().all(|error| watch.has_told(error)));
        assert!(!watch.has_told(&Error::PeerClosed { unacknowledged: 2 }));
    }

    #[test]
    fn a_server_names_the_client() {
        let (_, line) = of_server(12, &Event::Lost { cause: Cause::Eof });
        assert_eq!(line, "client-12: lost: the peer closed the socket");
        let gone = Event::GaveUp { attempts: 0, unacknowledged: 0, cause: Cause::Eof };
        assert!(of_server(12, &gone).1.starts_with("client-12: reclaimed, 0 messages"));
    }
}
