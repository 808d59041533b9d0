//! What happens to the path between a client and its server.

use std::fs;
use std::time::Duration;

use longlink::{Error, Heartbeat, RetryPolicy};

use crate::network::{self, CLIENT, CLIENT_MOVED, Path, Unknown};
use crate::process;
use crate::stage::{self, CLIENT_NOTICES, INTERVAL, SLACK, Stage, ms, now, pass};

const UP: Path = Path { up: false, ..Path::OPEN };
const DOWN: Path = Path { down: false, ..Path::OPEN };
const RESETS: Path = Path { unknown: Unknown::Reset, ..Path::OPEN };

/// An outage that is longer than the time to death, and then for long enough
/// that attempts to connect are under way when it ends.
fn long_outage(path: Path, busy: bool) {
    let Some(mut stage) = Stage::with(&["--connect-timeout", "20s"], &[]) else { return };
    if busy {
        stage.chatter();
    } else {
        // The kernels have settled what they owe each other.
        pass(ms(300));
    }
    let begun = now();
    stage.network.set(path);
    stage.both_notice(begun);
    // The kernel asks for a connection again after 1, 3, 7 seconds.
    pass(ms(3200));
    stage.network.set(Path::OPEN);
    stage.regains(now());
    stage.all_once();
}

#[test]
#[ignore = "makes networks"]
fn a_pulled_cable_idle() {
    long_outage(Path::CUT, false);
}

#[test]
#[ignore = "makes networks"]
fn a_pulled_cable_busy() {
    long_outage(Path::CUT, true);
}

#[test]
#[ignore = "makes networks"]
fn the_way_up_is_cut_idle() {
    long_outage(UP, false);
}

#[test]
#[ignore = "makes networks"]
fn the_way_up_is_cut_busy() {
    long_outage(UP, true);
}

#[test]
#[ignore = "makes networks"]
fn the_way_down_is_cut_idle() {
    long_outage(DOWN, false);
}

#[test]
#[ignore = "makes networks"]
fn the_way_down_is_cut_busy() {
    long_outage(DOWN, true);
}

/// A cable is back before anybody had to notice: the link lives on.
fn short_outage(busy: bool) {
    // Dead after 6 s, so that a busy machine does not make the outage too long.
    let Some(mut stage) = Stage::with(&["--misses", "12"], &["--misses", "12"]) else { return };
    if busy {
        stage.chatter();
    }
    stage.network.set(Path::CUT);
    pass(ms(1000));
    stage.network.set(Path::OPEN);
    stage.talk();
    assert_eq!(stage.client.err.count("lost: "), 0);
    assert_eq!(stage.server.err.count("lost: "), 0);
    stage.all_once();
}

#[test]
#[ignore = "makes networks"]
fn a_cable_pulled_for_a_moment_idle() {
    short_outage(false);
}

#[test]
#[ignore = "makes networks"]
fn a_cable_pulled_for_a_moment_busy() {
    short_outage(true);
}

/// New connections pass, the old one never again.
fn the_nat_forgot(outage: Duration, after: Path, busy: bool) {
    let Some(mut stage) = Stage::new() else { return };
    if busy {
        stage.chatter();
    }
    let begun = now();
    stage.network.set(Path::CUT);
    stage.network.forget();
    if outage > CLIENT_NOTICES {
        stage.client_notices(begun);
    }
    pass(outage.saturating_sub(begun.elapsed()));
    stage.network.set(after);
    let back = now();
    if outage <= CLIENT_NOTICES {
        stage.client_notices(begun);
    }
    stage.regains(back.max(begun + CLIENT_NOTICES));
    stage.all_once();
}

#[test]
#[ignore = "makes networks"]
fn a_nat_that_forgot_and_says_nothing_idle() {
    the_nat_forgot(Duration::ZERO, Path::OPEN, false);
}

#[test]
#[ignore = "makes networks"]
fn a_nat_that_forgot_and_says_nothing_busy() {
    the_nat_forgot(Duration::ZERO, Path::OPEN, true);
}

#[test]
#[ignore = "makes networks"]
fn a_nat_that_forgot_in_an_outage_and_says_nothing() {
    the_nat_forgot(ms(4000), Path::OPEN, true);
}

#[test]
#[ignore = "makes networks"]
fn a_nat_that_forgot_and_resets_idle() {
    the_nat_forgot(Duration::ZERO, RESETS, false);
}

#[test]
#[ignore = "makes networks"]
fn a_nat_that_forgot_and_resets_busy() {
    the_nat_forgot(Duration::ZERO, RESETS, true);
}

#[test]
#[ignore = "makes networks"]
fn ten_resets() {
    let Some(mut stage) = Stage::new() else { return };
    stage.network.set(RESETS);
    stage.chatter();
    for nth in 1..=10 {
        let begun = now();
        stage.network.forget();
        stage.client.says_nth("lost: ", nth);
        stage.regains(begun);
    }
    stage.all_once();
}

#[test]
#[ignore = "makes networks"]
fn the_client_has_another_address() {
    let Some(mut stage) = Stage::new() else { return };
    stage.chatter();
    for (from, to) in [(CLIENT, CLIENT_MOVED), (CLIENT_MOVED, CLIENT)] {
        let begun = now();
        stage.network.move_client(from, to);
        stage.regains(begun + CLIENT_NOTICES);
    }
    stage.client.says_nth("resumed, ", 2);
    stage.all_once();
}

/// Asks the other side only once it is up again.
#[test]
#[ignore = "makes networks"]
fn the_interface_goes_down_and_up() {
    for (busy, down) in [(false, ms(300)), (true, ms(300)), (false, ms(4000)), (true, ms(4000))] {
        let Some(mut stage) = Stage::new() else { return };
        if busy {
            stage.chatter();
        }
        stage.network.interface_down();
        pass(down);
        stage.network.interface_up();
        stage.regains(now());
        stage.all_once();
    }
}

#[test]
#[ignore = "makes networks"]
fn a_client_that_vanished_is_reclaimed() {
    let Some(mut stage) = Stage::with(&[], &["--resume-within", "2s"]) else { return };
    let begun = now();
    stage.network.interface_down();
    stage.client.kill();
    stage.server.says("client-1: lost: nothing heard");
    stage.server.says("client-1: reclaimed, ");
    let reclaimed = begun.elapsed();
    assert!(reclaimed <= stage::SERVER_NOTICES + ms(2000) + SLACK, "after {reclaimed:?}");
}

#[test]
#[ignore = "makes networks"]
fn a_server_that_vanished_is_given_up() {
    let args = ["--retries", "3", "--connect-timeout", "1s"];
    let Some(mut stage) = Stage::with(&args, &[]) else { return };
    // What was said is acknowledged.
    pass(ms(300));
    let begun = now();
    stage.network.server.ip("link set uplink down\n");
    stage.client.send("nobody is there\n");
    assert_eq!(stage.client.ends(), 1);
    let given_up = begun.elapsed();
    // Three timeouts, and two delays of half a second and a fifth of it.
    let most = CLIENT_NOTICES + ms(3 * 1000 + 2 * 600) + SLACK;
    assert!(given_up <= most, "given up after {given_up:?}");
    stage.client.says("gave up after 3 attempts, 1 message not acknowledged");
}

#[test]
#[ignore = "makes networks"]
fn a_connect_into_a_blackhole_ends() {
    let Some(network) = stage::network() else { return };
    network.set(Path::CUT);
    let begun = now();
    let args = ["--connect-timeout", "700ms", "--retries", "2", "--retry-delay", "100ms"];
    let args = [&[network::SERVER], &args[..]].concat();
    let mut client = network.call(&args);
    assert_eq!(client.ends(), 1);
    let ended = begun.elapsed();
    assert!((ms(1400)..ms(1520) + SLACK).contains(&ended), "ended after {ended:?}");
    client.says("no answer within 700ms");
}

/// The library, on threads that are on this network.
#[test]
#[ignore = "makes networks"]
fn a_bounded_close_is_prompt_while_it_connects_into_a_blackhole() {
    let Some(network) = stage::network() else { return };
    let [of_server, of_client] = network.builders();
    let listener = network.server.inside(|| of_server.bind((network::SERVER, 0)).unwrap());
    let builder = of_client
        .heartbeat(Heartbeat::every(INTERVAL).misses(2))
        .retry(RetryPolicy::default().unlimited())
        .connect_timeout(Duration::from_secs(60));
    let connection = network.client.inside(|| builder.connect(listener.local_addr()).unwrap());
    let server = listener.accept().unwrap();
    connection.send(b"warm").unwrap();
    assert_eq!(server.recv().unwrap().as_deref(), Some(&b"warm"[..]));
    network.set(Path::CUT);
    let begun = now();
    while connection.is_connected() {
        assert!(begun.elapsed() <= CLIENT_NOTICES + SLACK, "the cut is not noticed");
        pass(ms(5));
    }
    connection.send(b"on its way").unwrap();
    let begun = now();
    let closed = connection.close_within(ms(300));
    let took = begun.elapsed();
    assert!(matches!(closed, Err(Error::Closed { unacknowledged: 1.., .. })), "{closed:?}");
    assert!((ms(300)..ms(300) + SLACK).contains(&took), "closed after {took:?}");
}

/// However much is offered while nobody takes it.
#[test]
#[ignore = "makes networks"]
fn memory_is_bounded_in_a_long_outage() {
    const OFFERED: usize = 64 << 20;
    let Some(mut stage) = Stage::new() else { return };
    let peak = |process: &process::Process| -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<usize>().unwrap() * 1024
    };
    let before = [peak(&stage.client), peak(&stage.server)];
    let begun = now();
    stage.network.set(Path::CUT);
    let long = format!("{}\n", "x".repeat(999));
    stage.client.send_all(vec![long.clone(); OFFERED / long.len()]);
    stage.both_notice(begun);
    pass(ms(6000));
    let after = [peak(&stage.client), peak(&stage.server)];
    eprintln!("{before:?} before, {after:?} after");
    for (after, before) in after.into_iter().zip(before) {
        // A window of messages each way, buffers, and lines that were read ahead.
        assert!(after - before < 8 << 20, "{before} grew to {after}");
    }
    stage.network.set(Path::OPEN);
    assert_eq!(stage.client.ends(), 0);
    let count = stage.client.out.text().lines().filter(|line| line.len() == 999).count();
    assert_eq!(count, OFFERED / long.len());
}
