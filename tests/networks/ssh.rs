//! A session of ssh through the two programs while something happens to the path. Beside it goes
//! the same session without them: it shows that something did.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::network::{self, CLIENT, CLIENT_MOVED, Network, Path};
use crate::openssh::{Counter, OpenSsh};
use crate::process::{Process, Stdout};
use crate::stage::{self, CLIENT_NOTICES, FAST, REGAINED, SLACK, Site, ms, now, pass};
use crate::tools::command;

/// How long a cable is out.
const OUTAGE: Duration = ms(8000);

/// The kernel sends again after 0.2, 0.6, 1.4, 3, 6.2 seconds: whoever has got nothing by now gets
/// nothing through.
const STUCK: Duration = ms(8000);

/// Numbers of the counter, which take half a second at least.
const SOME: usize = 25;

struct Sessions {
    tunnelled: Counter,
    bare: Counter,
    _server: Process,
    _sshd: Process,
    files: OpenSsh,
    network: Site,
}

impl Sessions {
    /// `None` after the reason was printed.
    fn new(name: &str) -> Option<Sessions> {
        let (network, files) = (stage::network()?, OpenSsh::new(name)?);
        let at = |port| SocketAddr::new(network::SERVER.parse().unwrap(), port);
        let (sshd_addr, server_addr) = (at(22), at(6666));
        let sshd = sshd(&network, &files.sshd_config(sshd_addr));
        let (bind, to) = (server_addr.to_string(), sshd_addr.to_string());
        let server = network.serve(&["--bind", &bind, "--to", &to, "--misses", "2"]);
        server.says("listening on ");
        let args = [&["--stdio", "--verbose", network::SERVER], &FAST[..]].concat();
        let client = network.call_in_shell(&args);
        let session = |config: &str| {
            // It ends with the test, however that ends.
            let ssh = network.client.command(&["setpriv", "--pdeathsig", "KILL", "ssh"]);
            Counter::start_by(ssh, config)
        };
        Some(Sessions {
            tunnelled: session(&files.config(server_addr, Some(&client))),
            bare: session(&files.config(sshd_addr, None)),
            _server: server,
            _sshd: sshd,
            files,
            network,
        })
    }

    /// The client notices in time what began at this time, and somebody types then.
    #[track_caller]
    fn notices(&mut self, begun: Instant) {
        let how = self.tunnelled.ssh.says("lost: ");
        let noticed = begun.elapsed();
        eprintln!("noticed after {noticed:.1?}: {how}");
        assert!(noticed <= CLIENT_NOTICES + SLACK, "noticed after {noticed:?}");
        self.tunnelled.types();
    }

    /// The path lets new connections through since then.
    #[track_caller]
    fn regains(&self, since: Instant) {
        self.tunnelled.ssh.says("resumed, ");
        self.tunnelled.goes_on(5);
        let regained = since.elapsed();
        eprintln!("regained after {regained:.1?}");
        assert!(regained <= REGAINED + SLACK, "regained after {regained:?}");
    }
}

/// An sshd on the server's host. Nothing outlives it, not even a session that is stuck: it is the
/// first process of a namespace.
fn sshd(network: &Network, config: &str) -> Process {
    let program = command("sshd").get_program().to_string_lossy().into_owned();
    let setpriv = ["setpriv", "--pdeathsig", "KILL"];
    let unshare = ["unshare", "--pid", "--fork", "--kill-child", &program];
    let command = network.server.command(&[&setpriv[..], &unshare].concat());
    let args = ["-D", "-e", "-f", config];
    let sshd = Process::start_by(command, "sshd", &args, Stdout::Read);
    sshd.says("listening on ");
    sshd
}

/// What happens leaves the connection that there is without its path for good.
fn only_the_tunnelled_session_goes_on(name: &str, happens: impl FnOnce(&Network)) {
    let Some(mut sessions) = Sessions::new(name) else { return };
    let begun = now();
    happens(&sessions.network);
    sessions.notices(begun);
    sessions.regains(begun + CLIENT_NOTICES);
    let before = sessions.bare.ssh.out.text();
    sessions.bare.types();
    while begun.elapsed() < STUCK {
        sessions.tunnelled.goes_on(SOME);
    }
    assert!(sessions.bare.ssh.out.text() == before, "the session without us goes on");
    sessions.tunnelled.ends_well(&sessions.files);
}

#[test]
#[ignore = "makes networks"]
fn ssh_goes_on_from_another_address() {
    only_the_tunnelled_session_goes_on("ssh-moved", |network| {
        network.move_client(CLIENT, CLIENT_MOVED);
    });
}

#[test]
#[ignore = "makes networks"]
fn ssh_goes_on_when_the_nat_forgot_and_says_nothing() {
    only_the_tunnelled_session_goes_on("ssh-nat", |network| {
        network.set(Path::CUT);
        network.forget();
        network.set(Path::OPEN);
    });
}

/// The kernel gets over that, too: it sends again what was not acknowledged, after up to twice
/// the outage.
#[test]
#[ignore = "makes networks"]
fn ssh_goes_on_after_a_pulled_cable() {
    let Some(mut sessions) = Sessions::new("ssh-cable") else { return };
    let begun = now();
    sessions.network.set(Path::CUT);
    sessions.notices(begun);
    let before = sessions.bare.ssh.out.text();
    pass(OUTAGE.saturating_sub(begun.elapsed()));
    assert!(sessions.bare.ssh.out.text() == before, "the cable was not out");
    sessions.network.set(Path::OPEN);
    sessions.regains(now());
    sessions.tunnelled.goes_on(SOME);
    sessions.tunnelled.ends_well(&sessions.files);
}
