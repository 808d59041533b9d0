//! An end at once, in whose way a thread is that reads.

use socket2::SockRef;

use super::*;

/// What a driver does for a link that is not read, until it is gone. Returns how often it looked.
fn part(shared: &Arc<Shared>) -> u32 {
    for looks in 0..100 {
        let Checkup { deadline, poll, .. } = shared.check_up(None);
        if !shared.lock().has_link() {
            return looks;
        }
        assert!(poll.is_none_or(|(_, interest)| !interest.read), "it is ready for ever");
        net::poll(&mut [], Some(deadline.expect("it looks again")));
    }
    panic!("it goes on for ever");
}

fn is_told(shared: &Shared) -> bool {
    shared.lock().protocol.status().end_told
}

/// Where the system does not tell, the link is lost.
#[test]
fn a_peer_is_told_whose_kernel_has_all_that_was_written() {
    for sealed in [false, true] {
        let channel = sealed.then(|| crate::secure::pair([0; 2], &Arc::default()));
        let (shared, _peer) = carry(framed(), channel.map(|[_, server]| server));
        let read_half = read_quietly(&shared);
        abort(&shared, read_half);
        let looks = part(&shared);
        assert_eq!(is_told(&shared), cfg!(target_os = "linux"), "{sealed}, {looks} looks");
    }
}

/// Else the second is over in which a client could have told it over another link.
#[test]
fn a_link_whose_peer_acknowledges_nothing_is_lost_soon() {
    let limits = Limits { window: 1 << 24, max_message: 100_000 };
    let hello = Session::client(limits, Heartbeat::off(), sync::now()).next_hello();
    let session = Session::server(&hello, 1, limits, Heartbeat::off(), sync::now());
    let (shared, _peer) = carry(Protocol::Framed(session), None);
    let socket = shared.lock().link.as_ref().unwrap().socket.clone();
    SockRef::from(&*socket).set_send_buffer_size(1).unwrap();
    let connection = Connection::new(shared.clone());
    while connection.try_send([0; 10_000]).is_ok() {}
    let reading = std::thread::spawn(move || (connection.recv(), connection));
    while shared.lock().link.as_ref().unwrap().read_half.is_some() {
        std::thread::yield_now();
    }
    abort(&shared, reading);
    let begun = sync::now();
    part(&shared);
    assert!(!is_told(&shared) && begun.elapsed() < Duration::from_secs(1));
}
