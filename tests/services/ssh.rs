//! OpenSSH: a session in which a command runs, and files that are copied.

use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;

use crate::SOON;
use crate::folder::{Folder, bulk, noise};
use crate::port::Reserved;
use crate::process::Process;
use crate::proxy::{How, Stats};
use crate::service::{Service, has, is_root, reads, run, start, start_on, writes};
use crate::way::{Way, bulk_pace, judge};

const TOOLS: [&str; 5] = ["setpriv", "sshd", "ssh", "scp", "ssh-keygen"];

/// sshd wants this one as root, on systems that have not started it so far.
const PRIVILEGE_SEPARATION: &str = "/run/sshd";

/// Where ssh has no program between, `ProxyCommand` has this meaning.
const NONE: &str = "none";

pub(crate) struct Sshd {
    service: Service,
    pub(crate) folder: Folder,
}

impl Sshd {
    /// `None` after what is missing was printed.
    pub(crate) fn start(name: &str) -> Option<Sshd> {
        has(&TOOLS).then(|| {
            let folder = Folder::new(name);
            for key in ["host", "key"] {
                let file = folder.file(key);
                run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &file]);
            }
            if is_root() {
                fs::create_dir_all(PRIVILEGE_SEPARATION).unwrap();
            }
            let reserved = Reserved::new();
            let text = format!(
                "ListenAddress {}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
                 StrictModes no\nUsePAM no\nPasswordAuthentication no\n\
                 PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n\
                 SetEnv HOME={}\n",
                reserved.addr(),
                folder.file("host"),
                folder.file("key.pub"),
                // What a shell reads in the home of a user may print something.
                folder.make("home"),
            );
            let config = folder.write("sshd_config", text);
            let service = Service::start("sshd", &["-D", "-e", "-f", &config], reserved, "TERM");
            Sshd { service, folder }
        })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.service.addr()
    }

    /// A configuration of ssh in which `service` is this one, by this way.
    pub(crate) fn config(&self, way: &Way) -> String {
        let text = format!(
            "Host service\nHostName {}\nPort {}\nProxyCommand {}\nUser {}\nIdentityFile {}\n\
             IdentitiesOnly yes\nBatchMode yes\nUserKnownHostsFile {}\nHostKeyAlias service\n\
             StrictHostKeyChecking accept-new\nServerAliveInterval 0\n",
            way.host(),
            way.port(),
            way.command().unwrap_or(NONE),
            run("id", &["-un"]).trim_end(),
            self.folder.file("key"),
            self.folder.file("known"),
        );
        self.folder.write(&format!("config-{}", way.port()), text)
    }
}

/// Prints a counter until there is a file, then the lines that were typed. It stays until it is
/// told to go: of what a command prints last, a terminal may lose a part.
const COUNTER: &str = "stty -echo; while [ ! -e ~/stop ]; do n=$((n+1)); echo \"<$n>\"; \
                       sleep 0.02; done; echo \"stop after $n\"; \
                       for cut in $(seq 20); do read word; echo \"$word\"; done; read word";
const CUTS: usize = 20;

fn count(sshd: &Sshd, way: &Way) -> Process {
    let args = ["-F", &sshd.config(way), "-tt", "service", COUNTER];
    let session = start_on("ssh", &args, [Stdio::piped(), Stdio::piped()]);
    session.prints("<1>");
    session
}

/// The last number that was printed.
fn printed(session: &Process) -> usize {
    session.out.count("<")
}

fn runs_through_twenty_cuts(sshd: &Sshd, way: &Way) {
    let mut session = count(sshd, way);
    for cut in 1..=CUTS {
        let how = if cut % 2 == 0 { How::Fin } else { How::Rst };
        assert_eq!(way.proxy().cut(how), 1);
        session.send(format!("word {cut}\n"));
        let back = |stats: &Stats| stats.accepted > cut && stats.live == 1;
        assert!(way.proxy().wait_for(back, SOON));
        // What the old link had brought is there, or nearly.
        session.prints(&format!("<{}>", printed(&session) + 5));
    }
    sshd.folder.write("home/stop", "");
    let last = session.prints("stop after ");
    session.prints(&format!("word {CUTS}"));
    session.send("go\n");
    assert_eq!(session.ends(), 0);
    let count = last.trim_end().rsplit(' ').next().and_then(|n| n.parse().ok());
    let count: usize = count.unwrap_or_else(|| panic!("{last:?}"));
    let counted = (1..=count).map(|n| format!("<{n}>\r\n"));
    let typed = (1..=CUTS).map(|n| format!("word {n}\r\n"));
    let all = counted.chain([format!("stop after {count}\r\n")]).chain(typed);
    assert!(session.out.text() == all.collect::<String>(), "not each line once, and in order");
    assert_eq!(way.proxy().stats().accepted, CUTS + 1);
}

#[test]
#[ignore = "needs sshd; the gate runs it"]
fn a_command_runs_through_twenty_cuts() {
    let Some(sshd) = Sshd::start("ssh-cuts") else { return };
    runs_through_twenty_cuts(&sshd, &Way::stdio(sshd.addr()));
}

#[test]
#[ignore = "needs sshd; the gate runs it"]
fn a_command_runs_through_twenty_cuts_over_tls() {
    let Some(sshd) = Sshd::start("ssh-tls") else { return };
    runs_through_twenty_cuts(&sshd, &Way::secured_stdio(sshd.addr(), &sshd.folder));
}

#[test]
#[ignore = "needs sshd; the gate runs it"]
fn a_command_ends_at_the_first_cut_without_us() {
    let Some(sshd) = Sshd::start("ssh-bare") else { return };
    let way = Way::bare(sshd.addr());
    let mut session = count(&sshd, &way);
    assert_eq!(way.proxy().cut(How::Rst), 1);
    assert_eq!(session.ends(), 255);
}

/// What a command wrote, what it said on its other output, and its exit code.
#[test]
#[ignore = "needs sshd; the gate runs it"]
fn what_a_command_comes_to_is_known() {
    let Some(sshd) = Sshd::start("ssh-code") else { return };
    let ways = [Way::direct(sshd.addr()), Way::stdio(sshd.addr())];
    let verdicts = ways.each_ref().map(|way| {
        let config = sshd.config(way);
        let command = "echo out; echo err >&2; exit 7";
        let mut ssh = start("ssh", &["-q", "-F", &config, "service", command]);
        (ssh.ends(), ssh.out.text(), ssh.err.text())
    });
    assert_eq!(verdicts[0], (7, "out\n".into(), "err\n".into()));
    assert_eq!(verdicts[1], verdicts[0]);
}

/// Runs what copies, and returns whether the copy is the original.
fn copies(mut process: Process, copy: &str, original: &[u8]) -> Option<bool> {
    let code = process.ends_within(10 * SOON);
    let same = fs::read(copy).is_ok_and(|copy| copy == original);
    (code == 0).then_some(same)
}

#[test]
#[ignore = "needs sshd; the gate runs it"]
fn a_pipe_carries_bytes_up() {
    let Some(sshd) = Sshd::start("ssh-up") else { return };
    let bytes = noise(1, bulk());
    let (from, to) = (sshd.folder.write("from", &bytes), sshd.folder.file("to"));
    judge(sshd.addr(), Way::stdio, bulk_pace(), |way| {
        let (config, command) = (sshd.config(way), format!("cat > {to}"));
        let args = ["-F", &config, "service", &command];
        let out = Stdio::piped();
        copies(start_on("ssh", &args, [reads(&from), out]), &to, &bytes)
    });
}

#[test]
#[ignore = "needs sshd; the gate runs it"]
fn a_pipe_carries_bytes_down_over_tls() {
    let Some(sshd) = Sshd::start("ssh-down") else { return };
    let bytes = noise(2, bulk());
    let (from, to) = (sshd.folder.write("from", &bytes), sshd.folder.file("to"));
    judge(
        sshd.addr(),
        |service| Way::secured_stdio(service, &sshd.folder),
        bulk_pace(),
        |way| {
            let (config, command) = (sshd.config(way), format!("cat {from}"));
            let args = ["-F", &config, "service", &command];
            let input = Stdio::null();
            copies(start_on("ssh", &args, [input, writes(&to)]), &to, &bytes)
        },
    );
}

#[test]
#[ignore = "needs sshd; the gate runs it"]
fn scp_copies_both_ways() {
    let Some(sshd) = Sshd::start("scp") else { return };
    let bytes = noise(3, bulk());
    let (from, to) = (sshd.folder.write("from", &bytes), sshd.folder.file("to"));
    let back = sshd.folder.file("back");
    judge(sshd.addr(), Way::stdio, bulk_pace(), |way| {
        let (config, far) = (sshd.config(way), format!("service:{to}"));
        let scp = |from: &str, to: &str| start("scp", &["-q", "-F", &config, from, to]);
        let there = copies(scp(&from, &far), &to, &bytes)?;
        let back = copies(scp(&far, &back), &back, &bytes)?;
        Some(there && back)
    });
}
