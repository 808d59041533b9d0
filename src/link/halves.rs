//! The halves of a link, one to read it and one to write it. A thread takes one along
//! into a system call.

use std::io;
use std::time::Duration;

use crate::net::Socket;
use crate::proto::batch::Batch;
use crate::proto::frame::{Decoder, Space};
use crate::secure::{self, End, Failure, Opened, Opener, Sealer};
use crate::sync::{self, Arc};

/// The right to read a link. To move one pointer costs less than to move what is in it
/// and to count another user of the socket.
pub(super) struct ReadHalf {
    pub(super) socket: Arc<Socket>,
    pub(super) generation: u64,
    pub(super) decoder: Decoder,
    /// If the link is sealed.
    pub(super) opener: Option<Box<Opener>>,
}

/// The right to write it, likewise.
pub(super) struct WriteHalf {
    pub(super) socket: Arc<Socket>,
    pub(super) generation: u64,
    /// What is left of it, if the writer is blocked.
    pub(super) batch: Batch,
    /// If the link is sealed.
    pub(super) sealer: Option<Box<Sealer>>,
}

/// What a read has brought.
pub(super) struct Heard {
    /// So many bytes, as they were on the wire.
    pub(super) bytes: usize,
    /// They have brought forth some that are to be written.
    pub(super) control: bool,
    /// The stream ends behind them.
    pub(super) end: Option<End>,
}

/// What a write has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// All that was there is written.
    All,
    /// The socket took a part of it, or nothing.
    Part,
    /// There was nothing: another write had taken it along.
    Nothing,
}

impl ReadHalf {
    /// Whether this thread may read by it, see [`secure::is_inside`].
    pub(super) fn is_free(&self) -> bool {
        self.opener.is_none() || !secure::is_inside()
    }

    /// Reads once: what is there, or, if it may block, what comes within the timeout that
    /// was set.
    pub(super) fn read(&mut self, block: Option<Option<Duration>>) -> io::Result<Heard> {
        let ReadHalf { socket, decoder, opener, .. } = self;
        let read = |space: Space<'_>| match block {
            Some(timeout) => socket.read(space, timeout),
            None => socket.try_read(space),
        };
        let Some(opener) = opener else {
            let bytes = read(decoder.space())?;
            decoder.filled(bytes);
            let end = (bytes == 0).then_some(End::InOrder);
            return Ok(Heard { bytes, control: false, end });
        };
        let bytes = read(opener.space(decoder))?;
        if bytes == 0 {
            return Ok(Heard { bytes, control: false, end: Some(opener.at_end()) });
        }
        opener.filled(bytes);
        let Opened { control, mut end } = opener.open(decoder);
        if end.is_none() && opener.is_late(sync::now) {
            end = Some(End::Broken(Failure::Protocol("a record that does not end")));
        }
        Ok(Heard { bytes, control, end })
    }
}

impl WriteHalf {
    /// Whether this thread may write by it, see [`secure::is_inside`].
    pub(super) fn is_free(&self) -> bool {
        self.sealer.is_none() || !secure::is_inside()
    }

    /// Whether nothing is left of what it was to write.
    pub(super) fn is_written(&self) -> bool {
        self.batch.is_empty() && self.sealer.as_ref().is_none_or(|sealer| sealer.unsent() == 0)
    }

    /// Writes as much of the batch as the socket takes at once.
    pub(super) fn write(&mut self) -> io::Result<Written> {
        let WriteHalf { socket, batch, sealer, .. } = self;
        let Some(sealer) = sealer else {
            let all = socket.write(batch)?;
            return Ok(if all { Written::All } else { Written::Part });
        };
        let before = batch.written();
        let all = sealer.write(batch, |unsent| socket.write(unsent))?;
        Ok(match all {
            false => Written::Part,
            true if batch.written() == before => Written::Nothing,
            true => Written::All,
        })
    }
}
