#![expect(clippy::disallowed_methods, reason = "one reading as the origin of a fake clock")]

use bytes::Buf;

use super::*;
use crate::proto::inbox::Received;
use crate::proto::report::Payload;
use crate::proto::testing::fuzzing::plain::{in_pieces, naive};
use crate::proto::testing::rounds;

const LIMITS: Limits = Limits { window: 1000, max_message: 200 };
const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(10);
const SETTINGS: Settings =
    Settings { interval: Some(INTERVAL), reply_timeout: None, lock_step: false };

/// A session on a link, and the bytes that it writes there.
struct Side {
    session: PlainSession,
    decoder: Decoder,
    batch: Batch,
    origin: Instant,
    now: Instant,
    /// What the socket takes.
    room: usize,
    written: Vec<u8>,
    ended: bool,
}

impl Side {
    fn client(settings: Settings) -> Side {
        let now = Instant::now();
        let mut side = Side::new(PlainSession::client(LIMITS, settings, now), now);
        assert_eq!(side.session.connected(now), Opened::First);
        side
    }

    fn server() -> Side {
        let now = Instant::now();
        Side::new(PlainSession::server(LIMITS, now), now)
    }

    fn new(session: PlainSession, now: Instant) -> Side {
        let (decoder, batch) = (Decoder::default(), Batch::default());
        Side {
            session,
            decoder,
            batch,
            origin: now,
            now,
            room: usize::MAX,
            written: Vec::new(),
            ended: false,
        }
    }

    fn at(&self) -> Duration {
        self.now - self.origin
    }

    fn feed(&mut self, line: &str) -> &mut Side {
        self.session.feed(&Payload::Slice(line.as_bytes()));
        self
    }

    /// Writes as the monitor does: what fits. Returns the bytes of this turn.
    fn write(&mut self) -> Vec<u8> {
        let before = self.written.len();
        loop {
            if self.batch.is_empty() {
                self.session.fill(&mut self.batch);
            }
            if self.batch.is_empty() {
                break;
            }
            let bytes: Vec<u8> =
                self.batch.slices.iter().flat_map(|slice| slice.to_vec()).collect();
            let taken = bytes.len().min(self.room);
            self.written.extend_from_slice(&bytes[..taken]);
            self.batch.advance(taken);
            self.room -= taken;
            if self.batch.has_remaining() {
                break;
            }
            self.ended |= self.batch.take_fin();
            self.session.sent(self.now);
        }
        self.written[before..].to_vec()
    }

    /// Whether the stream was ended since this was last asked.
    fn ends(&mut self) -> bool {
        std::mem::take(&mut self.ended)
    }

    /// The peer's kernel has acknowledged the bytes before this position.
    fn reached(&mut self, acknowledged: u64) {
        assert_eq!(self.session.tick(Some(acknowledged), self.now), Verdict::Alive);
    }

    fn hear(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Violation> {
        let mut bytes = bytes.as_ref();
        while !bytes.is_empty() {
            bytes = &bytes[self.decoder.push(bytes)..];
            let generation = self.session.status().generation;
            while self.session.hear(generation, &mut self.decoder, self.now)? {}
        }
        Ok(())
    }

    fn says(&mut self, text: &str) {
        self.hear(text).unwrap();
    }

    fn takes(&mut self) -> Vec<String> {
        std::iter::from_fn(|| match self.session.take() {
            Some(Received::Message(line)) => Some(String::from_utf8(line.to_vec()).unwrap()),
            Some(Received::End) | None => None,
        })
        .collect()
    }

    /// Lets the times come until then, and returns what was written when, or
    /// when the peer was judged dead.
    fn run(&mut self, until: Duration) -> (Vec<(u64, String)>, Option<u64>) {
        let mut writes = Vec::new();
        while let Some(next) = self.session.deadline().filter(|next| *next <= self.origin + until) {
            assert!(next > self.now || self.at().is_zero(), "a deadline in the past");
            self.now = next;
            if let Verdict::Dead(_) = self.session.tick(None, self.now) {
                return (writes, Some(self.at().as_secs()));
            }
            let bytes = self.write();
            if !bytes.is_empty() {
                writes.push((self.at().as_secs(), String::from_utf8(bytes).unwrap()));
            }
        }
        self.now = self.origin + until;
        (writes, None)
    }

    fn wait(&mut self, time: Duration) {
        let (writes, dead) = self.run(self.at() + time);
        assert_eq!((writes, dead), (Vec::new(), None));
    }

    /// The link is cut with what it has not written. Returns what is unknown.
    fn cut(&mut self) -> Vec<String> {
        let rest = std::mem::take(&mut self.batch).len();
        let Unanswered { lines, forgotten } = self.session.link_lost(rest).unanswered;
        self.decoder = Decoder::default();
        assert_eq!(forgotten, 0);
        lines.iter().map(|line| String::from_utf8(line.to_vec()).unwrap()).collect()
    }

    fn connect(&mut self, room: usize) -> u64 {
        self.room = room;
        self.written.clear();
        match self.session.connected(self.now) {
            Opened::Anew { waiting } => waiting,
            other => panic!("{other:?}"),
        }
    }
}

// Trap 20.
#[test]
fn heartbeats_are_found_in_any_pieces() {
    type Case<'a> = (&'a [u8], &'a [&'a [u8]], usize);
    let cases: [Case<'_>; 16] = [
        (b"keepalive", &[], 1),
        (b"keepalivekeepalivekeepalive", &[], 3),
        (b"keepalivekeepalivehello\n", &[b"hello\n"], 2),
        (b"keepalive\n", &[b"keepalive\n"], 0),
        (b"keepalivekeepalive\n", &[b"keepalive\n"], 1),
        (b"hello\nkeepalivekeepalive", &[b"hello\n"], 2),
        (b"hello keepalive\n", &[b"hello keepalive\n"], 0),
        (b"keepalive\nkeepalive", &[b"keepalive\n"], 1),
        (b"kkeepalive\n", &[b"kkeepalive\n"], 0),
        (b"keep\nalive\n", &[b"keep\n", b"alive\n"], 0),
        (b"keepali", &[b"keepali"], 0),
        (b"keepalivekeepali\n", &[b"keepali\n"], 1),
        (b"keepalive\rx\n", &[b"\rx\n"], 1),
        (b"keepalivehello", &[b"hello"], 1),
        (b"\n\nkeepalive \n", &[b"\n", b"\n", b" \n"], 1),
        (b"Keepalive\n", &[b"Keepalive\n"], 0),
    ];
    for (stream, lines, heartbeats) in cases {
        let text = stream.escape_ascii();
        let expected = naive(stream);
        let reading = expected.clone().expect("short lines");
        assert_eq!(reading.iter().map(|(count, _)| count).sum::<usize>(), heartbeats, "{text}");
        let found: Vec<&[u8]> = reading.iter().map(|(_, line)| &line[..]).collect();
        assert_eq!(found, [lines, &[b""]].concat(), "{text}");
        for at in 1..=stream.len() {
            assert_eq!(in_pieces(stream, &[at, usize::MAX]), expected, "{text} in two at {at}");
        }
        assert_eq!(in_pieces(stream, &[1]), expected, "{text} by the byte");
    }
}

#[test]
fn a_client_takes_what_looks_like_a_heartbeat_for_text() {
    let mut client = Side::client(SETTINGS);
    client.says("keepalivekeepalive");
    client.says("x\n");
    assert_eq!(client.takes(), ["keepalivekeepalivex\n"]);
}

#[test]
fn telnet_is_answered_in_kind() {
    let mut server = Side::server();
    server.says("hello\r\nkeepalive\r\nlast\n");
    assert_eq!(server.takes(), ["hello\n", "keepalive\n", "last\n"]);
    server.feed("one\n").feed("two\r\n").feed("three").feed("");
    assert_eq!(server.write(), b"one\r\ntwo\r\nthree\r\n\r\n");
    // Who began otherwise gets what is sent, and nothing is taken from what came.
    let mut server = Side::server();
    server.says("hello\nkeepalive\r\nx\r\n");
    assert_eq!(server.takes(), ["hello\n", "keepalive\r\n", "x\r\n"]);
    server.feed("one\n").feed("two\r\n").feed("three").feed("");
    assert_eq!(server.write(), b"one\ntwo\r\nthree\n\n");
    let mut client = Side::client(SETTINGS);
    client.says("hello\r\n");
    assert_eq!(client.takes(), ["hello\r\n"]);
    client.feed("one\n");
    assert_eq!(client.write(), b"one\n");
}

/// With the newline that it gets, it goes no further than a peer with the same limit allows.
#[test]
fn what_a_message_counts_for_is_what_its_line_takes() {
    let mut telnet = Side::server();
    telnet.says("hello\r\n");
    telnet.takes();
    for mut side in [Side::client(SETTINGS), telnet] {
        for message in ["", "\n", "\r\n", "text", "text\n", "text\r\n", "text\r", "two\nlines"] {
            let size = side.session.line_len(message.as_bytes());
            assert_eq!(side.feed(message).write().len(), size, "{message:?}");
        }
    }
}

#[test]
fn what_a_server_is_writing_when_its_peer_ends_is_not_written_by_that() {
    let mut server = Side::server();
    server.room = 2;
    server.feed("stuck\n").write();
    assert!(server.session.end(server.now).unwrap().is_some());
    assert_eq!(server.session.status().unacknowledged, 1);
    server.session.link_lost(server.batch.len());
    assert_eq!(server.session.take_unacknowledged(), ["stuck\n"]);
}

#[test]
fn a_line_has_a_limit() {
    let fits = "x".repeat(199) + "\n";
    for (line, ok) in [(fits.clone(), true), ("x".to_string() + &fits, false)] {
        for size in [1, 7, 300] {
            let mut server = Side::server();
            let result = line.as_bytes().chunks(size).try_for_each(|piece| server.hear(piece));
            assert_eq!(result.is_ok(), ok, "{} bytes by {size}", line.len());
        }
    }
    // And without ever a newline.
    let mut server = Side::server();
    let endless = [b'x'; 64];
    let most = (0..1000).take_while(|_| server.hear(endless).is_ok()).count();
    assert_eq!(most, 200 / 64);
    assert!(server.session.incoming.memory() < 4096);
}

/// The shortest lines cost no more memory than their bytes.
#[test]
fn what_is_not_taken_is_not_read() {
    let mut server = Side::server();
    for _ in 0..10 {
        assert!(server.session.status().may_read);
        server.says(&"\n".repeat(100));
    }
    assert!(!server.session.status().may_read);
    assert!(server.session.incoming.memory() <= 2048, "{}", server.session.incoming.memory());
    assert_eq!(server.takes().len(), 1000);
    assert!(server.session.status().may_read);
    // A line as long as the window is read to its end.
    let limits = Limits { window: 10, max_message: 10 };
    let mut session = PlainSession::server(limits, server.now);
    let mut decoder = Decoder::default();
    decoder.push(b"123456789");
    assert_eq!(session.hear(1, &mut decoder, server.now), Ok(true));
    assert!(session.status().may_read);
}

#[test]
fn a_last_line_needs_no_newline() {
    let mut server = Side::server();
    server.says("one\ntwo");
    assert_eq!(server.takes(), ["one\n"]);
    assert_eq!(server.session.end(server.now), Ok(Some(Unanswered::default())));
    assert_eq!(server.takes(), ["two"]);
    assert_eq!(server.session.take(), Some(Received::End));
    // Its replies still go out, and the end of them.
    assert!(server.session.status().deaf && !server.session.status().complete);
    server.feed("two").session.finish();
    assert!(!server.ends(), "before the last line");
    assert_eq!(server.write(), b"two\n");
    assert!(server.ends() && !server.ends());
    assert!(server.session.status().complete);
}

/// What becomes of three lines when the link is cut after so many bytes.
#[test]
fn a_line_that_is_cut_is_sent_again_and_one_that_may_be_there_is_announced() {
    let lines = ["first\n", "second\n", "third\n"];
    let all = lines.concat();
    for room in 0..=all.len() {
        for replies in 0..=2 {
            let mut client = Side::client(SETTINGS);
            client.room = room;
            for line in lines {
                client.feed(line);
            }
            client.write();
            let whole = all[..room].matches('\n').count();
            let answered = replies.min(whole);
            (0..answered).for_each(|_| client.says("reply\n"));
            let unknown = client.cut();
            assert_eq!(unknown, lines[answered..whole], "cut at {room}");
            assert_eq!(client.session.status().totals.unanswered, (whole - answered) as u64);
            assert_eq!(client.connect(usize::MAX), (3 - whole) as u64);
            client.write();
            assert_eq!(client.written, lines[whole..].concat().into_bytes(), "cut at {room}");
        }
    }
}

fn whole_lines(written: &[u8]) -> Vec<String> {
    let lines = written.split_inclusive(|&byte| byte == b'\n');
    let whole = lines.filter(|line| line.ends_with(b"\n"));
    whole.map(|line| String::from_utf8(line.to_vec()).unwrap()).collect()
}

/// Over all links each line is written as a whole once, in order, and what was
/// not answered when a link goes is announced.
#[test]
fn cuts_neither_lose_nor_double_a_line() {
    for seed in 0..rounds(2000) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut client = Side::client(Settings { lock_step: rng.bool(), ..SETTINGS });
        let (mut fed, mut answered, mut whole) = (0, 0, Vec::new());
        client.room = 0;
        for _ in 0..60 {
            match rng.u8(..5) {
                // No more than a window remembers.
                0 | 1 if fed < 14 => {
                    client.feed(&format!("{fed:03}\n"));
                    fed += 1;
                }
                2 => {
                    client.room = rng.usize(..20);
                    client.write();
                }
                3 if answered < whole_lines(&client.written).len() => {
                    client.says("reply\n");
                    answered += 1;
                }
                4 => {
                    let lines = whole_lines(&client.written);
                    assert_eq!(client.cut(), lines[answered..], "seed {seed}");
                    whole.extend(lines);
                    answered = 0;
                    client.connect(0);
                }
                _ => {}
            }
            let session = &client.session;
            let bytes = session.outgoing.kept().concat().len();
            assert_eq!(session.status().unacknowledged_bytes, bytes as u64, "seed {seed}");
        }
        whole.extend(whole_lines(&client.written));
        client.cut();
        // On the last link everything is answered.
        client.connect(usize::MAX);
        loop {
            let lines = whole_lines(&client.write());
            if lines.is_empty() {
                break;
            }
            lines.iter().for_each(|_| client.says("reply\n"));
            whole.extend(lines);
        }
        let expected: Vec<String> = (0..fed).map(|n| format!("{n:03}\n")).collect();
        assert_eq!(whole, expected, "seed {seed}");
        assert!(client.session.status().acknowledged);
    }
}

/// Of what a thread was just writing nothing is known, wherever it was.
#[test]
fn what_was_being_written_is_announced() {
    let mut client = Side::client(SETTINGS);
    client.feed("in its hands\n");
    client.session.fill(&mut client.batch);
    client.feed("waiting\n");
    assert_eq!(client.session.link_lost(0).unanswered.lines, ["in its hands\n"]);
    assert_eq!(client.session.status().unacknowledged, 1);
}

/// It has been taken, to be sent elsewhere from the number that follows.
#[test]
fn what_was_taken_out_is_not_acknowledged_later() {
    let mut client = Side::client(SETTINGS);
    client.feed("one\n").feed("two\n");
    client.session.close(CloseCode::Closed);
    assert_eq!(client.session.take_unacknowledged(), ["one\n", "two\n"]);
    client.write();
    let status = client.session.status();
    assert_eq!((status.unacknowledged, status.acknowledged_number()), (2, 0));
}

#[test]
fn the_oldest_unanswered_lines_are_forgotten_and_never_block() {
    let mut client = Side::client(SETTINGS);
    for n in 0..1000 {
        assert!(client.session.status().room > 0, "line {n}");
        client.feed(&format!("{n}\n")).write();
    }
    // Replies are for the oldest, remembered or not.
    client.says("reply\n");
    let Unanswered { lines, forgotten } = client.session.link_lost(0).unanswered;
    assert_eq!((lines.len(), lines.len() as u64 + forgotten), (1000 / (4 + 64), 999));
    assert_eq!(lines.last().map(|line| &line[..]), Some(&b"999\n"[..]));
    // What cannot be written does block.
    client.connect(0);
    let fed = (0..1000).take_while(|_| {
        client.session.status().room > 0 && {
            client.feed("x\n");
            true
        }
    });
    assert_eq!(fed.count(), 1000_usize.div_ceil(2 + 64));
}

#[test]
fn in_lock_step_a_line_waits_for_the_reply_to_the_last() {
    let mut client = Side::client(Settings { lock_step: true, ..SETTINGS });
    client.feed("one\n").feed("two\n").feed("three\n");
    assert_eq!(client.write(), b"one\n");
    assert_eq!(client.write(), b"");
    client.says("1\n");
    assert_eq!(client.write(), b"two\n");
    // Lost unanswered, it holds up no other.
    assert_eq!(client.cut(), ["two\n"]);
    client.connect(usize::MAX);
    assert_eq!(client.write(), b"three\n");
}

#[test]
fn an_idle_client_that_is_served_beats_every_interval() {
    let mut client = Side::client(SETTINGS);
    client.feed("hello\n").write();
    client.says("reply\n");
    let beat = |at| (at, "keepalive".to_string());
    let (writes, dead) = client.run(35 * SECOND);
    assert_eq!((writes, dead), (vec![beat(10), beat(20), beat(30)], None));
    // A line is as good, and the reply to it allows the next.
    client.feed("again\n").write();
    client.says("reply\n");
    assert_eq!(client.run(54 * SECOND).0, [beat(45)]);
    let mut silent = Side::client(Settings { interval: None, ..SETTINGS });
    silent.says("hello\n");
    assert_eq!(silent.run(1000 * SECOND), (vec![], None));
}

/// The classic server reads a heap of heartbeats as a message.
#[test]
fn no_heartbeat_while_a_line_waits_for_its_reply() {
    let mut client = Side::client(SETTINGS);
    client.feed("one\n").feed("two\n").write();
    client.wait(1000 * SECOND);
    // Nor if somebody looks who was not asked to.
    assert_eq!(client.session.tick(None, client.now), Verdict::Alive);
    assert_eq!(client.write(), b"");
    client.says("1\n");
    client.wait(1000 * SECOND);
    client.says("2\n");
    assert_eq!(client.run(client.at() + INTERVAL).0.len(), 1);
    // Nor while one waits to be written: a heartbeat goes alone.
    client.room = 0;
    client.now += INTERVAL;
    client.session.tick(None, client.now);
    client.feed("three\n");
    client.room = usize::MAX;
    assert_eq!(client.write(), b"three\n");
    client.says("3\n");
    assert_eq!(client.write(), b"");
}

/// Its kernel answers: that is all that can be had at once.
#[test]
fn a_client_is_checked_by_a_heartbeat() {
    const WITHIN: Duration = Duration::from_secs(5);
    let answers: [fn(&mut Side); 4] = [
        |client| client.says("a line\n"),
        // A part of a sealed record has come.
        |client| assert_eq!(client.session.hear(1, &mut Decoder::default(), client.now), Ok(false)),
        |client| client.reached(101),
        |client| assert!(!client.session.excuse(Excuse::Queued)),
    ];
    for answered in [None, Some(0), Some(1), Some(2), Some(3)] {
        let mut client = Side::client(SETTINGS);
        client.says("hello\n");
        client.wait(SECOND);
        client.session.check(WITHIN, Some(100), client.now);
        // Another would not be told from it.
        client.session.check(WITHIN, Some(100), client.now + SECOND);
        assert_eq!(client.write(), MARK);
        client.reached(100);
        assert!(client.session.status().counts_bytes);
        if let Some(answer) = answered {
            answers[answer](&mut client);
        }
        let (writes, dead) = client.run(client.at() + WITHIN);
        assert_eq!((writes, dead), (vec![], (answered.is_none()).then_some(6)), "{answered:?}");
    }
}

#[test]
fn a_check_sends_no_heartbeat_that_might_be_taken_for_text() {
    let asks = |client: &mut Side| {
        client.session.check(SECOND, Some(100), client.now);
        let asks = client.session.status().counts_bytes;
        assert_eq!(client.write() == MARK, asks);
        asks
    };
    let mut client = Side::client(SETTINGS);
    client.wait(SECOND);
    assert!(asks(&mut client), "one may be sent before the server is heard");
    client.reached(101);
    client.wait(SECOND);
    assert!(!asks(&mut client), "not two");
    client.says("hello\n");
    assert!(!asks(&mut client), "it may be read together with another");
    client.session.excuse(Excuse::Suspended);
    assert!(asks(&mut client), "unless the machine has slept");
    client.reached(101);
    client.feed("a line\n").write();
    client.wait(SECOND);
    assert!(!asks(&mut client), "a line waits for its reply");
    let mut silent = Side::client(Settings { interval: None, ..SETTINGS });
    silent.says("hello\n");
    silent.wait(SECOND);
    assert!(!asks(&mut silent), "it sends no heartbeats");
    let mut server = Side::server();
    server.says("hello\n");
    server.wait(SECOND);
    assert!(!asks(&mut server), "a server has none");
}

/// A server that is busy with another client has accepted nobody, and connects
/// all the same.
#[test]
fn one_heartbeat_at_most_before_the_server_says_something() {
    let mut client = Side::client(SETTINGS);
    for _ in 0..3 {
        let (writes, _) = client.run(client.at() + 100 * INTERVAL);
        assert_eq!(writes.len(), 1, "{writes:?}");
        assert_eq!(client.cut(), [""; 0]);
        client.connect(usize::MAX);
    }
    client.says("welcome\n");
    assert_eq!(client.run(client.at() + 10 * INTERVAL).0.len(), 10);
}

#[test]
fn a_client_beats_no_more_when_it_has_finished() {
    let mut client = Side::client(SETTINGS);
    client.says("welcome\n");
    client.session.finish();
    assert_eq!(client.write(), b"");
    assert!(client.ends());
    client.wait(1000 * SECOND);
    // The end is one only now.
    assert_eq!(client.session.end(client.now), Ok(Some(Unanswered::default())));
    client.takes();
    assert!(client.session.status().complete);
}

#[test]
fn an_end_before_ours_is_a_lost_link() {
    let mut client = Side::client(SETTINGS);
    client.feed("hello\n").write();
    client.says("rep");
    assert_eq!(client.session.end(client.now), Ok(None));
    assert_eq!(client.cut(), [""; 0], "it was answered");
    assert_eq!(client.takes(), ["rep"]);
    assert!(!client.session.status().has_next);
    // What a broken link leaves unfinished is no message.
    client.connect(usize::MAX);
    client.says("rep");
    client.cut();
    client.connect(usize::MAX);
    client.says("ly\n");
    assert_eq!(client.takes(), ["ly\n"]);
    // With lines still to be written, there is no end either.
    client.room = 3;
    client.feed("hello\n").write();
    client.session.finish();
    assert!(!client.ends());
    assert_eq!(client.session.end(client.now), Ok(None));
    client.cut();
    client.connect(usize::MAX);
    assert_eq!(client.write(), b"hello\n");
    assert!(client.ends());
    let unanswered = client.session.end(client.now).unwrap().unwrap();
    assert_eq!(unanswered.lines, ["hello\n"]);
}

#[test]
fn what_the_next_server_says_does_not_go_on_with_a_last_line() {
    let mut client = Side::client(SETTINGS);
    client.says("one\nlast");
    assert!(client.session.status().may_read);
    assert_eq!(client.session.end(client.now), Ok(None));
    client.cut();
    client.connect(usize::MAX);
    assert!(!client.session.status().may_read);
    assert_eq!(client.session.take(), Some(Received::Message("one\n".into())));
    assert!(!client.session.status().may_read);
    assert_eq!(client.takes(), ["last"]);
    assert!(client.session.status().may_read);
    client.says("welcome\n");
    assert_eq!(client.takes(), ["welcome\n"]);
}

#[test]
fn no_reply_in_time_is_death() {
    let settings = Settings { reply_timeout: Some(7 * SECOND), ..SETTINGS };
    let mut client = Side::client(settings);
    client.wait(5 * SECOND);
    client.feed("one\n").write();
    client.wait(6 * SECOND);
    client.feed("two\n").write();
    client.says("1\n");
    // The second has its time from then on.
    assert_eq!(client.run(100 * SECOND), (vec![], Some(18)));
    assert_eq!(client.cut(), ["two\n"]);
    client.connect(usize::MAX);
    assert_eq!(client.run(client.at() + 1000 * SECOND).1, None);
    // Bytes that wait to be read are life, until they are read; so is a judge who overslept.
    client.feed("three\n").write();
    let written = client.at();
    client.session.excuse(Excuse::Queued);
    client.wait(100 * SECOND);
    client.says("3");
    client.session.excuse(Excuse::Overslept(100 * SECOND));
    assert_eq!(client.run(written + 1000 * SECOND).1, Some((written + 107 * SECOND).as_secs()));
}

/// When a server gives up a client that did this, and then nothing.
fn reclaimed(doing: impl FnOnce(&mut Side)) -> Option<u64> {
    let mut server = Side::server();
    doing(&mut server);
    server.run(100_000 * SECOND).1
}

#[test]
fn a_client_that_has_sent_heartbeats_is_reclaimed_when_it_falls_silent() {
    let beats = |every: u32, count: u32| {
        reclaimed(move |server| {
            for _ in 0..count {
                server.wait(every * SECOND);
                server.says("keepalive");
            }
        })
    };
    assert_eq!(beats(10, 2), Some(20 + 30));
    assert_eq!(beats(10, 5), Some(50 + 30));
    assert_eq!(beats(1, 5), Some(5 + 30));
    assert_eq!(beats(60, 2), Some(120 + 180));
    assert_eq!(beats(60, 5), Some(300 + 180));
}

/// Ours sends one, and no more before the server has said something.
#[test]
fn a_client_that_is_not_served_yet_is_left_alone_after_one_heartbeat() {
    assert_eq!(reclaimed(|server| server.says("keepalive")), None);
    let served = reclaimed(|server| {
        server.says("keepalive");
        server.feed("hello").write();
    });
    assert_eq!(served, Some(30));
}

#[test]
fn a_client_that_never_sent_one_is_left_alone() {
    assert_eq!(reclaimed(|_| ()), None);
    assert_eq!(reclaimed(|server| server.says("hello\nkeepalive\n")), None);
    let typed = reclaimed(|server| {
        server.says("keepalive");
        server.wait(5 * SECOND);
        server.says("\n");
    });
    assert_eq!(typed, None, "it was a line");
}

#[test]
fn the_spacing_is_the_longest_between_two_with_nothing_in_between() {
    // A client that talked for an hour, and then fell silent.
    let talked = reclaimed(|server| {
        server.wait(3600 * SECOND);
        for _ in 0..3 {
            server.says("keepalive");
            server.wait(20 * SECOND);
        }
        server.says("hello\n");
        server.takes();
        server.feed("reply").write();
        server.wait(50 * SECOND);
        server.says("keepalive");
    });
    assert_eq!(talked, Some(3600 + 60 + 50 + 60));
    // The last heartbeat counts as well, though a line may still begin with it.
    let late = reclaimed(|server| {
        server.wait(5 * SECOND);
        server.says("keepalive");
        server.wait(60 * SECOND);
        server.says("keepalive");
    });
    assert_eq!(late, Some(65 + 180));
    // Held up on their way, they say nothing of the time between them.
    let glued = reclaimed(|server| {
        for _ in 0..3 {
            server.wait(50 * SECOND);
            server.says("keepalivekeepalive");
        }
    });
    assert_eq!(glued, Some(150 + 150));
}

/// The classic client waits for its reply without heartbeats.
#[test]
fn a_client_that_waits_for_its_reply_is_not_reclaimed() {
    assert_eq!(reclaimed(|server| server.says("keepalivehello\n")), None);
    let answered = reclaimed(|server| {
        server.says("keepalivehello\n");
        server.wait(1000 * SECOND);
        server.feed("reply").write();
    });
    assert_eq!(answered, Some(1030));
    // Nor does ours send one before the last of its lines is answered.
    let half_answered = |replies: usize| {
        reclaimed(|server| {
            server.says("keepalivehello\nare you there?\n");
            (0..replies).for_each(|_| drop(server.feed("yes").write()));
        })
    };
    assert_eq!([1, 2, 3].map(half_answered), [None, Some(30), Some(30)]);
    let not_waiting = reclaimed(|server| {
        server.says("keepalivehello\nhello\n");
        server.wait(10 * SECOND);
        server.says("keepalive");
    });
    assert_eq!(not_waiting, Some(40));
}

#[test]
fn queued_bytes_and_a_judge_who_overslept_put_a_verdict_off() {
    let mut server = Side::server();
    server.says("keepalive");
    server.session.excuse(Excuse::Queued);
    assert_eq!(server.session.deadline(), None);
    server.says("keepalive");
    server.session.excuse(Excuse::Overslept(100 * SECOND));
    assert_eq!(server.run(1000 * SECOND).1, Some(130));
}

#[test]
fn a_late_thread_changes_nothing_on_the_next_link() {
    let mut client = Side::client(SETTINGS);
    client.decoder.push(b"hi\n");
    client.session.link_lost(0);
    client.session.connected(client.now);
    assert_eq!(client.session.hear(1, &mut client.decoder, client.now), Ok(false));
    assert!(!client.session.status().has_next);
}

#[test]
fn other_protocols_are_told_by_their_first_bytes() {
    let plain = (0..=255).filter(|&byte| begins_text(&[byte])).count();
    assert_eq!(plain, 256 - 31);
    for byte in [b'\t', b'\n', b'\r', b' ', b'G', b'k', 0xC3, 0xE4, 0x81] {
        assert!(begins_text(&[byte, 0]), "{byte:#x}");
    }
    for byte in [0, 1, 3, 0x16, 0x1B, 0x7F, 0xFF] {
        assert!(!begins_text(&[byte, b'a']), "{byte:#x}");
    }
    for text in ["\r\n", "\r\n\r\n", "\r\n\r\n\r\n\0", "\n\n\0", "\r\n\r\nPROXY"] {
        assert!(begins_text(text.as_bytes()), "{text:?}");
    }
    assert!(!begins_text(b"\r\n\r\n\0\r\nQUIT\n"));
}

/// In one piece it is told before there is a session.
#[test]
fn the_proxy_protocol_is_told_in_any_pieces_and_empty_lines_are_lines() {
    const MARK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n!";
    for split in 0..PROXY.len() {
        let mut server = Side::server();
        server.hear(&MARK[..split]).unwrap();
        server.hear(&MARK[split..]).unwrap_err();
    }
    for text in ["\r\n\r\n\r\n\0\n", "\n\n\0\n", "hi\r\n\r\n\r\n\0\n", "\r\n\r\n\n\0\n"] {
        let text = text.as_bytes();
        for split in 0..text.len() {
            let mut server = Side::server();
            server.hear(&text[..split]).unwrap();
            server.hear(&text[split..]).unwrap();
        }
    }
    // Behind a heartbeat it is not what the stream begins with.
    let mut server = Side::server();
    server.hear(b"keepalivekeepalive\r\n\r\n\0\n").unwrap();
    let mut client = Side::client(SETTINGS);
    client.hear(MARK).unwrap();
}

#[test]
fn an_abort_writes_nothing_more() {
    let mut server = Side::server();
    server.feed("hello").session.close(CloseCode::Aborted);
    assert!(server.session.status().parted && server.session.output() == Output::Nothing);
    assert_eq!(server.write(), b"");
    // Closed in order, the link stays until the peer has ended it as well.
    let mut server = Side::server();
    server.feed("hello").session.detach();
    assert!(!server.session.status().acknowledged);
    server.write();
    assert!(server.ends() && server.session.status().acknowledged);
    server.session.close(CloseCode::Closed);
    assert!(!server.session.status().parted && server.session.status().may_read);
    server.says("too late\n");
    assert_eq!(server.session.end(server.now), Ok(Some(Unanswered::default())));
    assert!(server.session.status().parted && server.takes().is_empty());
}
