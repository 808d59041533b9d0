//! Reads keys out of what a terminal sends. Pure.

/// A key, by what it does in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    /// A byte that is no part of a character.
    Byte(u8),
    Enter,
    /// Ctrl-D: the end of input on an empty line, else the character is deleted.
    End,
    /// Ctrl-Z.
    Suspend,
    /// Ctrl-L.
    ClearScreen,
    Backspace,
    Delete,
    Left,
    Right,
    WordLeft,
    WordRight,
    LineStart,
    LineEnd,
    /// Up, and Ctrl-P.
    Earlier,
    /// Down, and Ctrl-N.
    Later,
    /// Ctrl-R.
    Search,
    /// Ctrl-G: ends a search; else it is text.
    Cancel,
    KillToStart,
    KillToEnd,
    KillWordLeft,
    /// Ctrl-W: back to a blank.
    KillBlankWordLeft,
    KillWordRight,
    Yank,
    Transpose,
}

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
    /// Takes a byte, and hands out the keys that are complete now.
    pub(super) fn take(&mut self, byte: u8, mut to: impl FnMut(Key)) {
        self.bytes.push(byte);
        while let Some((length, key)) = self.first() {
            self.pasting = match &self.bytes[..length] {
                PASTE => true,
                PASTE_END => false,
                _ => self.pasting,
            };
            // A line that was typed before the terminal was ours ends in a newline; so
            // may a pasted one, after a carriage return.
            let after_return = std::mem::replace(&mut self.after_return, self.bytes[0] == b'\r');
            let repeated = after_return && self.pasting && self.bytes[0] == b'\n';
            key.filter(|_| !repeated).map(&mut to);
            self.bytes.drain(..length);
        }
        // What makes a sequence too long is forgotten.
        self.bytes.truncate(LONGEST);
    }

    /// The length of the first key, and the key, if it means one. `None` if it is not
    /// complete.
    fn first(&self) -> Option<(usize, Option<Key>)> {
        match *self.bytes.first()? {
            0x80.. => character(&self.bytes),
            0x1b if self.pasting => match PASTE_END.starts_with(&self.bytes) {
                true => (self.bytes == PASTE_END).then_some((self.bytes.len(), None)),
                false => Some((1, Some(Key::Char('\x1b')))),
            },
            0x1b => sequence(&self.bytes),
            b'\r' | b'\n' => Some((1, Some(Key::Enter))),
            byte if self.pasting => Some((1, Some(Key::Char(char::from(byte))))),
            byte => Some((1, Some(control(byte)))),
        }
    }
}

/// A character of several bytes, or a byte that is no part of one.
fn character(bytes: &[u8]) -> Option<(usize, Option<Key>)> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() > 0 => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(error) => return error.error_len().map(|_| (1, Some(Key::Byte(bytes[0])))),
    };
    text.chars().next().map(|char| (char.len_utf8(), Some(Key::Char(char))))
}

/// What begins with Escape.
fn sequence(bytes: &[u8]) -> Option<(usize, Option<Key>)> {
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
        b'b' => Key::WordLeft,
        b'f' => Key::WordRight,
        b'd' => Key::KillWordRight,
        0x08 | 0x7f => Key::KillWordLeft,
        // Alt with a key that means nothing, or Escape alone before one.
        _ => return Some((1, None)),
    };
    Some((2, Some(key)))
}

fn control(byte: u8) -> Key {
    match byte {
        0x01 => Key::LineStart,
        0x02 => Key::Left,
        0x04 => Key::End,
        0x05 => Key::LineEnd,
        0x06 => Key::Right,
        0x07 => Key::Cancel,
        0x08 | 0x7f => Key::Backspace,
        0x0b => Key::KillToEnd,
        0x0c => Key::ClearScreen,
        0x0e => Key::Later,
        0x10 => Key::Earlier,
        0x12 => Key::Search,
        0x14 => Key::Transpose,
        0x15 => Key::KillToStart,
        0x17 => Key::KillBlankWordLeft,
        0x19 => Key::Yank,
        0x1a => Key::Suspend,
        // What no key means is text.
        _ => Key::Char(char::from(byte)),
    }
}

fn control_sequence(parameters: &[u8], last: u8) -> Option<Key> {
    let mut parameters = parameters.split(|&byte| byte == b';');
    let first = parameters.next().unwrap_or_default();
    // Ctrl and Alt, with Shift or without.
    let by_word = matches!(parameters.next(), Some([b'3'..=b'8']));
    match (last, first) {
        (b'~', b"1" | b"7") => Some(Key::LineStart),
        (b'~', b"4" | b"8") => Some(Key::LineEnd),
        (b'~', b"3") if by_word => Some(Key::KillWordRight),
        (b'~', b"3") => Some(Key::Delete),
        (b'C', _) if by_word => Some(Key::WordRight),
        (b'D', _) if by_word => Some(Key::WordLeft),
        _ => cursor_key(last),
    }
}

fn cursor_key(last: u8) -> Option<Key> {
    Some(match last {
        b'A' => Key::Earlier,
        b'B' => Key::Later,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'F' => Key::LineEnd,
        b'H' => Key::LineStart,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let (mut keys, mut all) = (Keys::default(), Vec::new());
        for &byte in bytes {
            keys.take(byte, |key| all.push(key));
        }
        all
    }

    fn text(bytes: &[u8]) -> String {
        let text = |key| match key {
            Key::Char(char) => char.to_string(),
            Key::Byte(byte) => format!("<{byte:02x}>"),
            Key::Enter => "|".to_string(),
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
        // What interrupts a character is not lost.
        assert_eq!(text(b"\xe4\r"), "<e4>|");
        assert_eq!(text(b"\xe4\xbd\xc3\xa9"), "<e4><bd>\u{e9}");
        // Nor is what no key means.
        assert_eq!(text(b"a\0\x0f\x16\x1fb"), "a\0\x0f\x16\x1fb");
    }

    #[test]
    fn cursor_keys_of_several_terminals() {
        use Key::*;
        assert_eq!(keys(b"\x1b[A\x1bOA\x1b[B\x1b[C\x1b[D"), [Earlier, Earlier, Later, Right, Left]);
        assert_eq!(keys(b"\x1b[H\x1b[1~\x1b[7~\x1bOH\x01"), [LineStart; 5]);
        assert_eq!(keys(b"\x1b[F\x1b[4~\x1b[8~\x1bOF\x05"), [LineEnd; 5]);
        assert_eq!(keys(b"\x1b[1;5D\x1b[1;3D\x1bb"), [WordLeft; 3]);
        assert_eq!(keys(b"\x1b[1;5C\x1b[1;3C\x1bf"), [WordRight; 3]);
        assert_eq!(keys(b"\x1b[3~\x7f\x08"), [Delete, Backspace, Backspace]);
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
