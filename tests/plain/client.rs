//! `client --plain`, and the classic server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;

use crate::classic::{A_WHILE, Classic, ClassicServer, HEARTBEAT};
use crate::port::Reserved;
use crate::process::{CLIENT, Process, Stdout};
use crate::until;

/// Comes back at once.
pub(crate) const QUICK: [&str; 5] = ["--plain", "--retry-delay", "50ms", "--retries", "200"];
/// Beats often.
const BEATS: [&str; 2] = ["--heartbeat", "100ms"];
const OFF: [&str; 2] = ["--heartbeat", "off"];

struct Scene {
    port: Arc<Reserved>,
    server: Option<ClassicServer>,
    client: Process,
}

impl Scene {
    /// A client with these arguments besides the quick ones, and its connection.
    fn new(args: &[&str]) -> (Scene, Classic) {
        Scene::with(&[&QUICK, args].concat(), None)
    }

    fn with(args: &[&str], buffer: Option<usize>) -> (Scene, Classic) {
        let port = Arc::new(Reserved::new());
        let server = ClassicServer::listen(&port, buffer);
        let host = port.addr().to_string();
        let client = Process::start(CLIENT, &[&[&host[..]], args].concat(), Stdout::Read);
        let link = server.accept();
        client.says("connected to 127.0.0.1:");
        (Scene { port, server: Some(server), client }, link)
    }

    fn kill(&mut self, link: Classic) {
        self.server = None;
        drop(link);
    }

    fn restart(&mut self) -> Classic {
        let server = ClassicServer::listen(&self.port, None);
        let link = server.accept();
        self.server = Some(server);
        link
    }
}

#[test]
fn it_keeps_up_a_conversation() {
    let (mut scene, mut link) = Scene::new(&[]);
    for n in 1..4 {
        scene.client.send(format!("line {n}\n"));
        assert_eq!(link.message().0, format!("line {n}\n"));
        link.send(format!("reply {n}\n"));
        scene.client.prints(&format!("reply {n}"));
    }
    scene.client.send("exit\n");
    assert_eq!(link.rest(), "");
    drop(link);
    assert_eq!(scene.client.ends(), 0);
    assert_eq!(scene.client.out.text(), "reply 1\nreply 2\nreply 3\n");
}

#[test]
fn heartbeats_go_alone_and_only_while_no_line_waits() {
    let (mut scene, mut link) = Scene::new(&BEATS);
    // One, since the server has not said anything yet.
    assert_eq!(link.recv(), HEARTBEAT);
    link.hears_nothing(A_WHILE);
    scene.client.send("hello\n");
    assert_eq!(link.recv(), b"hello\n");
    // The operator is slow.
    link.hears_nothing(A_WHILE);
    link.send("reply\n");
    for _ in 0..3 {
        assert_eq!(link.recv(), HEARTBEAT);
    }
    scene.client.send("again\n");
    assert_eq!(link.message().0, "again\n");
    link.hears_nothing(A_WHILE);
}

#[test]
fn without_heartbeats_there_are_none() {
    let (mut scene, mut link) = Scene::new(&OFF);
    link.hears_nothing(A_WHILE);
    scene.client.send("hello\n");
    assert_eq!(link.recv(), b"hello\n");
    link.send("reply\n");
    link.hears_nothing(A_WHILE);
}

/// The server serves one client at a time; ours is the second.
#[test]
fn one_that_is_not_served_yet_leaves_no_heap_of_heartbeats() {
    let port = Reserved::new();
    let server = ClassicServer::listen(&port, None);
    let mut first = Classic::connect(&port.port());
    let mut served = server.accept();
    let host = port.addr().to_string();
    let mut client =
        Process::start(CLIENT, &[&[&host[..]], &QUICK[..], &BEATS].concat(), Stdout::Read);
    client.says("connected to 127.0.0.1:");
    first.send("hello\n");
    served.recv();
    served.hears_nothing(A_WHILE);
    drop((first, served));
    let mut served = server.accept();
    assert_eq!(served.recv(), HEARTBEAT);
    client.send("my turn\n");
    assert_eq!(served.recv(), b"my turn\n");
    served.send("reply\n");
    client.prints("reply");
}

#[test]
fn a_server_that_is_killed_while_idle_is_found_again() {
    let (mut scene, mut link) = Scene::new(&[]);
    scene.client.send("before\n");
    link.message();
    link.send("reply\n");
    scene.client.prints("reply");
    scene.kill(link);
    scene.client.says("lost: ");
    let mut link = scene.restart();
    scene.client.says("connected again, 0 waiting to be sent, after ");
    scene.client.send("after\n");
    assert_eq!(link.message().0, "after\n");
    assert_eq!(scene.client.err.count("not answered"), 0);
}

#[test]
fn a_line_that_was_not_answered_is_announced_and_not_sent_again() {
    let (mut scene, mut link) = Scene::new(&[]);
    scene.client.send("answered\n");
    link.message();
    link.send("reply\n");
    scene.client.prints("reply");
    scene.client.send("lost\n");
    assert_eq!(link.message().0, "lost\n");
    scene.kill(link);
    scene.client.says("1 sent and not answered, and may be lost");
    scene.client.says("warn] may be lost: lost");
    let mut link = scene.restart();
    scene.client.says("connected again, 0 waiting to be sent");
    scene.client.send("next\n");
    assert_eq!(link.message().0, "next\n");
    link.send("reply\n");
    scene.client.end_input();
    assert_eq!(link.rest().replace("keepalive", ""), "");
    drop(link);
    // Nobody knows whether it was delivered.
    assert_eq!(scene.client.ends(), 1);
    assert_eq!(scene.client.err.count("not answered"), 1);
}

#[test]
fn lines_typed_without_a_link_are_kept() {
    let (mut scene, link) = Scene::new(&["--lock-step"]);
    scene.kill(link);
    scene.client.says("attempt 3 of 200");
    scene.client.send("one\ntwo\n");
    scene.client.says("attempt 6 of 200");
    let mut link = scene.restart();
    scene.client.says("connected again, ");
    for line in ["one\n", "two\n"] {
        assert_eq!(link.message().0, line);
        link.send("reply\n");
    }
    // A server that comes and goes again during the attempts changes nothing.
    scene.kill(link);
    scene.client.says_nth("attempt 3 of 200", 2);
    scene.client.send("three\n");
    let mut link = scene.restart();
    assert_eq!(link.message().0, "three\n");
    scene.kill(link);
    scene.client.says("1 sent and not answered");
    scene.client.send("four\n");
    assert_eq!(scene.restart().message().0, "four\n");
}

#[test]
fn a_line_cut_in_the_middle_is_sent_again() {
    let args = [&QUICK[..], &OFF].concat();
    let (mut scene, mut link) = Scene::with(&args, Some(4096));
    let long = "x".repeat(200_000);
    let lines = [format!("{long}1\n"), format!("{long}2\n")];
    // More than two sockets hold.
    let many = lines.concat().repeat(20);
    scene.client.send_all([many]);
    assert_eq!(link.line(), lines[0].as_bytes());
    link.send("reply\n");
    scene.client.prints("reply");
    scene.kill(link);
    // Said before the first attempt; there is none if the second line was the one that was cut.
    scene.client.says("attempt 1 of 200");
    let said = scene.client.err.text();
    let unknown = said.lines().find_map(|line| line.split_once(" sent and not answered"));
    let unknown: usize =
        unknown.map_or(0, |(before, _)| before.rsplit(' ').next().unwrap().parse().unwrap());
    let mut link = scene.restart();
    // What is neither answered nor announced comes, whole.
    for n in 1 + unknown..40 {
        assert!(link.line() == lines[n % 2].as_bytes(), "line {n} after {unknown} unknown ones");
    }
    assert_eq!(link.rest(), "");
    drop(link);
    // No line on the second link was answered.
    assert_eq!(scene.client.ends(), 1);
}

#[test]
fn a_server_that_hangs_is_noticed_by_its_missing_reply() {
    let (mut scene, mut hung) = Scene::new(&["--reply-timeout", "300ms", "--heartbeat", "100ms"]);
    assert_eq!(hung.recv(), HEARTBEAT);
    scene.client.send("hello\n");
    scene.client.says("lost: nothing heard for 3");
    scene.client.says("1 sent and not answered");
    let mut link = scene.server.as_ref().unwrap().accept();
    scene.client.send("again\n");
    assert_eq!(link.message().0, "again\n");
    link.send("reply\n");
    scene.client.prints("reply");
}

#[test]
fn the_budget_is_bounded() {
    let args = ["--plain", "--retries", "3", "--retry-delay", "20ms"];
    let (mut scene, link) = Scene::with(&args, None);
    scene.client.send("hello\n");
    scene.kill(link);
    scene.client.says("lost: ");
    scene.client.send("waiting\n");
    assert_eq!(scene.client.ends(), 1);
    scene.client.says("gave up after 3 attempts");

    // A server that accepts and drops does not fill it up again.
    let args = ["--plain", "--retries", "3", "--retry-delay", "10s"];
    let (mut scene, link) = Scene::with(&args, None);
    drop(link);
    scene.client.says("attempt 2 of 3");
    scene.client.kill();
}

#[test]
fn ends_of_input_on_either_side() {
    // Ours: the replies still come, the last one without a newline.
    let (mut scene, mut link) = Scene::new(&OFF);
    scene.client.send("one\ntwo");
    scene.client.end_input();
    assert_eq!(link.rest(), "one\ntwo\n");
    link.send("1\n2");
    drop(link);
    assert_eq!(scene.client.ends(), 0);
    assert_eq!(scene.client.out.text(), "1\n2");
    // Theirs: it is looked for again.
    let (mut scene, mut link) = Scene::new(&[]);
    link.send("goodbye");
    drop(link);
    until("it is printed", || scene.client.out.bytes() == b"goodbye");
    let mut link = scene.server.as_ref().unwrap().accept();
    scene.client.send("you again\n");
    assert_eq!(link.message().0, "you again\n");
}

#[test]
fn lock_step_takes_a_pipe_to_a_server_that_reads_heaps() {
    let (mut scene, mut link) = Scene::new(&["--lock-step"]);
    let lines: Vec<String> = (0..50).map(|n| format!("line {n}\n")).collect();
    scene.client.send_all(lines.clone());
    for line in &lines {
        assert_eq!(link.message().0, *line);
        link.send(line);
    }
    assert_eq!(link.rest(), "");
    drop(link);
    assert_eq!(scene.client.ends(), 0);
    assert_eq!(scene.client.out.text(), lines.concat());
}

/// What a client that was not told `--plain` says when its hello is answered so.
fn answered(answer: impl FnOnce(&mut TcpStream), args: &[&str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let args = [&[&addr[..], "--retries", "1", "--connect-timeout", "300ms"], args].concat();
    let mut client = Process::start(CLIENT, &args, Stdout::Read);
    let (mut link, _) = listener.accept().unwrap();
    answer(&mut link);
    assert_eq!(client.ends(), 1);
    client.err.text()
}

#[test]
fn without_plain_a_server_of_lines_is_recognized() {
    const ADVICE: &str = "; if it is a server of plain lines, --plain speaks to it";
    let silent = answered(|_| (), &[]);
    let why = "connected, but the hello was not answered within 300ms";
    assert!(silent.contains(&format!("{why}{ADVICE}")), "{silent}");
    let closed = answered(|link| link.shutdown(Shutdown::Both).unwrap(), &[]);
    assert!(closed.contains(ADVICE), "{closed}");
    let why = "the server does not speak longlink";
    let echo = |link: &mut TcpStream| {
        let mut hello = [0; 4096];
        let size = link.read(&mut hello).unwrap();
        link.write_all(&hello[..size]).unwrap();
    };
    let echoed = answered(echo, &[]);
    assert!(echoed.contains(&format!("{why}{ADVICE}")), "{echoed}");
    for greeting in [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "220 mail.example ESMTP\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "+OK POP3\r\n",
        "* OK IMAP4rev1\r\n",
        "\r\nlogin: ",
        "hello\n",
    ] {
        // That is an error, and told to the quiet as well.
        let said = answered(|link| link.write_all(greeting.as_bytes()).unwrap(), &["-q"]);
        assert!(said.contains(&format!("{why}{ADVICE}")), "{greeting:?}: {said}");
    }
}

#[test]
fn where_nobody_listens_plain_is_no_help() {
    let reserved = Reserved::new();
    let mut client =
        Process::start(CLIENT, &[&reserved.addr().to_string(), "--retries", "1"], Stdout::Read);
    client.says("gave up after 1 attempt, 0 messages not acknowledged");
    assert_eq!(client.ends(), 1);
    assert!(!client.err.text().contains("--plain"));
}
