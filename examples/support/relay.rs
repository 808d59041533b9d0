//! A relay that cuts links: for the demonstrations, and not to be copied.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Starts one before a server, and returns its address. It cuts link `n`, of which the first is 1,
/// after `limit(n)` bytes from the client.
pub(crate) fn start(
    server: String,
    limit: impl Fn(u64) -> u64 + Send + 'static,
) -> io::Result<SocketAddr> {
    let front = TcpListener::bind("127.0.0.1:0")?;
    let address = front.local_addr()?;
    thread::spawn(move || -> io::Result<()> {
        for (number, client) in (1..).zip(front.incoming()) {
            let (client, limit) = (client?, limit(number));
            let Ok(server) = TcpStream::connect(&server) else { continue };
            let (mut back, mut replies) = (client.try_clone()?, server.try_clone()?);
            thread::spawn(move || io::copy(&mut replies, &mut back));
            let _ = io::copy(&mut (&client).take(limit), &mut &server);
            let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        }
        Ok(())
    });
    Ok(address)
}
