//! The application's side of plain text.

use bytes::Bytes;

use super::{PlainSession, Unanswered, as_line};
use crate::proto::frame::CloseCode;
use crate::proto::inbox::Item;
use crate::proto::report::Totals;
use crate::proto::spent::Spent;

impl PlainSession {
    pub(crate) fn max_message(&self) -> usize {
        self.limits.max_message as usize
    }

    pub(crate) fn has_room(&self) -> bool {
        self.has_room_behind(0)
    }

    pub(crate) fn has_room_behind(&self, cost: usize) -> bool {
        self.outgoing.has_room_behind(cost)
    }

    pub(crate) fn feed(&mut self, message: &[u8]) {
        self.feed_bytes(Bytes::copy_from_slice(message));
    }

    pub(crate) fn feed_bytes(&mut self, message: Bytes) {
        self.totals.messages_sent += 1;
        self.totals.bytes_sent += message.len() as u64;
        self.outgoing.feed(as_line(message, self.incoming.is_crlf()));
    }

    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    pub(crate) fn take(&mut self) -> Option<Item> {
        if self.over {
            return Some(Item::End);
        }
        if let Some(line) = self.incoming.take() {
            self.totals.messages_received += 1;
            self.totals.bytes_received += line.len() as u64;
            return Some(Item::Message(line));
        }
        self.over = self.eof;
        self.over.then_some(Item::End)
    }

    pub(crate) fn take_many(&mut self, most: usize, to: &mut Vec<Bytes>) {
        let full = to.len().saturating_add(most);
        while to.len() < full
            && self.incoming.has_line()
            && let Some(Item::Message(line)) = self.take()
        {
            to.push(line);
        }
    }

    pub(crate) fn has_item(&self) -> bool {
        self.eof || self.incoming.has_line()
    }

    /// The application sends no more and takes no more.
    pub(crate) fn leave(&mut self) {
        self.finished = true;
        self.leaving = true;
        self.over |= self.eof && !self.incoming.has_line();
    }

    pub(crate) fn close(&mut self, code: CloseCode) {
        self.closing.get_or_insert(code);
    }

    /// Both directions have ended, and everything was taken.
    pub(crate) fn is_complete(&self) -> bool {
        self.fin && self.over
    }

    /// Whether everything that was sent is written: more there is not to know.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.outgoing.is_written() && (self.fin || !self.finished || !self.up)
    }

    pub(crate) fn unacknowledged(&self) -> u64 {
        self.outgoing.unwritten() as u64
    }

    pub(crate) fn unacknowledged_bytes(&self) -> u64 {
        self.outgoing.unwritten_bytes() as u64
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.totals.messages_sent - self.unacknowledged()
    }

    pub(crate) fn take_unacknowledged(&mut self) -> Vec<Bytes> {
        if std::mem::replace(&mut self.taken, true) { Vec::new() } else { self.outgoing.kept() }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.finished || self.closing.is_some()
    }

    /// Nothing is left to tell the peer.
    pub(crate) fn has_told_end(&self) -> bool {
        self.fin || (self.closing.is_some() && !self.up)
    }

    /// The link has served: the peer has gone as well, or is not waited for.
    pub(crate) fn has_parted(&self) -> bool {
        match self.closing {
            None => false,
            Some(CloseCode::Aborted) => true,
            Some(_) => self.fin && self.eof,
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    pub(crate) fn discard(&mut self) {
        self.incoming.discard();
        self.outgoing.discard();
        self.forget_unanswered();
    }

    /// What is to be dropped where that does no harm.
    pub(crate) fn spent(&mut self) -> &mut Spent {
        self.outgoing.spent()
    }

    pub(crate) fn has_spent(&self) -> bool {
        self.outgoing.has_spent()
    }

    pub(super) fn forget_unanswered(&mut self) {
        let unanswered = self.take_unanswered();
        self.spent().extend(unanswered.lines);
    }

    /// What is not known of the last link's lines, once.
    pub(crate) fn take_unanswered(&mut self) -> Unanswered {
        std::mem::take(&mut self.unanswered)
    }
}
