use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::config::Builder;
use crate::heartbeat::Heartbeat;
use crate::host::ToHosts;
use crate::proto::handshake::{Limits, Token};
use crate::proto::session::Session;
use crate::retry::{Budget, RetryPolicy};

/// A server's side, without a link.
fn ward(id: u64, interval: Duration, summons: &Arc<Summons>) -> Arc<Shared> {
    let limits = Limits { window: 10_000, max_message: 100 };
    let now = sync::now();
    let hello = Session::client(Token([0; 16]), limits, Some(interval), 3, now).hello();
    let session = Session::server(&hello, 1, limits, Some(interval), 3, now);
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let summons = summons.clone();
    Arc::new(Shared::new(Builder::default().terms(None), session, nowhere, id, summons))
}

/// Of two links whose times come soon after each other, the second has answered a
/// heartbeat since. Its time in the queue, before and after that of the first has come.
fn second(ahead: Option<Instant>) -> (Option<Instant>, Option<Instant>) {
    let summons = Arc::new(Summons::new().unwrap());
    let budget = Budget::new(RetryPolicy::never(), sync::now());
    let dialler = Dialler::new(Vec::new(), Duration::ZERO, Heartbeat::off(), budget);
    let mut keeper = Keeper::new(summons.clone(), Trade::Client(Box::new(dialler)));
    keeper.ahead = ahead;
    for (id, interval) in [(1, 100), (2, 280)] {
        keeper.adopt(ward(id, Duration::from_millis(interval), &summons));
        keeper.visit(id);
    }
    let before = keeper.wards[&2].deadline;
    let mut state = keeper.wards[&2].shared.lock();
    state.session.heard(far());
    state.session.sent(far());
    drop(state);
    net::poll(&mut [], keeper.deadline());
    keeper.on_time();
    (before, keeper.wards[&2].deadline)
}

fn far() -> Instant {
    sync::now() + Duration::from_secs(3600)
}

/// A client on this thread, which has to be told to do anything.
struct Client {
    keeper: Keeper,
    shared: Arc<Shared>,
}

impl Client {
    /// It has heartbeats, and waits for its second attempt, for longer than any test.
    fn new(addr: SocketAddr) -> Client {
        let heartbeat = Heartbeat::every(Duration::from_secs(3600));
        let policy = RetryPolicy::fixed(Duration::from_secs(3600), 5);
        let limits = Limits { window: 10_000, max_message: 100 };
        let now = sync::now();
        let Heartbeat { interval, misses } = heartbeat;
        let token = Token(sync::random().unwrap());
        let session = Session::client(token, limits, interval, misses, now);
        let summons = Arc::new(Summons::new().unwrap());
        let shared = Arc::new(Shared::new(
            Builder::default().terms(None),
            session,
            addr,
            0,
            summons.clone(),
        ));
        let hosts = addr.to_hosts().unwrap();
        let timeout = Duration::from_secs(20);
        let dialler = Dialler::new(hosts, timeout, heartbeat, Budget::new(policy, now));
        let mut keeper = Keeper::new(summons, Trade::Client(Box::new(dialler)));
        keeper.adopt(shared.clone());
        keeper.start();
        Client { keeper, shared }
    }

    fn turn_until(&mut self, done: impl Fn(&Client) -> bool) {
        let mut ready = Vec::new();
        while !done(self) {
            assert!(!self.waits_long(), "nothing will happen");
            self.keeper.turn(&mut ready);
        }
    }

    fn waits_long(&self) -> bool {
        let soon = sync::now() + Duration::from_secs(60);
        self.keeper.deadline().is_none_or(|at| at > soon)
    }

    /// Somebody wakes the keeper, be it the machine.
    fn wake(&mut self) {
        self.keeper.summons.waker.wake();
        self.keeper.turn(&mut Vec::new());
    }

    fn is_asking(&self) -> bool {
        self.shared.lock().session.counts_bytes()
    }
}

#[test]
fn a_link_is_checked_when_the_machine_wakes() {
    let listener = crate::Listener::bind("127.0.0.1:0").unwrap();
    let mut client = Client::new(listener.local_addr());
    client.turn_until(|client| client.shared.lock().is_up());
    client.wake();
    sync::sleep(NAP / 2);
    client.wake();
    assert!(!client.is_asking(), "nothing has happened");
    sync::sleep(Duration::from_secs(3 * 3600));
    client.wake();
    assert!(client.is_asking());
    client.turn_until(|client| client.shared.lock().session.round_trip().is_some());
    assert!(!client.is_asking());
    client.wake();
    assert!(!client.is_asking(), "once is enough");
}

#[test]
fn a_client_that_waits_tries_at_once_when_the_machine_wakes() {
    let server = Socket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut client = Client::new(server.local_addr().unwrap());
    for _ in 0..3 {
        let readable = Interest { read: true, write: false };
        net::poll(&mut [net::poll_fd(&server, readable)], sync::after(AHEAD * 80));
        drop(server.accept().expect("an attempt"));
        client.turn_until(Client::waits_long);
        sync::sleep(Duration::from_secs(3 * 3600));
        client.wake();
    }
}

#[test]
fn whose_time_has_moved_away_does_not_wake_the_keeper() {
    let begun = far();
    let (_, after) = second(None);
    assert!(after > Some(begun), "{after:?}");
}

#[test]
fn nobody_is_looked_at_ahead_of_time_all_the_time() {
    let (before, after) = second(Some(far()));
    // Unless this took so long that its time has come.
    assert!(after == before || before <= Some(sync::now()), "{before:?} {after:?}");
}
