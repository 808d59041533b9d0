//! Names that are not resolved, or not soon: with another resolver than the system's.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;

use super::super::*;
use super::client;
use crate::connection::Connection;
use crate::error::Error;
use crate::listener::Listener;
use crate::retry::RetryPolicy;

/// Asked for a name, it counts, and answers, fails, or hangs until this is dropped.
struct Names {
    asked: [AtomicU32; 2],
    released: std::sync::Mutex<mpsc::Receiver<()>>,
}

impl Names {
    fn new() -> (Arc<Names>, mpsc::Sender<()>) {
        let (hold, released) = mpsc::channel();
        (Arc::new(Names { asked: Default::default(), released: released.into() }), hold)
    }

    /// `later` has no address the first two times.
    fn ask(&self, host: &Host) -> io::Result<Vec<SocketAddr>> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, host.port));
        match host.name.as_str() {
            "later" if self.asked[0].fetch_add(1, Ordering::SeqCst) < 2 => {
                Err(io::Error::other("temporary failure in name resolution"))
            }
            "hangs" => {
                self.asked[1].fetch_add(1, Ordering::SeqCst);
                let _ = self.released.lock().unwrap().recv();
                Err(io::Error::other("it took too long"))
            }
            _ => Ok(vec![address]),
        }
    }

    fn asked(&self) -> [u32; 2] {
        [0, 1].map(|index: usize| self.asked[index].load(Ordering::SeqCst))
    }
}

/// A client that does not wait until it is connected.
fn connect(
    names: &Arc<Names>,
    hosts: &[Host],
    timeout: Duration,
    retry: RetryPolicy,
) -> Connection {
    let builder = Builder::default().heartbeat(Heartbeat::off()).connect_timeout(timeout);
    let (mut client, driver) = client(hosts, &builder.retry(retry));
    let names = names.clone();
    client.resolver = Resolver::with(driver, Arc::new(move |host| names.ask(host)));
    let shared = client.shared.clone();
    client.start(true).unwrap();
    Connection::new(shared)
}

const MILLI: Duration = Duration::from_millis(1);

/// The client finds the listener. One that does not has given up, or fails the wait.
fn finds(client: &Connection, listener: Listener) {
    thread::spawn(move || listener.accept()?.send(b"welcome"));
    let welcome = client.recv_timeout(20_000 * MILLI).unwrap();
    assert_eq!(welcome.as_deref(), Some(&b"welcome"[..]));
    client.abort();
}

#[test]
fn a_name_that_does_not_resolve_yet_is_tried_again() {
    let listener = Builder::default().bind("127.0.0.1:0").unwrap();
    let hosts = [Host::new("later", listener.local_addr().port())];
    let (names, _hold) = Names::new();
    let client = connect(&names, &hosts, 20_000 * MILLI, RetryPolicy::fixed(MILLI, 1).unlimited());
    finds(&client, listener);
    assert_eq!(names.asked(), [3, 0]);
}

#[test]
fn a_name_that_does_not_resolve_is_tried_as_often_as_the_policy_says() {
    for attempts in [1, 2] {
        let (names, _hold) = Names::new();
        let policy = RetryPolicy::fixed(MILLI, attempts);
        let client = connect(&names, &[Host::new("later", 1)], 20_000 * MILLI, policy);
        let error = client.recv_timeout(20_000 * MILLI).unwrap_err();
        let Error::GaveUp { cause: Cause::Resolve { host, .. }, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(host, "later");
        assert_eq!(names.asked(), [attempts, 0]);
    }
}

#[test]
fn a_resolver_that_hangs_does_not_hold_up_another_name() {
    let listener = Builder::default().bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().port();
    let hosts = [Host::new("hangs", port), Host::new("answers", port)];
    let (names, _hold) = Names::new();
    let policy = RetryPolicy::fixed(MILLI, 1).unlimited();
    let client = connect(&names, &hosts, 100 * MILLI, policy);
    finds(&client, listener);
    assert_eq!(names.asked(), [0, 1]);
}

#[test]
fn one_resolver_hangs_however_often_its_name_is_needed() {
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = refusing.local_addr().unwrap();
    let hosts = [Host::new("hangs", 1), Host::new("127.0.0.1", address.port())];
    let (names, _hold) = Names::new();
    let client = connect(&names, &hosts, 20 * MILLI, RetryPolicy::fixed(MILLI, 3));
    // The other host is asked in each attempt.
    let refused = thread::spawn(move || (0..3).for_each(|_| drop(refusing.accept().unwrap())));
    let error = client.recv_timeout(20_000 * MILLI).unwrap_err();
    assert!(matches!(error, Error::GaveUp { .. }), "{error:?}");
    refused.join().unwrap();
    assert_eq!(names.asked(), [0, 1]);
}

#[test]
fn a_name_that_is_being_resolved_when_a_link_is_lost_is_not_asked_for_once_more() {
    let (names, _hold) = Names::new();
    let (host, driver) = (Host::new("hangs", 1), Arc::new(DriverHandle::new().unwrap()));
    let mut resolver = Resolver::with(driver, Arc::new(move |host| names.ask(host)));
    let begun = sync::now();
    for after in 0..3 {
        let since = resolver.resolve(0, &host, begun + after * MILLI);
        assert_eq!(since, Some(begun), "it is waited for");
        resolver.forget();
    }
}
