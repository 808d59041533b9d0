//! Shows the main job with the real programs: lines are streamed through
//! `client` to `server` and back, while the server is killed with SIGKILL in
//! the middle and started again. At the end there is an account; the exit code
//! is 1 if a line is missing.
//!
//!     cargo run --release --example demo

#[path = "support/programs.rs"]
mod programs;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use programs::{Result, Running};

/// So many lines, of which some are sent each time, one time after the other.
const LINES: u64 = 30_000;
const AT_ONCE: u64 = 60;
const PAUSE: Duration = Duration::from_millis(10);
const KILL_AT: u64 = 10_000;
const DOWN: Duration = Duration::from_millis(1500);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the demonstration failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let programs = programs::build()?;
    let story = Story { since: now() };
    let (mut server, address) = start_server(&programs, "127.0.0.1:0", story)?;
    let mut client = Running::start(
        Command::new(programs.join("client"))
            .args([&*address, "--heartbeat", "1s", "--retry-delay", "500ms", "--retries", "20"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped()),
    )?;
    let said = listen(&mut client, "client", story);

    let mut input = client.0.stdin.take().ok_or("no pipe")?;
    let (half, reached) = mpsc::channel();
    let feeder = thread::spawn(move || -> std::io::Result<()> {
        for number in 1..=LINES {
            writeln!(input, "{number}")?;
            if number % AT_ONCE == 0 {
                rest(PAUSE);
            }
            if number == KILL_AT {
                let _ = half.send(());
            }
        }
        Ok(())
    });
    let output = BufReader::new(client.0.stdout.take().ok_or("no pipe")?);
    let counter = thread::spawn(move || Account::of(output));

    reached.recv().map_err(|_| "the client took no more lines")?;
    story.tell("demo", format_args!("kill -9 of the server, at line {KILL_AT}"));
    drop(server);
    rest(DOWN);
    story.tell("demo", format_args!("the server is started again"));
    (server, _) = start_server(&programs, &address, story)?;

    feeder.join().map_err(|_| "panicked")??;
    let account = counter.join().map_err(|_| "panicked")??;
    let status = client.0.wait()?;
    let said: Vec<String> = said.iter().collect();
    drop(server);
    account.tell(story);
    let announced = said.iter().any(|line| line.contains("new session (old session lost)"));
    if !status.success() {
        return Err(format!("the client ended with {status}").into());
    }
    if account.lost() > 0 || account.disordered {
        return Err("lines are lost or out of order".into());
    }
    if account.doubled > 0 && !announced {
        return Err("lines were doubled, and no lost session announced".into());
    }
    Ok(())
}

/// What came out of the client.
#[derive(Default)]
struct Account {
    different: u64,
    doubled: u64,
    disordered: bool,
}

impl Account {
    fn of(output: impl BufRead) -> std::io::Result<Account> {
        let mut account = Account::default();
        for line in output.lines() {
            match line?.parse::<u64>() {
                Ok(number) if number == account.different + 1 => account.different += 1,
                Ok(number) if number <= account.different => account.doubled += 1,
                _ => account.disordered = true,
            }
        }
        Ok(account)
    }

    fn lost(&self) -> u64 {
        LINES - self.different
    }

    fn tell(&self, story: Story) {
        let Account { different, doubled, .. } = self;
        let when = if *doubled > 0 { " (after the session was lost, as announced)" } else { "" };
        story.tell("demo", format_args!("sent     {LINES}"));
        story.tell("demo", format_args!("received {different}"));
        story.tell("demo", format_args!("lost     {}", self.lost()));
        story.tell("demo", format_args!("doubled  {doubled}{when}"));
    }
}

/// Starts a server, and returns it with the address that it listens on.
fn start_server(programs: &Path, address: &str, story: Story) -> Result<(Running, String)> {
    let (ip, port) = address.rsplit_once(':').ok_or("no port")?;
    let mut server = Running::start(
        Command::new(programs.join("server"))
            .args(["--bind", ip, "--port", port])
            .stdin(Stdio::null())
            .stdout(Stdio::null()),
    )?;
    let said = listen(&mut server, "server", story);
    let line =
        said.recv_timeout(Duration::from_secs(5)).map_err(|_| "the server does not start")?;
    let listening = line.split_once("listening on ").and_then(|(_, rest)| rest.split(' ').next());
    Ok((server, listening.ok_or(line.clone())?.to_owned()))
}

/// Tells what a program says on standard error, and hands it on.
fn listen(running: &mut Running, who: &'static str, story: Story) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    if let Some(errors) = running.0.stderr.take() {
        thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(std::result::Result::ok) {
                story.tell(who, format_args!("{line}"));
                let _ = sender.send(line);
            }
        });
    }
    receiver
}

/// What happens, and when.
#[derive(Clone, Copy)]
struct Story {
    since: Instant,
}

impl Story {
    fn tell(self, who: &str, what: std::fmt::Arguments<'_>) {
        println!("{:5.1}s {who:>6}: {what}", self.since.elapsed().as_secs_f32());
    }
}

#[expect(clippy::disallowed_methods, reason = "the story is told with its times")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a demonstration takes its time")]
fn rest(time: Duration) {
    thread::sleep(time);
}
