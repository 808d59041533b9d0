//! A thousand of everything leave nothing behind: no thread, no descriptor, no memory.
//!
//! Each test runs again in a process of its own, in which nothing else comes and goes. The
//! allocator counts what is live, so that one block which is not freed stands out a thousandfold.
#![cfg(target_os = "linux")]

#[path = "support/proxy.rs"]
#[allow(unreachable_pub)]
mod proxy;
#[path = "support/queue.rs"]
mod queue;
#[path = "support/wait.rs"]
mod wait;
#[cfg(feature = "cli")]
#[path = "support/wire.rs"]
#[allow(dead_code, reason = "of use to other tests")]
mod wire;

use std::alloc::System;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use std::{env, fs, mem};

use longlink::{Builder, Connection, Error, Event, Heartbeat, Listener, RetryPolicy};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use proxy::{How, Proxy};
use queue::Queue;
use wait::{now, until};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CYCLES: usize = 1000;

/// The patience of every wait: for machines that do much else meanwhile.
const SOON: Duration = Duration::from_secs(20);

/// So many a server has at once.
const MAX_CLIENTS: usize = 50;

/// Between the attempts to come back.
const RETRY: Duration = Duration::from_millis(20);

/// Runs `body` in a process in which no other test runs.
fn alone(test: &str, body: impl FnOnce()) {
    const ALONE: &str = "LONGLINK_TEST_ALONE";
    if env::var_os(ALONE).is_some() {
        return body();
    }
    let mut again = Command::new(env::current_exe().unwrap());
    again.args([test, "--exact", "--nocapture", "--include-ignored", "--test-threads", "1"]);
    let output = again.env(ALONE, "yes").output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{out}{err}");
    assert!(output.status.success(), "{}", output.status);
    assert!(out.contains("1 passed"), "there is no test {test}");
}

/// What this process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    threads: usize,
    descriptors: usize,
    /// Blocks and bytes of memory that are allocated and not freed.
    blocks: usize,
    bytes: usize,
}

impl Held {
    fn now() -> Held {
        let threads = Held::threads();
        let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
        let stats = ALLOCATOR.stats();
        Held {
            threads,
            descriptors,
            blocks: stats.allocations - stats.deallocations,
            bytes: stats.bytes_allocated - stats.bytes_deallocated,
        }
    }

    fn threads() -> usize {
        fs::read_dir("/proc/self/task").unwrap().count()
    }

    /// Whether so many cycles since `before` left nothing. What leaks in each of them is at least a
    /// block or, in a list that only grows, a word; a table may have become larger on the way.
    fn is_back(&self, before: &Held, cycles: usize) -> bool {
        self.threads == before.threads
            && self.descriptors == before.descriptors
            && self.blocks < before.blocks + cycles / 4
            && self.bytes < before.bytes + cycles * size_of::<usize>()
    }
}

/// Runs `cycle` a thousand times, after some to warm up.
#[track_caller]
fn leaves_nothing(mut cycle: impl FnMut(usize)) {
    const WARM_UP: usize = 100;
    let idle = Held::now();
    let settled = || {
        let held = Held::now();
        (held.threads, held.descriptors) == (idle.threads, idle.descriptors)
    };
    (0..WARM_UP).for_each(&mut cycle);
    until("the first ones have settled", settled);
    let before = Held::now();
    (0..CYCLES).for_each(&mut cycle);
    let deadline = now() + SOON;
    let mut after = Held::now();
    // A listener keeps the memory of a few sessions that are over until there are a few more: now
    // and then it has none.
    for more in 1.. {
        let next = now() + Duration::from_millis(200);
        while !after.is_back(&before, CYCLES) && now() < next {
            thread::park_timeout(Duration::from_millis(10));
            after = Held::now();
        }
        if after.is_back(&before, CYCLES) || now() >= deadline {
            break;
        }
        cycle(more);
    }
    println!("before {before:?}\nafter  {after:?}");
    assert!(after.is_back(&before, CYCLES), "{CYCLES} cycles left something behind");
}

/// Loses and regains a link in no time, and forgets soon.
fn builder() -> Builder {
    Connection::builder()
        .heartbeat(Heartbeat::every(Duration::from_secs(60)))
        .retry(RetryPolicy::fixed(RETRY, 1000))
        .connect_timeout(SOON)
        .close_timeout(SOON)
        .resume_within(Duration::from_millis(100))
        .max_clients(MAX_CLIENTS)
}

/// Echoes each client on a thread of its own, to its end.
fn echo_server(builder: Builder) -> SocketAddr {
    let listener = builder.bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr();
    thread::spawn(move || {
        for connection in listener.incoming().map(Result::unwrap) {
            thread::spawn(move || echo(&connection));
        }
    });
    addr
}

fn echo(connection: &Connection) {
    while let Ok(Some(message)) = connection.recv() {
        if connection.send_bytes(message).is_err() {
            break;
        }
    }
    let _ = connection.close();
}

fn round_trip(connection: &Connection) {
    connection.send(b"there and back").unwrap();
    let back = connection.recv_timeout(SOON).unwrap();
    assert_eq!(back.as_deref(), Some(&b"there and back"[..]));
}

#[test]
fn a_thousand_connections_that_were_closed() {
    alone("a_thousand_connections_that_were_closed", || {
        let addr = echo_server(builder());
        leaves_nothing(|_| {
            let client = builder().connect(addr).unwrap();
            round_trip(&client);
            client.close().unwrap();
        });
    });
}

/// Cuts them all, and waits until they are back.
fn cut(proxy: &Proxy, clients: &[Connection]) {
    let back: Vec<u64> = clients.iter().map(|client| client.stats().reconnects + 1).collect();
    let ended = proxy.stats().cut + clients.len();
    proxy.cut(How::Rst);
    assert_eq!(proxy.stats().cut, ended);
    for (client, back) in clients.iter().zip(back) {
        until("it is back", || client.stats().reconnects == back && client.is_connected());
    }
    assert!(proxy.wait_for(|stats| stats.live == clients.len(), SOON));
}

#[test]
fn a_thousand_cuts_of_a_few_connections() {
    const CLIENTS: usize = 50;
    alone("a_thousand_cuts_of_a_few_connections", || {
        let builder = builder().resume_within(SOON);
        let proxy = Proxy::to(echo_server(builder.clone()));
        let connect = |_| {
            let client = builder.clone().connect(proxy.addr()).unwrap();
            round_trip(&client);
            client
        };
        let clients: Vec<Connection> = (0..CLIENTS).map(connect).collect();
        leaves_nothing(|cycle| {
            if cycle % CLIENTS == 0 {
                cut(&proxy, &clients);
                clients.iter().for_each(round_trip);
            }
        });
    });
}

// Of attempts that are made at once there is only one a second in the long run. An idle link that
// is cut soon has proved nothing, and is followed by a short delay instead.
#[test]
#[ignore = "takes half a minute"]
fn a_thousand_cuts_of_one_connection() {
    alone("a_thousand_cuts_of_one_connection", || {
        let builder = builder().resume_within(SOON);
        let proxy = Proxy::to(echo_server(builder.clone()));
        let client = [builder
            .retry(RetryPolicy::fixed(RETRY, 1).unlimited())
            .connect(proxy.addr())
            .unwrap()];
        round_trip(&client[0]);
        leaves_nothing(|_| cut(&proxy, &client));
        round_trip(&client[0]);
    });
}

#[test]
fn a_thousand_connections_that_gave_up() {
    alone("a_thousand_connections_that_gave_up", || {
        let proxy = Proxy::to(echo_server(builder().resume_within(Duration::from_millis(50))));
        // Bound, and nobody listens.
        let dead = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        dead.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let dead_end = dead.local_addr().unwrap().as_socket().unwrap();
        let once = || builder().retry(RetryPolicy::never());
        let connect = || {
            let client = once().connect(proxy.addr()).unwrap();
            round_trip(&client);
            client
        };
        let mut filled = false;
        leaves_nothing(|_| {
            // How large the server's tables become must not depend on how busy the machine is: once
            // they have as many as they take. From then on they have so few that they stay.
            if !mem::replace(&mut filled, true) {
                let most: Vec<Connection> = (0..MAX_CLIENTS).map(|_| connect()).collect();
                proxy.cut(How::Rst);
                drop(most);
            }
            until("few are left", || Held::threads() < MAX_CLIENTS / 2);
            let never = once().connect(dead_end).unwrap_err();
            assert!(matches!(never, Error::GaveUp { .. }), "{never:?}");
            // The server's side gives up when nobody has come back.
            let client = connect();
            proxy.cut(How::Rst);
            let lost = client.recv_timeout(SOON).unwrap_err();
            assert!(matches!(lost, Error::GaveUp { .. }), "{lost:?}");
            assert!(matches!(client.send(b"late"), Err(Error::GaveUp { .. })));
        });
    });
}

#[test]
fn a_thousand_connections_that_were_dropped() {
    alone("a_thousand_connections_that_were_dropped", || {
        // In which two that are dropped wait for each other, since neither has read everything.
        let builder = || builder().close_timeout(Duration::from_millis(10));
        leaves_nothing(|cycle| {
            let listener = builder().bind("127.0.0.1:0").unwrap();
            let client = builder().connect(listener.local_addr()).unwrap();
            let server = listener.accept().unwrap();
            client.send([1; 10_000]).unwrap();
            server.feed([2; 10_000]).unwrap();
            match cycle % 6 {
                0 => drop((client, server, listener)),
                1 => drop((listener, server, client)),
                // Between a message received and the next.
                2 => {
                    assert!(server.recv_timeout(SOON).unwrap().is_some());
                    drop((server, client));
                }
                3 => client.abort(),
                4 => drop_while_sending(client, server),
                _ => panic_with(client),
            }
        });
    });
}

/// The last holder is the thread that sends.
fn drop_while_sending(client: Connection, server: Connection) {
    let client = Arc::new(client);
    let sender = thread::spawn({
        let client = client.clone();
        move || while client.send([3; 1000]).is_ok() {}
    });
    for _ in 0..3 {
        assert!(server.recv_timeout(SOON).unwrap().is_some());
    }
    drop((client, server));
    sender.join().unwrap();
}

fn panic_with(client: Connection) {
    let panicked = thread::spawn(move || {
        let _held = client;
        resume_unwind(Box::new("on purpose"));
    });
    panicked.join().unwrap_err();
}

/// Of what the server of the programs holds for a client in clear text that says nothing: the
/// session, its buffers, its places in tables, and what its thread was handed it by. The clients
/// are bare sockets, which hold nothing here. It is the least that an idle link takes of the heap;
/// how much of that is resident is measured by `cargo bench --bench crowd`.
#[cfg(feature = "cli")]
#[test]
fn an_idle_client_takes_little_memory() {
    use std::io::Write;
    use std::net::TcpStream;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use longlink::cli::threads::{self, Job};

    const CLIENTS: u8 = 100;
    const MOST: usize = 2800;
    alone("an_idle_client_takes_little_memory", || {
        let listener = builder().max_clients(200).bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr();
        let served = Arc::new(AtomicUsize::new(0));
        let counted = served.clone();
        let serve = move |_, connection: Connection| -> Job {
            let counted = counted.clone();
            Box::new(move || {
                counted.fetch_add(1, Ordering::SeqCst);
                echo(&connection);
            })
        };
        thread::spawn(move || threads::accept(&listener, || (), threads::start, serve));
        let mut clients = Vec::with_capacity(1 + usize::from(CLIENTS));
        let mut join = |token| {
            let mut client = TcpStream::connect(addr).unwrap();
            client.write_all(&wire::Hello::new(token).bytes()).unwrap();
            clients.push(client);
            until("it is served", || served.load(Ordering::SeqCst) == clients.len());
        };
        // What comes once is not counted.
        join(0);
        let before = Held::now();
        (1..=CLIENTS).for_each(&mut join);
        let each = || (Held::now().bytes - before.bytes) / usize::from(CLIENTS);
        // What is on its way takes more for a moment.
        let deadline = now() + SOON;
        while each() > MOST && now() < deadline {
            thread::park_timeout(Duration::from_millis(10));
        }
        println!("{before:?}, and then {} bytes for each client", each());
        assert!(each() <= MOST, "an idle client takes {} bytes", each());
    });
}

/// Takes in clients that are new, or back, until each has one message answered.
fn answer_all(listener: &Listener, clients: usize) -> Vec<Connection> {
    let accepted = (0..clients).map(|_| {
        let connection = listener.accept().unwrap();
        let message = connection.recv_timeout(SOON).unwrap().unwrap();
        connection.send_bytes(message).unwrap();
        connection
    });
    accepted.collect()
}

/// The smallest queue that a system has: SOMAXCONN of macOS, and of Linux before 5.4.
const SMALLEST_QUEUE: u64 = 128;

// Each first attempt succeeds, and none meets a queue that is full.
#[test]
#[ignore = "takes ten seconds"]
fn a_thousand_clients_of_a_server_that_restarts() {
    alone("a_thousand_clients_of_a_server_that_restarts", || {
        const CLIENTS: usize = 1000;
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
        let bind = |addr| Connection::builder().max_clients(2 * CLIENTS).bind(addr).unwrap();
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let addr = listener.local_addr();
        let serving = thread::spawn(move || (answer_all(&listener, CLIENTS), listener));
        let log = Arc::new(Mutex::new(Vec::new()));
        let connect = |_| {
            let log = log.clone();
            let watch = move |_: &Connection, event| log.lock().unwrap().push((now(), event));
            let client = Connection::builder().on_event(watch).connect(addr).unwrap();
            client.send(b"hello").unwrap();
            client
        };
        let clients: Vec<Connection> = (0..CLIENTS).map(connect).collect();
        let receive = |client: &Connection| drop(client.recv_timeout(SOON).unwrap().unwrap());
        clients.iter().for_each(receive);
        let (connections, listener) = serving.join().unwrap();

        log.lock().unwrap().clear();
        let begun = now();
        listener.restart(Duration::from_secs(1));
        println!("{CLIENTS} clients were told, and have heard it, within {:.0?}", begun.elapsed());
        drop((connections, listener));
        let queue = Queue::watch(addr);
        let listener = bind(addr);
        let count = |wanted: fn(&Event) -> bool| {
            log.lock().unwrap().iter().filter(|(_, event)| wanted(event)).count()
        };
        until("all are back", || {
            count(|event| matches!(event, Event::SessionLost { .. } | Event::GaveUp { .. }))
                >= CLIENTS
        });
        let queue = queue.end().unwrap();
        println!("all are back after {:.1?}", begun.elapsed());
        println!("{} waited at most, and {} met a full queue", queue.longest, queue.full);
        assert_eq!(count(|event| matches!(event, Event::GaveUp { .. })), 0);
        assert_eq!(count(|event| matches!(event, Event::Failed { .. })), 0, "failed attempts");
        assert_eq!(count(|event| matches!(event, Event::Retrying { attempt: 1, .. })), CLIENTS);
        let restarting = |event: &Event| event.to_string() == "lost: the server is restarting";
        assert_eq!(count(restarting), CLIENTS);
        assert!(queue.longest < SMALLEST_QUEUE, "{} wait", queue.longest);
        // And there they are.
        let serving = thread::spawn(move || answer_all(&listener, CLIENTS));
        clients.iter().for_each(|client| client.send(b"hello again").unwrap());
        clients.iter().for_each(receive);
        drop(serving.join().unwrap());
    });
}
