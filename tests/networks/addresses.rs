//! Both kinds of addresses.

use crate::network::{self, SERVER_V6};
use crate::process::{CLIENT, Process, SERVER};
use crate::stage::{self, SLACK, Site, ms, now};

/// A name of the server's, in the file that the client's host keeps.
const NAME: &str = "server.test";

/// More patience with one address than the test has.
const PATIENT: [&str; 2] = ["--connect-timeout", "25s"];

/// Who can use it and who can read it, both programs say.
fn serve(network: &Site, bind: &str) -> Process {
    let server = network.serve(&["--bind", bind]);
    let line = server.says("listening on ");
    let open = line.ends_with(" (everybody who can reach it, in clear text)");
    let warned = server.err.count("listening without security: whoever reaches it is let in");
    assert_eq!((open, warned), if network.is_secured() { (false, 0) } else { (true, 1) }, "{line}");
    server
}

fn connect(network: &Site, host: &str, peer: &str) -> Process {
    let mut client = network.call(&[&[host], &PATIENT[..]].concat());
    let how = if network.is_secured() { "TLS" } else { "in clear text" };
    client.says(&format!("connected to {peer} ({how})"));
    client.send("hello\n");
    client.prints("hello");
    client
}

#[test]
#[ignore = "makes networks"]
fn one_listener_serves_both_kinds() {
    let Some(network) = stage::network() else { return };
    let server = serve(&network, "::");
    server.says("listening on [::]:6666");
    let v6 = format!("[{SERVER_V6}]:6666");
    let clients = [
        connect(&network, network::SERVER, "10.77.2.2:6666"),
        connect(&network, SERVER_V6, &v6),
        connect(&network, &v6, &v6),
    ];
    drop(clients);
    server.says("client-3: connected from ");
}

#[test]
#[ignore = "makes networks"]
fn a_host_is_an_address_in_brackets() {
    let Some(network) = stage::network() else { return };
    let server = network.start(&network.server, SERVER, &["--bind", "::1", "--port", "6667"]);
    server.says("listening on [::1]:6667");
    let mut client = network.start(&network.server, CLIENT, &["[::1]:6667"]);
    client.says("connected to [::1]:6667");
    client.send("hello\n");
    client.prints("hello");
}

/// One of the addresses is a blackhole, and it does not matter which.
#[test]
#[ignore = "makes networks"]
fn an_address_that_does_not_answer_costs_little() {
    for (dead, peer) in [("ipv6", "10.77.2.2:6666"), ("ipv4", "[fd77:2::2]:6666")] {
        let Some(network) = stage::network() else { return };
        network.client.set_names(format_args!("{SERVER_V6} {NAME}\n{} {NAME}\n", network::SERVER));
        let _server = serve(&network, "::");
        network.drop_family(dead);
        let begun = now();
        connect(&network, NAME, peer);
        let took = begun.elapsed();
        eprintln!("without {dead}: {took:.1?}");
        assert!(took <= ms(250) + SLACK, "without {dead} it takes {took:?}");
    }
}

/// A server that listens on one of them only refuses the other.
#[test]
#[ignore = "makes networks"]
fn an_address_that_refuses_costs_nothing() {
    for (bind, peer) in [("10.77.2.2", "10.77.2.2:6666"), (SERVER_V6, "[fd77:2::2]:6666")] {
        let Some(network) = stage::network() else { return };
        network.client.set_names(format_args!("{SERVER_V6} {NAME}\n{} {NAME}\n", network::SERVER));
        let _server = serve(&network, bind);
        connect(&network, NAME, peer);
    }
}
