use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::config::Builder;
use crate::heartbeat::Heartbeat;
use crate::host::ToHosts;
use crate::proto::handshake::{Limits, Token};
use crate::proto::session::Session;
use crate::retry::{Budget, RetryPolicy};

/// A client on this thread, which has to be told to do anything. It has heartbeats, and
/// waits for its second attempt, for longer than any test.
fn client(addr: SocketAddr) -> Client {
    let heartbeat = Heartbeat::every(Duration::from_secs(3600));
    let policy = RetryPolicy::fixed(Duration::from_secs(3600), 5);
    let limits = Limits { window: 10_000, max_message: 100 };
    let now = sync::now();
    let Heartbeat { interval, misses } = heartbeat;
    let token = Token(sync::random().unwrap());
    let session = Session::client(token, limits, interval, misses, now);
    let driver = Arc::new(DriverHandle::new().unwrap());
    let terms = Builder::default().terms(None);
    let shared = Arc::new(Shared::new(terms, session, addr, 0, driver.clone()));
    let timeout = Duration::from_secs(20);
    let budget = Budget::new(policy, now);
    let dialler = Dialler::new(addr.to_hosts().unwrap(), timeout, heartbeat, budget);
    let mut client = Client::new(shared, driver, dialler);
    client.start();
    client
}

fn turn_until(client: &mut Client, done: impl Fn(&Client) -> bool) {
    while !done(client) {
        assert!(!waits_long(client), "nothing will happen");
        client.turn();
    }
}

fn waits_long(client: &Client) -> bool {
    let soon = sync::now() + Duration::from_secs(60);
    client.next().is_none_or(|at| at > soon)
}

/// The thread is woken, be it by the machine.
fn wake(client: &mut Client) {
    client.driver.wake();
    client.turn();
}

fn is_asking(client: &Client) -> bool {
    client.shared.lock().protocol.counts_bytes()
}

#[test]
fn a_link_is_checked_when_the_machine_wakes() {
    let listener = crate::Listener::bind("127.0.0.1:0").unwrap();
    let mut client = client(listener.local_addr());
    turn_until(&mut client, |client| client.shared.lock().is_up());
    wake(&mut client);
    assert!(!is_asking(&client), "nothing has happened");
    sync::sleep(Duration::from_secs(3 * 3600));
    wake(&mut client);
    assert!(is_asking(&client));
    turn_until(&mut client, |client| client.shared.lock().protocol.round_trip().is_some());
    assert!(!is_asking(&client));
    wake(&mut client);
    assert!(!is_asking(&client), "once is enough");
}

#[test]
fn a_client_that_waits_tries_at_once_when_the_machine_wakes() {
    let server = Socket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut client = client(server.local_addr().unwrap());
    for _ in 0..3 {
        let readable = Interest { read: true, write: false };
        let deadline = sync::after(Duration::from_secs(20));
        net::poll(&mut [net::poll_fd(&server, readable)], deadline);
        drop(server.accept().expect("an attempt"));
        turn_until(&mut client, waits_long);
        sync::sleep(Duration::from_secs(3 * 3600));
        wake(&mut client);
    }
}

/// A call is pending before it is signalled, and may be answered in between.
#[test]
fn a_signal_that_comes_behind_its_answer_does_not_spin() {
    let server = Socket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut client = client(server.local_addr().unwrap());
    client.driver.pipe().signal().unwrap();
    client.turn();
    let readable = Interest { read: true, write: false };
    let mut fds = [net::poll_fd(client.driver.pipe(), readable)];
    net::poll(&mut fds, Some(sync::now()));
    assert!(!net::readiness(&fds[0]).read, "it is signalled for ever");
}
