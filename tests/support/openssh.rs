//! What OpenSSH is told in tests, and a session of it in which a command runs.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use crate::folder::Folder;
use crate::process::{Process, Stdout};
use crate::tools::{has, is_root, run};

const TOOLS: [&str; 5] = ["setpriv", "sshd", "ssh", "scp", "ssh-keygen"];

/// sshd wants this one as root, on systems that have not started it so far.
const PRIVILEGE_SEPARATION: &str = "/run/sshd";

/// Where ssh has no program between, `ProxyCommand` has this meaning.
const NONE: &str = "none";

/// The keys of sshd and of its user, and the configurations of both sides.
pub(crate) struct OpenSsh {
    pub(crate) folder: Folder,
}

impl OpenSsh {
    /// `None` after what is missing was printed.
    pub(crate) fn new(name: &str) -> Option<OpenSsh> {
        has(&TOOLS).then(|| {
            let folder = Folder::new(name);
            for key in ["host", "key"] {
                let file = folder.file(key);
                run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &file]);
            }
            if is_root() {
                fs::create_dir_all(PRIVILEGE_SEPARATION).unwrap();
            }
            OpenSsh { folder }
        })
    }

    /// A configuration of an sshd that listens at this address.
    pub(crate) fn sshd_config(&self, addr: SocketAddr) -> String {
        let text = format!(
            "ListenAddress {addr}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\nSetEnv HOME={}\n",
            self.folder.file("host"),
            self.folder.file("key.pub"),
            // What a shell reads in the home of a user may print something.
            self.folder.make("home"),
        );
        self.folder.write("sshd_config", text)
    }

    /// A configuration of ssh in which `service` is that sshd: at this address, or by this
    /// program, which leads to it from there.
    pub(crate) fn config(&self, addr: SocketAddr, program: Option<&str>) -> String {
        let text = format!(
            "Host service\nHostName {}\nPort {}\nProxyCommand {}\nUser {}\nIdentityFile {}\n\
             IdentitiesOnly yes\nBatchMode yes\nUserKnownHostsFile {}\nHostKeyAlias service\n\
             StrictHostKeyChecking accept-new\nServerAliveInterval 0\n",
            addr.ip(),
            addr.port(),
            program.unwrap_or(NONE),
            run("id", &["-un"]).trim_end(),
            self.folder.file("key"),
            self.folder.file("known"),
        );
        self.folder.write(&format!("config-{}", addr.port()), text)
    }
}

/// Prints a counter until there is a file, then the lines that were typed. It stays until it is
/// told its exit code: of what a command prints last, a terminal may lose a part.
const COUNTER: &str = "stty -echo; while [ ! -e ~/stop ]; do n=$((n+1)); echo \"<$n>\"; \
                       sleep 0.02; done; echo \"stop after $n\"; \
                       while read verb what; do [ $verb != exit ] || exit $what; \
                       echo \"$verb $what\"; done";

/// A session of ssh with a terminal, in which the counter runs.
pub(crate) struct Counter {
    pub(crate) ssh: Process,
    /// How many lines.
    typed: usize,
}

impl Counter {
    /// Starts ssh by a command that becomes it, with this configuration.
    pub(crate) fn start_by(command: Command, config: &str) -> Counter {
        let args = ["-F", config, "-tt", "service", COUNTER];
        let ssh = Process::start_by(command, "ssh", &args, Stdout::Read);
        ssh.prints("<1>");
        Counter { ssh, typed: 0 }
    }

    pub(crate) fn types(&mut self) {
        self.typed += 1;
        self.ssh.send(format!("typed {}\n", self.typed));
    }

    /// Waits for so many more numbers than have come.
    #[track_caller]
    pub(crate) fn goes_on(&self, more: usize) {
        let last = self.ssh.out.count("<");
        self.ssh.prints(&format!("<{}>", last + more));
    }

    /// Stops all counters of this sshd. What came from this one has to be each number and each
    /// line that was typed, once and in order, and ssh ends as the command does.
    #[track_caller]
    pub(crate) fn ends_well(mut self, files: &OpenSsh) {
        files.folder.write("home/stop", "");
        let last = self.ssh.prints("stop after ");
        self.types();
        self.ssh.prints(&format!("typed {}", self.typed));
        self.ssh.send("exit 7\n");
        assert_eq!(self.ssh.ends(), 7);
        let count = last.trim_end().rsplit(' ').next().and_then(|n| n.parse().ok());
        let count: usize = count.unwrap_or_else(|| panic!("{last:?}"));
        let counted = (1..=count).map(|n| format!("<{n}>\r\n"));
        let typed = (1..=self.typed).map(|n| format!("typed {n}\r\n"));
        let all = counted.chain([format!("stop after {count}\r\n")]).chain(typed);
        assert!(self.ssh.out.text() == all.collect::<String>(), "not each line once, and in order");
    }
}
