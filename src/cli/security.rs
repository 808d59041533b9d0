//! Who is let in, and which server is trusted: what the programs take for that, and the files
//! that it stands in.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};

use super::stop::Stop;
use super::text::{self, Secured};
use crate::{Error, Fingerprint, Identity, Result, Security, Trust, shell_word};

/// Whom a server lets in.
#[derive(Debug, Clone, Args)]
pub struct ServerSecurity {
    /// Let in the clients whose keys are in this folder, and nobody else
    ///
    /// Everything is encrypted (TLS 1.3), and both sides prove who they are. The
    /// folder has the server's key, and a line for each client in the file peers.
    /// Clear text is refused.
    #[arg(long, value_name = "DIR", help_heading = "Security", value_hint = ValueHint::DirPath)]
    keys: Option<PathBuf>,
    /// Make a key for a client, say how to use it, and exit
    ///
    /// It is written to NAME.invite in the folder, for the client to have; whoever
    /// has that file is NAME. The client gets a line in peers. The folder and the
    /// server's own key are made if there are none.
    #[arg(long, value_name = "NAME", requires = "keys", value_parser = name,
        help_heading = "Security")]
    invite: Option<String>,
    /// Show this chain of certificates, in PEM, to clients that dial by its name
    ///
    /// The server's own comes first. Everything is encrypted (TLS 1.3), and clear
    /// text is refused. Who the clients are it only knows with --client-ca.
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "keys",
        help_heading = "Security", value_hint = ValueHint::FilePath)]
    cert: Option<PathBuf>,
    /// The private key of --cert
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "Security",
        value_hint = ValueHint::FilePath)]
    key: Option<PathBuf>,
    /// Let in those whom these authorities certify, and nobody else
    ///
    /// Certificates in PEM. The client's own is for one DNS name or URI: so it is
    /// called.
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "Security",
        value_hint = ValueHint::FilePath)]
    client_ca: Option<PathBuf>,
    /// Of these, let in those who are named in this file: a name on each line
    #[arg(long, value_name = "FILE", requires = "client_ca", help_heading = "Security",
        value_hint = ValueHint::FilePath)]
    client_names: Option<PathBuf>,
    /// Let in everybody who can reach the address
    ///
    /// Without --cert in clear text: what is said can be read and changed on its
    /// way. An address that other machines can reach takes this, --keys or
    /// --client-ca.
    #[arg(long, conflicts_with_all = ["keys", "client_ca"], help_heading = "Security")]
    open: bool,
}

impl ServerSecurity {
    /// Makes an invite if one was asked for, and stops with what is to be said of it. The
    /// server is going to listen on this port, if it is not the default.
    pub(super) fn make_invite(&self, port: Option<u16>) -> std::result::Result<(), Stop> {
        let (Some(folder), Some(name)) = (&self.keys, &self.invite) else { return Ok(()) };
        let made = Folder(folder).invite(name, port);
        Err(made.map_or_else(Stop::failed, |said| Stop::Print(said.into_bytes())))
    }

    /// Whether there are files that say who is let in, so that the links are secured.
    pub fn has_files(&self) -> bool {
        self.keys.is_some() || self.cert.is_some()
    }

    /// Whether clients have to prove who they are.
    fn asks_clients(&self) -> bool {
        self.keys.is_some() || self.client_ca.is_some()
    }

    /// Reads the files, if there are any, and logs what is in them.
    ///
    /// # Errors
    ///
    /// What is wrong with one of them.
    pub fn read(&self) -> Result<Option<Security>> {
        if let Some(folder) = &self.keys {
            return Folder(folder).read().map(Some);
        }
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else { return Ok(None) };
        let (trusts, security) = match self.trust()? {
            Some(trust) => (format!("trusts {trust}"), Security::certificates(cert, key, trust)?),
            None => ("asks no client who it is".into(), Security::open_server(cert, key)?),
        };
        log::info!("{trusts}");
        Ok(Some(security))
    }

    /// Whose clients' certificates are good enough.
    fn trust(&self) -> Result<Option<Trust>> {
        let Some(ca) = &self.client_ca else { return Ok(None) };
        let trust = Trust::ca_file(ca)?;
        match &self.client_names {
            Some(names) => trust.client_names(names).map(Some),
            None => Ok(Some(trust)),
        }
    }

    /// Who can use a server that listens on this address. No option changes that of a socket that
    /// was handed over.
    pub fn reach(&self, address: IpAddr, is_handed: bool) -> &'static str {
        match (address.to_canonical().is_loopback(), self.has_files()) {
            (true, _) if is_handed => " (this machine only)",
            (true, true) => " (this machine only; --bind :: for all)",
            (true, false) => " (this machine only; --keys is for others)",
            (false, true) if self.asks_clients() => "",
            (false, true) => " (everybody who can reach it)",
            (false, false) => " (everybody who can reach it, in clear text)",
        }
    }

    /// Stops if one of these addresses can be reached from elsewhere, and whoever does so
    /// would be let in.
    pub fn check(&self, addresses: &[SocketAddr]) -> std::result::Result<(), Stop> {
        let elsewhere = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
        match addresses.iter().find(elsewhere) {
            Some(address) if !self.open && !self.asks_clients() => Err(Stop::Usage(format!(
                "other machines can reach {}. With --keys DIR, only those get in who have a key \
                 (--keys DIR --invite NAME makes one); with --open everybody gets in{}",
                address.ip(),
                if self.has_files() { "" } else { ", in clear text" }
            ))),
            _ => Ok(()),
        }
    }
}

/// A server's folder of keys.
struct Folder<'a>(&'a Path);

impl Folder<'_> {
    fn key(&self) -> PathBuf {
        self.0.join("server.key")
    }

    fn peers(&self) -> PathBuf {
        self.0.join("peers")
    }

    /// Makes an invite, and what it needs. Returns how it is used.
    fn invite(&self, name: &str, port: Option<u16>) -> Result<String> {
        let Folder(folder) = self;
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => {
                return Err(Error::Config(format!("{}: {}", folder.display(), text::system(e))));
            }
            _ => {}
        }
        let (key, peers) = (self.key(), self.peers());
        let server = match key.try_exists() {
            Ok(false) => Identity::create(&key)?,
            _ => Identity::from_file(&key)?,
        };
        let file = format!("{name}.invite");
        let invite = folder.join(&file);
        server.invite(name, &peers, &invite)?;
        let [invite, peers, folder] = [&invite, &peers, *folder].map(word);
        let (of_client, of_server) = match port {
            Some(port) => (format!(":{port}"), format!(" --port {port}")),
            None => Default::default(),
        };
        Ok(format!(
            "{invite} is for {name} alone: whoever has this file is {name}. Send it by a way that\n\
             you trust. {name} types, with the name or the address of this machine as HOST:\n\n    \
             client --invite {file} HOST{of_client}\n\n\
             This serves {name}, and all others who are in {peers}:\n\n    \
             server --keys {folder} --bind ::{of_server}\n\n\
             If it runs already, it takes {name} in once it is started again, or is sent SIGHUP,\n\
             where its standard input is no terminal.\n"
        ))
    }

    fn read(&self) -> Result<Security> {
        let (key, peers) = (self.key(), self.peers());
        if let Some(missing) = [&key, &peers].into_iter().find(|file| is_missing(file)) {
            let [missing, folder] = [missing, self.0].map(word);
            return Err(Error::Config(format!(
                "there is no {missing} yet; server --keys {folder} --invite NAME makes it, with a key \
                 for a client"
            )));
        }
        let (identity, trust) = (Identity::from_file(key)?, Trust::peers_file(&peers)?);
        log::info!("trusts {trust}; this server is {}", identity.fingerprint());
        Ok(Security::keys(identity, trust))
    }
}

/// Which server a client trusts, and the key that it shows.
#[derive(Debug, Args)]
pub struct ClientSecurity {
    /// Use this invite, which `server --keys DIR --invite NAME` has made
    ///
    /// Everything is encrypted (TLS 1.3). The client speaks to the server that has
    /// made the invite and to no other, and proves who it is by the key in it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "servers", "tls", "plain"],
        help_heading = "Security", value_hint = ValueHint::FilePath)]
    invite: Option<PathBuf>,
    /// Use a key of this client's own, which --new-key has made, or that of --cert
    ///
    /// The server has to know its fingerprint, or the certificate's authority.
    #[arg(long, value_name = "FILE", requires = "partner", conflicts_with = "plain",
        help_heading = "Security", value_hint = ValueHint::FilePath)]
    key: Option<PathBuf>,
    /// The fingerprint of a server's key, which the server says at its start
    ///
    /// The client speaks to no other server. It can be given several times.
    #[arg(
        long = "server",
        value_name = "FINGERPRINT",
        requires = "key",
        group = "partner",
        conflicts_with = "tls",
        help_heading = "Security"
    )]
    servers: Vec<Fingerprint>,
    /// Speak to a server that shows a certificate for the name or address it is dialed by
    ///
    /// Everything is encrypted (TLS 1.3). Who certifies servers is said by --ca.
    #[arg(long, conflicts_with = "plain", help_heading = "Security")]
    tls: bool,
    /// Trust these authorities, instead of those that the system trusts
    #[arg(long, value_name = "FILE", requires = "tls", help_heading = "Security",
        value_hint = ValueHint::FilePath)]
    ca: Option<PathBuf>,
    /// Show this chain of certificates, in PEM, to a server that asks who this client is
    #[arg(long, value_name = "FILE", requires_all = ["tls", "key"], group = "partner",
        help_heading = "Security", value_hint = ValueHint::FilePath)]
    cert: Option<PathBuf>,
    /// Make a key, print the line that a server's file peers needs for it, and exit
    #[arg(long, value_name = "FILE", exclusive = true, help_heading = "Security",
        value_hint = ValueHint::FilePath)]
    new_key: Option<PathBuf>,
}

impl ClientSecurity {
    /// Makes a key if one was asked for, and stops with what is to be said of it.
    pub(super) fn make_key(&self) -> std::result::Result<(), Stop> {
        let Some(file) = &self.new_key else { return Ok(()) };
        let made = Identity::create(file).map(|made| of_new_key(file, made.fingerprint()));
        Err(made.map_or_else(Stop::failed, |said| Stop::Print(said.into_bytes())))
    }

    /// Reads the files, if there are any.
    ///
    /// # Errors
    ///
    /// What is wrong with one of them.
    pub fn read(&self) -> Result<Option<Security>> {
        if let Some(invite) = &self.invite {
            return Security::invite(invite).map(Some);
        }
        if self.tls {
            let trust = self.ca.as_ref().map_or_else(Trust::system_roots, Trust::ca_file)?;
            let security = match (&self.cert, &self.key) {
                (Some(cert), Some(key)) => Security::certificates(cert, key, trust),
                _ => Security::anonymous_client(trust),
            };
            return security.map(Some);
        }
        let servers = self.servers.iter().copied().map(Trust::fingerprint).reduce(Trust::or);
        match (&self.key, servers) {
            (Some(key), Some(servers)) => {
                Ok(Some(Security::keys(Identity::from_file(key)?, servers)))
            }
            _ => Ok(None),
        }
    }

    /// What links are secured by, with what was [read](ClientSecurity::read).
    pub(super) fn secured(&self, read: &Security) -> Secured {
        match read.fingerprint() {
            Some(own) if !self.tls => Secured::ByKeys(own),
            _ => Secured::ByCertificates,
        }
    }
}

/// What `--new-key` says. All of it can stand in a server's file of peers.
fn of_new_key(file: &Path, fingerprint: Fingerprint) -> String {
    let stem = file.file_stem().and_then(|stem| name(stem.to_str()?).ok());
    let name = stem.as_deref().unwrap_or("NAME");
    format!(
        "# The server's file peers needs this line, under any name; the server reads it again on\n\
         # SIGHUP. Then: client --key {} --server FINGERPRINT HOST\n{name} {fingerprint}\n",
        word(file)
    )
}

/// A client's name, which becomes a part of a file's.
fn name(text: &str) -> std::result::Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.chars().all(fits) {
        true => Ok(text.to_string()),
        false => Err("a name consists of A-Z a-z 0-9 . _ - and begins with none of . _ -".into()),
    }
}

fn is_missing(file: &Path) -> bool {
    file.try_exists().is_ok_and(|exists| !exists)
}

fn word(path: &Path) -> String {
    shell_word(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(line: &str) -> ServerSecurity {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            security: ServerSecurity,
        }
        let line = line.split_whitespace();
        <Line as clap::Parser>::try_parse_from(["server"].into_iter().chain(line)).unwrap().security
    }

    const LOCAL: [&str; 4] = ["127.0.0.1", "127.0.1.1", "::1", "::ffff:127.0.0.1"];
    const ELSEWHERE: [&str; 5] = ["0.0.0.0", "::", "192.0.2.1", "::ffff:0.0.0.0", "::127.0.0.1"];

    #[test]
    fn what_others_can_reach_takes_clients_that_are_known_or_a_word() {
        let check = |line, address: &str| {
            let addresses =
                ["127.0.0.1", address].map(|ip| SocketAddr::new(ip.parse().unwrap(), 1));
            server(line).check(&addresses)
        };
        for address in LOCAL {
            for line in ["", "--keys k", "--cert c --key k", "--open"] {
                assert_eq!(check(line, address), Ok(()), "{line}: {address}");
            }
        }
        for address in ELSEWHERE {
            for line in
                ["--keys k", "--cert c --key k --client-ca a", "--open", "--cert c --key k --open"]
            {
                assert_eq!(check(line, address), Ok(()), "{line}: {address}");
            }
            for (line, end) in [("", ", in clear text"), ("--cert c --key k", "gets in")] {
                match check(line, address) {
                    Err(Stop::Usage(said)) => {
                        assert!(said.contains("--invite") && said.contains("--open"), "{said}");
                        assert!(said.ends_with(end), "{said}");
                    }
                    other => panic!("{line}: {address}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn who_can_use_a_server() {
        let reach = |line, address: &str| server(line).reach(address.parse().unwrap(), false);
        for local in LOCAL {
            assert_eq!(reach("", local), " (this machine only; --keys is for others)");
            assert_eq!(reach("--keys k", local), " (this machine only; --bind :: for all)");
            let handed = server("--keys k").reach(local.parse().unwrap(), true);
            assert_eq!(handed, " (this machine only)");
        }
        for elsewhere in ELSEWHERE {
            assert!(reach("--open", elsewhere).ends_with("in clear text)"), "{elsewhere}");
            assert!(reach("--cert c --key k --open", elsewhere).contains("everybody"));
            assert_eq!(reach("--cert c --key k --client-ca a", elsewhere), "");
            assert_eq!(reach("--keys k", elsewhere), "");
        }
    }

    #[test]
    fn a_name_begins_as_no_option_and_no_hidden_file_does() {
        for right in ["alice", "A", "0-._", "alice.example"] {
            assert_eq!(name(right).as_deref(), Ok(right));
        }
        for wrong in ["", ".", "..", "-a", "_a", "a b", "a/b", "\u{e4}", "a\0"] {
            assert!(name(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_new_key_is_called_as_its_file() {
        let fingerprint = format!("sha256:{}", "ab".repeat(32));
        let last = |file: &str| {
            let said = of_new_key(Path::new(file), fingerprint.parse().unwrap());
            assert!(said.lines().rev().skip(1).all(|line| line.starts_with("# ")), "{said}");
            said.lines().last().unwrap().to_string()
        };
        assert_eq!(last("../alice.key"), format!("alice {fingerprint}"));
        assert_eq!(last("a b"), format!("NAME {fingerprint}"));
    }
}
