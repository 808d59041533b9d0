//! One link's TLS: rustls' unbuffered connection, which keeps neither what it has opened nor
//! what it has sealed.
//!
//! It is one for both directions. A handshake message that comes in pieces, in several
//! records, it remembers as places in the reader's input. And to seal a record, too, it has to
//! be asked what to do next; without that input it panics then. So a peer that sends a
//! message in pieces after the handshake, which none has a reason to, fails at once, and from
//! then on rustls is asked for nothing.

#[cfg(all(any(test, fuzzing), not(shuttle), not(miri)))]
pub(super) mod fuzzing;
#[cfg(all(test, not(shuttle), not(miri)))]
pub(super) mod tests;

use std::fmt;
use std::net::Ipv4Addr;
use std::time::SystemTime;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedConnectionCommon,
    UnbufferedStatus,
};
use rustls::{AlertDescription, CertificateError, Error};

use super::certified::{explain, server, server_name};
use super::config::{ALPN, Peers, Setup};
use super::halves::record_len;
use super::verify::{Untrusted, fingerprint};
use super::{Failure, Layer, NOT_LONGLINK};
use crate::error::Rejection;
use crate::identity::Peer;
use crate::proto::batch::Records;
use crate::proto::buffer::Buffer;
use crate::proto::frame::Decoder;
use crate::sync::{Arc, wall_clock};

/// A record adds a header (5), the type of what is in it (1) and a tag (16, in all suites of
/// TLS 1.3 that rustls has).
const RECORDS: Records = Records { most: 16 * 1024, adds: 22 };

/// What a change of keys takes, in front of a record: its own request, and an answer.
const CHANGES: usize = 2 * (22 + 5);

/// The first byte of a record: from change_cipher_spec to application_data.
const TYPES: std::ops::RangeInclusive<u8> = 20..=23;

/// Why nothing is sealed. The link is at fault, not the peer.
const OUT_OF_TURN: Failure = Failure::Protocol("TLS is not open");

/// A state of rustls that this does not know, or did not expect.
const UNEXPECTED: Failure = Failure::Protocol("TLS is in a state that is not known");

pub(super) struct Tls {
    connection: Connection,
    state: State,
}

enum Connection {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// What is known of a link beside its connection.
#[derive(Debug)]
struct State {
    /// By which name a client has dialed the server.
    dialed: Option<Box<str>>,
    peers: Peers,
    /// When the handshake began. What the peer shows is verified in the midst of it.
    began: SystemTime,
    /// The handshake is over.
    open: bool,
    /// Both say that they speak longlink.
    speaks_longlink: bool,
    /// Whom the handshake has proven the peer to be.
    peer: Option<Arc<Peer>>,
    end_heard: bool,
    failed: bool,
}

/// rustls has a type for each side, which differ in nothing that matters here.
type Common<D> = UnbufferedConnectionCommon<D>;
type Process<D> = for<'c, 'i> fn(&'c mut Common<D>, &'i mut [u8]) -> UnbufferedStatus<'c, 'i, D>;
const OF_CLIENT: Process<ClientConnectionData> =
    Common::<ClientConnectionData>::process_tls_records;
const OF_SERVER: Process<ServerConnectionData> =
    Common::<ServerConnectionData>::process_tls_records;

/// What is to be sealed.
#[derive(Clone, Copy)]
enum Say<'a> {
    Data(&'a [u8]),
    End,
}

impl Tls {
    pub(super) fn connect(setup: &Setup, host: &str) -> Result<Tls, Failure> {
        let name = match setup.peers {
            // A server is known by its key. An address is not sent.
            Peers::Keys(_) => ServerName::from(Ipv4Addr::UNSPECIFIED),
            Peers::Certified(_) => server_name(host).map_err(|what| Failure::Tls(what.into()))?,
        };
        let state = State::new(setup, Some(name.to_str().into()));
        let config = setup.client.clone().map_err(|why| Failure::Tls(why.into()))?;
        let tls = UnbufferedClientConnection::new(config, name).map_err(broken)?;
        Ok(Tls { connection: Connection::Client(tls), state })
    }

    pub(super) fn accept(setup: &Setup) -> Result<Tls, Failure> {
        let config = setup.server.clone().map_err(|why| Failure::Tls(why.into()))?;
        let tls = UnbufferedServerConnection::new(config).map_err(broken)?;
        Ok(Tls { connection: Connection::Server(tls), state: State::new(setup, None) })
    }

    fn say(&mut self, what: Say, output: &mut Vec<u8>) -> Result<(), Failure> {
        let state = &mut self.state;
        let result = match &mut self.connection {
            Connection::Client(tls) => state.say(tls, OF_CLIENT, what, output),
            Connection::Server(tls) => state.say(tls, OF_SERVER, what, output),
        };
        state.failed |= result.is_err();
        result
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = self.state.peer.as_ref().map(|peer| &peer.identity);
        f.debug_tuple("Tls").field(&identity).finish()
    }
}

impl Layer for Tls {
    fn open(
        &mut self,
        input: &mut Buffer,
        control: &mut Vec<u8>,
        to: &mut Decoder,
    ) -> Result<bool, Failure> {
        let state = &mut self.state;
        let result = match &mut self.connection {
            Connection::Client(tls) => state.open(tls, OF_CLIENT, input, control, to),
            Connection::Server(tls) => state.open(tls, OF_SERVER, input, control, to),
        };
        state.failed |= result.is_err();
        result.map(|()| state.end_heard)
    }

    fn seal(&mut self, plain: &[u8], output: &mut Vec<u8>) -> Result<(), Failure> {
        self.say(Say::Data(plain), output)
    }

    fn end(&mut self, output: &mut Vec<u8>) -> Result<(), Failure> {
        self.say(Say::End, output)
    }

    fn records(&self) -> Records {
        RECORDS
    }

    fn is_open(&self) -> bool {
        self.state.open
    }

    fn speaks_longlink(&self) -> bool {
        self.state.speaks_longlink
    }

    fn peer(&self) -> Option<Arc<Peer>> {
        self.state.peer.clone()
    }
}

impl State {
    fn new(setup: &Setup, dialed: Option<Box<str>>) -> State {
        State {
            dialed,
            peers: setup.peers.clone(),
            began: wall_clock(),
            open: false,
            speaks_longlink: false,
            peer: None,
            end_heard: false,
            failed: false,
        }
    }

    fn open<D>(
        &mut self,
        tls: &mut Common<D>,
        process: Process<D>,
        input: &mut Buffer,
        control: &mut Vec<u8>,
        to: &mut Decoder,
    ) -> Result<(), Failure> {
        if self.failed {
            return Err(OUT_OF_TURN);
        }
        let first = input.unread().first();
        if !self.open && first.is_some_and(|first| !TYPES.contains(first)) {
            return Err(Failure::NotTls);
        }
        while !self.end_heard {
            let UnbufferedStatus { discard, state } = process(tls, input.unread_mut());
            let mut used = discard;
            let mut all = false;
            let mut waits = false;
            match state {
                // It stays where it is until the peer is known.
                Ok(ConnectionState::ReadTraffic(_)) if !self.open => waits = true,
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(|error| self.failure(error))?;
                        used += record.discard;
                        to.append(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, control),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.end_heard = true,
                Ok(ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake) => {
                    all = true;
                }
                Ok(_) => return Err(UNEXPECTED),
                Err(error) => {
                    input.skip(used);
                    // The alert is encoded without a look at the input.
                    while tls.wants_write()
                        && let Ok(ConnectionState::EncodeTlsData(alert)) =
                            process(tls, input.unread_mut()).state
                    {
                        encode(alert, control);
                    }
                    let refusal = match self.dialed.is_some() && !tls.is_handshaking() {
                        true => refusal(&error),
                        false => None,
                    };
                    return Err(refusal.unwrap_or_else(|| self.failure(error)));
                }
            }
            input.skip(used);
            if !self.open && (waits || !tls.is_handshaking()) {
                self.peer = self.identify(tls)?;
                self.open = true;
            }
            if all {
                break;
            }
        }
        if self.end_heard {
            // What is behind the end is ignored (RFC 8446, 6.1).
            input.take_all();
        }
        // rustls has looked at every record that is whole. One that it still needs is a piece
        // of a message.
        let is_piece = record_len(input.unread()).is_some_and(|len| len <= input.unread().len());
        if is_piece && !tls.is_handshaking() {
            return Err(Failure::Protocol("a message of TLS in pieces"));
        }
        Ok(())
    }

    fn failure(&self, error: Error) -> Failure {
        if let Error::InvalidCertificate(CertificateError::Other(other)) = &error
            && let Some(Untrusted(shown)) = other.0.downcast_ref()
        {
            // The clients of a server may be many, and are nobody else's business.
            let expected = match &self.peers {
                Peers::Keys(trusted) if self.dialed.is_some() => trusted.keys().copied().collect(),
                _ => [].into(),
            };
            return Failure::Untrusted { shown: Box::new(*shown), expected };
        }
        match (&self.peers, explain(&error, self.dialed.is_some())) {
            (Peers::Certified(_), Some(what)) => Failure::Tls(what.into()),
            _ => broken(error),
        }
    }

    /// Whom the handshake, which is over, has proven the peer to be.
    fn identify<D>(&mut self, tls: &Common<D>) -> Result<Option<Arc<Peer>>, Failure> {
        if tls.is_handshaking() {
            return Err(UNEXPECTED);
        }
        // rustls lets in a client that offers none, and a server that chooses none.
        self.speaks_longlink = tls.alpn_protocol() == Some(ALPN);
        let shown = tls.peer_certificates().unwrap_or_default();
        match (&self.peers, &self.dialed) {
            (Peers::Keys(_), _) if !self.speaks_longlink => Err(NOT_LONGLINK),
            (Peers::Keys(trusted), _) => {
                let peer = shown.first().and_then(|key| trusted.get(&fingerprint(key)));
                peer.cloned().map(Some).ok_or(UNEXPECTED)
            }
            (Peers::Certified(_), Some(name)) => {
                Ok(Some(Arc::new(server(name, shown, self.began))))
            }
            (Peers::Certified(Some(clients)), None) => {
                let peer = clients.identify(shown, self.began);
                peer.map(|peer| Some(Arc::new(peer))).map_err(|_| UNEXPECTED)
            }
            (Peers::Certified(None), None) => Ok(None),
        }
    }

    fn say<D>(
        &mut self,
        tls: &mut Common<D>,
        process: Process<D>,
        what: Say,
        output: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        if self.failed || !self.open {
            return Err(OUT_OF_TURN);
        }
        loop {
            match process(tls, &mut []).state {
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, output),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let (plain, end) = match what {
                        Say::Data(plain) => (plain, false),
                        Say::End => (&[][..], true),
                    };
                    return append(
                        output,
                        plain.len() + RECORDS.adds + CHANGES,
                        |output| match end {
                            false => traffic.encrypt(plain, output),
                            true => traffic.queue_close_notify(output),
                        },
                    );
                }
                Ok(_) => return Err(UNEXPECTED),
                Err(error) => return Err(self.failure(error)),
            }
        }
    }
}

/// Appends what rustls has encoded, which is lost with `data` if there is no room for it.
fn encode<D>(mut data: EncodeTlsData<'_, D>, output: &mut Vec<u8>) {
    let end = output.len();
    while let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut output[end..]) {
        output.resize(end + size.required_size, 0);
    }
}

/// Appends a record that takes about so much.
fn append(
    output: &mut Vec<u8>,
    mut room: usize,
    mut seal: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Failure> {
    let end = output.len();
    loop {
        output.resize(end + room, 0);
        match seal(&mut output[end..]) {
            Ok(written) => {
                output.truncate(end + written);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(size)) => room = size.required_size,
            Err(error) => {
                output.truncate(end);
                return Err(Failure::Tls(error.to_string().into()));
            }
        }
    }
}

fn broken(error: Error) -> Failure {
    Failure::Tls(error.to_string().into())
}

/// What the server says of a client's key. It comes when the client believes that it is in,
/// and is encrypted: nobody else can have said it.
fn refusal(error: &Error) -> Option<Failure> {
    use AlertDescription as Alert;
    let Error::AlertReceived(alert) = error else { return None };
    let rejection = match alert {
        Alert::CertificateRequired => Rejection::AuthenticationRequired,
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied => Rejection::Untrusted,
        // Another one may be on its way, and the clocks differ.
        Alert::CertificateExpired => {
            let what = "by the server's clock, this client's certificate does not count now";
            return Some(Failure::Tls(what.into()));
        }
        _ => return None,
    };
    Some(Failure::Rejected(rejection))
}
