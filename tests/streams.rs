//! Standard streams as other programs leave them: non-blocking, on a full disk, without
//! a reader.
#![cfg(feature = "cli")]

#[path = "support/port.rs"]
mod port;
#[path = "support/process.rs"]
#[allow(dead_code, reason = "of use to other tests")]
mod process;
#[path = "support/wait.rs"]
mod wait;

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use port::Reserved;
use process::{CLIENT, Process, SERVER, Server, Stdout};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// How long a test waits for what should come at once.
const SOON: Duration = Duration::from_secs(20);

/// Enough to fill a pipe several times.
fn much() -> String {
    (1..=50_000).map(|number| format!("line {number}\n")).collect()
}

/// A pipe whose end for a program is non-blocking.
fn nonblocking_to_read() -> (PipeReader, PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    ioctl_fionbio(&reader, true).unwrap();
    (reader, writer)
}

/// The same to be written to, and once more to look at it.
fn nonblocking_to_write() -> (PipeReader, Stdio, PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    ioctl_fionbio(&writer, true).unwrap();
    (reader, writer.try_clone().unwrap().into(), writer)
}

/// Waits until a pipe takes nothing more.
fn until_full(writer: PipeWriter) {
    wait::until("the pipe is full", || is_full(&writer));
}

/// Waits until a pipe takes nothing more for a while.
fn until_stuck(writer: &PipeWriter) {
    let mut looks = 0;
    wait::until("the pipe stays full", || {
        looks = if is_full(writer) { looks + 1 } else { 0 };
        looks == 100
    });
}

fn is_full(writer: &PipeWriter) -> bool {
    let mut fds = [PollFd::new(writer, PollFlags::OUT)];
    poll(&mut fds, Some(&Timespec::default())).unwrap() == 0
}

/// Reads until this was read, and returns all of it.
fn read_until(mut reader: impl Read, wanted: &str) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        let read = reader.read(&mut buffer).unwrap();
        assert!(read > 0, "never read {wanted:?}");
        text.extend_from_slice(&buffer[..read]);
        let end = &text[text.len().saturating_sub(read + wanted.len())..];
        if end.windows(wanted.len()).any(|window| window == wanted.as_bytes()) {
            return String::from_utf8(text).unwrap();
        }
    }
}

/// A server and a client of it on these streams, connected.
fn client_on(server: &Server, args: &[&str], streams: [Stdio; 3]) -> Process {
    let args = [&["127.0.0.1", "--port", &server.port], args].concat();
    let client = Process::start_on(Command::new(CLIENT), CLIENT, &args, streams);
    client.says("connected to ");
    client
}

/// A server on these streams that listens.
fn server_on(args: &[&str], streams: [Stdio; 3]) -> Server {
    server_by(Command::new(SERVER), args, streams)
}

fn server_by(command: Command, args: &[&str], streams: [Stdio; 3]) -> Server {
    let reserved = Arc::new(Reserved::new());
    let port = reserved.port();
    let args = [&["--port", &port], args].concat();
    let process = Process::start_on(command, SERVER, &args, streams);
    process.says("listening on ");
    Server::running(process, &reserved)
}

#[test]
fn a_client_waits_for_an_output_that_would_block() {
    let server = Server::start_on(&Arc::new(Reserved::new()), &[], Stdout::Null);
    let (mut reader, output, writer) = nonblocking_to_write();
    let mut client = client_on(&server, &[], [Stdio::piped(), output, Stdio::piped()]);
    client.send_all([much()]);
    until_full(writer);
    let mut printed = String::new();
    reader.read_to_string(&mut printed).unwrap();
    assert_eq!(client.ends(), 0);
    assert!(printed == much(), "the output is not the input");
}

#[test]
fn a_client_waits_for_input_that_would_block() {
    let server = Server::start(&[]);
    let (reader, mut writer) = nonblocking_to_read();
    let mut client = client_on(&server, &[], [reader.into(), Stdio::piped(), Stdio::piped()]);
    for line in ["one", "two"] {
        writeln!(writer, "{line}").unwrap();
        client.prints(line);
    }
    drop(writer);
    assert_eq!(client.ends(), 0);
    assert_eq!(client.out.text(), "one\ntwo\n");
}

#[test]
fn an_operators_input_that_would_block_is_waited_for() {
    let (reader, mut writer) = nonblocking_to_read();
    let mut server = server_on(&["--chat"], [reader.into(), Stdio::piped(), Stdio::piped()]);
    let mut client = server.client(&[]);
    client.send("question\n");
    server.process.prints("question");
    writer.write_all(b"answer\n").unwrap();
    client.prints("answer");
    drop(writer);
    assert_eq!(client.ends(), 0);
    assert_eq!(server.process.ends(), 0);
}

#[test]
fn a_server_waits_for_an_output_that_would_block() {
    let (reader, output, writer) = nonblocking_to_write();
    let server = server_on(&[], [Stdio::null(), output, Stdio::piped()]);
    let mut client = server.client(&[]);
    client.send_all([much()]);
    assert_eq!(client.ends(), 0);
    until_full(writer);
    let mut later = server.client(&[]);
    later.send("later\nexit\n");
    assert_eq!(later.ends(), 0);
    let printed = read_until(&reader, "client-2> later\n");
    let lines: String = much().lines().map(|line| format!("client-1> {line}\n")).collect();
    assert!(printed == lines + "client-2> later\n", "not what was sent");
}

#[test]
fn a_log_that_would_block_is_waited_for() {
    let (reader, errors, writer) = nonblocking_to_write();
    let args = ["--port", "0", "--chat"];
    let streams = [Stdio::piped(), Stdio::piped(), errors];
    let mut server = Process::start_on(Command::new(SERVER), SERVER, &args, streams);
    server.send("/help\n".repeat(200) + "/end\n");
    until_full(writer);
    let said = read_until(&reader, "after /end");
    assert_eq!(said.matches("/who").count(), 200);
    assert_eq!(said.matches("left out").count(), 0);
}

#[test]
fn help_waits_for_an_output_that_would_block() {
    for program in [SERVER, CLIENT] {
        for args in [&["--help"][..], &["--man"], &["--completions", "zsh"]] {
            let whole = Command::new(program).args(args).output().unwrap().stdout;
            let (mut reader, output, mut writer) = nonblocking_to_write();
            while writer.write(&[b' '; 4096]).is_ok() {}
            // There is room for a part of it.
            reader.read_exact(&mut [0; 4096]).unwrap();
            let streams = [Stdio::null(), output, Stdio::piped()];
            let mut process = Process::start_on(Command::new(program), program, args, streams);
            until_full(writer);
            let mut printed = Vec::new();
            reader.read_to_end(&mut printed).unwrap();
            assert_eq!(process.ends(), 0);
            assert!(printed.trim_ascii_start() == whole.trim_ascii_start(), "{args:?}");
        }
    }
}

/// Wrong usage has an exit code of its own wherever it is told.
#[test]
fn usage_is_told_with_a_standard_error_that_takes_nothing() {
    for program in [SERVER, CLIENT] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let status = Command::new(program).arg("--wrong").stderr(full).status().unwrap();
        assert_eq!(status.code(), Some(2));
    }
}

#[test]
fn a_standard_error_that_is_full_disturbs_nothing() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let reserved = Reserved::new();
    let port = reserved.port();
    let streams = [Stdio::piped(), Stdio::piped(), full().into()];
    let args = ["--port", &port];
    let _server = Process::start_on(Command::new(SERVER), SERVER, &args, streams);
    let streams = [Stdio::piped(), Stdio::piped(), full().into()];
    let args = ["127.0.0.1", "--port", &port, "--retries", "200", "--retry-delay", "20ms"];
    let mut client = Process::start_on(Command::new(CLIENT), CLIENT, &args, streams);
    client.send_all(["one\ntwo\n"]);
    assert_eq!(client.ends(), 0);
    assert_eq!(client.out.text(), "one\ntwo\n");
}

/// A file on a disk that is full once the file has a certain size, which is brought about
/// by the limit that a process has for it.
struct Full {
    path: PathBuf,
}

impl Full {
    const SIZE: u64 = 4096;

    fn new(name: &str) -> Full {
        let name = format!("longlink-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        File::create(&path).unwrap();
        Full { path }
    }

    /// A command that becomes the program: beyond the limit a write fails, instead of
    /// ending it.
    fn command(program: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; ulimit -S -f 8; exec \"$0\" \"$@\"", program]);
        command
    }

    fn to_append(&self) -> Stdio {
        File::options().append(true).open(&self.path).unwrap().into()
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap()
    }

    fn size(&self) -> u64 {
        std::fs::metadata(&self.path).unwrap().len()
    }

    /// The disk has room again.
    fn grow(process: &Process) {
        let pid = Pid::from_raw(process.id() as i32);
        prlimit(pid, Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// How many messages a server says it has not printed.
fn not_printed(server: &Process) -> u64 {
    let said = server.err.text();
    let counts = said.lines().filter_map(|line| {
        let (count, _) = line.split_once("warn] ")?.1.split_once(" messages not printed: ")?;
        count.parse::<u64>().ok()
    });
    counts.sum()
}

#[test]
fn a_server_prints_again_when_the_disk_has_room() {
    let full = Full::new("server");
    let streams = [Stdio::null(), full.to_append(), Stdio::piped()];
    let mut server = server_by(Full::command(SERVER), &[], streams);
    let mut client = server.client(&[]);
    client.send_all([much()]);
    assert_eq!(client.ends(), 0);
    server.process.says(" messages not printed: standard output: ");
    assert_eq!(full.size(), Full::SIZE);
    Full::grow(&server.process);
    let mut later = server.client(&[]);
    later.send_all(["later\n"]);
    assert_eq!(later.ends(), 0);
    wait::until("it is printed", || full.text().ends_with("client-2> later\n"));
    let printed = full.text();
    let (before, after) = printed.split_at(Full::SIZE as usize);
    // The line that was cut is not continued by another.
    assert!(!before.ends_with('\n') && after.starts_with('\n'), "{after}");
    server.process.signal("TERM");
    assert_eq!(server.process.ends(), 0);
    // All but the cut one, and the later one.
    let whole = printed.lines().count() as u64 - 2;
    assert_eq!(whole + not_printed(&server.process), 50_000);
}

/// Which is what a user does who needs room.
#[test]
fn a_file_that_was_emptied_begins_with_a_whole_line() {
    let full = Full::new("emptied");
    let streams = [Stdio::null(), full.to_append(), Stdio::piped()];
    let server = server_by(Full::command(SERVER), &[], streams);
    let mut client = server.client(&[]);
    client.send_all([much()]);
    assert_eq!(client.ends(), 0);
    wait::until("all others are told of", || {
        full.text().matches('\n').count() as u64 + not_printed(&server.process) == 50_000
    });
    assert_eq!(full.size(), Full::SIZE);
    File::create(&full.path).unwrap();
    let mut later = server.client(&[]);
    later.send_all(["later\n"]);
    assert_eq!(later.ends(), 0);
    wait::until("it is printed", || full.text() == "client-2> later\n");
}

#[test]
fn a_log_goes_on_when_the_disk_has_room() {
    let full = Full::new("log");
    let streams = [Stdio::piped(), Stdio::piped(), full.to_append()];
    let args = ["--port", "0", "--chat"];
    let mut server = Process::start_on(Full::command(SERVER), SERVER, &args, streams);
    server.send("/help\n".repeat(20));
    wait::until("it is full", || full.size() == Full::SIZE);
    Full::grow(&server);
    server.send("/end\n");
    for said in ["lines of the log are left out", "warn] line 21: after /end"] {
        wait::until(said, || full.text().contains(said));
    }
    let text = full.text();
    let (before, after) = text.split_at(Full::SIZE as usize);
    // The line that was cut is not continued by another.
    assert!(!before.ends_with('\n') && after.starts_with('\n'), "{after}");
}

#[test]
fn replies_wait_until_the_disk_has_room() {
    let server = Server::start_on(&Arc::new(Reserved::new()), &[], Stdout::Null);
    let full = Full::new("client");
    let streams = [Stdio::piped(), full.to_append(), Stdio::piped()];
    let args = ["127.0.0.1", "--port", &server.port];
    let mut client = Process::start_on(Full::command(CLIENT), CLIENT, &args, streams);
    client.send_all([much()]);
    client.says("replies wait until they can be printed: standard output: ");
    assert_eq!(full.size(), Full::SIZE);
    Full::grow(&client);
    assert_eq!(client.ends(), 0);
    assert_eq!(client.err.count("replies are printed again"), 1);
    assert!(full.text() == much(), "the output is not the input");
}

#[test]
fn replies_that_cannot_be_printed_are_no_success() {
    let server = Server::start(&[]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut client = client_on(&server, &[], [Stdio::piped(), full.into(), Stdio::piped()]);
    client.send("one\n");
    client.says("replies wait until they can be printed: standard output: No space left");
    client.send("exit\n");
    assert_eq!(client.ends(), 1);
    client.says("error] 1 message not printed: standard output: No space left on device");
}

/// `client | head -1` with a server that says nothing more.
#[test]
fn a_client_ends_when_the_reader_of_its_output_has_gone() {
    let server = Server::start(&["--chat"]);
    let piped = || Stdio::piped();
    let pipe = || {
        let (reader, writer) = io::pipe().unwrap();
        (Box::new(reader) as Box<dyn Read>, Stdio::from(writer))
    };
    let socket = || {
        let (reader, writer) = UnixStream::pair().unwrap();
        (Box::new(reader) as Box<dyn Read>, Stdio::from(OwnedFd::from(writer)))
    };
    for (number, (reader, writer)) in (1..).zip([pipe(), socket()]) {
        let mut client = client_on(&server, &[], [piped(), writer, piped()]);
        client.send("question\n");
        server.process.prints(&format!("client-{number}> question"));
        drop(reader);
        // Its input stays open.
        assert_eq!(client.ends(), 0);
        assert_eq!(client.err.count("error"), 0);
    }
    // At the end of its input it waits for the other side only.
    let (reader, writer) = pipe();
    let mut client = client_on(&server, &[], [Stdio::null(), writer, piped()]);
    client.says("waiting for the other side to end");
    drop(reader);
    assert_eq!(client.ends(), 0);
}

#[test]
fn what_was_read_is_delivered_although_the_reader_of_the_output_has_gone() {
    let server = Server::start(&["--chat"]);
    let (reader, writer) = io::pipe().unwrap();
    let mut client = client_on(&server, &[], [Stdio::piped(), writer.into(), Stdio::piped()]);
    server.process.says("client-1: connected");
    server.process.signal("STOP");
    client.send("for the server\n");
    drop(reader);
    server.process.signal("CONT");
    assert_eq!(client.ends(), 0);
    server.process.prints("client-1> for the server");
}

/// `seq 1000000 | client | head -1`, when everything between them is full.
#[test]
fn no_more_is_read_once_a_reply_finds_no_reader() {
    // More than the client takes at once, and throws away in any case.
    let args = ["--window", "256KiB"];
    let server = Server::start_on(&Arc::new(Reserved::new()), &args, Stdout::Null);
    let (stdin, input) = io::pipe().unwrap();
    let (mut reader, writer) = io::pipe().unwrap();
    let mut client = client_on(&server, &[], [stdin.into(), writer.into(), Stdio::piped()]);
    let mut more = input.try_clone().unwrap();
    thread::spawn(move || while more.write_all(much().as_bytes()).is_ok() {});
    until_stuck(&input);
    reader.read_exact(&mut [0; 7]).unwrap();
    drop(reader);
    assert_eq!(client.ends(), 0);
    server.process.says("client-1: closed");
}

#[test]
fn what_cannot_be_delivered_is_told_although_nothing_reads_the_output() {
    let server = Server::start(&[]);
    let (mut reader, writer) = io::pipe().unwrap();
    let args = ["--retries", "0", "--heartbeat", "100ms"];
    let mut client = client_on(&server, &args, [Stdio::piped(), writer.into(), Stdio::piped()]);
    client.send("one\n");
    reader.read_exact(&mut [0; 4]).unwrap();
    server.process.signal("STOP");
    client.send("two\n");
    drop(reader);
    client.says("gave up, 1 message not acknowledged: ");
    assert_eq!(client.ends(), 1);
    assert_eq!(client.err.count("1 message not acknowledged"), 1, "it is the connection that ends");
}

#[test]
fn a_client_without_a_link_notices_that_the_reader_of_its_output_has_gone() {
    let mut server = Server::start(&[]);
    let (reader, writer) = io::pipe().unwrap();
    let streams = [Stdio::piped(), writer.into(), Stdio::piped()];
    let mut client = client_on(&server, &["--retries", "forever"], streams);
    server.process.kill();
    client.says("attempt 2 in ");
    drop(reader);
    assert_eq!(client.ends(), 0);
}

#[test]
fn nor_does_one_that_was_never_connected_stay() {
    let reserved = Reserved::new();
    let (reader, writer) = io::pipe().unwrap();
    let args = ["127.0.0.1", "--port", &reserved.port(), "--retries", "forever"];
    let streams = [Stdio::piped(), writer.into(), Stdio::piped()];
    let mut client = Process::start_on(Command::new(CLIENT), CLIENT, &args, streams);
    client.says("attempt 2 in ");
    drop(reader);
    client.says("left before there was a connection");
    assert_eq!(client.ends(), 1);
}

#[test]
fn a_server_says_once_that_the_reader_of_its_output_has_gone() {
    let (reader, writer) = io::pipe().unwrap();
    let mut server = server_on(&[], [Stdio::null(), writer.into(), Stdio::piped()]);
    drop(reader);
    server.process.says("messages are no longer printed: nothing reads standard output");
    for _ in 0..2 {
        let mut client = server.client(&[]);
        client.send("hello\nexit\n");
        assert_eq!(client.ends(), 0);
        assert_eq!(client.out.text(), "hello\n");
    }
    server.process.signal("TERM");
    assert_eq!(server.process.ends(), 0);
    assert_eq!(server.process.err.count("no longer printed"), 1);
    assert_eq!(server.process.err.count("not printed"), 0);
}
