//! The applications: what they send, how they take, and when they leave.

use std::time::Duration;

use bytes::Bytes;

use super::World;
use super::ends::{InHand, Phase, Server};
use crate::proto::close::{CloseCode, Refusal};
use crate::proto::closing::Closing;
use crate::proto::inbox::Received;
use crate::proto::report::Payload::{Owned, Slice};
use crate::proto::session::Session;

const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

impl World {
    pub(super) fn client_feeds(&mut self) {
        let session = &self.client.session;
        if session.status().finished
            || session.status().closing
            || self.client.phase == Phase::Ended
        {
            return;
        }
        if let Some((number, message)) = self.model.stored() {
            let status = session.status();
            if status.room > 0 && message.len() <= status.max_message {
                self.model.client_feeds_stored();
                self.client.session.feed(&Owned(message));
                let given = self.client.session.status().totals.sent_number();
                assert_eq!(given, number, "a stored message has another number");
            }
        } else if self.model.said.len() == self.plan.messages || self.model.said.finished {
            if self.calm || self.chance(0.2) {
                self.note("client finishes", 0, 0);
                self.model.said.finished = true;
                self.client.session.finish();
            }
        } else if session.status().room > 0 {
            let len = self.draw_len(session.status().max_message);
            let message = self.model.client_feeds(len);
            match self.rng.bool() {
                true => self.client.session.feed(&Slice(&message)),
                false => self.client.session.feed(&Owned(message)),
            }
            let number = self.client.session.status().totals.sent_number();
            assert_eq!(number + 1, self.model.first() + self.model.said.len(), "its number");
            self.note("client feeds", number, len as u64);
        }
    }

    /// As an application does in `recv`: done with the last, it asks for the next.
    pub(super) fn client_takes(&mut self) -> Option<Received> {
        if self.left {
            return None;
        }
        // Of several threads, one may have come back before this was handed out.
        if self.calm || self.chance(0.9) {
            self.client.session.consume(self.now);
            self.model.client_consumes();
        }
        let item = self.client.session.take(self.now);
        self.model.client_takes(item.as_ref());
        if let Some(Received::Message(message)) = &item {
            let holds = self.chance(self.plan.holds);
            self.note("client takes", u64::from(holds), 0);
            if holds {
                let len = message.len();
                let (number, which) = (self.client.session.hold(len), self.model.client_holds(len));
                self.client.hands.push(InHand { number, which, len });
            }
        }
        item
    }

    /// Its pool is done with something, of what it holds.
    pub(super) fn client_works(&mut self) {
        if self.client.hands.is_empty() {
            return;
        }
        let any = self.rng.usize(..self.client.hands.len());
        let InHand { number, which, len } = self.client.hands.swap_remove(any);
        self.note("client is done with", number, 0);
        self.model.client_is_done_with(which, len);
        self.client.session.done_with(number, self.now);
    }

    pub(super) fn client_leaves(&mut self, abort: bool) {
        if self.is_client_over() || self.model.stored().is_some() {
            return;
        }
        self.note("client leaves", u64::from(abort), 0);
        // Dropped, it says nothing of what it was handed.
        let done = self.rng.bool();
        (self.left, self.model.said.finished) = (true, true);
        self.model.client_leaves(done);
        self.client.session.detach(done, self.now);
        if !abort {
            self.client.closing = Some(Closing::new(CLOSE_TIMEOUT, self.now));
            return;
        }
        self.model.impatient = true;
        self.client.session.close(CloseCode::Aborted);
        if self.rng.bool() {
            self.check_client_leftovers();
        }
    }

    /// The handler of a server: takes, feeds replies, takes again.
    pub(super) fn server_handles(&mut self, host: usize) {
        let Some(mut server) = self.hosts[host].server.take() else { return };
        if self.calm || self.chance(self.plan.works) {
            self.server_works(&mut server);
        }
        if !server.ended {
            self.handle(host, &mut server);
        }
        self.hosts[host].server = Some(server);
    }

    fn server_works(&mut self, server: &mut Server) {
        if server.hands.is_empty() {
            return;
        }
        // What it is done with, the database has.
        self.commit(server);
        let any = self.rng.usize(..server.hands.len());
        let InHand { number, which, len } = server.hands.swap_remove(any);
        self.note("server is done with", server.life as u64, number);
        // What is done after the end counts no more.
        if !server.ended && !server.leaving {
            self.model.server_is_done_with(server.life, which, len);
        }
        server.session.done_with(number, self.now);
    }

    fn handle(&mut self, host: usize, server: &mut Server) {
        let mute = server.session.status().finished || server.session.status().closing;
        if server.closing.is_some() {
            return;
        }
        if server.leaving {
            // What it takes now cannot be answered any more.
            server.at_end |= self.server_takes(server) == Some(Received::End);
            return;
        }
        if !mute && !self.calm && self.chance(self.plan.speaks) {
            self.server_feeds(host, server);
        }
        if server.replies > 0 && !mute {
            if self.server_feeds(host, server) {
                server.replies -= 1;
            }
            return;
        }
        if self.chance(self.plan.server_finishes) && !mute && !self.calm {
            return self.server_finishes(host, server);
        }
        if self.chance(self.plan.server_leaves) && !mute && !self.calm {
            self.note("server leaves", host as u64, 0);
            let (done, how) = (self.rng.bool(), self.rng.u8(..4));
            if how == 3 {
                return self.server_refuses(server);
            }
            if done || self.rng.bool() {
                self.commit(server);
            }
            if done {
                self.model.server_consumes(server.life);
            }
            self.model.server_leaves(server.life);
            server.session.detach(done, self.now);
            server.closing = Some(Closing::new(CLOSE_TIMEOUT, self.now));
            if how == 1 {
                server.session.close(CloseCode::Aborted);
                self.check_server_leftovers(server);
            }
            return;
        }
        match self.server_takes(server) {
            Some(Received::Message(message)) => {
                if self.chance(self.plan.holds) {
                    let len = message.len();
                    let number = server.session.hold(len);
                    let which = self.model.server_holds(server.life, len);
                    server.hands.push(InHand { number, which, len });
                }
                if self.rng.bool() {
                    // Before it replies, and perhaps is killed.
                    self.commit(server);
                }
                server.replies = self.rng.usize(self.plan.replies.clone())
            }
            Some(Received::End) if !server.at_end => {
                server.at_end = true;
                self.server_finishes(host, server);
            }
            Some(Received::End) | None => {}
        }
    }

    /// It says nothing of what it was handed, and may take more of what has arrived.
    pub(super) fn server_refuses(&mut self, server: &mut Server) {
        let code = server.life as u32 + 1;
        self.note("server refuses", code.into(), 0);
        self.model.server_refuses(server.life, code);
        server.session.close(CloseCode::Refused(Refusal::new(code, "no")));
        self.check_server_leftovers(server);
    }

    /// What was not acknowledged is given back, once, and has the numbers that follow.
    pub(super) fn check_server_leftovers(&mut self, server: &mut Server) {
        if let Some(leftovers) = taken_once(&mut server.session, &mut server.took) {
            self.model.check_server_leftovers(server.life, &leftovers);
        }
    }

    pub(super) fn check_client_leftovers(&mut self) {
        if let Some(leftovers) = taken_once(&mut self.client.session, &mut self.client.took) {
            self.model.check_client_leftovers(&leftovers);
        }
    }

    pub(super) fn server_takes(&mut self, server: &mut Server) -> Option<Received> {
        self.model.server_is_greeted(&server.session);
        // First the database has it, then it is acknowledged.
        self.commit(server);
        if self.calm || self.chance(0.9) {
            server.session.consume(self.now);
            if !server.leaving {
                self.model.server_consumes(server.life);
            }
        }
        let item = server.session.take(self.now);
        self.model.server_takes(server.life, item.as_ref());
        if let Some(Received::Message(message)) = &item {
            let number = server.session.status().totals.received_number();
            self.model.check_number(server.life, number);
            server.pending = Some((number, message.clone()));
        }
        if item.is_some() && !server.at_end {
            self.note("server takes", server.life as u64, 0);
        }
        item
    }

    fn server_feeds(&mut self, host: usize, server: &mut Server) -> bool {
        if server.session.status().room == 0 {
            return false;
        }
        let len = self.draw_len(server.session.status().max_message);
        let message = self.model.server_feeds(server.life, len);
        match self.rng.bool() {
            true => server.session.feed(&Slice(&message)),
            false => server.session.feed(&Owned(message)),
        }
        self.note("server feeds", host as u64, len as u64);
        true
    }

    fn server_finishes(&mut self, host: usize, server: &mut Server) {
        if !server.session.status().finished {
            self.note("server finishes", host as u64, 0);
            self.model.lives[server.life].said.finished = true;
            server.session.finish();
        }
    }
}

/// What is not acknowledged, at first. `took` is the number before.
fn taken_once(session: &mut Session, took: &mut Option<u64>) -> Option<Vec<Bytes>> {
    let leftovers = session.take_unacknowledged();
    let number = session.status().acknowledged_number();
    if let Some(took) = *took {
        assert!(leftovers.is_empty(), "given back twice");
        assert_eq!(number, took, "acknowledged after it was given back");
        return None;
    }
    *took = Some(number);
    Some(leftovers)
}
