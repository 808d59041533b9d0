//! Messages that are not needed any more.
//!
//! To drop a message may run the application's code: that of its owner, see
//! [`Bytes::from_owner`]. So the core, which is used under a lock, drops none. They wait
//! here until the lock is released.

use bytes::Bytes;

/// Messages to be dropped. The first is stored without an allocation: when a large
/// message is answered with another, there is no more.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    first: Option<Bytes>,
    more: Vec<Bytes>,
}

impl Spent {
    /// Drops it at once if that frees memory and does nothing else.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        // One that has an owner is never said to be unique.
        if bytes.is_unique() {
            return;
        }
        match &self.first {
            None => self.first = Some(bytes),
            Some(_) => self.more.push(bytes),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.more.is_empty()
    }
}

impl Extend<Bytes> for Spent {
    fn extend<I: IntoIterator<Item = Bytes>>(&mut self, messages: I) {
        messages.into_iter().for_each(|bytes| self.push(bytes));
    }
}

/// Takes them one by one, and keeps its own memory.
impl Iterator for Spent {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.more.pop().or_else(|| self.first.take())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn what_has_an_owner_is_not_dropped_here() {
        static DROPPED: AtomicUsize = AtomicUsize::new(0);
        struct Owner([u8; 3]);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        impl Drop for Owner {
            fn drop(&mut self) {
                DROPPED.fetch_add(1, Ordering::SeqCst);
            }
        }
        let shared = Bytes::from(vec![0]);
        let mut spent = Spent::default();
        spent.push(Bytes::from(vec![1]));
        assert!(spent.is_empty(), "it was memory, and nothing else");
        let owned = (0..3).map(|_| Bytes::from_owner(Owner([2; 3])));
        spent.extend(owned.chain([shared.clone()]));
        let taken: Vec<Bytes> = spent.by_ref().collect();
        assert_eq!((taken.len(), DROPPED.load(Ordering::SeqCst)), (4, 0));
        assert!(spent.is_empty());
        drop(taken);
        assert_eq!(DROPPED.load(Ordering::SeqCst), 3);
    }
}
