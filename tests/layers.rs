//! Arrows between modules point down: no circle among the library's, nothing below
//! `src/proto` or in `src/net.rs` names what is above, and the programs use what the
//! crate exports and nothing else.
//!
//! A module and those in its folder count as one file that was cut in pieces: what
//! they name of each other is their own affair.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The text of each module, without comments and tests; "" is the crate's root.
type Sources = BTreeMap<String, String>;

/// Modules that exist for tests only.
const FOR_TESTS: [&str; 7] =
    ["tests", "sim", "fuzzing", "model", "worked_example", "counts", "toy"];

fn read(folder: &Path, module: &str, sources: &mut Sources) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let stem = name.strip_suffix(".rs").unwrap_or(&name);
        if FOR_TESTS.contains(&stem) {
            continue;
        }
        let inner = match stem {
            "mod" | "lib" => module.to_string(),
            _ if module.is_empty() => stem.to_string(),
            _ => format!("{module}::{stem}"),
        };
        if entry.path().is_dir() {
            read(&entry.path(), &inner, sources);
        } else if name.ends_with(".rs") {
            sources.insert(inner, code(&fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

/// Without comments, and without what follows a `#[cfg(test)]` up to the end of that item.
fn code(text: &str) -> String {
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut kept = String::new();
    while let Some(line) = lines.next() {
        let attribute = line.trim_start();
        if !attribute.starts_with("#[cfg(") || !attribute.contains("test") {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        let mut depth = 0;
        for line in lines.by_ref() {
            let count = |sign| line.matches(sign).count() as i32;
            depth += count('{') - count('}');
            let ends = line.trim_end().ends_with([';', ',', '}']);
            if depth == 0 && ends && !line.trim_start().starts_with("#[") {
                break;
            }
        }
    }
    kept
}

/// The paths that begin with one of these words, those of a group each by itself.
fn paths(text: &str) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    for root in ["crate", "super", "self"] {
        for (at, _) in text.match_indices(&format!("{root}::")) {
            if !text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
                follow(&text[at..], Vec::new(), &mut found);
            }
        }
    }
    found
}

/// Reads one path of a tree of them. Returns what follows it.
fn follow<'a>(
    mut text: &'a str,
    mut path: Vec<String>,
    found: &mut BTreeSet<Vec<String>>,
) -> &'a str {
    loop {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        if end > 0 {
            path.push(text[..end].to_string());
        }
        text = &text[end..];
        let Some(rest) = text.strip_prefix("::") else {
            found.insert(path);
            return text;
        };
        let Some(mut group) = rest.strip_prefix('{') else {
            text = rest;
            continue;
        };
        loop {
            group = follow(group.trim_start(), path.clone(), found);
            // An "as" and what it says is passed over.
            let end = group.find([',', '}']).unwrap_or(group.len());
            match group[end..].strip_prefix(',') {
                Some(next) if !next.trim_start().starts_with('}') => group = next,
                _ => return group[end..].trim_start_matches([',', '}', ' ', '\n']),
            }
        }
    }
}

/// What the crate's root exports, and from which module.
fn exported(root: &str) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    for (at, _) in root.match_indices("pub use ") {
        let mut found = BTreeSet::new();
        follow(&root[at + "pub use ".len()..], Vec::new(), &mut found);
        exports
            .extend(found.into_iter().filter_map(|mut path| Some((path.pop()?, path.join("::")))));
    }
    exports
}

/// The path from the crate's root.
fn absolute(module: &str, path: &[String]) -> Vec<String> {
    let mut base: Vec<String> = Vec::new();
    if path[0] != "crate" && !module.is_empty() {
        base = module.split("::").map(String::from).collect();
    }
    for part in path {
        match part.as_str() {
            "crate" | "self" => {}
            "super" => drop(base.pop()),
            _ => base.push(part.clone()),
        }
    }
    base
}

fn is_program(module: &str) -> bool {
    ["cli", "bin"].contains(&module.split("::").next().unwrap_or_default())
}

/// What is wrong.
fn breaches(sources: &Sources) -> Vec<String> {
    let exports = exported(&sources[""]);
    let mut wrong = Vec::new();
    let mut arrows: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (module, text) in sources {
        for path in paths(text) {
            let full = absolute(module, &path);
            let Some(first) = full.first() else { continue };
            if is_program(module) && first != "cli" && !exports.contains_key(first) {
                wrong.push(format!("{module} uses {}, which is not exported", full.join("::")));
            }
            let full = match exports.get(first) {
                Some(home) if !sources.contains_key(first) => home.clone(),
                _ => full.join("::"),
            };
            let mut target = full.as_str();
            while !target.is_empty() && !sources.contains_key(target) {
                target = target.rsplit_once("::").map_or("", |(outer, _)| outer);
            }
            let within = |one: &str, other: &str| one.starts_with(&format!("{other}::"));
            if !target.is_empty()
                && target != module
                && !within(target, module)
                && !within(module, target)
            {
                arrows.entry(module).or_default().insert(target.to_string());
            }
        }
    }
    let below: [(&str, &[&str]); 4] = [
        ("proto", &["proto"]),
        ("net", &["proto", "sync"]),
        ("identity", &[]),
        ("secure", &["secure", "proto", "sync", "identity", "error", "words"]),
    ];
    for (module, targets) in &arrows {
        let outer = |path: &str| path.split("::").next().unwrap_or_default().to_string();
        let rule = below.iter().find(|(name, _)| *name == outer(module));
        for target in targets {
            if rule.is_some_and(|(_, may)| !may.contains(&outer(target).as_str())) {
                wrong.push(format!("{module} names {target}, which is above it"));
            }
        }
    }
    // Those that name nothing but what was taken away are taken away, until none is left.
    arrows.retain(|module, _| !is_program(module));
    loop {
        let left: BTreeSet<String> = arrows.keys().map(|module| module.to_string()).collect();
        arrows.retain(|_, targets| targets.iter().any(|target| left.contains(target)));
        if arrows.len() == left.len() {
            break;
        }
    }
    wrong.extend(
        arrows.iter().map(|(module, targets)| format!("a circle: {module} -> {targets:?}")),
    );
    wrong
}

#[test]
fn arrows_point_down() {
    let mut sources = Sources::new();
    read(Path::new("src"), "", &mut sources);
    assert!(sources.len() > 50, "{:?}", sources.keys());
    let wrong = breaches(&sources);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_breach_is_found() {
    let house = [
        ("", "mod net;\npub use link::{Link, State as Shared};"),
        ("net", "use crate::sync;"),
        ("sync", "pub fn now() {}"),
        ("proto", "mod frame;"),
        ("proto::frame", "use std::fmt;"),
        ("proto::session", "use super::frame::{self, Frame};"),
        ("link", "mod care;\nuse crate::{net::Socket, proto::session};"),
        ("link::care", "use super::State;"),
        ("cli::chat", "use super::text;\nuse crate::{Link, cli::log as journal};"),
    ];
    let cases = [
        ("net", "fn f() { crate::link::tell() }", "net names link, which is above it"),
        ("proto::frame", "use crate::{sync};", "proto::frame names sync, which is above it"),
        ("proto::frame", "use super::super::Link;", "proto::frame names link, which is above it"),
        ("proto::frame", "use super::session::{\n    Seen,\n};", "a circle: proto::frame -> "),
        ("sync", "use crate::{link::{Link, State as Other}};", "a circle: sync -> "),
        ("cli::chat", "use crate::sync::now;", "cli::chat uses sync::now, which is not exported"),
        ("cli::chat", "fn f(s: crate::link::Link) {}", "cli::chat uses link::Link, which is not"),
    ];
    let sources = |text: &[(&str, &str)]| -> Sources {
        text.iter().map(|(module, text)| (module.to_string(), code(text))).collect()
    };
    assert_eq!(breaches(&sources(&house)), Vec::<String>::new());
    for (module, text, what) in cases {
        let planted: Vec<_> = house.into_iter().chain([(module, text)]).collect();
        let wrong = breaches(&sources(&planted));
        assert!(wrong.iter().any(|wrong| wrong.starts_with(what)), "{what}: {wrong:#?}");
        // In a test, or in a comment, it is none.
        for text in [format!("#[cfg(test)]\nmod tests {{\n{text}\n}}"), text.replace('\n', " ")] {
            let text = if text.starts_with('#') { text } else { format!("// {text}") };
            let planted: Vec<_> = house.into_iter().chain([(module, text.as_str())]).collect();
            assert_eq!(breaches(&sources(&planted)), Vec::<String>::new(), "{what}");
        }
    }
}
