//! Somebody who is trusted, and knows the token of somebody else's session.

use std::net::{SocketAddr, TcpStream};

use longlink::{Listener, PeerIdentity};

use crate::rig::{Log, Side, calm};
use crate::wire::tls::Party;
use crate::wire::{DATA, ENDED, Hello, Raw, Welcome, ack, frame};

const RESUME_ONLY: u8 = 1;

fn dial(party: &Party, addr: SocketAddr) -> Raw {
    Raw::secured(TcpStream::connect(addr).unwrap(), party)
}

fn accept(listener: &Listener, name: &str) -> Side {
    let side = Side::new(listener.accept().unwrap(), Log::new("server"));
    assert_eq!(side.peer_identity(), Some(PeerIdentity::Named(name.into())));
    side
}

/// Alice's session at a server.
struct Session {
    hello: Hello,
    welcome: Welcome,
    link: Raw,
    side: Side,
    /// Messages each way.
    trips: u64,
}

impl Session {
    fn begin(alice: &Party, listener: &Listener, token: u8) -> Session {
        let hello = Hello::new(token);
        let (link, welcome) = dial(alice, listener.local_addr()).greets(&hello).unwrap();
        Session { hello, welcome, link, side: accept(listener, "alice"), trips: 0 }
    }

    /// A message each way.
    fn trip(&mut self) {
        self.trips += 1;
        let message = self.trips.to_string();
        self.link.send(frame(DATA, &message));
        self.side.takes(&message);
        self.side.send(&message).unwrap();
        assert_eq!(self.link.read_kind(DATA), message.as_bytes());
        self.link.send(ack(self.trips, 1 << 20));
    }

    /// The link is lost, and regained by its owner.
    fn resume(&mut self, alice: &Party, addr: SocketAddr) {
        self.hello = self.hello.next(&self.welcome, self.trips);
        let (link, welcome) = dial(alice, addr).greets(&self.hello).unwrap();
        assert_eq!((welcome.epoch, welcome.received), (self.welcome.epoch, self.trips));
        self.link = link;
    }
}

/// What a thief may say who has heard everything.
fn stolen(session: &Session) -> Vec<Hello> {
    let next = session.hello.next(&session.welcome, session.trips);
    vec![
        next,
        session.hello,
        Hello { attempt: u64::MAX, ..next },
        Hello { attempt: 0, ..next },
        Hello { received: 0, ..next },
        Hello { received: u64::MAX, ..next },
        Hello { epoch: next.epoch ^ 1, ..next },
        Hello { flags: RESUME_ONLY, ..next },
    ]
}

/// What somebody gets with that hello: the epoch of a new session, or a code. Whoever serves it
/// sees who it is, and has nothing of another.
fn tries(mallory: &Party, listener: &Listener, hello: &Hello) -> Result<u64, u8> {
    let (mut link, welcome) = dial(mallory, listener.local_addr()).greets(hello)?;
    let side = accept(listener, "mallory");
    link.send(frame(DATA, "mallory's"));
    side.takes("mallory's");
    assert_eq!((welcome.received, side.stats().messages_sent), (0, 0));
    side.abort();
    Ok(welcome.epoch)
}

/// Each thing that a thief may say, about a session of its own.
fn steal(is_lost: bool) {
    let [alice, mallory, server] = Party::all(["alice", "mallory", "server"]);
    let listener = calm().security(server.security.clone()).bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr();
    let cases = stolen(&Session::begin(&alice, &listener, 1)).len();
    for (case, token) in (0..cases).zip((10..).step_by(2)) {
        let mut session = Session::begin(&alice, &listener, token);
        (0..3).for_each(|_| session.trip());
        if is_lost {
            session.link.end();
            session.side.says("lost", 1);
        }
        let hello = stolen(&session)[case];
        // It gets what a token gets that nobody has.
        let unknown = tries(&mallory, &listener, &Hello { token: [token + 1; 16], ..hello });
        let known = tries(&mallory, &listener, &hello);
        match (known, unknown) {
            (Ok(epoch), Ok(_)) => assert_ne!(epoch, session.welcome.epoch),
            (Err(code), Err(other)) => assert_eq!((code, other), (ENDED, ENDED)),
            other => panic!("{hello:?}: {other:?}"),
        }
        assert_eq!(session.side.is_connected(), !is_lost);
        assert_eq!(session.side.log.events().len(), usize::from(is_lost));
        if !is_lost {
            assert!(!session.link.has_ended());
            session.trip();
        }
        session.resume(&alice, addr);
        session.trip();
    }
}

#[test]
fn a_stolen_token_resumes_nothing_and_disturbs_nobody() {
    steal(false);
}

#[test]
fn a_stolen_token_of_a_session_that_waits_for_its_client_resumes_nothing() {
    steal(true);
}
