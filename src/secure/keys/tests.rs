use std::fs;

use super::*;
use crate::identity::PeerIdentity;
use crate::secure::Security;
use crate::secure::files::tests::{Folder, text};

/// Made by openssl.
macro_rules! pem {
    ($name:literal) => {
        include_str!(concat!($name, ".pem"))
    };
}

#[test]
fn a_key_is_what_openssl_says_that_it_is() {
    // openssl pkey -in KEY -pubout -outform der | sha256sum
    let keys = [
        (pem!("ed25519"), "beff99bf0b9d2173e485d27f6c7d421e4b451b868f2fcbf6c0074f8fe46c3973"),
        (pem!("p256"), "9b6fe7dec88c9a39553650c44d4cb707aa5528569212456f31448c542a99eed7"),
        (pem!("p384"), "704773c75b2d67e438c0d14189565e61fd466519219b760393438adcecaccfd3"),
        (pem!("p256_sec1"), "577671dca139168dce663a7bd64746457a8b4f467ba7fb2850987cbcbdee613f"),
    ];
    let folder = Folder::new();
    for (pem, print) in keys {
        for pem in [pem.into(), pem.replace('\n', "\r\n"), format!("My key\n{pem}\nUntil 2030")] {
            let identity = Identity::from_file(folder.write("key", pem)).unwrap();
            assert_eq!(identity.fingerprint().to_string(), format!("sha256:{print}"));
        }
    }
}

#[test]
fn what_is_no_key_that_can_be_used_is_refused_in_words_of_its_own() {
    let damaged = pem!("ed25519").replace("MC4C", "MC4D");
    let cases = [
        ("", "it is empty"),
        ("\n \n", "it is empty"),
        ("alice", "there is no private key in it"),
        (pem!("public"), "there is no private key in it"),
        (pem!("certificate"), "there is no private key in it"),
        (pem!("encrypted"), "the key is encrypted; decrypt it with: openssl"),
        (pem!("rsa"), "of a kind that is not supported; Ed25519 is"),
        (pem!("rsa_pkcs1"), "of a kind that is not supported; Ed25519 is"),
        (pem!("p521"), "of a kind that is not supported; Ed25519 is"),
        (pem!("secp256k1"), "of a kind that is not supported; Ed25519 is"),
        (pem!("ed448"), "of a kind that is not supported; Ed25519 is"),
        (pem!("x25519"), "of a kind that is not supported; Ed25519 is"),
        (&damaged, "the key is damaged"),
        (&pem!("ed25519").replace("MC4C", "M*4C"), "the key is damaged"),
        (&pem!("ed25519").replace("-----END", "----END"), "the key is damaged"),
        (&pem!("ed25519").replace('\n', " "), "the key is damaged"),
        (&[pem!("ed25519"), pem!("p256")].concat(), "there is more than one private key in it"),
    ];
    let folder = Folder::new();
    for (pem, what) in cases {
        let path = folder.write("key", pem);
        let error = text(Identity::from_file(&path));
        assert!(error.contains(what), "{error}");
        assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
    }
}

/// Whatever is wrong with a key's file, no word of it is repeated.
#[test]
fn an_error_holds_nothing_of_a_key() {
    let folder = Folder::new();
    let server = Identity::create(folder.path("server")).unwrap();
    server.invite("alice", folder.path("peers"), folder.path("invite")).unwrap();
    let invite = fs::read_to_string(folder.path("invite")).unwrap();
    // Any 8 bytes of it in a row, as text or as numbers.
    let secret = |text: &str| -> Vec<[String; 2]> {
        let line = text.lines().find(|line| line.starts_with("MC4C")).unwrap();
        let parts = (0..line.len() - 8).map(|at| &line[at..at + 8]);
        let numbers = |part: &str| format!("{:?}", part.as_bytes()).replace(['[', ']'], "");
        parts.map(|part| [part.into(), numbers(part)]).collect()
    };
    let shows = |said: &str, secret: &[[String; 2]]| {
        secret.iter().flatten().any(|part| said.contains(part))
    };
    for (whole, read) in [
        (pem!("ed25519"), (|path| Identity::from_file(path).err()) as fn(_) -> Option<Error>),
        (&invite, |path| Security::invite(path).err()),
    ] {
        let secret = secret(whole);
        let mut refused = 0;
        for at in 0..whole.len() {
            for altered in [
                whole[..at].to_string(),
                whole[at..].to_string(),
                [&whole[..at], "\n", &whole[at..]].concat(),
                [&whole[..at], "\n-----BEGIN ", &whole[at..]].concat(),
                [&whole[..at], "\n#", &whole[at..]].concat(),
                [&whole[..at], &whole[at + 1..]].concat(),
            ] {
                let Some(error) = read(folder.write("altered", altered)) else { continue };
                refused += 1;
                let said = format!("{error} {error:?}");
                assert!(!shows(&said, &secret), "{said}");
            }
        }
        assert!(refused > 3 * whole.len());
    }
    let alice = Identity::from_file(folder.path("invite")).unwrap();
    assert!(!shows(
        &format!("{alice:?} {:?}", Security::invite(folder.path("invite"))),
        &secret(&invite)
    ));
}

#[test]
fn a_new_key_is_one_that_openssl_reads_too() {
    let folder = Folder::new();
    let path = folder.path("key");
    let made = Identity::create(&path).unwrap();
    assert_eq!(Identity::from_file(&path).unwrap().fingerprint(), made.fingerprint());
    // As openssl writes this kind.
    let pem = fs::read_to_string(&path).unwrap();
    let (like, unlike) = (&pem!("ed25519")[..49], &pem!("ed25519")[49..]);
    assert!(pem.starts_with(like) && pem.len() == like.len() + unlike.len(), "{pem}");
    assert!(pem.ends_with("\n-----END PRIVATE KEY-----\n"));
    let other = Identity::create(folder.path("other")).unwrap();
    assert_ne!(other.fingerprint(), made.fingerprint());
    assert!(text(Identity::create(&path)).contains("it exists"));
}

#[test]
fn base_64_is_what_its_rfc_says() {
    // RFC 4648, 10.
    for (bytes, digits) in [("", ""), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
        assert_eq!(base64(bytes.as_bytes()), digits);
    }
    assert_eq!(base64(&[0xFB, 0xFF, 0xBF]), "+/+/");
}

fn print(byte: u8) -> String {
    Fingerprint([byte; 32]).to_string()
}

#[test]
fn an_invite_is_all_that_a_client_needs() {
    let folder = Folder::new();
    let [key, peers, first, second] =
        ["server.key", "peers", "alice.invite", "again.invite"].map(|name| folder.path(name));
    let server = Identity::create(&key).unwrap();
    server.invite("alice", &peers, &first).unwrap();
    server.invite("bob", &peers, folder.path("bob.invite")).unwrap();
    // She has two devices, or a new key.
    server.invite("alice", &peers, &second).unwrap();

    let trusted = Trust::peers_file(&peers).unwrap().keys().unwrap();
    assert_eq!(trusted.len(), 3);
    let mut prints = Vec::new();
    for (path, name) in [(&first, "alice"), (&second, "alice"), (&folder.path("bob.invite"), "bob")]
    {
        let (identity, servers) = read_invite(path).unwrap();
        let servers = servers.keys().unwrap();
        assert_eq!(trusted[&identity.fingerprint()].identity, PeerIdentity::Named(name.into()));
        let fingerprint = server.fingerprint();
        assert_eq!(servers.len(), 1);
        assert_eq!(servers[&fingerprint].identity, PeerIdentity::Key(fingerprint));
        prints.push(identity.fingerprint());
    }
    assert_ne!(prints[0], prints[1]);
    // Nothing but fingerprints is in the file that others may read.
    assert!(!fs::read_to_string(&peers).unwrap().contains("MC4C"));
}

#[test]
fn an_invite_that_cannot_be_made_changes_nothing() {
    let folder = Folder::new();
    let [peers, invite] = ["peers", "alice.invite"].map(|name| folder.path(name));
    let server = Identity::create(folder.path("server.key")).unwrap();
    server.invite("alice", &peers, &invite).unwrap();
    let before = (fs::read(&peers).unwrap(), fs::read(&invite).unwrap());
    let again = text(server.invite("alice", &peers, &invite));
    assert!(again.contains("alice.invite: it exists"), "{again}");
    for name in ["", "a b", "../a", "a/b", "\u{e4}", "a\n"] {
        let error = text(server.invite(name, &peers, folder.path("odd")));
        assert_eq!(error, "a name consists of A-Z a-z 0-9 . _ -");
    }
    assert!(text(server.invite("bob", &peers, folder.path("none/bob"))).contains("No such file"));
    assert_eq!((fs::read(&peers).unwrap(), fs::read(&invite).unwrap()), before);

    let broken = folder.write("broken", "alice");
    let error = text(server.invite("bob", &broken, folder.path("bob")));
    assert!(error.contains("broken: line 1 is not a name"), "{error}");
    assert!(!folder.path("bob").exists());
    // The file would be larger than what is read.
    let full = folder.write("full", "#".repeat((4 << 20) - 70));
    let error = text(server.invite("bob", &full, folder.path("bob")));
    assert!(error.contains("full: it would have more than 4194304 bytes"), "{error}");
    assert!(!folder.path("bob").exists());
    assert!(Trust::peers_file(&full).is_ok());
}

#[test]
fn what_is_no_invite_is_refused() {
    let (one, two) = (print(1), print(2));
    let key = pem!("ed25519");
    let no_invite = "it is no invite: it does not say which server to trust";
    let cases = [
        (String::new(), no_invite),
        (key.into(), no_invite),
        (format!("{key}server {one}\n"), no_invite),
        (format!("server {one}\n"), "there is no private key in it"),
        (format!("server\n{key}"), "line 1 is not understood"),
        (format!("\nserver {}\n{key}", &one[..70]), "line 2 is not understood"),
        (format!("client {one}\n{key}"), "line 1 is not understood"),
        (format!("alice {one}\n"), "line 1 is not understood"),
        (format!("server {one} {two}\n{key}"), "line 1 is not understood"),
        (format!("server {one}\n{key}{key}"), "there is more than one private key in it"),
        (format!("server {one}\n{}", pem!("rsa")), "of a kind that is not supported"),
    ];
    let folder = Folder::new();
    for (invite, what) in cases {
        let error = text(Security::invite(folder.write("invite", invite)));
        assert!(error.contains(what), "{error}");
    }
    // The server may have, or be about to have, another key.
    let path = folder.write("invite", format!("# mine\nserver {one}\nserver {two}\n\n{key}"));
    assert_eq!(read_invite(&path).unwrap().1.keys().unwrap().len(), 2);
}
