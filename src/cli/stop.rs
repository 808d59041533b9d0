//! When there is nothing to run: help, or what is wrong with the arguments.

use std::process;

use super::stdio::{self, stderr, stdout};
use super::{code, text};
use crate::Error;

/// Why there is nothing to run.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// Help, a version or the like was asked for: this one.
    Print(Vec<u8>),
    /// The arguments are wrong; one line says which and what would be right.
    Usage(String),
    /// What was asked for, and is no service, cannot be done; one line says why.
    Failed(String),
}

impl Stop {
    /// What clap has to say.
    pub fn new(error: &clap::Error) -> Stop {
        let rendered = error.render().to_string();
        match error.use_stderr() {
            true => Stop::Usage(one_line(&rendered)),
            false => Stop::Print(rendered.into_bytes()),
        }
    }

    /// What a call of the library came to.
    pub(super) fn failed(error: Error) -> Stop {
        Stop::Failed(text::error(&error))
    }

    /// Says it, and ends the process.
    pub fn exit(&self, program: &str) -> ! {
        let (line, code) = match self {
            Stop::Print(text) => match stdio::write_all(stdout(), &mut &text[..]) {
                // A reader that has seen enough closes the pipe.
                Err(error) if !stdio::has_lost_reader(stdout(), &error) => {
                    let why = text::system(&error);
                    (format!("cannot write to standard output: {why}"), code::FAILED)
                }
                _ => process::exit(code::OK.into()),
            },
            Stop::Failed(text) => (text.clone(), code::FAILED),
            Stop::Usage(text) => (format!("{text} (see {program} --help)"), code::USAGE),
        };
        // The exit code tells as well, where standard error takes nothing.
        let _ = stdio::write_all(stderr(), &mut format!("{program}: {line}\n").as_bytes());
        process::exit(code.into())
    }
}

/// What clap says over several lines, without the usage and the advice to read it.
fn one_line(rendered: &str) -> String {
    let said = rendered.lines().map(str::trim);
    let said = said.take_while(|it| !["Usage:", "For more"].iter().any(|end| it.starts_with(end)));
    let parts = said.filter_map(|part| match part.strip_prefix("tip: ") {
        _ if part.is_empty() => None,
        // No value of ours begins with a dash.
        Some(tip) if tip.starts_with("to pass ") => None,
        Some(tip) => Some(format!("({tip})")),
        None => Some(part.to_string()),
    });
    let line = parts.collect::<Vec<_>>().join(" ");
    text::escaped(line.strip_prefix("error: ").unwrap_or(&line).as_bytes())
}
