//! The pure core: no sockets, no clock, no threads. It speaks the wire that
//! follows.
//!
#![doc = include_str!("wire.md")]

pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod inbox;
pub(crate) mod outbox;
pub(crate) mod pulse;
pub(crate) mod session;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod worked_example;
