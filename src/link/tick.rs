//! Looks of the driver's at a link on which something goes on.

use std::time::Instant;

/// When the driver looks, if it does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tick {
    #[default]
    Off,
    /// It was woken, and has not come yet.
    Due,
    At(Instant),
}

impl Tick {
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Tick::At(at) => Some(at),
            Tick::Off | Tick::Due => None,
        }
    }
}
