//! The handles of a connection: how many there are, and what the last one's drop does.

use std::fmt;
use std::sync::Weak;

use super::Connection;
use crate::link::Shared;
use crate::sync::Arc;

/// A handle that does not keep its connection open; see [`Connection::downgrade`].
///
/// For what refers to a connection and is kept by it, or outlives it: a map of
/// clients, for instance.
///
/// # Examples
///
/// ```
/// use longlink::WeakConnection;
///
/// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
/// # let client = longlink::Connection::connect(listener.local_addr())?;
/// # let server = listener.accept()?;
/// let clients: Vec<WeakConnection> = vec![server.downgrade()];
/// for client in clients.iter().filter_map(WeakConnection::upgrade) {
///     client.send(b"to all")?;
/// }
/// drop(server); // the last handle: the connection is closed
/// assert!(clients[0].upgrade().is_none());
/// # Ok::<(), longlink::Error>(())
/// ```
#[derive(Clone)]
pub struct WeakConnection {
    shared: Weak<Shared>,
}

impl WeakConnection {
    /// Another handle of the connection, or `None` if the last one was dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// let weak = client.downgrade();
    /// assert!(weak.upgrade().is_some());
    /// drop(client);
    /// assert!(weak.upgrade().is_none());
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn upgrade(&self) -> Option<Connection> {
        let shared = self.shared.upgrade()?;
        shared.revive_handle().then(|| Connection::new(shared))
    }
}

impl fmt::Debug for WeakConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakConnection").finish_non_exhaustive()
    }
}

/// Handles.
impl Connection {
    /// Wraps a handle that is counted already.
    pub(crate) fn new(shared: Arc<Shared>) -> Connection {
        Connection { shared }
    }

    /// A handle that does not keep the connection open, and can become one
    /// that does, as long as there is another.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// let weak = client.downgrade();
    /// if let Some(client) = weak.upgrade() {
    ///     client.send(b"still open")?;
    /// }
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn downgrade(&self) -> WeakConnection {
        WeakConnection { shared: Arc::downgrade(&self.shared) }
    }
}

/// Another handle of the same connection.
impl Clone for Connection {
    fn clone(&self) -> Connection {
        self.shared.add_handle();
        Connection::new(self.shared.clone())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.abort();
        }
        if self.shared.remove_handle() {
            // It closes in the background. After an abort that does nothing.
            let mut state = self.shared.lock();
            state.detach(false);
            state.drop_handles();
            state.settle();
        }
    }
}
