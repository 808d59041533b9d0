//! The client's input where somebody types it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use super::input::{self, Input};
use super::keyboard::{self, Typed};
use super::stdio::ReadEnd;
use super::terminal::{self, Prompter};
use super::text;
use crate::{Connection, Error};

/// Why nothing more is taken.
enum Last {
    /// `exit` was typed.
    Exit,
    /// The end of the input.
    End,
    /// Nothing reads the replies any more.
    Unread,
}

impl Input {
    /// Sends the lines that are typed, from a thread that is never joined.
    pub fn start_typed(
        self: &Arc<Input>,
        connection: Arc<Connection>,
        exit_ends: bool,
        prompter: Prompter,
    ) -> io::Result<()> {
        let output = ReadEnd::of_output();
        let lines = keyboard::start(connection.max_message(), prompter, output)?;
        let input = self.clone();
        let work = move || {
            let last = (1..).zip(lines).find_map(|(number, typed)| {
                let last = input.take_typed(&connection, number, typed, exit_ends)?;
                Some((number, last))
            });
            // Nothing that is typed now is read.
            terminal::close();
            match last {
                Some((number, Last::Exit)) => input.leave(&connection, keyboard::typed() > number),
                Some((_, Last::End)) => input.end(&connection),
                Some((_, Last::Unread)) => input.end_unread(&connection),
                None => {}
            }
        };
        thread::Builder::new().name("input".into()).spawn(work)?;
        Ok(())
    }

    /// Sends a line. After the last one it says why that is the last.
    fn take_typed(
        &self,
        connection: &Connection,
        number: u64,
        typed: Typed,
        exit_ends: bool,
    ) -> Option<Last> {
        let refusal = match typed {
            Typed::Line(line) if line == b"exit\n" && exit_ends => return Some(Last::Exit),
            Typed::Line(line) => connection.send_bytes(line).err()?,
            Typed::TooLong(size) => {
                let (size, limit) = (size as usize, connection.max_message());
                Error::TooLarge { size, limit }
            }
            Typed::End => return Some(Last::End),
            Typed::Unread => return Some(Last::Unread),
            Typed::Failed(error) => {
                log::error!("cannot read standard input: {}", text::system(&error));
                self.refused.store(true, Ordering::SeqCst);
                return Some(Last::End);
            }
        };
        while input::is_over(&refusal) {
            // The thread that prints says so. Nobody takes what else is typed.
            thread::park();
        }
        self.refuse(number, &refusal);
        None
    }
}
