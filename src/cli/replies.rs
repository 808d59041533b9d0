//! What the other side sends, as a client shows it on a terminal.

use std::io;

use super::{terminal, text};
use crate::{Connection, Error};

/// Printed in one go.
pub const BATCH: usize = 64 * 1024;

/// Why no more is printed.
#[derive(Debug)]
pub enum Stop {
    /// The connection failed.
    Connection(Error),
    /// Standard output did.
    Output(io::Error),
}

/// Shows messages on a terminal until the other side ends, as lines that cannot
/// be mistaken for those typed. What was received is shown when nothing more is
/// waiting.
pub fn show(connection: &Connection) -> Result<(), Stop> {
    let mut lines = Vec::new();
    loop {
        let received = match connection.try_recv() {
            Err(Error::WouldBlock) => {
                pass_on(&mut lines)?;
                connection.recv()
            }
            received => received,
        };
        if let Ok(Some(message)) = &received {
            text::line("server> ", message, true, &mut lines);
        }
        if lines.len() >= BATCH || !matches!(received, Ok(Some(_))) {
            pass_on(&mut lines)?;
        }
        match received {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(error) => return Err(Stop::Connection(error)),
        }
    }
}

fn pass_on(lines: &mut Vec<u8>) -> Result<(), Stop> {
    let written = match lines.is_empty() {
        true => Ok(()),
        false => terminal::write(io::stdout(), lines),
    };
    lines.clear();
    written.map_err(Stop::Output)
}
