//! Bytes that are no text, in a line of text. Pure.
//!
//! A line is edited as text. A byte that is none is held by a character in its
//! place, out of a range for private use. A character of that range that is typed
//! itself is held as its bytes, so that every line comes out as it went in.

/// The character for byte 0.
const FIRST: u32 = 0x10_ff00;

/// The character that holds a byte.
pub(super) fn held(byte: u8) -> char {
    char::from_u32(FIRST + u32::from(byte)).expect("the last character is U+10FFFF")
}

/// The byte that a character holds.
pub(super) fn byte(char: char) -> Option<u8> {
    u32::from(char).checked_sub(FIRST).and_then(|byte| u8::try_from(byte).ok())
}

/// The line as it was typed.
pub(super) fn bytes(line: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(line.len() + 1);
    for char in line.chars() {
        match byte(char) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        for value in 0..=u8::MAX {
            assert_eq!(byte(held(value)), Some(value));
        }
        assert_eq!(byte('\u{10feff}'), None);
        let line = format!("a{}\u{e9}{}", held(0xff), held(b'b'));
        assert_eq!(bytes(&line), b"a\xff\xc3\xa9b");
    }
}
