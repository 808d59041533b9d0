//! Scenarios. What must happen at once takes no time on the model's clock.

use std::collections::BTreeMap;

use super::*;
use crate::net::{cut, cut_both, hold_readers, swallow};
use crate::secure::Security;
use crate::{
    Builder, Cause, Connection, Error, Event, Heartbeat, Listener, Plain, RetryPolicy, SessionLoss,
    WeakConnection,
};

const ADDR: &str = "127.0.0.1:6666";
const SECOND: Duration = Duration::from_secs(1);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(48);
/// A close that was looked at and had moved something by then ends an eighth later.
const CLOSE: Duration = Duration::from_secs(54);
/// An acknowledgement may wait so long, and once more for the driver's tick.
const ACK: Duration = Duration::from_millis(100);

std::thread_local! {
    static VIOLATED: Cell<bool> = const { Cell::new(false) };
    /// What secures the links of this execution, if anything does.
    static SECURITY: RefCell<Option<Security>> = const { RefCell::new(None) };
}

/// Tries many schedules of what `scenario` does, in clear text, and over links that
/// are sealed.
fn explore(scenario: impl Fn() + Send + Sync + 'static) {
    super::explore(move || {
        let unanswered = Arc::default();
        let security = Security::toy("both", &["both"], unanswered);
        SECURITY.set(Some(security).filter(|_| below(2) == 0));
        scenario();
    });
}

/// No side may ever say that the other broke the protocol.
fn keep_the_protocol(scenario: impl FnOnce()) {
    VIOLATED.set(false);
    scenario();
    assert!(!VIOLATED.get(), "a side broke the protocol");
}

fn settings() -> Builder {
    let watch = |_: &Connection, event| {
        if let Event::Lost { cause: Cause::Protocol(_) } = event {
            VIOLATED.set(true);
        }
    };
    let builder = Connection::builder()
        .heartbeat(Heartbeat::every(100 * SECOND))
        .retry(RetryPolicy::fixed(SECOND, 1000).jitter(0.0))
        .close_timeout(CLOSE_TIMEOUT);
    let builder = match SECURITY.with_borrow(Option::clone) {
        Some(security) => builder.security(security),
        None => builder,
    };
    // For an event the driver is woken, which has to be woken without one, too.
    if below(2) == 0 { builder.on_event(watch) } else { builder }
}

fn join<T>(threads: impl IntoIterator<Item = thread::JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// Does `action`, which must not take longer.
fn within<T>(bound: Duration, what: &str, action: impl FnOnce() -> T) -> T {
    let start = now();
    let result = action();
    let took = now() - start;
    assert!(took <= bound, "{what} took {took:?}");
    result
}

/// Lets other threads go on for a while.
fn pause(most: usize) {
    for _ in 0..below(most) {
        thread::yield_now();
    }
}

/// A client, its server's side, and the listener, which remembers how the
/// session ended.
fn pair(builder: Builder) -> (Arc<Connection>, Arc<Connection>, Listener) {
    let listener = builder.clone().bind(ADDR).unwrap();
    let client = builder.connect(ADDR).unwrap();
    let server = listener.accept().unwrap();
    // A session that has carried something outlives its link.
    server.send(b"").unwrap();
    assert!(client.recv().unwrap().is_some());
    assert!(matches!(client.try_recv(), Err(Error::WouldBlock)));
    server.sync(SECOND).unwrap();
    (Arc::new(client), Arc::new(server), listener)
}

fn echo(server: &Connection) {
    while let Ok(Some(message)) = server.recv() {
        if server.send(&message).is_err() {
            break;
        }
    }
}

#[test]
fn a_question_is_answered_at_once() {
    explore(|| {
        let listener = settings().bind(ADDR).unwrap();
        let server = thread::spawn(move || {
            let server = listener.accept().unwrap();
            echo(&server);
            server.close().unwrap();
        });
        within(Duration::ZERO, "everything", || {
            let client = settings().connect(ADDR).unwrap();
            for n in 0..3u8 {
                client.send([n]).unwrap();
                assert_eq!(client.recv().unwrap().as_deref(), Some(&[n][..]));
            }
            client.finish().unwrap();
            assert_eq!(client.recv().unwrap(), None);
            client.close().unwrap();
        });
        server.join().unwrap();
    });
}

#[test]
fn a_stream_arrives_without_anybody_asking_for_it() {
    explore(|| {
        let (client, server, _listener) = pair(settings());
        within(Duration::ZERO, "all", || {
            let sending = client.clone();
            let sending = thread::spawn(move || {
                for n in 0..10u8 {
                    sending.send([n]).unwrap();
                    pause(20);
                }
            });
            for n in 0..10u8 {
                assert_eq!(server.recv().unwrap().as_deref(), Some(&[n][..]));
            }
            sending.join().unwrap();
        });
    });
}

/// Plain text has no acknowledgements, and nobody waits for one.
#[test]
fn a_line_is_answered_at_once() {
    explore(|| {
        let listener = settings().bind(ADDR).unwrap();
        let server = thread::spawn(move || {
            let server = listener.accept().unwrap();
            echo(&server);
            server.close().unwrap();
        });
        within(Duration::ZERO, "everything", || {
            let client = settings().plain(Plain::new()).connect(ADDR).unwrap();
            for line in [&b"1\n"[..], b"2\n", b"3\n"] {
                client.send(line).unwrap();
                assert_eq!(client.recv().unwrap().as_deref(), Some(line));
            }
            client.finish().unwrap();
            assert_eq!(client.recv().unwrap(), None);
            client.close().unwrap();
        });
        server.join().unwrap();
    });
}

/// What a sender of plain text waits for is written, not read, and a full
/// receiver leaves the rest in the socket.
#[test]
fn a_sender_of_lines_goes_on_when_there_is_room() {
    const LINES: usize = 12;
    explore(|| {
        let listener = settings().window(100).bind(ADDR).unwrap();
        let server = thread::spawn(move || {
            let server = listener.accept().unwrap();
            pause(300);
            let received = std::iter::from_fn(|| server.recv().unwrap()).count();
            server.close().unwrap();
            received
        });
        let client = Arc::new(settings().plain(Plain::new()).window(100).connect(ADDR).unwrap());
        let receiving = client.clone();
        let receiving = thread::spawn(move || assert_eq!(receiving.recv().unwrap(), None));
        within(ACK, "everything", || {
            (0..LINES).for_each(|_| client.send([b'x'; 60]).unwrap());
            client.sync(SECOND).unwrap();
            client.finish().unwrap();
            assert_eq!(server.join().unwrap(), LINES);
            receiving.join().unwrap();
        });
    });
}

#[test]
fn a_reader_that_leaves_passes_its_role_on() {
    explore(|| {
        let (client, server, _listener) = pair(settings());
        let start = now();
        let [leaving, staying] = [1, 1000].map(|seconds| {
            let client = client.clone();
            thread::spawn(move || client.recv_timeout(seconds * SECOND))
        });
        // The message comes just when the first one leaves.
        Sleeper::new().sleep(Some(start + SECOND));
        within(Duration::ZERO, "all", || {
            server.send(b"for whoever is there").unwrap();
            if leaving.join().unwrap().is_ok() {
                server.send(b"for the other").unwrap();
            }
            assert!(staying.join().unwrap().is_ok());
        });
    });
}

#[test]
fn a_reader_that_leaves_passes_its_role_on_to_a_sender() {
    explore(|| {
        let (client, server, _listener) = pair(settings().window(3));
        client.send([0; 3]).unwrap();
        let receiving = client.clone();
        let receiving = thread::spawn(move || assert!(receiving.recv().unwrap().is_some()));
        let sending = client.clone();
        let sending = thread::spawn(move || sending.send([1; 3]).unwrap());
        pause(100);
        within(Duration::ZERO, "recv", || {
            server.send([2]).unwrap();
            receiving.join().unwrap();
        });
        pause(100);
        // It wants the next one, and has therefore done with the first.
        within(ACK, "all", || {
            assert_eq!(server.recv().unwrap().as_deref(), Some(&[0; 3][..]));
            assert_eq!(server.recv().unwrap().as_deref(), Some(&[1; 3][..]));
            sending.join().unwrap();
        });
    });
}

/// Sends numbered messages with several threads, and receives with several.
fn traffic(connection: &Arc<Connection>, messages: u8) -> Vec<thread::JoinHandle<Vec<[u8; 2]>>> {
    let sending = Arc::new(());
    let senders = (0..2).map(|sender| {
        let (connection, sending) = (connection.clone(), sending.clone());
        thread::spawn(move || {
            let all: Vec<_> = (0..messages)
                .map(|n| {
                    let mut message = vec![sender, n];
                    // Some are larger than what a socket takes at once.
                    message.resize(2 + below(2) * below(300), 0);
                    message
                })
                .collect();
            if below(4) == 0 {
                all.iter().for_each(|message| connection.send(message).unwrap());
            } else if below(3) > 0 {
                for message in &all {
                    connection.feed(message).unwrap();
                    connection.flush().unwrap();
                }
            } else {
                connection.feed_many(&all).unwrap();
                connection.flush().unwrap();
            }
            // The last one to be done says that there is no more.
            if Arc::into_inner(sending).is_some() {
                connection.finish().unwrap();
            }
            Vec::new()
        })
    });
    let senders: Vec<_> = senders.collect();
    drop(sending);
    let receivers = (0..2).map(|_| {
        let connection = connection.clone();
        thread::spawn(move || {
            let mut messages = Vec::new();
            if below(2) == 0 {
                messages.extend(std::iter::from_fn(|| connection.recv().unwrap()));
            } else {
                while connection.recv_many(&mut messages, 1 + below(3)).unwrap() > 0 {}
            }
            messages.iter().map(|message| [message[0], message[1]]).collect()
        })
    });
    senders.into_iter().chain(receivers).collect()
}

/// Every message arrived once, and each thread received those of each sender
/// in order.
fn check(received: Vec<Vec<[u8; 2]>>, messages: u8) {
    let mut all = BTreeMap::new();
    for messages in received {
        let mut last = BTreeMap::new();
        for [sender, n] in messages {
            assert!(last.insert(sender, n).is_none_or(|last| last < n), "reordered");
            assert!(all.insert([sender, n], ()).is_none(), "doubled: {sender} {n}");
        }
    }
    assert_eq!(all.len(), 2 * usize::from(messages), "lost");
}

fn cut_now_and_then(cuts: usize) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for _ in 0..cuts {
            pause(300);
            cut();
        }
    })
}

fn survive_cuts(builder: Builder, cuts: usize, messages: u8) {
    keep_the_protocol(|| exchange_through_cuts(builder, cuts, messages));
}

fn exchange_through_cuts(builder: Builder, cuts: usize, messages: u8) {
    let (client, server, listener) = pair(builder);
    let adversary = cut_now_and_then(cuts);
    let (there, back) = (traffic(&client, messages), traffic(&server, messages));
    check(join(back), messages);
    check(join(there), messages);
    adversary.join().unwrap();
    let closing = thread::spawn(move || server.close().unwrap());
    client.close().unwrap();
    closing.join().unwrap();
    listener.drain(Duration::MAX).unwrap();
}

#[test]
fn many_threads_share_a_connection() {
    explore(|| within(ACK, "all", || survive_cuts(settings(), 0, 2)));
}

#[test]
fn cuts_lose_and_double_nothing() {
    explore(|| {
        let cuts = 1 + below(3);
        // A link that is lost before it has proved itself waits for its second try.
        let bound = SECOND * u32::try_from(cuts).unwrap() + SECOND;
        within(bound, "all", || survive_cuts(settings(), cuts, 3));
    });
}

#[test]
fn cuts_lose_and_double_nothing_when_windows_are_full() {
    explore(|| {
        let cuts = 1 + below(2);
        let bound = SECOND * u32::try_from(cuts).unwrap() + SECOND;
        within(bound, "all", || survive_cuts(settings().window(310), cuts, 3));
    });
}

/// Whoever reads them: a receiver, the driver, or one of those who wait.
#[test]
fn everybody_who_waits_for_acknowledgements_hears_of_them() {
    const MESSAGES: u32 = 2;
    explore(|| {
        let (client, server, _listener) = pair(settings());
        let receiving = thread::spawn(move || {
            let mut messages = Vec::new();
            while server.recv_many(&mut messages, 1 + below(3)).unwrap() > 0 {}
            messages.len()
        });
        let senders = (0..2).map(|sender| {
            let client = client.clone();
            thread::spawn(move || {
                for _ in 0..MESSAGES {
                    match below(2) {
                        0 => client.feed([sender]).unwrap(),
                        _ => client.send([sender]).unwrap(),
                    }
                    pause(50);
                    // Some give up waiting meanwhile, and wait again.
                    let time = || Duration::from_millis(1 + below(200) as u64);
                    within(ACK, "sync", || while client.sync(time()).is_err() {});
                }
            })
        });
        let senders: Vec<_> = senders.collect();
        let waiting = client.clone();
        let waiting = thread::spawn(move || {
            pause(200);
            let _ = waiting.recv_timeout(MESSAGES * ACK);
        });
        join(senders);
        client.finish().unwrap();
        assert_eq!(receiving.join().unwrap(), 2 * MESSAGES as usize);
        waiting.join().unwrap();
    });
}

/// Its process was killed, and the server has not noticed: a handler uses what the client had
/// while that is ended, and another one is accepted.
#[test]
fn a_client_that_was_started_again_ends_what_it_had() {
    explore(|| {
        let builder = settings().client_id([7; 16]);
        let (client, server, listener) = pair(builder.clone().retry(RetryPolicy::never()));
        client.feed_many(&[b"one", b"two"]).unwrap();
        client.flush().unwrap();
        let (using, use_) = (server.clone(), below(5));
        let using = thread::spawn(move || match use_ {
            0 => while using.recv().is_ok() {},
            1 => while using.send([0; 600]).is_ok() {},
            2 => drop(using.close().unwrap_err()),
            3 => using.abort(),
            _ => pause(100),
        });
        let accepting = thread::spawn(move || (listener.accept().unwrap(), listener));
        pause(100);
        within(ACK, "all", || {
            let again = builder.connect(ADDR).unwrap();
            assert_eq!(again.send_numbered(b"one").unwrap(), 1);
            let (new, _listener) = accepting.join().unwrap();
            // The one before has ended by now, and hands out nothing more.
            let ended =
                if below(2) == 0 { server.try_send([1]) } else { server.try_recv().map(drop) };
            match ended.unwrap_err() {
                Error::GaveUp { cause: Cause::Replaced, .. } => assert_ne!(use_, 3),
                Error::Closed { .. } => assert_eq!(use_, 3),
                other => panic!("{other}"),
            }
            let (number, message) = new.recv_numbered().unwrap().unwrap();
            assert_eq!((number, &message[..]), (1, &b"one"[..]));
            using.join().unwrap();
        });
    });
}

/// A thread that wrote on one link comes back when there is another.
#[test]
fn a_late_writer_does_no_harm() {
    explore(|| {
        keep_the_protocol(|| {
            let (client, server, _listener) = pair(settings());
            let adversary = cut_now_and_then(2);
            let sender = thread::spawn(move || {
                for n in 0..3u8 {
                    server.send([n; 600]).unwrap();
                }
                server
            });
            for n in 0..3u8 {
                assert_eq!(client.recv().unwrap().as_deref(), Some(&[n; 600][..]));
            }
            adversary.join().unwrap();
            drop(sender.join().unwrap());
        });
    });
}

/// Heartbeats, retries and acknowledgements that race with everything else.
#[test]
fn nothing_is_lost_or_doubled_when_time_is_short() {
    explore(|| {
        hurry();
        let builder = settings()
            .heartbeat(Heartbeat::every(SECOND).misses(1))
            .window(310 + below(300))
            .close_timeout(500 * SECOND)
            .resume_within(500 * SECOND);
        survive_cuts(builder, below(2), 2);
    });
}

#[test]
fn what_the_socket_does_not_take_follows_at_once() {
    explore(|| {
        let (client, server, _listener) = pair(settings());
        within(Duration::ZERO, "all", || {
            client.send([7; 1000]).unwrap();
            assert_eq!(server.recv().unwrap().as_deref(), Some(&[7; 1000][..]));
        });
    });
}

#[test]
fn a_blocked_sender_goes_on_when_there_is_room() {
    explore(|| {
        let (client, server, _listener) = pair(settings().window(3));
        let sender = thread::spawn(move || {
            for n in 0..4u8 {
                client.send([n; 3]).unwrap();
            }
            client.finish().unwrap();
            client
        });
        pause(100);
        for n in 0..4u8 {
            let message = within(Duration::ZERO, "recv", || server.recv().unwrap().unwrap());
            assert_eq!(message[..], [n; 3]);
        }
        assert_eq!(server.recv().unwrap(), None);
        let client = sender.join().unwrap();
        within(ACK, "close", || client.close().unwrap());
        within(ACK, "close", || server.close().unwrap());
    });
}

/// It asks for a write of its own, whether the writer is idle or waits for room.
#[test]
fn what_a_reader_has_to_answer_is_written_at_once() {
    super::explore(|| {
        let unanswered = Arc::default();
        let security = Security::toy("both", &["both"], Arc::clone(&unanswered));
        let (client, server, _listener) = pair(settings().security(security));
        let len = if below(2) == 0 { 3 } else { 600 };
        let sending = [&client, &server].map(|connection| {
            let connection = connection.clone();
            thread::spawn(move || (0..3u8).for_each(|n| connection.send(vec![n; len]).unwrap()))
        });
        for n in 0..3u8 {
            let messages = [&client, &server].map(|connection| connection.recv().unwrap());
            assert!(messages.iter().flatten().all(|message| *message == vec![n; len]));
        }
        join(sending);
        // The clock goes on when nobody has anything left to do. No acknowledgement is due.
        let next = [client, server].map(|connection| {
            thread::spawn(move || {
                let next = connection.recv_timeout(Duration::from_millis(1));
                assert!(matches!(next, Err(Error::TimedOut)), "{next:?}");
                connection
            })
        });
        let _live = join(next);
        assert_eq!(unanswered.load(std::sync::atomic::Ordering::Relaxed), 0);
    });
}

/// It races what both clients say, links that are cut and resumed, and a close.
#[test]
fn a_reload_ends_what_is_not_trusted_and_nothing_else() {
    super::explore(|| {
        let sealed =
            |key, trusts: &[&str]| settings().security(Security::toy(key, trusts, Arc::default()));
        let listener = Arc::new(sealed("server", &["alice", "bob"]).bind(ADDR).unwrap());
        let [(alice, of_alice), (bob, of_bob)] = ["alice", "bob"].map(|key| {
            let client = sealed(key, &["server"]).connect(ADDR).unwrap();
            let server = listener.accept().unwrap();
            server.send(b"").unwrap();
            assert!(client.recv().unwrap().is_some());
            assert!(matches!(client.try_recv(), Err(Error::WouldBlock)));
            server.sync(SECOND).unwrap();
            (client, server)
        });
        let adversary = cut_now_and_then(below(3));
        let reloading = listener.clone();
        let reload = thread::spawn(move || {
            pause(300);
            let security = Security::toy("server", &["bob"], Arc::default());
            within(Duration::ZERO, "a reload", || reloading.reload(security).unwrap());
            assert!(sealed("alice", &["server"]).connect(ADDR).is_err(), "she is in");
        });
        let of_alice = thread::spawn(move || {
            loop {
                if let Err(error) = of_alice.recv() {
                    assert!(
                        matches!(error, Error::GaveUp { cause: Cause::Revoked, .. }),
                        "{error:?}"
                    );
                    return;
                }
            }
        });
        let alice = thread::spawn(move || {
            let error = (0..).find_map(|n: u8| match n {
                0..3 => alice.send([n]).err(),
                _ => alice.recv().err(),
            });
            let Some(Error::GaveUp { cause: Cause::Rejected(_), .. }) = error else {
                panic!("{error:?}")
            };
        });
        let of_bob = thread::spawn(move || {
            echo(&of_bob);
            of_bob.close().unwrap();
        });
        // A link that is lost before it has proved itself waits for its second try.
        within(5 * SECOND, "what is trusted", || {
            for n in 0..4u8 {
                bob.send([n]).unwrap();
                assert_eq!(bob.recv().unwrap().as_deref(), Some(&[n][..]));
            }
            bob.finish().unwrap();
            assert_eq!(bob.recv().unwrap(), None);
            bob.close().unwrap();
            join([of_bob, adversary, reload, of_alice, alice]);
        });
    });
}

/// Every blocked call returns when the connection ends, however it ends.
fn end(ending: impl Fn(&Arc<Connection>, &Arc<Connection>)) {
    let (client, server, _listener) = pair(settings().window(3));
    // Fills both windows, so that later sends block.
    client.send([0; 3]).unwrap();
    server.send([0; 3]).unwrap();
    let mut waiting = Vec::new();
    for connection in [&client, &server] {
        let blocked = connection.clone();
        waiting.push(thread::spawn(move || while blocked.send([1; 3]).is_ok() {}));
        let blocked = connection.clone();
        waiting.push(thread::spawn(move || {
            let _ = blocked.sync(500 * SECOND);
        }));
    }
    pause(200);
    within(CLOSE + SECOND, "the end", || {
        ending(&client, &server);
        join(waiting);
    });
}

#[test]
fn an_abort_frees_everybody() {
    explore(|| within(Duration::ZERO, "all", || end(|client, _| client.abort())));
}

#[test]
fn an_abort_of_the_other_side_frees_everybody() {
    explore(|| within(Duration::ZERO, "all", || end(|_, server| server.abort())));
}

/// A server's word, whatever the client waits for, and whatever becomes of the link.
#[test]
fn a_refusal_is_heard_by_everybody() {
    explore(|| {
        let (client, server, _listener) = pair(settings().window(310));
        let adversary = cut_now_and_then(below(3));
        // It is never read.
        client.send([0; 100]).unwrap();
        let closes = below(2) == 0;
        let calls = (0..4).map(|kind| {
            let client = client.clone();
            thread::spawn(move || match kind {
                0 => loop {
                    match client.send([1; 100]) {
                        Err(Error::Finished) => return client.recv().map(drop),
                        result => result?,
                    }
                },
                1 => client.recv().map(drop),
                2 => client.sync(500 * SECOND),
                _ if closes => client.close(),
                _ => client.recv().map(drop),
            })
        });
        let calls: Vec<_> = calls.collect();
        pause(200);
        // A link that is lost before it has proved itself waits for its second try.
        within(4 * SECOND, "a refusal", || {
            within(Duration::ZERO, "refuse", || server.refuse(7, "no"));
            assert!(matches!(server.send(b"more"), Err(Error::Closed { .. })));
            for result in join(calls) {
                assert!(matches!(result, Err(Error::Refused { code: 7, .. })), "{result:?}");
            }
        });
        let Err(Error::Refused { unacknowledged, .. }) = client.close() else { panic!() };
        assert_eq!(client.take_unacknowledged().len() as u64, unacknowledged);
        adversary.join().unwrap();
    });
}

#[test]
fn a_close_that_nobody_answers_frees_everybody_in_time() {
    explore(|| {
        end(|client, _| {
            let closed = within(CLOSE, "close", || client.close());
            assert!(matches!(closed, Err(Error::Closed { unacknowledged: 1.. })), "{closed:?}");
        });
    });
}

/// Also of what it takes to tell the peer.
#[test]
fn a_close_over_a_dead_path_keeps_to_its_time_however_short_that_is() {
    explore(|| {
        let time = Duration::from_millis(80);
        let (client, _server, _listener) = pair(settings().close_timeout(time));
        swallow();
        client.send(b"lost").unwrap();
        let closed = within(time * 9 / 8 + time, "close", || client.close());
        assert!(matches!(closed, Err(Error::Closed { unacknowledged: 1 })), "{closed:?}");
    });
}

#[test]
fn a_close_without_any_time_tells_the_peer_what_the_socket_takes() {
    explore(|| {
        let (client, server, _listener) = pair(settings().close_timeout(Duration::ZERO));
        client.send(b"not taken").unwrap();
        within(Duration::ZERO, "close", || client.close().unwrap_err());
        let _ = server.try_send(b"not taken either");
        let told = server.sync(ACK);
        assert!(matches!(told, Err(Error::PeerClosed { .. })), "{told:?}");
    });
}

#[test]
fn who_waits_for_room_hears_that_there_will_be_none() {
    explore(|| {
        let (client, _server, _listener) = pair(settings().window(3));
        client.send([0; 3]).unwrap();
        let (done, closes) = (Arc::new(AtomicUsize::new(0)), below(2) == 0);
        let senders = (0..3).map(|_| {
            let (client, done) = (client.clone(), done.clone());
            thread::spawn(move || {
                pause(50);
                let sent = client.send([1; 3]);
                assert!(matches!(sent, Err(Error::Finished | Error::Closed { .. })), "{sent:?}");
                done.fetch_add(1, Ordering::SeqCst);
            })
        });
        let senders: Vec<_> = senders.collect();
        pause(100);
        let ending = client.clone();
        let ending = thread::spawn(move || match closes {
            true => drop(ending.close().unwrap_err()),
            false => ending.finish().unwrap(),
        });
        client.sync(ACK).unwrap_err();
        // One may read, and hears of it when something comes.
        assert!(done.load(Ordering::SeqCst) >= 2);
        ending.join().unwrap();
        client.abort();
        join(senders);
    });
}

#[test]
fn two_closes_and_a_cut_return_in_time() {
    explore(|| {
        end(|client, server| {
            let other = server.clone();
            let other =
                thread::spawn(move || within(CLOSE + SECOND, "close", || drop(other.close())));
            pause(100);
            cut();
            within(CLOSE + SECOND, "close", || drop(client.close()));
            other.join().unwrap();
        });
    });
}

#[test]
fn a_receiver_hears_that_another_thread_closed() {
    explore(|| {
        let (client, server, _listener) = pair(settings());
        let receivers = [&client, &client, &server].map(|connection| {
            let connection = connection.clone();
            thread::spawn(move || connection.recv())
        });
        pause(100);
        // The server learns of the client's end, and has nothing more to say.
        within(ACK, "close", || {
            let closing = client.clone();
            let closing = thread::spawn(move || closing.close().unwrap());
            closing.join().unwrap();
            let [first, second, servers] = receivers.map(|thread| thread.join().unwrap());
            assert!(first.is_err() && second.is_err(), "{first:?} {second:?}");
            assert!(matches!(servers, Ok(None) | Err(Error::PeerClosed { .. })), "{servers:?}");
        });
    });
}

#[test]
fn a_drop_says_what_it_had_to_say() {
    explore(|| {
        let (client, server, _listener) = pair(settings());
        let adversary = thread::spawn(|| {
            pause(200);
            if below(2) == 0 {
                cut();
            }
        });
        client.send(b"last words").unwrap();
        drop(client);
        let message = within(SECOND, "recv", || server.recv().unwrap());
        assert_eq!(message.as_deref(), Some(&b"last words"[..]));
        let end = within(SECOND, "recv", || server.recv());
        assert!(matches!(end, Ok(None)), "{end:?}");
        adversary.join().unwrap();
    });
}

#[test]
fn timed_waits_keep_their_time_while_others_read() {
    explore(|| {
        let (client, server, _listener) = pair(settings());
        let waiting = [3, 5, 7].map(|seconds| {
            let client = client.clone();
            thread::spawn(move || {
                let start = now();
                let result = client.recv_timeout(seconds * SECOND);
                (result, now() - start, seconds * SECOND)
            })
        });
        pause(100);
        let adversary = thread::spawn(|| {
            pause(200);
            if below(2) == 0 {
                cut();
            }
        });
        server.send(b"for one").unwrap();
        let mut received = 0;
        for (result, took, given) in join(waiting) {
            match result {
                Ok(Some(_)) => received += 1,
                Err(Error::TimedOut) => {
                    // A kernel's timer ends a little late, and never early.
                    assert!(took >= given && took <= given + ACK, "{took:?} of {given:?}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(received, 1);
        adversary.join().unwrap();
    });
}

#[test]
fn a_closed_listener_frees_accept_and_ends_whom_nobody_accepted() {
    explore(|| {
        let listener = Arc::new(settings().bind(ADDR).unwrap());
        let accepting = listener.clone();
        let accepting = thread::spawn(move || accepting.incoming().count());
        let connecting = thread::spawn(|| {
            let retry = RetryPolicy::fixed(SECOND, 3).jitter(0.0);
            let client = settings().retry(retry).connect(ADDR);
            client.and_then(|client| {
                client.send(b"hello")?;
                client.close()
            })
        });
        pause(200);
        within(Duration::ZERO, "close", || listener.close());
        accepting.join().unwrap();
        // Nobody has read it.
        assert!(within(52 * SECOND, "the client", || connecting.join().unwrap()).is_err());
    });
}

#[test]
fn a_server_that_is_gone_is_given_up_in_time() {
    explore(|| {
        let retry = RetryPolicy::fixed(SECOND, 3).jitter(0.0);
        let (client, server, _listener) = pair(settings().retry(retry));
        let waiting = [0, 1, 2].map(|kind| {
            let client = client.clone();
            thread::spawn(move || match kind {
                0 => client.recv().map(drop),
                1 => client.send(b"never read").and_then(|()| client.sync(500 * SECOND)),
                _ => loop {
                    client.send([0; 100])?;
                },
            })
        });
        server.abort();
        // Its own is told; a client that does not hear it finds the port closed.
        cut();
        let ends = within(5 * SECOND, "giving up", || join(waiting));
        for end in ends {
            let ended = matches!(end, Err(Error::GaveUp { .. } | Error::PeerClosed { .. }));
            assert!(ended, "{end:?}");
        }
    });
}

#[test]
fn silence_is_noticed_in_time_and_costs_nothing() {
    explore(|| {
        let losses = Arc::new(std::sync::Mutex::new(Vec::new()));
        let builder = settings().heartbeat(Heartbeat::every(10 * SECOND).misses(2));
        let seen = losses.clone();
        let (client, server, _listener) = pair(builder);
        client.on_event(move |_, event| {
            if let Event::Lost { cause } = event {
                seen.lock().unwrap().push((now(), cause));
            }
        });
        client.send(b"0").unwrap();
        assert_eq!(server.recv().unwrap().as_deref(), Some(&b"0"[..]));
        let echoing = server.clone();
        let echoing = thread::spawn(move || echo(&echoing));
        let start = now();
        swallow();
        for n in 0..2u8 {
            client.send([n]).unwrap();
            let reply = within(31 * SECOND, "an answer", || client.recv().unwrap());
            assert_eq!(reply.as_deref(), Some(&[n][..]));
        }
        let (at, cause) = losses.lock().unwrap()[0].clone();
        assert!(matches!(cause, Cause::Silent(_)), "{cause:?}");
        assert!(at - start <= 30 * SECOND + ACK, "noticed after {:?}", at - start);
        client.close().unwrap();
        echoing.join().unwrap();
    });
}

/// While it sleeps no time passes, and the next heartbeat is as far away as before.
#[test]
fn a_link_that_died_while_the_machine_slept_is_found_dead_when_it_wakes() {
    explore(|| {
        let (client, server, _listener) = pair(settings());
        let echoing = server.clone();
        let echoing = thread::spawn(move || echo(&echoing));
        swallow();
        let checking = client.clone();
        let checking = thread::spawn(move || {
            pause(200);
            if below(2) == 0 { checking.check() } else { sleep(3 * 3600 * SECOND) }
        });
        client.send(b"0").unwrap();
        // As long as connecting may take, and the second look.
        let reply = within(5 * SECOND + ACK, "an answer", || client.recv().unwrap());
        assert_eq!(reply.as_deref(), Some(&b"0"[..]));
        checking.join().unwrap();
        client.close().unwrap();
        echoing.join().unwrap();
    });
}

/// Bytes that wait to be read are life, even if their reader is not scheduled.
#[test]
fn nobody_is_judged_whose_bytes_wait() {
    explore(|| {
        let builder = settings().heartbeat(Heartbeat::every(10 * SECOND).misses(1));
        let (client, server, _listener) = pair(builder);
        let reading = client.clone();
        let reading = thread::spawn(move || reading.recv().unwrap());
        pause(100);
        hold_readers(true);
        server.send(b"a sign of life").unwrap();
        Sleeper::new().sleep(Some(now() + 500 * SECOND));
        assert_eq!(client.stats().reconnects, 0, "judged");
        hold_readers(false);
        assert_eq!(reading.join().unwrap().as_deref(), Some(&b"a sign of life"[..]));
    });
}

#[test]
fn an_expiry_that_races_a_resume_is_one_or_the_other() {
    explore(|| {
        let builder = settings().resume_within(SECOND);
        let losses = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let listener = builder.clone().bind(ADDR).unwrap();
        let seen = losses.clone();
        let client = builder.on_event(move |_, event| {
            if let Event::SessionLost { .. } = event {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        });
        let serving = thread::spawn(move || {
            let mut handlers = Vec::new();
            for server in listener.incoming() {
                handlers.push(thread::spawn(move || echo(&server.unwrap())));
                if handlers.len() == 2 {
                    listener.close();
                }
            }
            join(handlers);
        });
        let client = client.connect(ADDR).unwrap();
        client.send([0]).unwrap();
        assert_eq!(client.recv().unwrap().as_deref(), Some(&[0][..]));
        // Both at the second: the retry, and the end of the server's patience.
        cut_both();
        pause(50);
        cut_both();
        client.send([1]).unwrap();
        let mut replies = 0;
        while replies < 1 {
            let reply = within(5 * SECOND, "a reply", || client.recv().unwrap().unwrap());
            replies += usize::from(reply[..] == [1]);
        }
        client.close().unwrap();
        if losses.load(Ordering::SeqCst) == 0 {
            // The server's loop waits for a second session.
            drop(settings().connect(ADDR));
        }
        serving.join().unwrap();
    });
}

/// Serves all who come, until it is closed. Returns how many sessions there were.
fn serve(listener: Listener) -> (Arc<Listener>, thread::JoinHandle<usize>) {
    let listener = Arc::new(listener);
    let accepting = listener.clone();
    let serving = thread::spawn(move || {
        let handlers = accepting.incoming().map(|server| {
            let server = server.unwrap();
            thread::spawn(move || echo(&server))
        });
        join(handlers.collect::<Vec<_>>()).len()
    });
    (listener, serving)
}

/// The same race, if the client wants no second session: there is none.
#[test]
fn an_expiry_that_races_a_resume_is_the_end_of_a_client_that_gives_up_then() {
    explore(|| {
        let builder = settings().resume_within(SECOND);
        let (listener, serving) = serve(builder.clone().bind(ADDR).unwrap());
        let client = builder.on_session_lost(SessionLoss::GiveUp).connect(ADDR).unwrap();
        client.send([0]).unwrap();
        assert_eq!(client.recv().unwrap().as_deref(), Some(&[0][..]));
        cut_both();
        pause(50);
        cut_both();
        let sent = client.send([1]).is_ok();
        match within(5 * SECOND, "an end", || client.recv()) {
            Ok(reply) => {
                assert_eq!(reply.as_deref(), Some(&[1][..]));
                client.close().unwrap();
            }
            Err(error) => {
                assert!(matches!(error, Error::SessionLost { .. }), "{error}");
                let left = client.take_unacknowledged();
                assert_eq!(left.last().is_some_and(|last| last[..] == [1]), sent, "{left:?}");
            }
        }
        listener.close();
        assert_eq!(serving.join().unwrap(), 1);
    });
}

/// In each session, before what is sent again.
#[test]
fn a_greeting_is_there_when_a_session_is_accepted() {
    explore(|| {
        // Whoever loses a link loses the session.
        let builder = settings().resume_within(Duration::ZERO);
        let listener = Arc::new(builder.clone().bind(ADDR).unwrap());
        let accepting = listener.clone();
        let serving = thread::spawn(move || {
            let handlers = accepting.incoming().map(|server| {
                let server = server.unwrap();
                // It has received nothing yet.
                assert_eq!(server.greeting(), "ann");
                thread::spawn(move || echo(&server))
            });
            join(handlers.collect::<Vec<_>>()).len()
        });
        let client = builder.greeting("ann").connect(ADDR).unwrap();
        let adversary = cut_now_and_then(2);
        (0..3u8).for_each(|n| client.send([n]).unwrap());
        within(
            5 * SECOND,
            "the last reply",
            || {
                while client.recv().unwrap().unwrap()[..] != [2] {}
            },
        );
        adversary.join().unwrap();
        let _ = client.close();
        listener.close();
        assert!(serving.join().unwrap() > 0);
    });
}

/// What a callback may do on either side, whatever becomes of the connection meanwhile.
fn use_in_callback(connection: &Connection, other: &WeakConnection) {
    let clone = connection.clone();
    let other = other.upgrade();
    for connection in [Some(&clone), other.as_ref()].into_iter().flatten() {
        match below(4) {
            0 => drop(connection.sync(SECOND)),
            1 => drop(connection.send([EXTRA; 100])),
            2 => drop(connection.downgrade().upgrade()),
            _ => assert!(matches!(settings().connect(ADDR), Err(Error::WouldBlock))),
        }
    }
}

/// The first byte of what a callback sends.
const EXTRA: u8 = 255;

#[test]
fn a_callback_uses_connections_that_are_cut_and_dropped() {
    explore(|| {
        let (client, server, _listener) = pair(settings().window(310));
        for (side, other) in [(&client, &server), (&server, &client)] {
            let other = other.downgrade();
            side.on_event(move |connection, _| {
                within(Duration::ZERO, "the callback", || use_in_callback(connection, &other));
            });
        }
        let adversary = cut_now_and_then(2);
        let sender = thread::spawn(move || {
            (0..3u8).for_each(|n| client.send([n; 100]).unwrap());
            let weak = client.downgrade();
            drop(client);
            weak
        });
        within(3 * SECOND, "all", || {
            let received = std::iter::from_fn(|| server.recv().unwrap()).map(|message| message[0]);
            let received: Vec<u8> = received.filter(|byte| *byte != EXTRA).collect();
            assert_eq!(received, [0, 1, 2]);
        });
        adversary.join().unwrap();
        // Unless a callback has a clone of it in hand at the moment.
        drop(sender.join().unwrap().upgrade());
    });
}

#[test]
fn a_callback_closes_the_connection() {
    explore(|| {
        let (client, server, _listener) = pair(settings());
        client.send(b"taken").unwrap();
        client.on_event(|connection, _| {
            within(Duration::ZERO, "close", || {
                // It ends in time, wherever it is waited for.
                assert!(!matches!(connection.close(), Err(Error::TimedOut)));
            });
        });
        cut();
        within(2 * SECOND, "the end", || {
            assert_eq!(server.recv().unwrap().as_deref(), Some(&b"taken"[..]));
            assert_eq!(server.recv().unwrap(), None);
            let closing = thread::spawn(move || client.close().unwrap());
            server.close().unwrap();
            closing.join().unwrap();
        });
    });
}

/// A pool of two, which echoes until the end. Counts what it is done with, just before it
/// says so.
fn work(server: &Arc<Connection>, done: &Arc<AtomicUsize>) -> Vec<thread::JoinHandle<()>> {
    let worker = || {
        let (server, done) = (server.clone(), done.clone());
        thread::spawn(move || {
            while let Ok(Some(request)) = server.recv_held() {
                pause(100);
                if server.send(&*request).is_err() {
                    break;
                }
                done.fetch_add(1, Ordering::SeqCst);
                request.done();
            }
        })
    };
    vec![worker(), worker()]
}

#[test]
fn a_pool_acknowledges_what_it_is_done_with_through_cuts() {
    explore(|| {
        keep_the_protocol(|| {
            let cuts = below(3);
            let window = if below(2) == 0 { 310 } else { 1 << 20 };
            let (client, server, _listener) = pair(settings().window(window));
            let done = Arc::new(AtomicUsize::new(0));
            let (pool, adversary) = (work(&server, &done), cut_now_and_then(cuts));
            let sending = client.clone();
            let sending = thread::spawn(move || {
                (0..6u8).for_each(|n| sending.send([n; 40]).unwrap());
            });
            let bound = SECOND * u32::try_from(cuts).unwrap() + SECOND;
            within(bound, "all", || {
                let mut replies = BTreeMap::new();
                for _ in 0..6 {
                    let reply = client.recv().unwrap().unwrap();
                    assert!(replies.insert(reply[0], ()).is_none(), "answered twice");
                    let stats = client.stats();
                    let acknowledged = stats.messages_sent - stats.unacknowledged;
                    let done = done.load(Ordering::SeqCst) as u64;
                    assert!(acknowledged <= done, "{acknowledged} of {done}");
                }
                sending.join().unwrap();
                client.sync(500 * SECOND).unwrap();
                client.finish().unwrap();
                join(pool);
                adversary.join().unwrap();
                let closing = thread::spawn(move || server.close().unwrap());
                client.close().unwrap();
                closing.join().unwrap();
            });
        });
    });
}

/// Whoever waits for whatever goes on.
#[test]
fn a_request_that_is_dropped_ends_the_connection_for_everybody() {
    explore(|| {
        let (client, server, _listener) = pair(settings().window(310));
        let receiving = server.clone();
        let receiving = thread::spawn(move || {
            let request = receiving.recv_held().unwrap().unwrap();
            pause(100);
            receiving.send(b"said before").unwrap();
            drop(request);
        });
        let waiting = server.clone();
        let waiting = thread::spawn(move || {
            // What it has is done too late, or not at all.
            while let Ok(Some(request)) = waiting.recv_held() {
                request.done();
            }
        });
        let sending = client.clone();
        let sending = thread::spawn(move || while sending.send([0; 40]).is_ok() {});
        within(CLOSE + SECOND, "the end", || {
            assert_eq!(client.recv().unwrap().as_deref(), Some(&b"said before"[..]));
            assert!(matches!(client.recv(), Ok(None) | Err(Error::PeerClosed { .. })));
            join([receiving, waiting, sending]);
        });
        assert!(client.stats().unacknowledged > 0);
    });
}

#[test]
fn a_pool_races_with_the_end() {
    explore(|| {
        let (client, server, _listener) = pair(settings());
        let done = Arc::new(AtomicUsize::new(0));
        let pool = work(&server, &done);
        (0..4u8).for_each(|n| client.send([n]).unwrap());
        let receiving = client.clone();
        let receiving = thread::spawn(move || while let Ok(Some(_)) = receiving.recv() {});
        pause(300);
        if below(2) == 0 {
            cut();
        }
        let how = below(3);
        within(CLOSE + SECOND, "the end", || {
            match how {
                0 => drop(server.close()),
                1 => server.abort(),
                _ => drop(client.close()),
            }
            join(pool);
            receiving.join().unwrap();
        });
        let left = client.take_unacknowledged().len();
        assert!(4 - left <= done.load(Ordering::SeqCst), "{left} left");
    });
}

/// Receives replies up to the last. They may begin again, and none is left out.
fn receive_all(client: &Connection, messages: u8) {
    let mut next = 0;
    while next < messages {
        let n = client.recv().unwrap().unwrap()[0];
        assert!(n <= next, "{next} is lost");
        next = next.max(n + 1);
    }
}

/// Wherever the messages are, and whoever reads and writes them.
#[test]
fn a_server_that_restarts_is_found_again_with_nothing_lost() {
    const MESSAGES: u8 = 3;
    /// So long a restart takes at most.
    const FAREWELL: Duration = Duration::from_millis(300);
    explore(|| {
        keep_the_protocol(|| {
            let builder = settings().window(310 + below(2) * 1000);
            let (client, server, listener) = pair(builder.clone());
            let serving = thread::spawn(move || {
                echo(&server);
                // As one that does not mind whether its replies are sent.
                while let Ok(Some(_)) = server.recv() {}
            });
            let sending = client.clone();
            let sending = thread::spawn(move || {
                (0..MESSAGES).for_each(|n| sending.send([n; 100]).unwrap());
            });
            pause(300);
            within(FAREWELL, "the restart", || listener.restart(SECOND));
            serving.join().unwrap();
            let listener = builder.bind(ADDR).unwrap();
            let again = thread::spawn(move || {
                let server = listener.accept().unwrap();
                echo(&server);
                // The client may have left with a reply too many.
                drop(server.close());
                listener
            });
            // It comes at the time that it was told, and what it was not told it finds out.
            within(SECOND + ACK, "all", || {
                receive_all(&client, MESSAGES);
                sending.join().unwrap();
            });
            client.close().unwrap();
            again.join().unwrap();
        });
    });
}

/// A host that is left behind, and one that is new to the client: each knows it by a token of
/// its own.
#[test]
fn another_host_is_asked_at_once_while_a_server_restarts() {
    const OTHER: &str = "127.0.0.2:6666";
    const MESSAGES: u8 = 3;
    explore(|| {
        keep_the_protocol(|| {
            let (first, serving) = serve(settings().bind(ADDR).unwrap());
            let (second, also_serving) = serve(settings().bind(OTHER).unwrap());
            let client = Arc::new(settings().connect([ADDR, OTHER]).unwrap());
            let sending = client.clone();
            let sending = thread::spawn(move || {
                (0..MESSAGES).for_each(|n| sending.send([n]).unwrap());
            });
            pause(300);
            first.restart(100 * SECOND);
            serving.join().unwrap();
            within(ACK, "all", || {
                receive_all(&client, MESSAGES);
                sending.join().unwrap();
            });
            client.send(b"on the other").unwrap();
            while client.recv().unwrap().unwrap() != "on the other" {}
            client.close().unwrap();
            second.close();
            assert_eq!(also_serving.join().unwrap(), 1);
        });
    });
}
