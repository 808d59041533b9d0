//! The application's side of plain text.

use bytes::Bytes;

use super::{PlainSession, Role};
use crate::proto::close::CloseCode;
use crate::proto::inbox::Received;
use crate::proto::report::{Payload, Status};
use crate::proto::spent::Spent;

impl PlainSession {
    /// Where it stands. What is written counts as acknowledged: more cannot be known.
    #[inline(always)]
    pub(crate) fn status(&self) -> Status {
        let (unwritten, link) = (self.outgoing.unwritten(), &self.link);
        Status {
            framed: false,
            generation: self.generation,
            max_message: self.limits.max_message as usize,
            own_max_message: self.limits.max_message,
            room: (self.limits.window as usize).saturating_sub(unwritten.cost()),
            unacknowledged: unwritten.frames.max(self.totals.given_back()),
            unacknowledged_bytes: unwritten.bytes,
            totals: self.totals,
            moved: link.moved,
            round_trip: None,
            // Asked of a server's session without a link. This one has ended with its link.
            has_received: false,
            has_next: self.eof || self.incoming.has_line(),
            may_read: self.may_read(),
            deaf: self.up && self.eof && !link.fin,
            owes_ack: false,
            counts_bytes: matches!(&self.role, Role::Client(patience) if patience.is_checking()),
            finished: self.finished,
            acknowledged: self.outgoing.is_written()
                && (link.fin_sent || !self.finished || !self.up),
            complete: link.fin && self.over,
            closing: self.finished || self.closing.is_some(),
            // An end of the stream ends one direction, or is a lost link.
            closed_by_peer: false,
            end_told: link.fin_sent || (self.closing.is_some() && !self.up),
            parted: match &self.closing {
                None => false,
                Some(CloseCode::Aborted) => true,
                // The streams of both have ended.
                Some(_) => link.fin && self.eof,
            },
            has_spent: !self.outgoing.spent.is_empty(),
        }
    }

    pub(crate) fn feed(&mut self, message: &Payload<'_>) {
        self.totals.messages_sent += 1;
        self.totals.bytes_sent += message.len() as u64;
        self.outgoing.feed(self.as_line(message));
    }

    /// A message with the newline that the peer expects.
    fn as_line(&self, message: &Payload<'_>) -> Bytes {
        let line = self.text_and_newline(message.as_slice());
        match message {
            Payload::Owned(line) if line.ends_with(self.newline()) => line.clone(),
            _ => line.concat().into(),
        }
    }

    /// How long it is.
    pub(crate) fn line_len(&self, message: &[u8]) -> usize {
        self.text_and_newline(message).map(<[u8]>::len).iter().sum()
    }

    fn text_and_newline<'a>(&self, message: &'a [u8]) -> [&'a [u8]; 2] {
        let newline = self.newline();
        let text = message.strip_suffix(newline).or(message.strip_suffix(b"\n"));
        [text.unwrap_or(message), newline]
    }

    fn newline(&self) -> &'static [u8] {
        if self.incoming.is_crlf() { b"\r\n" } else { b"\n" }
    }

    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    pub(crate) fn take(&mut self) -> Option<Received> {
        if let Some(line) = self.take_line() {
            return Some(Received::Message(line));
        }
        self.over = self.eof;
        self.over.then_some(Received::End)
    }

    pub(crate) fn take_many(&mut self, most: usize, to: &mut Vec<Bytes>) {
        to.extend(std::iter::from_fn(|| self.take_line()).take(most));
    }

    fn take_line(&mut self) -> Option<Bytes> {
        let line = self.incoming.take()?;
        self.totals.messages_received += 1;
        self.totals.bytes_received += line.len() as u64;
        Some(line)
    }

    /// The application sends no more and takes no more.
    pub(crate) fn detach(&mut self) {
        self.finished = true;
        self.leaving = true;
    }

    pub(crate) fn close(&mut self, code: CloseCode) {
        self.closing.get_or_insert(code);
    }

    /// The lines that are not written, once.
    pub(crate) fn take_unacknowledged(&mut self) -> Vec<Bytes> {
        self.totals.give_back(|| self.outgoing.kept())
    }

    pub(crate) fn discard(&mut self) {
        self.incoming.discard();
        self.outgoing.discard();
    }

    /// What is to be dropped where that does no harm.
    pub(crate) fn spent(&mut self) -> &mut Spent {
        &mut self.outgoing.spent
    }
}
