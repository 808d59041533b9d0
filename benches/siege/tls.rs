//! Attacks that only a server of TLS knows, by somebody who has none of its keys.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use fastrand::Rng;
use longlink::{Connection, Identity, RetryPolicy, Security, Trust};
use socket2::SockRef;

use crate::attacks::Step;
use crate::wire::tls::{Folder, Tls, party};
use crate::{Result, Siege};

/// Peers that say nothing more, or little at a time.
const CROWD: usize = 1000;

/// With this byte TLS begins.
const HANDSHAKE: u8 = 0x16;

/// Against the server that has this folder.
pub(crate) fn attacks(folder: &Folder) -> Result<Vec<Siege>> {
    let server = Identity::from_file(folder.file("server.key"))?.fingerprint();
    let stranger = Identity::create(folder.file("stranger.key"))?;
    let stranger = Security::keys(stranger, Trust::fingerprint(server));
    let stranger = Connection::builder().security(stranger).retry(RetryPolicy::never());
    // The answer to it is the same work each time.
    let hello = Tls::connect(party().ok_or("it takes keys")?).first_flight();
    let halves = hello.clone();
    Ok(vec![
        Siege::new("first bytes of TLS", "connect", |addr| crowd(move || dial(addr, &[HANDSHAKE]))),
        Siege::new("half handshakes", "connect", move |addr| {
            let hello = halves.clone();
            crowd(move || dial(addr, &hello))
        }),
        Siege::new("trickling handshakes", "byte", move |addr| trickling(addr, hello.clone())),
        Siege::new("garbage for a handshake", "connect", garbage),
        Siege::new("handshakes of a stranger", "connect", move |addr| {
            let stranger = stranger.clone();
            Box::new(move || assert!(stranger.clone().connect(addr).is_err(), "it was let in"))
        }),
    ])
}

/// Begins with these bytes, and ends with a reset, which leaves its port free at once.
fn dial(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(addr).unwrap();
    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    // A full server may have sent it away.
    let _ = socket.write_all(bytes);
    socket
}

/// Of so many, the one that came first goes when another comes.
fn crowd(mut dial: impl FnMut() -> TcpStream + 'static) -> Step {
    let mut crowd: VecDeque<TcpStream> = (0..CROWD).map(|_| dial()).collect();
    Box::new(move || {
        crowd.push_back(dial());
        crowd.pop_front();
    })
}

fn trickling(addr: SocketAddr, hello: Vec<u8>) -> Step {
    let mut crowd: VecDeque<(TcpStream, usize)> =
        (0..CROWD).map(|_| (dial(addr, &[]), 0)).collect();
    Box::new(move || {
        // Each in turn sends its next byte, and begins anew before the last.
        let (mut socket, sent) = crowd.pop_front().unwrap();
        let ended = sent + 1 == hello.len() || socket.write_all(&hello[sent..=sent]).is_err();
        crowd.push_back(if ended { (dial(addr, &[]), 0) } else { (socket, sent + 1) });
    })
}

fn garbage(addr: SocketAddr) -> Step {
    let mut random = Rng::with_seed(0);
    Box::new(move || {
        let mut bytes = vec![0; random.usize(1..2000)];
        random.fill(&mut bytes);
        bytes[0] = HANDSHAKE;
        let mut socket = dial(addr, &bytes);
        let _ = socket.shutdown(Shutdown::Write);
        // The server says what is wrong, and ends; or it was gone before.
        let _ = socket.read_to_end(&mut Vec::new());
    })
}
