//! The pure core: no sockets, no clock, no threads.
pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod inbox;
pub(crate) mod outbox;
pub(crate) mod pulse;
pub(crate) mod session;
