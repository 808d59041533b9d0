//! What others do with a connection: many handles, callbacks, code of theirs that runs in ours.

use std::io::{Read, Write};
use std::panic::resume_unwind;
use std::sync::{Mutex, mpsc};
use std::thread;

use longlink::{Bytes, Connection, Error};

use crate::SOON;
use crate::proxy::How;
use crate::rig::{Rig, SLACK, Side, calm, ms, timed, until};

#[test]
fn only_the_last_handles_drop_closes() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    let first = client.bare();
    let (second, third) = (first.clone(), first.clone());
    drop(first);
    second.send(b"open").unwrap();
    drop(second);
    third.send(b"still open").unwrap();
    server.takes(b"open");
    server.takes(b"still open");
    drop(third);
    server.takes_end();
}

#[test]
fn a_handle_that_a_panic_drops_aborts_whatever_clones_there_are() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    let clone = client.clone();
    let died = thread::spawn(move || {
        let _dropped = clone;
        resume_unwind(Box::new("a handler fails"));
    });
    died.join().unwrap_err();
    assert!(matches!(client.send(b"late"), Err(Error::Closed { .. })));
    assert!(matches!(server.recv_timeout(SOON), Err(Error::PeerClosed { .. })));
}

#[test]
fn a_weak_handle_neither_keeps_a_connection_open_nor_revives_it() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    let client = client.bare();
    let weak = client.downgrade();
    let upgraded = weak.upgrade().unwrap();
    drop(client);
    upgraded.send(b"open").unwrap();
    drop(upgraded);
    // It closes in the background, and goes on doing so.
    assert!(weak.upgrade().is_none());
    server.takes(b"open");
    server.takes_end();
    assert!(weak.clone().upgrade().is_none());
}

/// What `code` returns, which the callback runs when the link is lost.
fn inside<T: Send + 'static>(
    rig: &Rig,
    side: &Side,
    code: impl FnOnce(&Connection) -> T + Send + 'static,
) -> T {
    let (report, result) = mpsc::channel();
    let code = Mutex::new(Some(code));
    side.on_event(move |connection, _| {
        let code = code.lock().unwrap().take();
        if let Some(code) = code {
            report.send(code(connection)).unwrap();
        }
    });
    rig.proxy.cut(How::Fin);
    result.recv_timeout(SOON).expect("the callback has run the code")
}

/// The error within, of a stream.
fn inner<T>(result: std::io::Result<T>) -> Result<(), Error> {
    result.map(drop).map_err(|error| error.downcast().expect("an error of this crate"))
}

#[test]
fn nothing_blocks_in_the_callback_on_any_connection_or_listener() {
    let rig = Rig::new(calm());
    let (client, _server) = rig.warm_pair();
    // The callback belongs to neither of these. Nobody receives.
    let listener = calm().window(1).bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr();
    let other = Connection::connect(addr).unwrap();
    let _others = listener.accept().unwrap();
    other.send(b"x").unwrap();
    let blocks = move |client: &Connection| {
        let mut accepted = listener.incoming();
        let results = vec![
            client.recv().map(drop),
            client.recv_timeout(SOON).map(drop),
            client.close(),
            other.send(b"x"),
            other.send_bytes(Bytes::from_static(b"x")),
            other.send_timeout(b"x", SOON),
            other.feed(b"x"),
            other.feed_bytes(Bytes::from_static(b"x")),
            other.feed_many(&["x"]),
            other.feed_some(&["x"]).map(drop),
            other.feed_some(&["x"]).map(drop),
            inner(other.stream().write(b"x")),
            other.sync(SOON),
            other.recv().map(drop),
            other.recv_many(&mut Vec::new(), 1).map(drop),
            other.incoming().next().unwrap().map(drop),
            inner(other.stream().read(&mut [0])),
            other.close(),
            Connection::connect(addr).map(drop),
            listener.accept().map(drop),
            accepted.next().unwrap().map(drop),
            listener.drain(SOON),
        ];
        assert!(accepted.next().is_none(), "after an error it ends");
        results
    };
    let (results, took) = timed(|| inside(&rig, &client, blocks));
    for (nth, result) in results.into_iter().enumerate() {
        assert!(matches!(result, Err(Error::WouldBlock)), "{nth}: {result:?}");
    }
    assert!(took < SLACK, "{took:?}");
}

#[test]
fn what_need_not_block_is_done_in_the_callback() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    let listener = calm().bind("127.0.0.1:0").unwrap();
    let other = Connection::connect(listener.local_addr()).unwrap();
    other.send(b"hello").unwrap();
    inside(&rig, &client, move |client| {
        client.send(b"from within").unwrap();
        let accepted = listener.accept().unwrap();
        assert_eq!(accepted.recv().unwrap().unwrap(), "hello");
        other.sync(ms(0)).unwrap_err();
        other.abort();
        assert!(matches!(other.close(), Err(Error::Closed { .. })));
    });
    server.takes(b"from within");
}

/// Else it waits for itself, and with it every client of the listener.
#[test]
fn a_close_in_the_callback_begins_to_close() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    client.send(b"not read yet").unwrap();
    let (closing, took) = timed(|| inside(&rig, &server, |server| server.close()));
    assert!(matches!(closing, Err(Error::WouldBlock)), "{closing:?}");
    assert!(took < SLACK, "{took:?}");
    assert!(matches!(server.send(b"late"), Err(Error::Finished | Error::Closed { .. })));
    client.takes_end();
    client.finish().unwrap();
    // It goes on by itself, and may be waited for elsewhere.
    until("it is closed", || matches!(server.flush(), Err(Error::Closed { .. })));
    server.close().unwrap();
}

#[test]
fn a_reconnect_does_not_wait_for_a_send_in_the_callback() {
    let rig = Rig::new(calm().window(4));
    let (client, server) = rig.warm_pair();
    client.send(b"full").unwrap();
    let full = inside(&rig, &client, |client| client.send(b"more"));
    assert!(matches!(full, Err(Error::WouldBlock)), "{full:?}");
    server.takes(b"full");
}

#[test]
fn the_callback_sees_a_connection_that_has_no_handle_any_more() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    let client = client.bare();
    let (report, seen) = mpsc::channel();
    client.on_event(move |connection, event| {
        // A clone is of a connection that closes, and does not keep it from that.
        let clone = connection.clone();
        let revived = clone.downgrade().upgrade().is_some();
        let sent = clone.send(b"late").is_ok();
        report.send((event.to_string(), revived, sent)).unwrap();
        std::mem::forget(clone);
    });
    client.send(b"last").unwrap();
    drop(client);
    server.takes(b"last");
    server.takes_end();
    drop(server.bare());
    let (event, revived, sent) = seen.recv_timeout(SOON).unwrap();
    assert_eq!((&*event, revived, sent), ("closed", false, false));
}

#[test]
fn a_handle_cloned_in_the_callback_keeps_the_connection_open() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    let kept = inside(&rig, &client, Connection::clone);
    drop(client.bare());
    kept.send(b"still open").unwrap();
    server.takes(b"still open");
    // And one that is dropped there does not close it.
    let server_too = server.clone();
    inside(&rig, &server, move |server| drop((server.clone(), server_too)));
    kept.send(b"yet").unwrap();
    server.takes(b"yet");
}
