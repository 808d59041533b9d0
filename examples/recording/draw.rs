//! The film as an SVG that moves by CSS alone. Where it does not move, because
//! that is not possible or not wanted, it shows the end.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::film::{Film, Place};
use crate::screen::{Look, Row, Run};
use crate::story::WINDOWS;
use crate::svg::{self, TEXT};
use crate::window::COLUMNS;

const FONT: &str = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace";
const SIZE: f64 = 14.0;
/// Of a cell. Text is stretched to it, whatever the font is.
const CELL: f64 = 8.4;
const LINE: f64 = 19.0;
const PADDING: f64 = 14.0;
const TITLE: f64 = 28.0;
const GAP: f64 = 12.0;
const CAPTION: f64 = 34.0;

const PAPER: &str = "#0d1117";
const INK: &str = "#d1d7e0";
const BAR: &str = "#1c2128";
const FRAME: &str = "#444c56";
/// The eight colours, and their bright ones.
const COLOURS: [&str; 16] = [
    "#545d68", "#f47067", "#57ab5a", "#c69026", "#539bf5", "#b083f0", "#39c5cf", "#d1d7e0",
    "#768390", "#ff938a", "#6bc46d", "#daaa3f", "#6cb6ff", "#dcbdfb", "#56d4dd", "#ffffff",
];

pub(crate) fn draw(film: &Film) -> String {
    let (scenes, length) = film.scenes();
    let width = f64::from(COLUMNS) * CELL + 2.0 * PADDING;
    let height = top(WINDOWS.len()) + CAPTION - GAP;

    let mut timing = Timing { length, names: BTreeMap::new() };
    let mut body = String::new();
    for (window, (name, rows)) in WINDOWS.into_iter().enumerate() {
        frame(&mut body, top(window), width, name, rows);
    }
    for ((place, row), times) in &scenes {
        let name = timing.name(times);
        let ends = times.last().is_some_and(|(_, until)| *until == length);
        let hidden = if ends { "" } else { " class=\"h\"" };
        let _ = write!(body, "<g{hidden} style=\"animation-name:{name}\">");
        match *place {
            Place::Caption => caption(&mut body, width, height, row),
            Place::Row { window, row: number } => {
                let y = top(window) + TITLE + PADDING / 2.0 + LINE * number as f64;
                row.iter().for_each(|run| self::run(&mut body, y, run));
            }
        }
        body.push_str("</g>\n");
    }
    let attributes = format!(
        "font-family=\"{FONT}\" font-size=\"{SIZE}\" fill=\"{INK}\" xml:space=\"preserve\""
    );
    let style = format!("<style>\ntext{{white-space:pre}}\n{}</style>\n", timing.style());
    svg::document((width, height), &attributes, &(style + &body))
}

fn top(window: usize) -> f64 {
    WINDOWS[..window].iter().map(|(_, rows)| TITLE + LINE * f64::from(*rows) + PADDING + GAP).sum()
}

fn frame(body: &mut String, top: f64, width: f64, name: &str, rows: u16) {
    let (x, y, width) = (0.5, top + 0.5, width - 1.0);
    let (height, middle) = (TITLE + LINE * f64::from(rows) + PADDING - 1.0, width / 2.0);
    let _ = writeln!(
        body,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{PAPER}\"/>\
         <path d=\"M{x} {}v-{}a8 8 0 0 1 8-8h{}a8 8 0 0 1 8 8v{}z\" fill=\"{BAR}\"/>\
         <rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"none\" \
         stroke=\"{FRAME}\"/>",
        y + TITLE,
        TITLE - 8.0,
        width - 16.0,
        TITLE - 8.0,
    );
    for (dot, colour) in ["#f47067", "#daaa3f", "#57ab5a"].into_iter().enumerate() {
        let (x, y) = (18.0 + 18.0 * dot as f64, y + TITLE / 2.0);
        let _ = write!(body, "<circle cx=\"{x}\" cy=\"{y}\" r=\"5\" fill=\"{colour}\"/>");
    }
    let attributes = format!(" text-anchor=\"middle\" fill=\"{}\"", COLOURS[8]);
    svg::text(body, middle, y + 19.0, &attributes, name);
}

fn caption(body: &mut String, width: f64, height: f64, row: &Row) {
    for Run { text, .. } in row {
        let attributes = format!(
            " text-anchor=\"middle\" font-family=\"sans-serif\" font-size=\"15\" fill=\"{TEXT}\""
        );
        svg::text(body, width / 2.0, height - 10.0, &attributes, text);
    }
}

fn run(body: &mut String, y: f64, Run { column, text, look }: &Run) {
    let Look { colour, background, bold, dim, inverse } = *look;
    let (mut ink, mut paper) = (colour.map(self::colour), background.map(self::colour));
    if inverse {
        (ink, paper) = (Some(paper.unwrap_or(PAPER)), Some(ink.unwrap_or(INK)));
    }
    let x = PADDING + *column as f64 * CELL;
    let width = text.chars().count() as f64 * CELL;
    if let Some(paper) = paper {
        let _ = write!(
            body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{LINE}\" fill=\"{paper}\"/>"
        );
    }
    if text.trim().is_empty() {
        return;
    }
    let mut attributes = format!(" textLength=\"{width:.1}\"");
    if let Some(ink) = ink {
        let _ = write!(attributes, " fill=\"{ink}\"");
    }
    if bold {
        attributes.push_str(" font-weight=\"bold\"");
    }
    if dim {
        attributes.push_str(" opacity=\"0.65\"");
    }
    svg::text(body, x, y + 14.5, &attributes, text);
}

/// The programs use no others than these.
fn colour(index: u8) -> &'static str {
    COLOURS.get(usize::from(index)).unwrap_or(&INK)
}

/// When what is to be seen.
struct Timing {
    length: Duration,
    names: BTreeMap<Vec<(Duration, Duration)>, String>,
}

impl Timing {
    /// What is seen at the same times has the same name.
    fn name(&mut self, times: &[(Duration, Duration)]) -> String {
        let next = format!("k{}", self.names.len());
        self.names.entry(times.to_vec()).or_insert(next).clone()
    }

    fn style(&self) -> String {
        let percent = |time: Duration| 100.0 * time.as_secs_f64() / self.length.as_secs_f64();
        let mut style = String::from(".h{visibility:hidden}\n");
        let _ = writeln!(
            style,
            "@media (prefers-reduced-motion:no-preference){{g{{animation:{:.2}s step-end infinite}}}}",
            self.length.as_secs_f64()
        );
        for (times, name) in &self.names {
            let _ = write!(style, "@keyframes {name}{{0%{{visibility:hidden}}");
            for (from, until) in times {
                let _ = write!(style, "{:.3}%{{visibility:visible}}", percent(*from));
                if *until < self.length {
                    let _ = write!(style, "{:.3}%{{visibility:hidden}}", percent(*until));
                }
            }
            style.push_str("}\n");
        }
        style
    }
}
