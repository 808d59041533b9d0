//! The server: books what clients send.

use std::path::Path;
use std::thread;

use longlink::{Bytes, Connection, Identity, PeerIdentity, Security, Trust};

use crate::booking::Booking;
use crate::books::{self, Entry};
use crate::{Result, chain};

/// Why a client is refused: for good, since a person has to look at it.
const NO_ID: u32 = 1;
const NO_BOOKING: u32 = 2;
const GAP: u32 = 3;

/// In its folder of keys a server finds its own, and those of its clients.
pub const KEY: &str = "server.key";
pub const PEERS: &str = "peers";

pub fn run(books: &str, address: &str, keys: &Path) -> Result<()> {
    books::open(books)?; // or say now what is wrong
    let identity = Identity::from_file(keys.join(KEY))?;
    let security = Security::keys(identity, Trust::peers_file(keys.join(PEERS))?);
    let listener = Connection::builder().security(security).bind(address)?;
    println!("listening on {}", listener.local_addr());
    for connection in listener.incoming() {
        let (connection, books) = (connection?, books.to_string());
        thread::spawn(move || {
            if let Err(error) = serve(&connection, &books) {
                eprintln!("{}", chain(&*error));
            }
        });
    }
    Ok(())
}

/// An error, of the database for instance, ends the connection and acknowledges nothing: the client
/// comes back with the same message.
fn serve(connection: &Connection, books: &str) -> Result<()> {
    println!("new session");
    let mut books = books::open(books)?;
    let who = (connection.peer_identity(), connection.client_id());
    let (Some(PeerIdentity::Named(name)), Some(id)) = who else {
        connection.refuse(NO_ID, "this client has no id");
        return Ok(());
    };
    let client = books::key(&name, id);
    while let Some((number, message)) = connection.recv_numbered()? {
        let Some(booking) = parse(&message) else {
            connection.refuse(NO_BOOKING, "this is no booking");
            return Ok(());
        };
        match books.book(&client, number, booking)? {
            Entry::New => {}
            Entry::Known => println!("sent again"),
            Entry::Gap => {
                connection.refuse(GAP, "bookings before this are missing");
                return Ok(());
            }
        }
    }
    Ok(connection.close()?)
}

fn parse(message: &Bytes) -> Option<Booking> {
    str::from_utf8(message).ok()?.parse().ok()
}
