//! What breaks at one end is reset at the other, and nothing goes on in another session.

use std::thread;

use super::*;

#[test]
fn a_reset_of_the_service_is_one_for_the_program() {
    let tunnel = Tunnel::new();
    let [program, service] = tunnel.open();
    passes("before", [&service, &program]);
    reset(service);
    is_reset(&program);
    tunnel.client.says("client-1: closed: reset by the other side");
    tunnel.server.process.says("client-1: closed: the service: Connection reset");
}

#[test]
fn a_reset_of_the_program_is_one_for_the_service() {
    let tunnel = Tunnel::new();
    let [program, service] = tunnel.open();
    passes("before", [&program, &service]);
    reset(program);
    is_reset(&service);
    tunnel.server.process.says("client-1: closed: reset by the other side");
}

/// A service may answer, and reset because of what it has not read.
#[test]
fn what_came_before_a_reset_arrives_before_it() {
    let tunnel = Tunnel::new();
    let [program, service] = tunnel.open();
    passes("request", [&program, &service]);
    let answer = pattern(100_000);
    (&service).write_all(&answer).unwrap();
    reset(service);
    let (got, end) = rest(&program);
    assert!(answer.starts_with(&got), "not what was sent");
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// One way has ended before, so that nothing is read there any more.
#[test]
fn a_reset_behind_an_end_is_seen() {
    let tunnel = Tunnel::new();
    let [program, service] = tunnel.open();
    finish(&program);
    assert_eq!(rest(&service).0, b"");
    reset(service);
    is_reset(&program);
    let [program, service] = tunnel.open();
    finish(&program);
    assert_eq!(rest(&service).0, b"");
    reset(program);
    // Who has read the end hears no more by reading.
    wait::until("the service hears it", || (&service).write(b"x").is_err());
}

/// Both threads that carry bytes are stuck: one cannot send, and the other cannot write.
#[test]
fn a_reset_is_seen_where_nothing_moves() {
    let tunnel = Tunnel::with(&["--window", "64KiB"], &[]);
    let [program, service] = tunnel.open();
    let fill = |mut to: &TcpStream| {
        to.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        while to.write(&[0; 65536]).is_ok() {}
    };
    thread::scope(|scope| {
        scope.spawn(|| fill(&program));
        fill(&service);
    });
    reset(program);
    tunnel.client.says("client-1: closed: ");
    let (_, end) = rest(&service);
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// However long it takes: an end in order is worth as much as what came before it. A close alone
/// gives up after five seconds.
#[test]
#[ignore = "takes 6 s"]
fn an_end_in_a_long_outage_is_passed_on_after_it() {
    let mut tunnel = Tunnel::new();
    let [program, service] = tunnel.open();
    finish(&service);
    assert_eq!(rest(&program).0, b"");
    tunnel.proxy.refuse(true);
    tunnel.proxy.cut(How::Rst);
    tunnel.client.says("client-1: lost");
    finish(&program);
    let over = wait::now() + Duration::from_secs(6);
    wait::until("the outage is over", || wait::now() > over);
    assert_eq!(tunnel.client.err.count("client-1: closed"), 0, "it was told of no end");
    tunnel.proxy.refuse(false);
    let (got, end) = rest(&service);
    assert_eq!((&got[..], end.is_ok()), (&b""[..], true));
    tunnel.client.says("client-1: closed: both sides have ended");
    tunnel.client.signal("TERM");
    assert_eq!(tunnel.client.ends(), 143);
}

/// Without a link, the other side is told when there is one.
#[test]
fn a_reset_in_an_outage_is_passed_on_after_it() {
    let tunnel = Tunnel::new();
    let [program, service] = tunnel.open();
    passes("before", [&program, &service]);
    tunnel.proxy.refuse(true);
    tunnel.proxy.cut(How::Rst);
    tunnel.server.process.says("client-1: lost");
    reset(program);
    tunnel.client.says("client-1: closed: the program: Connection reset");
    let before = tunnel.proxy.stats().accepted;
    assert!(tunnel.proxy.wait_for(|stats| stats.accepted > before + 30, SOON), "no attempts");
    tunnel.proxy.refuse(false);
    is_reset(&service);
}

#[test]
fn a_service_that_is_not_there_refuses_the_program() {
    let tunnel = Tunnel::new();
    let Tunnel { service, server, client, entry, proxy: _proxy, .. } = tunnel;
    drop(service);
    is_reset(&connect(entry));
    client.says("client-1: closed: refused: the service cannot be reached: Connection refused");
    server.process.says("client-1: closed: cannot connect to 127.0.0.1:");
}

#[test]
fn a_service_that_accepts_and_closes_ends_the_connection() {
    let tunnel = Tunnel::new();
    let [program, service] = tunnel.open();
    drop(service);
    let (got, end) = rest(&program);
    assert_eq!((&got[..], end.is_ok()), (&b""[..], true));
    drop(program);
    tunnel.server.process.says("client-1: closed: both sides have ended");
}

/// Its memory is gone, and with it where the session was.
#[test]
fn a_server_that_is_killed_ends_its_connections_by_a_reset() {
    let mut tunnel = Tunnel::new();
    let [program, service] = tunnel.open();
    passes("before", [&program, &service]);
    tunnel.server.process.kill();
    is_reset(&service);
    (&program).write_all(b"not for another").unwrap();
    let address = tunnel.service.local_addr().unwrap();
    tunnel.server = start_server(&tunnel.reserved, address, &[]);
    is_reset(&program);
    tunnel.client.says("client-1: closed: the session is lost");
    let [program, service] = tunnel.open();
    passes("a new one begins at its beginning", [&program, &service]);
}

/// Lines may be sent again to a service that has had them.
#[test]
fn a_client_of_lines_goes_on_in_no_other_session() {
    let service = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = service.local_addr().unwrap();
    let reserved = Arc::new(Reserved::new());
    let mut server = start_server(&reserved, address, &[]);
    let mut client = server.client(&[&QUICK[..], &["--retries", "100"]].concat());
    client.send("one\n");
    let first = patient(service.accept().unwrap().0);
    let mut got = [0; 4];
    (&first).read_exact(&mut got).unwrap();
    server.process.kill();
    client.send("two\n");
    let _again = start_server(&reserved, address, &[]);
    assert_eq!(client.ends(), 1);
    client.says("2 messages not acknowledged: ");
    client.says("rejected: the session has ended");
    assert_eq!(client.err.count("messages not acknowledged"), 1, "it says twice that it has ended");
}

#[test]
fn a_client_that_is_killed_resets_its_programs() {
    let mut tunnel = Tunnel::with(&["--resume-within", "200ms"], &[]);
    let [program, service] = tunnel.open();
    passes("before", [&program, &service]);
    tunnel.client.kill();
    is_reset(&program);
    // It might come back.
    is_reset(&service);
    tunnel.server.process.says("client-1: reclaimed");
}

#[test]
fn programs_that_are_told_to_end_reset_both_sides_and_say_what_they_carried() {
    let mut tunnel = Tunnel::new();
    let [program, service] = tunnel.open();
    passes("before", [&program, &service]);
    tunnel.server.process.signal("INT");
    assert_eq!(tunnel.server.process.ends(), 0);
    tunnel.server.process.says("served 1 client in ");
    tunnel
        .server
        .process
        .says(": 0 bytes sent, 6 bytes received; 0 links resumed, 0 sessions lost");
    is_reset(&service);
    is_reset(&program);

    let mut tunnel = Tunnel::new();
    let [program, service] = tunnel.open();
    passes("before", [&program, &service]);
    tunnel.client.signal("INT");
    assert_eq!(tunnel.client.ends(), 130);
    tunnel.client.says(": 6 bytes sent, 0 bytes received; 0 links resumed, 0 sessions lost");
    is_reset(&program);
    is_reset(&service);
}

/// The window of its terminal was closed.
#[test]
fn a_client_that_is_hung_up_resets_both_sides() {
    let mut tunnel = Tunnel::new();
    let [program, service] = tunnel.open();
    passes("before", [&program, &service]);
    tunnel.client.signal("HUP");
    assert_eq!(tunnel.client.ends(), 129);
    is_reset(&program);
    is_reset(&service);
}

#[test]
fn a_program_that_leaves_before_there_is_a_link_is_not_waited_for() {
    let port = Reserved::new().port();
    let args = ["--listen", "0", "127.0.0.1", "--port", &port, "--retries", "forever"];
    let client = Process::start(CLIENT, &[&args[..], &QUICK].concat(), Stdout::Read);
    let said = client.says("listening on ");
    let program = connect(said.split_whitespace().last().unwrap().parse().unwrap());
    client.says("client-1: attempt 2 ");
    reset(program);
    client.says("client-1: closed: the program has left meanwhile");
}

#[test]
fn a_port_in_use_is_said() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut client = Process::start(CLIENT, &["--listen", &port, "127.0.0.1"], Stdout::Read);
    assert_eq!(client.ends(), 1);
    client.says("another program does so; port 0 takes a free one");
}

/// Too few descriptors are left for one, by the count that is made before.
#[test]
fn a_client_with_few_descriptors_says_how_many_it_serves() {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", r#"ulimit -n 20; exec "$@""#, "sh", CLIENT]);
    let args = ["--listen", "0", "127.0.0.1"];
    let client = Process::start_by(command, CLIENT, &args, Stdout::Read);
    client.says("at most 1 connection at once: ulimit -n is 20");
}

/// Neither threads nor descriptors.
#[test]
fn a_hundred_connections_leave_nothing_behind() {
    let tunnel = Tunnel::new();
    let ids = [tunnel.client.id(), tunnel.server.process.id()];
    let count = |id, of| std::fs::read_dir(format!("/proc/{id}/{of}")).unwrap().count();
    let counts = || ids.map(|id| count(id, "task") + count(id, "fd"));
    let before = counts();
    for round in 0..100 {
        let [program, service] = tunnel.open();
        passes("hello", [&program, &service]);
        match round % 3 {
            0 => drop((program, service)),
            1 => reset(program),
            _ => reset(service),
        }
    }
    // At the beginning a thread may not have begun yet.
    let is_left = |(now, before): (usize, usize)| now > before + 2;
    wait::until("nothing is left", || !counts().into_iter().zip(before).any(is_left));
}
