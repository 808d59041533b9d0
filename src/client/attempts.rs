//! Between two attempts: when the next one is made, if there is one.

use super::{Client, Over, random};
use crate::error::Cause;
use crate::event::Event;
use crate::retry::Attempt;
use crate::sync;

impl Client {
    /// Waits for the time of the next attempt, or gives up if there is none.
    pub(super) fn pause(&mut self, cause: Cause) -> Result<(), Over> {
        let now = sync::now();
        let (closed, away) = (self.route.closed(now), self.budget.away(now));
        let Some(Attempt { number, of, after }) = self.budget.next(now, random(), closed) else {
            return Err(self.give_up(cause));
        };
        self.report(Event::Retrying { attempt: number, of, after });
        // A server that goes away is only expected then; one that rejects wants it so.
        let opens = if away.is_zero() { sync::add(now, closed) } else { now };
        let until = sync::later(after);
        while sync::now() < until {
            // What made the last attempt fail may have passed.
            let hurry = std::mem::take(&mut self.checkup.hurry) && sync::now() >= opens;
            if hurry && self.budget.hurry(sync::now()) {
                break;
            }
            self.wait(Some(until), &[])?;
        }
        Ok(())
    }

    pub(super) fn give_up(&mut self, cause: Cause) -> Over {
        let mut state = self.shared.lock();
        match self.route.ended() {
            Some(word) => state.lose_session(self.budget.made(), word.clone()),
            None => state.give_up(self.budget.made(), cause),
        }
        state.settle();
        while self.wait(None, &[]).is_ok() {}
        Over
    }
}
