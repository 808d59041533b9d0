use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::connection::Connection;
use crate::error::{Cause, Result};
use crate::link::care::tests::linked;
use crate::link::row::{FEW, NET, RUSH, SINGLES};
use crate::link::{Checkup, Shared};
use crate::net;
use crate::proto::frame::{Ack, Frame};
use crate::sync::{self, Arc, Ordering};

fn unwritten(shared: &Shared) -> bool {
    shared.lock().protocol.output() > Output::Nothing
}

/// A connection in a row: the driver has been woken, has found many, and is a net.
fn in_a_row() -> (Arc<Shared>, Connection, TcpStream) {
    let (shared, peer) = linked();
    let connection = Connection::new(shared.clone());
    shared.check_up(None);
    shared.driver.answer();
    let calls = (0..SINGLES + FEW).map(|_| {
        connection.send(b"message").unwrap();
        !shared.driver.answer().is_empty()
    });
    let called: Vec<bool> = calls.collect();
    assert_eq!(called.iter().position(|&called| called), Some(SINGLES as usize), "{called:?}");
    assert_eq!(called.iter().filter(|&&called| called).count(), 1, "{called:?}");
    let checkup = shared.check_up(None);
    assert!(!unwritten(&shared), "the driver has not written");
    assert!(checkup.deadline.is_some_and(|at| at <= sync::now() + NET), "{:?}", checkup.deadline);
    assert!(checkup.poll.is_none(), "an acknowledgement would wake the driver");
    (shared, connection, peer)
}

/// Comes when the net is due.
fn look(shared: &Arc<Shared>) -> Checkup {
    let due = shared.lock().link.as_ref().and_then(|link| link.row.deadline());
    net::poll(&mut [], Some(due.expect("a net")));
    shared.check_up(None)
}

/// Else each write of a stream wakes the peer; or each of a few messages
/// that come slowly wakes the driver.
#[test]
fn the_third_in_a_row_is_left_to_the_driver() {
    type Send = fn(&Connection) -> Result<()>;
    let ways: [Send; 2] = [
        |connection| connection.send(b"message"),
        |connection| connection.feed(b"message").and_then(|()| connection.flush()),
    ];
    for (way, send) in ways.into_iter().enumerate() {
        let (shared, _peer) = linked();
        let connection = Connection::new(shared.clone());
        shared.check_up(None);
        let left = || {
            shared.driver.answer();
            send(&connection).unwrap();
            let unwritten = shared.lock().protocol.output() > Output::Nothing;
            assert_eq!(!shared.driver.answer().is_empty(), unwritten, "way {way}");
            unwritten
        };
        assert_eq!([left(), left(), left()], [false, false, true], "way {way}");
        shared.check_up(None);
        assert!(shared.lock().protocol.output() == Output::Nothing, "way {way}");
        assert_eq!([left(), left(), left()], [false, false, true], "way {way}");
        // Nothing was fed since.
        shared.check_up(None);
        connection.flush().unwrap();
        connection.flush().unwrap();
        connection.flush().unwrap();
        assert_eq!(shared.driver.answer(), [0; 0], "way {way}");
        connection.abort();
    }
}

#[test]
fn in_a_row_no_message_wakes_the_driver_which_writes_what_fills_no_batch() {
    let (shared, connection, mut peer) = in_a_row();
    for _ in 0..FEW {
        connection.send(b"message").unwrap();
    }
    assert!(unwritten(&shared) && shared.driver.answer().is_empty());
    peer.write_all(&Frame::Ack(Ack { consumed: 3, window: 10_000 }).to_bytes()).unwrap();
    let read = || shared.lock().protocol.status().acknowledged_messages();
    let mut looks = (0..10).map(|_| {
        look(&shared);
        (0..FEW).for_each(|_| connection.send(b"message").unwrap());
        read()
    });
    assert!(looks.any(|acknowledged| acknowledged == 3), "it was not read by the way");
    // It goes on no more.
    look(&shared);
    let checkup = look(&shared);
    assert!(!unwritten(&shared));
    assert!(checkup.poll.is_some(), "the driver does not poll for the peer again");
    assert!(shared.lock().link.as_ref().unwrap().row.deadline().is_none());
    connection.abort();
}

#[test]
fn in_a_row_the_thread_that_fills_a_batch_writes_it() {
    let (shared, connection, _peer) = in_a_row();
    let written = (0..50).find(|_| {
        connection.send([0; 100]).unwrap();
        !unwritten(&shared)
    });
    assert!(written.is_some_and(|messages| messages > 1), "{written:?}");
    assert!(shared.driver.answer().is_empty());
    connection.abort();
}

/// Else a request that follows a stream waits for a clock.
#[test]
fn a_message_behind_a_pause_is_written_at_once_although_there_is_a_net() {
    let (shared, connection, _peer) = in_a_row();
    connection.send(b"message").unwrap();
    assert!(unwritten(&shared));
    assert!(connection.try_recv().is_err());
    assert!(!unwritten(&shared), "what the peer is to answer is written before it is waited for");
    connection.send(b"message").unwrap();
    assert!(!unwritten(&shared));
    connection.abort();
}

/// Else each acknowledgement lets its sender write two messages, each by itself.
#[test]
fn a_sender_that_has_waited_for_room_goes_on_with_its_row() {
    let (shared, connection, mut peer) = in_a_row();
    while connection.try_send([0; 100]).is_ok() {}
    let sent = shared.lock().protocol.status().totals.messages_sent;
    let ack = Ack { consumed: sent, window: 10_000 };
    peer.write_all(&Frame::Ack(ack).to_bytes()).unwrap();
    connection.send(Bytes::from_static(b"message")).unwrap();
    assert!(unwritten(&shared), "it was written alone");
    connection.abort();
}

#[test]
fn threads_that_send_take_turns_in_a_rush_until_the_link_is_lost() {
    let (shared, _connection, _peer) = in_a_row();
    let take_turns = |shared: &Arc<Shared>| {
        shared.check_up(None);
        shared.rush.load(Ordering::Relaxed)
    };
    assert!(!take_turns(&shared));
    // The driver's next look is no look yet.
    let hour = sync::later(Duration::from_secs(3600));
    for looks in 0..2 {
        let mut state = shared.lock();
        let row = &mut state.link.as_mut().expect("a link").row;
        (0..RUSH).for_each(|_| row.gather());
        row.look(false, hour + looks * NET);
    }
    assert!(take_turns(&shared));
    shared.lock().lose(Cause::Eof);
    assert!(!take_turns(&shared));
}
