//! What the documentation promises, in situations in which it was once not kept.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use longlink::{Connection, Error, Event, Listener};

const LONG: Duration = Duration::from_secs(10);

/// Fails, instead of hanging, if `body` does not come to its end.
fn within<T: Send + 'static>(time: Duration, body: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(body()));
    result.recv_timeout(time).expect("it ends, and in time")
}

fn pair(listener: &Listener) -> (Connection, Connection) {
    let client = Connection::connect(listener.local_addr()).unwrap();
    (client, listener.accept().unwrap())
}

#[test]
fn a_connect_timeout_beyond_the_clocks_end_is_none() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr();
    let builder = Connection::builder().connect_timeout(Duration::MAX);
    within(LONG, move || builder.connect(addr)).unwrap();
}

#[test]
fn what_had_arrived_is_handed_out_after_the_peer_has_aborted() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let (client, server) = pair(&listener);
    let (ended, end) = mpsc::channel();
    server.on_event(move |event| {
        if matches!(event, Event::Closed { .. }) {
            let _ = ended.send(());
        }
    });
    for message in [b"1", b"2", b"3"] {
        client.send(message).unwrap();
    }
    client.abort();
    end.recv_timeout(LONG).unwrap();
    // The listener's keeper has done with the session before it greets another.
    let _ = pair(&listener);
    for message in [b"1", b"2", b"3"] {
        assert_eq!(server.recv().unwrap().as_deref(), Some(&message[..]));
    }
    assert!(matches!(server.recv(), Err(Error::PeerClosed { .. })));
}
