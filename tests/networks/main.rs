//! The two programs on networks that the kernel makes: cables, routers that
//! forget, addresses that change. It takes root and some tools, which is why
//! these tests run on demand only:
//!
//!     cargo test --test networks -- --ignored
//!
//! Without them they are skipped, and say why; with `LONGLINK_NETWORKS` set,
//! they fail. With `LONGLINK_TLS=1` the server has keys, and the client an
//! invite; otherwise they talk in clear text.
//!
//! Those with ssh take Debian's openssh-server besides. Without it they print
//! so and are skipped, also with `LONGLINK_NETWORKS`.
#![cfg(all(feature = "cli", target_os = "linux"))]

mod addresses;
mod balancer;
#[path = "../support/folder.rs"]
mod folder;
#[path = "../support/keys.rs"]
#[allow(dead_code)]
mod keys;
#[path = "../support/network.rs"]
mod network;
#[path = "../support/openssh.rs"]
mod openssh;
mod outages;
#[path = "../support/port.rs"]
#[allow(dead_code)]
mod port;
#[path = "../support/process.rs"]
#[allow(dead_code)]
mod process;
mod ssh;
mod stage;
#[path = "../support/tools.rs"]
mod tools;
