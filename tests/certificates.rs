//! Certificates over sockets, and openssl as the other program.
#![cfg(feature = "cli")]

#[path = "support/authority.rs"]
mod authority;
#[path = "support/port.rs"]
mod port;
#[path = "support/process.rs"]
#[allow(dead_code, reason = "of use to other tests")]
mod process;
#[path = "support/proxy.rs"]
#[allow(unreachable_pub)]
mod proxy;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use authority::{Key, about, about_ca, authority, dns, lasting};
use longlink::{
    Builder, Cause, Connection, Error, Event, Listener, PeerIdentity, Plain, Rejection,
    RetryPolicy, Security, Trust,
};
use process::{Process, Stdout};
use proxy::{How, Proxy};
use rcgen::{Issuer, SanType};

/// The patience of these tests.
const SOON: Duration = Duration::from_secs(30);

/// The files of a CA, and of those whom it certifies. They go with this.
struct Files {
    folder: PathBuf,
    ca: Issuer<'static, Key>,
    issued: AtomicU8,
}

const CA: u8 = 0;

impl Files {
    fn new() -> Files {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("certificates-{}-{number}", std::process::id());
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir(&folder).unwrap();
        let ca = lasting(about_ca("CA")).self_signed(&Key::new(CA)).unwrap().pem();
        let files = Files { folder, ca: authority("CA", CA), issued: AtomicU8::new(CA) };
        files.write("ca.pem", &ca);
        files.issue("server", dns("localhost"));
        files.issue("alice", dns("alice.example"));
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        // Whoever reads it meanwhile has the old one or the new one.
        let new = self.path("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    /// A new key, and a certificate for it, in one file.
    fn issue(&self, file: &str, name: SanType) {
        let key = Key::new(self.issued.fetch_add(1, Ordering::Relaxed) + 1);
        let certificate = lasting(about(&[name])).signed_by(&key, &self.ca).unwrap().pem();
        self.write(&format!("{file}.pem"), &(certificate + &key.pem()));
    }

    fn trust(&self) -> Trust {
        Trust::ca_file(self.path("ca.pem")).unwrap()
    }

    fn of(&self, name: &str) -> Security {
        let file = self.path(&format!("{name}.pem"));
        Security::certificates(&file, &file, self.trust()).unwrap()
    }

    /// Starts a client of openssl. `None`: it is not installed.
    fn s_client(&self, port: u16, args: &[&str]) -> Option<Process> {
        openssl()?;
        let connect = format!("127.0.0.1:{port}");
        let ca = self.path("ca.pem");
        let mut all = vec!["s_client", "-connect", &connect, "-CAfile", ca.to_str().unwrap()];
        all.extend(["-verify_return_error", "-verify_hostname", "localhost", "-quiet"]);
        all.extend(args);
        Some(Process::start("openssl", &all, Stdout::Read))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn openssl() -> Option<()> {
    let found = Command::new("openssl").arg("version").output();
    if found.is_err() {
        eprintln!("skipped: openssl is not installed");
    }
    found.ok().map(drop)
}

fn secured(security: Security) -> Builder {
    Connection::builder().security(security)
}

fn quick() -> RetryPolicy {
    RetryPolicy::fixed(Duration::from_millis(20), 200)
}

/// Connections that are answered with what they say. Tells who each of them is.
fn echo(listener: Listener) -> Receiver<Option<PeerIdentity>> {
    let (tell, told) = channel();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let _ = tell.send(connection.peer_identity());
            thread::spawn(move || {
                while let Ok(Some(message)) = connection.recv() {
                    if connection.send_bytes(message).is_err() {
                        return;
                    }
                }
            });
        }
    });
    told
}

fn certified(name: &str) -> Option<PeerIdentity> {
    Some(PeerIdentity::Certified(name.into()))
}

/// The session goes on, whatever the key is by then.
#[test]
fn a_client_with_a_renewed_certificate_is_who_it_was() {
    let files = Files::new();
    let listener = secured(files.of("server")).bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::to(listener.local_addr());
    let (tell, told) = channel();
    let client = secured(files.of("alice")).retry(quick()).on_event(move |_, event| {
        let _ = tell.send(event);
    });
    let client = client.connect(("localhost", proxy.addr().port())).unwrap();
    let server = listener.accept().unwrap();
    assert_eq!(server.peer_identity(), certified("alice.example"));
    assert_eq!(client.peer_identity(), certified("localhost"));
    client.send("before").unwrap();
    assert_eq!(server.recv().unwrap().unwrap(), "before");
    files.issue("alice", dns("alice.example"));
    proxy.cut(How::Rst);
    let resumed = |event: &Event| matches!(event, Event::Resumed { .. });
    while !resumed(&told.recv_timeout(SOON).unwrap()) {}
    client.send("after").unwrap();
    assert_eq!(server.recv_timeout(SOON).unwrap().unwrap(), "after");
    // A file that is not in order changes nothing.
    fs::write(files.path("alice.pem"), "no certificate").unwrap();
    proxy.cut(How::Rst);
    while !resumed(&told.recv_timeout(SOON).unwrap()) {}
    server.send("fine").unwrap();
    assert_eq!(client.recv_timeout(SOON).unwrap().unwrap(), "fine");
}

#[test]
fn names_and_addresses_are_those_of_the_certificate() {
    let files = Files::new();
    let listener = secured(files.of("server")).bind("127.0.0.1:0").unwrap();
    let never = || secured(files.of("alice")).retry(RetryPolicy::never());
    let Err(Error::GaveUp { cause: Cause::Tls(what), .. }) = never().connect(listener.local_addr())
    else {
        panic!("it is for a name");
    };
    assert_eq!(&*what, "the server's certificate is for localhost, not for 127.0.0.1");
    files.issue("server", SanType::IpAddress([127, 0, 0, 1].into()));
    let listener = secured(files.of("server")).bind("127.0.0.1:0").unwrap();
    let client = never().connect(listener.local_addr()).unwrap();
    assert_eq!(client.peer_identity(), certified("127.0.0.1"));
}

#[test]
fn what_does_not_suit_is_refused_before_anything_is_bound_or_dialed() {
    let files = Files::new();
    let server = files.path("server.pem");
    let client = Security::anonymous_client(files.trust()).unwrap();
    let Err(Error::Config(why)) = secured(client).bind("127.0.0.1:0") else { panic!() };
    assert_eq!(why, "a security that shows nothing is for a client only");
    let open = Security::open_server(&server, &server).unwrap();
    let Err(Error::Config(why)) = secured(open).connect("127.0.0.1:1") else { panic!() };
    assert!(why.ends_with("so it is for a listener only"), "{why}");
}

#[test]
fn openssl_speaks_text_with_its_key() {
    let files = Files::new();
    let listener = secured(files.of("server")).bind("127.0.0.1:0").unwrap();
    let (port, told) = (listener.local_addr().port(), echo(listener));
    let alice = files.path("alice.pem");
    let alice = alice.to_str().unwrap();
    for alpn in [&[][..], &["-alpn", "longlink/1"]] {
        let args = [&["-cert", alice, "-key", alice][..], alpn].concat();
        let Some(mut client) = files.s_client(port, &args) else { return };
        client.send("hello\n");
        client.prints("hello");
        assert_eq!(told.recv_timeout(SOON).unwrap(), certified("alice.example"));
    }
}

#[test]
fn openssl_is_refused_without_a_key_with_an_old_version_or_for_another_protocol() {
    let files = Files::new();
    let listener = secured(files.of("server")).bind("127.0.0.1:0").unwrap();
    let (port, told) = (listener.local_addr().port(), echo(listener));
    let alice = files.path("alice.pem");
    let alice = alice.to_str().unwrap();
    let own = ["-cert", alice, "-key", alice];
    for (args, alert) in [
        (vec![], "certificate required"),
        ([&own[..], &["-tls1_2"]].concat(), "protocol version"),
        ([&own[..], &["-alpn", "h2"]].concat(), "no application protocol"),
    ] {
        let Some(mut client) = files.s_client(port, &args) else { return };
        client.send("hello\n");
        client.says(alert);
        assert_ne!(client.ends(), 0, "{args:?}");
    }
    assert!(told.try_recv().is_err(), "somebody was let in");
}

#[test]
fn an_open_server_takes_openssl_as_it_comes() {
    let files = Files::new();
    let server = files.path("server.pem");
    let open = Security::open_server(&server, &server).unwrap();
    let listener = secured(open).bind("127.0.0.1:0").unwrap();
    let (port, told) = (listener.local_addr().port(), echo(listener));
    let Some(mut client) = files.s_client(port, &[]) else { return };
    client.send("hello\n");
    client.prints("hello");
    assert_eq!(told.recv_timeout(SOON).unwrap(), None);
    let client = Security::anonymous_client(files.trust()).unwrap();
    let client = secured(client).connect(("localhost", port)).unwrap();
    client.send("in frames").unwrap();
    assert_eq!(client.recv_timeout(SOON).unwrap().unwrap(), "in frames");
}

/// It answers each line with its letters in reverse order.
#[test]
fn a_client_of_plain_text_speaks_to_openssl_and_frames_do_not() {
    if openssl().is_none() {
        return;
    }
    let files = Files::new();
    let server = files.path("server.pem");
    let server = server.to_str().unwrap();
    let args = ["s_server", "-accept", "127.0.0.1:0", "-cert", server, "-key", server, "-rev"];
    let process = Process::start("openssl", &args, Stdout::Read);
    let port: u16 = process.prints("ACCEPT").rsplit(':').next().unwrap().parse().unwrap();
    let client = || {
        let client = Security::anonymous_client(files.trust()).unwrap();
        secured(client).retry(RetryPolicy::never())
    };
    let host = ("localhost", port);
    let Err(Error::GaveUp { cause: Cause::Protocol(what), .. }) = client().connect(host) else {
        panic!("it speaks no longlink");
    };
    assert_eq!(what, "the peer does not say that it speaks longlink/1");
    let plain = client().plain(Plain::new()).connect(host).unwrap();
    plain.send("hello").unwrap();
    assert_eq!(plain.recv_timeout(SOON).unwrap().unwrap(), "olleh\n");
}

/// A client whose name is taken out of the file is told so, and goes; another stays.
#[test]
fn a_reload_ends_who_is_not_among_the_names_any_more() {
    let files = Files::new();
    files.issue("bob", dns("bob"));
    let file = files.path("server.pem");
    let named = |names: &str| {
        files.write("names", names);
        let trust = files.trust().client_names(files.path("names")).unwrap();
        Security::certificates(&file, &file, trust).unwrap()
    };
    let listener = secured(named("alice.example\nbob")).bind("127.0.0.1:0").unwrap();
    let host = ("localhost", listener.local_addr().port());
    let connect = |name| secured(files.of(name)).retry(quick()).connect(host).unwrap();
    let (alice, bob) = (connect("alice"), connect("bob"));
    let servers = [listener.accept().unwrap(), listener.accept().unwrap()];
    let Err(Error::Config(_)) = listener.reload(Security::anonymous_client(files.trust()).unwrap())
    else {
        panic!("that is for a client");
    };
    listener.reload(named("bob")).unwrap();
    let Err(Error::GaveUp { cause, .. }) = alice.recv_timeout(SOON) else { panic!("she stays") };
    assert!(matches!(cause, Cause::Rejected(Rejection::Untrusted)), "{cause}");
    bob.send("still here").unwrap();
    let of =
        |name| servers.iter().find(|server| server.peer_identity() == certified(name)).unwrap();
    assert_eq!(of("bob").recv_timeout(SOON).unwrap().unwrap(), "still here");
    let ended = of("alice.example").recv_timeout(SOON);
    assert!(matches!(ended, Err(Error::GaveUp { cause: Cause::Revoked, .. })), "{ended:?}");
}
