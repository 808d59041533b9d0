//! What the two sides tell each other before the first message.

use std::fmt;
use std::time::Duration;

use bytes::{Buf, BufMut};

use super::Violation;

/// The version of the protocol that this crate speaks.
pub(crate) const VERSION: u16 = 1;

const MAGIC: [u8; 4] = *b"LLNK";

/// The name of a session, drawn by the client from the system's randomness.
/// A peer that knows it can take the session over, so only a part of it is printed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Token(pub(crate) [u8; 16]);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}..")
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

/// "Create a session, or resume it."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// The client has nothing more to say: no new session, please.
    pub(crate) resume_only: bool,
}

impl Hello {
    pub(crate) const LEN: usize = 4 + 2 + 16 + 8 + Welcome::BODY + 1;

    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        let Hello { epoch, received, limits, interval, .. } = *self;
        out.put_slice(&MAGIC);
        out.put_u16(self.version);
        out.put_slice(&self.token.0);
        out.put_u64(self.attempt);
        Welcome { epoch, received, limits, interval }.put(out);
        out.put_u8(self.resume_only.into());
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
            VERSION if body.len() == REST => {}
            VERSION => return Err(Violation("a hello of the wrong length")),
            _ => body = &[0; REST],
        }
        let mut token = Token([0; 16]);
        body.copy_to_slice(&mut token.0);
        let attempt = body.get_u64();
        let Welcome { epoch, received, limits, interval } = Welcome::get(&mut body);
        let resume_only = body.get_u8() & 1 != 0;
        Ok(Hello { version, token, attempt, epoch, received, limits, interval, resume_only })
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
}

impl Welcome {
    pub(crate) const LEN: usize = 2 + Welcome::BODY;
    /// Without the version, as a hello says it, too.
    const BODY: usize = 8 + 8 + 4 + 4 + 4;

    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        out.put_u16(VERSION);
        self.put(out);
    }

    pub(crate) fn decode(mut body: &[u8]) -> Result<Welcome, Violation> {
        if body.len() != Welcome::LEN {
            return Err(Violation("a welcome of the wrong length"));
        }
        if body.get_u16() != VERSION {
            return Err(Violation("a welcome of another version"));
        }
        let welcome = Welcome::get(&mut body);
        if welcome.epoch == 0 {
            return Err(Violation("a welcome without an epoch"));
        }
        Ok(welcome)
    }

    fn put(&self, out: &mut impl BufMut) {
        let millis = self.interval.map_or(0, |interval| interval.as_millis());
        out.put_u64(self.epoch);
        out.put_u64(self.received);
        out.put_u32(self.limits.window);
        out.put_u32(self.limits.max_message);
        out.put_u32(u32::try_from(millis).unwrap_or(u32::MAX));
    }

    fn get(body: &mut &[u8]) -> Welcome {
        let (epoch, received) = (body.get_u64(), body.get_u64());
        let limits = Limits { window: body.get_u32(), max_message: body.get_u32() };
        let millis = body.get_u32();
        let interval = (millis > 0).then(|| Duration::from_millis(millis.into()));
        Welcome { epoch, received, limits, interval }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        }
    }

    fn encoded(hello: &Hello) -> Vec<u8> {
        let mut bytes = Vec::new();
        hello.encode(&mut bytes);
        assert_eq!(bytes.len(), Hello::LEN);
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
    fn an_interval_that_is_too_long_for_the_wire_is_shortened() {
        let hello = Hello { interval: Some(Duration::MAX), ..hello() };
        let decoded = Hello::decode(&encoded(&hello)).unwrap();
        assert_eq!(decoded.interval, Some(Duration::from_millis(u32::MAX.into())));
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
        Hello::decode(&[&bytes[..], b"1"].concat()).unwrap_err();
        for at in 0..4 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert_eq!(Hello::decode(&bytes), Err(Violation("not a longlink hello")));
        }
    }

    #[test]
    fn a_welcome_says_what_was_meant_and_is_refused_if_it_is_none() {
        let Hello { epoch, received, limits, .. } = hello();
        let welcome = Welcome { epoch, received, limits, interval: Some(Duration::from_secs(1)) };
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
