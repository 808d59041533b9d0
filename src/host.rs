//! Where a client connects to.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::error::{Error, Result};

/// One place to connect to: a name or an address, and a port. Names are
/// resolved anew at each attempt.
///
/// # Examples
///
/// ```
/// use longlink::{Host, ToHosts};
///
/// let places = [Host::new("one.example", 6666), Host::new("two.example", 6666)];
/// assert_eq!(places.to_hosts()?.len(), 2);
/// # Ok::<(), longlink::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host {
    pub(crate) name: String,
    pub(crate) port: u16,
    /// The server that it is a path to, if that has another name.
    server: Option<String>,
}

impl Host {
    /// A name or an IP address (without brackets), and a port.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::Host;
    ///
    /// assert_eq!(Host::new("::1", 6666).to_string(), "[::1]:6666");
    /// ```
    pub fn new(name: impl Into<String>, port: u16) -> Host {
        Host { name: name.into(), port, server: None }
    }

    /// Says that this host is another path to the server that `other` is.
    ///
    /// A client names itself to each server by a secret of its own, so that no server can
    /// take over what another one has. A session is found by that name: so it goes on over
    /// another path only if the client knows that it leads to the same server. Between
    /// two paths of which it does not, a session is lost when the path changes, and what
    /// was not acknowledged is sent again in a new one.
    ///
    /// A server with this name and port anywhere in the list of hosts is the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::{Host, ToHosts};
    ///
    /// let wired = Host::new("one.example", 6666);
    /// let wireless = Host::new("one.wifi.example", 6666).alias_of(&wired);
    /// // Two servers, the first of them on two paths.
    /// let hosts = [wired, wireless, Host::new("two.example", 6666)];
    /// assert_eq!(hosts.to_hosts()?.len(), 3);
    /// # Ok::<(), longlink::Error>(())
    /// ```
    #[must_use]
    pub fn alias_of(self, other: &Host) -> Host {
        let server = Some(other.server()).filter(|server| *server != self.to_string());
        Host { server, ..self }
    }

    fn server(&self) -> String {
        self.server.clone().unwrap_or_else(|| self.to_string())
    }
}

/// The servers that hosts are paths to, numbered from 0 in the order in which they come.
pub(crate) fn servers(hosts: &[Host]) -> Vec<usize> {
    let mut known = Vec::new();
    let number = |host: &Host| {
        let server = host.server();
        known.iter().position(|other| *other == server).unwrap_or_else(|| {
            known.push(server);
            known.len() - 1
        })
    };
    hosts.iter().map(number).collect()
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

/// What [`connect`](crate::Connection::connect) takes: `"host:port"`, `("host", port)`, a
/// [`SocketAddr`], a [`Host`], or several of one of these.
///
/// Unlike std's [`ToSocketAddrs`](std::net::ToSocketAddrs) it keeps the name, which is
/// resolved at every attempt.
///
/// # Examples
///
/// ```
/// use longlink::ToHosts;
///
/// assert_eq!("example.org:6666".to_hosts()?.len(), 1);
/// assert_eq!([("::1", 6666), ("127.0.0.1", 6667)].to_hosts()?[0].to_string(), "[::1]:6666");
/// assert!("no-port".to_hosts().is_err());
/// # Ok::<(), longlink::Error>(())
/// ```
pub trait ToHosts {
    /// The hosts, in the order in which they are to be tried.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if a string is not `host:port`, or there is no host at all.
    ///
    /// # Examples
    ///
    /// ```
    /// use longlink::{Host, ToHosts};
    ///
    /// assert_eq!("localhost:6666".to_hosts()?, [Host::new("localhost", 6666)]);
    /// # Ok::<(), longlink::Error>(())
    /// ```
    fn to_hosts(&self) -> Result<Vec<Host>>;
}

impl ToHosts for str {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        let invalid = || Error::Config(format!("{self:?} is not host:port"));
        let (name, port) = self.rsplit_once(':').ok_or_else(invalid)?;
        let port = port.parse().map_err(|_| invalid())?;
        let name = match name.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(invalid)?,
            None if name.contains(':') => return Err(invalid()),
            None => name,
        };
        if name.is_empty() {
            return Err(invalid());
        }
        Ok(vec![Host::new(name, port)])
    }
}

impl ToHosts for String {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        self.as_str().to_hosts()
    }
}

impl ToHosts for SocketAddr {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        // A scope such as fe80::1%eth0 is part of the name.
        let name = match self {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            _ => self.ip().to_string(),
        };
        Ok(vec![Host::new(name, self.port())])
    }
}

impl ToHosts for (&str, u16) {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        Ok(vec![Host::new(self.0, self.1)])
    }
}

impl ToHosts for (String, u16) {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        Ok(vec![Host::new(self.0.as_str(), self.1)])
    }
}

impl ToHosts for (IpAddr, u16) {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        SocketAddr::from(*self).to_hosts()
    }
}

impl ToHosts for Host {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        Ok(vec![self.clone()])
    }
}

impl<T: ToHosts> ToHosts for [T] {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        if self.is_empty() {
            return Err(Error::Config("there is no host to connect to".into()));
        }
        let mut hosts = Vec::with_capacity(self.len());
        for host in self {
            hosts.extend(host.to_hosts()?);
        }
        Ok(hosts)
    }
}

impl<T: ToHosts, const N: usize> ToHosts for [T; N] {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        self.as_slice().to_hosts()
    }
}

impl<T: ToHosts> ToHosts for Vec<T> {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        self.as_slice().to_hosts()
    }
}

impl<T: ToHosts + ?Sized> ToHosts for &T {
    fn to_hosts(&self) -> Result<Vec<Host>> {
        (**self).to_hosts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_one_server_if_they_have_one_name_or_the_user_says_so() {
        let [a, b, c] = ["a", "b", "c"].map(|name| Host::new(name, 1));
        let to_b = c.clone().alias_of(&b);
        let to_c = Host::new("d", 1).alias_of(&to_b);
        let elsewhere = Host::new("a", 2);
        let hosts = [to_b, a.clone(), b, elsewhere, to_c, a, c];
        assert_eq!(servers(&hosts), [0, 1, 0, 2, 0, 1, 3]);
        assert_eq!(hosts[0].to_string(), "c:1");
    }
}
