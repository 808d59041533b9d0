//! Keys for a server and for its client, in a folder as `server --keys` has it.

use std::error::Error;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use longlink::{Identity, Security, Trust};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A folder with keys. It is removed in the end.
#[derive(Debug)]
pub(crate) struct Keys(PathBuf);

impl Keys {
    /// None are in it yet.
    fn new() -> Result<Keys> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("longlink-keys-{}-{number}", process::id());
        let folder = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Keys(folder))
    }

    /// As the library makes them: one for servers, and one for the client.
    pub(crate) fn make() -> Result<Keys> {
        let keys = Keys::new()?;
        let server = Identity::create(keys.0.join("server.key"))?;
        server.invite("client", keys.0.join("peers"), invite(&keys.0))?;
        Ok(keys)
    }

    /// The same, as this server program makes them.
    pub(crate) fn make_by(server: impl AsRef<Path>) -> Result<Keys> {
        let keys = Keys::new()?;
        let mut command = Command::new(server.as_ref());
        let made = command.args(keys.server_args()).args(["--invite", "client"]).output()?;
        match made.status.success() {
            true => Ok(keys),
            false => Err(String::from_utf8_lossy(&made.stderr).into()),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    /// What the server program is told of them.
    pub(crate) fn server_args(&self) -> [String; 2] {
        ["--keys".into(), self.0.display().to_string()]
    }

    /// What the client program is told of them.
    pub(crate) fn client_args(&self) -> [String; 2] {
        ["--invite".into(), invite(&self.0).display().to_string()]
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn invite(folder: &Path) -> PathBuf {
    folder.join("client.invite")
}

pub(crate) fn of_client(folder: &Path) -> Result<Security> {
    Ok(Security::invite(invite(folder))?)
}

pub(crate) fn of_server(folder: &Path) -> Result<Security> {
    let identity = Identity::from_file(folder.join("server.key"))?;
    Ok(Security::keys(identity, Trust::peers_file(folder.join("peers"))?))
}
