#[path = "../../../tests/support/authority.rs"]
pub(in crate::secure) mod authority;

use rcgen::{CertificateParams, SanType, date_time_ymd};

use self::authority::{Key, about, about_ca, authority, dns, uri};
use super::*;

fn der(about: &CertificateParams) -> Vec<u8> {
    about.signed_by(&Key::new(1), &authority("CA", 9)).unwrap().der().to_vec()
}

/// `then` is as in RFC 3339, without its zone.
fn time(then: &str) -> SystemTime {
    UNIX_EPOCH + format!("{then}Z").parse::<DateTime>().unwrap().unix_duration()
}

#[test]
fn it_says_until_when_it_counts_and_whether_it_is_a_cas() {
    let read = Certificate::read(&der(&about(&[dns("a.example")]))).unwrap();
    assert_eq!(read.not_before, time("2020-01-01T00:00:00"));
    assert_eq!(read.not_after, time("2030-01-01T00:00:00"));
    assert!(!read.is_ca);
    let mut late = about_ca("CA");
    // From 2050 on it is written in another way.
    late.not_after = date_time_ymd(2123, 4, 5);
    let read = Certificate::read(&der(&late)).unwrap();
    assert_eq!(read.not_after, time("2123-04-05T00:00:00"));
    assert!(read.is_ca);
}

/// What openssl says of it, too (openssl x509 -in FILE -noout -dates -ext basicConstraints).
#[test]
fn one_that_openssl_has_made_is_read_too() {
    let pem = include_str!("../keys/certificate.pem");
    let der = rustls::pki_types::pem::PemObject::from_pem_slice(pem.as_bytes()).unwrap();
    let der: rustls::pki_types::CertificateDer<'_> = der;
    let read = Certificate::read(&der).unwrap();
    assert_eq!(read.not_before, time("2026-11-30T05:22:09"));
    assert_eq!(read.not_after, time("2036-11-27T05:22:09"));
    assert!(read.is_ca);
}

#[test]
fn an_identity_is_the_one_name() {
    let identity = |names: &[SanType]| Certificate::read(&der(&about(names))).unwrap().identity();
    let mail = || SanType::Rfc822Name("ann@a.example".try_into().unwrap());
    let address = || SanType::IpAddress([127, 0, 0, 1].into());
    for (name, is) in [
        (dns("a.example"), "a.example"),
        (dns("alice"), "alice"),
        (dns("A.Example"), "a.example"),
        (dns("_a-b.1.example"), "_a-b.1.example"),
        (uri("spiffe://a.example/Ann"), "spiffe://a.example/Ann"),
        (uri("urn:uuid:1"), "urn:uuid:1"),
    ] {
        assert_eq!(identity(&[mail(), name.clone(), address()]).as_deref(), Ok(is));
        assert_eq!(identity(&[name]).as_deref(), Ok(is));
    }
    for none in [&[][..], &[mail()], &[address(), mail()]] {
        let error = identity(none).unwrap_err();
        assert!(error.starts_with("is for no name"), "{error}");
    }
    for several in [[dns("a"), dns("b")], [dns("a"), dns("a")], [dns("a"), uri("urn:a")]] {
        let error = identity(&several).unwrap_err();
        assert!(error.starts_with("is for 2 names"), "{error}");
    }
    for odd in [
        "",
        "*.a.example",
        "*",
        "a.example\0.b.example",
        "a b",
        "a\n",
        "a.",
        ".a",
        "a..b",
        "10.0.0.1",
        "a/b",
        "\u{1b}[2J",
        "-a",
    ] {
        let error = identity(&[dns(odd)]).unwrap_err();
        assert!(error.ends_with("is no name of one machine or person"), "{error}");
        assert!(!error.contains(char::is_control), "{error:?}");
    }
    let most = format!("urn:{}", "a".repeat(2044));
    assert_eq!(identity(&[uri(&most)]).as_ref(), Ok(&most));
    let long = most + "a";
    for odd in ["", "a", ":", "a:", ":a", "1:a", "urn:a b", "urn:a\0", "urn:a\n", &long] {
        let error = identity(&[uri(odd)]).unwrap_err();
        assert!(error.ends_with("is no name of one machine or person"), "{error}");
    }
}

/// A name that is read in one way only: no DNS name is a URI, too.
#[test]
fn names_are_of_one_kind() {
    for name in ["a.example", "alice", "urn:alice", "spiffe://a.example/a"] {
        assert!(is_identity(name) && is_dns_name(name) != is_uri(name), "{name}");
    }
    for name in ["A.example", "*.a.example", "a.", "", "a b"] {
        assert!(!is_identity(name), "{name}");
    }
}

#[test]
fn what_does_not_count_says_when_it_does_and_what_the_clock_says() {
    let [from, to] = [time("2026-01-01T00:00:00"), time("2026-11-30T08:00:00")];
    let outside = |now: &str| outside(from, to, time(now));
    for now in ["2026-01-01T00:00:00", "2026-06-01T12:00:00", "2026-11-30T08:00:00"] {
        assert_eq!(outside(now), None);
    }
    let cases = [
        ("2026-12-01T00:00:00", "expired 2026-11-30 (the clock here says 2026-12-01)"),
        (
            "2026-11-30T08:00:01",
            "expired 2026-11-30T08:00:00Z (the clock here says 2026-11-30T08:00:01Z)",
        ),
        ("1970-01-01T00:00:00", "is not valid before 2026-01-01 (the clock here says 1970-01-01)"),
        ("2025-12-31T23:59:59", "is not valid before 2026-01-01 (the clock here says 2025-12-31)"),
    ];
    for (now, text) in cases {
        assert_eq!(outside(now).as_deref(), Some(text));
    }
    // No clock is so wrong that this panics.
    let far = UNIX_EPOCH + Duration::from_secs(1 << 50);
    assert!(expired(to, far).ends_with("(the clock here says 9999-12-31)"));
    let before = UNIX_EPOCH - Duration::from_secs(1);
    assert!(not_yet(to, before).ends_with("(the clock here says 1970-01-01)"));
}

/// Whatever is damaged, in whatever way, nothing panics, and no name comes out of nothing.
#[test]
fn damaged_ones_are_read_without_harm() {
    let whole = der(&about(&[dns("a.example"), uri("urn:b")]));
    assert!(Certificate::read(&[&whole[..], &[0]].concat()).is_none());
    for len in 0..whole.len() {
        assert!(Certificate::read(&whole[..len]).is_none(), "{len}");
    }
    let mut random = fastrand::Rng::with_seed(1);
    let mut read = 0;
    for _ in 0..20_000 {
        let mut damaged = whole.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..damaged.len());
            damaged[at] = random.u8(..);
        }
        if let Some(certificate) = Certificate::read(&damaged) {
            read += 1;
            let names: usize = certificate
                .names
                .iter()
                .map(|(Name::Dns(name) | Name::Uri(name))| name.len())
                .sum();
            assert!(names < whole.len());
            let _ = certificate.identity();
        }
        let len = random.usize(..100);
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
        assert!(Certificate::read(&noise).is_none());
    }
    assert!(read > 1000, "{read}");
}
