//! The two programs, for the examples that run them.

use std::error::Error;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Cargo builds an example without the programs: they are built here, and
/// stand beside the directory of this one.
pub(crate) fn build() -> Result<PathBuf> {
    let me = std::env::current_exe()?;
    let programs = me.ancestors().nth(2).ok_or("where am I?")?;
    let target = programs.parent().ok_or("where am I?")?;
    let profile = match programs.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--bins", "--profile", profile, "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .status()?;
    if built.success() { Ok(programs.into()) } else { Err("the programs were not built".into()) }
}

/// A program that is killed when it is not needed any more.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Result<Running> {
        Ok(Running(command.stderr(Stdio::piped()).spawn()?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}
