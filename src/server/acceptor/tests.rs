//! Hellos to an acceptor without its thread: with real sockets, and no other thread.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use bytes::Bytes;

use super::super::queue::{AcceptQueue, Restart};
use super::*;
use crate::config::Builder;
use crate::driver::DriverHandle;
use crate::error::{Cause, Error};
use crate::link::Shared;
use crate::proto::away::GoingAway;
use crate::proto::buffer::SMALL_BUFFER;
use crate::proto::close::{Close, CloseCode};
use crate::proto::frame::{Decoder, HEADER};
use crate::proto::handshake::{Hello, Limits, Token, VERSION};
use crate::proto::loss::SessionLoss;
use crate::proto::numbers::{ClientId, Numbers};
use crate::sync::Arc;

/// The client's side of a socket, whose hello was heard.
struct Peer(TcpStream);

/// What a hello was answered with.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Welcome {
        epoch: u64,
    },
    Close,
    Reject(Rejection),
    /// It was rejected, and told when to come back.
    Later(Rejection, Duration),
    /// The link was ended without a frame.
    Nothing,
}

struct Stage {
    acceptor: Acceptor,
    sessions: Sessions,
    addr: SocketAddr,
}

impl Stage {
    fn new(max_clients: usize) -> Stage {
        Stage::with(Builder::default().max_clients(max_clients))
    }

    fn with(builder: Builder) -> Stage {
        let socket = Socket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = socket.local_addr().unwrap();
        let acceptor = Acceptor::new(socket, &builder);
        let driver = Arc::new(DriverHandle::new().unwrap());
        let sessions = Sessions::new(builder, Arc::new(AcceptQueue::new()), driver).unwrap();
        Stage { acceptor, sessions, addr }
    }

    /// A newcomer says these bytes. Returns what it hears, and the session that
    /// was made.
    fn hear(&mut self, bytes: &[u8]) -> (Answer, Peer, Option<Arc<Shared>>) {
        self.ask(|stage, peer| {
            peer.write_all(bytes).unwrap();
            stage.acceptor.on_ready(&[0], &mut stage.sessions);
        })
    }

    fn ask(
        &mut self,
        say: impl FnOnce(&mut Stage, &mut TcpStream),
    ) -> (Answer, Peer, Option<Arc<Shared>>) {
        let mut peer = Peer(TcpStream::connect(self.addr).unwrap());
        let before = self.newest();
        say(self, &mut peer.0);
        let created = self.newest().filter(|newest| Some(newest.id()) > before.map(|s| s.id()));
        (peer.answer(), peer, created)
    }

    fn newest(&self) -> Option<Arc<Shared>> {
        self.sessions.entries.all().max_by_key(|session| session.id()).cloned()
    }

    fn greet(&mut self, hello: &Hello) -> Answer {
        self.hear(&Frame::Hello(hello.clone()).to_bytes()).0
    }

    fn join(&mut self, hello: &Hello) -> (Peer, Arc<Shared>, Hello) {
        let (answer, peer, session) = self.hear(&Frame::Hello(hello.clone()).to_bytes());
        let Answer::Welcome { epoch } = answer else { panic!("{answer:?}") };
        let next = Hello { epoch, attempt: hello.attempt + 1, ..hello.clone() };
        (peer, session.expect("it is new"), next)
    }

    /// The link of a session ends, and the server finds out.
    fn lose(&mut self, session: &Arc<Shared>) {
        let mut state = session.lock();
        state.lose(Cause::Eof);
        state.settle();
        self.sessions.tend(session.id());
    }
}

impl Peer {
    fn answer(&mut self) -> Answer {
        self.0.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut decoder = Decoder::default();
        loop {
            let mut bytes = [0; 100];
            let n = match self.0.read(&mut bytes) {
                Ok(0) => return Answer::Nothing,
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Answer::Nothing,
                read => read.expect("an answer"),
            };
            decoder.push(&bytes[..n]);
            if let Some(frame) = decoder.next().unwrap() {
                return Answer::from(frame);
            }
        }
    }
}

impl From<Frame> for Answer {
    fn from(frame: Frame) -> Answer {
        match frame {
            Frame::Welcome(welcome) => Answer::Welcome { epoch: welcome.epoch },
            Frame::Close(_) => Answer::Close,
            Frame::Reject(reject) => {
                assert_eq!(reject.versions, (1, 1));
                let rejection = Rejection::from_wire(reject.code, reject.class);
                match reject.come_back_after {
                    Duration::ZERO => Answer::Reject(rejection),
                    after => Answer::Later(rejection, after),
                }
            }
            other => panic!("answered {other:?}"),
        }
    }
}

fn hello(token: u8) -> Hello {
    Hello {
        version: VERSION,
        token: Token([token; 16]),
        attempt: 1,
        epoch: 0,
        received: 0,
        limits: Limits { window: 10_000, max_message: 100 },
        interval: None,
        resume_only: false,
        greeting: Bytes::new(),
        numbers: None,
    }
}

/// Of a client that calls itself so.
fn named(token: u8, client: u8) -> Hello {
    let numbers = Numbers { client: ClientId([client; 16]), first: 1 };
    Hello { numbers: Some(numbers), ..hello(token) }
}

fn out_of_memory<T>() -> io::Result<T> {
    Err(Errno::NOMEM.into())
}

#[track_caller]
fn assert_undisturbed(session: &Arc<Shared>) {
    let state = session.lock();
    assert!(state.is_up() && state.protocol.status().generation == 1);
}

type Spoil = fn(&mut Sessions);

const SPOILT: [(Spoil, Rejection); 4] = [
    (|sessions| sessions.queue.close(), Rejection::ShuttingDown),
    (|sessions| sessions.queue.set_full(true), Rejection::Full),
    (|sessions| sessions.random = out_of_memory, Rejection::Full),
    (|sessions| sessions.prepare = |_| out_of_memory(), Rejection::Full),
];

#[test]
fn a_rejected_hello_ends_no_session_and_no_link() {
    for (spoil, rejection) in SPOILT {
        let mut stage = Stage::new(10);
        let (_peer, session, next) = stage.join(&named(1, 7));
        // It was accepted: closing the listener does not end it.
        stage.sessions.queue.next().unwrap();
        let elsewhere = Hello { epoch: next.epoch ^ 1, ..next.clone() };
        let resume_only = Hello { resume_only: true, ..elsewhere.clone() };
        let malformed = Hello { received: 1, ..next.clone() };
        let again = Hello { resume_only: true, ..named(2, 7) };
        assert_eq!(stage.greet(&resume_only), Answer::Reject(Rejection::Ended));
        assert_eq!(stage.greet(&again), Answer::Reject(Rejection::Ended));
        assert_eq!(stage.greet(&malformed), Answer::Reject(Rejection::Protocol));
        spoil(&mut stage.sessions);
        assert_eq!(stage.greet(&elsewhere), Answer::Reject(rejection));
        assert_eq!(stage.greet(&named(2, 7)), Answer::Reject(rejection));
        assert_eq!(stage.greet(&hello(3)), Answer::Reject(rejection));
        assert_undisturbed(&session);
    }
}

#[test]
fn nobody_makes_room_for_a_client_that_cannot_be_taken() {
    for (spoil, rejection) in SPOILT {
        let mut stage = Stage::new(1);
        let (_peer, session, next) = stage.join(&hello(1));
        stage.sessions.queue.next().unwrap();
        stage.lose(&session);
        let sessions = &mut stage.sessions;
        let (random, prepare) = (sessions.random, sessions.prepare);
        spoil(sessions);
        assert_eq!(stage.greet(&hello(2)), Answer::Reject(rejection));
        let sessions = &mut stage.sessions;
        (sessions.random, sessions.prepare) = (random, prepare);
        assert_eq!(stage.greet(&next), Answer::Welcome { epoch: next.epoch });
        assert!(session.lock().is_up());
    }
}

#[test]
fn a_session_that_is_replaced_counts_as_room() {
    let mut stage = Stage::new(1);
    let (_peer, session, next) = stage.join(&hello(1));
    let (_other, replacing, next) = stage.join(&Hello { epoch: next.epoch ^ 1, ..next.clone() });
    assert!(session.lock().has_ended() && !session.lock().has_link());
    assert!(replacing.lock().is_up());
    // Its room was given away.
    assert_eq!(stage.greet(&hello(2)), Answer::Reject(Rejection::Full));
    assert_eq!(stage.greet(&next), Answer::Welcome { epoch: next.epoch });
}

/// Its process was killed: it has another token, and the server notices nothing else.
#[test]
fn a_client_that_was_started_again_ends_the_session_that_it_had() {
    for accepted in [false, true] {
        let mut stage = Stage::new(1);
        let (_peer, session, _) = stage.join(&named(1, 7));
        if accepted {
            assert_eq!(stage.sessions.queue.next().unwrap().id(), session.id());
        }
        let (_other, replacing, next) = stage.join(&named(2, 7));
        let mut state = session.lock();
        assert!(state.has_ended() && !state.has_link());
        let error = state.receive().unwrap().unwrap_err();
        assert!(matches!(error, Error::GaveUp { cause: Cause::Replaced, .. }), "{error:?}");
        drop(state);
        assert!(replacing.lock().is_up());
        // One that ended before it was accepted never is.
        assert_eq!(stage.sessions.queue.next().unwrap().id(), replacing.id());
        // Its token is not known any more, so it is a client like any other.
        let next_of_first = Hello { epoch: next.epoch ^ 1, attempt: 2, ..hello(1) };
        assert_eq!(stage.greet(&next_of_first), Answer::Reject(Rejection::Full));
        assert_eq!(stage.greet(&next), Answer::Welcome { epoch: next.epoch });
    }
}

#[test]
fn a_client_disturbs_no_other_whatever_it_is_called() {
    let mut stage = Stage::new(10);
    let hellos = [named(1, 1), named(2, 2), hello(3), hello(4)];
    let joined = hellos.map(|hello| stage.join(&hello));
    joined.iter().for_each(|(_, session, _)| assert_undisturbed(session));
}

#[test]
fn one_hello_may_replace_two_sessions() {
    let mut stage = Stage::new(2);
    let (_peer, by_token, next) = stage.join(&named(1, 1));
    let (_peer, by_name, _) = stage.join(&named(2, 2));
    let elsewhere = Hello { epoch: next.epoch ^ 1, numbers: named(1, 2).numbers, ..next };
    let (_other, replacing, _) = stage.join(&elsewhere);
    for replaced in [by_token, by_name] {
        assert!(replaced.lock().has_ended());
    }
    // There is room for one more.
    stage.join(&hello(3));
    assert_undisturbed(&replacing);
}

/// A handler that is still working on what arrived before the client was killed.
#[test]
fn an_ended_session_hands_out_nothing_more_once_its_client_has_another() {
    type End = fn(&mut Stage, &Arc<Shared>);
    let given_up: End = |stage, session| {
        session.lock().give_up(0, Cause::Eof);
        stage.lose(session);
    };
    let closed: End = |stage, session| {
        let mut state = session.lock();
        state.protocol.framed().unwrap().on_close(CLOSE).unwrap();
        state.settle();
        stage.lose(session);
    };
    const CLOSE: Close = Close { code: CloseCode::Aborted, consumed: 0 };
    for end in [given_up, closed] {
        let mut stage = Stage::new(10);
        let (_peer, session, _) = stage.join(&named(1, 7));
        stage.sessions.queue.next().unwrap();
        let mut state = session.lock();
        for message in ["one", "two", "three"] {
            let data = Frame::data(message.into());
            state.protocol.framed().unwrap().on_frame(1, data, sync::now()).unwrap();
        }
        drop(state);
        end(&mut stage, &session);
        assert!(session.lock().has_ended() && stage.newest().is_none());
        assert_eq!(session.lock().receive().unwrap().unwrap().unwrap(), "one");
        stage.join(&named(2, 8));
        assert_eq!(session.lock().receive().unwrap().unwrap().unwrap(), "two");
        stage.join(&named(3, 7));
        assert!(session.lock().receive().unwrap().unwrap_err().is_final());
    }
}

#[test]
fn a_server_that_wants_no_second_session_begins_none_with_a_client_that_had_one() {
    let builder = Builder::default().on_session_lost(SessionLoss::GiveUp);
    let mut stage = Stage::with(builder.max_clients(10));
    let (_peer, session, next) = stage.join(&named(1, 7));
    let others = [
        // It was elsewhere meanwhile; it comes from elsewhere; it calls itself like that one.
        Hello { epoch: next.epoch ^ 1, ..next.clone() },
        Hello { epoch: next.epoch, ..hello(2) },
        Hello { epoch: next.epoch, ..named(3, 7) },
    ];
    for other in &others {
        assert_eq!(stage.greet(other), Answer::Reject(Rejection::Ended));
        assert_undisturbed(&session);
    }
    // Its own is resumed, be it that the welcome was lost.
    for attempt in [2, 3] {
        let epoch = if attempt == 2 { 0 } else { next.epoch };
        let again = Hello { epoch, attempt, ..next.clone() };
        assert_eq!(stage.greet(&again), Answer::Welcome { epoch: next.epoch });
    }
    // One that has ended is remembered, and one that was given up is not.
    let (_peer, closed, of_closed) = stage.join(&hello(4));
    closed.lock().abort();
    stage.lose(&closed);
    assert_eq!(stage.greet(&of_closed), Answer::Close);
    let other = Hello { epoch: of_closed.epoch ^ 1, attempt: 3, ..of_closed };
    assert_eq!(stage.greet(&other), Answer::Reject(Rejection::Ended));
    let mut state = session.lock();
    state.lose(Cause::Eof);
    state.give_up(0, Cause::Eof);
    state.settle();
    stage.sessions.tend(session.id());
    let back = Hello { attempt: 4, ..next };
    assert_eq!(stage.greet(&back), Answer::Reject(Rejection::Ended));
    // A client that has sent nothing is let in under any name.
    for hello in [Hello { epoch: 0, ..back.clone() }, named(5, 7), hello(6)] {
        stage.join(&hello);
    }
    stage.sessions.queue.close();
    assert_eq!(stage.greet(&others[1]), Answer::Reject(Rejection::Ended));
    assert_eq!(stage.greet(&hello(7)), Answer::Reject(Rejection::ShuttingDown));
}

#[test]
fn one_that_made_room_finds_none_when_it_comes_back_at_once() {
    let mut stage = Stage::new(1);
    let (_peer, session, next) = stage.join(&hello(1));
    stage.lose(&session);
    let (_other, other, _) = stage.join(&hello(2));
    assert_eq!(stage.greet(&next), Answer::Reject(Rejection::Full));
    assert_undisturbed(&other);
}

#[test]
fn an_ended_session_takes_no_room_and_can_be_replaced() {
    let mut stage = Stage::new(1);
    let (_peer, session, next) = stage.join(&hello(1));
    let mut state = session.lock();
    state.abort();
    state.lose(Cause::Eof);
    state.settle();
    stage.sessions.tend(session.id());
    assert_eq!(stage.greet(&next), Answer::Close);
    let (_again, again, next) = stage.join(&Hello { epoch: next.epoch ^ 1, ..next.clone() });
    assert_eq!(stage.greet(&next), Answer::Welcome { epoch: next.epoch });
    assert!(again.lock().is_up());
}

#[test]
fn bytes_behind_a_hello_end_the_link_before_anything_is_judged() {
    let mut stage = Stage::new(10);
    let (_peer, session, next) = stage.join(&hello(1));
    let hellos = [
        hello(2),
        next.clone(),
        Hello { epoch: next.epoch ^ 1, ..next.clone() },
        Hello { attempt: 1, ..next.clone() },
        Hello { version: VERSION + 1, ..next.clone() },
        Hello { resume_only: true, ..hello(3) },
    ];
    let behind = [Frame::Ping(1).to_bytes(), vec![0].into(), vec![0; 10_000].into()];
    for (hello, behind) in hellos.iter().flat_map(|hello| behind.each_ref().map(|b| (hello, b))) {
        let bytes = [&Frame::Hello(hello.clone()).to_bytes()[..], behind].concat();
        let (answer, _, created) = stage.hear(&bytes);
        assert_eq!(answer, Answer::Nothing, "{hello:?}");
        assert!(created.is_none());
    }
    assert_undisturbed(&session);
    // What stands in the socket, and not in the buffer, counts as well.
    let len = ((SMALL_BUFFER - HEADER) as u32).to_be_bytes();
    let mut long = [&[kind::HELLO][..], &len, b"LLNK\x00\x02"].concat();
    long.resize(SMALL_BUFFER, 7);
    assert_eq!(stage.hear(&long).0, Answer::Reject(Rejection::Version));
    assert_eq!(stage.hear(&[&long[..], &[0]].concat()).0, Answer::Nothing);
}

#[test]
fn other_protocols_are_not_text() {
    const PROXY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\x7F\0\0\x01\x7F\0\0\x01\0\x01\0\x02";
    for bytes in [PROXY, &PROXY[..5], b"\x15\x03\x01\0\x02", b"\x15"] {
        let mut stage = Stage::new(10);
        let (answer, _, created) = stage.hear(bytes);
        assert_eq!(answer, Answer::Nothing);
        assert!(created.is_none(), "{bytes:x?}");
    }
}

#[test]
fn empty_lines_of_telnet_are_text() {
    for bytes in ["\r", "\r\n", "\r\n\r\n", "\r\n\r\n\r\n", "\n"] {
        let mut stage = Stage::new(10);
        let mut peer = TcpStream::connect(stage.addr).unwrap();
        peer.write_all(bytes.as_bytes()).unwrap();
        stage.acceptor.on_ready(&[0], &mut stage.sessions);
        assert!(stage.newest().is_some_and(|session| session.lock().is_up()), "{bytes:?}");
    }
}

#[test]
fn a_client_that_says_hello_and_no_more_is_let_in() {
    let mut stage = Stage::new(10);
    let mut peer = Peer(TcpStream::connect(stage.addr).unwrap());
    peer.0.write_all(&Frame::Hello(hello(1)).to_bytes()).unwrap();
    peer.0.shutdown(Shutdown::Write).unwrap();
    stage.acceptor.on_ready(&[0], &mut stage.sessions);
    assert!(matches!(peer.answer(), Answer::Welcome { .. }));
}

#[test]
fn who_comes_while_the_server_goes_away_is_told_when_it_is_back() {
    let mut stage = Stage::new(10);
    let (mut peer, session, resume) = stage.join(&hello(1));
    let (lost, away, _) = stage.join(&hello(2));
    drop(lost);
    stage.lose(&away);
    let (after, hour) = (Duration::from_secs(10), Duration::from_secs(3600));
    stage.sessions.queue.restart(Restart { after, until: sync::now() + hour });
    stage.sessions.look_at_restart();
    // 2 ms for each of the two.
    let within = after..=after + Duration::from_millis(4);
    for hello in [hello(3), resume.clone(), Hello { epoch: 0, ..resume.clone() }] {
        match stage.greet(&hello) {
            Answer::Later(Rejection::ShuttingDown, after) if within.contains(&after) => {}
            answer => panic!("{hello:?}: {answer:?}"),
        }
    }
    let alone = Hello { resume_only: true, ..resume };
    assert_eq!(stage.greet(&alone), Answer::Reject(Rejection::Ended));
    // The session's own link is not disturbed by that.
    let mut heard = Vec::new();
    peer.0.read_to_end(&mut heard).unwrap();
    let spread = Duration::from_millis(4);
    let notice = Frame::GoingAway(GoingAway::new(after, spread)).to_bytes();
    assert!(heard.ends_with(&notice), "{heard:x?}");
    assert!(session.lock().has_link() && session.lock().has_ended());
    // It goes with the client's end, and with the time at the latest.
    let count = stage.sessions.entries.len();
    stage.sessions.on_time(sync::now() + hour);
    assert_eq!((count, stage.sessions.entries.len()), (2, 0));
}

mod identities;
mod reloaded;
mod secured;
