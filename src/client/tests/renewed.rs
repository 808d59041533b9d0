//! A listener goes by other keys, and links that have had their time: what both sides notice.

use std::thread;
use std::time::SystemTime;

use super::secured::{alice, toy};
use super::*;
use crate::error::{Error, Rejection};
use crate::{Connection, Listener};

const PATIENCE: Duration = Duration::from_secs(20);

fn server(trusts: &[&str]) -> Builder {
    Builder::default().security(toy("server", trusts))
}

/// The builder, and the events of what it makes.
fn watched(builder: Builder) -> (Builder, mpsc::Receiver<Event>) {
    let (tell, events) = mpsc::channel();
    (builder.on_event(move |_, event| drop(tell.send(event))), events)
}

/// Both ends of a connection.
fn pair(client: Builder, server: Builder) -> (Connection, Connection, Listener) {
    let listener = server.bind("127.0.0.1:0").unwrap();
    let client = client.connect(listener.local_addr()).unwrap();
    (client, listener.accept().unwrap(), listener)
}

/// Sends what comes back to where it came from.
fn echo(connection: &Connection) {
    for message in connection.incoming() {
        connection.send(message.unwrap()).unwrap();
    }
}

/// Sends numbers and has each echoed, until `done`. Returns how many there were.
fn count(connection: &Connection, mut done: impl FnMut() -> bool) -> u64 {
    let wanted = (1..).find(|n: &u64| {
        connection.send(n.to_be_bytes()).unwrap();
        let answer = connection.recv_timeout(PATIENCE).unwrap().expect("an answer");
        assert_eq!(*answer, n.to_be_bytes(), "in order, and each once");
        done()
    });
    wanted.unwrap()
}

fn is_revoked(error: &Error) -> bool {
    matches!(error, Error::GaveUp { cause: Cause::Revoked, .. })
}

#[test]
fn trust_that_is_taken_away_ends_that_session_and_is_final_for_its_client() {
    let listener = server(&["alice", "bob"]).bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr();
    let connect = |builder: Builder| (builder.connect(addr).unwrap(), listener.accept().unwrap());
    let soon = RetryPolicy::fixed(Duration::from_millis(10), 5);
    let (alice, of_alice) = connect(alice().retry(soon));
    let (bob, of_bob) = connect(idle().security(toy("bob", &["server"])));
    thread::scope(|scope| {
        scope.spawn(|| echo(&of_bob));
        let mut reloads = 0;
        count(&bob, || {
            listener.reload(toy("server", &["bob"])).unwrap();
            // It is done when that returns.
            let error = of_alice.send(b"too late").unwrap_err();
            assert!(is_revoked(&error), "{error:?}");
            reloads += 1;
            reloads == 100
        });
        bob.close().unwrap();
    });
    assert_eq!((bob.stats().reconnects, of_bob.stats().reconnects), (0, 0));
    let error = alice.recv_timeout(PATIENCE).unwrap_err();
    let Error::GaveUp { cause: Cause::Rejected(Rejection::Untrusted), .. } = error else {
        panic!("{error:?}")
    };
}

#[test]
fn a_listener_of_clear_text_stays_one() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let error = listener.reload(toy("server", &["alice"])).unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error:?}");
    let client = Connection::connect(listener.local_addr()).unwrap();
    assert!(client.peer_identity().is_none());
}

/// Its thread runs the callback, and would wait for itself.
#[test]
fn a_reload_in_a_callback_is_done_after_it() {
    let listener = Arc::new(std::sync::OnceLock::<Listener>::new());
    let reloads = listener.clone();
    let builder = server(&["alice"]).on_event(move |_, event| {
        if let Event::Connected { .. } = event {
            let listener = reloads.wait();
            let before = sync::now();
            listener.reload(toy("server", &["bob"])).unwrap();
            assert!(sync::now() - before < Duration::from_secs(1), "it does not block");
        }
    });
    let listener = listener.get_or_init(|| builder.bind("127.0.0.1:0").unwrap());
    let _alice = alice().connect(listener.local_addr());
    listener.reload(toy("server", &["bob"])).unwrap();
    assert!(alice().connect(listener.local_addr()).is_err());
}

#[test]
fn a_reload_does_not_wait_long_for_a_callback() {
    let (go_on, waits) = mpsc::channel::<()>();
    let (held, is_held) = mpsc::channel();
    let waits = std::sync::Mutex::new(waits);
    let builder = server(&["alice"]).on_event(move |_, event| {
        if let Event::Connected { .. } = event {
            held.send(()).unwrap();
            let _ = waits.lock().unwrap().recv_timeout(PATIENCE);
        }
    });
    let listener = builder.bind("127.0.0.1:0").unwrap();
    let (_alice, of_alice) =
        (alice().connect(listener.local_addr()).unwrap(), listener.accept().unwrap());
    is_held.recv_timeout(PATIENCE).unwrap();
    let before = sync::now();
    listener.reload(toy("server", &["bob"])).unwrap();
    assert!(sync::now() - before < PATIENCE / 2);
    go_on.send(()).unwrap();
    let error = of_alice.recv_timeout(PATIENCE).unwrap_err();
    assert!(is_revoked(&error), "{error:?}");
}

#[test]
fn a_reload_of_a_listener_that_has_gone_returns() {
    let listener = server(&["alice"]).bind("127.0.0.1:0").unwrap();
    listener.drain(PATIENCE).unwrap();
    let before = sync::now();
    listener.reload(toy("server", &["bob"])).unwrap();
    assert!(sync::now() - before < Duration::from_secs(1));
}

/// The causes of the links that were lost.
fn losses(events: &mpsc::Receiver<Event>) -> Vec<Cause> {
    let cause = |event| match event {
        Event::Lost { cause } => Some(cause),
        Event::SessionLost { .. } | Event::Failed { .. } => panic!("{event:?}"),
        _ => None,
    };
    events.try_iter().filter_map(cause).collect()
}

/// Whichever side ends it, also with a client that never tries again.
#[test]
fn a_link_that_had_its_time_is_made_anew_and_nothing_is_lost() {
    let short = |builder: Builder| Builder { day: Duration::from_millis(20), ..builder };
    for of_client in [true, false] {
        let (client, client_events) = watched(alice().retry(match of_client {
            true => RetryPolicy::never(),
            false => RetryPolicy::default(),
        }));
        let (server, server_events) = watched(server(&["alice"]));
        let (client, server) =
            if of_client { (short(client), server) } else { (client, short(server)) };
        let (client, server, _listener) = pair(client, server);
        thread::scope(|scope| {
            scope.spawn(|| echo(&server));
            count(&client, || client.stats().reconnects >= 5);
            client.close().unwrap();
        });
        assert_eq!((client.stats().sessions_lost, server.stats().sessions_lost), (0, 0));
        let events = if of_client { client_events } else { server_events };
        let losses = losses(&events);
        assert!(losses.len() >= 5);
        assert!(losses.iter().all(|cause| matches!(cause, Cause::Aged)), "{losses:?}");
    }
}

/// While a client makes another link it has the one before, so its session is not lost for a
/// moment: no server that is full gives it up then, and one that keeps none does not miss it.
#[test]
fn a_client_has_one_link_until_it_has_the_next() {
    let client = Builder { day: Duration::from_millis(20), ..alice().retry(RetryPolicy::never()) };
    let (server, events) = watched(server(&["alice"]).resume_within(Duration::ZERO));
    let (client, server, _listener) = pair(client, server);
    thread::scope(|scope| {
        scope.spawn(|| echo(&server));
        count(&client, || client.stats().reconnects >= 5);
        client.close().unwrap();
    });
    assert_eq!(client.stats().sessions_lost, 0);
    let losses = losses(&events);
    assert!(losses.len() >= 5);
    assert!(losses[..5].iter().all(|cause| matches!(cause, Cause::Replaced)), "{losses:?}");
}

/// It is not resumed, and clear text shows nothing anew.
#[test]
fn plain_text_and_clear_text_have_all_the_time() {
    let day = Duration::from_nanos(1);
    let plain = |builder: Builder| Builder { day, ..builder }.plain(crate::Plain::new());
    let short = |builder: Builder| Builder { day, ..builder };
    let pairs =
        [(plain(alice()), short(server(&["alice"]))), (short(idle()), short(Builder::default()))];
    for (client, server) in pairs {
        let listener = server.bind("127.0.0.1:0").unwrap();
        let client = client.connect(listener.local_addr()).unwrap();
        client.send(b"line\n").unwrap();
        let server = listener.accept().unwrap();
        for _ in 0..100 {
            let line = server.recv_timeout(PATIENCE).unwrap().unwrap();
            server.send(line).unwrap();
            client.send(client.recv_timeout(PATIENCE).unwrap().unwrap()).unwrap();
        }
        assert_eq!((client.stats().reconnects, server.stats().reconnects), (0, 0));
        client.abort();
    }
}

/// In milliseconds since 1970.
fn from_now(time: Duration) -> u128 {
    let now = sync::wall_clock().duration_since(SystemTime::UNIX_EPOCH);
    (now.unwrap() + time).as_millis()
}

#[test]
fn a_link_to_a_server_that_has_expired_is_lost_and_not_made_again() {
    let until = format!("server until {}", from_now(Duration::from_millis(300)));
    let builder = Builder::default().security(toy("alice", &[&until])).retry(RetryPolicy::never());
    let (builder, events) = watched(builder);
    let (client, _server, _listener) = pair(builder, server(&["alice"]));
    let error = client.recv_timeout(PATIENCE).unwrap_err();
    let Error::GaveUp { cause: Cause::Protocol(why), .. } = error else { panic!("{error:?}") };
    assert_eq!(why, "a server that is not trusted");
    let lost: Vec<_> = events.try_iter().map(|event| event.to_string()).collect();
    assert!(
        lost.iter().any(|event| event == "lost: the peer's certificate has expired"),
        "{lost:?}"
    );
    assert!(lost.iter().any(|event| event.starts_with("attempt 1 ")), "{lost:?}");
}
