//! What the two sides tell each other before the first message.

use std::fmt;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};

use super::Violation;
use super::loss::SessionLoss;
use super::numbers::Numbers;
#[cfg(test)]
use super::testing::sim::{Fault, planted};

/// The version of the protocol that this crate speaks.
pub(crate) const VERSION: u16 = 1;

const MAGIC: [u8; 4] = *b"LLNK";

/// What of a later version's abilities this crate knows, a bit for each: none yet. The
/// client offers them, and the server answers with those that it knows as well.
const FEATURES: u32 = 0;

/// The name of a session at a server, drawn by the client from the system's randomness.
/// A peer that knows it can take the session over, so only a part of it is printed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Token(pub(crate) [u8; 16]);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}..")
    }
}

/// The tokens of a client are names of its own, one for each server: no server learns what
/// it is called by at another.
#[derive(Debug)]
pub(crate) struct Name {
    token: Token,
    /// How many hellos have named it.
    attempts: u64,
}

impl Name {
    pub(crate) fn new(token: Token) -> Name {
        Name { token, attempts: 0 }
    }

    /// The token and the attempt of the next hello.
    pub(crate) fn next(&mut self) -> (Token, u64) {
        self.attempts += 1;
        (self.token, self.attempts)
    }
}

/// What one side accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The cost of messages that may be unacknowledged; see [`cost`](super::cost::cost).
    pub(crate) window: u32,
    /// The length of the largest message.
    pub(crate) max_message: u32,
}

/// The longest greeting, in bytes.
pub(crate) const MAX_GREETING: usize = 2048;

/// "Create a session, or resume it."
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) version: u16,
    pub(crate) token: Token,
    /// Counts the hellos sent under this token: an older one must lose.
    pub(crate) attempt: u64,
    /// The epoch last welcomed; 0 if none ever was.
    pub(crate) epoch: u64,
    /// Sequenced frames of that epoch that were received.
    pub(crate) received: u64,
    /// The client's limits, should a new session result.
    pub(crate) limits: Limits,
    /// The client's heartbeat interval; `None` if it sends none.
    pub(crate) interval: Option<Duration>,
    /// The client wants no new session, be it that it is closing, or that it never wants
    /// another.
    pub(crate) resume_only: bool,
    /// What the application says at the beginning of each session; empty if nothing.
    pub(crate) greeting: Bytes,
    /// Who the client is, and how its messages are numbered; not every client says so.
    pub(crate) numbers: Option<Numbers>,
}

impl Hello {
    /// Without options.
    pub(crate) const LEN: usize = 6 + 16 + 8 + STANDING + 1 + 4;

    pub(crate) fn len(&self) -> usize {
        let greeting = Some(self.greeting.len()).filter(|len| *len > 0);
        let numbers = self.numbers.map(|_| Numbers::LEN);
        let options = greeting.into_iter().chain(numbers).map(|len| OPTION + len);
        Hello::LEN + options.sum::<usize>()
    }

    /// Whether a server that does `on_loss` may begin a session with this client. One that has
    /// had a session, here or elsewhere, may send in the next what it has sent before.
    pub(crate) fn may_begin(&self, on_loss: SessionLoss) -> bool {
        #[cfg(test)]
        if planted(Fault::BeginsAnother) {
            return !self.resume_only;
        }
        !self.resume_only && (self.epoch == 0 || on_loss == SessionLoss::SendAgain)
    }

    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        let Hello { epoch, received, limits, interval, .. } = *self;
        out.put_slice(&MAGIC);
        out.put_u16(self.version);
        out.put_slice(&self.token.0);
        out.put_u64(self.attempt);
        put_standing(out, (epoch, received, limits, interval));
        out.put_u8(self.resume_only.into());
        out.put_u32(FEATURES);
        if !self.greeting.is_empty() {
            debug_assert!(self.greeting.len() <= MAX_GREETING);
            out.put_u16(GREETING);
            out.put_u16(self.greeting.len() as u16);
            out.put_slice(&self.greeting);
        }
        if let Some(numbers) = self.numbers {
            out.put_u16(NUMBERS);
            out.put_u16(Numbers::LEN as u16);
            numbers.encode(out);
        }
    }

    /// A hello of another version decodes as far as its version, so that it
    /// can be told that it is one.
    pub(crate) fn decode(body: &[u8]) -> Result<Hello, Violation> {
        let Some((head, mut body)) = body.split_first_chunk::<6>().filter(|(h, _)| h[..4] == MAGIC)
        else {
            return Err(Violation("not a longlink hello"));
        };
        let version = u16::from_be_bytes([head[4], head[5]]);
        const REST: usize = Hello::LEN - 6;
        match version {
            VERSION if body.len() >= REST => {}
            VERSION => return Err(Violation("a hello of the wrong length")),
            _ => body = &[0; REST],
        }
        let mut token = Token([0; 16]);
        body.copy_to_slice(&mut token.0);
        let attempt = body.get_u64();
        let (epoch, received, limits, interval) = get_standing(&mut body);
        let resume_only = body.get_u8() & 1 != 0;
        // What it offers that is not known here is not answered.
        let _features = body.get_u32();
        let (greeting, numbers) = read_options(body)?;
        Ok(Hello {
            version,
            token,
            attempt,
            epoch,
            received,
            limits,
            interval,
            resume_only,
            greeting,
            numbers,
        })
    }
}

/// "You are in; this is where we stand."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// Names the session's life on this server: another one than the client's
    /// means that the session is new.
    pub(crate) epoch: u64,
    /// Sequenced frames of this epoch that were received.
    pub(crate) received: u64,
    pub(crate) limits: Limits,
    /// After how much silence the server pings; `None` if it does not.
    pub(crate) interval: Option<Duration>,
    /// The server keeps the session for so long without a link. What does not fit is for ever.
    pub(crate) resume_within: Duration,
}

impl Welcome {
    /// Without options.
    pub(crate) const LEN: usize = 2 + STANDING + 4 + 4;

    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        let Welcome { epoch, received, limits, interval, resume_within } = *self;
        out.put_u16(VERSION);
        put_standing(out, (epoch, received, limits, interval));
        out.put_u32(millis(resume_within));
        out.put_u32(FEATURES);
    }

    pub(crate) fn decode(mut body: &[u8]) -> Result<Welcome, Violation> {
        if body.len() < Welcome::LEN {
            return Err(Violation("a welcome of the wrong length"));
        }
        if body.get_u16() != VERSION {
            return Err(Violation("a welcome of another version"));
        }
        let (epoch, received, limits, interval) = get_standing(&mut body);
        if epoch == 0 {
            return Err(Violation("a welcome without an epoch"));
        }
        let resume_within = match body.get_u32() {
            u32::MAX => Duration::MAX,
            millis => Duration::from_millis(millis.into()),
        };
        if body.get_u32() & !FEATURES != 0 {
            return Err(Violation("a feature that was not offered"));
        }
        // None is known yet.
        Options(body).try_for_each(|option| option.map(|_| ()))?;
        Ok(Welcome { epoch, received, limits, interval, resume_within })
    }
}

/// What both say: epoch, received, limits and interval.
type Standing = (u64, u64, Limits, Option<Duration>);

/// Its length.
const STANDING: usize = 8 + 8 + 4 + 4 + 4;

fn put_standing(out: &mut impl BufMut, (epoch, received, limits, interval): Standing) {
    out.put_u64(epoch);
    out.put_u64(received);
    out.put_u32(limits.window);
    out.put_u32(limits.max_message);
    out.put_u32(interval.map_or(0, millis));
}

fn get_standing(body: &mut &[u8]) -> Standing {
    let (epoch, received) = (body.get_u64(), body.get_u64());
    let limits = Limits { window: body.get_u32(), max_message: body.get_u32() };
    let millis = body.get_u32();
    (epoch, received, limits, (millis > 0).then(|| Duration::from_millis(millis.into())))
}

pub(super) fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// The types of the options that carry a greeting, and numbers.
const GREETING: u16 = 1;
const NUMBERS: u16 = 2;

/// Reads the options of a hello. Unknown ones are ignored.
fn read_options(body: &[u8]) -> Result<(Bytes, Option<Numbers>), Violation> {
    let (mut greeting, mut numbers) = (None, None);
    for option in Options(body) {
        match option? {
            (GREETING, _) if greeting.is_some() => {
                return Err(Violation("a greeting that is repeated"));
            }
            (GREETING, value) if value.len() > MAX_GREETING => {
                return Err(Violation("a greeting that is too long"));
            }
            (GREETING, value) => greeting = Some(value),
            (NUMBERS, _) if numbers.is_some() => {
                return Err(Violation("numbers that are repeated"));
            }
            (NUMBERS, value) => numbers = Some(Numbers::decode(value)?),
            _ => {}
        }
    }
    Ok((greeting.map_or_else(Bytes::new, Bytes::copy_from_slice), numbers))
}

/// The length of an option's type and length.
const OPTION: usize = 2 + 2;

/// The options at the end of a hello or a welcome: types and values.
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = Result<(u16, &'a [u8]), Violation>;

    fn next(&mut self) -> Option<Self::Item> {
        // Behind damage there is nothing to be found.
        let body = std::mem::take(&mut self.0);
        if body.is_empty() {
            return None;
        }
        let option = body.split_first_chunk::<OPTION>().and_then(|(&[a, b, c, d], rest)| {
            let len = u16::from_be_bytes([c, d]);
            let (value, behind) = rest.split_at_checked(len.into())?;
            self.0 = behind;
            Some((u16::from_be_bytes([a, b]), value))
        });
        Some(option.ok_or(Violation("options of the wrong length")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::numbers::ClientId;

    fn hello() -> Hello {
        Hello {
            version: VERSION,
            token: Token(*b"0123456789abcdef"),
            attempt: 1 << 40,
            epoch: u64::MAX,
            received: 2,
            limits: Limits { window: 3, max_message: 4 },
            interval: None,
            resume_only: false,
            greeting: Bytes::new(),
            numbers: None,
        }
    }

    fn welcome() -> Welcome {
        let Hello { epoch, received, limits, .. } = hello();
        let (interval, resume_within) = (Some(Duration::from_secs(1)), Duration::from_secs(2));
        Welcome { epoch, received, limits, interval, resume_within }
    }

    fn encoded(hello: &Hello) -> Vec<u8> {
        let mut bytes = Vec::new();
        hello.encode(&mut bytes);
        assert_eq!(bytes.len(), hello.len());
        bytes
    }

    #[test]
    fn a_hello_says_what_was_meant() {
        let intervals = [None, Some(100), Some(u64::from(u32::MAX))];
        for interval in intervals.map(|millis| millis.map(Duration::from_millis)) {
            for resume_only in [false, true] {
                let hello = Hello { interval, resume_only, ..hello() };
                assert_eq!(Hello::decode(&encoded(&hello)), Ok(hello));
            }
        }
    }

    #[test]
    fn a_time_that_is_too_long_for_the_wire_is_shortened() {
        let longest = Duration::from_millis(u32::MAX.into());
        let hello = Hello { interval: Some(Duration::MAX), ..hello() };
        let decoded = Hello::decode(&encoded(&hello)).unwrap();
        assert_eq!(decoded.interval, Some(longest));
        let mut bytes = Vec::new();
        Welcome { resume_within: Duration::MAX, ..welcome() }.encode(&mut bytes);
        assert_eq!(Welcome::decode(&bytes).unwrap().resume_within, Duration::MAX);
    }

    /// A list of options, and whether it is whole.
    const OPTIONS: [(&[u8], bool); 9] = [
        (b"", true),
        (b"\0\x01\0\0", true),
        (b"\xff\xff\0\x03abc", true),
        (b"\0\x07\0\x01a\0\x07\0\x02bc\0\x07\0\x01a", true),
        (b"\0", false),
        (b"\0\x01\0", false),
        (b"\0\x01\0\x01", false),
        (b"\0\x01\xff\xffabc", false),
        (b"\0\x01\0\x01ab", false),
    ];

    #[test]
    fn options_that_are_not_known_are_ignored_and_damage_is_refused() {
        let mut welcomed = Vec::new();
        welcome().encode(&mut welcomed);
        for (options, whole) in OPTIONS {
            let damaged = Violation("options of the wrong length");
            let expected = whole.then(hello).ok_or(damaged);
            assert_eq!(Hello::decode(&[&encoded(&hello()), options].concat()), expected);
            let expected = whole.then(welcome).ok_or(damaged);
            assert_eq!(Welcome::decode(&[&welcomed, options].concat()), expected);
            let found: Vec<_> = Options(options).collect();
            assert_eq!(found.iter().all(Result::is_ok), whole);
            assert!(found.iter().rev().skip(1).all(Result::is_ok), "damage is the last thing");
        }
        let both: Result<Vec<_>, _> = Options(OPTIONS[3].0).take(2).collect();
        assert_eq!(both, Ok(vec![(7, &b"a"[..]), (7, b"bc")]));
    }

    #[test]
    fn a_greeting_has_a_limit_and_comes_once() {
        assert_eq!(encoded(&hello()).len(), Hello::LEN, "an empty one is not said");
        for len in [1, 2, MAX_GREETING] {
            let hello = Hello { greeting: vec![b'g'; len].into(), ..hello() };
            let bytes = encoded(&hello);
            assert_eq!(bytes[63..67], [0, 1, (len >> 8) as u8, len as u8]);
            assert_eq!(Hello::decode(&bytes), Ok(hello.clone()));
            let known = [&bytes[..], b"\0\x03\0\x01x"].concat();
            assert_eq!(Hello::decode(&known), Ok(hello));
            for more in [&b"\0\x01\0\0"[..], b"\0\x07\0\0\0\x01\0\x01g"] {
                let repeated = Hello::decode(&[&bytes[..], more].concat());
                assert_eq!(repeated, Err(Violation("a greeting that is repeated")));
            }
        }
        let mut long = encoded(&hello());
        long.extend([0, 1, 8, 1]);
        long.extend([b'g'; MAX_GREETING + 1]);
        assert_eq!(Hello::decode(&long), Err(Violation("a greeting that is too long")));
        // Of another version, it is none.
        long[5] += 1;
        assert!(Hello::decode(&long).unwrap().greeting.is_empty());
    }

    #[test]
    fn numbers_come_once_behind_a_greeting_or_without() {
        let numbers = Numbers { client: ClientId([7; 16]), first: 1 << 40 };
        for greeting in [&b""[..], b"ann"] {
            let greeting = Bytes::from_static(greeting);
            let hello = Hello { greeting, numbers: Some(numbers), ..hello() };
            let bytes = encoded(&hello);
            let option = &bytes[bytes.len() - 28..];
            assert_eq!(option[..4], [0, 2, 0, 24]);
            assert_eq!(Hello::decode(&bytes), Ok(hello));
            let repeated = Hello::decode(&[&bytes[..], option].concat());
            assert_eq!(repeated, Err(Violation("numbers that are repeated")));
            // Another length is not theirs, although the options end where the body does.
            let short = [&bytes[..bytes.len() - 28], b"\0\x02\0\x01x"].concat();
            let refused = Err(Violation("numbers of the wrong length"));
            assert_eq!(Hello::decode(&short), refused);
        }
    }

    #[test]
    fn any_feature_may_be_offered_and_none_is_taken_that_was_not() {
        let mut bytes = encoded(&hello());
        bytes[59..63].fill(0xFF);
        assert_eq!(Hello::decode(&bytes), Ok(hello()));
        let mut bytes = Vec::new();
        welcome().encode(&mut bytes);
        assert_eq!(bytes[34..38], [0; 4]);
        for bit in 0..32 {
            bytes[34..38].copy_from_slice(&(1u32 << bit).to_be_bytes());
            let refused = Err(Violation("a feature that was not offered"));
            assert_eq!(Welcome::decode(&bytes), refused);
        }
    }

    #[test]
    fn a_hello_of_another_version_can_be_told_so_whatever_follows() {
        for version in [0, VERSION + 1, u16::MAX] {
            let bytes = encoded(&Hello { version, ..hello() });
            for bytes in [&bytes[..], &bytes[..6], &[&bytes[..], b"more"].concat()] {
                assert_eq!(Hello::decode(bytes).unwrap().version, version);
            }
        }
    }

    #[test]
    fn a_hello_that_is_none_is_refused() {
        let bytes = encoded(&hello());
        for len in 0..bytes.len() {
            Hello::decode(&bytes[..len]).unwrap_err();
        }
        for at in 0..4 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert_eq!(Hello::decode(&bytes), Err(Violation("not a longlink hello")));
        }
    }

    #[test]
    fn a_welcome_says_what_was_meant_and_is_refused_if_it_is_none() {
        let welcome = welcome();
        let mut bytes = Vec::new();
        welcome.encode(&mut bytes);
        assert_eq!(bytes.len(), Welcome::LEN);
        assert_eq!(Welcome::decode(&bytes), Ok(welcome));
        for len in 0..bytes.len() {
            Welcome::decode(&bytes[..len]).unwrap_err();
        }
        let mut other = bytes.clone();
        other[1] += 1;
        assert_eq!(Welcome::decode(&other), Err(Violation("a welcome of another version")));
        bytes[2..10].fill(0);
        assert_eq!(Welcome::decode(&bytes), Err(Violation("a welcome without an epoch")));
    }

    #[test]
    fn a_token_is_never_printed_whole() {
        let printed = format!("{:?}", hello());
        assert!(printed.contains("303132..") && !printed.contains("33"), "{printed}");
    }
}
