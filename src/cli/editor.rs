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
use rustyline::{Cmd, Movement};

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
    history: Vec<String>,
    /// Which line of the history is shown; its length if none is.
    shown: usize,
    /// What was typed before one was shown.
    typed: String,
    /// What was cut out last.
    killed: String,
    /// What is looked for in the history, while it is.
    pub(super) search: Option<String>,
}

impl Editor {
    /// There is room for a line of `limit` bytes. A line that is full takes no more.
    pub(super) fn new(limit: usize) -> Editor {
        Editor {
            line: LineBuffer::with_capacity(limit.max(limit.saturating_mul(4).min(ROOM))),
            history: Vec::new(),
            shown: 0,
            typed: String::new(),
            killed: String::new(),
            search: None,
        }
    }

    /// The line, and the byte before which the cursor stands.
    pub(super) fn line(&self) -> (&str, usize) {
        (self.line.as_str(), self.line.pos())
    }

    /// What a key does; a line with its newline, if it is complete, and an empty one at the
    /// end of the input. Of keys that concern the screen or the process there is nothing to
    /// do here.
    pub(super) fn press(&mut self, key: Cmd) -> Option<Vec<u8>> {
        if self.search.is_some() && self.look(&key) {
            return None;
        }
        match key {
            Cmd::SelfInsert(_, char) => drop(self.line.insert(char, 1, &mut Unheard)),
            Cmd::Abort => drop(self.line.insert('\x07', 1, &mut Unheard)),
            Cmd::AcceptLine => return Some(self.enter()),
            Cmd::EndOfFile if self.line.is_empty() => return Some(Vec::new()),
            Cmd::EndOfFile => self.kill(&Movement::ForwardChar(1)),
            Cmd::Kill(movement) => self.kill(&movement),
            Cmd::Move(movement) => self.go(&movement),
            Cmd::Yank(..) => drop(self.line.yank(&self.killed, 1, &mut Unheard)),
            Cmd::TransposeChars => drop(self.line.transpose_chars(&mut Unheard)),
            Cmd::PreviousHistory if self.shown > 0 => self.show(self.shown - 1),
            Cmd::NextHistory if self.shown < self.history.len() => self.show(self.shown + 1),
            Cmd::ReverseSearchHistory => self.search = Some(String::new()),
            _ => {}
        }
        None
    }

    fn go(&mut self, movement: &Movement) {
        let (at, over) = (self.line.pos(), self.line.copy(movement).unwrap_or_default().len());
        let to = match movement {
            Movement::ForwardChar(_) | Movement::ForwardWord(..) | Movement::EndOfBuffer => {
                at + over
            }
            _ => at - over,
        };
        self.line.set_pos(to);
    }

    fn kill(&mut self, movement: &Movement) {
        if !matches!(movement, Movement::ForwardChar(_) | Movement::BackwardChar(_)) {
            self.killed = self.line.copy(movement).unwrap_or_default();
        }
        self.line.kill(movement, &mut Unheard);
    }

    fn enter(&mut self) -> Vec<u8> {
        let text = self.line.as_str().to_string();
        let mut line = raw::bytes(&text);
        line.push(b'\n');
        self.line.update("", 0, &mut Unheard);
        if text.len() <= REMEMBERED && !text.is_empty() && self.history.last() != Some(&text) {
            self.history.push(text);
            self.history.drain(..self.history.len().saturating_sub(HISTORY));
        }
        self.shown = self.history.len();
        self.typed.clear();
        line
    }

    /// Shows a line of the history, or what was typed.
    fn show(&mut self, index: usize) {
        if self.shown == self.history.len() {
            self.typed = self.line.as_str().to_string();
        }
        self.shown = index;
        let text = self.history.get(index).unwrap_or(&self.typed);
        self.line.update(text, text.len(), &mut Unheard);
    }

    /// A key while something is looked for. `false` if it ends the search, and
    /// is to do what it always does.
    fn look(&mut self, key: &Cmd) -> bool {
        let Some(term) = &mut self.search else { return false };
        let mut from = self.history.len();
        match key {
            Cmd::SelfInsert(_, char) => term.push(*char),
            Cmd::Kill(Movement::BackwardChar(_)) => drop(term.pop()),
            Cmd::ReverseSearchHistory => from = self.shown,
            _ => {
                self.search = None;
                return *key == Cmd::Abort;
            }
        }
        let found = self.history[..from].iter().rposition(|line| line.contains(&**term));
        if let Some(index) = found.filter(|_| !term.is_empty()) {
            self.show(index);
        }
        true
    }
}

/// Of each change it would be told what was changed.
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
    use super::super::keys::Keys;
    use super::*;

    /// Types bytes, of which some stand for other keys.
    fn press(editor: &mut Editor, text: impl AsRef<[u8]>) -> Vec<Vec<u8>> {
        let (mut keys, mut lines) = (Keys::default(), Vec::new());
        for byte in text.as_ref() {
            let bytes: &[u8] = match byte {
                b'|' => b"\r",
                b'<' => b"\x1b[D",
                b'>' => b"\x1b[C",
                b'^' => b"\x1b[A",
                b'_' => b"\x1b[B",
                b'{' => b"\x01",
                b'}' => b"\x05",
                b'#' => b"\x7f",
                b'%' => b"\x17",
                b'$' => b"\x0b",
                b'=' => b"\x19",
                b'?' => b"\x12",
                b'!' => b"\x04",
                byte => &[*byte],
            };
            lines.extend(keys.take(bytes).into_iter().filter_map(|key| editor.press(key)));
        }
        lines
    }

    fn text(line: &[u8]) -> Vec<u8> {
        [line, b"\n"].concat()
    }

    fn typed(text: &str) -> String {
        let mut editor = Editor::new(100);
        assert!(press(&mut editor, text).is_empty());
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
        assert_eq!(press(&mut Editor::new(9), "a{!!"), [b""]);
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
        assert_eq!((editor.line().0, editor.search.as_deref()), ("end", Some("n")));
        press(&mut editor, "?");
        assert_eq!(editor.line().0, "begin");
        press(&mut editor, "?");
        assert_eq!(editor.line().0, "begin");
        assert_eq!(press(&mut editor, "|"), [text(b"begin")]);
        assert_eq!(editor.search, None);
    }

    /// A byte that is no text takes as much room as it ever can.
    #[test]
    fn a_line_that_is_full_takes_no_more() {
        let mut editor = Editor::new(4);
        assert_eq!(press(&mut editor, b"\xff\xff\xff\xffx|"), [text(b"\xff\xff\xff\xff")]);
        press(&mut editor, "^=<");
        assert_eq!(press(&mut editor, "#1|"), [text(b"\xff\xff1\xff")]);
    }

    #[test]
    fn what_is_no_text_is_edited_and_comes_out_as_it_was() {
        let mut editor = Editor::new(100);
        // The character is one of those that hold bytes.
        assert_eq!(press(&mut editor, b"\xff\xf4\x8f\xbd\x81\0").len(), 0);
        let line = b"\xff\xf4\x8f\xbd\x81\0\xc3".to_vec();
        assert_eq!(press(&mut editor, b"\xc3|"), [text(&line)]);
        assert_eq!(press(&mut editor, "^##|"), [text(b"\xff\xf4\x8f\xbd\x81")]);
    }
}
