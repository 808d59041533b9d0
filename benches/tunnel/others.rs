//! What else carries bytes, where it is installed.

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::between::{self, Between, Folder, file};
use crate::harness::Result;
use crate::harness::ends::Kind;
use crate::port::Reserved;

/// One at each end.
pub(crate) const SOCAT: Kind = Kind {
    name: "two socat",
    listen: || between::listen(socat),
    connect: |address| between::connect(socat, address),
};

/// `ssh -L`, to a server of its own.
pub(crate) const SSH: Kind = Kind {
    name: "ssh -L",
    // The service is reached by the server, which the client asks for its address.
    listen: || {
        between::listen(|service| {
            let (address, sshd) = sshd()?;
            fs::write(file(&address.to_string()), service.to_string())?;
            Ok((address, sshd))
        })
    },
    connect: |address| between::connect(ssh, address),
};

/// Whether it can be measured here, or why not.
type Found = std::result::Result<(), String>;

pub(crate) fn find_socat() -> Found {
    run(Command::new("socat").arg("-V")).map(drop)
}

fn socat(to: SocketAddr) -> Result<(SocketAddr, Between)> {
    let reserved = Reserved::new();
    let entry = reserved.addr();
    let listen = format!("TCP-LISTEN:{},bind=127.0.0.1,reuseaddr,fork,nodelay", entry.port());
    let mut socat = Between::start("socat", &["-d", "-d", &listen, &format!("TCP:{to},nodelay")])?;
    socat.says("listening on ")?;
    Ok((entry, socat))
}

/// It wants to be started by its whole path.
fn sshd_path() -> Option<&'static str> {
    ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"]
        .into_iter()
        .find(|path| Path::new(path).exists())
}

/// Makes the keys of both sides, and has the server look at its settings.
pub(crate) fn prepare_ssh(folder: &Folder) -> Result<Found> {
    let Some(sshd) = sshd_path() else { return Ok(Err("sshd is not installed".into())) };
    for key in ["host", "user"] {
        let file = folder.file(key);
        let args = ["-q", "-t", "ed25519", "-N", "", "-f", &file];
        if let Err(why) = run(Command::new("ssh-keygen").args(args)) {
            return Ok(Err(why));
        }
    }
    let settings = format!(
        "HostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
         PasswordAuthentication no\nPermitRootLogin prohibit-password\n",
        folder.file("host"),
        folder.file("user.pub"),
    );
    fs::write(folder.file("sshd_config"), settings)?;
    let known = format!("bench {}", fs::read_to_string(folder.file("host.pub"))?);
    fs::write(folder.file("known_hosts"), known)?;
    Ok(run(Command::new("ssh").arg("-V"))
        .and_then(|_| run(Command::new(sshd).args(["-t", "-f", &folder.file("sshd_config")])))
        .map(drop))
}

fn sshd() -> Result<(SocketAddr, Between)> {
    let reserved = Reserved::new();
    let address = reserved.addr();
    let listen = format!("ListenAddress={address}");
    let path = sshd_path().ok_or("sshd is gone")?;
    let args = ["-D", "-e", "-f", &file("sshd_config"), "-o", &listen];
    let mut sshd = Between::start(path, &args)?;
    sshd.says("Server listening on ")?;
    Ok((address, sshd))
}

fn ssh(server: SocketAddr) -> Result<(SocketAddr, Between)> {
    let service = fs::read_to_string(file(&server.to_string()))?;
    let reserved = Reserved::new();
    let entry = reserved.addr();
    let user = run(Command::new("id").arg("-un"))?;
    let (port, ip) = (server.port().to_string(), server.ip().to_string());
    let (key, known) = (file("user"), format!("UserKnownHostsFile={}", file("known_hosts")));
    let forward = format!("{entry}:{service}");
    let options = [
        &known[..],
        "GlobalKnownHostsFile=/dev/null",
        "HostKeyAlias=bench",
        "StrictHostKeyChecking=yes",
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "ExitOnForwardFailure=yes",
    ];
    // It says that it is ready only with -v, and then no more for each piece of bytes.
    let mut args = vec!["-v", "-N", "-F", "none", "-i", &key, "-l", user.trim(), "-p", &port];
    args.extend(options.iter().flat_map(|option| ["-o", *option]));
    args.extend(["-L", &forward, &ip]);
    let mut ssh = Between::start("ssh", &args)?;
    ssh.says("Entering interactive session")?;
    Ok((entry, ssh))
}

/// What a program prints, if it ends well.
fn run(command: &mut Command) -> std::result::Result<String, String> {
    let name = command.get_program().display().to_string();
    match command.output() {
        Ok(done) if done.status.success() => Ok(String::from_utf8_lossy(&done.stdout).into()),
        Ok(done) => Err(format!("{name}: {}", String::from_utf8_lossy(&done.stderr).trim())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(format!("{name} is not installed"))
        }
        Err(error) => Err(format!("{name}: {error}")),
    }
}
