//! Bytes as they are, in order, once.

use std::thread;

use super::*;

#[test]
fn bytes_go_both_ways_and_each_way_ends_by_itself() {
    let tunnel = Tunnel::new();
    let [program, service] = tunnel.open();
    // A service may speak first.
    passes("220 ready\r\n", [&service, &program]);
    passes("\0\u{7f}\n.\n\r", [&program, &service]);
    finish(&program);
    assert_eq!(rest(&service).0, b"");
    passes("more, after the end of the other way", [&service, &program]);
    finish(&service);
    let (got, end) = rest(&program);
    assert_eq!((&got[..], end.is_ok()), (&b""[..], true));
    tunnel.client.says("client-1: closed: both sides have ended; 6 bytes sent, 47 bytes received");
    tunnel.server.process.says("client-1: closed: both sides have ended");
}

#[test]
fn a_service_may_end_first() {
    let tunnel = Tunnel::new();
    let [program, service] = tunnel.open();
    finish(&service);
    assert_eq!(rest(&program).0, b"");
    passes("more", [&program, &service]);
    finish(&program);
    let (got, end) = rest(&service);
    assert_eq!((&got[..], end.is_ok()), (&b""[..], true));
    tunnel.client.says("client-1: closed: both sides have ended");
}

#[test]
fn megabytes_pass_both_ways_through_cuts() {
    let tunnel = Tunnel::new();
    let [program, service] = tunnel.open();
    let sent = &pattern(8 << 20)[..];
    thread::scope(|scope| {
        for (from, to) in [(&program, &service), (&service, &program)] {
            scope.spawn(move || {
                let mut from = from;
                for part in sent.chunks(70_000) {
                    from.write_all(part).unwrap();
                }
                finish(from);
            });
            scope.spawn(move || assert!(rest(to).0 == sent, "not the bytes that were sent"));
        }
        for cut in 1..=10 {
            let (how, more) = if cut % 2 == 0 { (How::Rst, 300_000) } else { (How::Fin, 200_000) };
            let before = tunnel.proxy.stats();
            let moved =
                |stats: &proxy::Stats| stats.up + stats.down > before.up + before.down + more;
            // Towards the end there may be no more.
            if tunnel.proxy.wait_for(moved, Duration::from_secs(2)) {
                tunnel.proxy.cut(how);
            }
        }
    });
    tunnel.client.says("client-1: closed: both sides have ended; 8 MiB sent, 8 MiB received");
    assert!(tunnel.client.err.count("client-1: resumed") > 3, "{}", tunnel.client.err.text());
}

#[test]
fn each_connection_has_a_session_of_its_own() {
    let tunnel = Tunnel::new();
    let pairs: Vec<_> = (0..20).map(|_| tunnel.open()).collect();
    for (number, [program, service]) in pairs.iter().enumerate() {
        passes(&format!("up {number}"), [program, service]);
        passes(&format!("down {number}"), [service, program]);
    }
    drop(pairs);
    wait::until("all are gone", || tunnel.server.process.err.count("closed: ") == 20);
}

/// What one side does not read, the other cannot send: it does not pile up in between.
#[test]
fn a_sender_waits_for_a_reader() {
    let tunnel = Tunnel::with(&["--window", "64KiB"], &[]);
    let [program, service] = tunnel.open();
    // One that stops, rather than one that fails.
    program.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let part = pattern(64 << 10);
    let mut sent = 0;
    let stuck = loop {
        match (&program).write(&part[sent % part.len()..]) {
            Ok(written) => sent += written,
            Err(error) => break error,
        }
        assert!(sent < 64 << 20, "{sent} bytes went somewhere");
    };
    assert_eq!(stuck.kind(), ErrorKind::WouldBlock);
    finish(&program);
    let got = rest(&service).0;
    assert_eq!(got.len(), sent);
    assert!(got.chunks(part.len()).all(|got| got == &part[..got.len()]), "not what was sent");
}

#[test]
fn no_more_than_allowed_are_carried_at_once() {
    let tunnel = Tunnel::with(&[], &["--max-connections", "2"]);
    let [first, second] = [tunnel.open(), tunnel.open()];
    is_reset(&connect(tunnel.entry));
    tunnel.client.says("is refused, as are all beyond 2 at once");
    let [program, service] = &first;
    passes("still here", [program, service]);
    drop(second);
    tunnel.client.says("client-2: closed");
    // Its thread gives the place back after that line.
    let third = loop {
        let program = connect(tunnel.entry);
        // It may be reset meanwhile.
        let _ = (&program).write_all(b"room");
        let _ = program.shutdown(Shutdown::Write);
        if let Some(service) = accept_soon(&tunnel.service) {
            break service;
        }
    };
    assert_eq!(rest(&third).0, b"room");
}

fn accept_soon(service: &TcpListener) -> Option<TcpStream> {
    service.set_nonblocking(true).unwrap();
    let deadline = wait::now() + Duration::from_millis(300);
    while wait::now() < deadline {
        if let Ok((stream, _)) = service.accept() {
            stream.set_nonblocking(false).unwrap();
            return Some(patient(stream));
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    None
}
