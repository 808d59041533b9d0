//! Keys of the players, if their links are to be secured.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use longlink::{Identity, Security, Trust};

use crate::player::Error;

/// A folder with keys. It is removed in the end.
pub(crate) struct Keys(PathBuf);

impl Keys {
    /// One key for both servers, and one for the client.
    pub(crate) fn make() -> Result<Keys, Error> {
        let folder = std::env::temp_dir().join(format!("longlink-chaos-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&folder)?;
        let keys = Keys(folder);
        let server = Identity::create(keys.0.join("server.key"))?;
        server.invite("client", keys.0.join("peers"), keys.0.join("client.invite"))?;
        Ok(keys)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn of_client(folder: &Path) -> Result<Security, Error> {
    Ok(Security::invite(folder.join("client.invite"))?)
}

pub(crate) fn of_server(folder: &Path) -> Result<Security, Error> {
    let identity = Identity::from_file(folder.join("server.key"))?;
    Ok(Security::keys(identity, Trust::peers_file(folder.join("peers"))?))
}
