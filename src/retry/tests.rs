use super::*;

const MIDDLE: u32 = u32::MAX / 2;
const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Option<Duration> = Some(Duration::from_secs(10));

/// Links on which something moved, or nothing had to, or something waits.
const IDLE: Proof = Proof { moved: false, heard: true, waits: false, uptime: Duration::ZERO };
const MOVED: Proof = Proof { moved: true, ..IDLE };
const STUCK: Proof = Proof { waits: true, ..IDLE };

fn proof(link: Proof, uptime: Duration) -> Proof {
    Proof { uptime, ..link }
}

fn delays(policy: RetryPolicy, count: usize) -> Vec<Duration> {
    let now = Instant::now();
    let mut budget = Budget::new(policy.jitter(0.0), now);
    std::iter::from_fn(|| budget.next(now, MIDDLE, Duration::ZERO))
        .take(count)
        .map(|a| a.after)
        .collect()
}

#[test]
fn fixed_is_at_once_and_then_evenly_spaced_and_bounded() {
    let secs = |s| SECOND * s;
    assert_eq!(delays(RetryPolicy::default(), 99), [secs(0), secs(3), secs(3), secs(3), secs(3)]);
}

#[test]
fn exponential_doubles_up_to_its_maximum_without_overflow() {
    let policy = RetryPolicy::exponential(SECOND, SECOND * 5).unlimited();
    let delays = delays(policy, 200);
    assert_eq!(delays[..6], [0, 1, 2, 4, 5, 5].map(|s| SECOND * s));
    assert_eq!(delays[199], SECOND * 5);
    let huge = RetryPolicy::exponential(Duration::MAX, Duration::MAX).unlimited();
    assert_eq!(Budget::new(huge, Instant::now()).delay(40, u32::MAX), Duration::MAX);
}

#[test]
fn jitter_stays_within_its_fraction_and_reaches_both_ends() {
    let budget = Budget::new(RetryPolicy::fixed(SECOND * 10, 5), Instant::now());
    assert_eq!(budget.delay(2, 0), SECOND * 8);
    assert_eq!(budget.delay(2, u32::MAX), SECOND * 12);
    for (fraction, least, most) in [(0.5, 5, 15), (7.0, 0, 20), (-1.0, 10, 10), (f64::NAN, 10, 10)]
    {
        let policy = RetryPolicy::fixed(SECOND * 10, 5).jitter(fraction);
        let budget = Budget::new(policy, Instant::now());
        let both = (budget.delay(2, 0), budget.delay(2, u32::MAX));
        assert_eq!(both, (SECOND * least, SECOND * most), "{fraction}");
    }
}

#[test]
fn never_connects_once_and_does_not_come_back() {
    let now = Instant::now();
    let mut budget = Budget::new(RetryPolicy::never(), now);
    budget.first();
    assert_eq!(budget.next(now, 0, Duration::ZERO), None);
    budget.lost(proof(MOVED, SECOND), None);
    assert_eq!(budget.next(now, 0, Duration::ZERO), None);
}

#[test]
fn a_link_that_has_served_gives_one_attempt_more_and_all_of_them_back() {
    let now = Instant::now();
    for (policy, attempts) in [(RetryPolicy::never(), 0), (RetryPolicy::default(), 5)] {
        let mut budget = Budget::new(policy.jitter(0.0), now);
        budget.first();
        for _ in 0..2 {
            budget.has_served();
            let of = Some(attempts.max(1));
            let extra = Attempt { number: 1, of, after: SECOND };
            assert_eq!(budget.next(now, MIDDLE, SECOND), Some(extra));
            assert_eq!(budget.made(), 0);
            let left = std::iter::from_fn(|| budget.next(now, MIDDLE, Duration::ZERO));
            assert_eq!(left.count() as u32, attempts);
        }
    }
}

/// A peer that expires as soon as it is met does not make a client spin.
#[test]
fn links_that_serve_only_for_a_moment_are_not_made_at_full_speed() {
    let now = Instant::now();
    for policy in [RetryPolicy::never(), RetryPolicy::default().jitter(0.0)] {
        let mut budget = Budget::new(policy, now);
        let mut next = || {
            budget.has_served();
            budget.next(now, MIDDLE, Duration::ZERO).expect("one more").after
        };
        (0..IMMEDIATE).for_each(|_| assert_eq!(next(), Duration::ZERO));
        assert!(next() >= REGAIN);
    }
}

#[test]
fn twenty_quick_cuts_of_a_working_link_do_not_exhaust_the_budget() {
    let mut now = Instant::now();
    let mut budget = Budget::new(RetryPolicy::default(), now);
    for _ in 0..20 {
        let attempt = budget.next(now, MIDDLE, Duration::ZERO).expect("the budget is full");
        assert_eq!(attempt.after, Duration::ZERO);
        now += Duration::from_millis(10);
        budget.lost(proof(MOVED, Duration::from_millis(10)), INTERVAL);
    }
}

// Trap 14.
#[test]
fn a_server_that_welcomes_and_drops_spends_the_budget() {
    let now = Instant::now();
    let mut budget = Budget::new(RetryPolicy::default(), now);
    let mut attempts = 0;
    while budget.next(now, MIDDLE, Duration::ZERO).is_some() {
        attempts += 1;
        budget.lost(proof(IDLE, Duration::from_millis(10)), INTERVAL);
    }
    assert_eq!(attempts, 5);
}

#[test]
fn uptime_with_a_frame_fills_the_budget_and_uptime_alone_does_not() {
    let now = Instant::now();
    let mut budget = Budget::new(RetryPolicy::default(), now);
    for (heard, made) in [(false, 1), (true, 0)] {
        budget.made = 1;
        budget.lost(proof(Proof { heard, ..IDLE }, SECOND * 3), INTERVAL);
        assert_eq!(budget.made(), made);
    }
}

/// Makes an attempt, which is welcomed. Returns its number.
fn link(budget: &mut Budget, moved: bool, now: Instant) -> Option<u32> {
    let number = budget.next(now, MIDDLE, Duration::ZERO)?.number;
    budget.welcomed(moved);
    Some(number)
}

#[test]
fn links_that_last_while_nothing_gets_through_spend_the_budget() {
    let now = Instant::now();
    for uptime in [Duration::ZERO, SECOND * 60] {
        let mut budget = Budget::new(RetryPolicy::default(), now);
        budget.first();
        budget.welcomed(false);
        let mut links = 1;
        loop {
            budget.lost(proof(STUCK, uptime), INTERVAL);
            assert_eq!(budget.fruitless(), links);
            if link(&mut budget, false, now).is_none() {
                break;
            }
            links += 1;
            assert!(links <= 5, "{uptime:?}: more than the policy has");
        }
        assert_eq!((links, budget.made()), (5, 5), "{uptime:?}");
    }
}

#[test]
fn a_day_of_idle_links_that_are_cut_does_not_exhaust_the_budget() {
    let mut now = Instant::now();
    let mut budget = Budget::new(RetryPolicy::default(), now);
    for _ in 0..24 * 20 {
        now += SECOND * 180;
        budget.lost(proof(IDLE, SECOND * 180), INTERVAL);
        assert_eq!(link(&mut budget, false, now), Some(1));
    }
}

// A handler that takes ten minutes acknowledges nothing; that the message was
// received is only said by the next welcome.
#[test]
fn a_message_that_waits_for_a_slow_handler_does_not_exhaust_the_budget() {
    let mut now = Instant::now();
    let mut budget = Budget::new(RetryPolicy::default(), now);
    for _ in 0..200 {
        now += SECOND * 60;
        budget.lost(proof(STUCK, SECOND * 60), INTERVAL);
        assert_eq!(link(&mut budget, true, now), Some(1), "as of a link that worked");
        assert_eq!(budget.fruitless(), 0);
        // Its handshake counts as what has moved on it.
        now += SECOND;
        budget.lost(proof(Proof { waits: true, ..MOVED }, SECOND), INTERVAL);
        assert_eq!(link(&mut budget, false, now), Some(1));
    }
}

#[test]
fn a_link_in_doubt_leaves_all_attempts_to_find_the_next() {
    let now = Instant::now();
    let mut budget = Budget::new(RetryPolicy::default(), now);
    budget.made = 5;
    budget.welcomed(false);
    budget.lost(proof(STUCK, SECOND * 60), INTERVAL);
    let numbers = std::iter::from_fn(|| budget.next(now, MIDDLE, Duration::ZERO)).map(|a| a.number);
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

#[test]
fn a_link_in_doubt_on_which_nothing_had_moved_counts_after_all() {
    let now = Instant::now();
    let mut budget = Budget::new(RetryPolicy::default(), now);
    budget.made = 3;
    budget.lost(proof(STUCK, SECOND * 60), INTERVAL);
    assert_eq!(link(&mut budget, false, now), Some(1));
    assert_eq!(budget.made(), 4);
    // It is believed once, until something moves.
    budget.lost(proof(STUCK, SECOND * 60), INTERVAL);
    assert_eq!(link(&mut budget, false, now), Some(5));
    budget.lost(proof(MOVED, SECOND), INTERVAL);
    budget.lost(proof(STUCK, SECOND * 60), INTERVAL);
    assert_eq!(link(&mut budget, true, now), Some(1));
}

#[test]
fn an_attempt_that_is_hurried_does_not_count_and_they_run_dry() {
    let now = Instant::now();
    let mut budget = Budget::new(RetryPolicy::default(), now);
    assert!(
        budget.next(now, MIDDLE, Duration::ZERO).is_some_and(|attempt| attempt.after.is_zero())
    );
    for _ in 1..IMMEDIATE {
        assert_eq!(budget.next(now, MIDDLE, Duration::ZERO).map(|attempt| attempt.number), Some(2));
        assert!(budget.hurry(now));
    }
    assert_eq!(budget.next(now, MIDDLE, Duration::ZERO).map(|attempt| attempt.number), Some(2));
    assert!(!budget.hurry(now));
    assert_eq!(budget.next(now, MIDDLE, Duration::ZERO).map(|attempt| attempt.number), Some(3));
    assert!(budget.hurry(now + REGAIN));
    assert_eq!(budget.next(now, MIDDLE, Duration::ZERO).map(|attempt| attempt.number), Some(3));
}

// Trap 25: progress before each crash keeps the budget full, so only the
// bucket slows the replay down.
#[test]
fn immediate_attempts_run_dry_and_come_back_one_a_second() {
    let mut now = Instant::now();
    let mut budget = Budget::new(RetryPolicy::default(), now);
    let mut crash = |now| {
        budget.lost(proof(MOVED, Duration::ZERO), None);
        budget.next(now, MIDDLE, Duration::ZERO).expect("the budget is full").after
    };
    for _ in 0..IMMEDIATE {
        assert_eq!(crash(now), Duration::ZERO);
    }
    assert!(crash(now) > SECOND * 2);
    now += SECOND;
    assert_eq!(crash(now), Duration::ZERO);
    assert!(crash(now) > SECOND * 2);
    now += SECOND * 1000;
    for _ in 0..IMMEDIATE {
        assert_eq!(crash(now), Duration::ZERO);
    }
    assert!(crash(now) > SECOND * 2);
}

const BACK: Duration = Duration::from_secs(10);

fn attempt(number: u32, after: Duration) -> Option<Attempt> {
    Some(Attempt { number, of: Some(5), after })
}

/// A link was lost, and the server is back in ten seconds.
fn goes_away(link: Proof, made: u32, now: Instant) -> Budget {
    let mut budget = Budget::new(RetryPolicy::default().jitter(0.0), now);
    budget.made = made;
    budget.lost(proof(link, Duration::ZERO), INTERVAL);
    budget.goes_away(now + BACK);
    budget
}

#[test]
fn a_server_that_goes_away_costs_no_attempt_and_they_count_from_its_return_on() {
    let mut now = Instant::now();
    let mut budget = goes_away(MOVED, 4, now);
    assert_eq!(budget.next(now, MIDDLE, BACK), attempt(1, BACK));
    now += BACK;
    assert_eq!(budget.away(now), Duration::ZERO);
    for number in 2..=5 {
        assert_eq!(budget.next(now, MIDDLE, Duration::ZERO), attempt(number, SECOND * 3));
        now += SECOND * 3;
    }
    assert_eq!(budget.next(now, MIDDLE, Duration::ZERO), None);
}

#[test]
fn other_hosts_are_asked_meanwhile_which_costs_nothing() {
    let mut now = Instant::now();
    let mut budget = goes_away(MOVED, 4, now);
    for delay in [0, 3, 3, 3] {
        assert_eq!(budget.next(now, MIDDLE, Duration::ZERO), attempt(1, SECOND * delay));
        now += SECOND * delay;
    }
    // The next one is that of the return: neither before nor long after.
    assert_eq!(budget.next(now, MIDDLE, Duration::ZERO), attempt(1, SECOND));
    now += SECOND;
    assert_eq!(budget.next(now, MIDDLE, Duration::ZERO), attempt(2, SECOND * 3));
}

// Else a server that says so again and again holds a client for ever.
#[test]
fn a_server_that_goes_away_again_and_again_and_moves_nothing_spends_the_budget() {
    for link in [IDLE, STUCK] {
        for closed in [Duration::ZERO, BACK] {
            let mut now = Instant::now();
            let mut budget = Budget::new(RetryPolicy::default().jitter(0.0), now);
            budget.first();
            let (mut returns, mut others) = (0, 0);
            while let Some(attempt) = {
                budget.lost(proof(link, Duration::ZERO), INTERVAL);
                budget.goes_away(now + BACK);
                budget.next(now, MIDDLE, closed)
            } {
                let mut attempt = attempt;
                while attempt.after < budget.away(now) {
                    others += 1;
                    now += attempt.after;
                    attempt = budget.next(now, MIDDLE, closed).expect("it costs nothing");
                }
                returns += 1;
                now += attempt.after;
                budget.welcomed(false);
                assert!(returns < 5, "{link:?} {closed:?}");
            }
            assert_eq!((returns, budget.made()), (4, 5), "{link:?} {closed:?}");
            assert_eq!(others > 0, closed.is_zero());
        }
    }
}

// Each is asked while the other is away.
#[test]
fn two_servers_that_go_away_in_turn_and_move_nothing_spend_the_budget() {
    for link in [IDLE, STUCK] {
        let mut now = Instant::now();
        let mut budget = Budget::new(RetryPolicy::default().jitter(0.0), now);
        budget.first();
        let mut links = 0;
        while let Some(attempt) = {
            budget.lost(proof(link, Duration::ZERO), INTERVAL);
            budget.goes_away(now + BACK);
            budget.next(now, MIDDLE, Duration::ZERO)
        } {
            links += 1;
            now += attempt.after;
            budget.welcomed(false);
            assert!(links < 6, "{link:?}");
        }
        assert_eq!(budget.made(), 5, "{link:?}");
    }
}

#[test]
fn a_return_that_is_hurried_does_not_count_and_is_made_in_time_again() {
    let mut now = Instant::now();
    let mut budget = goes_away(MOVED, 4, now);
    for _ in 0..3 {
        let away = budget.away(now);
        assert_eq!(budget.next(now, MIDDLE, away), attempt(1, away));
        now += SECOND;
        assert!(budget.hurry(now));
    }
    // An attempt elsewhere has not counted in the first place.
    let mut budget = goes_away(STUCK, 2, now);
    assert_eq!(budget.next(now, MIDDLE, Duration::ZERO), attempt(3, Duration::ZERO));
    assert_eq!(budget.next(now, MIDDLE, Duration::ZERO), attempt(3, SECOND * 3));
    assert!(budget.hurry(now));
    assert_eq!(budget.made(), 2);
}

#[test]
fn a_policy_without_attempts_does_not_come_back_and_an_old_announcement_is_over() {
    let now = Instant::now();
    let mut budget = Budget::new(RetryPolicy::never(), now);
    budget.first();
    budget.lost(proof(MOVED, SECOND), INTERVAL);
    budget.goes_away(now + BACK);
    assert_eq!(budget.next(now, MIDDLE, BACK), None);
    let mut budget = goes_away(MOVED, 4, now);
    budget.welcomed(true);
    budget.lost(proof(MOVED, SECOND), INTERVAL);
    assert_eq!(budget.next(now, MIDDLE, Duration::ZERO), attempt(1, Duration::ZERO));
}

const KEPT: Duration = Duration::from_secs(60);

/// A budget under such a policy whose link was lost, and when.
fn kept(policy: RetryPolicy) -> (Budget, Instant) {
    let now = Instant::now();
    let mut budget = Budget::new(policy.jitter(0.0).while_kept(), now);
    budget.first();
    budget.welcomed(false);
    budget.lost(proof(MOVED, SECOND), INTERVAL);
    budget.kept(now, KEPT);
    (budget, now)
}

/// Makes all attempts that there are, each of which fails at once. Returns when they were made.
fn made(budget: &mut Budget, from: Instant) -> Vec<u64> {
    let mut now = from;
    let attempts = std::iter::from_fn(|| {
        let attempt = budget.next(now, MIDDLE, Duration::ZERO)?;
        assert_eq!(attempt.of, None);
        now += attempt.after;
        Some((now - from).as_secs())
    });
    attempts.take(1000).collect()
}

#[test]
fn attempts_count_for_the_first_connect_and_then_the_time_that_the_session_is_kept() {
    let policy = RetryPolicy::exponential(SECOND, SECOND * 25).attempts(3);
    let now = Instant::now();
    let mut budget = Budget::new(policy.while_kept(), now);
    budget.first();
    let numbers = std::iter::from_fn(|| budget.next(now, MIDDLE, Duration::ZERO));
    assert_eq!(numbers.map(|a| (a.number, a.of)).collect::<Vec<_>>(), [(2, Some(3)), (3, Some(3))]);
    // The last one is made in time, although the delay is longer.
    let (mut budget, now) = kept(policy);
    assert_eq!(made(&mut budget, now), [0, 1, 3, 7, 15, 31, 56, 60]);
    assert_eq!(budget.made(), 8);
    // No time before, and no matter which attempt it is.
    let (mut budget, now) = kept(policy.attempts(0));
    let last = Duration::from_nanos(1);
    let attempt = |after| Some(Attempt { number: 1, of: None, after });
    budget.made = u32::MAX - 1;
    let late = budget.next(now + KEPT - last, MIDDLE, Duration::ZERO);
    assert_eq!(late, Some(Attempt { number: u32::MAX, of: None, after: last }));
    assert_eq!(budget.next(now + KEPT, MIDDLE, Duration::ZERO), None);
    // A link that has served gives no attempt beyond that time, and one before.
    budget.has_served();
    budget.kept(now + KEPT, KEPT);
    assert_eq!(budget.next(now + KEPT, MIDDLE, Duration::ZERO), attempt(Duration::ZERO));
}

#[test]
fn a_session_that_is_kept_for_ever_is_asked_for_for_ever() {
    let (mut budget, now) = kept(RetryPolicy::never());
    budget.kept(now, Duration::MAX);
    assert_eq!(made(&mut budget, now).len(), 1000);
    assert!(budget.next(now + SECOND * 100_000_000, MIDDLE, Duration::ZERO).is_some());
}

#[test]
fn the_time_counts_from_the_last_loss() {
    let (mut budget, mut now) = kept(RetryPolicy::fixed(SECOND * 20, 2));
    for link in [MOVED, IDLE, STUCK, IDLE, STUCK] {
        assert_eq!(made(&mut budget, now).last(), Some(&60));
        now += SECOND * 50;
        budget.welcomed(false);
        budget.lost(proof(link, Duration::ZERO), INTERVAL);
        budget.kept(now, KEPT);
    }
    // But that of a link on which nothing moves, once more, changes nothing.
    now += SECOND * 30;
    budget.lost(proof(STUCK, Duration::ZERO), INTERVAL);
    budget.kept(now, KEPT);
    assert_eq!(made(&mut budget, now), [20, 30]);
    budget.lost(proof(MOVED, Duration::ZERO), INTERVAL);
    budget.kept(now, KEPT);
    assert_eq!(made(&mut budget, now), [0, 20, 40, 60]);
}

#[test]
fn a_server_that_goes_away_keeps_nothing_and_attempts_count_from_its_return_on() {
    let (mut budget, mut now) = kept(RetryPolicy::fixed(SECOND, 3));
    assert_eq!(made(&mut budget, now).len(), 61);
    budget.welcomed(false);
    budget.lost(proof(IDLE, Duration::ZERO), INTERVAL);
    budget.goes_away(now + BACK);
    for (number, after) in [(1, BACK), (2, SECOND), (3, SECOND)] {
        let attempt = Attempt { number, of: Some(3), after };
        assert_eq!(budget.next(now, MIDDLE, budget.away(now)), Some(attempt));
        now += after;
    }
    assert_eq!(budget.next(now, MIDDLE, Duration::ZERO), None);
}

#[test]
fn under_another_policy_attempts_count_however_long_the_session_is_kept() {
    let now = Instant::now();
    let mut budget = Budget::new(RetryPolicy::default(), now);
    budget.first();
    budget.lost(proof(MOVED, SECOND), INTERVAL);
    budget.kept(now, Duration::MAX);
    let attempts = std::iter::from_fn(|| budget.next(now, MIDDLE, Duration::ZERO));
    assert_eq!(attempts.count(), 5);
}
