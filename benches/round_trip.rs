//! How long a message and its reply take, over a `Connection` and over a raw
//! `TcpStream` (nodelay, `write_all` and `read_exact`), in the same run.
//!
//!     cargo bench --bench round_trip
//!
//! Both echo servers are processes of their own: this program, started again.
//! The rounds alternate, so that a machine that is busy with other things is so
//! for both. Everything is measured with both sides on one core, and with each
//! on its own.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use longlink::{Connection, Listener};

#[path = "../tests/support/pin.rs"]
mod pin;

use pin::{cores, pin};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const SIZES: [usize; 2] = [64, 4096];

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |wanted: &str| args.iter().any(|arg| arg == wanted);
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["echo", kind, size, core] => echo(kind, size.parse()?, core.parse().ok()),
        // Who tests only wants to know that it runs.
        _ if !has("--bench") || has("--test") => measure(1, 100),
        _ => measure(41, 1500),
    }
}

/// The server: echoes until its standard input ends.
fn echo(kind: &str, size: usize, core: Option<usize>) -> Result<()> {
    pin(core);
    let address = match kind {
        "raw" => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            thread::spawn(move || -> std::io::Result<()> {
                let (mut stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                let mut buffer = vec![0; size];
                loop {
                    stream.read_exact(&mut buffer)?;
                    stream.write_all(&buffer)?;
                }
            });
            address
        }
        _ => {
            let listener = Listener::bind("127.0.0.1:0")?;
            let address = listener.local_addr();
            thread::spawn(move || -> longlink::Result<()> {
                let connection = listener.accept()?;
                while let Some(message) = connection.recv()? {
                    connection.send(&message)?;
                }
                connection.close()
            });
            address
        }
    };
    println!("{address}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn measure(rounds: usize, trips: u32) -> Result<()> {
    println!("{}", machine());
    println!("{rounds} alternating rounds of {trips} round trips each, times of one in µs:");
    println!("median (min .. max) of the rounds\n");
    let cores = cores();
    let (first, second) = (cores.first().copied(), cores.get(1).copied());
    for size in SIZES {
        compare("one core ", size, first, first, rounds, trips)?;
        match second {
            Some(_) => compare("two cores", size, first, second, rounds, trips)?,
            None => println!("two cores: skipped, there is one or they cannot be chosen here"),
        }
    }
    Ok(())
}

fn compare(
    what: &str,
    size: usize,
    here: Option<usize>,
    there: Option<usize>,
    rounds: usize,
    trips: u32,
) -> Result<()> {
    pin(here);
    let (raw_server, long_server) =
        (Server::start("raw", size, there)?, Server::start("longlink", size, there)?);
    let mut stream = TcpStream::connect(raw_server.address)?;
    stream.set_nodelay(true)?;
    let connection = Connection::connect(long_server.address)?;
    let message = vec![b'x'; size];
    let mut buffer = vec![0; size];
    let mut raw = || -> Result<()> {
        stream.write_all(&message)?;
        Ok(stream.read_exact(&mut buffer)?)
    };
    let long = || -> Result<()> {
        connection.send(&message)?;
        connection.recv()?.filter(|reply| reply.len() == size).map(drop).ok_or("no echo".into())
    };
    let (mut raws, mut longs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=rounds {
        let (raw, long) = (time(trips, &mut raw)?, time(trips, long)?);
        if round > 0 {
            raws.push(raw);
            longs.push(long);
            ratios.push(long / raw);
        }
    }
    print!("{what} {size:>5} bytes: raw {}", spread(&mut raws));
    println!("  longlink {}  ratio {}", spread(&mut longs), spread(&mut ratios));
    connection.close()?;
    Ok(())
}

/// The time of one round trip in microseconds.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn time(trips: u32, mut trip: impl FnMut() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..trips {
        trip()?;
    }
    let elapsed: Duration = start.elapsed();
    Ok(elapsed.as_secs_f64() * 1e6 / f64::from(trips))
}

fn spread(values: &mut [f64]) -> String {
    values.sort_by(f64::total_cmp);
    let (min, max) = (values[0], values[values.len() - 1]);
    format!("{:6.2} ({min:.2} .. {max:.2})", values[values.len() / 2])
}

/// An echo server in a process of its own, which ends with this one.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(kind: &str, size: usize, core: Option<usize>) -> Result<Server> {
        let core = core.map_or("any".into(), |core| core.to_string());
        let mut child = Command::new(std::env::current_exe()?)
            .args(["echo", kind, &size.to_string(), &core])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
        Ok(Server { child, address: line.trim().parse()? })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let load = read("/proc/loadavg").split(' ').take(1).collect::<String>();
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let model = model.map_or("a processor", |(_, model)| model);
    format!("{model}, {cores} cores, kernel {}, load {load}", kernel.trim())
}
