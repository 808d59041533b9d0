//! The worked example of `wire.md` is what two sessions really say.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::proto::batch::Batch;
use crate::proto::frame::{Decoder, Frame};
use crate::proto::handshake::{Limits, Name, Token};
use crate::proto::heartbeat::Heartbeat;
use crate::proto::inbox::Received;
use crate::proto::numbers::{ClientId, Numbers};
use crate::proto::pulse::Verdict;
use crate::proto::report::Payload::Slice;
use crate::proto::session::Session;

const LIMITS: Limits = Limits { window: 1024 * 1024, max_message: 256 * 1024 };
const INTERVAL: Duration = Duration::from_secs(10);
const EPOCH: u64 = 0x1122_3344_5566_7788;

/// Every line of the example as `(who, bytes)`, in order.
fn documented() -> Vec<(char, Vec<u8>)> {
    let block = include_str!("../wire.md").split("<!-- worked example -->").nth(1).unwrap();
    let block = block.split("```").nth(1).unwrap();
    let mut spoken: Vec<(char, Vec<u8>)> = Vec::new();
    for line in block.lines().skip(1) {
        let line = line.split('|').next().unwrap();
        let who = line.chars().next().filter(|who| "CS".contains(*who));
        let hex = line.trim_start_matches(['C', 'S']).split_whitespace();
        let bytes = hex.map_while(|byte| u8::from_str_radix(byte, 16).ok());
        match who {
            Some(who) => spoken.push((who, bytes.collect())),
            None if line.starts_with("  ") => spoken.last_mut().unwrap().1.extend(bytes),
            None => {}
        }
    }
    spoken
}

fn spoken(who: char, session: &mut Session) -> (char, Vec<u8>) {
    let mut batch = Batch::default();
    session.fill(&mut batch);
    (who, batch.slices.iter().flatten().copied().collect())
}

fn hears(session: &mut Session, decoder: &mut Decoder, bytes: &[u8], now: Instant) {
    for piece in bytes.chunks(1) {
        decoder.push(piece);
        while let Some(frame) = decoder.next().unwrap() {
            match frame {
                Frame::Welcome(welcome) => {
                    session.welcomed(&welcome, now).unwrap();
                    decoder.allow_data(LIMITS.max_message);
                }
                frame => {
                    session.on_frame(session.status().generation, frame, now).unwrap();
                }
            }
        }
    }
}

fn take(session: &mut Session, now: Instant) -> Option<Bytes> {
    session.consume(now);
    match session.take(now).expect("something has come") {
        Received::Message(message) => Some(message),
        Received::End => None,
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "one reading as the origin of a fake clock")]
fn the_worked_example_is_what_is_said() {
    let now = Instant::now();
    let mut name = Name::new(Token(std::array::from_fn(|i| i as u8)));
    let client = ClientId(std::array::from_fn(|i| 0xf0 + i as u8));
    let mut client = Session::client(LIMITS, Heartbeat::every(INTERVAL), now)
        .numbered(Numbers { client, first: 42 });
    let mut said = Vec::new();
    let data = || {
        let mut decoder = Decoder::default();
        decoder.allow_data(LIMITS.max_message);
        decoder
    };

    // The first link.
    let hello = client.hello(&mut name);
    said.push(('C', Frame::Hello(hello.clone()).to_bytes().to_vec()));
    let mut server = Session::server(&hello, EPOCH, LIMITS, Heartbeat::every(INTERVAL), now)
        .kept_for(Duration::from_secs(60));
    let (mut to_client, mut to_server) = (Decoder::default(), data());
    said.push(spoken('S', &mut server));
    hears(&mut client, &mut to_client, &said[1].1, now);
    client.feed(&Slice(b"hi\n"));
    said.push(spoken('C', &mut client));
    hears(&mut server, &mut to_server, &said[2].1, now);
    let message = take(&mut server, now).unwrap();
    server.feed(&Slice(&message));
    said.push(spoken('S', &mut server));
    // The application comes back for more: an acknowledgement is owed.
    server.consume(now);
    client.feed(&Slice(b"yo\n"));
    said.push(spoken('C', &mut client));

    // It is cut; the last two of these never arrive.
    client.link_lost();
    server.link_lost();
    let hello = client.hello(&mut name);
    said.push(('C', Frame::Hello(hello.clone()).to_bytes().to_vec()));
    assert_eq!(server.judge(&hello), crate::proto::session::Admission::Resume);
    server.resume(&hello, now).unwrap();
    (to_client, to_server) = (Decoder::default(), data());
    said.push(spoken('S', &mut server));
    hears(&mut client, &mut to_client, &said[6].1, now);
    assert_eq!(take(&mut client, now).unwrap(), "hi\n");
    said.push(spoken('C', &mut client));
    hears(&mut server, &mut to_server, &said[7].1, now);
    let message = take(&mut server, now).unwrap();
    server.feed(&Slice(&message));
    server.consume(now);
    said.push(spoken('S', &mut server));
    hears(&mut client, &mut to_client, &said[8].1, now);
    assert_eq!(take(&mut client, now).unwrap(), "yo\n");
    client.consume(now);

    // A heartbeat.
    let later = now + INTERVAL;
    client.sent(now);
    assert_eq!(client.tick(None, later), Verdict::Ping(1));
    said.push(spoken('C', &mut client));
    hears(&mut server, &mut to_server, &said[9].1, later);
    said.push(spoken('S', &mut server));
    hears(&mut client, &mut to_client, &said[10].1, later);

    // The end.
    client.finish();
    said.push(spoken('C', &mut client));
    hears(&mut server, &mut to_server, &said[11].1, later);
    assert_eq!(take(&mut server, later), None);
    server.finish();
    said.push(spoken('S', &mut server));
    hears(&mut client, &mut to_client, &said[12].1, later);
    assert_eq!(take(&mut client, later), None);
    said.push(spoken('C', &mut client));
    hears(&mut server, &mut to_server, &said[13].1, later);
    said.push(spoken('S', &mut server));
    hears(&mut client, &mut to_client, &said[14].1, later);
    assert!(client.status().parted && server.status().parted);

    let documented = documented();
    for (i, said) in said.iter().enumerate() {
        let hex: String = said.1.iter().map(|byte| format!("{byte:02x} ")).collect();
        assert_eq!(Some(said), documented.get(i), "step {i} is: {} {hex}", said.0);
    }
    assert_eq!(said.len(), documented.len());
}
