//! A server that reads its files again.

use std::fs;
use std::process::{Command, Stdio};

use crate::folder::{Folder, QUICK, talk};
use crate::process::{self, Process, SERVER};

/// The others notice nothing.
#[test]
fn a_client_whose_key_is_taken_away_is_told_and_gives_up() {
    let folder = Folder::with_alice("revoked");
    folder.invite("bob");
    let server = folder.serve(&[]);
    let args = |invite| [&["--invite", invite], &QUICK[..]].concat();
    let mut alice = folder.client(&server, &args("alice.invite"));
    talk(&mut alice);
    let mut bob = folder.client(&server, &args("bob.invite"));
    talk(&mut bob);
    let peers = folder.read("keys/peers");
    let (hers, his) = peers.split_once('\n').unwrap();
    fs::write(folder.file("keys/peers"), his).unwrap();
    server.process.signal("HUP");
    server.process.says_nth("this server is ", 2);
    let line = alice.says("error] gave up after 1 attempt, ");
    let key = hers.strip_prefix("alice ").unwrap();
    assert!(
        line.contains(&format!(" does not know this client's key {key}; its file peers ")),
        "{line}"
    );
    assert_eq!(alice.ends(), 1);
    let line = server.process.says("client-1: ended, ");
    assert!(line.ends_with(" not acknowledged: the client is no longer trusted"), "{line}");
    bob.send("still here\n");
    bob.prints("still here");
    bob.end_input();
    assert_eq!(bob.ends(), 0);
    assert_eq!(bob.err.count("lost: "), 0);
}

#[test]
fn a_running_server_lets_in_whom_it_is_told_of() {
    let folder = Folder::with_alice("added");
    let server = folder.serve(&[]);
    folder.invite("bob");
    let once = ["--invite", "bob.invite", "--retries", "1"];
    assert_eq!(folder.client(&server, &once).ends(), 1);
    server.process.signal("HUP");
    server.process.says_nth("this server is ", 2);
    talk(&mut folder.client(&server, &once));
    assert!(server.process.says("client-1: connected ").ends_with(" as bob"));
}

#[test]
fn a_file_that_is_not_in_order_changes_nothing() {
    let folder = Folder::with_alice("kept");
    let server = folder.serve(&[]);
    let mut alice = folder.client(&server, &["--invite", "alice.invite"]);
    talk(&mut alice);
    let right = folder.read("keys/peers");
    let mut wrong = 0;
    let mut complains = |file: &str, what: &str| {
        server.process.signal("HUP");
        wrong += 1;
        let line = server.process.says_nth("error] ", wrong);
        assert!(line.contains(file) && line.contains(what), "{file} {what}: {line}");
        assert!(line.ends_with("; what was read before still holds"), "{line}");
        talk(&mut folder.client(&server, &["--invite", "alice.invite"]));
    };
    fs::write(folder.file("keys/peers"), "mallory\n").unwrap();
    complains("keys/peers: ", "line 1 is not a name and a fingerprint");
    fs::remove_file(folder.file("keys/peers")).unwrap();
    complains("keys/peers", "there is no ");
    fs::write(folder.file("keys/peers"), right).unwrap();
    folder.set_mode("keys/server.key", 0o644);
    complains("keys/server.key: ", "chmod 600 keys/server.key");
    alice.send("still here\n");
    alice.prints("still here");
    assert_eq!(alice.err.count("lost: "), 0);
}

/// Where there are no files, or where it comes with the end of the terminal, in the order of Ctrl-C.
#[test]
fn a_server_without_files_to_read_ends_when_it_is_hung_up() {
    let folder = Folder::with_alice("hung_up");
    let (_window, terminal) = process::terminal().unwrap();
    let cases: [(&[&str], Stdio); 2] =
        [(&["--port", "0"], Stdio::piped()), (&["--port", "0", "--keys", "keys"], terminal.into())];
    for (args, stdin) in cases {
        let mut command = Command::new(SERVER);
        command.current_dir(&folder.0);
        let streams = [stdin, Stdio::piped(), Stdio::piped()];
        let mut server = Process::start_on(command, SERVER, args, streams);
        server.says("listening on ");
        server.signal("HUP");
        assert_eq!(server.ends(), 0, "{args:?}");
        server.says("info] served 0 clients in ");
    }
}
