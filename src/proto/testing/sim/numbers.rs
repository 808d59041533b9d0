//! What outlives processes: the client's store, and the database of the servers, which all
//! of them share. Whoever is killed, each message is booked there once, and in order.

use bytes::Bytes;

use super::ends::{Client, Server};
use super::link::{Link, Side};
use super::{World, millis};
use crate::proto::handshake::{Name, Token};
use crate::proto::inbox::Received;
use crate::proto::numbers::Numbers;

/// A message that a handler was handed: a number, and what it says.
pub(super) type Numbered = (u64, Bytes);

impl World {
    /// The process of the client is killed, and started again. It has stored what it sent,
    /// and what it knows to be acknowledged, perhaps a while ago.
    pub(super) fn kill_client(&mut self) {
        let Some(Numbers { client, .. }) = self.model.numbers.filter(|_| !self.is_client_over())
        else {
            return;
        };
        let kept = self.model.acked - self.rng.u64(..4).min(self.model.acked);
        self.note("CLIENT KILLED", self.model.acked, kept);
        let told = self.now + millis(self.rng.u64(..300));
        for Link { client, server, up, down, .. } in &mut self.links {
            if client.open || server.open {
                client.open = false;
                down.cut(0);
                up.cut(self.rng.usize(..=up.len()));
                up.eof.get_or_insert(told);
            }
        }
        let first = self.model.first() + kept;
        let session = self.plan.client(self.origin).numbered(Numbers { client, first });
        let session = session.greeting_with(self.model.greeting.clone());
        let names = (0..self.hosts.len()).map(|_| Name::new(self.new_token())).collect();
        self.hosts.iter_mut().for_each(|host| host.last_hello = None);
        self.client = Client::new(session, names, told);
        self.model.client_starts_again(kept);
    }

    /// One that was not drawn before, although a fuzzer's bytes may repeat.
    fn new_token(&mut self) -> Token {
        let Token(drawn) = self.rng.token();
        let mut number = u128::from_ne_bytes(drawn);
        while self.tokens.contains(&Token(number.to_ne_bytes())) {
            number = number.wrapping_add(1);
        }
        let token = Token(number.to_ne_bytes());
        self.tokens.push(token);
        token
    }

    pub(super) fn is_client_over(&self) -> bool {
        self.left || self.client.is_over()
    }

    /// The application commits what it was handed last.
    pub(super) fn commit(&mut self, server: &mut Server) {
        if let Some(message) = server.pending.take() {
            self.book(message);
        }
    }

    /// A handler that was left behind is in the middle of it.
    pub(super) fn commit_late(&mut self) {
        if self.late.is_empty() {
            return;
        }
        let index = self.rng.usize(..self.late.len());
        let message = self.late.swap_remove(index);
        self.note("books late", message.0, 0);
        self.book(message);
    }

    fn book(&mut self, (number, message): Numbered) {
        let booked = self.model.book(number, &message);
        self.note(if booked { "books" } else { "skips" }, number, 0);
    }

    /// The client has begun another session, whatever this one's handler is doing.
    pub(super) fn replace(&mut self, host: usize) {
        let Some(server) = self.hosts[host].server.as_mut().filter(|server| !server.ended) else {
            return;
        };
        // An application that has left does not ask for the end: the session took it.
        let saw_end = server.at_end || !server.is_orderly();
        server.session.leave_to_another();
        let next = server.session.take(self.now);
        assert!(next.is_none_or(|next| next == Received::End && saw_end), "goes on");
        self.late.extend(server.pending.take());
        let (life, link) = (server.life as u64, server.link);
        self.note("  replaced", host as u64, life);
        if let Some(link) = link {
            self.hang_up(link, Side::Server);
        }
        self.bury(host);
    }
}
