//! A peer that has proven who it is, and then seals whatever it likes, and whom it has met.

pub(super) use super::fuzzing::forger::{Forger, KEY_UPDATE, ticket};
use super::*;

impl Forger {
    /// A client that a server has let in.
    pub(super) fn client() -> (Forger, Side) {
        let mut keys = keys(ALICE, SERVER);
        of_client(&mut keys).enable_secret_extraction = true;
        let mut client = Side::client(&keys);
        let mut server = Side::server(&super::keys(SERVER, ALICE));
        converse(&mut client, &mut server);
        (Forger::take_over(client.tls), server)
    }

    /// A server that a client trusts.
    pub(super) fn server() -> (Forger, Side) {
        let mut client = Side::client(&keys(ALICE, SERVER));
        (Forger::server_of(&mut client), client)
    }

    pub(super) fn server_of(client: &mut Side) -> Forger {
        let mut keys = keys(SERVER, ALICE);
        of_server(&mut keys).enable_secret_extraction = true;
        let mut server = Side::server(&keys);
        converse(client, &mut server);
        Forger::take_over(server.tls)
    }
}
