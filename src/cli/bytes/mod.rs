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

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{panic, thread};

use local::{Local, Socket};
use log::Level;

use super::{text, threads};
use crate::{Connection, Error, Event, Stats};

/// One read takes so much at most, and so does a message. So much a connection writes at once,
/// on the thread that sends; a stream of smaller messages it leaves to its driver. Bulk is 1.2 to
/// 1.5 times as fast as with 64 KiB.
const CHUNK: usize = 256 * 1024;
/// The first read takes so much. Reads that fill the buffer double it, up to [`CHUNK`]; one that
/// brings less than this makes it small again.
const SMALL_CHUNK: usize = 16 * 1024;
/// The most memory that a session comes to need for it, in bytes: a buffer, and the stacks of two
/// threads.
pub(super) const MEMORY: u64 = (CHUNK + STACK + threads::STACK) as u64;
/// How often a thread that is held up looks whether what it waits for can still come.
const LOOK: Duration = Duration::from_millis(250);
/// How long what came before a reset may take to arrive.
const LAST_BYTES: Duration = Duration::from_millis(500);
/// How long the end of the process waits until the other side has heard of it.
pub const FAREWELL: Duration = Duration::from_secs(1);
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

impl Broken {
    /// A reset is what programs end by, too: `ssh` leaves like one that dies.
    fn level(&self) -> Level {
        use ErrorKind::{BrokenPipe, ConnectionReset};
        match self {
            Broken::Local(error) if matches!(error.kind(), ConnectionReset | BrokenPipe) => {
                Level::Info
            }
            Broken::Session(Error::PeerClosed { .. } | Error::Closed { .. }) => Level::Info,
            _ => Level::Warn,
        }
    }

    /// Says why, of the program at this end by this name.
    fn told(&self, program: &str) -> String {
        match self {
            Broken::Local(error) => format!("{program}: {}", text::system(error)),
            Broken::Session(Error::Refused { text, .. }) => format!("refused: {text}"),
            Broken::Session(Error::GaveUp { cause, .. }) => {
                format!("the session is lost: {}", text::system(cause))
            }
            Broken::Session(Error::SessionLost { .. }) => "the session is lost".to_string(),
            Broken::Session(Error::PeerClosed { .. }) => "reset by the other side".to_string(),
            Broken::Session(Error::Closed { .. }) => "reset by this side".to_string(),
            Broken::Session(error) => text::error(error),
        }
    }
}

/// Carries bytes both ways until both have ended. If something breaks, both ends are reset.
/// Returns what came of it, of the program at this end by this name.
fn carry(connection: &Connection, socket: &Socket, program: &str) -> (Level, String) {
    // Nothing more is received.
    let received = AtomicBool::new(false);
    let up = || send_all(connection, socket, &received).inspect_err(|why| part(connection, why));
    let down = || {
        let ended = receive_all(connection, socket);
        if let Err(why) = &ended {
            part(connection, why);
            // The other thread may read. What it takes for an end comes behind that of the session.
            socket.wake();
        }
        received.store(true, Ordering::SeqCst);
        ended
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
    let (level, why) = match ended {
        Ok(()) => {
            socket.keep();
            (Level::Info, "both sides have ended".to_string())
        }
        Err(why) => {
            part(connection, &why);
            (why.level(), why.told(program))
        }
    };
    (level, format!("{why}; {}", carried(&connection.stats())))
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
    // Nothing is lost any more, be the parting heard or not.
    let _ = connection.close();
    Ok(())
}

/// Ends a broken session. If there is no link, the other side hears of it when there is one.
fn part(connection: &Connection, why: &Broken) {
    if let Broken::Local(_) = why {
        let _ = connection.sync(LAST_BYTES);
    }
    connection.abort_within(Duration::MAX);
}

/// Sends what is read here to its end, and then watches this end until everything is received:
/// only the other thread can tell how the session has ended.
fn send_all(
    connection: &Connection,
    local: &impl Local,
    received: &AtomicBool,
) -> Result<(), Broken> {
    let most = CHUNK.min(connection.max_message());
    let mut buffer = vec![0; SMALL_CHUNK.min(most)];
    loop {
        let read = local.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        send(connection, local, &buffer[..read])?;
        let size = chunk_after(read, buffer.len(), most);
        if size != buffer.len() {
            buffer = vec![0; size];
        }
    }
    connection.finish()?;
    while !received.load(Ordering::SeqCst) {
        local.fail_within(LOOK)?;
    }
    Ok(())
}

/// How much the next read may take, after one that took `read` of `size`.
fn chunk_after(read: usize, size: usize, most: usize) -> usize {
    match read {
        full if full == size => most.min(2 * size),
        few if few < SMALL_CHUNK => most.min(SMALL_CHUNK),
        _ => size,
    }
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
