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
    /// Takes the lines that are typed from now on, of at most `limit` bytes, and sends
    /// them as soon as there is a connection; from a thread that is never joined.
    pub(super) fn start_typed(
        self: &Arc<Input>,
        limit: usize,
        exit_ends: bool,
        prompter: Prompter,
    ) -> io::Result<()> {
        let lines = keyboard::start(limit, prompter, ReadEnd::of_output())?;
        let input = self.clone();
        let work = move || {
            let last = (1..).zip(lines).find_map(|(number, typed)| {
                let last = input.last(&typed, exit_ends);
                if last.is_some() && number == 1 && input.connection.get().is_none() {
                    input::leave_unconnected();
                }
                let connection = input.connection.wait();
                if last.is_none() {
                    input.send_typed(connection, number, typed);
                }
                Some((connection, number, last?))
            });
            // Nothing that is typed now is read.
            terminal::close();
            match last {
                Some((connection, number, Last::Exit)) => {
                    input.leave(connection, keyboard::typed() > number);
                }
                Some((connection, _, Last::End)) => input.end(connection),
                Some((connection, _, Last::Unread)) => input.end_unread(connection),
                None => {}
            }
        };
        thread::Builder::new().name("input".into()).spawn(work)?;
        Ok(())
    }

    /// Why this is the last, if it is.
    fn last(&self, typed: &Typed, exit_ends: bool) -> Option<Last> {
        match typed {
            Typed::Line(line) if line == b"exit\n" && exit_ends => Some(Last::Exit),
            Typed::Line(_) | Typed::TooLong(_) => None,
            Typed::End => Some(Last::End),
            Typed::Unread => Some(Last::Unread),
            Typed::Failed(error) => {
                log::error!("cannot read standard input: {}", text::system(error));
                self.refused.store(true, Ordering::SeqCst);
                Some(Last::End)
            }
        }
    }

    /// Sends a line, or says why not.
    fn send_typed(&self, connection: &Connection, number: u64, typed: Typed) {
        let sent = match typed {
            Typed::Line(line) => connection.send_bytes(line),
            Typed::TooLong(size) => {
                let (size, limit) = (size as usize, connection.max_message());
                Err(Error::TooLarge { size, limit })
            }
            _ => return,
        };
        if let Err(refusal) = sent {
            while input::is_over(&refusal) {
                // The thread that prints says so. Nothing takes what else is typed.
                thread::park();
            }
            self.refuse(number, &refusal);
        }
        keyboard::done();
    }
}
