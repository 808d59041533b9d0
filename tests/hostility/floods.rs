//! Records of TLS that say nothing, as fast as they can be sealed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use longlink::{Connection, Identity};
use rustls::ContentType;

use crate::attacks::{CLIENTS, SERVER as LITTLE_ROOM, Step};
use crate::process::{CLIENT, Process, Stdout};
use crate::target::Target;
use crate::wire::tls::{ByHand, Folder, Party, Tls};
use crate::wire::{DATA, FULL, Hello, PONG, REJECT, Raw, RawServer, WELCOME, Welcome, frame, ping};
use crate::{MIB, besiege};

/// So many of one kind in a row are heard.
const HEARD: usize = 32;

/// A link, and the thread of the program that serves it. What is flooded with is more than all
/// links take.
const LINK: usize = 64 * 1024;

struct Flood {
    name: &'static str,
    /// What a step is.
    step: &'static str,
    begin: fn(SocketAddr, Party) -> Step,
}

/// By a client that was let in. What may go on goes on behind a word now and then.
#[rustfmt::skip]
const OF_A_CLIENT: [Flood; 7] = [
    Flood { name: "changes of keys", step: "20 times 32 and a ping", begin: key_changes },
    Flood { name: "nothing but changes of keys", step: "link", begin: only_key_changes },
    Flood { name: "empty records", step: "100 times 32 and a ping", begin: empty_records },
    Flood { name: "nothing but empty records", step: "link", begin: only_empty_records },
    Flood { name: "records of one byte", step: "250 pings", begin: tiny_records },
    Flood { name: "warnings", step: "link", begin: warnings },
    Flood { name: "messages of the handshake", step: "link", begin: messages },
];

/// By somebody who is not known.
#[rustfmt::skip]
const OF_A_STRANGER: [Flood; 4] = [
    Flood { name: "a message in pieces of one byte", step: "connect", begin: pieces },
    Flood { name: "a hello in pieces of one byte", step: "connect", begin: hello_in_pieces },
    Flood { name: "warnings in clear", step: "connect", begin: warnings_in_clear },
    Flood { name: "changes of ciphers", step: "connect", begin: cipher_changes },
];

#[test]
fn a_client_that_floods_costs_no_more_than_its_link() {
    OF_A_CLIENT.iter().for_each(endure);
}

#[test]
fn a_stranger_that_floods_costs_no_more_than_its_link() {
    OF_A_STRANGER.iter().for_each(endure);
}

fn endure(flood: &Flood) {
    let keys = Folder::of_server();
    let folder = keys.file("").display().to_string();
    let target = Target::start(&[&LITTLE_ROOM[..], &["--keys", &folder]].concat());
    let [peer] = Party::all(["peer"]);
    let bystander = target.bystander_of(Connection::builder().security(peer.security.clone()));
    let limit = |quiet| quiet + CLIENTS * LINK + MIB;
    besiege(&target, &bystander, [flood.name, flood.step], [40, 100], limit, || {
        (flood.begin)(target.addr, peer.clone())
    });
}

/// Another one for each session.
fn hello(number: &mut u8) -> Hello {
    *number = number.wrapping_add(1);
    Hello::new(*number)
}

/// `None`: those before are still on their way out.
fn join(addr: SocketAddr, party: &Party, number: &mut u8) -> Option<ByHand> {
    let socket = TcpStream::connect(addr).unwrap();
    let mut link = Raw::secured(socket, party).end_with_reset().by_hand();
    let hello = link.seal(ContentType::ApplicationData, &hello(number).bytes());
    link.send(&hello);
    match link.read() {
        Some((WELCOME, _)) => Some(link),
        Some((REJECT, why)) if why[0] == FULL => None,
        other => panic!("no answer to a hello: {other:?}"),
    }
}

fn trip(link: &mut ByHand, before: &[u8]) {
    let ping = link.seal(ContentType::ApplicationData, &ping(1));
    link.send(&[before, &ping].concat());
    while link.read().expect("the link has ended") != (PONG, 1_u64.to_be_bytes().to_vec()) {}
}

/// The link ends, and nothing is said about it but an alert.
fn ends(link: &mut ByHand, records: &[u8]) {
    link.send(records);
    let more = std::iter::from_fn(|| link.read()).find(|(kind, _)| *kind == PONG);
    assert_eq!(more, None, "it goes on");
}

fn key_changes(addr: SocketAddr, party: Party) -> Step {
    let socket = TcpStream::connect(addr).unwrap();
    let (mut raw, _) = Raw::secured(socket, &party).greets(&Hello::new(1)).unwrap();
    Box::new(move || {
        for id in 1..=20 {
            raw.change_keys(HEARD);
            raw.send(ping(id));
        }
        while raw.read_kind(PONG) != 20_u64.to_be_bytes() {}
    })
}

fn only_key_changes(addr: SocketAddr, party: Party) -> Step {
    let mut number = 0;
    Box::new(move || {
        let socket = TcpStream::connect(addr).unwrap();
        let raw = Raw::secured(socket, &party).end_with_reset();
        match raw.greets(&hello(&mut number)) {
            Ok((mut raw, _)) => {
                raw.change_keys(HEARD + 1);
                raw.send(ping(1));
                assert!(!raw.read_end().contains(&PONG), "it goes on");
            }
            Err(code) => assert_eq!(code, FULL),
        }
    })
}

fn empty_records(addr: SocketAddr, party: Party) -> Step {
    let mut link = join(addr, &party, &mut 0).unwrap();
    Box::new(move || {
        let mut records = Vec::new();
        for _ in 0..100 {
            records.extend(link.seal(ContentType::ApplicationData, &ping(0)));
            for _ in 0..HEARD {
                records.extend(link.seal(ContentType::ApplicationData, b""));
            }
        }
        trip(&mut link, &records);
    })
}

/// More than are heard, and something behind them that would be answered.
fn only_empty(link: &mut ByHand) -> Vec<u8> {
    let mut records = Vec::new();
    for _ in 0..=HEARD {
        records.extend(link.seal(ContentType::ApplicationData, b""));
    }
    records.extend(link.seal(ContentType::ApplicationData, &ping(1)));
    records
}

fn only_empty_records(addr: SocketAddr, party: Party) -> Step {
    let mut number = 0;
    Box::new(move || {
        let Some(mut link) = join(addr, &party, &mut number) else { return };
        let records = only_empty(&mut link);
        ends(&mut link, &records);
    })
}

fn tiny_records(addr: SocketAddr, party: Party) -> Step {
    let mut link = join(addr, &party, &mut 0).unwrap();
    Box::new(move || {
        let bytes = ping(0).repeat(250);
        let tiny = bytes.iter().flat_map(|byte| link.seal(ContentType::ApplicationData, &[*byte]));
        let tiny: Vec<u8> = tiny.collect();
        trip(&mut link, &tiny);
    })
}

const WARNING: u8 = 1;
/// It announces an end, and is none: the only warning that TLS 1.3 has left.
const USER_CANCELED: u8 = 90;

fn warnings(addr: SocketAddr, party: Party) -> Step {
    let mut number = 0;
    Box::new(move || {
        let Some(mut link) = join(addr, &party, &mut number) else { return };
        let some: Vec<u8> =
            (0..4).flat_map(|_| link.seal(ContentType::Alert, &[WARNING, USER_CANCELED])).collect();
        trip(&mut link, &some);
        let one_more = link.seal(ContentType::Alert, &[WARNING, USER_CANCELED]);
        ends(&mut link, &one_more);
    })
}

/// None of them is for a server.
fn messages(addr: SocketAddr, party: Party) -> Step {
    let mut number = 0;
    let client_hello = Tls::connect(&party).first_flight()[5..].to_vec();
    let mut messages = [ticket(), client_hello, vec![20, 0, 0, 0], vec![24, 0]].into_iter().cycle();
    Box::new(move || {
        let Some(mut link) = join(addr, &party, &mut number) else { return };
        let message = messages.next().unwrap();
        let many: Vec<u8> =
            (0..100).flat_map(|_| link.seal(ContentType::Handshake, &message)).collect();
        ends(&mut link, &many);
    })
}

/// A new_session_ticket: for a day, with a nonce of a byte, 32 bytes, and no extensions.
fn ticket() -> Vec<u8> {
    let body = [&[0, 1, 0x51, 0x80, 1, 2, 3, 4, 1, 9, 0, 32][..], &[7; 32], &[0, 0]].concat();
    [&[4, 0, 0, body.len() as u8], &body[..]].concat()
}

/// Each in a connection of its own, which ends by that.
fn in_clear(addr: SocketAddr, records: Vec<u8>) -> Step {
    Box::new(move || {
        let mut raw = dial(addr);
        let _ = raw.write_all(&records);
        let mut answer = Vec::new();
        // A reset is an end, too.
        let _ = raw.read_to_end(&mut answer);
        assert!(answer.len() < 20, "{} bytes of an answer", answer.len());
    })
}

fn dial(addr: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

/// A record of the handshake for each byte.
fn crumbs(message: &[u8]) -> Vec<u8> {
    message.iter().flat_map(|byte| [22, 3, 3, 0, 1, *byte]).collect()
}

/// It is longer than what is heard of anybody.
fn pieces(addr: SocketAddr, _: Party) -> Step {
    let message = [&[1, 0, 0xFF, 0][..], &[0; 3000]].concat();
    in_clear(addr, crumbs(&message))
}

/// It is in order, and gets an answer; then nothing more is said.
fn hello_in_pieces(addr: SocketAddr, party: Party) -> Step {
    Box::new(move || {
        let message = Tls::connect(&party).first_flight()[5..].to_vec();
        let mut raw = dial(addr);
        raw.write_all(&crumbs(&message)).unwrap();
        let mut answer = [0; 100];
        raw.read_exact(&mut answer).unwrap();
        assert_eq!(answer[0], 22);
    })
}

fn warnings_in_clear(addr: SocketAddr, _: Party) -> Step {
    in_clear(addr, [21, 3, 3, 0, 2, WARNING, USER_CANCELED].repeat(1000))
}

fn cipher_changes(addr: SocketAddr, _: Party) -> Step {
    in_clear(addr, [20, 3, 3, 0, 1, 1].repeat(1000))
}

/// A client hears tickets, which every server may send at any time, and keeps none. When its link
/// has ended by empty records it comes back, and goes on with its session.
#[test]
fn a_server_that_floods_costs_a_client_no_more_than_its_link() {
    let folder = Folder::of_server();
    let key = folder.file("server.key");
    let print = Identity::from_file(&key).unwrap().fingerprint().to_string();
    let [peer] = Party::all(["peer"]);
    let server = RawServer::secured(&peer);
    let (addr, key) = (server.addr().to_string(), key.display().to_string());
    let args = ["--key", &key, "--server", &print, &addr];
    let client =
        Target { process: Process::start(CLIENT, &args, Stdout::Read), addr: server.addr() };
    let welcome = || {
        let (raw, hello) = server.accept();
        let mut link = raw.by_hand();
        let welcome = link.seal(ContentType::ApplicationData, &Welcome::new(7).bytes());
        link.send(&welcome);
        (link, hello)
    };
    let says = |link: &mut ByHand, before: &[u8], number: u64| {
        let data = frame(DATA, format!("message {number}.\n"));
        let data = link.seal(ContentType::ApplicationData, &data);
        link.send(&[before, &data].concat());
        client.process.prints(&format!("message {number}."));
    };
    let mut link = welcome().0;
    says(&mut link, &[], 0);
    let quiet = client.memory();
    for number in 1..=20 {
        let mut tickets = Vec::new();
        for _ in 0..1000 {
            tickets.extend(link.seal(ContentType::Handshake, &ticket()));
        }
        says(&mut link, &tickets, number);
    }

    let records = only_empty(&mut link);
    ends(&mut link, &records);
    let (mut link, hello) = welcome();
    assert_eq!((hello.epoch, hello.received), (7, 21));
    says(&mut link, &[], 21);
    let memory = client.peak_memory();
    eprintln!("{memory} bytes, {quiet} before");
    assert!(memory < quiet + MIB, "{memory} bytes, and {quiet} before");
}
