//! How long it takes from the cut of a link to the next reply, over a
//! `Connection`; and over a raw `TcpStream`, how long to connect and get one.
//!
//!     cargo bench --bench regain
//!
//! The link is cut by ending its socket, and then, so that what is under way is
//! lost, by a proxy in this process, which throws away what it gets and resets
//! the link. What passes through it, raw or not, is slowed down by it alike, and
//! has the system's congestion control: a new link's cannot be chosen before it
//! sends.
//!
//! Attempts to connect without a delay are limited, so no connection is cut more
//! often than that.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::thread;
use std::time::Duration;

use longlink::{Connection, Error, Listener};

mod harness;
#[path = "../tests/support/proxy.rs"]
#[allow(unreachable_pub)]
mod proxy;

use harness::ends::{End, Kind};
use harness::pin::pin;
use harness::{Effort, Place, Result, Server, Spread, machine, now, sockets};
use proxy::{Direction, How, Proxy};

const REPLY: usize = 64;
/// In messages of this size, 1 MiB fills the default window, which is as large.
const PART: usize = 64 * 1024;
const WINDOW: usize = 1024 * 1024;
/// What a request ends with. The rest of it is something else.
const LAST: u8 = b'?';
/// Rounds that a connection lives, in which it is cut at most twice.
const LIFE: usize = 15;
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Result<()> {
    if harness::serve(&[RAW, LONGLINK])? {
        return Ok(());
    }
    let effort = Effort::from_args();
    let rounds = if effort.rounds == 1 { 1 } else { 200 };
    println!("{}", machine());
    println!("{rounds} rounds: median (min .. max)");
    let (one, two) = Place::choose();
    let place = two.unwrap_or(one);
    let (raw, long) =
        (Server::start(RAW.name, place.there)?, Server::start(LONGLINK.name, place.there)?);
    // The proxies' threads run where they like.
    let (raw_proxy, long_proxy) = (Proxy::to(raw.address), Proxy::to(long.address));
    pin(place.here);
    println!("{place}; times in µs, and as a multiple of raw's\n");

    let (small, large) = (request(64), request(WINDOW));
    // Raw and longlink: cut directly, and through the proxies without and with
    // a window to send again.
    let mut times: [[Vec<f64>; 2]; 3] = Default::default();
    let mut connections = None;
    for round in 0..rounds {
        if round % LIFE == 0 {
            let new = (Regaining::open(long.address)?, Regaining::open(long_proxy.addr())?);
            if let Some((direct, proxied)) = connections.replace(new) {
                direct.0.close()?;
                proxied.0.close()?;
            }
        }
        let (direct, proxied) = connections.as_ref().expect("opened in the first round");
        let mut note = |what: usize, raw: f64, long: f64| {
            times[what][0].push(raw);
            times[what][1].push(long);
        };
        let raw_time = connect_and_ask(raw.address, &small)?;
        if let Some(time) = direct.end_and_ask(long.address, &small)? {
            note(0, raw_time, time);
        }
        for (what, request) in [(1, &small), (2, &large)] {
            let raw = connect_and_ask(raw_proxy.addr(), request)?;
            note(what, raw, proxied.lose_and_ask(&long_proxy, request)?);
        }
    }
    let title = ["64 bytes", "64 bytes, through a proxy", "1 MiB, through a proxy"];
    for (title, [raw, long]) in title.iter().zip(&times) {
        println!("{title}");
        if raw.is_empty() {
            println!("  skipped, a process cannot reach its own sockets here");
            continue;
        }
        println!("  raw connect and round trip  {}", micros(raw));
        let ratio = Spread::of(long.iter().zip(raw).map(|(long, raw)| long / raw));
        println!("  longlink from cut to reply  {} {ratio}", micros(long));
    }
    let adds = [0, 1].map(|side| {
        let medians = [1, 2].map(|what| Spread::of(times[what][side].iter().copied()).median);
        (medians[1] - medians[0]) * 1e6
    });
    println!("the MiB adds {:.0} to raw, and {:.0} to longlink", adds[0], adds[1]);
    Ok(())
}

fn micros(times: &[f64]) -> Spread {
    Spread::of(times.iter().map(|time| time * 1e6))
}

/// Replies when the request has come, and ends.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; PART];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            n if buffer[n - 1] == LAST => return stream.write_all(&[b'x'; REPLY]),
            _ => {}
        }
    }
}

fn request(len: usize) -> Vec<u8> {
    let mut request = vec![b'x'; len];
    request[len - 1] = LAST;
    request
}

/// The time to connect, send it all, and get the reply.
fn connect_and_ask(address: SocketAddr, request: &[u8]) -> Result<f64> {
    let start = now();
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.write_all(request)?;
    stream.read_exact(&mut [0; REPLY])?;
    Ok(start.elapsed().as_secs_f64())
}

/// A connection that is cut.
struct Regaining(Connection);

impl Regaining {
    fn open(address: SocketAddr) -> Result<Regaining> {
        Ok(Regaining(Connection::connect(address)?))
    }

    /// The time from the end of the socket, if it can be reached, to the reply.
    fn end_and_ask(&self, server: SocketAddr, request: &[u8]) -> Result<Option<f64>> {
        let before = self.calm(request)?;
        let Some(socket) = sockets::connected_to(server)? else { return Ok(None) };
        let start = now();
        socket.shutdown(Shutdown::Both)?;
        self.0.send(request)?;
        self.reply()?;
        let time = start.elapsed();
        // It may have been taken by the socket that had ended.
        self.check(before, 0..=1)?;
        Ok(Some(time.as_secs_f64()))
    }

    /// The time from the reset of a link, which has lost the request, to the reply.
    fn lose_and_ask(&self, proxy: &Proxy, request: &[u8]) -> Result<f64> {
        let before = self.calm(&request[request.len().saturating_sub(REPLY)..])?;
        let swallowed = proxy.stats().swallowed;
        proxy.swallow(Direction::Up, true);
        for part in request.chunks(PART) {
            self.0.try_send(part)?;
        }
        if request.len() == WINDOW && !matches!(self.0.try_send(b"x"), Err(Error::WouldBlock)) {
            return Err("the window is not full".into());
        }
        let all = |stats: &proxy::Stats| stats.swallowed - swallowed >= request.len() as u64;
        if !proxy.wait_for(all, PATIENCE) {
            return Err("the request was not written".into());
        }
        proxy.swallow(Direction::Up, false);
        let start = now();
        proxy.cut(How::Rst);
        self.reply()?;
        let time = start.elapsed();
        let parts = request.chunks(PART).count() as u64;
        self.check(before, parts..=parts)?;
        Ok(time.as_secs_f64())
    }

    /// The link works, and nothing is under way.
    fn calm(&self, request: &[u8]) -> Result<longlink::Stats> {
        self.0.send(request)?;
        self.reply()?;
        self.0.sync(PATIENCE)?;
        Ok(self.0.stats())
    }

    fn reply(&self) -> Result<()> {
        let reply = self.0.recv_timeout(PATIENCE)?.ok_or("no reply")?;
        if reply.len() == REPLY { Ok(()) } else { Err("not the reply".into()) }
    }

    /// What was measured is one cut, and that many messages sent again.
    fn check(&self, before: longlink::Stats, replayed: RangeInclusive<u64>) -> Result<()> {
        let after = self.0.stats();
        let cuts = after.reconnects - before.reconnects;
        let again = after.replayed - before.replayed;
        if cuts == 1 && replayed.contains(&again) && after.sessions_lost == 0 {
            return Ok(());
        }
        Err(format!("{cuts} links regained, {again} messages sent again, not {replayed:?}").into())
    }
}

/// Replies to each request, on any number of connections.
const RAW: Kind = Kind {
    name: "raw",
    listen: || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        thread::spawn(move || listener.incoming().flatten().map(answer).for_each(drop));
        Ok((address, Box::new(|| Ok(Box::new(Answering)))))
    },
    connect: |_| Ok(Box::new(Answering)),
};

const LONGLINK: Kind = Kind {
    name: "longlink",
    listen: || {
        let listener = Listener::bind("127.0.0.1:0")?;
        let address = listener.local_addr();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                thread::spawn(move || {
                    let requests = connection.incoming().flatten();
                    let last = requests.filter(|part| part.last() == Some(&LAST));
                    last.map(|_| connection.send([b'x'; REPLY])).find(|sent| sent.is_err())
                });
            }
        });
        Ok((address, Box::new(|| Ok(Box::new(Answering)))))
    },
    connect: |_| Ok(Box::new(Answering)),
};

/// Needs no orders.
struct Answering;

impl End for Answering {}
