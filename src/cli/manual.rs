//! What `--help` says behind the options, and what `--completions` and `--man` print.
//!
//! The texts behind the options stand in files, as a terminal shows them; everything else
//! comes from the definitions in [`args`](super::args).

use std::ffi::{OsStr, OsString};
use std::path::Path;

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

/// The chapters of such a text: the title of each, and its lines as they are shown. An empty
/// line ends a chapter.
pub fn chapters(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("\n\n").filter_map(|chapter| chapter.split_once(":\n"))
}

/// What the operator can say and press, and what that does: as lines.
pub fn operators_lines() -> String {
    let lines = chapters(SERVER).find(|(title, _)| title.starts_with("The operator's lines"));
    lines.map_or_else(String::new, |(_, lines)| format!("{lines}\n"))
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
    /// Stops with what was asked for, if anything was: under the name by which the program was
    /// `called`, since packages have longer ones.
    pub fn answer(
        &self,
        command: Command,
        behind: &str,
        called: Option<&OsString>,
    ) -> Result<(), Stop> {
        let name = called.and_then(|called| Path::new(called).file_name()).and_then(OsStr::to_str);
        let command = match name {
            // Clap wants it for as long as the process lasts, which ends with this.
            Some(name) if self.man || self.completions.is_some() => {
                command.name(String::from(name).leak() as &str)
            }
            _ => command,
        };
        match self.completions {
            Some(shell) => Err(Stop::Print(completions(command, shell))),
            None if self.man => Err(Stop::Print(page(command, behind))),
            None => Ok(()),
        }
    }
}

/// The completions, which offer names of files only where the value is one.
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
        Shell::Bash => names_of_hosts(&script).replace(" -o bashdefault -o default", ""),
        Shell::Fish => format!("complete -c {name} -f\n{script}"),
        _ => script.into_owned(),
    };
    script.into_bytes()
}

/// What the script for bash completes as files is a host, unless it takes care of spaces in it.
fn names_of_hosts(script: &str) -> String {
    let (mut line_before, mut text) = ("", String::new());
    for line in script.lines() {
        let is_file = line_before.trim_start().starts_with("IFS=");
        match line.split_once("compgen -f \"${cur}\"") {
            Some((begin, end)) if !is_file => {
                text += &format!("{begin}compgen -A hostname -- \"${{cur}}\"{end}\n");
            }
            _ => text += &format!("{line}\n"),
        }
        line_before = line;
    }
    text
}

fn page(mut command: Command, behind: &str) -> Vec<u8> {
    command.build();
    let mut roff = Roff::new();
    for (title, lines) in chapters(behind) {
        roff.control("SH", [title.to_uppercase().as_str()]);
        for line in lines.lines() {
            let line = line.strip_prefix("  ").unwrap_or(line);
            // Text stands beside its term, or indented below it.
            let (term, text) = line.split_once("  ").unwrap_or((line, ""));
            if !term.is_empty() {
                roff.control("TP", []).text([bold(term)]);
            }
            if !text.is_empty() {
                roff.text([roman(text.trim_start())]);
            }
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
