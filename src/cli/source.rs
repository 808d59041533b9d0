//! Standard input, whether it comes from a pipe or is typed.

use std::io::{self, Read};

use super::keyboard;
use super::lines::Lines;
use super::stdio::{self, ReadEnd};
use super::terminal::{self, Prompter};

/// Where bytes come from.
#[derive(Debug)]
pub(super) enum Source {
    /// They are read as they are, while this output has not gone.
    Read(Option<ReadEnd>),
    /// They are typed at a terminal, and edited there line by line.
    Typed,
}

impl Read for Source {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Read(output) => stdio::wait_for_input(*output).and_then(|()| stdio::read(to)),
            Source::Typed => keyboard::read(to),
        }
    }
}

/// Opens standard input for lines of at most `limit` bytes. `prompter` is for the terminal.
/// When `output` has gone, and there is no input yet, a read fails with
/// [`io::ErrorKind::BrokenPipe`].
pub(super) fn open(
    limit: usize,
    prompter: Prompter,
    output: Option<ReadEnd>,
) -> io::Result<Lines<Source>> {
    let source = match terminal::can_edit() {
        true => keyboard::start(limit, prompter, output).map(|()| Source::Typed)?,
        false => Source::Read(output),
    };
    Ok(Lines::new(source, limit))
}
