//! What happened, for whoever has to understand a failure.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;
use std::time::Instant;

use crate::watch::now;

/// So many of the last lines are kept.
const KEPT: usize = 3000;

pub(crate) struct Journal {
    begun: Instant,
    /// Each line is printed at once.
    verbose: bool,
    lines: Mutex<VecDeque<String>>,
}

impl Journal {
    pub(crate) fn new(verbose: bool) -> Journal {
        Journal { begun: now(), verbose, lines: Mutex::default() }
    }

    pub(crate) fn write(&self, what: fmt::Arguments<'_>) {
        let line = format!("{:8.3} {what}", self.begun.elapsed().as_secs_f64());
        if self.verbose {
            eprintln!("{line}");
        }
        let mut lines = self.lines.lock().unwrap();
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// Prints what was not printed before.
    pub(crate) fn tell(&self) {
        if !self.verbose {
            self.lines.lock().unwrap().iter().for_each(|line| eprintln!("{line}"));
        }
    }
}
