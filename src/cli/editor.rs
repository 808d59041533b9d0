//! A line being typed, and the lines typed before. Pure: keys in, lines out.
//!
//! What keys do to text is rustyline's (`LineBuffer`, `MemHistory`); its
//! terminal is not used. It reads one line at a time with the terminal's own
//! mode in between, so that what is pasted is echoed twice; its prompt keeps
//! the width it had when the line was begun; and what another thread prints at
//! the moment a line ends may wait for the next. Here one owner draws it all:
//! see [`terminal`](super::terminal).

use rustyline::history::{History, MemHistory, SearchDirection};
use rustyline::line_buffer::{ChangeListener, DeleteListener, Direction, LineBuffer};
use rustyline::{At, Config, Movement, Word};

use super::keys::Key;
use super::raw;

/// How many lines are remembered, and how long one may be.
const HISTORY: usize = 1000;
const REMEMBERED: usize = 4096;
/// A held byte takes four; there is room for a line of such, if that is not huge.
const ROOM: usize = 16 * 1024 * 1024;

/// A line that was typed, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entered {
    Line(Vec<u8>),
    /// More bytes than are taken for a line: so many.
    TooLong(u64),
    /// Ctrl-D on an empty line.
    End,
}

/// The line, its cursor, and the history. Bytes that are no text are
/// [held](raw) in all of them.
pub(super) struct Editor {
    line: LineBuffer,
    /// How many bytes the line has, and may have.
    size: usize,
    limit: usize,
    /// Bytes beyond the limit, which are not kept.
    beyond: u64,
    history: MemHistory,
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
        let config = Config::builder().max_history_size(HISTORY).map(|config| config.build());
        Editor {
            // Takes what fits into its capacity, and grows for nothing.
            line: LineBuffer::with_capacity(limit.max(limit.saturating_mul(4).min(ROOM))),
            size: 0,
            limit,
            beyond: 0,
            history: config.map_or_else(|_| MemHistory::new(), |it| MemHistory::with_config(&it)),
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
    pub(super) fn press(&mut self, key: Key) -> Option<Entered> {
        let searched = self.search.is_some() && self.look(key);
        let entered = if searched { None } else { self.edit(key) };
        if searched || !matches!(key, Key::Char(_) | Key::Byte(_) | Key::Cancel) {
            self.size = self.line.as_str().chars().map(raw::size).sum();
        }
        entered
    }

    fn edit(&mut self, key: Key) -> Option<Entered> {
        let (line, killed) = (&mut self.line, &mut self.killed);
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
            Key::End if line.is_empty() && self.beyond == 0 => return Some(Entered::End),
            Key::End | Key::Delete => {
                line.delete(1, &mut Unheard);
            }
            Key::Backspace => {
                line.backspace(1, &mut Unheard);
            }
            Key::Left => {
                line.move_backward(1);
            }
            Key::Right => {
                line.move_forward(1);
            }
            Key::WordLeft => {
                line.move_to_prev_word(Word::Emacs, 1);
            }
            Key::WordRight => {
                line.move_to_next_word(At::AfterEnd, Word::Emacs, 1);
            }
            Key::LineStart => {
                line.move_buffer_start();
            }
            Key::LineEnd => {
                line.move_buffer_end();
            }
            Key::KillToStart => {
                line.kill(&Movement::BeginningOfBuffer, killed);
            }
            Key::KillToEnd => {
                line.kill(&Movement::EndOfBuffer, killed);
            }
            Key::KillWordLeft => {
                line.kill(&Movement::BackwardWord(1, Word::Emacs), killed);
            }
            Key::KillBlankWordLeft => {
                line.kill(&Movement::BackwardWord(1, Word::Big), killed);
            }
            Key::KillWordRight => {
                line.kill(&Movement::ForwardWord(1, At::AfterEnd, Word::Emacs), killed);
            }
            Key::Yank => {
                let more: usize = killed.0.chars().map(raw::size).sum();
                if self.size + more <= self.limit {
                    line.yank(&killed.0, 1, &mut Unheard);
                }
            }
            Key::Transpose => {
                line.transpose_chars(&mut Unheard);
            }
            Key::Earlier if self.shown > 0 => self.show(self.shown - 1),
            Key::Later if self.shown < self.history.len() => self.show(self.shown + 1),
            Key::Search => self.search = Some(String::new()),
            Key::Earlier | Key::Later | Key::Suspend | Key::ClearScreen => {}
        }
        if self.line.is_empty() {
            self.beyond = 0;
        }
        None
    }

    fn insert(&mut self, char: char) {
        let size = raw::size(char);
        let fits = self.size + size <= self.limit;
        match fits && self.line.insert(char, 1, &mut Unheard).is_some() {
            true => self.size += size,
            false => self.beyond += size as u64,
        }
    }

    fn enter(&mut self) -> Entered {
        let text = self.line.as_str().to_string();
        self.line.update("", 0, &mut Unheard);
        if text.len() <= REMEMBERED {
            let _ = self.history.add(&text);
        }
        self.shown = self.history.len();
        self.typed.clear();
        match std::mem::take(&mut self.beyond) {
            0 => Entered::Line(raw::bytes(&text)),
            beyond => Entered::TooLong(self.size as u64 + beyond),
        }
    }

    /// Shows a line of the history, or what was typed.
    fn show(&mut self, index: usize) {
        if self.shown == self.history.len() {
            self.typed = self.line.as_str().to_string();
        }
        self.shown = index;
        let found = self.history.get(index, SearchDirection::Reverse).ok().flatten();
        let text = found.map_or_else(|| self.typed.clone(), |found| found.entry.into_owned());
        self.line.update(&text, text.len(), &mut Unheard);
        self.beyond = 0;
    }

    /// A key while something is looked for. `false` if it ends the search, and
    /// is to do what it always does.
    fn look(&mut self, key: Key) -> bool {
        let Some(term) = &mut self.search else { return false };
        let from = match key {
            Key::Cancel => {
                self.search = None;
                return true;
            }
            Key::Char(char) => {
                term.push(char);
                self.history.len()
            }
            Key::Byte(byte) => {
                term.push(raw::held(byte));
                self.history.len()
            }
            Key::Backspace => {
                term.pop();
                self.history.len()
            }
            Key::Search => self.shown,
            _ => {
                self.search = None;
                return false;
            }
        };
        let found = match from.checked_sub(1) {
            Some(start) => self.history.search(term, start, SearchDirection::Reverse),
            None => Ok(None),
        };
        if let Some(index) = found.ok().flatten().map(|found| found.idx) {
            self.show(index);
        }
        true
    }
}

/// What was cut out last.
#[derive(Debug, Default)]
struct Killed(String);

impl DeleteListener for Killed {
    fn start_killing(&mut self) {
        self.0.clear();
    }

    fn delete(&mut self, _at: usize, text: &str, _direction: Direction) {
        self.0.push_str(text);
    }
}

/// Nobody keeps account of what changes.
struct Unheard;

impl DeleteListener for Unheard {
    fn delete(&mut self, _at: usize, _text: &str, _direction: Direction) {}
}

impl ChangeListener for Unheard {
    fn insert_char(&mut self, _at: usize, _char: char) {}

    fn insert_str(&mut self, _at: usize, _text: &str) {}

    fn replace(&mut self, _at: usize, _old: &str, _new: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types text, in which some characters stand for other keys.
    fn press(editor: &mut Editor, text: &str) -> Vec<Entered> {
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
        assert_eq!(press(&mut Editor::new(9), "a{!!"), [Entered::End]);
    }

    #[test]
    fn earlier_lines_come_back_and_what_was_typed_is_kept() {
        let mut editor = Editor::new(100);
        let lines = ["one", "two", "two"].map(|line| Entered::Line(line.into()));
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
        assert_eq!(press(&mut editor, "|"), [Entered::Line("begin".into())]);
        assert_eq!(editor.search(), None);
    }

    #[test]
    fn a_line_beyond_the_limit_is_measured() {
        let mut editor = Editor::new(4);
        assert_eq!(press(&mut editor, "1234|"), [Entered::Line("1234".into())]);
        assert_eq!(press(&mut editor, "12345\u{e9}|"), [Entered::TooLong(7)]);
        assert_eq!(press(&mut editor, "123456####1|"), [Entered::Line("1".into())]);
    }

    #[test]
    fn what_is_no_text_is_edited_and_comes_out_as_it_was() {
        let mut editor = Editor::new(9);
        // The character is one of those that hold bytes.
        for key in [Key::Byte(0xff), Key::Char('\u{10ff41}'), Key::Char('\0'), Key::Byte(0xc3)] {
            assert_eq!(editor.press(key), None);
        }
        let line = b"\xff\xf4\x8f\xbd\x81\0\xc3".to_vec();
        assert_eq!(press(&mut editor, "|"), [Entered::Line(line)]);
        assert_eq!(press(&mut editor, "^##|"), [Entered::Line(b"\xff\xf4\x8f\xbd\x81".to_vec())]);
        // A held byte counts as one, also where it was found again.
        press(&mut editor, "^1234");
        assert_eq!(editor.press(Key::Byte(0xff)), None);
        assert_eq!(press(&mut editor, "|"), [Entered::TooLong(10)]);
    }
}
