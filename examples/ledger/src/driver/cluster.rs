//! PostgreSQL, on a socket in a folder of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::now;
use super::process::{Missing, find};
use crate::Result;
use crate::books::{self, POSTGRES};

const START: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

pub struct Cluster {
    server: Child,
    folder: PathBuf,
}

impl Cluster {
    pub fn start(folder: &Path) -> Result<Cluster> {
        let folder = folder.join("cluster");
        fs::create_dir(&folder)?;
        let root = Command::new("id").arg("-u").output()?.stdout == b"0\n";
        if root && !Command::new("chown").arg("postgres").arg(&folder).status()?.success() {
            return Err(Missing("PostgreSQL".into()).into());
        }
        let initdb = ["--auth=trust", "--username=ledger", "--encoding=UTF8", "--no-sync"];
        if !command("initdb", &folder, root)?.args(initdb).status()?.success() {
            return Err("initdb failed".into());
        }
        let mut postgres = command("postgres", &folder, root)?;
        postgres.args(["-c", "listen_addresses=", "-k"]).arg(&folder);
        let mut cluster = Cluster { server: postgres.spawn()?, folder };
        let end = now() + START;
        while let Err(error) = books::open(&cluster.books()) {
            if cluster.server.try_wait()?.is_some() || now() > end {
                return Err(error);
            }
            thread::park_timeout(LOOK);
        }
        Ok(cluster)
    }

    pub fn books(&self) -> String {
        format!("{POSTGRES}host={} user=ledger dbname=postgres", self.folder.display())
    }
}

/// Not as root, which it refuses. It ends with the driver, however that ends.
fn command(program: &str, folder: &Path, root: bool) -> Result<Command> {
    let log = File::options().create(true).append(true).open(folder.with_extension("log"))?;
    let mut command = Command::new(find("setpriv")?);
    if root {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.args(["--pdeathsig", "INT"]).arg(find(program)?).arg("-D").arg(folder.join("data"));
    command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(command)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let id = self.server.id().to_string();
        let _ = (Command::new("kill").args(["-s", "INT", &id]).status(), self.server.wait());
    }
}
