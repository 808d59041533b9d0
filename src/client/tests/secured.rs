//! Links that are to be secured.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::*;
use crate::error::{Error, Rejection};
use crate::identity::PeerIdentity;
use crate::link::PendingLink;
use crate::proto::frame::{Decoder, Frame};
use crate::secure::Security;

pub(super) fn toy(name: &str, trusts: &[&str]) -> Security {
    Security::toy(name, trusts, Arc::default())
}

/// Trusts what is called a server.
pub(super) fn alice() -> Builder {
    idle().security(toy("alice", &["server"]))
}

/// What the first attempt comes to, and whether there is any point in another.
fn attempt(addr: SocketAddr, builder: &Builder) -> (Cause, bool) {
    let causes = Arc::new(sync::Mutex::new(Vec::new()));
    let failed = causes.clone();
    let builder = builder.clone().on_event(move |_, event| {
        if let Event::Failed { cause, .. } = event {
            failed.lock().push(cause);
        }
    });
    let (mut client, _) = client(&addr.to_hosts().unwrap(), &builder);
    let again = match client.dial() {
        Ok(()) => panic!("it has a link"),
        Err(NoLink::Over) => false,
        Err(NoLink::Because(_)) => {
            client.shared.check_up(None);
            true
        }
    };
    let mut causes = causes.lock();
    assert_eq!(causes.len(), 1);
    (causes.pop().unwrap(), again)
}

/// The same, of a server that is played in another thread.
fn attempt_at(server: impl FnOnce(TcpStream) + Send) -> (Cause, bool) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || server(listener.accept().unwrap().0));
        attempt(addr, &alice())
    })
}

/// Reads the client's first flight.
fn read_flight(stream: &mut TcpStream) {
    stream.read_exact(&mut [0; 13]).unwrap();
}

#[test]
fn each_side_of_a_secured_link_knows_the_other() {
    let listener =
        Builder::default().security(toy("server", &["alice"])).bind("127.0.0.1:0").unwrap();
    let client = alice().connect(listener.local_addr()).unwrap();
    let server = listener.accept().unwrap();
    let named = |name: &str| Some(PeerIdentity::Named(name.into()));
    assert_eq!((client.peer_identity(), server.peer_identity()), (named("server"), named("alice")));
    for message in [vec![1; 5_000], vec![2]] {
        client.send(&message).unwrap();
        assert_eq!(server.recv().unwrap().unwrap(), message);
        server.send(&message).unwrap();
        assert_eq!(client.recv().unwrap().unwrap(), message);
    }
    thread::scope(|scope| {
        scope.spawn(|| assert!(server.recv().unwrap().is_none() && server.close().is_ok()));
        client.close().unwrap();
    });
}

/// Each end writes, opens, and answers what the other asks, on threads of their own.
#[test]
fn a_secured_link_that_is_busy_both_ways_is_not_lost() {
    let listener =
        Builder::default().security(toy("server", &["alice"])).bind("127.0.0.1:0").unwrap();
    let client = alice().connect(listener.local_addr()).unwrap();
    let server = listener.accept().unwrap();
    let message = |n: u64| n.to_be_bytes().repeat([1, 20, 500][n as usize % 3]);
    const MESSAGES: u64 = 2000;
    thread::scope(|scope| {
        for connection in [&client, &server] {
            scope.spawn(move || {
                for n in 0..MESSAGES {
                    match n % 4 {
                        0 => connection.send(message(n)).unwrap(),
                        _ => connection.feed(message(n)).unwrap(),
                    }
                }
                connection.flush().unwrap();
            });
            scope.spawn(move || {
                (0..MESSAGES)
                    .for_each(|n| assert_eq!(connection.recv().unwrap().unwrap(), message(n)));
            });
        }
    });
    assert_eq!((client.stats().reconnects, server.stats().reconnects), (0, 0));
    client.abort();
}

#[test]
fn plain_text_is_secured_as_well() {
    let listener =
        Builder::default().security(toy("server", &["alice"])).bind("127.0.0.1:0").unwrap();
    let client = alice().plain(crate::Plain::new()).connect(listener.local_addr()).unwrap();
    client.send(b"a line").unwrap();
    let server = listener.accept().unwrap();
    assert_eq!(server.peer_identity(), Some(PeerIdentity::Named("alice".into())));
    assert_eq!(server.recv().unwrap().unwrap(), "a line\n");
    server.send(b"a reply\n").unwrap();
    assert_eq!(client.recv().unwrap().unwrap(), "a reply\n");
}

/// Its handshake ends without it: the server is the first to speak.
#[test]
fn a_client_that_says_nothing_ends_its_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut channel = toy("server", &["alice"]).accept().unwrap();
            let mut said = Decoder::default();
            while !channel.is_open() {
                let mut bytes = [0; 100];
                let n = stream.read(&mut bytes).expect("the last flight");
                channel.opener.append(&bytes[..n]);
                assert_eq!(channel.opener.open(&mut said).end, None);
                stream.write_all(&channel.sealer.seal_now(&[])).unwrap();
            }
            stream.write_all(&channel.sealer.seal_now(b"welcome\n")).unwrap();
        });
        let client = alice().plain(crate::Plain::new()).connect(addr).unwrap();
        let welcome = client.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(welcome.unwrap(), "welcome\n");
    });
}

/// The server's word, which nobody on the path can say.
#[test]
fn a_client_that_the_server_does_not_trust_does_not_try_again() {
    let listener = Builder::default().security(toy("server", &[])).bind("127.0.0.1:0").unwrap();
    let (cause, again) = attempt(listener.local_addr(), &alice());
    assert!(matches!(cause, Cause::Rejected(Rejection::Untrusted)), "{cause}");
    assert!(!again);
    let error = alice().connect(listener.local_addr()).unwrap_err();
    assert!(matches!(error, Error::GaveUp { cause: Cause::Rejected(_), .. }), "{error}");
}

/// Anybody on the path can have said what it was.
#[test]
fn a_server_that_is_not_trusted_or_not_secured_is_asked_again() {
    let other = Builder::default().security(toy("other", &["alice"])).bind("127.0.0.1:0").unwrap();
    let clear = crate::Listener::bind("127.0.0.1:0").unwrap();
    for listener in [other, clear] {
        let (cause, again) = attempt(listener.local_addr(), &alice());
        assert!(matches!(cause, Cause::Protocol(_)) && again, "{cause}");
    }
    let (cause, again) = attempt_at(|mut stream| {
        read_flight(&mut stream);
        stream.write_all(&[0x15, 3, 3, 0, 1, 9]).unwrap();
    });
    assert!(matches!(cause, Cause::Protocol(_)) && again, "{cause}");
}

#[test]
fn a_client_in_clear_text_is_told_that_it_is_not_taken() {
    let listener =
        Builder::default().security(toy("server", &["alice"])).bind("127.0.0.1:0").unwrap();
    let (cause, again) = attempt(listener.local_addr(), &idle());
    assert!(matches!(cause, Cause::Rejected(Rejection::TlsRequired)), "{cause}");
    assert!(!again);
}

#[test]
fn a_handshake_that_is_not_answered_fails_as_a_hello_does() {
    let (cause, _) = attempt_at(|mut stream| read_flight(&mut stream));
    assert!(matches!(cause, Cause::Eof), "{cause}");
    let soon = Duration::from_millis(20);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (cause, _) = attempt(silent.local_addr().unwrap(), &alice().connect_timeout(soon));
    assert!(matches!(cause, Cause::WelcomeTimeout(time) if time == soon), "{cause}");
}

/// So a server that refuses has read all when it does, and its word is not lost by a reset.
#[test]
fn the_last_flight_of_a_handshake_goes_with_the_hello() {
    let listener = Socket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    let wait = |socket: &Socket, interest| net::poll(&mut [net::poll_fd(socket, interest)], None);
    let mut near = PendingLink::new(Socket::connect(addr).unwrap(), addr, None);
    wait(&listener, Interest::READ);
    let mut far = PendingLink::new(listener.accept().unwrap().0, addr, None);
    wait(&near.socket, Interest::WRITE);
    near.secure(toy("alice", &["server"]).connect("server").unwrap()).unwrap();
    far.secure(toy("server", &["alice"]).accept().unwrap()).unwrap();
    for link in [&mut far, &mut near] {
        wait(&link.socket, Interest::READ);
        assert!(link.read().unwrap());
    }
    assert!(near.is_open() && !far.is_open() && !far.socket.has_bytes());
    near.write(&Frame::Ping(7)).unwrap();
    wait(&far.socket, Interest::READ);
    assert!(far.read().unwrap() && far.is_open());
    assert_eq!(far.decoder.next(), Ok(Some(Frame::Ping(7))));
}

#[test]
fn frames_are_not_sent_to_a_server_that_does_not_say_that_it_speaks_longlink() {
    let foreign = || Builder::default().security(toy("foreign", &["alice"]));
    let listener = foreign().bind("127.0.0.1:0").unwrap();
    let trusts = idle().security(toy("alice", &["foreign"]));
    let (cause, again) = attempt(listener.local_addr(), &trusts);
    let expected = "the peer does not say that it speaks longlink/1";
    assert!(matches!(cause, Cause::Protocol(what) if what == expected) && again, "{cause}");
    let plain = trusts.plain(crate::Plain::new()).connect(listener.local_addr()).unwrap();
    plain.send("hello").unwrap();
    assert_eq!(listener.accept().unwrap().recv().unwrap().unwrap(), "hello\n");
}
