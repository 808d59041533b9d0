//! Services that people have, used by their own clients through the two programs, over links that
//! are cut every second. The verdict has to be that without a tunnel. It takes Debian's packages
//! openssh-server, redis, postgresql, rsync, nginx and curl, which is why these tests run on demand
//! only:
//!
//!     cargo test --test services -- --ignored
//!
//! A test prints what it lacks, and is skipped, if that is not installed. A transfer is of 20 MB;
//! with `LONGLINK_SERVICES_MB=200` in the environment, of 200 MB.
#![cfg(all(feature = "cli", target_os = "linux"))]

mod crowd;
#[path = "../support/folder.rs"]
mod folder;
mod http;
#[path = "../support/openssh.rs"]
mod openssh;
#[path = "../support/port.rs"]
mod port;
mod postgres;
#[path = "../support/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../support/proxy.rs"]
#[allow(unreachable_pub)]
mod proxy;
mod redis;
mod rsync;
mod service;
mod ssh;
#[path = "../support/tools.rs"]
mod tools;
mod transfer;
#[path = "../support/wait.rs"]
mod wait;
mod way;

use std::time::Duration;

/// The patience of every wait: for machines that do much else meanwhile.
const SOON: Duration = Duration::from_secs(30);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
