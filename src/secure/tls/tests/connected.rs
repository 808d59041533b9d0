//! Connections over sockets.

use super::channel::securities;
use crate::{Builder, Cause, Connection, Error, Listener, PeerIdentity, RetryPolicy, Security};

fn sealed(security: Security) -> Builder {
    Connection::builder().security(security).retry(RetryPolicy::never())
}

#[test]
fn connections_know_each_other_and_carry_messages_of_any_size() {
    let [client, server] = securities();
    let listener = sealed(server).bind("127.0.0.1:0").unwrap();
    let client = sealed(client).connect(listener.local_addr()).unwrap();
    let server = listener.accept().unwrap();
    assert!(matches!(client.peer_identity(), Some(PeerIdentity::Key(_))));
    assert_eq!(server.peer_identity(), Some(PeerIdentity::Named("alice".into())));
    for size in [1, 100, 16_384, 20_000, 200_000] {
        client.send(vec![1; size]).unwrap();
        assert_eq!(server.recv().unwrap().unwrap(), vec![1; size]);
        server.send(vec![2; size]).unwrap();
        assert_eq!(client.recv().unwrap().unwrap(), vec![2; size]);
    }
    std::thread::scope(|scope| {
        for (from, to) in [(&client, &server), (&server, &client)] {
            scope.spawn(move || {
                for number in 0..20_000_u32 {
                    from.send(number.to_be_bytes()).unwrap();
                }
                from.finish().unwrap();
            });
            scope.spawn(move || {
                for number in 0..20_000_u32 {
                    assert_eq!(to.recv().unwrap().unwrap(), number.to_be_bytes()[..]);
                }
                assert_eq!(to.recv().unwrap(), None);
            });
        }
    });
    std::thread::scope(|scope| {
        for side in [&client, &server] {
            scope.spawn(|| side.close().unwrap());
        }
    });
}

fn refused(builder: Builder, listener: &Listener) -> String {
    match builder.connect(listener.local_addr()) {
        Err(Error::GaveUp { cause: Cause::Io(error), .. }) => error.to_string(),
        Err(Error::GaveUp { cause, .. }) => cause.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn strangers_and_clear_text_are_refused_in_words_of_their_own() {
    let [client, server] = securities();
    let [stranger, _] = securities();
    let listener = sealed(server).bind("127.0.0.1:0").unwrap();
    let clear = Listener::bind("127.0.0.1:0").unwrap();
    let shown = refused(sealed(stranger), &listener);
    assert!(shown.starts_with("the peer shows sha256:"), "{shown}");
    assert_eq!(refused(sealed(client), &clear), "the peer does not speak TLS");
    let plain = Connection::builder().retry(RetryPolicy::never());
    assert!(refused(plain, &listener).starts_with("rejected"));
}
