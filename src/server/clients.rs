//! The newest connection of each client, by who it is and what it calls itself: it has one
//! at a time.

use std::collections::HashMap;
use std::sync::Weak;

use crate::identity::Who;
use crate::link::Shared;
use crate::proto::numbers::ClientId;
use crate::sync::Arc;

/// Somebody else may call itself the same, and is another client.
pub(super) type Client = (Who, ClientId);

/// So few are not worth the look.
const FEW: usize = 8;

/// One whose session has ended counts for as long as its handler holds it, which may still be
/// working on what had arrived.
#[derive(Default)]
pub(super) struct Clients {
    /// With the id of the connection.
    by_id: HashMap<Client, (u64, Weak<Shared>)>,
    /// Those with which the server was done before their handlers were. They are looked at
    /// when there are twice as many as the last look has left.
    held: Vec<(Client, u64)>,
    left: usize,
}

impl Clients {
    pub(super) fn get(&self, client: &Client) -> Option<Arc<Shared>> {
        self.by_id.get(client)?.1.upgrade()
    }

    pub(super) fn insert(&mut self, client: Client, shared: &Arc<Shared>) {
        self.by_id.insert(client, (shared.id(), Arc::downgrade(shared)));
    }

    /// The server is done with a connection, and holds it no more.
    pub(super) fn forget(&mut self, client: Client, id: u64) {
        if !self.is_held(&client, id) {
            return;
        }
        self.held.push((client, id));
        if self.held.len() >= FEW.max(2 * self.left) {
            let mut held = std::mem::take(&mut self.held);
            held.retain(|(client, id)| self.is_held(client, *id));
            (self.left, self.held) = (held.len(), held);
        }
    }

    /// Whether a handler holds it. If not, or if the client has another one, it is of no
    /// interest any more.
    fn is_held(&mut self, client: &Client, id: u64) -> bool {
        let newest = self.by_id.get(client).filter(|(newest, _)| *newest == id);
        let held = newest.is_some_and(|(_, shared)| shared.strong_count() > 0);
        if newest.is_some() && !held {
            self.by_id.remove(client);
        }
        held
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::config::Builder;
    use crate::driver::DriverHandle;
    use crate::proto::plain::PlainSession;
    use crate::proto::protocol::Protocol;
    use crate::sync;

    #[test]
    fn clients_that_nothing_holds_are_forgotten() {
        let (builder, driver) = (Builder::default(), Arc::new(DriverHandle::new().unwrap()));
        let connection = |id: u64| {
            let session = PlainSession::server(builder.limits(), sync::now());
            let addr = ([127, 0, 0, 1], 1).into();
            let protocol = Protocol::Plain(session);
            Arc::new(Shared::new(builder.terms(None), protocol, addr, id, driver.clone()))
        };
        let name = |n: u64| (Who::Clear, ClientId(u128::from(n).to_ne_bytes()));
        let mut clients = Clients::default();
        // The handlers of some are slow, and of a few they never end.
        let (mut slow, mut held) = (VecDeque::new(), Vec::new());
        for n in 0..10_000 {
            let shared = connection(n);
            clients.insert(name(n), &shared);
            match n {
                _ if n % 100 == 0 => held.push(shared),
                _ if n % 5 == 0 => slow.push_back(shared),
                _ => drop(shared),
            }
            clients.forget(name(n), n);
            if slow.len() > 10 {
                slow.pop_front();
            }
            assert!(clients.by_id.len() <= FEW.max(2 * (11 + held.len())));
            assert!(clients.held.len() <= clients.by_id.len());
        }
        for held in &held {
            assert_eq!(clients.get(&name(held.id())).unwrap().id(), held.id());
        }
        assert!(clients.get(&name(1)).is_none() && clients.get(&name(9_999)).is_none());
        // Of one name, the newest counts.
        let newest = connection(10_000);
        clients.insert(name(0), &newest);
        clients.forget(name(0), 0);
        assert_eq!(clients.get(&name(0)).unwrap().id(), 10_000);
        drop(newest);
        clients.forget(name(0), 10_000);
        assert!(!clients.by_id.contains_key(&name(0)));
    }
}
