//! How many lines a second go through the programs, `client < FILE > /dev/null` against an echoing
//! `server`, and through the same pair without the library: lines over a raw `TcpStream` with
//! `BufReader` and `BufWriter`.
//!
//!     cargo bench --bench lines [-- MEGABYTES]
//!
//! All are processes of their own. The raw pair is this program, started again. The rounds
//! alternate, so that a machine that is busy with other things is so for all.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

#[path = "../tests/support/port.rs"]
#[allow(dead_code)]
mod port;
#[path = "../tests/support/process.rs"]
#[allow(dead_code)]
mod process;

use process::{CLIENT, Process, SERVER, Stdout};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Of a line, its newline included.
const LINE: usize = 64;
/// What is claimed: the programs' lines in a second, of the raw pair's.
const CLAIM: f64 = 0.5;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |wanted: &str| args.iter().any(|arg| arg == wanted);
    // Who tests only wants to know that it runs.
    let test = !has("--bench") || has("--test");
    let words: Vec<&str> =
        args.iter().map(String::as_str).filter(|arg| !arg.starts_with("--")).collect();
    let outcome = match (&words[..], test) {
        (["raw-server"], _) => raw_server().map(|()| true),
        (["raw-client", addr], _) => raw_client(addr).map(|()| true),
        ([], true) => measure(1, 1).map(|_| true),
        ([], false) => measure(100, 5),
        ([megabytes], _) => megabytes.parse().map_err(Into::into).and_then(|mb| measure(mb, 3)),
        _ => Err("usage: lines [MEGABYTES]".into()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Reads a line at a time, and echoes it; what is written goes out before it waits.
fn raw_server() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    loop {
        let stream = listener.accept()?.0;
        stream.set_nodelay(true)?;
        pass_lines(stream.try_clone()?, stream)?;
    }
}

/// Sends standard input, and prints what comes back.
fn raw_client(addr: &str) -> Result<()> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    let sending = stream.try_clone()?;
    let sender = thread::spawn(move || -> io::Result<()> {
        pass_lines(io::stdin(), &sending)?;
        sending.shutdown(std::net::Shutdown::Write)
    });
    pass_lines(stream, io::stdout().lock())?;
    Ok(sender.join().map_err(|_| "the sender panicked")??)
}

fn pass_lines(from: impl Read, to: impl Write) -> io::Result<()> {
    let mut from = BufReader::with_capacity(64 * 1024, from);
    let mut to = BufWriter::with_capacity(64 * 1024, to);
    let mut line = Vec::new();
    loop {
        line.clear();
        if from.buffer().is_empty() {
            to.flush()?;
        }
        if from.read_until(b'\n', &mut line)? == 0 {
            return to.flush();
        }
        to.write_all(&line)?;
    }
}

/// One pair, and what is measured of it.
struct Pair {
    name: &'static str,
    server: Server,
    rates: Vec<f64>,
    client_memory: u64,
}

enum Server {
    Raw(Child, SocketAddr),
    Long(Process, SocketAddr),
}

impl Server {
    fn raw() -> Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg("raw-server").stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
        Ok(Server::Raw(child, line.trim().parse()?))
    }

    fn long(args: &[&str], stdout: Stdout) -> Result<Server> {
        let reserved = port::Reserved::new();
        let port = reserved.port();
        let server = Process::start(SERVER, &[&["--port", &port], args].concat(), stdout);
        let addr = reserved.addr();
        // With -q it says nothing.
        let deadline = now() + Duration::from_secs(30);
        while TcpStream::connect(addr).is_err() {
            if now() > deadline {
                return Err("the server does not listen".into());
            }
            thread::park_timeout(Duration::from_millis(10));
        }
        Ok(Server::Long(server, addr))
    }

    fn client(&self) -> Result<Command> {
        Ok(match self {
            Server::Raw(_, addr) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["raw-client", &addr.to_string()]);
                command
            }
            Server::Long(_, addr) => {
                let mut command = Command::new(CLIENT);
                command.args([&addr.to_string(), "-q"]);
                command
            }
        })
    }

    fn id(&self) -> u32 {
        match self {
            Server::Raw(child, _) => child.id(),
            Server::Long(process, _) => process.id(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Server::Raw(child, _) = self {
            let _ = (child.kill(), child.wait());
        }
    }
}

/// Returns whether the programs are as fast as is claimed.
fn measure(megabytes: usize, rounds: usize) -> Result<bool> {
    let input = Input::write(megabytes)?;
    let algorithm = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
    println!("{megabytes} MB in lines of {LINE} bytes, there and back, {rounds} rounds,");
    println!("congestion control {}", algorithm.unwrap_or_default().trim());
    let pair = |name, server| Pair { name, server, rates: Vec::new(), client_memory: 0 };
    let mut pairs = [
        pair("raw", Server::raw()?),
        pair("client, server -q", Server::long(&["-q"], Stdout::Null)?),
        pair("client, server > /dev/null", Server::long(&[], Stdout::Null)?),
        pair("client, server | stuck", Server::long(&[], Stdout::Stuck)?),
    ];
    for _ in 0..rounds {
        for pair in &mut pairs {
            pair.round(&input)?;
        }
    }
    println!("{:27} million lines/s: median (min .. max), ratio to raw, peak memory", "");
    let mut good = true;
    let raw = pairs[0].rates.clone();
    for pair in &mut pairs {
        let mut ratios: Vec<f64> =
            pair.rates.iter().zip(&raw).map(|(ours, raw)| ours / raw).collect();
        let ratio = spread(&mut ratios).0;
        good &= ratio >= CLAIM;
        let (median, min, max) = spread(&mut pair.rates);
        let server = peak_memory(pair.server.id()).unwrap_or(0);
        println!(
            "{:27} {median:5.2} ({min:.2} .. {max:.2})  {ratio:5.2}  server {:.1} MiB, client {:.1} MiB",
            pair.name,
            server as f64 / 1024.0,
            pair.client_memory as f64 / 1024.0,
        );
    }
    Ok(good)
}

impl Pair {
    fn round(&mut self, input: &Input) -> Result<()> {
        let mut command = self.server.client()?;
        let begun = now();
        let mut client = command.stdin(File::open(&input.path)?).stdout(Stdio::null()).spawn()?;
        let status = loop {
            if let Some(status) = client.try_wait()? {
                break status;
            }
            let peak = peak_memory(client.id()).unwrap_or(0);
            self.client_memory = self.client_memory.max(peak);
            thread::park_timeout(Duration::from_millis(5));
        };
        let lines = input.lines as f64;
        self.rates.push(lines / begun.elapsed().as_secs_f64() / 1e6);
        match status.success() {
            true => Ok(()),
            false => Err(format!("{}: the client ended with {status}", self.name).into()),
        }
    }
}

/// The median and both ends.
fn spread(values: &mut [f64]) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

/// The most that was resident, in KiB.
fn peak_memory(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().trim_end_matches(" kB").parse().ok()
}

/// A file of lines, which is removed in the end.
struct Input {
    path: PathBuf,
    lines: usize,
}

impl Input {
    fn write(megabytes: usize) -> Result<Input> {
        let name = format!("lines-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let lines = megabytes * 1_000_000 / LINE;
        let mut file = BufWriter::new(File::create(&path)?);
        for number in 0..lines {
            writeln!(file, "{number:0width$}", width = LINE - 1)?;
        }
        file.flush()?;
        Ok(Input { path, lines })
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
