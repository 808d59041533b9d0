//! The heartbeat thread: pings, judges, reconnects, reclaims, reports.
//!
//! A client's connection has a keeper of its own; a listener has one for all
//! its sessions. It is one loop: visit whoever called or whose time has come,
//! then wait in `poll` for sockets, for the next deadline, or for a call.
//!
//! All deadlines are times of a clock that stands still while the machine sleeps.
//! When it wakes, the links may have been dead for hours, and no deadline has come
//! any nearer. So the keeper learns of that by itself, see [`Alarm`] and
//! [`sync::asleep`], and has all links checked.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::time::{Duration, Instant};

use crate::dial::Dialler;
use crate::door::Door;
use crate::error::Cause;
use crate::foreign;
use crate::link::{Shared, Summons, Visit};
use crate::net::{self, Alarm, Interest, Socket};
use crate::sync::{self, Arc};

/// A heartbeat has moved a quiet link's time away before that comes. So the keeper,
/// when it is awake, looks at those as well whose time comes so soon: else ten
/// thousand of them wake it a thousand times a second, each for itself. Once in
/// that time: who is busy has a time that comes soon again and again.
const AHEAD: Duration = Duration::from_millis(250);

/// The machine has slept if it did so for this long since the keeper last looked;
/// two clocks are not read at quite the same time.
const NAP: Duration = Duration::from_secs(1);

/// A connection in the keeper's care.
struct Ward {
    shared: Arc<Shared>,
    /// The time of its entry in the queue.
    deadline: Option<Instant>,
}

/// Where wards come from, and what becomes of them.
pub(crate) enum Trade {
    /// One connection, which is dialled again and again.
    Client(Box<Dialler>),
    /// Many, which come in through the door.
    Server(Box<Door>),
}

pub(crate) struct Keeper {
    summons: Arc<Summons>,
    wards: HashMap<u64, Ward>,
    /// What is polled for. Of ten thousand links whose applications read, that is nothing.
    watched: HashMap<u64, (Arc<Socket>, Interest)>,
    queue: BTreeSet<(Instant, u64)>,
    /// Up to which time those in the queue were looked at.
    ahead: Option<Instant>,
    trade: Trade,
    /// Rings when the machine wakes, where there is such a thing.
    alarm: Option<Alarm>,
    /// How long the machine had slept when the keeper last looked.
    asleep: Duration,
}

/// What a ready descriptor belongs to.
#[derive(Debug, Clone, Copy)]
enum Owner {
    Summons,
    Alarm,
    Ward(u64),
    Trade(usize),
}

impl Keeper {
    pub(crate) fn new(summons: Arc<Summons>, trade: Trade) -> Keeper {
        Keeper {
            summons,
            wards: HashMap::new(),
            watched: HashMap::new(),
            queue: BTreeSet::new(),
            ahead: None,
            trade,
            alarm: Alarm::new(),
            asleep: sync::asleep(),
        }
    }

    /// Takes a connection into care.
    pub(crate) fn adopt(&mut self, shared: Arc<Shared>) {
        self.wards.insert(shared.id(), Ward { shared, deadline: None });
    }

    /// Keeps until nothing is left to keep.
    pub(crate) fn run(mut self) {
        self.start();
        let mut ready = Vec::new();
        while !self.is_done() {
            self.turn(&mut ready);
        }
    }

    fn start(&mut self) {
        let ids: Vec<u64> = self.wards.keys().copied().collect();
        for id in ids {
            self.visit(id);
        }
        if let Trade::Client(dialler) = &mut self.trade {
            dialler.start();
            self.advance_dialler(None);
        }
    }

    fn turn(&mut self, ready: &mut Vec<(Owner, Interest)>) {
        self.wait(self.deadline(), ready);
        if self.has_slept() {
            self.wake_up();
        }
        self.serve(ready);
        self.on_time();
    }

    fn is_done(&self) -> bool {
        match &self.trade {
            Trade::Client(_) => self.wards.is_empty(),
            Trade::Server(door) => door.is_closed() && self.wards.is_empty(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let ward = self.queue.first().map(|(at, _)| *at);
        let trade = match &self.trade {
            Trade::Client(dialler) => dialler.deadline(),
            Trade::Server(door) => door.deadline(),
        };
        ward.into_iter().chain(trade).min()
    }

    /// Waits, and collects what became ready.
    fn wait(&self, deadline: Option<Instant>, ready: &mut Vec<(Owner, Interest)>) {
        let mut fds = Vec::with_capacity(16);
        let mut owners = Vec::with_capacity(16);
        fds.push(net::poll_fd(self.summons.waker.pipe(), Interest { read: true, write: false }));
        owners.push(Owner::Summons);
        if let Some(alarm) = &self.alarm {
            fds.push(net::poll_fd(alarm, Interest { read: true, write: false }));
            owners.push(Owner::Alarm);
        }
        for (id, (socket, interest)) in &self.watched {
            fds.push(net::poll_fd(&**socket, *interest));
            owners.push(Owner::Ward(*id));
        }
        match &self.trade {
            Trade::Client(dialler) => dialler.watch(|index, socket, interest| {
                fds.push(net::poll_fd(socket, interest));
                owners.push(Owner::Trade(index));
            }),
            Trade::Server(door) => door.watch(|index, socket| {
                fds.push(net::poll_fd(socket, Interest { read: true, write: false }));
                owners.push(Owner::Trade(index));
            }),
        }
        net::poll(&mut fds, deadline);
        ready.clear();
        for (fd, owner) in fds.iter().zip(owners) {
            let interest = net::readiness(fd);
            if interest.read || interest.write {
                ready.push((owner, interest));
            }
        }
    }

    /// Whether the machine has slept since this was last asked.
    fn has_slept(&mut self) -> bool {
        let asleep = sync::asleep();
        let before = std::mem::replace(&mut self.asleep, asleep);
        asleep.saturating_sub(before) >= NAP
    }

    fn wake_up(&mut self) {
        foreign::log!(debug, "the machine has slept: checking {} connections", self.wards.len());
        let ids: Vec<u64> = self.wards.keys().copied().collect();
        for id in ids {
            if let Some(ward) = self.wards.get(&id) {
                ward.shared.lock().wake_up();
            }
            self.visit(id);
        }
    }

    fn serve(&mut self, ready: &mut Vec<(Owner, Interest)>) {
        let (mut called, mut traded) = (false, Vec::new());
        for (owner, interest) in ready.drain(..) {
            match owner {
                Owner::Summons => called = true,
                Owner::Alarm => self.alarm.iter().for_each(Alarm::answer),
                Owner::Ward(id) => {
                    if let Some(ward) = self.wards.get(&id) {
                        ward.shared.serve(interest);
                    }
                    self.visit(id);
                }
                Owner::Trade(index) => traded.push(index),
            }
        }
        // A poll that failed has not told of a call.
        if called || self.summons.waker.is_pending() {
            for id in self.summons.answer() {
                self.visit(id);
            }
        }
        match &mut self.trade {
            Trade::Client(_) => self.advance_dialler(traded.first().copied()),
            Trade::Server(door) => {
                for shared in door.serve(&traded, &self.summons) {
                    let id = shared.id();
                    self.adopt(shared);
                    self.visit(id);
                }
            }
        }
    }

    /// Visits those whose time has come, and some before.
    fn on_time(&mut self) {
        let now = sync::now();
        let mut some = false;
        while let Some((at, id)) = self.queue.first().copied()
            && at <= now
        {
            self.visit(id);
            some = true;
        }
        if some && self.ahead.is_none_or(|ahead| now >= ahead) {
            let ahead = now + AHEAD;
            let soon: Vec<u64> = self.queue.range(..(ahead, 0)).map(|(_, id)| *id).collect();
            soon.into_iter().for_each(|id| self.visit(id));
            self.ahead = Some(ahead);
        }
    }

    fn visit(&mut self, id: u64) {
        let Some(ward) = self.wards.get_mut(&id) else { return };
        let Visit { deadline, watch, events, on_event, lost, hurry, over } =
            ward.shared.visit(ward.deadline);
        match watch {
            Some(watch) => drop(self.watched.insert(id, watch)),
            None => drop(self.watched.remove(&id)),
        }
        // Those of one who is over end with him.
        let deadline = deadline.filter(|_| !over);
        if ward.deadline != deadline {
            if let Some(at) = std::mem::replace(&mut ward.deadline, deadline) {
                self.queue.remove(&(at, id));
            }
            self.queue.extend(deadline.map(|at| (at, id)));
        }
        if !events.is_empty() {
            if let Some(on_event) = on_event {
                events.into_iter().for_each(|event| on_event(&ward.shared, event));
            }
            ward.shared.reported();
        }
        let shared = ward.shared.clone();
        match &mut self.trade {
            Trade::Client(dialler) => match lost {
                _ if over => dialler.stop(),
                Some(lost) => dialler.lost(&shared, &lost),
                None => {}
            },
            Trade::Server(door) if over => door.bury(&shared),
            Trade::Server(door) => door.note(&shared, lost.as_ref()),
        }
        if let Trade::Client(dialler) = &mut self.trade
            && hurry
        {
            dialler.hurry();
        }
        if over {
            self.wards.remove(&id);
        }
    }

    fn advance_dialler(&mut self, ready: Option<usize>) {
        let Trade::Client(dialler) = &mut self.trade else { return };
        let Some(ward) = self.wards.values().next() else { return };
        dialler.advance(&ward.shared, &self.summons, ready);
    }
}

/// A keeper that dies takes nobody into limbo. It should only ever find that
/// there is nothing left to keep.
impl Drop for Keeper {
    fn drop(&mut self) {
        for ward in self.wards.values() {
            let mut state = ward.shared.lock();
            let cause = Cause::Io(Arc::new(io::Error::other("the heartbeat thread panicked")));
            state.lose(cause.clone());
            state.give_up(0, cause);
            ward.shared.settle(state);
        }
        if let Trade::Server(door) = &self.trade {
            door.close();
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
