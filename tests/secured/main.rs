//! The two programs over TLS: how their keys are made, whom they let in, and what the others are
//! told.
#![cfg(feature = "cli")]

#[path = "../support/authority.rs"]
mod authority;
mod certificates;
mod filter;
mod folder;
mod keys;
#[path = "../support/numbers.rs"]
mod numbers;
#[path = "../support/port.rs"]
mod port;
#[path = "../support/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../support/proxy.rs"]
#[allow(unreachable_pub)]
mod proxy;
mod reload;
