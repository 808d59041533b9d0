//! What is read in a certificate beside its verification, which is webpki's: until when it
//! counts, whose it is, and whether it is a CA's.

#[cfg(all(test, not(shuttle), not(miri)))]
pub(super) mod tests;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use der::asn1::{AnyRef, GeneralizedTime, OctetStringRef, UtcTime};
use der::{DateTime, Decode, Reader, SliceReader, Tag, TagNumber, Tagged};
use rustls::pki_types::{DnsName, UnixTime};

use crate::words::printable;

/// What is read of a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    pub(super) is_ca: bool,
    /// Whose it is, as a CA would have it: a distinguished name, in DER without its header.
    pub(super) subject: Vec<u8>,
    /// What it is for, of the kinds that can be an identity.
    names: Vec<Name>,
}

#[derive(Debug, PartialEq, Eq)]
enum Name {
    Dns(Vec<u8>),
    Uri(Vec<u8>),
}

impl Certificate {
    /// Reads one in DER. Nothing in it is taken on trust: what is not understood is `None`.
    pub(super) fn read(certificate: &[u8]) -> Option<Certificate> {
        let mut reader = SliceReader::new(certificate).ok()?;
        let read = reader.sequence(|reader| {
            let read = reader.sequence(signed_part)?;
            skip_rest(reader)?;
            Ok::<_, der::Error>(read)
        });
        read.ok().filter(|_| reader.is_finished())
    }

    /// The one name that it is for.
    ///
    /// If there were several, a peer could choose who it is; and a wildcard is nobody's name.
    pub(super) fn identity(&self) -> Result<String, String> {
        match &self.names[..] {
            [name] => name.identity(),
            [] => Err("is for no name (a DNS name or URI in subjectAltName)".into()),
            several => {
                let count = several.len();
                Err(format!("is for {count} names, of which it is not clear whose it is"))
            }
        }
    }
}

impl Name {
    fn identity(&self) -> Result<String, String> {
        let (Name::Dns(bytes) | Name::Uri(bytes)) = self;
        let text = str::from_utf8(bytes).ok();
        let name = text.and_then(|text| match self {
            // Their case does not matter.
            Name::Dns(_) => Some(text.to_ascii_lowercase()).filter(|name| is_dns_name(name)),
            Name::Uri(_) => Some(text.to_string()).filter(|name| is_uri(name)),
        });
        name.ok_or_else(|| {
            format!("is for \"{}\", which is no name of one machine or person", shown(bytes))
        })
    }
}

/// What somebody else has called a name, for a text.
pub(super) fn shown(name: &[u8]) -> String {
    const MOST: usize = 100;
    let name = String::from_utf8_lossy(name);
    let begin: String = name.chars().take(MOST).collect();
    printable(&begin) + if begin.len() < name.len() { "..." } else { "" }
}

/// Whether a certificate may be for this name, as one identity.
pub(super) fn is_identity(name: &str) -> bool {
    is_dns_name(name) || is_uri(name)
}

/// In one spelling only.
fn is_dns_name(name: &str) -> bool {
    let odd = name.ends_with('.') || name.bytes().any(|byte| byte.is_ascii_uppercase());
    !odd && DnsName::try_from(name).is_ok()
}

/// It has a scheme, so it is never a DNS name, too. No identity is longer.
fn is_uri(name: &str) -> bool {
    const MOST: usize = 2048;
    let letters = |scheme: &str| scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    name.len() <= MOST
        && name.bytes().all(|byte| byte.is_ascii_graphic())
        && name.split_once(':').is_some_and(|(scheme, rest)| letters(scheme) && !rest.is_empty())
}

/// What the CA has signed (RFC 5280, 4.1).
fn signed_part<'a>(reader: &mut SliceReader<'a>) -> der::Result<Certificate> {
    if Tag::peek(reader)? == context(0, true) {
        skip(reader)?;
    }
    let [_serial, _algorithm, _issuer] = [skip(reader)?, skip(reader)?, skip(reader)?];
    let (not_before, not_after) =
        reader.sequence(|reader| Ok::<_, der::Error>((time(reader)?, time(reader)?)))?;
    let [subject, _key] = [skip(reader)?, skip(reader)?];
    let subject = subject.value().to_vec();
    let mut read = Certificate { not_before, not_after, is_ca: false, subject, names: Vec::new() };
    while !reader.is_finished() {
        let field = skip(reader)?;
        if field.tag() == context(3, true) {
            let mut inner = SliceReader::new(field.value())?;
            inner.sequence(|reader| {
                while !reader.is_finished() {
                    reader.sequence(|reader| extension(reader, &mut read))?;
                }
                Ok::<_, der::Error>(())
            })?;
            inner.finish()?;
        }
    }
    Ok(read)
}

fn extension<'a>(reader: &mut SliceReader<'a>, read: &mut Certificate) -> der::Result<()> {
    // 2.5.29.17 and 2.5.29.19.
    const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1D, 0x11];
    const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1D, 0x13];
    let kind = skip(reader)?;
    if Tag::peek(reader)? == Tag::Boolean {
        skip(reader)?;
    }
    let mut value = SliceReader::new(<&OctetStringRef>::decode(reader)?.as_bytes())?;
    match kind.value() {
        SUBJECT_ALT_NAME => value.sequence(|reader| {
            while !reader.is_finished() {
                let name = skip(reader)?;
                let value = || name.value().to_vec();
                if name.tag() == context(2, false) {
                    read.names.push(Name::Dns(value()));
                } else if name.tag() == context(6, false) {
                    read.names.push(Name::Uri(value()));
                }
            }
            Ok(())
        }),
        BASIC_CONSTRAINTS => value.sequence(|reader| {
            if !reader.is_finished() && Tag::peek(reader)? == Tag::Boolean {
                read.is_ca = bool::decode(reader)?;
            }
            skip_rest(reader)
        }),
        _ => Ok(()),
    }
}

fn time<'a>(reader: &mut SliceReader<'a>) -> der::Result<SystemTime> {
    let since = match Tag::peek(reader)? {
        Tag::UtcTime => UtcTime::decode(reader)?.to_unix_duration(),
        _ => GeneralizedTime::decode(reader)?.to_unix_duration(),
    };
    Ok(UNIX_EPOCH + since)
}

fn skip<'a>(reader: &mut SliceReader<'a>) -> der::Result<AnyRef<'a>> {
    AnyRef::decode(reader)
}

fn skip_rest<'a>(reader: &mut SliceReader<'a>) -> der::Result<()> {
    while !reader.is_finished() {
        skip(reader)?;
    }
    Ok(())
}

fn context(number: u32, constructed: bool) -> Tag {
    TagNumber(number).context_specific(constructed)
}

/// Why something does not count at the moment `now`, in words that follow what it is.
pub(super) fn outside(
    not_before: SystemTime,
    not_after: SystemTime,
    now: SystemTime,
) -> Option<String> {
    if now >= end(not_after) {
        Some(expired(not_after, now))
    } else if now < not_before {
        Some(not_yet(not_before, now))
    } else {
        None
    }
}

/// A whole second is the last one.
pub(super) fn end(not_after: SystemTime) -> SystemTime {
    not_after + Duration::from_secs(1)
}

/// In words that follow what has expired.
pub(super) fn expired(not_after: SystemTime, now: SystemTime) -> String {
    let [then, now] = dates(not_after, now);
    format!("expired {then} (the clock here says {now})")
}

/// In words that follow what does not count yet.
pub(super) fn not_yet(not_before: SystemTime, now: SystemTime) -> String {
    let [then, now] = dates(not_before, now);
    format!("is not valid before {then} (the clock here says {now})")
}

/// A clock that says a time before 1970 is wrong anyhow.
pub(super) fn unix_time(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Two moments, in UTC: their days, or more exactly if it is the same day.
fn dates(one: SystemTime, other: SystemTime) -> [String; 2] {
    let exact = [one, other].map(|time| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = Duration::from_secs(since.as_secs());
        DateTime::from_unix_duration(since).unwrap_or(DateTime::INFINITY).to_string()
    });
    let days = exact.each_ref().map(|exact| exact.split('T').next().unwrap_or(exact).to_string());
    if days[0] == days[1] { exact } else { days }
}
