//! A listener goes by other keys while its clients talk: trap 27.

use std::fs;
use std::path::PathBuf;

use longlink::{Builder, Cause, Connection, Error, Identity, Rejection, Security, Trust};

use crate::SOON;
use crate::proxy::{How, Proxy};
use crate::rig::{Log, Side, calm, connect, join};
use crate::wire::tls::Folder;

/// A server, the clients that it knows, and the files of all.
struct Company {
    folder: Folder,
    server: Identity,
}

impl Company {
    fn new() -> Company {
        let folder = Folder::new();
        let server = Identity::create(folder.file("server.key")).unwrap();
        Company { folder, server }
    }

    fn peers(&self) -> PathBuf {
        self.folder.file("peers")
    }

    /// A client gets one more key. Returns the file that has it.
    fn invite(&self, name: &str, file: &str) -> PathBuf {
        let file = self.folder.file(file);
        self.server.invite(name, self.peers(), &file).unwrap();
        file
    }

    /// Takes away the lines that this is true of.
    fn revoke(&self, revoked: impl Fn(&str) -> bool) {
        let peers = fs::read_to_string(self.peers()).unwrap();
        let left: Vec<_> = peers.lines().filter(|line| !revoked(line)).collect();
        assert!(left.len() < peers.lines().count(), "it is not there");
        fs::write(self.peers(), left.join("\n") + "\n").unwrap();
    }

    fn security(&self) -> Security {
        Security::keys(self.server.clone(), Trust::peers_file(self.peers()).unwrap())
    }
}

fn client(invite: &PathBuf) -> Builder {
    calm().security(Security::invite(invite).unwrap())
}

/// How a connection ends, when everything that had arrived is taken.
fn ending(side: &Side) -> Cause {
    loop {
        match side.recv_timeout(SOON) {
            Ok(Some(_)) => {}
            Err(Error::GaveUp { cause, .. }) => return cause,
            other => panic!("{other:?}"),
        }
    }
}

/// Sends numbers and hears each again, until `done`.
fn count(client: &Side, mut done: impl FnMut() -> bool) {
    let counted = (0u64..).find(|n| {
        client.send(n.to_be_bytes()).unwrap();
        client.takes(n.to_be_bytes());
        done()
    });
    assert!(counted.is_some());
}

fn echo(server: Connection) {
    while let Ok(Some(message)) = server.recv() {
        server.send(message).unwrap();
    }
}

/// Trap 27.
#[test]
fn clients_that_are_revoked_lose_their_sessions_and_others_notice_nothing() {
    let company = Company::new();
    let [live, away, other] = [("alice", "live"), ("alice", "away"), ("bob", "bob")]
        .map(|(name, file)| company.invite(name, file));
    let listener = calm().security(company.security()).bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::to(listener.local_addr());
    let pair = |invite: &PathBuf, addr| {
        let client = connect(client(invite), addr);
        let server = Side::new(listener.accept().unwrap(), Log::new("server"));
        client.send(b"warm").unwrap();
        server.takes(b"warm");
        (client, server)
    };
    let (live, of_live) = pair(&live, listener.local_addr());
    let (away, of_away) = pair(&away, proxy.addr());
    let (bob, of_bob) = pair(&other, listener.local_addr());
    let of_bob = of_bob.bare();
    let bobs = of_bob.clone();
    let echo = std::thread::spawn(move || echo(of_bob));
    proxy.refuse(true);
    proxy.cut(How::Rst);
    of_away.says("lost", 1);
    of_away.send(b"it waits").unwrap();

    company.revoke(|line| line.starts_with("alice "));
    let mut turns = 0;
    count(&bob, || {
        turns += 1;
        if turns == 50 {
            listener.reload(company.security()).unwrap();
            // Both have ended when that returns.
            for server in [&of_live, &of_away] {
                let error = server.send(b"too late").unwrap_err();
                assert!(matches!(error, Error::GaveUp { cause: Cause::Revoked, .. }), "{error:?}");
            }
        }
        turns == 100
    });
    assert!(matches!(ending(&of_live), Cause::Revoked));
    assert!(matches!(ending(&of_away), Cause::Revoked));
    proxy.refuse(false);
    for client in [&live, &away] {
        let cause = ending(client);
        assert!(matches!(cause, Cause::Rejected(Rejection::Untrusted)), "{cause}");
    }
    // Whoever comes now is refused, or let in.
    let company_of = |invite: &str| client(&company.folder.file(invite));
    assert!(company_of("live").connect(listener.local_addr()).is_err());
    let again = company_of("bob").connect(listener.local_addr()).unwrap();
    again.abort();
    count(&bob, || true);
    bob.close().unwrap();
    join(echo);
    assert_eq!((bob.stats().reconnects, bobs.stats().reconnects), (0, 0));
}

/// Trap 27: the invite is replaced while the client runs, and the old key is revoked afterwards.
#[test]
fn a_client_changes_its_key_and_keeps_its_session() {
    let company = Company::new();
    let [old, new] = ["old", "new"].map(|file| company.invite("alice", file));
    let first = fs::read_to_string(company.peers()).unwrap().lines().next().unwrap().to_string();
    let listener = calm().security(company.security()).bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::to(listener.local_addr());
    let client = connect(client(&old), proxy.addr());
    let server = Side::new(listener.accept().unwrap(), Log::new("server"));
    client.send(b"one").unwrap();
    server.takes(b"one");
    server.send(b"two").unwrap();
    client.takes(b"two");

    fs::rename(new, old).unwrap();
    proxy.cut(How::Rst);
    client.says("resumed", 1);
    server.says("resumed", 1);
    company.revoke(|line| line == first);
    listener.reload(company.security()).unwrap();
    client.send(b"three").unwrap();
    server.takes(b"three");
    assert_eq!((client.stats().reconnects, server.stats().reconnects), (1, 1));
    company.revoke(|line| line.starts_with("alice "));
    listener.reload(company.security()).unwrap();
    assert!(matches!(ending(&server), Cause::Revoked));
    let cause = ending(&client);
    assert!(matches!(cause, Cause::Rejected(Rejection::Untrusted)), "{cause}");
}
