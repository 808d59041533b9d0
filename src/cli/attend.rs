//! A client's thread, and how it ended.

use super::text;
use crate::{Connection, Result};

/// Serves a client, and says what went wrong.
pub fn attend(number: u64, connection: &Connection, serve: impl FnOnce() -> Result<()>) {
    let panic = Panic { number, connection };
    let served = serve();
    drop(panic);
    match served {
        Ok(()) => log::debug!("client-{number}: served to its end"),
        // Its event has said so.
        Err(error) if error.is_final() => log::debug!("client-{number}: {}", text::error(&error)),
        Err(error) => log::error!("client-{number}: {}", text::error(&error)),
    }
}

/// Sees to it that a client whose handler panics learns of it.
struct Panic<'a> {
    number: u64,
    connection: &'a Connection,
}

impl Drop for Panic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            log::error!("client-{}: its handler panicked, and it is let go", self.number);
            self.connection.abort();
        }
    }
}
