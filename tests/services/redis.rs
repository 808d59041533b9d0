//! Redis: its own benchmark, and values that are written and read back.

use std::process::Stdio;
use std::sync::Arc;

use crate::folder::Folder;
use crate::port::Reserved;
use crate::process::{Output, Process};
use crate::service::Service;
use crate::tools::{has, reads, run, start, start_on};
use crate::transfer::noise;
use crate::way::{Way, judge};
use crate::{SOON, ms};

const TOOLS: [&str; 4] = ["setpriv", "redis-server", "redis-cli", "redis-benchmark"];

struct Redis {
    service: Service,
    folder: Folder,
}

impl Redis {
    /// `None` after what is missing was printed.
    fn start(name: &str) -> Option<Redis> {
        has(&TOOLS).then(|| {
            let (folder, reserved) = (Folder::new(name), Reserved::new());
            let (port, dir) = (reserved.port(), folder.make("data"));
            let args = ["--bind", "127.0.0.1", "--port", &port, "--dir", &dir, "--save", ""];
            let service = Service::start("redis-server", &args, reserved, "TERM");
            Redis { service, folder }
        })
    }

    /// The answer to a command, asked for without a tunnel.
    fn asked(&self, command: &[&str]) -> String {
        let port = self.service.addr().port().to_string();
        run("redis-cli", &[&["-p", &port], command].concat())
    }

    /// How often a command was carried out.
    fn calls(&self, command: &str) -> u64 {
        let stats = self.asked(&["info", "commandstats"]);
        let calls = stats.split_once(&format!("cmdstat_{command}:calls="));
        let number = calls.and_then(|(_, rest)| rest.split(',').next());
        number.map_or(0, |number| number.parse().unwrap())
    }
}

/// What a client printed, if it ended well.
fn succeeds(mut process: Process) -> Option<Arc<Output>> {
    (process.ends_within(4 * SOON) == 0).then(|| process.out.clone())
}

#[test]
#[ignore = "needs redis-server; the gate runs it"]
fn the_benchmark_ends_with_all_done() {
    let Some(redis) = Redis::start("redis-benchmark") else { return };
    // Not more than 200 pieces a second pass on each of 20 connections: five seconds at least.
    judge(redis.service.addr(), Way::listen, ms(5), |way| {
        redis.asked(&["config", "resetstat"]);
        let args = ["-h", &way.host(), "-p", &way.port(), "-q", "-c", "20", "-n", "10000"];
        let args = [&args, &["-r", "1000", "-t", "set,incr"][..]].concat();
        let out = succeeds(start("redis-benchmark", &args))?.text();
        assert!(!out.contains("rror"), "{out}");
        Some([redis.calls("set"), redis.calls("incr")])
    });
    assert_eq!(redis.calls("set"), 10_000);
}

#[test]
#[ignore = "needs redis-server; the gate runs it"]
fn values_are_read_as_they_were_written() {
    const VALUES: usize = 400;
    let Some(redis) = Redis::start("redis-values") else { return };
    let (mut sets, mut gets, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..VALUES {
        let (key, value) = (format!("key{n:03}"), noise(n as u64, n * 100 + 1));
        let head = format!("*3\r\n$3\r\nset\r\n$6\r\n{key}\r\n${}\r\n", value.len());
        sets.extend([head.as_bytes(), &value, b"\r\n"].concat());
        gets.extend(format!("get {key}\n").into_bytes());
        values.extend([&value[..], b"\n"].concat());
    }
    let (sets, gets) = (redis.folder.write("sets", sets), redis.folder.write("gets", gets));
    judge(redis.service.addr(), Way::listen, ms(5), |way| {
        redis.asked(&["flushall"]);
        let (host, port) = (way.host(), way.port());
        let cli = |args: &[&str], input: &str| {
            let args = [&["-h", &host, "-p", &port], args].concat();
            succeeds(start_on("redis-cli", &args, [reads(input), Stdio::piped()]))
        };
        let written = cli(&["--pipe"], &sets)?;
        assert!(written.text().contains(&format!("errors: 0, replies: {VALUES}")));
        Some(cli(&[], &gets)?.bytes() == values)
    });
}
