//! What a test leaves to chance: to a seed, or to a fuzzer's bytes.

use std::ops::{Bound, RangeBounds};

use bytes::{Buf, Bytes};

use crate::proto::handshake::Token;

/// Bytes are good for one decision each, so that a fuzzer which changes one
/// changes one decision. Behind the last there are only zeros, for which
/// nothing unlikely happens.
#[derive(Debug)]
pub(crate) enum Choices {
    #[cfg(test)]
    Seed(fastrand::Rng),
    Bytes(Bytes),
}

macro_rules! numbers {
    ($($number:ident)*) => {$(
        pub(crate) fn $number(&mut self, range: impl RangeBounds<$number>) -> $number {
            match self {
                #[cfg(test)]
                Choices::Seed(rng) => rng.$number(range),
                Choices::Bytes(bytes) => {
                    let low = match range.start_bound() {
                        Bound::Included(low) => *low,
                        Bound::Excluded(low) => low + 1,
                        Bound::Unbounded => 0,
                    };
                    let high = match range.end_bound() {
                        Bound::Included(high) => *high,
                        Bound::Excluded(high) => high - 1,
                        Bound::Unbounded => $number::MAX,
                    };
                    low + at_most((high - low) as u64, bytes) as $number
                }
            }
        }
    )*};
}

impl Choices {
    pub(crate) fn of(bytes: &[u8]) -> Choices {
        Choices::Bytes(Bytes::copy_from_slice(bytes))
    }

    numbers! { u8 u32 u64 usize }

    pub(crate) fn bool(&mut self) -> bool {
        match self {
            #[cfg(test)]
            Choices::Seed(rng) => rng.bool(),
            Choices::Bytes(bytes) => at_most(1, bytes) == 1,
        }
    }

    /// Of 0 to 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        match self {
            #[cfg(test)]
            Choices::Seed(rng) => rng.f64(),
            Choices::Bytes(bytes) => at_most(0xFFFF, bytes) as f64 / 65536.0,
        }
    }

    pub(crate) fn chance(&mut self, chance: f64) -> bool {
        match self {
            _ if chance <= 0.0 => false,
            #[cfg(test)]
            Choices::Seed(rng) => rng.f64() < chance,
            // The rarest that a byte can say happens for 255.
            Choices::Bytes(bytes) => (255 - at_most(255, bytes)) as f64 / 256.0 < chance,
        }
    }

    pub(crate) fn token(&mut self) -> Token {
        match self {
            #[cfg(test)]
            Choices::Seed(rng) => Token(rng.u128(..).to_be_bytes()),
            Choices::Bytes(_) => Token([7; 16]),
        }
    }

    /// What arrives next of a stream: all of it, a byte, or some.
    pub(crate) fn piece<'a>(&mut self, stream: &'a [u8]) -> &'a [u8] {
        let most = match self.u8(..4) {
            0 => usize::MAX,
            1 => 1,
            _ => self.usize(1..200),
        };
        &stream[..stream.len().min(most)]
    }

    /// Literally the next bytes, as far as there are so many.
    pub(crate) fn take(&mut self, most: usize) -> Bytes {
        match self {
            #[cfg(test)]
            Choices::Seed(rng) => std::iter::repeat_with(|| rng.u8(..)).take(most).collect(),
            Choices::Bytes(bytes) => bytes.split_to(most.min(bytes.len())),
        }
    }

    /// Whether the bytes are used up; a seed never is.
    pub(crate) fn are_over(&self) -> bool {
        match self {
            #[cfg(test)]
            Choices::Seed(_) => false,
            Choices::Bytes(bytes) => bytes.is_empty(),
        }
    }
}

/// A number from 0 to `most`, of as many bytes as that takes.
fn at_most(most: u64, bytes: &mut Bytes) -> u64 {
    let mut number = 0;
    let mut rest = most;
    while rest > 0 {
        number = number << 8 | bytes.try_get_u8().map_or(0, u64::from);
        rest >>= 8;
    }
    match most.checked_add(1) {
        Some(bound) => number % bound,
        None => number,
    }
}

/// How many random rounds a test makes: of `many`, what Miri has the time for.
#[cfg(test)]
pub(crate) const fn rounds(many: u64) -> u64 {
    if cfg!(miri) { many.div_ceil(5000) } else { many }
}
