//! REJECT: why a server takes no link, and when another attempt makes sense.

use std::time::Duration;

use bytes::{Buf, BufMut, TryGetError};

use super::handshake::{VERSION, millis};

/// "Not now", or "not at all".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reject {
    pub(crate) code: u8,
    pub(crate) class: Class,
    /// Another attempt before this makes no sense; zero if nothing is known.
    pub(crate) come_back_after: Duration,
    /// The lowest and the highest version that the server speaks.
    pub(crate) versions: (u16, u16),
    /// For a log.
    pub(crate) text: String,
}

/// What a client may do, whatever the code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Ask again.
    Later = 1,
    /// Ask another host, and this one again.
    Elsewhere = 2,
    /// This host's answer stays the same.
    Never = 3,
}

impl Reject {
    /// Without the text.
    const LEN: usize = 1 + 1 + 4 + 2 + 2;

    /// Of a server of this version, which does not know when it makes sense to come back.
    pub(crate) fn new(code: u8, class: Class, text: String) -> Reject {
        let (come_back_after, versions) = (Duration::ZERO, (VERSION, VERSION));
        Reject { code, class, come_back_after, versions, text }
    }

    pub(crate) fn len(&self) -> usize {
        Reject::LEN + self.text.len()
    }

    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        out.put_u8(self.code);
        out.put_u8(self.class as u8);
        out.put_u32(millis(self.come_back_after));
        out.put_u16(self.versions.0);
        out.put_u16(self.versions.1);
        out.put_slice(self.text.as_bytes());
    }

    pub(crate) fn decode(mut body: &[u8]) -> Result<Reject, TryGetError> {
        Ok(Reject {
            code: body.try_get_u8()?,
            class: Class::from_wire(body.try_get_u8()?),
            come_back_after: Duration::from_millis(body.try_get_u32()?.into()),
            versions: (body.try_get_u16()?, body.try_get_u16()?),
            text: String::from_utf8_lossy(body).into_owned(),
        })
    }
}

impl Class {
    pub(crate) fn from_wire(class: u8) -> Class {
        match class {
            2 => Class::Elsewhere,
            3 => Class::Never,
            _ => Class::Later,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_says_what_was_meant_and_an_unknown_class_is_later() {
        let text = String::from("läuft nicht");
        for (class, meant) in
            [(0, 1), (1, 1), (2, 2), (3, 3), (4, 1), (255, 1)].map(|(class, meant): (u8, u8)| {
                (class, [Class::Later, Class::Elsewhere, Class::Never][usize::from(meant) - 1])
            })
        {
            let come_back_after = Duration::from_millis(0x0102_0304);
            let reject = Reject {
                code: 9,
                class: meant,
                come_back_after,
                versions: (5, 6),
                text: text.clone(),
            };
            let mut bytes = Vec::new();
            reject.encode(&mut bytes);
            assert_eq!(bytes.len(), reject.len());
            assert_eq!(bytes[..10], [9, meant as u8, 1, 2, 3, 4, 0, 5, 0, 6]);
            bytes[1] = class;
            assert_eq!(Reject::decode(&bytes), Ok(reject));
            for len in 0..10 {
                Reject::decode(&bytes[..len]).unwrap_err();
            }
            assert_eq!(Reject::decode(&bytes[..10]).unwrap().text, "");
        }
    }

    #[test]
    fn a_time_that_is_too_long_for_the_wire_is_shortened() {
        let reject = Reject::new(1, Class::Later, String::new());
        let mut bytes = Vec::new();
        Reject { come_back_after: Duration::MAX, ..reject }.encode(&mut bytes);
        assert_eq!(bytes[2..6], [0xFF; 4]);
    }
}
