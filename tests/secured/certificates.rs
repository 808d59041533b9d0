//! Certificates of the server, and of clients.

use std::fs;
use std::slice;

use rcgen::SanType;

use crate::authority::{Key, about, about_ca, authority, dns, lasting};
use crate::folder::{Folder, talk};
use crate::process::{CLIENT, Process, SERVER, Server};

/// Certificates of an authority: NAME.pem and NAME.key for each of these, whose number is that of
/// a key, and the authority's own in a file.
fn certify(folder: &Folder, ca: (&str, u8), certified: &[(&str, u8, SanType)]) {
    let (file, seed) = ca;
    let own = lasting(about_ca(file)).self_signed(&Key::new(seed)).unwrap();
    fs::write(folder.file(file), own.pem()).unwrap();
    for (name, seed, is_for) in certified {
        let key = Key::new(*seed);
        let signed = lasting(about(slice::from_ref(is_for)))
            .signed_by(&key, &authority(file, ca.1))
            .unwrap();
        fs::write(folder.file(&format!("{name}.pem")), signed.pem()).unwrap();
        let key_file = format!("{name}.key");
        fs::write(folder.file(&key_file), key.pem()).unwrap();
        folder.set_mode(&key_file, 0o600);
    }
}

/// A server for 127.0.0.1, two clients, and an authority that nobody asked.
fn certified(name: &str) -> Folder {
    let folder = Folder::new(name);
    let certified = [
        ("server", 2, SanType::IpAddress([127, 0, 0, 1].into())),
        ("elsewhere", 3, dns("elsewhere.example")),
        ("alice", 4, dns("alice.example")),
        ("bob", 5, dns("bob.example")),
    ];
    certify(&folder, ("ca.pem", 1), &certified);
    certify(&folder, ("other.pem", 6), &[("mallory", 7, dns("alice.example"))]);
    folder
}

const SHOWS: [&str; 4] = ["--cert", "server.pem", "--key", "server.key"];
const TRUSTS: [&str; 3] = ["--tls", "--ca", "ca.pem"];

fn serve(folder: &Folder, args: &[&str]) -> Server {
    folder.serve_by(&[&SHOWS, args].concat())
}

fn client(folder: &Folder, server: &Server, name: &str) -> Process {
    let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
    let args = [&TRUSTS[..], &["--cert", &certificate, "--key", &key, "--retries", "1"]].concat();
    folder.client(server, &args)
}

#[test]
fn a_client_is_called_what_its_certificate_is_for() {
    let folder = certified("certified");
    let server = serve(&folder, &["--client-ca", "ca.pem"]);
    server.process.says("trusts whom ca.pem certifies");
    for (number, name) in [(1, "alice"), (2, "bob")] {
        let mut client = client(&folder, &server, name);
        talk(&mut client);
        client.says("connected to 127.0.0.1:");
        let line = server.process.says(&format!("client-{number}: connected from "));
        assert!(line.ends_with(&format!(" as {name}.example")), "{line}");
    }
}

#[test]
fn names_narrow_who_is_let_in() {
    let folder = certified("names");
    fs::write(folder.file("names"), "bob.example\n").unwrap();
    let server = serve(&folder, &["--client-ca", "ca.pem", "--client-names", "names"]);
    server.process.says("trusts whom ca.pem certifies, if it is one of 1 name in names");
    assert_eq!(client(&folder, &server, "alice").ends(), 1);
    talk(&mut client(&folder, &server, "bob"));
    fs::write(folder.file("names"), "bob.example\nalice.example\n").unwrap();
    server.process.signal("HUP");
    server.process.says("if it is one of 2 names in names");
    talk(&mut client(&folder, &server, "alice"));
}

/// The other way round, it is enough for a client to know the server.
#[test]
fn a_server_that_asks_for_nothing_serves_whoever_trusts_it() {
    let folder = certified("asks_nothing");
    let server = serve(&folder, &[]);
    server.process.says("asks no client who it is");
    talk(&mut folder.client(&server, &TRUSTS));
    let line = server.process.says("client-1: connected from ");
    assert!(!line.contains(" as "), "{line}");
}

#[test]
fn who_is_not_certified_is_told_why() {
    let folder = certified("uncertified");
    let server = serve(&folder, &["--client-ca", "ca.pem"]);
    let misnamed = folder.serve_by(&["--cert", "elsewhere.pem", "--key", "elsewhere.key"]);
    let once = |server, ca| folder.client(server, &["--tls", "--ca", ca, "--retries", "1"]);
    for (mut client, what) in [
        (once(&server, "ca.pem"), "takes only clients that prove who they are; --cert and --key "),
        (
            client(&folder, &server, "mallory"),
            "does not trust this client's certificate; it trusts what its --client-ca",
        ),
        (once(&server, "other.pem"), "certificate is not signed by a CA that is trusted here"),
        (once(&misnamed, "ca.pem"), "elsewhere.example"),
    ] {
        assert_eq!(client.ends(), 1, "{what}");
        let line = client.says("error] gave up after 1 attempt");
        assert!(line.contains(what), "{what}: {line}");
    }
    assert_eq!(server.process.err.count("connected from"), 0);
}

#[test]
fn certificates_that_do_not_fit_are_named() {
    let folder = certified("misfits");
    let serve = |args: &[&str]| folder.refuses(SERVER, &[args, &["--port", "0"]].concat(), 1);
    let said = serve(&["--cert", "server.pem", "--key", "alice.key"]);
    assert!(said.contains("alice.key") && said.contains("server.pem"), "{said}");
    folder.set_mode("server.key", 0o644);
    assert!(serve(&SHOWS).contains("chmod 600 server.key"));
    let said = folder.refuses(CLIENT, &["--tls", "--ca", "server.key", "127.0.0.1:1"], 1);
    assert!(said.contains("server.key: "), "{said}");
}
