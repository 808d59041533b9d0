//! The settings of a connection or a listener.

use std::time::Duration;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::link::{self, OnEvent, Terms};
use crate::proto::handshake::{Limits, MAX_GREETING};
use crate::proto::heartbeat::Heartbeat;
use crate::proto::loss::SessionLoss;
use crate::proto::numbers::{ClientId, Numbers};
use crate::protocol::Plain;
use crate::retry::RetryPolicy;
use crate::secure::Security;
use crate::sync;

/// Settings of a [`Connection`](crate::Connection) or a [`Listener`](crate::Listener), chosen
/// before it is made.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use longlink::{Connection, Heartbeat, RetryPolicy};
///
/// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
/// # let address = listener.local_addr();
/// let connection = Connection::builder()
///     .heartbeat(Heartbeat::every(Duration::from_secs(2)))
///     .retry(RetryPolicy::exponential(Duration::from_millis(200), Duration::from_secs(30)).unlimited())
///     .on_event(|_, event| eprintln!("{event}"))
///     .connect(address)?;
/// connection.send(b"hello")?;
/// # Ok::<(), longlink::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Builder {
    pub(crate) heartbeat: Heartbeat,
    pub(crate) retry: RetryPolicy,
    pub(crate) connect_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) window: u32,
    pub(crate) max_message: u32,
    pub(crate) resume_within: Duration,
    pub(crate) on_session_lost: SessionLoss,
    pub(crate) max_clients: usize,
    pub(crate) plain: Option<Plain>,
    pub(crate) accept_plain: bool,
    pub(crate) greeting: Bytes,
    pub(crate) client_id: Option<ClientId>,
    pub(crate) first_number: u64,
    pub(crate) security: Option<Security>,
    /// How long secured links last. In tests, days are shorter.
    pub(crate) day: Duration,
    pub(crate) on_event: Option<OnEvent>,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            heartbeat: Heartbeat::default(),
            retry: RetryPolicy::default(),
            connect_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(5),
            window: 1024 * 1024,
            max_message: 256 * 1024,
            resume_within: Duration::from_secs(60),
            on_session_lost: SessionLoss::SendAgain,
            max_clients: 1024,
            plain: None,
            accept_plain: true,
            greeting: Bytes::new(),
            client_id: None,
            first_number: 1,
            security: None,
            day: link::DAY,
            on_event: None,
        }
    }
}

impl Builder {
    /// When to ping, and when to take the peer for dead (default: every 10 s, 3 misses).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use longlink::{Connection, Heartbeat};
    ///
    /// let builder = Connection::builder().heartbeat(Heartbeat::every(Duration::from_secs(30)));
    /// ```
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Heartbeat) -> Builder {
        self.heartbeat = heartbeat;
        self
    }

    /// How often to try to connect again, and how long to wait in between
    /// (default: at once, then every 3 s, 5 attempts). A listener has no use for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use longlink::{Connection, RetryPolicy};
    ///
    /// let builder = Connection::builder().retry(RetryPolicy::fixed(Duration::from_secs(1), 60));
    /// ```
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Builder {
        self.retry = retry;
        self
    }

    /// How long one address may take to accept the connection and to welcome us (default 5 s). The
    /// addresses of a name do not wait for each other's timeout: each is asked 250 ms after the one
    /// before, and the first that accepts is taken.
    ///
    /// A name may take as long to be resolved. After one second the other hosts are tried before
    /// it. A resolver that hangs goes on in the background, at most one for each name, and its
    /// answer serves the attempts that follow.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use longlink::{Connection};
    ///
    /// let builder = Connection::builder().connect_timeout(Duration::from_secs(2));
    /// ```
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Builder {
        self.connect_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// How long a [`close`](crate::Connection::close) waits while there is a link and nothing moves
    /// on it, and then at most for the peer to hear of the end (default 5 s). The same bounds hold
    /// for a dropped connection, which closes in the background.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use longlink::{Connection};
    ///
    /// let builder = Connection::builder().close_timeout(Duration::from_secs(30));
    /// ```
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Builder {
        self.close_timeout = timeout;
        self
    }

    /// How many bytes may be unacknowledged at a time, in each direction (default 1 MiB).
    ///
    /// It bounds what this side keeps to send it again, and what it holds until the application
    /// receives it. Each message counts its length and 64 bytes. For sending, the smaller window of
    /// both sides counts.
    ///
    /// # Examples
    ///
    /// ```
    /// let builder = longlink::Connection::builder().window(64 * 1024);
    /// ```
    #[must_use]
    pub fn window(mut self, bytes: usize) -> Builder {
        self.window = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, 1 << 30);
        self
    }

    /// The largest message that this side sends or accepts, in bytes (default 256 KiB). It is never
    /// larger than the window.
    ///
    /// # Examples
    ///
    /// ```
    /// let builder = longlink::Connection::builder().max_message(4 * 1024);
    /// ```
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Builder {
        self.max_message = u32::try_from(bytes).unwrap_or(u32::MAX);
        self
    }

    /// How long a listener keeps a session whose link is lost (default 60 s), also if nothing was
    /// ever said in it. Time that its machine spends suspended does not count.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use longlink::{Connection};
    ///
    /// let builder = Connection::builder().resume_within(Duration::from_secs(600));
    /// ```
    #[must_use]
    pub fn resume_within(mut self, time: Duration) -> Builder {
        self.resume_within = time;
        self
    }

    /// What happens when the server no longer knows a client's session (default:
    /// [`SendAgain`](SessionLoss::SendAgain)). [Plain text](Builder::plain) has no sessions.
    ///
    /// At a client, [`GiveUp`](SessionLoss::GiveUp) means: no second session is begun, and no
    /// message is processed twice. From its first link on, the client asks for that session only,
    /// and only the server that has it: all addresses of that host, and of its
    /// [aliases](crate::Host::alias_of). It asks no other host any more, so several hosts are of
    /// use for the first link alone. If the server says that there is no such session, the
    /// connection ends with [`Error::SessionLost`]. Calls that block then return it,
    /// [`close`](crate::Connection::close) included, and the callback sees an
    /// [`Event::GaveUp`](crate::Event::GaveUp). What had arrived can still be received, and
    /// [`take_unacknowledged`](crate::Connection::take_unacknowledged) returns the messages that
    /// were not acknowledged, in order; whether the server had processed them is not known. While
    /// the server does not answer, or has another reason to refuse, attempts go on as the [retry
    /// policy](Builder::retry) says. When they are spent the error is
    /// [`GaveUp`](crate::Error::GaveUp), as ever.
    ///
    /// The first link may take several attempts. Where a host accepts and its answer is lost, there
    /// is a session at each such host. No message is sent before an answer has come, so none of
    /// these sessions but the last ever receives one. Each of them is given up after its listener's
    /// [`resume_within`](Builder::resume_within).
    ///
    /// At a listener, [`GiveUp`](SessionLoss::GiveUp) means: a client whose session this listener
    /// does not have begins no other one here, whether that session was lost or is another
    /// server's. So what is received here was never sent in another session, whatever its clients
    /// are set to. A client that is set to `GiveUp`, too, ends as said above. One that is not may
    /// go on with another of its hosts. When none takes it, it ends with [`Error::SessionLost`], if
    /// the server of its session is among those that said so. A client that connects is let in, and
    /// so is one that comes back because the first answer was lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::{Connection, Error, Listener, SessionLoss};
    ///
    /// let listener = Listener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr();
    /// let client =
    ///     Connection::builder().on_session_lost(SessionLoss::GiveUp).connect(address)?;
    /// # let server = listener.accept()?;
    /// # std::thread::spawn(move || (server.recv(), server.recv(), server.close()));
    /// client.send(b"book this once")?;
    /// match client.close() {
    ///     Err(Error::SessionLost { unacknowledged, .. }) => {
    ///         println!("{unacknowledged} may have been booked: {:?}", client.take_unacknowledged());
    ///     }
    ///     other => other?,
    /// }
    /// # Ok::<(), longlink::Error>(())
    /// ```
    #[must_use]
    pub fn on_session_lost(mut self, loss: SessionLoss) -> Builder {
        self.on_session_lost = loss;
        self
    }

    /// How many sessions a listener keeps at once, including those whose link is lost (default
    /// 1024). When there are as many, a newcomer takes the place of one whose link is lost: of one
    /// from which nothing ever came, if there is one, and of several the one whose link was lost
    /// first. If there is none, the newcomer is rejected, and tries again.
    ///
    /// This bounds what peers can make a listener use. The memory is at most `max_clients` × (4 ×
    /// (window + `max_message`) + 256 KiB), and a few megabytes in all: what messages count for in
    /// both directions, as much again for keeping them if they are tiny, and buffers. What the
    /// kernel holds comes on top, and so do connections that are over and not dropped. The
    /// descriptors are one for each session, 256 for peers that have not introduced themselves, and
    /// five. If the system allows fewer (`ulimit -n`) and they run out, silent peers are dropped
    /// and new clients rejected; clients that come back are taken.
    ///
    /// # Examples
    ///
    /// ```
    /// let builder = longlink::Connection::builder().max_clients(100);
    /// ```
    #[must_use]
    pub fn max_clients(mut self, clients: usize) -> Builder {
        self.max_clients = clients.max(1);
        self
    }

    /// Makes a client speak [plain text](crate::Protocol::Plain), to any
    /// server of lines: in clear, or over TLS with certificates, not with keys. A listener has no
    /// use for it.
    ///
    /// Its heartbeat is the text `keepalive` without a newline. It is sent after an interval
    /// without sending anything, while no line waits for its reply, and only once before the server
    /// has said something on this link. Servers that would take it for text need
    /// [`Heartbeat::off`]. Nothing answers it: after `misses` intervals (30 s without heartbeats)
    /// in which the server's kernel acknowledges nothing, or has no room because its application
    /// takes nothing, our kernel ends the link. Our kernel asks no more often than once an
    /// interval; that of a listener, which knows of no interval, after 10 s.
    ///
    /// # Examples
    ///
    /// ```
    /// let builder = longlink::Connection::builder().plain(longlink::Plain::new());
    /// ```
    #[must_use]
    pub fn plain(mut self, plain: Plain) -> Builder {
        self.plain = Some(plain);
        self
    }

    /// Whether a listener accepts peers that speak [plain
    /// text](crate::Protocol::Plain), which it tells by their first byte
    /// (default: yes). Otherwise they are dropped; and so they are where links are secured with
    /// keys. A client has no use for it.
    ///
    /// They count against [`max_clients`](Builder::max_clients), and
    /// [`Connection::protocol`](crate::Connection::protocol) tells them apart. The
    /// first byte is that of a letter in any alphabet, a space or an end of line;
    /// control characters begin other protocols. A peer is a connection once it has
    /// said something.
    ///
    /// # Examples
    ///
    /// ```
    /// let builder = longlink::Connection::builder().accept_plain(false);
    /// ```
    #[must_use]
    pub fn accept_plain(mut self, accept: bool) -> Builder {
        self.accept_plain = accept;
        self
    }

    /// What a client says at the beginning of each session, at most 2048 bytes (default:
    /// nothing): a name, a login, what it subscribes to. A listener has no use for it.
    ///
    /// The server's [`Connection::greeting`](crate::Connection::greeting) returns it as
    /// soon as the connection is accepted, before any message. When a session is
    /// [lost](crate::Event::SessionLost), because the server was killed for instance, the
    /// new one begins with it as well, before what is sent again. So it needs no
    /// message of its own, which would come behind those that were not acknowledged. The
    /// server may [refuse](crate::Connection::refuse) the client for it.
    ///
    /// It goes over the network each time that a link is made. Over [plain
    /// text](Builder::plain) it is not sent.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::{Connection, Listener};
    ///
    /// let listener = Listener::bind("127.0.0.1:0")?;
    /// let client = Connection::builder().greeting("ann").connect(listener.local_addr())?;
    /// assert_eq!(listener.accept()?.greeting(), "ann");
    /// # Ok::<(), longlink::Error>(())
    /// ```
    #[must_use]
    pub fn greeting(mut self, greeting: impl Into<Bytes>) -> Builder {
        self.greeting = greeting.into();
        self
    }

    /// The greeting, in memory of ours: what an owner of the application's does when it is
    /// dropped is done with the builder.
    pub(crate) fn checked_greeting(&self) -> Result<Bytes> {
        match self.greeting.len() {
            0..=MAX_GREETING => Ok(Bytes::copy_from_slice(&self.greeting)),
            len => {
                let limit = MAX_GREETING;
                let what = format!("the greeting has {len} bytes, and the limit is {limit}");
                Err(Error::Config(what))
            }
        }
    }

    /// The id of a client, which is the same in all its sessions and processes (default: random,
    /// and new for each connection). A listener has no use for it.
    ///
    /// A server tells by it which messages it has processed; see
    /// [the guide](crate#exactly-once). Draw it once, from a secure source, keep it with what
    /// else the client keeps, and show it to no one: whoever knows it can take the client's
    /// place. It is not logged. Over [plain text](Builder::plain) it is not sent.
    ///
    /// There is one connection of an id at a time. A listener that gets another ends the one
    /// before, with [`Cause::Replaced`](crate::Cause::Replaced). So two clients with one id end
    /// each other's connections in turn.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let address = listener.local_addr();
    /// # let (stored_id, acknowledged) = ([7; 16], 41);
    /// use longlink::Connection;
    ///
    /// let client = Connection::builder()
    ///     .client_id(stored_id) // as it was drawn when the client was installed
    ///     .first_number(acknowledged + 1)
    ///     .connect(address)?;
    /// assert_eq!(client.send_numbered("the oldest that is stored")?, 42);
    /// # Ok::<(), longlink::Error>(())
    /// ```
    #[must_use]
    pub fn client_id(mut self, id: [u8; 16]) -> Builder {
        self.client_id = Some(ClientId(id));
        self
    }

    /// The number of the first message that a client sends (default 1): one more than that of
    /// the last message that was acknowledged to the client with this
    /// [id](Builder::client_id), in whatever process. So a server that has processed nothing
    /// of a client can begin with 0 as its last. A listener has no use for it.
    ///
    /// From 1 to 2^61. No client lives long enough to send so many messages that a number exceeds a
    /// signed integer of 64 bits, as databases have them.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::{Connection, Error};
    ///
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let address = listener.local_addr();
    /// let client = Connection::builder().first_number(1000).connect(address)?;
    /// assert_eq!(client.acknowledged_number(), 999);
    /// let none = Connection::builder().first_number(0).connect(address);
    /// assert!(matches!(none, Err(Error::Config(_))));
    /// # Ok::<(), longlink::Error>(())
    /// ```
    #[must_use]
    pub fn first_number(mut self, number: u64) -> Builder {
        self.first_number = number;
        self
    }

    /// Secures all links, as [`Security`] says. Without it they are in clear text.
    ///
    /// A peer that speaks in clear text, or shows nothing that is trusted, is refused, and gets no
    /// session. [`Connection::peer_identity`](crate::Connection::peer_identity) tells who the peer
    /// has proven to be. Only the identity that began a session resumes it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # #[cfg(feature = "tls")] {
    /// use longlink::{Connection, Security};
    ///
    /// let security = Security::invite("alice.invite")?;
    /// let client = Connection::builder().security(security).connect("server.example:6666")?;
    /// # }
    /// # Ok::<(), longlink::Error>(())
    /// ```
    #[cfg(any(test, feature = "tls"))]
    #[must_use]
    pub fn security(mut self, security: Security) -> Builder {
        self.security = Some(security);
        self
    }

    pub(crate) fn checked_numbers(&self) -> Result<Numbers> {
        let first = self.first_number;
        if !(1..=Numbers::MAX_BEGIN).contains(&first) {
            return Err(Error::Config(format!("the first number is {first}, not 1 to 2^61")));
        }
        let client = match self.client_id {
            Some(client) => client,
            None => ClientId(sync::random()?),
        };
        Ok(Numbers { client, first })
    }

    /// What every connection keeps of it; a listener's waits to be resumed.
    pub(crate) fn terms(&self, resume_within: Option<Duration>) -> Terms {
        Terms {
            close_timeout: self.close_timeout,
            connect_timeout: self.connect_timeout,
            resume_within,
            lasts: self.security.as_ref().map(|_| self.draw_term(resume_within.is_some())),
            patient: match resume_within {
                Some(within) => sync::after(within).is_none(),
                None => self.retry.is_patient(),
            },
            on_event: self.on_event.clone(),
        }
    }

    /// Without randomness, all last equally long.
    fn draw_term(&self, is_server: bool) -> Duration {
        let random = sync::random().map_or(0, u32::from_ne_bytes);
        link::lasts(self.day, is_server, random)
    }

    /// What this side accepts: the window bounds the largest message.
    pub(crate) fn limits(&self) -> Limits {
        Limits { window: self.window, max_message: self.max_message.min(self.window) }
    }
}
