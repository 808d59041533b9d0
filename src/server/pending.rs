//! A peer that has connected and not introduced itself yet.

use std::net::{Shutdown, SocketAddr};
use std::time::Instant;

use crate::error::Rejection;
use crate::net::Socket;
use crate::proto::frame::{Decoder, Frame};

pub(super) struct PendingPeer {
    pub(super) socket: Socket,
    pub(super) addr: SocketAddr,
    pub(super) decoder: Decoder,
    /// When its hello has to be complete, once it has begun.
    pub(super) due: Option<Instant>,
}

impl PendingPeer {
    pub(super) fn new(socket: Socket, addr: SocketAddr) -> PendingPeer {
        PendingPeer { socket, addr, decoder: Decoder::default(), due: None }
    }

    /// Whether it has said more than was decoded.
    pub(super) fn has_more(&self) -> bool {
        self.decoder.first_byte().is_some() || self.socket.has_bytes()
    }

    pub(super) fn reject(self, rejection: Rejection) {
        self.answer(&Frame::Reject { code: rejection.code(), text: rejection.to_string() });
    }

    /// Says this, and no more.
    pub(super) fn answer(mut self, frame: &Frame) {
        let _ = self.socket.try_write(&frame.to_bytes());
        self.socket.shutdown(Shutdown::Write);
    }
}
