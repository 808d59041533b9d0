use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::secure::certificate::tests::authority::{Key, about, about_ca, authority, dns};
use crate::secure::files::tests::{Folder, text};
use rcgen::{
    CertificateParams, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    PKCS_RSA_SHA256,
};

/// Made by openssl.
macro_rules! pem {
    ($name:literal) => {
        include_str!(concat!("../keys/", $name, ".pem"))
    };
}

const ALICE: u8 = 1;
const CA: u8 = 9;

/// Alice's certificate, as PEM.
fn alice() -> String {
    about(&[dns("alice")]).signed_by(&Key::new(ALICE), &authority("CA", CA)).unwrap().pem()
}

/// A certificate of a CA, as PEM.
fn ca() -> String {
    about_ca("CA").self_signed(&Key::new(CA)).unwrap().pem()
}

fn alices_key() -> String {
    Key::new(ALICE).pem()
}

fn read_pem(folder: &Folder, chain: &str, key: &str) -> (Result<Chain>, PathBuf, PathBuf) {
    let [chain, key] = [folder.write("chain", chain), folder.write("key", key)];
    (Chain::read(&chain, &key), chain, key)
}

#[test]
fn a_chain_is_read_with_the_key_of_its_leaf() {
    let folder = Folder::new();
    for (pem, len) in [
        (alice(), 1),
        (alice() + &ca(), 2),
        (alice().replace('\n', "\r\n"), 1),
        (format!("Alice's\n{}\nThe CA's:\n{}", alice(), ca()), 2),
        // One file for all is read twice.
        (alices_key() + &alice(), 1),
    ] {
        let (read, ..) = read_pem(&folder, &pem, &alices_key());
        let chain = read.unwrap();
        assert_eq!(chain.shown.cert.len(), len);
        let day = |year: u64| UNIX_EPOCH + Duration::from_secs((year - 1970) * 86400 * 36525 / 100);
        let outside = |year| chain.outside(day(year)).unwrap();
        assert_eq!(chain.outside(day(2025)), None);
        assert!(outside(2019).contains("certificate is not valid before 2020-01-01 ("));
        assert!(outside(2031).contains("certificate expired 2030-01-01 ("));
    }
}

#[test]
fn keys_may_be_of_any_kind_that_peers_verify() {
    let folder = Folder::new();
    for (pem, kind) in [
        (pem!("ed25519"), &PKCS_ED25519),
        (pem!("p256"), &PKCS_ECDSA_P256_SHA256),
        (pem!("p256_sec1"), &PKCS_ECDSA_P256_SHA256),
        (pem!("p384"), &PKCS_ECDSA_P384_SHA384),
        (pem!("rsa"), &PKCS_RSA_SHA256),
        (pem!("rsa_pkcs1"), &PKCS_RSA_SHA256),
    ] {
        let own = Key::from_pem(pem, kind);
        let leaf = about(&[dns("alice")]).signed_by(&own, &authority("CA", CA)).unwrap();
        let (read, ..) = read_pem(&folder, &leaf.pem(), pem);
        assert!(read.is_ok(), "{read:?}");
    }
    // Made by openssl.
    let (read, ..) = read_pem(&folder, include_str!("p521.pem"), pem!("p521"));
    assert!(read.is_ok(), "{read:?}");
}

#[test]
fn what_is_no_chain_is_refused_in_words_of_its_own() {
    let damaged = alice().replacen("\nMI", "\nMJ", 1);
    let long = |bytes: usize| {
        let mut about = about(&[dns("alice")]);
        let content = [&[4, 0x82, (bytes >> 8) as u8, bytes as u8][..], &vec![0; bytes]].concat();
        about.custom_extensions.push(rcgen::CustomExtension::from_oid_content(&[1, 2, 3], content));
        about.signed_by(&Key::new(ALICE), &authority("CA", CA)).unwrap().pem()
    };
    assert_ne!(damaged, alice());
    let cases = [
        (String::new(), "it is empty"),
        (" \n".into(), "it is empty"),
        ("alice".into(), "there is no certificate in it, as PEM"),
        (pem!("public").into(), "there is no certificate in it, as PEM"),
        (alices_key(), "there is a key in it, and no certificate"),
        (pem!("encrypted").into(), "there is a key in it, and no certificate"),
        (damaged.clone(), "certificate 1 is damaged"),
        (alice() + &damaged, "certificate 2 is damaged"),
        (alice() + &ca().replace("\nMI", "\nM*"), "certificate 2 is damaged"),
        (alice() + &ca().replace("-----END", "----END"), "certificate 2 is damaged"),
        (ca(), "the first certificate is a CA's; it must be the one"),
        (ca() + &alice(), "the first certificate is a CA's; it must be the one"),
        (alice() + &ca() + &ca(), "certificate 3 comes twice"),
        (long(12_000), "bytes, and peers read no more than 12288"),
        (alice() + &long(12_000), "bytes, and peers read no more than 12288"),
    ];
    let folder = Folder::new();
    for (pem, what) in cases {
        let (read, path, _) = read_pem(&folder, &pem, &alices_key());
        let error = text(read);
        assert!(error.contains(what), "{error}");
        assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
    }
    assert!(read_pem(&folder, &long(10_000), &alices_key()).0.is_ok());
}

#[test]
fn a_key_that_is_not_the_leafs_is_refused() {
    let folder = Folder::new();
    let (read, chain, path) = read_pem(&folder, &(alice() + &ca()), &Key::new(CA).pem());
    let expected = format!(
        "{}: it is not the key of the first certificate in {}",
        path.display(),
        chain.display()
    );
    assert_eq!(text(read), expected);
    for (pem, what) in [
        (String::new(), "it is empty"),
        (alice(), "there is no private key in it"),
        (pem!("encrypted").into(), "the key is encrypted; decrypt it with: openssl"),
        (pem!("ed448").into(), "of a kind that is not supported; Ed25519 is, ECDSA"),
        (pem!("x25519").into(), "of a kind that is not supported; Ed25519 is, ECDSA"),
    ] {
        let (read, _, path) = read_pem(&folder, &alice(), &pem);
        let error = text(read);
        assert!(error.contains(what), "{error}");
        assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
    }
}

/// Everybody may read the chain, and nobody else its key.
#[test]
fn files_are_judged_by_what_is_in_them() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new();
    let (_, chain, path) = read_pem(&folder, &alice(), &alices_key());
    set_permissions(&chain, Permissions::from_mode(0o666)).unwrap();
    assert!(Chain::read(&chain, &path).is_ok());
    set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let error = text(Chain::read(&chain, &path));
    assert!(error.contains("others may read it; mend it with: chmod 600"), "{error}");
    let large = folder.write("large", vec![b'#'; 65 * 1024]);
    assert!(text(Chain::read(&large, &path)).ends_with("it has more than 65536 bytes"));
}

/// What `about` says of a CA is not what a leaf's params say.
#[test]
fn a_chain_may_be_of_several_authorities() {
    let folder = Folder::new();
    let middle: CertificateParams = about_ca("Middle");
    let middle = middle.signed_by(&Key::new(8), &authority("CA", CA)).unwrap().pem();
    let leaf = about(&[dns("alice")]).signed_by(&Key::new(ALICE), &authority("Middle", 8)).unwrap();
    let (read, ..) = read_pem(&folder, &(leaf.pem() + &middle), &alices_key());
    assert_eq!(read.unwrap().shown.cert.len(), 2);
}
