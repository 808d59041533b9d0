//! A listener goes by other keys.

use std::time::SystemTime;

use super::identities::known_as;
use super::secured::{Caller, bytes, toy};
use super::*;
use crate::net;
use crate::secure::{End, Failure, Opened};

/// Trusts these.
fn trusting(trusts: &[&str]) -> Stage {
    Stage::with(Builder::default().security(toy("server", trusts)))
}

impl Stage {
    fn reload(&mut self, trusts: &[&str]) {
        self.sessions.queue.reload(toy("server", trusts));
        self.sessions.look_at_reload();
    }

    /// A client with this key makes a session. Returns what it says to resume it.
    fn enter(&mut self, key: &str, hello: &Hello) -> (Caller, Arc<Shared>, Hello) {
        let (Answer::Welcome { epoch }, caller) = self.meet(key, hello) else { panic!("{key}") };
        let next = Hello { epoch, attempt: hello.attempt + 1, ..hello.clone() };
        (caller, self.newest().unwrap(), next)
    }

    /// Whether it waits to be accepted.
    fn waits(&self, session: &Arc<Shared>) -> bool {
        let waits = self.sessions.queue.forget(session);
        if waits {
            self.sessions.queue.push(session.clone());
        }
        waits
    }
}

fn is_revoked(session: &Arc<Shared>) -> bool {
    let state = session.lock();
    let ending = state.check();
    !state.has_link() && matches!(ending, Err(Error::GaveUp { cause: Cause::Revoked, .. }))
}

#[test]
fn a_live_session_ends_with_the_trust_in_its_client_and_no_other_does() {
    let mut stage = trusting(&["alice", "bob"]);
    let (mut alice, session, next) = stage.enter("alice", &named(1, 1));
    let (_bob, other, other_next) = stage.enter("bob", &named(2, 1));
    stage.reload(&["bob", "carol"]);
    assert!(is_revoked(&session) && !stage.waits(&session));
    assert!(matches!(alice.hear(), Some(Opened { end: Some(End::InOrder), .. })));
    assert!(alice.is_at_end());
    assert_undisturbed(&other);
    assert!(stage.waits(&other));
    assert_eq!(stage.sessions.entries.len(), 1);
    // She is refused by the handshake, and others are let in.
    let mut alice = Caller::greeted(&mut stage, "alice");
    alice.say(&bytes(next));
    stage.turn();
    assert_eq!(alice.failure(), Failure::Rejected(Rejection::Untrusted));
    stage.enter("carol", &hello(3));
    let Hello { epoch, .. } = other_next;
    assert_eq!(stage.meet("bob", &other_next).0, Answer::Welcome { epoch });
}

#[test]
fn a_lost_session_ends_with_the_trust_in_its_client() {
    let mut stage = trusting(&["alice=old", "alice=new", "bob"]);
    let lost = |stage: &mut Stage, key: &str, token: u8| {
        let (_, session, next) = stage.enter(key, &hello(token));
        stage.lose(&session);
        (session, next)
    };
    let ((old, old_next), (bob, bob_next)) =
        (lost(&mut stage, "old", 1), lost(&mut stage, "bob", 2));
    stage.reload(&["alice=new", "bob"]);
    assert!(is_revoked(&old) && !stage.waits(&old));
    assert!(!bob.lock().has_ended());
    assert_eq!(stage.sessions.entries.len(), 1);
    // She has another key, and what she had by the old one has gone.
    let alone = Hello { resume_only: true, ..old_next };
    assert_eq!(stage.meet("new", &alone).0, Answer::Reject(Rejection::Ended));
    let Hello { epoch, .. } = bob_next;
    assert_eq!(stage.meet("bob", &bob_next).0, Answer::Welcome { epoch });
}

#[test]
fn an_ended_session_is_forgotten_with_the_trust_in_its_client() {
    let mut stage = trusting(&["alice=old", "alice=new"]);
    let ended = |stage: &mut Stage, key: &str, token: u8| {
        let (_, session, next) = stage.enter(key, &hello(token));
        session.lock().abort();
        stage.lose(&session);
        Hello { resume_only: true, ..next }
    };
    let (old, new) = (ended(&mut stage, "old", 1), ended(&mut stage, "new", 2));
    assert_eq!(stage.meet("new", &Hello { attempt: 3, ..old.clone() }).0, Answer::Close);
    stage.reload(&["alice=new"]);
    let old = Hello { attempt: 4, ..old };
    assert_eq!(stage.meet("new", &old).0, Answer::Reject(Rejection::Ended));
    assert_eq!(stage.meet("new", &new).0, Answer::Close);
}

/// It has ended for the application, and its client is still to be told of that.
#[test]
fn a_session_that_is_ending_has_no_link_any_more() {
    let mut stage = trusting(&["alice"]);
    let (_alice, session, _) = stage.enter("alice", &hello(1));
    session.lock().abort();
    assert!(session.lock().has_link());
    stage.reload(&["bob"]);
    assert!(!session.lock().has_link());
    assert!(matches!(session.lock().check(), Err(Error::Closed { .. })));
    assert_eq!(stage.sessions.entries.len(), 0);
}

/// To judge each of many takes time, in which the others are served.
#[test]
fn many_sessions_are_judged_in_many_turns() {
    let mut stage = trusting(&["alice", "bob"]);
    stage.sessions.turn = Duration::ZERO;
    let enter = |n| stage.enter(["alice", "bob"][usize::from(n % 2)], &hello(n));
    let clients: Vec<_> = (0..6).map(enter).collect();
    let queue = stage.sessions.queue.clone();
    let number = queue.reload(toy("server", &["bob"]));
    for left in (0..6).rev() {
        stage.sessions.look_at_reload();
        let goes_on = stage.sessions.deadline().is_some_and(|at| at <= sync::now());
        assert_eq!(goes_on, left > 0);
        if left > 0 {
            let (patience, began) = (Duration::from_millis(1), sync::now());
            queue.wait_reloaded(number, patience);
            assert!(sync::now() - began >= patience, "it is not done");
        }
    }
    let (patience, began) = (Duration::from_secs(20), sync::now());
    queue.wait_reloaded(number, patience);
    assert!(sync::now() - began < patience, "it is done");
    for (n, (_, session, _)) in clients.iter().enumerate() {
        assert_eq!(is_revoked(session), n % 2 == 0);
    }
}

#[test]
fn sessions_come_and_go_while_others_are_judged() {
    let mut stage = trusting(&["alice", "bob", "carol"]);
    stage.sessions.turn = Duration::ZERO;
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|key| stage.enter(key, &named(1, 1)));
    let queue = stage.sessions.queue.clone();
    queue.reload(toy("server", &["alice", "dave"]));
    stage.sessions.look_at_reload();
    // Those who come are let in by the other security alone, be their sessions judged or not.
    let (answer, _alice) = stage.meet("alice", &alice.2);
    assert!(matches!(answer, Answer::Welcome { .. }));
    let (_dave, dave, _) = stage.enter("dave", &hello(1));
    let mut late = Caller::greeted(&mut stage, "bob");
    late.say(&bytes(bob.2.clone()));
    stage.turn();
    assert_eq!(late.failure(), Failure::Rejected(Rejection::Untrusted));
    carol.1.lock().abort();
    stage.lose(&carol.1);
    // Another one begins from the start.
    queue.reload(toy("server", &["dave"]));
    (0..4).for_each(|_| stage.sessions.look_at_reload());
    assert!([&alice.1, &bob.1].into_iter().all(is_revoked));
    assert!(!dave.lock().has_ended());
    assert_eq!(stage.sessions.entries.len(), 1);
}

#[test]
fn a_session_goes_by_the_key_that_its_client_has_come_back_with() {
    for (left, stays) in [("alice=new", true), ("alice=old", false)] {
        let mut stage = trusting(&["alice=old", "alice=new"]);
        let (_old, session, next) = stage.enter("old", &hello(1));
        let Hello { epoch, .. } = next;
        let (answer, _new) = stage.meet("new", &next);
        assert_eq!(answer, Answer::Welcome { epoch });
        stage.reload(&[left]);
        assert_eq!(session.lock().is_up(), stays);
        assert_eq!(is_revoked(&session), !stays);
    }
}

#[test]
fn a_key_that_has_another_name_is_somebody_else() {
    let mut stage = trusting(&["alice=key", "bob"]);
    let (_alice, session, next) = stage.enter("key", &hello(1));
    stage.reload(&["mallory=key", "alice=another", "bob"]);
    assert!(is_revoked(&session));
    let (answer, _mallory) = stage.meet("key", &Hello { epoch: 0, ..next });
    assert!(matches!(answer, Answer::Welcome { .. }));
    assert_eq!(*stage.newest().unwrap().lock().who(), known_as("mallory"));
}

#[test]
fn a_handshake_that_began_before_a_reload_is_judged_by_what_holds_after_it() {
    let says: [&[u8]; 2] = [&bytes(hello(1)), b"text\n"];
    for (said, (after, is_in)) in
        says.into_iter().flat_map(|said| [(said, ("bob", false)), (said, ("alice", true))])
    {
        // The server knows who she is, or does not yet.
        for knows in [true, false] {
            let mut stage = trusting(&["alice"]);
            let mut alice = Caller::greeted(&mut stage, "alice");
            if knows {
                alice.say(&[]);
                stage.turn();
            }
            stage.reload(&[after]);
            alice.say(said);
            stage.turn();
            assert_eq!(stage.newest().is_some(), is_in, "{after} {knows}");
            assert_eq!(stage.pending(), 0);
            if !is_in {
                assert_eq!(alice.answer(), Answer::Nothing);
            }
        }
    }
}

/// A key that counts for a moment only.
fn expiring(after: Duration) -> (Stage, String, SystemTime) {
    let at = sync::wall_clock().duration_since(SystemTime::UNIX_EPOCH).unwrap() + after;
    let line = format!("alice=old until {}", at.as_millis());
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at.as_millis() as u64);
    let stage = trusting(&[&line, "alice=new"]);
    (stage, line, at)
}

#[test]
fn a_link_ends_when_its_client_expires_and_the_session_goes_on_with_another_key() {
    for plain in [false, true] {
        let (mut stage, line, at) = expiring(Duration::from_millis(100));
        let (_old, session, next) = match plain {
            false => stage.enter("old", &hello(1)),
            true => {
                let mut old = Caller::greeted(&mut stage, "old");
                old.say(b"text\n");
                stage.turn();
                (old, stage.newest().unwrap(), hello(1))
            }
        };
        stage.sessions.tend(session.id());
        while session.lock().has_link() {
            let due = stage.sessions.deadline().expect("it ends");
            net::poll(&mut [], Some(due));
            stage.sessions.on_time(sync::now());
        }
        assert!(sync::wall_clock() >= at);
        if plain {
            // Nobody can come back to it.
            let ending = session.lock().check();
            assert!(matches!(ending, Err(Error::GaveUp { cause: Cause::Expired, .. })));
            continue;
        }
        // Whoever is trusted, and has expired, is not revoked by that.
        stage.reload(&[&line, "alice=new", "bob"]);
        assert!(!session.lock().has_ended());
        let mut old = Caller::greeted(&mut stage, "old");
        old.say(&bytes(next.clone()));
        stage.turn();
        assert_eq!(old.failure(), Failure::Rejected(Rejection::Untrusted));
        let Hello { epoch, .. } = next;
        assert_eq!(stage.meet("new", &next).0, Answer::Welcome { epoch });
        stage.sessions.tend(session.id());
        assert!(session.lock().is_up(), "the new key does not expire");
        stage.reload(&["bob"]);
        assert!(is_revoked(&session));
    }
}

/// What the driver takes is the newest, and nobody waits for one that it never sees.
#[test]
fn of_several_reloads_the_last_counts_and_all_are_done() {
    let mut stage = trusting(&["alice"]);
    let queue = stage.sessions.queue.clone();
    let numbers = ["bob", "carol"].map(|key| queue.reload(toy("server", &[key])));
    stage.sessions.look_at_reload();
    let (patience, began) = (Duration::from_secs(20), sync::now());
    numbers.iter().for_each(|number| queue.wait_reloaded(*number, patience));
    assert!(sync::now() - began < patience);
    stage.enter("carol", &hello(1));
    let mut bob = Caller::greeted(&mut stage, "bob");
    bob.say(&[]);
    stage.turn();
    assert_eq!(bob.failure(), Failure::Rejected(Rejection::Untrusted));
    stage.sessions.look_at_reload();
    stage.enter("carol", &hello(2));
}
