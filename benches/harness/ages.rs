//! How old messages are when they are received: the first bytes of each say when it was sent, by
//! the clock that all processes of a machine share.

use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};

use super::ends::How;

/// What is sent while ages are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// As fast as it goes.
    Full(How),
    /// Plain sends, so many at once, in every such time.
    Paced(u32, Duration),
}

impl Load {
    pub(crate) const SENDS: Load = Load::Full(How::Each);
    pub(crate) const BATCHES: Load = Load::Full(How::Batches);
    pub(crate) const STEADY: Load = Load::Paced(1, Duration::from_micros(50));
    pub(crate) const BURSTS: Load = Load::Paced(10, Duration::from_millis(1));

    pub(crate) fn how(self) -> How {
        match self {
            Load::Full(how) => how,
            Load::Paced(..) => How::Each,
        }
    }
}

/// What a stream is made of.
pub(crate) enum Messages {
    /// The same message again and again.
    Same(Bytes),
    /// Each says when it was sent.
    Stamped { message: Bytes, load: Load, sent: u32, begun: Duration },
}

impl Messages {
    pub(crate) fn stamped(load: Load, message: Bytes) -> Messages {
        let_sleeps_be_short();
        Messages::Stamped { message, load, sent: 0, begun: now() }
    }

    /// Waits until it is due.
    pub(crate) fn next(&mut self) -> &Bytes {
        match self {
            Messages::Same(message) => message,
            Messages::Stamped { message, load, sent, begun } => {
                if let Load::Paced(burst, every) = *load {
                    wait_until(*begun + every * (*sent / burst));
                }
                *sent += 1;
                let mut stamped = message.to_vec();
                stamped[..STAMP].copy_from_slice(&nanoseconds(now()).to_be_bytes());
                *message = stamped.into();
                message
            }
        }
    }

    /// Where there is no way to stamp them.
    pub(crate) fn same(&self) -> Option<&Bytes> {
        match self {
            Messages::Same(message) => Some(message),
            Messages::Stamped { .. } => None,
        }
    }
}

/// The ages of what was received, where they are wanted.
pub(crate) struct Ages(Option<Vec<u64>>);

impl Ages {
    pub(crate) fn unwanted() -> Ages {
        Ages(None)
    }

    pub(crate) fn wanted() -> Ages {
        Ages(Some(Vec::new()))
    }

    pub(crate) fn are_wanted(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn note(&mut self, message: &[u8]) {
        if let (Some(ages), Some(stamp)) = (&mut self.0, message.first_chunk::<STAMP>()) {
            ages.push(nanoseconds(now()).saturating_sub(u64::from_be_bytes(*stamp)));
        }
    }

    /// The median and the 99th percentile, in seconds.
    pub(crate) fn percentiles(self) -> Option<[f64; 2]> {
        let mut ages = self.0.filter(|ages| !ages.is_empty())?;
        ages.sort_unstable();
        Some([50, 99].map(|percent| ages[ages.len() * percent / 100] as f64 * 1e-9))
    }
}

const STAMP: usize = size_of::<u64>();

/// `Instant` has no value that could be sent.
fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}

fn wait_until(due: Duration) {
    while let Some(left) = due.checked_sub(now()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

/// Else the kernel adds up to 50 µs to a sleep, which is as long as this one.
fn let_sleeps_be_short() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}
