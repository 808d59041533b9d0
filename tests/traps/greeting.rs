//! What a client says at the beginning of each session, and that it is there first.

use std::io::Read;

use longlink::{Error, Event, Plain};

use crate::proxy::How;
use crate::rig::{Log, Rig, SOON, Side, builder, calm, connect, has_no_text, ms, until};
use crate::wire::{Hello, PROTOCOL, REJECT, Raw, RawServer, longer};

/// A hello with these options.
fn says(addr: std::net::SocketAddr, token: u8, options: &[u8]) -> Raw {
    let mut raw = Raw::connect(addr);
    raw.send(longer(&Hello::new(token).bytes(), options));
    raw
}

// Trap 13: the process is gone, and another listens on its port.
#[test]
fn a_server_that_knows_nothing_is_greeted_before_what_is_sent_again() {
    let rig = Rig::new(calm());
    let client = rig.connect_with(calm().greeting("ann"));
    let server = rig.accept();
    assert_eq!((server.greeting(), client.greeting()), ("ann".into(), "ann".into()));
    client.send("acknowledged").unwrap();
    server.takes("acknowledged");
    server.done();
    client.sync(SOON).unwrap();
    client.send("sent again").unwrap();
    until("it has arrived", || client.stats().unacknowledged == 1);
    let mut before = Vec::new();
    for lost in 1..=3 {
        let other = calm().bind("127.0.0.1:0").unwrap();
        rig.proxy.retarget(other.local_addr());
        rig.proxy.cut(How::Rst);
        let again = Side::new(other.accept().unwrap(), Log::new("server"));
        // Nothing was received yet.
        assert_eq!(again.greeting(), "ann");
        client.says("new session", lost);
        again.takes("sent again");
        assert_eq!(again.greeting(), "ann");
        before.push((other, again));
    }
}

#[test]
fn a_greeting_may_be_of_any_kind_and_of_2048_bytes() {
    let rig = Rig::new(calm());
    for greeting in [vec![0xFF; 2048], vec![0; 1], Vec::new()] {
        let client = rig.connect_with(calm().greeting(greeting.clone()));
        assert_eq!(rig.accept().greeting(), greeting);
        assert_eq!(client.greeting(), greeting);
    }
    for builder in [calm(), calm().plain(Plain::new())] {
        let error = builder.greeting(vec![0; 2049]).connect(rig.proxy.addr()).unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error:?}");
        let text = "invalid configuration: the greeting has 2049 bytes, and the limit is 2048";
        assert_eq!(error.to_string(), text);
    }
    // A link that is resumed has the session's.
    let client = rig.connect_with(calm().greeting("ann"));
    let server = rig.accept();
    rig.proxy.cut(How::Rst);
    client.says("resumed", 1);
    server.says("resumed", 1);
    assert_eq!(server.greeting(), "ann");
    assert!(matches!(server.log.events()[..], [Event::Lost { .. }, Event::Resumed { .. }]));
}

#[test]
fn a_hello_that_greets_too_long_or_twice_is_malformed() {
    let listener = calm().bind("127.0.0.1:0").unwrap();
    let long = [&[0, 1, 8, 1][..], &[b'g'; 2049]].concat();
    let longest = [&[0, 1, 8, 0][..], &[b'g'; 2048]].concat();
    for (token, options) in [long, b"\0\x01\0\x01g\0\x01\0\x01g".to_vec(), b"\0\x01\0\x01".to_vec()]
        .into_iter()
        .enumerate()
    {
        let mut raw = says(listener.local_addr(), token as u8, &options);
        let Some((REJECT, body)) = raw.read() else { panic!("{options:x?}") };
        assert_eq!(body[0], PROTOCOL);
    }
    let _peer = says(listener.local_addr(), 9, &longest);
    assert_eq!(listener.accept().unwrap().greeting().len(), 2048);
}

#[test]
fn plain_text_has_no_greeting() {
    if has_no_text() {
        return;
    }
    let plain = calm().plain(Plain::new()).greeting("ann");
    let (mut server, client) = RawServer::new().meet(|addr| connect(plain, addr));
    assert_eq!(client.greeting(), "");
    client.send("line").unwrap();
    let mut heard = [0; 5];
    server.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"line\n");

    let listener = builder().bind("127.0.0.1:0").unwrap();
    let plain = connect(calm().plain(Plain::new()), listener.local_addr());
    plain.send("line").unwrap();
    assert_eq!(listener.accept().unwrap().greeting(), "");
    assert!(matches!(plain.recv_timeout(ms(1)), Err(Error::TimedOut) | Ok(_)));
}
