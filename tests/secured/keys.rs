//! Invites, and keys of clients' own.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::folder::{Folder, talk};
use crate::port::Reserved;
use crate::process::{CLIENT, SERVER, Server};

#[test]
fn what_an_invite_says_is_all_that_it_takes() {
    let folder = Folder::new("two_lines");
    let reserved = Arc::new(Reserved::new());
    let port = reserved.port();
    let said = folder.prints(SERVER, &["--keys", "the keys", "--invite", "alice", "--port", &port]);
    assert!(said.starts_with("'the keys/alice.invite' is for alice alone"), "{said}");
    let commands: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let wanted = [
        format!("client --invite alice.invite HOST:{port}"),
        format!("server --keys 'the keys' --bind :: --port {port}"),
    ];
    assert_eq!(commands, wanted);
    for (file, mode) in [("", 0o700), ("server.key", 0o600), ("peers", 0o600)] {
        assert_eq!(folder.mode(&format!("the keys/{file}")), mode, "{file}");
    }
    assert_eq!(folder.mode("the keys/alice.invite"), 0o600);

    fs::rename(folder.file("the keys/alice.invite"), folder.file("alice.invite")).unwrap();
    let args = ["--keys", "the keys", "--bind", "127.0.0.1", "--port", &port];
    let mut server = folder.start(SERVER, &args);
    server.says(&format!("listening on 127.0.0.1:{port} (this machine only; --bind :: for all)"));
    let args = ["--invite", "alice.invite", &format!("127.0.0.1:{port}"), "-v"];
    let mut client = folder.start(CLIENT, &args);
    client.send("hello\nexit\n");
    assert_eq!(client.ends(), 0);
    assert_eq!(client.out.text(), "hello\n");
    client.says(&format!("connected to 127.0.0.1:{port} (TLS)"));
    let line = server.says("client-1: connected from 127.0.0.1:");
    assert!(line.ends_with(" as alice"), "{line}");
    server.signal("INT");
    assert_eq!(server.ends(), 0);

    let secrets = [folder.secrets("the keys/server.key"), folder.secrets("alice.invite")];
    let outputs = [&server.out, &server.err, &client.out, &client.err].map(|it| it.text());
    for said in outputs.iter().chain([&said]) {
        assert!(secrets.iter().flatten().all(|secret| !said.contains(secret)), "{said}");
    }
}

#[test]
fn a_second_client_gets_a_key_of_the_same_server() {
    let folder = Folder::with_alice("second");
    let key = folder.read("keys/server.key");
    folder.invite("bob");
    assert_eq!(folder.read("keys/server.key"), key);
    let server = folder.serve(&[]);
    for (number, name) in [(1, "alice"), (2, "bob")] {
        let invite = format!("{name}.invite");
        let mut client = folder.client(&server, &["--invite", &invite]);
        talk(&mut client);
        let line = server.process.says(&format!("client-{number}: connected from "));
        assert!(line.ends_with(&format!(" as {name}")), "{line}");
    }
}

/// It would take away what the first one has.
#[test]
fn an_invite_is_not_overwritten() {
    let folder = Folder::new("twice");
    let args = ["--keys", "keys", "--invite", "alice"];
    folder.prints(SERVER, &args);
    let before = ["keys/peers", "keys/alice.invite"].map(|file| folder.read(file));
    let said = folder.refuses(SERVER, &args, 1);
    assert!(said.starts_with("server: keys/alice.invite: it exists"), "{said}");
    assert_eq!(before, ["keys/peers", "keys/alice.invite"].map(|file| folder.read(file)));
}

#[test]
fn a_key_can_stay_where_it_was_made() {
    let folder = Folder::with_alice("own_key");
    let said = folder.prints(CLIENT, &["--new-key", "carol.key"]);
    assert_eq!(folder.mode("carol.key"), 0o600);
    for secret in folder.secrets("carol.key") {
        assert!(!said.contains(&secret), "{said}");
    }
    // All of it may stand there.
    fs::write(folder.file("keys/peers"), folder.read("keys/peers") + &said).unwrap();
    let server = folder.serve(&[]);
    let line = server.process.says("this server is ");
    let fingerprint = line.split(' ').next_back().unwrap();
    let mut client = folder.client(&server, &["--key", "carol.key", "--server", fingerprint]);
    talk(&mut client);
    assert!(server.process.says("client-1: connected ").ends_with(" as carol"));

    let said = folder.refuses(CLIENT, &["--new-key", "carol.key"], 1);
    assert!(said.starts_with("client: carol.key: it exists"), "{said}");
}

/// One of several fingerprints is enough: servers that stand in for each other have their own.
#[test]
fn a_client_may_trust_several_servers() {
    let folder = Folder::with_alice("several");
    let key = folder.prints(CLIENT, &["--new-key", "carol.key"]);
    fs::write(folder.file("keys/peers"), &key).unwrap();
    let server = folder.serve(&[]);
    let line = server.process.says("this server is ");
    let ours = line.split(' ').next_back().unwrap();
    let other = format!("sha256:{}", "ab".repeat(32));
    let args = ["--key", "carol.key", "--server", &other, "--server", ours];
    talk(&mut folder.client(&server, &args));
}

/// Where no more than 512 bytes can be written to a file, as if the disk were full: an invite has
/// some 300, and each line of peers 70 and more.
#[test]
fn a_full_disk_leaves_whole_lines() {
    let folder = Folder::with_alice("full");
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" --keys keys --invite \"$1\"";
    let invite = |name: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, SERVER, name]).current_dir(&folder.0).output().unwrap()
    };
    let mut made = 0;
    let (said, before) = loop {
        let (name, before) = (format!("c{made}"), folder.read("keys/peers"));
        let done = invite(&name);
        if !done.status.success() {
            assert!(!folder.file(&format!("keys/{name}.invite")).exists());
            break (String::from_utf8(done.stderr).unwrap(), before);
        }
        made += 1;
        assert!(made < 20, "{before}");
    };
    assert!(said.starts_with("server: keys/peers: "), "{said}");
    assert_eq!(folder.read("keys/peers"), before);
    assert!(made > 1, "{before}");
    folder.invite("bob");
}

#[test]
fn files_that_are_not_in_order_are_named_with_what_mends_them() {
    let folder = Folder::with_alice("files");
    let serve = ["--keys", "keys", "--port", "0"];
    let connect = ["--invite", "alice.invite", "127.0.0.1:1", "--retries", "0"];
    let mut cases = vec![];
    for (program, args, file, mode, mend) in [
        (SERVER, &serve[..], "keys/server.key", 0o644, "chmod 600 keys/server.key"),
        (SERVER, &serve, "keys/peers", 0o622, "chmod go-w keys/peers"),
        (CLIENT, &connect, "alice.invite", 0o604, "chmod 600 alice.invite"),
    ] {
        let right = folder.mode(file);
        folder.set_mode(file, mode);
        cases.push((folder.refuses(program, args, 1), file, mend));
        folder.set_mode(file, right);
    }
    let empty = ["--keys", "empty", "--port", "0"];
    cases.push((folder.refuses(SERVER, &empty, 1), "empty/server.key", "--keys empty --invite"));
    fs::remove_file(folder.file("keys/peers")).unwrap();
    cases.push((folder.refuses(SERVER, &serve, 1), "keys/peers", "--keys keys --invite NAME"));
    fs::write(folder.file("keys/peers"), "alice\n").unwrap();
    cases.push((folder.refuses(SERVER, &serve, 1), "keys/peers", "line 1 is not a name and"));
    let foreign = ["--invite", "keys/server.key", "127.0.0.1:1"];
    cases.push((folder.refuses(CLIENT, &foreign, 1), "keys/server.key", "it is no invite"));
    let nothing = ["--invite", "bob.invite", "127.0.0.1:1"];
    cases.push((folder.refuses(CLIENT, &nothing, 1), "bob.invite", "No such file"));
    for (said, file, mend) in cases {
        assert!(said.contains(file) && said.contains(mend), "{file}, {mend}: {said}");
        assert!(!said.contains("os error"), "{said}");
    }
}

/// Nothing listens there, not even for a moment.
#[test]
fn what_others_can_reach_is_not_listened_on_without_a_word() {
    let folder = Folder::new("reach");
    for address in ["0.0.0.0", "::", "::ffff:0.0.0.0", "192.0.2.1"] {
        let said = folder.refuses(SERVER, &["--bind", address, "--port", "0"], 2);
        assert!(said.starts_with("server: "), "{said}");
        assert!(said.contains("other machines can reach "), "{said}");
        assert!(said.contains("--invite NAME") && said.contains("--open"), "{said}");
    }
    let server = folder.start(SERVER, &["--bind", "127.0.1.1", "--port", "0"]);
    server.says("listening on 127.0.1.1:");
    assert_eq!(server.err.count("warn]"), 0);
}

/// What each side is told, on one line, and whether the client tries again.
#[test]
fn who_does_not_belong_is_told_why() {
    let folder = Folder::with_alice("refused");
    folder.invite("mallory");
    let peers = folder.read("keys/peers");
    let own = |name: &str| {
        let line = peers.lines().find(|line| line.starts_with(name)).unwrap();
        line.split(' ').next_back().unwrap()
    };
    fs::write(folder.file("keys/peers"), format!("alice {}\n", own("alice"))).unwrap();
    folder.prints(SERVER, &["--keys", "other", "--invite", "carol"]);
    fs::rename(folder.file("other/carol.invite"), folder.file("carol.invite")).unwrap();
    let fingerprint = |server: &Server| {
        let line = server.process.says("this server is ");
        line.split(' ').next_back().unwrap().to_string()
    };
    let server = folder.serve(&[]);
    let ours = fingerprint(&server);
    let carols = folder.read("carol.invite");
    let carols = carols.lines().find_map(|line| line.strip_prefix("server ")).unwrap();
    let clear = Server::start(&[]);
    let at = |server: &Server| format!("127.0.0.1:{}", server.port);
    let cases: [(&Server, &[&str], String, &str, &str); 4] = [
        (
            &server,
            &["--invite", "carol.invite"],
            format!("{} shows {ours}, expected {carols}; compare that with ", at(&server)),
            "refused: TLS: ",
            "2 attempts",
        ),
        (
            &server,
            &["--invite", "mallory.invite"],
            format!("{} does not know this client's key {}; its ", at(&server), own("mallory")),
            &format!("refused: the peer shows {}, which is not trusted", own("mallory")),
            "1 attempt",
        ),
        (
            &server,
            &[],
            format!("{}: rejected: the server speaks TLS only; ask whoever runs it ", at(&server)),
            "rejected, it speaks clear text",
            "1 attempt",
        ),
        (
            &clear,
            &["--invite", "alice.invite"],
            format!("{}: the server does not speak TLS; a longlink server does", at(&clear)),
            "refused: protocol violation: it begins as TLS does",
            "2 attempts",
        ),
    ];
    for (server, args, told, logged, attempts) in cases {
        let args = [args, &["--retries", "2", "--retry-delay", "10ms"]].concat();
        let mut client = folder.client(server, &args);
        client.send("a secret\n");
        assert_eq!(client.ends(), 1, "{args:?}");
        let line = client.says("error] gave up after ");
        assert!(line.contains(&format!("gave up after {attempts}, ")), "{line}");
        assert!(line.contains(&told), "{line}\n{told}");
        assert_eq!(client.out.text(), "");
        server.process.says(logged);
        assert_eq!(server.process.err.count("connected from"), 0);
    }
}

/// Nor is anything said to those who speak it.
#[test]
fn plain_text_is_not_served_beside_keys() {
    let folder = Folder::with_alice("plain");
    let server = folder.serve(&[]);
    let mut peer = TcpStream::connect(("127.0.0.1", server.port.parse().unwrap())).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    peer.write_all(b"hello\n").unwrap();
    let mut answer = Vec::new();
    let end = peer.read_to_end(&mut answer);
    assert!(end.is_ok_and(|read| read == 0), "{answer:?}");
    server.process.says("dropped, it does not speak longlink");
    assert_eq!(server.process.out.text(), "");
}
