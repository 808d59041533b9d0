//! What the two programs share. No part of the library's interface.
//!
//! The pure parts (what arguments mean, what a line is, what keys do to it and
//! how it stands on a screen, how things are written for people, whom the
//! operator speaks to) know neither streams nor threads, and are tested here;
//! the programs themselves are tested as processes in `tests/programs.rs`, and
//! in a terminal in `tests/terminal`.

pub mod args;
mod batch;
pub mod bytes;
pub mod chat;
pub mod client;
pub mod clients;
pub mod descriptors;
mod editor;
pub mod end;
pub mod events;
mod input;
mod keyboard;
mod keys;
mod layout;
mod lines;
pub mod log;
pub mod manual;
pub mod metrics;
mod monitor;
pub mod printer;
mod progress;
mod queue;
mod raw;
pub mod replies;
mod roster;
pub mod security;
pub mod service;
mod source;
mod stdio;
pub mod stop;
mod terminal;
pub mod text;
pub mod threads;
pub mod values;
mod who;

/// The time, for what is shown of it.
#[expect(clippy::disallowed_methods, reason = "programs read the clock here")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// The exit codes of the programs.
pub mod code {
    /// All went well.
    pub const OK: u8 = 0;
    /// Something was not done; standard error says what.
    pub const FAILED: u8 = 1;
    /// The arguments were wrong.
    pub const USAGE: u8 = 2;
}
