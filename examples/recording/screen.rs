//! What a terminal shows.

use vt100::{Cell, Color, Screen};

/// The cells of a row that look alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Run {
    pub(crate) column: usize,
    pub(crate) text: String,
    pub(crate) look: Look,
}

pub(crate) type Row = Vec<Run>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Look {
    /// Of the 256 colours.
    pub(crate) colour: Option<u8>,
    pub(crate) background: Option<u8>,
    pub(crate) bold: bool,
    pub(crate) dim: bool,
    /// The cursor's cell, too.
    pub(crate) inverse: bool,
}

impl Look {
    pub(crate) const RED: Look = Look { colour: Some(1), ..Look::PLAIN };
    pub(crate) const GREEN: Look = Look { colour: Some(2), ..Look::PLAIN };
    pub(crate) const PLAIN: Look =
        Look { colour: None, background: None, bold: false, dim: false, inverse: false };

    fn of(cell: &Cell) -> Look {
        Look {
            colour: index(cell.fgcolor()),
            background: index(cell.bgcolor()),
            bold: cell.bold(),
            dim: cell.dim(),
            inverse: cell.inverse(),
        }
    }
}

/// The programs use none of the others.
fn index(colour: Color) -> Option<u8> {
    match colour {
        Color::Idx(index) => Some(index),
        Color::Default | Color::Rgb(..) => None,
    }
}

pub(crate) fn rows(screen: &Screen) -> Vec<Row> {
    let (rows, columns) = screen.size();
    (0..rows.get()).map(|row| self::row(screen, row, columns.get())).collect()
}

fn row(screen: &Screen, row: u16, columns: u16) -> Row {
    let (cursor_row, cursor) = screen.cursor_position();
    let has_cursor = cursor_row == row && !screen.hide_cursor();
    let mut runs: Row = Vec::new();
    for column in 0..columns {
        let Some(cell) = screen.cell(row, column).filter(|cell| !cell.is_wide_continuation())
        else {
            continue;
        };
        let mut look = Look::of(cell);
        look.inverse ^= has_cursor && column == cursor.min(columns - 1);
        let text = if cell.has_contents() { cell.contents() } else { " " };
        match runs.last_mut() {
            Some(run) if run.look == look => run.text.push_str(text),
            _ => runs.push(Run { column: column.into(), text: text.into(), look }),
        }
    }
    // What is blank is not drawn.
    for run in &mut runs {
        if !run.look.inverse && run.look.background.is_none() {
            run.text.truncate(run.text.trim_end().len());
        }
    }
    runs.retain(|run| !run.text.is_empty());
    runs
}
