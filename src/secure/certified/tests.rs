use super::*;
use crate::secure::certificate::tests::authority::{Key, about, authority, dns};

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
