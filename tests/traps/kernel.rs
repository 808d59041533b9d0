//! What the kernel does of itself on a link: its timers follow what the sides agreed.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use longlink::{Heartbeat, Plain};

use crate::rig::{Log, Side, builder, connect, has_no_text, until};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A client's interval for its battery.
const LONG: Duration = secs(240);

/// When the kernel asks the peer whether it lives, on the socket with these ends
/// (`timer_active` and `jiffies_until_timeout` of `/proc/net/tcp`).
fn asks(local: SocketAddr, remote: SocketAddr) -> Option<Duration> {
    let [local, remote] = [local, remote].map(|addr| format!("0100007F:{:04X}", addr.port()));
    let mut timer = None;
    until("nothing waits to be acknowledged", || {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
        let row = rows.into_iter().find(|row| row[1..3] == [&local, &remote]).unwrap();
        let (active, left) = row[5].split_once(':').unwrap();
        let left = u64::from_str_radix(left, 16).unwrap() * 10;
        timer = (active == "02").then(|| Duration::from_millis(left));
        active != "01"
    });
    timer
}

/// When the kernels of both sides ask: the client's, and the server's.
fn both_ask(client: Heartbeat, server: Heartbeat, plain: Option<Plain>) -> [Option<Duration>; 2] {
    let listener = builder().heartbeat(server).bind("127.0.0.1:0").unwrap();
    let mut builder = builder().heartbeat(client);
    if let Some(plain) = plain {
        builder = builder.plain(plain);
    }
    let client = connect(builder, listener.local_addr());
    client.send(b"hello\n").unwrap();
    let server = Side::new(listener.accept().unwrap(), Log::new("server"));
    server.takes(b"hello\n");
    server.send(b"hello\n").unwrap();
    client.takes(b"hello\n");
    let (near, far) = (server.peer_addr(), listener.local_addr());
    [asks(near, far), asks(far, near)]
}

/// This long after the last byte, give or take what a busy machine needs.
#[track_caller]
fn after(asks: Option<Duration>, expected: Duration) {
    let asks = asks.expect("the kernel asks");
    assert!(asks <= expected && asks + secs(5) >= expected, "{asks:?}, not {expected:?}");
}

#[test]
fn the_kernel_does_not_wake_a_peer_that_chose_long_heartbeats() {
    let (on, off) = (Heartbeat::every(LONG).misses(2), Heartbeat::off());
    assert_eq!(both_ask(on, Heartbeat::default(), None), [None, None]);
    let [client, server] = both_ask(on, off, None);
    assert_eq!(client, None);
    after(server, LONG * 5 / 4);
    let [client, server] = both_ask(off, on, None);
    // The server announces that it pings after 1.25 intervals.
    after(client, LONG * 5 / 4 * 5 / 4);
    assert_eq!(server, None);
    if has_no_text() {
        return;
    }
    let [client, _] = both_ask(on, Heartbeat::default(), Some(Plain::new()));
    after(client, LONG);
}

#[test]
fn the_kernel_watches_where_nobody_has_heartbeats() {
    for plain in [None, Some(Plain::new())] {
        if plain.is_some() && has_no_text() {
            return;
        }
        let [client, server] = both_ask(Heartbeat::off(), Heartbeat::off(), plain);
        after(client, secs(10));
        after(server, secs(10));
    }
}
