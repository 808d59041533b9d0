//! Paths on which a message takes longer to cross than silence may last.

use std::thread;
use std::time::Duration;

use longlink::{Builder, Heartbeat, RetryPolicy};

use crate::proxy::Proxy;
use crate::rig::{Log, SLACK, SOON, Side, at_once, builder, connect, join, ms, now, timed};
use crate::wire::{Raw, RawServer, Welcome};

const INTERVAL: Duration = ms(100);
const MISSES: u32 = 6;
const MESSAGE: &[u8] = &[7; 1_000_000];
/// A million bytes cross in a second.
const PACE: Duration = ms(16);

fn settings() -> Builder {
    builder().window(1 << 22).max_message(1 << 21).close_timeout(SOON)
}

fn on() -> Heartbeat {
    Heartbeat::every(INTERVAL).misses(MISSES)
}

/// The server's side, or the client's, sends a message over a slow path.
fn crosses(client: Heartbeat, server: Heartbeat, up: bool) {
    let listener = settings().heartbeat(server).bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::to(listener.local_addr());
    proxy.pace(PACE);
    let retry = RetryPolicy::fixed(ms(20), 5).unlimited();
    let client = connect(settings().heartbeat(client).retry(retry), proxy.addr());
    client.send(b"warm").unwrap();
    let server = Side::new(listener.accept().unwrap(), Log::new("server"));
    server.takes(b"warm");
    let (from, to) = if up { (&client, &server) } else { (&server, &client) };
    let ((), took) = timed(|| {
        from.send(MESSAGE).unwrap();
        to.takes(MESSAGE);
    });
    assert!(took > INTERVAL * (MISSES + 1), "it was not slow: {took:?}");
    assert_eq!(client.log.count("lost: ") + server.log.count("lost: "), 0);
}

// Else it is begun again and again.
#[test]
fn a_large_message_of_a_client_whose_server_has_no_heartbeats_arrives() {
    crosses(on(), Heartbeat::off(), true);
}

#[test]
fn a_large_message_of_a_server_whose_client_has_no_heartbeats_arrives() {
    crosses(Heartbeat::off(), on(), false);
}

#[test]
fn large_messages_arrive_when_both_sides_have_heartbeats() {
    at_once([true, false], |up| crosses(on(), on(), up));
}

/// Reads a little of what comes, slowly.
fn read_slowly(link: &mut Raw, time: Duration) {
    let begun = now();
    let mut buffer = [0; 4096];
    while begun.elapsed() < time {
        std::io::Read::read_exact(link, &mut buffer).unwrap();
        thread::park_timeout(ms(5));
    }
}

// Trap 4: its kernel takes what it has room for.
#[test]
fn a_peer_that_hangs_in_the_middle_of_a_message_is_noticed() {
    let raw = RawServer::narrow();
    let addr = raw.addr();
    let joining = thread::spawn(move || connect(settings().heartbeat(on()), addr));
    let (mut link, _) =
        raw.welcome(&Welcome { max_message: 1 << 21, window: 1 << 22, ..Welcome::new(7) });
    let client = join(joining);
    client.send(MESSAGE).unwrap();
    read_slowly(&mut link, INTERVAL * (MISSES + 2));
    assert_eq!(client.log.count("lost: "), 0);
    let hung = now();
    let (lost, _) = client.says("lost: nothing heard for ", 1);
    let noticed = lost - hung;
    assert!(noticed <= INTERVAL * (MISSES + 2) + SLACK, "noticed after {noticed:?}");
    drop(link);
}
