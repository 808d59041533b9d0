//! Networks of a test's own, made of the kernel's: a client's host, a server's
//! host, and between them a router, which translates addresses as at home and
//! can be told to fail.
//!
//! Each host is a network namespace without a name, which goes with the process
//! that holds it, and that one with its standard input: nothing is left behind,
//! however a test ends, and nothing outside is touched.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where the client is, at first and after a move.
pub(crate) const CLIENT: &str = "10.77.1.2";
#[allow(dead_code, reason = "of use to some tests")]
pub(crate) const CLIENT_MOVED: &str = "10.77.1.3";
pub(crate) const SERVER: &str = "10.77.2.2";
#[allow(dead_code, reason = "of use to some tests")]
pub(crate) const SERVER_V6: &str = "fd77:2::2";

/// The router's own, towards them. By its name an interface says who is there.
pub(crate) const TO_CLIENT: &str = "10.77.1.1";
const TO_SERVER: &str = "10.77.2.1";

/// What has to be there to make networks.
const TOOLS: [&str; 5] = ["unshare", "nsenter", "ip", "nft", "conntrack"];

/// Why there can be no networks here, if so.
pub(crate) fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it takes root to make networks".into());
    }
    let missing = TOOLS.into_iter().find(|tool| !is_installed(tool));
    if let Some(tool) = missing {
        return Some(format!("{tool} is not installed"));
    }
    let mut trial = Command::new("unshare");
    let output = trial.args(["--net", "--mount", "nft", "list", "ruleset"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
    (!output.status.success()).then(|| format!("no networks can be made: {said}"))
}

pub(crate) fn is_installed(tool: &str) -> bool {
    Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// A host with a network of its own, and a view of the file system of its own.
#[derive(Debug)]
pub(crate) struct Host {
    /// As long as its standard input is open, it is there.
    holder: Child,
}

impl Host {
    fn new() -> Host {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sh", "-c", "echo here; exec cat"]);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let said = BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line);
        assert!(said.is_ok() && line == "here\n", "there is no host: {line:?}");
        let host = Host { holder };
        // Addresses are of use at once.
        host.set("ipv6/conf/default/accept_dad", "0").unwrap();
        host.ip("link set lo up");
        host
    }

    /// A command that becomes a program there.
    pub(crate) fn command(&self, program: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--mount", "--target", &self.holder.id().to_string()]);
        command.args(program);
        command
    }

    /// Feeds a tool that runs there.
    #[track_caller]
    pub(crate) fn run(&self, tool: &[&str], input: impl Display) {
        let mut command = self.command(tool);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // What a tool has not read, it complains of.
        let _ = write!(child.stdin.take().unwrap(), "{input}");
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{tool:?}: {said}\n{input}");
    }

    /// Settings of addresses and links, one on each line.
    #[track_caller]
    pub(crate) fn ip(&self, settings: impl Display) {
        self.run(&["ip", "-batch", "-"], settings);
    }

    /// Does something on a thread that is there, and so are all threads that it starts.
    #[track_caller]
    pub(crate) fn inside<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.holder.id())).unwrap();
        let there = move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            body()
        };
        thread::scope(|scope| scope.spawn(there).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Names and their addresses, in the place of `/etc/hosts`.
    #[allow(dead_code, reason = "of use to some tests")]
    pub(crate) fn set_names(&self, names: impl Display) {
        let own = "mount -t tmpfs none /mnt; cat > /mnt/hosts; mount --bind /mnt/hosts /etc/hosts";
        self.run(&["sh", "-ec", own], names);
    }

    /// A setting of the kernel's for networks.
    fn set(&self, name: &str, value: &str) -> io::Result<()> {
        self.inside(|| fs::write(format!("/proc/sys/net/{name}"), value))
    }

    fn id(&self) -> u32 {
        self.holder.id()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = (self.holder.kill(), self.holder.wait());
    }
}

/// What the router lets through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    /// From the client to the server.
    pub(crate) up: bool,
    /// From the server to the client.
    pub(crate) down: bool,
    /// What it does with packets of connections that it does not know.
    pub(crate) unknown: Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// They are dropped without a word.
    Dropped,
    /// They are answered with RST.
    Reset,
}

impl Path {
    pub(crate) const OPEN: Path = Path { up: true, down: true, unknown: Unknown::Dropped };
    pub(crate) const CUT: Path = Path { up: false, down: false, ..Path::OPEN };
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) client: Host,
    pub(crate) router: Host,
    pub(crate) server: Host,
}

impl Network {
    pub(crate) fn new() -> Network {
        let (client, router, server) = (Host::new(), Host::new(), Host::new());
        router.ip(format_args!(
            "link add client type veth peer name uplink netns {}\n\
             link add server type veth peer name uplink netns {}\n\
             address add {TO_CLIENT}/24 dev client\n\
             address add {TO_SERVER}/24 dev server\n\
             address add fd77:1::1/64 dev client nodad\n\
             address add fd77:2::1/64 dev server nodad\n\
             link set client up\n\
             link set server up\n",
            client.id(),
            server.id(),
        ));
        let hosts = [
            (&client, CLIENT, "fd77:1::2", TO_CLIENT, "fd77:1::1"),
            (&server, SERVER, SERVER_V6, TO_SERVER, "fd77:2::1"),
        ];
        for (host, v4, v6, router_v4, router_v6) in hosts {
            host.ip(format_args!(
                "address add {v4}/24 dev uplink\n\
                 address add {v6}/64 dev uplink nodad\n\
                 link set uplink up\n\
                 route add default via {router_v4}\n\
                 route add default via {router_v6}\n"
            ));
        }
        router.set("ipv4/ip_forward", "1").unwrap();
        router.set("ipv6/conf/all/forwarding", "1").unwrap();
        let nat = "table ip nat {\n\
                   chain out { type nat hook postrouting priority srcnat; oifname server masquerade; }\n\
                   }\n";
        router.run(&["nft", "-f", "-"], nat);
        // A connection is known by its beginning only, as to most routers.
        router.set("netfilter/nf_conntrack_tcp_loose", "0").unwrap();
        // Kernels before 6.5 ask for a connection ever less often from the start.
        let _ = client.set("ipv4/tcp_syn_linear_timeouts", "0");
        let network = Network { client, router, server };
        network.set(Path::OPEN);
        network
    }

    /// From now on the router does this.
    pub(crate) fn set(&self, path: Path) {
        let cut = |open: bool, from: &str| match open {
            true => String::new(),
            false => format!("iifname {from} drop;"),
        };
        let unknown = match path.unknown {
            Unknown::Dropped => "drop",
            Unknown::Reset => "reject with tcp reset",
        };
        // Cut before connections are looked at: what is dropped was never here.
        let rules = format!(
            "table inet path\n\
             delete table inet path\n\
             table inet path {{\n\
             chain cut {{ type filter hook prerouting priority raw; {} {} }}\n\
             chain forward {{ type filter hook forward priority filter; \
             meta l4proto tcp ct state invalid {unknown}; }}\n\
             chain input {{ type filter hook input priority filter; \
             meta l4proto tcp ct state invalid {unknown}; }}\n\
             }}\n",
            cut(path.up, "client"),
            cut(path.down, "server"),
        );
        self.router.run(&["nft", "-f", "-"], rules);
    }

    /// The router forgets the connections that there are.
    pub(crate) fn forget(&self) {
        self.router.run(&["conntrack", "--flush"], "");
    }

    /// Nothing of this kind of addresses passes any more.
    #[allow(dead_code, reason = "of use to some tests")]
    pub(crate) fn drop_family(&self, family: &str) {
        let rules = format!(
            "table inet family {{\nchain cut {{ type filter hook prerouting priority raw; \
             meta nfproto {family} meta l4proto tcp drop; }}\n}}\n"
        );
        self.router.run(&["nft", "-f", "-"], rules);
    }

    /// The client has another address, as in another network.
    #[allow(dead_code, reason = "of use to some tests")]
    pub(crate) fn move_client(&self, from: &str, to: &str) {
        self.client.ip(format_args!(
            "address del {from}/24 dev uplink\n\
             address add {to}/24 dev uplink\n\
             route replace default via {TO_CLIENT}\n"
        ));
    }

    #[allow(dead_code, reason = "of use to some tests")]
    pub(crate) fn interface_down(&self) {
        self.client.ip("link set uplink down\n");
    }

    #[allow(dead_code, reason = "of use to some tests")]
    pub(crate) fn interface_up(&self) {
        self.client.ip(format_args!("link set uplink up\nroute replace default via {TO_CLIENT}\n"));
    }
}

/// What the router knew last, when a test fails.
impl Drop for Network {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- router");
            for tool in ["nft list ruleset", "conntrack --dump"] {
                let tool: Vec<&str> = tool.split(' ').collect();
                let _ = self.router.command(&tool).stdout(io::stderr()).status();
            }
        }
    }
}
