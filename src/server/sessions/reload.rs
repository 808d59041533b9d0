//! A listener goes by other security: whose sessions end, and who is still let in.

use super::Sessions;
use crate::error::Cause;
use crate::foreign;
use crate::link::{PendingLink, Shared};
use crate::secure::Security;
use crate::sync;

impl Sessions {
    /// Goes by other security, if the listener was given some. The sessions whose clients that
    /// does not let in end, also those that are lost, or wait to be accepted: a few in a turn.
    pub(in crate::server) fn look_at_reload(&mut self) {
        if self.builder.security.is_none() {
            // In clear text there is nothing to reload.
            return;
        }
        if let Some((security, number)) = self.queue.take_reload() {
            self.builder.security = Some(security);
            self.unjudged = self.entries.all().map(|shared| shared.id()).collect();
            self.reload = number;
        } else if self.unjudged.is_empty() {
            return;
        }
        let then = sync::now();
        while let Some(id) = self.unjudged.pop() {
            self.judge(id);
            if sync::now() - then >= self.turn {
                break;
            }
        }
        self.queue.reloads_on(self.reload, self.unjudged.is_empty());
    }

    /// Ends a session whose client is not trusted.
    fn judge(&mut self, id: u64) {
        let Some(shared) = self.entries.get(id).cloned() else { return };
        if !self.trusts_client_of(&shared) {
            let peer = shared.lock().peer();
            foreign::log!(info, "{peer}: its session ends, it is no longer trusted");
            self.end(&shared, Cause::Revoked);
        }
    }

    /// What counts is what the client was let in by last.
    pub(super) fn trusts_client_of(&self, shared: &Shared) -> bool {
        // The lock is not held meanwhile.
        let who = shared.lock().who().clone();
        self.builder.security.as_ref().is_none_or(|security| security.trusts(&who))
    }

    /// Whether a peer is still trusted, whose handshake may have begun by other security. It
    /// learns what it has to know when it comes back.
    pub(super) fn trusts(&self, peer: &PendingLink) -> bool {
        let trusts = |security: &Security| {
            peer.security.as_ref().is_some_and(|by| by.is(security)) || security.trusts(&peer.who)
        };
        let trusted = self.builder.security.as_ref().is_none_or(trusts);
        if !trusted {
            foreign::log!(info, "{}: dropped, it is trusted no more", peer.addr);
        }
        trusted
    }
}
