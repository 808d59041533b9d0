//! Standard input and output.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use super::*;

struct Pipe {
    service: TcpListener,
    server: Server,
}

impl Pipe {
    fn new() -> Pipe {
        let service = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let server = start_server(&Arc::new(Reserved::new()), service.local_addr().unwrap(), &[]);
        Pipe { service, server }
    }

    /// Starts a client, and returns the service's connection as well.
    fn open(&self, args: &[&str]) -> (Process, TcpStream) {
        let client = self.server.client_unseen(&[&["--stdio"], args].concat());
        (client, patient(self.service.accept().unwrap().0))
    }

    /// Starts a client whose input and output are one socket. Returns the other end of that, and
    /// the service's connection.
    fn open_on_a_socket(&self) -> (Process, UnixStream, TcpStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(SOON)).unwrap();
        let streams = [
            Stdio::from(OwnedFd::from(theirs.try_clone().unwrap())),
            Stdio::from(OwnedFd::from(theirs)),
            Stdio::piped(),
        ];
        let args = ["--stdio", "127.0.0.1", "--port", &self.server.port];
        let client = Process::start_on(Command::new(CLIENT), CLIENT, &args, streams);
        (client, ours, patient(self.service.accept().unwrap().0))
    }
}

#[test]
fn standard_input_and_output_are_bytes() {
    let pipe = Pipe::new();
    let (mut client, service) = pipe.open(&[]);
    passes_to(&client, "220 ready", &service);
    let input = [&b"exit\n\0\r\n"[..], &pattern(300_000)].concat();
    client.send_all([input.clone()]);
    assert!(rest(&service).0 == input, "not what was sent");
    passes_to(&client, "after the end of the input", &service);
    drop(service);
    assert_eq!(client.ends(), 0);
    assert_eq!(client.err.text(), "");
}

/// What the service says stands on standard output.
#[track_caller]
fn passes_to(client: &Process, text: &str, mut service: &TcpStream) {
    service.write_all(format!("{text}\n").as_bytes()).unwrap();
    client.prints(text);
}

/// The end of the output is seen by who reads it, although the input has not ended.
#[test]
fn the_end_of_the_service_is_the_end_of_the_output() {
    let pipe = Pipe::new();
    let (mut client, service) = pipe.open(&[]);
    passes_to(&client, "all there is", &service);
    finish(&service);
    wait::until("the output ends", || client.out.has_closed());
    client.send("still sent");
    client.end_input();
    assert_eq!(rest(&service).0, b"still sent");
    assert_eq!(client.ends(), 0);
    assert_eq!(client.err.text(), "");
}

/// `ssh` may use one socket for both.
#[test]
fn a_socket_is_both_input_and_output() {
    let pipe = Pipe::new();
    let (mut client, ours, service) = pipe.open_on_a_socket();
    (&ours).write_all(b"there").unwrap();
    let mut got = [0; 5];
    (&service).read_exact(&mut got).unwrap();
    (&service).write_all(b"back").unwrap();
    finish(&service);
    let mut back = Vec::new();
    (&ours).read_to_end(&mut back).unwrap();
    assert_eq!((&got, &back[..]), (b"there", &b"back"[..]));
    ours.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.ends(), 0);
}

/// Its kernel ends both streams for it, and that is no end in order.
#[test]
fn a_program_that_dies_is_a_reset() {
    let pipe = Pipe::new();
    let (mut client, ours, service) = pipe.open_on_a_socket();
    (&ours).write_all(b"half of a ").unwrap();
    let mut got = [0; 10];
    (&service).read_exact(&mut got).unwrap();
    drop(ours);
    is_reset(&service);
    assert_eq!(client.ends(), 1);
}

/// Its input may go on for ever.
#[test]
fn an_output_that_nothing_reads_ends_a_session_that_sends() {
    let pipe = Pipe::new();
    let args = ["--stdio", "127.0.0.1", "--port", &pipe.server.port];
    let mut client = Process::start(CLIENT, &args, Stdout::Closed);
    client.send_all(std::iter::repeat(vec![0; 65536]));
    assert_eq!(client.ends(), 1);
    assert_eq!(client.err.text(), "");
}

/// Of a file it cannot be told that nothing reads it.
#[test]
fn a_client_that_waits_for_the_service_does_no_work() {
    let pipe = Pipe::new();
    let args = ["--stdio", "127.0.0.1", "--port", &pipe.server.port];
    let streams = [Stdio::null(), Stdio::null(), Stdio::piped()];
    let mut client = Process::start_on(Command::new(CLIENT), CLIENT, &args, streams);
    let service = patient(pipe.service.accept().unwrap().0);
    assert_eq!(rest(&service).0, b"");
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", client.id())).unwrap();
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        let rest: Vec<&str> = rest.split(' ').collect();
        rest[11].parse::<u64>().unwrap() + rest[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    let watched = wait::now() + Duration::from_millis(500);
    wait::until("half a second is over", || wait::now() > watched);
    // A tick is a hundredth of a second.
    let worked = ticks() - before;
    assert!(worked < 10, "{worked} ticks of work");
    drop(service);
    assert_eq!(client.ends(), 0);
}

#[test]
fn an_output_that_nothing_reads_ends_the_session() {
    let pipe = Pipe::new();
    let args = ["--stdio", "127.0.0.1", "--port", &pipe.server.port];
    let mut client = Process::start(CLIENT, &args, Stdout::Closed);
    assert_eq!(client.ends(), 1);
    assert_eq!(client.err.text(), "");
}

/// `ssh` closes both, and sends SIGHUP.
#[test]
fn a_client_that_is_hung_up_leaves_no_session_behind() {
    let pipe = Pipe::new();
    let (mut client, service) = pipe.open(&[]);
    client.send("farewell");
    client.signal("HUP");
    let (got, end) = rest(&service);
    assert_eq!(got, b"farewell");
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(client.ends(), 129);
    assert_eq!(client.err.text(), "");
}

#[test]
fn an_interrupted_client_says_what_it_carried() {
    let pipe = Pipe::new();
    let (mut client, service) = pipe.open(&[]);
    passes_to(&client, "hello", &service);
    client.signal("TERM");
    is_reset(&service);
    assert_eq!(client.ends(), 143);
    client.says("interrupted: 0 bytes sent, 6 bytes received, 0 links resumed");
}

/// Even one that is stuck in a write ends with its session.
#[test]
fn a_reset_ends_a_client_whose_output_is_stuck() {
    let pipe = Pipe::new();
    let args = ["--stdio", "127.0.0.1", "--port", &pipe.server.port];
    let (_stuck, output) = io::pipe().unwrap();
    let streams = [Stdio::piped(), Stdio::from(output), Stdio::piped()];
    let mut client = Process::start_on(Command::new(CLIENT), CLIENT, &args, streams);
    let service = patient(pipe.service.accept().unwrap().0);
    service.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    while (&service).write(&[0; 65536]).is_ok() {}
    reset(service);
    assert_eq!(client.ends(), 1);
    client.says("error] reset by the other side");
}

#[test]
fn a_service_that_is_not_there_is_one_line() {
    let pipe = Pipe::new();
    drop(pipe.service);
    let mut client = pipe.server.client_unseen(&["--stdio"]);
    assert_eq!(client.ends(), 1);
    let said = client.err.text();
    assert!(
        said.ends_with("refused: the service cannot be reached: Connection refused\n"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_server_that_is_not_there_is_one_line() {
    let port = Reserved::new().port();
    let args = ["--stdio", "127.0.0.1", "--port", &port, "--retries", "2", "--retry-delay", "1ms"];
    let mut client = Process::start(CLIENT, &args, Stdout::Read);
    assert_eq!(client.ends(), 1);
    let said = client.err.text();
    assert!(said.contains("gave up after 2 attempts"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn an_input_that_is_closed_has_ended() {
    let pipe = Pipe::new();
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec "$@" <&-"#, "sh", CLIENT]);
    let args = ["--stdio", "127.0.0.1", "--port", &pipe.server.port];
    let mut client = Process::start_by(command, CLIENT, &args, Stdout::Read);
    let service = patient(pipe.service.accept().unwrap().0);
    assert_eq!(rest(&service).0, b"");
    passes_to(&client, "all the same", &service);
    drop(service);
    assert_eq!(client.ends(), 0);
}
