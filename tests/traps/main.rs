//! The traps: what goes wrong with long connections, one test for each way.
//!
//! `README.md` lists them, and the tests of each. Traps 4, 5 and 13 are also played
//! with real processes in `programs.rs`; the rules of the protocol alone are played
//! with in the core's simulation.

#[path = "../support/port.rs"]
mod port;
#[path = "../support/proxy.rs"]
#[allow(unreachable_pub)]
mod proxy;
mod rig;
#[path = "../support/wait.rs"]
mod wait;
#[path = "../support/wire.rs"]
mod wire;

mod budget;
mod check;
mod close;
mod contract;
mod cut;
#[cfg(target_os = "linux")]
mod deaf;
mod foreign;
mod going;
mod greeting;
mod held;
mod hostile;
mod hosts;
#[cfg(target_os = "linux")]
mod kernel;
mod later;
mod limits;
mod lost;
mod many;
mod numbers;
#[cfg(feature = "tls")]
mod path;
mod pressure;
mod refuse;
#[cfg(feature = "tls")]
mod reload;
mod restart;
mod signals;
mod silence;
mod slow;
mod takeover;
#[cfg(feature = "tls")]
mod thief;

use rig::SOON;
