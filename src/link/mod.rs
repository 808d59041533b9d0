//! The monitor: one session over successive sockets; who reads, who writes.
//!
//! Everything that a connection's threads share is a [`State`] behind one
//! mutex. No system call is made while it is locked. The rules:
//!
//! * **One reader.** Whoever holds the link's [`Reader`] reads. A thread that
//!   waits for the peer (`recv`, `send` without room, `sync`, `close`) takes it
//!   and blocks in the kernel, on its own thread, so that an answer costs no
//!   hand-over. The others wait on a condition variable, and a reader that is
//!   done passes the role on to one of them.
//! * **One writer, who never blocks.** Whoever holds the link's [`Pen`] writes,
//!   and takes along what others append meanwhile. What the socket does not
//!   take at once is left to the keeper, which waits for room with `poll`. So
//!   there is no thread that could be stuck in a write, and none that a ping
//!   would have to wait for.
//! * **A stream is gathered.** A message goes out at once on its sender's
//!   thread. But who sends, or flushes, again and again leaves that to the
//!   keeper, which writes together what piles up while it wakes and writes; it
//!   does so as long as that is more than a few at a time. See
//!   [`State::gathers`].
//! * **The keeper covers.** While no application thread has read for a tick,
//!   the keeper polls the link. It is not told of every message: an
//!   application that reads is looked at every [`care::TICK`], and only the first
//!   message after a quiet time costs a wake-up. A heartbeat that a thread
//!   answers, and waits on, costs none.
//! * **Death is one call**, [`State::lose`]: it takes the [`Link`] out of the
//!   state, with all its roles. A thread that comes back from a system call
//!   first asks whether its generation is still there; if not, whatever it
//!   brings is thrown away.
//! * **Consequences in one place**: every change is followed by
//!   [`Shared::settle`], which writes what is due, ends what is over, wakes who
//!   has to go on, and calls the keeper.

mod care;
#[cfg(all(test, not(shuttle)))]
mod counts;
mod wait;

pub(crate) use care::Visit;
use wait::{Calls, Waiters, Wake};
pub(crate) use wait::{Patience, Waiter};

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error::{Cause, Error, Result};
use crate::event::Event;
use crate::foreign;
use crate::net::Socket;
use crate::proto::Violation;
use crate::proto::batch::Batch;
use crate::proto::closing::Closing;
use crate::proto::frame::{Close, CloseCode, Decoder};
use crate::proto::inbox::Item;
use crate::proto::plain::Unanswered;
use crate::proto::report::{Progress, Seen};
use crate::proto::spent::Spent;
use crate::proto::talk::Talk;
use crate::retry::Proof;
use crate::stats::Stats;
use crate::sync::{self, Arc, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering};
use crate::waker::Waker;

/// How long an ended session goes on telling the peer so.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// So many messages in a row are written by their senders.
const SINGLES: u32 = 2;
/// It does not pay for the keeper to be woken for less.
const FEW: u32 = 8;

/// In the count of handles: the last one was dropped.
const GONE: usize = 1 << (usize::BITS - 1);

/// One TCP connection, and the roles on it. They end with it.
struct Link {
    socket: Arc<Socket>,
    generation: u64,
    since: Instant,
    /// Whoever takes it reads.
    reader: Option<Box<Reader>>,
    writer: Writer,
    /// Whoever takes it writes.
    pen: Option<Box<Pen>>,
    /// The keeper polls for input; else an application thread reads, or did
    /// so lately.
    covered: bool,
    /// Counts how often an application thread took the decoder.
    reads: u64,
    reads_at_tick: u64,
    /// What `SO_RCVTIMEO` is set to.
    read_timeout: Option<Duration>,
}

/// The reader's role on a link. A thread takes it along into a system call, and
/// to move one pointer costs less than to move what is in it and to count
/// another user of the socket.
struct Reader {
    socket: Arc<Socket>,
    generation: u64,
    decoder: Decoder,
}

/// The writer's role, likewise.
struct Pen {
    socket: Arc<Socket>,
    generation: u64,
    /// Partly written, if the writer is blocked.
    batch: Batch,
}

impl Link {
    /// What is left of the last batch; nothing is known of one that a thread
    /// has in hand.
    fn unwritten(&self) -> usize {
        self.pen.as_ref().map_or(0, |pen| pen.batch.len())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    Idle,
    /// What was fed is left for the keeper, who was called.
    Left,
    /// A thread has the pen in hand.
    Busy,
    /// The keeper goes on when the socket has room.
    Blocked,
    /// A write failed. What the peer said before is still read, up to the
    /// error or the end that follows.
    Dead,
}

/// How a socket is parted with. Whoever is in a call on it returns.
#[derive(Debug, Clone, Copy)]
enum Farewell {
    StopReading,
    StopWriting,
    Shutdown,
    Reset,
}

/// How a connection ended.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    GaveUp(Cause),
    PeerClosed,
    Closed,
}

/// The loss of a link, for whoever is to find the next one.
#[derive(Debug, Clone)]
pub(crate) struct Lost {
    pub(crate) at: Instant,
    pub(crate) cause: Cause,
    /// Whether the peer ever said something that counts.
    pub(crate) has_received: bool,
    pub(crate) proof: Proof,
}

/// What the threads of a connection share.
pub(crate) struct State {
    pub(crate) session: Talk,
    link: Option<Link>,
    peer: SocketAddr,
    /// When something was last read or written: late enough to count an
    /// acknowledgement's delay from, without asking the clock for each message.
    clock: Instant,
    /// When something was last read, over any link.
    heard: Option<Instant>,
    /// The last loss, until a new link is up.
    lost: Option<Lost>,
    /// `close` or drop is under way.
    closing: Option<Closing>,
    ending: Option<Ending>,
    /// It has ended, and the peer is told so until then.
    parting_until: Option<Instant>,
    /// The peer need not be told any more that the session has ended.
    abandoned: bool,
    /// Nothing will happen any more; the keeper has let go.
    over: bool,
    /// Nobody holds the connection any more.
    forsaken: bool,
    /// Nothing bounds the time without a link.
    endless: bool,
    /// Threads that wait on [`Shared::readable`] and [`Shared::progress`].
    receivers: Waiters,
    others: Waiters,
    /// Something changed that `progress` is about.
    news: bool,
    /// The link is to be checked, or looked for at once.
    check_due: bool,
    /// The keeper has to look.
    call: bool,
    /// It was told so.
    called: bool,
    /// Messages, or flushes of several, that were written by their senders since
    /// the last pause; since the keeper last looked, those that were left to others.
    written: u32,
    gathered: u32,
    /// The keeper looks once a tick, next at `tick_at`.
    ticking: bool,
    tick_at: Option<Instant>,
    /// When the keeper looks after the peer's silence next, as it was told.
    expected: Option<Instant>,
    /// Sockets to part with once the lock is released.
    retired: Vec<(Arc<Socket>, Farewell)>,
    /// What is to be dropped then, besides what the session has of that kind.
    spent: Spent,
    events: VecDeque<Event>,
    /// The keeper is calling the callback.
    reporting: bool,
    on_event: Option<OnEvent>,
    reconnects: u64,
    sessions_lost: u64,
}

/// A connection, as its threads see it.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// For threads that wait for a message.
    readable: Condvar,
    /// For threads that wait for room, acknowledgements, a link, or the end.
    progress: Condvar,
    id: u64,
    /// How many handles the application holds, the first of which is made with
    /// the rest; and [`GONE`].
    handles: AtomicUsize,
    summons: Arc<Summons>,
    close_timeout: Duration,
    /// So long may the answer to a check take.
    connect_timeout: Duration,
    /// A server waits to be resumed for so long; a client dials instead.
    resume_within: Option<Duration>,
}

/// The callback for events, which is given what they happen to.
pub(crate) type OnEvent = std::sync::Arc<dyn Fn(&Arc<Shared>, Event) + Send + Sync>;

/// What the application chose for a connection.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) close_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    /// A server waits to be resumed for so long; a client dials instead.
    pub(crate) resume_within: Option<Duration>,
    /// Nothing bounds the time without a link.
    pub(crate) endless: bool,
    pub(crate) on_event: Option<OnEvent>,
}

/// How a keeper is called, and by whom.
pub(crate) struct Summons {
    pub(crate) waker: Waker,
    calls: Mutex<Vec<u64>>,
}

impl Summons {
    pub(crate) fn new() -> io::Result<Summons> {
        Ok(Summons { waker: Waker::new()?, calls: Mutex::default() })
    }

    /// The ids that have called since last time.
    pub(crate) fn answer(&self) -> Vec<u64> {
        self.waker.answer();
        std::mem::take(&mut *self.calls.lock())
    }

    fn call(&self, id: u64) {
        #[cfg(all(test, not(shuttle)))]
        crate::tally::count(|tally| tally.summons += 1);
        self.calls.lock().push(id);
        self.waker.wake();
    }
}

impl Shared {
    pub(crate) fn new(
        terms: Terms,
        session: impl Into<Talk>,
        peer: SocketAddr,
        id: u64,
        summons: Arc<Summons>,
    ) -> Shared {
        let state = State {
            session: session.into(),
            link: None,
            peer,
            clock: sync::now(),
            heard: None,
            lost: None,
            closing: None,
            ending: None,
            parting_until: None,
            abandoned: false,
            over: false,
            forsaken: false,
            endless: terms.endless,
            receivers: Waiters::default(),
            others: Waiters::default(),
            news: false,
            check_due: false,
            call: false,
            called: false,
            written: 0,
            gathered: 0,
            ticking: false,
            tick_at: None,
            expected: None,
            retired: Vec::new(),
            spent: Spent::default(),
            events: VecDeque::new(),
            reporting: false,
            on_event: terms.on_event,
            reconnects: 0,
            sessions_lost: 0,
        };
        Shared {
            state: Mutex::new(state),
            readable: Condvar::new(),
            progress: Condvar::new(),
            id,
            handles: AtomicUsize::new(1),
            summons,
            close_timeout: terms.close_timeout,
            connect_timeout: terms.connect_timeout,
            resume_within: terms.resume_within,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        #[cfg(all(test, not(shuttle)))]
        crate::tally::count(|tally| tally.locks += 1);
        self.state.lock()
    }

    pub(crate) fn close_timeout(&self) -> Duration {
        self.close_timeout
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

/// What is left in it is dropped as everything of the application's is.
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

/// Roles.
impl State {
    fn current(&mut self, generation: u64) -> Option<&mut Link> {
        self.link.as_mut().filter(|link| link.generation == generation)
    }

    fn take_reader(&mut self, waiter: Waiter) -> Option<Box<Reader>> {
        let helps = waiter == Waiter::Receiver || self.session.has_answers();
        let link = self.link.as_mut().filter(|_| helps && self.session.may_read())?;
        let reader = link.reader.take()?;
        link.covered = false;
        link.reads += 1;
        Some(reader)
    }

    fn take_reader_if_covered(&mut self) -> Option<Box<Reader>> {
        let link = self.link.as_mut().filter(|link| link.covered && self.session.may_read())?;
        link.reader.take()
    }

    /// Whether the system has to be told.
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> bool {
        self.link
            .as_mut()
            .is_some_and(|link| std::mem::replace(&mut link.read_timeout, timeout) != timeout)
    }

    fn after_read(&mut self, mut reader: Box<Reader>, result: io::Result<usize>) {
        let generation = reader.generation;
        if self.current(generation).is_none() {
            return;
        }
        match result {
            Ok(0) => match self.session.end_of_stream(sync::now()) {
                Ok(false) => self.announce_unanswered(),
                Ok(true) => return self.lose(Cause::Eof),
                Err(violation) => return self.lose(Cause::Protocol(violation.0)),
            },
            Ok(n) => {
                let now = sync::now();
                self.clock = now;
                self.heard = Some(now);
                reader.decoder.filled(n);
                self.session.heard(now);
                if let Err(cause) = self.decode(generation, &mut reader.decoder, now) {
                    return self.lose(cause);
                }
                self.expect();
            }
            Err(e) => match e.kind() {
                // Nothing there, the time is over, or a signal came (trap 18).
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                _ => return self.lose(Cause::Io(Arc::new(e))),
            },
        }
        if let Some(link) = self.current(generation) {
            link.reader = Some(reader);
        }
    }

    fn decode(
        &mut self,
        generation: u64,
        decoder: &mut Decoder,
        now: Instant,
    ) -> Result<(), Cause> {
        let violation = |v: Violation| Cause::Protocol(v.0);
        while let Some(seen) = self.session.hear(generation, decoder, now).map_err(violation)? {
            match seen {
                // Receivers learn of messages by their own rule.
                Seen::Nothing | Seen::Item => {}
                // Whoever waits, and does not read, has said so.
                Seen::Acknowledged => self.news |= self.others.are_asleep(),
                Seen::Closed => self.news = true,
                Seen::Pong(id, round_trip) => self.event(Event::Heartbeat { id, round_trip }),
            }
        }
        Ok(())
    }

    fn take_pen(&mut self) -> Option<Box<Pen>> {
        let link = self.link.as_mut()?;
        if !matches!(link.writer, Writer::Idle | Writer::Left) {
            return None;
        }
        link.writer = Writer::Idle;
        let pen = link.pen.as_mut()?;
        if pen.batch.is_empty() {
            self.session.fill(&mut pen.batch);
            if pen.batch.is_empty() {
                return None;
            }
        }
        link.writer = Writer::Busy;
        link.pen.take()
    }

    fn after_write(&mut self, pen: Box<Pen>, result: io::Result<bool>) {
        let reads = self.session.may_read();
        let Some(link) = self.current(pen.generation) else {
            return self.spent.extend(pen.batch.give_up());
        };
        link.pen = Some(pen);
        match result {
            Ok(true) => {
                link.writer = Writer::Idle;
                self.clock = sync::now();
                self.news |= self.session.sent(self.clock);
                self.expect();
            }
            Ok(false) => {
                link.writer = Writer::Blocked;
                self.call = true;
            }
            Err(e) => match e.kind() {
                // What the peer said before it left can still be read, and the
                // end behind it.
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset if reads => {
                    link.writer = Writer::Dead;
                    link.covered |= link.reader.is_some();
                    self.call = true;
                }
                _ => {
                    link.writer = Writer::Dead;
                    self.lose(Cause::Io(Arc::new(e)));
                }
            },
        }
    }

    /// What was fed is to be written: whether somebody else is bound to do so.
    ///
    /// A system call for each message, or for each flush of a few, costs more
    /// than all the rest, and wakes the peer each time. So the third in a row is
    /// left to the keeper, and so are those that follow while it wakes up and
    /// writes. If it finds few, they come too slowly to be worth a wake-up. A row
    /// ends when the application waits for the peer. No message waits for a clock
    /// or for another message.
    fn gathers(&mut self) -> bool {
        let Some(link) = &mut self.link else { return false };
        match link.writer {
            Writer::Dead => return false,
            // It is in the callback for now.
            _ if self.reporting => return false,
            Writer::Busy | Writer::Blocked => {}
            // Else nobody would take it back that something is left.
            _ if !self.session.has_output() => return false,
            // A whole batch is worth a system call wherever it is made.
            _ if self.session.fills_batch() => return false,
            Writer::Left => {}
            Writer::Idle if self.written < SINGLES => {
                self.written += 1;
                return false;
            }
            Writer::Idle => {
                link.writer = Writer::Left;
                self.call = true;
            }
        }
        self.gathered = self.gathered.saturating_add(1);
        true
    }

    /// The keeper has written what there was.
    fn has_gathered(&mut self) {
        let few = std::mem::take(&mut self.gathered) < FEW;
        if few && self.link.as_ref().is_none_or(|link| link.writer == Writer::Idle) {
            self.written = 0;
        }
    }

    fn leave_rest_to_keeper(&mut self) {
        if let Some(link) = &mut self.link
            && link.writer == Writer::Idle
            && (link.unwritten() > 0 || self.session.has_output())
        {
            link.writer = Writer::Blocked;
            self.call = true;
        }
    }
}

/// What follows from what.
impl State {
    /// Draws conclusions that need no clock.
    fn conclude(&mut self) {
        if let Some(link) = &self.link
            && link.writer == Writer::Idle
            && link.unwritten() == 0
            && self.session.take_fin()
        {
            self.retired.push((link.socket.clone(), Farewell::StopWriting));
            self.news = true;
        }
        if self.ending.is_none() {
            let leaving = self.closing.is_some();
            if self.session.is_complete() || (leaving && self.session.is_acknowledged()) {
                self.end(Ending::Closed);
            } else if self.session.was_closed_by_peer() {
                self.end(Ending::PeerClosed);
            }
        }
        if self.session.has_parted()
            && let Some(link) = &self.link
            && link.writer != Writer::Busy
            && link.unwritten() == 0
        {
            self.lose(Cause::Eof);
        }
        if self.link.as_ref().is_some_and(|link| link.writer == Writer::Dead) && self.is_stuck() {
            self.lose(Cause::Io(Arc::new(io::ErrorKind::BrokenPipe.into())));
        }
        if self.session.owes_ack() && !self.ticking {
            self.start_ticking();
        }
    }

    /// Of a link that cannot be written any more, the end will not be read:
    /// it was, or it is behind what there is no room for as long as whoever
    /// could make some waits for room to send.
    fn is_stuck(&self) -> bool {
        self.session.is_deaf() || !(self.session.may_read() || self.session.has_room())
    }

    /// The connection is over for the application. The first reason stays.
    pub(crate) fn end(&mut self, ending: Ending) {
        if self.ending.is_some() {
            return;
        }
        let unacknowledged = self.session.unacknowledged();
        match &ending {
            Ending::GaveUp(_) => self.abandoned = true,
            Ending::PeerClosed | Ending::Closed => {
                self.session.close(CloseCode::Closed);
                self.event(Event::Closed { unacknowledged });
            }
        }
        self.ending = Some(ending);
        self.news = true;
        self.call = true;
        if !self.session.has_answers() {
            self.free_reader();
        }
    }

    /// A client that came back is told that the session has ended. It may have
    /// known, and waited only for this.
    pub(crate) fn read_epitaph(&mut self, close: Close) -> Result<(), Violation> {
        if let Some(session) = self.session.session() {
            session.read_epitaph(close)?;
        }
        self.news = true;
        self.call = true;
        Ok(())
    }

    /// The link has died. Its roles die with it.
    pub(crate) fn lose(&mut self, cause: Cause) {
        let Some(link) = self.link.take() else { return };
        let farewell = match cause {
            // If the silence is ours alone, the end must not queue behind what
            // cannot be sent; and the kernel would keep that for minutes.
            Cause::Silent(_) => Farewell::Reset,
            _ => Farewell::Shutdown,
        };
        self.retired.push((link.socket.clone(), farewell));
        // What a thread has in hand is written by now, or will not be.
        let unwritten = link.unwritten();
        let now = sync::now();
        self.session.link_lost(unwritten);
        let uptime = now.saturating_duration_since(link.since);
        let Progress { moved, heard, waits } = self.session.progress();
        if let Some(closing) = &mut self.closing {
            closing.link_lost(moved, now);
        }
        let proof = Proof { moved, heard, waits, uptime };
        self.event(Event::Lost { cause: cause.clone() });
        self.announce_unanswered();
        self.spent.extend(link.pen.into_iter().flat_map(|pen| pen.batch.give_up()));
        let has_received = self.session.has_received();
        self.lost = Some(Lost { at: now, cause, has_received, proof });
        self.ticking = false;
        self.call = true;
    }

    /// The keeper hears of it if it has to look earlier than it was told. The
    /// times of a framed session only move away.
    fn expect(&mut self) {
        if !self.session.has_answers() {
            let next = self.session.deadline();
            self.call |= next.is_some_and(|next| self.expected.is_none_or(|at| next < at));
        }
    }

    fn announce_unanswered(&mut self) {
        let unanswered = self.session.take_unanswered();
        if unanswered.count() > 0 {
            let Unanswered { lines: messages, forgotten } = unanswered;
            self.event(Event::Unanswered { messages, forgotten });
        }
    }

    fn start_ticking(&mut self) {
        if !std::mem::replace(&mut self.ticking, true) {
            self.tick_at = None;
            self.call = true;
        }
    }

    /// Reports to the application; how the end is told to the peer is none of
    /// its business any more.
    pub(crate) fn event(&mut self, event: Event) {
        if self.on_event.is_some() && self.ending.is_none() {
            self.events.push_back(event);
            self.call = true;
        } else {
            self.forget(event);
        }
    }

    fn forget(&mut self, event: Event) {
        if let Event::Unanswered { messages, .. } = event {
            self.spent.extend(messages);
        }
    }

    /// Whether [`Shared::settle`] has something to do: it need not be asked for
    /// each message of a stream.
    fn has_consequences(&self) -> bool {
        self.session.has_output() || self.has_other_consequences()
    }

    /// The same, but a few messages that were fed may wait.
    #[inline]
    fn has_urgent_consequences(&self) -> bool {
        self.session.has_urgent_output() || self.has_other_consequences()
    }

    /// Other than that there is something to write.
    fn has_other_consequences(&self) -> bool {
        self.news
            || self.call
            || self.receivers.are_asleep()
            || self.others.are_asleep()
            || !self.retired.is_empty()
            || !self.spent.is_empty()
            || self.session.has_spent()
            || self.closing.is_some()
            || self.parting_until.is_some()
            || self.session.is_closing()
            || self.link.as_ref().is_some_and(|link| link.unwritten() > 0)
            || (self.session.owes_ack() && !self.ticking)
            || self.is_neglected()
    }

    /// Nobody reads, and the keeper does not know.
    fn is_neglected(&self) -> bool {
        let mut link = self.link.iter().filter(|_| !self.ticking);
        link.any(|link| link.reader.is_some() && !link.covered)
    }

    /// Whom the changes concern. A thread that is `leaving` passes the
    /// reader's role on.
    fn calls(&mut self, leaving: bool) -> Calls {
        let news = std::mem::take(&mut self.news);
        let free = leaving && self.link.as_ref().is_some_and(|link| link.reader.is_some());
        if leaving && self.is_neglected() {
            self.start_ticking();
        }
        let receivers = match () {
            _ if news && self.ending.is_some() => self.receivers.call_all(),
            _ if free || self.session.has_item() => self.receivers.call_one(),
            _ => Wake::None,
        };
        let others = match () {
            _ if news => self.others.call_all(),
            _ if free && receivers == Wake::None => self.others.call_one(),
            _ => Wake::None,
        };
        let keeper = std::mem::take(&mut self.call) && !std::mem::replace(&mut self.called, true);
        let (retired, spent) = (std::mem::take(&mut self.retired), self.take_spent());
        Calls { receivers, others, keeper, retired, spent }
    }

    fn take_spent(&mut self) -> Spent {
        let mut spent = std::mem::take(&mut self.spent);
        spent.extend(self.session.spent());
        spent
    }

    /// All that the application gave and does not get back.
    fn take_remains(&mut self) -> Spent {
        let pen = self.link.take().and_then(|link| link.pen);
        self.spent.extend(pen.into_iter().flat_map(|pen| pen.batch.give_up()));
        while let Some(event) = self.events.pop_front() {
            self.forget(event);
        }
        self.session.discard();
        self.take_spent()
    }
}

/// The application's view.
impl State {
    /// Fails if the connection is over.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        self.ending.as_ref().map_or(Ok(()), |ending| Err(self.error(ending)))
    }

    fn error(&self, ending: &Ending) -> Error {
        let unacknowledged = self.session.unacknowledged();
        match ending {
            Ending::GaveUp(cause) => Error::GaveUp { unacknowledged, cause: cause.clone() },
            Ending::PeerClosed => Error::PeerClosed { unacknowledged },
            Ending::Closed => Error::Closed { unacknowledged },
        }
    }

    /// The application is done with what it was handed.
    pub(crate) fn done(&mut self) {
        self.session.consume(sync::now());
    }

    /// A close begins: no more sends, no more messages. `done`: the application is
    /// done with those it was handed.
    pub(crate) fn leave(&mut self, done: bool, patience: Duration) {
        if self.ending.is_none() {
            let now = sync::now();
            self.session.leave(done, now);
            self.closing.get_or_insert_with(|| Closing::new(patience, now));
            self.call = true;
        }
    }

    /// The close has taken its time.
    pub(crate) fn stop_closing(&mut self) {
        if self.ending.is_none() {
            self.end(Ending::Closed);
            self.parting_until = Some(sync::later(LINGER));
        }
    }

    /// When a close ends that waits for a link, although nothing bounds that. Only the
    /// end is not acknowledged: more would have to be delivered.
    fn closes_alone_at(&self) -> Option<Instant> {
        let waits = self.endless && self.link.is_none() && self.ending.is_none();
        let closing =
            self.closing.as_ref().filter(|_| waits && self.session.unacknowledged() == 0)?;
        closing.alone_until(self.lost.as_ref().map(|lost| lost.at))
    }

    /// The end, at once; the peer is told if that is possible without waiting.
    pub(crate) fn abort(&mut self) {
        if self.ending.is_none() {
            self.session.close(CloseCode::Aborted);
        }
        self.end(Ending::Closed);
        self.parting_until = Some(sync::later(LINGER));
        self.free_reader();
    }

    /// Whoever reads is not to wait for the peer's answer.
    fn free_reader(&mut self) {
        if let Some(link) = self.link.as_ref().filter(|link| link.reader.is_none()) {
            self.retired.push((link.socket.clone(), Farewell::StopReading));
        }
    }

    /// Nobody will ask for messages any more. A server remembers for a while
    /// how the session ended, but not what was in it.
    pub(crate) fn forsake(&mut self) {
        self.forsaken = true;
        if self.over {
            self.session.discard();
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ending.is_some()
    }

    pub(crate) fn has_link(&self) -> bool {
        self.link.is_some()
    }

    /// The peer cannot be told any more, or need not be, and the application
    /// has been told everything.
    pub(crate) fn has_taken_leave(&self) -> bool {
        // Only a framed peer answers an end. What ends plain text is its last byte.
        let answered = self.link.is_none() || !self.session.is_resumable();
        let told = self.over || (answered && self.session.has_told_end());
        told && self.events.is_empty() && !self.reporting
    }

    /// Whether a client that comes back is to be told of the end, because
    /// somebody chose it.
    pub(crate) fn was_closed(&self) -> bool {
        matches!(self.ending, Some(Ending::Closed | Ending::PeerClosed))
    }

    /// Whether there was ever a link.
    pub(crate) fn has_connected(&self) -> bool {
        self.session.generation() > 0
    }

    pub(crate) fn is_up(&self) -> bool {
        self.link.is_some() && self.ending.is_none()
    }

    /// The next message, or the end. `first`: the application has just come
    /// for it, and is done with those before.
    pub(crate) fn receive(&mut self, first: bool) -> Option<Result<Option<Bytes>>> {
        if first {
            self.session.consume(self.clock);
        }
        let paused = !self.session.may_read();
        let item = self.session.take(self.clock);
        // There is room again for what the keeper has left in the socket.
        self.call |= paused && self.session.may_read();
        match item {
            Some(Item::Message(message)) => Some(Ok(Some(message))),
            Some(Item::End) => Some(Ok(None)),
            None => self.check().err().map(Err),
        }
    }

    /// The same for several at once, without the end; 0 tells of that.
    pub(crate) fn receive_many(
        &mut self,
        first: bool,
        messages: &mut Vec<Bytes>,
        most: usize,
    ) -> Option<Result<usize>> {
        let before = messages.len();
        match self.receive(first)? {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return Some(Ok(0)),
            Err(error) => return Some(Err(error)),
        }
        let paused = !self.session.may_read();
        self.session.take_many(most.saturating_sub(1), messages);
        self.call |= paused && self.session.may_read();
        Some(Ok(messages.len() - before))
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Returns the callback that has served: what it holds may use the
    /// connection when it is dropped, which is to be done without the lock.
    pub(crate) fn set_on_event(&mut self, on_event: OnEvent) -> Option<OnEvent> {
        match self.over {
            // It might hold the connection, and nothing would let go of it.
            true => Some(on_event),
            false => self.on_event.replace(on_event),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let totals = self.session.totals();
        Stats {
            messages_sent: totals.messages_sent,
            bytes_sent: totals.bytes_sent,
            messages_received: totals.messages_received,
            bytes_received: totals.bytes_received,
            replayed: totals.replayed,
            unanswered: totals.unanswered,
            reconnects: self.reconnects,
            sessions_lost: self.sessions_lost,
            last_round_trip: self.session.round_trip(),
            unacknowledged: self.session.unacknowledged(),
            unacknowledged_bytes: self.session.unacknowledged_bytes(),
            connected_since: self.link.as_ref().map(|link| link.since),
            lost_since: self.lost.as_ref().map(|lost| lost.at),
            last_heard: self.heard,
        }
    }
}
