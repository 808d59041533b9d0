use std::fs;

use super::*;
use crate::secure::certificate::tests::authority::{Key, about, about_ca, authority, dns};
use crate::secure::files::tests::{Folder, text};

fn print(byte: u8) -> String {
    Fingerprint([byte; 32]).to_string()
}

fn trusted(text: &str) -> Result<Vec<(String, Fingerprint)>> {
    let folder = Folder::new();
    let trust = Trust::peers_file(folder.write("peers", text))?;
    let peers = trust.keys().unwrap().into_iter();
    let mut peers: Vec<_> = peers
        .map(|(key, peer)| match &peer.identity {
            PeerIdentity::Named(name) => (name.clone(), key),
            other => panic!("{other:?}"),
        })
        .collect();
    peers.sort_by_key(|(name, key)| (name.clone(), key.to_string()));
    Ok(peers)
}

#[test]
fn a_peers_file_has_a_name_and_a_key_on_a_line() {
    let file = format!(
        "# Who may come in\n  \n  # friends\nalice {}\n  bob\t{}  \r\nalice {}\n#eve {}\nA-Z_a.z-09 {}",
        print(1),
        print(2),
        print(3).to_uppercase().replace("SHA", "sha"),
        print(4),
        print(5),
    );
    let peer = |name: &str, byte| (name.to_string(), Fingerprint([byte; 32]));
    let peers = [peer("A-Z_a.z-09", 5), peer("alice", 1), peer("alice", 3), peer("bob", 2)];
    assert_eq!(trusted(&file).unwrap(), peers);
    assert_eq!(trusted("").unwrap(), []);
    assert_eq!(trusted("# nobody yet\n").unwrap(), []);
}

#[test]
fn a_line_of_a_peers_file_that_is_not_understood_is_named() {
    let (one, two) = (print(1), print(2));
    let digits = &one["sha256:".len()..];
    let cases = [
        ("alice".into(), "line 3 is not a name and a fingerprint"),
        (one.clone(), "line 3 is not a name and a fingerprint"),
        (format!("alice smith {one}"), "line 3 is not a name and a fingerprint"),
        (format!("alice {one} # here"), "line 3 is not a name and a fingerprint"),
        (format!("{one} alice"), "line 3: a name consists of A-Z a-z 0-9 . _ -"),
        (format!("../alice {one}"), "line 3: a name consists of"),
        (format!("al\u{0}ice {one}"), "line 3: a name consists of"),
        (format!("\u{FEFF}alice {one}"), "line 3: a name consists of"),
        (format!("ali\u{441}e {one}"), "line 3: a name consists of"),
        (format!("alice {digits}"), "line 3: a fingerprint is sha256: and"),
        (format!("alice {}", &one[..70]), "line 3: a fingerprint is sha256: and"),
        (format!("alice {two}"), "line 3 has the key of line 2; remove one of them"),
        (format!("bob {two}"), "line 3 has the key of line 2; remove one of them"),
    ];
    for (line, what) in cases {
        let error = text(trusted(&format!("# peers\nbob {two}\n{line}\nmore {}", print(4))));
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn trust_in_two_keys_is_trust_in_both() {
    let (one, two) = (Fingerprint([1; 32]), Fingerprint([2; 32]));
    let trust = Trust::fingerprint(one).or(Trust::fingerprint(two));
    let peers = Trust::fingerprint(two).or(trust).keys().unwrap();
    assert_eq!(peers.len(), 2);
    assert_eq!(peers[&one].identity, PeerIdentity::Key(one));
}

#[test]
fn a_key_that_is_trusted_twice_is_whose_it_was_first() {
    let folder = Folder::new();
    let [alice, bob] = ["alice", "bob"]
        .map(|name| Trust::peers_file(folder.write(name, format!("{name} {}", print(1)))).unwrap());
    let key = Fingerprint([1; 32]);
    let named = |name: &str| PeerIdentity::Named(name.into());
    for (first, second, identity) in [
        (alice.clone(), bob.clone(), named("alice")),
        (bob, Trust::fingerprint(key), named("bob")),
        (Trust::fingerprint(key), alice, PeerIdentity::Key(key)),
    ] {
        let keys = first.or(second).keys().unwrap();
        assert_eq!((keys.len(), &keys[&key].identity), (1, &identity));
    }
}

#[test]
fn what_is_shown_of_a_trust_is_short() {
    let folder = Folder::new();
    let lines = |line: fn(u32) -> String| (0..1000).map(line).collect::<String>();
    let peers = lines(|i| format!("alice sha256:{i:064x}\n"));
    let peers = Trust::peers_file(folder.write("peers", peers)).unwrap();
    let names = folder.write("names", lines(|i| format!("a{i}\n")));
    let named = Trust::ca_file(folder.write("ca", ca("ours", 8))).unwrap();
    let named = named.client_names(names).unwrap();
    let [both, client] = [peers.clone().or(named.clone()), named.clone()];
    let client = crate::Security::anonymous_client(client).unwrap();
    for shown in [format!("{both:?}"), format!("{client:?}")] {
        assert!(shown.len() < 1000, "{shown}");
    }
}

/// The certificate of a CA, as PEM.
fn ca(name: &str, seed: u8) -> String {
    about_ca(name).self_signed(&Key::new(seed)).unwrap().pem()
}

#[test]
fn a_ca_file_has_any_number_of_certificates() {
    let folder = Folder::new();
    let both = format!("Ours\n{}\nTheirs\n{}", ca("ours", 8), ca("theirs", 9));
    for (pem, count) in [(ca("ours", 8), 1), (both, 2)] {
        let trust = Trust::ca_file(folder.write("ca", pem)).unwrap();
        let (roots, certify_clients) = trust.authorities().unwrap();
        assert_eq!((roots.len(), certify_clients), (count, true));
        assert!(trust.names().is_none());
    }
}

#[test]
fn what_is_no_ca_file_is_refused_in_words_of_its_own() {
    let folder = Folder::new();
    let leaf = about(&[dns("alice")]).signed_by(&Key::new(1), &authority("CA", 9)).unwrap().pem();
    let damaged = ca("ours", 8).replacen("\nMI", "\nMJ", 1);
    let cases = [
        (String::new(), "it is empty"),
        ("alice".into(), "there is no certificate in it, as PEM"),
        (Key::new(8).pem(), "there is a key in it, and no certificate"),
        (format!("{}{damaged}", ca("theirs", 9)), "certificate 2 is damaged"),
        (ca("ours", 8) + &leaf, "certificate 2 is not a CA's, which says so (basicConstraints)"),
        (ca("ours", 8).replace("-----END", "----END"), "certificate 1 is damaged"),
    ];
    for (pem, what) in cases {
        let path = folder.write("ca", pem);
        let error = text(Trust::ca_file(&path));
        assert_eq!(error, format!("{}: {what}", path.display()));
    }
    let path = folder.write("ca", ca("ours", 8));
    for mode in [0o620, 0o602] {
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let error = text(Trust::ca_file(&path));
        assert!(error.contains("others may write to it; mend it with: chmod go-w"), "{error}");
    }
}

#[test]
fn names_are_read_as_they_stand_in_certificates() {
    let folder = Folder::new();
    let names = |text: &str| {
        let trust = Trust::ca_file(folder.write("ca", ca("ours", 8))).unwrap();
        let trust = trust.client_names(folder.write("names", text))?;
        let mut names: Vec<String> = trust.names().unwrap().into_iter().collect();
        names.sort();
        Ok::<_, crate::Error>(names)
    };
    let file = "# Who may come in\n\n Alice \r\nb.example\nspiffe://a.example/Ann\n#mallory\n";
    assert_eq!(names(file).unwrap(), ["alice", "b.example", "spiffe://a.example/Ann"]);
    assert_eq!(names("").unwrap(), [""; 0]);
    for (line, what) in [
        ("*.example", "line 3 is neither a DNS name nor a URI"),
        ("alice bob", "line 3 is neither a DNS name nor a URI"),
        ("alice.", "line 3 is neither a DNS name nor a URI"),
        ("al\u{0}ice", "line 3 is neither a DNS name nor a URI"),
        ("ali\u{441}e", "line 3 is neither a DNS name nor a URI"),
        ("BOB", "line 3 has the name of line 2; remove one of them"),
    ] {
        let error = text(names(&format!("# names\nbob\n{line}\n")));
        assert!(error.ends_with(what), "{error}");
    }
}

#[test]
fn keys_and_authorities_are_not_mixed() {
    let folder = Folder::new();
    let ca = Trust::ca_file(folder.write("ca", ca("ours", 8))).unwrap();
    let keys = Trust::fingerprint(Fingerprint([1; 32]));
    let mixed = ca.clone().or(keys.clone());
    assert!(mixed.keys().is_none() && mixed.authorities().is_none());
    assert!(ca.keys().is_none() && keys.authorities().is_none());
    let named = keys.client_names(folder.write("names", "alice")).unwrap();
    assert!(named.keys().is_none() && named.authorities().is_none());
}

#[test]
fn it_is_read_again_from_all_of_its_files() {
    let folder = Folder::new();
    let (peers, names) = (folder.write("peers", ""), folder.write("names", "alice"));
    let [one, other] = [folder.write("one", ca("one", 8)), folder.write("other", ca("other", 9))];
    let trust = Trust::ca_file(&one).unwrap().client_names(&names).unwrap();
    let trust = trust.or(Trust::ca_file(&other).unwrap());
    let files: Vec<_> = trust.files().map(|(path, _)| path).collect();
    assert_eq!(files, [one, names, other.clone()]);
    folder.write("names", "alice\nbob");
    folder.write("one", ca("one", 8) + &ca("two", 7));
    let again = trust.again().unwrap();
    assert_eq!(again.names().unwrap().len(), 2);
    assert_eq!(again.authorities().unwrap().0.len(), 3);
    fs::remove_file(other).unwrap();
    assert!(text(trust.again()).contains("No such file"));

    let keys = Trust::fingerprint(Fingerprint([1; 32])).or(Trust::peers_file(&peers).unwrap());
    folder.write("peers", format!("alice {}", print(2)));
    assert_eq!((keys.keys().unwrap().len(), keys.again().unwrap().keys().unwrap().len()), (1, 2));
}

#[test]
fn it_says_whom_it_trusts() {
    let folder = Folder::new();
    let peers = folder.write("peers", format!("alice {}\nbob {}\n", print(1), print(2)));
    let (peers_shown, print) = (peers.display().to_string(), print(3));
    let keys = Trust::peers_file(&peers).unwrap().or(Trust::fingerprint(print.parse().unwrap()));
    assert_eq!(keys.to_string(), format!("2 keys in {peers_shown}, {print}"));
    let ca = folder.write("ca", about_ca("CA").self_signed(&Key::new(9)).unwrap().pem());
    let names = folder.write("names", "alice.example\n");
    let both = Trust::ca_file(&ca).unwrap().client_names(&names).unwrap().to_string();
    let (ca, names) = (ca.display(), names.display());
    assert_eq!(both, format!("whom {ca} certifies, if it is one of 1 name in {names}"));
}
