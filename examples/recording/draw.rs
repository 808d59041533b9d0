//! The film as an SVG that moves by CSS alone. Where it does not move, because
//! that is not possible or not wanted, it shows the end.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::film::{Film, Place};
use crate::screen::{Look, Run};
use crate::story::WINDOWS;
use crate::svg::{self, BAD, GOOD, INK, MUTED, SANS, WIDTH, bold};
use crate::window::COLUMNS;

const FONT: &str = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace";
const MARGIN: f64 = 14.0;
const PADDING: f64 = 12.0;
/// Of a cell. Text is stretched to it, whatever the font is.
const CELL: f64 = (WIDTH - 2.0 * (MARGIN + PADDING)) / COLUMNS as f64;
const SIZE: f64 = CELL / 0.6;
const LINE: f64 = 20.0;
const TITLE: f64 = 28.0;
const GAP: f64 = 14.0;
const CAPTION: f64 = 56.0;

/// Of a terminal, on light paper as well as on dark.
const SCREEN: &str = "#0d1117";
const PLAIN: &str = "#d1d7e0";
const BAR: &str = "#262c36";
/// The eight colours, and their bright ones.
const COLOURS: [&str; 16] = [
    "#768390", "#f47067", "#57ab5a", "#c69026", "#539bf5", "#b083f0", "#39c5cf", "#d1d7e0",
    "#768390", "#ff938a", "#6bc46d", "#daaa3f", "#6cb6ff", "#dcbdfb", "#56d4dd", "#ffffff",
];

pub(crate) fn draw(film: &Film) -> String {
    let (scenes, length) = film.scenes();
    let mut timing = Timing { length, names: BTreeMap::new() };
    let mut body = String::new();
    for (number, (name, rows)) in WINDOWS.into_iter().enumerate() {
        window(&mut body, top(number), name, rows);
        frame(&mut body, number, MUTED, 1);
    }
    for ((place, row), times) in &scenes {
        let name = timing.name(times);
        let ends = times.last().is_some_and(|(_, until)| *until == length);
        let hidden = if ends { "" } else { " class=\"h\"" };
        let _ = write!(body, "<g{hidden} style=\"animation-name:{name}\">");
        for run in row {
            match (*place, class(run.look)) {
                (Place::Caption, class) => caption(&mut body, class.unwrap_or(INK), &run.text),
                (Place::Frame(window), Some(class)) => frame(&mut body, window, class, 4),
                (Place::Frame(_), None) => {}
                (Place::Row { window, row }, _) => {
                    let y = top(window) + TITLE + PADDING / 2.0 + LINE * row as f64;
                    self::run(&mut body, y, run);
                }
            }
        }
        body.push_str("</g>\n");
    }
    let attributes =
        format!("font-family=\"{FONT}\" font-size=\"{SIZE:.1}\" xml:space=\"preserve\"");
    let style = format!("<style>\ntext{{white-space:pre}}\n{}</style>\n", timing.style());
    let height = top(WINDOWS.len()) - GAP + MARGIN;
    svg::document((WIDTH, height), &attributes, &(style + &body))
}

/// Below the caption.
fn top(window: usize) -> f64 {
    let windows = WINDOWS[..window].iter();
    CAPTION + windows.map(|(_, rows)| height(*rows) + GAP).sum::<f64>()
}

fn height(rows: u16) -> f64 {
    TITLE + LINE * f64::from(rows) + PADDING
}

fn window(body: &mut String, top: f64, name: &str, rows: u16) {
    let mut area = |top: f64, height: f64, attributes: &str| {
        let _ = writeln!(
            body,
            "<rect x=\"{MARGIN}\" y=\"{top}\" width=\"{}\" height=\"{height}\" {attributes}/>",
            WIDTH - 2.0 * MARGIN
        );
    };
    area(top, height(rows), &format!("rx=\"8\" fill=\"{SCREEN}\""));
    area(top, TITLE, &format!("rx=\"8\" fill=\"{BAR}\""));
    area(top + 8.0, TITLE - 8.0, &format!("fill=\"{BAR}\""));
    for (dot, colour) in ["#f47067", "#daaa3f", "#57ab5a"].into_iter().enumerate() {
        let (x, y) = (MARGIN + 18.0 + 18.0 * dot as f64, top + TITLE / 2.0);
        let _ = write!(body, "<circle cx=\"{x}\" cy=\"{y}\" r=\"5\" fill=\"{colour}\"/>");
    }
    let attributes = format!(" text-anchor=\"middle\" font-weight=\"bold\" fill=\"{PLAIN}\"");
    svg::text(body, WIDTH / 2.0, top + 19.5, &attributes, name);
}

fn frame(body: &mut String, window: usize, class: &str, thickness: u32) {
    let (x, y, width) = (MARGIN, top(window), WIDTH - 2.0 * MARGIN);
    let height = height(WINDOWS[window].1);
    let _ = writeln!(
        body,
        "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"8\" \
         fill=\"none\" stroke=\"currentColor\" stroke-width=\"{thickness}\"/>"
    );
}

fn caption(body: &mut String, class: &str, text: &str) {
    let font = format!(" text-anchor=\"middle\" font-family=\"{SANS}\"");
    let attributes = bold(class, 26) + &font;
    svg::text(body, WIDTH / 2.0, 38.0, &attributes, text);
}

/// Of captions, and of frames that are not as ever.
fn class(look: Look) -> Option<&'static str> {
    match look {
        Look::RED => Some(BAD),
        Look::GREEN => Some(GOOD),
        _ => None,
    }
}

fn run(body: &mut String, y: f64, Run { column, text, look }: &Run) {
    let Look { colour, background, bold, dim, inverse } = *look;
    let (mut ink, mut paper) = (colour.map(self::colour), background.map(self::colour));
    if inverse {
        (ink, paper) = (Some(paper.unwrap_or(SCREEN)), Some(ink.unwrap_or(PLAIN)));
    }
    let x = MARGIN + PADDING + *column as f64 * CELL;
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
    let ink = ink.unwrap_or(if dim { COLOURS[8] } else { PLAIN });
    let mut attributes = format!(" textLength=\"{width:.1}\" fill=\"{ink}\"");
    if bold {
        attributes.push_str(" font-weight=\"bold\"");
    }
    svg::text(body, x, y + 14.5, &attributes, text);
}

/// The programs use no others than these.
fn colour(index: u8) -> &'static str {
    COLOURS.get(usize::from(index)).unwrap_or(&PLAIN)
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
