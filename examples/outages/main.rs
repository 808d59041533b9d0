//! What each kind of outage costs, with the real programs on networks that the
//! kernel makes: 4000 numbered lines go through `client` to `server` and back,
//! 200 a second, while the path between them fails. Prints a table; the exit
//! code is 1 if something in it is not as it is promised.
//!
//!     cargo run --release --example outages [-- --tls]
//!
//! With `--tls` the server has keys, and the client an invite. It takes root, and the tools `ip`,
//! `nft` and `conntrack`.

#[cfg(target_os = "linux")]
#[path = "../../tests/support/keys.rs"]
#[allow(dead_code)]
mod keys;
#[cfg(target_os = "linux")]
#[path = "../../tests/support/network.rs"]
mod network;
#[cfg(target_os = "linux")]
mod outage;
#[cfg(target_os = "linux")]
#[path = "../support/programs.rs"]
mod programs;
#[cfg(target_os = "linux")]
mod scene;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let secured = match &args[..] {
        [] => false,
        [flag] if flag == "--tls" => true,
        _ => {
            eprintln!("outages [--tls]");
            return ExitCode::from(2);
        }
    };
    match outage::run(secured) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("outages: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("outages: only Linux has such networks");
    ExitCode::FAILURE
}
