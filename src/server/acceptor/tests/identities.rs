//! Hellos from peers that have shown who they are.

use std::panic::catch_unwind;

use super::*;
use crate::connection::Connection;
use crate::identity::{self, Fingerprint, PeerIdentity, Who};
use crate::proto::testing::sim::planted::{Fault, with};

impl Stage {
    /// A newcomer who has shown this says a hello.
    fn hear_from(&mut self, who: &Who, hello: &Hello) -> (Answer, Peer, Option<Arc<Shared>>) {
        self.ask(|stage, _| {
            let (socket, addr) = stage.acceptor.socket.accept().unwrap();
            let mut link = PendingLink::new(socket, addr, None);
            link.who = who.clone();
            stage.sessions.admit(link, hello, sync::now());
        })
    }

    /// One whose hello makes a new session.
    fn join_from(&mut self, who: &Who, hello: &Hello) -> (Peer, Arc<Shared>, Hello) {
        let (answer, peer, session) = self.hear_from(who, hello);
        let Answer::Welcome { epoch } = answer else { panic!("{answer:?}") };
        let next = Hello { epoch, attempt: hello.attempt + 1, ..hello.clone() };
        (peer, session.expect("it is new"), next)
    }
}

/// By which key is all the same.
fn identified(identity: PeerIdentity) -> Who {
    Who::from(Some(Arc::new(identity::Peer::by_key(identity, Fingerprint([0; 32])))))
}

pub(super) fn known_as(name: &str) -> Who {
    identified(PeerIdentity::Named(name.into()))
}

/// Everybody but Alice.
fn others() -> [Who; 4] {
    let certified = identified(PeerIdentity::Certified("alice".into()));
    [known_as("bob"), certified, Who::Anonymous, Who::Clear]
}

/// Its token was stolen.
fn a_session_is_found_by_its_own_identity_only() {
    for other in others() {
        let mut stage = Stage::new(10);
        let alice = known_as("alice");
        let (_peer, session, next) = stage.join_from(&alice, &hello(1));
        let stolen = [
            next.clone(),
            Hello { attempt: 1, ..next.clone() },
            Hello { received: 1, ..next.clone() },
            Hello { epoch: 0, attempt: 9, ..next.clone() },
        ];
        for stolen in stolen {
            let alone = Hello { resume_only: true, ..stolen.clone() };
            assert_eq!(stage.hear_from(&other, &alone).0, Answer::Reject(Rejection::Ended));
            let (_peer, own, own_next) = stage.join_from(&other, &stolen);
            assert_ne!(own_next.epoch, next.epoch);
            assert_undisturbed(&session);
            // Its own end takes nothing from the other.
            own.lock().give_up(0, Cause::Eof);
            stage.lose(&own);
        }
        assert_eq!(stage.hear_from(&alice, &next).0, Answer::Welcome { epoch: next.epoch });
        let connection = Connection::new(stage.sessions.queue.next().unwrap());
        assert_eq!(connection.peer_identity(), Some(PeerIdentity::Named("alice".into())));
    }
}

fn an_ended_session_is_found_by_its_own_identity_only() {
    for other in others() {
        let mut stage = Stage::new(10);
        let alice = known_as("alice");
        let (_peer, session, next) = stage.join_from(&alice, &hello(1));
        session.lock().abort();
        stage.lose(&session);
        let alone = Hello { resume_only: true, ..next.clone() };
        assert_eq!(stage.hear_from(&other, &alone).0, Answer::Reject(Rejection::Ended));
        stage.join_from(&other, &next);
        // It hears how its own ended, until that is forgotten.
        assert_eq!(stage.hear_from(&alice, &alone).0, Answer::Close);
        stage.sessions.on_time(sync::now() + Duration::from_secs(3600));
        assert_eq!(stage.hear_from(&alice, &alone).0, Answer::Reject(Rejection::Ended));
    }
}

/// Both know the client id, and one of them only has it from the other.
#[test]
fn a_client_id_says_nothing_of_other_identities() {
    for other in others() {
        let mut stage = Stage::new(10);
        let alice = known_as("alice");
        let (_peer, session, _) = stage.join_from(&alice, &named(1, 7));
        let (_other, others, _) = stage.join_from(&other, &named(2, 7));
        assert_undisturbed(&session);
        // She was killed, and is started again.
        let (_again, again, _) = stage.join_from(&alice, &named(3, 7));
        assert!(session.lock().has_ended());
        [others, again].iter().for_each(assert_undisturbed);
    }
}

#[test]
fn a_token_is_worth_nothing_to_another_identity() {
    let checks = [
        a_session_is_found_by_its_own_identity_only,
        an_ended_session_is_found_by_its_own_identity_only,
    ];
    for check in checks {
        check();
        let found = with(Fault::ByToken, || catch_unwind(check));
        assert!(found.is_err(), "sessions found by the token alone are not noticed");
    }
}
