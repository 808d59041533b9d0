//! What a player tells the referee: lines on standard output.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::str::FromStr;

use crate::plan::{PerThread, Side};

#[derive(Debug, Clone)]
pub(crate) enum Report {
    /// A server can be reached here.
    Listening(SocketAddr),
    Status(Status),
    Ended(Ended),
    /// A mortal server is about to answer: session, thread, number.
    Served {
        id: u64,
        session: u64,
        thread: usize,
        seq: u64,
    },
    /// A link was lost because nothing was heard.
    Silent {
        id: u64,
    },
    /// For the log.
    Note {
        id: u64,
        text: String,
    },
    /// What must not be.
    Wrong {
        id: u64,
        text: String,
    },
}

/// How a player is at the moment. Counters are those since it began.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Status {
    /// Bytes of memory that are allocated and not freed.
    pub(crate) heap: u64,
    /// Conversations.
    pub(crate) open: u64,
    pub(crate) links_up: u64,
    pub(crate) links_down: u64,
    pub(crate) unacknowledged: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) resumed: u64,
    pub(crate) replayed: u64,
    /// Sessions that ended before they carried a message.
    pub(crate) unused: u64,
}

/// One side's account of a conversation.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) id: u64,
    pub(crate) side: Side,
    /// What it sent has to be there, all of it, but for what was handed back.
    pub(crate) sent: PerThread,
    pub(crate) handed_back: PerThread,
    pub(crate) delivered: PerThread,
    pub(crate) missing: u64,
    pub(crate) doubled: u64,
    pub(crate) reordered: u64,
    pub(crate) corrupted: u64,
    pub(crate) sessions_lost: u64,
    /// Messages that were announced to be sent again in a new session.
    pub(crate) announced: u64,
}

impl Report {
    /// Writes the line at once. Nobody is left to tell if that fails.
    pub(crate) fn say(&self) {
        let _ = io::stdout().lock().write_all(format!("{self}\n").as_bytes());
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Listening(addr) => write!(f, "listening {addr}"),
            Report::Status(s) => write!(
                f,
                "status {} {} {} {} {} {} {} {} {} {}",
                s.heap,
                s.open,
                s.links_up,
                s.links_down,
                s.unacknowledged,
                s.messages,
                s.bytes,
                s.resumed,
                s.replayed,
                s.unused
            ),
            Report::Ended(e) => write!(
                f,
                "ended {} {} {} {} {} {} {} {} {} {} {}",
                e.id,
                e.side as usize,
                Listed(e.sent),
                Listed(e.handed_back),
                Listed(e.delivered),
                e.missing,
                e.doubled,
                e.reordered,
                e.corrupted,
                e.sessions_lost,
                e.announced
            ),
            Report::Served { id, session, thread, seq } => {
                write!(f, "served {id} {session} {thread} {seq}")
            }
            Report::Silent { id } => write!(f, "silent {id}"),
            Report::Note { id, text } => write!(f, "note {id} {text}"),
            Report::Wrong { id, text } => write!(f, "wrong {id} {text}"),
        }
    }
}

struct Listed(PerThread);

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(|number| number.to_string()).join(","))
    }
}

impl Report {
    pub(crate) fn parse(line: &str) -> Option<Report> {
        let mut words = Words(line);
        Some(match words.word()? {
            "listening" => Report::Listening(words.next()?),
            "status" => Report::Status(Status {
                heap: words.next()?,
                open: words.next()?,
                links_up: words.next()?,
                links_down: words.next()?,
                unacknowledged: words.next()?,
                messages: words.next()?,
                bytes: words.next()?,
                resumed: words.next()?,
                replayed: words.next()?,
                unused: words.next()?,
            }),
            "ended" => Report::Ended(Ended {
                id: words.next()?,
                side: *Side::BOTH.get(words.next::<usize>()?)?,
                sent: words.list()?,
                handed_back: words.list()?,
                delivered: words.list()?,
                missing: words.next()?,
                doubled: words.next()?,
                reordered: words.next()?,
                corrupted: words.next()?,
                sessions_lost: words.next()?,
                announced: words.next()?,
            }),
            "served" => Report::Served {
                id: words.next()?,
                session: words.next()?,
                thread: words.next()?,
                seq: words.next()?,
            },
            "silent" => Report::Silent { id: words.next()? },
            "note" => Report::Note { id: words.next()?, text: words.0.into() },
            "wrong" => Report::Wrong { id: words.next()?, text: words.0.into() },
            _ => return None,
        })
    }
}

struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn word(&mut self) -> Option<&'a str> {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        self.0 = rest;
        Some(word).filter(|word| !word.is_empty())
    }

    fn next<T: FromStr>(&mut self) -> Option<T> {
        self.word()?.parse().ok()
    }

    fn list(&mut self) -> Option<PerThread> {
        let numbers: Option<Vec<u64>> = self.word()?.split(',').map(|n| n.parse().ok()).collect();
        numbers?.try_into().ok()
    }
}
