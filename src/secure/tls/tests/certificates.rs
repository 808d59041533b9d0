//! Certificates: who is let in, and who is not.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, Issuer, NameConstraints,
    SanType, date_time_ymd,
};
use rustls::sign::SingleCertAndKey;

use super::*;
use crate::identity::{Credential, PeerIdentity};
use crate::secure::certificate::tests::authority::{Key, about, about_ca, authority, dns, uri};
use crate::secure::chain::Chain;
use crate::secure::files::tests::Folder;
use crate::secure::halves::tests as halves;
use crate::secure::{Channel, End, Trust};
use crate::sync::set_wall_clock;

/// The authority of both sides, unless it is said otherwise.
const CA: u8 = 9;

/// One second of each year, in UTC.
fn in_year(year: u64) -> SystemTime {
    // The first of July, or some hours before or after.
    UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_556_952 + 181 * 86_400)
}

fn ca() -> Issuer<'static, Key> {
    authority("CA", CA)
}

/// What stands in the files of one side.
struct Files {
    own: Option<(String, String)>,
    trust: Option<String>,
    names: Option<String>,
}

impl Files {
    /// Both sides, which trust the CA.
    fn certified(about: &CertificateParams, seed: u8) -> Files {
        Files::signed(&[about.signed_by(&Key::new(seed), &ca()).unwrap().pem()], seed)
    }

    /// A chain of its own, and the key of its leaf.
    fn signed(chain: &[String], seed: u8) -> Files {
        Files {
            own: Some((chain.concat(), Key::new(seed).pem())),
            trust: Some(about_ca("CA").self_signed(&Key::new(CA)).unwrap().pem()),
            names: None,
        }
    }

    fn setup(&self) -> Setup {
        let folder = Folder::new();
        let trust = self.trust.as_ref().map(|ca| {
            let trust = Trust::ca_file(folder.write("ca", ca)).unwrap();
            match &self.names {
                Some(names) => trust.client_names(folder.write("names", names)).unwrap(),
                None => trust,
            }
        });
        let chain = self.own.as_ref().map(|(chain, key)| {
            Chain::read(&folder.write("chain", chain), &folder.write("key", key)).unwrap()
        });
        Setup::certificates(chain, trust.as_ref()).unwrap()
    }
}

fn server_files() -> Files {
    Files::certified(&about(&[dns("server.example")]), SERVER)
}

fn alice_files() -> Files {
    Files::certified(&about(&[dns("alice")]), ALICE)
}

fn server() -> Setup {
    server_files().setup()
}

fn alice() -> Setup {
    alice_files().setup()
}

/// Both sides, after all that they have to say, in the middle of 2026.
fn meet(client: &Setup, server: &Setup) -> (Side, Side) {
    set_wall_clock(in_year(2026));
    meet_now(client, server)
}

fn meet_now(client: &Setup, server: &Setup) -> (Side, Side) {
    let (mut client, mut server) = (Side::client(client), Side::server(server));
    converse(&mut client, &mut server);
    (client, server)
}

/// The server does not let in the client, and says so itself.
#[track_caller]
fn assert_refused(client: &Setup, server: &Setup, what: &str) {
    let (client, server) = meet(client, server);
    assert_eq!(text(&server.failure), what);
    assert!(!server.tls.is_open());
    assert_eq!(client.failure, Some(Failure::Rejected(Rejection::Untrusted)));
}

/// The client leaves, for it does not trust the server.
#[track_caller]
fn assert_left(client: &Setup, server: &Setup, what: &str) {
    let (client, server) = meet(client, server);
    assert_eq!(text(&client.failure), what);
    assert!(!client.tls.is_open() && !server.tls.is_open());
    assert!(text(&server.failure).starts_with("received fatal alert: "), "{:?}", server.failure);
}

fn text(failure: &Option<Failure>) -> &str {
    let Some(Failure::Tls(text)) = failure else { panic!("{failure:?}") };
    text
}

fn certified(name: &str) -> Option<PeerIdentity> {
    Some(PeerIdentity::Certified(name.into()))
}

#[test]
fn both_know_each_other_by_name() {
    let (mut client, mut server) = meet(&alice(), &server());
    assert_eq!(client.peer(), certified("server.example"));
    assert_eq!(server.peer(), certified("alice"));
    assert!(client.tls.speaks_longlink() && server.tls.speaks_longlink());
    assert_connected(&mut client, &mut server);
}

#[test]
fn a_renewed_certificate_is_the_same_identity() {
    let renewed = Files::certified(&about(&[dns("Alice")]), MALLORY).setup();
    let (_, first) = meet(&alice(), &server());
    let (_, second) = meet(&renewed, &server());
    assert_eq!(first.peer(), second.peer());
    let who = |side: &Side| crate::identity::Who::from(side.tls.peer());
    assert_eq!(who(&first), who(&second));
}

#[test]
fn a_client_that_shows_nothing_on_purpose_is_let_in_by_a_server_that_wants_it_so() {
    let nobody = Files { own: None, ..alice_files() }.setup();
    let open = Files { trust: None, ..server_files() }.setup();
    for client in [&nobody, &alice()] {
        let (mut client, mut server) = meet(client, &open);
        assert_eq!((client.peer(), server.peer()), (certified("server.example"), None));
        assert_connected(&mut client, &mut server);
    }
    let (client, server) = meet(&nobody, &server());
    assert_eq!(client.failure, Some(Failure::Rejected(Rejection::AuthenticationRequired)));
    assert_eq!(text(&server.failure), "the client shows no certificate");
    assert!(!server.tls.is_open());
    assert_eq!(
        nobody.server.clone().err(),
        Some("a security that shows nothing is for a client only")
    );
    assert!(open.client.clone().unwrap_err().contains("for a listener only"));
}

#[test]
fn what_another_authority_has_signed_is_not_trusted() {
    let other = Files {
        trust: Some(about_ca("CA").self_signed(&Key::new(8)).unwrap().pem()),
        ..alice_files()
    };
    // It has the same name, and another key.
    let other_key = "certificate is signed wrongly: by another key than that of the CA which is \
        trusted here, or without the key that it is for";
    assert_left(&other.setup(), &server(), &format!("the server's {other_key}"));
    let signed = about(&[dns("alice")]).signed_by(&Key::new(ALICE), &authority("CA", 8)).unwrap();
    let mallory = Files::signed(&[signed.pem()], ALICE).setup();
    let distrusts = "certificate is not signed by a CA that is trusted here";
    assert_refused(&mallory, &server(), &format!("the client's {distrusts}"));
    let own = about(&[dns("alice")]).self_signed(&Key::new(ALICE)).unwrap();
    let own = Files::signed(&[own.pem()], ALICE).setup();
    assert_refused(&own, &server(), &format!("the client's {distrusts}"));
}

#[test]
fn a_chain_may_lead_over_others_and_may_not_leave_one_out() {
    let middle = about_ca("Middle").signed_by(&Key::new(8), &ca()).unwrap().pem();
    let leaf = about(&[dns("alice")]).signed_by(&Key::new(ALICE), &authority("Middle", 8)).unwrap();
    let whole = Files::signed(&[leaf.pem(), middle], ALICE).setup();
    let (mut client, mut server_side) = meet(&whole, &server());
    assert_eq!(server_side.peer(), certified("alice"));
    assert_connected(&mut client, &mut server_side);
    let part = Files::signed(&[leaf.pem()], ALICE).setup();
    assert_refused(
        &part,
        &server(),
        "the client's certificate is not signed by a CA that is trusted here",
    );
}

#[test]
fn one_that_has_expired_or_is_not_valid_yet_is_refused_with_both_dates() {
    let until = |from: i32, to: i32, names: &[SanType]| {
        let mut about = about(names);
        about.not_before = date_time_ymd(from, 11, 1);
        about.not_after = date_time_ymd(to, 11, 1);
        about
    };
    let here = "(the clock here says 2026-06-30)";
    for (from, to, what) in [
        (2020, 2025, "certificate expired 2025-11-01 "),
        (2026, 2030, "certificate is not valid before 2026-11-01 "),
    ] {
        let client = Files::certified(&until(from, to, &[dns("alice")]), ALICE).setup();
        let (client, server_side) = meet(&client, &server());
        let said = text(&server_side.failure);
        assert!(said.starts_with(&format!("the client's {what}{here}")), "{said}");
        // It may have another one soon.
        let said = text(&client.failure);
        assert_eq!(said, "by the server's clock, this client's certificate does not count now");
        let server = Files::certified(&until(from, to, &[dns("server.example")]), SERVER).setup();
        let (client, _) = meet(&alice(), &server);
        let said = text(&client.failure);
        assert!(said.starts_with(&format!("the server's {what}{here}")), "{said}");
    }
}

/// The chain counts as long as all that was needed of it.
#[test]
fn a_peer_expires_with_the_first_of_its_chain() {
    let mut middle = about_ca("Middle");
    middle.not_after = date_time_ymd(2027, 1, 1);
    let middle = middle.signed_by(&Key::new(8), &ca()).unwrap().pem();
    // Of no use to anybody who trusts the CA.
    let mut crossed = about_ca("CA");
    crossed.not_after = date_time_ymd(2025, 1, 1);
    let crossed = crossed.signed_by(&Key::new(CA), &authority("Old", 7)).unwrap().pem();
    let leaf = |names: &[SanType], seed: u8| {
        about(names).signed_by(&Key::new(seed), &authority("Middle", 8)).unwrap().pem()
    };
    let client = Files::signed(&[leaf(&[dns("alice")], ALICE), middle.clone(), crossed], ALICE);
    let server = Files::signed(&[leaf(&[dns("server.example")], SERVER), middle], SERVER);
    let (client, server) = meet(&client.setup(), &server.setup());
    // The first second of 2027 is the last one.
    let end = UNIX_EPOCH + Duration::from_secs(1_798_761_601);
    for side in [&client, &server] {
        assert!(side.is_well());
        assert_eq!(side.tls.peer().unwrap().expires, Some(end));
    }
}

/// Who waits for that with the last byte has a link whose time is over.
#[test]
fn a_certificate_that_expires_during_the_handshake_counts_no_more() {
    let late = in_year(2200);
    let files = |names: &[SanType], seed| {
        let mut about = about(names);
        about.not_after = date_time_ymd(2199, 1, 1);
        let mut setup = Files::certified(&about, seed).setup();
        // In records that are so small that what is verified is not in the last.
        Arc::make_mut(setup.client.as_mut().unwrap()).max_fragment_size = Some(64);
        Arc::make_mut(setup.server.as_mut().unwrap()).max_fragment_size = Some(64);
        setup
    };
    let (client, server) = (files(&[dns("alice")], ALICE), files(&[dns("server.example")], SERVER));
    let waits = |side: &mut Side, flight: Vec<u8>| {
        let (last, rest) = flight.split_last().unwrap();
        side.hear(rest);
        set_wall_clock(late);
        side.hear(&[*last]);
        assert!(side.is_well(), "{:?}", side.failure);
        assert!(side.tls.peer().unwrap().expires.is_some_and(|end| end < late));
        set_wall_clock(in_year(2026));
    };
    set_wall_clock(in_year(2026));
    let (mut client, mut server) = (Side::client(&client), Side::server(&server));
    server.hear(&client.take_control());
    waits(&mut client, server.take_control());
    waits(&mut server, client.take_control());
}

#[test]
fn a_server_is_who_it_was_dialed_as() {
    let named = |names: &[SanType]| Files::certified(&about(names), SERVER).setup();
    let dials = |host: &str, server: &Setup| {
        set_wall_clock(in_year(2026));
        let mut client = Side::new(Tls::connect(&alice(), host).unwrap());
        client.hear(&[]);
        let flight = client.control.clone();
        let mut server = Side::server(server);
        converse(&mut client, &mut server);
        (client.failure.as_ref().map(|_| text(&client.failure).to_string()), client.peer(), flight)
    };
    let address = |address: &str| SanType::IpAddress(address.parse().unwrap());
    let good = [
        ("a.example", named(&[dns("a.example")]), "a.example"),
        ("A.Example.", named(&[dns("a.EXAMPLE")]), "a.example"),
        ("b.a.example", named(&[dns("*.a.example")]), "b.a.example"),
        ("b.example", named(&[dns("a.example"), dns("b.example")]), "b.example"),
        ("192.0.2.1", named(&[address("192.0.2.1")]), "192.0.2.1"),
        ("2001:db8::1", named(&[address("2001:db8::1")]), "2001:db8::1"),
        ("fe80::1%eth0", named(&[address("fe80::1")]), "fe80::1"),
    ];
    for (host, server, identity) in good {
        let (failure, peer, flight) = dials(host, &server);
        assert_eq!((failure, peer), (None, certified(identity)), "{host}");
        // A name is told to the server, as long as nothing is sealed; an address is not.
        let told = flight.windows(identity.len()).any(|part| part == identity.as_bytes());
        assert_eq!(told, !identity.contains(':') && identity != "192.0.2.1", "{host}");
    }
    let wrong = [
        ("b.example", named(&[dns("a.example")]), "is for a.example, not for b.example"),
        (
            "a.b.a.example",
            named(&[dns("*.a.example")]),
            "is for *.a.example, not for a.b.a.example",
        ),
        ("192.0.2.1", named(&[dns("a.example")]), "is for a.example, not for 192.0.2.1"),
        ("192.0.2.1", named(&[address("192.0.2.2")]), "is for 192.0.2.2, not for 192.0.2.1"),
        ("a.example", named(&[uri("urn:a.example")]), "is for urn:a.example, not for a.example"),
        ("a.example", named(&[]), "is for no name, not for a.example"),
    ];
    for (host, server, what) in wrong {
        let (failure, peer, _) = dials(host, &server);
        assert_eq!((failure, peer), (Some(format!("the server's certificate {what}")), None));
    }
    let many: Vec<_> = (0..5).map(|i| dns(&format!("{i}.example"))).collect();
    let (failure, ..) = dials("a.example", &named(&many));
    assert!(
        failure
            .unwrap()
            .ends_with("is for 0.example, 1.example, 2.example, others, not for a.example")
    );
    for host in ["", "127.1", "b\u{fc}ro.example", "a b", "a\0b", "*.example"] {
        let Err(Failure::Tls(what)) = Tls::connect(&alice(), host).map(drop) else {
            panic!("{host}")
        };
        assert!(what.starts_with("no certificate can be for "), "{what}");
        assert!(!what.contains(char::is_control), "{what:?}");
    }
}

#[test]
fn a_client_is_for_exactly_one_name() {
    let named = |names: &[SanType]| Files::certified(&about(names), ALICE).setup();
    for (names, identity) in [
        (&[uri("spiffe://a.example/Ann")][..], "spiffe://a.example/Ann"),
        (&[SanType::IpAddress([127, 0, 0, 1].into()), dns("alice")], "alice"),
    ] {
        assert_eq!(meet(&named(names), &server()).1.peer(), certified(identity));
    }
    let none = "is for no name (a DNS name or URI in subjectAltName)";
    for (names, what) in [
        (&[][..], none),
        (&[SanType::IpAddress([127, 0, 0, 1].into())], none),
        (&[dns("alice"), dns("bob")], "is for 2 names, of which it is not clear whose it is"),
        (&[dns("*.example")], "is for \"*.example\", which is no name of one machine or person"),
        (&[dns("a\0b")], "is for \"a\\0b\", which is no name of one machine or person"),
    ] {
        assert_refused(&named(names), &server(), &format!("the client's certificate {what}"));
    }
}

#[test]
fn names_narrow_who_is_let_in() {
    let server = Files { names: Some("alice\nspiffe://a.example/Ann".into()), ..server_files() };
    let server = server.setup();
    assert_eq!(meet(&alice(), &server).1.peer(), certified("alice"));
    let bob = Files::certified(&about(&[dns("bob")]), ALICE).setup();
    let what =
        "the client's certificate is for \"bob\", which is not among the names that may come in";
    assert_refused(&bob, &server, what);
    let nobody = Files { names: Some(String::new()), ..server_files() }.setup();
    assert!(!meet(&alice(), &nobody).1.is_well());
}

#[test]
fn a_certificate_is_used_for_what_it_is_for() {
    let only = |usage, names: &[SanType], seed| {
        let mut about = about(names);
        about.extended_key_usages = vec![usage];
        Files::certified(&about, seed).setup()
    };
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let what = "certificate is not for servers (extendedKeyUsage)";
    let wrong = only(ClientAuth, &[dns("server.example")], SERVER);
    assert_left(&alice(), &wrong, &format!("the server's {what}"));
    let what = "certificate is not for clients (extendedKeyUsage)";
    let wrong = only(ServerAuth, &[dns("alice")], ALICE);
    assert_refused(&wrong, &server(), &format!("the client's {what}"));
    let (client, server) = meet(
        &only(ClientAuth, &[dns("alice")], ALICE),
        &only(ServerAuth, &[dns("server.example")], SERVER),
    );
    assert!(client.is_well() && server.is_well());
}

/// Everybody may know a certificate.
#[test]
fn a_certificate_without_its_key_is_worth_nothing() {
    let shows = |files: &Files, seed: u8| {
        let shown = files.setup().chain.unwrap().shown;
        let other = Arc::new(CertifiedKey::new(shown.cert.clone(), key(seed).key.clone()));
        Arc::new(SingleCertAndKey::from(other))
    };
    let mut thief = alice();
    of_client(&mut thief).client_auth_cert_resolver = shows(&alice_files(), MALLORY);
    let (client, server_side) = meet(&thief, &server());
    let said = text(&server_side.failure);
    assert!(said.starts_with("the client's certificate is signed wrongly"), "{said}");
    assert!(!server_side.tls.is_open() && client.failure.is_some());
    let mut thief = server();
    of_server(&mut thief).cert_resolver = shows(&server_files(), MALLORY);
    let (client, server_side) = meet(&alice(), &thief);
    let said = text(&client.failure);
    assert!(said.starts_with("the server's certificate is signed wrongly"), "{said}");
    assert!(!client.tls.is_open() && !server_side.tls.is_open());
}

#[test]
fn certificates_and_keys_do_not_meet() {
    for (client, server) in [(alice(), keys(SERVER, ALICE)), (keys(ALICE, SERVER), server())] {
        let (client, server) = meet(&client, &server);
        assert!(client.failure.is_some() && server.failure.is_some());
        assert!(!client.tls.is_open() && !server.tls.is_open());
    }
}

/// Another program may speak text inside. Frames are only for those that have said that they
/// know them.
#[test]
fn one_that_does_not_say_what_it_speaks_does_not_speak_longlink() {
    for (client, server) in [(speaking(alice(), &[]), server()), (alice(), speaking(server(), &[]))]
    {
        let (mut client, mut server) = meet(&client, &server);
        assert_connected(&mut client, &mut server);
        assert!(!client.tls.speaks_longlink() && !server.tls.speaks_longlink());
    }
    let (client, server) = meet(&speaking(alice(), &["h2"]), &server());
    assert_eq!(text(&client.failure), "received fatal alert: NoApplicationProtocol");
    assert!(!server.tls.is_open());
}

/// What a reload asks: who was let in, and would be now. That is not for the clock to say, which
/// may have been set to any time.
#[test]
fn a_client_is_trusted_as_long_as_its_chain_and_its_name_are() {
    let (_, first) = meet(&alice(), &server());
    set_wall_clock(UNIX_EPOCH);
    let peer = first.tls.peer().unwrap();
    let Credential::Chain(chain) = &peer.credential else { panic!("{peer:?}") };
    assert_eq!(chain.len(), 1);
    let trusts = |files: Files| files.setup().trusts(Some(&peer));
    assert!(trusts(server_files()));
    let names = |names: &str| Files { names: Some(names.into()), ..server_files() };
    assert!(trusts(names("bob\nalice")) && !trusts(names("bob")));
    let other = about_ca("CA").self_signed(&Key::new(8)).unwrap().pem();
    assert!(!trusts(Files { trust: Some(other), ..server_files() }));
    // It has been let in as somebody, and would not be any more.
    assert!(!trusts(Files { trust: None, ..server_files() }));
    assert!(!keys(SERVER, ALICE).trusts(Some(&peer)));
    assert!(!server().trusts(None));
    assert!(Files { trust: None, ..server_files() }.setup().trusts(None));
}

/// A link that is made in a certificate's last second ends with it.
#[test]
fn a_certificate_counts_to_the_end_of_its_last_second() {
    let mut about = about(&[dns("alice")]);
    about.not_after = date_time_ymd(2027, 1, 1);
    let client = Files::certified(&about, ALICE).setup();
    let last = UNIX_EPOCH + Duration::from_secs(1_798_761_600);
    let end = last + Duration::from_secs(1);
    for now in [last, end - Duration::from_nanos(1)] {
        set_wall_clock(now);
        let (_, server_side) = meet_now(&client, &server());
        assert_eq!(server_side.tls.peer().unwrap().expires, Some(end));
        assert_eq!(client.outside(now), None);
    }
    set_wall_clock(end);
    assert!(!meet_now(&client, &server()).1.is_well());
    assert!(client.outside(end).is_some());
}

/// A chain that takes long to read, or to follow, is given up.
#[test]
fn long_chains_and_those_in_a_circle_end_in_no_time() {
    let began = crate::sync::now();
    // Each signs all the others: there are very many ways, and none leads to the CA.
    let names: Vec<String> = (0..6).map(|i| format!("Loop {}", i % 2)).collect();
    let mut chain = vec![
        about(&[dns("alice")]).signed_by(&Key::new(ALICE), &authority("Loop 0", 10)).unwrap().pem(),
    ];
    for (i, name) in names.iter().enumerate() {
        for issuer in 0..2 {
            let issuer = authority(&format!("Loop {issuer}"), 10 + issuer);
            let mut about = about_ca(name);
            about.serial_number = Some(u64::try_from(i).unwrap().into());
            chain.push(about.signed_by(&Key::new(10 + (i % 2) as u8), &issuer).unwrap().pem());
        }
    }
    let looped = Files::signed(&chain, ALICE).setup();
    let (_, server_side) = meet(&looped, &server());
    assert!(text(&server_side.failure).starts_with("the client's certificate is "));
    assert!(crate::sync::now() - began < Duration::from_secs(5));
}

/// Nobody who keeps to the rules has one that is so long.
#[test]
fn no_more_is_read_of_a_chain_than_of_a_whole_handshake() {
    let mut about = about(&[dns("alice")]);
    about.distinguished_name.push(DnType::CommonName, "a".repeat(20_000));
    let long = about.signed_by(&Key::new(ALICE), &ca()).unwrap();
    let long = CertifiedKey::new(vec![long.der().clone()], key(ALICE).key.clone());
    let mut client = alice();
    of_client(&mut client).client_auth_cert_resolver =
        Arc::new(SingleCertAndKey::from(Arc::new(long)));
    set_wall_clock(in_year(2026));
    let sides = [Tls::connect(&client, "server.example"), Tls::accept(&server())];
    let mut sides = sides.map(|tls| halves::Side::new(Channel::new(Box::new(tls.unwrap()))));
    let end = halves::shake_hands(&mut sides);
    assert_eq!(end, Some(End::Broken(Failure::Protocol("too much before the hello"))));
}

/// An authority that may certify one domain alone, and certifies another.
#[test]
fn an_authority_is_held_to_what_it_may_certify() {
    let mut middle = about_ca("Middle");
    let permitted_subtrees = vec![GeneralSubtree::DnsName("a.example".into())];
    middle.name_constraints =
        Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    let middle = middle.signed_by(&Key::new(8), &ca()).unwrap().pem();
    for (name, fine) in [("ann.a.example", true), ("ann.b.example", false)] {
        let leaf =
            about(&[dns(name)]).signed_by(&Key::new(ALICE), &authority("Middle", 8)).unwrap().pem();
        let client = Files::signed(&[leaf, middle.clone()], ALICE).setup();
        let (_, server_side) = meet(&client, &server());
        assert_eq!(server_side.is_well(), fine, "{:?}", server_side.failure);
    }
}
