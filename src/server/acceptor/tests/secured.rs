//! Peers whose links are to be secured, up to their hello.

use std::cell::Cell;

use super::identities::known_as;
use super::*;
use crate::net;
use crate::secure::{Channel, End, Failure, Opened, Security};

pub(super) fn toy(name: &str, trusts: &[&str]) -> Security {
    Security::toy(name, trusts, Arc::default())
}

/// Its links are secured, and it trusts two clients.
fn secured() -> Stage {
    Stage::with(Builder::default().security(toy("server", &["alice", "bob"])))
}

impl Stage {
    /// Waits until peers have something to say, and lets them.
    pub(super) fn turn(&mut self) {
        let polled: Vec<_> = self.acceptor.polled().collect();
        let mut fds: Vec<_> =
            polled.iter().map(|(_, socket, interest)| net::poll_fd(*socket, *interest)).collect();
        net::poll(&mut fds, sync::after(Duration::from_secs(20)));
        let ready = polled.iter().zip(&fds).filter(|(_, fd)| net::readiness(fd).read);
        let ready: Vec<usize> = ready.map(|((index, ..), _)| *index).collect();
        assert!(!ready.is_empty(), "nothing was said");
        self.acceptor.on_ready(&ready, &mut self.sessions);
    }

    pub(super) fn pending(&self) -> usize {
        self.acceptor.places.iter().count()
    }

    /// A client says its hello over a secured link of its own.
    pub(super) fn meet(&mut self, name: &str, hello: &Hello) -> (Answer, Caller) {
        let mut caller = Caller::greeted(self, name);
        caller.say(&Frame::Hello(hello.clone()).to_bytes());
        self.turn();
        (caller.answer(), caller)
    }
}

/// A client, which is heard when the stage has its turn.
pub(super) struct Caller {
    stream: TcpStream,
    channel: Channel,
    decoder: Decoder,
}

impl Caller {
    fn new(stage: &Stage, name: &str) -> Caller {
        Caller::by(stage, &toy(name, &["server"]))
    }

    fn by(stage: &Stage, security: &Security) -> Caller {
        let stream = TcpStream::connect(stage.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        let channel = security.connect("server").unwrap();
        Caller { stream, channel, decoder: Decoder::default() }
    }

    /// Its handshake is over, but for the last flight.
    pub(super) fn greeted(stage: &mut Stage, name: &str) -> Caller {
        let mut caller = Caller::new(stage, name);
        let hello = caller.hello();
        caller.stream.write_all(&hello).unwrap();
        stage.turn();
        caller.hear_server();
        caller
    }

    /// The first flight.
    fn hello(&mut self) -> Vec<u8> {
        self.channel.opener.open(&mut self.decoder);
        self.channel.sealer.seal_now(&[])
    }

    /// Opens what comes next. Returns nothing at the end.
    pub(super) fn hear(&mut self) -> Option<Opened> {
        let mut bytes = [0; 1000];
        let n = self.stream.read(&mut bytes).expect("no reset");
        self.channel.opener.append(&bytes[..n]);
        (n > 0).then(|| self.channel.opener.open(&mut self.decoder))
    }

    fn hear_server(&mut self) {
        while !self.channel.is_open() {
            let Some(Opened { end: None, .. }) = self.hear() else { panic!("no handshake") };
        }
    }

    /// Says this, as it is, up to `cut` and then the rest.
    fn say_in_pieces(&mut self, stage: &mut Stage, bytes: &[u8], cut: usize) {
        let (first, rest) = bytes.split_at(cut);
        for piece in [first, rest].into_iter().filter(|piece| !piece.is_empty()) {
            self.stream.write_all(piece).unwrap();
            stage.turn();
        }
    }

    /// Says this behind what is left of the handshake.
    pub(super) fn say(&mut self, plain: &[u8]) {
        let bytes = self.channel.sealer.seal_now(plain);
        self.stream.write_all(&bytes).unwrap();
    }

    pub(super) fn answer(&mut self) -> Answer {
        loop {
            if let Some(frame) = self.decoder.next().unwrap() {
                return Answer::from(frame);
            }
            match self.hear() {
                None => return Answer::Nothing,
                Some(Opened { end: None, .. }) => {}
                Some(opened) => panic!("{opened:?}"),
            }
        }
    }

    pub(super) fn failure(&mut self) -> Failure {
        loop {
            match self.hear().expect("why") {
                Opened { end: Some(End::Broken(failure)), .. } => return failure,
                opened => assert_eq!(opened.end, None),
            }
        }
    }

    /// Whether the server says nothing more, and has not reset the link.
    pub(super) fn is_at_end(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0))
    }
}

pub(super) fn bytes(hello: Hello) -> Vec<u8> {
    Frame::Hello(hello).to_bytes().to_vec()
}

#[test]
fn a_session_is_known_by_what_its_client_has_shown() {
    let mut stage = secured();
    let (Answer::Welcome { epoch }, _alice) = stage.meet("alice", &hello(1)) else { panic!() };
    let session = stage.newest().unwrap();
    assert_eq!(*session.lock().who(), known_as("alice"));
    let next = Hello { epoch, attempt: 2, ..hello(1) };
    let (Answer::Welcome { epoch: other }, _bob) = stage.meet("bob", &next) else { panic!() };
    assert_eq!(*stage.newest().unwrap().lock().who(), known_as("bob"));
    assert_ne!(other, epoch);
    assert_undisturbed(&session);
    assert_eq!(stage.meet("alice", &next).0, Answer::Welcome { epoch });
    assert_eq!(session.lock().protocol.status().generation, 2);
}

#[test]
fn a_handshake_may_come_in_any_pieces() {
    let meet = |cuts: [usize; 2]| {
        let mut stage = secured();
        let mut caller = Caller::new(&stage, "alice");
        let first = caller.hello();
        caller.say_in_pieces(&mut stage, &first, cuts[0]);
        caller.hear_server();
        let last = caller.channel.sealer.seal_now(&bytes(hello(1)));
        caller.say_in_pieces(&mut stage, &last, cuts[1]);
        assert!(matches!(caller.answer(), Answer::Welcome { .. }), "{cuts:?}");
        [first.len(), last.len()]
    };
    let [first, last] = meet([0, 0]);
    for cuts in (1..first).map(|cut| [cut, 0]).chain((1..last).map(|cut| [0, cut])) {
        meet(cuts);
    }
}

/// A hello of TLS does not fit into what is read before it is known for one.
#[cfg(all(feature = "tls", not(miri)))]
#[test]
fn a_flight_of_a_handshake_takes_one_turn() {
    let [client, server] = crate::secure::securities();
    let mut stage = Stage::with(Builder::default().security(server));
    let mut caller = Caller::by(&stage, &client);
    caller.stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let first = caller.hello();
    assert!(first.len() > SMALL_BUFFER);
    caller.stream.write_all(&first).unwrap();
    stage.turn();
    caller.hear_server();
    caller.say(&bytes(hello(1)));
    stage.turn();
    assert!(matches!(caller.answer(), Answer::Welcome { .. }));
}

/// A client thinks that it is in, and goes on.
#[test]
fn a_client_that_is_not_trusted_is_told_so_and_no_reset_takes_that_away() {
    let mut stage = secured();
    let mut mallory = Caller::greeted(&mut stage, "mallory");
    mallory.say(&[&bytes(hello(1))[..], &[7; 5_000]].concat());
    stage.turn();
    assert_eq!(mallory.failure(), Failure::Rejected(Rejection::Untrusted));
    assert!(mallory.is_at_end());
    stage.turn();
    assert_eq!(stage.pending(), 1, "it has more to say");
    drop(mallory);
    while stage.pending() > 0 {
        stage.turn();
    }
    assert!(stage.newest().is_none());
}

#[test]
fn a_refused_peer_is_heard_for_a_while_and_says_no_more_than_a_handshake() {
    let refused = |stage: &mut Stage| {
        let mut mallory = Caller::greeted(stage, "mallory");
        mallory.say(&[]);
        stage.turn();
        assert_eq!(stage.pending(), 1);
        mallory
    };
    let mut stage = secured();
    let before = sync::now();
    let _mallory = refused(&mut stage);
    let second = Duration::from_secs(1);
    stage.acceptor.places.drop_late(before + second - Duration::from_nanos(1));
    assert_eq!(stage.pending(), 1);
    stage.acceptor.places.drop_late(sync::now() + second);
    assert_eq!(stage.pending(), 0);
    let mut mallory = refused(&mut stage);
    mallory.stream.write_all(&[7; 16 * 1024 + 1]).unwrap();
    while stage.pending() > 0 {
        stage.turn();
    }
}

/// What it had begun to say takes no room from what it goes on to say.
#[test]
fn a_refused_peer_is_heard_whatever_it_had_said_before() {
    let mut stage = secured();
    let mut alice = Caller::greeted(&mut stage, "alice");
    let mut begun = vec![0; SMALL_BUFFER];
    begun[..HEADER].copy_from_slice(&[kind::HELLO, 0, 0, 4, 0]);
    let begun = alice.channel.sealer.seal_now(&begun);
    let forged = [0x17, 3, 3, 0, 3, 7, 7, 7];
    alice.stream.write_all(&[&begun[..], &forged].concat()).unwrap();
    stage.turn();
    assert_eq!(stage.pending(), 1);
    alice.stream.write_all(&[7; 16 * 1024]).unwrap();
    while stage.acceptor.places.iter().any(|(_, peer)| peer.socket.has_bytes()) {
        stage.turn();
    }
    assert_eq!(stage.pending(), 1);
    assert_eq!(alice.failure(), Failure::Protocol("an alert of the peer"));
    assert!(alice.is_at_end());
}

#[test]
fn clear_text_is_refused_if_links_are_to_be_secured() {
    let mut stage = secured();
    assert_eq!(stage.greet(&hello(1)), Answer::Reject(Rejection::TlsRequired));
    assert_eq!(
        stage.greet(&Hello { resume_only: true, ..hello(1) }),
        Answer::Reject(Rejection::TlsRequired)
    );
    assert_eq!(stage.hear(b"GET / HTTP/1.1\r\n").0, Answer::Nothing);
    assert_eq!((stage.pending(), stage.newest().is_none()), (0, true));
}

/// A whole flight is more than is read of it.
#[test]
fn one_that_wants_to_be_secured_is_told_in_clear_that_there_is_no_such_thing() {
    let mut stage = Stage::new(10);
    let flight = [&[0x16, 3, 1, 0x10, 0][..], &[1; 0x1000]].concat();
    let (answer, mut peer, created) = stage.hear(&flight);
    assert_eq!(answer, Answer::Reject(Rejection::Protocol));
    assert!(matches!(peer.0.read(&mut [0]), Ok(0)), "no reset");
    assert!(created.is_none());
}

#[test]
fn a_handshake_and_the_hello_behind_it_have_the_time_of_a_hello() {
    let due = |stage: &Stage| stage.acceptor.places.deadline();
    let mut stage = secured();
    let mut caller = Caller::new(&stage, "alice");
    stage.turn();
    assert_eq!(due(&stage), None, "it may be silent");
    let before = sync::now();
    let flight = caller.hello();
    caller.stream.write_all(&flight[..1]).unwrap();
    stage.turn();
    let first = due(&stage).unwrap();
    assert!(first >= before + HELLO_TIMEOUT && first <= sync::now() + HELLO_TIMEOUT);
    caller.stream.write_all(&flight[1..]).unwrap();
    stage.turn();
    caller.hear_server();
    caller.say(&bytes(hello(1))[..10]);
    stage.turn();
    assert_eq!(due(&stage), Some(first));
    stage.acceptor.places.drop_late(first);
    assert_eq!(caller.answer(), Answer::Nothing);
}

#[test]
fn before_a_hello_no_more_is_read_than_a_handshake_takes() {
    let long = vec![0x16, 3, 3, 0x41, 1];
    let much = [&[0x16, 3, 3, 0x40, 0][..], &[7; 0x4000]].concat();
    for flight in [long, much] {
        let mut stage = secured();
        let mut caller = Caller::new(&stage, "alice");
        caller.hello();
        caller.stream.write_all(&flight).unwrap();
        while !stage.acceptor.places.iter().any(|(_, peer)| peer.is_refused()) {
            stage.turn();
        }
        assert!(caller.is_at_end());
    }
}

#[test]
fn a_peer_that_leaves_in_its_handshake_is_forgotten() {
    let mut stage = secured();
    let caller = Caller::greeted(&mut stage, "alice");
    assert_eq!(stage.pending(), 1);
    drop(caller);
    stage.turn();
    assert_eq!(stage.pending(), 0);
}

#[test]
fn inside_a_secured_link_it_is_as_in_clear() {
    let greeting = vec![b'g'; 2048].into();
    let longest = Hello { greeting, ..named(1, 7) };
    let malformed = [&[kind::HELLO, 0, 0, 0, 4][..], b"LLNK"].concat();
    let said: [(Vec<u8>, Answer); 5] = [
        (bytes(Hello { version: VERSION + 1, ..hello(1) }), Answer::Reject(Rejection::Version)),
        (bytes(Hello { resume_only: true, ..hello(1) }), Answer::Reject(Rejection::Ended)),
        (malformed, Answer::Reject(Rejection::Protocol)),
        (Frame::Ping(1).to_bytes().into(), Answer::Nothing),
        ([&bytes(longest.clone())[..], &[0]].concat(), Answer::Nothing),
    ];
    for (said, answer) in said {
        let mut stage = secured();
        let mut caller = Caller::greeted(&mut stage, "alice");
        caller.say(&said);
        while stage.pending() > 0 {
            stage.turn();
        }
        assert_eq!(caller.answer(), answer);
        assert!(stage.newest().is_none());
    }
    // A part of a record behind the hello is more, too.
    let mut stage = secured();
    let mut caller = Caller::greeted(&mut stage, "alice");
    let said = [bytes(hello(1)), vec![0]].map(|plain| caller.channel.sealer.seal_now(&plain));
    caller.stream.write_all(&[&said[0][..], &said[1][..5]].concat()).unwrap();
    stage.turn();
    assert_eq!(caller.answer(), Answer::Nothing);
    let mut caller = Caller::greeted(&mut stage, "alice");
    caller.say(&bytes(longest));
    while stage.newest().is_none() {
        stage.turn();
    }
    assert!(matches!(caller.answer(), Answer::Welcome { .. }));
}

#[test]
fn text_over_a_secured_link_is_text_if_a_listener_takes_it() {
    for takes in [true, false] {
        let security = toy("server", &["alice"]);
        let mut stage = Stage::with(Builder::default().accept_plain(takes).security(security));
        let mut caller = Caller::greeted(&mut stage, "alice");
        caller.say(&[]);
        stage.turn();
        let due = stage.acceptor.places.deadline();
        assert_eq!((stage.pending(), due.is_none()), (1, takes), "it may be silent");
        caller.say(b"hello\n");
        stage.turn();
        let session = stage.newest();
        assert_eq!((session.is_some(), stage.pending()), (takes, 0));
        if let Some(session) = session {
            let mut state = session.lock();
            assert_eq!(*state.who(), known_as("alice"));
            assert_eq!(state.receive().unwrap().unwrap().unwrap(), "hello\n");
        }
    }
}

/// As in clear: silent is only who has said nothing.
#[test]
fn a_part_of_a_record_is_no_silence() {
    let mut stage = secured();
    let mut caller = Caller::greeted(&mut stage, "alice");
    caller.say(&[]);
    stage.turn();
    assert_eq!((stage.pending(), stage.acceptor.places.deadline()), (1, None));
    let text = caller.channel.sealer.seal_now(b"hello\n");
    caller.stream.write_all(&text[..text.len() - 1]).unwrap();
    stage.turn();
    assert_eq!(stage.pending(), 1);
    assert!(stage.acceptor.places.deadline().is_some(), "the rest is due");
    caller.stream.write_all(&text[text.len() - 1..]).unwrap();
    stage.turn();
    assert!(stage.newest().is_some());
}

#[test]
fn one_that_ends_before_its_first_words_are_whole_is_forgotten() {
    for words in [&b""[..], &bytes(hello(1))[..20]] {
        let mut stage = secured();
        let mut caller = Caller::greeted(&mut stage, "alice");
        let words = caller.channel.sealer.seal_now(words);
        let end = caller.channel.sealer.farewell();
        caller.stream.write_all(&[words, end].concat()).unwrap();
        stage.turn();
        assert_eq!(stage.pending(), 0);
        assert!(stage.newest().is_none());
    }
}

/// No byte follows that could be polled for.
#[test]
fn an_end_that_comes_with_the_first_words_is_heard() {
    let mut stage = secured();
    let mut caller = Caller::greeted(&mut stage, "alice");
    let text = caller.channel.sealer.seal_now(b"hello\n");
    let end = caller.channel.sealer.farewell();
    caller.stream.write_all(&[text, end].concat()).unwrap();
    stage.turn();
    let session = stage.newest().unwrap();
    let mut state = session.lock();
    assert_eq!(state.receive().unwrap().unwrap().unwrap(), "hello\n");
    assert!(matches!(state.receive(), Some(Ok(None))));
}

thread_local! {
    static PREPARED: Cell<u32> = const { Cell::new(0) };
}

/// What the handshake writes is counted from then on.
#[test]
fn a_socket_is_prepared_once_and_before_anything_is_written() {
    let prepare: fn(&mut Socket) -> io::Result<()> = |socket| {
        PREPARED.set(PREPARED.get() + 1);
        socket.prepare()
    };
    let mut stage = secured();
    stage.sessions.prepare = prepare;
    let (answer, _caller) = stage.meet("alice", &hello(1));
    assert!(matches!(answer, Answer::Welcome { .. }));
    assert_eq!(PREPARED.replace(0), 1);
    let mut stage = Stage::new(10);
    stage.sessions.prepare = prepare;
    stage.join(&hello(1));
    assert_eq!(PREPARED.get(), 1);
    let mut stage = secured();
    stage.sessions.prepare = |_| out_of_memory();
    let mut caller = Caller::new(&stage, "alice");
    let flight = caller.hello();
    caller.stream.write_all(&flight).unwrap();
    stage.turn();
    assert_eq!((caller.answer(), stage.pending()), (Answer::Nothing, 0));
}

/// Links are served in between.
#[test]
fn a_turn_ends_when_its_time_for_handshakes_is_spent() {
    let mut stage = secured();
    stage.sessions.turn = Duration::ZERO;
    let mut callers: Vec<_> = (0..3).map(|_| Caller::new(&stage, "alice")).collect();
    for pending in 1..=3 {
        stage.turn();
        assert_eq!(stage.pending(), pending, "one at a time");
    }
    for caller in &mut callers {
        let flight = caller.hello();
        caller.stream.write_all(&flight).unwrap();
    }
    let waiting = [2, 1, 0].map(|waiting| {
        // Another is accepted in each turn.
        let another = Caller::new(&stage, "alice");
        stage.turn();
        let peers = stage.acceptor.places.iter();
        assert_eq!(peers.filter(|(_, peer)| peer.socket.has_bytes()).count(), waiting);
        another
    });
    assert_eq!(stage.pending(), callers.len() + waiting.len());
    callers.iter_mut().for_each(Caller::hear_server);
}

/// Another program may speak text within TLS.
#[test]
fn one_that_does_not_say_that_it_speaks_longlink_is_taken_for_its_text_alone() {
    let secured = || Stage::with(Builder::default().security(toy("server", &["foreign"])));
    let mut stage = secured();
    let (answer, mut caller) = stage.meet("foreign", &hello(1));
    assert_eq!(answer, Answer::Reject(Rejection::Protocol));
    assert!(caller.is_at_end() && stage.newest().is_none());
    let mut stage = secured();
    let mut caller = Caller::greeted(&mut stage, "foreign");
    caller.say(b"hello\n");
    stage.turn();
    assert_eq!(*stage.newest().unwrap().lock().who(), known_as("foreign"));
}
