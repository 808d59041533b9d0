//! What tests and fuzzes the core, and is no part of it: the simulation, what `cargo fuzz`
//! calls, and the example of `wire.md`.

mod choices;
pub mod fuzzing;
pub(super) mod sim;
#[cfg(test)]
mod worked_example;

#[cfg(test)]
pub(super) use choices::rounds;
