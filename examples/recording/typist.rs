//! Somebody's fingers.

use std::thread;
use std::time::Duration;

#[derive(Clone)]
pub(crate) struct Typist {
    random: fastrand::Rng,
    /// How many times as fast as a human.
    speed: u32,
}

impl Typist {
    pub(crate) fn new(speed: u32) -> Typist {
        Typist { random: fastrand::Rng::with_seed(7), speed }
    }

    pub(crate) fn rest_before(&mut self, key: u8) {
        let millis = match key {
            b'\r' => self.random.u64(250..350),
            b' ' => self.random.u64(90..160),
            _ => self.random.u64(45..110),
        };
        self.pause(Duration::from_millis(millis));
    }

    /// For reading, or for thought.
    #[expect(clippy::disallowed_methods, reason = "humans are slow")]
    pub(crate) fn pause(&self, time: Duration) {
        thread::sleep(time / self.speed);
    }
}
