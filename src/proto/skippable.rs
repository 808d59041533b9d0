//! Frames that a peer skips if it does not know them.
//!
//! What nobody ever sends, somebody does not tolerate. So each side sends one that means
//! nothing on each link.

use bytes::BufMut;

/// The first and the last of their types.
pub(crate) const FIRST: u8 = 0x80;
pub(crate) const LAST: u8 = 0xBF;

/// Whether frames of this type may be skipped.
pub(crate) fn has(kind: u8) -> bool {
    (FIRST..=LAST).contains(&kind)
}

/// So many of these types, the last ones, never mean anything.
const MEANINGLESS: u64 = 32;

/// Appends a frame that means nothing. Its type and its length, up to 7 bytes, are another
/// one on each `link`.
pub(crate) fn put_meaningless(out: &mut impl BufMut, link: u64) {
    let kind = LAST - (link % MEANINGLESS) as u8;
    // Else each type had a length of its own.
    let len = (link / MEANINGLESS).wrapping_add(link) % 8;
    out.put_u8(kind);
    out.put_u32(len as u32);
    out.put_slice(&link.to_be_bytes()[..len as usize]);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_types_and_lengths_of_meaningless_frames_differ_from_link_to_link() {
        let mut seen = BTreeSet::new();
        for link in (0..256).chain([u64::MAX - 1, u64::MAX]) {
            let mut bytes = Vec::new();
            put_meaningless(&mut bytes, link);
            let [kind @ 0xA0..=0xBF, 0, 0, 0, len @ 0..=7, body @ ..] = &bytes[..] else {
                panic!("{bytes:x?}");
            };
            assert_eq!(body.len(), usize::from(*len));
            seen.insert((*kind, *len));
        }
        assert_eq!(seen.len(), 32 * 8);
    }
}
