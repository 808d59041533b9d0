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
        Host { name: name.into(), port }
    }
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
