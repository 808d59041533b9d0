//! Numbers that outlive sessions: a client's messages are numbered over all of them, and
//! over all its processes, so that a server can tell what it has processed already.

use std::fmt;

use bytes::{Buf, BufMut};

use super::Violation;

/// What a client calls itself, in all its sessions, at every server. A peer that knows it can
/// take the client's place, so only a part of it is printed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ClientId(pub(crate) [u8; 16]);

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}..")
    }
}

/// What a client says of its messages in a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) client: ClientId,
    /// The number of the first message that is not acknowledged: of the first one in a
    /// session that this hello creates.
    pub(crate) first: u64,
}

impl Numbers {
    pub(crate) const LEN: usize = 16 + 8;

    /// The largest that a hello may say. There is no time to send as many again, so every
    /// number fits into a signed integer, as databases have them.
    pub(crate) const MAX_FIRST: u64 = 1 << 62;

    /// The largest that a client may begin with. It never gets to the other.
    pub(crate) const MAX_BEGIN: u64 = 1 << 61;

    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        debug_assert!((1..=Numbers::MAX_FIRST).contains(&self.first));
        out.put_slice(&self.client.0);
        out.put_u64(self.first);
    }

    pub(crate) fn decode(mut value: &[u8]) -> Result<Numbers, Violation> {
        if value.len() != Numbers::LEN {
            return Err(Violation("numbers of the wrong length"));
        }
        let mut client = ClientId([0; 16]);
        value.copy_to_slice(&mut client.0);
        let first = value.get_u64();
        if !(1..=Numbers::MAX_FIRST).contains(&first) {
            return Err(Violation("a message's number that cannot be"));
        }
        Ok(Numbers { client, first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(client: [u8; 16], first: u64) -> Vec<u8> {
        [&client[..], &first.to_be_bytes()].concat()
    }

    #[test]
    fn numbers_say_what_was_meant() {
        let client = *b"0123456789abcdef";
        for first in [1, 2, 1 << 40, Numbers::MAX_BEGIN, Numbers::MAX_FIRST] {
            let numbers = Numbers { client: ClientId(client), first };
            let mut bytes = Vec::new();
            numbers.encode(&mut bytes);
            assert_eq!(bytes, encoded(client, first));
            assert_eq!(Numbers::decode(&bytes), Ok(numbers));
        }
    }

    #[test]
    fn numbers_that_cannot_be_are_refused() {
        let bytes = encoded([0; 16], 1);
        for len in (0..bytes.len()).chain([bytes.len() + 1]) {
            let mut bytes = bytes.clone();
            bytes.resize(len, 0);
            let refused = Err(Violation("numbers of the wrong length"));
            assert_eq!(Numbers::decode(&bytes), refused);
        }
        for first in [0, Numbers::MAX_FIRST + 1, 1 << 63, u64::MAX] {
            let refused = Err(Violation("a message's number that cannot be"));
            assert_eq!(Numbers::decode(&encoded([7; 16], first)), refused);
        }
    }

    /// Whoever reads a log is not to know it.
    #[test]
    fn of_a_client_id_only_a_part_is_printed() {
        let id = ClientId(std::array::from_fn(|i| 0xA0 + i as u8));
        assert_eq!(format!("{id:?}"), "a0a1a2..");
    }
}
