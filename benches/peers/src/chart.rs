//! The bar chart.

use std::fmt::Write;

use crate::svg::{self, TEXT, text};
use crate::{Cell, Row, Unit};

const COLUMN: f64 = 450.0;
const NAME: f64 = 150.0;
const BAR: f64 = 190.0;
const LINE: f64 = 17.0;
const TITLE: f64 = 24.0;
const GAP: f64 = 16.0;
const OURS: &str = "#2f81f7";
const OTHERS: &str = "#8b949e";
const BOLD: &str = " font-weight=\"bold\"";

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
        "Longer is faster; × is the time of a round trip, or the rate of a stream, over raw's.",
        "Loopback, two processes, medians of alternating rounds.",
        machine,
    ];
    for note in notes {
        text(&mut body, 0.0, bottom + 12.0, "", note);
        bottom += LINE;
    }
    let (width, height) = (2.0 * COLUMN, bottom + 6.0);
    let attributes = format!("font-family=\"sans-serif\" font-size=\"12\" fill=\"{TEXT}\"");
    svg::document((width, height), &attributes, &body)
}

fn panel(body: &mut String, row: &Row, left: f64, top: f64) {
    let raw = row.unit.of(row.cells[0].figure.median);
    text(body, left, top + 15.0, BOLD, &format!("{}: raw {raw}", row.title));
    let speed = |cell: &Cell| match row.unit {
        Unit::Micros => 1.0 / cell.ratio.median,
        Unit::Millions | Unit::Gigabytes => cell.ratio.median,
    };
    let fastest = row.cells.iter().map(speed).fold(0.0, f64::max);
    for (line, cell) in row.cells.iter().enumerate() {
        let y = top + TITLE + LINE * line as f64;
        let length = BAR * speed(cell) / fastest;
        let ours = cell.name.starts_with("longlink");
        let (colour, weight) = if ours { (OURS, BOLD) } else { (OTHERS, "") };
        text(body, left, y + 11.0, weight, &cell.name);
        let (x, y) = (left + NAME, y + 1.0);
        let _ = writeln!(
            body,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{length:.1}\" height=\"11\" fill=\"{colour}\"/>",
        );
        let label = format!("×{:.2}", cell.ratio.median);
        text(body, x + length + 5.0, y + 10.0, weight, &label);
    }
}
