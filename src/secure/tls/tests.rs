//! Both ends of a link in memory.

mod anything;
mod certificates;
mod channel;
mod connected;
mod forger;
mod handshake;
mod records;

use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::fuzzing::{ALICE, SERVER, key, keys, keys_of, of_client, of_server, print};
use super::*;
use crate::identity::{Fingerprint, PeerIdentity};
use crate::secure::verify::PROVIDER;

pub(crate) use channel::securities;

const MALLORY: u8 = 3;

/// As `setup`, with these protocols instead of longlink's.
fn speaking(mut setup: Setup, protocols: &[&str]) -> Setup {
    let protocols: Vec<Vec<u8>> = protocols.iter().map(|name| name.as_bytes().into()).collect();
    for config in setup.client.iter_mut() {
        Arc::get_mut(config).unwrap().alpn_protocols = protocols.clone();
    }
    for config in setup.server.iter_mut() {
        Arc::get_mut(config).unwrap().alpn_protocols = protocols.clone();
    }
    setup
}

fn named(seed: u8) -> Option<PeerIdentity> {
    Some(PeerIdentity::Named(format!("peer {seed}")))
}

/// One end.
struct Side {
    tls: Tls,
    input: Buffer,
    control: Vec<u8>,
    decoder: Decoder,
    ended: bool,
    failure: Option<Failure>,
}

impl Side {
    fn client(setup: &Setup) -> Side {
        let mut side = Side::new(Tls::connect(setup, "server.example").unwrap());
        side.hear(&[]);
        side
    }

    fn server(setup: &Setup) -> Side {
        Side::new(Tls::accept(setup).unwrap())
    }

    fn new(tls: Tls) -> Side {
        Side {
            tls,
            input: Buffer::default(),
            control: Vec::new(),
            decoder: Decoder::default(),
            ended: false,
            failure: None,
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.input.append(bytes);
        match self.tls.open(&mut self.input, &mut self.control, &mut self.decoder) {
            Ok(ended) => self.ended = ended,
            Err(failure) => self.failure = self.failure.take().or(Some(failure)),
        }
    }

    fn take_control(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.control)
    }

    fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut output = self.take_control();
        self.tls.seal(plain, &mut output).unwrap();
        output
    }

    fn end(&mut self) -> Vec<u8> {
        let mut output = self.take_control();
        self.tls.end(&mut output).unwrap();
        output
    }

    /// What it was told.
    fn heard(&mut self) -> Vec<u8> {
        self.decoder.take_all().to_vec()
    }

    /// Whom it knows the other to be.
    fn peer(&self) -> Option<PeerIdentity> {
        self.tls.peer().map(|peer| peer.identity.clone())
    }

    fn is_well(&self) -> bool {
        self.tls.is_open() && self.failure.is_none()
    }
}

/// What both have to say without data is said. Returns it, one flight after the other.
fn converse(client: &mut Side, server: &mut Side) -> Vec<Vec<u8>> {
    converse_over(client, server, |_, _| {})
}

/// The path alters the flights, each of which has a number.
fn converse_over(
    client: &mut Side,
    server: &mut Side,
    mut alter: impl FnMut(usize, &mut Vec<u8>),
) -> Vec<Vec<u8>> {
    let mut flights = Vec::new();
    let mut silent = 0;
    for turn in 0.. {
        let (from, to) =
            if turn % 2 == 0 { (&mut *client, &mut *server) } else { (&mut *server, &mut *client) };
        let mut flight = from.take_control();
        silent = if flight.is_empty() { silent + 1 } else { 0 };
        if silent == 2 {
            break;
        }
        if silent == 0 {
            alter(turn, &mut flight);
            to.hear(&flight);
            flights.push(flight);
        }
    }
    flights
}

/// A client and a server that know each other.
fn friends() -> (Side, Side) {
    (Side::client(&keys(ALICE, SERVER)), Side::server(&keys(SERVER, ALICE)))
}

/// And whose handshake is over.
fn pair() -> (Side, Side) {
    let (mut client, mut server) = friends();
    converse(&mut client, &mut server);
    assert!(client.is_well() && server.is_well());
    (client, server)
}

/// The alert that a flight in clear is.
fn alert(flight: &[u8]) -> Option<u8> {
    match flight {
        [0x15, 3, 3, 0, 2, 2, alert] => Some(*alert),
        _ => None,
    }
}

/// Both hear what the other says.
fn assert_connected(client: &mut Side, server: &mut Side) {
    server.hear(&client.seal(b"up"));
    client.hear(&server.seal(b"down"));
    assert_eq!((server.heard(), client.heard()), (b"up".to_vec(), b"down".to_vec()));
    assert!(client.is_well() && server.is_well());
}
