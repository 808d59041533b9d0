//! Ports of a test's own.

use std::net::SocketAddr;

/// A port that is given to nobody who asks for just any. Nobody listens on it
/// until somebody does so by its number, as a server does that starts late, or
/// again.
#[derive(Debug)]
pub(crate) struct Reserved(socket2::Socket);

impl Reserved {
    pub(crate) fn new() -> Reserved {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let reserved = Reserved(socket.unwrap());
        // Linux lets a listener share the port with sockets that do not listen,
        // if both sides say so.
        reserved.0.set_reuse_address(true).unwrap();
        reserved.0.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        reserved
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    #[allow(dead_code, reason = "some tests need the number alone")]
    pub(crate) fn port(&self) -> String {
        self.addr().port().to_string()
    }
}
