//! Standard input as lines, whether they come from a pipe or are typed.

use std::io;

use super::keyboard;
use super::lines::{Line, Lines};
use super::stdio::{ReadEnd, Reader};
use super::terminal::{self, Prompter};

/// Where lines come from.
#[derive(Debug)]
pub(super) enum Source {
    /// Read as they are.
    Read(Lines<Reader>),
    /// Typed at a terminal, and edited there.
    Typed,
}

impl Source {
    /// Opens standard input for lines of at most `limit` bytes. `prompter` is for the
    /// terminal. When `output` has gone, and there is no input yet, a read fails with
    /// [`io::ErrorKind::BrokenPipe`].
    pub(super) fn open(
        limit: usize,
        prompter: Prompter,
        output: Option<ReadEnd>,
    ) -> io::Result<Source> {
        match terminal::can_edit() {
            true => keyboard::start(limit, prompter, output).map(|()| Source::Typed),
            false => Ok(Source::Read(Lines::new(Reader(output), limit))),
        }
    }

    /// The next line. The one before is done with. Calls `before_wait` if there is none
    /// yet.
    pub(super) fn next(&mut self, before_wait: impl FnMut()) -> io::Result<Line> {
        match self {
            Source::Read(lines) => lines.next(before_wait),
            Source::Typed => keyboard::next(before_wait),
        }
    }

    /// The number of the last line, from 1.
    pub(super) fn number(&self) -> u64 {
        match self {
            Source::Read(lines) => lines.number(),
            Source::Typed => keyboard::number(),
        }
    }

    /// Whether more has come already.
    pub(super) fn has_more(&self) -> bool {
        match self {
            Source::Read(lines) => lines.has_more(),
            Source::Typed => !keyboard::lines_after(keyboard::number()).is_empty(),
        }
    }

    /// Takes no more: what is typed now is not read.
    pub(super) fn close(&self) {
        if let Source::Typed = self {
            terminal::close();
        }
    }
}
