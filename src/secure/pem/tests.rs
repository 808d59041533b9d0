//! Files with anything in them.

use super::*;
use crate::secure::certificate::is_identity;
use crate::secure::certificate::tests::authority::{Key, about, about_ca, authority, dns, uri};
use crate::secure::chain;
use crate::secure::keys::parse_servers;
use crate::secure::trust::{parse_authorities, parse_names, parse_peers};

/// Reads it as what it may be. Returns how many of these have found something.
fn read(text: &str) -> usize {
    let peers = parse_peers(text).map_or(0, |peers| {
        assert!(peers.len() <= text.len() / 70);
        usize::from(!peers.is_empty())
    });
    let names = parse_names(text).map_or(0, |names| {
        assert!(names.iter().all(|name| is_identity(name)));
        assert!(names.iter().map(String::len).sum::<usize>() <= text.len());
        usize::from(!names.is_empty())
    });
    let bytes = |certificates: &[CertificateDer<'_>]| certificates.iter().map(|c| c.len()).sum();
    let found = certificates(text).map_or(0, |certificates| {
        let bytes: usize = bytes(&certificates);
        assert!(bytes <= text.len());
        1
    });
    let chain = chain::parse(text).map_or(0, |(chain, leaf)| {
        let bytes: usize = bytes(&chain);
        assert!(bytes <= 12 * 1024 && !leaf.is_ca);
        1
    });
    let roots = parse_authorities(text).map_or(0, |roots| {
        assert!(!roots.is_empty() && roots.len() <= text.len());
        1
    });
    let others = [private_key(text).is_ok(), parse_servers(text).is_ok()];
    peers + names + found + chain + roots + others.map(usize::from).into_iter().sum::<usize>()
}

#[test]
fn whatever_stands_in_a_file_it_is_read_without_harm() {
    let print = |byte: u8| crate::Fingerprint([byte; 32]).to_string();
    let leaf = about(&[dns("alice")]).signed_by(&Key::new(1), &authority("CA", 9)).unwrap().pem();
    let ca = about_ca("CA").self_signed(&Key::new(9)).unwrap().pem();
    let odd = about(&[uri("urn:a"), dns("*")]).self_signed(&Key::new(2)).unwrap().pem();
    let whole = [
        format!("# peers\nalice {}\nbob {}\n", print(1), print(2)),
        format!("server {}\n{}", print(3), Key::new(1).pem()),
        "alice\nb.example\nspiffe://a.example/Ann\n".into(),
        leaf.clone() + &ca + &Key::new(1).pem(),
        ca + &odd,
        include_str!("../keys/encrypted.pem").into(),
        include_str!("../keys/p256_sec1.pem").into(),
    ];
    assert!(whole.iter().all(|text| read(text) > 0 || text.contains("ENCRYPTED")));
    let mut random = fastrand::Rng::with_seed(1);
    let mut found = 0;
    for _ in 0..20_000 {
        let mut text = random.choice(&whole).unwrap().clone().into_bytes();
        for _ in 0..random.usize(1..4) {
            let (at, other) = (random.usize(..text.len()), random.usize(..text.len()));
            match random.u8(..6) {
                0 => text.truncate(at.max(1)),
                1 => text[at] = random.u8(..),
                2 => text.swap(at, other),
                3 => drop(text.drain(at.min(other)..at.max(other))),
                4 => text.extend_from_within(at..),
                _ => {
                    let part = random.choice(&whole).unwrap().as_bytes();
                    let from = random.usize(..part.len());
                    text.splice(at..at, part[from..].iter().copied());
                }
            }
            if text.is_empty() {
                text.push(b'a');
            }
        }
        found += usize::from(read(&String::from_utf8_lossy(&text)) > 0);
    }
    assert!(found > 2_000, "{found}");
}
