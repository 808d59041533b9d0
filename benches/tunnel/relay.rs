//! The least that a relay can be: two threads for each connection, which block, and read and
//! write 64 KiB at most. It has no session, and nothing to remember.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::between::{self, Between};
use crate::harness::Result;
use crate::harness::ends::Kind;

/// One at each end.
pub(crate) const RELAYS: Kind = Kind {
    name: "two bare relays",
    listen: || between::listen(start),
    connect: |address| between::connect(start, address),
};

/// The argument of a process that is a relay.
const RELAY: &str = "relay";

fn start(to: SocketAddr) -> Result<(SocketAddr, Between)> {
    let this = std::env::current_exe()?;
    let this = this.to_str().ok_or("a path that is no text")?;
    let mut relay = Between::start(this, &[RELAY, &to.to_string()])?;
    Ok((relay.listens()?, relay))
}

/// If this process was started as a relay, is one until it is killed. Returns whether it was.
pub(crate) fn serve() -> Result<bool> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [role, to] = &args[..] else { return Ok(false) };
    if role != RELAY {
        return Ok(false);
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    eprintln!("listening on {}", listener.local_addr()?);
    for near in listener.incoming() {
        let near = near?;
        let far = TcpStream::connect(to)?;
        for stream in [&near, &far] {
            stream.set_nodelay(true)?;
        }
        let (back_from, back_to) = (far.try_clone()?, near.try_clone()?);
        thread::spawn(move || copy(&near, &far));
        thread::spawn(move || copy(&back_from, &back_to));
    }
    Ok(true)
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return to.shutdown(Shutdown::Write),
            read => to.write_all(&buffer[..read])?,
        }
    }
}
