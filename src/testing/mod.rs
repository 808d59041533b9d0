//! What tests the crate, and is no part of it. What tests the core is in `proto/testing`.

#[cfg(all(test, not(shuttle)))]
pub(crate) mod counters;
#[cfg(all(test, not(shuttle)))]
pub(crate) mod logger;
#[cfg(shuttle)]
pub(crate) mod model;
#[cfg(test)]
mod simulated_clients;
