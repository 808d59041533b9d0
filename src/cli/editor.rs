//! A line being typed, and the lines typed before. Pure: keys in, lines out.
//!
//! What keys do to text is rustyline's (`LineBuffer`); its terminal is not used. It reads
//! one line at a time with the terminal's own mode in between, so that what is pasted is
//! echoed twice; its prompt keeps the width it had when the line was begun; and what another
//! thread prints at the moment a line ends may wait for the next. Here one owner draws it
//! all: see [`terminal`](super::terminal).
//!
//! reedline (0.49), with its external printer and its break signal, was tried in the place
//! of this module, `keys`, `layout`, `raw` and most of `keyboard` and `terminal`. That took
//! 810 lines less, and failed 28 of the 46 tests in `tests/terminal`:
//! * Before each line it asks the terminal for the cursor's place, through standard output.
//!   With standard output in a file it fails after two seconds.
//! * A line higher than the window makes it panic.
//! * It has the terminal raw while it reads: Ctrl-Z does not stop the process, a job in the
//!   background takes the terminal, and after SIGTERM or SIGHUP the terminal stays raw.
//! * Pasted control characters are sent and not shown, and a typed one that is no key
//!   (0x16) is lost. A paste of many lines had not arrived after a minute.
//! * A prompt cannot stay at the end to say that the connection is gone.

use rustyline::line_buffer::{ChangeListener, DeleteListener, Direction, LineBuffer};
use rustyline::{At, Movement, Word};

use super::keys::Key;
use super::lines::Line;
use super::raw;

/// How many lines are remembered, and how long one may be.
const HISTORY: usize = 1000;
const REMEMBERED: usize = 4096;
/// A held byte takes four; there is room for a line of such, if that is not huge.
const ROOM: usize = 16 * 1024 * 1024;

/// The line, its cursor, and the history. Bytes that are no text are
/// [held](raw) in all of them.
pub(super) struct Editor {
    line: LineBuffer,
    /// How many bytes the line has, and may have.
    size: usize,
    limit: usize,
    /// Bytes beyond the limit, which are not kept.
    beyond: u64,
    history: Vec<String>,
    /// Which line of the history is shown; its length if none is.
    shown: usize,
    /// What was typed before one was shown.
    typed: String,
    killed: Killed,
    /// What is looked for in the history, while it is.
    search: Option<String>,
}

impl Editor {
    /// A line has at most `limit` bytes; one that has more is only measured.
    pub(super) fn new(limit: usize) -> Editor {
        Editor {
            // Takes what fits into its capacity, and grows for nothing.
            line: LineBuffer::with_capacity(limit.max(limit.saturating_mul(4).min(ROOM))),
            size: 0,
            limit,
            beyond: 0,
            history: Vec::new(),
            shown: 0,
            typed: String::new(),
            killed: Killed::default(),
            search: None,
        }
    }

    /// The line, and the byte before which the cursor stands.
    pub(super) fn line(&self) -> (&str, usize) {
        (self.line.as_str(), self.line.pos())
    }

    /// What is being looked for in the history.
    pub(super) fn search(&self) -> Option<&str> {
        self.search.as_deref()
    }

    /// What a key does; a line if it is complete. Of keys that concern the
    /// screen or the process there is nothing to do here.
    pub(super) fn press(&mut self, key: Key) -> Option<Line> {
        if self.search.is_some() && self.look(key) {
            return None;
        }
        match key {
            Key::Char(char) if raw::byte(char).is_some() => {
                let mut bytes = [0; 4];
                let bytes = char.encode_utf8(&mut bytes).bytes();
                bytes.for_each(|byte| self.insert(raw::held(byte)));
            }
            Key::Char(char) => self.insert(char),
            Key::Byte(byte) => self.insert(raw::held(byte)),
            Key::Cancel => self.insert('\x07'),
            Key::Enter => return Some(self.enter()),
            Key::End if self.line.is_empty() && self.beyond == 0 => return Some(Line::End),
            Key::Earlier if self.shown > 0 => self.show(self.shown - 1),
            Key::Later if self.shown < self.history.len() => self.show(self.shown + 1),
            Key::Search => self.search = Some(String::new()),
            Key::Earlier | Key::Later | Key::Suspend | Key::ClearScreen => {}
            Key::Yank if self.size + size(&self.killed.text) > self.limit => {}
            key => self.edit(key),
        }
        if self.line.is_empty() {
            self.beyond = 0;
        }
        None
    }

    /// A key that moves the cursor or changes the text around it.
    fn edit(&mut self, key: Key) {
        let Editor { line, killed, .. } = self;
        let after = At::AfterEnd;
        match key {
            Key::Left => line.move_backward(1),
            Key::Right => line.move_forward(1),
            Key::WordLeft => line.move_to_prev_word(Word::Emacs, 1),
            Key::WordRight => line.move_to_next_word(after, Word::Emacs, 1),
            Key::LineStart => line.move_buffer_start(),
            Key::LineEnd => line.move_buffer_end(),
            Key::End | Key::Delete => line.kill(&Movement::ForwardChar(1), killed),
            Key::Backspace => line.kill(&Movement::BackwardChar(1), killed),
            Key::KillToStart => line.kill(&Movement::BeginningOfBuffer, killed),
            Key::KillToEnd => line.kill(&Movement::EndOfBuffer, killed),
            Key::KillWordLeft => line.kill(&Movement::BackwardWord(1, Word::Emacs), killed),
            Key::KillBlankWordLeft => line.kill(&Movement::BackwardWord(1, Word::Big), killed),
            Key::KillWordRight => line.kill(&Movement::ForwardWord(1, after, Word::Emacs), killed),
            Key::Yank => line.yank(&killed.text.clone(), 1, killed).is_some(),
            Key::Transpose => line.transpose_chars(killed),
            _ => false,
        };
        self.size = size(self.line.as_str());
    }

    fn insert(&mut self, char: char) {
        let size = raw::size(char);
        let fits = self.size + size <= self.limit;
        match fits && self.line.insert(char, 1, &mut self.killed).is_some() {
            true => self.size += size,
            false => self.beyond += size as u64,
        }
    }

    fn replace(&mut self, text: &str) {
        self.line.update(text, text.len(), &mut self.killed);
        self.size = size(text);
    }

    fn enter(&mut self) -> Line {
        let text = self.line.as_str().to_string();
        let (mut line, size) = (raw::bytes(&text), self.size as u64 + 1);
        line.push(b'\n');
        self.replace("");
        if text.len() <= REMEMBERED && !text.is_empty() && self.history.last() != Some(&text) {
            self.history.push(text);
            self.history.drain(..self.history.len().saturating_sub(HISTORY));
        }
        self.shown = self.history.len();
        self.typed.clear();
        match std::mem::take(&mut self.beyond) {
            0 => Line::Text(line),
            beyond => Line::TooLong(line, size + beyond),
        }
    }

    /// Shows a line of the history, or what was typed.
    fn show(&mut self, index: usize) {
        if self.shown == self.history.len() {
            self.typed = self.line.as_str().to_string();
        }
        self.shown = index;
        let text = self.history.get(index).unwrap_or(&self.typed).clone();
        self.replace(&text);
        self.beyond = 0;
    }

    /// A key while something is looked for. `false` if it ends the search, and
    /// is to do what it always does.
    fn look(&mut self, key: Key) -> bool {
        let Some(term) = &mut self.search else { return false };
        let mut from = self.history.len();
        match key {
            Key::Char(char) => term.push(char),
            Key::Byte(byte) => term.push(raw::held(byte)),
            Key::Backspace => drop(term.pop()),
            Key::Search => from = self.shown,
            _ => {
                self.search = None;
                return key == Key::Cancel;
            }
        }
        let found = self.history[..from].iter().rposition(|line| line.contains(&**term));
        if let Some(index) = found.filter(|_| !term.is_empty()) {
            self.show(index);
        }
        true
    }
}

/// How many bytes a text stands for.
fn size(text: &str) -> usize {
    text.chars().map(raw::size).sum()
}

/// What was cut out last.
#[derive(Debug, Default)]
struct Killed {
    text: String,
    cutting: bool,
}

impl DeleteListener for Killed {
    fn start_killing(&mut self) {
        self.text.clear();
        self.cutting = true;
    }

    fn delete(&mut self, _at: usize, text: &str, _direction: Direction) {
        if self.cutting {
            self.text.push_str(text);
        }
    }

    fn stop_killing(&mut self) {
        self.cutting = false;
    }
}

impl ChangeListener for Killed {
    fn insert_char(&mut self, _at: usize, _char: char) {}

    fn insert_str(&mut self, _at: usize, _text: &str) {}

    fn replace(&mut self, _at: usize, _old: &str, _new: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types text, in which some characters stand for other keys.
    fn press(editor: &mut Editor, text: &str) -> Vec<Line> {
        let key = |char| match char {
            '|' => Key::Enter,
            '<' => Key::Left,
            '>' => Key::Right,
            '^' => Key::Earlier,
            '_' => Key::Later,
            '{' => Key::LineStart,
            '}' => Key::LineEnd,
            '#' => Key::Backspace,
            '%' => Key::KillBlankWordLeft,
            '$' => Key::KillToEnd,
            '=' => Key::Yank,
            '?' => Key::Search,
            '!' => Key::End,
            other => Key::Char(other),
        };
        text.chars().filter_map(|char| editor.press(key(char))).collect()
    }

    fn text(line: &[u8]) -> Line {
        Line::Text([line, b"\n"].concat())
    }

    fn too_long(line: &[u8], size: u64) -> Line {
        Line::TooLong([line, b"\n"].concat(), size)
    }

    fn typed(text: &str) -> String {
        let mut editor = Editor::new(100);
        assert_eq!(press(&mut editor, text), []);
        editor.line().0.to_string()
    }

    #[test]
    fn lines_are_edited() {
        assert_eq!(typed("helo<l"), "hello");
        assert_eq!(typed("ello{h}!"), "hello");
        assert_eq!(typed("one two%#"), "one");
        assert_eq!(typed("one two{$=="), "one twoone two");
        assert_eq!(typed("hello{!"), "ello");
        assert_eq!(typed("e\u{301}x##"), "");
    }

    #[test]
    fn an_end_is_an_end_on_an_empty_line_only() {
        assert_eq!(press(&mut Editor::new(9), "a{!!"), [Line::End]);
    }

    #[test]
    fn earlier_lines_come_back_and_what_was_typed_is_kept() {
        let mut editor = Editor::new(100);
        let lines = ["one", "two", "two"].map(|line| text(line.as_bytes()));
        assert_eq!(press(&mut editor, "one|two|two|"), lines);
        press(&mut editor, "thr^");
        assert_eq!(editor.line(), ("two", 3));
        press(&mut editor, "^^^");
        assert_eq!(editor.line().0, "one");
        press(&mut editor, "__ee");
        assert_eq!(editor.line().0, "three");
        press(&mut editor, "__");
        assert_eq!(editor.line().0, "three");
    }

    #[test]
    fn an_earlier_line_is_found() {
        let mut editor = Editor::new(100);
        press(&mut editor, "begin|middle|end|?n");
        assert_eq!((editor.line().0, editor.search()), ("end", Some("n")));
        press(&mut editor, "?");
        assert_eq!(editor.line().0, "begin");
        press(&mut editor, "?");
        assert_eq!(editor.line().0, "begin");
        assert_eq!(press(&mut editor, "|"), [text(b"begin")]);
        assert_eq!(editor.search(), None);
    }

    #[test]
    fn a_line_beyond_the_limit_is_measured() {
        let mut editor = Editor::new(4);
        assert_eq!(press(&mut editor, "1234|"), [text(b"1234")]);
        assert_eq!(press(&mut editor, "12345\u{e9}|"), [too_long(b"1234", 8)]);
        assert_eq!(press(&mut editor, "123456####1|"), [text(b"1")]);
    }

    #[test]
    fn what_is_no_text_is_edited_and_comes_out_as_it_was() {
        let mut editor = Editor::new(9);
        // The character is one of those that hold bytes.
        for key in [Key::Byte(0xff), Key::Char('\u{10ff41}'), Key::Char('\0'), Key::Byte(0xc3)] {
            assert_eq!(editor.press(key), None);
        }
        let line = b"\xff\xf4\x8f\xbd\x81\0\xc3".to_vec();
        assert_eq!(press(&mut editor, "|"), [text(&line)]);
        assert_eq!(press(&mut editor, "^##|"), [text(b"\xff\xf4\x8f\xbd\x81")]);
        // A held byte counts as one, also where it was found again.
        press(&mut editor, "^1234");
        assert_eq!(editor.press(Key::Byte(0xff)), None);
        let line = b"\xff\xf4\x8f\xbd\x811234".to_vec();
        assert_eq!(press(&mut editor, "|"), [too_long(&line, 11)]);
    }
}
