//! What a process uses, seen from outside.

use std::fs;
use std::time::Duration;

use super::Result;

pub(crate) fn threads(process: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{process}/task"))?.count())
}

/// The processor's time that its present threads have used. The process's own account counts in
/// hundredths of a second.
pub(crate) fn cpu(process: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        // It may end meanwhile.
        let Ok(stat) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        nanoseconds += stat.split_whitespace().next().ok_or("no time")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}
