//! When a connection's driver looks after it, and what becomes of it without one.

use std::io;

use super::care::TICK;
use super::tick::Tick;
use super::{Shared, State};
use crate::error::Cause;
use crate::proto::close::CloseCode;
use crate::sync::Arc;

impl State {
    /// From now on the driver looks once a tick.
    pub(super) fn start_ticking(&mut self) {
        if let Some(link) = self.link.as_mut().filter(|link| link.tick == Tick::Off) {
            link.tick = Tick::Due;
            self.driver_due = true;
        }
    }

    /// The driver is to look at a close. It is not woken if it comes for a tick anyway, and
    /// that is early enough: so what is answered in less wakes it once, when it is over.
    pub(super) fn look_soon(&mut self) {
        let ticks = self.link.as_ref().is_some_and(|link| link.tick != Tick::Off);
        self.driver_due |= !ticks || self.terms.close_timeout < 8 * TICK;
    }
}

impl Shared {
    /// The driver has died, or could not be started. The peer is told, if its link takes that
    /// at once: else a server would wait for a client that does not come back.
    pub(crate) fn lose_driver(&self) {
        let mut state = self.lock();
        let cause = Cause::Io(Arc::new(io::Error::other("the heartbeat thread panicked")));
        state.give_up(0, cause.clone());
        state.protocol.close(CloseCode::Aborted);
        state.settle_within();
        state.lose(cause);
        state.settle();
    }
}
