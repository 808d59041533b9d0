//! A link that is not read any more, since the application has ended at once.

use super::*;
use crate::proto::report::Status;
use crate::proto::session::parting::{Arrival, FIRST_LOOK};

/// A client has aborted, and hears nothing more on its link. What it has written.
fn aborted() -> (Pair, Vec<Frame>) {
    let mut pair = Pair::new(WINDOW, WINDOW);
    pair.exchange();
    pair.client.close(CloseCode::Aborted);
    pair.client.end_at_once(false, pair.now);
    let close = written(&mut pair.client);
    assert!(matches!(close[..], [Frame::Close(_)]), "{close:?}");
    (pair, close)
}

/// Looks whenever it is due, and finds that. Returns for how long it waits.
fn look(session: &mut Session, start: Instant, arrivals: &[Arrival]) -> Option<Duration> {
    let mut now = start;
    for arrival in arrivals {
        now = session.deadline().expect("it looks");
        assert!(now > start && !session.is_end_told());
        if !session.look(*arrival, now) {
            return None;
        }
    }
    Some(now - start)
}

/// Else a client has to dial once more, only to hear that.
#[test]
fn an_end_is_told_when_the_peers_kernel_has_it() {
    let (mut pair, _) = aborted();
    let Status { parted, may_read, .. } = pair.client.status();
    assert!(!parted && !may_read);
    let found = [Arrival::Part, Arrival::Part, Arrival::All];
    assert_eq!(look(&mut pair.client, pair.now, &found), Some(FIRST_LOOK * 7));
    assert!(pair.client.status().parted);
    pair.client.link_lost();
    assert!(pair.client.status().end_told);
}

#[test]
fn an_end_that_is_not_written_is_not_told() {
    let mut pair = Pair::new(WINDOW, WINDOW);
    pair.exchange();
    pair.client.close(CloseCode::Aborted);
    pair.client.end_at_once(false, pair.now);
    assert!(look(&mut pair.client, pair.now, &[Arrival::All]).is_some());
    assert!(!pair.client.status().end_told);
}

/// Else it dies on a path that is dead, and the second for which it is told is over.
#[test]
fn a_link_on_which_nothing_arrives_is_given_up_and_the_next_is_read() {
    let (mut pair, _) = aborted();
    assert_eq!(look(&mut pair.client, pair.now, &[Arrival::Part; 7]), Some(FIRST_LOOK * 127));
    let (mut pair, _) = aborted();
    assert_eq!(look(&mut pair.client, pair.now, &[Arrival::Part; 8]), None);
    pair.client.link_lost();
    assert!(!pair.client.status().end_told);
    resume(&mut pair);
    assert!(pair.client.status().may_read);
    pair.exchange();
    assert!(pair.client.status().parted && pair.server.status().parted);
}

#[test]
fn where_the_system_does_not_tell_only_an_answer_does() {
    let (mut pair, _) = aborted();
    assert_eq!(look(&mut pair.client, pair.now, &[Arrival::Unknown]), None);
    // Unless it is read.
    let mut pair = Pair::new(WINDOW, WINDOW);
    pair.client.close(CloseCode::Aborted);
    pair.client.end_at_once(true, pair.now);
    assert!(look(&mut pair.client, pair.now, &[Arrival::Unknown]).is_some());
    assert!(pair.client.status().may_read && pair.client.looks_at().is_none());
    pair.exchange();
    assert!(pair.client.status().parted);
}

/// What came before reading was shut down is still taken.
#[test]
fn an_answer_that_is_heard_ends_it() {
    let (mut pair, close) = aborted();
    assert!(pair.client.end_of_stream().is_some());
    read(&mut pair.server, close, pair.now);
    read(&mut pair.client, written(&mut pair.server), pair.now);
    assert!(pair.client.status().parted);
}

/// A server that goes away has no end to tell.
#[test]
fn a_session_that_does_not_end_is_read() {
    let Pair { mut client, now, .. } = Pair::new(WINDOW, WINDOW);
    client.end_at_once(false, now);
    assert!(client.looks_at().is_none());
    assert!(client.status().may_read && client.end_of_stream().is_none());
}
