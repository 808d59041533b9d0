//! The pictures of the README: whether they can be read, and whether the one that moves is short
//! and begins with something to see.

#[path = "../examples/support/contrast.rs"]
mod contrast;
#[path = "../examples/support/svg.rs"]
#[allow(dead_code)]
mod svg;

use std::fs;
use std::path::Path;

use roxmltree::Document;

const OUTAGES: &str = "examples/outage_plot/outages.svg";
const SESSION: &str = "examples/recording/session.svg";
const CHART: &str = "benches/peers/chart.svg";
/// In seconds.
const LONGEST: f64 = 20.0;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn what_is_drawn_is_seen_on_light_paper_and_on_dark() {
    for path in [OUTAGES, SESSION, CHART] {
        contrast::check(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

#[test]
fn what_is_hardly_seen_is_found() {
    let draw = |attributes, class: &str| {
        let mut body =
            format!("<rect class=\"{class}\" x=\"0\" y=\"0\" width=\"9\" height=\"9\"/>");
        svg::text(&mut body, 1.0, 9.0, attributes, "x");
        contrast::check(&svg::document((9.0, 9.0), " font-size=\"9\"", &body))
    };
    assert_eq!(draw("", svg::PAPER), Ok(()));
    let gray = draw(" fill=\"#7d8590\"", svg::PAPER).unwrap_err();
    assert!(gray.starts_with("3.73 : 1 on #ffffff: <text"), "{gray}");
    let ground = draw(" class=\"paper\"", svg::PAPER).unwrap_err();
    assert!(ground.starts_with("1.00 : 1"), "{ground}");
    assert_eq!(draw(" text-anchor=\"end\"", svg::PAPER).unwrap_err(), "outside: x");
}

/// The animation's seconds, and the names of what is seen from its beginning on.
fn film(svg: &str) -> (f64, Vec<&str>) {
    let (_, length) = svg.split_once("{animation:").unwrap();
    let length = length.split('s').next().unwrap().parse().unwrap();
    let frames = svg.lines().filter_map(|line| line.strip_prefix("@keyframes "));
    let first = frames.filter(|line| line.contains("}0.000%{visibility:visible}"));
    (length, first.map(|line| line.split('{').next().unwrap()).collect())
}

#[test]
fn the_session_is_short_and_begins_with_something_to_see() {
    let svg = read(SESSION);
    let (length, first) = film(&svg);
    assert!((5.0..=LONGEST).contains(&length), "it takes {length} s");
    let document = Document::parse(&svg).unwrap();
    let seen: String = document
        .descendants()
        .filter(|node| node.has_tag_name("g"))
        .filter_map(|g| Some((g, g.attribute("style")?.strip_prefix("animation-name:")?)))
        .filter(|(_, name)| first.contains(name))
        .flat_map(|(g, _)| g.descendants())
        .filter_map(|node| node.text())
        .collect();
    for text in ["listening on", "connected to"] {
        assert!(seen.contains(text), "no {text:?} at the beginning: {seen}");
    }
}
