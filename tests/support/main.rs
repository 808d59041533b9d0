//! The tests of what tests use: of the proxy, one per fault; no test sleeps, every wait has a
//! deadline.
#![expect(clippy::disallowed_methods, reason = "tests of delays need the clock")]

#[allow(unreachable_pub)]
mod proxy;

use proxy::{Direction, How, Proxy};
use socket2::SockRef;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use Direction::{Down, Up};
use How::{Fin, Rst};

const SOON: Duration = Duration::from_secs(20);

struct Rig {
    proxy: Proxy,
    upstream: TcpListener,
}

impl Rig {
    fn new() -> Rig {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        Rig { proxy: Proxy::to(upstream.local_addr().unwrap()), upstream }
    }

    fn dial(&self) -> TcpStream {
        let client = TcpStream::connect(self.proxy.addr()).unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        client
    }

    fn pair(&self) -> (TcpStream, TcpStream) {
        let client = self.dial();
        let server = self.upstream.accept().unwrap().0;
        server.set_read_timeout(Some(SOON)).unwrap();
        // Only after a byte each way is it certain that both pumps run.
        pass(&client, &server, b"a");
        pass(&server, &client, b"b");
        self.wait(|s| s.up >= 1 && s.down >= 1);
        (client, server)
    }

    #[track_caller]
    fn wait(&self, done: impl Fn(&proxy::Stats) -> bool) {
        assert!(self.proxy.wait_for(|s| done(s), SOON), "{:?}", self.proxy.stats());
    }
}

#[track_caller]
fn pass(mut from: &TcpStream, to: &TcpStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    assert_eq!(take(to, bytes.len()), bytes);
}

#[track_caller]
fn take(mut from: &TcpStream, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    from.read_exact(&mut bytes).unwrap();
    bytes
}

/// Everything up to the end, and how it ended.
fn drain(mut from: &TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut bytes = Vec::new();
    let end = from.read_to_end(&mut bytes).err().map(|e| e.kind());
    (bytes, end)
}

fn end_of(how: How) -> Option<ErrorKind> {
    match how {
        Fin => None,
        Rst => Some(ErrorKind::ConnectionReset),
    }
}

#[track_caller]
fn silent(mut socket: &TcpStream) {
    socket.set_nonblocking(true).unwrap();
    let got = socket.read(&mut [0]).map_err(|e| e.kind());
    assert_eq!(got, Err(ErrorKind::WouldBlock));
    socket.set_nonblocking(false).unwrap();
}

fn pattern(n: usize) -> Vec<u8> {
    let mut bytes = (0..251).collect::<Vec<u8>>().repeat(n / 251 + 1);
    bytes.truncate(n);
    bytes
}

fn ends(d: Direction, pair: &(TcpStream, TcpStream)) -> (&TcpStream, &TcpStream) {
    match d {
        Up => (&pair.0, &pair.1),
        Down => (&pair.1, &pair.0),
    }
}

/// Writes towards someone who does not read until nothing more goes in.
fn fill(mut socket: &TcpStream, data: &[u8]) -> usize {
    socket.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut sent = 0;
    loop {
        match socket.write(&data[sent..]) {
            Ok(0) => panic!("{sent} bytes went in"),
            Ok(n) => sent += n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(e) => panic!("{e}"),
        }
    }
    socket.set_write_timeout(Some(SOON)).unwrap();
    sent
}

#[test]
fn transparent_with_half_close() {
    let rig = Rig::new();
    let (client, mut server) = rig.pair();
    let data = pattern(4 << 20);
    thread::scope(|s| {
        s.spawn(|| {
            (&client).write_all(&data).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        });
        assert!(drain(&server) == (data.clone(), None));
    });
    server.write_all(&data[..100]).unwrap();
    drop(server);
    assert_eq!(drain(&client), (data[..100].to_vec(), None));
    rig.wait(|s| s.live == 0 && s.up == 1 + (4 << 20) && s.down == 101 && s.accepted == 1);
    assert_eq!(rig.proxy.stats().cut, 0);
}

#[test]
fn a_peers_reset_passes_behind_its_bytes() {
    for d in Direction::BOTH {
        let rig = Rig::new();
        let pair = rig.pair();
        let (mut from, to) = ends(d, &pair);
        from.write_all(b"last").unwrap();
        assert_eq!(take(to, 4), b"last");
        SockRef::from(from).set_linger(Some(Duration::ZERO)).unwrap();
        let (client, server) = pair;
        let left = match d {
            Up => (drop(client), server).1,
            Down => (drop(server), client).1,
        };
        assert_eq!(drain(&left), (vec![], Some(ErrorKind::ConnectionReset)));
        rig.wait(|s| s.live == 0);
    }
}

#[test]
fn writing_to_a_closed_peer_fails_in_the_end() {
    let rig = Rig::new();
    let (mut client, server) = rig.pair();
    drop(server);
    assert_eq!(drain(&client), (vec![], None));
    let deadline = Instant::now() + SOON;
    while client.write_all(b"x").is_ok() {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    rig.wait(|s| s.live == 0);
}

#[test]
fn an_upstream_that_refuses_resets_and_retarget_heals() {
    let mut rig = Rig::new();
    let (client, server) = rig.pair();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    rig.proxy.retarget(nobody);
    pass(&client, &server, b"old ones stay");
    assert_eq!(drain(&rig.dial()).1, Some(ErrorKind::ConnectionReset));
    rig.upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    rig.proxy.retarget(rig.upstream.local_addr().unwrap());
    let (client, server) = rig.pair();
    pass(&server, &client, b"new");
    rig.wait(|s| s.accepted == 3 && s.live == 2);
}

#[test]
fn cut_ends_every_live_connection_on_both_sides() {
    for how in [Fin, Rst] {
        let rig = Rig::new();
        let pairs: Vec<_> = (0..3).map(|_| rig.pair()).collect();
        assert_eq!(rig.proxy.cut(how), 3);
        for (client, server) in &pairs {
            assert_eq!(drain(client), (vec![], end_of(how)));
            assert_eq!(drain(server), (vec![], end_of(how)));
        }
        assert_eq!(rig.proxy.cut(how), 0);
        let s = rig.proxy.stats();
        assert_eq!((s.live, s.cut, s.accepted), (0, 3, 3));
        let (client, server) = rig.pair();
        pass(&client, &server, b"later ones live");
    }
}

#[test]
fn a_fin_cut_sends_no_reset_after_it() {
    let rig = Rig::new();
    let (mut client, server) = rig.pair();
    assert_eq!(rig.proxy.cut(Fin), 1);
    assert_eq!(drain(&server), (vec![], None));
    drop(server);
    for _ in 0..200 {
        client.write_all(&[7; 100_000]).unwrap();
    }
    assert_eq!(drain(&client), (vec![], None));
    assert_eq!(rig.proxy.stats().up, 1);
}

#[test]
fn a_reset_comes_without_a_fin_even_while_a_pump_writes() {
    let rig = Rig::new();
    let (client, server) = rig.pair();
    // Fill everything towards a server that does not read.
    fill(&client, &pattern(32 << 20));
    assert_eq!(rig.proxy.cut(Rst), 1);
    let (bytes, end) = drain(&server);
    assert_eq!(end, Some(ErrorKind::ConnectionReset), "after {} bytes", bytes.len());
    assert_eq!(drain(&client).1, Some(ErrorKind::ConnectionReset));
}

#[test]
fn a_fin_cut_frees_a_pump_that_writes() {
    let rig = Rig::new();
    let (client, server) = rig.pair();
    fill(&client, &pattern(32 << 20));
    assert_eq!(rig.proxy.cut(Fin), 1);
    assert_eq!(drain(&client), (vec![], None));
    assert_eq!(drain(&server).1, None);
    drop((client, server));
}

#[test]
fn cut_after_every_offset_is_exact() {
    let data = pattern(40);
    let exact = |how, d, slice| {
        let rig = Rig::new();
        rig.proxy.slice(slice);
        for (nth, n) in (usize::from(slice)..=data.len()).step_by(2).enumerate() {
            let pair = rig.pair();
            rig.proxy.cut_after(d, n as u64, how);
            let (mut from, to) = ends(d, &pair);
            let _ = from.write_all(&data); // The cut may overtake it.
            if n == data.len() {
                let _ = from.write_all(b"x");
            }
            assert_eq!(drain(to), (data[..n].to_vec(), end_of(how)), "{d:?} {n} {how:?}");
            assert_eq!(drain(from).0, b"", "{d:?} {n} {how:?}");
            rig.wait(|s| s.live == 0 && s.cut == nth + 1);
        }
    };
    thread::scope(|scope| {
        for (how, d) in [Fin, Rst].into_iter().flat_map(|how| Direction::BOTH.map(|d| (how, d))) {
            for slice in [false, true] {
                let exact = &exact;
                scope.spawn(move || exact(how, d, slice));
            }
        }
    });
}

#[test]
fn cut_after_waits_for_the_next_connection_and_acts_once() {
    let rig = Rig::new();
    rig.proxy.cut_after(Up, 3, Fin);
    let mut client = rig.dial();
    let server = rig.upstream.accept().unwrap().0;
    client.write_all(b"hello").unwrap();
    assert_eq!(drain(&server), (b"hel".to_vec(), None));
    assert_eq!(drain(&client), (vec![], None));
    let (client, server) = rig.pair();
    pass(&client, &server, &pattern(100));
    assert_eq!(rig.proxy.stats().cut, 1);
}

#[test]
fn cut_after_counts_over_many_chunks_and_partial_writes() {
    let rig = Rig::new();
    let (client, server) = rig.pair();
    let n = 3_000_001;
    rig.proxy.cut_after(Up, n, Fin);
    let data = pattern(4 << 20);
    thread::scope(|s| {
        s.spawn(|| (&client).write_all(&data));
        let (bytes, end) = drain(&server);
        assert_eq!(bytes.len() as u64, n);
        assert!(bytes == data[..bytes.len()]);
        assert_eq!(end, None);
        server.shutdown(Shutdown::Both).unwrap();
    });
    rig.wait(|s| s.cut == 1 && s.up == n + 1);
}

#[test]
fn cut_after_is_exact_towards_a_peer_that_reads_late() {
    let data = pattern(32 << 20);
    for (n, how) in [(6_000_001, Fin), (6_000_001, Rst), (60_000, Fin), (60_000, Rst)] {
        let rig = Rig::new();
        SockRef::from(&rig.upstream).set_recv_buffer_size(8192).unwrap();
        let (client, server) = rig.pair();
        rig.proxy.cut_after(Up, n, how);
        if n > 1_000_000 {
            let sent = fill(&client, &data);
            assert!((sent as u64) < n);
            thread::scope(|s| {
                s.spawn(|| (&client).write_all(&data[sent..]));
                assert!(drain(&server) == (data[..n as usize].to_vec(), end_of(how)));
            });
        } else {
            // All of it fits the kernel's buffers, but not that of the server alone.
            (&client).write_all(&data[..n as usize]).unwrap();
            rig.wait(|s| s.up == n + 1);
            let early = rig.proxy.wait_for(|s| s.cut == 1, Duration::from_millis(50));
            assert_eq!(early, how == Fin);
            assert!(drain(&server) == (data[..n as usize].to_vec(), end_of(how)));
        }
        rig.wait(|s| s.cut == 1 && s.up == n + 1);
    }
}

#[test]
fn a_cut_connection_takes_nothing_off_an_order() {
    let rig = Rig::new();
    let old = rig.pair();
    assert_eq!(rig.proxy.cut(Fin), 1);
    rig.proxy.cut_after(Up, 5, Fin);
    (&old.0).write_all(&pattern(10_000_000)).unwrap();
    let mut client = rig.dial();
    let server = rig.upstream.accept().unwrap().0;
    pass(&client, &server, b"1234");
    pass(&server, &client, b"alive");
    (&old.0).write_all(&pattern(10_000_000)).unwrap();
    client.write_all(b"56").unwrap();
    assert_eq!(drain(&server), (b"5".to_vec(), None));
    assert_eq!(rig.proxy.stats().cut, 2);
}

#[test]
fn swallow_one_direction_only_and_stay_black() {
    for d in Direction::BOTH {
        let rig = Rig::new();
        let pair = rig.pair();
        let idle = rig.pair();
        let (mut from, to) = ends(d, &pair);
        rig.proxy.swallow(d, true);
        from.write_all(b"12345").unwrap();
        rig.wait(|s| s.swallowed == 5 && s.black == 1);
        silent(to);
        pass(to, from, b"other way");
        rig.proxy.swallow(d, false);
        from.write_all(b"678").unwrap();
        rig.wait(|s| s.swallowed == 8);
        silent(to);
        let (from_idle, to_idle) = ends(d, &idle);
        pass(from_idle, to_idle, b"lost nothing");
        let fresh = rig.pair();
        pass(&fresh.0, &fresh.1, b"new");
        assert_eq!(rig.proxy.cut_black(Rst), 1);
        assert_eq!(drain(to).1, Some(ErrorKind::ConnectionReset));
        assert_eq!(drain(from).1, Some(ErrorKind::ConnectionReset));
        pass(&fresh.0, &fresh.1, b"still");
        pass(from_idle, to_idle, b"still");
        let s = rig.proxy.stats();
        assert_eq!((s.live, s.black), (2, 0));
    }
}

#[test]
fn swallow_takes_fins_and_resets_too() {
    for reset in [false, true] {
        for d in Direction::BOTH {
            let rig = Rig::new();
            let (client, server) = rig.pair();
            rig.proxy.swallow(d, true);
            let (gone, left) = match d {
                Up => (client, server),
                Down => (server, client),
            };
            if reset {
                SockRef::from(&gone).set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(gone);
            rig.wait(|s| s.black == 1);
            rig.proxy.swallow(d, false);
            // Towards the dead it may write for ever, and hears nothing.
            for _ in 0..100 {
                (&left).write_all(&[9; 100_000]).unwrap();
            }
            silent(&left);
            assert_eq!(rig.proxy.cut(Fin), 1);
            assert_eq!(drain(&left), (vec![], None));
        }
    }
}

#[test]
fn swallow_both_ways_then_both_close() {
    let rig = Rig::new();
    let (client, server) = rig.pair();
    Direction::BOTH.into_iter().for_each(|d| rig.proxy.swallow(d, true));
    (&client).write_all(b"ping").unwrap();
    (&server).write_all(b"pong").unwrap();
    rig.wait(|s| s.swallowed == 8 && s.black == 1);
    silent(&client);
    silent(&server);
    drop((client, server));
    rig.wait(|s| s.live == 0);
}

#[test]
fn stall_pushes_back_and_loses_nothing() {
    for d in Direction::BOTH {
        let rig = Rig::new();
        let pair = rig.pair();
        let (from, to) = ends(d, &pair);
        rig.proxy.stall(d, true);
        let data = pattern(32 << 20);
        let sent = fill(from, &data);
        silent(to);
        pass(to, from, b"other way");
        rig.proxy.stall(d, false);
        assert!(take(to, sent) == data[..sent]);
        pass(from, to, b"goes on");
    }
}

#[test]
fn a_stalled_fin_waits() {
    let rig = Rig::new();
    let (client, server) = rig.pair();
    rig.proxy.stall(Up, true);
    (&client).write_all(b"bye").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    pass(&server, &client, b"other way");
    silent(&server);
    rig.proxy.stall(Up, false);
    assert_eq!(drain(&server), (b"bye".to_vec(), None));
}

#[test]
fn a_stalled_connection_can_be_cut() {
    for how in [Fin, Rst] {
        let rig = Rig::new();
        let (client, server) = rig.pair();
        Direction::BOTH.into_iter().for_each(|d| rig.proxy.stall(d, true));
        fill(&client, &pattern(32 << 20)); // So the pump has read and waits.
        assert_eq!(rig.proxy.cut(how), 1);
        assert_eq!(drain(&client), (vec![], end_of(how)));
        assert_eq!(drain(&server), (vec![], end_of(how)));
    }
}

#[test]
fn delay_is_latency_and_keeps_order() {
    let rig = Rig::new();
    let (client, server) = rig.pair();
    let delay = Duration::from_millis(100);
    rig.proxy.delay(delay);
    let begun = Instant::now();
    pass(&client, &server, b"up");
    assert!(begun.elapsed() >= delay);
    pass(&server, &client, b"down");
    assert!(begun.elapsed() >= 2 * delay);
    // At a delay for each chunk of 16 KiB this would take 51 seconds.
    let data = pattern(8 << 20);
    let begun = Instant::now();
    thread::scope(|s| {
        s.spawn(|| {
            (&client).write_all(&data).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        });
        assert!(drain(&server) == (data.clone(), None));
    });
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    // What is on its way keeps its place when the delay goes.
    rig.proxy.delay(delay);
    let (client, server) = rig.pair();
    (&client).write_all(b"first ").unwrap();
    rig.proxy.delay(Duration::ZERO);
    (&client).write_all(b"second").unwrap();
    assert_eq!(take(&server, 12), b"first second");
}

#[test]
fn a_slow_way_takes_its_time_with_each_piece() {
    let rig = Rig::new();
    let (client, server) = rig.pair();
    let pause = Duration::from_millis(10);
    rig.proxy.pace(pause);
    // At least as many pieces of 16 KiB, without the pause behind the last one.
    let data = pattern(100_000);
    let begun = Instant::now();
    pass(&client, &server, &data);
    assert!(begun.elapsed() >= 6 * pause);
    pass(&server, &client, &data);
    assert!(begun.elapsed() >= 12 * pause);
    rig.proxy.pace(Duration::from_secs(3600));
    pass(&client, &server, b"the last");
    rig.proxy.cut(How::Rst);
}

#[test]
fn a_delayed_connection_is_cut_at_once() {
    for how in [Fin, Rst] {
        let rig = Rig::new();
        let (client, server) = rig.pair();
        rig.proxy.delay(Duration::from_secs(3600));
        (&client).write_all(b"under way").unwrap();
        assert_eq!(rig.proxy.cut(how), 1);
        assert_eq!(drain(&client), (vec![], end_of(how)));
        assert_eq!(drain(&server), (vec![], end_of(how)));
        let rig = Rig::new();
        let (client, server) = rig.pair();
        rig.proxy.delay(Duration::from_secs(3600));
        (&client).write_all(b"under way").unwrap();
        drop(client);
        drop(rig.proxy);
        assert_eq!(drain(&server).0, b"");
    }
}

#[test]
fn slices_are_single_bytes() {
    let rig = Rig::new();
    let (client, server) = rig.pair();
    rig.proxy.slice(true);
    let data = pattern(2_000);
    (&client).write_all(&data).unwrap();
    assert_eq!(take(&server, data.len()), data);
    rig.wait(|s| s.up == 2_001);
    assert_eq!(rig.proxy.stats().writes, 2_002);
    rig.proxy.cut_after(Up, 2, Fin);
    (&client).write_all(b"xyz").unwrap();
    assert_eq!(drain(&server), (b"xy".to_vec(), None));
}

#[test]
fn a_byte_is_flipped_once_wherever_it_comes() {
    let rig = Rig::new();
    rig.proxy.record();
    let pair = rig.pair();
    let data = pattern(40_000);
    for (d, first) in [(Up, b"a"), (Down, b"b")] {
        let (mut from, to) = ends(d, &pair);
        for at in [0, 1, 16_383, 16_384, 39_999] {
            rig.proxy.flip(d, at as u64, 0x81);
            assert!(!rig.proxy.has_flipped(d));
            thread::scope(|scope| {
                scope.spawn(|| from.write_all(&data).unwrap());
                let mut expected = data.clone();
                expected[at] ^= 0x81;
                assert!(take(to, data.len()) == expected, "{at}");
            });
            assert!(rig.proxy.has_flipped(d));
        }
        pass(from, to, &data[..100]);
        let recorded = rig.proxy.recorded(d);
        assert_eq!(recorded.len(), 1 + 5 * data.len() + 100);
        assert!(recorded.starts_with(first) && recorded.ends_with(&data[..100]));
        assert_eq!(recorded[1], data[0] ^ 0x81);
    }
}

#[test]
fn refuse_resets_new_connections_only() {
    let rig = Rig::new();
    let (client, server) = rig.pair();
    rig.proxy.refuse(true);
    for _ in 0..5 {
        assert_eq!(drain(&rig.dial()), (vec![], Some(ErrorKind::ConnectionReset)));
    }
    pass(&client, &server, b"old");
    rig.wait(|s| s.accepted == 6 && s.live == 1);
    rig.proxy.refuse(false);
    let (client, server) = rig.pair();
    pass(&client, &server, b"new");
}

#[test]
fn accept_and_close_gives_a_clean_end() {
    let rig = Rig::new();
    rig.proxy.accept_and_close(true);
    for _ in 0..5 {
        let client = rig.dial();
        (&client).write_all(b"hello").unwrap();
        assert_eq!(drain(&client), (vec![], None));
    }
    rig.wait(|s| s.accepted == 5 && s.live == 0);
    rig.upstream.set_nonblocking(true).unwrap();
    let nobody: io::Error = rig.upstream.accept().unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
    rig.upstream.set_nonblocking(false).unwrap();
    rig.proxy.accept_and_close(false);
    rig.pair();
}

#[test]
fn held_connections_are_silent_until_released() {
    let rig = Rig::new();
    let (old_client, old_server) = rig.pair();
    rig.proxy.hold_connect(true);
    let client = rig.dial();
    (&client).write_all(b"hello").unwrap();
    rig.wait(|s| s.accepted == 2 && s.live == 2);
    rig.upstream.set_nonblocking(true).unwrap();
    assert_eq!(rig.upstream.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    rig.upstream.set_nonblocking(false).unwrap();
    silent(&client);
    pass(&old_client, &old_server, b"old ones pass");
    rig.proxy.hold_connect(false);
    rig.proxy.hold_connect(true);
    let server = rig.upstream.accept().unwrap().0;
    assert_eq!(take(&server, 5), b"hello");
    pass(&server, &client, b"welcome");
    for how in [Fin, Rst] {
        let held = rig.dial();
        let accepted = if how == Fin { 3 } else { 4 };
        rig.wait(|s| s.accepted == accepted);
        assert!(rig.proxy.cut(how) >= 1);
        assert_eq!(drain(&held), (vec![], end_of(how)));
    }
}

#[test]
fn wait_for_gives_up() {
    let rig = Rig::new();
    assert!(!rig.proxy.wait_for(|s| s.live == 1, Duration::from_millis(1)));
    assert!(rig.proxy.wait_for(|s| s.live == 0, Duration::ZERO));
}

#[test]
fn drop_ends_everything_in_any_state() {
    type Fault = fn(&Proxy);
    let faults: [Fault; 8] = [
        |_| {},
        |p| p.stall(Up, true),
        |p| p.swallow(Up, true),
        |p| p.delay(Duration::from_secs(3600)),
        |p| p.slice(true),
        |p| p.hold_connect(true),
        |p| assert_eq!(p.cut(Fin), 1),
        |p| p.accept_and_close(true),
    ];
    for fault in faults {
        let rig = Rig::new();
        let (client, server) = rig.pair();
        fault(&rig.proxy);
        let late = rig.dial();
        rig.wait(|s| s.accepted == 2);
        client.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        for _ in 0..100 {
            if (&client).write(&[1; 65536]).is_err() {
                break;
            }
        }
        let addr = rig.proxy.addr();
        drop(rig.proxy);
        for socket in [&client, &server, &late] {
            let end = drain(socket).1;
            assert!(matches!(end, None | Some(ErrorKind::ConnectionReset)), "{end:?}");
        }
        let refused = TcpStream::connect(addr).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn the_proxy_is_shared_between_threads() {
    fn check<T: Send + Sync>() {}
    check::<Proxy>();
}
