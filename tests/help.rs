//! What the programs say of themselves: help, completions, manual pages.
#![cfg(feature = "cli")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use clap::{CommandFactory, ValueHint};
use longlink::cli::args::{ClientArgs, ServerArgs};
use longlink::cli::manual::{CLIENT, SERVER, chapters};

struct Program {
    name: &'static str,
    path: &'static str,
    definition: clap::Command,
    /// Titles and lines.
    chapters: Vec<(&'static str, &'static str)>,
}

impl Program {
    fn both() -> [Program; 2] {
        let (client, server) = (env!("CARGO_BIN_EXE_client"), env!("CARGO_BIN_EXE_server"));
        [
            Program {
                name: "client",
                path: client,
                definition: ClientArgs::command(),
                chapters: chapters(CLIENT).collect(),
            },
            Program {
                name: "server",
                path: server,
                definition: ServerArgs::command(),
                chapters: chapters(SERVER).collect(),
            },
        ]
    }

    /// What it prints, given this; it must end well and say nothing else.
    #[track_caller]
    fn prints(&self, args: &[&str]) -> String {
        let output = Command::new(self.path).args(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &said[..]), (Some(0), ""), "{} {args:?}", self.name);
        String::from_utf8(output.stdout).unwrap()
    }

    /// The lines of a chapter.
    fn chapter(&self, title: &str) -> &'static str {
        self.chapters.iter().find(|chapter| chapter.0 == title).unwrap().1
    }

    fn options(&self) -> impl Iterator<Item = String> {
        let mut definition = self.definition.clone();
        definition.build();
        let options: Vec<_> = definition
            .get_arguments()
            .filter_map(|arg| arg.get_long().map(str::to_string))
            .collect();
        assert!(options.len() > 5, "{options:?}");
        options.into_iter()
    }
}

/// The terms of a chapter, and what each means: beside the term, or indented below it.
fn rows(lines: &'static str) -> Vec<(&'static str, String)> {
    let mut rows: Vec<(&str, String)> = Vec::new();
    for line in lines.lines() {
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

/// Runs a tool on this input, or prints that there is none.
fn tool(name: &str, args: &[&str], input: &str) -> Option<Output> {
    let mut command = Command::new(name);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        eprintln!("skipped: {name} is not installed");
        return None;
    };
    // What it has to say comes when it has read everything.
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Some(child.wait_with_output().unwrap())
}

#[track_caller]
fn assert_silent(output: &Output, what: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{what}: {} {said}", output.status);
}

#[test]
fn help_names_everything_and_fits_the_terminal() {
    for program in Program::both() {
        let long = program.prints(&["--help"]);
        for option in program.options() {
            let option = format!("--{option}");
            let begins = |line: &str| line.split_whitespace().take(2).any(|word| word == option);
            assert!(long.lines().any(begins), "{option}:\n{long}");
        }
        for (title, lines) in &program.chapters {
            let (_, behind) = long.split_once(&format!("\n{title}:\n")).unwrap();
            for line in lines.lines() {
                assert!(behind.lines().any(|shown| shown == line), "torn: {line}\n{long}");
            }
            for (term, _) in rows(lines) {
                assert!(behind.contains(&format!("  {term}")), "{term}:\n{long}");
            }
        }
        for variable in ["RUST_LOG", "NO_COLOR"] {
            assert!(long.contains(variable), "{variable}");
        }
        let short = program.prints(&["-h"]);
        assert!(short.lines().count() < long.lines().count() / 2, "{short}");
        for line in long.lines().chain(short.lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

/// An example that the program does not take teaches the wrong thing.
#[test]
fn the_examples_are_taken() {
    for program in Program::both() {
        for (example, _) in rows(program.chapter("Examples")) {
            let words = example.split(' ').take_while(|word| !"<>|".contains(word));
            if let Err(error) = program.definition.clone().try_get_matches_from(words) {
                panic!("{example}: {error}");
            }
        }
    }
}

/// The pages that show how the programs are used.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    pages.chain([root.join("README.md"), root.join("README.zh-CN.md")]).collect()
}

#[test]
fn the_commands_of_the_pages_are_taken() {
    let mut taken = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let blocks = text.split("```").skip(1).step_by(2);
        let lines = blocks.filter_map(|block| block.strip_prefix("sh\n")).flat_map(str::lines);
        for line in lines {
            let command = line.split(" #").next().unwrap();
            for program in Program::both() {
                let words = command.split_whitespace().take_while(|word| !"<>|&".contains(word));
                if command.split(' ').next() != Some(program.name) {
                    continue;
                }
                if let Err(error) = program.definition.clone().try_get_matches_from(words) {
                    panic!("{}: {line}: {error}", page.display());
                }
                taken += 1;
            }
        }
    }
    assert!(taken > 10, "only {taken} commands were found");
}

#[test]
fn completions_name_every_option() {
    for program in Program::both() {
        for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
            let script = program.prints(&["--completions", shell]);
            for option in program.options() {
                assert!(script.contains(&option), "{shell}: {option}:\n{script}");
            }
        }
    }
}

#[test]
fn bash_loads_its_completions() {
    for program in Program::both() {
        let script = program.prints(&["--completions", "bash"]);
        let Some(checked) = tool("bash", &["-n"], &script) else { return };
        assert_silent(&checked, "bash -n");
        // What is completed behind the beginning of an option.
        let name = program.name;
        let ask = format!(
            "{script}\ncomplete -p {name} > /dev/null\nCOMP_WORDS=({name} --he) COMP_CWORD=1\n\
             _{name} {name} --he {name} && printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        );
        let loaded = tool("bash", &["--norc"], &ask).unwrap();
        assert_silent(&loaded, "bash");
        let completed = String::from_utf8(loaded.stdout).unwrap();
        assert_eq!(completed.lines().collect::<Vec<_>>(), ["--heartbeat", "--help"]);
    }
}

/// For a host, say, they are of no use.
#[test]
fn shells_offer_files_where_a_value_is_one() {
    for program in Program::both() {
        let name = program.name;
        let mut definition = program.definition.clone();
        definition.build();
        let options = definition.get_arguments().filter(|arg| arg.get_action().takes_values());
        let options: Vec<_> = options.filter(|arg| arg.get_long().is_some()).collect();
        let of_kind = |kind| options.iter().filter(move |arg| arg.get_value_hint() == kind);
        let files: Vec<_> = of_kind(ValueHint::FilePath).filter_map(|arg| arg.get_long()).collect();
        let folders = of_kind(ValueHint::DirPath).count();
        assert!(files.len() + folders > 0, "{name}");

        let script = program.prints(&["--completions", "fish"]);
        assert!(script.starts_with(&format!("complete -c {name} -f\n")), "{script}");
        assert!(!script.lines().any(|line| line.ends_with(" -r")), "{script}");
        assert_eq!(script.matches(" -F\n").count(), files.len(), "{script}");
        let script = program.prints(&["--completions", "zsh"]);
        assert!(!script.contains("_default"), "{script}");
        assert_eq!(script.matches(":_files").count(), files.len() + folders, "{script}");

        let script = program.prints(&["--completions", "bash"]);
        let options = options.iter().filter_map(|arg| arg.get_long());
        // Tests run where there is a Cargo.toml. What completes is asked, and how.
        let ask = options.map(|option| {
            format!(
                "COMPREPLY=(none); COMP_WORDS=({name} --{option} Cargo) COMP_CWORD=2\n\
                 _{name} {name} Cargo --{option} 2> /dev/null\n\
                 printf '{option} %s\\n' \"${{COMPREPLY[@]}}\"\n"
            )
        });
        let ask = format!("{script}\n{}complete -p {name}\n", ask.collect::<String>());
        let Some(loaded) = tool("bash", &["--norc"], &ask) else { return };
        let completed = String::from_utf8(loaded.stdout).unwrap();
        assert!(!completed.contains("none"), "{completed}");
        let offered = completed.lines().filter(|line| line.ends_with(" Cargo.toml"));
        let offered: Vec<_> = offered.map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(offered, files, "{completed}");
        let how = completed.lines().last().unwrap();
        assert!(how.starts_with("complete ") && !how.contains("default"), "{how}");
    }
}

#[test]
fn manual_pages_render_without_a_warning() {
    for program in Program::both() {
        let page = program.prints(&["--man"]);
        for option in program.options() {
            let option = format!("--{option}").replace('-', "\\-");
            assert!(page.contains(&option), "{option}:\n{page}");
        }
        for (title, _) in &program.chapters {
            let heading = title.to_uppercase();
            assert!(page.contains(&heading), "{heading}:\n{page}");
        }
        let Some(rendered) = tool("groff", &["-man", "-Tutf8", "-ww"], &page) else { return };
        assert_silent(&rendered, "groff");
        let rendered = String::from_utf8(rendered.stdout).unwrap();
        assert!(rendered.contains("no colours on a terminal"), "{rendered}");
    }
}

#[test]
fn a_program_with_another_name_is_described_under_that() {
    use std::os::unix::process::CommandExt;

    for program in Program::both() {
        let name = format!("longlink-{}", program.name);
        let described = |args: &[&str]| {
            let output =
                Command::new(program.path).arg0(format!("/bin/{name}")).args(args).output();
            String::from_utf8(output.unwrap().stdout).unwrap()
        };
        let page = described(&["--man"]);
        let heading = format!(".TH {name} 1 ");
        assert!(page.lines().any(|line| line.starts_with(&heading)), "{page}");
        let script = described(&["--completions", "bash"]);
        let completes = |line: &str| line.contains("complete ") && line.ends_with(&name);
        assert!(script.lines().any(completes), "{script}");
    }
}

#[test]
fn what_is_for_packages_stands_alone() {
    for program in Program::both() {
        for args in [&["--man", "host"][..], &["--completions", "tcsh"], &["--completions"]] {
            let output = Command::new(program.path).args(args).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{args:?}");
            assert!(output.stdout.is_empty());
        }
    }
}
