//! Addresses that do not answer.

use std::net::{SocketAddr, TcpListener};
use std::thread;

use longlink::{Cause, Error, RetryPolicy};
use socket2::{Domain, Socket, Type};

use crate::rig::{SOON, builder, join, until};

fn socket() -> Socket {
    Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()
}

/// How many sockets wait for an answer from there.
fn asking(addr: SocketAddr) -> usize {
    const SYN_SENT: &str = "02";
    let to = format!("0100007F:{:04X}", addr.port());
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let asks = |line: &&str| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next() == Some(&to) && fields.next() == Some(SYN_SENT)
    };
    table.lines().filter(asks).count()
}

/// The kernel asks again too late for a path that is just back.
#[test]
fn an_address_that_does_not_answer_is_asked_on_a_second_socket() {
    let full = socket();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let listener = TcpListener::from(full);
    let addr = listener.local_addr().unwrap();
    // The queue has room for one; the others are not answered.
    let queued: Vec<Socket> = (0..4)
        .map(|_| {
            let socket = socket();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&addr.into());
            socket
        })
        .collect();
    until("the queue is full", || asking(addr) == 3);
    let connecting = thread::spawn(move || {
        let builder = builder().connect_timeout(SOON * 2);
        builder.retry(RetryPolicy::never()).connect(addr)
    });
    until("it asks twice", || asking(addr) == 3 + 2);
    // With the listener gone, the next question is refused.
    drop((listener, queued));
    let refused = join(connecting).unwrap_err();
    assert!(matches!(refused, Error::GaveUp { cause: Cause::Io(_), .. }), "{refused:?}");
}
