//! The client: takes bookings from standard input, one a line, keeps them in its outbox, and
//! delivers them. It ends when the input has ended and everything is delivered.

use std::io;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use longlink::{Connection, RetryPolicy, Security};

use crate::outbox::Outbox;
use crate::{Result, chain};

/// How long at most an acknowledged message stays in the outbox.
const TICK: Duration = Duration::from_millis(50);
/// The time between two attempts, at first and at most.
const RETRY: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);
const PARTING: Duration = Duration::from_secs(1);

pub fn run(path: &Path, host: &str, invite: &Path) -> Result<()> {
    let security = Security::invite(invite)?;
    let outbox = Outbox::open(path)?;
    let mut user = Outbox::open(path)?;
    let (ring, bell) = mpsc::sync_channel(1);
    let user = thread::spawn(move || take_bookings(&mut user, &ring));
    while let Err(error) = deliver(&outbox, host, &security, &bell) {
        match error.downcast_ref::<longlink::Error>() {
            None | Some(longlink::Error::Refused { .. }) => return Err(error),
            Some(ended) => eprintln!("{}", chain(ended)),
        }
        thread::park_timeout(RETRY);
    }
    user.join().map_err(|_| "the thread that takes bookings panicked")?
}

/// A booking is made when it is in the outbox. Whether there is a connection does not matter.
fn take_bookings(outbox: &mut Outbox, ring: &SyncSender<()>) -> Result<()> {
    for line in io::stdin().lines() {
        match line?.parse() {
            Ok(booking) => outbox.add(booking)?,
            Err(error) => eprintln!("{error}"),
        }
        let _ = ring.try_send(()); // it rings already
    }
    Ok(())
}

/// Sends what the outbox has, from the first message that is not acknowledged.
fn deliver(outbox: &Outbox, host: &str, security: &Security, bell: &Receiver<()>) -> Result<()> {
    let first = outbox.first()?;
    let server = Connection::builder()
        .security(security.clone())
        .client_id(outbox.client_id()?)
        .first_number(first)
        .retry(RetryPolicy::exponential(RETRY, RETRY_MAX).unlimited())
        .connect(host)?;
    let mut sent = first - 1;
    loop {
        for (number, message) in outbox.after(sent)? {
            sent = server.send_numbered(message)?;
            assert_eq!(sent, number, "the outbox has a gap");
        }
        match server.sync(TICK) {
            Ok(()) | Err(longlink::Error::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
        outbox.forget(server.acknowledged_number())?;
        if bell.recv_timeout(TICK) == Err(RecvTimeoutError::Disconnected) && outbox.is_empty()? {
            let _ = server.close_within(PARTING); // nothing is left that it could lose
            return Ok(());
        }
    }
}
