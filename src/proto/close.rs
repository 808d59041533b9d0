//! CLOSE: how a session ended, and why an application refused it.

use bytes::{Buf, BufMut, TryGetError};

/// The session is over for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: CloseCode,
    /// Sequenced frames that were consumed; the rest never will be.
    pub(crate) consumed: u64,
}

/// How a session ended, as it stands in a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CloseCode {
    /// Both directions ended, and everything was taken.
    Done,
    /// The sender closed; it takes nothing more.
    Closed,
    /// The sender's application aborted.
    Aborted,
    /// The server's application wants nothing of this client. A client that says so has
    /// closed.
    Refused(Refusal),
}

/// What an application says to a client that it refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: u32,
    pub(crate) text: Box<str>,
}

/// The longest text of a refusal, in bytes.
const MAX_TEXT: usize = 256;

impl Refusal {
    /// What is too long of the text is cut off.
    pub(crate) fn new(code: u32, text: &str) -> Refusal {
        let most = text.len().min(MAX_TEXT);
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at));
        Refusal { code, text: text[..end.unwrap_or(0)].into() }
    }
}

impl Close {
    /// Without a refusal.
    const LEN: usize = 1 + 8;

    pub(crate) fn len(&self) -> usize {
        Close::LEN + self.refusal().map_or(0, |refusal| 4 + refusal.text.len())
    }

    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        out.put_u8(match self.code {
            CloseCode::Done => 0,
            CloseCode::Closed => 1,
            CloseCode::Aborted => 2,
            CloseCode::Refused(_) => 3,
        });
        out.put_u64(self.consumed);
        if let Some(Refusal { code, text }) = self.refusal() {
            out.put_u32(*code);
            out.put_slice(text.as_bytes());
        }
    }

    /// What is too short for a refusal is an end all the same, and so is a code of a later
    /// version.
    pub(crate) fn decode(mut body: &[u8]) -> Result<Close, TryGetError> {
        let (code, consumed) = (body.try_get_u8()?, body.try_get_u64()?);
        let refusal = body.try_get_u32();
        let code = match (code, refusal) {
            (0, _) => CloseCode::Done,
            (2, _) => CloseCode::Aborted,
            (3, Ok(code)) => CloseCode::Refused(Refusal::new(code, &String::from_utf8_lossy(body))),
            _ => CloseCode::Closed,
        };
        Ok(Close { code, consumed })
    }

    fn refusal(&self) -> Option<&Refusal> {
        self.code.refusal()
    }
}

impl CloseCode {
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match self {
            CloseCode::Refused(refusal) => Some(refusal),
            CloseCode::Done | CloseCode::Closed | CloseCode::Aborted => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(code: CloseCode) -> Vec<u8> {
        let close = Close { code, consumed: 7 };
        let mut bytes = Vec::new();
        close.encode(&mut bytes);
        assert_eq!(bytes.len(), close.len());
        assert_eq!(Close::decode(&bytes), Ok(close));
        bytes
    }

    fn decoded(bytes: &[&[u8]]) -> CloseCode {
        let close = Close::decode(&bytes.concat()).unwrap();
        assert_eq!(close.consumed, 7);
        close.code
    }

    #[test]
    fn a_close_says_what_was_meant_and_ignores_what_follows() {
        let codes = [CloseCode::Done, CloseCode::Closed, CloseCode::Aborted];
        for (number, code) in (0..).zip(codes) {
            let bytes = encoded(code.clone());
            assert_eq!(bytes, [number, 0, 0, 0, 0, 0, 0, 0, 7]);
            assert_eq!(decoded(&[&bytes, b"\0\0\0\x01more"]), code);
            for len in 0..bytes.len() {
                Close::decode(&bytes[..len]).unwrap_err();
            }
        }
    }

    #[test]
    fn a_refusal_carries_a_code_and_a_text() {
        for (code, text) in [(0, ""), (7, "läuft nicht"), (u32::MAX, &"x".repeat(256))] {
            let bytes = encoded(CloseCode::Refused(Refusal::new(code, text)));
            assert_eq!(bytes[..9], [3, 0, 0, 0, 0, 0, 0, 0, 7]);
            assert_eq!(bytes[9..], [&code.to_be_bytes(), text.as_bytes()].concat());
        }
    }

    #[test]
    fn an_unknown_code_and_half_a_refusal_are_ends_as_any() {
        let bytes = encoded(CloseCode::Refused(Refusal::new(7, "no")));
        for len in 9..13 {
            assert_eq!(decoded(&[&bytes[..len]]), CloseCode::Closed, "{len}");
        }
        assert_eq!(decoded(&[&bytes[..13]]), CloseCode::Refused(Refusal::new(7, "")));
        for code in 4..=255 {
            assert_eq!(decoded(&[&[code], &bytes[1..]]), CloseCode::Closed, "{code}");
        }
    }

    #[test]
    fn a_text_is_cut_between_two_characters_and_need_not_be_one() {
        for (long, len) in [("x", 256), ("ä", 256), ("€", 255), ("a€", 256), ("🦀", 256)] {
            let long = long.repeat(300);
            let Refusal { text, .. } = Refusal::new(1, &long);
            assert_eq!((text.len(), long.starts_with(&*text)), (len, true));
            // As it comes from a peer that does not cut.
            let head = b"\x03\0\0\0\0\0\0\0\x07\0\0\0\x01";
            assert_eq!(
                decoded(&[head, long.as_bytes()]),
                CloseCode::Refused(Refusal { code: 1, text })
            );
        }
        let head = b"\x03\0\0\0\0\0\0\0\x07\0\0\0\x01";
        let text = "a\u{fffd}b\u{fffd}".into();
        let refused = CloseCode::Refused(Refusal { code: 1, text });
        assert_eq!(decoded(&[head, b"a\xffb\xc3"]), refused);
        let CloseCode::Refused(refusal) = decoded(&[head, &[0xFF; 4000]]) else { panic!() };
        assert_eq!(*refusal.text, *"\u{fffd}".repeat(85));
    }
}
