//! The clock, and the calls that take too long.

use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "a soak takes its time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a soak takes its time")]
pub(crate) fn rest(time: Duration) {
    thread::sleep(time);
}

/// What a call may take beyond its bound, on a machine that does much else, in a process that is
/// stopped now and then.
const ALLOWANCE: Duration = Duration::from_secs(10);

/// Knows what every thread is doing.
#[derive(Default)]
pub(crate) struct Watch {
    seats: Mutex<Vec<Weak<Seat>>>,
}

/// The place of one thread.
pub(crate) struct Seat {
    /// The conversation.
    id: u64,
    call: Mutex<Option<Call>>,
}

#[derive(Clone, Copy)]
struct Call {
    name: &'static str,
    begun: Instant,
    bound: Duration,
    reported: bool,
}

impl Watch {
    pub(crate) fn seat(&self, id: u64) -> Arc<Seat> {
        let seat = Arc::new(Seat { id, call: Mutex::default() });
        self.seats.lock().unwrap().push(Arc::downgrade(&seat));
        seat
    }

    /// The calls that should have returned long ago; each of them once.
    pub(crate) fn overdue(&self) -> Vec<(u64, String)> {
        let late = |call: &Call| !call.reported && call.begun.elapsed() > call.bound + ALLOWANCE;
        self.tell(late)
    }

    /// What everybody is doing.
    pub(crate) fn all(&self) -> Vec<(u64, String)> {
        self.tell(|_| true)
    }

    fn tell(&self, which: impl Fn(&Call) -> bool) -> Vec<(u64, String)> {
        let mut told = Vec::new();
        self.seats.lock().unwrap().retain(|seat| {
            let Some(seat) = seat.upgrade() else { return false };
            if let Some(call) = seat.call.lock().unwrap().as_mut().filter(|call| which(call)) {
                call.reported = true;
                let Call { name, begun, bound, .. } = call;
                let time = begun.elapsed();
                told.push((seat.id, format!("in {name} for {time:.1?}, bound {bound:?}")));
            }
            true
        });
        told
    }
}

impl Seat {
    /// Makes a call that is to return within `bound`.
    pub(crate) fn call<T>(
        &self,
        name: &'static str,
        bound: Duration,
        body: impl FnOnce() -> T,
    ) -> T {
        let call = Call { name, begun: now(), bound, reported: false };
        *self.call.lock().unwrap() = Some(call);
        let result = body();
        *self.call.lock().unwrap() = None;
        result
    }
}
