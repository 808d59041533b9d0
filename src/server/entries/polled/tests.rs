use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::*;
use crate::driver::DriverHandle;
use crate::net::{poll, readiness};
use crate::proto::frame::Space;
use crate::server::entries::tests::entry;
use crate::sync;

/// A connection, for which anything may be polled.
fn connection() -> Arc<Shared> {
    entry(1, Duration::from_secs(60), &Arc::new(DriverHandle::new().unwrap()))
}

fn link() -> (Arc<Socket>, TcpStream) {
    let listener = Socket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Arc::new(listener.accept().unwrap().0), peer)
}

fn wait_for(socket: &Socket) {
    poll(&mut [poll_fd(socket, Interest::READ)], None);
}

/// What a driver finds at once, and how many sources it polls for.
fn look(polled: &Polled) -> (Vec<(u64, Interest)>, usize) {
    let (keys, mut fds): (Vec<_>, Vec<_>) = polled.sources().unzip();
    poll(&mut fds, Some(sync::now()));
    let ready = keys.iter().zip(fds.iter().map(readiness)).filter(|(_, is)| is.read || is.write);
    (ready.flat_map(|(key, is)| polled.ready(*key, is)).collect(), fds.len())
}

/// With epoll, if there is one, and without.
fn ways() -> [Polled; 2] {
    [Polled::new().unwrap(), Polled::default()]
}

#[test]
fn only_what_was_set_last_is_polled_for() {
    let ((first, mut peer), (second, mut other)) = (link(), link());
    for mut polled in ways() {
        let sources = look(&polled).1;
        let (connection, mut key) = (connection(), None);
        let mut set = |polled: &mut Polled, wanted: Option<(&Arc<Socket>, Interest)>| {
            let wanted = wanted.map(|(socket, interest)| (socket.clone(), interest));
            polled.set(&connection, &mut key, wanted);
            key
        };
        let key = set(&mut polled, Some((&first, Interest::READ))).unwrap();
        assert_eq!(look(&polled).0, []);
        peer.write_all(b"x").unwrap();
        wait_for(&first);
        for _ in 0..2 {
            assert_eq!(look(&polled).0, [(key, Interest::READ)]);
            assert_eq!(set(&mut polled, Some((&first, Interest::READ))), Some(key));
        }
        let both = Interest { read: true, write: true };
        let key = set(&mut polled, Some((&first, both))).unwrap();
        assert_eq!(look(&polled).0, [(key, both)]);

        // It is not taken for another link of the same connection.
        let next = set(&mut polled, Some((&second, Interest::READ))).unwrap();
        assert_eq!(look(&polled).0, []);
        assert_eq!((polled.on_ready(key, both), polled.on_ready(next, both)), (None, Some(1)));
        other.write_all(b"y").unwrap();
        wait_for(&second);
        assert_eq!(look(&polled).0, [(next, Interest::READ)]);

        assert_eq!(set(&mut polled, None), None);
        assert_eq!(look(&polled), (vec![], sources));
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (1, 1));
        for (socket, peer) in [(&first, &mut peer), (&second, &mut other)] {
            assert_eq!(socket.try_read(Space::Buffer(&mut [0; 10])).unwrap(), 1);
            peer.set_nonblocking(true).unwrap();
            assert!(peer.read(&mut [0; 1]).is_err(), "it was closed");
            peer.set_nonblocking(false).unwrap();
        }
    }
}

/// It is polled for like one of few, until epoll takes it.
#[test]
fn a_link_that_epoll_refuses_is_not_lost() {
    let mut polled = Polled::new().unwrap();
    if polled.epoll.is_none() {
        return;
    }
    let ((socket, mut peer), connection, mut key) = (link(), connection(), None);
    peer.write_all(b"x").unwrap();
    wait_for(&socket);
    let mut set = |polled: &mut Polled| {
        polled.set(&connection, &mut key, Some((socket.clone(), Interest::READ)));
        (key.unwrap(), look(polled))
    };
    // It refuses what it has.
    polled.epoll.as_ref().unwrap().add(0, &*socket, Interest::WRITE).unwrap();
    for _ in 0..2 {
        let (key, (mut ready, sources)) = set(&mut polled);
        ready.retain(|(key, _)| *key != 0);
        assert_eq!((ready, sources), (vec![(key, Interest::READ)], 2));
    }
    polled.epoll.as_ref().unwrap().remove(&*socket);
    let (key, (ready, sources)) = set(&mut polled);
    assert_eq!((ready, sources), (vec![(key, Interest::READ)], 1));
    assert_eq!(set(&mut polled).0, key);
}
