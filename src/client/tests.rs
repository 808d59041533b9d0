use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;

use super::*;
use crate::connection::Connection;
use crate::error::Error;
use crate::host::ToHosts;
use crate::net;
use crate::proto::handshake::Limits;
use crate::proto::protocol::Protocol;
use crate::proto::session::Session;
use crate::retry::RetryPolicy;

mod names;
mod renewed;
mod secured;

/// A client without its thread.
fn client(hosts: &[Host], builder: &Builder) -> (Client, Arc<DriverHandle>) {
    let limits = Limits { window: 10_000, max_message: 100 };
    let session = Session::client(limits, builder.heartbeat, sync::now());
    let driver = Arc::new(DriverHandle::new().unwrap());
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let protocol = Protocol::Framed(session);
    let shared = Shared::new(builder.terms(None), protocol, nowhere, 0, driver.clone());
    (Client::new(Arc::new(shared), driver.clone(), hosts.to_vec(), builder).unwrap(), driver)
}

/// It has heartbeats, and waits for its second attempt, for longer than any test.
fn idle() -> Builder {
    let hour = Duration::from_secs(3600);
    let builder = Builder::default().connect_timeout(Duration::from_secs(20));
    builder.heartbeat(Heartbeat::every(hour)).retry(RetryPolicy::fixed(hour, 5))
}

fn is_asking(client: &Client) -> bool {
    client.shared.lock().protocol.status().counts_bytes
}

#[test]
fn a_link_is_checked_when_the_machine_wakes() {
    let listener = crate::Listener::bind("127.0.0.1:0").unwrap();
    let (mut client, driver) = client(&listener.local_addr().to_hosts().unwrap(), &idle());
    assert!(client.dial().is_ok());
    // The thread is woken, be it by the machine.
    let wake = |client: &mut Client| {
        driver.wake();
        assert!(client.wait(None, &[]).is_ok());
    };
    wake(&mut client);
    assert!(!is_asking(&client), "nothing has happened");
    sync::sleep(Duration::from_secs(3 * 3600));
    wake(&mut client);
    assert!(is_asking(&client));
    while client.shared.lock().protocol.status().round_trip.is_none() {
        let soon = sync::now() + Duration::from_secs(60);
        assert!(client.checkup.deadline.is_some_and(|at| at < soon), "nothing will happen");
        assert!(client.wait(None, &[]).is_ok());
    }
    assert!(!is_asking(&client));
    wake(&mut client);
    assert!(!is_asking(&client), "once is enough");
}

#[test]
fn a_client_that_waits_tries_at_once_when_the_machine_wakes() {
    let server = Socket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let hosts = server.local_addr().unwrap().to_hosts().unwrap();
    let (waits, waiting) = mpsc::channel();
    let sleep = move |_: &Connection, event| {
        if let Event::Retrying { .. } = event {
            // On this thread.
            sync::sleep(Duration::from_secs(3 * 3600));
            waits.send(()).unwrap();
        }
    };
    let (client, driver) = client(&hosts, &idle().on_event(sleep));
    let connection = Connection::new(client.shared.clone());
    client.start(true).unwrap();
    let patience = Duration::from_secs(20);
    for _ in 0..3 {
        net::poll(&mut [net::poll_fd(&server, Interest::READ)], sync::after(patience));
        drop(server.accept().expect("an attempt"));
        waiting.recv_timeout(patience).unwrap();
        driver.wake();
    }
    connection.abort();
}

#[test]
fn a_first_link_takes_no_other_thread_and_one_that_cannot_be_had_then_is_told_to_the_server() {
    let listener = crate::Listener::bind("127.0.0.1:0").unwrap();
    let (mut client, _) = client(&listener.local_addr().to_hosts().unwrap(), &idle());
    let shared = client.shared.clone();
    assert!(client.begin() && shared.lock().is_up());
    drop(client);
    assert!(matches!(Connection::new(shared).recv(), Err(Error::GaveUp { .. })));
    assert!(matches!(listener.accept().unwrap().recv(), Err(Error::PeerClosed { .. })));
}
