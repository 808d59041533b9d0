//! What rustdoc does not check: that each public item has an example, that the crate page and the
//! pages of the repository say the same, that the README stays short, and that links lead somewhere
//! where each of them is read.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Files in which public items are.
const FACES: [&str; 20] = [
    "config",
    "connection",
    "connection/basics",
    "connection/callback",
    "connection/end",
    "connection/handles",
    "connection/many",
    "connection/open",
    "connection/receive",
    "connection/send",
    "error",
    "event",
    "host",
    "listener",
    "proto/heartbeat",
    "proto/loss",
    "protocol",
    "retry",
    "stats",
    "stream",
];

/// The sections that begin the crate page, in its order there.
const SECTIONS: [(&str, &str); 7] = [
    ("README.md", "# longlink"),
    ("README.md", "## The library"),
    ("README.md", "## What is guaranteed"),
    ("README.md", "## Use it when"),
    ("README.md", "## What it does not do"),
    ("docs/plain-text.md", "# Plain or framed"),
    ("docs/security.md", "# Security"),
];
const EXCERPT: &str = "src/readme.md";

/// Where the crate page's readers find the files of the package.
const SOURCES: &str = "https://docs.rs/crate/longlink/latest/source/";

/// The longest that a README may be for a reader to decide within a minute.
const README_WORDS: usize = 1100;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Whether a line declares something that users see. Fields and variants stand in the example of
/// what they belong to.
fn declares(line: &str) -> bool {
    ["fn", "const fn", "struct", "enum", "trait", "type", "const"]
        .iter()
        .any(|kind| line.trim_start().starts_with(&format!("pub {kind} ")))
}

#[test]
fn every_public_item_has_an_example() {
    let (mut items, mut bare) = (0, Vec::new());
    for face in FACES {
        let source = read(&format!("src/{face}.rs"));
        let (mut documented, mut example) = (false, false);
        for line in source.lines().take_while(|line| *line != "#[cfg(test)]") {
            let text = line.trim_start();
            if text.starts_with("///") {
                documented = true;
                example |= text.starts_with("/// ```");
            } else if !(documented && text.starts_with("#[")) {
                if declares(line) {
                    items += 1;
                    if !example {
                        bare.push(format!("src/{face}.rs: {text}"));
                    }
                }
                (documented, example) = (false, false);
            }
        }
    }
    assert!(bare.is_empty(), "without an example:\n{}", bare.join("\n"));
    assert!(items > 70, "only {items} items were found; is the public face elsewhere?");
}

/// The excerpt as the pages have it: of the README's first section the promise, of the others
/// everything, but for links to files, which lead nowhere from a crate page, and paragraphs that begin
/// with one.
fn excerpt() -> String {
    let mut excerpt = String::new();
    for (page, heading) in SECTIONS {
        let page = read(page);
        let (_, section) =
            page.split_once(&format!("{heading}\n\n")).unwrap_or_else(|| panic!("no {heading:?}"));
        let section = section.split("\n#").next().unwrap().trim_end();
        let mut paragraphs: Vec<String> = section.split("\n\n").map(without_file_links).collect();
        paragraphs.retain(|text| !text.is_empty());
        if heading == "# longlink" {
            paragraphs.truncate(1);
        } else {
            excerpt.push_str(&format!("## {}\n\n", heading.trim_start_matches('#').trim()));
        }
        excerpt.push_str(&(paragraphs.join("\n\n") + "\n\n"));
    }
    excerpt.truncate(excerpt.trim_end().len());
    excerpt + "\n"
}

/// `[text](file)` as `text`; of a paragraph that begins so, nothing.
fn without_file_links(paragraph: &str) -> String {
    let mut text = paragraph.to_string();
    for link in file_links(paragraph) {
        let target = format!("]({link})");
        let end = text.find(&target).unwrap();
        let begin = text[..end].rfind('[').unwrap();
        if begin == 0 {
            return String::new();
        }
        text.replace_range(end..end + target.len(), "");
        text.remove(begin);
    }
    text
}

/// With `LONGLINK_EXCERPT=write` in the environment, it makes it so.
#[test]
fn the_crate_page_begins_with_what_the_pages_say() {
    let right = excerpt();
    if std::env::var_os("LONGLINK_EXCERPT").is_some_and(|value| value == "write") {
        fs::write(root().join(EXCERPT), &right).unwrap();
    }
    assert!(
        read(EXCERPT) == right,
        "a page has changed; run LONGLINK_EXCERPT=write cargo test --test documentation"
    );
}

#[test]
fn the_readme_is_short() {
    let words = read("README.md").split_whitespace().count();
    assert!(words <= README_WORDS, "{words} words; what explains belongs into docs/");
}

/// The README's figures are those of the page that says how they were taken.
#[test]
fn the_figures_of_the_readme_are_those_of_the_benchmarks() {
    let (readme, benches) = (read("README.md"), read("benches/README.md"));
    let (_, section) = readme.split_once("\n## Five figures\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let mut found = 0;
    for (what, figure) in rows {
        let number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
        for figure in figure.split_whitespace().filter(number) {
            found += 1;
            assert!(benches.split([' ', '\n']).any(|word| word == figure), "{what}: {figure}");
        }
    }
    assert!(found >= 5, "{found} figures");
}

/// The targets of `](target)` and of `[label]: target`, code left out.
fn links(text: &str) -> Vec<String> {
    let prose = text.split("```").step_by(2).collect::<String>();
    let mut links = Vec::new();
    for (at, _) in prose.match_indices("](") {
        links.extend(prose[at + 2..].split(')').next().map(String::from));
    }
    for line in prose.lines().filter(|line| line.starts_with('[')) {
        links.extend(line.split_once("]: ").map(|(_, target)| target.to_string()));
    }
    links
}

/// Those that lead to files of this repository.
fn file_links(text: &str) -> Vec<String> {
    let mut links = links(text);
    links.retain(|link| !link.contains("://") && !link.contains("::") && link.contains(['.', '/']));
    links.retain(|link| !link.starts_with("crate"));
    links
}

/// The anchors that GitHub and rustdoc make of headings.
fn anchors(text: &str) -> Vec<String> {
    let prose = text.split("```").step_by(2).collect::<String>();
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        words.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
    };
    headings.map(anchor).collect()
}

fn lacks(page: &str, anchors: &[String]) -> Vec<String> {
    let mut links = links(page);
    links.retain(|link| link.strip_prefix('#').is_some_and(|to| !anchors.iter().any(|a| a == to)));
    links
}

/// The pages that are read in the repository.
fn pages() -> Vec<PathBuf> {
    let folders = ["", "docs", "benches", "examples", "tests/traps", "src/proto"];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(root().join(folder)).unwrap());
    let files = entries.map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|kind| kind == "md")).collect()
}

#[test]
fn links_lead_somewhere() {
    let pages = pages();
    assert!(pages.len() > 15, "{pages:?}");
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        for link in file_links(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let file = page.parent().unwrap().join(file);
            assert!(file.exists(), "{}: {link}", page.display());
            if !anchor.is_empty() {
                let anchors = anchors(&fs::read_to_string(&file).unwrap());
                assert!(anchors.iter().any(|a| a == anchor), "{}: {link}", page.display());
            }
        }
        assert_eq!(lacks(&text, &anchors(&text)), [""; 0], "{}", page.display());
    }
    let guide = read("src/lib.rs");
    let guide = guide.lines().filter_map(|line| line.strip_prefix("//!"));
    let guide = guide.map(|line| line.strip_prefix(' ').unwrap_or(line).to_string() + "\n");
    let page = read(EXCERPT) + &guide.collect::<String>() + &read("docs/tuning.md");
    assert_eq!(file_links(&page), [""; 0], "no file is there, beside a crate page");
    let sources = links(&page);
    let sources = sources.iter().filter_map(|link| link.strip_prefix(SOURCES));
    let missing: Vec<_> = sources.filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "not in the package: {missing:?}");
    let anchors = anchors(&page);
    assert_eq!(lacks(&page, &anchors), [""; 0], "the crate page");
    for face in FACES {
        for link in links(&read(&format!("src/{face}.rs"))) {
            let there =
                link.strip_prefix("crate#").is_none_or(|to| anchors.iter().any(|a| a == to));
            assert!(there, "src/{face}.rs: {link}");
        }
    }
}

/// Where `lines` stand together in a file, however far they are indented.
fn stand_in(file: &str, lines: &[&str]) -> bool {
    let file: Vec<&str> = file.lines().map(str::trim).collect();
    file.windows(lines.len()).any(|window| window == lines)
}

/// A block of code begins with the name of the file that it is from; what is left out between its
/// parts is a line of three dots.
#[test]
fn the_code_of_the_ledger_is_what_its_page_shows() {
    let page = read("docs/exactly-once.md");
    let blocks: Vec<&str> = page.split("```").skip(1).step_by(2).collect();
    let blocks = blocks.iter().filter_map(|block| block.strip_prefix("rust\n// "));
    let mut shown = 0;
    for block in blocks {
        let (name, code) = block.split_once('\n').unwrap();
        let file = read(&format!("examples/ledger/src/{name}"));
        for part in code.split("// ...\n") {
            let lines: Vec<&str> = part.lines().map(str::trim).collect();
            assert!(stand_in(&file, &lines), "{name} does not say:\n{part}");
            shown += lines.len();
        }
    }
    assert!((10..=30).contains(&shown), "{shown} lines are shown");
}

/// The numbers of the traps that a line of a comment names.
fn traps(line: &str) -> Vec<usize> {
    let line = line.trim_start();
    let lower = line.to_lowercase();
    if !line.starts_with("//") {
        return Vec::new();
    }
    let Some((_, numbers)) = lower.split_once("trap ").or_else(|| lower.split_once("traps "))
    else {
        return Vec::new();
    };
    let numbers = numbers.split([':', '.', ')']).next().unwrap_or_default();
    let words = numbers.split([' ', ',']).filter(|word| !word.is_empty());
    let words = words.take_while(|word| *word == "and" || word.parse::<usize>().is_ok());
    words.filter_map(|word| word.parse().ok()).collect()
}

/// Under each trap's number, its tests; and each test that says it is one stands there.
#[test]
fn the_list_of_traps_is_that_of_their_tests() {
    let list = read("tests/traps/README.md");
    let (mut listed, mut trap, mut file) = (BTreeSet::new(), 0, String::new());
    for line in list.lines() {
        if let Some((number, _)) = line.split_once(". ")
            && let Ok(number) = number.parse::<usize>()
        {
            trap = number;
        } else if let Some((_, rest)) = line.split_once("- `") {
            file = rest.split('`').next().unwrap().to_string();
        } else if let Some(name) = line.trim().strip_prefix('`') {
            listed.insert((trap, file.clone(), name.trim_end_matches('`').to_string()));
        }
    }
    assert!(listed.len() > 80, "{}", listed.len());
    let mut cited = BTreeSet::new();
    let folder = fs::read_dir(root().join("tests/traps")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let folder =
        names.filter(|name| name.ends_with(".rs")).map(|name| format!("tests/traps/{name}"));
    let others = listed.iter().map(|(_, file, _)| file.clone());
    for file in folder.chain(others).collect::<BTreeSet<_>>() {
        let mut of_next = Vec::new();
        for line in read(&file).lines() {
            of_next.extend(traps(line).into_iter().filter(|_| !line.starts_with("//!")));
            if let Some(name) = line.trim_start().strip_prefix("fn ") {
                let name = name.split('(').next().unwrap().to_string();
                cited.extend(of_next.drain(..).map(|trap| (trap, file.clone(), name.clone())));
            }
        }
    }
    let missing: Vec<_> = cited.symmetric_difference(&listed).collect();
    assert!(missing.is_empty(), "only in one of both: {missing:#?}");
}
