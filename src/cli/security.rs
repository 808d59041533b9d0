//! Who is let in, and which server is trusted: what the programs take for that, and the files
//! that it stands in.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};

use super::stop::Stop;
use super::text;
use crate::{Error, Fingerprint, Identity, Result, Security, Trust, shell_word};

/// Whom a server lets in.
#[derive(Debug, Args)]
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
    /// Let in whoever reaches an address that is not of this machine only
    ///
    /// In clear text: anybody on the path reads and changes what is said. Without
    /// it, and without --keys, the server does not listen on such an address.
    #[arg(long, conflicts_with = "keys", help_heading = "Security")]
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

    /// Whether the links are secured.
    pub fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// Reads the files, if there are any.
    ///
    /// # Errors
    ///
    /// What is wrong with one of them.
    pub fn read(&self) -> Result<Option<Security>> {
        self.keys.as_deref().map(|folder| Folder(folder).read()).transpose()
    }

    /// Stops if one of these addresses can be reached from elsewhere, and whoever does so
    /// would be let in.
    pub fn check(&self, addresses: &[SocketAddr]) -> std::result::Result<(), Stop> {
        let elsewhere = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
        match addresses.iter().find(elsewhere) {
            Some(address) if !self.open && !self.has_keys() => Err(Stop::Usage(format!(
                "{} can be reached from elsewhere: --keys DIR lets in those who have a key, which \
                 --keys DIR --invite NAME makes; --open lets in everybody, in clear text",
                address.ip()
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
        Ok(Security::keys(Identity::from_file(key)?, Trust::peers_file(peers)?))
    }
}

/// Which server a client trusts, and the key that it shows.
#[derive(Debug, Args)]
pub struct ClientSecurity {
    /// Use this invite, which `server --keys DIR --invite NAME` has made
    ///
    /// Everything is encrypted (TLS 1.3). The client speaks to the server that has
    /// made the invite and to no other, and proves who it is by the key in it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "servers", "plain"],
        help_heading = "Security", value_hint = ValueHint::FilePath)]
    invite: Option<PathBuf>,
    /// Use a key of this client's own, which --new-key has made
    ///
    /// The server has to know its fingerprint.
    #[arg(long, value_name = "FILE", requires = "servers", conflicts_with = "plain",
        help_heading = "Security", value_hint = ValueHint::FilePath)]
    key: Option<PathBuf>,
    /// The fingerprint of a server's key, which the server says at its start
    ///
    /// The client speaks to no other server. It can be given several times.
    #[arg(
        long = "server",
        value_name = "FINGERPRINT",
        requires = "key",
        help_heading = "Security"
    )]
    servers: Vec<Fingerprint>,
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
        let servers = self.servers.iter().copied().map(Trust::fingerprint).reduce(Trust::or);
        match (&self.key, servers) {
            (Some(key), Some(servers)) => {
                Ok(Some(Security::keys(Identity::from_file(key)?, servers)))
            }
            _ => Ok(None),
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

    #[test]
    fn what_others_can_reach_takes_keys_or_the_word_that_it_is_open() {
        let check = |keys: &str, open, address: &str| {
            let keys = Some(PathBuf::from(keys)).filter(|keys| !keys.as_os_str().is_empty());
            let addresses = ["127.0.0.1:1", address].map(|address| address.parse().unwrap());
            ServerSecurity { keys, invite: None, open }.check(&addresses)
        };
        for local in ["127.0.0.1:1", "127.0.1.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(check("", false, local), Ok(()), "{local}");
        }
        let elsewhere = ["0.0.0.0", "[::]", "192.0.2.1", "[::ffff:0.0.0.0]", "[::127.0.0.1]"];
        for elsewhere in elsewhere.map(|ip| format!("{ip}:1")) {
            assert_eq!(check("keys", false, &elsewhere), Ok(()), "{elsewhere}");
            assert_eq!(check("", true, &elsewhere), Ok(()), "{elsewhere}");
            match check("", false, &elsewhere) {
                Err(Stop::Usage(said)) => {
                    assert!(said.contains("--invite") && said.contains("--open"), "{said}");
                }
                other => panic!("{elsewhere}: {other:?}"),
            }
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
