#![doc = include_str!("../README.md")]
//!
//! # Guide
//!
//! A [`Connection`] is what both sides hold: the client gets one from
//! [`Connection::connect`] or, with settings, from [`Builder::connect`]; the
//! server one for each client from [`Listener::accept`]. From then on both
//! sides are the same. A *link* is one TCP connection; the *session* of a
//! `Connection` outlives it.
//!
//! ## Ending
//!
//! [`finish`](Connection::finish) ends one direction: the peer's
//! [`recv`](Connection::recv) returns `Ok(None)`, and it can still answer.
//! [`close`](Connection::close) does that and waits until the peer's
//! application has taken everything; only its `Ok(())` says that nothing is
//! open. A server whose handler simply returns from its loop on `Ok(None)` and
//! closes is right.
//!
//! ## Threads
//!
//! All methods take `&self`; share a `Connection` in an `Arc` or a scope.
//! The usual arrangement is one thread that receives and any number that send.
//! To process messages on several threads and keep the promise for a restarted
//! server, receive the next message only when the last is processed, as
//! explained at [`Connection`].
//!
//! The library starts one thread per client `Connection` and one per
//! [`Listener`], however many clients that has: they send heartbeats, come
//! back, and call the [event callback](Builder::on_event).
//! While your thread waits in `recv`, it reads the socket itself.
//!
//! ## Blocking
//!
//! | call | blocks while | ends in time by |
//! | --- | --- | --- |
//! | [`connect`](Builder::connect) | attempts are left | the [`RetryPolicy`] and the [connect timeout](Builder::connect_timeout) |
//! | [`send`](Connection::send), [`feed`](Connection::feed) | the [window](Builder::window) is full | [`send_timeout`](Connection::send_timeout), [`try_send`](Connection::try_send) |
//! | [`recv`](Connection::recv) | the peer lives and says nothing | [`recv_timeout`](Connection::recv_timeout), [`try_recv`](Connection::try_recv) |
//! | [`sync`](Connection::sync) | the peer has not acknowledged everything | its argument |
//! | [`close`](Connection::close) | the same | the [close timeout](Builder::close_timeout) |
//! | [`accept`](Listener::accept) | nobody comes | [`Listener::close`] |
//!
//! A lost link ends none of these calls. They go on when a new one is found,
//! or fail when the attempts are spent. Two applications that both send and
//! never receive block each other once both windows are full, although their
//! heartbeats go on: receive on a thread of its own, or use the calls that do
//! not block.
//!
//! ## Errors
//!
//! An [`Error`] either leaves the connection as it was, or
//! [is final](Error::is_final). After a final one,
//! [`take_unacknowledged`](Connection::take_unacknowledged) hands back what the
//! peer has not confirmed, for another connection or a file. A timeout is an
//! error; `Ok(None)` is the peer's end and nothing else. What happens to the
//! link meanwhile is not an error but an [`Event`], with a [`Cause`].
//!
//! ## Limits
//!
//! A connection keeps at most its window (1 MiB) and one message (256 KiB) in
//! each direction, whatever the other side does. A listener has at most
//! [`max_clients`](Builder::max_clients) sessions, lost ones included, and keeps
//! a lost one for [`resume_within`](Builder::resume_within). All of them are in
//! [`Builder`]; the smaller limit of both sides counts.
//!
//! The crate logs through [`log`](https://docs.rs/log): what a listener refuses or drops at
//! info, what needs an operator at warn and error, the rest at debug. It never
//! logs what is in a message.
//!
//! What goes over the wire is specified in [`wire`].

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod config;
mod connection;
mod dial;
mod door;
mod error;
mod event;
#[cfg(test)]
mod herd;
mod keeper;
mod link;
mod listener;
#[cfg(shuttle)]
mod model;
#[cfg_attr(shuttle, path = "model/net.rs")]
mod net;
mod proto;
mod protocol;
mod retry;
mod sync;
mod waker;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use proto::fuzzing;

pub use bytes::Bytes;

pub use config::{Builder, Heartbeat, Host, ToHosts};
pub use connection::{Connection, Incoming, Stats};
pub use error::{Cause, Error, Rejection, Result};
pub use event::Event;
pub use listener::{Accepted, Listener};
pub use protocol::{Plain, Protocol};
pub use retry::RetryPolicy;

/// What goes over the wire.
pub mod wire {
    #![doc = include_str!("proto/wire.md")]
}
