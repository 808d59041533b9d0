//! An end at once, in whose way a thread is that reads.

use super::*;
use crate::proto::close::{Close, CloseCode};

/// What a driver does for a link that is not read, until it is gone. Returns how often it looked.
fn part(shared: &Arc<Shared>) -> u32 {
    for looks in 0..100 {
        let Checkup { deadline, poll, .. } = shared.check_up(None);
        if !shared.lock().has_link() {
            return looks;
        }
        assert!(poll.is_none_or(|(_, interest)| !interest.read), "it is ready for ever");
        net::poll(&mut [], Some(deadline.expect("it looks again")));
    }
    panic!("it goes on for ever");
}

fn is_told(shared: &Shared) -> bool {
    shared.lock().protocol.status().end_told
}

/// Else a client dials once more after each abort.
#[test]
fn an_answer_that_comes_when_reading_was_shut_down_is_found() {
    let (shared, mut peer) = linked();
    let read_half = read_quietly(&shared);
    abort(&shared, read_half);
    let close = Frame::Close(Close { code: CloseCode::Done, consumed: 0 });
    peer.write_all(&close.to_bytes()).unwrap();
    let looks = part(&shared);
    // Other systems may discard it.
    assert!(is_told(&shared) || !cfg!(target_os = "linux"), "{looks} looks");
}

/// Else the second is over in which a client could have told it over another link.
#[test]
fn a_link_whose_peer_does_not_answer_is_lost_soon() {
    let (shared, _peer) = linked();
    let read_half = read_quietly(&shared);
    abort(&shared, read_half);
    let begun = sync::now();
    part(&shared);
    assert!(!is_told(&shared) && begun.elapsed() < Duration::from_secs(1));
}

/// Else the driver spins until the peer takes what was written before.
#[test]
fn an_answer_to_what_is_not_all_written_is_waited_with_for_a_while() {
    let (shared, mut peer) = linked();
    let read_half = read_quietly(&shared);
    abort(&shared, read_half);
    // The socket is full, as far as the driver can tell.
    if let Some(link) = &mut shared.lock().link {
        link.write_half.as_mut().unwrap().batch.push(Bytes::from_static(b"rest"));
        link.writer = Writer::Blocked;
    }
    let close = Frame::Close(Close { code: CloseCode::Done, consumed: 0 });
    peer.write_all(&close.to_bytes()).unwrap();
    part(&shared);
    assert!(is_told(&shared) || !cfg!(target_os = "linux"));
}

/// Else a handle that is dropped by a panic lets the server keep the session for nothing.
#[test]
fn an_end_that_comes_later_cuts_no_time_to_tell_the_peer() {
    let (shared, _peer) = linked();
    lose(&shared, Cause::Eof);
    let connection = Connection::new(shared.clone());
    let told_until = || shared.lock().life.told_until();
    connection.abort_within(Duration::from_secs(3600));
    let until = told_until();
    connection.abort();
    connection.refuse(7, "no");
    assert_eq!(told_until(), until);
    connection.abort_within(Duration::from_secs(7200));
    assert!(told_until() > until);
}
