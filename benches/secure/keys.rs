//! The keys of both sides. They are no secret: every process of the benchmark has them.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use longlink::{Identity, Security, Trust};

use crate::harness::Result;

/// Two Ed25519 keys.
pub(crate) const CLIENT: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB
-----END PRIVATE KEY-----
";
pub(crate) const SERVER: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC
-----END PRIVATE KEY-----
";

/// Of one side, which trusts the other.
pub(crate) fn security(own: &str, other: &str) -> Result<Security> {
    let trust = Trust::fingerprint(identity(other)?.fingerprint());
    Ok(Security::keys(identity(own)?, trust))
}

/// It takes a file, which only its owner may read.
fn identity(key: &str) -> Result<Identity> {
    let path = std::env::temp_dir().join(format!("longlink-secure-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let read = file.write_all(key.as_bytes()).map(|()| Identity::from_file(&path));
    fs::remove_file(&path)?;
    Ok(read??)
}
