//! Handshakes that are begun by many, and ended by none.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use longlink::Connection;
use rustls::AlertDescription;
use rustls::Error::AlertReceived;
use socket2::{Domain, Socket, Type};

use crate::attacks::allow_crowd;
use crate::target::{Bystander, Target, now, until};
use crate::wire::tls::{Folder, Party, Tls};
use crate::wire::{Hello, PONG, Raw, ping};
use crate::{GUESTS, LEAVING, MIB, OWN, THREADS};

/// All of them come from one address, at which nobody else is.
const OPENERS: usize = 10_000;
const ADDRESS: [u8; 4] = [127, 0, 0, 2];

/// So many of them are there at once.
const CROWD: usize = 1000;

/// With this byte TLS begins.
const HANDSHAKE: u8 = 0x16;

/// As long as a handshake may take. No round trip waits for that.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a handshake may take in.
const GUEST: usize = 16 * 1024;

/// A link, and the thread of the program that serves it.
const LINK: usize = 64 * 1024;

/// Dials from the address of the openers. It ends with a reset, which leaves its port free at once.
fn dial(addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((ADDRESS, 0)).into()).unwrap();
    socket.connect(&addr.into()).unwrap();
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    socket.into()
}

/// Each stops after its first byte, or when it was answered, or shows a key that nobody knows.
fn opener(addr: SocketAddr, nth: usize, stranger: &Party) -> TcpStream {
    let mut socket = dial(addr);
    match nth % 3 {
        0 => socket.write_all(&[HANDSHAKE]).unwrap(),
        1 => {
            socket.write_all(&Tls::connect(stranger).first_flight()).unwrap();
            let mut answer = [0];
            socket.read_exact(&mut answer).unwrap();
            assert_eq!(answer, [HANDSHAKE]);
        }
        _ => {
            let tls = Tls::connect(stranger);
            // It believes that it is in.
            tls.write_all(&socket, &Hello::new(0).bytes()).unwrap();
            let refused = tls.read(&socket, &mut [0]).unwrap_err().downcast::<rustls::Error>();
            assert!(
                matches!(refused, Ok(AlertReceived(AlertDescription::CertificateUnknown))),
                "{refused:?}"
            );
        }
    }
    socket
}

/// How long a message and its echo take.
fn trip(bystander: &Bystander) -> Duration {
    let begun = now();
    bystander.trip();
    begun.elapsed()
}

/// Those who are there are served all the while; and who belongs there gets in, although it has
/// been silent while all places were taken twice by others.
#[test]
fn half_handshakes_keep_nobody_out() {
    allow_crowd();
    let keys = Folder::of_server();
    let target = Target::start(&["--keys", &keys.file("").display().to_string()]);
    let [peer, stranger] = Party::all(["peer", "stranger"]);
    let bystander = target.bystander_of(Connection::builder().security(peer.security.clone()));
    bystander.trip();
    let quiet = target.memory();

    let came = AtomicUsize::new(0);
    let (mut trips, mut longest, mut descriptors) = (0, Duration::ZERO, 0);
    let mut newcomers = Vec::new();
    thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            let mut crowd = VecDeque::new();
            for nth in 0..OPENERS {
                crowd.push_back(opener(target.addr, nth, &stranger));
                came.fetch_add(1, Ordering::Relaxed);
                if crowd.len() > CROWD {
                    crowd.pop_front();
                }
            }
        });
        while !attacker.is_finished() {
            let socket = TcpStream::connect(target.addr).unwrap();
            let enough = came.load(Ordering::Relaxed) + 2 * GUESTS;
            until("others came", || {
                longest = longest.max(trip(&bystander));
                trips += 1;
                descriptors = descriptors.max(target.descriptors());
                came.load(Ordering::Relaxed) >= enough || attacker.is_finished()
            });
            let token = newcomers.len() as u8 + 1;
            let newcomer = Raw::secured(socket, &peer).greets(&Hello::new(token));
            newcomers.push(newcomer.expect("it is let in").0);
        }
    });
    for newcomer in &mut newcomers {
        newcomer.send(ping(1));
        assert_eq!(newcomer.read_kind(PONG), 1_u64.to_be_bytes());
    }
    assert_eq!(bystander.losses(), 0);
    assert!(longest < PATIENCE, "{longest:?} for a round trip");

    let (memory, threads) = (target.peak_memory(), target.threads());
    let clients = newcomers.len() + 1;
    eprintln!("{memory} bytes, {quiet} before; {descriptors} descriptors, {threads} threads");
    eprintln!("{clients} clients, {trips} round trips of at most {longest:?}");
    let limit = quiet + GUESTS * GUEST + clients * LINK + 4 * MIB;
    assert!(memory < limit, "{memory} bytes of memory, and not {limit}");
    assert!(descriptors <= clients + GUESTS + OWN, "{descriptors} descriptors");
    assert!(threads <= clients + THREADS + LEAVING, "{threads} threads");
}
