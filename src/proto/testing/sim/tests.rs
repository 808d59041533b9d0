use std::collections::HashMap;

use super::*;
use crate::proto::testing::rounds;

const SEEDS: u64 = rounds(10_000);

#[test]
fn nothing_is_lost_or_doubled_whatever_the_network_does() {
    let origin = Instant::now();
    let chosen = chosen();
    let mut seen = HashMap::<&str, u64>::new();
    for seed in chosen.clone().unwrap_or(0..SEEDS) {
        let (trace, result) = simulate(seed, origin);
        result.unwrap_or_else(|report| panic!("{report}"));
        for note in trace {
            *seen.entry(note.what).or_default() += 1;
        }
    }
    if chosen.is_some() {
        return;
    }
    // An adversary that leaves something out proves nothing about it.
    for (what, least) in RARE.into_iter().filter(|_| !cfg!(miri)) {
        let times = seen.get(what).copied().unwrap_or_default();
        assert!(times >= least, "{what}: only {times} times");
    }
}

fn chosen() -> Option<Range<u64>> {
    let text = std::env::var("LONGLINK_SIM_SEED").ok()?;
    let number = |text: &str| text.parse().expect("a number");
    let (from, to) = text.split_once("..").unwrap_or((&text, ""));
    let from = number(from);
    Some(from..if to.is_empty() { from + 1 } else { number(to) })
}

const RARE: [(&str, u64); 29] = [
    ("RESTART", 1000),
    ("GOES AWAY", 1000),
    ("  it is away", 500),
    ("shut down", 100),
    ("CLIENT KILLED", 1000),
    ("  replaced", 1000),
    ("  other numbers", 20),
    ("skips", 1000),
    ("books late", 100),
    ("  takes over", 1000),
    ("  stale hello", 100),
    ("  stale bytes", 1000),
    ("  welcome lost", 1000),
    ("  judged dead", 100),
    ("an close_reply", 100),
    ("refused", 100),
    ("  full", 1000),
    ("too large", 100),
    ("client leaves", 1000),
    ("server leaves", 100),
    ("server refuses", 100),
    ("client is refused", 100),
    ("server expires", 100),
    ("session lost", 100),
    ("no session here", 100),
    ("client is done with", 10_000),
    ("server is done with", 10_000),
    ("  cut in a record", 500),
    ("  control while blocked", 500),
];

fn simulate(seed: u64, origin: Instant) -> (Vec<Note>, Result<(), String>) {
    let world = World::new(Choices::Seed(fastrand::Rng::with_seed(seed)), origin);
    let (trace, result) = observe(world, World::run);
    (trace, result.map_err(|report| format!("seed {seed}\n{report}")))
}

/// The report of the first seed that catches the fault.
fn caught(fault: Fault) -> String {
    let origin = Instant::now();
    let caught =
        (0..SEEDS).find_map(|seed| planted::with(fault, || simulate(seed, origin)).1.err());
    caught.unwrap_or_else(|| panic!("{fault:?} was not caught"))
}

/// The fault is caught in this way, by whichever seed: it may be so in others before.
fn caught_as(fault: Fault, how: &str) {
    let origin = Instant::now();
    let mut reports =
        (0..SEEDS).filter_map(|seed| planted::with(fault, || simulate(seed, origin)).1.err());
    assert!(reports.any(|report| report.contains(how)), "{fault:?} was not caught");
}

#[test]
#[cfg_attr(miri, ignore = "it takes too many seeds")]
fn an_acknowledgement_on_receipt_is_caught() {
    let report = caught(Fault::AckOnReceipt);
    assert!(report.contains("acknowledged, but") || report.contains("overtook"), "{report}");
}

#[test]
#[cfg_attr(miri, ignore = "it takes too many seeds")]
fn an_acknowledgement_that_overtakes_is_caught() {
    for fault in [Fault::AckOvertakes, Fault::AckOvertakesHeld] {
        let report = caught(fault);
        assert!(report.contains("overtook"), "{report}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "it takes too many seeds")]
fn a_misplaced_replay_is_caught() {
    caught(Fault::ReplayEarly);
    caught(Fault::ReplayLate);
}

#[test]
#[cfg_attr(miri, ignore = "it takes too many seeds")]
fn a_counter_reset_at_resume_or_kept_at_a_restart_is_caught() {
    caught(Fault::CounterReset);
    caught(Fault::AcksSurviveRestart);
}

#[test]
#[cfg_attr(miri, ignore = "it takes too many seeds")]
fn a_stale_generation_that_is_heard_is_caught() {
    caught_as(Fault::StaleHeard, "a stale link was heard");
}

#[test]
#[cfg_attr(miri, ignore = "it takes too many seeds")]
fn a_second_session_where_one_is_wanted_is_caught() {
    let report = caught(Fault::AnotherSession);
    assert!(report.contains("which the client did not want"), "{report}");
    let report = caught(Fault::BeginsAnother);
    assert!(report.contains("which the server did not want"), "{report}");
}

#[test]
#[cfg_attr(miri, ignore = "it takes too many seeds")]
fn a_refusal_that_is_forgotten_is_caught() {
    caught_as(Fault::ForgetsRefusal, "not the refusal of that server");
}

#[test]
#[cfg_attr(miri, ignore = "it takes too many seeds")]
fn what_is_held_and_acknowledged_or_forgotten_is_caught() {
    let report = caught(Fault::AckPassesHeld);
    assert!(report.contains("acknowledged, but"), "{report}");
    caught(Fault::LateDoneCounts);
    let report = caught(Fault::HeldForgotten);
    assert!(report.contains("and is sent more"), "{report}");
}

#[test]
#[cfg_attr(miri, ignore = "it takes too many seeds")]
fn a_server_that_goes_on_after_its_last_words_is_caught() {
    caught_as(Fault::WritesOn, "behind the last");
}

#[test]
#[cfg_attr(miri, ignore = "it takes too many seeds")]
fn numbers_that_go_astray_are_caught() {
    for fault in [Fault::NumbersBeginAgain, Fault::FirstNumberStays, Fault::NumberOfAnyHello] {
        caught(fault);
    }
}

/// A client that was elsewhere while the welcome was lost.
#[test]
#[cfg_attr(miri, ignore = "it takes too many seeds")]
fn a_number_that_is_out_of_date_is_caught() {
    caught(Fault::NumberOfFirstHello);
}

#[test]
#[cfg_attr(miri, ignore = "it takes too many seeds")]
fn what_breaks_the_seam_is_caught() {
    caught_as(Fault::OneRecord, "it does not come to an end");
    caught_as(Fault::SealAgain, "missing");
    caught_as(Fault::ForgetRest, "forged");
    caught_as(Fault::ForgetControl, "no answer");
    caught_as(Fault::SealBeforeTaking, "missing");
    caught_as(Fault::CountPlain, "a wrong position");
}
