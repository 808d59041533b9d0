//! Shows what a client observes while its link is lost and regained: a relay
//! cuts the first link, and drops the second one before it is welcomed.
//!
//!     cargo run --example events

use std::error::Error;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Sender};
use std::time::Duration;
use std::{io, thread};

use longlink::{Connection, Event, Heartbeat, Listener, RetryPolicy};

fn main() -> Result<(), Box<dyn Error>> {
    let listener = Listener::bind("127.0.0.1:0")?;
    let server = listener.local_addr();
    let serve = |client: Connection| drop(thread::spawn(move || client.incoming().count()));
    thread::spawn(move || listener.incoming().flatten().for_each(serve));
    let front = TcpListener::bind("127.0.0.1:0")?;
    let address = front.local_addr()?;
    let (up, relayed) = mpsc::channel();
    thread::spawn(move || relay(&front, server, &up));

    let (sender, events) = mpsc::channel();
    let connection = Connection::builder()
        .heartbeat(Heartbeat::every(Duration::from_millis(500)))
        .retry(RetryPolicy::fixed(Duration::from_millis(300), 5))
        .on_event(move |_, event| drop(sender.send(event))) // it must not block
        .connect(address)?;
    connection.send(b"a session that has carried a message outlives its link")?;
    let mut seen = Vec::new();
    while let Ok(event) = events.recv_timeout(Duration::from_secs(10)) {
        println!("{event}");
        match event {
            Event::Connected { .. } => relayed.recv()?.shutdown(Shutdown::Both)?,
            // After the loss: the first ping on the new link was answered.
            Event::Heartbeat { .. } => connection.abort(),
            Event::Closed { .. } => break,
            Event::Lost { .. } | Event::Failed { .. } => seen.push("lost"),
            Event::Resumed { .. } | Event::SessionLost { .. } => seen.push("regained"),
            _ => {}
        }
    }
    if seen == ["lost", "lost", "regained"] { Ok(()) } else { Err(format!("{seen:?}").into()) }
}

/// Passes bytes on, but not for the second link.
fn relay(front: &TcpListener, server: SocketAddr, up: &Sender<TcpStream>) -> io::Result<()> {
    for (number, client) in (1..).zip(front.incoming()) {
        let (client, server) = (client?, TcpStream::connect(server)?);
        if number != 2 {
            let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
            thread::spawn(move || io::copy(&mut from, &mut to));
            let _ = up.send(client.try_clone()?);
            thread::spawn(move || io::copy(&mut { server }, &mut { client }));
        }
    }
    Ok(())
}
