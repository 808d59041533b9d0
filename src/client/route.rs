//! Which host is asked next, and when there is no point in asking any. Pure.
//!
//! Nothing that one host or one attempt says is final. A host's *last word*
//! counts until the host says something else; silence says nothing. Only when
//! the last word of every host is final, the client gives up before its
//! attempts are spent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::error::{Cause, Rejection};
use crate::proto::away::LONGEST;
use crate::sync;

/// A name may take this long to resolve before the next host goes ahead of it. Most
/// names take less, and a resolver that asks again does so after 5 s.
const GRACE: Duration = Duration::from_secs(1);

/// The hosts, and what each said last.
pub(super) struct Route {
    /// For each host the server that it is a path to.
    servers: Vec<usize>,
    /// For each host until when it wants not to be asked.
    closed: Vec<Option<Instant>>,
    /// The host that welcomed last is asked first: it has the session.
    home: usize,
    /// No other server is asked any more.
    stays: bool,
    /// The hosts whose last word is final, and that word, in the order in which it was
    /// said.
    words: Vec<(usize, Cause)>,
}

impl Route {
    pub(super) fn new(servers: Vec<usize>) -> Route {
        let closed = vec![None; servers.len()];
        Route { closed, servers, home: 0, stays: false, words: Vec::new() }
    }

    pub(super) fn server(&self, host: usize) -> usize {
        self.servers[host]
    }

    /// Whether it leads to the server that welcomed last.
    pub(super) fn is_home(&self, host: usize) -> bool {
        self.servers[host] == self.servers[self.home]
    }

    /// The hosts that are asked, the one that welcomed last before the others. There is
    /// always one.
    fn hosts(&self) -> impl Iterator<Item = usize> {
        let hosts = self.servers.len();
        let order = (0..hosts).map(move |i| (self.home + i) % hosts);
        order.filter(|host| !self.stays || self.is_home(*host))
    }

    /// A new attempt: all of them that may be asked now, or the first that may be.
    pub(super) fn attempt(&self, now: Instant) -> Round {
        let is_open = |host: &usize| self.closed[*host].is_none_or(|until| now >= until);
        let mut left: VecDeque<usize> = self.hosts().filter(is_open).collect();
        if left.is_empty() {
            left.extend(self.hosts().min_by_key(|host| self.closed[*host]));
        }
        Round { begun: now, left }
    }

    /// For how long no host wants to be asked, but for those that have said their last word:
    /// attempts at these alone would be wasted.
    pub(super) fn closed(&self, now: Instant) -> Duration {
        let others = self.hosts().filter(|host| !self.is_final(*host));
        let until = others.map(|host| self.closed[host]).min().flatten();
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    fn is_final(&self, host: usize) -> bool {
        self.words.iter().any(|(by, _)| *by == host)
    }

    /// This host, and it alone, wants not to be asked for so long. Zero says nothing.
    pub(super) fn come_back(&mut self, host: usize, after: Duration, now: Instant) {
        self.closed[host] = Some(now + after.min(LONGEST)).filter(|_| !after.is_zero());
    }

    /// The server that welcomed last goes away, and is back then: no path to it is of use
    /// before.
    pub(super) fn goes_away(&mut self, back: Instant) {
        for host in 0..self.servers.len() {
            if self.is_home(host) {
                self.closed[host] = Some(back);
            }
        }
    }

    /// A link to this host is up. If the client `stays`, it asks no other server from now on.
    pub(super) fn welcomed(&mut self, host: usize, stays: bool) {
        (self.home, self.stays) = (host, stays);
        self.closed[host] = None;
        // Whatever that server said, on another path or before; and it takes the message that was
        // too large for others.
        let is_of = |by: usize| self.servers[by] == self.servers[host];
        self.words.retain(|(by, word)| !is_of(*by) && !matches!(word, Cause::TooLarge { .. }));
    }

    /// An address of this host was no good.
    pub(super) fn failed(&mut self, host: usize, cause: &Cause) {
        let Some(is_final) = is_final(cause) else { return };
        self.words.retain(|(by, _)| *by != host);
        if is_final {
            self.words.push((host, cause.clone()));
        }
    }

    /// Why there is no point in another attempt, whichever host it asks.
    pub(super) fn end(&self) -> Option<&Cause> {
        let all = self.hosts().all(|host| self.is_final(host));
        self.words.last().filter(|_| all).map(|(_, word)| word)
    }

    /// Why the session is not asked for any more: the host that has it says that it has
    /// ended. The others never knew it.
    pub(super) fn ended(&self) -> Option<&Cause> {
        let is_end = |word: &Cause| matches!(word, Cause::Rejected(Rejection::Ended));
        let mut words = self.words.iter();
        words.find(|(by, word)| self.is_home(*by) && is_end(word)).map(|(_, word)| word)
    }
}

/// Whether the host that fails in this way has said its final word; `None` if it
/// has said nothing.
fn is_final(cause: &Cause) -> Option<bool> {
    match cause {
        Cause::Rejected(rejection) => Some(!rejection.is_retryable()),
        Cause::TooLarge { .. } => Some(true),
        Cause::Protocol(_) | Cause::NotLonglink => Some(false),
        // Anybody on the path can bring these about.
        Cause::NotTls | Cause::Untrusted { .. } | Cause::Tls(_) => None,
        Cause::Io(_)
        | Cause::Eof
        | Cause::Silent(_)
        | Cause::ConnectTimeout(_)
        | Cause::WelcomeTimeout(_)
        | Cause::Resolve { .. }
        | Cause::NoProgress { .. }
        | Cause::Restarting
        | Cause::Replaced
        | Cause::Revoked
        | Cause::Aged
        | Cause::Expired => None,
    }
}

/// The hosts of one attempt that were not asked yet, in the order of preference.
pub(super) struct Round {
    begun: Instant,
    left: VecDeque<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// To be asked now; or its name takes too long.
    Host(usize),
    /// Until then, or until a name is resolved.
    Wait(Instant),
    /// All were asked.
    Spent,
}

impl Round {
    /// The host to ask next. `resolving` says since when a name is being resolved,
    /// and `None` for a host whose addresses are known. A name may take `timeout`,
    /// in each attempt; from its [`GRACE`] on it holds up no other host.
    pub(super) fn next(
        &mut self,
        now: Instant,
        timeout: Duration,
        mut resolving: impl FnMut(usize) -> Option<Instant>,
    ) -> Next {
        let mut first: Option<(Instant, usize)> = None;
        for (index, host) in self.left.iter().copied().enumerate() {
            let Some(since) = resolving(host) else {
                self.left.remove(index);
                return Next::Host(host);
            };
            let late = sync::add(since.max(self.begun), timeout);
            let grace = late.min(since + GRACE);
            if now < grace {
                return Next::Wait(grace);
            }
            if first.is_none_or(|(at, _)| late < at) {
                first = Some((late, index));
            }
        }
        match first {
            None => Next::Spent,
            Some((late, _)) if now < late => Next::Wait(late),
            Some((_, index)) => Next::Host(self.left.remove(index).expect("it was found there")),
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "one reading as the origin of a fake clock")]
mod tests {
    use std::io;

    use super::*;
    use crate::identity::Fingerprint;
    use crate::sync::Arc;

    const SECOND: Duration = Duration::from_secs(1);
    const TIMEOUT: Duration = Duration::from_secs(5);
    const LARGE: Cause = Cause::TooLarge { size: 2, limit: 1 };

    fn rejected(rejection: Rejection) -> Cause {
        Cause::Rejected(rejection)
    }

    /// What says nothing about the host.
    fn silences() -> [Cause; 8] {
        let error = Arc::new(io::Error::other("temporary failure in name resolution"));
        let resolve = Cause::Resolve { host: "a".into(), error: error.clone() };
        let timeouts = (Cause::ConnectTimeout(SECOND), Cause::WelcomeTimeout(SECOND));
        let shown = Box::new(Fingerprint([7; 32]));
        let untrusted = Cause::Untrusted { shown, expected: [].into() };
        let (not_tls, tls) = (Cause::NotTls, Cause::Tls("alert".into()));
        [Cause::Io(error), Cause::Eof, timeouts.0, timeouts.1, resolve, untrusted, not_tls, tls]
    }

    fn says(cause: Option<&Cause>) -> Option<String> {
        cause.map(Cause::to_string)
    }

    #[test]
    fn only_a_last_word_of_every_host_ends_the_attempts() {
        let finals = [
            rejected(Rejection::Version),
            rejected(Rejection::Ended),
            rejected(Rejection::Untrusted),
            rejected(Rejection::TlsRequired),
            rejected(Rejection::AuthenticationRequired),
            rejected(Rejection::Other { code: 99, retryable: false }),
            LARGE,
        ];
        for word in finals {
            let mut route = Route::new(vec![0, 1]);
            route.failed(1, &word);
            assert!(route.end().is_none(), "{word}: one of two");
            for silence in silences() {
                route.failed(0, &silence);
                assert!(route.end().is_none(), "{silence}: nothing was said");
            }
            route.failed(0, &rejected(Rejection::Version));
            assert_eq!(says(route.end()), says(Some(&rejected(Rejection::Version))));
            for silence in silences() {
                route.failed(1, &silence);
                assert!(route.end().is_some(), "{silence}: a last word counts");
            }
            route.failed(1, &word);
            assert_eq!(says(route.end()), says(Some(&word)), "the latest of them is told");
        }
    }

    #[test]
    fn a_host_may_say_otherwise() {
        let others = [
            rejected(Rejection::Full),
            rejected(Rejection::ShuttingDown),
            rejected(Rejection::Stale),
            rejected(Rejection::Protocol),
            rejected(Rejection::Other { code: 99, retryable: true }),
            Cause::Protocol("text"),
            Cause::NotLonglink,
        ];
        for other in others {
            let mut route = Route::new(vec![0]);
            route.failed(0, &other);
            assert!(route.end().is_none(), "{other}");
            route.failed(0, &rejected(Rejection::Version));
            assert!(route.end().is_some());
            route.failed(0, &other);
            assert!(route.end().is_none(), "{other}");
        }
    }

    #[test]
    fn a_welcome_takes_back_what_was_said_before() {
        let mut route = Route::new(vec![0, 1, 2]);
        route.failed(0, &rejected(Rejection::Version));
        route.failed(1, &LARGE);
        route.failed(2, &rejected(Rejection::Version));
        assert!(route.end().is_some());
        route.welcomed(2, false);
        assert!(route.end().is_none());
        route.failed(2, &rejected(Rejection::Version));
        assert!(route.end().is_none(), "the large message may have gone through");
        route.failed(1, &LARGE);
        assert!(route.end().is_some());
    }

    #[test]
    fn only_the_host_that_has_the_session_says_that_it_has_ended() {
        let mut route = Route::new(vec![0, 1]);
        route.welcomed(1, false);
        route.failed(0, &rejected(Rejection::Ended));
        assert!(route.ended().is_none() && route.end().is_none());
        route.failed(1, &rejected(Rejection::Full));
        assert!(route.ended().is_none());
        route.failed(1, &rejected(Rejection::Ended));
        assert!(route.ended().is_some());
    }

    /// As it does when it was started again, with other settings, before it had a session.
    #[test]
    fn a_welcome_takes_back_what_that_server_said_on_another_path() {
        let mut route = Route::new(vec![0, 0]);
        route.failed(0, &rejected(Rejection::Ended));
        route.welcomed(1, false);
        assert!(route.ended().is_none());
    }

    #[test]
    fn another_path_to_that_host_speaks_for_it() {
        let mut route = Route::new(vec![0, 1, 0]);
        route.welcomed(0, false);
        assert_eq!([0, 1, 2].map(|host| route.is_home(host)), [true, false, true]);
        route.failed(1, &rejected(Rejection::Ended));
        assert!(route.ended().is_none());
        route.failed(2, &rejected(Rejection::Ended));
        assert!(route.ended().is_some());
    }

    #[test]
    fn a_client_that_stays_asks_the_paths_to_its_server_alone() {
        let mut route = Route::new(vec![0, 1, 0]);
        let start = Instant::now();
        assert_eq!(hosts(&route, start), [0, 1, 2]);
        route.failed(1, &rejected(Rejection::Full));
        route.welcomed(2, true);
        assert_eq!(hosts(&route, start), [2, 0]);
        route.come_back(2, 20 * SECOND, start);
        assert_eq!(hosts(&route, start), [0]);
        route.come_back(0, 10 * SECOND, start);
        assert_eq!(hosts(&route, start), [0], "asked too early, rather than another");
        assert_eq!(route.closed(start), 10 * SECOND, "the other would be open");
        // Nor is the other's last word waited for.
        route.failed(0, &rejected(Rejection::Version));
        assert!(route.end().is_none());
        route.failed(2, &rejected(Rejection::Version));
        assert!(route.end().is_some() && route.ended().is_none());
        route.failed(0, &rejected(Rejection::Ended));
        assert!(route.ended().is_some());
    }

    /// Names, and since when they are being resolved.
    struct Names {
        route: Route,
        start: Instant,
        since: Vec<Option<Instant>>,
    }

    impl Names {
        fn new<const N: usize>(since: [Option<Duration>; N]) -> (Names, Instant) {
            let start = Instant::now();
            let since = since.map(|since| since.map(|since| start + since)).to_vec();
            (Names { route: Route::new((0..N).collect()), start, since }, start)
        }

        fn next(&self, round: &mut Round, after: Duration) -> Next {
            round.next(self.start + after, TIMEOUT, |host| self.since[host])
        }
    }

    #[test]
    fn the_host_that_welcomed_last_comes_first() {
        let (mut names, start) = Names::new([None; 3]);
        names.route.welcomed(1, false);
        let mut round = names.route.attempt(start);
        let order = [(); 4].map(|()| names.next(&mut round, Duration::ZERO));
        assert_eq!(order, [Next::Host(1), Next::Host(2), Next::Host(0), Next::Spent]);
    }

    fn hosts(route: &Route, now: Instant) -> Vec<usize> {
        let mut round = route.attempt(now);
        std::iter::from_fn(|| match round.next(now, TIMEOUT, |_| None) {
            Next::Host(host) => Some(host),
            other => (other != Next::Spent).then(|| unreachable!("{other:?}")),
        })
        .collect()
    }

    #[test]
    fn a_time_to_come_back_delays_that_host_only() {
        let mut route = Route::new(vec![0, 1]);
        let start = Instant::now();
        route.come_back(0, 20 * SECOND, start);
        assert_eq!(route.closed(start), Duration::ZERO);
        assert_eq!(hosts(&route, start), [1]);
        assert_eq!(hosts(&route, start + 20 * SECOND), [0, 1]);
        // If all have said so, the first to open is waited for.
        route.come_back(1, 10 * SECOND, start);
        assert_eq!(route.closed(start + SECOND), 9 * SECOND);
        assert_eq!(hosts(&route, start + 10 * SECOND), [1]);
        assert_eq!(route.closed(start + 30 * SECOND), Duration::ZERO);
        assert_eq!(hosts(&route, start), [1], "asked too early, rather than none");
        // Until it says otherwise.
        route.come_back(0, Duration::ZERO, start);
        assert_eq!(hosts(&route, start), [0]);
        route.welcomed(1, false);
        assert_eq!(hosts(&route, start), [1, 0]);
    }

    #[test]
    fn a_server_that_goes_away_closes_all_paths_to_it_and_no_other() {
        let mut route = Route::new(vec![0, 1, 0]);
        let start = Instant::now();
        route.welcomed(2, false);
        // Later than any host may ask for by itself.
        route.goes_away(start + 1200 * SECOND);
        assert_eq!((hosts(&route, start), route.closed(start)), (vec![1], Duration::ZERO));
        assert_eq!(hosts(&route, start + 1200 * SECOND), [2, 0, 1]);
        route.failed(1, &rejected(Rejection::Version));
        assert_eq!(route.closed(start), 1200 * SECOND);
        let mut alone = Route::new(vec![0]);
        alone.goes_away(start + SECOND);
        assert_eq!((hosts(&alone, start), alone.closed(start)), (vec![0], SECOND));
    }

    #[test]
    fn attempts_wait_for_a_host_that_may_welcome_if_all_others_never_will() {
        let mut route = Route::new(vec![0, 1]);
        let start = Instant::now();
        route.come_back(0, 20 * SECOND, start);
        route.failed(1, &rejected(Rejection::Version));
        assert_eq!(route.closed(start), 20 * SECOND);
        route.failed(1, &rejected(Rejection::Full));
        assert_eq!(route.closed(start), Duration::ZERO);
    }

    #[test]
    fn a_time_to_come_back_is_ten_minutes_at_most() {
        for after in
            [Duration::from_secs(601), Duration::from_millis(u32::MAX.into()), Duration::MAX]
        {
            let mut route = Route::new(vec![0]);
            let start = Instant::now();
            route.come_back(0, after, start);
            assert_eq!(route.closed(start), 600 * SECOND);
        }
    }

    #[test]
    fn a_name_that_takes_a_moment_keeps_its_place() {
        let (mut names, start) = Names::new([Some(Duration::ZERO), None]);
        let mut round = names.route.attempt(start);
        assert_eq!(names.next(&mut round, Duration::ZERO), Next::Wait(start + GRACE));
        names.since[0] = None;
        assert_eq!(names.next(&mut round, GRACE / 2), Next::Host(0));
        assert_eq!(names.next(&mut round, GRACE / 2), Next::Host(1));
    }

    #[test]
    fn a_name_that_takes_long_holds_up_no_other_host() {
        let (mut names, start) = Names::new([Some(Duration::ZERO), None, Some(Duration::ZERO)]);
        let mut round = names.route.attempt(start);
        assert_eq!(names.next(&mut round, GRACE), Next::Host(1));
        // They are waited for behind the others, and whichever comes first is asked.
        assert_eq!(names.next(&mut round, GRACE), Next::Wait(start + TIMEOUT));
        names.since[2] = None;
        assert_eq!(names.next(&mut round, 2 * GRACE), Next::Host(2));
        assert_eq!(names.next(&mut round, TIMEOUT), Next::Host(0));
        assert_eq!(names.next(&mut round, TIMEOUT), Next::Spent);
        // The next attempt knows how long it has taken, and waits for it again.
        let mut round = names.route.attempt(start + 2 * TIMEOUT);
        assert_eq!(names.next(&mut round, 2 * TIMEOUT), Next::Host(1));
        assert_eq!(names.next(&mut round, 2 * TIMEOUT), Next::Host(2));
        assert_eq!(names.next(&mut round, 2 * TIMEOUT), Next::Wait(start + 3 * TIMEOUT));
        assert_eq!(names.next(&mut round, 3 * TIMEOUT), Next::Host(0));
    }

    #[test]
    fn a_name_that_is_asked_late_in_an_attempt_has_its_time_too() {
        let (names, start) = Names::new([None, Some(TIMEOUT)]);
        let mut round = names.route.attempt(start);
        assert_eq!(names.next(&mut round, Duration::ZERO), Next::Host(0));
        assert_eq!(names.next(&mut round, TIMEOUT), Next::Wait(start + TIMEOUT + GRACE));
        assert_eq!(names.next(&mut round, TIMEOUT + GRACE), Next::Wait(start + 2 * TIMEOUT));
        assert_eq!(names.next(&mut round, 2 * TIMEOUT), Next::Host(1));
    }

    #[test]
    fn a_short_timeout_is_all_the_grace_there_is() {
        let (names, start) = Names::new([Some(Duration::ZERO)]);
        let mut round = names.route.attempt(start);
        let short = SECOND / 10;
        let mut next = |after| round.next(start + after, short, |host| names.since[host]);
        assert_eq!(next(Duration::ZERO), Next::Wait(start + short));
        assert_eq!(next(short), Next::Host(0));
    }
}
