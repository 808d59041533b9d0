//! A link on which reading was shut down, since the application has ended at once.

use super::*;
use crate::proto::report::Status;
use crate::proto::session::parting::FIRST_LOOK;

/// A client has aborted. What it has written.
fn aborted() -> (Pair, Vec<Frame>) {
    let mut pair = Pair::new(WINDOW, WINDOW);
    pair.exchange();
    pair.client.close(CloseCode::Aborted);
    pair.client.end_at_once(pair.now);
    let close = written(&mut pair.client);
    assert!(matches!(close[..], [Frame::Close(_)]), "{close:?}");
    (pair, close)
}

/// Looks so often, whenever it is due. Returns for how long it waits.
fn look(session: &mut Session, start: Instant, looks: u32) -> Option<Duration> {
    let mut now = start;
    for _ in 0..looks {
        now = session.deadline().expect("it looks");
        assert!(now > start && !session.status().end_told);
        if !session.look(now) {
            return None;
        }
    }
    Some(now - start)
}

/// Else a client has to dial once more, only to hear that.
#[test]
fn an_answer_that_is_found_ends_it() {
    let (mut pair, close) = aborted();
    let Status { parted, may_read, .. } = pair.client.status();
    assert!(!parted && !may_read && pair.client.end_of_stream().is_some());
    assert_eq!(look(&mut pair.client, pair.now, 3), Some(FIRST_LOOK * 7));
    read(&mut pair.server, close, pair.now);
    read(&mut pair.client, written(&mut pair.server), pair.now);
    assert!(pair.client.status().parted);
    pair.client.link_lost();
    assert!(pair.client.status().end_told);
}

/// Else it dies on a path that is dead, and the second for which it is told is over.
#[test]
fn a_link_on_which_nothing_arrives_is_given_up_and_the_next_is_read() {
    let (mut pair, _) = aborted();
    assert_eq!(look(&mut pair.client, pair.now, 7), Some(FIRST_LOOK * 127));
    let (mut pair, _) = aborted();
    assert_eq!(look(&mut pair.client, pair.now, 8), None);
    pair.client.link_lost();
    assert!(!pair.client.status().end_told);
    resume(&mut pair);
    assert!(pair.client.status().may_read);
    pair.exchange();
    assert!(pair.client.status().parted && pair.server.status().parted);
}

/// A server that goes away has no end to tell.
#[test]
fn a_session_that_does_not_end_is_read() {
    let Pair { mut client, now, .. } = Pair::new(WINDOW, WINDOW);
    client.end_at_once(now);
    assert!(client.looks_at().is_none());
    assert!(client.status().may_read && client.end_of_stream().is_none());
}
