//! What a terminal sends when somebody types: bytes to keys. Pure.

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
    state: State,
    /// A bracketed paste: of control characters, only ends of lines are obeyed.
    pasting: bool,
    after_return: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Ground,
    /// Part of a character.
    Utf8(Vec<u8>),
    Escape,
    /// ESC O.
    Single,
    /// ESC [, and what came of its parameters.
    Control(Vec<u8>),
}

/// A control sequence with more parameters than this means nothing to us.
const PARAMETERS: usize = 16;

impl Keys {
    /// Takes a byte, and hands out the keys that are complete now.
    pub(super) fn take(&mut self, byte: u8, mut to: impl FnMut(Key)) {
        match &mut self.state {
            State::Ground => self.ground(byte, to),
            State::Utf8(bytes) => {
                bytes.push(byte);
                match std::str::from_utf8(bytes) {
                    Ok(text) => {
                        text.chars().for_each(|char| to(Key::Char(char)));
                        self.state = State::Ground;
                    }
                    Err(error) if error.error_len().is_none() => {}
                    Err(_) => {
                        bytes.pop();
                        bytes.drain(..).for_each(|byte| to(Key::Byte(byte)));
                        self.state = State::Ground;
                        // The byte may begin something else.
                        self.take(byte, to);
                    }
                }
            }
            State::Escape => {
                self.state = State::Ground;
                match byte {
                    b'[' => self.state = State::Control(Vec::new()),
                    b'O' => self.state = State::Single,
                    0x1b if !self.pasting => self.state = State::Escape,
                    _ if self.pasting => {
                        to(Key::Char('\x1b'));
                        self.take(byte, to);
                    }
                    b'b' => to(Key::WordLeft),
                    b'f' => to(Key::WordRight),
                    b'd' => to(Key::KillWordRight),
                    0x08 | 0x7f => to(Key::KillWordLeft),
                    // Alt with a key that means nothing, or Escape alone before one.
                    _ => self.take(byte, to),
                }
            }
            State::Single if self.pasting => {
                self.state = State::Ground;
                "\x1bO".chars().for_each(|char| to(Key::Char(char)));
                self.take(byte, to);
            }
            State::Single => {
                self.state = State::Ground;
                if let Some(key) = cursor_key(byte) {
                    to(key);
                }
            }
            State::Control(parameters) => match byte {
                0x40..=0x7e => {
                    let parameters = std::mem::take(parameters);
                    self.state = State::Ground;
                    self.control(&parameters, byte, to);
                }
                0x20..=0x3f if parameters.len() < PARAMETERS => parameters.push(byte),
                0x20..=0x3f if !self.pasting => {}
                // It is none.
                _ => {
                    if self.pasting {
                        let sequence = [b"\x1b[", &parameters[..]].concat();
                        sequence.into_iter().for_each(|byte| to(Key::Char(char::from(byte))));
                    }
                    self.state = State::Ground;
                    self.take(byte, to);
                }
            },
        }
    }

    fn ground(&mut self, byte: u8, mut to: impl FnMut(Key)) {
        let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
        let key = match byte {
            // A line that was typed before the terminal was ours ends so; so
            // may a pasted one, after a carriage return.
            b'\n' if after_return && self.pasting => return,
            b'\r' | b'\n' => Key::Enter,
            0x1b => {
                self.state = State::Escape;
                return;
            }
            0x80.. => {
                self.state = State::Utf8(vec![byte]);
                if std::str::from_utf8(&[byte]).is_err_and(|error| error.error_len().is_some()) {
                    self.state = State::Ground;
                    to(Key::Byte(byte));
                }
                return;
            }
            b' '..0x7f | b'\t' => Key::Char(char::from(byte)),
            _ if self.pasting => Key::Char(char::from(byte)),
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
        };
        to(key);
    }

    fn control(&mut self, parameters: &[u8], last: u8, mut to: impl FnMut(Key)) {
        let (first, modifier) = match parameters.iter().position(|&byte| byte == b';') {
            Some(at) => (&parameters[..at], &parameters[at + 1..]),
            None => (parameters, &b""[..]),
        };
        // Ctrl and Alt, with Shift or without.
        let by_word = matches!(modifier, b"3" | b"4" | b"5" | b"6" | b"7" | b"8");
        let pasted = self.pasting;
        let key = match (last, first) {
            (b'~', b"200") => {
                self.pasting = true;
                None
            }
            (b'~', b"201") => {
                self.pasting = false;
                None
            }
            (b'~', b"1" | b"7") => Some(Key::LineStart),
            (b'~', b"4" | b"8") => Some(Key::LineEnd),
            (b'~', b"3") if by_word => Some(Key::KillWordRight),
            (b'~', b"3") => Some(Key::Delete),
            (b'C', _) if by_word => Some(Key::WordRight),
            (b'D', _) if by_word => Some(Key::WordLeft),
            _ => cursor_key(last),
        };
        match key {
            Some(key) if !pasted => to(key),
            _ if pasted && self.pasting => {
                let sequence = [b"\x1b[", parameters, &[last]].concat();
                sequence.into_iter().for_each(|byte| to(Key::Char(char::from(byte))));
            }
            _ => {}
        }
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
