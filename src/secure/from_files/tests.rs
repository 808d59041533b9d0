use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::PeerIdentity;
use crate::secure::certificate::tests::authority::{Key, about, about_ca, authority, dns};
use crate::secure::files::tests::{Folder, text};
use crate::secure::halves::tests::{Side, shake_hands};
use crate::secure::{End, Who};
use crate::sync::set_wall_clock;

/// Who the server takes the client for, if it lets it in.
fn let_in(client: &Security, server: &Security) -> Option<PeerIdentity> {
    let channels = [client.connect("server.example"), server.accept()];
    let mut sides = channels.map(|channel| Side::new(channel.unwrap()));
    match shake_hands(&mut sides) {
        None => sides[1].channel.who().identity(),
        Some(End::Broken(_)) => None,
        other => panic!("{other:?}"),
    }
}

fn named(name: &str) -> Option<PeerIdentity> {
    Some(PeerIdentity::Named(name.into()))
}

/// A server's key, and the invite of a client.
fn invited(folder: &Folder, name: &str) -> (Security, PathBuf) {
    let [server, peers] = ["server.key", "peers"].map(|name| folder.path(name));
    let identity =
        if server.exists() { Identity::from_file(&server) } else { Identity::create(&server) };
    let (identity, invite) = (identity.unwrap(), folder.path("invite"));
    let _ = fs::remove_file(&invite);
    identity.invite(name, &peers, &invite).unwrap();
    (Security::keys(identity, Trust::peers_file(&peers).unwrap()), invite)
}

#[test]
fn a_client_has_what_is_in_its_files_when_it_begins_an_attempt() {
    let folder = Folder::new();
    let (_, invite) = invited(&folder, "alice");
    let client = Security::invite(&invite).unwrap();
    let (server, _) = invited(&folder, "bob");
    // Not before.
    assert_eq!(let_in(&client, &server), named("alice"));
    assert_eq!(client.read_again(), Ok(()));
    assert_eq!(let_in(&client, &server), named("bob"));
    assert_eq!(client.clone().read_again(), Ok(()));
}

#[test]
fn a_file_that_is_not_in_order_changes_nothing_and_is_complained_of_once() {
    let folder = Folder::new();
    let (server, invite) = invited(&folder, "alice");
    let client = Security::invite(&invite).unwrap();
    let good = fs::read(&invite).unwrap();
    for (bad, what) in [("", "it is no invite"), ("server", "line 1 is not understood")] {
        fs::write(&invite, bad).unwrap();
        let complaint = client.read_again().unwrap_err();
        assert!(complaint.contains(what), "{complaint}");
        assert_eq!(client.read_again(), Ok(()), "it is known");
        assert_eq!(let_in(&client, &server), named("alice"));
    }
    fs::remove_file(&invite).unwrap();
    assert!(client.read_again().unwrap_err().contains("No such file"));
    assert_eq!(client.read_again(), Ok(()));
    let open = folder.write("invite", &good);
    fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert!(client.read_again().unwrap_err().contains("others may read it"));
    folder.write("invite", good);
    assert_eq!(client.read_again(), Ok(()));
    assert_eq!(let_in(&client, &server), named("alice"));
}

#[test]
fn what_was_mended_counts_again() {
    let folder = Folder::new();
    let own = folder.path("alice.key");
    let alice = Identity::create(&own).unwrap();
    let trusts = folder.write("servers", "");
    let client = Security::keys(alice.clone(), Trust::peers_file(&trusts).unwrap());
    let identity = Identity::create(folder.path("server.key")).unwrap();
    let server = Security::keys(identity.clone(), Trust::fingerprint(alice.fingerprint()));
    assert_eq!(let_in(&client, &server), None);
    folder.write("servers", format!("server {}", identity.fingerprint()));
    assert_eq!(client.read_again(), Ok(()));
    assert_eq!(let_in(&client, &server), Some(PeerIdentity::Key(alice.fingerprint())));
    // A new key of its own.
    fs::remove_file(&own).unwrap();
    Identity::create(&own).unwrap();
    assert_eq!(client.read_again(), Ok(()));
    assert_eq!(let_in(&client, &server), None);
}

/// One that is a client, too, does not let in others by that.
#[test]
fn a_listener_goes_by_what_was_read_first() {
    let folder = Folder::new();
    let (server, invite) = invited(&folder, "alice");
    let client = Security::invite(&invite).unwrap();
    fs::write(folder.path("peers"), "").unwrap();
    assert_eq!(server.read_again(), Ok(()));
    assert_eq!(let_in(&client, &server), named("alice"));
}

/// The files of a server and a client whom one CA certifies.
struct Certified(Folder);

impl Certified {
    fn new() -> Certified {
        // 2026-11-30.
        set_wall_clock(UNIX_EPOCH + Duration::from_secs(1_796_000_000));
        let certified = Certified(Folder::new());
        let ca = about_ca("CA").self_signed(&Key::new(9)).unwrap().pem();
        certified.0.write("ca", ca);
        certified.issue("server", "server.example", 2);
        certified.issue("client", "alice", 1);
        certified
    }

    fn issue(&self, file: &str, name: &str, seed: u8) {
        let certificate =
            about(&[dns(name)]).signed_by(&Key::new(seed), &authority("CA", 9)).unwrap();
        self.0.write(file, certificate.pem());
        self.0.write(&format!("{file}.key"), Key::new(seed).pem());
    }

    fn trust(&self) -> Trust {
        Trust::ca_file(self.0.path("ca")).unwrap()
    }

    fn of(&self, file: &str) -> Security {
        let [chain, key] = [file.into(), format!("{file}.key")].map(|name| self.0.path(&name));
        Security::certificates(chain, key, self.trust()).unwrap()
    }
}

fn certified(name: &str) -> Option<PeerIdentity> {
    Some(PeerIdentity::Certified(name.into()))
}

#[test]
fn a_renewed_certificate_is_shown_from_the_next_attempt_on() {
    let files = Certified::new();
    let (client, server) = (files.of("client"), files.of("server"));
    let before = client.fingerprint();
    assert_eq!(let_in(&client, &server), certified("alice"));
    // Its files are not written at once.
    files.0.write("client.key", Key::new(3).pem());
    let complaint = client.read_again().unwrap_err();
    assert!(complaint.contains("it is not the key of the first certificate"), "{complaint}");
    assert_eq!(let_in(&client, &server), certified("alice"));
    files.issue("client", "bob", 3);
    assert_eq!(client.read_again(), Ok(()));
    assert_eq!(let_in(&client, &server), certified("bob"));
    assert_ne!(client.fingerprint(), before);
}

#[test]
fn a_client_does_not_show_what_has_expired_and_shows_a_later_one_when_it_is_there() {
    let files = Certified::new();
    let mut about = about(&[dns("alice")]);
    about.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let expired = about.signed_by(&Key::new(1), &authority("CA", 9)).unwrap().pem();
    files.0.write("client", expired);
    let (client, server) = (files.of("client"), files.of("server"));
    let Err(Failure::Tls(what)) = client.connect("server.example").map(drop) else { panic!() };
    let path = files.0.path("client");
    let expected = format!(
        "{}: this side's certificate expired 2021-01-01 (the clock here says 2026-11-30)",
        path.display()
    );
    assert_eq!(&*what, expected);
    files.issue("client", "alice", 1);
    assert_eq!(client.read_again(), Ok(()));
    assert_eq!(let_in(&client, &server), certified("alice"));
}

#[test]
fn each_security_is_for_those_whom_it_suits() {
    let files = Certified::new();
    let [chain, key] = ["server", "server.key"].map(|name| files.0.path(name));
    let identity = Identity::create(files.0.path("key")).unwrap();
    let fingerprint = Trust::fingerprint(identity.fingerprint());
    let check = |security: &Security| {
        [security.check_client(false), security.check_listener()]
            .map(|checked| checked.err().map(|e| e.to_string()))
    };
    assert_eq!(check(&files.of("server")), [None, None]);
    assert_eq!(check(&Security::keys(identity.clone(), fingerprint.clone())), [None, None]);
    let [client, listener] = check(&Security::anonymous_client(files.trust()).unwrap());
    assert!(client.is_none() && listener.unwrap().contains("is for a client only"));
    let [client, listener] = check(&Security::open_server(&chain, &key).unwrap());
    assert!(client.unwrap().contains("for a listener only") && listener.is_none());
    // Keys and authorities are not mixed.
    for trust in [files.trust(), files.trust().or(fingerprint.clone())] {
        for why in check(&Security::keys(identity.clone(), trust)) {
            assert!(why.unwrap().contains("with keys, peers are trusted by their keys"));
        }
    }
    for trust in [fingerprint.clone(), files.trust().or(fingerprint)] {
        for refused in
            [Security::certificates(&chain, &key, trust.clone()), Security::anonymous_client(trust)]
        {
            assert!(text(refused).contains("with certificates, peers are trusted by a CA"));
        }
    }
}

#[test]
fn those_that_show_nothing_meet_on_purpose_only() {
    let files = Certified::new();
    let [chain, key] = ["server", "server.key"].map(|name| files.0.path(name));
    let open = Security::open_server(chain, key).unwrap();
    let nobody = Security::anonymous_client(files.trust()).unwrap();
    let met = |client: &Security, server: &Security| {
        let channels = [client.connect("server.example"), server.accept()];
        let mut sides = channels.map(|channel| Side::new(channel.unwrap()));
        let end = shake_hands(&mut sides);
        (end, sides.map(|side| side.channel.who()))
    };
    for client in [&nobody, &files.of("client")] {
        let (end, [server_is, client_is]) = met(client, &open);
        assert_eq!((end, client_is), (None, Who::Anonymous));
        assert_eq!(server_is.identity(), certified("server.example"));
    }
    assert!(matches!(met(&nobody, &files.of("server")).0, Some(End::Broken(_))));
    assert_eq!((nobody.fingerprint(), nobody.takes_text()), (None, true));
}

/// The system's roots are the certificates of the web's authorities; none of them has signed
/// what these tests show.
#[cfg(feature = "system-roots")]
#[test]
fn the_roots_of_the_system_are_for_clients() {
    let Ok(trust) = Trust::system_roots() else { return };
    let files = Certified::new();
    let client = Security::anonymous_client(trust.clone()).unwrap();
    assert!(client.check_client(false).is_ok());
    let channels = [client.connect("server.example"), files.of("server").accept()];
    let mut sides = channels.map(|channel| Side::new(channel.unwrap()));
    let end = shake_hands(&mut sides);
    let Some(End::Broken(Failure::Tls(what))) = end else { panic!("{end:?}") };
    assert_eq!(&*what, "the server's certificate is not signed by a CA that is trusted here");
    let [chain, key] = ["server", "server.key"].map(|name| files.0.path(name));
    let server = Security::certificates(chain, key, trust).unwrap();
    let why = server.check_listener().unwrap_err().to_string();
    assert!(why.contains("trust a CA file"), "{why}");
}

/// Such as a moment without descriptors.
#[test]
fn what_goes_wrong_for_a_moment_is_tried_again() {
    let folder = Folder::new();
    let (_, invite) = invited(&folder, "alice");
    let make = {
        let invite = invite.clone();
        move || read_invite(&invite).map(|(identity, servers)| keys(&identity, &servers))
    };
    let (first, failures) = (make().unwrap(), Mutex::new(2));
    let again = move || {
        let mut left = failures.lock();
        match *left {
            0 => make(),
            _ => {
                *left -= 1;
                Err(Error::Config("for a moment".into()))
            }
        }
    };
    let client = FromFiles::security(first, vec![(invite.clone(), Holds::Key)], again);
    let (server, _) = invited(&folder, "bob");
    assert_eq!(client.read_again(), Err("invalid configuration: for a moment".into()));
    assert_eq!(client.read_again(), Ok(()), "it is known");
    assert_eq!(client.read_again(), Ok(()));
    assert_eq!(let_in(&client, &server), named("bob"));
}
