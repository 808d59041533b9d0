//! How a prompt and a line stand on the rows of a terminal. Pure.

use std::time::Duration;

use unicode_width::UnicodeWidthChar;

use super::{raw, text};

/// A tab ends at the next of these columns.
const TABS: usize = 8;

/// The prompt before a line being typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Prompt {
    /// The text up to the line itself.
    pub(super) text: String,
    /// The sequence that begins its colour, where the terminal may have colours; empty for
    /// none.
    pub(super) colour: &'static str,
    /// For how long it is right; `None`: until the keyboard is [woken](super::keyboard::wake).
    pub(super) changes: Option<Duration>,
}

impl Prompt {
    /// A prompt without a colour.
    pub(super) fn of(text: impl Into<String>) -> Prompt {
        Prompt { text: text.into(), ..Prompt::default() }
    }
}

/// What is shown at the bottom of the screen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The rows, none of them wider than the screen.
    pub(super) rows: Vec<Row>,
    /// Where the cursor stands: row and column, from 0.
    pub(super) cursor: (usize, usize),
    /// The width of the screen.
    pub(super) columns: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) text: String,
    pub(super) width: usize,
}

impl Layout {
    /// Lays out a prompt, and a line with the cursor before its byte `at`. Of more rows
    /// than `most`, those around the cursor are shown.
    pub(super) fn new(
        prompt: &Prompt,
        (line, at): (&str, usize),
        columns: usize,
        most: usize,
    ) -> Layout {
        let columns = columns.max(2);
        let mut layout = Layout { rows: vec![Row::default()], cursor: (0, 0), columns };
        layout.last().text.push_str(prompt.colour);
        // What is looked for in the history is part of one, and may be anything.
        let mut shown = String::new();
        text::escape(&raw::bytes(&prompt.text), &mut shown);
        shown.drain(..).for_each(|char| layout.push(if char == '\t' { ' ' } else { char }));
        if !prompt.colour.is_empty() {
            layout.last().text.push_str("\x1b[0m");
        }
        for (start, char) in line.char_indices() {
            if char == '\t' {
                let column = layout.last().width % columns;
                let spaces = (TABS - column % TABS).min(columns - column);
                shown.extend(std::iter::repeat_n(' ', spaces));
            } else {
                text::escape(&raw::bytes(char.encode_utf8(&mut [0; 4])), &mut shown);
            }
            if start == at {
                layout.cursor = layout.place(shown.chars().next().map_or(0, width));
            }
            shown.drain(..).for_each(|char| layout.push(char));
        }
        // A full row leaves the cursor nowhere to stand, and terminals differ
        // in where it then is.
        if layout.last().width == columns {
            layout.rows.push(Row::default());
        }
        if at >= line.len() {
            layout.cursor = layout.place(0);
        }
        let above = layout.cursor.0.saturating_sub(most.saturating_sub(1));
        layout.rows.drain(..above);
        layout.rows.truncate(most.max(1));
        layout.cursor.0 -= above;
        layout
    }

    fn last(&mut self) -> &mut Row {
        self.rows.last_mut().expect("there is always a row")
    }

    /// Where a character of this width comes to stand.
    fn place(&mut self, width: usize) -> (usize, usize) {
        let column = self.last().width;
        match column + width > self.columns {
            true => (self.rows.len(), 0),
            false => (self.rows.len() - 1, column),
        }
    }

    fn push(&mut self, char: char) {
        if self.place(width(char)).0 == self.rows.len() {
            self.rows.push(Row::default());
        }
        let row = self.last();
        row.text.push(char);
        row.width += width(char);
    }

    /// How many rows the cursor stands below the first one, when the screen is
    /// `columns` wide by now. A terminal that `reflows` has broken rows that
    /// became too wide into several.
    pub(super) fn depth(&self, columns: usize, reflows: bool) -> usize {
        let (row, column) = self.cursor;
        if !reflows || columns >= self.columns || columns == 0 {
            return row;
        }
        let above = self.rows[..row].iter().map(|row| row.width.div_ceil(columns).max(1));
        above.sum::<usize>() + column / columns
    }

    /// The cursor's way from the start of the first row: what is there is
    /// written over, and what is below is cleared.
    pub(super) fn draw(&self, to: &mut String) {
        use std::fmt::Write;
        for (number, row) in self.rows.iter().enumerate() {
            if number > 0 {
                to.push_str("\r\n");
            }
            to.push_str(&row.text);
            // Where a full row ends, this would clear its last character.
            if row.width < self.columns {
                to.push_str("\x1b[K");
            }
        }
        // The last row is never full, unless rows below it are left out.
        let last = self.rows.len() - 1;
        if self.rows[last].width < self.columns {
            to.push_str("\x1b[J");
        }
        if last > self.cursor.0 {
            let _ = write!(to, "\x1b[{}A", last - self.cursor.0);
        }
        to.push('\r');
        if self.cursor.1 > 0 {
            let _ = write!(to, "\x1b[{}C", self.cursor.1);
        }
    }
}

fn width(char: char) -> usize {
    char.width().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(prompt: &str, line: &str, at: usize, columns: usize) -> (Vec<String>, (usize, usize)) {
        let layout = Layout::new(&Prompt::of(prompt), (line, at), columns, 100);
        for row in &layout.rows {
            assert!(row.width <= columns, "{layout:?}");
        }
        (layout.rows.into_iter().map(|row| row.text).collect(), layout.cursor)
    }

    #[test]
    fn a_line_is_broken_where_the_screen_ends() {
        assert_eq!(rows("> ", "abc", 3, 10), (vec!["> abc".into()], (0, 5)));
        assert_eq!(rows("> ", "abc", 0, 10), (vec!["> abc".into()], (0, 2)));
        assert_eq!(rows("> ", "abcdef", 4, 5), (vec!["> abc".into(), "def".into()], (1, 1)));
        // A full row is followed by an empty one.
        assert_eq!(rows("> ", "abc", 3, 5), (vec!["> abc".into(), "".into()], (1, 0)));
        assert_eq!(rows("> ", "abc", 1, 5), (vec!["> abc".into(), "".into()], (0, 3)));
    }

    #[test]
    fn wide_characters_are_not_torn() {
        let line = "a\u{4f60}\u{597d}";
        assert_eq!(rows("", line, 1, 4), (vec!["a\u{4f60}".into(), "\u{597d}".into()], (0, 1)));
        assert_eq!(rows("", line, 4, 4).1, (1, 0));
        // A combining character takes no room.
        assert_eq!(rows("", "e\u{301}x", 3, 10).1, (0, 1));
    }

    #[test]
    fn what_acts_on_a_terminal_is_shown() {
        assert_eq!(rows("", "a\x1b[2Jb\u{202e}", 2, 40).0, ["a\\x1b[2Jb\\u{202e}"]);
        assert_eq!(rows("", "a\x1b[2J", 2, 40).1, (0, 5));
        assert_eq!(rows("\x1b]\t> ", "a", 1, 40), (vec!["\\x1b] > a".into()], (0, 9)));
        assert_eq!(rows("", "a\tb", 2, 40), (vec!["a       b".into()], (0, 8)));
        assert_eq!(rows("", "a\tb", 3, 6), (vec!["a     ".into(), "b".into()], (1, 1)));
        let held = raw::held(0xff).to_string();
        assert_eq!(rows(&held, &held, 4, 40), (vec!["\\xff\\xff".into()], (0, 8)));
    }

    #[test]
    fn what_is_higher_than_the_screen_is_shown_around_the_cursor() {
        let line: String = ('a'..='z').collect();
        let shown = |at| {
            let layout = Layout::new(&Prompt::of(">"), (&line, at), 5, 3);
            let rows: String = layout.rows.iter().map(|row| row.text.as_str()).collect();
            (rows, layout.cursor)
        };
        assert_eq!(shown(26), ("opqrstuvwxyz".into(), (2, 2)).clone());
        assert_eq!(shown(0).0, ">abcdefghijklmn");
        assert_eq!(shown(10), (">abcdefghijklmn".into(), (2, 1)));
        assert_eq!(shown(15), ("efghijklmnopqrs".into(), (2, 1)));
    }

    #[test]
    fn a_narrower_screen_breaks_rows_if_the_terminal_does() {
        let layout = Layout::new(&Prompt::of("> "), ("abcdefghijk", 11), 10, 100);
        assert_eq!(layout.cursor, (1, 3));
        assert_eq!(layout.depth(10, true), 1);
        assert_eq!(layout.depth(20, true), 1);
        assert_eq!(layout.depth(4, false), 1);
        assert_eq!(layout.depth(4, true), 3);
        assert_eq!(layout.depth(2, true), 6);
    }
}
