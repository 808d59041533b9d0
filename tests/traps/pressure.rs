//! Applications and peers that do not read.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use longlink::{Connection, Error, Heartbeat};

use crate::proxy::{Direction, How};
use crate::rig::{Rig, SLACK, SOON, Side, calm, connect, join, ms, now, quick, timed, until};
use crate::wire::{DATA, PONG, RawServer, Welcome, ping};

const WINDOW: usize = 64 * 1024;
const MESSAGE: usize = 1000;

/// Sends until the window is full; returns how many messages that took.
fn fill(side: &Connection) -> usize {
    let mut sent = 0;
    loop {
        match side.try_send([sent as u8; MESSAGE]) {
            Ok(()) if sent > WINDOW => panic!("no window"),
            Ok(()) => sent += 1,
            Err(Error::WouldBlock) => return sent,
            Err(e) => panic!("after {sent}: {e}"),
        }
    }
}

fn drain(side: &Side, count: usize) {
    for i in 0..count {
        side.takes([i as u8; MESSAGE]);
    }
}

// Trap 6.
#[test]
fn an_application_that_never_reads_is_alive_and_bounded_and_sees_acks() {
    let rig = Rig::new(quick().window(WINDOW));
    let (client, server) = rig.pair();
    let sent = fill(&client);
    assert!(sent * (MESSAGE + 64) <= WINDOW + MESSAGE + 64, "{sent} messages");
    assert!(sent * (MESSAGE + 64) >= WINDOW, "{sent} messages");
    // The server's application sends, and never reads.
    for _ in 0..20 {
        server.send(b"news").unwrap();
        client.takes(b"news");
    }
    assert!(matches!(client.try_recv(), Err(Error::WouldBlock)));
    until("the server sees acks", || server.stats().unacknowledged == 0);
    client.says("heartbeat ", 12);
    assert_eq!(client.log.count("lost: ") + server.log.count("lost: "), 0);
    assert_eq!(client.stats().unacknowledged, sent as u64);
    assert!(matches!(client.try_send(b"more"), Err(Error::WouldBlock)));
    drain(&server, sent);
    assert!(matches!(server.try_recv(), Err(Error::WouldBlock)));
    client.sync(SOON).unwrap();
    client.try_send(b"more").unwrap();
}

// Trap 6: empty messages count too.
#[test]
fn empty_messages_fill_the_window() {
    let rig = Rig::new(calm().window(WINDOW));
    let (client, server) = rig.pair();
    let mut sent = 0;
    while client.try_send(b"").is_ok() {
        sent += 1;
        assert!(sent <= WINDOW, "no window");
    }
    assert_eq!(sent, WINDOW / 64);
    for _ in 0..sent {
        server.takes(b"");
    }
}

// Trap 7.
#[test]
fn two_peers_that_only_send_block_and_live() {
    let rig = Rig::new(quick().window(WINDOW));
    let (client, server) = rig.pair();
    let (up, down) = (fill(&client), fill(&server));
    for side in [&client, &server] {
        let (sent, took) = timed(|| side.send_timeout(b"more", ms(150)));
        assert!(matches!(sent, Err(Error::TimedOut)), "{sent:?}");
        assert!(took >= ms(150) && took < ms(150) + SLACK, "{took:?}");
    }
    client.says("heartbeat ", 12);
    assert_eq!(client.log.count("lost: ") + server.log.count("lost: "), 0);
    drain(&server, up);
    drain(&client, down);
}

// Trap 7.
#[test]
fn blocked_senders_go_on_when_the_peer_reads() {
    let rig = Rig::new(calm().window(WINDOW));
    let (client, server) = rig.pair();
    let (client, server) = (Arc::new(client), Arc::new(server));
    const COUNT: usize = 500;
    let work = [(&client, &server), (&server, &client)].map(|(from, to)| {
        let (from, to) = (from.clone(), to.clone());
        let sender = thread::spawn(move || {
            for i in 0..COUNT {
                from.send([i as u8; MESSAGE]).unwrap();
            }
        });
        (sender, thread::spawn(move || drain(&to, COUNT)))
    });
    for (sender, receiver) in work {
        join(sender);
        join(receiver);
    }
}

// Trap 7: the buffers of the proxy's sockets are a fraction of what is replayed.
#[test]
fn two_bulk_replays_at_once_do_not_wait_for_each_other() {
    const COUNT: usize = 60;
    const LARGE: usize = 128 * 1024;
    let rig = Rig::new(quick().window(COUNT * LARGE));
    let (client, server) = rig.pair();
    Direction::BOTH.iter().for_each(|&direction| rig.proxy.stall(direction, true));
    for i in 0..COUNT {
        client.send(vec![i as u8; LARGE]).unwrap();
        server.send(vec![!i as u8; LARGE]).unwrap();
    }
    rig.proxy.cut(How::Fin);
    Direction::BOTH.iter().for_each(|&direction| rig.proxy.stall(direction, false));
    // No thread receives: the drivers read and write.
    client.says("resumed, ", 1);
    client.says("heartbeat ", 3);
    for i in 0..COUNT {
        client.takes(vec![!i as u8; LARGE]);
        server.takes(vec![i as u8; LARGE]);
    }
    assert_eq!((client.stats().reconnects, server.stats().reconnects), (1, 1));
    assert!(client.stats().replayed > 0 && server.stats().replayed > 0);
}

fn join_narrow(window: usize) -> (crate::wire::Raw, Side) {
    let raw = RawServer::narrow();
    let thread = thread::spawn({
        let addr = raw.addr();
        let heartbeat = Heartbeat::every(ms(100)).misses(3);
        move || connect(quick().window(window).heartbeat(heartbeat), addr)
    });
    let window = window as u32;
    let (link, _) = raw.welcome(&Welcome { window, ..Welcome::new(7) });
    (link, join(thread))
}

// Trap 8.
#[test]
fn a_jammed_writer_does_not_hide_a_dead_peer() {
    const LARGE: usize = 64 << 20;
    let (link, client) = join_narrow(LARGE);
    let begun = now();
    let body = vec![1; 128 * 1024];
    for _ in 0..100 {
        client.send(&body).unwrap();
    }
    let (lost, _) = client.says("lost: nothing heard for ", 1);
    let filled = now() - begun;
    assert!(lost - begun <= ms(400) + filled.min(SLACK) + SLACK, "{:?}", lost - begun);
    client.abort();
    drop(link);
}

// Trap 8.
#[test]
fn a_live_peer_that_never_reads_is_back_pressure_and_no_death() {
    const LARGE: usize = 16 << 20;
    let (mut link, client) = join_narrow(LARGE);
    let (stop, stopped) = mpsc::channel::<()>();
    let mut pinging = link.try_clone().unwrap();
    let pinger = thread::spawn(move || {
        while stopped.recv_timeout(ms(30)) == Err(mpsc::RecvTimeoutError::Timeout) {
            pinging.send(ping(1));
        }
    });
    let mut sent: u32 = 0;
    let message = |number: u32| {
        let mut message = vec![number as u8; 100_000];
        message[..4].copy_from_slice(&number.to_be_bytes());
        message
    };
    while client.try_send(message(sent)).is_ok() {
        sent += 1;
        assert!(sent < 1000, "no window");
    }
    assert!(sent as usize * 100_064 < LARGE + 100_064);
    // For longer than silence would be allowed to last.
    let blocked = client.send_timeout(b"more", ms(1000));
    assert!(matches!(blocked, Err(Error::TimedOut)), "{blocked:?}");
    assert_eq!(client.log.count("lost: "), 0);
    // Once it reads, everything is there, and the answer to its pings.
    for number in 0..sent {
        assert!(link.read_kind(DATA) == message(number), "{number}");
    }
    // Of several pings only the newest is answered for certain.
    drop(stop);
    join(pinger);
    link.send(ping(2));
    while link.read_kind(PONG) != 2u64.to_be_bytes() {}
    assert_eq!(client.log.count("lost: "), 0);
}

// Trap 8: also towards a server.
#[test]
fn a_client_that_never_reads_does_not_delay_another() {
    let rig = Rig::new(quick().window(8 << 20));
    let (stuck, jammed) = rig.pair();
    rig.proxy.stall(Direction::Down, true);
    for _ in 0..60 {
        jammed.send([0; 128 * 1024]).unwrap();
    }
    let other = connect(quick(), rig.listener.local_addr());
    let server = rig.accept();
    for _ in 0..50 {
        let (_, took) = timed(|| {
            other.send(b"quick").unwrap();
            server.takes(b"quick");
            server.send(b"reply").unwrap();
            other.takes(b"reply");
        });
        assert!(took < SLACK, "{took:?}");
    }
    rig.proxy.stall(Direction::Down, false);
    for _ in 0..60 {
        assert_eq!(stuck.take().len(), 128 * 1024);
    }
}
