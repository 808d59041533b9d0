//! A network of this benchmark's own.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::harness::Result;

const CONGESTION: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
/// In the new network. Then it becomes the program that it is given.
const SETUP: &str = "ip link set lo up && echo reno >/proc/sys/net/ipv4/tcp_congestion_control \
                     && exec \"$@\"";
/// The argument of the benchmark that is inside.
const INSIDE: &str = "--inside";

/// Starts this program again inside, in place of this process, unless it is or that may not be.
pub(crate) fn enter() -> Result<()> {
    if std::env::args().any(|arg| arg == INSIDE) {
        return Ok(());
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", SETUP, "sh"]);
        command
    };
    let trial = unshare().arg("true").stderr(Stdio::null()).status();
    if trial.is_ok_and(|status| status.success()) {
        let args = std::env::args().skip(1);
        let error = unshare().arg(std::env::current_exe()?).args(args).arg(INSIDE).exec();
        return Err(error.into());
    }
    println!("SKIPPED: a network of its own, which may not be made here");
    Ok(())
}

/// What a socket has for which nothing else was chosen.
pub(crate) fn congestion() -> String {
    fs::read_to_string(CONGESTION).map_or("not known".into(), |name| name.trim().into())
}
