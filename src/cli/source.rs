//! Standard input as lines, whether they come from a pipe or are typed.

use std::io;

use super::keyboard::{self, Typing};
use super::lines::{Line, Lines};
use super::stdio::{ReadEnd, Reader};
use super::terminal::{self, Prompter};

/// Where lines come from.
#[derive(Debug)]
pub(super) enum Source {
    /// Read as they are.
    Read(Lines<Reader>),
    /// Typed at a terminal, and edited there.
    Typed(Typing),
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
            true => Typing::start(limit, prompter, output).map(Source::Typed),
            false => Ok(Source::Read(Lines::new(Reader::new(output), limit))),
        }
    }

    /// Waits until there is something to read, and takes none of it. Fails as a read does.
    /// For typed lines there is nothing to wait for: they are taken as they come.
    pub(super) fn wait(&mut self) -> io::Result<()> {
        match self {
            Source::Read(lines) => lines.reader().wait(),
            Source::Typed(_) => Ok(()),
        }
    }

    /// The next line. The one before is done with. Calls `before_wait` if there is none
    /// yet.
    pub(super) fn next(&mut self, before_wait: impl FnMut()) -> io::Result<Line<'_>> {
        match self {
            Source::Read(lines) => lines.next(before_wait),
            Source::Typed(typing) => typing.next(before_wait),
        }
    }

    /// The number of the last line, from 1.
    pub(super) fn number(&self) -> u64 {
        match self {
            Source::Read(lines) => lines.number(),
            Source::Typed(typing) => typing.number(),
        }
    }

    /// Whether more has come already.
    pub(super) fn has_more(&self) -> bool {
        match self {
            Source::Read(lines) => lines.has_more(),
            Source::Typed(typing) => !keyboard::lines_after(typing.number()).is_empty(),
        }
    }

    /// Takes no more: what is typed now is not read.
    pub(super) fn close(&self) {
        if let Source::Typed(_) = self {
            terminal::close();
        }
    }
}
