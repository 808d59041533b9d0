//! What `--help` says behind the options, and what `--completions` and `--man` print.
//!
//! The texts behind the options stand in files, as a terminal shows them; everything else
//! comes from the definitions in [`args`](super::args).

use clap::{Arg, Args, Command, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::stop::Stop;

/// The help is no wider.
pub const WIDTH: usize = 80;

/// What stands behind the options of `client --help`.
pub const CLIENT: &str = include_str!("client.txt");

/// What stands behind the options of `server --help`.
pub const SERVER: &str = include_str!("server.txt");

/// A part of such a text.
#[derive(Debug, Clone, Copy)]
pub struct Chapter {
    /// What it is about.
    pub title: &'static str,
    /// Its lines, as they are shown.
    pub lines: &'static str,
}

impl Chapter {
    /// The chapters of a text. Each begins with its title, and an empty line ends it.
    pub fn all(text: &'static str) -> impl Iterator<Item = Chapter> {
        text.split("\n\n").filter_map(|chapter| {
            let (title, lines) = chapter.split_once(":\n")?;
            Some(Chapter { title, lines })
        })
    }

    /// Its terms, and what each means: beside the term, or indented below it.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows: Vec<(&str, String)> = Vec::new();
        for line in self.lines.lines() {
            let line = line.strip_prefix("  ").unwrap_or(line);
            let (term, text) = line.split_once("  ").unwrap_or((line, ""));
            let text = text.trim_start();
            match rows.last_mut() {
                Some((_, said)) if term.is_empty() => {
                    said.push_str(if said.is_empty() { "" } else { " " });
                    said.push_str(text);
                }
                _ => rows.push((term, text.to_string())),
            }
        }
        rows
    }
}

/// What the operator can say and press, and what that does: as lines.
pub fn operators_lines() -> String {
    let mut chapters = Chapter::all(SERVER);
    let lines = chapters.find(|chapter| chapter.title.starts_with("The operator's lines"));
    lines.map_or_else(String::new, |chapter| format!("{}\n", chapter.lines))
}

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
    /// Stops with what was asked for, if anything was.
    pub fn answer(&self, command: Command, chapters: &'static str) -> Result<(), Stop> {
        match self.completions {
            Some(shell) => Err(Stop::Print(completions(command, shell))),
            None if self.man => Err(Stop::Print(page(command, chapters))),
            None => Ok(()),
        }
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

fn page(mut command: Command, chapters: &'static str) -> Vec<u8> {
    command.build();
    let mut roff = Roff::new();
    for chapter in Chapter::all(chapters) {
        roff.control("SH", [chapter.title.to_uppercase().as_str()]);
        for (term, text) in chapter.rows() {
            roff.control("TP", []);
            roff.text([bold(term)]).text([roman(text)]);
        }
    }
    let (man, mut page) = (Man::new(command), Vec::new());
    let to = &mut page;
    man.render_title(to)
        .and_then(|()| man.render_name_section(to))
        .and_then(|()| man.render_synopsis_section(to))
        .and_then(|()| man.render_description_section(to))
        .and_then(|()| man.render_options_section(to))
        .and_then(|()| roff.to_writer(to))
        .expect("memory takes everything");
    page
}
