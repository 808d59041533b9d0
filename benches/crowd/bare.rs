//! The least that a server with a thread for each link can do: it welcomes whoever comes, and
//! each thread reads heartbeats and answers them. No session, nothing to judge or to remember.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::again::Again;
use crate::memory::STACK;
use crate::{Result, allow_all};

/// Of the wire: see `src/proto/wire.md`.
const HEADER: usize = 5;
/// With the client id and a number.
const HELLO: usize = HEADER + 63 + 28;
const PING: u8 = 6;
const PONG: u8 = 7;

pub(crate) struct Bare {
    process: Again,
    pub(crate) addr: SocketAddr,
}

impl Bare {
    pub(crate) fn start() -> Result<Bare> {
        let mut process = Again::start(&["bare"])?;
        let addr = process.hear()?.parse()?;
        Ok(Bare { process, addr })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

/// The process: serves until it is killed.
pub(crate) fn serve() -> Result<bool> {
    allow_all();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        // It ends with its link.
        thread::Builder::new().stack_size(STACK).spawn(move || answer(stream))?;
    }
    Ok(true)
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.read_exact(&mut [0; HELLO])?;
    stream.write_all(&welcome())?;
    let mut buffer = [0; 1024];
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        // An idle link's heartbeats come one by one, whole. A frame of a few bytes that is to
        // be skipped stands before the first.
        let skipped = if buffer[0] >= 0x80 { HEADER + usize::from(buffer[4]) } else { 0 };
        if buffer[skipped] == PING {
            buffer[skipped] = PONG;
            stream.write_all(&buffer[skipped..read])?;
        }
    }
}

fn welcome() -> Vec<u8> {
    let (version, epoch, received) = (1_u16, 1_u64, 0_u64);
    let (window, max_message, interval) = (1_u32 << 20, 1_u32 << 18, 0_u32);
    let (resume_within, features) = (60_000, 0);
    let mut body = version.to_be_bytes().to_vec();
    [epoch, received].iter().for_each(|number| body.extend(number.to_be_bytes()));
    for number in [window, max_message, interval, resume_within, features] {
        body.extend(number.to_be_bytes());
    }
    let mut frame = vec![1];
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend(body);
    frame
}
