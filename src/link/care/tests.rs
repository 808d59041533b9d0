use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::JoinHandle;

use bytes::Bytes;

use super::*;
use crate::config::Builder;
use crate::connection::Connection;
use crate::driver::DriverHandle;
use crate::error::{Error, Result};
use crate::net;
use crate::proto::frame::Frame;
use crate::proto::handshake::{Hello, Limits};
use crate::proto::heartbeat::Heartbeat;
use crate::proto::plain::PlainSession;
use crate::proto::protocol::Protocol;
use crate::proto::report::Output;
use crate::proto::session::Session;
use crate::secure::Channel;

mod end;
mod parting;
mod sealed;

const LIMITS: Limits = Limits { window: 10_000, max_message: 100 };

/// A server's side of a link without heartbeats of its own, and the client's socket.
pub(in crate::link) fn linked() -> (Arc<Shared>, TcpStream) {
    carry(framed(), None)
}

fn framed() -> Protocol {
    let session = Session::server(&hello(), 1, LIMITS, Heartbeat::off(), sync::now());
    Protocol::Framed(session)
}

fn hello() -> Hello {
    Session::client(LIMITS, Heartbeat::off(), sync::now()).next_hello()
}

fn plain() -> Protocol {
    Protocol::Plain(PlainSession::server(LIMITS, sync::now()))
}

fn carry(protocol: Protocol, channel: Option<Channel>) -> (Arc<Shared>, TcpStream) {
    let (mut link, peer) = pending();
    link.channel = channel;
    let driver = Arc::new(DriverHandle::new().unwrap());
    let shared = Shared::new(Builder::default().terms(None), protocol, link.addr, 1, driver);
    let shared = Arc::new(shared);
    shared.lock().install(link, Opened::First);
    // As after a tick in which no thread has read.
    if let Some(link) = &mut shared.lock().link {
        link.cover = Cover::Driver;
    }
    (shared, peer)
}

fn pending() -> (PendingLink, TcpStream) {
    let listener = Socket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, addr) = listener.accept().unwrap();
    (PendingLink::new(socket, addr, None), peer)
}

fn lose(shared: &Arc<Shared>, cause: Cause) {
    let mut state = shared.lock();
    state.lose(cause);
    state.settle();
}

/// Starts a thread that waits for a message, and lets the driver find out.
fn read_quietly(shared: &Arc<Shared>) -> JoinHandle<(Result<Option<Bytes>>, Connection)> {
    let mut checkup = shared.check_up(None);
    let reading = Connection::new(shared.clone());
    let read_half = std::thread::spawn(move || (reading.recv(), reading));
    while shared.lock().link.as_ref().unwrap().read_half.is_some() {
        std::thread::yield_now();
    }
    while checkup.poll.is_some() || checkup.deadline.is_some() {
        // The session itself has none.
        assert!(checkup.deadline.is_some(), "it is polled for until something comes");
        net::poll(&mut [], checkup.deadline);
        checkup = shared.check_up(None);
    }
    read_half
}

fn abort(shared: &Shared, read_half: JoinHandle<(Result<Option<Bytes>>, Connection)>) {
    let mut state = shared.lock();
    state.abort();
    state.settle();
    assert!(read_half.join().unwrap().0.is_err());
}

/// Else a thousand idle clients are polled for at every turn.
#[test]
fn a_link_that_the_application_reads_is_not_polled() {
    let (shared, _peer) = linked();
    let read_half = read_quietly(&shared);
    abort(&shared, read_half);
}

/// Else each heartbeat of ten thousand idle clients costs the driver three turns.
#[test]
fn a_heartbeat_that_the_application_answers_does_not_call_the_driver() {
    let (shared, mut peer) = linked();
    let read_half = read_quietly(&shared);
    shared.driver.answer();
    let read = || std::mem::take(&mut shared.lock().link.as_mut().unwrap().read_lately);
    for id in 1..=3 {
        read();
        peer.write_all(&Frame::Ping(id).to_bytes()).unwrap();
        // Answered, and back in the next read.
        while !read() {
            std::thread::yield_now();
        }
        assert_eq!(shared.driver.answer(), [0; 0], "ping {id}");
    }
    abort(&shared, read_half);
}

#[test]
fn the_driver_learns_that_the_application_has_stopped_reading() {
    let (shared, mut peer) = linked();
    let read_half = read_quietly(&shared);
    shared.driver.answer();
    peer.write_all(&Frame::data(Bytes::from_static(b"hello")).to_bytes()).unwrap();
    let (received, _connection) = read_half.join().unwrap();
    assert_eq!(received.unwrap().as_deref(), Some(&b"hello"[..]));
    assert_eq!(shared.driver.answer(), [1]);
    let mut checkup = shared.check_up(None);
    while checkup.poll.is_none() {
        assert!(checkup.deadline.is_some(), "nobody reads any more");
        net::poll(&mut [], checkup.deadline);
        checkup = shared.check_up(None);
    }
}

/// Else each echo of a stream is a system call of its own.
#[test]
fn what_was_fed_is_written_when_the_application_waits_or_a_batch_is_full() {
    let (shared, mut peer) = linked();
    let connection = Connection::new(shared.clone());
    let unwritten = || shared.lock().protocol.output() > Output::Nothing;
    let data = |body: &'static [u8]| Frame::data(Bytes::from_static(body)).to_bytes();
    peer.write_all(&[data(b"one"), data(b"two")].concat()).unwrap();
    connection.recv().unwrap();
    connection.feed(b"reply").unwrap();
    assert_eq!(connection.recv().unwrap().as_deref(), Some(&b"two"[..]));
    assert!(unwritten());
    assert!(matches!(connection.try_recv(), Err(Error::WouldBlock)));
    assert!(!unwritten());
    let fed = (1..50).find(|_| {
        connection.feed([0; 100]).unwrap();
        !unwritten()
    });
    assert!(fed.is_some_and(|messages| messages > 1), "{fed:?}");
    connection.abort();
}

fn keep(shared: &Arc<Shared>) {
    let mut checkup = shared.check_up(None);
    for _ in 0..1000 {
        let Some((socket, interest)) = checkup.poll else { return };
        let mut fds = [net::poll_fd(&*socket, interest)];
        net::poll(&mut fds, sync::after(Duration::from_secs(20)));
        shared.on_ready(net::readiness(&fds[0]));
        checkup = shared.check_up(None);
    }
    panic!("it spins");
}

/// How far the bytes have come, once all that were written are acknowledged; and how many
/// those are.
fn all_acknowledged(shared: &Shared) -> (Reach, u64) {
    loop {
        let mut state = shared.lock();
        if let Some(reach) = state.measure() {
            let half = state.link.as_ref().unwrap().write_half.as_ref().unwrap();
            let written = half.batch.written();
            if reach.acknowledged == written {
                return (reach, written);
            }
        }
        drop(state);
        std::thread::yield_now();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_kernel_tells_what_the_peers_kernel_has_acknowledged() {
    let (shared, peer) = linked();
    let connection = Connection::new(shared.clone());
    let (welcome, written) = all_acknowledged(&shared);
    assert_eq!((written > 0, welcome.carried), (true, 0));
    connection.send(b"hello").unwrap();
    let (hello, written) = all_acknowledged(&shared);
    assert_eq!(hello.carried, written);
    drop(peer);
    connection.abort();
}

/// Else nothing that the peer's kernel acknowledges answers it, however long the path is.
#[test]
fn a_check_waits_for_a_thread_that_writes() {
    let (shared, _peer) = linked();
    let checks = || shared.lock().protocol.status().counts_bytes;
    let write_half = shared.lock().link.as_mut().unwrap().write_half.take();
    shared.lock().request_check();
    let deadline = shared.check_up(None).deadline.expect("it looks again");
    assert!(!checks() && deadline <= sync::now() + TICK);
    shared.lock().link.as_mut().unwrap().write_half = write_half;
    shared.check_up(None);
    assert!(checks());
}

fn reset(peer: TcpStream) {
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Else the driver spins, since the socket is ready for ever.
#[test]
fn a_link_that_can_neither_be_read_nor_written_is_lost() {
    let (shared, peer) = carry(plain(), None);
    let connection = Connection::new(shared.clone());
    peer.shutdown(Shutdown::Write).unwrap();
    reset(peer);
    connection.send(b"reply").unwrap();
    keep(&shared);
    assert!(!connection.is_connected());
}

/// Else an echo waits for ever for room, since the end that would free it is
/// behind lines for which there is no room either.
#[test]
fn a_link_that_cannot_be_written_and_is_full_both_ways_is_lost() {
    let (shared, mut peer) = carry(plain(), None);
    let connection = Connection::new(shared.clone());
    peer.write_all(&b"a line of text\n".repeat(10_000)).unwrap();
    shared.on_ready(Interest::READ);
    reset(peer);
    connection.send(b"a reply").unwrap();
    assert!(connection.is_connected(), "there is more to read");
    while connection.try_send(b"a reply").is_ok() {}
    keep(&shared);
    assert!(!connection.is_connected());
}

/// Reads what is there. Returns whether the end stands behind it.
fn ends(peer: &mut TcpStream) -> bool {
    loop {
        match peer.read(&mut [0; 100]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return false,
            Err(e) => panic!("{e}"),
        }
    }
}

/// The application may keep a connection that is over for as long as it likes.
#[test]
fn a_link_that_had_its_time_ends_with_the_next_or_with_the_connection() {
    type End = fn(&Arc<Shared>) -> Option<TcpStream>;
    let ends_with: [End; 2] = [
        |shared| {
            let (link, next) = pending();
            let mut state = shared.lock();
            let hello = Hello { epoch: 1, attempt: 2, ..hello() };
            let session = state.protocol.framed().unwrap();
            let replayed = session.resume(&hello, sync::now()).unwrap();
            state.install(link, Opened::Resumed { replayed });
            Some(next)
        },
        |shared| {
            let mut state = shared.lock();
            state.give_up(1, Cause::Aged);
            state.settle();
            assert!(shared.check_up(None).over);
            None
        },
    ];
    for (way, end) in ends_with.into_iter().enumerate() {
        let (shared, mut former) = linked();
        lose(&shared, Cause::Aged);
        shared.check_up(None);
        former.set_nonblocking(true).unwrap();
        assert!(!ends(&mut former), "way {way}");
        let _next = end(&shared);
        former.set_nonblocking(false).unwrap();
        former.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert!(ends(&mut former), "way {way}");
    }
}
