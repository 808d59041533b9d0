//! A balancer between the client and its servers.

use std::fs;
use std::path::PathBuf;

use crate::network::{self, TO_CLIENT};
use crate::process::{Process, Stdout};
use crate::stage::{self, SLACK, Site, ms, now, pass};

/// On the router, in front of two servers.
struct Balanced {
    client: Process,
    servers: [Process; 2],
    balancer: Process,
    _network: Site,
    config: PathBuf,
}

impl Balanced {
    fn new(name: &str, heartbeat: &str) -> Option<Balanced> {
        let network = stage::network()?;
        let config = include_str!("../../examples/haproxy.cfg")
            .replace("timeout client 30s", "timeout client 5s")
            .replace("timeout server 30s", "timeout server 5s")
            .replace("192.0.2.11:6666", &format!("{}:6666", network::SERVER))
            .replace("192.0.2.12:6666", &format!("{}:6667", network::SERVER));
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("haproxy-{name}-{}.cfg", std::process::id()));
        fs::write(&path, config).unwrap();

        let servers = ["6666", "6667"].map(|port| {
            let own = ["--bind", network::SERVER, "--port", port];
            let server = network.serve(&[&own[..], &["--heartbeat", heartbeat]].concat());
            server.says("listening on ");
            server
        });
        let command = network.router.command(&["haproxy"]);
        let args = ["-db", "-f", &path.to_string_lossy()];
        let balancer = Process::start_by(command, "haproxy", &args, Stdout::Read);
        let args = [TO_CLIENT, "--heartbeat", heartbeat, "--misses", "2"];
        let patient = ["--retry-delay", "500ms", "--retries", "forever"];
        let client = network.call(&[&args, &patient[..]].concat());
        client.says("connected to ");
        Some(Balanced { client, servers, balancer, _network: network, config: path })
    }

    fn talk(&mut self, line: &str) {
        self.client.send(format!("{line}\n"));
        self.client.prints(line);
    }

    /// The number of the server that has the client.
    fn server(&self) -> usize {
        let has = |server: &Process| server.err.count("connected from ") > 0;
        self.servers.iter().position(has).expect("one has the client")
    }
}

impl Drop for Balanced {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.config);
    }
}

#[test]
#[ignore = "makes networks, takes a minute"]
fn heartbeats_keep_a_link_awake_behind_a_balancer() {
    let Some(mut stage) = Balanced::new("awake", "2s") else { return };
    stage.talk("<before>");
    pass(ms(60_000));
    stage.talk("<after>");
    for process in [&stage.client, &stage.servers[stage.server()]] {
        assert_eq!(process.err.count("lost: "), 0);
    }
}

#[test]
#[ignore = "makes networks"]
fn a_balancer_that_cuts_a_silent_link_is_noticed() {
    let Some(mut stage) = Balanced::new("silent", "off") else { return };
    let begun = now();
    stage.talk("<before>");
    stage.client.says("lost: the peer closed the socket");
    let noticed = begun.elapsed();
    assert!(noticed >= ms(4900), "it was not the silence: after {noticed:?}");
    assert!(noticed <= ms(5000) + SLACK, "noticed after {noticed:?}");
    stage.client.says("resumed, 0 sent again");
    stage.servers[stage.server()].says("client-1: resumed, ");
    stage.talk("<after>");
    assert_eq!(stage.client.err.count("new session"), 0);
    assert_eq!(stage.client.out.text(), "<before>\n<after>\n");
}

/// It finds the server that has its session, although the other has fewer clients.
#[test]
#[ignore = "makes networks"]
fn a_client_stays_on_its_server_and_goes_to_the_other_when_that_dies() {
    let Some(mut stage) = Balanced::new("two", "500ms") else { return };
    stage.talk("<1>");
    let first = stage.server();
    for cut in 1..=4 {
        stage.balancer.signal("STOP");
        stage.client.says_nth("lost: ", cut);
        stage.balancer.signal("CONT");
        stage.client.says_nth("resumed, ", cut);
    }
    stage.servers[first].signal("STOP");
    stage.client.send("<2>\n<3>\n<4>\n");
    stage.servers[first].kill();
    stage.client.says("new session (old session lost), ");
    for line in ["<2>", "<3>", "<4>"] {
        stage.client.prints(line);
        stage.servers[1 - first].prints(&format!("client-1> {line}"));
    }
    stage.talk("<5>");
    stage.client.end_input();
    assert_eq!(stage.client.ends(), 0);
    // What is not yet acknowledged may come twice, but in its order.
    let mut lines: Vec<String> = stage.client.out.text().lines().map(String::from).collect();
    lines.dedup();
    let once: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(once, ["<1>", "<2>", "<3>", "<4>", "<5>"]);
}
