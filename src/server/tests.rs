use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::proto::frame::{Decoder, Frame};
use crate::proto::handshake::{Limits, Token};
use crate::proto::session::Session;

/// A server's side, without a link.
fn entry(id: u64, interval: Duration, driver: &Arc<DriverHandle>) -> Arc<Shared> {
    let limits = Limits { window: 10_000, max_message: 100 };
    let now = sync::now();
    let hello = Session::client(Token([0; 16]), limits, Some(interval), 3, now).hello();
    let session = Session::server(&hello, 1, limits, Some(interval), 3, now);
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let driver = driver.clone();
    Arc::new(Shared::new(Builder::default().terms(None), session, nowhere, id, driver))
}

/// Of two links whose times come soon after each other, the second has answered a
/// heartbeat since. Its time in the queue, before and after that of the first has come.
fn second(ahead: Option<Instant>) -> (Option<Instant>, Option<Instant>) {
    let driver = Arc::new(DriverHandle::new().unwrap());
    let socket = Socket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let queue = Arc::new(AcceptQueue::new());
    let mut server = Server::new(Builder::default(), socket, queue, driver.clone());
    server.ahead = ahead;
    for (id, interval) in [(1, 100), (2, 280)] {
        server.adopt(entry(id, Duration::from_millis(interval), &driver));
    }
    let before = server.entries[&2].deadline;
    let mut state = server.entries[&2].shared.lock();
    let mut decoder = Decoder::new();
    decoder.push(&Frame::Pong(0).to_bytes());
    state.protocol.hear(1, &mut decoder, far()).unwrap();
    state.protocol.sent(far());
    drop(state);
    crate::net::poll(&mut [], server.deadline());
    server.on_time();
    (before, server.entries[&2].deadline)
}

fn far() -> Instant {
    sync::now() + Duration::from_secs(3600)
}

#[test]
fn a_connection_whose_time_has_moved_away_does_not_wake_the_server() {
    let begun = far();
    let (_, after) = second(None);
    assert!(after > Some(begun), "{after:?}");
}

#[test]
fn no_connection_is_looked_at_ahead_of_time_all_the_time() {
    let (before, after) = second(Some(far()));
    // Unless this took so long that its time has come.
    assert!(after == before || before <= Some(sync::now()), "{before:?} {after:?}");
}
