//! Behind the face that a link knows.

use std::fs;

use super::*;
use crate::secure::files::tests::Folder;
use crate::secure::halves::tests::{pair_of, talk_over};
use crate::secure::{Identity, Security, Trust};

fn securities() -> [Security; 2] {
    let folder = Folder::new();
    let [key, peers, invite] =
        ["server.key", "peers", "alice.invite"].map(|name| folder.path(name));
    let server = Identity::create(&key).unwrap();
    server.invite("alice", &peers, &invite).unwrap();
    let trust = Trust::peers_file(&peers).unwrap();
    let client = Security::invite(&invite).unwrap();
    fs::remove_file(invite).unwrap();
    [client, Security::keys(server, trust)]
}

#[test]
fn an_invite_lets_its_owner_in() {
    let [client, server] = securities();
    let [client_side, server_side] = pair_of(&client, &server);
    let alice = PeerIdentity::Named("alice".into());
    assert_eq!(server_side.channel.who().identity(), Some(alice));
    assert!(matches!(client_side.channel.who().identity(), Some(PeerIdentity::Key(_))));
}

#[test]
fn whatever_the_pieces_are_all_arrives() {
    let [client, server] = securities();
    (0..200).for_each(|seed| talk_over(&client, &server, seed));
}
