//! The monitor: one session over successive sockets; which thread reads, and which writes.
//!
//! # A message's way
//!
//! 1. `connection/send.rs`: `send` locks the [`State`], and feeds the protocol if the
//!    window has room; else it waits.
//! 2. `proto/session/app.rs`, `proto/outbox.rs`: the message is encoded, and kept until
//!    it is acknowledged.
//! 3. `link/wait.rs`: [`post`](locked::Locked::post) takes the
//!    [`WriteHalf`](halves::WriteHalf) (`link/halves.rs`), fills its batch from the outbox
//!    (`proto/session.rs`), unlocks, and writes. In a row of messages it leaves that to the
//!    driver.
//! 4. At the peer a thread in `recv` holds the [`ReadHalf`](halves::ReadHalf); it reads
//!    (`link/wait.rs`), and `link/roles.rs` hands the frames to the session, which puts
//!    the message into `proto/inbox.rs`. If no thread waits, the driver reads
//!    (`link/care.rs`).
//! 5. `connection/receive.rs`: `recv` takes it out. Coming back for the next one records
//!    an acknowledgement, which goes out with the next batch, or 50 ms later.
//! 6. At the sender, `proto/session.rs` gives it to the outbox, which forgets the message,
//!    and threads that wait for room or in `sync` are woken (`link/effects.rs`).
//!
//! # Rules
//!
//! What a connection's threads share is a [`State`] behind one mutex. No system call is
//! made, and no code of the application runs, while it is locked.
//!
//! * **One reader.** The thread that holds the `ReadHalf` reads. A thread that waits for
//!   the peer (`recv`, `send` without room, `sync`, `close`; over plain text only `recv`)
//!   takes it and blocks in the kernel, on its own thread, so that an answer costs no
//!   hand-over. The other threads wait on a condition variable, and a reader that is done
//!   passes the role on.
//! * **One writer, which never blocks.** The thread that holds the `WriteHalf` writes,
//!   and takes along what other threads append meanwhile. What the socket does not take
//!   at once is left to the driver, which waits for room with `poll`. So no thread is
//!   stuck in a write. On a full socket a ping waits like everything else.
//! * **A stream is gathered.** A message goes out at once on its sender's thread. But what
//!   is sent, or flushed, again and again is written together, by the thread that fills a
//!   batch, or by the driver a moment later. See `link/row.rs`.
//! * **The driver covers.** While no application thread has read for a tick, the driver
//!   polls the link. It is not told of every message: every [`care::TICK`] it looks at
//!   an application that reads, and only the first message after a quiet time costs a
//!   wake-up. A heartbeat that a waiting thread answers costs none.
//! * **A sealed link** has a layer (`secure/`) behind a lock of its own, which no thread
//!   holds together with the monitor's. The reader opens and the writer seals, both while the
//!   monitor is unlocked. What the reader's layer has to tell the peer is *due*: whoever holds
//!   the write half next, or holds it now, takes it along, and nobody waits for that. A layer
//!   may log: while it does, its thread takes no half of a sealed link, since that might be
//!   this one, or another that waits for this.
//! * **A link is lost in one place**, [`State::lose`]: it takes the [`Link`] out of the
//!   state, with both halves. A thread that comes back from a system call first asks
//!   whether its generation is still there; if not, what it brings is thrown away.
//! * **A socket is closed when its last user lets go of it.** Until then it is only shut
//!   down, by the thread that releases the lock: in one direction or both, or with a reset
//!   if the peer was silent. A thread that reads returns by that; no thread blocks in a write.
//! * **Effects in one place**: a change is followed by [`settle`](locked::Locked::settle),
//!   which writes what is due, ends what is over, wakes the threads that have to go on, and
//!   wakes the driver. `post` does so for a message that was fed, and `settle_within` for
//!   a thread that goes on.

mod app;
mod care;
#[cfg(all(test, not(shuttle)))]
mod counts;
mod driver;
mod effects;
mod gather;
mod halves;
mod life;
mod locked;
mod parting;
mod pending;
mod roles;
mod row;
mod term;
mod tick;
mod wait;
mod waiters;

pub(crate) use care::Checkup;
pub(crate) use life::Ending;
use life::Life;
pub(crate) use pending::PendingLink;
use roles::{Link, Retired};
pub(crate) use term::{DAY, lasts};
pub(crate) use wait::Patience;
pub(crate) use waiters::Waiter;
use waiters::Waiters;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::driver::DriverHandle;
use crate::error::Cause;
use crate::event::Event;
use crate::foreign;
use crate::identity::Who;
use crate::net::Socket;
use crate::proto::away::GoingAway;
use crate::proto::protocol::Protocol;
use crate::retry::Proof;
use crate::sync::{self, Arc, AtomicBool, AtomicUsize, Condvar, Mutex, Ordering};

/// How long an ended session goes on telling the peer so.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// In the count of handles: the last one was dropped.
const GONE: usize = 1 << (usize::BITS - 1);

/// The loss of a link, as the driver is told.
#[derive(Debug, Clone)]
pub(crate) struct Lost {
    pub(crate) at: Instant,
    pub(crate) cause: Cause,
    /// Whether the peer ever said something that counts.
    pub(crate) has_received: bool,
    pub(crate) proof: Proof,
    /// For so long the server still has the session, as far as a client can tell.
    pub(crate) kept: Option<Duration>,
    /// When the server said that it goes away, and how.
    pub(crate) away: Option<(Instant, GoingAway)>,
}

/// What the threads of a connection share, behind the lock.
pub(crate) struct State {
    pub(crate) protocol: Protocol,
    link: Option<Link>,
    peer: SocketAddr,
    /// Who the peer has shown to be. A session at a server is found by that.
    who: Who,
    /// When something was last read or written: late enough to count an
    /// acknowledgement's delay from, without asking the clock for each message.
    clock: Instant,
    /// When something was last read, over any link.
    heard: Option<Instant>,
    /// The last loss, until a new link is up: seldom there, and large.
    lost: Option<Box<Lost>>,
    /// A link that has had its time, until a new one is up: the server has the one or the other.
    former: Option<Arc<Socket>>,
    life: Life,
    /// The last handle was dropped.
    dropped: bool,
    /// A message that was held never will be done, so none behind it is handed out.
    left: bool,
    terms: Terms,
    /// Threads that wait on [`Shared::readable`] and [`Shared::progress`].
    receivers: Waiters,
    others: Waiters,
    /// Something changed that `progress` is about.
    news: bool,
    /// The link is to be checked, or looked for at once.
    check_due: bool,
    /// The driver has to look.
    driver_due: bool,
    /// It was told so.
    driver_told: bool,
    /// The deadline of the protocol that the driver was last told.
    expected: Option<Instant>,
    /// Sockets to part with once the lock is released.
    retired: Vec<Retired>,
    events: VecDeque<Event>,
    /// The driver is calling the callback.
    reporting: bool,
    reconnects: u64,
    sessions_lost: u64,
}

/// A connection, as its threads hold it: the lock, and what needs none.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// For threads that wait for a message.
    readable: Condvar,
    /// For threads that wait for room, acknowledgements, a link, or the end.
    progress: Condvar,
    id: u64,
    /// How many handles the application holds, from 1 on; or [`GONE`].
    handles: AtomicUsize,
    /// Threads that send take turns, see `link/row.rs`.
    rush: AtomicBool,
    driver: Arc<DriverHandle>,
}

/// The callback for events, which is given what they happen to.
#[derive(Clone)]
pub(crate) struct OnEvent(pub(crate) std::sync::Arc<Callback>);

type Callback = dyn Fn(&Arc<Shared>, Event) + Send + Sync;

impl fmt::Debug for OnEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnEvent")
    }
}

/// What the application chose for a connection.
pub(crate) struct Terms {
    pub(crate) close_timeout: Duration,
    /// So long may the answer to a check take.
    pub(crate) connect_timeout: Duration,
    /// A server waits to be resumed for so long; a client dials instead.
    pub(crate) resume_within: Option<Duration>,
    /// So long a link may last, if links are secured.
    pub(crate) lasts: Option<Duration>,
    /// The time without a link may be long, or has no bound.
    pub(crate) patient: bool,
    pub(crate) on_event: Option<OnEvent>,
}

impl Shared {
    pub(crate) fn new(
        terms: Terms,
        protocol: Protocol,
        peer: SocketAddr,
        id: u64,
        driver: Arc<DriverHandle>,
    ) -> Shared {
        let state = State {
            protocol,
            link: None,
            peer,
            who: Who::default(),
            clock: sync::now(),
            heard: None,
            lost: None,
            former: None,
            life: Life::Open,
            dropped: false,
            left: false,
            terms,
            receivers: Waiters::default(),
            others: Waiters::default(),
            news: false,
            check_due: false,
            driver_due: false,
            driver_told: false,
            expected: None,
            retired: Vec::new(),
            events: VecDeque::new(),
            reporting: false,
            reconnects: 0,
            sessions_lost: 0,
        };
        Shared {
            state: Mutex::new(state),
            readable: Condvar::new(),
            progress: Condvar::new(),
            id,
            handles: AtomicUsize::new(1),
            rush: AtomicBool::new(false),
            driver,
        }
    }

    fn condvar(&self, waiter: Waiter) -> &Condvar {
        match waiter {
            Waiter::Receiver => &self.readable,
            Waiter::Other => &self.progress,
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

/// What is left of the application's data is discarded like all of it.
impl Drop for Shared {
    fn drop(&mut self) {
        self.state.get_mut().take_remains().for_each(foreign::discard);
    }
}

/// Handles of the application.
impl Shared {
    /// Counts another one. It does not take back that the last was dropped.
    pub(crate) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts another one, unless the last was dropped.
    pub(crate) fn revive_handle(&self) -> bool {
        let more = |count| (count & GONE == 0).then_some(count + 1);
        self.handles.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    /// One was dropped. Returns whether it was the last, which there is once.
    pub(crate) fn remove_handle(&self) -> bool {
        let less = |count| Some(if count == 1 { GONE } else { count - 1 });
        self.handles.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) == Ok(1)
    }
}
