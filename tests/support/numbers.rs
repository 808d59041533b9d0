//! Lines that are numbered, and what has become of them behind a filter.

use std::ops::RangeInclusive;
use std::sync::mpsc;
use std::time::Duration;

use crate::process::Process;
use crate::proxy::{How, Proxy};

/// How long a cut may wait for what comes at once.
const SOON: Duration = Duration::from_secs(20);

pub(crate) fn numbers(range: RangeInclusive<u32>) -> String {
    range.map(|number| format!("{number}\n")).collect()
}

/// Sends lines up to `last` through a client, whose link is cut so often meanwhile, by turns in
/// order and by a reset. What it prints is what it was sent.
#[track_caller]
pub(crate) fn cuts_leave_no_trace(client: &mut Process, proxy: &Proxy, last: u32, cuts: usize) {
    let input = numbers(1..=last);
    // The last tenth comes when all is cut: none comes too late for a fast stream.
    let (before, after) = input.split_at(input.len() / 10 * 9);
    let (parts, to_come) = mpsc::channel();
    client.send_all(to_come);
    parts.send(before.to_string()).unwrap();
    let piece = input.len() / (cuts + 5);
    for cut in 1..=cuts {
        let passed = proxy.wait_for(|stats| stats.down > (cut * piece) as u64, SOON);
        assert!(passed, "stuck at {:?}", proxy.stats());
        let how = if cut % 2 == 0 { How::Fin } else { How::Rst };
        assert_eq!(proxy.cut(how), 1);
        client.says_nth("resumed, ", cut);
    }
    parts.send(after.to_string()).unwrap();
    drop(parts);
    assert_eq!(client.ends(), 0);
    assert!(client.out.text() == input, "the output is not the input");
    assert_eq!((client.err.count("lost: "), client.err.count("resumed, ")), (cuts, cuts));
}

/// What was sent is all there, in order of its first occurrence. Returns the
/// number of repeats.
#[track_caller]
pub(crate) fn at_least_once(printed: &str, last: u32) -> usize {
    let mut next = 1;
    let mut repeats = 0;
    for line in printed.lines() {
        let number: u32 = line.parse().unwrap();
        assert!(number <= next, "{next} is missing before {number}");
        repeats += usize::from(number < next);
        next = next.max(number + 1);
    }
    assert_eq!(next, last + 1, "the end is missing");
    repeats
}
