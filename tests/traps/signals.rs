//! What the system does to a process.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use longlink::Error;

use crate::proxy::How;
use crate::rig::{Log, Rig, Side, calm, connect, ms, timed, until};

const ADDR: &str = "LONGLINK_TRAP_ADDR";

/// This test binary again, as the process that signals are sent to.
fn again(test: &str, addr: SocketAddr) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads", "1"]);
    command.env(ADDR, addr.to_string()).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
}

// Trap 18: a socket with a timeout gives EINTR after a stop, even without a handler.
#[test]
fn a_timed_wait_goes_on_after_a_stop() {
    if let Ok(addr) = std::env::var(ADDR) {
        let client = connect(calm(), addr);
        let (received, took) = timed(|| client.recv_timeout(ms(500)));
        assert!(matches!(received, Err(Error::TimedOut)), "{received:?}");
        assert!(took >= ms(500), "{took:?}");
        client.send(b"and now without a bound").unwrap();
        client.takes(b"go on");
        assert_eq!(client.recv().unwrap().unwrap(), "go on");
        assert_eq!(client.log.count("lost: "), 0);
        client.close().unwrap();
        return;
    }
    let listener = calm().bind("127.0.0.1:0").unwrap();
    let mut child = again("signals::a_timed_wait_goes_on_after_a_stop", listener.local_addr());
    let server = Side::new(listener.accept().unwrap(), Log::new("server"));
    let stop_and_go = || {
        signal(&child, "STOP");
        signal(&child, "CONT");
    };
    until("it has waited in spite of the stops", || {
        stop_and_go();
        server.try_recv().is_ok()
    });
    for _ in 0..10 {
        stop_and_go();
    }
    server.send(b"go on").unwrap();
    for _ in 0..10 {
        stop_and_go();
    }
    server.send(b"go on").unwrap();
    server.takes_end();
    server.close().unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status} {:?}", status.signal());
}

// Trap 19.
#[test]
fn writing_to_a_peer_that_is_gone_raises_no_signal() {
    let raised = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGPIPE, raised.clone()).unwrap();
    // That it would be seen.
    let (ours, theirs) = std::io::pipe().unwrap();
    drop(ours);
    std::io::Write::write(&mut &theirs, b"x").unwrap_err();
    until("the signal is seen", || raised.swap(false, Ordering::SeqCst));

    let rig = Rig::new(calm());
    let (client, server) = rig.warm_pair();
    for round in 0..20 {
        rig.proxy.cut(if round % 2 == 0 { How::Rst } else { How::Fin });
        for _ in 0..20 {
            client.send(b"up").unwrap();
            server.send(b"down").unwrap();
        }
        for _ in 0..20 {
            server.takes(b"up");
            client.takes(b"down");
        }
    }
    let (mut raw, _) =
        crate::wire::Raw::join(rig.listener.local_addr(), &crate::wire::Hello::new(1));
    let gone = rig.accept();
    raw.send(crate::wire::frame(crate::wire::DATA, b"x"));
    socket2::SockRef::from(&raw.socket).set_linger(Some(ms(0))).unwrap();
    drop(raw);
    for _ in 0..100 {
        gone.send(b"nobody hears").unwrap();
    }
    gone.says("lost: ", 1);
    assert!(!raised.load(Ordering::SeqCst));
}
