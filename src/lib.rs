#![doc = include_str!("readme.md")]
//!
//! # Guide
//!
//! ## How do I ...
//!
//! | Question | Answer | Example |
//! | --- | --- | --- |
//! | send a request and get its reply? | Number the requests. One thread of the client receives, and hands each reply to the call that waits for it. The server [holds](Connection::recv_held) a request until it has answered. | [`request_reply`] |
//! | log in? | With [keys](#security) a client proves who it is while its link is made. What it wants, it says in its [`greeting`](Builder::greeting), and the server may [`refuse`](Connection::refuse) it. | [`chat`] |
//! | know who the peer is? | [`peer_identity`](Connection::peer_identity): the name that you gave to its key, or the name in its certificate. In clear text it is `None`: nobody can prove anything. | [`chat`] |
//! | send to many clients? | Keep a clone of each [`Connection`], and [`try_send`](Connection::try_send) to each. A slow client slows nobody: it misses what its window has no room for. | [`chat`] |
//! | send and never wait for the network? | [`try_send`](Connection::try_send). The [`window`](Builder::window) is the queue of an outage: what does not fit is yours to drop or to store. | [`telemetry`] |
//! | carry bytes, not messages? | [`stream`](Connection::stream) is `Read`, `BufRead` and `Write`, for code that was written for a `TcpStream`. | [`stream`] |
//! | stop a client cleanly? | [`close`](Connection::close). Its `Ok(())` says that the server is done with every message. | [`shutdown`] |
//! | stop a server cleanly? | [`drain`](Listener::drain) accepts no new client, and waits until the connections that are open have ended. | [`shutdown`] |
//! | restart a server? | [`restart`](Listener::restart) tells every client when to come back. What was not acknowledged is sent again then. | [`shutdown`] |
//! | survive a crash, and process each message exactly once? | Keep the [number](Connection::recv_numbered) of the last message in your database, in one transaction with its effect: see [Exactly once](#exactly-once). | `ledger` |
//! | watch a connection? | [`on_event`](Builder::on_event) tells of each loss, attempt and return. [`stats`](Connection::stats) counts messages, bytes and reconnections. | [`events`] |
//!
//! The examples are whole programs, in the folder `examples/` of this package.
//! `cargo run --example NAME` shows one at work: it starts its two sides as two processes. By hand,
//! each in a terminal of its own, they are started by
//!
//! ```sh
//! cargo run --example NAME -- server 127.0.0.1:7000
//! cargo run --example NAME -- client 127.0.0.1:7000
//! ```
//!
//! Only `ledger` is a package of its own, in the repository: it needs a database.
//!
//! [`chat`]: https://docs.rs/crate/longlink/latest/source/examples/chat.rs
//! [`events`]: https://docs.rs/crate/longlink/latest/source/examples/events.rs
//! [`request_reply`]: https://docs.rs/crate/longlink/latest/source/examples/request_reply.rs
//! [`shutdown`]: https://docs.rs/crate/longlink/latest/source/examples/shutdown.rs
//! [`stream`]: https://docs.rs/crate/longlink/latest/source/examples/stream.rs
//! [`telemetry`]: https://docs.rs/crate/longlink/latest/source/examples/telemetry.rs
//!
//! ## Beginning
//!
//! A [`Connection`] is what both sides hold. The client gets one from [`Connection::connect`] or, with
//! settings, from [`Builder::connect`]. The server gets one for each client from
//! [`Listener::accept`]. From then on both sides are the same. A *link* is one TCP connection. The
//! *session* of a `Connection` outlives its links.
//!
//! A client may say who it is or what it wants in its [`greeting`](Builder::greeting). The server
//! [reads it](Connection::greeting) when it has accepted the connection, before any message. It can
//! do so in each session: also after it was killed, before the messages that are sent again. It may
//! [refuse](Connection::refuse) the client, and say why.
//!
//! ## Ending
//!
//! [`finish`](Connection::finish) ends one direction: the peer's [`recv`](Connection::recv) returns
//! `Ok(None)`, and the peer can still answer. [`close`](Connection::close) does the same, and waits
//! until the peer's application has taken everything. Only its `Ok(())` says that every message was
//! processed. A handler in a server does right if it leaves its loop on `Ok(None)` and closes.
//!
//! Before the process of a server ends, [`drain`](Listener::drain) waits for its handlers. If the
//! server is started again soon, [`restart`](Listener::restart) tells the clients when to come back.
//!
//! ## Threads
//!
//! All methods take `&self`. Give each thread a clone of the `Connection`, or share it in a scope. As a
//! rule one thread receives, and any number of them send.
//!
//! With [`recv`](Connection::recv), receive the next message only when the last one is processed: that
//! acknowledges it, as explained at [`Connection`]. To process messages on several threads, receive
//! them by [`recv_held`](Connection::recv_held) and hand them to the others. Each of these says when it
//! is [done](Held::done), in any order, and a server that is killed loses none of them. The example
//! `request_reply` has such a pool.
//!
//! The library starts one thread for each client `Connection`, when the first link is up (earlier if
//! there is an [event callback](Builder::on_event)), and one for each [`Listener`], however many
//! clients that has. These threads send heartbeats, make lost links again, write messages that are sent
//! in quick succession, and call the callback. While a client looks up names, each name has a thread,
//! too. A thread of yours that waits in `recv` reads the socket itself, and one in `connect` makes the
//! first link.
//!
//! ## Blocking
//!
//! | call | blocks while | ends in time by |
//! | --- | --- | --- |
//! | [`connect`](Builder::connect) | attempts are left | the [`RetryPolicy`] and the [connect timeout](Builder::connect_timeout) |
//! | [`send`](Connection::send), [`feed`](Connection::feed), and those that send numbered or many | the [window](Builder::window) is full | [`send_timeout`](Connection::send_timeout), [`try_send`](Connection::try_send) |
//! | [`recv`](Connection::recv), and those that receive numbered, many or [held](Connection::recv_held) | the peer is alive and sends nothing | [`recv_timeout`](Connection::recv_timeout), [`try_recv`](Connection::try_recv) |
//! | [`sync`](Connection::sync) | the peer has not acknowledged everything | its argument |
//! | [`close`](Connection::close) | the peer has not acknowledged everything | the [close timeout](Builder::close_timeout) while a live peer takes nothing; in an outage the retry policy, or the [time to resume](Builder::resume_within); [`close_within`](Connection::close_within) in any case |
//! | [`accept`](Listener::accept) | no new client comes | [`Listener::close`] |
//! | [`drain`](Listener::drain) | connections that were accepted are open | its argument |
//! | [`restart`](Listener::restart) | clients have not heard it | itself, after 0.3 s |
//! | `Listener::reload`, with TLS | sessions are judged | itself, after seconds if there are ten thousand with certificates |
//!
//! In an [event callback](Builder::on_event) none of them blocks: they return
//! [`Error::WouldBlock`] instead; `close`, `restart` and `reload` begin what is done later.
//!
//! A lost link ends none of these calls. They go on when there is a new link, or fail when the attempts
//! are spent.
//!
//! Two applications that both send and never receive block each other once both windows are full,
//! although their heartbeats go on. To avoid that, receive on a thread of its own, or use the calls that
//! do not block.
//!
//! On Linux a timeout may end late, by up to an eighth of its time, and never early. The reason: a
//! thread that waits for the peer reads the socket itself, so the kernel measures the wait
//! (`SO_RCVTIMEO`, [socket(7)](https://man7.org/linux/man-pages/man7/socket.7.html)), and its timers are
//! coarser the longer they run (`kernel/time/timer.c`).
//!
//! ## Errors
//!
//! An [`Error`] either leaves the connection as it was, or [is final](Error::is_final). After a final
//! one, [`take_unacknowledged`](Connection::take_unacknowledged) returns the messages that the peer has
//! not acknowledged, for another connection or a file. A timeout is an error. `Ok(None)` is the peer's
//! end and nothing else. What happens to the link meanwhile is no error but an [`Event`], with a
//! [`Cause`].
//!
//! ## Exactly once
//!
//! Within a session each message arrives once. A process that is killed ends that promise:
//!
//! * When a server is killed, its sessions are gone. What was not acknowledged is
//!   [sent again](Event::SessionLost) in a new session, and the old server may have processed it.
//! * When a client is killed, its messages that no server has processed are gone, unless the client has
//!   stored them.
//!
//! Two applications that have a database each can still process every message exactly once, whichever
//! of them is killed. For a message keeps its number through all sessions and processes. This crate
//! stores nothing itself.
//!
//! The client draws a [`client_id`](Builder::client_id) once, and stores it. It stores each message
//! under its number before it [sends](Connection::send_numbered) it, and forgets it when it is
//! [acknowledged](Connection::acknowledged_number). A new process begins with the number of the first
//! stored message as its [`first_number`](Builder::first_number), and sends all stored messages again,
//! under the same numbers.
//!
//! The server keeps, for each client, the number of the last message that it has processed. It
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
//! The transaction decides, whatever else happens. A listener has one connection of a client at a
//! time. A new one ends the one before, whose calls then fail with [`Cause::Replaced`], before it is
//! accepted. But a handler of the old one may be in the middle of its transaction then; and several
//! servers that share a database do not know of each other's connections. So read and write the last
//! number in the same transaction as the effect, and let no other transaction interfere: make it
//! serializable, or lock the client's row. A unique key of client and number makes sure of it.
//!
//! [`recv_many_numbered`](Connection::recv_many_numbered) receives several messages with their numbers,
//! and one transaction serves for all of them.
//!
//! **A client id is a secret**, and every server that the client connects to learns it. Without
//! [security](#security) it crosses the network in clear text. Whoever learns it can end the client's
//! connection, and send in its name. That pushes the last number ahead, and the client's own messages
//! are skipped. With security, keep what you keep for a client under its
//! [identity](Connection::peer_identity) and its id: nobody else has both.
//!
//! ## What happens when ...
//!
//! With default settings, and with frames at both ends:
//!
//! | situation | what you see |
//! | --- | --- |
//! | the cable is out for less than the heartbeat allows | nothing; TCP sends again by itself, see [After an outage](#after-an-outage) |
//! | it is out for longer | [`Event::Lost`] after 30 s of silence on the client, 40 s on the server; the client tries again, and [`Event::Resumed`] when it succeeds |
//! | a NAT forgot the link | the same as a cable that is out; or a reset at once, if the NAT sends one |
//! | the server is killed | its kernel closes the socket, so [`Event::Lost`] at once; five attempts in some 12 s, or longer where they are not answered; then [`Error::GaveUp`] |
//! | it is started again meanwhile | [`Event::SessionLost`]: what was not acknowledged is sent again, and may be processed twice. With [`SessionLoss::GiveUp`], [`Error::SessionLost`] instead |
//! | the server [restarts](Listener::restart) | [`Event::Lost`] with [`Cause::Restarting`]. The client asks its other hosts at once, and this server when the server has said; then as after a kill |
//! | a secured link is a day old | [`Event::Lost`] with [`Cause::Aged`], and [`Event::Resumed`] at once. Nothing is lost, and a peer that is no longer trusted does not come back |
//! | the server's machine loses power | the same as a cable that is out, and then as a server that was started again |
//! | the client process is stopped (`SIGSTOP`) for longer than 40 s | the server loses the link, and keeps the session for [`resume_within`](Builder::resume_within). A client that is continued in time resumes it |
//! | an application never receives | its peer's window fills, and [`send`](Connection::send) blocks there. Heartbeats go on, and neither side is taken for dead |
//! | both applications only send | both block once both windows are full, see [Blocking](#blocking) |
//! | the peer closes before it has read everything | what had arrived is handed out; then [`Error::PeerClosed`] |
//! | the server's application [refuses](Connection::refuse) a client | what had arrived is handed out; then [`Error::Refused`] with a code and a text. The client asks no host any more. If its link is lost at that moment, it hears the refusal when it comes back |
//! | a handler panics | its connection is aborted as the panic unwinds. The peer gets [`Error::PeerClosed`], with the message that was being processed among the unacknowledged |
//! | a worker drops a message that it [holds](Held), or panics with it | the connection ends. The peer gets [`Error::PeerClosed`], with that message and those behind it among the unacknowledged |
//! | a process exits without [`close`](Connection::close) | what was not written is lost with it, whether it was sent or flushed. A server that is alive loses the link, and gives the session up after `resume_within`; a client reconnects |
//! | the machine is suspended, and wakes | every link is [checked](Connection::check): on Linux at once, elsewhere with the next heartbeat. Those that died meanwhile are [`Event::Lost`] within the [connect timeout](Builder::connect_timeout). A client that waits for its next attempt makes one at once |
//! | the clock jumps | nothing. All times are measured on the monotonic clock, which stands still while the machine is suspended. Outside Linux a jump ahead is taken for a suspend, which costs a check |
//!
//! ## Limits
//!
//! A connection keeps at most its window (1 MiB) and one message (256 KiB) in each direction, whatever
//! the other side does. A listener has at most [`max_clients`](Builder::max_clients) sessions, including
//! those whose link is lost. It keeps such a session for [`resume_within`](Builder::resume_within). All
//! limits are set in [`Builder`]. Where both sides have one, the smaller counts.
//!
//! The crate logs through [`log`](https://docs.rs/log): at info what a listener refuses or drops, at
//! warn and error what needs an operator, at debug the rest. It never logs the content of a message.
//!
//! What goes over the wire is specified in [`wire`].
//!
#![doc = include_str!("../docs/tuning.md")]

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
