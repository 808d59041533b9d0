//! The bar chart.

use std::fmt::Write;

use crate::svg::{self, INK, MUTED, OURS, SANS, WIDTH, bold, class, text};
use crate::{Row, Unit};

const MARGIN: f64 = 20.0;
/// From the begin of a column to that of the next.
const COLUMN: f64 = 408.0;
const NAME: f64 = 120.0;
const BAR: f64 = 150.0;
const LINE: f64 = 20.0;
const TITLE: f64 = 28.0;
const GAP: f64 = 20.0;

/// A panel for each row, whose bars are as long as its figures.
pub(crate) fn draw(rows: &[Row], machine: &str) -> String {
    let mut body = String::new();
    text(&mut body, MARGIN, 40.0, &bold(INK, 24), "Speed on loopback");
    let how =
        "Two processes, not pinned: the scheduler chooses the cores. Medians of alternating rounds";
    text(&mut body, MARGIN, 65.0, &class(MUTED), how);
    let mut bottom: f64 = 0.0;
    for (column, rows) in rows.chunks(rows.len().div_ceil(2).max(1)).enumerate() {
        let left = MARGIN + column as f64 * COLUMN;
        let mut top = 88.0;
        for row in rows {
            panel(&mut body, row, left, top);
            top += TITLE + LINE * row.cells.len() as f64 + GAP;
        }
        bottom = bottom.max(top);
    }
    let machine = machine.split(", load").next().unwrap_or(machine);
    text(&mut body, MARGIN, bottom + 12.0, &class(MUTED), machine);
    let attributes = format!("font-family=\"{SANS}\" font-size=\"15\"");
    svg::document((WIDTH, bottom + 12.0 + MARGIN), &attributes, &body)
}

fn panel(body: &mut String, row: &Row, left: f64, top: f64) {
    let better = match row.unit {
        Unit::Micros | Unit::Age => "shorter is better",
        Unit::Thousands | Unit::Millions | Unit::Gigabytes => "longer is better",
    };
    text(body, left, top + 16.0, &bold(INK, 16), row.title);
    let end = class(MUTED) + " text-anchor=\"end\"";
    text(body, left + COLUMN - MARGIN, top + 16.0, &end, better);
    let largest = row.cells.iter().map(|cell| cell.figure.median).fold(0.0, f64::max);
    for (line, cell) in row.cells.iter().enumerate() {
        let y = top + TITLE + LINE * line as f64;
        let length = BAR * cell.figure.median / largest;
        let ours = cell.kind == "longlink";
        let (bar, label) = if ours { (OURS, bold(OURS, 15)) } else { (MUTED, class(INK)) };
        // Other ways stand below the first.
        let (indent, name) = cell.way.map_or((0.0, cell.kind), |way| (14.0, way));
        text(body, left + indent, y + 13.0, &label, name);
        let (x, y) = (left + NAME, y + 1.0);
        let _ = writeln!(
            body,
            "<rect class=\"{bar}\" x=\"{x}\" y=\"{y}\" width=\"{length:.1}\" height=\"14\"/>",
        );
        text(body, x + length + 6.0, y + 12.0, &label, &row.unit.of(cell.figure.median));
    }
}
