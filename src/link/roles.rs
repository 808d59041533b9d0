//! The roles on a link: which thread reads, and which writes.

use std::io;
use std::time::{Duration, Instant};

use super::halves::{Heard, ReadHalf, WriteHalf, Written};
use super::row::Row;
use super::term::Term;
use super::tick::Tick;
use super::{State, Waiter};
use crate::error::Cause;
use crate::event::Event;
use crate::net::Socket;
use crate::proto::Violation;
use crate::proto::frame::Decoder;
use crate::proto::protocol::Protocol;
use crate::proto::report::{Output, Seen};
use crate::secure::{End, Sealer};
use crate::sync::{self, Arc};

/// One TCP connection, and the roles on it. They end with it.
pub(super) struct Link {
    pub(super) socket: Arc<Socket>,
    pub(super) generation: u64,
    pub(super) since: Instant,
    pub(super) term: Term,
    /// The thread that takes it reads.
    pub(super) read_half: Option<Box<ReadHalf>>,
    pub(super) writer: Writer,
    /// The thread that takes it writes.
    pub(super) write_half: Option<Box<WriteHalf>>,
    pub(super) cover: Cover,
    /// Whether the driver finds out, once a [`TICK`](super::care::TICK), that the application
    /// still reads.
    pub(super) tick: Tick,
    /// An application thread took the read half since the last tick.
    pub(super) read_lately: bool,
    /// What `SO_RCVTIMEO` is set to.
    pub(super) read_timeout: Option<Duration>,
    /// What was read has brought forth something to be written. It waits in the sealed
    /// link's layer, and no write has begun since.
    pub(super) control_due: bool,
    pub(super) row: Row,
}

/// Which thread sees to it that input is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cover {
    /// The driver polls for it.
    Driver,
    /// A thread of the application reads, or did so lately.
    Application,
}

impl Link {
    /// No thread reads, and the driver does not poll.
    pub(super) fn is_neglected(&self) -> bool {
        self.read_half.is_some() && self.cover == Cover::Application
    }

    /// What is left of the last batch; nothing is known of one that a thread
    /// has in hand.
    pub(super) fn unwritten(&self) -> usize {
        self.write_half.as_ref().map_or(0, |write_half| write_half.batch.len())
    }

    /// No thread writes, and all that was handed to the writer is written.
    pub(super) fn is_written(&self) -> bool {
        self.write_half.as_ref().is_some_and(|write_half| write_half.is_written())
    }

    /// Something is to be written that no thread has in hand, besides what the protocol has.
    pub(super) fn has_rest(&self) -> bool {
        self.control_due
            || self.write_half.as_ref().is_some_and(|write_half| !write_half.is_written())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    Idle,
    /// A thread has the write half in hand.
    Busy,
    /// The driver goes on when `poll` says that the socket has room.
    Blocked,
    /// A write failed. What the peer said before is still read, up to the
    /// error or the end that follows.
    Dead,
}

/// A socket that is to be shut down.
pub(super) struct Retired {
    pub(super) socket: Arc<Socket>,
    pub(super) kind: ShutdownKind,
    /// Tells the peer before that it ends, and why.
    pub(super) farewell: Option<Box<Sealer>>,
}

impl Retired {
    /// Nothing is to be said.
    pub(super) fn silently(socket: Arc<Socket>, kind: ShutdownKind) -> Retired {
        Retired { socket, kind, farewell: None }
    }
}

/// How that is done. A thread that is in a call on it returns.
#[derive(Debug, Clone, Copy)]
pub(super) enum ShutdownKind {
    StopReading,
    Shutdown,
    Reset,
}

impl State {
    pub(super) fn current(&mut self, generation: u64) -> Option<&mut Link> {
        self.link.as_mut().filter(|link| link.generation == generation)
    }

    pub(super) fn take_read_half(&mut self, waiter: Waiter) -> Option<Box<ReadHalf>> {
        let status = self.protocol.status();
        // What others wait for comes by reading only from a framed peer.
        let helps = waiter == Waiter::Receiver || status.framed;
        let link = self.link.as_mut().filter(|_| helps && status.may_read)?;
        let read_half = link.read_half.take_if(|read_half| read_half.is_free())?;
        link.cover = Cover::Application;
        link.read_lately = true;
        Some(read_half)
    }

    /// For the driver.
    pub(super) fn take_covered_read_half(&mut self) -> Option<Box<ReadHalf>> {
        let may_read = self.protocol.status().may_read;
        let link = self.link.as_mut().filter(|link| may_read && link.cover == Cover::Driver)?;
        link.read_half.take_if(|read_half| read_half.is_free())
    }

    /// Whether the system has to be told.
    pub(super) fn set_read_timeout(&mut self, timeout: Option<Duration>) -> bool {
        self.link
            .as_mut()
            .is_some_and(|link| std::mem::replace(&mut link.read_timeout, timeout) != timeout)
    }

    pub(super) fn after_read(&mut self, mut read_half: Box<ReadHalf>, result: io::Result<Heard>) {
        let generation = read_half.generation;
        if self.current(generation).is_none() {
            // Its last user, maybe: it is closed when the lock is released.
            let retired = Retired::silently(read_half.socket, ShutdownKind::StopReading);
            return self.retired.push(retired);
        }
        match result {
            Ok(Heard { bytes, control, end }) => {
                if bytes > 0 {
                    let now = sync::now();
                    self.clock = now;
                    self.heard = Some(now);
                    if let Err(cause) = self.decode(generation, &mut read_half.decoder, now) {
                        return self.lose(cause);
                    }
                    self.expect();
                }
                if control && let Some(link) = &mut self.link {
                    link.control_due = true;
                }
                match end {
                    None => {}
                    // What was sealed ends otherwise: anybody can have ended this. If we have,
                    // see `free_read_half`, what is left is still written.
                    Some(End::Cut) if !self.life.has_ended() => return self.lose(Cause::Eof),
                    Some(End::InOrder | End::Cut) => match self.protocol.end_of_stream(sync::now())
                    {
                        Ok(Some(unanswered)) => self.announce(unanswered),
                        Ok(None) => return self.lose(Cause::Eof),
                        Err(violation) => return self.lose(Cause::Protocol(violation.0)),
                    },
                    Some(End::Broken(failure)) => return self.lose(failure.into()),
                }
            }
            Err(e) => match e.kind() {
                // Nothing there, the time is over, or a signal came (trap 18 of
                // tests/traps/README.md).
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                _ => return self.lose(Cause::Io(Arc::new(e))),
            },
        }
        if let Some(link) = self.current(generation) {
            link.read_half = Some(read_half);
        }
    }

    pub(super) fn decode(
        &mut self,
        generation: u64,
        decoder: &mut Decoder,
        now: Instant,
    ) -> Result<(), Cause> {
        let violation = |v: Violation| Cause::Protocol(v.0);
        while let Some(seen) = self.protocol.hear(generation, decoder, now).map_err(violation)? {
            match seen {
                // For receivers, see `State::notices`.
                Seen::Nothing | Seen::Received => {}
                // Threads that wait, and do not read, are counted.
                Seen::Acknowledged => self.news |= self.others.has_uncalled(),
                Seen::Closed => self.news = true,
                Seen::Pong(id, round_trip) => self.event(Event::Heartbeat { id, round_trip }),
            }
            // To ask once more took 190 instructions of a round trip.
            if decoder.unread().is_empty() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn take_write_half(&mut self) -> Option<Box<WriteHalf>> {
        let link = self.link.as_mut()?;
        if link.writer != Writer::Idle {
            return None;
        }
        let write_half = link.write_half.as_mut().filter(|write_half| write_half.is_free())?;
        let control = std::mem::take(&mut link.control_due);
        if write_half.is_written() {
            self.protocol.fill(&mut write_half.batch);
            if write_half.batch.is_empty() && !control {
                return None;
            }
        }
        link.writer = Writer::Busy;
        link.write_half.take()
    }

    pub(super) fn after_write(&mut self, write_half: Box<WriteHalf>, result: io::Result<Written>) {
        let reads = self.protocol.status().may_read;
        let Some(link) = self.current(write_half.generation) else {
            let WriteHalf { socket, batch, .. } = *write_half;
            self.protocol.spent().extend(batch.give_up());
            return self.retired.push(Retired::silently(socket, ShutdownKind::StopReading));
        };
        link.write_half = Some(write_half);
        match result {
            Ok(Written::Nothing) => link.writer = Writer::Idle,
            Ok(Written::All) => {
                link.writer = Writer::Idle;
                self.clock = sync::now();
                self.news |= self.protocol.sent(self.clock);
                self.expect();
            }
            Ok(Written::Part) => {
                link.writer = Writer::Blocked;
                self.driver_due = true;
            }
            Err(e) => match e.kind() {
                // What the peer said before it left can still be read, and the
                // end behind it.
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset if reads => {
                    link.writer = Writer::Dead;
                    if link.read_half.is_some() {
                        link.cover = Cover::Driver;
                    }
                    self.driver_due = true;
                }
                _ => {
                    link.writer = Writer::Dead;
                    self.lose(Cause::Io(Arc::new(e)));
                }
            },
        }
    }

    /// Whether a receiver that came back and found something has changed more than what it took.
    /// All that other threads have changed, they have settled.
    #[inline]
    pub(super) fn coming_back_matters(&self) -> bool {
        let ticks = self.link.as_ref().is_none_or(|link| link.tick != Tick::Off);
        let says = match &self.protocol {
            Protocol::Framed(session) => session.must_ack(),
            // The end of both directions may be what it has found.
            Protocol::Plain(_) => true,
        };
        self.driver_due || !ticks || says
    }

    pub(super) fn leave_rest_to_driver(&mut self) {
        let output = self.protocol.output();
        let Some(link) = &mut self.link else { return };
        let waits = match output {
            Output::Nothing => false,
            Output::Messages => !link.row.has_net(),
            Output::Due | Output::Batch => true,
        };
        if link.writer == Writer::Idle && (waits || link.has_rest()) {
            link.writer = Writer::Blocked;
            self.driver_due = true;
        }
    }
}
