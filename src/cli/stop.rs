//! When there is nothing to run: help, or what is wrong with the arguments.

use clap::error::ErrorKind;

use super::stdio::Writer;
use super::{code, text};

/// Why there is nothing to run.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// Help, a version or the like was asked for: this one.
    Print(Vec<u8>),
    /// The arguments are wrong; one line says which and what would be right.
    Usage(String),
}

impl Stop {
    /// What clap has to say.
    pub fn new(error: &clap::Error) -> Stop {
        let rendered = error.render().to_string();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Stop::Print(rendered.into_bytes())
            }
            ErrorKind::MissingRequiredArgument if one_line(&rendered).contains("HOST") => {
                Stop::Usage(
                    "HOST[:PORT] is missing: where to connect to, such as 127.0.0.1".to_string(),
                )
            }
            _ => Stop::Usage(one_line(&rendered)),
        }
    }

    /// Says it, and returns the code to exit with.
    pub fn say(&self, program: &str) -> u8 {
        match self {
            Stop::Print(text) => {
                let output = Writer::output();
                match output.write_all(&mut &text[..]) {
                    // A reader who has seen enough closes the pipe.
                    Err(error) if !output.has_lost_reader(&error) => {
                        let why = text::system(&error);
                        complain(&format!("{program}: cannot write to standard output: {why}"));
                        code::FAILED
                    }
                    _ => code::OK,
                }
            }
            Stop::Usage(text) => {
                complain(&format!("{program}: {text} (see {program} --help)"));
                code::USAGE
            }
        }
    }
}

/// The exit code tells as well, where standard error takes nothing.
fn complain(line: &str) {
    let _ = Writer::error().write_all(&mut format!("{line}\n").as_bytes());
}

/// What clap says over several lines, without the usage and the advice to read it.
fn one_line(rendered: &str) -> String {
    let mut line = String::new();
    for part in rendered.lines().map(str::trim) {
        if part.starts_with("Usage:") || part.starts_with("For more information") {
            break;
        }
        if part.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        match part.strip_prefix("tip: ") {
            // No value of ours begins with a dash.
            Some(tip) if tip.starts_with("to pass ") => line.truncate(line.trim_end().len()),
            Some(tip) => line.push_str(&format!("({tip})")),
            None => line.push_str(part),
        }
    }
    text::escaped(line.strip_prefix("error: ").unwrap_or(&line).as_bytes())
}
