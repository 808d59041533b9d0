//! How a client prints what the other side sends.

use std::io::{self, IsTerminal};
use std::thread;
use std::time::Duration;

use super::batch::Batch;
use super::stdio::{has_lost_reader, stdout};
use super::text;
use crate::{Connection, Result};

/// So many messages are received by one call: enough to make it cheap, and a
/// part of what the window holds.
const MANY: usize = 1024;
/// The pause before another attempt to print.
const RETRY: Duration = Duration::from_millis(100);
/// How many attempts there are once the connection is over.
const LAST_TRIES: u32 = 10;

/// How it ended, if the connection did not fail, or was closed because of `exit`.
#[derive(Debug)]
pub enum End {
    /// The other side ended, and had taken everything; its replies were printed.
    Printed,
    /// The same, but replies were not printed; the log says how many.
    Unprinted,
    /// Nothing reads our output any more.
    Unread,
}

/// Prints messages until the other side ends: in a pipe as they came, on a terminal as lines
/// that differ from those typed. One write takes the messages that came together.
///
/// A message that cannot be printed, for instance on a full disk, waits: until it is
/// printed, nothing acknowledges it, and nothing more is received. Once the connection is
/// over, it does not wait for long.
pub(super) fn print(connection: &Connection) -> Result<End> {
    let terminal = stdout().is_terminal();
    let mut messages = Vec::new();
    let mut batch = Batch::default();
    while connection.recv_many(&mut messages, MANY)? > 0 {
        messages.drain(..).for_each(|message| match terminal {
            true => batch.push_line("server> ", &message, true),
            false => batch.push(&message),
        });
        match write(connection, &mut batch) {
            Ok(()) => {}
            Err(error) if has_lost_reader(stdout(), &error) => return Ok(End::Unread),
            Err(error) => {
                let messages = text::messages(batch.unwritten() + throw_away(connection));
                let why = text::system(&error);
                log::error!("{messages} not printed: standard output: {why}");
                return Ok(End::Unprinted);
            }
        }
    }
    Ok(End::Printed)
}

/// Writes; waits while that fails, unless nothing reads the output or the connection is over.
fn write(connection: &Connection, batch: &mut Batch) -> io::Result<()> {
    let mut last_tries = LAST_TRIES;
    let mut waits = false;
    while let Err(error) = batch.write(stdout()) {
        if has_lost_reader(stdout(), &error) {
            return Err(error);
        }
        if !waits {
            let why = text::system(&error);
            log::warn!("replies wait until they can be printed: standard output: {why}");
            waits = true;
        }
        if connection.flush().is_err() {
            last_tries -= 1;
        }
        if last_tries == 0 {
            return Err(error);
        }
        thread::park_timeout(RETRY);
    }
    if waits {
        log::info!("replies are printed again");
    }
    Ok(())
}

/// Throws away what comes until the connection is over; returns how many messages.
fn throw_away(connection: &Connection) -> u64 {
    let mut count = 0;
    let mut messages = Vec::new();
    while let Ok(more @ 1..) = connection.recv_many(&mut messages, MANY) {
        count += more as u64;
        messages.clear();
    }
    count
}

/// Ends the connection once what was sent is acknowledged, since nothing reads standard
/// output any more. Meanwhile it throws replies away, or the other side could not go on.
pub(super) fn close_unread(connection: &Connection) {
    // The input is read no further.
    let _ = connection.finish();
    thread::scope(|scope| {
        let _ = thread::Builder::new().spawn_scoped(scope, || throw_away(connection));
        let _ = connection.close();
    });
}
