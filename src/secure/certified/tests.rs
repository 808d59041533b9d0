use rcgen::Issuer;

use super::*;
use crate::secure::certificate::tests::authority::{Key, about, about_ca, authority, dns, uri};

/// Whatever TLS has to say of a peer's certificate, the text says whose it is.
#[test]
fn what_is_wrong_names_the_side_that_shows_it() {
    let wrong = |error: CertificateError| {
        let error = Error::InvalidCertificate(error);
        [true, false].map(|is_client| explain(&error, is_client).unwrap())
    };
    let cases = [
        (CertificateError::UnknownIssuer, "is not signed by a CA that is trusted here"),
        (CertificateError::BadEncoding, "is damaged"),
        (CertificateError::Revoked, "is refused: Revoked"),
        (CertificateError::UnhandledCriticalExtension, "is refused: UnhandledCriticalExtension"),
    ];
    for (error, what) in cases {
        let expected = ["server", "client"].map(|peer| format!("the {peer}'s certificate {what}"));
        assert_eq!(wrong(error), expected);
    }
    let none = Error::NoCertificatesPresented;
    assert_eq!(explain(&none, false).unwrap(), "the client shows no certificate");
    assert_eq!(explain(&Error::DecryptError, true), None);
}

/// They are the peer's words.
#[test]
fn names_that_a_peer_shows_are_cut_and_command_no_terminal() {
    let presented = vec![format!("DnsName(\"{}\x1b[2J\")", "a".repeat(50)), "b".repeat(1000)];
    let expected = ServerName::try_from("a.example").unwrap();
    let error = CertificateError::NotValidForNameContext { expected, presented };
    let text = explain(&error.into(), true).unwrap();
    assert!(text.contains("a\\u{1b}[2J, bbb") && text.len() < 400, "{text}");
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(text.ends_with("..., not for a.example"), "{text}");
}

#[test]
fn a_client_that_shows_nothing_or_noise_is_nobody() {
    let roots = {
        let ca = crate::secure::certificate::tests::authority::about_ca("CA")
            .self_signed(&Key::new(9))
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).unwrap();
        Arc::new(roots)
    };
    let clients = Clients::new(roots, None);
    let now = UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000);
    assert!(clients.identify(&[], now).is_err());
    let whole = about(&[dns("alice")]).signed_by(&Key::new(1), &authority("CA", 9)).unwrap();
    assert!(clients.identify(&[whole.der().clone()], now).is_ok());
    let mut random = fastrand::Rng::with_seed(1);
    let mut let_in = 0;
    for _ in 0..5_000 {
        let mut damaged = whole.der().to_vec();
        let at = random.usize(..damaged.len());
        damaged[at] ^= random.u8(1..);
        let damaged = CertificateDer::from(damaged);
        let verified = clients.verify_client_cert(&damaged, &[], unix_time(now));
        let_in += usize::from(verified.is_ok());
    }
    assert_eq!(let_in, 0);
}

fn trusts_ca(names: Option<Names>) -> Clients {
    let mut roots = RootCertStore::empty();
    roots.add(about_ca("CA").self_signed(&Key::new(9)).unwrap().der().clone()).unwrap();
    Clients::new(Arc::new(roots), names)
}

/// Who has no certificate of ours can make any number of others, which all might have signed each
/// other. Nobody else is served while ours is searched for among them.
#[test]
fn a_chain_that_could_be_made_in_many_ways_is_looked_at_in_one() {
    let clients = trusts_ca(None);
    let now = unix_time(UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000));
    for name in ["Eve", "CA"] {
        let signs = |seed| Issuer::new(about_ca(name), Key::new(seed));
        let others: Vec<_> = (2..16)
            .filter(|seed| *seed != 9)
            .map(|seed| about_ca(name).signed_by(&Key::new(seed), &signs(1)).unwrap().der().clone())
            .collect();
        let leaf = about(&[dns("eve")]).signed_by(&Key::new(0), &signs(1)).unwrap();
        let refused = clients.verify_client_cert(leaf.der(), &others, now).unwrap_err();
        assert_eq!(refused, CertificateError::UnknownIssuer.into(), "{name}");
    }
}

/// In any order, as TLS allows it, and with others in between.
#[test]
fn a_chain_is_found_among_what_is_shown() {
    let clients = trusts_ca(None);
    let now = unix_time(UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000));
    let root = about_ca("CA").self_signed(&Key::new(9)).unwrap();
    let first = about_ca("first").signed_by(&Key::new(2), &authority("CA", 9)).unwrap();
    let second = about_ca("second").signed_by(&Key::new(3), &authority("first", 2)).unwrap();
    let foreign = about_ca("foreign").self_signed(&Key::new(4)).unwrap();
    let leaf = about(&[dns("alice")]).signed_by(&Key::new(1), &authority("second", 3)).unwrap();
    let mut others = [&root, &foreign, &first, &second].map(|other| other.der().clone());
    for _ in 0..2 {
        assert!(clients.verify_client_cert(leaf.der(), &others, now).is_ok());
        others.reverse();
    }
    assert!(clients.verify_client_cert(leaf.der(), &others[..1], now).is_err());
}

/// As webpki has it: what is in a file of CAs is trusted.
#[test]
fn a_ca_is_trusted_although_its_certificate_has_expired() {
    let mut root = about_ca("CA");
    root.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let mut roots = RootCertStore::empty();
    roots.add(root.self_signed(&Key::new(9)).unwrap().der().clone()).unwrap();
    let leaf = about(&[dns("alice")]).signed_by(&Key::new(1), &authority("CA", 9)).unwrap();
    let now = UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000);
    let clients = Clients::new(Arc::new(roots), None);
    assert!(clients.verify_client_cert(leaf.der(), &[], unix_time(now)).is_ok());
}

/// Whatever a peer shows, a line of the log holds it.
#[test]
fn what_is_said_of_a_certificate_is_short() {
    let long = |seed| {
        let name = format!("urn:{}", "a".repeat(seed));
        about(&[uri(&name)]).signed_by(&Key::new(1), &authority("CA", 9)).unwrap().der().clone()
    };
    let clients = trusts_ca(Some(Names::new()));
    for len in [500, 10_000] {
        let refused = clients.identify(&[long(len)], UNIX_EPOCH).unwrap_err();
        assert!(refused.len() < 400, "{refused}");
    }
    let error = CertificateError::UnsupportedSignatureAlgorithmContext {
        signature_algorithm_id: vec![7; 10_000],
        supported_algorithms: Vec::new(),
    };
    let text = explain(&error.into(), false).unwrap();
    assert!(text.len() < 400 && text.contains("UnsupportedSignatureAlgorithm"), "{text}");
}
