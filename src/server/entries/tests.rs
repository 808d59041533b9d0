use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::config::Builder;
use crate::driver::DriverHandle;
use crate::net;
use crate::proto::frame::{Decoder, Frame};
use crate::proto::handshake::Limits;
use crate::proto::heartbeat::Heartbeat;
use crate::proto::protocol::Protocol;
use crate::proto::session::Session;
use crate::sync;

/// A server's side, without a link.
pub(super) fn entry(id: u64, interval: Duration, driver: &Arc<DriverHandle>) -> Arc<Shared> {
    let limits = Limits { window: 10_000, max_message: 100 };
    let (heartbeat, now) = (Heartbeat::every(interval), sync::now());
    let hello = Session::client(limits, heartbeat, now).next_hello();
    let protocol = Protocol::Framed(Session::server(&hello, 1, limits, heartbeat, now));
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let (terms, driver) = (Builder::default().terms(None), driver.clone());
    Arc::new(Shared::new(terms, protocol, nowhere, id, driver))
}

/// Of two links whose times come soon after each other, the second has answered a
/// heartbeat since. Its time in the queue, before and after that of the first has come.
fn second(ahead: Option<Instant>) -> (Option<Instant>, Option<Instant>) {
    let driver = Arc::new(DriverHandle::new().unwrap());
    let mut entries = Entries { ahead, ..Entries::default() };
    for (id, interval) in [(1, 100), (2, 280)] {
        entries.insert(entry(id, Duration::from_millis(interval), &driver));
        assert!(entries.tend(id).is_none());
    }
    let before = entries.by_id[&2].due;
    let mut state = entries.by_id[&2].shared.lock();
    let mut decoder = Decoder::default();
    decoder.push(&Frame::Pong(0).to_bytes());
    state.protocol.hear(1, &mut decoder, far()).unwrap();
    state.protocol.sent(far());
    drop(state);
    net::poll(&mut [], entries.deadline());
    for id in entries.due(sync::now()) {
        assert!(entries.tend(id).is_none());
    }
    (before, entries.by_id[&2].due)
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

type Order = BTreeSet<(Rank, u64)>;

fn times() -> impl Fn(u64) -> Instant {
    let origin = sync::now();
    move |second| origin + Duration::from_secs(second)
}

fn ids(order: &Order) -> Vec<u64> {
    order.iter().map(|(_, id)| *id).collect()
}

#[test]
fn those_that_said_nothing_make_room_first_and_the_longest_lost_among_equals() {
    let at = times();
    let mut order = Order::new();
    for (id, second, has_received) in
        [(1, 0, true), (2, 9, false), (3, 5, false), (4, 7, true), (5, 5, false)]
    {
        place(&mut order, id, &mut None, Some((has_received, at(second))));
    }
    assert_eq!(ids(&order), [3, 5, 2, 1, 4]);
}

#[test]
fn one_that_was_back_meanwhile_counts_from_its_last_loss() {
    let at = times();
    let (mut order, mut ranks) = (Order::new(), [None; 4]);
    let mut set = |id: u64, rank| place(&mut order, id, &mut ranks[id as usize], rank);
    (1..=3).for_each(|id| set(id, Some((false, at(id)))));
    set(1, None);
    set(0, None);
    // What was not noticed in between: it came back, spoke, and is lost again.
    set(2, Some((true, at(9))));
    set(1, Some((false, at(8))));
    set(1, Some((false, at(8))));
    assert_eq!(ids(&order), [3, 1, 2]);
}
