//! Text in two columns.

/// The help is no wider.
pub const WIDTH: usize = 80;
/// A term beyond this has a line of its own.
const LONGEST_TERM: usize = 16;

/// Terms and texts in two columns, as lines.
pub fn rows(rows: &[(&str, &str)]) -> String {
    let longest = rows.iter().map(|(term, _)| term.len()).max().unwrap_or(0);
    let (column, apart) = match longest <= LONGEST_TERM {
        true => (2 + longest + 2, false),
        false => (10, true),
    };
    let mut lines = String::new();
    for (term, text) in rows {
        let mut line = format!("  {term}");
        if apart {
            lines.push_str(&line);
            lines.push('\n');
            line.clear();
        }
        for word in text.split(' ') {
            let begun = line.len() > column;
            if begun && line.len() + 1 + word.len() > WIDTH {
                lines.push_str(&line);
                lines.push('\n');
                line.clear();
            } else if begun {
                line.push(' ');
            }
            line = format!("{line:column$}{word}");
        }
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}
