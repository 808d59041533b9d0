//! One side of a conversation: threads that send and receive in every way there is.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use longlink::{Bytes, Connection, Error};

use crate::plan::{Ending, LONG_PAUSE, PerThread, Plan, Side};
use crate::report::{Ended, Report};
use crate::stage::{Link, Stage};
use crate::tally::Tally;
use crate::watch::{Seat, now, rest};

/// How long `close` may take, and a dropped connection in the background: more than the longest
/// outage and the slowest reader together.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(40);

/// What waits for a live peer has no bound, but these peers always come around.
const PATIENCE: Duration = Duration::from_secs(60);

/// One side of a conversation.
pub(crate) struct Talk<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) plan: &'a Plan,
    pub(crate) me: Side,
    pub(crate) connection: Connection,
    pub(crate) link: &'a Link,
}

/// What is left to do for one side, and what it has seen.
struct Course<'a> {
    talk: &'a Talk<'a>,
    ends: Instant,
    /// Nothing is sent any more, so that the connection could be dropped.
    leaving: AtomicBool,
    tally: Mutex<Tally>,
}

impl Talk<'_> {
    /// Talks to the end. `first` was received before.
    pub(crate) fn run(self, first: Option<&Bytes>) {
        let Talk { plan, me, .. } = self;
        let mut tally = Tally::default();
        if let Some(first) = first {
            self.count(first);
            tally.take(plan, me.other(), first, &mut PerThread::default());
        }
        let course = Course {
            talk: &self,
            ends: now() + plan.life,
            leaving: AtomicBool::new(false),
            tally: Mutex::new(tally),
        };
        let sent = course.run();
        let tally = course.tally.into_inner().unwrap();
        let handed_back = self.end(&sent);
        Report::Ended(Ended {
            id: plan.id,
            side: me,
            sent,
            handed_back,
            delivered: tally.delivered(),
            missing: tally.missing(),
            doubled: tally.doubled,
            reordered: tally.reordered,
            corrupted: tally.corrupted,
            sessions_lost: self.link.sessions_lost.load(Relaxed),
            announced: self.link.announced.load(Relaxed),
        })
        .say();
    }

    /// Ends what is not over yet. Returns how many messages were handed back.
    fn end(&self, sent: &PerThread) -> PerThread {
        let seat = self.stage.watch.seat(self.plan.id);
        match self.plan.ending {
            // It is dropped later.
            Ending::Drop(side) if side == self.me => return PerThread::default(),
            Ending::Abort(side) if side == self.me => {}
            _ => self.close(&seat),
        }
        let messages = self.connection.take_unacknowledged();
        let complete = match self.plan.ending {
            Ending::InOrder => true,
            Ending::Close(side) => side == self.me,
            _ => false,
        };
        if complete && !messages.is_empty() {
            self.wrong(format!("{} messages are not acknowledged", messages.len()));
        }
        let handed_back = self.plan.handed_back(self.me, &messages, sent);
        handed_back.unwrap_or_else(|error| {
            self.wrong(format!("handed back {} messages: {error}", messages.len()));
            PerThread::default()
        })
    }

    fn close(&self, seat: &Seat) {
        if let Err(error) = seat.call("close", CLOSE_TIMEOUT, || self.connection.close()) {
            self.judge("close", &error);
        }
    }

    fn count(&self, message: &Bytes) {
        self.stage.messages.fetch_add(1, Relaxed);
        self.stage.bytes.fetch_add(message.len() as u64, Relaxed);
    }

    fn wrong(&self, text: String) {
        let text = format!("{} ({:?}): {text}", self.me.name(), self.plan.ending);
        Report::Wrong { id: self.plan.id, text }.say();
    }

    /// Whether this had to be expected.
    fn judge(&self, call: &str, error: &Error) {
        let late = self.plan.is_abrupt && call == "send";
        let expected = match (self.plan.ending, error) {
            // Who aborts without a link cannot tell the server.
            (Ending::Abort(Side::Client), Error::GaveUp { .. }) => self.me == Side::Server,
            (Ending::Abort(_), Error::Closed { .. } | Error::PeerClosed { .. }) => true,
            (Ending::Close(side) | Ending::Drop(side), Error::Closed { .. }) if side == self.me => {
                call == "recv" || late
            }
            (
                Ending::Close(side) | Ending::Drop(side),
                Error::Closed { .. } | Error::PeerClosed { .. },
            ) if side != self.me => true,
            (_, Error::Finished | Error::Closed { unacknowledged: 0, .. }) => late,
            _ => false,
        };
        if !expected {
            let stats = self.connection.stats();
            self.wrong(format!("{call}: {error} ({error:?}) {stats:?}"));
        }
    }
}

impl Course<'_> {
    /// Sends and receives. Returns how many messages each thread has sent.
    fn run(&self) -> PerThread {
        let Talk { plan, me, connection, .. } = self.talk;
        let mut sent = PerThread::default();
        thread::scope(|scope| {
            for reader in 0..plan.receivers(me.other()) {
                scope.spawn(move || self.receive(reader));
            }
            // The server learns from the first message whom it talks to.
            let begun = u64::from(*me == Side::Client);
            if begun > 0
                && let Err(error) = connection.send(plan.message(*me, 0, 0))
            {
                return self.talk.judge("the first send", &error);
            }
            let senders: Vec<_> = (0..plan.senders(*me))
                .map(|thread| {
                    let first = if thread == 0 { begun } else { 0 };
                    scope.spawn(move || self.send(thread, first))
                })
                .collect();
            if plan.is_abrupt {
                while self.goes_on(plan.life / 4) {
                    rest(Duration::from_millis(10));
                }
                self.turn();
            }
            for (sent, sender) in sent.iter_mut().zip(senders) {
                *sent = sender.join().expect("a panic ends the process");
            }
            if !plan.is_abrupt {
                self.turn();
            }
            self.leaving.store(true, Relaxed);
        });
        sent
    }

    /// Whether there is time left before the last so much of it.
    fn goes_on(&self, last: Duration) -> bool {
        now() + last < self.ends && self.talk.stage.goes_on.load(Relaxed)
    }

    /// Nothing more is to be sent.
    fn turn(&self) {
        let Talk { stage, plan, me, connection, .. } = self.talk;
        match plan.ending {
            Ending::Close(side) if side == *me => self.talk.close(&stage.watch.seat(plan.id)),
            Ending::Abort(side) if side == *me => connection.abort(),
            Ending::Drop(side) if side == *me => {}
            _ => {
                if let Err(error) = connection.finish() {
                    self.talk.judge("finish", &error);
                }
            }
        }
    }

    /// Sends messages from this number on, in bursts.
    fn send(&self, thread: usize, first: u64) -> u64 {
        let Talk { stage, plan, me, connection, link } = self.talk;
        let seat = stage.watch.seat(plan.id);
        let mut rng = plan.rng(*me, thread, 1);
        let mut seq = first;
        while self.goes_on(Duration::ZERO) {
            for _ in 0..rng.u32(1..=40) {
                if !self.goes_on(Duration::ZERO) {
                    break;
                }
                let message = plan.message(*me, thread, seq);
                match self.submit(&seat, &mut rng, &message) {
                    Ok(()) => seq += 1,
                    Err(Error::WouldBlock | Error::TimedOut) => {}
                    Err(error) => {
                        self.talk.judge("send", &error);
                        return seq;
                    }
                }
            }
            link.unacknowledged.store(connection.stats().unacknowledged, Relaxed);
            if let Err(error) = self.pause(&seat, &mut rng) {
                self.talk.judge("send", &error);
                return seq;
            }
        }
        seq
    }

    /// Sends a message in one of all ways.
    fn submit(&self, seat: &Seat, rng: &mut Rng, message: &[u8]) -> longlink::Result<()> {
        let connection = &self.talk.connection;
        let owned = || Bytes::copy_from_slice(message);
        match rng.u32(..6) {
            0 => seat.call("send", PATIENCE, || connection.send(message)),
            1 => seat.call("send_bytes", PATIENCE, || connection.send_bytes(owned())),
            2 => seat.call("feed", PATIENCE, || connection.feed(message)),
            3 => seat.call("feed_bytes", PATIENCE, || connection.feed_bytes(owned())),
            4 => seat.call("try_send", Duration::ZERO, || connection.try_send(message)),
            _ => {
                let time = Duration::from_millis(rng.u64(..50));
                seat.call("send_timeout", time, || connection.send_timeout(message, time))
            }
        }
    }

    /// Between two bursts.
    fn pause(&self, seat: &Seat, rng: &mut Rng) -> longlink::Result<()> {
        let connection = &self.talk.connection;
        // What was fed goes along with the next message otherwise.
        if rng.u32(..4) > 0 {
            connection.flush()?;
        }
        match rng.u32(..8) {
            0 => {
                let time = Duration::from_millis(rng.u64(..200));
                match seat.call("sync", time, || connection.sync(time)) {
                    Err(Error::TimedOut) => Ok(()),
                    result => result,
                }
            }
            1 => Ok(()),
            _ => {
                rest(Duration::from_millis(rng.u64(..60)));
                Ok(())
            }
        }
    }

    /// Receives to the end.
    fn receive(&self, reader: usize) {
        let Talk { stage, plan, me, connection, .. } = self.talk;
        let from = me.other();
        let seat = stage.watch.seat(plan.id);
        let mut rng = plan.rng(from, reader, 2);
        let mut seen = PerThread::default();
        let drops = plan.ending == Ending::Drop(*me);
        let mut pauses = u32::from(plan.is_slow(from));
        while !(drops && self.leaving.load(Relaxed)) {
            let received = match rng.u32(..4) {
                0 | 1 if !drops => seat.call("recv", PATIENCE, || connection.recv()),
                2 => seat.call("try_recv", Duration::ZERO, || connection.try_recv()),
                _ => {
                    let time = Duration::from_millis(rng.u64(..200));
                    seat.call("recv_timeout", time, || connection.recv_timeout(time))
                }
            };
            match received {
                Ok(Some(message)) => {
                    self.talk.count(&message);
                    self.tally.lock().unwrap().take(plan, from, &message, &mut seen);
                }
                Ok(None) => return,
                Err(Error::WouldBlock | Error::TimedOut) => {}
                Err(error) => return self.talk.judge("recv", &error),
            }
            if plan.is_slow(from) && rng.u32(..100) == 0 {
                rest(Duration::from_millis(rng.u64(..100)));
                if pauses > 0 && rng.u32(..4) == 0 {
                    pauses -= 1;
                    rest(LONG_PAUSE);
                }
            }
        }
    }
}
