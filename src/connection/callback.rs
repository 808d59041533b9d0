//! The event callback: what it is given, and how it is called.

use std::ops::Deref;
use std::sync::Arc as Counted;

use super::Connection;
use crate::config::Builder;
use crate::event::Event;
use crate::foreign;
use crate::link::{OnEvent, Shared};
use crate::sync::Arc;

impl Builder {
    /// Calls `callback` for everything that happens to the link, with the
    /// connection it happens to: on a listener, any of its connections.
    ///
    /// It runs on the heartbeat thread, with no lock held. A panic in it is logged
    /// and goes no further. It must not block: heartbeats, reconnects and streams
    /// of messages wait for it, on a listener those of all its connections.
    ///
    /// It may call any method of this crate, on any connection or listener. Calls that
    /// would block return [`WouldBlock`](crate::Error::WouldBlock) at once instead: a
    /// [`send`](Connection::send) without room, a [`recv`](Connection::recv) without a
    /// message, [`sync`](Connection::sync), [`connect`](Builder::connect),
    /// [`accept`](crate::Listener::accept), [`drain`](crate::Listener::drain).
    /// [`close`](Connection::close) and [`close_within`](Connection::close_within)
    /// begin to close, which then goes on in the background. Only a
    /// [`bind`](Builder::bind) to a name may wait, for the resolver. The same is true
    /// wherever else this crate runs code of the application's: in a logger, and in
    /// the drop of a message's [owner](crate::Bytes::from_owner).
    ///
    /// The connection it is given does not count as a handle: when the application
    /// has dropped the last one, the callback is given one all the same while the
    /// connection closes in the background. A clone of it is a handle like any
    /// other; one that is made after the last was dropped does not keep the
    /// connection from closing. A callback that holds a handle of its own connection
    /// keeps it open for ever: it has no need of one.
    ///
    /// # Examples
    ///
    /// ```
    /// let builder = longlink::Connection::builder().on_event(|_, event| eprintln!("{event}"));
    /// ```
    #[must_use]
    pub fn on_event(
        mut self,
        callback: impl Fn(&Connection, Event) + Send + Sync + 'static,
    ) -> Builder {
        self.on_event = Some(prepare(callback));
        self
    }
}

/// Events.
impl Connection {
    /// Calls `callback` for the events of this connection, instead of the one
    /// given to [`Builder::on_event`], which says what it may do.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = longlink::Listener::bind("127.0.0.1:0")?;
    /// # let client = longlink::Connection::connect(listener.local_addr())?;
    /// # let server = listener.accept()?;
    /// let number = 7;
    /// server.on_event(move |_, event| eprintln!("client {number}: {event}"));
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn on_event(&self, callback: impl Fn(&Connection, Event) + Send + Sync + 'static) {
        let served = self.shared.lock().set_on_event(prepare(callback));
        drop(served);
    }
}

struct Callback<F>(Option<F>);

/// What it holds is dropped by the thread that happens to have it last.
impl<F> Drop for Callback<F> {
    fn drop(&mut self) {
        foreign::discard(self.0.take());
    }
}

/// All connections of a builder share it.
fn prepare(callback: impl Fn(&Connection, Event) + Send + Sync + 'static) -> OnEvent {
    let callback = Callback(Some(callback));
    OnEvent(Counted::new(move |shared: &Arc<Shared>, event| {
        let connection = Lent(Connection::new(shared.clone()));
        if let Some(callback) = &callback.0 {
            foreign::run("the event callback", || callback(&connection, event));
        }
    }))
}

/// What the callback looks at: it does not count as a handle, so that the last one
/// of the application is the last, and a clone of it does.
struct Lent(Connection);

impl Deref for Lent {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // The drop of the `Connection` takes this back.
        self.0.shared.add_handle();
    }
}
