//! What the other side sends, as a client prints it.

use std::io::{self, BufWriter, IsTerminal, Write};

use bytes::Bytes;

use super::{terminal, text};
use crate::{Connection, Error};

/// Printed in one go.
const BATCH: usize = 64 * 1024;
/// So many messages are received by one call: enough to make it cheap, and a
/// part of what the window holds.
const MANY: usize = 1024;

/// Why no more is printed.
#[derive(Debug)]
pub enum Stop {
    /// The connection failed.
    Connection(Error),
    /// Standard output did.
    Output(io::Error),
}

/// Prints messages until the other side ends: in a pipe as they came, on a
/// terminal as lines that cannot be mistaken for those typed. What came
/// together is passed on together.
pub fn print(connection: &Connection) -> Result<(), Stop> {
    let stdout = io::stdout();
    if stdout.is_terminal() {
        let mut lines = Vec::new();
        return receive(connection, |messages| {
            lines.clear();
            messages.iter().for_each(|message| text::line("server> ", message, true, &mut lines));
            terminal::write(io::stdout(), &lines)
        });
    }
    let mut output = BufWriter::with_capacity(BATCH, stdout.lock());
    receive(connection, |messages| {
        messages.iter().try_for_each(|message| output.write_all(message))?;
        output.flush()
    })
}

fn receive(
    connection: &Connection,
    mut print: impl FnMut(&[Bytes]) -> io::Result<()>,
) -> Result<(), Stop> {
    let mut messages = Vec::new();
    while connection.recv_many(&mut messages, MANY).map_err(Stop::Connection)? > 0 {
        print(&messages).map_err(Stop::Output)?;
        messages.clear();
    }
    Ok(())
}
