//! What of the server is in memory, and what for.

use std::fmt;
use std::fs;

use crate::Result;

/// The size of a handler's stack in the server.
pub(crate) const STACK: usize = 256 * 1024;

/// Resident anonymous memory in KiB. What the kernel holds for a socket or a thread is not in it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    stacks: u64,
    rest: u64,
}

impl Memory {
    pub(crate) fn of(process: u32) -> Result<Memory> {
        let mut memory = Memory::default();
        let mut size = 0_usize;
        for line in fs::read_to_string(format!("/proc/{process}/smaps"))?.lines() {
            let Some((field, value)) = line.split_once(':') else { continue };
            let kib = || value.trim().trim_end_matches(" kB").parse::<u64>();
            match field {
                "Size" => size = kib()? as usize,
                "Anonymous" if size == STACK / 1024 => memory.stacks += kib()?,
                "Anonymous" => memory.rest += kib()?,
                _ => {}
            }
        }
        Ok(memory)
    }

    pub(crate) fn kib(&self) -> f64 {
        (self.stacks + self.rest) as f64
    }

    pub(crate) fn beyond(&self, empty: &Memory, links: usize) -> Share {
        let each = |all: u64, before: u64| all.saturating_sub(before) as f64 / links as f64;
        Share { stack: each(self.stacks, empty.stacks), rest: each(self.rest, empty.rest) }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} KiB resident", self.stacks + self.rest)
    }
}

/// What one link has of it, in KiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) stack: f64,
    pub(crate) rest: f64,
}

impl Share {
    pub(crate) fn kib(&self) -> f64 {
        self.stack + self.rest
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} KiB per link: ", self.kib())?;
        write!(f, "{:.1} of its thread's stack, {:.1} of the heap", self.stack, self.rest)
    }
}
