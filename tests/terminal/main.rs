//! The programs in a real terminal: what is typed there, and what its screen
//! shows. `setsid` (of util-linux) makes it theirs; one test needs bash.
#![cfg(feature = "cli")]

use std::time::Duration;

mod connecting;
mod editing;
mod ends;
mod operator;
#[path = "../support/port.rs"]
mod port;
#[path = "../support/process.rs"]
#[allow(dead_code, reason = "of use to other tests")]
mod process;
mod progress;
mod prompt;
mod streams;
#[path = "../support/wait.rs"]
mod wait;
mod window;
#[path = "../support/wire.rs"]
#[allow(dead_code, reason = "of use to other tests")]
mod wire;

/// The patience of every wait: for machines that do much else meanwhile.
const SOON: Duration = Duration::from_secs(30);
