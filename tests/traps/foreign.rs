//! What others do with a connection: many handles, callbacks, code of theirs that runs in ours.

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, mpsc};
use std::thread;

use longlink::{Bytes, Connection, Error, Host, Plain, ToHosts, WeakConnection};

use crate::SOON;
use crate::proxy::How;
use crate::rig::{Rig, SLACK, Side, builder, calm, has_no_text, join, ms, timed, until};

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
            // A panic is told as well: the test is not to wait for what does not come.
            report.send(catch_unwind(AssertUnwindSafe(|| code(connection)))).unwrap();
        }
    });
    rig.proxy.cut(How::Fin);
    let result = result.recv_timeout(SOON + SLACK).expect("the callback has run the code");
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// The result of a call that is made until it need not block any more.
fn done<T>(what: &str, mut call: impl FnMut() -> Result<T, Error>) -> T {
    let mut result = Err(Error::WouldBlock);
    until(what, || {
        result = call();
        !matches!(result, Err(Error::WouldBlock))
    });
    result.unwrap()
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
    let other = builder().connect(addr).unwrap();
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
            other.recv_held().map(drop),
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
    let other = builder().connect(listener.local_addr()).unwrap();
    other.send(b"hello").unwrap();
    inside(&rig, &client, move |client| {
        client.send(b"from within").unwrap();
        // A client may be welcomed, and bytes be on their way, before they can be taken.
        let accepted = done("accept", || listener.accept());
        assert_eq!(done("recv", || accepted.recv()).unwrap(), "hello");
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

/// Else the caller does not know which of them to send again.
#[test]
fn many_are_fed_in_the_callback_together_or_not_at_all() {
    // Of one byte each, two fit, and the third overshoots.
    let rig = Rig::new(calm().window(131));
    let (client, server) = rig.warm_pair();
    let fed = inside(&rig, &client, |client| {
        let many = client.feed_many(&["1", "2", "3", "4"]);
        let large = client.feed_many(&["1", &"x".repeat(1000)]);
        let empty = client.feed_many(&[""; 0]);
        let all = client.feed_many(&["a", "b", "c"]);
        let none = client.feed_many(&["5"]);
        client.flush().unwrap();
        [many, large, empty, all, none]
    });
    let [many, large, empty, all, none] = fed;
    assert!(matches!(many, Err(Error::WouldBlock)), "{many:?}");
    assert!(matches!(large, Err(Error::TooLarge { size: 1000, .. })), "{large:?}");
    assert!(empty.is_ok() && all.is_ok(), "{empty:?} {all:?}");
    assert!(matches!(none, Err(Error::WouldBlock)), "{none:?}");
    ["a", "b", "c"].iter().for_each(|message| server.takes(message));
    assert!(matches!(server.try_recv(), Err(Error::WouldBlock)));
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

/// Of a message: its drop uses the connection, may block, and panics.
struct Owner {
    bytes: Vec<u8>,
    connection: WeakConnection,
    report: mpsc::Sender<bool>,
}

impl Owner {
    fn message(bytes: Vec<u8>, connection: &Connection, report: &mpsc::Sender<bool>) -> Bytes {
        let (connection, report) = (connection.downgrade(), report.clone());
        Bytes::from_owner(Owner { bytes, connection, report })
    }
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let blocks = self.connection.upgrade().is_some_and(|connection| {
            let (synced, addr) = (connection.sync(SOON), connection.peer_addr());
            matches!(synced, Err(Error::TimedOut))
                || !matches!(Connection::connect(addr), Err(Error::WouldBlock))
        });
        let _ = self.report.send(blocks);
        resume_unwind(Box::new(PanicsToo));
    }
}

/// What is panicked with.
struct PanicsToo;

impl Drop for PanicsToo {
    fn drop(&mut self) {
        resume_unwind(Box::new("a payload panics, too"));
    }
}

const LARGE: usize = 10_000;
const SMALL: usize = 10;

#[test]
fn the_owner_of_a_message_may_do_anything_when_it_is_acknowledged() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    let (report, reports) = mpsc::channel();
    for len in [SMALL, LARGE, LARGE, LARGE] {
        client.send_bytes(Owner::message(vec![7; len], &client, &report)).unwrap();
        client.feed_bytes(Owner::message(vec![7; len], &client, &report)).unwrap();
    }
    client.flush().unwrap();
    for len in [SMALL, LARGE, LARGE, LARGE] {
        server.takes(vec![7; len]);
        server.takes(vec![7; len]);
    }
    server.try_recv().unwrap_err();
    client.sync(SOON).unwrap();
    for nth in 0..8 {
        assert!(!reports.recv_timeout(SOON).unwrap(), "{nth}");
    }
    assert!(matches!(reports.try_recv(), Err(mpsc::TryRecvError::Empty)), "each is dropped once");
    server.send(b"goes on").unwrap();
    client.takes(b"goes on");
}

/// Its driver hears of it, which has other connections to look after.
#[test]
fn the_owner_of_a_message_does_no_harm_to_a_listener() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    let (report, reports) = mpsc::channel();
    for _ in 0..3 {
        server.send_bytes(Owner::message(vec![7; LARGE], &server, &report)).unwrap();
    }
    (0..3).for_each(|_| client.takes([7; LARGE]));
    client.try_recv().unwrap_err();
    for nth in 0..3 {
        assert!(!reports.recv_timeout(SOON).unwrap(), "{nth}");
    }
    let (other, others) = rig.pair();
    other.send(b"x").unwrap();
    others.takes(b"x");
}

#[test]
fn the_owner_of_a_message_may_do_anything_when_it_is_not_sent_any_more() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    let (report, reports) = mpsc::channel();
    let client = client.bare();
    let message = || Owner::message(vec![7; LARGE], &client, &report);
    rig.proxy.hold_connect(true);
    rig.proxy.cut(How::Fin);
    (0..3).for_each(|_| client.send_bytes(message()).unwrap());
    client.abort();
    assert!(matches!(client.send_bytes(message()), Err(Error::Closed { .. })));
    assert!(!reports.recv_timeout(SOON).unwrap(), "that was refused");
    drop(client);
    for nth in 0..3 {
        assert!(!reports.recv_timeout(SOON).unwrap(), "{nth}");
    }
    drop(server);
}

#[test]
fn the_owner_of_a_line_may_do_anything_when_it_is_written_or_answered_or_not() {
    if has_no_text() {
        return;
    }
    const LINE: &str = "a line\n";
    for callback in [false, true] {
        let rig = Rig::new(calm());
        let client = calm().plain(Plain::new()).connect(rig.proxy.addr()).unwrap();
        if callback {
            client.on_event(|_, _| {});
        }
        let (report, reports) = mpsc::channel();
        let line = |connection: &Connection| Owner::message(LINE.into(), connection, &report);
        let dropped = |what: &str| assert!(!reports.recv_timeout(SOON).unwrap(), "{what}");
        client.send_bytes(line(&client)).unwrap();
        let server = rig.accept();
        server.takes(LINE);
        server.send_bytes(line(&server)).unwrap();
        dropped("written by the server");
        assert_eq!(client.recv().unwrap().unwrap(), LINE);
        dropped("answered");
        client.send_bytes(line(&client)).unwrap();
        server.takes(LINE);
        rig.proxy.cut(How::Fin);
        dropped("not answered");
        client.send("the next link\n").unwrap();
        rig.accept().takes("the next link\n");
        client.abort();
    }
}

#[test]
fn what_a_callback_holds_and_what_it_panics_with_may_panic_in_its_drop() {
    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    let bomb = |report: &mpsc::Sender<()>| {
        let bomb = Bomb(report.clone());
        move |_: &Connection, _| {
            let _held = &bomb;
            resume_unwind(Box::new(PanicsToo));
        }
    };
    let (report, dropped) = mpsc::channel();
    server.on_event(bomb(&report));
    // Replaced.
    server.on_event(bomb(&report));
    dropped.recv_timeout(SOON).unwrap();
    // Over.
    client.abort();
    dropped.recv_timeout(SOON).unwrap();
    // Too late.
    until("it is over", || server.flush().is_err());
    server.on_event(bomb(&report));
    dropped.recv_timeout(SOON).unwrap();
    // A builder's.
    drop(calm().on_event(bomb(&report)));
    dropped.recv_timeout(SOON).unwrap();
    let (client, server) = rig.pair();
    client.send(b"goes on").unwrap();
    server.takes(b"goes on");
}

/// Its drop panics.
struct Bomb(mpsc::Sender<()>);

impl Drop for Bomb {
    fn drop(&mut self) {
        let _ = self.0.send(());
        resume_unwind(Box::new(PanicsToo));
    }
}

/// A value whose bytes are asked for: it uses the connection, and may panic.
struct Asked<'a>(&'a Connection, &'static str);

impl AsRef<[u8]> for Asked<'_> {
    fn as_ref(&self) -> &[u8] {
        assert!(self.0.is_connected());
        if self.1 == "panic" {
            resume_unwind(Box::new("no bytes"));
        }
        self.1.as_bytes()
    }
}

#[test]
fn bytes_are_asked_for_without_a_lock() {
    let rig = Rig::new(calm());
    let (client, server) = rig.pair();
    let sending = thread::spawn(move || {
        let asked = |text| Asked(&client, text);
        client.send(asked("one")).unwrap();
        client.feed_many(&[asked("two"), asked("three")]).unwrap();
        let panics = || client.feed_many(&[asked("none"), asked("panic")]);
        catch_unwind(AssertUnwindSafe(panics)).unwrap_err();
        client.send(asked("four")).unwrap();
        client
    });
    // Under a lock it would wait for itself.
    let _client = join(sending);
    for text in ["one", "two", "three", "four"] {
        server.takes(text);
    }
}

/// Hosts of its own making.
struct Hosts(fn() -> Vec<Host>);

impl ToHosts for Hosts {
    fn to_hosts(&self) -> longlink::Result<Vec<Host>> {
        Ok(self.0())
    }
}

#[test]
fn no_host_at_all_is_a_mistake_that_is_said_at_once() {
    let nowhere = || Hosts(Vec::new);
    let config = |result: Result<Connection, Error>| {
        assert!(matches!(result, Err(Error::Config(_))), "{result:?}");
    };
    config(Connection::connect(nowhere()));
    config(Connection::connect([[nowhere()]]));
    config(Connection::connect([nowhere(), nowhere()]));
    config(Connection::connect(vec![nowhere()]));
    let panics = || Connection::connect(Hosts(|| resume_unwind(Box::new("no hosts"))));
    catch_unwind(panics).unwrap_err();
}
