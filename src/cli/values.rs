//! What people write on a command line, and what it means. An error says what
//! would be right; clap puts the name of the argument before it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::{Heartbeat, Host};

/// Longer times are a slip of the finger.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A duration with its unit: `500ms`, `10s`, `2m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let right = "a duration is written as 500ms, 10s or 2m";
    match humantime::parse_duration(text).map_err(|error| format!("{error}; {right}"))? {
        time if time > LONGEST => Err("at most 365 days".to_string()),
        time => Ok(time),
    }
}

/// A duration that is not zero.
pub fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        time if time < Duration::from_millis(1) => Err("at least 1ms".to_string()),
        time => Ok(time),
    }
}

/// An interval between heartbeats such as `10s`, or `off`.
pub fn heartbeat(text: &str) -> Result<Heartbeat, String> {
    if text == "off" {
        return Ok(Heartbeat::off());
    }
    let interval = duration(text).map_err(|error| format!("{error}, or off"))?;
    match (Heartbeat::SHORTEST..=Heartbeat::LONGEST).contains(&interval) {
        true => Ok(Heartbeat::every(interval)),
        false => Err("from 100ms to 24h, or off".to_string()),
    }
}

/// How many attempts; `None` is forever.
pub type Retries = Option<u32>;

/// A number in this range, or else what would be right.
fn number<T: FromStr + PartialOrd>(
    text: &str,
    range: RangeInclusive<T>,
    right: &str,
) -> Result<T, String> {
    text.parse().ok().filter(|number| range.contains(number)).ok_or(right.to_string())
}

/// `5`, or `forever`.
pub fn retries(text: &str) -> Result<Retries, String> {
    match text {
        "forever" => Ok(None),
        _ => number(text, 0..=u32::MAX, "a number of attempts such as 5, or forever").map(Some),
    }
}

/// How many silent intervals.
pub fn misses(text: &str) -> Result<u32, String> {
    number(text, 1..=1000, "a number from 1 to 1000")
}

/// How many clients, or connections.
pub fn clients(text: &str) -> Result<u32, String> {
    number(text, 1..=1_000_000, "a number from 1 to 1000000")
}

/// A port to connect to.
pub fn port(text: &str) -> Result<u16, String> {
    number(text, 1..=u16::MAX, "a port is a number from 1 to 65535")
}

/// A port to listen on.
pub fn listening_port(text: &str) -> Result<u16, String> {
    number(text, 0..=u16::MAX, "a port is a number from 1 to 65535, or 0 for any free one")
}

/// `[ADDR:]PORT` to listen on; without an address, for this machine only.
pub fn listening_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse() {
        return Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    }
    text.parse().map_err(|_| match HostArg::parse_listening(text) {
        Ok(HostArg { name, port: Some(port) }) if name.parse::<IpAddr>().is_err() => {
            format!("{name} is a name; it takes an address, as in 127.0.0.1:{port}")
        }
        _ => "PORT or ADDR:PORT, such as 5432 or 192.0.2.1:5432; an IPv6 address stands in \
              brackets"
            .to_string(),
    })
}

/// A number of bytes: `65536`, `256KiB`, `1MiB`. From 1 to 1 GiB.
pub fn bytes(text: &str) -> Result<usize, String> {
    let of = |unit, size| text.strip_suffix(unit)?.parse::<usize>().ok()?.checked_mul(size);
    let size = of("KiB", 1 << 10).or_else(|| of("MiB", 1 << 20)).or_else(|| of("", 1));
    size.filter(|size| (1..=1 << 30).contains(size))
        .ok_or("a size in bytes such as 65536, 256KiB or 1MiB, at most 1024MiB".to_string())
}

/// How a host is written.
const RIGHT: &str = "HOST or HOST:PORT, such as example.org or 127.0.0.1:6666; an IPv6 address with \
                     a port is written [::1]:6666";

/// A host, perhaps with a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostArg {
    /// The name or the address, without brackets.
    pub name: String,
    /// The port, if one was named.
    pub port: Option<u16>,
}

impl HostArg {
    /// `HOST[:PORT]`, to connect to; an IPv6 address with a port stands in brackets.
    pub fn parse(text: &str) -> Result<HostArg, String> {
        HostArg::with_port(text, port)
    }

    /// The same, to listen on: port 0 takes a free one.
    pub fn parse_listening(text: &str) -> Result<HostArg, String> {
        match HostArg::with_port(text, listening_port)? {
            host if host.is_number() => Err(format!("did you mean --port {}?", host.name)),
            host => Ok(host),
        }
    }

    fn with_port(text: &str, port: fn(&str) -> Result<u16, String>) -> Result<HostArg, String> {
        if let Some(meant) = without_brackets(text) {
            return Err(format!("did you mean {meant}? An IPv6 address with a port has brackets"));
        }
        let parts = match text.strip_prefix('[') {
            Some(rest) => in_brackets(rest),
            None if is_ipv6(text) => Some((text, None)),
            None if text.starts_with('-') || text.contains(is_strange) => None,
            None => match text.split(':').collect::<Vec<_>>()[..] {
                [name] => Some((name, None)),
                [name, port] => Some((name, Some(port))),
                _ => None,
            },
        };
        let (name, behind) = parts.filter(|(name, _)| !name.is_empty()).ok_or(RIGHT)?;
        Ok(HostArg { name: name.to_string(), port: behind.map(port).transpose()? })
    }

    /// As the library takes it.
    pub fn with_default_port(&self, port: u16) -> Host {
        Host::new(self.name.as_str(), self.port.unwrap_or(port))
    }

    /// Whether it can only be a port: names that are numbers do not exist.
    fn is_number(&self) -> bool {
        self.port.is_none() && self.name.bytes().all(|byte| byte.is_ascii_digit())
    }
}

/// A server: `HOST[:PORT]`, or several paths to it with commas in between.
#[derive(Debug, Clone)]
pub struct Paths(pub Vec<HostArg>);

impl Paths {
    /// At least one.
    pub fn parse(text: &str) -> Result<Paths, String> {
        text.split(',').map(HostArg::parse).collect::<Result<_, _>>().map(Paths)
    }

    /// As the library takes them.
    pub fn hosts(&self, default_port: u16) -> impl Iterator<Item = Host> {
        let first = self.0[0].with_default_port(default_port);
        self.0.iter().map(move |host| host.with_default_port(default_port).alias_of(&first))
    }
}

/// Refuses `HOST PORT`, which is how `nc` and `telnet` are called.
pub fn no_port_apart(hosts: &[HostArg]) -> Result<(), String> {
    let Some(at) = hosts.iter().position(HostArg::is_number) else { return Ok(()) };
    let number = &hosts[at].name;
    let before = match at.checked_sub(1) {
        Some(before) => &hosts[before],
        None => &HostArg { name: "127.0.0.1".to_string(), port: None },
    };
    match (port(number), before.port) {
        (Ok(port), None) => Err(format!("did you mean {}?", before.with_default_port(port))),
        _ => Err(format!("{number} is no host; a port stands behind its host, as HOST:PORT")),
    }
}

/// What stands behind an opening bracket: an address, and perhaps a port behind it.
fn in_brackets(text: &str) -> Option<(&str, Option<&str>)> {
    let (address, behind) = text.split_once(']')?;
    let port = if behind.is_empty() { None } else { Some(behind.strip_prefix(':')?) };
    is_ipv6(address).then_some((address, port))
}

/// An IPv6 address, perhaps with a scope (`fe80::1%eth0`).
fn is_ipv6(text: &str) -> bool {
    let (address, scope) = text.split_once('%').unwrap_or((text, ""));
    address.parse::<Ipv6Addr>().is_ok() && !scope.contains(':') && !scope.contains(is_strange)
}

/// What stands in no host.
fn is_strange(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "/@[]".contains(c)
}

/// What is meant by an IPv6 address and a port without brackets. `::1:6666` is an
/// address as well, but of a kind that no machine has (RFC 4291, 2.5.5.1).
fn without_brackets(text: &str) -> Option<String> {
    let (address, number) = text.rsplit_once(':')?;
    let number: u16 = number.parse().ok()?;
    let obsolete = |text: &str| text.parse().is_ok_and(|ip: Ipv6Addr| ip.segments()[..6] == [0; 6]);
    let meant = is_ipv6(address) && (!is_ipv6(text) || obsolete(text));
    meant.then(|| format!("[{address}]:{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(duration("10").unwrap_err().starts_with("time unit needed"));
        let unwritten = duration("soon").unwrap_err();
        assert!(unwritten.ends_with("as 500ms, 10s or 2m"), "{unwritten}");
        for wrong in ["", "s", "-1s", "soon", "10 apples", "99999999999999999999999s", "1000y"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
        assert!(some_time("0s").is_err());
        assert_eq!(some_time("1ms"), Ok(Duration::from_millis(1)));
    }

    #[test]
    fn heartbeats_can_be_off() {
        assert_eq!(heartbeat("off"), Ok(Heartbeat::off()));
        let quarter = Heartbeat::every(Duration::from_millis(250));
        assert_eq!(heartbeat("250ms"), Ok(quarter));
        for wrong in ["0s", "99ms", "25h", "Off", "5", "never"] {
            let error = heartbeat(wrong).unwrap_err();
            assert!(error.ends_with("or off"), "{wrong:?}: {error}");
        }
    }

    #[test]
    fn retries_can_be_forever() {
        assert_eq!(retries("0"), Ok(Some(0)));
        assert_eq!(retries("5"), Ok(Some(5)));
        assert_eq!(retries("forever"), Ok(None));
        for wrong in ["", "-1", "many", "5.5", "4294967296"] {
            assert!(retries(wrong).unwrap_err().contains("forever"), "{wrong:?}");
        }
    }

    #[test]
    fn sizes_have_limits() {
        assert_eq!(bytes("65536"), Ok(65536));
        assert_eq!(bytes("256KiB"), Ok(256 * 1024));
        assert_eq!(bytes("1024MiB"), Ok(1 << 30));
        for wrong in ["0", "", "KiB", "1GB", "1025MiB", "-1", "1.5MiB", "99999999999999999999MiB"] {
            assert!(bytes(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn ports() {
        assert_eq!(port("6666"), Ok(6666));
        assert!(port("0").is_err());
        assert!(port("65536").is_err());
        assert_eq!(listening_port("0"), Ok(0));
        assert!(listening_port("x").is_err());
    }

    #[test]
    fn addresses_to_listen_on() {
        let at = |text: &str| {
            HostArg::parse_listening(text).map(|host| host.with_default_port(1).to_string())
        };
        for (text, wanted) in [
            ("0.0.0.0", "0.0.0.0:1"),
            ("[::1]", "[::1]:1"),
            ("::", "[::]:1"),
            ("localhost", "localhost:1"),
            ("localhost:0", "localhost:0"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(at(text).as_deref(), Ok(wanted));
        }
        assert_eq!(at("7000").unwrap_err(), "did you mean --port 7000?");
        assert!(at("::1:19000").unwrap_err().contains("did you mean [::1]:19000?"));
        for wrong in ["", ":80", "a b", "host:65536", "http://host"] {
            assert!(at(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn brackets_that_are_missing() {
        for (text, meant) in [
            ("::1:19000", "[::1]:19000"),
            ("::1:6666", "[::1]:6666"),
            ("fe80::1%eth0:6666", "[fe80::1%eth0]:6666"),
            ("2001:db8::1:19000", "[2001:db8::1]:19000"),
            ("2001:db8:0:0:0:0:0:1:80", "[2001:db8:0:0:0:0:0:1]:80"),
        ] {
            let error = HostArg::parse(text).unwrap_err();
            assert!(error.starts_with(&format!("did you mean {meant}?")), "{text}: {error}");
        }
        for address in ["::1", "::", "::ffff:192.0.2.1", "2001:db8::1:80", "1:2:3:4:5:6:7:8"] {
            assert_eq!(HostArg::parse(address).unwrap().port, None, "{address}");
        }
    }

    #[test]
    fn a_port_apart_from_its_host() {
        let refused = |line: &str| {
            let hosts: Vec<_> = line.split(' ').map(|host| HostArg::parse(host).unwrap()).collect();
            no_port_apart(&hosts).unwrap_err()
        };
        for (line, meant) in [
            ("127.0.0.1 6666", "127.0.0.1:6666"),
            ("one two.example 23", "two.example:23"),
            ("::1 6666", "[::1]:6666"),
            ("6666", "127.0.0.1:6666"),
        ] {
            assert_eq!(refused(line), format!("did you mean {meant}?"));
        }
        for line in ["host:1 2", "host 65536", "host 0"] {
            assert!(refused(line).contains(" is no host"), "{line}");
        }
        let sound = ["6.example", "127.0.0.1", "7:7"].map(|host| HostArg::parse(host).unwrap());
        assert_eq!(no_port_apart(&sound), Ok(()));
    }

    #[test]
    fn hosts_with_and_without_a_port() {
        let at =
            |text: &str| HostArg::parse(text).map(|host| host.with_default_port(1).to_string());
        assert_eq!(at("127.0.0.1").as_deref(), Ok("127.0.0.1:1"));
        assert_eq!(at("example.org:80").as_deref(), Ok("example.org:80"));
        assert_eq!(at("::1").as_deref(), Ok("[::1]:1"));
        assert_eq!(at("[::1]").as_deref(), Ok("[::1]:1"));
        assert_eq!(at("[::1]:6667").as_deref(), Ok("[::1]:6667"));
        assert_eq!(at("fe80::1%eth0").as_deref(), Ok("[fe80::1%eth0]:1"));
        assert_eq!(at("[fe80::1%eth0]:7").as_deref(), Ok("[fe80::1%eth0]:7"));
        for wrong in [
            "",
            ":80",
            "host:",
            "host:0",
            "host:65536",
            "host:x",
            "a:b:c",
            "[::1",
            "[::1]x",
            "[]",
            "[host]:1",
            "http://host",
            "user@host",
            "a b",
            "[::1]:",
            "-x",
            "fe80::1%a b",
            "fe80::1%a@b",
            "fe80::1%\x1b[5m",
            "[::1%a/b]:5",
            "[::1%[]:5",
        ] {
            assert!(at(wrong).is_err(), "{wrong:?}");
        }
    }
}
