//! What `--help` says behind the options, and what `--completions` and `--man`
//! print: all of it from the definitions in [`args`](super::args).

use std::io;

use clap::{Arg, Args, Command, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::roster::COMMANDS;

/// The help is no wider.
pub const WIDTH: usize = 80;
/// A term beyond this has a line of its own.
const LONGEST_TERM: usize = 16;

/// A part of the help: terms, and what each means.
#[derive(Debug, Clone, Copy)]
pub struct Chapter {
    /// What it is about.
    pub title: &'static str,
    /// A term and its text.
    pub rows: &'static [(&'static str, &'static str)],
}

/// What stands behind the options of `client --help`.
pub const CLIENT: [Chapter; 5] = [
    Chapter {
        title: "Examples",
        rows: &[
            ("client 127.0.0.1", "talk to a server on this machine"),
            ("client one.example two.example:7000", "fail over from one server to the other"),
            ("client 192.0.2.1 < in > out", "send a file, and keep the replies"),
            (
                "client 192.0.2.1 --retries forever --backoff exponential",
                "from a machine that may be without a network for days",
            ),
            (
                "client 192.0.2.1 --heartbeat 2s --misses 2",
                "notice a dead server after 4s instead of 30s",
            ),
            ("client 192.0.2.1:23 --plain", "keep a connection to a device that speaks lines"),
        ],
    },
    VALUES,
    Chapter {
        title: "How it ends",
        rows: &[
            ("exit", "alone on a line: when everything is acknowledged"),
            ("end of input", "Ctrl-D: when the other side has ended, too"),
            (
                "end of output",
                "when what reads it has gone, as head does, and what was sent is acknowledged",
            ),
            ("Ctrl-C, SIGTERM", "at once; it says how many messages were not acknowledged"),
        ],
    },
    Chapter {
        title: EXIT_CODES,
        rows: &[
            (
                "0",
                "the other side ended, `exit` was fully acknowledged, or nothing reads the output \
                 any more, and everything sent was acknowledged",
            ),
            (
                "1",
                "never connected, gave up, was rejected, a line was refused, not sent or, with \
                 `--plain`, may be lost, or a reply could not be printed; it says how many \
                 messages were not acknowledged",
            ),
            ("2", "wrong arguments"),
            ("130, 143", "Ctrl-C, SIGTERM"),
        ],
    },
    ENVIRONMENT,
];

/// What stands behind the options of `server --help`.
pub const SERVER: [Chapter; 6] = [
    Chapter {
        title: "Examples",
        rows: &[
            ("server", "echo, for this machine only"),
            ("server --bind 0.0.0.0:7000", "for everybody who can reach this machine"),
            ("server --chat", "answer from the keyboard"),
            (
                "server --chat < answers > questions",
                "answer from a file, as soon as somebody comes",
            ),
            (
                "server --max-clients 100 --window 64KiB",
                "on a small machine; it says at its start how much memory that can take",
            ),
            ("server --framed-only --resume-within 1h", "for clients that are away for long"),
        ],
    },
    Chapter { title: "The operator's lines, with --chat", rows: &COMMANDS },
    VALUES,
    Chapter {
        title: "How it ends",
        rows: &[
            (
                "Ctrl-C, SIGTERM",
                "at once, with an account of what was served. No session is ended: clients come \
                 back when there is a server again",
            ),
            (
                "the same again",
                "half a second later or more: ends it although the account cannot be written",
            ),
            (
                "end of input",
                "Ctrl-D with --chat: sessions are ended. A client that lost its link is waited \
                 for as long as --resume-within says, one that takes nothing for 10s",
            ),
            ("SIGHUP", "as Ctrl-C, without an account; under nohup it goes on"),
        ],
    },
    Chapter {
        title: EXIT_CODES,
        rows: &[
            ("0", "Ctrl-C or SIGTERM; end of input with `--chat`, and the clients took everything"),
            (
                "1",
                "cannot listen; with `--chat`, a client did not take all, or a line was not sent",
            ),
            ("2", "wrong arguments"),
            ("130, 143", "Ctrl-C, SIGTERM a second time"),
        ],
    },
    ENVIRONMENT,
];

const EXIT_CODES: &str = "Exit codes";

/// How values are written.
const VALUES: Chapter = Chapter {
    title: "Values",
    rows: &[
        ("DURATION", "a number and its unit, such as 500ms, 10s, 2m or 1h"),
        ("BYTES", "a number such as 65536, or with a unit: 256KiB, 1MiB"),
    ],
};

/// What is taken from the environment.
const ENVIRONMENT: Chapter = Chapter {
    title: "Environment",
    rows: &[
        ("RUST_LOG", "what is logged, such as debug or longlink=trace; it wins over -q and -v"),
        ("NO_COLOR", "if set, no colours on a terminal"),
    ],
};

/// What other programs are given about this one.
#[derive(Debug, Args)]
#[command(next_help_heading = "For packages")]
pub struct Packaging {
    /// Print the completions for a shell
    ///
    /// Bash takes them from /usr/share/bash-completion/completions, by the name
    /// of the program.
    #[arg(long, value_name = "SHELL", exclusive = true, hide_short_help = true)]
    completions: Option<Shell>,
    /// Print the manual page
    ///
    /// To see it: `--man | man -l -`.
    #[arg(long, exclusive = true, hide_short_help = true)]
    man: bool,
}

impl Packaging {
    /// What was asked for, if anything was.
    pub fn print(&self, command: Command, chapters: &[Chapter]) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        if let Some(shell) = self.completions {
            text = completions(command, shell);
        } else if self.man {
            page(command, chapters, &mut text).expect("memory takes everything");
        } else {
            return None;
        }
        Some(text)
    }
}

/// The completions, which offer file names for nothing: no value here is one.
fn completions(command: Command, shell: Shell) -> Vec<u8> {
    let unknown = |arg: &Arg| arg.get_value_hint() == ValueHint::Unknown;
    let mut command =
        command.mut_args(|arg| match unknown(&arg) && arg.get_action().takes_values() {
            true => arg.value_hint(ValueHint::Other),
            false => arg,
        });
    let (name, mut script) = (command.get_name().to_string(), Vec::new());
    clap_complete::generate(shell, &mut command, &name, &mut script);
    let script = String::from_utf8_lossy(&script);
    let script = match shell {
        // Bash knows names of machines, too; and it offers no files by itself.
        Shell::Bash => script
            .replace("compgen -f \"${cur}\"", "compgen -A hostname -- \"${cur}\"")
            .replace(" -o bashdefault -o default", ""),
        Shell::Fish => format!("complete -c {name} -f\n{script}"),
        _ => script.into_owned(),
    };
    script.into_bytes()
}

fn page(mut command: Command, chapters: &[Chapter], to: &mut Vec<u8>) -> io::Result<()> {
    command.build();
    let man = Man::new(command);
    man.render_title(to)?;
    man.render_name_section(to)?;
    man.render_synopsis_section(to)?;
    man.render_description_section(to)?;
    man.render_options_section(to)?;
    let mut roff = Roff::new();
    for chapter in chapters {
        roff.control("SH", [chapter.title.to_uppercase().as_str()]);
        for (term, text) in chapter.rows {
            roff.control("TP", []);
            roff.text([bold(*term)]).text([roman(*text)]);
        }
    }
    roff.to_writer(to)
}

/// Chapters as text for a terminal.
pub fn chapters(chapters: &[Chapter]) -> String {
    let text = |chapter: &Chapter| format!("{}:\n{}", chapter.title, rows(chapter.rows));
    let parts: Vec<_> = chapters.iter().map(text).collect();
    parts.join("\n").trim_end().to_string()
}

/// Terms and texts in two columns, as lines.
pub fn rows(rows: &[(&str, &str)]) -> String {
    let longest = rows.iter().map(|(term, _)| term.len()).max().unwrap_or(0);
    let (column, apart) = match longest <= LONGEST_TERM {
        true => (2 + longest + 2, false),
        false => (10, true),
    };
    let mut lines = String::new();
    for (term, text) in rows {
        let mut line = format!("  {term}");
        if apart {
            lines.push_str(&line);
            lines.push('\n');
            line.clear();
        }
        for word in text.split(' ') {
            let begun = line.len() > column;
            if begun && line.len() + 1 + word.len() > WIDTH {
                lines.push_str(&line);
                lines.push('\n');
                line.clear();
            } else if begun {
                line.push(' ');
            }
            line = format!("{line:column$}{word}");
        }
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}
