//! What others do with a connection: many handles, callbacks, code of theirs that runs in ours.

use std::panic::resume_unwind;
use std::thread;

use longlink::Error;

use crate::SOON;
use crate::rig::{Rig, calm};

#[test]
fn only_the_last_handles_drop_closes() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    let first = client.bare();
    let (second, third) = (first.clone(), first.clone());
    drop(first);
    second.send(b"open").unwrap();
    drop(second);
    third.send(b"still open").unwrap();
    server.takes(b"open");
    server.takes(b"still open");
    drop(third);
    server.takes_end();
}

#[test]
fn a_handle_that_a_panic_drops_aborts_whatever_clones_there_are() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    let clone = client.clone();
    let died = thread::spawn(move || {
        let _dropped = clone;
        resume_unwind(Box::new("a handler fails"));
    });
    died.join().unwrap_err();
    assert!(matches!(client.send(b"late"), Err(Error::Closed { .. })));
    assert!(matches!(server.recv_timeout(SOON), Err(Error::PeerClosed { .. })));
}

#[test]
fn a_weak_handle_neither_keeps_a_connection_open_nor_revives_it() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    let client = client.bare();
    let weak = client.downgrade();
    let upgraded = weak.upgrade().unwrap();
    drop(client);
    upgraded.send(b"open").unwrap();
    drop(upgraded);
    // It closes in the background, and goes on doing so.
    assert!(weak.upgrade().is_none());
    server.takes(b"open");
    server.takes_end();
    assert!(weak.clone().upgrade().is_none());
}
