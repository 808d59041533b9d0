//! The operator's prompt, and output that does not run through it.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard};

/// The prompt that stands on the last line of the terminal; empty if none does.
static PROMPT: Mutex<String> = Mutex::new(String::new());

fn prompt() -> MutexGuard<'static, String> {
    PROMPT.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Whether somebody types, and sees what is said.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Shows a prompt, in the place of the one before.
pub fn show_prompt(text: &str) {
    let mut prompt = prompt();
    *prompt = text.to_string();
    let _ = io::stderr().write_all(format!("\r\x1b[K{text}").as_bytes());
}

/// Writes whole lines. If they go to the terminal on which the prompt stands,
/// they appear above it.
pub fn write(mut out: impl Write + IsTerminal, lines: &[u8]) -> io::Result<()> {
    if !out.is_terminal() {
        out.write_all(lines)?;
        return out.flush();
    }
    let prompt = prompt();
    if !prompt.is_empty() {
        io::stderr().write_all(b"\r\x1b[K")?;
    }
    out.write_all(lines)?;
    out.flush()?;
    io::stderr().write_all(prompt.as_bytes())
}
