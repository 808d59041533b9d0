//! A TCP connection that is pending: its handshake is not over.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use crate::error::{Cause, Rejection};
use crate::identity::Who;
use crate::net::Socket;
use crate::proto::frame::{Decoder, Frame};
use crate::secure::{Channel, End, Security};
use crate::sync::Arc;

/// A peer that was refused may go on for so long, and say so much.
const REFUSED_FOR: Duration = Duration::from_secs(1);
const REFUSED_BYTES: usize = 16 * 1024;

pub(crate) struct PendingLink {
    pub(crate) socket: Socket,
    pub(crate) addr: SocketAddr,
    /// What was read, and opened if it was sealed.
    pub(crate) decoder: Decoder,
    /// Who the peer is, as soon as that is known.
    pub(crate) who: Who,
    /// What its handshake goes by, at a server.
    pub(crate) security: Option<Security>,
    /// What opens and seals. The handshake that makes it goes on until it is open.
    pub(super) channel: Option<Channel>,
    /// The peer has ended its bytes.
    pub(super) ended: bool,
    /// When the handshake has to be over, if that is known.
    pub(crate) due: Option<Instant>,
    /// It was refused, and may say so much more.
    refused: Option<usize>,
}

impl PendingLink {
    pub(crate) fn new(socket: Socket, addr: SocketAddr, due: Option<Instant>) -> PendingLink {
        PendingLink {
            socket,
            addr,
            decoder: Decoder::default(),
            who: Who::Clear,
            security: None,
            channel: None,
            ended: false,
            due,
            refused: None,
        }
    }

    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| now >= due)
    }

    /// What is written from now on is sealed, and what was read was, too.
    pub(crate) fn secure(&mut self, mut channel: Channel) -> Result<(), Cause> {
        let read = std::mem::take(&mut self.decoder);
        channel.opener.append(read.unread());
        self.channel = Some(channel);
        self.open()
    }

    pub(crate) fn is_secured(&self) -> bool {
        self.channel.is_some()
    }

    /// Whether frames, or text, can be written.
    pub(crate) fn is_open(&self) -> bool {
        self.channel.as_ref().is_none_or(Channel::is_open)
    }

    /// Reads what is there. Returns whether more may follow.
    pub(crate) fn read(&mut self) -> Result<bool, Cause> {
        let space = match &mut self.channel {
            Some(channel) => channel.opener.space(&mut self.decoder),
            None => self.decoder.space(),
        };
        let n = match self.socket.try_read(space) {
            Ok(n) => n,
            Err(e) => match e.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => return Ok(true),
                _ => return Err(Cause::Io(Arc::new(e))),
            },
        };
        match &mut self.channel {
            Some(channel) => {
                channel.opener.filled(n);
                self.open()?;
            }
            None => self.decoder.filled(n),
        }
        Ok(n > 0)
    }

    /// Opens what was read, and goes on with the handshake. Its last flight is left to what is
    /// written next: a server that refuses us has read all that was written by then, so
    /// that its answer is not lost by a reset.
    fn open(&mut self) -> Result<(), Cause> {
        let Some(channel) = &mut self.channel else { return Ok(()) };
        let opened = channel.opener.open(&mut self.decoder);
        let mut written = Ok(());
        if channel.is_open() {
            self.who = channel.who();
        } else {
            let flight = channel.sealer.seal_now(&[]);
            if !flight.is_empty() {
                written = self.socket.try_write(&flight);
            }
        }
        self.ended = opened.end == Some(End::InOrder);
        match opened.end {
            Some(End::Broken(failure)) => Err(failure.into()),
            _ => written.map_err(|e| Cause::Io(Arc::new(e))),
        }
    }

    /// Whether frames may be exchanged with the peer: in clear, or if both have said so.
    pub(crate) fn speaks_longlink(&self) -> bool {
        self.channel.as_ref().is_none_or(Channel::speaks_longlink)
    }

    /// Whether the peer has begun to say something that is not whole, or not decoded.
    pub(crate) fn has_begun(&self) -> bool {
        let amid_record =
            self.channel.as_ref().is_some_and(|channel| channel.opener.is_amid_record());
        amid_record || self.decoder.first_byte().is_some()
    }

    /// Whether the peer has said more than was decoded.
    pub(crate) fn has_more(&self) -> bool {
        self.has_begun() || self.socket.has_bytes()
    }

    /// Whether the peer has said, sealed, that it says no more.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn write(&mut self, frame: &Frame) -> io::Result<()> {
        let bytes = frame.to_bytes();
        match &mut self.channel {
            Some(channel) => self.socket.try_write(&channel.sealer.seal_now(&bytes)),
            None => self.socket.try_write(&bytes),
        }
    }

    /// Says this, and no more.
    pub(crate) fn end(mut self, frame: &Frame) {
        let _ = self.write(frame);
        self.socket.shutdown(Shutdown::Write);
    }

    pub(crate) fn reject(self, rejection: Rejection) {
        self.end(&Frame::Reject(rejection.to_wire()));
    }

    /// Says no more. A socket that is closed with bytes unread is reset, and what was said
    /// last may be lost with that; so the peer is heard until it leaves.
    pub(crate) fn refuse(&mut self, now: Instant) {
        self.socket.shutdown(Shutdown::Write);
        (self.channel, self.decoder) = (None, Decoder::default());
        (self.due, self.refused) = (Some(now + REFUSED_FOR), Some(REFUSED_BYTES));
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Reads what a refused peer goes on to say. Returns whether more may follow.
    pub(crate) fn disregard(&mut self) -> bool {
        let more = self.read().unwrap_or(false);
        let said = self.decoder.unread().len();
        self.decoder.discard();
        self.refused = self.refused.and_then(|left| left.checked_sub(said));
        more && self.refused.is_some()
    }
}
