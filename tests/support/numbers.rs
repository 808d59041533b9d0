//! Lines that are numbered, and what has become of them behind a filter.

use std::ops::RangeInclusive;

pub(crate) fn numbers(range: RangeInclusive<u32>) -> String {
    range.map(|number| format!("{number}\n")).collect()
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
