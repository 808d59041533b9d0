//! The application's side of plain text.

use bytes::Bytes;

use super::{PlainSession, as_line};
use crate::proto::frame::CloseCode;
use crate::proto::inbox::Received;
use crate::proto::report::{Payload, Status};
use crate::proto::spent::Spent;

impl PlainSession {
    /// Where it stands. Acknowledged is what was written: more there is not to know.
    #[inline]
    pub(crate) fn status(&self) -> Status {
        let written = self.outgoing.is_written() && (self.fin || !self.finished || !self.up);
        let parted = match self.closing {
            None => false,
            Some(CloseCode::Aborted) => true,
            // The peer has gone as well, or is not waited for.
            Some(_) => self.fin && self.eof,
        };
        Status {
            framed: false,
            generation: self.generation,
            max_message: self.limits.max_message as usize,
            own_max_message: self.limits.max_message,
            room: self.outgoing.room(),
            unacknowledged: self.outgoing.unwritten() as u64,
            unacknowledged_bytes: self.outgoing.unwritten_bytes() as u64,
            totals: self.totals,
            progress: self.progress,
            round_trip: None,
            // It does not outlive its link, and is not asked.
            has_received: false,
            has_item: self.eof || self.incoming.has_line(),
            may_read: self.may_read(),
            deaf: self.up && self.eof && !self.fin,
            owes_ack: false,
            counts_bytes: self.is_checking(),
            deadline: self.deadline(),
            finished: self.finished,
            acknowledged: written,
            complete: self.fin && self.over,
            closing: self.finished || self.closing.is_some(),
            // An end of the stream ends one direction, or is a lost link.
            closed_by_peer: None,
            end_told: self.fin || (self.closing.is_some() && !self.up),
            parted,
            has_spent: self.outgoing.has_spent(),
        }
    }

    pub(crate) fn feed(&mut self, message: &Payload<'_>) {
        self.totals.messages_sent += 1;
        self.totals.bytes_sent += message.len() as u64;
        let message = match message {
            Payload::Slice(bytes) => Bytes::copy_from_slice(bytes),
            Payload::Owned(bytes) => bytes.clone(),
        };
        self.outgoing.feed(as_line(message, self.incoming.is_crlf()));
    }

    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    pub(crate) fn take(&mut self) -> Option<Received> {
        if self.over {
            return Some(Received::End);
        }
        if let Some(line) = self.incoming.take() {
            self.totals.messages_received += 1;
            self.totals.bytes_received += line.len() as u64;
            return Some(Received::Message(line));
        }
        self.over = self.eof;
        self.over.then_some(Received::End)
    }

    pub(crate) fn take_many(&mut self, most: usize, to: &mut Vec<Bytes>) {
        let full = to.len().saturating_add(most);
        while to.len() < full
            && self.incoming.has_line()
            && let Some(Received::Message(line)) = self.take()
        {
            to.push(line);
        }
    }

    /// The application sends no more and takes no more.
    pub(crate) fn detach(&mut self) {
        self.finished = true;
        self.leaving = true;
        self.over |= self.eof && !self.incoming.has_line();
    }

    pub(crate) fn close(&mut self, code: CloseCode) {
        self.closing.get_or_insert(code);
    }

    pub(crate) fn take_unacknowledged(&mut self) -> Vec<Bytes> {
        if std::mem::replace(&mut self.taken, true) { Vec::new() } else { self.outgoing.kept() }
    }

    pub(crate) fn discard(&mut self) {
        self.incoming.discard();
        self.outgoing.discard();
    }

    /// What is to be dropped where that does no harm.
    pub(crate) fn spent(&mut self) -> &mut Spent {
        self.outgoing.spent()
    }
}
