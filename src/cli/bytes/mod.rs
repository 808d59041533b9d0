//! Bytes as they are: `server --to`, `client --stdio` and `client --listen`.
//!
//! What the program at this end says, its end and its reset are carried to the program at the
//! other end, and the reverse. A session is for one conversation: if it is lost, or one of the
//! programs is, what is left is reset, since an end in order would make what was cut off look
//! complete. More is asked for once the last was written: what is acknowledged has left our hands.

pub mod forward;
mod local;
pub mod pipe;
pub mod target;

use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;
use std::{panic, thread};

use local::{Local, Socket};

use super::{text, threads};
use crate::{Connection, Error, Event, Stats};

/// One read takes so much at most, and so does a message.
const CHUNK: usize = 64 * 1024;
/// The most memory that a session comes to need for it, in bytes: a buffer, and the stacks of two
/// threads.
pub(super) const MEMORY: u64 = (CHUNK + STACK + threads::STACK) as u64;
/// How often a thread that is held up looks whether that still makes sense.
const LOOK: Duration = Duration::from_millis(250);
/// How long what came before a reset may take to arrive.
const LAST_BYTES: Duration = Duration::from_millis(500);
/// The stack of a thread that carries bytes: there is little on it.
const STACK: usize = 128 * 1024;

/// Why bytes were not carried to their end.
#[derive(Debug)]
enum Broken {
    /// The program at this end is gone, or has reset its connection.
    Local(io::Error),
    /// The session is over.
    Session(Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::Local(error)
    }
}

impl From<Error> for Broken {
    fn from(error: Error) -> Broken {
        Broken::Session(error)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Local(error) => f.write_str(&text::system(error)),
            Broken::Session(Error::Refused { text, .. }) => write!(f, "refused: {text}"),
            Broken::Session(Error::GaveUp { cause, .. }) => {
                write!(f, "the session is lost: {}", text::system(cause))
            }
            Broken::Session(Error::SessionLost { .. }) => f.write_str("the session is lost"),
            Broken::Session(Error::PeerClosed { .. }) => f.write_str("reset by the other side"),
            Broken::Session(Error::Closed { .. }) => f.write_str("reset by this side"),
            Broken::Session(error) => f.write_str(&text::error(error)),
        }
    }
}

/// Carries bytes both ways until both have ended. If something breaks, both ends are reset.
/// Returns what came of it.
fn carry(connection: &Connection, socket: &Socket) -> String {
    let up = || send_all(connection, socket).inspect_err(|why| part(connection, why));
    let down = || {
        receive_all(connection, socket).inspect_err(|why| {
            part(connection, why);
            // The other thread may read; what it takes for an end comes behind that of the session.
            socket.wake();
        })
    };
    let ended = thread::scope(|scope| {
        let up = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, up)?;
        let down = down();
        match (up.join().unwrap_or_else(|panic| panic::resume_unwind(panic)), down) {
            // The other thread has only seen that the session is over.
            (Err(why @ Broken::Local(_)), _) | (_, Err(why)) | (Err(why), _) => Err(why),
            (Ok(()), Ok(())) => close(connection),
        }
    });
    match &ended {
        Ok(()) => socket.keep(),
        Err(why) => part(connection, why),
    }
    let why = ended.map_or_else(|why| why.to_string(), |()| "both sides have ended".to_string());
    format!("{why}; {}", carried(&connection.stats()))
}

/// What has gone over a link.
fn carried(stats: &Stats) -> String {
    let [sent, received] = [stats.bytes_sent, stats.bytes_received].map(text::size);
    let links = text::count(stats.reconnects, "link");
    format!("{sent} sent, {received} received, {links} resumed")
}

/// Ends a session both ways of which have ended, when the other side has taken everything. It has
/// all the time that its program takes, which a close alone has not.
fn close(connection: &Connection) -> Result<(), Broken> {
    connection.sync(Duration::MAX)?;
    Ok(connection.close()?)
}

/// Ends a session that makes no sense any more. If there is no link, the other side hears of it
/// when there is one.
fn part(connection: &Connection, why: &Broken) {
    if let Broken::Local(_) = why {
        let _ = connection.sync(LAST_BYTES);
    }
    connection.abort_within(Duration::MAX);
}

/// Sends what is read here to its end, and then watches until the other way has ended, too.
fn send_all(connection: &Connection, local: &impl Local) -> Result<(), Broken> {
    let mut buffer = vec![0; CHUNK.min(connection.max_message())];
    loop {
        match local.read(&mut buffer)? {
            0 => break,
            read => send(connection, local, &buffer[..read])?,
        }
    }
    connection.finish()?;
    while !local.has_finished() {
        check(connection)?;
        local.fail_within(LOOK)?;
    }
    Ok(())
}

fn send(connection: &Connection, local: &impl Local, bytes: &[u8]) -> Result<(), Broken> {
    loop {
        match connection.send_timeout(bytes, LOOK) {
            Err(Error::TimedOut) => local.fail_within(Duration::ZERO)?,
            result => return Ok(result?),
        }
    }
}

/// Writes here what comes, and its end.
fn receive_all(connection: &Connection, local: &impl Local) -> Result<(), Broken> {
    while let Some(message) = connection.recv()? {
        let mut rest = &message[..];
        while !rest.is_empty() {
            match local.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => check(connection)?,
                Err(error) => return Err(error.into()),
            }
        }
    }
    local.finish()?;
    Ok(())
}

/// Whether the session goes on.
fn check(connection: &Connection) -> Result<(), Broken> {
    match connection.flush() {
        Err(error) if error.is_final() => Err(error.into()),
        _ => Ok(()),
    }
}

/// Whether a session is over by this event.
fn is_end(event: &Event) -> bool {
    matches!(event, Event::GaveUp { .. } | Event::Closed { .. })
}

#[cfg(test)]
mod tests;
