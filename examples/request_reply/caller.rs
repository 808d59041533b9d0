//! The client's side: calls, from any number of threads, over one connection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use longlink::{Builder, Bytes, Connection, Error, ToHosts};

use super::now;

/// Calls a server. Dropping it ends the connection.
pub(crate) struct Caller(Arc<Shared>);

struct Shared {
    connection: Connection,
    next: AtomicU64,
    /// Calls that wait for a reply, by their numbers.
    waiting: Mutex<HashMap<u64, SyncSender<Bytes>>>,
    unclaimed: AtomicU64,
}

impl Caller {
    pub(crate) fn connect(builder: Builder, address: impl ToHosts) -> longlink::Result<Caller> {
        let shared = Arc::new(Shared {
            connection: builder.connect(address)?,
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
            unclaimed: AtomicU64::new(0),
        });
        let receiver = shared.clone();
        thread::spawn(move || receiver.receive());
        Ok(Caller(shared))
    }

    /// Blocks until the reply is there.
    ///
    /// [`Error::TimedOut`] says nothing of the request, which may still be processed; its reply
    /// is dropped. Other errors are final.
    pub(crate) fn call(&self, request: &[u8], timeout: Duration) -> longlink::Result<Bytes> {
        let Shared { connection, next, waiting, .. } = &*self.0;
        let deadline = now() + timeout;
        let number = next.fetch_add(1, Ordering::Relaxed);
        let (answer, reply) = mpsc::sync_channel(1);
        waiting.lock().unwrap().insert(number, answer);
        let message = [&number.to_be_bytes(), request].concat();
        let result = connection.send_timeout(message, timeout).and_then(|()| {
            let left = deadline.saturating_duration_since(now());
            reply.recv_timeout(left).map_err(|e| match e {
                RecvTimeoutError::Timeout => Error::TimedOut,
                // The connection is over: this says why.
                RecvTimeoutError::Disconnected => {
                    connection.flush().err().unwrap_or(Error::TimedOut)
                }
            })
        });
        waiting.lock().unwrap().remove(&number);
        // It may have come just now.
        reply.try_recv().or(result)
    }

    /// Replies that no call waited for.
    pub(crate) fn unclaimed(&self) -> u64 {
        self.0.unclaimed.load(Ordering::Relaxed)
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.0.connection
    }
}

impl Shared {
    /// Hands each reply to its call, until the connection is over.
    fn receive(&self) {
        for reply in self.connection.incoming().map_while(Result::ok) {
            let Some((number, body)) = reply.split_first_chunk() else { break };
            match self.waiting.lock().unwrap().remove(&u64::from_be_bytes(*number)) {
                Some(answer) => drop(answer.send(reply.slice_ref(body))),
                // The call has timed out; or the server was killed after it had answered and
                // before that was acknowledged, so the next one has answered again.
                None => drop(self.unclaimed.fetch_add(1, Ordering::Relaxed)),
            }
        }
        // Nothing answers any more. First no more is sent, then all that wait are told.
        self.connection.abort();
        self.waiting.lock().unwrap().clear();
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.connection.abort();
    }
}
