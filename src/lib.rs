//! Long-lived TCP connections that survive everything.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod config;
mod connection;
mod dial;
mod door;
mod error;
mod event;
mod keeper;
mod link;
mod listener;
mod net;
mod proto;
mod retry;
mod sync;

pub use bytes::Bytes;

pub use config::{Builder, Heartbeat, Host, ToHosts};
pub use connection::{Connection, Incoming, Stats};
pub use error::{Cause, Error, Rejection, Result};
pub use event::Event;
pub use listener::{Accepted, Listener};
pub use retry::RetryPolicy;

/// What goes over the wire.
pub mod wire {
    #![doc = include_str!("proto/wire.md")]
}
