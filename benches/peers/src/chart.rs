//! The bar chart.

use std::fmt::Write;

use crate::svg::{self, text};
use crate::{Row, Unit};

const COLUMN: f64 = 440.0;
const MARGIN: f64 = 16.0;
const NAME: f64 = 146.0;
const BAR: f64 = 190.0;
const LINE: f64 = 17.0;
const TITLE: f64 = 24.0;
const GAP: f64 = 16.0;
const OURS: &str = " class=\"ours\"";
const MUTED: &str = " class=\"muted\"";
/// It brings its own paper: there is no colour that is read well on white pages and on black ones.
/// What is drawn has a contrast of at least 4.5 : 1 on it.
const STYLE: &str = "<style>
.paper{fill:#fff;stroke:#d1d9e0}
text{fill:#1f2328}
.bold,text.ours{font-weight:bold}
rect.ours,text.ours{fill:#0969da}
rect.muted,text.muted{fill:#59636e}
@media (prefers-color-scheme:dark){
.paper{fill:#0d1117;stroke:#3d444d}
text{fill:#f0f6fc}
rect.ours,text.ours{fill:#58a6ff}
rect.muted,text.muted{fill:#9198a1}
}
</style>
";

/// A panel for each row, whose bars are as long as its figures.
pub(crate) fn draw(rows: &[Row], machine: &str) -> String {
    let mut body = String::new();
    let mut bottom: f64 = 0.0;
    for (column, rows) in rows.chunks(rows.len().div_ceil(2).max(1)).enumerate() {
        let left = MARGIN + column as f64 * COLUMN;
        let mut top = MARGIN;
        for row in rows {
            panel(&mut body, row, left, top);
            top += TITLE + LINE * row.cells.len() as f64 + GAP;
        }
        bottom = bottom.max(top);
    }
    let machine = machine.split(", load").next().unwrap_or(machine);
    let notes = [
        "Not pinned: the scheduler chooses the cores. Loopback, two processes, medians of alternating rounds.",
        machine,
    ];
    for note in notes {
        text(&mut body, MARGIN, bottom + 12.0, MUTED, note);
        bottom += LINE;
    }
    let (width, height) = (2.0 * COLUMN + MARGIN, bottom + MARGIN);
    let paper = format!(
        "<rect class=\"paper\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"6\"/>\n",
        width - 1.0,
        height - 1.0
    );
    let attributes = "font-family=\"sans-serif\" font-size=\"12\"";
    svg::document((width, height), attributes, &(STYLE.to_string() + &paper + &body))
}

fn panel(body: &mut String, row: &Row, left: f64, top: f64) {
    let better = match row.unit {
        Unit::Micros | Unit::Age => "shorter is better",
        Unit::Connections | Unit::Millions | Unit::Gigabytes => "longer is better",
    };
    text(body, left, top + 15.0, " class=\"bold\"", row.title);
    text(body, left + NAME + BAR, top + 15.0, " class=\"muted\" text-anchor=\"end\"", better);
    let largest = row.cells.iter().map(|cell| cell.figure.median).fold(0.0, f64::max);
    for (line, cell) in row.cells.iter().enumerate() {
        let y = top + TITLE + LINE * line as f64;
        let length = BAR * cell.figure.median / largest;
        let ours = cell.kind == "longlink";
        let (bar, label) = if ours { (OURS, OURS) } else { (MUTED, "") };
        text(body, left, y + 11.0, label, &cell.name());
        let (x, y) = (left + NAME, y + 1.0);
        let _ =
            writeln!(body, "<rect{bar} x=\"{x}\" y=\"{y}\" width=\"{length:.1}\" height=\"11\"/>",);
        text(body, x + length + 5.0, y + 10.0, label, &row.unit.of(cell.figure.median));
    }
}
