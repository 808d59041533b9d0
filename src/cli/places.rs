//! How many clients are served at once.
//!
//! A connection that is over frees its place in the library, but its thread may
//! still print what came over it. Who comes meanwhile waits in the library,
//! whose limits count him: so neither threads nor messages add up, however
//! slow standard output is.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A fixed number of places.
#[derive(Debug)]
pub struct Places {
    free: Mutex<u32>,
    changed: Condvar,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Places {
    /// So many are free.
    pub fn new(count: u32) -> Arc<Places> {
        Arc::new(Places { free: Mutex::new(count), changed: Condvar::new() })
    }

    /// Takes one; blocks while there is none.
    pub fn take(self: &Arc<Places>) -> Place {
        let free = self.changed.wait_while(self.free(), |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Place(self.clone())
    }

    fn free(&self) -> MutexGuard<'_, u32> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.free() += 1;
        self.0.changed.notify_one();
    }
}
