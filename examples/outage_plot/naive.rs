//! The client without longlink: it connects again as soon as something fails.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::Result;
use crate::course::{Course, PAUSE, Start, rest};
use crate::echo::GREETING;
use crate::tally::Tally;

/// Between two attempts to connect.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// How long the greeting, and at the end the last replies, may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longer than any outage.
const MAX_ATTEMPTS: u32 = 200;

type Arrival = (Vec<u8>, Duration);

pub(crate) fn run(course: &Course, start: Start, addr: SocketAddr) -> Result<Tally> {
    let count = course.messages();
    let mut tally = Tally::new("TcpStream", count);
    let (arrived, arrivals) = mpsc::channel();
    let mut link = Link::dial(addr, start, &arrived)?;
    for (number, due) in (0..count).zip(0..) {
        start.wait_until(PAUSE * due);
        tally.sent.push(start.time());
        let line = format!("{number}\n");
        while link.is_over() || link.stream.write_all(line.as_bytes()).is_err() {
            link = Link::dial(addr, start, &arrived)?;
        }
    }
    link.finish()?;
    drop(arrived);
    for (line, time) in arrivals {
        tally.arrived(&line, time)?;
    }
    Ok(tally)
}

struct Link {
    stream: TcpStream,
    /// Reading has failed, or ended.
    over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Link {
    fn dial(addr: SocketAddr, start: Start, arrived: &Sender<Arrival>) -> Result<Link> {
        for _ in 0..MAX_ATTEMPTS {
            if let Ok(stream) = connect(addr) {
                println!("{:6.2}s TcpStream: connected", start.time().as_secs_f64());
                return Link::new(stream, start, arrived.clone());
            }
            rest(RETRY_DELAY);
        }
        Err("the plain client cannot connect".into())
    }

    fn new(stream: BufReader<TcpStream>, start: Start, arrived: Sender<Arrival>) -> Result<Link> {
        let over = Arc::new(AtomicBool::new(false));
        let writer = stream.get_ref().try_clone()?;
        let says_so = over.clone();
        let reader = thread::spawn(move || {
            read(stream, start, &arrived);
            says_so.store(true, Ordering::SeqCst);
        });
        Ok(Link { stream: writer, over, reader: Some(reader) })
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Waits for the replies to everything.
    fn finish(mut self) -> io::Result<()> {
        self.stream.set_read_timeout(Some(PATIENCE))?;
        let _ = self.stream.shutdown(Shutdown::Write);
        self.reader.take().map(JoinHandle::join);
        Ok(())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.reader.take().map(JoinHandle::join);
    }
}

/// Returns when the server itself has answered.
fn connect(addr: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = BufReader::new(stream);
    let mut greeting = String::new();
    stream.read_line(&mut greeting)?;
    if greeting != GREETING {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    stream.get_ref().set_read_timeout(None)?;
    Ok(stream)
}

fn read(mut stream: impl BufRead, start: Start, arrived: &Sender<Arrival>) {
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line).is_ok() && line.pop() == Some(b'\n') {
        let _ = arrived.send((std::mem::take(&mut line), start.time()));
    }
}
