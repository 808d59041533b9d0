//! Prints the public API of longlink, an item a line:
//!
//! ```text
//! cargo run --manifest-path tests/api/Cargo.toml > tests/public_api.txt
//! ```
//!
//! The listing is of the library alone. It comes from what rustdoc writes as JSON, the format of
//! which changes with Rust: where it is not the one that is read here, the exit code is 77.

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::{Command, ExitCode};

use serde_json::Value;

const FORMAT: u64 = 57;
const OTHER_FORMAT: u8 = 77;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = root.join("target/api");
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "rustdoc",
            "--quiet",
            "--lib",
            "--no-default-features",
            "--features",
            "system-roots",
            "--manifest-path",
        ])
        .arg(root.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .args(["-Zunstable-options", "--output-format", "json"])
        // JSON is unstable in any Rust.
        .env("RUSTC_BOOTSTRAP", "1")
        .status()?;
    if !status.success() {
        return Err("cargo rustdoc failed".into());
    }
    let json = target.join("doc/longlink.json");
    let value: Value = serde_json::from_reader(BufReader::new(File::open(&json)?))?;
    let format = &value["format_version"];
    if format.as_u64() != Some(FORMAT) {
        eprintln!("rustdoc writes format {format} and {FORMAT} is read");
        return Ok(ExitCode::from(OTHER_FORMAT));
    }
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()?;
    for item in api.items() {
        println!("{item}");
    }
    Ok(ExitCode::SUCCESS)
}
