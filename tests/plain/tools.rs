//! The tools that people have, from Debian's packages netcat-openbsd, socat and
//! telnet. The gate installs them where it can, and runs these tests.

use crate::client::QUICK;
use crate::port::Reserved;
use crate::process::{CLIENT, Process, Server, Stdout};

fn tool(name: &'static str, args: &[&str]) -> Process {
    Process::start(name, args, Stdout::Read)
}

/// A tool that is a client of ours is a filter, and can be talked with.
fn is_served(name: &'static str, args: impl Fn(&str) -> Vec<String>) {
    let server = Server::start(&[]);
    let args = args(&server.port);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut client = tool(name, &args);
    client.send("hello\n");
    client.prints("hello");
    let lines: String = (0..2000).map(|n| format!("line {n}\n")).collect();
    client.send_all([lines.clone() + "last"]);
    assert_eq!(client.ends(), 0);
    assert_eq!(client.out.text(), format!("hello\n{lines}last\n"));
    server.process.says("client-1: closed");
}

#[test]
#[ignore = "needs nc; the gate runs it"]
fn nc_is_served() {
    is_served("nc", |port| ["-N", "127.0.0.1", port].map(str::to_string).to_vec());
}

#[test]
#[ignore = "needs socat; the gate runs it"]
fn socat_is_served() {
    is_served("socat", |port| {
        vec!["-t30".to_string(), "-".to_string(), format!("TCP:127.0.0.1:{port}")]
    });
}

#[test]
#[ignore = "needs telnet; the gate runs it"]
fn telnet_is_served() {
    let mut server = Server::start(&["--chat"]);
    let mut client = tool("telnet", &["127.0.0.1", &server.port]);
    client.prints("Escape character");
    client.send("hello\n");
    server.process.prints("client-1> hello");
    assert_eq!(server.process.out.text(), "client-1> hello\n");
    server.process.send("hello yourself\n");
    client.prints("hello yourself");
    server.process.end_input();
    client.says("Connection closed by foreign host");
    assert_eq!(server.process.ends(), 0);
}

/// A line server that is killed and started again.
#[test]
#[ignore = "needs socat; the gate runs it"]
fn socat_is_kept_connected() {
    let port = Reserved::new();
    // It echoes for one client.
    let listen = format!("TCP-LISTEN:{},bind=127.0.0.1,reuseaddr", port.port());
    let start = || tool("socat", &[&listen, "PIPE"]);
    let mut server = start();
    let host = port.addr().to_string();
    let mut client = Process::start(CLIENT, &[&[&host[..]], &QUICK[..]].concat(), Stdout::Read);
    client.says("connected to ");
    for n in 1..4 {
        client.send(format!("line {n}\n"));
        client.prints(&format!("line {n}"));
        server.kill();
        client.says_nth("lost: ", n);
        client.send(format!("kept {n}\n"));
        server = start();
        client.says_nth("connected again, ", n);
        client.prints(&format!("kept {n}"));
    }
    client.send("exit\n");
    assert_eq!(client.ends(), 0);
    assert_eq!(client.out.text(), "line 1\nkept 1\nline 2\nkept 2\nline 3\nkept 3\n");
}

#[test]
#[ignore = "needs nc; the gate runs it"]
fn nc_is_a_server() {
    let port = Reserved::new();
    let mut server = tool("nc", &["-l", "127.0.0.1", &port.port()]);
    let host = port.addr().to_string();
    let mut client = Process::start(CLIENT, &[&[&host[..]], &QUICK[..]].concat(), Stdout::Read);
    client.says("connected to ");
    client.send("hello\n");
    server.prints("hello");
    server.send("hello yourself\n");
    client.prints("hello yourself");
    client.send("exit\n");
    assert_eq!(client.ends(), 0);
    assert_eq!(server.out.text(), "hello\n");
}
