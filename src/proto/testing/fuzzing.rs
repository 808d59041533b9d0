//! What `cargo fuzz` calls, see `fuzz/`: each function makes of any bytes a run
//! of the core, and panics if something is not as it must be. The tests run
//! them, too.

mod account;
mod frame;
mod handshake;
mod opener;
mod peer;
pub(in crate::proto) mod plain;
mod speech;
#[cfg(test)]
mod tests;
mod watched;

use std::time::Instant;

/// The decoder, fed with any bytes in any pieces.
pub fn frame(bytes: &[u8]) {
    frame::run(bytes);
}

/// Two sessions that get on well, and hellos, welcomes and ends that neither of
/// them has said.
pub fn handshake(bytes: &[u8]) {
    handshake::run(bytes, origin());
}

/// The lines of plain text, in any pieces, beside a naive reading.
pub fn plain(bytes: &[u8]) {
    plain::run(bytes);
}

/// One end of a sealed link that hears anything, in any pieces.
pub fn opener(bytes: &[u8]) {
    opener::run(bytes);
}

/// One end of a link of TLS, whose peer is real, and seals and says anything.
#[cfg(all(feature = "tls", not(shuttle), not(miri)))]
pub fn tls(bytes: &[u8]) {
    crate::secure::fuzzing::tls(bytes);
}

/// A file that may be any of those that security is made from.
#[cfg(all(feature = "tls", not(shuttle), not(miri)))]
pub fn files(bytes: &[u8]) {
    crate::secure::fuzzing::files(bytes);
}

/// One session whose peer says anything, in any pieces.
pub fn peer(bytes: &[u8]) {
    peer::run(bytes, origin());
}

/// Two sessions on links that are cut anywhere: the simulation.
pub fn session(bytes: &[u8]) {
    super::sim::fuzzed(bytes, origin());
}

#[expect(clippy::disallowed_methods, reason = "one reading as the origin of a fake clock")]
fn origin() -> Instant {
    Instant::now()
}
