use super::*;
use crate::net::{Pipe, poll, poll_fd, readiness};
use crate::sync::now;

fn is_ready(epoll: &Epoll) -> bool {
    let mut fds = [poll_fd(epoll, Interest::READ)];
    poll(&mut fds, Some(now()));
    readiness(&fds[0]).read
}

fn epoll() -> Epoll {
    Epoll::new().unwrap().unwrap()
}

#[test]
fn it_is_ready_as_long_as_a_socket_is() {
    let (epoll, pipe) = (epoll(), Pipe::new().unwrap());
    epoll.add(7, &pipe, Interest::READ).unwrap();
    assert!(!is_ready(&epoll) && epoll.ready().is_empty());
    pipe.signal().unwrap();
    for _ in 0..2 {
        assert!(is_ready(&epoll));
        assert_eq!(epoll.ready(), [(7, Interest::READ)]);
    }
    pipe.drain();
    assert!(!is_ready(&epoll) && epoll.ready().is_empty());
}

/// Between the last poll and this one.
#[test]
fn a_socket_that_is_ready_before_it_is_added_is_returned() {
    let (epoll, pipe) = (epoll(), Pipe::new().unwrap());
    pipe.signal().unwrap();
    epoll.add(7, &pipe, Interest { read: true, write: true }).unwrap();
    assert!(is_ready(&epoll));
    assert_eq!(epoll.ready(), [(7, Interest { read: true, write: true })]);
    epoll.remove(&pipe);
    assert!(!is_ready(&epoll));
    epoll.add(8, &pipe, Interest::WRITE).unwrap();
    assert_eq!(epoll.ready(), [(8, Interest::WRITE)]);
}

#[test]
fn each_of_many_has_its_turn() {
    let epoll = epoll();
    let pipes: Vec<_> = (0..MOST as u64 + 50).map(|_| Pipe::new().unwrap()).collect();
    for (pipe, key) in pipes.iter().zip(0..) {
        epoll.add(key, pipe, Interest::WRITE).unwrap();
    }
    let turns = [epoll.ready(), epoll.ready()].map(|ready| ready.len());
    assert_eq!(turns, [MOST; 2]);
    let mut keys: Vec<_> = epoll.ready().into_iter().chain(epoll.ready()).collect();
    keys.sort_by_key(|(key, _)| *key);
    keys.dedup();
    assert_eq!(keys.len(), pipes.len());
}

/// A process that was forked has its sockets, for a while at least. One that is closed is not
/// returned for ever.
#[test]
fn a_socket_that_another_process_has_too_is_removed() {
    let (epoll, pipe) = (epoll(), Pipe::new().unwrap());
    let copy = pipe.as_fd().try_clone_to_owned().unwrap();
    pipe.signal().unwrap();
    epoll.add(7, &pipe, Interest::READ).unwrap();
    epoll.remove(&pipe);
    drop(pipe);
    let mut fds = [poll_fd(&copy, Interest::READ)];
    poll(&mut fds, Some(now()));
    assert!(readiness(&fds[0]).read && !is_ready(&epoll) && epoll.ready().is_empty());
}
