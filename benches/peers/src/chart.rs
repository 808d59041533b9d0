//! The bar chart.

use std::fmt::Write;

use crate::{Row, Unit};

const COLUMN: f64 = 450.0;
const NAME: f64 = 150.0;
const BAR: f64 = 190.0;
const LINE: f64 = 17.0;
const TITLE: f64 = 24.0;
const GAP: f64 = 16.0;
/// Gray that is read on white and on black.
const TEXT: &str = "#7d8590";
const OURS: &str = "#2f81f7";
const OTHERS: &str = "#8b949e";

/// A panel for each row; in it, the longest bar is the fastest.
pub(crate) fn draw(rows: &[Row], machine: &str) -> String {
    let mut body = String::new();
    let mut bottom: f64 = 0.0;
    for (column, rows) in rows.chunks(rows.len().div_ceil(2)).enumerate() {
        let left = column as f64 * COLUMN;
        let mut top = 0.0;
        for row in rows {
            panel(&mut body, row, left, top);
            top += TITLE + LINE * row.cells.len() as f64 + GAP;
        }
        bottom = bottom.max(top);
    }
    let machine = machine.split(", load").next().unwrap_or(machine);
    let notes = [
        "Longer is faster. Loopback, two processes, medians of interleaved rounds.".into(),
        escape(machine),
    ];
    for note in notes {
        text(&mut body, 0.0, bottom + 12.0, "", &note);
        bottom += LINE;
    }
    let (width, height) = (2.0 * COLUMN, bottom + 6.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\" \
         fill=\"{TEXT}\">\n{body}</svg>\n"
    )
}

fn panel(body: &mut String, row: &Row, left: f64, top: f64) {
    text(body, left, top + 15.0, " font-weight=\"bold\"", row.title);
    let speed = |figure: f64| if row.unit == Unit::Micros { 1.0 / figure } else { figure };
    let fastest = row.cells.iter().map(|cell| speed(cell.figure.median)).fold(0.0, f64::max);
    for (line, cell) in row.cells.iter().enumerate() {
        let y = top + TITLE + LINE * line as f64;
        let figure = cell.figure.median;
        let length = BAR * speed(figure) / fastest;
        let ours = cell.name.starts_with("longlink");
        let (colour, weight) = if ours { (OURS, " font-weight=\"bold\"") } else { (OTHERS, "") };
        text(body, left, y + 11.0, weight, &escape(&cell.name));
        let x = left + NAME;
        let _ = writeln!(
            body,
            "<rect x=\"{x}\" y=\"{}\" width=\"{length:.1}\" height=\"11\" fill=\"{colour}\"/>",
            y + 1.0
        );
        let label = format!("{figure:.*} {}", if figure < 10.0 { 2 } else { 1 }, row.unit.name());
        text(body, x + length + 5.0, y + 11.0, weight, &label);
    }
}

fn text(body: &mut String, x: f64, y: f64, attributes: &str, text: &str) {
    let _ = writeln!(body, "<text x=\"{x:.1}\" y=\"{y}\"{attributes}>{text}</text>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
