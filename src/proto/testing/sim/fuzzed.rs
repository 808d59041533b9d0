//! The adversary of a fuzzer: its bytes say what happens next, outright.

use std::time::Instant;

use super::{Choices, World, millis, observe};

/// One run, which `bytes` decide.
pub(in crate::proto) fn run(bytes: &[u8], origin: Instant) {
    let (_, result) = observe(World::new(Choices::of(bytes), origin), World::obey);
    result.unwrap_or_else(|report| panic!("{report}"));
}

impl World {
    fn obey(&mut self) {
        while !self.rng.are_over() {
            self.now += millis(2);
            self.drivers();
            let host = self.rng.usize(..self.hosts.len());
            match self.rng.u8(..16) {
                0 | 1 => self.act(0, host),
                2 | 3 => self.act(1, host),
                4 | 5 => self.act(2, host),
                6 => self.now += millis(self.rng.u64(..256)),
                7 if self.plan.leap > 0.0 => self.now += millis(self.rng.u64(..4000)),
                8 if self.plan.cut > 0.0 => self.cut(),
                9 => self.disturb(host),
                _ => self.act(3, host),
            }
        }
        self.calm_down();
        self.check_end();
    }

    /// What happens rarely, if the plan has it at all.
    fn disturb(&mut self, host: usize) {
        match self.rng.u8(..8) {
            0 | 1 if self.plan.hop > 0.0 => self.hop(host),
            2 | 3 if self.plan.restart > 0.0 => self.restart(host),
            4 if self.plan.expire > 0.0 => self.expire(host),
            6 if self.plan.goes_away > 0.0 => self.goes_away(host),
            5 if self.plan.client_leaves > 0.0 => {
                let abort = self.rng.bool();
                self.client_leaves(abort);
            }
            6 if self.plan.client_killed > 0.0 => self.kill_client(),
            7 => self.commit_late(),
            _ => {}
        }
    }
}
