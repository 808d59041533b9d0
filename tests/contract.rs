//! What the documentation promises, in situations in which it was once not kept.

use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use longlink::{Connection, Error, Event, Listener, RetryPolicy};

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

/// Passes connections on to a listener, and can cut them.
struct Relay {
    addr: SocketAddr,
    ends: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    fn to(server: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let ends: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let kept = ends.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
                let clone = |stream: &TcpStream| stream.try_clone().unwrap();
                kept.lock().unwrap().extend([clone(&client), clone(&server)]);
                for (mut from, mut to) in
                    [(clone(&client), clone(&server)), (clone(&server), clone(&client))]
                {
                    thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Relay { addr, ends }
    }

    /// Cuts what there is. Later connections pass.
    fn cut(&self) {
        for end in self.ends.lock().unwrap().drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
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
    server.on_event(move |_, event| {
        if matches!(event, Event::Closed { .. }) {
            let _ = ended.send(());
        }
    });
    for message in [b"1", b"2", b"3"] {
        client.send(message).unwrap();
    }
    client.abort();
    end.recv_timeout(LONG).unwrap();
    // The listener's thread has done with the session before it greets another.
    let _ = pair(&listener);
    for message in [b"1", b"2", b"3"] {
        assert_eq!(server.recv().unwrap().as_deref(), Some(&message[..]));
    }
    assert!(matches!(server.recv(), Err(Error::PeerClosed { .. })));
}

#[test]
fn a_client_learns_the_end_after_the_server_took_back_what_was_unacknowledged() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let relay = Relay::to(listener.local_addr());
    let (lost, loss) = mpsc::channel();
    let retry = RetryPolicy::fixed(Duration::from_millis(500), 5);
    let client = Connection::builder().retry(retry).connect(relay.addr).unwrap();
    let server = listener.accept().unwrap();
    server.on_event(move |_, event| {
        if matches!(event, Event::Lost { .. }) {
            let _ = lost.send(());
        }
    });
    client.send(b"request").unwrap();
    assert!(server.recv().unwrap().is_some());
    // The client, to which nothing was proved yet, waits before it comes back.
    relay.cut();
    loss.recv_timeout(LONG).unwrap();
    server.send(b"reply").unwrap();
    let closed = server.close_within(Duration::ZERO);
    assert_eq!(closed.unwrap_err().unacknowledged(), Some(1));
    assert_eq!(server.take_unacknowledged(), [&b"reply"[..]]);
    let error = within(LONG, move || client.recv().unwrap_err());
    assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
}

#[test]
fn the_end_is_the_last_event() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let relay = Relay::to(listener.local_addr());
    let (report, events) = mpsc::channel();
    let client = Connection::builder()
        .retry(RetryPolicy::fixed(Duration::from_millis(100), 5))
        .on_event(move |_, event| drop(report.send(event)))
        .connect(relay.addr)
        .unwrap();
    let server = listener.accept().unwrap();
    client.send(b"request").unwrap();
    assert!(server.recv().unwrap().is_some());
    relay.cut();
    assert!(events.iter().any(|event| matches!(event, Event::Lost { .. })));
    // The client comes back only to say that it has left.
    client.abort();
    drop(client);
    let rest: Vec<Event> = events.iter().collect();
    assert!(matches!(rest.last(), Some(Event::Closed { .. })), "{rest:?}");
}

// The server's last word is lost, and told again to the client that comes back.
#[test]
fn close_returns_once_the_server_has_said_that_the_session_ended() {
    const HEADER: usize = 5;
    const HELLO: usize = HEADER + 59;
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = server.local_addr().unwrap();
    let closed = thread::spawn(move || {
        let builder = Connection::builder().close_timeout(LONG * 3);
        let client = builder.connect(addr).unwrap();
        client.close()
    });
    let (mut link, _) = server.accept().unwrap();
    link.read_exact(&mut [0; HELLO]).unwrap();
    // WELCOME: version 1, epoch 1, nothing received, limits, no heartbeat.
    let mut welcome = vec![0x01, 0, 0, 0, 30, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
    welcome.extend([0; 8]);
    welcome.extend([0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0, 0, 0]);
    link.write_all(&welcome).unwrap();
    // FIN, acknowledged; then the client's CLOSE, which stays without an answer.
    link.read_exact(&mut [0; HEADER]).unwrap();
    link.write_all(&[0x05, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0xff, 0xff]).unwrap();
    link.read_exact(&mut [0; HEADER + 9]).unwrap();
    drop(link);
    let (mut link, _) = server.accept().unwrap();
    link.read_exact(&mut [0; HELLO]).unwrap();
    link.write_all(&[0x08, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1]).unwrap();
    within(LONG, move || closed.join().unwrap()).unwrap();
}

#[test]
fn a_stream_splits_what_is_too_large_and_ends_with_the_peer() {
    let listener = Connection::builder().max_message(1000).bind("127.0.0.1:0").unwrap();
    let (client, server) = pair(&listener);
    let bytes: Vec<u8> = (0..10_500).map(|n| n as u8).collect();
    client.send(b"").unwrap();
    let sent = bytes.clone();
    let read = within(LONG, move || {
        client.stream().write_all(&sent).unwrap();
        client.finish().unwrap();
        let mut read = Vec::new();
        // An empty message came first, and is not the end.
        server.stream().read_to_end(&mut read).unwrap();
        assert_eq!(server.stream().read(&mut [0]).unwrap(), 0);
        assert_eq!(server.stats().messages_received, 12);
        read
    });
    assert_eq!(read, bytes);
}

#[test]
fn a_message_that_a_stream_has_read_in_part_is_not_acknowledged() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let (client, server) = pair(&listener);
    client.send(b"abcdef").unwrap();
    let mut stream = server.stream();
    let mut half = [0; 3];
    for expected in [b"abc", b"def"] {
        stream.read_exact(&mut half).unwrap();
        assert_eq!(&half, expected);
        let result = client.sync(Duration::from_millis(150));
        assert!(matches!(result, Err(Error::TimedOut)), "{expected:?}: {result:?}");
    }
    client.send(b"g").unwrap();
    assert_eq!(stream.fill_buf().unwrap(), b"g");
    let more = server.try_recv();
    assert!(matches!(more, Err(Error::WouldBlock)), "{more:?}");
    client.sync(LONG).unwrap();
}

#[test]
fn a_stream_gives_errors_that_code_for_sockets_knows() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let (client, server) = pair(&listener);
    client.finish().unwrap();
    let kind = |result: io::Result<usize>| result.unwrap_err().kind();
    assert_eq!(kind(client.stream().write(b"more")), io::ErrorKind::BrokenPipe);
    server.abort();
    let error = within(LONG, move || client.stream().read(&mut [0; 8]).unwrap_err());
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<Error>());
    assert!(matches!(inner, Some(Error::PeerClosed { .. })), "{inner:?}");
}
