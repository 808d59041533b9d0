//! Who is let in, and who is not.

use rustls::client::ResolvesClientCert;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::{Signer, SigningKey};
use rustls::{ContentType, SignatureAlgorithm, SignatureScheme};

use super::forger::{Forger, ticket};
use super::*;

/// In clear: certificate_unknown, and close_notify.
const FORGED_ALERT: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 46];
const FORGED_END: [u8; 7] = [0x15, 3, 3, 0, 2, 1, 0];

fn meet(client: &Setup, server: &Setup) -> (Side, Side) {
    let (mut client, mut server) = (Side::client(client), Side::server(server));
    converse(&mut client, &mut server);
    (client, server)
}

/// What somebody who trusts one key says of another.
fn untrusted(shown: u8, expected: &[u8]) -> Option<Failure> {
    let expected = expected.iter().map(|seed| print(*seed)).collect();
    Some(Failure::Untrusted { shown: Box::new(print(shown)), expected })
}

fn text(failure: &Option<Failure>) -> &str {
    let Some(Failure::Tls(text)) = failure else { panic!("{failure:?}") };
    text
}

#[test]
fn both_know_each_other() {
    let (mut client, mut server) = friends();
    assert_eq!((client.peer(), server.peer()), (None, None));
    converse(&mut client, &mut server);
    assert_eq!((client.peer(), server.peer()), (named(SERVER), named(ALICE)));
    assert_connected(&mut client, &mut server);
}

#[test]
fn one_with_another_key_than_the_pinned_is_no_server() {
    let (client, server) = meet(&keys(ALICE, SERVER), &keys(MALLORY, ALICE));
    assert_eq!(client.failure, untrusted(MALLORY, &[SERVER]));
    assert_eq!(text(&server.failure), "received fatal alert: CertificateUnknown");
    assert!(!client.tls.is_open() && !server.tls.is_open());
}

#[test]
fn an_unknown_client_is_told_so_by_the_server_itself() {
    let (mut client, mut server) =
        (Side::client(&keys(MALLORY, SERVER)), Side::server(&keys(SERVER, ALICE)));
    let mut believed = false;
    converse_over(&mut client, &mut server, |turn, _| believed |= turn == 2);
    assert_eq!(server.failure, untrusted(MALLORY, &[]));
    assert!(!server.tls.is_open());
    // It has said its last word before it hears that.
    assert!(believed && client.tls.is_open());
    assert_eq!(client.failure, Some(Failure::Rejected(Rejection::Untrusted)));
}

/// Whoever knows a public key can show it.
#[test]
fn a_trusted_key_that_another_one_signs_for_lets_nobody_in() {
    let stolen = |shown: u8| {
        let signs = key(MALLORY).key.clone();
        Arc::new(CertifiedKey::new(key(shown).cert.clone(), signs))
    };
    let (client, server) = meet(&keys_of(stolen(ALICE), SERVER), &keys(SERVER, ALICE));
    assert_eq!(text(&server.failure), "invalid peer certificate: BadSignature");
    assert!(!server.tls.is_open() && client.failure.is_some());

    let (client, server) = meet(&keys(ALICE, SERVER), &keys_of(stolen(SERVER), ALICE));
    assert_eq!(text(&client.failure), "invalid peer certificate: BadSignature");
    assert!(!client.tls.is_open() && !server.tls.is_open() && server.failure.is_some());
}

/// It can show raw keys, and has none.
#[derive(Debug)]
struct Keyless;

impl ResolvesClientCert for Keyless {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[test]
fn a_client_without_a_key_is_asked_for_one() {
    let mut keyless = keys(ALICE, SERVER);
    of_client(&mut keyless).client_auth_cert_resolver = Arc::new(Keyless);
    let (client, server) = meet(&keyless, &keys(SERVER, ALICE));
    assert_eq!(client.failure, Some(Failure::Rejected(Rejection::AuthenticationRequired)));
    assert_eq!(text(&server.failure), "peer sent no certificates");
    assert!(!server.tls.is_open());
}

#[test]
fn clients_of_certificates_and_of_pinned_keys_do_not_meet() {
    let mut other = keys(ALICE, SERVER);
    let config = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    other.client = Ok(Arc::new(config));
    let (client, server) = meet(&other, &keys(SERVER, ALICE));
    assert_eq!(text(&client.failure), "received fatal alert: HandshakeFailure");
    assert!(server.failure.is_some() && !server.tls.is_open());
}

#[test]
fn both_must_say_what_they_speak() {
    let none = Some(Failure::Protocol("the peer does not say that it speaks longlink/1"));
    for foreign in [&["h2"][..], &["longlink/2"], &["longlink/1 "]] {
        let (client, server) = meet(&speaking(keys(ALICE, SERVER), foreign), &keys(SERVER, ALICE));
        assert_eq!(text(&client.failure), "received fatal alert: NoApplicationProtocol");
        assert!(server.failure.is_some() && !server.tls.is_open());
        let (client, server) = meet(&keys(ALICE, SERVER), &speaking(keys(SERVER, ALICE), foreign));
        assert!(client.failure.is_some() && server.failure.is_some());
    }
    let two = ["h2", "longlink/1"];
    let (mut client, mut server) = meet(&speaking(keys(ALICE, SERVER), &two), &keys(SERVER, ALICE));
    assert_connected(&mut client, &mut server);

    let mut silent = speaking(keys(ALICE, SERVER), &[]);
    of_client(&mut silent).enable_secret_extraction = true;
    let (mut client, mut server) = (Side::client(&silent), Side::server(&keys(SERVER, ALICE)));
    server.hear(&client.take_control());
    client.hear(&server.take_control());
    let mut last = client.take_control();
    // What it says at once is not heard.
    last.extend(Forger::take_over(client.tls).forge(ContentType::ApplicationData, b"data"));
    server.hear(&last);
    assert_eq!((server.heard(), server.tls.is_open()), (Vec::new(), false));
    assert_eq!(server.failure, none);
    let (client, _) = meet(&keys(ALICE, SERVER), &speaking(keys(SERVER, ALICE), &[]));
    assert_eq!((&client.failure, client.tls.is_open()), (&none, false));
}

/// A hello of TLS 1.2: no `supported_versions`.
fn old_hello(message: u8, body: &[&[u8]]) -> Vec<u8> {
    let hello = [&[3, 3], &[7; 32][..], &body.concat()].concat();
    let message = [&[message, 0, 0, hello.len() as u8], &hello[..]].concat();
    [&[0x16, 3, 3, 0, message.len() as u8], &message[..]].concat()
}

#[test]
fn nothing_older_than_tls_1_3_is_spoken() {
    let mut server = Side::server(&keys(SERVER, ALICE));
    // No session, a suite, no compression, and what a client of TLS 1.2 cannot leave out.
    let groups_and_schemes =
        b"\x00\x10\x00\x0a\x00\x04\x00\x02\x00\x1d\x00\x0d\x00\x04\x00\x02\x08\x07";
    server.hear(&old_hello(1, &[&[0], &[0, 2, 0xC0, 0x2B], &[1, 0], groups_and_schemes]));
    assert!(text(&server.failure).starts_with("peer is incompatible"), "{:?}", server.failure);
    // protocol_version
    assert_eq!(alert(&server.control), Some(70));

    let mut client = Side::client(&keys(ALICE, SERVER));
    client.take_control();
    client.hear(&old_hello(2, &[&[0], &[0xC0, 0x2B], &[0]]));
    assert!(text(&client.failure).starts_with("peer is incompatible"), "{:?}", client.failure);
    assert_eq!(alert(&client.control), Some(70));
}

#[test]
fn an_answer_that_is_no_record_is_not_tls() {
    for first in (0..=255).filter(|first| !TYPES.contains(first)) {
        let mut client = Side::client(&keys(ALICE, SERVER));
        client.hear(&[first]);
        assert_eq!(client.failure, Some(Failure::NotTls), "{first}");
    }
}

/// The bytes of each flight, and which of them are the versions of records: these say
/// nothing (RFC 8446, 5.1), and are accepted as 3 and anything.
fn versions(flight: &[u8]) -> Vec<usize> {
    let mut at = 0;
    let next = || {
        let version = at + 2;
        at += record_len(&flight[at..])?;
        Some(version)
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn a_handshake_with_any_byte_flipped_connects_nobody() {
    let (mut client, mut server) = friends();
    let flights = converse(&mut client, &mut server);
    assert_eq!(flights.len(), 3);
    for (number, flight) in flights.iter().enumerate() {
        let versions = versions(flight);
        for at in 0..flight.len() {
            let (mut client, mut server) = friends();
            converse_over(&mut client, &mut server, |turn, flight| {
                if turn == number {
                    flight[at] ^= 1 << (at % 8);
                }
            });
            if versions.contains(&at) {
                assert_connected(&mut client, &mut server);
            } else {
                assert!(!server.is_well(), "flight {number}, byte {at}");
                // The client has had all that it asks for before the last flight.
                assert!(number == 2 || !client.is_well(), "flight {number}, byte {at}");
            }
        }
    }
}

#[test]
fn a_handshake_that_is_cut_at_any_byte_goes_on_when_the_rest_comes() {
    let (mut client, mut server) = friends();
    let lens: Vec<usize> = converse(&mut client, &mut server).iter().map(Vec::len).collect();
    for (number, len) in lens.into_iter().enumerate() {
        for at in 0..len {
            let (mut client, mut server) = friends();
            let mut rest = Vec::new();
            converse_over(&mut client, &mut server, |turn, flight| {
                if turn == number {
                    rest = flight.split_off(at);
                }
            });
            let hears = if number == 1 { &mut client } else { &mut server };
            assert!(!hears.tls.is_open() && !hears.ended && hears.failure.is_none());
            hears.hear(&rest);
            converse(&mut client, &mut server);
            assert_connected(&mut client, &mut server);
        }
    }
}

#[test]
fn a_handshake_byte_by_byte_is_one() {
    let (mut client, mut server) = friends();
    for _ in 0..2 {
        client.take_control().chunks(1).for_each(|byte| server.hear(byte));
        server.take_control().chunks(1).for_each(|byte| client.hear(byte));
    }
    assert_connected(&mut client, &mut server);
}

#[test]
fn a_handshake_that_is_played_again_is_refused() {
    let (mut client, mut server) = friends();
    let flights = converse(&mut client, &mut server);
    let mut again = Side::server(&keys(SERVER, ALICE));
    again.hear(&flights[0]);
    assert_eq!(again.failure, None);
    again.hear(&flights[2]);
    assert!(again.failure.is_some() && !again.tls.is_open());
}

#[test]
fn a_client_does_not_meet_itself() {
    let mut client = Side::client(&keys(ALICE, ALICE));
    let hello = client.take_control();
    client.hear(&hello);
    assert!(client.failure.is_some() && !client.tls.is_open());
}

/// What comes in clear, anybody on the path can have said.
#[test]
fn an_alert_in_clear_is_no_word_of_the_peers() {
    for forged in [FORGED_ALERT, FORGED_END] {
        let (mut client, _) = friends();
        client.hear(&forged);
        assert!(!client.ended && !client.tls.is_open());
        let is_fatal = forged == FORGED_ALERT;
        assert_eq!(client.failure.is_some(), is_fatal);
        assert_ne!(client.failure, Some(Failure::Rejected(Rejection::Untrusted)));

        let (client, server) = pair();
        for mut side in [client, server] {
            side.hear(&forged);
            assert!(matches!(side.failure, Some(Failure::Tls(_))), "{:?}", side.failure);
            assert!(!side.ended);
        }
    }
}

/// The kinds of a hello's extensions.
fn extensions(mut hello: &[u8]) -> Vec<u16> {
    let mut take = |len: usize| hello.split_off(..len).unwrap();
    let number =
        |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
    // The headers of the record and the message; a version, and 32 bytes of randomness.
    take(5 + 4 + 2 + 32);
    // A session, suites, and compressions.
    for size in [1, 2, 1] {
        let len = number(take(size));
        take(len);
    }
    let mut left = number(take(2));
    let mut kinds = Vec::new();
    while left > 0 {
        kinds.push(number(take(2)) as u16);
        let len = number(take(2));
        take(len);
        left -= 4 + len;
    }
    kinds
}

#[test]
fn a_hello_says_no_name_and_asks_for_nothing_to_be_resumed() {
    let keys = keys(ALICE, SERVER);
    let mut first = Side::client(&keys);
    let mut server = Forger::server_of(&mut first);
    first.hear(&server.forge(ContentType::Handshake, &ticket()));
    assert!(first.is_well());
    for _ in 0..2 {
        let kinds = extensions(&Side::client(&keys).control);
        // application_layer_protocol_negotiation, both certificate types, supported_versions
        for kind in [16, 19, 20, 43] {
            assert!(kinds.contains(&kind), "{kind} {kinds:?}");
        }
        // server_name, compress_certificate, session_ticket, pre_shared_key, early_data
        for kind in [0, 27, 35, 41, 42] {
            assert!(!kinds.contains(&kind), "{kind} {kinds:?}");
        }
    }
}

#[test]
fn a_server_gives_nobody_a_ticket() {
    let (mut client, mut server) = friends();
    assert_eq!(converse(&mut client, &mut server).len(), 3);
    assert!(client.is_well() && server.is_well());
}

/// A key that signs in a way that it was not asked for.
#[derive(Debug)]
struct Stubborn(Arc<dyn SigningKey>, SignatureScheme);

impl SigningKey for Stubborn {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.0.choose_scheme(&[self.1])
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.0.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

#[test]
fn keys_of_the_kinds_that_are_supported_connect_and_no_others() {
    let kinds = [
        (include_str!("../../keys/p256.pem"), SignatureScheme::ECDSA_NISTP256_SHA256, true),
        (include_str!("../../keys/p384.pem"), SignatureScheme::ECDSA_NISTP384_SHA384, true),
        (include_str!("../../keys/p521.pem"), SignatureScheme::ECDSA_NISTP521_SHA512, false),
        (include_str!("../../keys/rsa.pem"), SignatureScheme::RSA_PSS_SHA256, false),
    ];
    for (pem, scheme, supported) in kinds {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
        let key = PROVIDER.key_provider.load_private_key(key).unwrap();
        let public = CertificateDer::from(key.public_key().unwrap().to_vec());
        let (peer, print) = (PeerIdentity::Named("peer".into()), fingerprint(&public));
        let peer = Arc::new(Peer::by_key(peer, print));
        let trusted: Arc<crate::secure::verify::Trusted> = Arc::new([(print, peer)].into());
        let key = Arc::new(CertifiedKey::new(vec![public], Arc::new(Stubborn(key, scheme))));
        let trusts = |own: u8| Setup::keys(super::key(own), trusted.clone());

        let (client, server) = meet(&keys_of(key.clone(), SERVER), &trusts(SERVER));
        assert_eq!((server.is_well(), client.is_well()), (supported, supported), "{scheme:?}");
        let (client, server) = meet(&trusts(ALICE), &keys_of(key, ALICE));
        assert_eq!((server.is_well(), client.is_well()), (supported, supported), "{scheme:?}");
    }
}

/// Here a message in pieces is in order, and its first piece has to be kept.
#[test]
fn a_handshake_in_small_records_is_one_whatever_the_reads_are() {
    let mut small = keys(ALICE, SERVER);
    let mut smaller = keys(SERVER, ALICE);
    of_client(&mut small).max_fragment_size = Some(100);
    of_server(&mut smaller).max_fragment_size = Some(32);
    for chunk in [1, 7, 50, 101, 1000, 10_000] {
        let (mut client, mut server) = (Side::client(&small), Side::server(&smaller));
        for _ in 0..2 {
            client.take_control().chunks(chunk).for_each(|bytes| server.hear(bytes));
            server.take_control().chunks(chunk).for_each(|bytes| client.hear(bytes));
        }
        assert_connected(&mut client, &mut server);
    }
}
