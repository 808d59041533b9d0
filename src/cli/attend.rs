//! A client's thread, and how it ended.

use super::text;
use crate::{Connection, Error, Result};

/// Serves a client, and says why that ended, as `serve` tells, or what went wrong.
pub fn attend(number: u64, connection: &Connection, serve: impl FnOnce() -> Result<&'static str>) {
    let panic = Panic { number, connection };
    let served = serve();
    drop(panic);
    let lost = |unacknowledged| match unacknowledged {
        0 => String::new(),
        _ => format!(", {} not acknowledged", text::messages(unacknowledged)),
    };
    match served {
        Ok(why) => log::info!("client-{number}: closed: {why}"),
        Err(Error::PeerClosed { unacknowledged }) => {
            log::info!("client-{number}: closed: it left{}", lost(unacknowledged));
        }
        Err(Error::Closed { unacknowledged }) => {
            log::info!("client-{number}: closed{}", lost(unacknowledged));
        }
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
