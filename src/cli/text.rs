//! How things are written for people. Pure.

use std::fmt::{Display, Write as _};
use std::io::ErrorKind;
use std::net::IpAddr;

use crate::{Cause, Error, Fingerprint, Host, PeerIdentity, Rejection};
pub use crate::{count, humane, messages};

/// A line is named by so many bytes of it.
const NAME: usize = 100;
/// So many lines are named; of more, those at both ends.
const NAMED: usize = 8;

/// Ends of lines, and what turns the text around.
const TURNS: &str = "\u{2028}\u{2029}\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\
                     \u{2066}\u{2067}\u{2068}\u{2069}";

/// A number of bytes, rounded: `900 bytes`, `256 KiB`, `2.5 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return count(bytes, "byte");
    }
    let power = (bytes.ilog2() as usize / 10).min(UNITS.len());
    let text = format!("{:.1}", bytes as f64 / 1024f64.powi(power as i32));
    format!("{} {}", text.strip_suffix(".0").unwrap_or(&text), UNITS[power - 1])
}

/// What a client's links are secured by.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Secured {
    /// They are in clear text.
    #[default]
    No,
    /// The client shows a key with this fingerprint.
    ByKeys(Fingerprint),
    /// It may show a certificate, or nothing.
    ByCertificates,
}

/// Why a client, secured in this way, has no link to this host.
pub fn failure(host: &Host, cause: &Cause, secured: Secured) -> String {
    match (cause, secured) {
        // That names the host.
        (Cause::Resolve { .. }, _) => system(cause),
        (Cause::Untrusted { shown, expected, .. }, _) => {
            let expected: Vec<_> = expected.iter().map(Fingerprint::to_string).collect();
            format!("{host} shows {shown}, expected {}", expected.join(" or "))
        }
        (Cause::Rejected(Rejection::Untrusted), Secured::ByKeys(own)) => {
            format!("{host} does not know this client's key {own}")
        }
        (Cause::Rejected(Rejection::Untrusted), Secured::ByCertificates) => {
            format!("{host} does not trust this client's certificate")
        }
        _ => format!("{host}: {}", system(cause)),
    }
}

/// What can be done about that. A server that has `welcomed` before speaks what it spoke then.
pub fn advice(cause: &Cause, welcomed: bool, secured: Secured) -> &'static str {
    match cause {
        Cause::Untrusted { .. } => "; compare that with what the server says at its start",
        Cause::NotTls => "; a longlink server does if it is started with --keys or --cert",
        Cause::Rejected(Rejection::Untrusted) if secured == Secured::ByCertificates => {
            "; it trusts what its --client-ca and --client-names say"
        }
        Cause::Rejected(Rejection::Untrusted) => {
            "; its file peers needs a line for that, or a new invite is to be made"
        }
        Cause::Rejected(Rejection::AuthenticationRequired) => {
            "; --cert and --key are for a certificate that it trusts"
        }
        Cause::Rejected(Rejection::TlsRequired) => {
            "; ask whoever runs it for an invite, and give that with --invite"
        }
        _ if secured != Secured::No => "",
        _ if is_plain(cause, welcomed) => {
            "; if it is a server of plain lines, --plain speaks to it"
        }
        _ => "",
    }
}

/// Whether this may be the answer to a hello by a server of plain lines, which has another one,
/// or none.
fn is_plain(cause: &Cause, welcomed: bool) -> bool {
    match cause {
        Cause::NotLonglink => true,
        Cause::WelcomeTimeout(_) | Cause::Eof => !welcomed,
        Cause::Io(error) => error.kind() == ErrorKind::ConnectionReset && !welcomed,
        _ => false,
    }
}

/// Names lines, each in a line: `what` and the text. Of many, those at both ends.
pub fn named(what: &str, lines: &[impl AsRef<[u8]>]) -> Vec<String> {
    let name = |line: &[u8]| {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let rest = if text.len() > NAME { "..." } else { "" };
        format!("{what}: {}{rest}", escaped(&text[..text.len().min(NAME)]))
    };
    let mut names: Vec<String> = lines.iter().map(|line| name(line.as_ref())).collect();
    if let Some(left_out @ 1..) = names.len().checked_sub(NAMED) {
        let note = format!("{what}: {} more, and", count(left_out as u64, "line"));
        names.splice(NAMED / 2..NAMED / 2 + left_out, [note]);
    }
    names
}

/// Who may read what is said to a peer.
pub fn privacy(peer: IpAddr, secured: Secured) -> &'static str {
    match secured {
        Secured::No if peer.to_canonical().is_loopback() => "",
        Secured::No => " (in clear text)",
        _ => " (TLS)",
    }
}

/// Who a peer has proven to be.
pub fn known_as(peer: &PeerIdentity) -> String {
    match peer {
        PeerIdentity::Named(name) | PeerIdentity::Certified(name) => format!(" as {name}"),
        PeerIdentity::Key(fingerprint) => format!(" as {fingerprint}"),
    }
}

/// Why a line is refused, which has this size in bytes, its newline included, if it has one.
pub fn too_long(size: u64, newline: bool, limit: usize) -> String {
    let with = if newline { "with its newline " } else { "" };
    format!("{with}it has {}, the limit is {limit}", count(size, "byte"))
}

/// An error of the library with its cause, on one line.
pub fn error(error: &Error) -> String {
    match error {
        Error::Io(error) => system(error),
        Error::Config(what) => system(what),
        Error::GaveUp { cause: why, .. } => {
            format!("{error}: {}{}", system(why), advice(why, true, Secured::No))
        }
        other => other.to_string(),
    }
}

/// Why a server cannot listen, and what can be done.
pub fn deaf(why: &Error) -> String {
    let Error::Io(system) = why else { return error(why) };
    let advice = match system.kind() {
        ErrorKind::AddrInUse => " (another program does so; port 0 takes a free one)",
        ErrorKind::PermissionDenied => " (a port below 1024 takes root)",
        ErrorKind::AddrNotAvailable => " (this machine has no such address; 0.0.0.0 is all it has)",
        _ => "",
    };
    format!("{}{advice}", error(why))
}

/// What ends in an error of the system, without the number of that.
pub fn system(error: impl Display) -> String {
    let text = error.to_string().replace("failed to lookup address information: ", "");
    let end = text.rfind(" (os error ").unwrap_or(text.len());
    text[..end].to_string()
}

/// Appends text from elsewhere in a form that is safe for a terminal: it shows control
/// characters, and bytes that are no text, instead of passing them on. Tabs stay.
pub fn escape(bytes: &[u8], to: &mut String) {
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\t' => to.push(char),
                '\n' | '\r' => to.extend(char.escape_default()),
                '\0'..' ' | '\x7f' => {
                    let _ = write!(to, "\\x{:02x}", u32::from(char));
                }
                _ if char.is_control() || TURNS.contains(char) => to.extend(char.escape_unicode()),
                _ => to.push(char),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(to, "\\x{byte:02x}");
        }
    }
}

/// [`escape`] into a new string.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    escape(bytes, &mut text);
    text
}

/// Appends a message as a line: a prefix, the text, and one newline. On a
/// terminal the text is escaped, and CR LF is a newline, too; in a pipe it is as it
/// came, with the prefix before each line of it: no message can have a line that looks like
/// another client's.
pub fn line(prefix: &str, message: &[u8], terminal: bool, to: &mut Vec<u8>) {
    let end = if terminal && message.ends_with(b"\r\n") { &b"\r\n"[..] } else { b"\n" };
    let text = message.strip_suffix(end).unwrap_or(message);
    let mut push = |line: &[u8]| {
        to.extend_from_slice(prefix.as_bytes());
        to.extend_from_slice(line);
        to.push(b'\n');
    };
    match terminal {
        true => push(escaped(text).as_bytes()),
        false => text.split(|&byte| byte == b'\n').for_each(push),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let sizes = [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1024, "1 KiB"),
            (2684354560, "2.5 GiB"),
            (1 << 50, "1024 TiB"),
        ];
        for (bytes, text) in sizes {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn lines_are_named() {
        assert_eq!(named("not sent", &[b"one\n"]), ["not sent: one"]);
        assert_eq!(named("not sent", &[b"\x1b\xff"]), ["not sent: \\x1b\\xff"]);
        let long = named("not sent", &[vec![b'x'; 5000]]);
        assert_eq!(long, [format!("not sent: {}...", "x".repeat(NAME))]);
        let lines: Vec<String> = (1..=11).map(|number| format!("{number}\n")).collect();
        let wanted = ["1", "2", "3", "4", "3 lines more, and", "8", "9", "10", "11"];
        assert_eq!(named("lost", &lines), wanted.map(|line| format!("lost: {line}")));
        assert_eq!(named("lost", &lines[..8]).len(), 8);
    }

    #[test]
    fn clear_text_that_leaves_the_machine_is_told() {
        let privacy = |address: &str, secured| privacy(address.parse().unwrap(), secured);
        for address in ["127.0.0.1", "::ffff:127.0.0.1", "::1"] {
            assert_eq!(privacy(address, Secured::No), "");
            assert_eq!(privacy(address, Secured::ByCertificates), " (TLS)");
        }
        assert_eq!(privacy("192.0.2.1", Secured::No), " (in clear text)");
        assert_eq!(privacy("192.0.2.1", Secured::ByCertificates), " (TLS)");
    }

    #[test]
    fn a_systems_error_without_its_number() {
        let refused = std::io::Error::from_raw_os_error(111);
        assert!(!system(&refused).contains("os error"), "{}", system(&refused));
    }

    #[test]
    fn times_are_said_as_everywhere() {
        let seconds = std::time::Duration::from_secs;
        let timeout = Cause::ConnectTimeout(seconds(120));
        assert_eq!(system(&timeout), "no answer within 2m");
        let timeout = Cause::WelcomeTimeout(seconds(90));
        assert!(system(&timeout).ends_with("not answered within 1m 30s"), "{timeout}");
        let stuck = Cause::NoProgress { links: 3, last: Cause::Silent(seconds(7)).into() };
        assert!(system(&stuck).ends_with("3 links: nothing heard for 7s"), "{stuck}");
    }

    #[test]
    fn a_name_that_does_not_resolve() {
        let error = "failed to lookup address information: Name or service not known";
        let error = std::sync::Arc::new(std::io::Error::other(error));
        let cause = Cause::Resolve { host: "no.where".into(), error };
        assert_eq!(system(&cause), "cannot resolve no.where: Name or service not known");
    }

    #[test]
    fn terminals_get_no_commands() {
        assert_eq!(escaped(b"plain\ttext"), "plain\ttext");
        assert_eq!(escaped("gr\u{fc}n \u{4f60}\u{597d}".as_bytes()), "gr\u{fc}n \u{4f60}\u{597d}");
        assert_eq!(escaped(b"\x1b[2J\x07\x7f\r\n\0"), "\\x1b[2J\\x07\\x7f\\r\\n\\x00");
        assert_eq!(escaped("\u{9b}31m".as_bytes()), "\\u{9b}31m");
        assert_eq!(escaped("\u{202e}x\u{61c}".as_bytes()), "\\u{202e}x\\u{61c}");
        assert_eq!(escaped("a\u{2028}b\u{85}".as_bytes()), "a\\u{2028}b\\u{85}");
        assert_eq!(escaped(b"a\xff\xc3b\x9b"), "a\\xff\\xc3b\\x9b");
    }

    #[test]
    fn a_message_is_a_line_and_all_its_lines_are_named() {
        let shown = |message: &[u8], terminal| {
            let mut to = Vec::new();
            line("client-3> ", message, terminal, &mut to);
            to
        };
        assert_eq!(shown(b"hi\n", false), b"client-3> hi\n");
        assert_eq!(shown(b"hi", false), b"client-3> hi\n");
        assert_eq!(shown(b"", false), b"client-3> \n");
        assert_eq!(shown(b"hi\n\n", true), b"client-3> hi\\n\n");
        assert_eq!(shown(b"hi\n\n", false), b"client-3> hi\nclient-3> \n");
        assert_eq!(shown(b"\nclient-4> hi", false), b"client-3> \nclient-3> client-4> hi\n");
        assert_eq!(shown(b"hi\r\n", true), b"client-3> hi\n");
        assert_eq!(shown(b"hi\r", true), b"client-3> hi\\r\n");
        assert_eq!(shown(b"hi\r\n", false), b"client-3> hi\r\n");
        assert_eq!(shown(b"\x1bc\xff\n", false), b"client-3> \x1bc\xff\n");
        assert_eq!(shown(b"\x1bc\xff\n", true), b"client-3> \\x1bc\\xff\n");
    }
}
