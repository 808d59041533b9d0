//! A security as it stands in files, which may change.
//!
//! A client reads them again for each attempt: what was mended, or renewed, counts then. If they
//! are not in order, what was read before goes on counting. A listener goes by what was
//! read first: its program says when it reads again, and gives it the result.

#[cfg(all(test, not(shuttle), not(miri)))]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use super::chain::Chain;
use super::config::{NO_KEYS, Peers, Setup};
use super::files::{Holds, displayed, read};
use super::keys::{Identity, read_invite};
use super::tls::Tls;
use super::trust::Trust;
use super::verify::fingerprint;
use super::{Failure, Layer, Mode, Security};
use crate::error::{Error, Result};
use crate::identity::{Fingerprint, Peer};
use crate::sync::{Arc, Mutex, wall_clock};

impl Security {
    /// By keys: this side shows its own, and speaks to those whose keys it trusts. A client
    /// takes whoever has one of these keys for its server, at whatever host.
    pub fn keys(identity: Identity, trust: Trust) -> Security {
        let files = trust.files().chain([(identity.path.to_path_buf(), Holds::Key)]).collect();
        let setup = keys(&identity, &trust);
        let again = move || Ok(keys(&identity.again()?, &trust.again()?));
        FromFiles::security(setup, files, again)
    }

    /// By the key in an [invite](Identity::invite), for a client of the server that made it.
    ///
    /// # Errors
    ///
    /// [`Error::Config`], whose text says what to do, if it is no invite, or if others may
    /// read or change the file.
    pub fn invite(path: impl AsRef<Path>) -> Result<Security> {
        let path = path.as_ref().to_path_buf();
        let files = vec![(path.clone(), Holds::Key)];
        let make = move || read_invite(&path).map(|(identity, servers)| keys(&identity, &servers));
        Ok(FromFiles::security(make()?, files, make))
    }

    /// By certificates: this side shows a chain of them, and speaks to those whom the
    /// authorities of `trust` certify.
    ///
    /// `chain` is a file of certificates in PEM: this side's own first, then those that have
    /// signed it, up to one that peers trust. `key` is the file of its private key (PKCS #8,
    /// SEC1 or PKCS #1): Ed25519, ECDSA with P-256, P-384 or P-521, or RSA. Of certificates
    /// that have signed it, peers look at the first of each subject only.
    ///
    /// A client takes a server if its certificate is for the name or address by which it was
    /// dialed. A listener takes clients whose certificate is for exactly one DNS name or URI:
    /// that is their [identity](crate::PeerIdentity::Certified). They go on with their sessions
    /// when it is renewed, whatever their key is then. Certificates are used up to their last
    /// moment: a link ends with the certificate of either side's peer, and is made anew.
    ///
    /// An own certificate that has expired, or is not valid yet, is no error here, since it may
    /// be the clock that is wrong, and a later one may be on its way: the log warns of it. A
    /// client does not show it. Each attempt fails, and says so, until the file has another.
    ///
    /// # Errors
    ///
    /// [`Error::Config`], whose text says what to do, if a file is not in order, the key is not
    /// that of the first certificate, others may read it, or keys are trusted.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use longlink::{Security, Trust};
    ///
    /// let trust = Trust::ca_file("ca.pem")?;
    /// let server = Security::certificates("server.pem", "server.key", trust.clone())?;
    /// let client = Security::certificates("alice.pem", "alice.key", trust)?;
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn certificates(
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
        trust: Trust,
    ) -> Result<Security> {
        certified(Some((chain.as_ref(), key.as_ref())), Some(trust))
    }

    /// For a client that shows nothing: it knows who the server is, which does not know who the
    /// client is. Listeners [that let in anybody](Security::open_server) take it, and those of
    /// other programs.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if keys are trusted: a server that shows one asks for the client's.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use longlink::{Security, Trust};
    ///
    /// let client = Security::anonymous_client(Trust::ca_file("ca.pem")?)?;
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn anonymous_client(trust: Trust) -> Result<Security> {
        certified(None, Some(trust))
    }

    /// For a listener that lets in anybody, and asks no client for a certificate: they know who
    /// the server is, which does not know who they are. Nobody else can read or alter what is
    /// said, and whoever learns a session's secret name can resume it.
    ///
    /// # Errors
    ///
    /// As those of [`certificates`](Security::certificates).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use longlink::Security;
    ///
    /// let server = Security::open_server("server.pem", "server.key")?;
    /// # Ok::<(), longlink::Error>(())
    /// ```
    pub fn open_server(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Security> {
        certified(Some((chain.as_ref(), key.as_ref())), None)
    }

    /// Of this side's key, by which its peers know it. `None` if it shows none.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.mode.fingerprint()
    }
}

fn keys(identity: &Identity, trust: &Trust) -> Setup {
    match trust.keys() {
        Some(trusted) => Setup::keys(identity.key.clone(), Arc::new(trusted)),
        None => Setup::unusable(NO_KEYS),
    }
}

fn certified(shown: Option<(&Path, &Path)>, trust: Option<Trust>) -> Result<Security> {
    let shown = shown.map(|(chain, key)| (chain.to_path_buf(), key.to_path_buf()));
    let mut files: Vec<_> = trust.iter().flat_map(Trust::files).collect();
    if let Some((chain, key)) = shown.clone() {
        files.extend([(chain, Holds::Chain), (key, Holds::Key)]);
    }
    let make = {
        let shown = shown.clone();
        move |trust: Option<&Trust>| {
            let chain = shown.as_ref().map(|(chain, key)| Chain::read(chain, key)).transpose()?;
            Setup::certificates(chain, trust).map_err(|what| Error::Config(what.into()))
        }
    };
    let setup = make(trust.as_ref())?;
    if let Some(what) = setup.outside(wall_clock()) {
        log::warn!("{what}");
    }
    let again = move || make(trust.as_ref().map(Trust::again).transpose()?.as_ref());
    Ok(FromFiles::security(setup, files, again))
}

/// What was read, and where.
struct FromFiles {
    /// What was read first.
    first: Setup,
    files: Vec<(PathBuf, Holds)>,
    again: Box<dyn Fn() -> Result<Setup> + Send + Sync>,
    latest: Mutex<Latest>,
}

/// What was read last and is in order.
struct Latest {
    setup: Setup,
    /// What was in the files at the last attempt, if all could be read.
    found: Option<Vec<Fingerprint>>,
    /// What was wrong at the last attempt.
    wrong: Option<String>,
}

impl FromFiles {
    fn security(
        first: Setup,
        files: Vec<(PathBuf, Holds)>,
        again: impl Fn() -> Result<Setup> + Send + Sync + 'static,
    ) -> Security {
        let latest = Mutex::new(Latest { setup: first.clone(), found: None, wrong: None });
        Security { mode: Arc::new(FromFiles { first, files, again: Box::new(again), latest }) }
    }

    fn found(&self) -> Option<Vec<Fingerprint>> {
        let texts = self.files.iter().map(|(path, holds)| read(path, *holds).ok());
        texts.map(|text| Some(fingerprint(text?.as_bytes()))).collect()
    }
}

impl Mode for FromFiles {
    fn connect(&self, host: &str) -> Result<Box<dyn Layer + Send>, Failure> {
        let setup = self.latest.lock().setup.clone();
        if let Some(what) = setup.outside(wall_clock()) {
            return Err(Failure::Tls(what.into()));
        }
        Ok(Box::new(Tls::connect(&setup, host)?))
    }

    fn accept(&self) -> Result<Box<dyn Layer + Send>, Failure> {
        Ok(Box::new(Tls::accept(&self.first)?))
    }

    fn read_again(&self) -> Result<(), String> {
        let found = self.found();
        let mut latest = self.latest.lock();
        if latest.wrong.is_none() && found.is_some() && latest.found == found {
            return Ok(());
        }
        latest.found = found;
        let again = (self.again)().map(|setup| latest.setup = setup);
        let wrong = again.err().map(|error| error.to_string());
        if latest.wrong == wrong {
            return Ok(());
        }
        latest.wrong.clone_from(&wrong);
        wrong.map_or(Ok(()), Err)
    }

    fn can_connect(&self) -> Result<(), &'static str> {
        self.first.client.as_ref().map(drop).map_err(|why| *why)
    }

    fn can_accept(&self) -> Result<(), &'static str> {
        self.first.server.as_ref().map(drop).map_err(|why| *why)
    }

    fn trusts(&self, peer: Option<&Peer>) -> bool {
        self.first.trusts(peer)
    }

    /// No program but ours shows raw keys.
    fn takes_text(&self) -> bool {
        matches!(self.first.peers, Peers::Certified(_))
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        self.latest.lock().setup.own
    }
}

impl fmt::Debug for FromFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<_> = self.files.iter().map(|(path, _)| displayed(path)).collect();
        f.debug_tuple("FromFiles").field(&self.first).field(&files).finish()
    }
}
