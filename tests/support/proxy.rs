//! A TCP proxy on loopback whose faults a test commands: cut, swallow, stall, delay, slice, refuse,
//! flip. It can record what comes.
//!
//! A fault acts at once on live connections, even within a chunk; only bytes already in a `write`
//! still go. Without faults the proxy is transparent: half-close and reset pass through in their
//! turn, though a reset drops what the kernel has not sent; what upstream refuses is reset.
//!
//! A client's `connect` returns before the proxy has accepted: wait for `accepted` before you
//! change what concerns new connections, and for a reply or for `up` before you cut.
#![allow(dead_code)] // Each test binary uses a part of it.
#![allow(clippy::disallowed_methods)] // It delays real bytes, by the real clock.

use socket2::{Domain, SockRef, Socket, Type};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Read at once, and thus the most that a stalled direction still takes in.
const CHUNK: usize = 16 * 1024;
/// Kernel buffers asked for on each socket: small, so that back-pressure reaches the sender soon.
const KERNEL_BUFFER: usize = 128 * 1024;
/// A blocked write looks this often for a cut: freed by a shutdown, it would send a FIN before the
/// RST.
const WRITE_SLICE: Duration = Duration::from_millis(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Forwards connections to a server until dropped, which closes every socket and joins every
/// thread.
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From client to server.
    Up,
    /// From server to client.
    Down,
}

/// How a connection ends, on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Both read what was forwarded, then the end; what they still send is read and dropped until
    /// they close, so that no RST follows.
    Fin,
    /// Both get a reset, which drops what the peer's kernel has not taken yet; no FIN before it.
    Rst,
}

/// What happened so far. Bytes are counted right after they were written: a peer may have them
/// before they are seen here, so wait for them with `wait_for`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted so far, those turned away included.
    pub accepted: usize,
    /// Connections neither over nor cut; held and black ones count.
    pub live: usize,
    /// Live connections that lost something to `swallow`.
    pub black: usize,
    /// Connections ended by `cut`, `cut_black` or `cut_after`.
    pub cut: usize,
    /// Bytes written to servers.
    pub up: u64,
    /// Bytes written to clients.
    pub down: u64,
    /// The writes that took them there.
    pub writes: u64,
    /// Bytes thrown away by `swallow`, of both directions.
    pub swallowed: u64,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1.
    pub fn to(upstream: SocketAddr) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind the proxy");
        set_buffers(SockRef::from(&listener)).expect("set the proxy's buffers");
        let addr = listener.local_addr().expect("the proxy's address");
        let shared = Arc::new(Shared::default());
        shared.lock().upstream = Some(upstream);
        let acceptor = thread::Builder::new().name("proxy accept".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        Proxy { addr, shared, acceptor: Some(acceptor.expect("start the proxy")) }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Later connections go to `upstream`.
    pub fn retarget(&self, upstream: SocketAddr) {
        self.shared.change(|state| state.upstream = Some(upstream));
    }

    /// Ends all live connections and returns how many; FIN or RST is out when it returns.
    pub fn cut(&self, how: How) -> usize {
        self.shared.cut(how, |_| true)
    }

    /// Ends the live connections that lost bytes to `swallow`, like a NAT that answers at last.
    pub fn cut_black(&self, how: How) -> usize {
        self.shared.cut(how, Link::is_black)
    }

    /// Cuts, once, the connection that forwards the n-th byte from now, right behind it; with 0,
    /// the one that would forward the next byte. An RST waits until the peer's kernel has all n
    /// (on Linux; elsewhere it may swallow the last ones). Each direction has one such order; a new
    /// one replaces it. Exact while one connection at a time is busy in that direction.
    pub fn cut_after(&self, direction: Direction, n: u64, how: How) {
        self.shared.change(|state| {
            state.orders += 1;
            state.order[direction as usize] = Some(CutOrder { serial: state.orders, left: n, how });
        });
    }

    /// Flips these bits, once, of the n-th byte that comes from now on, counted from 0. Each
    /// direction has one such order; a new one replaces it.
    pub fn flip(&self, direction: Direction, n: u64, bits: u8) {
        self.shared.change(|state| state.flip[direction as usize] = Some((n, bits)));
    }

    /// Whether the byte of the last such order has come.
    pub fn has_flipped(&self, direction: Direction) -> bool {
        self.shared.lock().flip[direction as usize].is_none()
    }

    /// Records what comes from now on, forwarded or not.
    pub fn record(&self) {
        self.shared.change(|state| state.recorded = Some(Default::default()));
    }

    /// What was recorded, of all connections in this direction.
    pub fn recorded(&self, direction: Direction) -> Vec<u8> {
        let state = self.shared.lock();
        state.recorded.as_ref().expect("it is recorded")[direction as usize].clone()
    }

    /// Reads and throws away, FIN and RST included, while sockets stay open. After it is switched
    /// off, a connection that lost something stays black in that direction until it is cut or both
    /// ends have closed; the others, and new ones, pass.
    pub fn swallow(&self, direction: Direction, on: bool) {
        self.shared.change(|state| state.swallow[direction as usize] = on);
    }

    /// Stops reading (16 KiB may still be taken in, not passed on); nothing is lost in the end.
    pub fn stall(&self, direction: Direction, on: bool) {
        self.shared.change(|state| state.stall[direction as usize] = on);
    }

    /// What is read from now on is forwarded that much later, in order, in both directions: a
    /// longer way, not a slower one, and without a limit to what is under way.
    pub fn delay(&self, delay: Duration) {
        self.shared.change(|state| state.delay = delay);
    }

    /// Waits so long after each piece that it forwards, of at most 16 KiB, in both directions: a
    /// slow way.
    pub fn pace(&self, pause: Duration) {
        self.shared.change(|state| state.pace = pause);
    }

    /// Forwards each byte by a write of its own, without Nagle.
    pub fn slice(&self, on: bool) {
        self.shared.change(|state| state.slice = on);
    }

    /// New connections are reset as soon as they are accepted (the port stays open: `connect`
    /// itself succeeds). Goes before `accept_and_close`.
    pub fn refuse(&self, on: bool) {
        self.shared.change(|state| state.refuse = on);
    }

    /// New connections get a FIN without a byte, as `How::Fin`.
    pub fn accept_and_close(&self, on: bool) {
        self.shared.change(|state| state.close = on);
    }

    /// New connections are accepted, then not read, written or passed on until this is switched
    /// off; their server is dialled only then.
    pub fn hold_connect(&self, on: bool) {
        self.shared.change(|state| {
            state.hold = on;
            state.links.values_mut().for_each(|link| link.held &= on);
        });
    }

    pub fn stats(&self) -> Stats {
        self.shared.lock().stats()
    }

    /// Waits until `done`, looking at each change; false (and the counters on standard error) if
    /// that takes longer than `within`.
    pub fn wait_for(&self, mut done: impl FnMut(&Stats) -> bool, within: Duration) -> bool {
        let state = self.shared.lock();
        let waited =
            self.shared.changed.wait_timeout_while(state, within, |state| !done(&state.stats()));
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            eprintln!("proxy {}: not within {within:?}: {:?}", self.addr, state.stats());
        }
        !timeout.timed_out()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.stop = true;
            state.links.values().for_each(|link| link.sockets.shutdown(Shutdown::Both));
        });
        let woken = TcpStream::connect(self.addr).is_ok();
        let Some(acceptor) = self.acceptor.take().filter(|_| woken) else {
            return;
        };
        assert!(acceptor.join().is_ok() || thread::panicking(), "a proxy thread panicked");
    }
}

impl Direction {
    pub const BOTH: [Direction; 2] = [Direction::Up, Direction::Down];
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// Arrays of two are indexed by `Direction`.
#[derive(Default)]
struct State {
    upstream: Option<SocketAddr>,
    stop: bool,
    refuse: bool,
    close: bool,
    hold: bool,
    slice: bool,
    delay: Duration,
    pace: Duration,
    stall: [bool; 2],
    swallow: [bool; 2],
    order: [Option<CutOrder>; 2],
    orders: u64,
    flip: [Option<(u64, u8)>; 2],
    recorded: Option<[Vec<u8>; 2]>,
    links: BTreeMap<usize, Link>,
    /// Without `live` and `black`, which are counted when asked for.
    counted: Stats,
}

/// A `cut_after`. Bytes are taken off before they are written, and given back if they were not.
struct CutOrder {
    serial: u64,
    left: u64,
    how: How,
}

/// The leave to write `len` bytes, taken off the order of that serial.
struct Pass {
    len: usize,
    order: Option<u64>,
}

/// One connection, from accept until its sockets are closed.
struct Link {
    sockets: Arc<Sockets>,
    held: bool,
    cut: Option<How>,
    /// `swallow` took something: what came later must not follow.
    lost: [bool; 2],
    /// The source has ended.
    ended: [bool; 2],
    /// The destination takes no more.
    gone: [bool; 2],
}

struct Sockets {
    client: TcpStream,
    server: OnceLock<TcpStream>,
}

/// One direction of one connection.
struct Pump<'a> {
    shared: &'a Shared,
    id: usize,
    d: Direction,
    from: &'a TcpStream,
    /// None if the connection was over before it had a server.
    to: Option<&'a TcpStream>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    fn wait_while(&self, condition: impl FnMut(&mut State) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(self.lock(), condition).unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self, how: How, which: impl Fn(&Link) -> bool) -> usize {
        let ids: Vec<usize> = self.change(|state| {
            let mut ids = Vec::new();
            for (id, link) in &mut state.links {
                if link.cut.is_none() && which(link) {
                    link.cut(how);
                    ids.push(*id);
                }
            }
            state.counted.cut += ids.len();
            ids
        });
        if how == How::Rst {
            drop(self.wait_while(|state| ids.iter().any(|id| state.links.contains_key(id))));
        }
        ids.len()
    }

    fn accept(&self, listener: &TcpListener) {
        thread::scope(|scope| {
            loop {
                let accepted = listener.accept();
                let mut state = self.lock();
                if state.stop {
                    return;
                }
                let Ok((client, _)) = accepted else { continue };
                state.counted.accepted += 1;
                let id = state.counted.accepted;
                if state.refuse {
                    reset_on_close(&client);
                    drop(client);
                } else if prepare(&client).is_ok() {
                    let sockets = Arc::new(Sockets { client, server: OnceLock::new() });
                    let mut link = Link::new(Arc::clone(&sockets), state.hold);
                    if state.close {
                        link.cut(How::Fin);
                    }
                    state.links.insert(id, link);
                    let thread = thread::Builder::new().name(format!("proxy up {id}"));
                    let serve = move || self.serve(id, sockets);
                    thread.spawn_scoped(scope, serve).expect("start a pump");
                }
                drop(state);
                self.changed.notify_all();
            }
        });
    }

    fn serve(&self, id: usize, sockets: Arc<Sockets>) {
        let state = self.wait_while(|state| state.links[&id].held && !state.is_over(id));
        let upstream = state.upstream.filter(|_| !state.is_over(id));
        drop(state);
        if let Some(upstream) = upstream {
            let server = connect(upstream);
            self.change(|state| match server {
                _ if state.is_over(id) => {}
                Ok(server) => sockets.server.set(server).expect("set here only"),
                Err(_) => state.link(id).cut(How::Rst),
            });
        }
        let (client, server) = (&sockets.client, sockets.server.get());
        thread::scope(|scope| {
            if let Some(from) = server {
                let d = Direction::Down;
                let down = Pump { shared: self, id, d, from, to: Some(client) };
                let thread = thread::Builder::new().name(format!("proxy down {id}"));
                thread.spawn_scoped(scope, move || down.run()).expect("start a pump");
            }
            Pump { shared: self, id, d: Direction::Up, from: client, to: server }.run();
        });
        drop(sockets);
        self.change(|state| state.links.remove(&id)); // The last handle: here the sockets close.
    }
}

impl Pump<'_> {
    /// Brings everything from source to destination, through the delay line.
    fn run(&self) {
        let mut source = self.from;
        let mut line: VecDeque<(Instant, Result<Vec<u8>, How>)> = VecDeque::new();
        let mut ended = false;
        let mut buffer = vec![0; CHUNK];
        while !self.shared.lock().is_closing(self.id) {
            let now = Instant::now();
            let due = line.front().map(|&(due, _)| due);
            if let Some(due) = due.filter(|&due| ended || due <= now) {
                self.pause(due.saturating_duration_since(now));
                match line.pop_front().expect("seen above").1 {
                    Ok(mut bytes) => {
                        self.shared.lock().pass(self.d, &mut bytes);
                        self.forward(&bytes);
                    }
                    Err(how) => return self.end(how),
                }
                continue;
            }
            // On a socket that has ended this may fail, but then `read` returns at once.
            let _ = self.from.set_read_timeout(due.map(|due| due - now));
            let input = match source.read(&mut buffer) {
                Ok(0) => Err(How::Fin),
                Ok(n) => Ok(buffer[..n].to_vec()),
                Err(error) if is_passing(&error) => continue,
                Err(_) => Err(How::Rst),
            };
            ended = input.is_err();
            line.push_back((Instant::now() + self.shared.lock().delay, input));
        }
    }

    /// Sleeps for `time`, or until the connection is over.
    fn pause(&self, time: Duration) {
        let live = |state: &mut State| !state.is_over(self.id);
        drop(self.shared.changed.wait_timeout_while(self.shared.lock(), time, live));
    }

    /// Waits as long as this direction is stalled.
    fn unstalled(&self) -> MutexGuard<'_, State> {
        self.shared.wait_while(|state| state.stall[self.d as usize] && !state.is_over(self.id))
    }

    /// Writes of `bytes` what the faults allow, and drops the rest.
    fn forward(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let pass = self.unstalled().gate(self.id, self.d, bytes.len());
            let Some(pass) = pass else { return self.shared.changed.notify_all() };
            let result = self.to.expect("without a server it is over").write(&bytes[..pass.len]);
            let written = *result.as_ref().unwrap_or(&0);
            let order = self.shared.change(|state| {
                if result.is_err_and(|error| !is_passing(&error)) {
                    state.link(self.id).cannot_deliver(self.d);
                }
                state.settle(self.d, &pass, written)
            });
            bytes = &bytes[written..];
            let pace = self.shared.lock().pace;
            if !pace.is_zero() {
                self.pause(pace);
            }
            order.inspect(|order| self.obey(order.how));
        }
    }

    /// Cuts for a `cut_after`. An RST would take away what still waits in the kernel: it goes when
    /// the peer has acknowledged everything.
    fn obey(&self, how: How) {
        let waits = || how == How::Rst && self.to.is_some_and(is_unacknowledged);
        while !self.shared.lock().is_over(self.id) && waits() {
            self.pause(Duration::from_millis(1));
        }
        self.shared.change(|state| {
            if !state.is_over(self.id) {
                state.link(self.id).cut(how);
                state.counted.cut += 1;
            }
        });
    }

    /// Passes on that the source has ended.
    fn end(&self, how: How) {
        let mut state = self.unstalled();
        let (over, swallow) = (state.is_over(self.id), state.swallow[self.d as usize]);
        let link = state.link(self.id);
        link.ended[self.d as usize] = true;
        link.lost[self.d as usize] |= swallow;
        if !over && !link.lost[self.d as usize] {
            match self.to {
                Some(to) if how == How::Fin && !link.gone[1 - self.d as usize] => {
                    let _ = to.shutdown(Shutdown::Write); // Fails only if it has ended too.
                }
                _ => link.cut(How::Rst),
            }
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl State {
    fn stats(&self) -> Stats {
        let live = || self.links.values().filter(|link| link.cut.is_none());
        let black = live().filter(|link| link.is_black()).count();
        Stats { live: live().count(), black, ..self.counted }
    }

    fn link(&mut self, id: usize) -> &mut Link {
        self.links.get_mut(&id).expect("its own thread removes it, after its pumps")
    }

    fn is_over(&self, id: usize) -> bool {
        self.stop || self.links[&id].cut.is_some()
    }

    /// Over, and the sockets are to close without a look at what still comes.
    fn is_closing(&self, id: usize) -> bool {
        self.stop || self.links[&id].cut == Some(How::Rst)
    }

    /// How many of the next `len` bytes may be written (0: the order wants a cut before them);
    /// None: they are to be dropped.
    fn gate(&mut self, id: usize, d: Direction, len: usize) -> Option<Pass> {
        let swallow = self.swallow[d as usize];
        let over = self.is_over(id);
        let link = self.link(id);
        if over || link.gone[d as usize] {
            return None;
        }
        link.lost[d as usize] |= swallow;
        if link.lost[d as usize] {
            self.counted.swallowed += len as u64;
            return None;
        }
        let mut pass = Pass { len: if self.slice { 1 } else { len }, order: None };
        if let Some(order) = &mut self.order[d as usize] {
            pass.len = usize::try_from(order.left).map_or(pass.len, |left| pass.len.min(left));
            pass.order = Some(order.serial);
            order.left -= pass.len as u64;
        }
        Some(pass)
    }

    /// These have come, and are next to be forwarded.
    fn pass(&mut self, d: Direction, bytes: &mut [u8]) {
        if let Some((left, bits)) = &mut self.flip[d as usize] {
            match usize::try_from(*left).ok().and_then(|at| bytes.get_mut(at)) {
                Some(byte) => {
                    *byte ^= *bits;
                    self.flip[d as usize] = None;
                }
                None => *left -= bytes.len() as u64,
            }
        }
        if let Some(recorded) = &mut self.recorded {
            recorded[d as usize].extend_from_slice(bytes);
        }
    }

    /// Counts what was written of a pass; returns the order that it has fulfilled.
    fn settle(&mut self, d: Direction, pass: &Pass, written: usize) -> Option<CutOrder> {
        self.counted.writes += u64::from(written > 0);
        match d {
            Direction::Up => self.counted.up += written as u64,
            Direction::Down => self.counted.down += written as u64,
        }
        let place = &mut self.order[d as usize];
        let order = place.as_mut().filter(|order| Some(order.serial) == pass.order)?;
        order.left += (pass.len - written) as u64;
        place.take_if(|order| order.left == 0)
    }
}

impl Link {
    fn new(sockets: Arc<Sockets>, held: bool) -> Link {
        Link { sockets, held, cut: None, lost: [false; 2], ended: [false; 2], gone: [false; 2] }
    }

    fn is_black(&self) -> bool {
        self.lost.contains(&true)
    }

    fn cut(&mut self, how: How) {
        self.cut = Some(how);
        match how {
            How::Fin => self.sockets.shutdown(Shutdown::Write),
            How::Rst => {
                self.sockets.each().for_each(reset_on_close);
                self.sockets.shutdown(Shutdown::Read); // Frees the pumps and sends nothing.
            }
        }
    }

    /// The destination of `d` failed. The pump that reads from it passes that on, behind what it
    /// still finds there; unless it has passed on a FIN and left.
    fn cannot_deliver(&mut self, d: Direction) {
        let back = 1 - d as usize;
        self.gone[d as usize] = true;
        if self.cut.is_none() && self.ended[back] && !self.lost[back] {
            self.cut(How::Rst);
        }
    }
}

impl Sockets {
    fn each(&self) -> impl Iterator<Item = &TcpStream> {
        [Some(&self.client), self.server.get()].into_iter().flatten()
    }

    fn shutdown(&self, how: Shutdown) {
        for socket in self.each() {
            let _ = socket.shutdown(how); // Fails only on a socket that has ended.
        }
    }
}

fn connect(upstream: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(upstream), Type::STREAM, None)?;
    set_buffers(SockRef::from(&socket))?;
    socket.connect_timeout(&upstream.into(), CONNECT_TIMEOUT)?;
    let server = TcpStream::from(socket);
    if server.local_addr()? == upstream {
        return Err(ErrorKind::ConnectionRefused.into()); // A dead port connected to itself.
    }
    prepare(&server)?;
    Ok(server)
}

fn set_buffers(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_recv_buffer_size(KERNEL_BUFFER)?;
    socket.set_send_buffer_size(KERNEL_BUFFER)
}

fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(WRITE_SLICE))
}

/// Whether the kernel holds bytes that the peer's has not taken; only Linux tells.
fn is_unacknowledged(socket: &TcpStream) -> bool {
    let (Ok(local), Ok(peer)) = (socket.local_addr(), socket.peer_addr()) else { return false };
    let table = if local.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let (local, peer) = (format!(":{:04X}", local.port()), format!(":{:04X}", peer.port()));
    fs::read_to_string(table).unwrap_or_default().lines().any(|line| {
        // Number, local address, remote address, state, send queue:receive queue, ...
        let fields: Vec<&str> = line.split_whitespace().take(5).collect();
        matches!(fields[..], [_, from, to, _, queues]
            if from.ends_with(&local) && to.ends_with(&peer) && !queues.starts_with("00000000:"))
    })
}

fn reset_on_close(socket: &TcpStream) {
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO)); // Fails only on a dead one.
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
