//! `client < in > out` with an invite, while links are cut and servers killed: what holds in clear
//! text holds here.

use std::sync::{Arc, mpsc};

use crate::folder::{Folder, QUICK};
use crate::numbers::{at_least_once, cuts_leave_no_trace, numbers};
use crate::port::Reserved;
use crate::process::CLIENT;
use crate::proxy::Proxy;

#[test]
fn links_that_are_cut_leave_no_trace_in_the_output() {
    let folder = Folder::with_alice("cuts");
    let server = folder.serve(&[]);
    let proxy = Proxy::to(([127, 0, 0, 1], server.port.parse().unwrap()).into());
    let port = proxy.addr().port().to_string();
    let own = ["--invite", "alice.invite", "127.0.0.1", "--port", &port];
    let mut client = folder.start(CLIENT, &[&own, &QUICK[..]].concat());
    cuts_leave_no_trace(&mut client, &proxy, 50_000, 20);
}

/// Each session begins with what the one before had not acknowledged.
#[test]
fn servers_that_are_killed_lose_nothing() {
    const LAST: u32 = 100_000;
    const KILLS: u32 = 5;
    let folder = Folder::with_alice("kills");
    let reserved = Arc::new(Reserved::new());
    let mut server = folder.serve_at(&reserved, &[]);
    let mut client = folder.client(&server, &[&["--invite", "alice.invite"], &QUICK[..]].concat());
    let (parts, to_come) = mpsc::channel();
    client.send_all(to_come);
    parts.send(numbers(1..=LAST - 1)).unwrap();
    for kill in 1..=KILLS {
        client.prints(&(LAST / (KILLS + 1) * kill).to_string());
        server.process.kill();
        client.says_nth("lost: ", kill as usize);
        server = folder.serve_at(&reserved, &[]);
        client.says_nth("new session (old session lost), ", kill as usize);
        assert!(server.process.says("client-1: connected ").ends_with(" as alice"));
    }
    // It does not end before the last kill.
    parts.send(numbers(LAST..=LAST)).unwrap();
    drop(parts);
    assert_eq!(client.ends(), 0);
    let repeats = at_least_once(&client.out.text(), LAST);
    assert_eq!(client.err.count("new session"), KILLS as usize);
    eprintln!("{repeats} of {LAST} lines came twice");
}
