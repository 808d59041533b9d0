//! Opening a connection with settings.

use std::net::{Ipv4Addr, SocketAddr};

use super::Connection;
use crate::client::Client;
use crate::config::Builder;
use crate::driver::DriverHandle;
use crate::error::{Error, Result};
use crate::foreign;
use crate::host::ToHosts;
use crate::link::{Patience, Shared, Waiter};
use crate::proto::plain::PlainSession;
use crate::proto::protocol::Protocol;
use crate::proto::session::Session;
use crate::secure;
use crate::sync::{self, Arc};

impl Builder {
    /// Connects, and stays connected.
    ///
    /// Blocks until the first link is up, or the retry policy has spent its attempts.
    /// See [`ToHosts`] for what an address can be; with several, each attempt
    /// tries them in turn, the last good one first. They are taken for different servers
    /// unless [`Host::alias_of`](crate::Host::alias_of) says that they are paths to one.
    /// After the first link, [`on_session_lost`](Builder::on_session_lost) can bind a client
    /// to the server of that link.
    ///
    /// A host that refuses, rejects us, or has a name that cannot be resolved (yet) fails in this
    /// attempt, and is tried again in the next one. There is no next one only if the last answer of
    /// every host is final: a [rejection](crate::Rejection::is_retryable) of that kind, or, after a
    /// loss, a limit that is [too small](crate::Cause::TooLarge). A host that cannot be reached
    /// gives no answer, so its last one still counts.
    ///
    /// # Errors
    ///
    /// [`Error::GaveUp`] with the cause of the last failure; [`Error::Config`] if the
    /// address cannot be one, the [greeting](Builder::greeting) is too long, the
    /// [first number](Builder::first_number) out of range, or the security none that a client can
    /// have, which are keys where it speaks [plain text](Builder::plain), too; [`Error::Io`] if no
    /// thread could be started, or there is no randomness. [`Error::Refused`] if the first link was
    /// lost before it was up, and the server has refused us meanwhile: as a rule that comes
    /// from the calls that follow.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::{Connection, Error, RetryPolicy};
    /// # let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    ///
    /// let result = Connection::builder().retry(RetryPolicy::never()).connect(nobody);
    /// assert!(matches!(result, Err(Error::GaveUp { .. })));
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn connect(self, addr: impl ToHosts) -> Result<Connection> {
        let hosts = addr.to_hosts()?;
        if hosts.is_empty() {
            return Err(Error::Config("there is no host to connect to".into()));
        }
        if foreign::is_running() || secure::is_inside() {
            return Err(Error::WouldBlock);
        }
        let greeting = self.checked_greeting()?;
        let numbers = self.checked_numbers()?;
        if let Some(security) = &self.security {
            security.check_client(self.plain.is_some())?;
        }
        let now = sync::now();
        let limits = self.limits();
        let protocol = match self.plain {
            None => {
                let session = Session::client(limits, self.heartbeat, now)
                    .on_loss(self.on_session_lost)
                    .greeting_with(greeting)
                    .numbered(numbers);
                Protocol::Framed(session)
            }
            Some(plain) => {
                let settings = plain.settings(self.heartbeat.interval);
                let session = PlainSession::client(limits, settings, now).numbered(numbers);
                Protocol::Plain(session)
            }
        };
        let driver = Arc::new(DriverHandle::new()?);
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let shared = Arc::new(Shared::new(self.terms(None), protocol, nowhere, 0, driver.clone()));
        let client = Client::new(shared.clone(), driver, hosts, &self)?;
        client.start(self.on_event.is_some())?;
        let connection = Connection::new(shared);
        connection.shared.lock().wait(Waiter::Other, Patience::Forever, |state| {
            match state.has_connected() {
                true => Some(Ok(())),
                false => state.check().err().map(Err),
            }
        })?;
        Ok(connection)
    }
}

/// With settings.
impl Connection {
    /// Settings for a connection or a listener.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::Connection;
    ///
    /// let builder = Connection::builder().max_message(64 * 1024);
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }
}
