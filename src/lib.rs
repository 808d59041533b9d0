#![doc = include_str!("readme.md")]
//!
//! # Guide
//!
//! A [`Connection`] is what both sides hold: the client gets one from
//! [`Connection::connect`] or, with settings, from [`Builder::connect`]; the
//! server one for each client from [`Listener::accept`]. From then on both
//! sides are the same. A *link* is one TCP connection; the *session* of a
//! `Connection` outlives it.
//!
//! ## Beginning
//!
//! A client may say who it is or what it wants, with its [`greeting`](Builder::greeting). The
//! server [reads it](Connection::greeting) when it has accepted the connection, before any
//! message; after it was killed, too, before what is sent again. It may
//! [refuse](Connection::refuse) the client, and say why. The example `named_chat` does both.
//!
//! ## Ending
//!
//! [`finish`](Connection::finish) ends one direction: the peer's
//! [`recv`](Connection::recv) returns `Ok(None)`, and it can still answer.
//! [`close`](Connection::close) does that and waits until the peer's
//! application has taken everything; only its `Ok(())` says that nothing is
//! open. A server whose handler simply returns from its loop on `Ok(None)` and
//! closes is right. Before a server's process ends, [`drain`](Listener::drain)
//! waits for its handlers; or [`restart`](Listener::restart) tells clients when to come back.
//!
//! Code that reads and writes bytes, not messages, is given
//! [`stream`](Connection::stream).
//!
//! ## Threads
//!
//! All methods take `&self`; give each thread a clone of the `Connection`, or
//! share it in a scope.
//! The usual arrangement is one thread that receives and any number that send.
//! To process messages on several threads and keep the promise for a restarted
//! server, receive them by [`recv_held`](Connection::recv_held) and give them to the
//! others: each says when it is [done](Held::done), in any order, as the example
//! `request_reply` shows. With
//! [`recv`](Connection::recv), receive the next message only when the last is processed,
//! as explained at [`Connection`].
//!
//! The library starts one thread per client `Connection`, when the first link is up (before,
//! if there is an [event callback](Builder::on_event)), and one per [`Listener`], however many
//! clients that has: they send heartbeats, come back, write what is sent in a row, and call
//! the callback. While a client looks up names, each has a thread, too.
//! While your thread waits in `recv`, it reads the socket itself, and in `connect` it makes
//! the first link.
//!
//! ## Blocking
//!
//! | call | blocks while | ends in time by |
//! | --- | --- | --- |
//! | [`connect`](Builder::connect) | attempts are left | the [`RetryPolicy`] and the [connect timeout](Builder::connect_timeout) |
//! | [`send`](Connection::send), [`feed`](Connection::feed), and those that send numbered or many | the [window](Builder::window) is full | [`send_timeout`](Connection::send_timeout), [`try_send`](Connection::try_send) |
//! | [`recv`](Connection::recv), and those that receive numbered, many or [held](Connection::recv_held) | the peer lives and says nothing | [`recv_timeout`](Connection::recv_timeout), [`try_recv`](Connection::try_recv) |
//! | [`sync`](Connection::sync) | the peer has not acknowledged everything | its argument |
//! | [`close`](Connection::close) | the same | the [close timeout](Builder::close_timeout) while a live peer takes nothing; the retry policy, or the [time to resume](Builder::resume_within), in an outage; [`close_within`](Connection::close_within) in any case |
//! | [`accept`](Listener::accept) | no new client comes | [`Listener::close`] |
//! | [`drain`](Listener::drain) | connections that were accepted are open | its argument |
//! | [`restart`](Listener::restart) | clients have not heard it | itself, after 0.3 s |
//!
//! In an [event callback](Builder::on_event) none of them blocks:
//! [`Error::WouldBlock`] is returned instead.
//!
//! A lost link ends none of these calls. They go on when a new one is found,
//! or fail when the attempts are spent. Two applications that both send and
//! never receive block each other once both windows are full, although their
//! heartbeats go on: receive on a thread of its own, or use the calls that do
//! not block.
//!
//! A time-out may end late on Linux, by up to an eighth of its time, and never
//! early: a thread that waits for the peer reads the socket itself, so the wait
//! is the kernel's (`SO_RCVTIMEO`, [socket(7)](https://man7.org/linux/man-pages/man7/socket.7.html)),
//! whose timers are the coarser the longer they run (`kernel/time/timer.c`).
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
//! ## Exactly once
//!
//! Within a session each message arrives once. When a server is killed, its sessions are
//! gone, and what was not acknowledged is [sent again](Event::SessionLost) in a new one: the
//! server may have processed it. When a client is killed, what it had sent and the server had
//! not processed is gone, unless the client has stored it. Two applications that have a
//! database each can process every message exactly once all the same, whichever of them is
//! killed, since a message keeps its number through all sessions and processes. This crate
//! stores nothing.
//!
//! The client draws a [`client_id`](Builder::client_id) once, and stores it. It stores each
//! message under its number before it [sends](Connection::send_numbered) it, and forgets it
//! when it is [acknowledged](Connection::acknowledged_number). A new process goes on with
//! the first that is stored as its [`first_number`](Builder::first_number), and sends those
//! that are stored, the same under the same numbers.
//!
//! The server keeps the number of the last message that it has processed of each client, and
//! [receives](Connection::recv_numbered) like this:
//!
//! ```
//! # use longlink::{Bytes, Connection, PeerIdentity};
//! # type Client = (Option<PeerIdentity>, [u8; 16]);
//! # struct Transaction(u64);
//! # impl Transaction {
//! #     fn last(&self, _: &Client) -> u64 { self.0 }
//! #     fn set_last(&mut self, _: &Client, last: u64) { self.0 = last }
//! #     fn apply(&mut self, _: &Bytes) {}
//! #     fn commit(self) -> std::io::Result<()> { Ok(()) }
//! # }
//! # struct Database;
//! # impl Database { fn begin(&self) -> Transaction { Transaction(0) } }
//! fn serve(connection: &Connection, database: &Database) -> Result<(), Box<dyn std::error::Error>> {
//!     let id = connection.client_id().ok_or("a client without an id")?;
//!     let client = (connection.peer_identity(), id); // another identity is another client
//!     while let Some((number, message)) = connection.recv_numbered()? {
//!         let mut transaction = database.begin();
//!         let last = transaction.last(&client); // 0 if there is none
//!         if number <= last {
//!             continue; // it was processed before, and is acknowledged now
//!         }
//!         if number > last + 1 {
//!             return Err("messages are missing: another database, or an older one?".into());
//!         }
//!         transaction.apply(&message);
//!         transaction.set_last(&client, number);
//!         transaction.commit()?; // the effect and the number, or neither
//!     } // coming back for the next one acknowledges
//!     Ok(())
//! }
//! # let listener = longlink::Listener::bind("127.0.0.1:0")?;
//! # let client = Connection::connect(listener.local_addr())?;
//! # client.send("message")?;
//! # client.finish()?;
//! # serve(&listener.accept()?, &Database).unwrap();
//! # Ok::<(), longlink::Error>(())
//! ```
//!
//! It is the transaction that decides, whatever else is going on. A listener has one
//! connection of a client at a time: a new one ends the one before, whose calls then fail
//! with [`Cause::Replaced`], before it is accepted. But a handler may be in the middle of its
//! transaction then; and several servers, which share a database, do not know of each other's
//! connections. So the last number is read and written in the transaction that has the
//! effect, one that the database lets no other interfere with: serializable, or with the
//! client's row locked. A key that is unique, of client and number, makes sure of it.
//!
//! Of several at once, [`recv_many_numbered`](Connection::recv_many_numbered) tells the
//! numbers, and one transaction serves for all.
//!
//! **A client id is a secret**, and every server that the client connects to learns it. Without
//! [security](#security) it goes over the network in clear text. Whoever learns it can end the
//! client's connection, and send in its name, so that the last number is pushed ahead and the
//! client's own messages are skipped. With security, keep what is kept for a client under its
//! [identity](Connection::peer_identity) and its id: nobody else has both.
//!
//! ## Tuning the heartbeat
//!
//! Something between the two sides forgets silent links: a NAT, a firewall, a
//! balancer. A heartbeat that comes more often than they forget keeps the link;
//! how soon a dead peer is noticed is interval times misses.
//!
//! | between you | forgets an idle link after | heartbeat |
//! | --- | --- | --- |
//! | nothing, or a switched network | never | the default, 10 s; what counts is how soon a death is to be noticed |
//! | a NAT that keeps to [RFC 5382](https://www.rfc-editor.org/rfc/rfc5382), REQ-5 | 2 h 4 min at the least | the default |
//! | home routers and carriers' NATs that do not (a rule of thumb, not a standard) | a few minutes | at most 60 s |
//! | a balancer or proxy | its idle timeout, often about a minute | less than half of it |
//!
//! On a battery, what a heartbeat costs is not its few bytes but the radio that
//! wakes for it and stays up for seconds. There, take the longest interval that
//! the network stands, and fewer misses rather than a shorter interval:
//! `Heartbeat::every(Duration::from_secs(240)).misses(2)` notices a death within
//! eight minutes. Measure on the network in question: [`Event::Lost`] again and
//! again after the same idle time is a NAT that forgets sooner. Between heartbeats
//! nothing is sent: the kernel's keepalive is off where a side has heartbeats, except over
//! plain text.
//!
//! Give a client that may be away for longer (a tunnel, a flight) a
//! [`RetryPolicy`] that goes on for as long, and its listener a
//! [`resume_within`](Builder::resume_within) to match. One that goes on
//! [while the session is kept](RetryPolicy::while_kept) needs no other number.
//!
//! ## What happens when ...
//!
//! With default settings, and in frames at both ends:
//!
//! | situation | what you see |
//! | --- | --- |
//! | the cable is out for less than the heartbeat grants | nothing; TCP sends again by itself, see [After an outage](#after-an-outage) |
//! | it is out for longer | [`Event::Lost`] after 30 s of silence on the client, 40 s on the server; the client tries again, and [`Event::Resumed`] when it succeeds |
//! | a NAT forgot the link | the same as a cable that is out, or a reset at once, if the NAT sends one |
//! | the server is killed | its kernel closes the socket, so [`Event::Lost`] at once; five attempts in some 12 s; then [`Error::GaveUp`] |
//! | it is started again meanwhile | [`Event::SessionLost`]: what was not acknowledged is sent again, and may be processed twice. With [`SessionLoss::GiveUp`], [`Error::SessionLost`] instead |
//! | the server [restarts](Listener::restart) | [`Event::Lost`] with [`Cause::Restarting`]; the client comes back when the server has said, at another host at once, and then as after a kill |
//! | a secured link is a day old | [`Event::Lost`] with [`Cause::Aged`], and [`Event::Resumed`] at once: nothing is lost, and who is no longer trusted does not come back |
//! | the server's machine loses power | as a cable that is out, and then as a server that was started again |
//! | the client process is stopped (`SIGSTOP`) for longer than 40 s | the server loses the link, and keeps the session for [`resume_within`](Builder::resume_within); a client continued in time resumes |
//! | an application never receives | its peer's window fills, and [`send`](Connection::send) blocks there; heartbeats go on, and neither side is taken for dead |
//! | both applications only send | both block once both windows are full, see [Blocking](#blocking) |
//! | the peer closes before it has read everything | what had arrived is handed out; then [`Error::PeerClosed`] |
//! | the server's application [refuses](Connection::refuse) a client | what had arrived is handed out; then [`Error::Refused`] with a code and a text. No host is asked any more, and a client whose link is lost at the moment hears it when it comes back |
//! | a handler panics | its connection is aborted as the panic unwinds: the peer gets [`Error::PeerClosed`] with the message that was being processed among the unacknowledged |
//! | a worker drops a message that it [holds](Held), or panics with it | the connection ends, and the peer gets [`Error::PeerClosed`] with that message, and what came behind it, among the unacknowledged |
//! | a process exits without [`close`](Connection::close) | what was not written is lost with it, be it sent or flushed. A server that lives loses the link, and gives the session up after `resume_within`; a client reconnects |
//! | the machine is suspended, and wakes | every link is [checked](Connection::check), on Linux at once, elsewhere with the next heartbeat; those that died meanwhile are [`Event::Lost`] within the [connect timeout](Builder::connect_timeout), and a client that waits for its next attempt makes one at once |
//! | the clock jumps | nothing: all times are measured on the monotonic clock, which stands still while the machine is suspended. Outside Linux a jump ahead is taken for a suspend, which costs a check |
//!
//! ## After an outage
//!
//! What was under way when the path failed is sent again by the kernel, at intervals
//! that double. On Linux since 6.15 they double up to the heartbeat's interval, but at
//! least 10 s, elsewhere up to a minute or two (`TCP_RTO_MAX`), and nothing that this
//! crate can set changes that. So much later than the path may a link be back that
//! outlives an outage. To make a new one takes no more than seconds: choose a
//! heartbeat that grants less than such an outage; or call
//! [`check`](Connection::check) when the path is back, after which a link that does
//! not move is lost within the connect timeout, and made again.
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

// rustdoc lists the methods of a type in the order of these lines: what opens stands before
// what sets, in the page of `Builder`.
mod listener;

mod connection;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod client;
mod config;
mod driver;
mod error;
mod event;
mod foreign;
mod host;
mod identity;
mod link;
#[cfg_attr(shuttle, path = "testing/model/net.rs")]
mod net;
mod proto;
mod protocol;
mod retry;
mod secure;
mod server;
mod stats;
mod stream;
mod sync;
#[cfg(any(test, shuttle))]
mod testing;
mod words;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use proto::testing::fuzzing;

pub use bytes::Bytes;

pub use config::Builder;
pub use connection::{Connection, Held, Incoming, Taken, WeakConnection};
pub use error::{Cause, Error, Rejection, Result};
pub use event::Event;
pub use host::{Host, ToHosts};
pub use identity::{Fingerprint, ParseFingerprintError, PeerIdentity};
pub use listener::{Accepted, Listener};
pub use proto::heartbeat::Heartbeat;
pub use proto::loss::SessionLoss;
pub use protocol::{Plain, Protocol};
pub use retry::RetryPolicy;
#[cfg(feature = "tls")]
pub use secure::{Identity, Security, Trust};
pub use stats::Stats;
pub use stream::{Stream, StreamReader, StreamWriter};
#[cfg(feature = "tls")]
#[doc(hidden)]
pub use words::shell_word;
#[doc(hidden)]
pub use words::{count, humane, messages};

/// What goes over the wire.
pub mod wire {
    #![doc = include_str!("proto/wire.md")]
}
