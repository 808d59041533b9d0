//! Connections over sockets.

use super::channel::securities;
use crate::{
    Builder, Cause, Connection, Error, Listener, PeerIdentity, Plain, Rejection, RetryPolicy,
    Security,
};

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

fn refused(builder: Builder, listener: &Listener) -> Cause {
    match builder.connect(listener.local_addr()) {
        Err(Error::GaveUp { cause, .. }) => cause,
        other => panic!("{other:?}"),
    }
}

#[test]
fn strangers_and_clear_text_are_refused_in_words_of_their_own() {
    let [client, server] = securities();
    let [stranger, elsewhere] = securities();
    let listener = sealed(server.clone()).bind("127.0.0.1:0").unwrap();
    let clear = Listener::bind("127.0.0.1:0").unwrap();
    match refused(sealed(stranger.clone()), &listener) {
        Cause::Untrusted { shown, expected } => {
            assert_eq!(Some(*shown), server.fingerprint());
            assert_eq!(expected[..], elsewhere.fingerprint().as_slice()[..]);
        }
        other => panic!("{other}"),
    }
    assert!(matches!(refused(sealed(client.clone()), &clear), Cause::NotTls));
    let cause = refused(Connection::builder().retry(RetryPolicy::never()), &listener);
    assert!(matches!(cause, Cause::Rejected(Rejection::TlsRequired)), "{cause}");
}

/// No program but ours shows raw keys.
#[test]
fn text_is_not_spoken_over_keys() {
    let [client, server] = securities();
    let listener = sealed(server).bind("127.0.0.1:0").unwrap();
    let plain = sealed(client).plain(Plain::new());
    let error = plain.connect(listener.local_addr()).unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error}");
}
