//! What tests and fuzzes the core, and is no part of it: the simulation, what `cargo fuzz`
//! calls, and the example of `wire.md`.

use super::frame::{HEADER, put_header};

mod choices;
pub mod fuzzing;
pub(crate) mod sim;
#[cfg(test)]
mod worked_example;

#[cfg(all(feature = "tls", not(shuttle), not(miri)))]
pub(crate) use choices::Choices;
#[cfg(test)]
pub(crate) use choices::rounds;

/// A frame with more behind what is known of its body, as a later peer may say it.
fn longer(frame: &[u8], more: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_header(&mut bytes, frame[0], frame.len() - HEADER + more.len());
    bytes.extend([&frame[HEADER..], more].concat());
    bytes
}
