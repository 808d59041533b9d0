//! The halves of a link, one to read it and one to write it. A thread takes one along
//! into a system call.

use std::io;
use std::time::Duration;

use crate::net::Socket;
use crate::proto::batch::Batch;
use crate::proto::frame::Decoder;
use crate::sync::Arc;

/// The right to read a link. To move one pointer costs less than to move what is in it
/// and to count another user of the socket.
pub(super) struct ReadHalf {
    pub(super) socket: Arc<Socket>,
    pub(super) generation: u64,
    pub(super) decoder: Decoder,
}

/// The right to write it, likewise.
pub(super) struct WriteHalf {
    pub(super) socket: Arc<Socket>,
    pub(super) generation: u64,
    /// What is left of it, if the writer is blocked.
    pub(super) batch: Batch,
}

/// What a read has brought.
pub(super) struct Heard {
    pub(super) bytes: usize,
    /// The stream ends behind them.
    pub(super) ended: bool,
}

impl ReadHalf {
    /// Reads once: what is there, or, if it may block, what comes within the timeout that
    /// was set.
    pub(super) fn read(&mut self, block: Option<Option<Duration>>) -> io::Result<Heard> {
        let space = self.decoder.space();
        let bytes = match block {
            Some(timeout) => self.socket.read(space, timeout)?,
            None => self.socket.try_read(space)?,
        };
        self.decoder.filled(bytes);
        Ok(Heard { bytes, ended: bytes == 0 })
    }
}

impl WriteHalf {
    /// Writes as much of the batch as the socket takes at once. Returns whether that is all.
    pub(super) fn write(&mut self) -> io::Result<bool> {
        self.socket.write(&mut self.batch)
    }
}
