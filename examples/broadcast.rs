//! Shows a chat room in which one slow client slows nobody: each member's window
//! is its queue, and what does not fit is missed by that member alone, which is
//! told how much once it listens again.
//!
//!     cargo run --example broadcast

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use longlink::{Bytes, Connection, Error as LinkError};

const LINES: usize = 2_000;

struct Member {
    connection: Arc<Connection>,
    missed: u64,
}

#[derive(Default)]
struct Room {
    members: Mutex<Vec<Member>>,
}

impl Room {
    /// Receives what one member says, until it leaves.
    fn host(&self, connection: Arc<Connection>) {
        for message in connection.incoming().flatten() {
            self.say(&message);
        }
        self.members.lock().unwrap().retain(|m| !Arc::ptr_eq(&m.connection, &connection));
        let _ = connection.close();
    }

    /// Blocks for nobody: `try_send` takes a message, or says at once that it cannot.
    fn say(&self, message: &Bytes) {
        for member in &mut *self.members.lock().unwrap() {
            if member.missed > 0 {
                let note = format!("({} lines missed)", member.missed);
                if member.connection.try_send(note).is_ok() {
                    member.missed = 0;
                }
            }
            // Of those that are gone, their own thread takes leave.
            if let Err(LinkError::WouldBlock) = member.connection.try_send(message) {
                member.missed += 1;
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let listener = Connection::builder().window(64 * 1024).bind("127.0.0.1:0")?;
    let address = listener.local_addr();
    let room = Arc::new(Room::default());
    let joins = |name: &str| -> longlink::Result<(Connection, Arc<Connection>)> {
        let client = Connection::builder().window(64 * 1024).connect(address)?;
        let connection = Arc::new(listener.accept()?);
        println!("{name} joins from {}", connection.peer_addr());
        let member = Member { connection: connection.clone(), missed: 0 };
        room.members.lock().unwrap().push(member);
        let (room, host) = (room.clone(), connection.clone());
        thread::spawn(move || room.host(host));
        Ok((client, connection))
    };
    let ((alice, _), (bob, _), (slow, _)) = (joins("alice")?, joins("bob")?, joins("slow")?);

    for number in 0..LINES {
        let line = format!("alice: line {number}");
        alice.send(&line)?;
        for listening in [&alice, &bob] {
            assert_eq!(listening.recv()?.as_deref(), Some(line.as_bytes()));
        }
    }
    let missed = room.members.lock().unwrap()[2].missed;
    println!("alice and bob have all {LINES} lines; slow, who never listened, misses {missed}");
    assert_ne!(missed, 0, "slow has a queue without an end");

    // Once slow listens, it gets what was kept for it, and goes on from there.
    let kept = LINES as u64 - missed;
    for number in 0..kept {
        assert_eq!(slow.recv()?, Some(Bytes::from(format!("alice: line {number}"))));
    }
    // As soon as there is room again, it is told.
    let note = loop {
        alice.send("alice: are you there?")?;
        if let Ok(note) = slow.recv_timeout(Duration::from_millis(50)) {
            break note.ok_or("the room has closed")?;
        }
    };
    println!("slow reads {:?}", String::from_utf8_lossy(&note));
    assert!(note.ends_with(b" lines missed)"));
    alice.abort();
    slow.abort();
    bob.close()?;
    // Their hosts have seen it, and are done.
    listener.drain(Duration::from_secs(5))?;
    Ok(())
}
