//! Reads keys out of what a terminal sends, as commands to an editor. Pure.

use rustyline::{Anchor, At, Cmd, Movement, Word};

use super::raw;

const CHAR_LEFT: Movement = Movement::BackwardChar(1);
const CHAR_RIGHT: Movement = Movement::ForwardChar(1);
const WORD_LEFT: Movement = Movement::BackwardWord(1, Word::Emacs);
/// Back to a blank.
const BLANK_LEFT: Movement = Movement::BackwardWord(1, Word::Big);
const WORD_RIGHT: Movement = Movement::ForwardWord(1, At::AfterEnd, Word::Emacs);
const START: Movement = Movement::BeginningOfBuffer;
const END: Movement = Movement::EndOfBuffer;

/// Reads keys out of bytes, wherever those are cut.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// The beginning of a key.
    bytes: Vec<u8>,
    /// A bracketed paste: of control characters, only ends of lines are obeyed.
    pasting: bool,
    after_return: bool,
}

/// What marks a paste. Within one, the end is the only sequence that is obeyed.
const PASTE: &[u8] = b"\x1b[200~";
const PASTE_END: &[u8] = b"\x1b[201~";

/// A sequence that is longer than this means nothing to us.
const LONGEST: usize = 16;

impl Keys {
    /// Takes bytes. Returns the keys that are complete now.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Cmd> {
        let mut keys = Vec::new();
        for &byte in bytes {
            self.bytes.push(byte);
            while let Some((length, key)) = self.first() {
                self.pasting = match &self.bytes[..length] {
                    PASTE => true,
                    PASTE_END => false,
                    _ => self.pasting,
                };
                // A line that was typed before the terminal was ours ends in a newline; so
                // may a pasted one, after a carriage return.
                let after_return =
                    std::mem::replace(&mut self.after_return, self.bytes[0] == b'\r');
                let repeated = after_return && self.pasting && self.bytes[0] == b'\n';
                keys.extend(key.filter(|_| !repeated));
                self.bytes.drain(..length);
            }
            // What makes a sequence too long is forgotten.
            self.bytes.truncate(LONGEST);
        }
        keys
    }

    /// The length of the first key, and the key, if it means one. `None` if it is not
    /// complete.
    fn first(&self) -> Option<(usize, Option<Cmd>)> {
        match *self.bytes.first()? {
            0x80.. => character(&self.bytes),
            0x1b if self.pasting => match PASTE_END.starts_with(&self.bytes) {
                true => (self.bytes == PASTE_END).then_some((self.bytes.len(), None)),
                false => Some((1, Some(insert('\x1b')))),
            },
            0x1b => sequence(&self.bytes),
            b'\r' | b'\n' => Some((1, Some(Cmd::AcceptLine))),
            byte if self.pasting => Some((1, Some(insert(char::from(byte))))),
            byte => Some((1, Some(control(byte)))),
        }
    }
}

fn insert(char: char) -> Cmd {
    Cmd::SelfInsert(1, char)
}

/// A character of several bytes. A byte that is no part of one is [held](raw) by another, and
/// so are the bytes of a character that may hold one.
fn character(bytes: &[u8]) -> Option<(usize, Option<Cmd>)> {
    let chunk = bytes.utf8_chunks().next()?;
    match chunk.valid().chars().next() {
        Some(char) if raw::byte(char).is_none() => Some((char.len_utf8(), Some(insert(char)))),
        None if std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none()) => None,
        _ => Some((1, Some(insert(raw::held(bytes[0]))))),
    }
}

/// What begins with Escape.
fn sequence(bytes: &[u8]) -> Option<(usize, Option<Cmd>)> {
    let key = match *bytes.get(1)? {
        b'[' => {
            let last = bytes[2..].iter().position(|byte| !matches!(byte, 0x20..=0x3f))? + 2;
            return Some(match bytes[last] {
                byte @ 0x40..=0x7e => (last + 1, control_sequence(&bytes[2..last], byte)),
                // It is none.
                _ => (last, None),
            });
        }
        b'O' => return bytes.get(2).map(|&byte| (3, cursor_key(byte))),
        b'b' => Cmd::Move(WORD_LEFT),
        b'f' => Cmd::Move(WORD_RIGHT),
        b'd' => Cmd::Kill(WORD_RIGHT),
        0x08 | 0x7f => Cmd::Kill(WORD_LEFT),
        // Alt with a key that means nothing, or Escape alone before one.
        _ => return Some((1, None)),
    };
    Some((2, Some(key)))
}

fn control(byte: u8) -> Cmd {
    match byte {
        0x01 => Cmd::Move(START),
        0x02 => Cmd::Move(CHAR_LEFT),
        0x04 => Cmd::EndOfFile,
        0x05 => Cmd::Move(END),
        0x06 => Cmd::Move(CHAR_RIGHT),
        0x07 => Cmd::Abort,
        0x08 | 0x7f => Cmd::Kill(CHAR_LEFT),
        0x0b => Cmd::Kill(END),
        0x0c => Cmd::ClearScreen,
        0x0e => Cmd::NextHistory,
        0x10 => Cmd::PreviousHistory,
        0x12 => Cmd::ReverseSearchHistory,
        0x14 => Cmd::TransposeChars,
        0x15 => Cmd::Kill(START),
        0x17 => Cmd::Kill(BLANK_LEFT),
        0x19 => Cmd::Yank(1, Anchor::Before),
        0x1a => Cmd::Suspend,
        // What no key means is text.
        _ => insert(char::from(byte)),
    }
}

fn control_sequence(parameters: &[u8], last: u8) -> Option<Cmd> {
    let mut parameters = parameters.split(|&byte| byte == b';');
    let first = parameters.next().unwrap_or_default();
    // Ctrl and Alt, with Shift or without.
    let by_word = matches!(parameters.next(), Some([b'3'..=b'8']));
    match (last, first) {
        (b'~', b"1" | b"7") => Some(Cmd::Move(START)),
        (b'~', b"4" | b"8") => Some(Cmd::Move(END)),
        (b'~', b"3") if by_word => Some(Cmd::Kill(WORD_RIGHT)),
        (b'~', b"3") => Some(Cmd::Kill(CHAR_RIGHT)),
        (b'C', _) if by_word => Some(Cmd::Move(WORD_RIGHT)),
        (b'D', _) if by_word => Some(Cmd::Move(WORD_LEFT)),
        _ => cursor_key(last),
    }
}

fn cursor_key(last: u8) -> Option<Cmd> {
    Some(match last {
        b'A' => Cmd::PreviousHistory,
        b'B' => Cmd::NextHistory,
        b'C' => Cmd::Move(CHAR_RIGHT),
        b'D' => Cmd::Move(CHAR_LEFT),
        b'F' => Cmd::Move(END),
        b'H' => Cmd::Move(START),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Cmd> {
        Keys::default().take(bytes)
    }

    fn text(bytes: &[u8]) -> String {
        let text = |key| match key {
            Cmd::SelfInsert(1, char) => match raw::byte(char) {
                Some(byte) => format!("<{byte:02x}>"),
                None => char.to_string(),
            },
            Cmd::AcceptLine => "|".to_string(),
            other => panic!("{other:?}"),
        };
        keys(bytes).into_iter().map(text).collect()
    }

    #[test]
    fn characters_of_all_lengths() {
        let all = "a\u{e9}\u{4f60}\u{1f600}\tz";
        assert_eq!(text(all.as_bytes()), all);
    }

    #[test]
    fn what_is_no_character_stays_as_it_is() {
        assert_eq!(text(b"a\xffb\xc3c\xe4\xbdd\x80"), "a<ff>b<c3>c<e4><bd>d<80>");
        // Neither too long, nor half of a pair, nor beyond the last.
        assert_eq!(text(b"\xc0\xafx"), "<c0><af>x");
        assert_eq!(text(b"\xed\xa0\x80"), "<ed><a0><80>");
        assert_eq!(text(b"\xf4\x90\x80\x80"), "<f4><90><80><80>");
        // Those that hold bytes are held themselves.
        assert_eq!(text("\u{10ff41}\u{10feff}".as_bytes()), "<f4><8f><bd><81>\u{10feff}");
        // What interrupts a character is not lost.
        assert_eq!(text(b"\xe4\r"), "<e4>|");
        assert_eq!(text(b"\xe4\xbd\xc3\xa9"), "<e4><bd>\u{e9}");
        // Nor is what no key means.
        assert_eq!(text(b"a\0\x0f\x16\x1fb"), "a\0\x0f\x16\x1fb");
    }

    #[test]
    fn cursor_keys_of_several_terminals() {
        use Cmd::{Kill, Move, NextHistory, PreviousHistory};
        let moved = keys(b"\x1b[A\x1bOA\x1b[B\x1b[C\x1b[D");
        let (left, right) = (Move(CHAR_LEFT), Move(CHAR_RIGHT));
        assert_eq!(moved, [PreviousHistory, PreviousHistory, NextHistory, right, left]);
        assert_eq!(keys(b"\x1b[H\x1b[1~\x1b[7~\x1bOH\x01"), [const { Move(START) }; 5]);
        assert_eq!(keys(b"\x1b[F\x1b[4~\x1b[8~\x1bOF\x05"), [const { Move(END) }; 5]);
        assert_eq!(keys(b"\x1b[1;5D\x1b[1;3D\x1bb"), [const { Move(WORD_LEFT) }; 3]);
        assert_eq!(keys(b"\x1b[1;5C\x1b[1;3C\x1bf"), [const { Move(WORD_RIGHT) }; 3]);
        assert_eq!(keys(b"\x1b[3~\x7f\x08"), [CHAR_RIGHT, CHAR_LEFT, CHAR_LEFT].map(Kill));
    }

    #[test]
    fn sequences_that_mean_nothing_leave_nothing_behind() {
        assert_eq!(
            text(b"a\x1b[15~b\x1b[?1;2cc\x1bOPd\x1b\x1b[200;9;9;9;9;9;9;9;9;9;9ze"),
            "abcde"
        );
        assert_eq!(text(b"\x1b[1\rb"), "|b");
    }

    #[test]
    fn a_paste_commands_nothing() {
        assert_eq!(
            text(b"\x1b[200~one\rtwo\r\nthree\n\x04\x1a\x0c\x1bd\x1b[1;5D\x1bOA\x1b[201~\r"),
            "one|two|three|\x04\x1a\x0c\x1bd\x1b[1;5D\x1bOA|"
        );
    }

    #[test]
    fn a_paste_loses_nothing() {
        for pasted in [
            "\x1b[38;2;255;255;255;48;2;100;100;100mcolours\x1b[0m",
            "\x1b\x1b[A",
            "\x1b",
            "\x1b[12",
            "\x1b[\x1b[",
            "\x1b[1\u{e9}",
            "\x1bO",
            "\x1b[200~",
            "\0\x03\x07\x7f\t",
        ] {
            assert_eq!(text(format!("\x1b[200~{pasted}\x1b[201~").as_bytes()), pasted);
        }
        assert_eq!(text(b"\x1b[200~\xff\xe4\x1b[201~"), "<ff><e4>");
        assert_eq!(text(b"\x1b[200~\x1b[1\r\x1b[201~x"), "\x1b[1|x");
    }
}
