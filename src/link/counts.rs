//! What a message costs: system calls, locks and wake-ups, over real sockets.
//!
//! One thread has both ends, and no driver looks after them, so that the counts are exact.

use std::time::Duration;

use super::{DriverHandle, PendingLink, Shared};
use crate::config::Builder;
use crate::connection::Connection;
use crate::net::{self, Interest, Socket};
use crate::proto::frame::{Decoder, Frame};
use crate::proto::handshake::Limits;
use crate::proto::heartbeat::Heartbeat;
use crate::proto::protocol::Protocol;
use crate::proto::session::{Opened, Session};
use crate::sync::{self, Arc};
use crate::testing::counters::{self, Counters};

const LIMITS: Limits = Limits { window: 100_000, max_message: 10_000 };
const TRIPS: u64 = 100;

/// One end. The driver has looked after it once, and is not there any more.
struct End {
    connection: Connection,
    shared: Arc<Shared>,
    driver: Arc<DriverHandle>,
}

impl End {
    fn new(session: Session, socket: Socket) -> End {
        let driver = Arc::new(DriverHandle::new().unwrap());
        let addr = socket.local_addr().unwrap();
        let (terms, protocol) = (Builder::default().terms(None), Protocol::Framed(session));
        let shared = Shared::new(terms, protocol, addr, 1, driver.clone());
        let shared = Arc::new(shared);
        let link = PendingLink::new(socket, addr, None);
        shared.lock().install(link, Opened::First);
        shared.check_up(None);
        driver.answer();
        End { connection: Connection::new(shared.clone()), shared, driver }
    }
}

fn ends() -> [End; 2] {
    let listener = Socket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let near = Socket::connect(listener.local_addr().unwrap()).unwrap();
    net::poll(&mut [net::poll_fd(&listener, Interest::READ)], None);
    let (far, _) = listener.accept().unwrap();
    near.connected().unwrap();
    let now = sync::now();
    let mut client = Session::client(LIMITS, Heartbeat::off(), now);
    let server = Session::server(&client.next_hello(), 1, LIMITS, Heartbeat::off(), now);
    let far = End::new(server, far);
    let mut decoder = Decoder::default();
    let welcome = loop {
        let n = near.read(decoder.space(), None).unwrap();
        decoder.filled(n);
        match decoder.next().unwrap() {
            Some(Frame::Welcome(welcome)) => break welcome,
            other => assert_eq!(other, None),
        }
    };
    assert_eq!(client.welcomed(&welcome, now), Ok(Opened::First));
    [End::new(client, near), far]
}

/// What it takes in the steady state; buffers have grown before.
fn counters(ends: &[End; 2], trip: impl Fn()) -> Counters {
    (0..TRIPS).for_each(|_| trip());
    counters::take();
    (0..TRIPS).for_each(|_| trip());
    let counters = counters::take();
    for End { driver, .. } in ends {
        assert_eq!(driver.answer(), [0; 0], "the driver has nothing to do with it");
    }
    counters
}

#[test]
fn a_message_takes_a_write_a_read_and_two_locks_on_either_side() {
    for size in [0, 64, 3000] {
        let message = vec![0; size];
        let ends = ends();
        let [near, far] = [&ends[0].connection, &ends[1].connection];
        let counters = counters(&ends, || {
            near.send(&message).unwrap();
            let request = far.recv().unwrap().unwrap();
            far.send(&request).unwrap();
            assert_eq!(near.recv().unwrap().unwrap(), message);
        });
        let expected = Counters { writes: 2, reads: 2, locks: 8, ..Counters::default() };
        assert_eq!(counters, expected.times(TRIPS), "{size}");
    }
}

/// Else each message costs its receiver a call that finds nothing.
#[test]
fn a_thread_that_waits_reads_once_for_each_message() {
    let [near, far] = ends();
    std::thread::scope(|scope| {
        let echo = scope.spawn(|| {
            for _ in 0..TRIPS {
                let request = far.connection.recv().unwrap().unwrap();
                far.connection.send(&request).unwrap();
            }
            counters::take()
        });
        for _ in 0..TRIPS {
            while far.shared.lock().link.as_ref().unwrap().read_half.is_some() {
                std::thread::yield_now();
            }
            near.connection.send(b"request").unwrap();
            near.connection.recv().unwrap().unwrap();
        }
        let expected = Counters { writes: 1, reads: 1, locks: 4, ..Counters::default() };
        assert_eq!(echo.join().unwrap(), expected.times(TRIPS));
    });
}

#[test]
fn a_time_that_stays_the_same_is_set_once() {
    let ends = ends();
    let [near, far] = [&ends[0].connection, &ends[1].connection];
    let counters = counters(&ends, || {
        near.send(b"request").unwrap();
        let request = far.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
        far.send(&request).unwrap();
        near.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
    });
    assert_eq!((counters.writes, counters.reads, counters.other_calls), (2 * TRIPS, 2 * TRIPS, 0));
}

#[test]
fn a_batch_takes_one_write_and_one_read_and_each_message_one_lock() {
    const BATCH: u64 = 5;
    let ends = ends();
    let [near, far] = [&ends[0].connection, &ends[1].connection];
    let counters = counters(&ends, || {
        (0..BATCH).for_each(|_| near.feed([0; 64]).unwrap());
        near.flush().unwrap();
        (0..BATCH).for_each(|_| assert_eq!(far.recv().unwrap().unwrap().len(), 64));
        far.send(b"all").unwrap();
        near.recv().unwrap().unwrap();
    });
    // Two for the flush, another for the first message, which is waited for; and the answer.
    let locks = 2 * BATCH + 2 + 1 + 4;
    let expected = Counters { writes: 2, reads: 2, locks, ..Counters::default() };
    assert_eq!(counters, expected.times(TRIPS));
}
