//! The pure core: no sockets, no clock, no threads. It speaks the wire that
//! follows.
//!
#![doc = include_str!("wire.md")]

pub(crate) mod away;
pub(crate) mod batch;
pub(crate) mod buffer;
pub(crate) mod close;
pub(crate) mod closing;
pub(crate) mod cost;
pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod heartbeat;
pub(crate) mod held;
pub(crate) mod inbox;
pub(crate) mod loss;
pub(crate) mod numbers;
pub(crate) mod outbox;
pub(crate) mod plain;
pub(crate) mod protocol;
pub(crate) mod pulse;
pub(crate) mod reject;
pub(crate) mod report;
pub(crate) mod session;
pub(crate) mod skippable;
pub(crate) mod spent;
#[cfg(any(test, fuzzing))]
pub(crate) mod testing;

/// The peer broke the protocol. Its link ends; nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) &'static str);
