//! A TCP connection that is pending: its handshake is not over.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Instant;

use crate::error::Rejection;
use crate::identity::Who;
use crate::net::Socket;
use crate::proto::frame::{Decoder, Frame};

pub(crate) struct PendingLink {
    pub(crate) socket: Socket,
    pub(crate) addr: SocketAddr,
    pub(crate) decoder: Decoder,
    pub(crate) who: Who,
    /// When the handshake has to be over, if that is known.
    pub(crate) due: Option<Instant>,
}

impl PendingLink {
    pub(crate) fn new(socket: Socket, addr: SocketAddr, due: Option<Instant>) -> PendingLink {
        PendingLink { socket, addr, decoder: Decoder::default(), who: Who::Clear, due }
    }

    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| now >= due)
    }

    /// Reads what is there. Returns whether more may follow.
    pub(crate) fn read(&mut self) -> io::Result<bool> {
        match self.socket.try_read(self.decoder.space()) {
            Ok(n) => {
                self.decoder.filled(n);
                Ok(n > 0)
            }
            Err(e) => match e.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(true),
                _ => Err(e),
            },
        }
    }

    /// Whether the peer has said more than was decoded.
    pub(crate) fn has_more(&self) -> bool {
        self.decoder.first_byte().is_some() || self.socket.has_bytes()
    }

    /// Says this, and no more.
    pub(crate) fn end(mut self, frame: &Frame) {
        let _ = self.socket.try_write(&frame.to_bytes());
        self.socket.shutdown(Shutdown::Write);
    }

    pub(crate) fn reject(self, rejection: Rejection) {
        self.end(&Frame::Reject(rejection.to_wire()));
    }
}
