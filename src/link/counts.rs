//! What a message costs: system calls, locks and wake-ups, over real sockets.
//!
//! One thread has both ends, and no driver looks after them, so that the counts are exact.

use std::time::Duration;

use super::{DriverHandle, PendingLink, Shared};
use crate::config::Builder;
use crate::connection::Connection;
use crate::net::{self, Interest, Socket};
use crate::proto::frame::Frame;
use crate::proto::handshake::Limits;
use crate::proto::heartbeat::Heartbeat;
use crate::proto::protocol::Protocol;
use crate::proto::session::{Opened, Session};
use crate::secure::{self, Channel};
use crate::sync::{self, Arc};
use crate::testing::counters::{self, Counters};

mod ends;

const LIMITS: Limits = Limits { window: 100_000, max_message: 10_000 };
const TRIPS: u64 = 100;

/// One end. The driver has looked after it once, and is not there any more.
struct End {
    connection: Connection,
    shared: Arc<Shared>,
    driver: Arc<DriverHandle>,
}

impl End {
    fn new(session: Session, link: PendingLink) -> End {
        let driver = Arc::new(DriverHandle::new().unwrap());
        let (terms, protocol) = (Builder::default().terms(None), Protocol::Framed(session));
        let shared = Shared::new(terms, protocol, link.addr, 1, driver.clone());
        let shared = Arc::new(shared);
        shared.lock().install(link, Opened::First);
        shared.check_up(None);
        driver.answer();
        End { connection: Connection::new(shared.clone()), shared, driver }
    }
}

/// With a link in clear text, and with a sealed one: that makes no difference.
const WAYS: [bool; 2] = [false, true];

fn ends(sealed: bool) -> [End; 2] {
    let listener = Socket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let near = Socket::connect(listener.local_addr().unwrap()).unwrap();
    net::poll(&mut [net::poll_fd(&listener, Interest::READ)], None);
    let (far, _) = listener.accept().unwrap();
    near.connected().unwrap();
    let now = sync::now();
    let mut client = Session::client(LIMITS, Heartbeat::off(), now);
    let server = Session::server(&client.next_hello(), 1, LIMITS, Heartbeat::off(), now);
    let mut links = [near, far].map(|socket| {
        let addr = socket.local_addr().unwrap();
        PendingLink::new(socket, addr, None)
    });
    if sealed {
        let channels = secure::pair([0; 2], &Arc::default());
        links.iter_mut().zip(channels).for_each(|(link, it)| link.channel = Some(it));
    }
    let [mut near, far] = links;
    let far = End::new(server, far);
    let welcome = loop {
        let PendingLink { socket, decoder, channel, .. } = &mut near;
        match channel {
            None => {
                let n = socket.read(decoder.space(), None).unwrap();
                decoder.filled(n);
            }
            Some(Channel { opener, .. }) => {
                let n = socket.read(opener.space(decoder), None).unwrap();
                opener.filled(n);
                opener.open(decoder);
            }
        }
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
    // The last one is sealed in several records, which are sent together.
    for (size, sealed) in
        [(0, false), (64, false), (3000, false), (0, true), (64, true), (270, true)]
    {
        let message = vec![0; size];
        let ends = ends(sealed);
        let [near, far] = [&ends[0].connection, &ends[1].connection];
        let counters = counters(&ends, || {
            near.send(&message).unwrap();
            let request = far.recv().unwrap().unwrap();
            far.send(&request).unwrap();
            assert_eq!(near.recv().unwrap().unwrap(), message);
        });
        let expected = Counters { writes: 2, reads: 2, locks: 8, ..Counters::default() };
        assert_eq!(counters, expected.times(TRIPS), "{size}, sealed: {sealed}");
    }
}

/// Else each message costs its receiver a call that finds nothing.
#[test]
fn a_thread_that_waits_reads_once_for_each_message() {
    for sealed in WAYS {
        let [near, far] = ends(sealed);
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
            assert_eq!(echo.join().unwrap(), expected.times(TRIPS), "sealed: {sealed}");
        });
    }
}

#[test]
fn a_time_that_stays_the_same_is_set_once() {
    for sealed in WAYS {
        let ends = ends(sealed);
        let [near, far] = [&ends[0].connection, &ends[1].connection];
        let counters = counters(&ends, || {
            near.send(b"request").unwrap();
            let request = far.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
            far.send(&request).unwrap();
            near.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
        });
        let Counters { writes, reads, other_calls, .. } = counters;
        assert_eq!((writes, reads, other_calls), (2 * TRIPS, 2 * TRIPS, 0), "sealed: {sealed}");
    }
}

#[test]
fn a_batch_takes_one_write_and_one_read_and_each_message_one_lock() {
    const BATCH: u64 = 5;
    for sealed in WAYS {
        let ends = ends(sealed);
        let [near, far] = [&ends[0].connection, &ends[1].connection];
        let counters = counters(&ends, || {
            (0..BATCH).for_each(|_| near.feed([0; 64]).unwrap());
            near.flush().unwrap();
            (0..BATCH).for_each(|_| assert_eq!(far.recv().unwrap().unwrap().len(), 64));
            far.send(b"all").unwrap();
            near.recv().unwrap().unwrap();
        });
        // Two for the flush, another for the first message, which is waited for; and the
        // answer.
        let locks = 2 * BATCH + 2 + 1 + 4;
        let expected = Counters { writes: 2, reads: 2, locks, ..Counters::default() };
        assert_eq!(counters, expected.times(TRIPS), "sealed: {sealed}");
    }
}
