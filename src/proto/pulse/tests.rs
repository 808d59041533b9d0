use super::*;

const INTERVAL: Duration = Duration::from_secs(10);

/// Runs a pulse by its own deadlines until it says dead or `until` comes.
/// `lives` tells whether a ping at that time is answered (at once).
fn run(
    mut pulse: Pulse,
    start: Instant,
    until: Duration,
    mut step: impl FnMut(&mut Pulse, Duration, Verdict),
) -> Option<Duration> {
    let mut now = start;
    while now < start + until {
        let next = pulse.deadline()?;
        assert!(next >= now || pulse.tick(now) != Verdict::Alive, "a deadline in the past");
        now = now.max(next);
        let verdict = pulse.tick(now);
        if let Verdict::Dead(_) = verdict {
            return Some(now - start);
        }
        step(&mut pulse, now - start, verdict);
    }
    None
}

fn client(misses: u32) -> (Pulse, Instant) {
    let start = Instant::now();
    (Pulse::new(Some(Rhythm::client(INTERVAL, misses)), start), start)
}

#[test]
fn an_idle_link_pings_once_an_interval_and_lives_while_answered() {
    let (pulse, start) = client(3);
    let mut pings = Vec::new();
    let died = run(pulse, start, INTERVAL * 5, |pulse, at, verdict| {
        if let Verdict::Ping(id) = verdict {
            pings.push(at.as_secs());
            assert_eq!(pulse.pong(id, start + at), Some(Duration::ZERO));
            pulse.heard(start + at);
        }
    });
    assert_eq!(died, None);
    assert_eq!(pings, [10, 20, 30, 40, 50]);
}

// Trap 3, idle and busy.
#[test]
fn silence_is_death_within_misses_and_one_intervals() {
    for misses in 1..6 {
        for busy in [false, true] {
            let (pulse, start) = client(misses);
            let died = run(pulse, start, INTERVAL * 20, |pulse, at, _| {
                if busy {
                    pulse.sent(start + at);
                }
            });
            let died = died.expect("a silent peer is dead");
            assert!(died >= INTERVAL * misses, "{misses} {busy}: {died:?}");
            assert!(died <= INTERVAL * (misses + 1) + SECOND_LOOK, "{misses} {busy}: {died:?}");
        }
    }
}

/// Whoever sends all the time has no reason to ping, and asks nevertheless,
/// an interval before it judges.
#[test]
fn nobody_is_judged_who_was_not_asked() {
    for misses in 1..6 {
        let (pulse, start) = client(misses);
        let mut asked = None;
        let died = run(pulse, start, INTERVAL * 20, |pulse, at, verdict| {
            pulse.sent(start + at);
            if let Verdict::Ping(_) = verdict {
                asked.get_or_insert(at);
            }
        });
        let (asked, died) = (asked.expect("asked"), died.expect("a silent peer is dead"));
        assert!(died >= asked + INTERVAL, "{misses}: asked at {asked:?}, judged at {died:?}");
    }
    // Nor by a judge who comes late, and finds all times past.
    let (mut pulse, start) = client(3);
    for late in 1..10 {
        assert!(!matches!(pulse.tick(start + INTERVAL * 9 + late * SECOND_LOOK), Verdict::Dead(_)));
    }
}

#[test]
fn one_miss_does_not_kill_a_peer_that_answers_slowly() {
    let (pulse, start) = client(1);
    let mut due = None;
    let died = run(pulse, start, INTERVAL * 10, |pulse, at, verdict| {
        if let Verdict::Ping(_) = verdict {
            due = Some(at + INTERVAL * 9 / 10);
        }
        if due.is_some_and(|due| at >= due) {
            pulse.heard(start + at);
        }
    });
    // The pong is only seen at the next deadline here, which is the judgement's own.
    assert!(died.is_none_or(|died| died > INTERVAL), "{died:?}");
}

// Trap 5.
#[test]
fn an_overslept_judge_asks_again_first() {
    let (mut pulse, start) = client(3);
    assert_eq!(pulse.tick(start + INTERVAL), Verdict::Ping(1));
    let now = start + INTERVAL * 100;
    pulse.excuse(Excuse::Overslept(INTERVAL * 98));
    assert_eq!(pulse.tick(now), Verdict::Ping(2));
    assert_eq!(pulse.tick(now), Verdict::Alive);
    pulse.heard(now + INTERVAL / 2);
    assert_eq!(pulse.tick(now + INTERVAL), Verdict::Ping(3));
    // And without an answer it judges in the end.
    let mut at = now + INTERVAL;
    while !matches!(pulse.tick(at), Verdict::Dead(_)) {
        at = pulse.deadline().unwrap();
        assert!(at < now + INTERVAL * 6);
    }
}

#[test]
fn queued_bytes_put_the_verdict_off() {
    let (mut pulse, start) = client(3);
    let mut now = start;
    while pulse.suspected.is_none() {
        now = pulse.deadline().unwrap();
        assert!(!matches!(pulse.tick(now), Verdict::Dead(_)), "no second look");
    }
    pulse.excuse(Excuse::Queued);
    assert_eq!(pulse.tick(now + SECOND_LOOK), Verdict::Alive);
}

/// Runs a pulse as the monitor does with a peer that says nothing, and tells when
/// that is judged. At a time its kernel has acknowledged so many bytes, and a ping
/// that is sent then ends at such a position.
fn judged(
    mut pulse: Pulse,
    start: Instant,
    acknowledged: impl Fn(Duration) -> u64,
    mut sends: impl FnMut(&mut Pulse, Duration) -> u64,
) -> Option<Duration> {
    let mut now = start;
    for _ in 0..1000 {
        now = now.max(pulse.deadline()?);
        let at = now - start;
        let mut verdict = pulse.tick(now);
        if verdict != Verdict::Alive {
            pulse.reached(acknowledged(at), now);
        }
        if let Verdict::Dead(_) = verdict {
            verdict = pulse.tick(now);
        }
        match verdict {
            Verdict::Dead(_) => return Some(at),
            Verdict::Ping(_) => {
                let end = sends(&mut pulse, at);
                pulse.asked(end);
            }
            Verdict::Alive => {}
        }
    }
    None
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

/// Else a message that takes longer to cross is sent again and again.
#[test]
fn bytes_that_move_in_front_of_a_ping_are_life() {
    for misses in 1..6 {
        let (pulse, start) = client(misses);
        let crossing = INTERVAL * 50;
        let crossed = |at: Duration| millis(at.min(crossing));
        let died = judged(pulse, start, crossed, |_, _| millis(crossing) + 13);
        let died = died.expect("a peer that takes nothing is dead");
        assert!(died > crossing, "{misses}: judged at {died:?}, bytes moved until {crossing:?}");
        // It was seen to move up to an interval after it did so last.
        let most = crossing + INTERVAL * (misses + 2) + SECOND_LOOK;
        assert!(died <= most, "{misses}: judged at {died:?}, not by {most:?}");
    }
}

/// And the answer takes its time as well.
#[test]
fn a_ping_that_arrives_late_may_be_answered_late() {
    let (mut pulse, start) = client(1);
    let at = |tenths: u32| start + INTERVAL * tenths / 10;
    assert_eq!(pulse.tick(at(10)), Verdict::Ping(1));
    pulse.reached(0, at(10));
    pulse.asked(1000);
    for (tenths, acknowledged) in [(20, 500), (30, 990), (40, 1000)] {
        pulse.reached(acknowledged, at(tenths));
        assert_eq!(pulse.tick(at(tenths + 9)), Verdict::Ping(u64::from(tenths / 10)));
        assert!(pulse.dead_at() >= Some(at(tenths + 10)), "{acknowledged} have arrived");
    }
    pulse.reached(2000, at(50));
    assert_eq!(pulse.dead_at(), Some(at(50)), "what comes behind the ping is no answer");
}

// Trap 4: as soon as if nothing were known of it.
#[test]
fn a_kernel_that_acknowledges_pings_is_no_life() {
    for misses in 1..6 {
        let (pulse, start) = client(misses);
        let silent = judged(pulse, start, |_| 0, |_, _| 13).expect("dead");
        for lag in [0, 1, 9, 15, 25, 100].map(|tenths| INTERVAL * tenths / 10) {
            let (pulse, start) = client(misses);
            let pings = std::cell::RefCell::new(Vec::new());
            let acknowledged = |now: Duration| {
                let arrived = |sent: &&Duration| **sent + lag <= now;
                13 * pings.borrow().iter().filter(arrived).count() as u64
            };
            let died = judged(pulse, start, acknowledged, |_, at| {
                pings.borrow_mut().push(at);
                13 * pings.borrow().len() as u64
            });
            assert_eq!(died, Some(silent), "{misses} misses, {lag:?}");
        }
    }
}

// Trap 4, busy.
#[test]
fn a_kernel_that_acknowledges_a_stream_is_no_life() {
    for misses in 1..6 {
        for lag in [0, 1, 9, 15, 25].map(|tenths| INTERVAL * tenths / 10) {
            let (pulse, start) = client(misses);
            let stream = |at: Duration| millis(at.saturating_sub(lag));
            let died = judged(pulse, start, stream, |pulse, at| {
                pulse.sent(start + at);
                millis(at)
            });
            let died = died.expect("the peer says nothing");
            let most = INTERVAL * (misses + 1) + SECOND_LOOK;
            // A ping that arrives late is answered late.
            let late = if lag < INTERVAL { Duration::ZERO } else { lag + INTERVAL * (misses + 1) };
            assert!(died <= most + late, "{misses} misses, {lag:?}: {died:?}");
        }
    }
}

const WITHIN: Duration = Duration::from_secs(5);

/// With heartbeats and without: a pulse in the middle of an interval, and the time.
fn idle() -> [(Pulse, Instant); 2] {
    let (with, start) = client(3);
    [(with, start + INTERVAL / 2), (Pulse::new(None, start), start + INTERVAL / 2)]
}

#[test]
fn a_check_that_is_not_answered_is_death() {
    for (mut pulse, now) in idle() {
        pulse.check(WITHIN, Some(100), now);
        assert_eq!(pulse.take_ping(), Some(1));
        // Nor does asking again put it off.
        pulse.check(WITHIN, Some(100), now + WITHIN / 2);
        assert_eq!(pulse.take_ping(), None);
        assert_eq!(pulse.deadline(), Some(now + WITHIN));
        pulse.reached(100, now + WITHIN);
        assert_eq!(pulse.tick(now + WITHIN), Verdict::Alive, "there is a second look");
        let at = pulse.deadline().unwrap();
        assert!(at <= now + WITHIN + SECOND_LOOK);
        assert_eq!(pulse.tick(at), Verdict::Dead(at - now + INTERVAL / 2));
    }
}

#[test]
fn whatever_comes_from_the_peer_or_its_kernel_answers_a_check() {
    let answers: [fn(&mut Pulse, Instant); 4] = [
        |pulse, now| pulse.heard(now),
        |pulse, now| pulse.reached(101, now),
        |pulse, _| assert!(!pulse.excuse(Excuse::Queued)),
        |pulse, now| pulse.restart(None, now),
    ];
    for (answer, late) in answers.into_iter().flat_map(|answer| [(answer, 0), (answer, 1)]) {
        for (mut pulse, now) in idle() {
            pulse.check(WITHIN, Some(100), now);
            let at = now + WITHIN * late;
            // Between two looks as well.
            assert_eq!(pulse.tick(at), Verdict::Alive);
            answer(&mut pulse, at);
            assert!(!pulse.is_checking());
            let later = now + WITHIN + SECOND_LOOK;
            assert!(!matches!(pulse.tick(later), Verdict::Dead(_)));
        }
    }
}

#[test]
fn the_first_look_at_what_is_acknowledged_answers_no_check() {
    let (mut pulse, start) = client(3);
    pulse.check(WITHIN, None, start);
    pulse.reached(1000, start + WITHIN);
    assert!(pulse.is_checking());
}

#[test]
fn a_check_without_end_asks_and_never_judges() {
    let [_, (mut pulse, now)] = idle();
    pulse.check(Duration::MAX, Some(100), now);
    assert_eq!(pulse.take_ping(), Some(1));
    assert_eq!(pulse.deadline(), None);
}

/// What was asked before the machine slept has not been asked for long.
#[test]
fn a_machine_that_wakes_asks_anew() {
    for (mut pulse, now) in idle() {
        pulse.check(WITHIN, Some(100), now);
        let woken = now + WITHIN - Duration::from_millis(1);
        pulse.excuse(Excuse::Suspended);
        pulse.check(WITHIN, Some(100), woken);
        assert_eq!(pulse.take_ping(), Some(2));
        assert_eq!(pulse.deadline(), Some(woken + WITHIN));
    }
}

// Trap 5.
#[test]
fn a_check_that_was_overslept_begins_anew() {
    for (mut pulse, now) in idle() {
        pulse.check(WITHIN, None, now);
        pulse.tick(now + WITHIN);
        assert!(!pulse.excuse(Excuse::Overslept(WITHIN / 2)), "not for a busy machine");
        assert!(pulse.excuse(Excuse::Overslept(WITHIN / 2 + Duration::from_millis(1))));
        assert!(!matches!(pulse.tick(now + WITHIN * 9), Verdict::Dead(_)));
        assert!(!pulse.excuse(Excuse::Overslept(WITHIN * 9)), "there is none");
    }
}

#[test]
fn without_a_rhythm_nothing_is_ever_due() {
    let start = Instant::now();
    let mut pulse = Pulse::new(None, start);
    assert_eq!(pulse.deadline(), None);
    assert_eq!(pulse.tick(start + INTERVAL * 1000), Verdict::Alive);
}

#[test]
fn the_kernel_does_not_contradict_what_was_agreed() {
    let intervals = [100, 9_000, 10_000, 240_000, 86_400_000].map(Duration::from_millis);
    for (interval, misses) in intervals.into_iter().flat_map(|i| [1, 2, 3, 1000].map(|m| (i, m))) {
        for peer in [None, Some(interval)] {
            let judges = Watch::framed(Heartbeat::every(interval).misses(misses), peer);
            assert_eq!(judges.asks, None);
            assert!(judges.gives_up > (interval * (misses + 1)).max(LATE - SOON));
            assert!(judges.resends >= interval.max(SOON));
        }
        let Watch { asks, gives_up, resends } =
            Watch::framed(Heartbeat::off().misses(misses), Some(interval));
        assert!(asks >= Watch::ALONE.asks && gives_up >= Watch::ALONE.gives_up);
        assert!(asks > Some(interval), "the peer's ping comes first");
        assert!(gives_up >= interval * (misses + 1), "no less than was granted");
        assert!(resends >= interval.max(SOON));
        let plain = Watch::plain(Heartbeat::every(interval).misses(misses));
        assert!(plain.asks >= Some(interval) && plain.gives_up == interval * misses);
    }
    // The interval of the client is what counts, as for the pings.
    let (own, short) = (Heartbeat::every(INTERVAL * 24), Some(INTERVAL));
    assert_eq!(Watch::framed(own, short).resends, INTERVAL);
    assert_eq!(Watch::framed(Heartbeat::off().misses(7), None), Watch::ALONE);
    assert_eq!(Watch::plain(Heartbeat::off().misses(7)), Watch::ALONE);
    assert_eq!(Watch::plain(Heartbeat::every(INTERVAL)), Watch::ALONE);
}

#[test]
fn only_the_last_pings_pong_counts() {
    let (mut pulse, start) = client(3);
    assert_eq!(pulse.tick(start + INTERVAL), Verdict::Ping(1));
    assert_eq!(pulse.tick(start + INTERVAL * 2), Verdict::Ping(2));
    assert_eq!(pulse.pong(1, start + INTERVAL * 2), None);
    let late = start + INTERVAL * 2 + Duration::from_millis(3);
    assert_eq!(pulse.pong(2, late), Some(Duration::from_millis(3)));
    assert_eq!(pulse.pong(2, late), None);
}

#[test]
fn an_answer_settles_the_question_for_good() {
    for misses in 1..6 {
        let (pulse, start) = client(misses);
        let (mut answered, mut asked) = (false, None);
        let died = run(pulse, start, INTERVAL * 20, |pulse, at, verdict| {
            if !matches!(verdict, Verdict::Ping(_)) {
            } else if std::mem::replace(&mut answered, true) {
                asked.get_or_insert(at);
            } else {
                pulse.heard(start + at + INTERVAL / 10);
            }
        });
        let (asked, died) = (asked.expect("asked again"), died.expect("a silent peer is dead"));
        assert!(died >= asked + INTERVAL, "{misses}: asked at {asked:?}, judged at {died:?}");
    }
}

/// Else what its kernel has acknowledged would be looked at too late to be life.
#[test]
fn a_ping_that_follows_messages_judges_nobody() {
    let (mut pulse, start) = client(3);
    let at = start + INTERVAL * 3 / 2;
    pulse.sent(at);
    let before = (pulse.deadline(), pulse.dead_at());
    pulse.sent_messages(at);
    assert_eq!(pulse.take_ping(), Some(1));
    assert_eq!((pulse.deadline(), pulse.dead_at()), before);
    pulse.sent_messages(at + INTERVAL - SECOND_LOOK);
    assert!(!pulse.has_output());
    assert_eq!(pulse.pong(1, at + SECOND_LOOK), Some(SECOND_LOOK));
    let mut silent = Pulse::new(None, start);
    silent.sent_messages(at);
    assert!(!silent.has_output());
}

#[test]
fn a_new_link_owes_nothing_for_the_one_before() {
    let (mut pulse, start) = client(3);
    while !matches!(pulse.tick(pulse.deadline().unwrap()), Verdict::Dead(_)) {}
    let now = start + INTERVAL * 100;
    pulse.restart(None, now);
    assert_eq!((pulse.tick(now), pulse.deadline()), (Verdict::Alive, Some(now + INTERVAL)));
}

#[test]
fn a_verdict_that_is_more_than_half_an_interval_late_waits_for_another_ping() {
    for (late, asks) in [(INTERVAL / 2, false), (INTERVAL / 2 + SECOND_LOOK, true)] {
        let (mut pulse, _) = client(3);
        while pulse.suspected.is_none() {
            pulse.tick(pulse.deadline().unwrap());
        }
        let now = pulse.deadline().unwrap();
        pulse.excuse(Excuse::Overslept(late));
        assert_eq!(matches!(pulse.tick(now), Verdict::Ping(_)), asks, "{late:?}");
    }
}

#[test]
fn a_check_without_heartbeats_ends_although_each_look_is_a_little_late() {
    let start = Instant::now();
    let mut pulse = Pulse::new(None, start);
    pulse.check(INTERVAL, None, start);
    assert_eq!(pulse.take_ping(), Some(1));
    let late = Duration::from_millis(1);
    let is_dead = (0..5).any(|_| {
        let now = pulse.deadline().unwrap() + late;
        pulse.excuse(Excuse::Overslept(late));
        matches!(pulse.tick(now), Verdict::Dead(_))
    });
    assert!(is_dead);
}

#[test]
fn a_server_notices_a_loss_within_what_its_client_allows_it() {
    for (misses, servers) in (1..6).flat_map(|misses| (1..=2 * misses).map(move |s| (misses, s))) {
        for busy in [false, true] {
            let start = Instant::now();
            let server = Pulse::new(Some(Rhythm::server(INTERVAL, servers)), start);
            let (mut client, _) = client(misses);
            client.restart(server.interval(), start);
            let died = run(server, start, INTERVAL * 20, |pulse, at, _| {
                if busy {
                    pulse.sent(start + at);
                }
            });
            let died = died.expect("a silent peer is dead");
            let allowed = client.noticed_within(Heartbeat::every(INTERVAL).misses(misses));
            assert!(died <= allowed, "{misses} {servers} {busy}: {died:?}, {allowed:?}");
        }
    }
}

#[test]
fn of_a_server_without_heartbeats_its_kernel_is_waited_for() {
    let (mut pulse, start) = client(3);
    pulse.restart(None, start);
    let allowed = |own| pulse.noticed_within(own);
    assert_eq!(allowed(Heartbeat::off()), Duration::from_secs(60));
    assert_eq!(allowed(Heartbeat::every(INTERVAL / 10)), Duration::from_secs(60));
    assert_eq!(allowed(Heartbeat::every(INTERVAL)), INTERVAL * 8);
}
